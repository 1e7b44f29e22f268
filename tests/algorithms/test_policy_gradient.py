"""What every policy gradient shares: exact gradients, honest bookkeeping, a state that comes back."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_discussions import completion, digit_share, episode, paid, play, questions
from toy_models import completion_logits, shake, weights

from maporl import registry
from maporl.agents.agent import ScriptedAgent
from maporl.agents.models.checkpoints import DTYPES
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.algorithms.algorithm import Update
from maporl.algorithms.batch import TurnBatch
from maporl.algorithms.magrpo import MAGRPO
from maporl.algorithms.policy_gradient import PolicyGradient
from maporl.types import Completion, Episode

ALGORITHMS = [
    "ippo",
    "mappo",
    "magrpo",
]  # MAGRPO's variants are its baselines (test_magrpo); all six train in test_every_combination
CRITICS_AND_GROUPS = ["mappo", "magrpo"]  # where it does not matter whose eyes a critic has


class Reinforce(PolicyGradient):
    """A = R, and nothing else."""

    def update(self, episodes: Sequence[Episode]) -> Update:
        batch = TurnBatch.collect(episodes, self.team)
        reference = self.reference_logprobs(batch) if self.kl_coef else None
        return self.improve(batch, batch.rewards, reference)


def made(name: str, team: Team, **settings: object) -> PolicyGradient:
    """The algorithm that `name` names, with a learning rate that shows."""
    if name.startswith("ma") and name != "mappo":
        settings = {"group_size": 2, **settings}
    return registry.load("algorithm", name)(team, **{"learning_rate": 0.01, **settings})


def watch(algorithm: PolicyGradient) -> dict[str, list[torch.Tensor]]:
    """The gradients that each optimizer will have stepped on."""
    seen: dict[str, list[torch.Tensor]] = {name: [] for name in algorithm.optimizers}
    for name, optimizer in algorithm.optimizers.items():
        parameters = [p for g in optimizer.param_groups for p in g["params"]]

        def hook(*_: object, name: str = name, parameters: list = parameters) -> None:
            seen[name].append(torch.cat([p.grad.flatten() for p in parameters]).clone())

        optimizer.register_step_pre_hook(hook)
    return seen


def logprob_of(policy: Policy, adapter: str | None, said: Completion, temperature: float) -> torch.Tensor:
    """Log-probs [T, V] of one message without padding: the plain definition."""
    logits = completion_logits(policy, adapter, [said.prompt_ids], [said.completion_ids])[0]
    return (logits / temperature).log_softmax(-1)


# -- the gradient ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss_agg", ["token", "message", "sum"])
@pytest.mark.parametrize("clip_range", [0.2, None])
def test_the_gradient_is_the_definitions(make_team: Callable, loss_agg: str, clip_range: float | None) -> None:
    team = make_team(temperature=0.7, tokens=9, sharing="shared")
    policy = team.policies[0]
    shake(policy, "shared")
    policy.eos_ids = frozenset(range(0, 60))  # messages of different lengths
    episodes = play(team, questions(3), rounds=1)
    settings = dict(ent_coef=0.03, kl_coef=0.2, max_grad_norm=None)
    algorithm = Reinforce(team, loss_agg=loss_agg, clip_range=clip_range, **settings)
    seen = watch(algorithm)["shared"]
    said = [(turn.completion, e.rewards[i]) for e in episodes for i, turn in e.said]
    lengths = [len(message.completion_ids) for message, _ in said]
    assert len(set(lengths)) > 1
    weight = {
        "token": lambda n: 1 / sum(lengths),
        "message": lambda n: 1 / lengths[n] / len(said),
        "sum": lambda n: 1 / len(said),
    }[loss_agg]
    total = torch.zeros(())
    for n, (message, reward) in enumerate(said):
        ids = torch.as_tensor(message.completion_ids)
        new, reference = (logprob_of(policy, a, message, 0.7) for a in ("shared", None))
        chosen = new[range(len(ids)), ids]
        surrogate = -reward * (chosen if clip_range is None else (chosen - chosen.detach()).exp())
        distance = 0.5 * (chosen - reference[range(len(ids)), ids].detach()) ** 2
        spread = -(new.exp() * new).sum(-1)
        total = total + weight(n) * (surrogate + 0.2 * distance - 0.03 * spread).sum()
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, policy.parameters("shared"))])
    algorithm.update(episodes)
    assert len(seen) == 1 and expected.abs().max() > 1e-4
    assert (seen[0] - expected).abs().max() < 1e-4 * expected.abs().max()


def one_message(team: Team, *ids: int, reward: float = 1.0) -> list[Episode]:
    """One agent, one message, with the log-probs that it really has."""
    said = completion(*ids, prompt=range(20, 30))
    with torch.no_grad():
        logits = completion_logits(team.policies[0], "shared", [said.prompt_ids], [said.completion_ids])[0]
    said.logprobs[:] = logits.log_softmax(-1)[range(len(ids)), ids].numpy()
    return [episode(["agent_0"], [("agent_0", 0, said, reward)])]


def test_a_message_of_one_token_has_a_gradient(make_team: Callable) -> None:
    team = make_team(1, sharing="shared")
    for ids in ([40], [team.policies[0].tokenizer.eos_token_id]):
        algorithm = Reinforce(team)
        seen = watch(algorithm)["shared"]
        metrics = algorithm.update(one_message(team, *ids)).metrics
        assert seen[0].abs().max() > 0 and metrics["train/grad_norm/shared"] > 0


def test_every_token_counts_the_last_one_and_eos_too(make_team: Callable) -> None:
    team = make_team(1, sharing="shared")
    eos = team.policies[0].tokenizer.eos_token_id
    episodes = one_message(team, 40, 41, eos)
    for position in range(3):

        class Only(Reinforce):
            def update(self, episodes: Sequence[Episode], position: int = position) -> Update:
                batch = TurnBatch.collect(episodes, self.team)
                advantages = torch.zeros_like(batch.old_logprobs)
                advantages[0, position] = 1.0
                return self.improve(batch, advantages)

        algorithm = Only(team, max_grad_norm=None)
        seen = watch(algorithm)["shared"]
        before = logprob_of(team.policies[0], "shared", episodes[0].completions[0], 1.0)
        expected = torch.autograd.grad(
            -before[position, [40, 41, eos][position]] / 3, team.policies[0].parameters("shared")
        )
        saved = algorithm.state_dict()
        algorithm.update(episodes)
        expected_flat = torch.cat([g.flatten() for g in expected])
        assert expected_flat.abs().max() > 0 and torch.allclose(seen[0], expected_flat, atol=1e-6)
        algorithm.load_state_dict(saved)


@pytest.mark.parametrize("name", CRITICS_AND_GROUPS)
def test_microbatches_and_padding_do_not_change_an_update(make_team: Callable, name: str) -> None:
    results = []
    for microbatch_tokens in (1, 150, 100_000):
        team = make_team(rounds=2, sharing="per_agent", tokens=8)
        team.policies[0].eos_ids = frozenset(range(0, 60))
        episodes = play(team, questions(3), rounds=2, group_size=2)
        algorithm = made(name, team, microbatch_tokens=microbatch_tokens, max_grad_norm=None)
        seen = watch(algorithm)
        algorithm.update(episodes)
        results.append(seen)
    for other in results[1:]:
        for key, gradients in results[0].items():
            assert len(gradients) == len(other[key])
            first, second = gradients[0], other[key][0]
            assert (first - second).abs().max() <= 1e-4 * first.abs().max()


@pytest.mark.parametrize("name", CRITICS_AND_GROUPS)
def test_the_order_of_episodes_does_not_change_the_gradient(make_team: Callable, name: str) -> None:
    gradients = []
    for order in (slice(None), slice(None, None, -1)):
        team = make_team(rounds=2, sharing="per_agent")
        episodes = play(team, questions(3), rounds=2, group_size=2)[order]
        algorithm = made(name, team, num_minibatches=1, num_epochs=1)
        seen = watch(algorithm)
        algorithm.update(episodes)
        gradients.append(seen)
    for key in gradients[0]:
        first, second = (g[key][0] for g in gradients)
        assert (first - second).abs().max() <= 1e-4 * first.abs().max()


@pytest.mark.parametrize("name", CRITICS_AND_GROUPS)
def test_gradient_checkpointing_changes_no_update(make_team: Callable, name: str) -> None:
    results = []
    for saving in (False, True):
        team = make_team(architecture="gpt2", base={"gradient_checkpointing": saving})
        algorithm = made(name, team)
        seen = watch(algorithm)
        metrics = algorithm.update(play(team, questions(2), rounds=1, group_size=2)).metrics
        assert metrics["train/first_ratio_error"] < 1e-4  # gpt2 has a dropout of .1 in its config
        results.append(seen)
    for key in results[0]:
        assert torch.allclose(results[0][key][0], results[1][key][0], rtol=1e-3, atol=1e-6)


# -- one update, all algorithms ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("architecture", ["llama", "gpt_neox"])
def test_after_a_real_update(make_team: Callable, name: str, architecture: str) -> None:
    team = make_team(
        3, 2, architecture=architecture, temperature=0.8, sharing="per_agent", frozen=["agent_1/round_1", "agent_2"]
    )
    policy = team.policies[0]
    policy.add_adapter("bystander")
    shake(policy, "bystander")
    untouched = {n: p.clone() for n, p in policy.model.named_parameters() if "agent_0" not in n and "agent_1" not in n}
    before = {a: weights(policy, a) for a in ("agent_0", "agent_1")}
    algorithm = made(name, team, num_updates=10)
    metrics = algorithm.update(play(team, questions(3), rounds=2, group_size=2)).metrics

    for adapter in ("agent_0", "agent_1"):
        named = [(n, p) for n, p in policy.model.named_parameters() if f".lora_B.{adapter}." in n]
        assert len(named) == (7 if architecture == "llama" else 4)
        assert all(p.abs().max() > 0 for _, p in named)  # every B matrix was zero
        assert not torch.equal(weights(policy, adapter), before[adapter])
        assert metrics[f"train/grad_norm/{adapter}"] > 0
    assert {n for n in untouched if "bystander" in n}
    for n, p in policy.model.named_parameters():
        if n in untouched:
            assert torch.equal(p, untouched[n]), n
    assert metrics["train/first_ratio_error"] < 1e-4
    assert metrics["train/skipped_steps"] == 0 and metrics["train/reward_std"] > 0
    assert all(np.isfinite(v) for v in metrics.values()) and all(k.startswith("train/") for k in metrics)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_shared_policy_has_one_optimizer_and_each_makes_the_steps_asked_for(make_team: Callable, name: str) -> None:
    for sharing, adapters in (("shared", ["shared"]), ("per_agent", ["agent_0", "agent_1", "agent_2"])):
        team = make_team(3, 1, sharing=sharing)
        epochs = 3 if name in ("ippo", "mappo") else 1
        algorithm = made(name, team, num_epochs=epochs, num_minibatches=2)
        critics = getattr(algorithm, "critics", {})
        assert list(algorithm.optimizers) == [*adapters, *critics]
        held = [p for o in algorithm.optimizers.values() for g in o.param_groups for p in g["params"]]
        assert len({id(p) for p in held}) == len(held)  # no parameter has two optimizers
        seen = watch(algorithm)
        algorithm.update(play(team, questions(2), rounds=1, group_size=2))
        assert {key: len(g) for key, g in seen.items()} == dict.fromkeys(algorithm.optimizers, epochs * 2)


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_saved_state_goes_on_bit_for_bit(make_team: Callable, name: str, tmp_path: object) -> None:
    def fresh(seed: int) -> tuple[Team, PolicyGradient]:
        team = make_team(2, 2, seed=seed)
        return team, made(name, team, num_minibatches=2, num_updates=5, seed=seed)

    team, algorithm = fresh(0)
    algorithm.update(play(team, questions(2), rounds=2, group_size=2, seed=0))
    state = algorithm.state_dict()
    torch.save(state, tmp_path / "state.pt")  # type: ignore[operator]
    later = play(team, questions(2), rounds=2, group_size=2, seed=1)
    expected = algorithm.update(later)
    # The state is a copy: what came after it was taken has not changed it.
    for saved in (state, torch.load(tmp_path / "state.pt", weights_only=False)):  # type: ignore[operator]
        other_team, other = fresh(7)
        other.load_state_dict(saved)
        again = play(other_team, questions(2), rounds=2, group_size=2, seed=1)
        assert all(
            np.array_equal(c.logprobs, d.logprobs)
            for e, f in zip(later, again, strict=True)
            for c, d in zip(e.completions, f.completions, strict=True)
        )
        assert other.update(again) == expected
        for adapter in team.learners:
            assert torch.equal(weights(other_team.policies[0], adapter), weights(team.policies[0], adapter))


def test_a_state_of_another_team_is_refused(make_team: Callable) -> None:
    state = made("ippo", make_team(2)).state_dict()
    with pytest.raises(ValueError, match=r"the saved state is of \['agent_0', 'agent_1'.*\], not of \['shared'"):
        made("ippo", make_team(2, sharing="shared")).load_state_dict(state)


@pytest.mark.parametrize("name", CRITICS_AND_GROUPS)
def test_it_learns(make_team: Callable, name: str) -> None:
    team = make_team(2, 1, sharing="per_agent", tokens=8)
    rates = {"group_size": 8} if name == "magrpo" else {"critic_learning_rate": 0.01}
    algorithm = made(name, team, lr_schedule="constant", learning_rate=0.03, **rates)
    size = algorithm.group_size
    shares = []
    for k in range(12):
        episodes = play(team, questions(32 // size), rounds=1, group_size=size, seed=k, reward=digit_share)
        shares.append(np.mean([e.rewards for e in episodes]))
        algorithm.update(episodes)
    assert np.mean(shares[:2]) < 0.1 and np.mean(shares[-3:]) > 0.3, shares


def test_every_agent_is_paid_for_its_own(make_team: Callable) -> None:
    # Digits pay agent_0, letters agent_1: a common reward would teach them the same.
    team = make_team(2, 1, tokens=8)
    algorithm = made("magrpo", team, group_size=8, learning_rate=0.02, lr_schedule="constant")
    share = {"agent_0": str.isdigit, "agent_1": str.isalpha}
    for k in range(15):
        episodes = play(team, questions(4), rounds=1, group_size=8, seed=k)
        algorithm.update(paid(episodes, lambda n, turn: sum(map(share[turn.agent], turn.text)) / 8))
    said = [t for e in play(team, questions(8), rounds=1, seed=99) for t in e.transcript.turns]
    for agent, kind in share.items():
        text = "".join(t.text for t in said if t.agent == agent)
        assert sum(map(kind, text)) / len(text) > 0.6


@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_scripted_partner_is_no_obstacle(make_team: Callable, name: str) -> None:
    team = make_team(2, 2, partners={"agent_1": ScriptedAgent(lambda o, rng: "7")})
    metrics = made(name, team).update(play(team, questions(2), rounds=2, group_size=2)).metrics
    assert metrics["train/grad_norm/agent_0"] > 0 and list(team.learners) == ["agent_0"]


def test_a_16_bit_base_trains(make_team: Callable) -> None:
    team = make_team(2, base={"dtype": "bfloat16"})
    metrics = made("ippo", team).update(play(team, questions(4), rounds=1)).metrics
    assert metrics["train/first_ratio_error"] < 0.05 and metrics["train/grad_norm/agent_0"] > 0


# -- KL and entropy ------------------------------------------------------------------------------------------------------


def test_the_reference_has_the_sampling_temperature(make_team: Callable) -> None:
    team = make_team(2, temperature=0.5)  # B = 0: the policy is the reference
    batch = TurnBatch.collect(play(team, questions(3), rounds=1), team)
    reference = Reinforce(team).reference_logprobs(batch)
    assert torch.allclose(reference, batch.old_logprobs, atol=1e-4)
    assert not reference[~batch.completion_mask].any()


def test_the_reference_can_be_an_adapter(make_team: Callable) -> None:
    team = make_team(2, sharing="shared")
    policy = team.policies[0]
    policy.add_adapter("warm")
    shake(policy, "warm")
    batch = TurnBatch.collect(play(team, questions(3), rounds=1), team)
    to_warm = Reinforce(team, reference="warm").reference_logprobs(batch)
    assert (to_warm - batch.old_logprobs).abs().max() > 0.1
    expected = logprob_of(policy, "warm", batch.turns[0].completion, 1.0)
    ids = batch.completions[0]
    assert torch.allclose(to_warm[0, : len(ids)], expected[range(len(ids)), ids], atol=1e-4)
    with pytest.raises(ValueError, match="reference is 'wram': "):
        Reinforce(team, reference="wram")


@pytest.mark.parametrize("estimator", ["k2", "k3"])
def test_a_kl_in_the_loss_pulls_back_to_the_reference(make_team: Callable, estimator: str) -> None:
    team = make_team(2, sharing="shared")
    shake(team.policies[0], "shared", 0.15)
    algorithm = Reinforce(team, kl_coef=1.0, kl_estimator=estimator, learning_rate=0.02, lr_schedule="constant")

    def distance(seed: int) -> float:
        batch = TurnBatch.collect(play(team, questions(64), rounds=1, seed=seed), team)
        return float((batch.old_logprobs - algorithm.reference_logprobs(batch))[batch.completion_mask].mean())

    start = distance(100)
    for k in range(10):
        with pytest.warns(UserWarning, match="all 64 rewards of this update are 0"):
            algorithm.update(play(team, questions(32), rounds=1, seed=k, reward=lambda text: 0.0))
    assert start > 0.1 and distance(101) < 0.8 * start


def test_an_entropy_bonus_raises_entropy(make_team: Callable) -> None:
    team = make_team(2, sharing="shared")
    shake(team.policies[0], "shared", 0.3)
    algorithm = Reinforce(team, ent_coef=1.0, learning_rate=0.02, lr_schedule="constant")
    entropies = []
    for k in range(10):
        with pytest.warns(UserWarning, match="nothing to learn from"):
            metrics = algorithm.update(play(team, questions(8), rounds=1, seed=k, reward=lambda text: 0.0)).metrics
        entropies.append(metrics["train/entropy"])
    assert entropies[-1] > entropies[0] + 0.2


# -- what may go wrong ---------------------------------------------------------------------------------------------------


def test_equal_rewards_warn_and_varied_ones_do_not(make_team: Callable, recwarn: pytest.WarningsRecorder) -> None:
    team = make_team(2)
    algorithm = Reinforce(team)
    algorithm.update(play(team, questions(4), rounds=1))
    assert not [w for w in recwarn if "nothing to learn" in str(w.message)]
    with pytest.warns(UserWarning, match=r"all 8 rewards of this update are 0.5: there is nothing to learn from\. Try"):
        algorithm.update(play(team, questions(4), rounds=1, reward=lambda text: 0.5))


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_skips_the_step(make_team: Callable, spoiled: float) -> None:
    team = make_team(2)
    algorithm = Reinforce(team)
    episodes = play(team, questions(4), rounds=1)
    algorithm.update(episodes)
    before = {a: weights(team.policies[0], a) for a in team.learners}
    moments = copy.deepcopy(algorithm.optimizers["agent_0"].state_dict()["state"])
    bad = [replace(episodes[0], rewards=(spoiled, *episodes[0].rewards[1:])), *episodes[1:]]
    with pytest.warns(UserWarning, match="agent_0: the gradient is not finite; this step is skipped"):
        metrics = algorithm.update(bad).metrics
    assert torch.equal(weights(team.policies[0], "agent_0"), before["agent_0"])
    assert not torch.equal(weights(team.policies[0], "agent_1"), before["agent_1"])  # nothing wrong with this one
    after = algorithm.optimizers["agent_0"].state_dict()["state"]
    assert all(torch.equal(moments[i][k], after[i][k]) for i in moments for k in moments[i])
    assert metrics["train/skipped_steps"] == 0.5


def test_the_gradient_is_clipped_per_adapter(make_team: Callable) -> None:
    team = make_team(2)
    free, tight = (Reinforce(team, max_grad_norm=m, learning_rate=1e-9) for m in (None, 1e-3))
    seen_free, seen_tight = watch(free), watch(tight)
    episodes = play(team, questions(4), rounds=1)
    metrics = free.update(episodes).metrics
    tight.update(episodes)
    for adapter in team.learners:
        norm = float(seen_free[adapter][0].norm())
        assert norm > 1e-3 and metrics[f"train/grad_norm/{adapter}"] == pytest.approx(norm, rel=1e-4)
        assert float(seen_tight[adapter][0].norm()) == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize(
    ("shape", "factors"),
    [
        ("constant", [1, 1, 1, 1, 1, 1]),
        ("linear", [1, 0.775, 0.55, 0.325, 0.1, 0.1]),
        ("cosine", [1, 0.05 + 0.475 * (1 + np.sqrt(0.5)), 0.525, 0.05 + 0.475 * (1 - np.sqrt(0.5)), 0.05, 0.05]),
    ],
)
def test_the_learning_rate_follows_its_schedule(make_team: Callable, shape: str, factors: list[float]) -> None:
    team = make_team(2)
    algorithm = made("ippo", team, learning_rate=0.01, critic_learning_rate=0.1, num_updates=4, lr_schedule=shape)
    episodes = play(team, questions(2), rounds=1)
    used = []
    for optimizer in algorithm.optimizers.values():
        optimizer.register_step_pre_hook(lambda o, *_: used.append(o.param_groups[0]["lr"]))
    for factor in factors:
        used.clear()
        algorithm.update(episodes)
        assert sorted(set(np.round(used, 10))) == pytest.approx([0.01 * factor, 0.1 * factor])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr_schedule": "step"}, "lr_schedule is 'step': use one of"),
        ({"kl_in": "value"}, "kl_in is 'value'"),
        ({"loss_agg": "mean"}, "loss_agg is 'mean'"),
        ({"kl_estimator": "k5"}, "kl_estimator is 'k5'"),
        ({"kl_in": "loss", "kl_estimator": "k1"}, "kl_estimator is 'k1': as a loss its expected gradient is zero"),
        ({"num_epochs": 0}, "num_epochs is 0"),
        ({"num_minibatches": 0}, "num_minibatches is 0"),
        ({"num_updates": 0}, "num_updates is 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"clip_range": 0.0}, "clip_range is 0.0"),
        ({"ent_coef": -0.1}, "ent_coef is -0.1"),
        ({"kl_coef": -0.1}, "kl_coef is -0.1"),
        ({"max_grad_norm": 0.0}, "max_grad_norm is 0.0"),
        ({"microbatch_tokens": 0}, "microbatch_tokens is 0"),
        ({"old_logprobs": "measured"}, r"old_logprobs is 'measured': use one of \['sampled', 'recomputed'\]"),
    ],
)
def test_bad_settings(make_team: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Reinforce(make_team(1), **settings)
    assert "\n" not in str(error.value)


def test_a_team_that_trains_nothing(make_team: Callable) -> None:
    with pytest.raises(ValueError, match="it trains nothing: unfreeze an agent or a round"):
        Reinforce(make_team(2, sharing="frozen"))


@pytest.mark.parametrize(
    ("name", "filters"), [("ippo", {"top_k": 20}), ("mappo", {"top_p": 0.8}), ("magrpo", {"top_k": 20})]
)
def test_filters_raise_in_training(checkpoint: Callable, filters: dict, name: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    team = Team.build(policy, ["agent_0"], 1, sampling=Sampling(**filters))
    with pytest.raises(ValueError, match="'agent_0' samples with top_k=.*leave both out"):
        made(name, team)


# -- where old log-probs come from, memory and precision -----------------------------------------------------------------


@pytest.mark.parametrize("name", ["ippo", "magrpo"])
def test_recomputed_log_probs_change_nothing_but_rounding(make_team: Callable, name: str) -> None:
    gradients, metrics = [], []
    for old in ("sampled", "recomputed"):
        team = make_team(rounds=2, temperature=0.7)
        algorithm = made(name, team, old_logprobs=old)
        seen = watch(algorithm)
        metrics.append(algorithm.update(play(team, questions(3), rounds=2, group_size=2)).metrics)
        gradients.append(seen)
    for key, (first, *_) in gradients[0].items():
        assert first.abs().max() > 0 and (first - gradients[1][key][0]).norm() < 1e-3 * first.norm()
    assert all(m["train/logprob_mismatch"] < 1e-5 and m["train/first_ratio_error"] < 1e-4 for m in metrics)


@pytest.mark.parametrize("old", ["sampled", "recomputed"])
def test_a_mismatch_between_sampling_and_training_is_told_whatever_the_ratio_is_to(
    make_team: Callable, old: str
) -> None:
    team = make_team(2)
    episodes = play(team, questions(4), rounds=1)
    for e in episodes:
        for c in e.completions:
            c.logprobs[:] -= 0.25  # as if another sampler had sampled, with another rounding
    metrics = Reinforce(team, old_logprobs=old).update(episodes).metrics
    assert metrics["train/logprob_mismatch"] == pytest.approx(0.25, abs=1e-3)
    ratio = np.exp(0.25) - 1 if old == "sampled" else 0.0
    assert metrics["train/first_ratio_error"] == pytest.approx(ratio, abs=1e-3)
    assert metrics["train/clip_fraction"] == (1.0 if old == "sampled" else 0.0)


@pytest.mark.parametrize("planted", [0.25, -1.5])
def test_a_planted_mismatch_is_corrected_by_truncated_weights(
    make_team: Callable, planted: float, recwarn: pytest.WarningsRecorder
) -> None:
    gradients = []
    for shift in (0.0, planted):
        team = make_team(2)
        episodes = play(team, questions(4), rounds=1)
        for e in episodes:
            for c in e.completions:
                c.logprobs[:] -= shift
        algorithm = Reinforce(team, old_logprobs="recomputed", max_grad_norm=None, num_epochs=1, num_minibatches=1)
        seen = watch(algorithm)
        metrics = algorithm.update(episodes).metrics
        assert metrics["train/first_ratio_error"] == 0.0
        gradients.append(seen)
    weight = min(np.exp(planted), 2.0)  # the same for every token, so that the gradient is simply that much larger
    for key, (first, *_) in gradients[0].items():
        assert torch.allclose(gradients[1][key][0], weight * first, rtol=1e-3, atol=1e-7) and first.abs().max() > 0
    assert sum("sampling and training differ by" in str(w.message) for w in recwarn) == 1


def tight(policy: Policy, monkeypatch: pytest.MonkeyPatch, tokens: int, *, backward: bool) -> list[int]:
    """Training passes of more than so many tokens run out of memory, forwards or only backwards; returns those that fitted."""
    passed: list[int] = []
    original = policy.backbone.before

    def fail(_: torch.Tensor) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    def before(packed: object) -> torch.Tensor:
        hidden = original(packed)  # type: ignore[arg-type]
        size = packed.ids.size  # type: ignore[attr-defined]
        if not torch.is_grad_enabled():
            return hidden
        if size > tokens and not backward:
            fail(hidden)
        if size > tokens:
            hidden.register_hook(fail)
        else:
            passed.append(size)
        return hidden

    assert policy.backbone.exact
    monkeypatch.setattr(policy.backbone, "before", before)
    return passed


@pytest.mark.parametrize(("name", "backward"), [("magrpo", True), ("ippo", False)])
def test_out_of_memory_in_an_update_halves_the_passes_and_changes_nothing(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch, name: str, backward: bool
) -> None:
    results = []
    for limited in (False, True):
        team = make_team(2, 2, tokens=8, sharing="shared")
        episodes = play(team, questions(4), rounds=2, group_size=2)
        # In passes the shorter of which leave some gradient behind before a longer one fails.
        algorithm = made(name, team, num_minibatches=1, num_epochs=1, microbatch_tokens=1000)
        seen = watch(algorithm)
        if not limited:
            metrics = algorithm.update(episodes).metrics
        else:
            passed = tight(team.policies[0], monkeypatch, 300, backward=backward)
            with pytest.warns(UserWarning, match="out of memory in a pass of") as said:
                metrics = algorithm.update(episodes).metrics
            mine = [str(w.message) for w in said if "out of memory" in str(w.message)]
            assert f"from now on at most {algorithm.microbatch_tokens} (microbatch_tokens)" in mine[-1]
            assert "\n" not in mine[0] and len(mine) <= 4 and passed and max(passed) <= 300
            assert algorithm.microbatch_tokens < 1000
        results.append((weights(team.policies[0], "shared"), seen, metrics))
    (plain, gradients, metrics), (found, others, told) = results
    assert torch.allclose(
        plain, found, atol=2e-3
    )  # Adam's first step is a sign: where a gradient is rounding, it may differ
    assert ((plain - found).abs() > 1e-5).float().mean() < 0.01
    for key, (first,) in gradients.items():
        assert first.norm() > 0 and len(others[key]) == 1
        assert (first - others[key][0]).norm() < 1e-4 * first.norm()
    assert told == pytest.approx(metrics, rel=1e-3, abs=1e-5)


def test_what_earlier_passes_have_left_does_not_count_twice(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    gradients = []
    for failing in (0, 3):
        team = make_team(2, 2, tokens=8, sharing="shared")
        episodes = play(team, questions(4), rounds=2, group_size=2)
        team.forget()  # else that would be the first thing to give up
        algorithm = Reinforce(team, microbatch_tokens=450, max_grad_norm=None)
        [seen] = watch(algorithm).values()
        backbone, calls = team.policies[0].backbone, [0]

        def before(
            packed: object, calls: list = calls, failing: int = failing, original=backbone.before
        ) -> torch.Tensor:
            calls[0] += 1
            if calls[0] == failing:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return original(packed)

        monkeypatch.setattr(backbone, "before", before)
        if failing:
            with pytest.warns(UserWarning, match="out of memory in a pass of"):
                algorithm.update(episodes)
        else:
            algorithm.update(episodes)
            assert calls[0] >= 3
        gradients += seen
    first, second = gradients
    assert first.norm() > 0 and (first - second).norm() < 1e-4 * first.norm()


def test_a_message_whose_gradient_does_not_fit_alone(make_team: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    team = make_team(1)
    episodes = play(team, questions(2), rounds=1, reward=lambda text: 1.0 + len(text))
    tight(team.policies[0], monkeypatch, 0, backward=True)
    with pytest.raises(MemoryError) as error, pytest.warns(UserWarning, match="out of memory in a pass"):
        Reinforce(team).update(episodes)
    message = str(error.value)
    assert message.startswith("a pass over one message of ") and "lower max_new_tokens, set gradient_check" in message
    assert "\n" not in message


def test_other_errors_in_an_update_are_raised_as_they_are(make_team: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    team = make_team(1)
    episodes = play(team, questions(2), rounds=1)
    monkeypatch.setattr(team.policies[0].backbone, "before", lambda packed: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Reinforce(team).update(episodes)


@pytest.mark.parametrize("name", ["ippo", "magrpo"])
@pytest.mark.parametrize("saving", [False, True])
def test_16_bit_moves_float32_adapters_in_nearly_the_same_direction(
    make_team: Callable, name: str, saving: bool
) -> None:
    results, episodes = [], []
    for dtype in ("float32", "bfloat16"):
        team = make_team(tokens=8, base={"dtype": dtype, "gradient_checkpointing": saving})
        shake(team.policies[0], "agent_0", 0.1)
        algorithm = made(name, team, num_epochs=1, num_minibatches=1, max_grad_norm=None)
        seen = watch(algorithm)
        weights = {type(m): m.weight.dtype for m in team.policies[0].model.modules() if hasattr(m, "base_layer")}
        assert set(weights.values()) == {
            DTYPES[dtype]
        }  # the products' type, while what flows between the layers is float32
        episodes = episodes or play(team, questions(4), rounds=1, group_size=2)
        metrics = algorithm.update(episodes).metrics
        assert metrics["train/first_ratio_error"] < 1e-4
        for optimizer in algorithm.optimizers.values():
            for group in optimizer.param_groups:
                assert {p.dtype for p in group["params"]} == {torch.float32}
            assert {s[k].dtype for s in optimizer.state.values() for k in ("exp_avg", "exp_avg_sq")} == {torch.float32}
        results.append((seen, metrics))
    for key in results[0][0]:
        first, second = (r[0][key][0] for r in results)
        assert second.dtype == torch.float32
        assert torch.cosine_similarity(first, second, dim=0) > 0.98 and not torch.equal(first, second)
    assert 0 < results[1][1]["train/logprob_mismatch"] < 0.03


def test_what_samplers_keep_is_given_up_before_passes_are_halved(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = make_team(2, 2, tokens=8, sharing="shared")
    episodes = play(team, questions(4), rounds=2, group_size=2)
    assert team.policies[0].sampler._kept  # type: ignore[attr-defined]
    backbone, calls = team.policies[0].backbone, []
    original = backbone.before

    def before(packed: object) -> torch.Tensor:
        calls.append(packed)
        if len(calls) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return original(packed)

    monkeypatch.setattr(backbone, "before", before)
    algorithm = Reinforce(team)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        algorithm.update(episodes)
    assert algorithm.microbatch_tokens == 4096 and not team.policies[0].sampler._kept  # type: ignore[attr-defined]


def test_running_out_of_memory_before_the_first_pass_is_halved_too(make_team: Callable) -> None:
    algorithm = Reinforce(make_team(1))
    budgets: list[int] = []

    def packs(budget: int) -> list:
        budgets.append(budget)
        if len(budgets) == 1:
            raise MemoryError
        return []

    with pytest.warns(UserWarning, match="at most 2048"):
        assert algorithm.in_passes(packs, lambda packed: packed) == []
    assert budgets == [4096, 2048]


def test_messages_without_an_advantage_are_not_computed_and_change_nothing(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    after, computed = [], []
    for skipping in (True, False):
        team = make_team(2, sharing="shared")
        algorithm = MAGRPO(team, group_size=4, learning_rate=0.01, seed=0)
        if not skipping:
            monkeypatch.setattr(algorithm, "_moves", lambda rows, batch, advantages: np.ones(len(rows), bool))
        seen: list[int] = []

        def pack(rows: np.ndarray, *rest: object, seen: list = seen, original=team.policies[0].pack) -> list:
            seen.append(len(rows))
            return original(rows, *rest)

        monkeypatch.setattr(team.policies[0], "pack", pack)
        for seed in range(3):  # the second update has momentum, and half of the third's groups are equal
            episodes = play(team, questions(4), rounds=1, group_size=4, seed=seed)
            equal = [replace(e, rewards=(1.0,) * len(e.rewards)) if e.group < 2 * seed else e for e in episodes]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # all rewards of the last update are equal
                metrics = algorithm.update(equal).metrics
        after.append(weights(team.policies[0], "shared"))
        computed.append(seen)
        if skipping:
            assert metrics["train/idle_messages"] == 1.0
    assert computed[1] == [32, 32, 32] and computed[0][1] <= 16 and computed[0][2] == 0
    assert torch.allclose(after[0], after[1], atol=1e-5)

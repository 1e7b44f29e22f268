"""Tokens that closed a message's reasoning by force: policies learn nothing from them, critics read them like any other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_policy_gradient import Reinforce, logprob_of, watch
from toy_discussions import play, questions
from toy_models import shake

from maporl.agents.team import Team
from maporl.algorithms import IPPO, MAGRPO, MAPPO
from maporl.algorithms.batch import TurnBatch
from maporl.algorithms.losses import clipped_surrogate
from maporl.types import Episode

BUDGET, CLOSING = 3, 2
NEVER_READ = float("nan")


def cut(episodes: Sequence[Episode], stored: float = NEVER_READ) -> list[Episode]:
    """The same discussions, but of every second message the tokens after the budget were forced; `stored` are their log-probs."""

    def changed(e: Episode, odd: int) -> Episode:
        turns = list(e.transcript.turns)
        for n in range(odd, len(turns), 2):
            said = turns[n].completion
            assert said is not None
            places = np.arange(len(said.completion_ids)) - BUDGET
            forced = (places >= 0) & (places < CLOSING)
            if forced.any():
                logprobs = np.where(forced, np.float32(stored), said.logprobs)
                turns[n] = replace(turns[n], completion=replace(said, forced=forced, logprobs=logprobs))
        return replace(e, transcript=replace(e.transcript, turns=tuple(turns)))

    return [changed(e, n % 2) for n, e in enumerate(episodes)]


def discussions(team: Team, rounds: int = 1, **settings: int) -> list[Episode]:
    """Messages of different lengths, some with forced tokens in their middle."""
    team.policies[0].eos_ids = frozenset(range(0, 60))
    episodes = cut(play(team, questions(4), rounds=rounds, **settings))
    found = [c for e in episodes for c in e.completions]
    assert {c.forced is None for c in found} == {True, False} and len({len(c.completion_ids) for c in found}) > 2
    return episodes


@pytest.mark.parametrize("loss_agg", ["token", "message", "sum"])
@pytest.mark.parametrize("clip_range", [0.2, None])
@pytest.mark.parametrize("old_logprobs", ["sampled", "recomputed"])
def test_the_gradient_is_that_of_the_chosen_tokens(
    make_team: Callable, loss_agg: str, clip_range: float | None, old_logprobs: str
) -> None:
    """Surrogate, entropy and KL by hand, each over chosen tokens alone; weights count these, too."""
    team = make_team(temperature=0.7, tokens=9, sharing="shared")
    policy = team.policies[0]
    shake(policy, "shared")
    episodes = discussions(team)
    settings = dict(ent_coef=0.03, kl_coef=0.2, max_grad_norm=None, old_logprobs=old_logprobs)
    algorithm = Reinforce(team, loss_agg=loss_agg, clip_range=clip_range, **settings)
    seen = watch(algorithm)["shared"]
    said = [(turn.completion, e.rewards[i]) for e in episodes for i, turn in e.said]
    masks = [torch.from_numpy(np.ones(len(c.completion_ids), bool) if c.forced is None else ~c.forced) for c, _ in said]
    counts = [int(mask.sum()) for mask in masks]
    weight = {
        "token": lambda n: 1 / sum(counts),
        "message": lambda n: 1 / counts[n] / len(said),
        "sum": lambda n: 1 / len(said),
    }[loss_agg]
    total, entropies = torch.zeros(()), []
    for n, (message, reward) in enumerate(said):
        ids = torch.as_tensor(message.completion_ids)
        new, reference = (logprob_of(policy, a, message, 0.7) for a in ("shared", None))
        chosen = new[range(len(ids)), ids]
        surrogate = clipped_surrogate(chosen, chosen.detach(), torch.full(chosen.shape, reward), clip_range)
        distance = 0.5 * (chosen - reference[range(len(ids)), ids].detach()) ** 2
        spread = -(new.exp() * new).sum(-1)
        total = total + weight(n) * (surrogate + 0.2 * distance - 0.03 * spread)[masks[n]].sum()
        entropies.append(-chosen.detach()[masks[n]])
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, policy.parameters("shared"))])
    metrics = algorithm.update(episodes).metrics
    assert len(seen) == 1 and expected.abs().max() > 1e-4
    assert (seen[0] - expected).abs().max() < 1e-4 * expected.abs().max()
    assert metrics["train/entropy"] == pytest.approx(float(torch.cat(entropies).mean()), rel=1e-4)
    assert metrics["train/first_ratio_error"] < 1e-4 and metrics["train/logprob_mismatch"] < 1e-4
    assert metrics["train/approx_kl"] == pytest.approx(0, abs=1e-6)
    assert metrics["train/policy_loss"] == pytest.approx(total.item(), rel=1e-4)


@pytest.mark.parametrize("algorithm", [IPPO, MAPPO, MAGRPO])
def test_what_is_stored_of_a_forced_token_is_never_read(make_team: Callable, algorithm: type) -> None:
    """Several passes with importance weights and KL, in the reward or in the loss: any stored number gives the same update."""
    results = []
    for stored in (0.0, -40.0, NEVER_READ):
        team = make_team(2, 2, tokens=9)
        episodes = cut(discussions(team, 2, group_size=2), stored)
        settings = {"clip_range": 0.2} if algorithm is MAGRPO else {}
        learner = algorithm(team, num_epochs=2, learning_rate=0.01, kl_coef=0.1, old_logprobs="recomputed", **settings)
        seen = watch(learner)
        metrics = learner.update(episodes).metrics
        assert all(np.isfinite(value) for value in metrics.values())
        results.append((seen, metrics))
    for seen, metrics in results[1:]:
        assert metrics == results[0][1]
        assert all(torch.equal(a, b) for key in seen for a, b in zip(seen[key], results[0][0][key], strict=True))


def test_forced_tokens_are_steps_of_the_environment(make_team: Callable) -> None:
    """Values and returns are of all tokens; the penalty in the reward and the whitening are of the chosen ones."""
    team = make_team(1, 1, tokens=9)
    episodes = discussions(team)
    whole = TurnBatch.collect(episodes, team)
    chosen, every = whole.sampled_mask, whole.completion_mask
    assert (every & ~chosen).any() and not (chosen & ~every).any()
    free = replace(whole, sampled_mask=every)
    values = torch.rand(every.shape, generator=torch.Generator().manual_seed(0)) * every
    learner = IPPO(team, kl_coef=0.5, gae_lambda=1.0)
    assert torch.equal(learner.advantages(whole, values, None), learner.advantages(free, values, None))
    reference = (whole.old_logprobs - 0.3).nan_to_num(7.0) * every
    paid = learner.advantages(whole, values, reference) - learner.advantages(whole, values, None)
    to_come = chosen.int().flip(1).cumsum(1).flip(1) * every  # chosen tokens from here on
    assert torch.allclose(paid, -0.5 * 0.3 * to_come, atol=1e-5)
    judges = np.array([learner.critic_of(turn) for turn in whole.turns])
    contexts = list(whole.prompts)
    found, valued = learner.values(whole, contexts, judges)
    assert torch.equal(valued, every)
    caught: list[torch.Tensor] = []
    learner.improve = lambda batch, advantages, reference: (
        caught.append(advantages)
        or type(  # type: ignore
            "Update", (), {"metrics": {}}
        )()
    )
    learner.update(episodes)
    spread = caught[0]
    assert not spread[~chosen].any()
    assert spread[chosen].mean().abs() < 1e-5 and spread[chosen].std(correction=0) == pytest.approx(1, abs=1e-4)

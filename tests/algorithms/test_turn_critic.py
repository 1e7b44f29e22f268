"""The privileged critic of single messages: what it reads, its gradient, its advantages, and SWEET-RL's embedded task on tables."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from toy_models import logprobs_of, shake, weights

from maporl.agents.simulated_human import SimulatedHuman
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.agents.team import Team
from maporl.algorithms.losses import preference_loss, trajectory_scores
from maporl.algorithms.turn_critic import TurnCritic, pairs_of_one_task, rank_accuracy
from maporl.envs.tasks.requests import ATTRIBUTES, KINDS, Requests, asked_for
from maporl.rollouts.decisions import Candidate, Decision, pairs
from maporl.rollouts.play import rollout
from maporl.rollouts.resampling import resample
from maporl.types import Completion, Episode, Observation

Made = tuple[Team, TurnCritic, list[Episode]]


@pytest.fixture
def made(make_team: Callable[..., Team]) -> Callable[..., Made]:
    """made(**settings of the critic): a team of random models, of which agent_0 learns, its critic, and discussions."""

    def make(**settings: Any) -> Made:
        team = make_team(2, 2, tokens=6, frozen=["agent_1"])
        episodes = rollout(Requests(), team, Requests().questions("train")[:3], seed=1, branching=(3,))
        judge = copy.copy(team.learners["agent_0"])
        judge.adapter = "judge"
        judge.policy.add_adapter("judge", seed=4)
        return team, TurnCritic(judge, **{"learning_rate": 1e-3, "num_epochs": 1, **settings}), episodes

    return make


def length(episode: Episode) -> float:
    """Random models ask for nothing, so another worth."""
    return float(sum(len(c.completion_ids) for c in episode.completions)) + episode.branch[0] / 10


def test_passes_of_any_size_learn_the_same(made: Callable[..., Made]) -> None:
    learned = []
    for tokens in (1, 8 * 200, 100_000):  # a message a pass, several, all in one
        _, critic, episodes = made(microbatch_tokens=tokens, batch_size=8)
        critic.update(episodes, length)
        learned.append(weights(critic.judge.policy, "judge"))
    for other in learned[1:]:
        assert torch.allclose(learned[0], other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("normalise", ["turn_mean", "token_mean", "sum"])
def test_a_step_goes_up_the_gradient_of_the_loss(made: Callable[..., Made], normalise: str) -> None:
    _, critic, episodes = made(normalise=normalise, nll_coef=0.3, beta=0.5, max_grad_norm=None, batch_size=100)
    policy, mine = critic.judge.policy, policy_parameters(critic)
    shake(policy, "judge")
    plain = torch.optim.SGD(mine, lr=1.0)
    critic.optimizers["judge"] = plain
    critic.schedulers["judge"] = torch.optim.lr_scheduler.ConstantLR(plain, 1.0)
    before = [p.detach().clone() for p in mine]
    metrics = critic.update(episodes, length).metrics
    moved = [b - p.detach() for b, p in zip(before, mine, strict=True)]
    with torch.no_grad():
        for p, b in zip(mine, before, strict=True):
            p.copy_(b)

    worth = [(e.transcript.question.id, length(e)) for e in episodes]
    compared, skipped = pairs_of_one_task(worth)
    assert len(compared) == 9 and skipped == 0
    said = [(k, e, i) for k, e in enumerate(episodes) for i in (0, 2)]
    prompts = critic.judge.encode([e.state(i) for _, e, i in said])
    completions = [e.transcript.turns[i].completion.completion_ids for _, e, i in said]
    logprobs = logprobs_of(policy, "judge", prompts, completions)
    ratios = logprobs - logprobs_of(policy, None, prompts, completions).detach()
    mask = torch.tensor([[t < len(c) for t in range(logprobs.shape[1])] for c in completions])
    owners = torch.tensor([k for k, _, _ in said])
    better, worse = torch.tensor(compared).T
    score = trajectory_scores(ratios, mask, owners, len(episodes), normalise)
    likely = trajectory_scores(logprobs, mask, owners, len(episodes), "token_mean")
    none = torch.zeros(len(compared))
    preferred = preference_loss(score[better], score[worse], none, none, 0.5).mean()
    expected = torch.autograd.grad(preferred - 0.3 * likely[better].mean(), mine)
    assert metrics["critic/loss"] == pytest.approx(preferred.item(), abs=1e-5)
    assert metrics["critic/pairs"] == 9
    for a, b in zip(moved, expected, strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-3)


def policy_parameters(critic: TurnCritic) -> list[torch.nn.Parameter]:
    return critic.judge.policy.parameters(critic.name)


def test_only_the_critics_adapter_moves(made: Callable[..., Made]) -> None:
    team, critic, episodes = made()
    before = weights(critic.judge.policy, "agent_0")
    started = weights(critic.judge.policy, "judge")
    critic.update(episodes, length)
    assert torch.equal(weights(critic.judge.policy, "agent_0"), before)
    assert not torch.equal(weights(critic.judge.policy, "judge"), started)
    assert list(team.learners) == ["agent_0"]


def test_an_advantage_is_the_mean_log_ratio_after_the_privileged_prompt(made: Callable[..., Made]) -> None:
    team, critic, episodes = made()
    decisions = resample(Requests(), team, episodes[:2], "agent_0", 3, seed=2)
    assert [v for d in critic.advantages(decisions) for v in d.values] == pytest.approx([0.0] * 12, abs=1e-5)
    shake(critic.judge.policy, "judge")
    for d in critic.advantages(decisions):
        (prompt,) = critic.judge.encode([d.state])
        assert d.state["private"] in critic.judge.policy.tokenizer.decode(prompt) and not d.observation["private"]
        ids = [c.completion.completion_ids for c in d.candidates]
        spoken, base = (logprobs_of(critic.judge.policy, a, [prompt] * 3, ids) for a in ("judge", None))
        means = [(s - b)[: len(c)].mean().item() for s, b, c in zip(spoken, base, ids, strict=True)]
        assert d.values == pytest.approx(means, abs=1e-4)


def test_without_privilege_it_reads_what_the_speaker_reads(made: Callable[..., Made]) -> None:
    team, critic, episodes = made(privileged=False)
    shake(critic.judge.policy, "judge")
    decisions = resample(Requests(), team, episodes[:1], "agent_0", 2, seed=2)
    blank = [replace(d, state=d.observation) for d in decisions]
    values = [[d.values for d in critic.advantages(ds)] for ds in (decisions, blank)]
    assert values[0] == values[1]
    critic.privileged = True
    assert [d.values for d in critic.advantages(decisions)] != values[0]


def test_nothing_to_compare_is_told(made: Callable[..., Made]) -> None:
    _, critic, episodes = made()
    with pytest.raises(ValueError, match="none of 3 tasks has two discussions of which one earned more"):
        critic.update(episodes, lambda e: 0.5)
    with pytest.raises(ValueError, match="none of 0 tasks"):
        critic.update([], length)
    critic.only_right = True
    with pytest.raises(ValueError, match="none of 3 tasks .* one is fully right and another is not"):
        critic.update(episodes, lambda e: e.branch[0] / 3)
    found = critic.update(episodes, lambda e: 1.0 - e.branch[0] if e.group == 0 else 0.0).metrics
    assert found["critic/pairs"] == 2 and found["critic/skipped_tasks"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"normalise": "mean"}, "normalise is 'mean': use one of"),
        ({"beta": 0.0}, "beta is 0.0: above 0"),
        ({"nll_coef": -1.0}, "nll_coef is -1.0: at least 0"),
        ({"batch_size": 0}, "batch_size is 0: at least 1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TurnCritic(SmallAgent(SmallPolicy((2,), (0.5, 0.5)), "critic"), **settings)


def test_pairs_are_of_one_task() -> None:
    worth = [("a", 1.0), ("a", 0.0), ("b", 0.5), ("a", 0.0), ("b", 0.5), ("c", 0.6), ("c", 0.2), ("c", None)]
    assert pairs_of_one_task(worth) == ([(0, 1), (0, 3), (5, 6)], 1)
    assert pairs_of_one_task(worth, only_right=True) == ([(0, 1), (0, 3)], 2)


def test_rank_accuracy_by_hand() -> None:
    def decision(*values: float) -> Decision:
        seen: Any = {}
        return Decision(
            "0", "q", "a", 0, seen, seen, tuple(Candidate(str(n), Completion(""), v) for n, v in enumerate(values))
        )

    truth = {"0": 1.0, "1": 1.0, "2": 0.0}
    # (0, 2) right, (1, 2) wrong; then both tied; (0, 1) never counts
    found = [decision(3.0, 1.0, 2.0), decision(0.0, 0.0, 0.0)]
    assert rank_accuracy(found, lambda d, c: truth[c.id]) == pytest.approx((1 + 0 + 0.5 + 0.5) / 4)
    assert math.isnan(rank_accuracy(found, lambda d, c: 0.0))


# -- the embedded task on tables ---------------------------------------------------------------------------------------------

NAMES = list(ATTRIBUTES)


class Table(SmallAgent):
    """Reads kind of request, what it is told that matters (if it is), and what it asked for last; says which attribute it asks for."""

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        return [self._numbers(o) for o in observations]

    def _numbers(self, o: Observation) -> np.ndarray:
        told = [n for n, name in enumerate(NAMES) if name in o["private"]] or [6, 6]
        _, _, _, material, thing = o["question"].rstrip(".").split()
        asked = [asked_for(m["text"]) for m in o["transcript"] if m["agent"] == o["agent"]]
        last = NAMES.index(str(asked[-1])) if asked else 6
        return np.array([KINDS.index((material, thing)), *told, last])

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        said = super().act(observations, rngs, greedy=greedy)
        return [replace(c, text=f"Which {NAMES[int(c.text)]}?") for c in said]


def prefer(policy: SmallPolicy, preferred: Sequence[tuple[Candidate, Candidate]], beta: float = 0.1) -> None:
    """DPO of the actor's tables on all pairs at once."""
    states = np.stack([a.completion.prompt_ids for a, _ in preferred])
    chosen, rejected = (
        torch.tensor([[int(pair[k].completion.completion_ids[0])] for pair in preferred]) for k in (0, 1)
    )
    optimizer, none = torch.optim.Adam(policy.parameters("agent_0"), lr=0.3), torch.zeros(len(preferred))
    for _ in range(300):
        logprobs = policy.logits("agent_0", states).log_softmax(-1)
        better, worse = (logprobs.gather(1, of)[:, 0] for of in (chosen, rejected))
        optimizer.zero_grad()
        preference_loss(better, worse, none, none, beta).mean().backward()
        optimizer.step()


@pytest.mark.slow
def test_with_privilege_credit_is_found_and_without_it_is_not() -> None:
    """200 kinds, 6 uniform discussions of each: with c the turns are ranked and the actor learns; c blanked or labels permuted fail."""
    env = Requests()
    policy = SmallPolicy((200, 7, 7, 7), [1 / 6] * 6, log_linear=True)
    team = Team({("agent_0", 0): Table(policy, "agent_0"), ("agent_1", 0): SimulatedHuman()})
    kinds = {q.metadata["item"]: q for q in env.questions("train")}
    episodes = rollout(env, team, list(kinds.values()), seed=0, branching=(6,))
    assert np.mean([e.rewards[0] for e in episodes]) == pytest.approx(2 / 36, abs=0.02)
    asked = resample(env, team, episodes, "agent_0", 16, seed=(0, 1))
    ranked, solved = {}, {}
    controls: dict[str, dict[str, Any]] = {"c": {}, "c blanked": {"privileged": False}, "permuted": {"permuted": True}}
    for name, settings in controls.items():
        judge = Table(policy, name)
        critic = TurnCritic(judge, beta=1.0, learning_rate=0.03, **settings)
        critic.update(episodes)
        found = critic.advantages(asked)
        ranked[name] = rank_accuracy(found, lambda d, c: env.turn_value(d.state, c.completion.text))
        with torch.no_grad():
            policy.parameters("agent_0")[0].zero_()
        rng = np.random.default_rng(0)
        prefer(policy, [pair for d in found for pair in pairs(d, "halves", most=8, rng=rng)])
        after = rollout(env, team, env.questions("test"), seed=9, greedy=True)
        solved[name] = float(np.mean([e.rewards[0] for e in after]))
    assert ranked["c"] >= 0.95 and solved["c"] >= 0.9
    assert max(ranked["c blanked"], ranked["permuted"]) < 0.85
    assert max(solved["c blanked"], solved["permuted"]) < 0.5

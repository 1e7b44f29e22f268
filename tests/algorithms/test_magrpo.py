"""MAGRPO and its variants: who is compared with whom, over which rounds, and what that does to the gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_discussions import overflowing, paid, play, questions, readable_share
from toy_models import completion_logits, weights

from maporl.agents.team import Team
from maporl.algorithms import MAGRPO
from maporl.algorithms.algorithm import Update
from maporl.algorithms.magrpo import MAREINFORCE, MAREMAX, MARLOO
from maporl.envs import DiscussionEnv
from maporl.rollouts.play import rollout
from maporl.training.loop import Collector
from maporl.types import Completion, Episode, Question, Score

VARIANTS = [MAGRPO, MARLOO, MAREMAX, MAREINFORCE]


class Recorded:
    """The advantages that an algorithm hands to `improve`, without moving anything."""

    def __init__(self, algorithm: MAGRPO, monkeypatch: pytest.MonkeyPatch) -> None:
        def record(batch: object, advantages: torch.Tensor, ref: object = None, rows: object = None) -> Update:
            self.batch, self.advantages, self.rows = batch, advantages, rows
            return Update({})

        monkeypatch.setattr(algorithm, "improve", record)
        self.algorithm = algorithm

    def of(self, episodes: Sequence[Episode]) -> dict[tuple[str, int], list[float]]:
        """(agent, round) -> advantages in the order of the episodes."""
        self.algorithm.update(episodes)
        result: dict[tuple[str, int], list[float]] = {}
        for turn, value in zip(self.batch.turns, self.advantages.tolist(), strict=True):  # type: ignore[attr-defined]
            result.setdefault(turn.seat, []).append(value)
        return result


def by_seat(episodes: Sequence[Episode], rewards: dict[tuple[str, int], list[float]]) -> list[Episode]:
    """The same episodes with these rewards, by (agent, round)."""
    return paid(episodes, lambda n, turn: rewards[turn.seat][n])


REWARDS = {  # two groups of two discussions
    ("agent_0", 0): [1.0, 3.0, 0.0, 0.0],
    ("agent_1", 0): [5.0, 5.0, 2.0, 6.0],
    ("agent_0", 1): [2.0, 4.0, 8.0, 0.0],
    ("agent_1", 1): [0.0, 1.0, 0.0, 0.0],
}


@pytest.fixture
def discussions(make_team: Callable) -> tuple[Team, list[Episode]]:
    team = make_team(2, 2)
    return team, by_seat(play(team, questions(2), rounds=2, group_size=2), REWARDS)


def test_a_message_is_compared_within_question_agent_and_round(
    discussions: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, episodes = discussions
    got = Recorded(MAGRPO(team, group_size=2, gamma_round=0.5), monkeypatch).of(episodes)
    # Returns: agent_0 round 0: 1 + .5 * 2 = 2, 3 + .5 * 4 = 5, 0 + 4, 0 + 0; agent_1 round 0: 5, 5.5, 2, 6.
    assert got == {
        ("agent_0", 0): [-1.5, 1.5, 2, -2],
        ("agent_1", 0): [-0.25, 0.25, -2, 2],
        ("agent_0", 1): [-1, 1, 4, -4],
        ("agent_1", 1): [-0.5, 0.5, 0, 0],
    }


def test_gamma_changes_returns_and_one_is_the_default(discussions: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = discussions
    first = {
        gamma: Recorded(MAGRPO(team, group_size=2, gamma_round=gamma), monkeypatch).of(episodes)["agent_0", 0]
        for gamma in (0.0, 1.0, None)
    }
    assert first[0.0] == [-1, 1, 0, 0]  # its own reward alone
    assert first[1.0] == first[None] == [-2, 2, 4, -4]


def test_a_reward_that_contains_the_future_is_the_return(discussions: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = discussions
    future = [replace(e, contains_future=True) for e in episodes]
    assert Recorded(MAGRPO(team, group_size=2), monkeypatch).of(future)["agent_0", 0] == [-1, 1, 0, 0]
    for variant in VARIANTS:
        with pytest.raises(
            ValueError, match="gamma_round is 0.5, but this shaping's rewards contain the future already"
        ):
            variant(team, group_size=2, gamma_round=0.5).update(future)


def test_the_variants_really_differ(discussions: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = discussions
    first = {
        v.__name__: Recorded(v(team, group_size=2, gamma_round=0.0), monkeypatch).of(episodes)["agent_0", 0]
        for v in VARIANTS
    }
    assert first == {
        "MAGRPO": [-1, 1, 0, 0],
        "MARLOO": [-2, 2, 0, 0],
        "MAREMAX": [-2, 0, 0, 0],
        "MAREINFORCE": [1, 3, 0, 0],
    }


def test_standardised_groups_weigh_the_same(discussions: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = discussions
    got = Recorded(MAGRPO(team, group_size=2, standardise=True), monkeypatch).of(episodes)
    assert np.allclose(np.abs(got["agent_0", 1]), 1) and got["agent_1", 1][2:] == [0, 0]


def test_the_gradient_is_advantage_times_sum_of_log_probs_mean_over_messages(make_team: Callable) -> None:
    team = make_team(3, 1, sharing="shared", tokens=7)
    policy = team.policies[0]
    policy.eos_ids = frozenset(range(60))
    episodes = play(team, questions(1), rounds=1, group_size=4)
    algorithm = MAGRPO(team, group_size=4, max_grad_norm=None)
    earned = [(turn, e.rewards[i]) for e in episodes for i, turn in e.said]
    assert len({len(turn.completion.completion_ids) for turn, _ in earned}) > 1
    total = torch.zeros(())
    for turn, reward in earned:
        mean = np.mean([other for t, other in earned if t.agent == turn.agent])
        said: Completion = turn.completion
        logits = completion_logits(policy, "shared", [said.prompt_ids], [said.completion_ids])[0]
        logprobs = logits.log_softmax(-1)[range(len(said.completion_ids)), torch.as_tensor(said.completion_ids)]
        total = total - (reward - mean) * logprobs.sum() / len(earned)
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(total, policy.parameters("shared"))])
    seen = []
    parameters = policy.parameters("shared")
    algorithm.optimizers["shared"].register_step_pre_hook(
        lambda *_: seen.append(torch.cat([p.grad.flatten() for p in parameters]).clone())
    )
    algorithm.update(episodes)
    assert expected.abs().max() > 1e-5 and (seen[0] - expected).abs().max() < 1e-4 * expected.abs().max()


def test_equal_rewards_in_every_group_move_nothing(make_team: Callable) -> None:
    team = make_team(2, 1)
    before = weights(team.policies[0], "agent_0")
    rewards = {("agent_0", 0): [1.0, 1.0, 3.0, 3.0], ("agent_1", 0): [1.0, 2.0, 3.0, 4.0]}
    episodes = by_seat(play(team, questions(2), rounds=1, group_size=2), rewards)
    metrics = MAGRPO(team, group_size=2, learning_rate=0.1).update(episodes).metrics
    assert metrics["train/grad_norm/agent_0"] == 0 and metrics["train/grad_norm/agent_1"] > 0
    assert torch.equal(weights(team.policies[0], "agent_0"), before)


# -- overflow ----------------------------------------------------------------------------------------------------------------


def test_a_group_that_overflow_leaves_alone_is_left_out(discussions: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = discussions
    recorded = Recorded(MAGRPO(team, group_size=2, gamma_round=0.0), monkeypatch)
    assert recorded.of([overflowing(episodes[0]), *episodes[1:]])["agent_0", 1] == [4, -4]
    with pytest.raises(ValueError, match="no group of the 2 episodes has two discussions to compare"):
        recorded.of([episodes[0], episodes[2]])


def test_discussions_left_out_are_counted(make_team: Callable) -> None:
    team = make_team(2, 1)
    episodes = play(team, questions(2), rounds=1, group_size=2)
    metrics = MAGRPO(team, group_size=2).update([overflowing(episodes[0]), *episodes[1:]]).metrics
    assert metrics["train/dropped_episodes"] == 2  # the overflowed one and the one it leaves alone


# -- cross joint actions -------------------------------------------------------------------------------------------------------


def both_lengths(question: Question, responses: dict[str, str]) -> Score:
    """A reward of the joint action that is no sum of parts."""
    one, two = (readable_share(responses[f"agent_{n}"]) for n in range(2))
    return Score(one * two + 0.1 * one, None)


class Pair(DiscussionEnv):
    default_team_verifier = staticmethod(both_lengths)
    default_shaping = "team_score"

    def load(self, split: str) -> Iterable[Question]:
        return questions(60 if split == "train" else 4)


def test_cross_compares_a_sample_over_all_joint_actions_that_hold_it(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    env, team = Pair(num_agents=2, num_rounds=1), make_team(2, 1)
    asked = env.questions("train")[:2]
    sampled = rollout(env, team, asked, seed=0, branching=(3,))
    joint = rollout(env, team, asked, seed=0, branching=(3,), joint="cross")
    assert len(joint) == 2 * 3**2
    algorithm = MAGRPO(team, group_size=3, joint="cross")
    assert algorithm.joint == "cross" and algorithm.group_size == 3
    recorded = Recorded(algorithm, monkeypatch)
    recorded.of(joint)

    texts = {
        a: [[e.transcript.turns[n].text for e in sampled[g : g + 3]] for g in (0, 3)] for n, a in enumerate(team.agents)
    }
    rewards = [
        [
            [both_lengths(asked[0], {"agent_0": a, "agent_1": b}).value for b in texts["agent_1"][g]]
            for a in texts["agent_0"][g]
        ]
        for g in (0, 1)
    ]
    checked = set()
    for row in recorded.rows:  # type: ignore[union-attr]
        turn = recorded.batch.turns[row]
        group = int(recorded.batch.groups[row])
        table = np.array(rewards[group]) if turn.agent == "agent_0" else np.array(rewards[group]).T
        position = texts[turn.agent][group].index(turn.text)
        expected = table[position].mean() - table.mean()
        assert float(recorded.advantages[row]) == pytest.approx(expected, abs=1e-6)
        checked.add((turn.agent, group, position))
    assert len(checked) == len(recorded.rows) == 2 * 2 * 3  # each sample is trained on once, not once a joint action


def test_cross_trains(make_team: Callable) -> None:
    env, team = Pair(num_agents=2, num_rounds=1), make_team(2, 1)
    asked = env.questions("train")[:2]
    joint = rollout(env, team, asked, seed=0, branching=(3,), joint="cross")
    metrics = MAGRPO(team, group_size=3, joint="cross").update(joint).metrics
    assert metrics["train/first_ratio_error"] < 1e-4
    assert metrics["train/grad_norm/agent_0"] > 0 and metrics["train/grad_norm/agent_1"] > 0


def test_what_cannot_be_recombined(make_team: Callable) -> None:
    with pytest.raises(ValueError, match="joint is 'cross' with 2 rounds.*Use rollouts='tree', num_rounds=1"):
        MAGRPO(make_team(2, 2), group_size=2, joint="cross")
    team = make_team(2, 1)
    for arguments in ({"num_rounds": 2}, {"num_rounds": 1, "protocol": "round_robin"}):
        env = Pair(num_agents=2, **arguments)
        with pytest.raises(ValueError, match="a message that answers another cannot be recombined"):
            Collector(env, team, 2, branching=(2,), joint="cross")


# -- settings ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"group_size": 1}, "group_size is 1: a group-relative advantage needs at least 2"),
        ({"joint": "all"}, "joint is 'all': use 'aligned' or 'cross'"),
        ({"num_epochs": 2}, "num_epochs is 2: without a ratio only the first pass"),
        ({"kl_coef": 0.1, "kl_in": "reward"}, "kl_in is 'reward': without a critic the KL belongs in the 'loss'"),
        ({"gamma_round": 1.1}, "gamma_round is 1.1"),
    ],
)
def test_bad_settings(make_team: Callable, variant: type[MAGRPO], settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        variant(make_team(1), **settings)
    assert "\n" not in str(error.value)


def test_the_papers_defaults(make_team: Callable) -> None:
    algorithm = MAGRPO(make_team(2))
    assert (algorithm.clip_range, algorithm.kl_coef, algorithm.standardise) == (None, 0.0, False)
    assert (algorithm.loss_agg, algorithm.baseline, algorithm.joint) == ("sum", "mean", "aligned")


def test_a_ratio_allows_more_than_one_pass(make_team: Callable) -> None:
    team = make_team(2, 1)
    algorithm = MAGRPO(team, group_size=2, clip_range=0.2, num_epochs=3, learning_rate=0.05)
    metrics = algorithm.update(play(team, questions(4), rounds=1, group_size=2)).metrics
    assert metrics["train/first_ratio_error"] < 1e-4 and metrics["train/clip_fraction"] > 0

"""Episodes as one batch: what is trained on, what is earned, and how it is cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from toy_discussions import completion, episode, overflowing

from maporl.agents.agent import ScriptedAgent
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.team import Team
from maporl.algorithms.batch import TurnBatch, discount_between_rounds, minibatches
from maporl.types import Episode

A, B = "agent_0", "agent_1"


def seat(adapter: str | None) -> LLMAgent:
    return LLMAgent(None, adapter)  # type: ignore[arg-type]  (no model is needed to sort messages)


def debate(**changes: object) -> Episode:
    turns = [
        (A, 0, completion(11, 12, 1), 1.0),
        (B, 0, completion(21, logprobs=[-0.5]), 2.0),
        (A, 1, completion(13, 14), 3.0),
        (B, 1, completion(23, 24, 25, 1), 4.0),
    ]
    return episode((A, B), turns, **changes)  # type: ignore[arg-type]


def of(episode: Episode, team: Team) -> Episode:
    """The episode as this team has held it: who is not trained learns nothing."""
    return replace(episode, learns=tuple(team.learner(*turn.seat) is not None for turn in episode.transcript.turns))


def two_learners() -> Team:
    one, two = seat("one"), seat("two")
    return Team({(A, 0): one, (A, 1): one, (B, 0): two, (B, 1): two})


def test_everything_about_a_message_is_in_its_row() -> None:
    batch = TurnBatch.collect([debate(group=5)], two_learners())
    assert len(batch) == 4
    assert batch.learners.tolist() == ["one", "one", "two", "two"]
    assert batch.rounds.tolist() == [0, 1, 0, 1] and batch.agents.tolist() == [0, 0, 1, 1]
    assert batch.rewards.tolist() == [1, 3, 2, 4]
    assert batch.groups.tolist() == [5] * 4 and batch.samples.tolist() == [0, 1, 2, 3]
    assert batch.chains == [[0, 1], [2, 3]] and batch.gaps.tolist() == [1, 0, 1, 0]
    assert batch.completion_mask.sum(1).tolist() == [3, 2, 1, 4]
    assert batch.old_logprobs[2].tolist() == [-0.5, 0, 0, 0]
    assert [c.tolist() for c in batch.completions] == [[11, 12, 1], [13, 14], [21], [23, 24, 25, 1]]
    assert batch.chain_of.tolist() == [0, 0, 1, 1]


def test_the_last_token_is_in_the_batch() -> None:
    # EOS (id 1) at the end of rows 0 and 3, none in row 1 (truncated), one single token in row 2.
    batch = TurnBatch.collect([debate()], two_learners())
    for n, c in enumerate(batch.completions):
        assert batch.completion_mask[n, : len(c)].all() and not batch.completion_mask[n, len(c) :].any()


def frozen_round(*rounds: int, count: int) -> Team:
    learner, base = seat("one"), seat(None)
    return Team({(A, r): base if r in rounds else learner for r in range(count)})


def alone(*rewards: float) -> Episode:
    return episode((A,), [(A, r, completion(10 + r), value) for r, value in enumerate(rewards)])


def test_a_frozen_messages_reward_is_still_earned_by_the_message_before_it() -> None:
    # Trained, frozen, trained, frozen, frozen with rewards 1, 2, 4, 8, 16 and gamma .5.
    team = frozen_round(1, 3, 4, count=5)
    batch = TurnBatch.collect([of(alone(1, 2, 4, 8, 16), team)], team, 0.5)
    assert batch.rounds.tolist() == [0, 2] and batch.chains == [[0, 1]]
    assert batch.gaps.tolist() == [2, 0]
    assert batch.rewards.tolist() == [1 + 0.5 * 2, 4 + 0.5 * 8 + 0.25 * 16]


def test_what_was_said_before_the_first_trained_message_is_nobodys_merit() -> None:
    team = frozen_round(0, count=2)
    batch = TurnBatch.collect([of(alone(7, 2), team)], team)
    assert batch.rewards.tolist() == [2] and batch.chains == [[0]] and batch.gaps.tolist() == [0]


def test_rewards_that_contain_the_future_are_not_summed() -> None:
    team = frozen_round(1, 2, count=3)
    plain = of(alone(1, 2, 4), team)
    future = replace(plain, contains_future=True)
    batch = TurnBatch.collect([future], team)
    assert batch.rewards.tolist() == [1] and batch.contains_future
    assert TurnBatch.collect([plain, future], team).contains_future


def test_asking_for_a_discount_on_top_of_the_future_raises() -> None:
    with pytest.raises(ValueError, match=r"gamma_round is 0.5, but this shaping's rewards contain the future already"):
        TurnBatch.collect([debate(contains_future=True)], two_learners(), 0.5)
    assert discount_between_rounds(None, True) == 0.0 and discount_between_rounds(0.0, True) == 0.0
    assert discount_between_rounds(None, False) == 1.0 and discount_between_rounds(0.3, False) == 0.3


def test_scripted_and_frozen_speakers_are_not_trained_on() -> None:
    scripted, frozen = ScriptedAgent(lambda o, rng: "7"), LLMAgent(None, "two", trainable=False)  # type: ignore[arg-type]
    team = Team({(A, 0): seat("one"), (A, 1): frozen, (B, 0): scripted, (B, 1): seat(None)})
    batch = TurnBatch.collect([of(debate(), team)], team)
    assert batch.learners.tolist() == ["one"] and batch.rounds.tolist() == [0]


def test_an_overflowed_discussion_is_dropped_and_counted() -> None:
    batch = TurnBatch.collect([overflowing(debate()), debate(group=1), overflowing(debate())], two_learners())
    assert batch.dropped == 2 and batch.groups.tolist() == [1] * 4


def test_nothing_left_to_train_on_is_an_error() -> None:
    with pytest.raises(
        ValueError, match="no message to train on: of 1 episodes 1 were dropped \\(overflowed the model's window\\)"
    ):
        TurnBatch.collect([overflowing(debate())], two_learners())
    with pytest.raises(ValueError, match="no message to train on: of 0 episodes"):
        TurnBatch.collect([], two_learners())


def test_a_completion_in_several_joint_actions_is_one_sample() -> None:
    a, b, c = completion(11), completion(12), completion(21)
    joint = [episode((A, B), [(A, 0, x, 1.0), (B, 0, c, 1.0)]) for x in (a, b)]
    assert TurnBatch.collect(joint, two_learners()).samples.tolist() == [0, 1, 2, 1]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 6), min_size=0, max_size=30), st.integers(1, 5), st.integers(0, 1000))
def test_minibatches_hold_every_row_once_and_chains_whole(chains: list[int], number: int, seed: int) -> None:
    chain_of = np.array([9, *chains, 9], np.int64)
    rows = np.arange(1, len(chains) + 1)  # not all: some messages are trained elsewhere
    parts = minibatches(rows, chain_of, number, np.random.default_rng(seed))
    assert sorted(r for p in parts for r in p.tolist()) == rows.tolist()
    assert len(parts) == min(number, len(set(chains))) and all(len(p) for p in parts)
    owners = [set(chain_of[p].tolist()) for p in parts]
    assert sum(len(o) for o in owners) == len(set(chains)), "a chain is in one part only"
    assert not owners or max(map(len, owners)) - min(map(len, owners)) <= 1


def test_minibatches_are_drawn_at_random() -> None:
    chain_of, rng = np.repeat(np.arange(20), 2), np.random.default_rng(0)
    first, second = (minibatches(np.arange(40), chain_of, 2, rng)[0].tolist() for _ in range(2))
    assert first != second

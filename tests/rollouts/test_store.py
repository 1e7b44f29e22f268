"""Whole discussions come back from disk as they were, token for token."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from toy_discussions import readable_share

from maporl.algorithms import MAPPO
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.envs.verifiers import Function, TranscriptVerifier
from maporl.rollouts.play import rollout
from maporl.rollouts.records import checks_of, read_records, record
from maporl.rollouts.store import EpisodeStore
from maporl.types import Check, Episode, Question, Score


@pytest.fixture
def env() -> Arithmetic:
    return Arithmetic(num_agents=2, num_rounds=2, protocol="reconcile", shaping=["outcome_credit"])


def written(env: Arithmetic, episodes: list[Episode], folder: Path) -> EpisodeStore:
    store = EpisodeStore(folder)
    answers = [env.team_answer(e.transcript) for e in episodes]
    records = [record(e, a, greedy=False, sample=n) for n, (e, a) in enumerate(zip(episodes, answers, strict=True))]
    store.write("shard", episodes, records)
    return store


def test_what_is_read_is_what_was_written(make_team: Callable, env: Arithmetic, tmp_path: Path) -> None:
    """Transcripts with feedback, verdicts, rewards, who learns; tokens and log-probs to the bit."""
    team = make_team(2, 2)
    episodes = rollout(env, team, env.questions("train")[:3], seed=0)
    store = written(env, episodes, tmp_path)
    again = store.read("shard", env.rules)
    assert store.names == ["shard"] and again == episodes
    for before, after in zip(episodes, again, strict=True):
        for (index, one), (_, other) in zip(before.said, after.said, strict=True):
            assert vars(one.score or one) == vars(other.score or other)
            for name in ("prompt_ids", "completion_ids", "logprobs"):
                left, right = getattr(one.completion, name), getattr(other.completion, name)
                assert np.array_equal(left, right) and left.dtype == right.dtype
            assert one.completion.truncated == other.completion.truncated
            assert before.state(index) == after.state(index)
    assert len(read_records(tmp_path / "shard.jsonl")) == 3  # what reports read


def test_learning_from_what_was_stored_is_learning_from_it_at_once(make_team: Callable, tmp_path: Path) -> None:
    def pays(question: Question, response: str) -> float:
        return readable_share(response)  # which varies on random text

    env = Arithmetic(num_agents=2, num_rounds=2, protocol="reconcile", verifier=pays, shaping="own_score")
    metrics = []
    for stored in (False, True):
        team = make_team(2, 2)
        episodes = rollout(env, team, env.questions("train")[:4], seed=0)
        if stored:
            episodes = written(env, episodes, tmp_path).read("shard", env.rules)
        metrics.append(MAPPO(team, learning_rate=1e-3).update(episodes).metrics)
    assert metrics[0] == metrics[1] and metrics[0]["train/grad_norm/agent_0"] > 0


@pytest.mark.parametrize("whole", [False, True])
def test_measures_come_back_with_their_scores(make_team: Callable, tmp_path: Path, whole: bool) -> None:
    """Of a message, of a round, and of a whole discussion; what reports read has those of messages."""

    def measured(*asked: object) -> Score:
        return Score(0.5, None, measures={"passed": 0.25, "parses": 1.0})

    team_verifier = (
        type("Whole", (TranscriptVerifier,), {"__call__": lambda self, t: measured()})() if whole else measured
    )
    env = Arithmetic(2, 2, verifier=measured, team_verifier=team_verifier)
    episodes = rollout(env, make_team(2, 2), env.questions("train")[:2], seed=0)
    store = written(env, episodes, tmp_path)
    assert store.read("shard") == episodes
    again = store.read("shard")[0].transcript
    for score in (again.turns[0].score, again.verdict if whole else again.team_scores[1]):
        assert score is not None and score.measures == {"passed": 0.25, "parses": 1.0} and hash(score)
    assert read_records(tmp_path / "shard.jsonl")[0]["turns"][0]["score"]["measures"]["passed"] == 0.25


def test_checks_come_back_and_are_written_once(make_team: Callable, tmp_path: Path) -> None:
    """Those of the ground truth only where they are not the verifier's; of rounds, too."""
    held, failed = Check("assert f(1) == 1", "passed"), Check("assert f(2) == 1", "failed", "f(2) gave 2")

    def by(*checks: Check) -> Score:
        return Score(0.5, None, "def f(x):\n    return x", checks=checks, explanation="half")

    env = Arithmetic(2, 2, verifier=lambda *a: by(held, failed), team_verifier=lambda *a: by(failed))
    for truth in ((held, failed), (held,), ()):
        env.verifiers = replace(env.verifiers, ground_truth=Function(lambda *a, truth=truth: by(*truth)))
        episodes = rollout(env, make_team(2, 2), env.questions("train")[:2], seed=0)
        again = written(env, episodes, tmp_path).read("shard")
        assert again == episodes and hash(again[0].transcript.turns[0].score) and again[0].transcript.team_scores
        turn = read_records(tmp_path / "shard.jsonl")[0]["turns"][0]
        assert turn["score"]["checks"] == [
            ["assert f(1) == 1", "passed"],
            ["assert f(2) == 1", "failed", "f(2) gave 2"],
        ]
        assert ("checks" in turn["truth"]) == (truth != (held, failed)) and checks_of(turn) == list(truth)


def test_tokens_are_read_without_discussions(make_team: Callable, env: Arithmetic, tmp_path: Path) -> None:
    """Also of the first of a file's discussions alone, with what is known of each token."""
    episodes = rollout(env, make_team(2, 2), env.questions("train")[:3], seed=0)
    store = EpisodeStore(tmp_path)
    said = {
        (n, i): t.completion
        for n, e in enumerate(episodes[:2])
        for i, t in enumerate(e.transcript.turns)
        if t.completion
    }
    (first, one), *others = said.items()
    credit = {first: np.arange(len(one.completion_ids)) / 4, others[0][0]: -0.5}
    words = {"agent_0": {"texts": {"5": "\ud83c half"}, "special": [5]}}
    store.write_tokens("shard", episodes[:2], advantages=credit, vocabulary=words)
    found = store.tokens("shard")
    assert store.names == [] and found.vocabulary == words and found.messages.keys() == said.keys()
    for place, message in said.items():
        assert np.array_equal(found.messages[place].prompt_ids, message.prompt_ids)
        assert np.array_equal(found.messages[place].logprobs, message.logprobs)
    assert found.advantages.keys() == credit.keys() and np.array_equal(found.advantages[first], credit[first])
    assert (found.advantages[others[0][0]] == -0.5).all()
    store.write_tokens("shard", episodes[:1])
    assert (store.tokens("shard").advantages, store.tokens("shard").vocabulary) == ({}, {})
    assert store.tokens("nothing").messages == {}


def test_a_shard_that_is_none(tmp_path: Path, env: Arithmetic) -> None:
    with pytest.raises(ValueError, match="holds no whole discussions; name a shard"):
        EpisodeStore(tmp_path).read("nothing")

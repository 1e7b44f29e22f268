"""Feedback that a task gives between rounds, beside what a protocol says itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from discussion_toys import Digits
from test_irregular import Checked, Led, heard, order, step_through, team_of

from maporl.agents import ScriptedAgent
from maporl.cli.flags import Parser, settings_of
from maporl.envs import check_env
from maporl.envs.feedback import Feedback
from maporl.envs.protocols import Debate
from maporl.rollouts.play import rollout
from maporl.training.config import RunConfig
from maporl.training.evaluation import check_oracle
from maporl.types import Transcript, Turn

A, B = "agent_0", "agent_1"


class Counts(Feedback):
    """How many messages there have been; how long it may get is told without asking for any."""

    uses_gold = False

    def __init__(self, name: str = "counter") -> None:
        self.name = name
        self.asked: list[int] = []

    def __call__(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        self.asked.append(len(transcripts))
        return [[Turn(self.name, t.turns[-1].round, f"{len(t.turns)} turns", kind="feedback")] for t in transcripts]

    def longest(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        return [[Turn(self.name, t.turns[-1].round, "long " * 50, kind="feedback")] for t in transcripts]


def nothing_said(transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
    return [()] * len(transcripts)


def gold_told(transcripts: Sequence[Transcript]) -> list[list[Turn]]:
    return [[Turn("oracle", t.turns[-1].round, t.question.answer, kind="feedback")] for t in transcripts]


def one_too_few(transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
    return [()] * (len(transcripts) - 1)


def test_it_is_asked_once_a_wave_and_shown_to_all() -> None:
    feedback = Counts()
    env = Digits(2, 3, feedback=feedback)
    team = team_of(env, ScriptedAgent(lambda o, rng: "x"))
    episodes = rollout(env, team, env.questions("train")[:4], seed=0)
    assert feedback.asked == [4, 4]  # never after the last message, which nobody would hear
    for played in episodes:
        t = played.transcript
        assert order(t) == [(A, 0), (B, 0), ("counter", 0), (A, 1), (B, 1), ("counter", 1), (A, 2), (B, 2)]
        assert [turn.text for turn in t.turns if not turn.said] == ["2 turns", "5 turns"]
        assert heard(played.observation(4)) == [(B, 0), (A, 0), ("counter", 0)]
        assert heard(played.state(3)) == [(A, 0), (B, 0), ("counter", 0)]
        step_through(env, played)
    feedback.asked.clear()
    for length in range(8):  # from every prefix, with it and without
        prefix = replace(t, turns=t.turns[:length], completed_rounds=-1)
        [rest] = rollout(env, team, [prefix], seed=(0,))
        assert rest.transcript == t, length
    check_env(Digits(2, 3, feedback=Counts()))


def test_it_follows_what_the_protocol_says_wave_by_wave() -> None:
    env = Digits(2, protocol=Checked(2), feedback=Counts())
    [played] = rollout(env, team_of(env, ScriptedAgent(lambda o, rng: "x")), env.questions("train")[:1], seed=0)
    assert [turn.agent for turn in played.transcript.turns] == [A, B, "tests", "counter", A, B]
    assert played.transcript.turns[3].text == "2 turns"  # both are asked at once
    env = Digits(3, 1, protocol=Led(1), feedback=Counts())
    [played] = rollout(env, team_of(env, ScriptedAgent(lambda o, rng: "x")), env.questions("train")[:1], seed=0)
    assert [turn.agent for turn in played.transcript.turns] == [B, "agent_2", "counter", A, "counter", A]


@pytest.mark.parametrize(
    "spec",
    [Counts, "test_feedback:Counts", {"name": "test_feedback:Counts"}, nothing_said, "none", None],
)
def test_whatever_names_it(spec: object) -> None:
    env = Digits(2, 2, feedback=spec)
    env.reset(seed=0)
    env.step("x")
    env.step("x")
    silent = spec in (None, "none", nothing_said)
    assert len(env.transcript.turns) == 2 + (not silent)
    assert env.oracle is (spec is nothing_said)  # it does not say that it does not look at the gold answer


def test_what_is_none() -> None:
    with pytest.raises(TypeError, match="feedback 3 cannot be called; give a Feedback, its word, or a function"):
        Digits(2, 2, feedback=3)
    with pytest.raises(ValueError, match=r"unknown feedback 'detaild'\. Did you mean 'detailed'"):
        Digits(2, 2, feedback="detaild")
    env = Digits(2, 2, feedback=one_too_few)
    env.reset(seed=0)
    env.step("x")
    with pytest.raises(ValueError, match="feedback one_too_few says something to 0 of 1 discussions"):
        env.step("x")


@pytest.mark.parametrize("said", [None, "hello", ["hello"], [None], [["hello"]], 3])
def test_what_has_not_the_form_of_feedback(said: object) -> None:
    def of_task(transcripts: Sequence[Transcript]) -> Any:
        return said

    class OfProtocol(Debate):
        def feedback(self, transcripts: Sequence[Transcript]) -> Any:
            return said

    class Opening(Debate):
        def opening(self, transcripts: Sequence[Transcript]) -> Any:
            return said

    for how in ({"feedback": of_task}, {"protocol": OfProtocol()}, {"protocol": Opening()}):
        env = Digits(2, None, **how)
        with pytest.raises(ValueError, match="return for each a list of its Turns"):
            env.reset(seed=0)
            env.step("x")
            env.step("x")


def test_a_task_may_have_its_own() -> None:
    class Told(Digits):
        default_feedback = gold_told

    env = Told(2, 2)
    assert env.oracle and env.team_answer(env.rules.start(env.questions("train")[0])).oracle
    with pytest.raises(ValueError, match="feedback gold_told looks at the gold answer"):
        check_oracle(env, allow_oracle=False)
    assert not Told(2, 2, feedback="none").oracle


def test_it_is_set_as_every_part_is(tmp_path) -> None:
    """By keyword, on the command line, and from the configuration that a run folder keeps."""
    parser = Parser(prog="maporl train")
    parser.add_settings(settings_of(RunConfig))
    flags = parser.parse_args(["--env", "two_witnesses", "--env_args.feedback", "test_feedback:Counts"]).given
    for config in (RunConfig().merged(flags), RunConfig(env="two_witnesses", env_args={"feedback": Counts})):
        config.save(tmp_path / "config.yaml")
        assert isinstance(RunConfig.load(tmp_path / "config.yaml").build_env().feedback, Counts)
    with pytest.raises(ValueError, match="feedback 'test_feedback:Counts' has no argument 'nam'"):
        RunConfig(env="two_witnesses", env_args={"feedback": {"name": "test_feedback:Counts", "nam": "x"}}).build_env()


def test_the_longest_discussion_has_the_longest_of_it_and_asks_nobody() -> None:
    feedback = Counts()
    env = Digits(2, 2, feedback=feedback)
    *_, (transcript, _) = env.rules.longest(env.questions("train")[0])
    assert transcript.turns[2].text == "long " * 50 and not feedback.asked

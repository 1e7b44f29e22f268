"""Code and lessons in turn: what everybody is told, what lessons are shown, and how a discussion ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from maporl.agents.prompts import PromptTemplate
from maporl.envs import DiscussionEnv, Lessons
from maporl.envs.protocols.lesson_bank import SPEEDUP
from maporl.envs.tasks.coding.task import CodingTask
from maporl.envs.verifiers import Verifier
from maporl.types import Question, Score, Transcript, Turn

SPEED = {"name": "lessons", "measure": SPEEDUP}


class Told(Verifier):
    """Reads the speed-up off the program: "s=1.5"; "wrong", "slow" (a time-out) and "?" (no program) are what they say."""

    uses_gold = False

    def __call__(self, question: Question, response: str) -> Score:
        if response == "?":
            log = "\n".join(f"line {n}" for n in range(1, 10))
            return Score(0.0, False, None, "no_answer", log, measures={SPEEDUP: 0.0})
        if response in ("wrong", "slow"):
            late = response == "slow"
            return Score(0.0, None if late else False, None, "timeout" if late else "ok", measures={SPEEDUP: 0.0})
        speedup = float(response.removeprefix("s="))
        return Score(speedup / 10, True, response, measures={SPEEDUP: speedup})


class Share(Verifier):
    """The share of the tests that a program passes."""

    uses_gold = False

    def __call__(self, question: Question, response: str) -> Score:
        return Score(float(response), float(response) == 1, response)


class Code(DiscussionEnv):
    instruction = "Write it."
    default_verifier = Told
    default_protocol = SPEED

    def load(self, split: str) -> Sequence[Question]:
        return [Question("sort the list", "")]


def spoken(*texts: str, agents: int = 2, rounds: int = 5, **arguments: Any) -> DiscussionEnv:
    env = Code(agents, rounds, **arguments)
    env.reset(seed=0)
    for text in texts:
        env.step(text)
    return env


def told(env: DiscussionEnv, agent: str) -> list[tuple[str, str]]:
    return [(m["agent"], m["text"]) for m in env.observe(agent)["transcript"]]


def outcome(text: str) -> str:
    return told(spoken(text, "s=1"), "agent_0")[1][1]


@pytest.mark.parametrize(
    "text, said",
    [
        ("s=2.5", "significantly faster than the original: 2.5 times as fast. Explain in one or two sentences what made it faster."),
        ("s=1.1", "significantly faster than the original: 1.1 times as fast. Explain in one or two sentences what made it faster."),
        ("s=1.05", "slightly faster than the original: 1.05 times as fast. Explain in one or two sentences what made it faster."),
        ("s=0.5", "no faster than the original: 0.5 times as fast. Explain in one or two sentences what keeps it from being faster."),
        ("wrong", "wrong. Explain in one or two sentences what is wrong with it."),
        ("slow", "wrong: it takes too long. Explain in one or two sentences what is wrong with it."),
        (
            "?",
            "nothing that can be read or built: line 1\nline 2\nline 3\nline 4\nline 5\nline 6\nline 7. Explain in one or two sentences "
            "what must be mended.",
        ),
    ],
)  # fmt: skip
def test_everybody_is_told_what_came_of_its_own(text: str, said: str) -> None:
    assert outcome(text) == f"Your answer is {said}"


def test_nobody_is_told_of_anothers_answer() -> None:
    env = spoken("s=2", "s=3")
    assert told(env, "agent_1") == [
        ("agent_1", "s=3"),
        (
            "outcome of agent_1",
            "Your answer is significantly faster than the original: 3 times as fast. Explain in one or two sentences what made it faster.",
        ),
    ]
    assert env.observe("agent_0")["instruction"].startswith(
        "Write it. When you are told what came of your answer, reply with a lesson"
    )


def test_a_coding_tasks_own_feedback_is_silent_where_lessons_tell_what_came_of_it() -> None:
    """It would tell everybody of everybody's code, and take lessons for code."""

    class Doubling(CodingTask):
        def load(self, split: str) -> list[Question]:
            return [self.question("Double x.", "assert f(1) == 2\nassert f(3) == 6", "f")]

    env = Doubling(2, 3, protocol="lessons")
    env.reset(seed=0)
    for text in ("def f(x): return 2", "def f(x): return", "Count on.", "Return it."):
        env.step(text)
    outside = [(turn.agent, turn.round) for turn in env.transcript.turns if not turn.said]
    assert outside[:2] == [("outcome of agent_0", 0), ("outcome of agent_1", 0)]
    assert [name for name, round in outside[2:]] == ["lesson (wrong)", "lesson (wrong)", "lessons"]
    with pytest.raises(ValueError, match="feedback 'detailed' cannot be given under protocol 'lessons'"):
        Doubling(2, 3, protocol="lessons", feedback="detailed")
    assert Doubling(2, 3, protocol="lessons", feedback="none").feedback.uses_gold is False


def test_everybody_reads_the_same_lessons_each_under_its_own_outcome() -> None:
    """Also that of a program of which nobody knows what came, which once repeated the one before it."""
    protocol = {**SPEED, "k": 3}
    env = spoken("s=2", "wrong", "s=0.9", "double", "no bug", "slow", agents=3, protocol=protocol)
    shown = [
        ("lesson (significantly faster than the original: 2 times as fast)", "double"),
        ("lesson (wrong)", "no bug"),
        ("lesson (no faster than the original: 0.9 times as fast)", "slow"),
        ("lessons", env.transcript.turns[-1].text),
    ]
    assert all(told(env, agent)[-4:] == shown for agent in env.agents)
    assert "look for other strategies too. Answer the question itself again" in shown[-1][1]
    unjudged = env.rules.unjudged.start(Question("?", ""))
    for _ in range(2):
        said = [Turn(*seat, f"{seat.agent} in {seat.round}") for seat in env.rules.due(unjudged)]
        (unjudged,) = env.rules.unjudged.extend([(unjudged, said)])
    lessons = [turn for turn in unjudged.turns if turn.agent.startswith("lesson (")]
    assert [turn.text for turn in lessons] == [f"{agent} in 1" for agent in env.agents]
    assert {turn.agent for turn in lessons} == {"lesson (noted, and nobody has said yet how good it is)"}


def test_the_current_lessons_alone_with_the_papers_history() -> None:
    """No own program when the original is written again; when it is explained, that one and what came of it."""
    before = ("s=2", "s=3", "l0", "l1")
    last, every = (spoken(*before, history=word) for word in ("last_round", "all"))
    names = ["agent_0", "outcome of agent_0", "agent_0", *(turn.agent for turn in every.transcript.turns[-3:])]
    assert [name for name, _ in told(every, "agent_0")] == names and names[-1] == "lessons"
    assert told(last, "agent_0") == told(every, "agent_0")[-3:]
    assert [text for _, text in told(last, "agent_0")][:2] == ["l0", "l1"]
    for text in ("s=4", "s=5"):
        last.step(text)
    assert [name for name, _ in told(last, "agent_0")] == ["agent_0", "outcome of agent_0"]
    assert told(last, "agent_0")[0][1] == "s=4"
    assert told(spoken(history="last_round"), "agent_0") == []


def test_only_k_lessons_are_shown_from_all_rounds() -> None:
    env = spoken("s=2", "s=3", "my list", "b", "s=1", "s=1", "sort the list", "d", protocol={**SPEED, "k": 2})
    shown = [text for name, text in told(env, "agent_0") if name.startswith("lesson (")]
    assert shown == ["my list", "b", "b", "sort the list"]  # 3 x .9 is the fastest, then the most relevant
    bank = env.protocol.bank(env.transcript)
    assert [one.factor for one in bank] == pytest.approx([0.9, 0.9, 1, 1])


def test_lessons_are_not_scored_and_are_credited_with_what_was_made_of_them() -> None:
    env = spoken("s=2", "s=4", "a", "b", "s=6", "s=8", "c", "d", rounds=4, shaping="outcome_credit")
    assert [t.score is not None for t in env.transcript.spoken.turns] == [
        True,
        True,
        False,
        False,
        True,
        True,
        False,
        False,
    ]
    assert env.transcript.is_complete
    rewards = [r for t, r in zip(env.transcript.turns, env.turn_rewards, strict=True) if t.said]
    assert rewards == pytest.approx([0.7, 0.7, 0.7, 0.7, 0.6, 0.8, 0, 0])  # nobody hears the last lessons
    for word, paid in {"last_round_team": [0.7] * 8, "last_round_own": [0.6, 0.8] * 4}.items():
        other = Code(2, 4, shaping=word)
        assert [r for r in other.rules.rewards(env.transcript) if r] == pytest.approx(paid)
    assert (env.team_answer().answer, env.team_answer().measures) == ("s=8", {SPEEDUP: 8.0})


def test_where_tests_are_passed_it_ends_with_the_first_that_passes_all() -> None:
    env = spoken("0.5", "0.25", "a", "b", "0.5", "1", rounds=7, protocol="lessons", verifier=Share())
    assert env.transcript.is_complete and env.transcript.completed_rounds == 3
    assert (env.team_answer().answer, env.team_answer().correct, env.team_answer().oracle) == ("1", 1.0, False)
    outcomes = [t.text for t in env.transcript.turns if t.agent.startswith("outcome")]
    assert outcomes[0].startswith("Your answer is wrong, worth 0.50 of 1. Explain")
    assert [one.speedup for one in env.protocol.bank(env.transcript)] == [0.5, 0.25]


def test_it_can_be_resumed_anywhere() -> None:
    """With the lessons and outcomes that it had; what a prefix lacks of them is found again."""
    whole = spoken(
        "s=2",
        "wrong",
        "a",
        "b",
        "s=1.2",
        "s=3",
        "c",
        "d",
        "s=1",
        "s=5",
        protocol={**SPEED, "k": 2, "factor": "running"},
    )
    turns = whole.transcript.turns
    whole_feedback = [n for n in range(len(turns)) if turns[n].said or turns[n - 1].said]
    for cut in whole_feedback:
        for prefix in (turns[:cut], tuple(t for t in turns[:cut] if t.said)):
            env = Code(2, 5, protocol=whole.protocol)
            env.reset(options={"transcript": Transcript(whole.transcript.question, whole.transcript.agents, 5, prefix)})
            said = len(env.transcript.spoken.turns)
            for turn in whole.transcript.spoken.turns[said:]:
                env.step(turn.text)
            assert env.transcript == whole.transcript


def test_a_chat_grows_at_its_end_alone() -> None:
    chats = []
    env = spoken()
    for text in ("s=2", "s=3", "a", "b", "s=4", "s=5", "c", "d"):
        if env.agent_selection == "agent_0":
            chats.append(PromptTemplate().messages(env.observe("agent_0")))
        env.step(text)
    for before, after in zip(chats, chats[1:], strict=False):
        assert after[: len(before)] == before


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="k is 0"):
        Lessons(k=0)
    with pytest.raises(ValueError, match="measure 'time' is unknown; use 'speedup' or 'value'"):
        Lessons(measure="time")
    with pytest.raises(ValueError, match="factor 'mean' is unknown; use 'last' or 'running'"):
        Lessons(factor="mean")
    assert repr(Lessons(5)) == "Lessons(num_rounds=5, history='all', k=4, measure='value', factor='last')"

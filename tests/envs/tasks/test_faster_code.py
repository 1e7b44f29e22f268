"""Faster code: what is right and what is not, and that a speed-up is one, measured in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.envs.protocols.lesson_bank import outcome
from maporl.envs.tasks.coding.speed.faster import FasterCode, Speed
from maporl.envs.tasks.coding.speed.slow_functions import SLOW
from maporl.rollouts.play import rollout
from maporl.sandbox import Checked, Program, Report
from maporl.training.evaluation import evaluate
from maporl.types import Question, Score

FAST = {
    "fibonacci": "def fibonacci(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a",
    "count_divisors": "def count_divisors(n):\n    from math import isqrt\n    r = isqrt(n)\n"
    "    return sum((i * i != n) + 1 for i in range(1, r + 1) if n % i == 0)",
    "has_pair": "def has_pair(numbers, total):\n    seen = set()\n    for n in numbers:\n        if total - n in seen:\n"
    "            return True\n        seen.add(n)\n    return False",
    "power_modulo": "power_modulo = pow",
}


def asked(name: str) -> Question:
    env = FasterCode()
    return next(
        q
        for split in ("train", "validation", "test")
        for q in env.questions(split)
        if q.metadata["entry_point"] == name
    )


def judged(name: str, *sources: str, verifier: Speed | None = None) -> list[Score]:
    said = [f"Here it is:\n```python\n{source}\n```" for source in sources]
    return (verifier or Speed()).score_batch([asked(name)] * len(said), said)


@pytest.mark.parametrize("name", FAST)
def test_faster_is_faster(name: str) -> None:
    (score,) = judged(name, FAST[name])
    assert score.correct and score.measures["speedup"] > 3 and outcome(score) == "faster"
    assert score.value == pytest.approx(score.measures["speedup"] / (1 + score.measures["speedup"]))
    assert "times as fast (noise" in score.explanation and score.measures["noise"] >= 0


def test_what_is_not_right_is_not_timed() -> None:
    broken, wrong, other, late, wordy = judged(
        "fibonacci",
        "def fibonacci(n) return n",
        "def fibonacci(n):\n    return n",
        "def fib(n):\n    return n",
        "def fibonacci(n):\n    while n > 5:\n        pass\n    return fibonacci(n - 1) + fibonacci(n - 2) if n > 1 else n",
        "",
    )
    assert [outcome(s) for s in (broken, wrong, other, late)] == [
        "not_compilable",
        "incorrect",
        "incorrect",
        "incorrect",
    ]
    assert late.status == "timeout" and broken.explanation.startswith("line 1: ")
    assert outcome(Speed()(asked("fibonacci"), "I would use a loop.")) == "not_compilable"
    assert all(s.measures["speedup"] == s.value == 0 for s in (broken, wrong, other, late, wordy))


class Clock:
    """A sandbox in which everything passes, and programs take as long as they say: seconds of a call and of loading, run by run."""

    def __init__(self, times: dict[str, Sequence[tuple[float, float]]]) -> None:
        self.times = {source: list(every) for source, every in times.items()}
        self.order: list[str] = []

    def run(self, programs: Sequence[Program]) -> list[Report]:
        reports = []
        for program in programs:
            if program.setup:  # timed
                self.order.append(program.source)
            call, loading = self.times[program.source].pop(0) if program.setup else (0.0, 0.0)
            reports.append(
                Report("ok", asserts=(Checked("assert True", "passed", seconds=call),), seconds=call + loading)
            )
        return reports


ORIGINAL = "def f(n): return n"
QUESTION = Question(
    "Make f faster.", "", metadata={"entry_point": "f", "original": ORIGINAL, "tests": "assert f(1) == 1"}
)


def timed(
    monkeypatch: pytest.MonkeyPatch, original: Sequence[float], answer: Sequence[float], loading: float = 0.01
) -> tuple[Score, Clock]:
    source = "def f(n): return +n"
    clock = Clock({ORIGINAL: [(s, 0.01) for s in original], source: [(s, loading) for s in answer]})
    monkeypatch.setattr("maporl.envs.tasks.coding.speed.faster.shared_sandbox", lambda *args: clock)
    return Speed(repeats=2)(QUESTION, source), clock


def test_the_least_of_runs_in_turn_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    score, clock = timed(monkeypatch, [3.0, 3.1], [1.01, 1.0])
    assert score.measures == pytest.approx({"speedup": 3.0, "noise": 0.1 / 3}) and score.value == pytest.approx(0.75)
    assert [source == ORIGINAL for source in clock.order] == [True, False, True, False]


def test_a_time_is_taken_again_until_it_is_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    score, clock = timed(monkeypatch, [9, 3.0, 3.0, 3.0], [1, 5, 5, 1.0])
    assert score.measures == pytest.approx({"speedup": 3.0, "noise": 0}) and len(clock.order) == 8
    tired, clock = timed(monkeypatch, [2.0**n for n in range(1, 9)], [1.0] * 8)
    assert len(clock.order) == 16, "four times as often as it must, no more"
    assert tired.measures == {"speedup": 2.0, "noise": 1.0} or tired.measures == {"speedup": 1.0, "noise": 1.0}


def test_what_is_within_the_noise_is_no_speedup(monkeypatch: pytest.MonkeyPatch) -> None:
    for answer in ([0.97, 1.0], [1.03, 1.03]):
        assert timed(monkeypatch, [1.0, 1.04], answer)[0].measures["speedup"] == 1.0
    assert timed(monkeypatch, [1.0, 1.04], [0.95, 0.95])[0].measures["speedup"] == pytest.approx(1 / 0.95)


def test_work_that_is_moved_to_the_loading_of_the_module_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    score, _ = timed(monkeypatch, [1.0, 1.0], [0.1, 0.1], loading=0.91)
    assert score.measures["speedup"] == pytest.approx(1.0)


def test_what_is_remembered_between_runs_is_no_speedup() -> None:
    """A cache is empty in every run: equal calls of different runs do not help it."""
    cached = "from functools import cache\n\n@cache\ndef f(n):\n    return sum(range(n))\n"
    question = Question(
        "",
        "",
        metadata={
            "entry_point": "f",
            "original": cached.replace("@cache\n", ""),
            "tests": f"assert f(300000) == {sum(range(300000))}",
        },
    )
    # A cache that outlived a run would make it thousands of times as fast; a busy machine does not make it ten times so.
    assert 0.1 < Speed()(question, f"```python\n{cached}```").measures["speedup"] < 10


def test_a_team_of_lessons_is_measured_once_more() -> None:
    """One writes a faster function at once, and the other when it has learned; the answer has a figure of its own."""
    env = FasterCode(2)
    question = asked("fibonacci")
    fast, slow = (f"```python\n{source}\n```" for source in (FAST["fibonacci"], question.metadata["original"]))

    def speak(observation, rng):  # type: ignore[no-untyped-def]
        heard = any("loop" in m["text"] for m in observation["transcript"])
        if observation["round"] % 2:
            return "A loop is enough." if observation["agent"] == "agent_0" else "Nothing helped."
        return fast if heard or observation["agent"] == "agent_0" else slow

    team = Team({(name, 0): ScriptedAgent(speak) for name in env.possible_agents})
    (episode,) = rollout(env, team, [question], seed=0)
    first, last = (episode.transcript.round(n) for n in (0, 2))
    assert [outcome(turn.score) for turn in (*first, *last)][::2] == ["faster", "faster"]
    assert last[1].score.measures["speedup"] > 3 * first[1].score.measures["speedup"]
    answer = env.team_answer(episode.transcript)
    assert answer.correct == 1 and answer.measures["speedup"] > 3 and not answer.oracle
    assert answer.measures["speedup"] != last[0].score.measures["speedup"], "measured anew"
    assert evaluate(env, team, [question]).metrics["eval/speedup_2"] == 1


def test_every_original_is_right_and_takes_its_time() -> None:
    assert len({slow.function.__name__ for slow in SLOW}) == 16
    env = FasterCode()
    assert [len(env.questions(split)) for split in ("train", "validation", "test")] == [11, 2, 3]
    assert Speed(repeats=2).repeats == 2
    with pytest.raises(ValueError, match="repeats is 1; the noise of a timing shows in 2"):
        FasterCode(repeats=1)

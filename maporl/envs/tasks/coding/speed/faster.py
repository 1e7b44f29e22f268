"""Faster code: a right and slow function is shown, and is to be written anew, doing the same in less time.

| specification | |
|---|---|
| question | the source of one of 16 functions of this package, such as naive Fibonacci numbers |
| answer | a module with a function of that name, in a code block |
| verifier | runs it in the sandbox, with what the original gives as asserts; a right one is timed against the original |
| reward | s / (1 + s) of a speed-up s: 1/2 at the original's pace; 0 of what is wrong |
| team's answer | of lessons, the fastest right answer of all rounds; whichever it is, it is measured once more |
| questions | 16, of which 3 are "test" |
| source | this project; the shape is LessonL's (2505.23946), which optimises C++ |
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols.lesson_bank import SPEEDUP
from maporl.envs.tasks.coding.extraction import Code, code_of
from maporl.envs.tasks.coding.speed.slow_functions import SLOW, Slow
from maporl.envs.tasks.combinations import of_split
from maporl.envs.team_answer import TeamAnswer, measured_again
from maporl.envs.verifiers import Verifier
from maporl.errors import UserValueError
from maporl.sandbox import Limits, Program, Report
from maporl.sandbox.sandbox import shared_sandbox
from maporl.settings import called
from maporl.types import Question, Score, Transcript

__all__ = ["FasterCode", "Speed"]

_LIMITS: Mapping[str, Any] = {"seconds": 3.0, "timeouts": 1}
_CONFIRMED = 0.05  # noise with which a time is taken for what it is
_MOST = 4  # times as many runs, to get there
_KEPT = 4096  # scores
_NOTHING = 1e-6  # seconds that cannot be told from none


@dataclass(frozen=True)
class Speed(Verifier):
    """How many times as fast as the original a function is: the measure "speedup", 0 if it is wrong; "noise" is how far the second least
    time of a program is above the least, of the original or the answer, whichever is more: 0.05 are 5 %.

    First its asserts must pass. Then the original and it are run in turn, for a machine's pace changes, one program at a time, at least
    `repeats` times each, and up to four times as often until the noise is at most 5 %. Every run is a process of its own, so that
    nothing is remembered from one to the next. A program's time is that of all its calls, by the clock, and what its module takes to load
    beyond the second least that the original's takes; the least of its runs counts. A speed-up within the noise is 1.

    Reads no gold answer: everybody is shown the original, by which an answer is judged.

    Args:
        limits: Of a program.
        repeats: How often each is run at least.
        unsafe: Run answers also where nothing keeps them apart.

    Raises:
        ValueError: Fewer than two repeats.
    """

    uses_gold = False

    limits: Limits = field(default_factory=lambda: Limits(**_LIMITS))
    repeats: int = 5
    unsafe: bool = False
    _known: dict[tuple[str, str], Score] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.repeats < 2:
            raise UserValueError(f"repeats is {self.repeats}; the noise of a timing shows in 2 at least.")

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        """The same program for the same question has one score, that of the first time."""
        codes = [code_of(text, q.metadata["entry_point"]) for q, text in zip(questions, responses, strict=True)]
        runs = {(q.id, c.source): q for q, c in zip(questions, codes, strict=True) if c.tree is not None}
        new = {key: question for key, question in runs.items() if key not in self._known}
        if new:
            programs = [Program(source, question.metadata["tests"]) for (_, source), question in new.items()]
            reports = shared_sandbox(self.limits, (), self.unsafe).run(programs)
            for (key, question), report in zip(new.items(), reports, strict=True):
                self._known[key] = self._timed(question, key[1]) if report.passed else _wrong(key[1], report)
        scores = [
            self._known[q.id, c.source] if c.tree is not None else _unread(c)
            for q, c in zip(questions, codes, strict=True)
        ]
        for key in list(self._known)[:-_KEPT]:
            del self._known[key]
        return scores

    def again(self, question: Question, source: str) -> Score:
        """A program that is right, measured anew."""
        return self._timed(question, source)

    def _timed(self, question: Question, source: str) -> Score:
        sandbox, tests = shared_sandbox(self.limits, (), self.unsafe), question.metadata["tests"]
        base: list[Report] = []
        reports: list[Report] = []
        noise, number = math.inf, 0
        while number < self.repeats or (noise > _CONFIRMED and number < _MOST * self.repeats):
            for version, runs in ((question.metadata["original"], base), (source, reports)):
                told = (
                    f"# run {number} of {'the original' if runs is base else 'it'}"  # equal programs would be run once
                )
                runs += sandbox.run([Program(version, tests, told)])
                if not runs[-1].passed:
                    return _wrong(source, runs[-1])
            number += 1
            noise = max(_spread([_calls(report) for report in runs]) for runs in (base, reports))
        extra = max(0.0, _least(reports, _loading) - sorted(map(_loading, base))[1])
        speedup = _least(base, _calls) / (_least(reports, _calls) + extra)
        if max(speedup, 1 / speedup) <= 1 + noise:
            speedup = 1.0
        told = f"{speedup:.3g} times as fast (noise {noise:.1%})"
        return Score(speedup / (1 + speedup), True, source, "ok", told, measures={SPEEDUP: speedup, "noise": noise})

    def prepare(self) -> None:
        shared_sandbox(self.limits, (), self.unsafe).run([Program("")])


def _calls(report: Report) -> float:
    return sum(checked.seconds for checked in report.asserts)


def _spread(seconds: Sequence[float]) -> float:
    """How far the second least is above the least."""
    least, second = sorted(seconds)[:2] if len(seconds) > 1 else (1.0, math.inf)
    return second / max(least, _NOTHING) - 1


def _loading(report: Report) -> float:
    return report.seconds - _calls(report)


def _least(reports: Sequence[Report], of: Any) -> float:
    return max(_NOTHING, min(map(of, reports)))


def _wrong(source: str, report: Report) -> Score:
    failed = next((checked for checked in report.asserts if not checked.passed), None)
    why = (
        report.explanation
        or (failed.explanation if failed is not None else "")
        or "it does not do what the original does"
    )
    late = report.status == "timeout" or any(checked.status == "timeout" for checked in report.asserts)
    return Score(0.0, False, source, "timeout" if late else "ok", why[:300], measures={SPEEDUP: 0.0})


def _unread(code: Code) -> Score:
    return Score(0.0, False, None, "no_answer", code.fault, measures={SPEEDUP: 0.0})


class FasterCode(DiscussionEnv):
    """The task of the card above.

    Args:
        num_agents, num_rounds: Of the discussion.
        limits: Of a program, where they differ from 3 seconds for every assert and those of `maporl.sandbox.Limits`.
        repeats: How often a program is timed.
        unsafe: Run answers also where nothing keeps them apart: with your rights, on your files.
        **arguments: Of `DiscussionEnv`.
    """

    metadata: dict[str, Any] = {"name": "faster_code"}
    instruction = "Write the whole function anew in one ```python block, so that it does the same in less time."
    reads_data: ClassVar[bool] = False
    default_protocol: ClassVar[Any] = {"name": "lessons", "measure": SPEEDUP}
    default_num_rounds: ClassVar[int] = 3
    default_shaping: ClassVar[Any] = "outcome_credit"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        limits: Mapping[str, Any] | None = None,
        repeats: int = 5,
        unsafe: bool = False,
        **arguments: Any,
    ) -> None:
        self._speed = Speed(called("limits", "limits", Limits, {**_LIMITS, **(limits or {})}), repeats, unsafe)
        super().__init__(num_agents, num_rounds, **arguments)

    def own_verifiers(self) -> tuple[Any, Any]:
        return self._speed, None

    def load(self, split: str) -> Iterator[Question]:
        """The functions of the split."""
        names = {slow.function.__name__: slow for slow in SLOW}
        for name in of_split(names, split, group=lambda name: ""):
            yield _question(names[name])

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """The protocol's, measured once more."""
        said = self.transcript if transcript is None else transcript
        answer = super().team_answer(said)
        if answer.answer is None or not answer.correct or not isinstance(self.verifier, Speed):
            return answer
        return measured_again(answer, self.verifier.again(said.question, answer.answer))


def _question(slow: Slow) -> Question:
    name, source = slow.function.__name__, inspect.getsource(slow.function)
    tests = "\n".join(
        f"assert {name}({', '.join(map(repr, args))}) == {slow.function(*args)!r}" for args in slow.inputs
    )
    text = f"Make this function faster:\n\n```python\n{source}```"
    metadata = {"entry_point": name, "original": source, "tests": tests}
    return Question(text, source, metadata=metadata)

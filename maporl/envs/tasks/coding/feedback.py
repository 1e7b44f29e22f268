"""What the tests say between rounds: the visible asserts of a coding question are run on what has just been written."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from maporl.envs.feedback import Feedback
from maporl.envs.tasks.coding.extraction import Code, code_of
from maporl.envs.tasks.coding.programs import HELPER, Asked, Runner, asked_for, main_of, whole_program
from maporl.envs.tasks.coding.scoring import parts_of
from maporl.envs.tasks.coding.structure import calls, defines, functions, reached
from maporl.sandbox import Checked, Report
from maporl.sandbox.asserts import asserts_of
from maporl.types import Transcript, Turn

__all__ = ["SOURCE", "Detailed", "PassedCount", "PassedOrNot", "TestFeedback"]

SOURCE = "tests"
"""Under whose name the feedback is shown; no agent's."""

_SHORT = 200  # characters of one assert, and of what came of it
_MOST = 8  # failing asserts that are told


@dataclass(frozen=True)
class _Written:
    """A piece of work that is run as one, and what there is to say of how it is written: a line for each who wrote it."""

    asked: Asked
    code: Code
    remarks: tuple[str, ...]
    author: str = ""  # "" where all wrote it


class TestFeedback(Feedback):
    """Base of what the tests say. It tells visible asserts only, of which at least one is always hidden unless a task shows all.

    After a wave it speaks of every message of it, of code that is written in parts once all have been written (a round is over). Of an
    agent that has a role it speaks only if its message answers the question: a tester's does not.

    Args:
        runner: Runs the asserts; None: this process's sandbox. A coding task puts its own in the place of that.
    """

    uses_gold = False
    __test__ = False  # pytest takes it for tests

    def __init__(self, runner: Runner | None = None) -> None:
        self.runner = runner

    def run_by(self, runner: Runner) -> TestFeedback:
        """The same feedback with a task's runner, if it has none of its own."""
        twin = copy.copy(self)
        twin.runner = self.runner or runner
        return twin

    def __call__(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        work = [_written(transcript) for transcript in transcripts]
        runnable = [one for written in work for one in written if one.code.tree is not None]
        run = self.runner or Runner()
        reports = iter(run([whole_program(one.asked, one.code.source) for one in runnable]))
        said = [[self._told(one, next(reports) if one.code.tree is not None else None) for one in w] for w in work]
        return [[_turn(t, "\n\n".join(texts))] if texts else [] for t, texts in zip(transcripts, said, strict=True)]

    def longest(self, transcripts: Sequence[Transcript]) -> list[list[Turn]]:
        return [
            [_turn(t, "\n\n".join(map(self._longest, work)))] if (work := _written(t, every=True)) else []
            for t in transcripts
        ]

    def _told(self, work: _Written, report: Report | None) -> str:
        visible: Sequence[Checked] = () if report is None else report.asserts[: work.asked.visible]
        number = len(visible) if report is not None else _visible(work.asked)
        return self._of_author(
            work, self.said(work.remarks, visible, number, work.code.fault if report is None else report.explanation)
        )

    def _longest(self, work: _Written) -> str:
        filler = "#7" * (_SHORT // 2)  # hardly any text has more tokens
        sources = asserts_of(work.asked.tests)[: work.asked.visible] if work.asked.tests else ()
        failing = [Checked(source, "failed", filler) for source in sources]
        remarks = [f"{remark} {filler}" for remark in work.remarks]
        said = [self.said(remarks, failing, len(failing), problem) for problem in ("", filler)]
        return self._of_author(work, max(said, key=len))

    @staticmethod
    def _of_author(work: _Written, said: str) -> str:
        return f"{work.author}: {said}" if work.author else said

    @abstractmethod
    def said(self, remarks: Sequence[str], visible: Sequence[Checked], number: int, problem: str) -> str:
        """What is said of one piece of work.

        Args:
            remarks: How it is written, a line for each who wrote it.
            visible: What came of the visible asserts; () if nothing could be run.
            number: How many visible asserts there are.
            problem: Why the module could not be loaded; "" if it could.
        """


class Detailed(TestFeedback):
    """How the code is written, the visible asserts that fail, and what came of them."""

    def said(self, remarks: Sequence[str], visible: Sequence[Checked], number: int, problem: str) -> str:
        failing = [checked for checked in visible if not checked.passed]
        untold = problem and not any(problem in remark for remark in remarks)
        lines = [*remarks, _short(f"It cannot be loaded: {problem}.") if untold else "", _counted(visible, number)]
        lines += [f"{_short(c.source)}: {_short(c.explanation or c.status)}" for c in failing[:_MOST] if not problem]
        return "\n".join(filter(None, lines))


class PassedCount(TestFeedback):
    """How many of the visible asserts pass."""

    def said(self, remarks: Sequence[str], visible: Sequence[Checked], number: int, problem: str) -> str:
        return _counted(visible, number) or _loaded(problem)


class PassedOrNot(TestFeedback):
    """Whether all visible asserts pass."""

    def said(self, remarks: Sequence[str], visible: Sequence[Checked], number: int, problem: str) -> str:
        if not number:
            return _loaded(problem)
        good = not problem and len(visible) == number and all(checked.passed for checked in visible)
        return "All visible asserts pass." if good else "Not all visible asserts pass."


def _loaded(problem: str) -> str:
    """All that can be said where no assert is visible."""
    return "It cannot be loaded." if problem else "It can be loaded."


def _counted(visible: Sequence[Checked], number: int) -> str:
    return f"{sum(checked.passed for checked in visible)} of {number} visible asserts pass." if number else ""


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHORT else line[: _SHORT - 3] + "..."


def _turn(transcript: Transcript, text: str) -> Turn:
    return Turn(SOURCE, transcript.turns[-1].round, text, kind="feedback")


def _visible(asked: Asked) -> int:
    return len(asserts_of(asked.tests)[: asked.visible]) if asked.tests else 0


def _written(transcript: Transcript, *, every: bool = False) -> list[_Written]:
    """What there is to be run of the wave that is over; `every`: as if every message of it were an answer."""
    asked, last = asked_for(transcript.question), transcript.turns[-1]
    if main_of(transcript.agents) is not None:
        if last.round >= transcript.completed_rounds:
            return []
        return [_of_parts(asked, {turn.agent: turn.text for turn in transcript.round(last.round)})]
    wave = [turn for turn in transcript.turns if turn.said and turn.heard == last.heard]
    codes = [(turn.agent, code_of(turn.text, asked.entry_point, asked.prompt)) for turn in wave]
    codes = [
        (agent, code)
        for agent, code in codes
        if every or agent.startswith("agent_") or _answers(code, asked.entry_point)
    ]
    many = len(transcript.agents) > 1
    return [_Written(asked, code, (_remark(code, asked.entry_point),), agent if many else "") for agent, code in codes]


def _answers(code: Code, wanted: str) -> bool:
    """Whether code is an answer, or the try of one, and not only words about it or examples."""
    return bool(code.source) and (code.tree is None or not wanted or defines(code.tree, wanted))


def _of_parts(asked: Asked, responses: Mapping[str, str]) -> _Written:
    parts, writer = parts_of(asked, responses), main_of(list(responses))
    helpers = " and ".join(agent for agent in responses if agent != writer) or HELPER
    remarks = [f"{helpers}: {_remark(parts.helper, 'aux')}", f"{writer}: {_remark(parts.main, asked.entry_point)}"]
    if parts.main.tree is not None:
        uses = any(calls(function, "aux") for function in reached(parts.main.tree, asked.entry_point).values())
        uses = uses and "aux" not in functions(parts.main.tree)
        remarks[1] += " It calls aux." if uses else " It does not call aux."
    return _Written(asked, parts.main if parts.main.tree is None else parts.whole, tuple(remarks))


def _remark(code: Code, wanted: str) -> str:
    """How code is written, as far as that matters."""
    if code.tree is None:
        return _short(f"{code.fault}.")
    if not wanted:
        return "It is Python."
    return f"It defines {wanted}." if defines(code.tree, wanted) else f"It does not define a function {wanted}."

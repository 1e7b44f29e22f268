"""What code is worth: the share of its asserts that pass, and, of a team's parts, MAGRPO's reward (2508.04652), by syntax trees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from maporl.envs.tasks.coding.extraction import Code, code_of, parsed
from maporl.envs.tasks.coding.programs import Asked, Runner, asked_for, joined, main_of, part, whole_program
from maporl.envs.tasks.coding.structure import calls, functions, ignores, is_more_than_a_wrapper, reached, returns
from maporl.envs.verifiers import TeamVerifier, Verifier
from maporl.sandbox import Program, Report
from maporl.sandbox.asserts import asserts_of
from maporl.types import Check, Question, Score

__all__ = ["MOST", "PartsTests", "PassedTests", "Parts", "earned", "parts_of"]

MOST = 4.0
"""The highest reward of a team's parts."""

_LONGEST_WHY = 300  # characters of an explanation


def _judged(asked: Asked, code: Code, value: float, report: Report, measures: Mapping[str, float]) -> Score:
    """The score of code that has been run."""
    seen = [checked.passed for checked in report.asserts[: asked.visible]]
    visible = sum(seen) / len(seen) if seen else 0.0
    shares = {"passed": _share(report), "all_passed": float(report.passed), "visible_passed": visible}
    number = len(report.asserts)
    said = f"{report.num_passed} of {number} asserts pass"
    failed = next((checked for checked in report.asserts if not checked.passed), None)
    why = report.explanation or (
        f"{failed.source}: {failed.explanation or failed.status}" if failed is not None else ""
    )
    late = report.status == "timeout" or any(checked.status == "timeout" for checked in report.asserts)
    status = "timeout" if late and not report.num_passed else "ok"
    said = " ".join(f"{said}; {why}".split())[:_LONGEST_WHY] if why else said
    checks = tuple(Check(checked.source, checked.status, checked.explanation) for checked in report.asserts)
    return Score(value, report.passed, code.source or None, status, said, 0, {**measures, **shares}, checks)


def _share(report: Report) -> float:
    return report.num_passed / len(report.asserts) if report.asserts else 0.0


def _not_run(asked: Asked, code: Code, value: float, fault: str, measures: Mapping[str, float]) -> Score:
    """The score of what cannot be run."""
    shares = {"passed": 0.0, "all_passed": 0.0, "visible_passed": 0.0}
    checks = tuple(Check(source, "not_run", fault) for source in _sources(asked.tests))
    return Score(value, False, code.source or None, "no_answer", fault, 0, {**measures, **shares}, checks)


def _sources(tests: str) -> tuple[str, ...]:
    try:
        return asserts_of(tests)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # a question that no task has made
        return ()


def _without_tests(code: Code) -> Score:
    return Score(0.0, None, code.source or None, "not_applicable", "this question has no tests")


@dataclass
class PassedTests(Verifier):
    """The share of a question's asserts that the module in a message passes; right if all do.

    A module that does not parse, and a message without one, pass none. `Score.measures` has "passed", the share, "all_passed", and
    "visible_passed", the share of the asserts that feedback may tell; `Score.checks` what came of each assert.

    Args:
        runner: Runs the asserts.
    """

    runner: Runner = field(default_factory=Runner)

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        asked = [asked_for(question) for question in questions]
        codes = [code_of(text, a.entry_point, a.prompt) for a, text in zip(asked, responses, strict=True)]
        runs = [n for n, (a, code) in enumerate(zip(asked, codes, strict=True)) if a.tests and code.tree is not None]
        reports = dict(zip(runs, self.runner([whole_program(asked[n], codes[n].source) for n in runs]), strict=True))
        return [
            _judged(a, code, _share(reports[n]), reports[n], {})
            if n in reports
            else _not_run(a, code, 0.0, code.fault, {}) if a.tests else _without_tests(code)
            for n, (a, code) in enumerate(zip(asked, codes, strict=True))
        ]  # fmt: skip

    def prepare(self) -> None:
        self.runner.prepare()

    def equivalent(self, a: str, b: str) -> bool:
        """Whether two modules are one vote: the same text. Whether they do the same nobody can tell."""
        return a == b


@dataclass(frozen=True)
class Parts:
    """What a team wrote in parts.

    Attributes:
        helper: What helpers wrote, which should define ``aux``.
        main: What the main programmer wrote, which should define the function that is asked for.
        whole: Both together.
    """

    helper: Code
    main: Code
    whole: Code


def parts_of(asked: Asked, responses: Mapping[str, str]) -> Parts:
    """The parts in a team's messages, agent -> message."""
    writer = main_of(list(responses))
    main = (
        part(asked, responses[writer], main=True) if writer is not None else Code(fault="nobody writes the main part")
    )
    others = [part(asked, text, main=False) for agent, text in responses.items() if agent != writer]
    helper = others[0] if len(others) == 1 else parsed(joined([code.source for code in others]))
    whole = parsed(joined([helper.source, main.source]))
    return Parts(helper, main, whole)


def earned(asked: Asked, parts: Parts, report: Report | None) -> dict[str, float]:
    """The parts of MAGRPO's reward, which add up to it.

    ========================  =====================================================================================
    aux_defined     0.4       the helper defines ``aux``, which returns something
    main_defined    0.6       the main programmer defines the function, which returns something; else that is all
    parses          0.5       both parts together are Python; else that is all
    passed          0 to 1    the share of the asserts that pass; if none does, that is all
    aux_called      0.5       the main part calls the helper's ``aux``; else that is all
    no_wrapper      1.0       and does more than that: more than two statements
    aux_ignored     -0.5      but makes nothing of what it returns
    ========================  =====================================================================================

    Args:
        asked: What the question asks for.
        parts: What was written.
        report: What came of running it; None: it was not run, for it does not get as far.
    """
    got = dict.fromkeys(
        ("aux_defined", "main_defined", "parses", "passed", "aux_called", "no_wrapper", "aux_ignored"), 0.0
    )
    helper, main = parts.helper.tree, parts.main.tree
    aux = functions(helper).get("aux") if helper is not None else None
    got["aux_defined"] = 0.4 * (aux is not None and returns(aux))
    entry = functions(main).get(asked.entry_point) if main is not None else None
    if main is None or entry is None or not returns(entry):
        return got
    got["main_defined"] = 0.6
    if parts.whole.tree is None or (report is not None and report.status == "syntax_error"):
        return got
    got["parses"] = 0.5
    if report is None or not report.num_passed:
        return got
    got["passed"] = _share(report)
    own = reached(main, asked.entry_point)
    if aux is None or "aux" in functions(main) or not any(calls(function, "aux") for function in own.values()):
        return got
    got["aux_called"] = 0.5
    got["no_wrapper"] = float(is_more_than_a_wrapper(main, asked.entry_point))
    got["aux_ignored"] = -0.5 if any(ignores(function, "aux") for function in own.values()) else 0.0
    return got


@dataclass
class PartsTests(TeamVerifier):
    """MAGRPO's reward of code that a team writes in parts, over its maximum of 4; right if all asserts pass.

    `Score.measures` has the parts of the reward (`earned`), "reward", their sum, "all_passed" and "visible_passed"; `Score.checks` what
    came of each assert.

    Args:
        runner: Runs the asserts.
    """

    runner: Runner = field(default_factory=Runner)

    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        return self.score_batch([question], [responses])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        asked = [asked_for(question) for question in questions]
        parts = [parts_of(a, joint) for a, joint in zip(asked, responses, strict=True)]
        runs = [
            n for n, (a, p) in enumerate(zip(asked, parts, strict=True)) if a.tests and earned(a, p, None)["parses"]
        ]
        programs: list[Program] = [whole_program(asked[n], parts[n].whole.source) for n in runs]
        reports: dict[int, Any] = dict(zip(runs, self.runner(programs), strict=True))
        return [self._score(a, p, reports.get(n)) for n, (a, p) in enumerate(zip(asked, parts, strict=True))]

    @staticmethod
    def _score(asked: Asked, parts: Parts, report: Report | None) -> Score:
        if not asked.tests:
            return _without_tests(parts.whole)
        measures = earned(asked, parts, report)
        measures["reward"] = sum(measures.values())
        value = measures["reward"] / MOST
        if report is not None:
            return _judged(asked, parts.whole, value, report, measures)
        fault = (
            parts.main.fault
            or parts.whole.fault
            or f"the main part does not define {asked.entry_point}, or it returns nothing"
        )
        return _not_run(asked, parts.whole, value, fault, measures)

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        self.runner.prepare()

"""A question of yours for a team that writes code: your asserts, and what comes of them in the sandbox."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from maporl.envs.feedback import Silent
from maporl.envs.tasks.coding import CodingTask
from maporl.envs.tasks.coding.examples import asked_name, examples_as_asserts
from maporl.envs.tasks.coding.programs import asked_for, whole_program
from maporl.errors import UserValueError
from maporl.sandbox import SandboxUnavailable
from maporl.sandbox.asserts import asserts_of
from maporl.types import Check, Question

__all__ = ["code_question", "prepared", "print_checked"]


def prepared(env: CodingTask) -> bool:
    """Whether there is a sandbox for the team's code, which is run in it or not at all. Where there is none, nothing is told between rounds
    either, and a note on standard error says why."""
    env.runner.unsafe = False
    try:
        env.runner.prepare()
    except SandboxUnavailable as error:
        print(f"maporl: note: no code is run, and nothing told between rounds: {error}", file=sys.stderr)
        env.feedback = Silent()
        return False
    return True


def code_question(env: CodingTask, question: Question, file: str | None) -> Question:
    """A question with your asserts: those of a file, else of the examples in its text; as it is if there are none.

    Raises:
        ValueError: The file cannot be read, is no Python, or asserts nothing.
    """
    tests = examples_as_asserts(question.text) if file is None else _read(file)
    if not (tests and asserts_of(tests)):
        return question
    prompt = question.text if asked_name(question.text, "") else ""
    asked = env.question(question.text, tests, asked_name(question.text, tests), prompt=prompt)
    return replace(asked, private=question.private)


def _read(file: str) -> str:
    try:
        tests = Path(file).read_text(encoding="utf-8")
        number = len(asserts_of(tests))
    except (OSError, UnicodeDecodeError) as error:
        raise UserValueError(
            f"--tests {file!r} cannot be read ({error}); name a file of Python with asserts."
        ) from error
    except (SyntaxError, ValueError, RecursionError) as error:
        raise UserValueError(f"--tests {file!r} is no Python ({error}); write asserts, one a line.") from error
    if not number:
        raise UserValueError(
            f"--tests {file!r} has no assert that asks anything; write some, such as: assert double(2) == 4"
        )
    return tests


def print_checked(env: CodingTask, question: Question, code: str) -> None:
    """Whether the team's code loads in the sandbox, and what came of every assert."""
    from rich.console import Console

    from maporl.cli.discussion_text import Page

    (report,) = env.runner([whole_program(asked_for(question), code)])
    page = Page(Console(highlight=False))
    loads = (
        "it loads"
        if report.status == "ok"
        else f"it cannot be loaded ({report.status.replace('_', ' ')}): {report.explanation}"
    )
    number = len(report.asserts)
    passed = f"; {report.num_passed} of {number} asserts pass" if number else ""
    page.line((f"In the sandbox ({report.isolation}): {loads}{passed}.", "bold"))
    page.checks([Check(one.source, one.status, one.explanation) for one in report.asserts])
    if not number:
        page.line(
            (
                "No asserts: give some with --tests FILE, or examples (>>> double(2), and 4 below it) in the question.",
                "dim",
            )
        )

"""What is run, what is asked of it, and what came of it: values."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from maporl.errors import UserValueError

__all__ = ["Checked", "Limits", "Program", "Report"]

AssertStatus = Literal["passed", "failed", "error", "timeout", "not_run"]
ModuleStatus = Literal["ok", "syntax_error", "error", "timeout", "memory", "killed", "sandbox_died"]


@dataclass(frozen=True)
class Limits:
    """What a program may use. Whoever goes beyond it is stopped, with everything that it has started.

    Attributes:
        seconds: Of loading the module, and of each assert, by the clock; processor time has the same limit.
        timeouts: After so many asserts that took too long the others are not run.
        memory_mb: Address space of each of its processes (numpy alone takes 192).
        processes: How many processes and threads it may have at once, itself included.
        output_kb: What it may print; the rest is dropped.
        files_mb: What it may write into its scratch folder, all files together.

    Raises:
        ValueError: One that is not positive, or no whole number where things are counted.
    """

    seconds: float = 10.0
    timeouts: int = 3
    memory_mb: int = 512
    processes: int = 1
    output_kb: int = 64
    files_mb: int = 16

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
                raise UserValueError(f"{name} is {value!r}; a sandbox's limit is a number above 0.")
            if name != "seconds" and value != int(value):
                raise UserValueError(f"{name} is {value!r}; it is counted in whole numbers.")


@dataclass(frozen=True)
class Program:
    """A module that a model wrote, and the asserts that it has to pass.

    Attributes:
        source: The whole module. Nobody trusts it.
        tests: Python that is trusted and runs in another process: statements with asserts, at the top, in functions or in loops. A name
            that neither they, nor `setup`, nor Python define is looked up in the module, which itself is `answer` (so that `answer.sum`
            is the module's, if it is to be asked for a name of Python's); values go to it and come back as copies, plain data
            (numbers, texts, bytes, lists, tuples, sets, dicts, None); anything else stays there, is equal to nothing else, and can
            only be handed back to it.
        setup: Trusted like the tests, and run before them: their imports and helpers.
    """

    source: str
    tests: str = ""
    setup: str = ""


@dataclass(frozen=True)
class Checked:
    """What came of one assert statement of the tests. One inside a loop has passed if it held every time.

    Attributes:
        source: The statement.
        status: "passed", "failed" (it does not hold), "error" (the module raised), "timeout", or "not_run" (never reached).
        explanation: One line for people: what the module gave, raised, or did; "" if it passed.
        seconds: How long the module took to answer, all calls of the assert together, by the clock of the process that asked.
    """

    source: str
    status: AssertStatus
    explanation: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """Whether it held."""
        return self.status == "passed"


@dataclass(frozen=True)
class Report:
    """What came of a program.

    Attributes:
        status: Of loading its module: "ok", "syntax_error", "error" (it raised), "timeout", "memory", "killed" (it ended itself, or
            was ended by the system), or "sandbox_died", which says nothing about it.
        explanation: One line for people, "" if all is well.
        asserts: One for every assert statement of the tests, in the order of the source, whatever happened. `assert True`, which
            asks nothing, is not among them.
        output: What the module printed, cut at the limit.
        isolation: What kept it apart, see `Sandbox.isolation`.
        seconds: By the clock, from its start to the last verdict.
    """

    status: ModuleStatus
    explanation: str = ""
    asserts: tuple[Checked, ...] = ()
    output: str = ""
    isolation: str = ""
    seconds: float = 0.0

    @property
    def num_passed(self) -> int:
        """How many asserts passed."""
        return sum(checked.passed for checked in self.asserts)

    @property
    def passed(self) -> bool:
        """Whether all asserts passed, and there was one."""
        return bool(self.asserts) and self.num_passed == len(self.asserts)

"""From what was said to what is run: the program of a message, or of a team's parts, and the reports on them."""

from __future__ import annotations

import ast
import builtins
import symtable
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from maporl.envs.tasks.coding.extraction import Code, code_of, parsed
from maporl.sandbox import Limits, Program, Report
from maporl.sandbox.sandbox import shared_sandbox
from maporl.types import Question

__all__ = [
    "HELPER",
    "MAIN",
    "Asked",
    "Runner",
    "asked_for",
    "binds",
    "joined",
    "main_of",
    "part",
    "preamble_of",
    "whole_program",
]

HELPER, MAIN = "helper", "main"
"""The roles of those who write parts: what helpers write comes before what the main programmer writes."""

_KEPT = 4096  # reports
_REMEMBERING = threading.Lock()  # of all runners, for one of their own could not be pickled with them


@dataclass(frozen=True)
class Asked:
    """What a coding question asks for.

    Attributes:
        entry_point: The function.
        tests: Its asserts, hidden ones included; "" if nobody has any.
        setup: What the tests need beside the answer.
        prompt: Source that ends within the function, or "".
        preamble: What of the prompt precedes the function: imports and helpers that an answer may use.
        visible: How many of the asserts, from the first, feedback may tell.
    """

    entry_point: str
    tests: str
    setup: str
    prompt: str
    preamble: str
    visible: int


def asked_for(question: Question) -> Asked:
    """What a question asks for; of one that comes from elsewhere, any function, and no tests."""
    told: Mapping[str, Any] = question.metadata
    if "entry_point" not in told:
        return Asked("", "", "", "", "", 0)
    setup, prompt, preamble = (str(told.get(name, "")) for name in ("setup", "prompt", "preamble"))
    return Asked(str(told["entry_point"]), question.answer, setup, prompt, preamble, int(told.get("visible", 0)))


def preamble_of(prompt: str, entry_point: str) -> str:
    """What of a prompt stands beside the function that it asks for."""
    tree = parsed(prompt).tree
    if tree is None:
        return ""
    kept = [n for n in tree.body if not (isinstance(n, ast.FunctionDef) and n.name == entry_point)]
    return "\n".join(ast.unparse(node) for node in kept)


def whole_program(asked: Asked, source: str) -> Program:
    """The program of a whole module; what the prompt has beside the function is there, too, unless the module defines it anew."""
    name, tests = asked.entry_point, asked.tests
    if (
        hasattr(builtins, name) or name == "answer" or binds(asked.setup, name)
    ):  # else the tests would ask something else
        tests = f"{name} = answer.{name}\n{tests}"
    return Program(joined([asked.preamble, source]), tests, asked.setup)


def binds(source: str, name: str) -> bool:
    """Whether a module gives the global `name` a value, or may: it imports all that another one has."""
    tree = parsed(source).tree
    if tree is None:
        return False
    if any(isinstance(node, ast.alias) and node.name == "*" for node in ast.walk(tree)):
        return True
    try:
        waiting = [symtable.symtable(source, "tests", "exec")]
    except SyntaxError:  # such as a return outside of any function
        return False
    while waiting:
        scope = waiting.pop()
        waiting += scope.get_children()
        if name in scope.get_identifiers():
            symbol = scope.lookup(name)
            is_global = scope.get_type() == "module" or symbol.is_declared_global()
            if is_global and (symbol.is_assigned() or symbol.is_imported()):
                return True
    return False


def joined(sources: Sequence[str]) -> str:
    """Several modules as one; what they import from ``__future__`` must come first."""
    first: dict[str, None] = {}
    rest: list[str] = []
    for source in filter(None, sources):
        body = (parsed(source).tree or ast.Module([], [])).body
        future = [node for node in body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
        first.update(dict.fromkeys(map(ast.unparse, future)))
        rest.append(ast.unparse(ast.Module([n for n in body if n not in future], [])) if future else source)
    return "\n\n".join([*first, *rest])


def main_of(agents: Sequence[str]) -> str | None:
    """Who of the agents writes the main part; None where everybody writes the whole."""
    return next((agent for agent in agents if agent.rpartition("_")[0] == MAIN), None)


def part(asked: Asked, message: str, *, main: bool) -> Code:
    """The code of somebody's part: of a helper any module, of the main programmer one with the function that is asked for."""
    return code_of(message, asked.entry_point, asked.prompt) if main else code_of(message, "aux")


@dataclass
class Runner:
    """Runs programs in this process's sandbox, and remembers the latest reports, without what was printed: feedback asks about
    what has just been scored, and must tell the same, late or not.

    Args:
        limits: Of a program.
        packages: Installed packages that it may import.
        unsafe: Run it also where nothing keeps it apart.
        run: Does so in the place of the sandbox.
    """

    limits: Limits = field(default_factory=Limits)
    packages: tuple[str, ...] = ()
    unsafe: bool = False
    run: Callable[[Sequence[Program]], Sequence[Report]] | None = None
    _known: OrderedDict[Program, Report] = field(default_factory=OrderedDict, init=False, repr=False, compare=False)

    def __call__(self, programs: Sequence[Program]) -> list[Report]:
        """What comes of each program.

        Raises:
            SandboxUnavailable: Nothing keeps a program apart here.
        """
        with _REMEMBERING:
            found = {program: self._known[program] for program in programs if program in self._known}
        new = list(dict.fromkeys(program for program in programs if program not in found))
        if new:
            reports = (self.run or self._sandboxed)(new)
            found.update((p, replace(r, output="")) for p, r in zip(new, reports, strict=True))
        with _REMEMBERING:
            for program, report in found.items():
                if report.status != "sandbox_died":  # it may live the next time
                    self._known[program] = report
                    self._known.move_to_end(program)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return [found[program] for program in programs]

    def _sandboxed(self, programs: Sequence[Program]) -> Sequence[Report]:
        return shared_sandbox(self.limits, self.packages, self.unsafe).run(programs)

    def prepare(self) -> None:
        """Raise what `__call__` would, before there is anything to run."""
        self([Program("")])

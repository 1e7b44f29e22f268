"""What is known before anything heavy is imported: what was typed, and what settings and files say by themselves."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from maporl.cli.flags import Parser
from maporl.errors import UserError

if TYPE_CHECKING:
    from maporl.training.config import RunConfig

__all__ = ["Line", "discussions", "number", "rows", "size", "told_before_waiting", "training"]

HEAVY = ("torch", "transformers", "peft", "trl", "scipy", "matplotlib")
"""What takes a second or more to import."""


@dataclass
class Line:
    """A command as it was typed.

    Attributes:
        name, module: Of the command.
        words: After its name.
    """

    name: str
    module: ModuleType
    words: list[str]

    @cached_property
    def args(self) -> argparse.Namespace:
        """As its parser reads them; for some commands that has to wait for torch."""
        parser = Parser(prog=f"maporl {self.name}", description=self.module.__doc__)
        self.module.add_arguments(parser)
        args: argparse.Namespace = parser.parse_args(self.words)
        return args


@contextlib.contextmanager
def told_before_waiting(line: Line) -> Iterator[None]:
    """Within it, what a command knows (its ``known(line)``) is printed once, on standard error, when the first of `HEAVY` is about to be
    imported: a command that ends before, with its result or with an error, has nothing to say beforehand, and one that need not wait, for
    they are imported, neither."""
    hook = None
    if not {*HEAVY} & sys.modules.keys() and not {"-h", "--help"} & {*line.words}:
        with contextlib.suppress(UserError):  # the command says it itself
            hook = _Hook(
                line.module.known(line)
            )  # now: a task of one's own may import torch, which must not begin within its import
    if hook is not None and hook.known:
        sys.meta_path.insert(0, hook)
    try:
        yield
    finally:
        if hook in sys.meta_path:
            sys.meta_path.remove(hook)


class _Hook(MetaPathFinder):
    """Is asked by Python for every module that is not imported yet, and leaves finding it to others."""

    def __init__(self, known: str) -> None:
        self.known = known

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname in HEAVY and self.known:
            known, self.known = self.known, ""  # it stays on the path: Python would skip the next finder if it went now
            print(f"maporl: {known}", file=sys.stderr, flush=True)


def discussions(config: RunConfig) -> tuple[str, int]:
    """The discussions of a run in words, and the messages of one at most."""
    env = config.build_env()
    messages = sum(map(len, env.rules.waves))
    sizes = f"{number(len(env.possible_agents), 'agent')} x {number(env.num_rounds, 'round')}"
    return f"{sizes}, {number(messages, 'message')} of at most {number(config.max_new_tokens, 'token')}", messages


def training(config: RunConfig) -> str:
    """A training in words."""
    said, messages = discussions(config)
    iterations, each = config.num_iterations, config.episodes_per_iteration
    return (
        f"{config.algorithm} on {config.env}: {said}; {number(iterations, 'iteration')} of {number(each, 'discussion')}, "
        f"{number(iterations * each * messages, 'message')} in all"
    )


def number(n: int, what: str) -> str:
    """ "1 round", "1,000 rounds"."""
    return f"{n:,} {what}{'s' * (n != 1)}"


def rows(file: str | Path) -> str:
    """How many lines a file has; "" if it is none."""
    path = Path(file)
    if not path.is_file():
        return ""
    with path.open("rb") as lines:
        return f"{path}: {number(sum(1 for _ in lines), 'row')}"


def size(value: Any) -> int:
    """How many there are in what one may write as one word, a list or a mapping."""
    return len(value) if isinstance(value, list | tuple | Mapping) else 1

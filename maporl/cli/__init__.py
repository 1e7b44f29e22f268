"""The command line: ``maporl COMMAND ...``.

A command is a module with two functions, ``add_arguments(parser)`` and ``run(args)``, imported when it is asked for, so that
``maporl --help`` never waits for torch. One that has to wait for it has a third, ``known(line)``, which says in a line what the settings
and files tell by themselves: how many iterations, questions, rows (`maporl.cli.known`).

What becomes one line, and what a traceback: a `UserError` (see `maporl.errors`) is a mistake of the user's, wherever the run
stands and in whichever process it was raised; its message is written for people and names the remedy. Everything else (an error inside
a user's own task, in another library, or a bug of ours) is shown whole, because its traceback is what helps.
"""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from maporl import __version__
from maporl.errors import UserError, UserValueError
from maporl.settings import nearest

__all__ = ["COMMANDS", "main"]

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("maporl.cli.demo", "train a tiny team on two witnesses, live, without any download"),
    "train": ("maporl.cli.training", "train a team and write a run folder"),
    "evaluate": ("maporl.cli.evaluation", "evaluate a trained team on its own or another task"),
    "ask": ("maporl.cli.asking", "let a trained team discuss a question of yours"),
    "show": ("maporl.cli.showing", "print discussions that were recorded, or list them"),
    "play": ("maporl.cli.playing", "take a seat in a discussion yourself"),
    "benchmark": ("maporl.cli.benchmarking", "compare methods on tasks over seeds, at equal cost, with intervals"),
    "report": ("maporl.cli.reporting", "write one HTML file with the figures and discussions of studies and runs"),
    "export": ("maporl.cli.exporting", "write a trained team as plain model folders"),
    "envs": ("maporl.cli.envs", "list the tasks, or show the exact prompts of one"),
    "algorithms": ("maporl.cli.algorithms", "list the algorithms and their settings"),
    "new": ("maporl.cli.new", "start a package of your own: a task, an algorithm or a protocol"),
    "verifier": ("maporl.cli.verifier", "train, judge or serve a verifier that learns from labelled answers"),
    "doctor": ("maporl.cli.doctor", "look at this machine and installation, with a short self-test"),
    "sft": ("maporl.cli.sft", "fine-tune a model on chats (a warm start)"),
    "make-model": ("maporl.cli.make_model", "make a small random-weight checkpoint"),
    "import-model": ("maporl.cli.import_model", "write a plain model folder from a GGUF file, a hub id or a package"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code: 0, 2 for a mistake of the user's, 130 after Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    format_before, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        return _dispatch(words)
    except KeyboardInterrupt as interrupt:
        print(f"maporl: interrupted{f'; {interrupt}' if str(interrupt) else ''}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        # Of a failed verifier it depends on why: one of ours names a remedy, a bug in one's own needs its traceback.
        if not isinstance(error, UserError):
            raise
        told = [str(error), *getattr(error, "__notes__", [])]
        print(f"maporl: error: {' '.join(' '.join(told).split())}", file=sys.stderr)
        return 2
    finally:
        warnings.formatwarning = format_before


def _one_line(message: Warning | str, *where: Any, **more: Any) -> str:
    """A warning for people: not where in our code it was given."""
    return f"maporl: warning: {' '.join(str(message).split())}\n"


def _dispatch(words: list[str]) -> int:
    name = words[0] if words else "--help"
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name == "--version":
        print(f"maporl {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserValueError(
            f"unknown command {name!r}.{nearest(name, COMMANDS)} The commands are: {', '.join(COMMANDS)}."
        )
    from maporl.cli.known import Line, told_before_waiting

    module = importlib.import_module(COMMANDS[name][0])
    line = Line(name, module, words[1:])
    with told_before_waiting(line) if hasattr(module, "known") else nullcontext():
        try:
            args = line.args
        except SystemExit as stop:  # --help has been printed
            return int(stop.code or 0)
        return int(module.run(args) or 0)


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: maporl COMMAND ...",
            "",
            "Train teams of language models that discuss a problem, and find out whether the team helps.",
            "",
            *lines,
            "",
            "maporl COMMAND --help explains one of them; maporl --version.",
        ]
    )

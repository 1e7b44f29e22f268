"""What users are told: exceptions whose message names the remedy of what they did wrong, and warnings that point at their own line.

The command line prints the message of a `UserError` as one line, and any other exception with its traceback. Each is of a built-in
kind too, so that `except ValueError` catches it. Tasks, verifiers and algorithms of your own may raise them as well; anything else that
they raise is taken for a bug, whose traceback is what helps.
"""

from __future__ import annotations

import sys
import sysconfig
import warnings
from functools import cache
from pathlib import Path

__all__ = [
    "Diverged",
    "OutOfMemory",
    "ServerUnavailable",
    "Unwritten",
    "UserError",
    "UserTypeError",
    "UserValueError",
    "warn",
]


class UserError(Exception):
    """A mistake of the user's, or a limit of the user's machine, with its remedy."""


class UserValueError(UserError, ValueError):
    """A value that means nothing here."""


class UserTypeError(UserError, TypeError):
    """A value of a kind that cannot be used."""


class Unwritten(UserError, NotImplementedError):
    """A method that a class of one's own has to write."""


class OutOfMemory(UserError, MemoryError):
    """The smallest piece of work does not fit into memory."""


class Diverged(UserError, FloatingPointError):
    """Weights that have become no numbers."""


class ServerUnavailable(UserError, ConnectionError):
    """A server that has a part in a run cannot be reached, for now: the run may go on when it is there again."""


def warn(message: str) -> None:
    """Warn at the innermost line that is neither this package's nor an installed library's.

    Between the user's line and ours there may be others' (PettingZoo's wrappers, torch's decorators), so no fixed `stacklevel` finds it.
    Where no line is the user's (the command line, a thread) it is the outermost.
    """
    frame = sys._getframe(1)
    while frame.f_back is not None and _of_a_library(frame.f_code.co_filename):
        frame = frame.f_back
    registry = frame.f_globals.setdefault("__warningregistry__", {})
    module, place = frame.f_globals.get("__name__"), (frame.f_code.co_filename, frame.f_lineno)
    warnings.warn_explicit(message, UserWarning, *place, module=module, registry=registry)


@cache
def _of_a_library(file: str) -> bool:
    return file.startswith(_LIBRARIES)


_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")
_LIBRARIES = ("<frozen", *(f"{folder}/" for folder in (Path(__file__).parent, *map(sysconfig.get_path, _PATHS))))

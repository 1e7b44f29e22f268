"""Warnings that point at the user's own line, however deep in the package what they are about came up."""

from __future__ import annotations

import sys
import sysconfig
import warnings
from functools import cache
from pathlib import Path

__all__ = ["warn"]


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

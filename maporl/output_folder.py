"""The one rule for folders that a command writes: new, empty, or its own; what lies in any other is never mixed with its files."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from maporl.atomic_files import mapping_of, write_whole
from maporl.errors import UserValueError

__all__ = ["check_output", "sign"]

SIGNATURE = "maporl_made.json"
"""Says what a folder was made of, where none of its files does."""


def check_output(path: str | Path, name: str = "output_dir", *, own: Collection[str] = (), made: Any = None) -> None:
    """Raise a ValueError if a folder holds files of others, or is none.

    Args:
        path: The folder, which need not exist. Hidden files in it are nobody's.
        name: What the folder is called where it is given.
        own: Files of which one says that the same command wrote the folder, and will deal with it.
        made: Likewise, what `sign` wrote there: the folder may be written anew.
    """
    folder = Path(path)  # as it is written to, so "~" stands for nothing here either
    if folder.exists() and not folder.is_dir():
        raise UserValueError(f"{name} {str(path)!r} is a file; name a folder, which is made if need be.")
    held = sorted(f.name for f in folder.iterdir() if not f.name.startswith(".")) if folder.is_dir() else []
    if not held or any(file in held for file in own) or (made is not None and mapping_of(folder / SIGNATURE) == made):
        return
    some = ", ".join(map(repr, held[:2])) + (f" and {len(held) - 2} more" if len(held) > 2 else "")
    raise UserValueError(f"{name} {str(path)!r} holds {some}; choose a folder that is new or empty.")


def sign(path: str | Path, made: Mapping[str, Any]) -> None:
    """Write down what a folder was made of, so that the same may be written there again."""
    write_whole(Path(path) / SIGNATURE, json.dumps(made, indent=2) + "\n")

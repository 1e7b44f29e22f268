"""Files that nobody ever reads half of, though they are replaced while others look; and what may be read of one that is damaged."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from maporl.text_files import read_json

__all__ = ["mapping_of", "write_whole"]


def write_whole(path: Path, content: str | Callable[[Path], Any]) -> None:
    """Write beside `path`, then move over it: a reader, or a writer that died, leaves the old file or the new one.

    Args:
        path: The file.
        content: Its text, or a function that writes it to a path.
    """
    part = path.with_name(path.name + ".part")
    if isinstance(content, str):
        part.write_text(content, encoding="utf-8")
    else:
        content(part)
    os.replace(part, path)


def mapping_of(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file; {} if it is missing, unreadable or no mapping."""
    content: Any = None
    with contextlib.suppress(OSError, ValueError):
        content = read_json(path)
    return content if isinstance(content, dict) else {}

"""Files that nobody ever reads half of, though they are replaced while others look."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["write_whole"]


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

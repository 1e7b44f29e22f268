"""JSON that people wrote: whatever cannot be read is said where it is, file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maporl.errors import UserValueError

__all__ = ["parsed", "read_jsonl"]


def read_jsonl(path: str | Path) -> Iterator[tuple[int, Any]]:
    """The number, from 1, and the value of every line that is not empty.

    Raises:
        ValueError: A line is not JSON, or not UTF-8.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, parsed(line.rstrip(), f"{path}, line {number}")


def parsed(data: bytes, where: str) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        ValueError: It is not; begins with `where`.
    """
    try:
        return json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserValueError(f"{where}: not UTF-8 (byte {error.start}); save the file as UTF-8.") from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}" if b"\n" in data.strip() else f"column {error.colno}"
        raise UserValueError(f"{where}: not JSON ({error.msg}, {at}); correct or remove it.") from None
    except RecursionError:
        raise UserValueError(f"{where}: nested too deeply to be read.") from None

"""Text that people wrote, or that was half written: the one reader of rows, settings, prompts and templates.

A file is UTF-8, with a byte order mark or without. Its lines end at line feeds (a carriage return before one belongs to it) and nowhere
else: what Unicode calls a line separator is a character like any other. Whatever cannot be read is said where it is, file and line.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from maporl.errors import UserValueError

__all__ = ["read_json", "read_jsonl", "read_text"]

_SPACE = " \t\r\n"  # what JSON takes for it


def read_text(path: str | Path) -> str:
    """The text of a file, its lines ended by line feeds alone.

    Raises:
        ValueError: It is not UTF-8; one line with file, line and byte.
        OSError: The file cannot be read.
    """
    data = Path(path).read_bytes()
    try:
        return _decoded(data).replace("\r\n", "\n")
    except _Undecodable as error:
        before = data[: error.place].split(b"\n")
        raise error.at(f"{path}, line {len(before)}", error.place - len(before[-1])) from None


def read_json(path: str | Path) -> Any:
    """The value of a JSON file.

    Raises:
        ValueError: It is not JSON, or not UTF-8; one line with the file and the place in it.
        OSError: The file cannot be read.
    """
    return _parsed(read_text(path), str(path))


def read_jsonl(path: str | Path, broken: list[str] | None = None) -> Iterator[tuple[int, Any]]:
    """The number, from 1, and the value of every line that is not empty.

    Args:
        path: A file of JSON lines.
        broken: Gets what is wrong with each line that cannot be read, which is left out then; None raises it.

    Raises:
        ValueError: A line is not JSON, or not UTF-8; one line with file and line.
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            where = f"{path}, line {number}"
            try:
                text = _decoded(line).rstrip(_SPACE)
                value = _parsed(text, where) if text else None
            except (_Undecodable, UserValueError) as error:
                fault = error.at(where) if isinstance(error, _Undecodable) else error
                if broken is None:
                    raise fault from None
                broken.append(str(fault))
                continue
            if text:
                yield number, value


class _Undecodable(Exception):
    """Bytes that are no text in UTF-8: what, and at which byte from 0."""

    def __init__(self, fault: str, place: int) -> None:
        self.fault, self.place = fault, place

    def at(self, where: str, begin: int = 0) -> UserValueError:
        """The same for people; `begin` is the byte at which the line named in `where` begins."""
        return UserValueError(f"{where}: {self.fault} (byte {self.place - begin}); save the file as UTF-8.")


def _decoded(data: bytes) -> str:
    if (place := data.find(b"\0")) >= 0 and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _Undecodable("holds a NUL, as text in UTF-16 does", place)
    try:
        return data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _Undecodable("not UTF-8", error.start) from None


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}" if "\n" in text.strip(_SPACE) else f"column {error.colno}"
        raise UserValueError(f"{where}: not JSON ({error.msg}, {at}); correct or remove it.") from None
    except RecursionError:
        raise UserValueError(f"{where}: nested too deeply to be read.") from None
    except ValueError as error:  # an integer of thousands of digits
        raise UserValueError(f"{where}: not readable JSON ({error}); correct or remove it.") from None

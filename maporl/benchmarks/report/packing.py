"""What the page unpacks bit by bit: an index that is read at once, and texts in compressed pieces, read when somebody asks for them.

Everything is JSON in ASCII, so that any model text (control characters, half surrogate pairs) survives and no decoder can fail.
"""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Packed", "Pieces", "clean", "finite", "packed"]

PIECE = 400_000  # characters of JSON before compression: some 10 ms to unpack on a slow laptop


@dataclass(frozen=True)
class Packed:
    """Compressed, in base64.

    Attributes:
        index: Columns, and under "starts" the number of the first text of each piece.
        pieces: Lists of texts.
    """

    index: str
    pieces: list[str] = field(repr=False)


class Pieces:
    """Collects texts, each the JSON of one thing to be read, in order."""

    def __init__(self) -> None:
        self._count = 0
        self._starts: list[int] = []
        self._pieces: list[str] = []
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        """One more."""
        if not self._texts:
            self._starts.append(self._count)
        self._texts.append(text)
        self._count += 1
        if sum(map(len, self._texts)) > PIECE:
            self._close()

    def _close(self) -> None:
        if self._texts:
            self._pieces.append(packed("[" + ",\n".join(self._texts) + "]"))
            self._texts = []

    def finish(self, index: Mapping[str, Any]) -> Packed:
        """All of them, with an index of theirs."""
        self._close()
        return Packed(packed(json.dumps({"starts": self._starts, **index}, separators=(",", ":"))), self._pieces)


def finite(value: Any) -> float | None:
    """A finite number with at most six decimals, else None: JSON knows no infinity."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def clean(value: Any) -> Any:
    """A copy that JSON can hold: NaN and infinities become None, everything unknown its text."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item) for item in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if hasattr(value, "item"):  # a numpy scalar
        return clean(value.item())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def packed(text: str) -> str:
    """ASCII text, compressed and in base64."""
    return base64.b64encode(gzip.compress(text.encode("ascii"), 6, mtime=0)).decode("ascii")

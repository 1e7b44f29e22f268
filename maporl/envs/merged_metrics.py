"""The metrics of several parts under one roof."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count

__all__ = ["merged_metrics"]


def merged_metrics(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The metrics of several shapings or verifiers; where two have one name (two of one word), the later is ``name_2``, and so on."""
    merged: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            names = (name if n == 1 else f"{name}_{n}" for n in count(1))
            merged[next(new for new in names if new not in merged)] = value
    return merged

"""Which combinations of a procedural task are held out: the same on every machine, whatever the team looks like."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

__all__ = ["ITEMS", "TEST_SHARE", "of_split"]

ITEMS = ("vault", "safe", "locker", "chest", "door", "gate", "phone", "case")
TEST_SHARE = 0.2

Combination = TypeVar("Combination")


def of_split(
    combinations: Iterable[Combination], split: str, group: Callable[[Combination], Hashable]
) -> list[Combination]:
    """The combinations of "train" or "test": a fifth of every group is test, chosen by hash.

    Drawn group by group, so that the held-out part has every item and digit that the training part has: what is new in it
    is how they meet.

    Args:
        combinations: All of them; their ``repr`` is what is hashed.
        split: "train" or "test".
        group: Combination -> its group.
    """
    groups: dict[Hashable, list[Combination]] = {}
    for combination in combinations:
        groups.setdefault(group(combination), []).append(combination)
    chosen: list[Combination] = []
    due = 0.0
    for members in groups.values():
        ranked = sorted(members, key=lambda member: hashlib.sha256(repr(member).encode()).hexdigest())
        due += TEST_SHARE * len(members)
        count = int(due + 1e-9)  # what a small group cannot give in whole questions is carried over to the next
        due -= count
        chosen += ranked[:count] if split == "test" else ranked[count:]
    return chosen

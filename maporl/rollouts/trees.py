"""Trees of discussions: how they branch, how many messages that makes, and what the leaves of one have in common.

A leaf is an `Episode`; its `branch` says which one of its siblings every wave of it is.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from maporl.errors import UserValueError
from maporl.types import Episode, Seat

__all__ = [
    "JOINT",
    "LARGEST",
    "Branch",
    "Node",
    "Size",
    "backed_up",
    "branching_by_round",
    "check_size",
    "named",
    "nodes",
    "shares",
    "size_of",
]

JOINT = ("aligned", "cross")
"""What a wave's joint actions are: the g-th candidates of all who speak, or every combination of their candidates."""

LARGEST = 100_000
"""Messages, or leaves, of one tree: twenty times what two agents say where groups of eight branch over three rounds."""


class Size(NamedTuple):
    """Of a tree, if no discussion ends early.

    Attributes:
        messages: That are sampled, of everybody.
        discussions: That end in a message of their own: the leaves of joint actions that are aligned.
        leaves: Joint actions of the last wave, each the end of an `Episode`.
    """

    messages: int
    discussions: int
    leaves: int


def size_of(waves: Sequence[Sequence[Seat]], branching: Sequence[int], joint: str = "aligned") -> Size:
    """The size of a tree.

    Args:
        waves: Who speaks in each (`Rules.waves`).
        branching: Candidates of each wave; 1 beyond its end.
        joint: A word of `JOINT`.
    """
    messages, discussions, leaves = 0, 1, 1
    for wave, seats in enumerate(waves):
        width = branching[wave] if wave < len(branching) else 1
        discussions = leaves * width
        messages += discussions * len(seats)
        leaves *= width ** len(seats) if joint == "cross" else width
    return Size(messages, discussions, leaves)


def branching_by_round(waves: Sequence[Sequence[Seat]], width: int) -> tuple[int, ...]:
    """The branching in which every joint action of a round has `width` children: at the first wave of every round."""
    rounds = [wave[0].round for wave in waves]
    return tuple(width if n == rounds.index(round) else 1 for n, round in enumerate(rounds))


def check_size(size: Size, what: str) -> None:
    """Refuse a tree that nobody can have meant.

    Args:
        size: The tree's.
        what: The settings that make it.

    Raises:
        ValueError: It has more than `LARGEST` messages, or leaves.
    """
    if max(size.messages, size.leaves) > LARGEST:
        raise UserValueError(
            f"{what} makes {size.messages:,} messages and {size.leaves:,} discussions of every question, more than {LARGEST:,}; lower "
            "group_size, branching or num_rounds, or leave joint 'aligned' or rollouts 'linear'."
        )


Branch = tuple[int, ...]
"""Which one of its siblings each wave on the way to a node is."""

Node = tuple[int, ...]
"""The number of a tree, then a branch."""


def named(branch: Branch) -> str:
    """As people read it: "7.0.2"."""
    return ".".join(map(str, branch))


def _children(episodes: Sequence[Episode]) -> dict[Node, set[int]]:
    """Which children every inner node has."""
    children: dict[Node, set[int]] = defaultdict(set)
    for e in episodes:
        for depth, place in enumerate(e.branch):
            children[e.group, *e.branch[:depth]].add(place)
    return children


def nodes(episodes: Sequence[Episode]) -> list[list[Node]]:
    """The node at which the candidates parted that the messages of each wave of each leaf are among: the last one above the wave that
    has several children, else the tree itself.

    In a group of whole discussions that is the question, whatever the wave; in a tree that branches at every round what was said in the
    rounds before.
    """
    children = _children(episodes)
    found = []
    for e in episodes:
        above: list[Node] = []
        parted: Node = (e.group,)
        for depth in range(len(e.branch)):
            node = (e.group, *e.branch[:depth])
            parted = node if len(children[node]) > 1 else parted
            above.append(parted)
        found.append(above or [parted] * len(e.waves))
    return found


def shares(episodes: Sequence[Episode]) -> list[float]:
    """What each leaf counts in a mean over those below any node of its tree, so that this is the mean over the node's children of the
    means over theirs, and so on, also where some branches end early: 1 for the leaves of a tree whose nodes have equally many.

    A mean of some leaves is to be divided by the sum of their shares.
    """
    children = _children(episodes)
    parts = [math.prod(len(children[e.group, *e.branch[:d]]) for d in range(len(e.branch))) for e in episodes]
    fewest: dict[int, int] = {}
    for e, part in zip(episodes, parts, strict=True):
        fewest[e.group] = min(part, fewest.get(e.group, part))
    return [fewest[e.group] / part for e, part in zip(episodes, parts, strict=True)]


def backed_up(leaves: Mapping[Branch, float | None]) -> dict[Branch, float | None]:
    """The value of every node of a tree: a leaf's own, else the mean of its children's (MALT 2412.01928, section 3.2).

    Where all nodes of a level have equally many children, that is the mean over all leaves below. A leaf without a value has no part.

    Args:
        leaves: Branch -> value.

    Returns:
        Branch -> value, leaves and inner nodes but the root; None for a node without any leaf that has one. Exact, then rounded once:
        18 of 36 right leaves are .5 and no more, whatever the means in between.

    Raises:
        ValueError: A leaf's value is not finite.
    """
    for branch, value in leaves.items():
        if value is not None and not math.isfinite(value):
            raise UserValueError(f"branch {named(branch)} is worth {value}; give a number, or None where nobody knows.")
    exact = {branch: None if value is None else Fraction(value) for branch, value in leaves.items()}
    for depth in range(max(map(len, leaves), default=0) - 1, 0, -1):
        children: dict[Branch, list[Fraction]] = defaultdict(list)
        for branch, worth in exact.items():
            if len(branch) == depth + 1:
                children[branch[:depth]] += [] if worth is None else [worth]
        exact |= {branch: sum(found, Fraction()) / len(found) if found else None for branch, found in children.items()}
    return {branch: None if worth is None else float(worth) for branch, worth in exact.items()}

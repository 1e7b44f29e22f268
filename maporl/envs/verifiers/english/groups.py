"""Things that a text names side by side, and how it stands to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from maporl.envs.verifiers.english.tokens import Name
from maporl.envs.verifiers.english.vocabulary import Kind

__all__ = ["FAR", "Group", "Stance"]

FAR = "far"
"""The source of what is put aside by a denial that may belong to what stands between: "we won't need more than"."""


class Stance(Enum):
    """How a text stands to what it names."""

    CLAIMED = auto()
    NAMED = auto()
    ASIDE = auto()


@dataclass
class Group:
    """Things that are named side by side.

    Attributes:
        names: Which.
        stance: How the text stands to them.
        sure: A word such as "answer" is in the sentence, or the place is marked (a box).
        line: Number of its line, empty ones not counted.
        alone: Nothing else is said in the sentence.
        said_of: Something is said of them that is neither praise nor blame.
        praised: It is a peer's, and may be praised: "agent_0's answer A is right", unlike what a peer says to be right.
        source: What decided about the stance: the kind of a word, `FAR`, "=", ":" or "open".
    """

    names: list[Name]
    stance: Stance
    sure: bool
    line: int
    source: Kind | str | None
    alone: bool = False
    said_of: bool = False
    praised: bool = False

    @property
    def values(self) -> set[str]:
        labels = {name.value for name in self.names if name.label}
        return labels or {name.value for name in self.names}

    @property
    def label(self) -> bool:
        return any(name.label for name in self.names)

"""What agents are told from outside between what they say: feedback that a task, not its protocol, gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from maporl.errors import UserTypeError, UserValueError
from maporl.registry import build
from maporl.types import Transcript, Turn

__all__ = ["Feedback", "Silent", "build_feedback"]

Said = Sequence[Sequence[Turn]]
"""Of each discussion, what it is told: turns of kind "feedback", in whatever number, under names that are no agents'."""


class Feedback(ABC):
    """Base of feedback. Whoever has heard it may have been told what the gold answer is, so it says whether it looks at that.

    Attributes:
        uses_gold: It looks at the gold answer. The team's answer then is an oracle's.
    """

    uses_gold: bool = True

    @abstractmethod
    def __call__(self, transcripts: Sequence[Transcript]) -> Said:
        """What each discussion is told. Must not raise, whatever was said; a function of the transcript alone.

        Args:
            transcripts: All discussions in which everybody who was due has spoken and others are due next (a wave is over: of a debate,
                a round), so that what answers for many at once is asked once. After the last message nobody would hear it.
        """

    def longest(self, transcripts: Sequence[Transcript]) -> Said:
        """The longest that it may say here, where nothing has been said yet: what the check of the models' windows reads."""
        return self(transcripts)


class Silent(Feedback):
    """No feedback, also on a task that gives some."""

    uses_gold = False

    def __call__(self, transcripts: Sequence[Transcript]) -> Said:
        return [()] * len(transcripts)


class _OfFunction(Feedback):
    """A plain function; it is taken to look at the gold answer unless its attribute ``uses_gold`` says that it does not."""

    def __init__(self, function: Callable[[Sequence[Transcript]], Said]) -> None:
        self.function = function
        self.uses_gold = bool(getattr(function, "uses_gold", True))

    def __call__(self, transcripts: Sequence[Transcript]) -> Said:
        said = list(self.function(transcripts))
        if len(said) != len(transcripts):
            raise UserValueError(
                f"feedback {self!r} says something to {len(said)} of {len(transcripts)} discussions; give each its turns, () for none."
            )
        return said

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def build_feedback(spec: Any) -> Feedback:
    """Feedback from a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance, any function, or None.

    Raises:
        TypeError: The specification is nothing that can be called.
        ValueError: Unknown word.
    """
    given = Silent() if spec is None else build("feedback", spec)
    if isinstance(given, Feedback):
        return given
    if not callable(given):
        raise UserTypeError(f"feedback {spec!r} cannot be called; give a Feedback, its word, or a function.")
    return _OfFunction(given)

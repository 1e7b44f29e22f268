"""What agents are told from outside between what they say: feedback that a task, not its protocol, gives."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from maporl.errors import UserTypeError, UserValueError
from maporl.registry import build
from maporl.types import Transcript, Turn

if TYPE_CHECKING:
    from maporl.envs.protocols import Protocol

__all__ = ["Feedback", "Silent", "build_feedback", "heard"]

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
        return self.function(transcripts)

    def __repr__(self) -> str:
        return getattr(self.function, "__name__", repr(self.function))


def build_feedback(spec: Any, default: Any, protocol: Protocol) -> Feedback:
    """Feedback from a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance or any function; None: the
    task's `default`, unless the protocol itself tells everybody what came of its answer.

    Raises:
        TypeError: The specification is nothing that can be called.
        ValueError: Unknown word, or feedback beside that of a protocol which tells outcomes.
    """
    chosen = (None if protocol.tells_outcomes else default) if spec is None else spec
    given = Silent() if chosen is None else build("feedback", chosen)
    if not callable(given):
        raise UserTypeError(f"feedback {chosen!r} cannot be called; give a Feedback, its word, or a function.")
    feedback = given if isinstance(given, Feedback) else _OfFunction(given)
    if protocol.tells_outcomes and not isinstance(feedback, Silent):
        raise UserValueError(
            f"feedback {chosen!r} cannot be given under protocol {protocol.name!r}, which tells every agent what came of its answer; "
            "leave feedback out."
        )
    return feedback


def heard(giver: Any, said: Any, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
    """What `giver`, a protocol or a feedback, says to each discussion, if it is of the right form.

    Raises:
        ValueError: Not one sequence of turns for each discussion.
    """
    each = [tuple(o) if isinstance(o, Iterable) else o for o in said] if isinstance(said, Iterable) else [said]
    wrong = [one for one in each if not (isinstance(one, tuple) and all(isinstance(turn, Turn) for turn in one))]
    if wrong or len(each) != len(transcripts):
        what = f"{wrong[0]!r} to one" if wrong else f"something to {len(each)}"
        raise UserValueError(
            f"feedback {giver!r} says {what} of {len(transcripts)} discussions; return for each a list of its Turns, [] for none."
        )
    return each

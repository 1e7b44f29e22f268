"""What a shaping is, and sums of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maporl.envs.merged_metrics import merged_metrics
from maporl.errors import UserTypeError, UserValueError
from maporl.registry import build, names
from maporl.types import Transcript

if TYPE_CHECKING:
    from maporl.envs.protocols import Protocol

__all__ = ["Shaping", "Sum", "build_shaping"]


class Shaping(ABC):
    """Base of all shapings.

    Attributes:
        contains_future: A turn's reward depends on later rounds, so it is already a return: an algorithm that would
            bootstrap across rounds on top of it counts the future twice, and raises.
        needs_team_verifier: Reads `Transcript.team_scores`.
    """

    contains_future: bool = False
    needs_team_verifier: bool = False

    @abstractmethod
    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        """One reward per turn of `transcript`, as if the discussion ended here."""

    def check(self, protocol: Protocol, num_agents: int) -> None:  # noqa: B027 (most shapings fit every protocol)
        """Raise a ValueError if this shaping means nothing under `protocol` with `num_agents` agents."""

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        """Counts worth logging for one discussion (ties, violations ...), by name."""
        return {}

    def __add__(self, other: Shaping) -> Sum:
        return Sum(self, other) if isinstance(other, Shaping) else NotImplemented

    def __mul__(self, weight: float) -> Sum:
        return Sum(self, weights=(weight,))

    __rmul__ = __mul__


class Sum(Shaping):
    """A weighted sum of shapings; ``a + 0.5 * b`` makes one."""

    def __init__(self, *parts: Shaping, weights: Sequence[float] | None = None) -> None:
        self.parts = parts
        self.weights = (1.0,) * len(parts) if weights is None else tuple(float(weight) for weight in weights)
        if not parts or len(parts) != len(self.weights):
            raise UserValueError(
                f"a sum of {len(parts)} shapings with {len(self.weights)} weights; give one weight to each."
            )

    @property
    def contains_future(self) -> bool:  # type: ignore[override]
        return any(part.contains_future for part in self.parts)

    @property
    def needs_team_verifier(self) -> bool:  # type: ignore[override]
        return any(part.needs_team_verifier for part in self.parts)

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        columns = [part(transcript) for part in self.parts]
        return tuple(
            float(sum(w * x for w, x in zip(self.weights, row, strict=True))) for row in zip(*columns, strict=True)
        )

    def check(self, protocol: Protocol, num_agents: int) -> None:
        for part in self.parts:
            part.check(protocol, num_agents)

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        return merged_metrics([part.metrics(transcript) for part in self.parts])

    def __repr__(self) -> str:
        return " + ".join(
            repr(part) if w == 1 else f"{w} * {part!r}" for part, w in zip(self.parts, self.weights, strict=True)
        )


def build_shaping(spec: Any) -> Shaping:
    """A shaping from a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance, or a list of these.

    Raises:
        TypeError: The specification does not make a `Shaping`.
        ValueError: Unknown word, or an empty list.
    """
    if isinstance(spec, list | tuple):
        return Sum(*(build_shaping(part) for part in spec))
    shaping = build("shaping", spec)
    if not isinstance(shaping, Shaping):
        raise UserTypeError(f"shaping {spec!r} is no Shaping; give one of {', '.join(names('shaping'))} or a subclass.")
    return shaping

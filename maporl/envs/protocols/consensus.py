"""When a discussion has agreed, so that it may end before its last round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maporl.envs.team_answer import answer_of, last_round
from maporl.settings import called
from maporl.types import Transcript, Turn

__all__ = ["Consensus", "build_stop"]

_WORD = "consensus"
_ROUNDING = 1e-9  # a share of 2/3, written as a float, is reached by two of three


@dataclass(frozen=True)
class Consensus:
    """The largest group of equal answers is large enough, and the verifier thinks well enough of it.

    Asked after every completed round, about the messages of that round. A message without an answer agrees with nobody.

    Args:
        share: The least share of all agents that gives the same canonical answer: more than one half, at most 1 (everybody).
        score: The least mean of the verifier's values of that group's messages, from 0 to 1. 0 does not ask the verifier.

    Raises:
        ValueError: A number out of these bounds.
    """

    share: float = 1.0
    score: float = 0.0

    def __post_init__(self) -> None:
        if not 0.5 < self.share <= 1:
            raise ValueError(
                f"share is {self.share}; a consensus is of more than half of the agents: give a number above 0.5 and at most 1."
            )
        if not 0 <= self.score <= 1:
            raise ValueError(f"score is {self.score}; give a number from 0 (the verifier is not asked) to 1.")

    @property
    def reads_scores(self) -> bool:
        """Whether the verifier has a say in it."""
        return self.score > 0

    def __call__(self, transcript: Transcript) -> bool:
        groups: dict[str, list[Turn]] = {}
        for turn in last_round(transcript):
            if (answer := answer_of(turn)) is not None:
                groups.setdefault(answer, []).append(turn)
        largest = max(groups.values(), key=len, default=[])  # of more than half there is one at most
        if not largest or len(largest) < self.share * len(transcript.agents) - _ROUNDING:
            return False
        mean = sum(turn.value for turn in largest) / len(largest)
        return not self.reads_scores or mean >= self.score - _ROUNDING


def build_stop(spec: str | Mapping[str, Any] | Consensus | None) -> Consensus | None:
    """From None (never), "consensus", ``{"name": "consensus", "share": ..., "score": ...}`` or a `Consensus`.

    Raises:
        ValueError: Another word, or arguments that a consensus does not have.
    """
    if spec is None or isinstance(spec, Consensus):
        return spec
    arguments = dict(spec) if isinstance(spec, Mapping) else {"name": spec}
    name = arguments.pop("name", None)
    if name != _WORD:
        raise ValueError(
            f"unknown stop {spec!r}; write {_WORD!r}, {{'name': {_WORD!r}, 'share': 0.6, 'score': 0.5}}, or leave it out."
        )
    stop: Consensus = called("stop", _WORD, Consensus, arguments)
    return stop

"""Shapings made of verifier scores: own, team mean, last round, discounted, outcome credit, team score.

In an unfinished round only completed rounds count for means; a message's own score counts at once. A message that the
protocol does not score stands, wherever a formula needs its own value, at the mean of its round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maporl.envs.shaping.base import Shaping
from maporl.errors import UserValueError
from maporl.types import Transcript, Turn

__all__ = [
    "DiscountedOwn",
    "DiscountedTeam",
    "DiscussionScore",
    "LastRoundOwn",
    "LastRoundTeam",
    "OutcomeCredit",
    "OwnScore",
    "TeamMean",
    "TeamScore",
]


def round_mean(transcript: Transcript, index: int) -> float:
    """The mean value of the scored messages of round `index`, 0 if none is scored."""
    values = [turn.value for turn in transcript.round(index) if turn.score is not None]
    return sum(values) / len(values) if values else 0.0


def round_means(transcript: Transcript) -> list[float]:
    """The mean of every completed round."""
    return [round_mean(transcript, index) for index in range(transcript.completed_rounds)]


def scored_rounds(transcript: Transcript) -> list[int]:
    """The completed rounds of which a message is scored: of lessons, which nobody scores, none is the last one that counts."""
    rounds = range(transcript.completed_rounds)
    return [index for index in rounds if any(turn.score is not None for turn in transcript.round(index))]


def own_value(turn: Turn, means: Sequence[float]) -> float:
    """A message's own value; an unscored message stands at the mean of its round once that is completed."""
    if turn.score is not None:
        return turn.score.value
    return means[turn.round] if turn.round < len(means) else 0.0


@dataclass(frozen=True)
class OwnScore(Shaping):
    """r(t,a) = v(t,a): the verifier's value of the message itself, 0 if it is not scored."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        return tuple(turn.value for turn in transcript.turns)


@dataclass(frozen=True)
class TeamMean(Shaping):
    """r(t,a) = mean over j of v(t,j): everybody gets the mean of the round, once it is completed."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        means = round_means(transcript)
        return tuple(means[turn.round] if turn.round < len(means) else 0.0 for turn in transcript.turns)


@dataclass(frozen=True)
class LastRoundTeam(Shaping):
    """r(t,a) = mean over j of v(T,j): every message gets the mean of the last (completed, scored) round. MAPoRL, appendix F."""

    contains_future = True

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        last = (scored_rounds(transcript) or [-1])[-1]
        return (round_mean(transcript, last),) * len(transcript.turns)


@dataclass(frozen=True)
class LastRoundOwn(Shaping):
    """r(t,a) = v(T,a): every message gets the value of its speaker's latest message (of a scored round). MAPoRL, appendix F."""

    contains_future = True

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        means = round_means(transcript)
        unscored = {*range(len(means))} - {*scored_rounds(transcript)}
        latest = {turn.agent: own_value(turn, means) for turn in transcript.turns if turn.round not in unscored}
        return tuple(latest.get(turn.agent, 0.0) for turn in transcript.turns)


@dataclass(frozen=True)
class _Discounted(Shaping):
    gamma: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.gamma <= 1:
            raise UserValueError(f"gamma is {self.gamma}; a discount lies in [0, 1].")

    @property
    def contains_future(self) -> bool:  # type: ignore[override]
        return self.gamma > 0


class DiscountedOwn(_Discounted):
    """r(t,a) = sum over t' >= t of gamma^(t'-t) v(t',a), divided by the sum of the weights. MAPoRL, appendix F."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        means = round_means(transcript)
        left: dict[str, list[float]] = {agent: [] for agent in transcript.agents}
        for turn in transcript.turns:
            left[turn.agent].append(own_value(turn, means))
        rewards = []
        for turn in transcript.turns:
            rewards.append(discounted(left[turn.agent], self.gamma))
            left[turn.agent] = left[turn.agent][1:]
        return tuple(rewards)


class DiscountedTeam(_Discounted):
    """MAPoRL's influence-aware verification reward (paper, definition 1; the release's ``discounted_sum/all``).

    r(t,a) = [v(t,a) + sum over t' > t of gamma^(t'-t) mean over j of v(t',j)] / sum over t' >= t of gamma^(t'-t).
    gamma = 0.3 is the release's; the paper's is unknown.
    """

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        means = round_means(transcript)
        return tuple(
            discounted([own_value(turn, means), *means[turn.round + 1 :]], self.gamma) for turn in transcript.turns
        )


def discounted(values: Sequence[float], gamma: float) -> float:
    """The mean of `values` with weights 1, gamma, gamma^2, ..."""
    weights = [gamma**k for k in range(len(values))]
    return sum(w * v for w, v in zip(weights, values, strict=True)) / sum(weights)


@dataclass(frozen=True)
class OutcomeCredit(Shaping):
    """A last-round message earns its own score, every earlier one the team's mean score of the last round (that is scored)."""

    contains_future = True

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        means = round_means(transcript)
        last = (scored_rounds(transcript) or [-1])[-1]
        return tuple(means[last] if turn.round < last else own_value(turn, means) for turn in transcript.turns)


@dataclass(frozen=True)
class TeamScore(Shaping):
    """Everybody gets the `TeamVerifier`'s value of the round's joint action, once the round is completed."""

    needs_team_verifier = True

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        values = [score.value for score in transcript.team_scores]
        return tuple(values[turn.round] if turn.round < len(values) else 0.0 for turn in transcript.turns)


@dataclass(frozen=True)
class DiscussionScore(Shaping):
    """Everybody gets the `TranscriptVerifier`'s value of the whole discussion, once it is over."""

    contains_future = True
    needs_team_verifier = True

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        value = 0.0 if transcript.verdict is None else transcript.verdict.value
        return (value,) * len(transcript.turns)

"""MAPoRL's incentives: being persuaded and persuading, rewarded by hand (paper, tables 1 and 2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maporl.envs.shaping.base import Shaping
from maporl.errors import UserValueError
from maporl.types import Seat, Transcript

if TYPE_CHECKING:
    from maporl.envs.protocols import Protocol

__all__ = ["Incentives", "majority_of_others", "round_trip_flips"]

# (own answer in round t, own in t+1, majority of the others in t) -> (which, sign), added to the answer of round t+1.
# (majority of the others in t, theirs in t+1, own answer in t) -> (which, sign), added to the answer of round t.
# True is right, False is wrong; every other case, and every tie, is 0.
Table = Mapping[tuple[bool, bool, bool], tuple[str, int]]
_R, _W = True, False
PERSUADED: dict[str, Table] = {
    "paper": {
        (_R, _W, _R): ("alpha1", -1),
        (_R, _W, _W): ("alpha0", -1),
        (_W, _R, _W): ("alpha0", +1),
        (_W, _R, _R): ("alpha1", +1),
    },
    "release": {
        (_R, _W, _R): ("alpha1", -1),
        (_R, _W, _W): ("alpha0", -1),
        (_W, _R, _W): ("alpha1", +1),
        (_W, _R, _R): ("alpha0", +1),
    },
}
PERSUADING: dict[str, Table] = {
    "paper": {
        (_R, _W, _R): ("beta1", -1),
        (_R, _W, _W): ("beta0", -1),
        (_W, _R, _W): ("beta0", +1),
        (_W, _R, _R): ("beta1", +1),
    },
    "release": {
        (_W, _R, _W): ("beta0", -1),
        (_W, _R, _R): ("beta1", -1),
        (_R, _W, _W): ("beta1", +1),
        (_R, _W, _R): ("beta0", +1),
    },
}


@dataclass(frozen=True)
class Incentives(Shaping):
    """Incentives for an agent that changes its mind (alpha) or changes the others' (beta). MAPoRL, tables 1 and 2.

    The majority is that of the *other* agents: right if more than half of them are right, wrong if fewer. A tie pays
    nothing: an alpha pattern reads the majority of round t, a beta pattern those of rounds t and t+1, so among three
    agents that answer at random ties void half of the alpha and three quarters of the beta patterns. An answer that
    nobody can judge (``correct=None``) counts as wrong. Meant to be added to a score:
    ``DiscountedTeam() + Incentives(alpha1=1.0)``.

    Only with ``alpha0 = alpha1`` and ``beta0 = beta1``, and only for two agents, does a flip and its reversal pay nothing;
    otherwise agents can earn by flipping to and fro. `metrics` counts such round trips.

    Args:
        alpha0: Finding the truth against a wrong majority (leaving it with one costs as much).
        alpha1: Finding it with a right majority.
        beta0: The majority finds the truth after this agent was wrong.
        beta1: The majority finds it after this agent was right.
        signs: "paper", or "release" to compare with the authors' code, which inverts the influence signs, swaps indices
            on half of the rows and pays no beta in the first round.
    """

    alpha0: float = 0.0
    alpha1: float = 0.0
    beta0: float = 0.0
    beta1: float = 0.0
    signs: str = "paper"

    def __post_init__(self) -> None:
        if self.signs not in PERSUADED:
            raise UserValueError(f"unknown signs {self.signs!r}; one of: {', '.join(PERSUADED)}.")

    @property
    def contains_future(self) -> bool:  # type: ignore[override]
        return bool(self.beta0 or self.beta1)

    def check(self, protocol: Protocol, num_agents: int) -> None:
        if not protocol.simultaneous:
            raise UserValueError(
                f"incentives need a simultaneous protocol such as debate; {protocol.name!r} is sequential."
            )
        if not protocol.once_a_round:
            raise UserValueError(
                f"incentives compare everybody's rounds; not everybody speaks in each of {protocol.name!r}, use debate."
            )
        if num_agents < 2:
            raise UserValueError("incentives compare an agent with the others; num_agents is 1, give at least 2.")

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        rewards = {turn.seat: 0.0 for turn in transcript.turns}
        right = _right(transcript)
        persuaded, persuading = PERSUADED[self.signs], PERSUADING[self.signs]
        for t in range(len(right) - 1):
            for a, agent in enumerate(transcript.agents):
                own, own_next = right[t][a], right[t + 1][a]
                others, others_next = majority_of_others(right[t], a), majority_of_others(right[t + 1], a)
                if others is not None and (own, own_next, others) in persuaded:
                    which, sign = persuaded[own, own_next, others]
                    rewards[Seat(agent, t + 1)] += sign * getattr(self, which)
                if others is None or others_next is None or (self.signs == "release" and t == 0):
                    continue
                if (others, others_next, own) in persuading:
                    which, sign = persuading[others, others_next, own]
                    rewards[Seat(agent, t)] += sign * getattr(self, which)
        return tuple(rewards[turn.seat] for turn in transcript.turns)

    def metrics(self, transcript: Transcript) -> dict[str, float]:
        """Patterns voided by a tie, answers of unknown correctness, and round-trip flips (right-wrong-right or back)."""
        right = _right(transcript)
        alpha_ties = beta_ties = 0
        for now, after in zip(right, right[1:], strict=False):
            for a in range(len(now)):
                tied_now, tied_after = (majority_of_others(row, a) is None for row in (now, after))
                alpha_ties += now[a] != after[a] and tied_now
                beta_ties += tied_now or tied_after
        counted = [turn for turn in transcript.turns if turn.round < transcript.completed_rounds]
        return {
            "incentive_alpha_ties": float(alpha_ties),
            "incentive_beta_ties": float(beta_ties),
            "incentive_unknown": float(sum(turn.correct is None for turn in counted)),
            "round_trip_flips": float(round_trip_flips(transcript)),
        }


def _right(transcript: Transcript) -> list[list[bool]]:
    """[completed rounds][agents], True where the answer is right; unknown counts as wrong."""
    return [[turn.correct is True for turn in transcript.round(t)] for t in range(transcript.completed_rounds)]


def majority_of_others(right: list[bool], agent: int) -> bool | None:
    """Whether more than half of the agents other than number `agent` are right; None for a tie."""
    others = right[:agent] + right[agent + 1 :]
    balance = 2 * sum(others) - len(others)
    return None if balance == 0 else balance > 0


def round_trip_flips(transcript: Transcript) -> int:
    """How often an agent's answer went right-wrong-right or wrong-right-wrong over three consecutive rounds."""
    right = _right(transcript)
    return sum(
        first[a] != second[a] and second[a] != third[a]
        for first, second, third in zip(right, right[1:], right[2:], strict=False)
        for a in range(len(transcript.agents))
    )

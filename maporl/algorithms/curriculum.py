"""Which round's messages are learned from in an iteration: the last one first, as in MAPoRL's release."""

from __future__ import annotations

from dataclasses import dataclass

from maporl.agents.team import Team
from maporl.errors import UserValueError

__all__ = ["LastRoundFirst"]


@dataclass(frozen=True)
class LastRoundFirst:
    """Blocks of iterations that learn from one round each: the last, the one before ... the first, and again from the last.

    What is said last has no consequences but its own reward, so that later rounds are good at what they do when earlier ones learn what
    to leave to them: dynamic programming, in blocks (Park et al. 2502.18439, their released code). It is a function of the
    iteration alone.

    Attributes:
        rounds: Those that are trained, from 0, in the order in which they are spoken.
        updates: Iterations of a block.
    """

    rounds: tuple[int, ...]
    updates: int = 40

    @classmethod
    def of(cls, team: Team, num_rounds: int, updates: int = 40) -> LastRoundFirst:
        """The curriculum of the rounds that `team` trains; those that are frozen altogether are left out.

        Raises:
            ValueError: Blocks without an iteration, fewer than two rounds, or none that is trained.
        """
        if updates < 1:
            raise UserValueError(f"curriculum_updates is {updates}; it must be at least 1.")
        if num_rounds < 2:
            raise UserValueError(
                f"curriculum is 'last_round_first', but num_rounds is {num_rounds}: leave the curriculum out, or discuss for longer."
            )
        trained = [r for r in range(num_rounds) if any(team.learner(agent, r) for agent in team.agents)]
        if len(trained) < 2:
            alone = [r + 1 for r in trained]
            raise UserValueError(
                f"curriculum is 'last_round_first', but rounds {alone} alone are trained: unfreeze others, or leave the curriculum out."
            )
        return cls(tuple(trained), updates)

    def __call__(self, iteration: int) -> int:
        """The round, from 0, that `iteration` (from 0) learns from."""
        return self.rounds[-1 - iteration // self.updates % len(self.rounds)]

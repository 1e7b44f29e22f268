"""What MALT may be asked for, and what it cannot do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

__all__ = ["Settings", "branching_of", "check"]


@dataclass(frozen=True)
class Settings:
    """What ``algorithm_args`` may hold.

    Attributes:
        branching: Candidates of every message, n; or of each wave, as [3, 3, 3] or [4, 2] (1 in later ones).
        rounds: How often trees are grown and learned from, in equal parts of num_iterations: the next trees are the trained team's.
        imitate: What fine-tuning is done on: "all" messages worth more than one half, or those of them that are "paired" with a
            sibling that is not. The paper can be read either way.
        dpo: Who learns preferences: "later" speakers (the paper's verifier and refiner), "all", or "none".
        beta: DPO's.
        sft_epochs, dpo_epochs: Passes over the messages, over the pairs.
        batch_size: Messages, or pairs, of one optimizer step.
        dpo_learning_rate: Of the preferences; None is a tenth of the run's learning_rate, which is the fine-tuning's. The paper gives none.
    """

    branching: int | tuple[int, ...] = 3
    rounds: int = 1
    imitate: str = "all"
    dpo: str = "later"
    beta: float = 0.2
    sft_epochs: int = 2
    dpo_epochs: int = 1
    batch_size: int = 8
    dpo_learning_rate: float | None = None

    def __post_init__(self) -> None:
        widths = [self.branching] if isinstance(self.branching, int) else list(self.branching)
        if not all(isinstance(width, int) for width in widths) or min(widths, default=0) < 1 or max(widths) < 2:
            raise UserValueError(
                f"branching is {self.branching!r}; candidates are compared: give whole numbers of at least 1, one of them at least 2."
            )
        for name, words in (("imitate", ("all", "paired")), ("dpo", ("later", "all", "none"))):
            if getattr(self, name) not in words:
                raise UserValueError(f"{name} {getattr(self, name)!r} is unknown; use one of {list(words)}.")
        for name in ("rounds", "sft_epochs", "dpo_epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("beta", "dpo_learning_rate"):
            if (value := getattr(self, name)) is not None and not 0 < value < math.inf:
                raise UserValueError(f"{name} is {value}; it must be above 0 and finite.")


def branching_of(asked: int | Sequence[int], env: DiscussionEnv) -> tuple[int, ...]:
    """Candidates of each wave of the longest discussion.

    Raises:
        ValueError: More of them than there are waves.
    """
    depth = len(env.rules.waves)
    if isinstance(asked, int):
        return (asked,) * depth
    if len(asked) > depth:
        raise UserValueError(
            f"branching is {list(asked)}, but the longest discussion has {depth} waves; leave the rest out."
        )
    return tuple(asked)


def check(config: RunConfig, env: DiscussionEnv, settings: Settings) -> None:
    """Raise a ValueError for a run that cannot be."""
    if config.num_iterations % settings.rounds:
        raise UserValueError(
            f"num_iterations is {config.num_iterations}; with rounds {settings.rounds} it must be a multiple of that."
        )
    if config.thinking_budget is not None:
        raise UserValueError(
            f"malt prefers whole messages, and with a thinking_budget ({config.thinking_budget}) not all of their tokens are the speaker's "
            "choice; leave it out."
        )
    if config.curriculum is not None:
        raise UserValueError(f"malt learns from all messages, and curriculum is {config.curriculum!r}; leave it out.")
    if env.verifiers.team_verifier is None:
        last = env.rules.waves[-1]
        if env.verifier is None:
            raise UserValueError(
                f"{config.env!r} has no verifier to say what a leaf is worth; give one: env_args.verifier."
            )
        if not any(env.protocol.scored(*seat) for seat in last):
            names = ", ".join(agent for agent, _ in last)
            raise UserValueError(
                f"{env.protocol!r} does not score {names}, who speaks last, so no branch is worth anything; score that message (pipeline: "
                "scored_turns 'last' or 'all')."
            )

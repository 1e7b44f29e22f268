"""Shaping: who deserves what. A pure function from a transcript to one reward per turn, as if the discussion ended there."""

from maporl.envs.shaping.base import Shaping, Sum, build_shaping
from maporl.envs.shaping.forms import Language, Pattern, Tags
from maporl.envs.shaping.incentives import Incentives
from maporl.envs.shaping.penalties import Length, Looping, MessagePenalty, Overlong, Repetition, Worst
from maporl.envs.shaping.scores import (
    DiscountedOwn,
    DiscountedTeam,
    DiscussionScore,
    LastRoundOwn,
    LastRoundTeam,
    OutcomeCredit,
    OwnScore,
    TeamMean,
    TeamScore,
)

__all__ = [
    "DiscountedOwn",
    "DiscountedTeam",
    "DiscussionScore",
    "Incentives",
    "Language",
    "LastRoundOwn",
    "LastRoundTeam",
    "Length",
    "Looping",
    "MessagePenalty",
    "OutcomeCredit",
    "Overlong",
    "OwnScore",
    "Pattern",
    "Repetition",
    "Shaping",
    "Sum",
    "Tags",
    "TeamMean",
    "TeamScore",
    "Worst",
    "build_shaping",
]

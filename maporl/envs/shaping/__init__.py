"""Shaping: who deserves what. A pure function from a transcript to one reward per turn, as if the discussion ended there."""

from maporl.envs.shaping.base import Shaping, Sum, build_shaping
from maporl.envs.shaping.format_penalty import FormatPenalty
from maporl.envs.shaping.incentives import Incentives
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
    "FormatPenalty",
    "Incentives",
    "LastRoundOwn",
    "LastRoundTeam",
    "OutcomeCredit",
    "OwnScore",
    "Shaping",
    "Sum",
    "TeamMean",
    "TeamScore",
    "build_shaping",
]

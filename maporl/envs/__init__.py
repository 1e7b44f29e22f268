"""The world: discussions as PettingZoo environments, with numpy only (no torch).

Importing this package registers every built-in task with PettingZoo (``maporl/<task>-v0``) and the single-agent view with
Gymnasium (``maporl/SingleAgent-v0``) without loading any of them.
"""

from maporl.envs.checks import check_env
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols import Consensus, Debate, Lessons, MixtureOfAgents, Pipeline, Protocol, ReConcile, RoundRobin
from maporl.envs.registration import register_all
from maporl.envs.shaping import (
    DiscountedOwn,
    DiscountedTeam,
    Incentives,
    LastRoundOwn,
    LastRoundTeam,
    OutcomeCredit,
    OwnScore,
    Shaping,
    Sum,
    TeamMean,
    TeamScore,
)
from maporl.envs.single_agent import SingleAgentEnv
from maporl.envs.tasks.collaboration_game import CollaborationGame
from maporl.envs.team_answer import TeamAnswer

__all__ = [
    "CollaborationGame",
    "Consensus",
    "Debate",
    "DiscountedOwn",
    "DiscountedTeam",
    "DiscussionEnv",
    "Incentives",
    "LastRoundOwn",
    "LastRoundTeam",
    "Lessons",
    "MixtureOfAgents",
    "OutcomeCredit",
    "OwnScore",
    "Pipeline",
    "Protocol",
    "ReConcile",
    "RoundRobin",
    "Shaping",
    "SingleAgentEnv",
    "Sum",
    "TeamAnswer",
    "TeamMean",
    "TeamScore",
    "check_env",
]

register_all()

"""Protocols: who speaks when, and who sees what. A protocol holds no state; everything is a function of the transcript.

In every round each agent speaks once, in the order of its name in `Transcript.agents`; a discussion may end before its last
round, or within it. In a *simultaneous* protocol nobody sees a message of the round in progress; in a sequential one
everybody hears everything said before.
"""

from maporl.envs.protocols.base import HISTORIES, Debate, Protocol, RoundRobin, build_protocol, count_of
from maporl.envs.protocols.consensus import Consensus
from maporl.envs.protocols.discuss import Discuss
from maporl.envs.protocols.leader import Leader
from maporl.envs.protocols.lessons import Lessons
from maporl.envs.protocols.mixture import MixtureOfAgents
from maporl.envs.protocols.pipeline import Pipeline, Review
from maporl.envs.protocols.reconcile import ReConcile
from maporl.envs.protocols.retrieve import Retrieve

__all__ = [
    "HISTORIES",
    "Consensus",
    "Debate",
    "Discuss",
    "Leader",
    "Lessons",
    "MixtureOfAgents",
    "Pipeline",
    "Protocol",
    "ReConcile",
    "Retrieve",
    "Review",
    "RoundRobin",
    "build_protocol",
    "count_of",
]

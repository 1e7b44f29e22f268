"""What is compared: which discussion, and how it becomes an answer."""

from maporl.benchmarks.methods.method import (
    BestOfK,
    DebateMethod,
    Discussion,
    Method,
    MixtureOfAgentsMethod,
    ProtocolMethod,
    ReConcileMethod,
    SelfConsistency,
    SelfRefine,
    SingleAgent,
    SingleAgentTold,
    VerifierVote,
)

__all__ = [
    "BestOfK",
    "DebateMethod",
    "Discussion",
    "Method",
    "MixtureOfAgentsMethod",
    "ProtocolMethod",
    "ReConcileMethod",
    "SelfConsistency",
    "SelfRefine",
    "SingleAgent",
    "SingleAgentTold",
    "VerifierVote",
]

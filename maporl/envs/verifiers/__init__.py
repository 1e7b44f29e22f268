"""Verifiers: is it right? See docs/verifiers.md. Importing them is cheap; Math-Verify starts at the first use."""

from maporl.envs.verifiers.choice import Choice
from maporl.envs.verifiers.compose import Gate, WeightedSum
from maporl.envs.verifiers.exact import Exact, Regex
from maporl.envs.verifiers.function import Function, TRLReward
from maporl.envs.verifiers.mathematics.expression import MathExpression
from maporl.envs.verifiers.noisy import Noisy
from maporl.envs.verifiers.number import Number
from maporl.envs.verifiers.remote import Remote
from maporl.envs.verifiers.rouge import Rouge
from maporl.envs.verifiers.verifier import (
    AnswerVerifier,
    TeamVerifier,
    TranscriptVerifier,
    Verifier,
    VerifierFailed,
    VerifierUnavailable,
)

__all__ = [
    "AnswerVerifier",
    "Choice",
    "Exact",
    "Function",
    "Gate",
    "MathExpression",
    "Noisy",
    "Number",
    "Regex",
    "Remote",
    "Rouge",
    "TRLReward",
    "TeamVerifier",
    "Verifier",
    "TranscriptVerifier",
    "VerifierFailed",
    "VerifierUnavailable",
    "WeightedSum",
]

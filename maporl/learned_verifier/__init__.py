"""Verifiers that have learned what right answers look like: p(right | question, response), from labelled answers (MAPoRL 2502.18439)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from maporl.learned_verifier.verifier import LearnedVerifier

__all__ = ["LearnedVerifier"]


def __getattr__(name: str) -> Any:
    if name == "LearnedVerifier":  # torch is loaded when it is asked for
        from maporl.learned_verifier.verifier import LearnedVerifier

        return LearnedVerifier
    raise AttributeError(name)

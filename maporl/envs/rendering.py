"""A discussion as plain text."""

from __future__ import annotations

import sys

from maporl.envs.views import private_view
from maporl.errors import UserValueError
from maporl.printable import printable
from maporl.types import Score, Transcript, Turn

__all__ = ["RENDER_MODES", "check_render_mode", "heading", "print_any", "transcript_text", "turn_text"]

RENDER_MODES = ("human", "ansi")


def check_render_mode(mode: str | None) -> str | None:
    if mode is not None and mode not in RENDER_MODES:
        raise UserValueError(f"unknown render_mode {mode!r}; one of: {', '.join(RENDER_MODES)}.")
    return mode


def heading(transcript: Transcript) -> str:
    """The question, and what each agent alone knows."""
    views = ((agent, private_view(transcript, agent)) for agent in transcript.agents)
    told = [f"  ({agent} alone knows: {view})" for agent, view in views if view]
    return "\n".join([f"Question: {transcript.question.text}", *told])


def turn_text(turn: Turn) -> str:
    """One message: round (from 1), who, verdict, text."""
    return f"[round {turn.round + 1}] {turn.agent}{_verdict(turn.truth or turn.score)}: {turn.text}"


def _verdict(score: Score | None) -> str:
    if score is None:
        return ""
    return f" ({score.value:.2f})" if score.correct is None else " (right)" if score.correct else " (wrong)"


def transcript_text(transcript: Transcript) -> str:
    """The whole discussion so far."""
    return "\n".join([heading(transcript), *(turn_text(turn) for turn in transcript.turns)])


def print_any(text: str) -> None:
    """Print `text` on any terminal, as `printable` makes it: never an error."""
    print(printable(text, getattr(sys.stdout, "encoding", None)))

"""A message as it was sampled: what verifiers and penalties read of a turn beside its text."""

from __future__ import annotations

from dataclasses import replace

from maporl.types import Completion, Turn

__all__ = ["as_sampled", "tokens_known", "whole_text"]


def as_sampled(turn: Turn) -> Completion:
    """What was said, with all that is known of how it was sampled; of what nobody sampled the text alone."""
    return replace(turn.completion or Completion(""), text=turn.text)


def tokens_known(message: Completion) -> bool:
    """Whether it is known of which tokens a message is; not of a person's, or of a given text."""
    return len(message.completion_ids) > 0 or not (message.text or message.reasoning)


def whole_text(message: Completion) -> str:
    """All of a message as one text: what was thought, and what was said; one that was cut while it thought says nothing."""
    if not message.reasoning:
        return message.text
    ended = "" if message.truncated and not message.text else f"\n</think>\n\n{message.text}"
    return f"<think>\n{message.reasoning}{ended}"

"""What an agent must not be shown: the private information of others, which a privileged critic reads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace

from maporl.envs.views import private_view
from maporl.errors import UserValueError
from maporl.types import Observation, Transcript

__all__ = ["check_unseen", "hidden_from"]


def hidden_from(transcript: Transcript, agent: str) -> dict[str, str]:
    """What others know alone and `agent` does not, owner -> text, as the task means it: whatever `view` has told to whom."""
    question = transcript.question
    meant = replace(transcript, question=replace(question, private=question.team or question.private))
    own = private_view(meant, agent)
    views = {other: private_view(meant, other) for other in transcript.agents if other != agent}
    return {other: view for other, view in views.items() if view and view != own}


def check_unseen(observation: Observation, hidden: Mapping[str, str]) -> None:
    """Make sure that what an agent is shown holds nothing that is hidden from it.

    What its owner has said itself in the discussion is no secret from there on; nor is what the agent has found by itself and said: code
    that somebody keeps can be written by others, too.

    Args:
        observation: What the agent is shown.
        hidden: Owner -> text, of `hidden_from`.

    Raises:
        ValueError: It does; the message names the text, its owner and the place.
    """
    for owner, secret in hidden.items():
        for place, text, speaker in _shown(observation):
            if _holds(text, secret):
                if speaker in (owner, observation["agent"]):
                    break
                told = secret if len(secret) <= 60 else f"{secret[:57]}..."
                raise UserValueError(
                    f"{observation['agent']} is shown {told!r} in its {place}, which {owner} alone should know: what a critic reads as a "
                    "privilege must not reach the actor's prompt. Leave out a view, an instruction or a protocol that tells it."
                )


def _shown(observation: Observation) -> Iterator[tuple[str, str, str]]:
    """The texts that a prompt is made of, in the order of reading: (where, text, who said it)."""
    yield "question", observation["question"], ""
    yield "private information", observation["private"], ""
    yield "role", observation["role"], ""
    yield "instruction", observation["instruction"], ""
    for message in observation["transcript"]:
        yield f"message of {message['agent']} in round {message['round'] + 1}", message["text"], message["agent"]


def _holds(text: str, secret: str) -> bool:
    """Whether these very words stand in a text, however they are spaced."""
    words = r"\s+".join(map(re.escape, secret.split()))
    return re.search(rf"(?<!\w){words}(?!\w)", text) is not None

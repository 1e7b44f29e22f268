"""A consultation: who is to write code asks a person, who alone knows what is wanted, until it answers."""

from __future__ import annotations

import re
from typing import Any

from maporl.envs.protocols import RoundRobin
from maporl.errors import UserValueError
from maporl.reasoning import spoken
from maporl.types import Message, Transcript, Turn

__all__ = ["LONGEST_REPLY", "MARKER", "Consultation", "final_answer"]

MARKER = "I WANT TO ANSWER:"
"""What is said before an answer; it ends the consultation."""
LONGEST_REPLY = 400
"""Characters of what the person says that are heard (SWEET-RL's release)."""

_MARKER = re.compile(r"\bI\s+WANT\s+TO\s+ANSWER[*_\s]*:[*_]*", re.IGNORECASE)

_WRITER = (
    "You write a Python function for a person. The request is personal: what it leaves open, nobody but this person knows, so ask. Ask "
    "simple questions and be brief, for they are answered in two sentences. You may speak {rounds} times. When you know enough, and "
    f'at the latest the last time, say "{MARKER}" and then nothing but the code.'
)
_PERSON = (
    "You asked for a Python function, and somebody writes it for you. You alone know the code that does what you want; they do not see it. "
    "Answer what they ask as a person would, and by that code alone: where it says nothing about it, say that you do not know."
)
_REPLY = "Answer in two sentences."


def final_answer(message: str) -> str | None:
    """What a message answers: all that follows the first "I WANT TO ANSWER:", in any case; None if it says no such thing, or does so in its
    reasoning only."""
    text = spoken(message)
    found = _MARKER.search(text) if text is not None else None
    return text[found.end() :] if text is not None and found else None


class Consultation(RoundRobin):
    """One asks, one answers, in turn, until the first has said "I WANT TO ANSWER:" or has spoken `num_rounds` times.

    The first agent has the last word: in the last round nobody replies. Of the second one's messages 400 characters are heard. Alone, the
    first asks nobody.
    """

    name = "consultation"
    everybody_speaks = False

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        names = super().agent_names(num_agents)
        if len(names) > 2:
            raise UserValueError(
                f"num_agents is {num_agents}; in a consultation one asks and one answers: give 2, or 1 for one who asks nobody."
            )
        return names

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        writer = transcript.agents[0]
        if any(turn.agent == writer and turn.said and final_answer(turn.text) is not None for turn in transcript.turns):
            return ()
        return super().due_in(transcript, round)

    def speaking(self, agents: tuple[str, ...], round: int) -> tuple[str, ...]:
        return agents if round < self.num_rounds - 1 else agents[:1]

    def message(self, turn: Turn, name: str | None = None) -> Message:
        read = super().message(turn, name)
        return read if _writes(turn.agent) else Message(**{**read, "text": read["text"][:LONGEST_REPLY]})

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        return instruction if _writes(agent) else _REPLY

    def role(self, agent: str, round: int) -> str:
        return _WRITER.format(rounds=self.num_rounds) if _writes(agent) else _PERSON


def _writes(agent: Any) -> bool:
    return bool(agent == "agent_0")

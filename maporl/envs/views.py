"""What is shown of a discussion: to an agent, and to a centralised critic of its next message."""

from __future__ import annotations

from maporl.envs.protocols.base import Protocol, message
from maporl.types import Message, Observation, Transcript

__all__ = ["joint_view", "own_view", "private_view"]


def private_view(transcript: Transcript, agent: str) -> str:
    """What `agent` alone knows, "" if nothing.

    A question's private views are keyed by name, or by seat (``agent_0`` is whoever speaks first), so that a task with
    private information also runs under a protocol that names agents after roles.
    """
    views = transcript.question.private
    return views.get(agent) or views.get(f"agent_{transcript.agents.index(agent)}", "")


def own_view(transcript: Transcript, protocol: Protocol, agent: str, instruction: str) -> Observation:
    """What `agent` is shown: never a message it may not see, never another agent's private information."""
    private = private_view(transcript, agent)
    return _view(transcript, protocol, agent, instruction, private, protocol.messages(transcript, agent))


def joint_view(transcript: Transcript, protocol: Protocol, agent: str, instruction: str) -> Observation:
    """What a centralised critic of `agent`'s next message reads, in the shape of an observation.

    All private information, the speaker's own first (so that the critic knows whose message it judges), and every message that
    is settled before that one. With one agent it equals `own_view`.
    """
    names = [agent, *(name for name in transcript.agents if name != agent)]
    views = {name: private_view(transcript, name) for name in names}
    private = views[agent] if len(views) == 1 else "\n".join(f"{name}: {view}" for name, view in views.items() if view)
    return _view(
        transcript, protocol, agent, instruction, private, tuple(map(message, protocol.settled(transcript, agent)))
    )


def _view(
    transcript: Transcript,
    protocol: Protocol,
    agent: str,
    instruction: str,
    private: str,
    messages: tuple[Message, ...],
) -> Observation:
    round = transcript.completed_rounds
    return Observation(
        agent=agent,
        round=round,
        question=transcript.question.text,
        private=private,
        instruction=protocol.instruction(transcript, agent, instruction),
        role=protocol.role(agent, min(round, transcript.num_rounds - 1)),  # after the end, the last role
        transcript=messages,
    )

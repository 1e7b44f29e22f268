"""What is shown of a discussion: to an agent, and to a centralised critic of its next message; and who is told what alone."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from maporl.envs.protocols.base import Protocol
from maporl.errors import UserValueError
from maporl.hooks import each, one
from maporl.types import Observation, Question, Seat, Transcript, Turn

__all__ = ["check_view", "is_seat", "joint_view", "own_view", "private_seats", "private_view", "told", "unread"]

ALL = "all"


def check_view(view: str | None, num_agents: int) -> str | None:
    """`view` if it may be asked for.

    Raises:
        ValueError: Neither None, "all" nor a seat; or a seat's view for a whole team.
    """
    if view is not None and not (isinstance(view, str) and view):
        raise UserValueError(f"view is {view!r}; give a seat such as 'agent_1', or 'all'.")
    if view not in (None, ALL) and num_agents > 1:
        raise UserValueError(
            f"view {view!r} is for a lone agent and there are {num_agents}; use num_agents 1, 'all', or leave it out."
        )
    return view


def private_seats(questions: Iterable[Question]) -> tuple[str, ...]:
    """For whom any of the questions has private information, in the order of the seats' numbers."""
    seats = {seat for question in questions for seat, view in question.private.items() if view}
    return tuple(sorted(seats, key=lambda seat: (len(seat), seat)))


def is_seat(name: str) -> bool:
    """Whether a name is that of a seat: ``agent_0`` is whoever speaks first, whatever the protocol calls it."""
    return re.fullmatch(r"agent_(0|[1-9]\d*)", name) is not None


def unread(questions: Iterable[Question], agents: Sequence[str]) -> dict[str, str]:
    """Whose private information reaches none of a team's agents -> what is wrong with the first such question, and its remedy."""
    read = {*agents, *(f"agent_{seat}" for seat in range(len(agents)))}
    found: dict[str, str] = {}
    for question in questions:
        for key, text in question.private.items():
            if text and key not in read and key not in found:
                what = f"the private information of {key!r} in question {question.id!r} reaches nobody"
                found[key] = f"{what}: {_remedy(key, agents)}"
    return found


def _remedy(key: str, agents: Sequence[str]) -> str:
    if is_seat(key):
        return (
            f"there are {len(agents)} agents. Set num_agents to {int(key.removeprefix('agent_')) + 1} or more, or give it to those who are "
            "there; with view 'all' everybody is told everything."
        )
    names = [*dict.fromkeys([*agents, *(f"agent_{seat}" for seat in range(len(agents)))])]
    likely = get_close_matches(key, names, 1, 0.5)
    return (
        f"there is no such agent; did you mean {likely[0]!r}?"
        if likely
        else f"the agents are {', '.join(agents)}; use these names, or the seats agent_0, agent_1 ..."
    )


def told(question: Question, view: str | None, agents: Sequence[str]) -> Question:
    """A team's question as these agents are told it: with the private information that `view` gives them, and its identity kept.

    Args:
        question: The team's; one that has been through here before stays as it is.
        view: None (everybody's own; a lone agent's is the first seat's), a seat whose information the lone agent is given, or
            "all" (everybody is given all of it, in the order of the seats).
        agents: Who is asked.
    """
    own = question.private
    if question.origin or not own or (view is None and len(agents) > 1):
        return question
    if view == ALL:
        private = dict.fromkeys(agents, " ".join(own[seat] for seat in private_seats([question])))
    else:
        first = own.get(agents[0]) or own.get("agent_0", "")
        private = {agents[0]: first if view is None else own.get(view, "")}
    return replace(question, private=private, origin=question.hash, team=own)


def private_view(transcript: Transcript, agent: str) -> str:
    """What `agent` alone knows, "" if nothing.

    A question's private views are keyed by name, or by seat (``agent_0`` is whoever speaks first), so that a task with
    private information also runs under a protocol that names agents after roles.
    """
    views = transcript.question.private
    return views.get(agent) or views.get(f"agent_{transcript.agents.index(agent)}", "")


def own_view(transcript: Transcript, protocol: Protocol, seat: Seat, instruction: str) -> Observation:
    """What is shown to whoever speaks from `seat`: never a message it may not see, never another agent's private information."""
    private = private_view(transcript, seat.agent)
    messages = each(protocol, "messages", protocol.messages(transcript, seat.agent), dict)
    return _view(transcript, protocol, seat, instruction, private, messages)


def joint_view(transcript: Transcript, protocol: Protocol, seat: Seat, instruction: str) -> Observation:
    """What a centralised critic of a message from `seat` reads, in the shape of an observation.

    All private information, the speaker's own first (so that the critic knows whose message it judges), and every message that
    is settled before that one. With one agent it equals `own_view`.
    """
    agent = seat.agent
    names = [agent, *(name for name in transcript.agents if name != agent)]
    views = {name: private_view(transcript, name) for name in names}
    private = views[agent] if len(views) == 1 else "\n".join(f"{name}: {view}" for name, view in views.items() if view)
    settled = each(protocol, "settled", protocol.settled(transcript, agent), Turn)
    messages = [one(protocol, "message", protocol.message(turn), dict) for turn in settled]
    return _view(transcript, protocol, seat, instruction, private, messages)


def _view(
    transcript: Transcript,
    protocol: Protocol,
    seat: Seat,
    instruction: str,
    private: str,
    messages: Sequence[Any],
) -> Observation:
    agent, before_end = seat.agent, min(seat.round, transcript.num_rounds - 1)  # after the end, the last role
    return Observation(
        agent=seat.agent,
        round=seat.round,
        question=transcript.question.text,
        private=private,
        instruction=one(protocol, "instruction", protocol.instruction(transcript, agent, instruction), str),
        role=one(protocol, "role", protocol.role(agent, before_end), str),
        transcript=tuple(messages),
    )

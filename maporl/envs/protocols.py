"""Protocols: who speaks when, and who sees what. A protocol holds no state; everything is a function of the transcript.

In every protocol each agent speaks once a round, in the order of its name in `Transcript.agents`. In a *simultaneous*
protocol nobody sees a message of the round in progress; in a sequential one everybody hears everything said before.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from maporl.envs.team_answer import TeamAnswer, last_speaker, majority
from maporl.registry import build, names
from maporl.types import Transcript, Turn

__all__ = ["HISTORIES", "Debate", "Pipeline", "Protocol", "RoundRobin", "build_protocol", "count_of"]

HISTORIES = ("all", "last_round")


def count_of(name: str, value: Any) -> int:
    """`value` as a count of at least one.

    Raises:
        TypeError: Not an integer.
        ValueError: Less than one.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name} is {value!r} ({type(value).__name__}); give an integer of at least 1.")
    if int(value) < 1:
        raise ValueError(f"{name} is {value}; a discussion needs at least 1.")
    return int(value)


class Protocol:
    """Base of all protocols; a subclass overrides what it changes.

    Args:
        num_rounds: Rounds in a whole discussion.
        history: "all" (an agent reads every message it may see; Du et al. 2023 and MAPoRL's paper) or "last_round" (all of
            its own messages and the latest one of each peer; MAPoRL's release).
    """

    name: ClassVar[str] = "protocol"
    simultaneous: ClassVar[bool] = False
    default_num_agents: int = 2

    def __init__(self, num_rounds: int = 2, history: str = "all") -> None:
        self.num_rounds = count_of("num_rounds", num_rounds)
        if history not in HISTORIES:
            raise ValueError(f"unknown history {history!r}; one of: {', '.join(HISTORIES)}.")
        self.history = history

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        """Everybody's name, in speaking order."""
        return tuple(f"agent_{index}" for index in range(count_of("num_agents", num_agents)))

    def speaker(self, transcript: Transcript) -> str | None:
        """Who speaks next, None when the discussion is over."""
        if transcript.is_complete:
            return None
        return transcript.agents[len(transcript.turns) % len(transcript.agents)]

    def speakers(self, transcript: Transcript) -> tuple[str, ...]:
        """All who can speak now without hearing one another, in speaking order: what a rollout batches."""
        speaker = self.speaker(transcript)
        if speaker is None:
            return ()
        return transcript.agents[transcript.agents.index(speaker) :] if self.simultaneous else (speaker,)

    def settled(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        """What a critic of `agent`'s next message may read: messages neither influenced by it nor simultaneous with it.

        In the order in which `agent` came to know them: in a simultaneous round its own message precedes its peers'.
        """
        if not self.simultaneous:
            return transcript.turns
        past = transcript.turns[: transcript.completed_rounds * len(transcript.agents)]
        return tuple(sorted(past, key=lambda turn: (turn.round, turn.agent != agent)))  # stable: peers keep their order

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        """What `agent` sees of the discussion, in the order in which it came to know it."""
        turns = self.settled(transcript, agent)
        if self.history == "all":
            return turns
        latest = {turn.agent: turn for turn in turns}  # the last one of each agent wins
        return tuple(turn for turn in turns if turn.agent == agent or turn is latest[turn.agent])

    def role(self, agent: str, round: int) -> str:
        """What `agent` is told it is for in `round`, "" if nothing."""
        return ""

    def scored(self, agent: str, round: int) -> bool:
        """Whether the verifier scores `agent`'s message of `round`."""
        return True

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        """The team's answer by this protocol's own rule."""
        return majority(transcript, equivalent)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_rounds={self.num_rounds}, history={self.history!r})"


class Debate(Protocol):
    """Simultaneous debate (Du et al. 2023; MAPoRL): in every round all answer at once, having read the earlier rounds."""

    name = "debate"
    simultaneous = True


class RoundRobin(Protocol):
    """One after the other: each agent hears everything said before it, the round in progress included."""

    name = "round_robin"


_ROLES = {
    "generator": "You are the generator: solve the question and give your answer.",
    "verifier": "You are the verifier: check the solution so far, point out any mistake, and say whether its answer holds.",
    "refiner": "You are the refiner: read the solution and the checks, correct what is wrong, and give the final answer.",
}


class Pipeline(Protocol):
    """A sequence of roles, each of which hears all before it; by default only the last one's message is scored.

    Args:
        num_rounds: Passes through the whole pipeline.
        history: As in `Protocol`.
        roles: Role -> what it is told, or the roles' names in speaking order. Default: a generator, verifiers (as many as
            there are further agents) and a refiner. Agents are named after their roles: generator_0, verifier_0, ...
        scored_turns: "last" (the last role's messages) or "all".
    """

    name = "pipeline"

    def __init__(
        self,
        num_rounds: int = 2,
        history: str = "all",
        roles: Mapping[str, str] | Sequence[str] | None = None,
        scored_turns: str = "last",
    ) -> None:
        super().__init__(num_rounds, history)
        if scored_turns not in ("last", "all"):
            raise ValueError(f"unknown scored_turns {scored_turns!r}; one of: last, all.")
        if isinstance(roles, str) or (roles is not None and len(roles) == 0):
            raise ValueError(f"roles is {roles!r}; give the names of at least one role in speaking order.")
        for role in roles or ():
            if not re.fullmatch(r"[A-Za-z][A-Za-z_]*", role):
                raise ValueError(f"role {role!r} is no name; use letters and underscores.")
        self.roles = None if roles is None else tuple(roles)
        self.instructions = {**_ROLES, **(roles if isinstance(roles, Mapping) else {})}
        self.scored_turns = scored_turns
        self.default_num_agents = 3 if roles is None else len(roles)
        # The default pipeline ends with a refiner for any number of agents, so the last name is known here.
        self._last = self.agent_names(self.default_num_agents)[-1]

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        num_agents = count_of("num_agents", num_agents)
        roles = self.roles
        if roles is None:
            roles = ("generator", *["verifier"] * (num_agents - 2), "refiner")[-num_agents:]
        if len(roles) != num_agents:
            raise ValueError(f"num_agents is {num_agents} but the pipeline has {len(roles)} roles: {', '.join(roles)}.")
        return tuple(f"{role}_{roles[:index].count(role)}" for index, role in enumerate(roles))

    def role(self, agent: str, round: int) -> str:
        role = agent.rpartition("_")[0]
        return self.instructions.get(role, f"You are the {role.replace('_', ' ')}.")

    def scored(self, agent: str, round: int) -> bool:
        return self.scored_turns == "all" or agent == self._last

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return last_speaker(transcript)


def build_protocol(spec: Any, num_rounds: int | None, history: str | None, default_num_rounds: int = 2) -> Protocol:
    """A protocol from a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class or an instance.

    `num_rounds` and `history` ("all") are defaults that the specification's own arguments override.

    Raises:
        TypeError: The specification does not make a `Protocol`.
        ValueError: Unknown word, or an instance that contradicts `num_rounds` or `history`.
    """
    rounds = default_num_rounds if num_rounds is None else num_rounds
    defaults = {"num_rounds": rounds, "history": "all" if history is None else history}
    protocol = build("protocol", spec, **defaults)
    if not isinstance(protocol, Protocol):
        raise TypeError(f"protocol {spec!r} is no Protocol; give one of {', '.join(names('protocol'))} or a subclass.")
    if protocol is spec:
        for name, asked in (("num_rounds", num_rounds), ("history", history)):
            if asked is not None and asked != getattr(protocol, name):
                raise ValueError(f"{name} is {asked!r} but {protocol!r} was given; set it in one place.")
    return protocol

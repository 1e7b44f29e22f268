"""What a protocol is, the two plain ones, and how one is made from its specification."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from maporl.envs.protocols.consensus import Consensus, build_stop
from maporl.envs.protocols.roles import check_roles, named_after, told
from maporl.envs.team_answer import TeamAnswer, majority
from maporl.errors import UserTypeError, UserValueError
from maporl.hooks import each
from maporl.registry import build, names
from maporl.types import Message, Seat, Transcript, Turn

__all__ = ["HISTORIES", "TOPOLOGIES", "Debate", "Protocol", "RoundRobin", "build_protocol", "count_of"]

HISTORIES = ("all", "last_round")
"""What an agent may read of a discussion; see `Protocol`."""
TOPOLOGIES = {"all": 1, "ring": 4, "star": 3}  # word -> fewest agents for whom it means what it says


def count_of(name: str, value: Any) -> int:
    """`value` as a count of at least one.

    Raises:
        TypeError: Not an integer.
        ValueError: Less than one.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise UserTypeError(f"{name} is {value!r} ({type(value).__name__}); give an integer of at least 1.")
    if int(value) < 1:
        raise UserValueError(f"{name} is {value}; a discussion needs at least 1.")
    return int(value)


class Protocol:
    """Base of all protocols; a subclass overrides what it changes.

    Args:
        num_rounds: Rounds in a whole discussion.
        history: "all" (an agent reads every message it may see; Du et al. 2023 and MAPoRL's paper) or "last_round" (all of
            its own messages and the latest one of each peer; MAPoRL's release).
        show_scores: With every message that an agent reads, its own ones included, it is told the verifier's value of it (MAPoRL's
            release). The discussion then needs its verifier wherever it is held, and is an oracle's if that knows the gold answer.

    Attributes:
        simultaneous: Nobody hears a message of the round in progress.
        everybody_speaks: In every round. Else there is no parallel form, and nothing that compares everybody's rounds.
        stop: When the discussion ends although rounds are left; None: never.
        least_agents: With fewer it would be another protocol.
        tells_outcomes: It tells everybody itself what came of an answer, so that a task's feedback would tell it again, to others.
    """

    name: ClassVar[str] = "protocol"
    simultaneous: ClassVar[bool] = False
    everybody_speaks: ClassVar[bool] = True
    tells_outcomes: ClassVar[bool] = False
    show_scores: bool = False
    stop: Consensus | None = None
    least_agents: int = 1
    default_num_agents: int = 2

    def __init__(self, num_rounds: int = 2, history: str = "all", show_scores: bool = False) -> None:
        self.num_rounds = count_of("num_rounds", num_rounds)
        if history not in HISTORIES:
            raise UserValueError(f"unknown history {history!r}; one of: {', '.join(HISTORIES)}.")
        self.history, self.show_scores = history, show_scores

    @property
    def reads_scores(self) -> bool:
        """Whether the verifier has a part in the discussion itself: its scores are shown, or end it."""
        return self.show_scores or (self.stop is not None and self.stop.reads_scores)

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        """Everybody's name, in speaking order.

        Raises:
            TypeError: No integer.
            ValueError: Too few for this protocol.
        """
        if count_of("num_agents", num_agents) < self.least_agents:
            raise UserValueError(
                f"{self!r} needs at least {self.least_agents} agents and num_agents is {num_agents}; give more, or use plain 'debate'."
            )
        return tuple(f"agent_{index}" for index in range(num_agents))

    def over(self, transcript: Transcript) -> bool:
        """Whether the discussion ends here, between two rounds, although rounds are left."""
        return self.stop is not None and self.stop(transcript)

    def due(self, transcript: Transcript) -> tuple[Seat, ...]:
        """All seats that may speak now without hearing one another, in speaking order; () if the discussion ends here.

        Those of the first round in which somebody is due (`due_in`), unless the discussion is `over` before it.
        `Transcript.completed_rounds` may be one short: nobody has asked since the last message.
        """
        if transcript.is_complete:
            return ()
        round = transcript.completed_rounds
        while not (agents := each(self, "due_in", self.due_in(transcript, round), str)):
            round += 1
            transcript = replace(transcript, completed_rounds=round)
            if transcript.is_complete:
                return ()
        if round and not transcript.round(round) and self.over(transcript):
            return ()
        return tuple(Seat(agent, round) for agent in agents)

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        """Who may speak now in `round` without hearing one another; () once it is over.

        It decides what a round is: an agent may be due in it never, once or, one wave after the other, often.
        """
        spoken = {turn.agent for turn in transcript.round(round)}
        speaking = each(self, "speaking", self.speaking(transcript.agents, round), str)
        left = tuple(agent for agent in speaking if agent not in spoken)
        return left if self.simultaneous else left[:1]

    def speaking(self, agents: tuple[str, ...], round: int) -> tuple[str, ...]:
        """Who speaks in `round`, once, in speaking order."""
        return agents

    @property
    def once_a_round(self) -> bool:
        """Whether every agent speaks in every round, exactly once: what is compared round by round relies on it."""
        return self.everybody_speaks and type(self).due_in is Protocol.due_in

    def feedback(self, transcripts: Sequence[Transcript]) -> Sequence[Sequence[Turn]]:
        """What is said from outside before somebody speaks who was not due before: turns of kind "feedback", in whatever number, under
        names that are no agents'.

        Args:
            transcripts: All discussions that are at such a point, so that what answers for many at once is asked once.
        """
        return [()] * len(transcripts)

    def opening(self, transcripts: Sequence[Transcript]) -> Sequence[Sequence[Turn]]:
        """What is said from outside before anybody speaks, such as lessons from a bank; as `feedback`."""
        return [()] * len(transcripts)

    def settled(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        """What a critic of `agent`'s next message may read: messages neither influenced by it nor simultaneous with it.

        In the order in which `agent` came to know them: of a wave of simultaneous messages its own precedes its peers'.
        """
        if transcript.heard is None:  # made by hand: without waves there are whole rounds
            if not self.simultaneous:
                return transcript.turns
            past = tuple(turn for turn in transcript.turns if turn.round < transcript.completed_rounds)
        else:
            past = transcript.turns[: transcript.heard]
        wave = (lambda turn: turn.round) if transcript.heard is None else (lambda turn: turn.heard)
        return tuple(sorted(past, key=lambda turn: (wave(turn), turn.agent != agent)))  # stable: peers keep their order

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        """What `agent` sees of the discussion, in the order in which it came to know it."""
        turns = tuple(each(self, "settled", self.settled(transcript, agent), Turn))
        if self.history == "all":
            return turns
        latest = {turn.agent: turn for turn in turns}  # the last one of each agent wins
        return tuple(turn for turn in turns if turn.agent == agent or turn is latest[turn.agent])

    def messages(self, transcript: Transcript, agent: str) -> tuple[Message, ...]:
        """What `agent` is shown of the discussion, as it reads it: what is `visible`, each message under its speaker's name."""
        return tuple(self.message(turn) for turn in each(self, "visible", self.visible(transcript, agent), Turn))

    def message(self, turn: Turn, name: str | None = None) -> Message:
        """A turn as it is read: under `name` (its speaker's), with the verifier's value of it where scores are shown."""
        read = Message(agent=turn.agent if name is None else name, round=turn.round, text=turn.text)
        if self.show_scores:
            read["score"] = None if turn.score is None else turn.score.value
        return read

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        """How `agent` is to answer; `instruction` is the task's.

        A chat repeats it with every message that it asks for, so it should say the same throughout a discussion.
        """
        return instruction

    def role(self, agent: str, round: int) -> str:
        """What `agent` is told it is for in `round`, "" if nothing."""
        return ""

    def scored(self, agent: str, round: int) -> bool:
        """Whether the verifier scores `agent`'s message of `round`."""
        return True

    def credited(self, transcript: Transcript, turn: Turn) -> Turn:
        """`turn`, which no verifier has scored, with the score of what it chose among the scored messages before it, if it chose any."""
        return turn

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        """The team's answer by this protocol's own rule."""
        return majority(transcript, equivalent)

    def __repr__(self) -> str:
        shown = ", show_scores=True" if self.show_scores else ""
        return f"{type(self).__name__}(num_rounds={self.num_rounds}, history={self.history!r}{shown})"


class Debate(Protocol):
    """Simultaneous debate (Du et al. 2023; MAPoRL): in every round all answer at once, having read the earlier rounds.

    Args:
        num_rounds, history: As in `Protocol`.
        topology: Whose messages an agent reads beside its own: "all"; "ring" (its two neighbours; Li et al. 2406.11776); "star"
            (agent_0, the hub, reads all, the others read the hub alone: centralised, as in Choi et al. 2508.17536).
        roles: What each agent is for, as in `Pipeline`: role -> what it is told, or the roles' names; agents are then named after them.
        stop: When to end although rounds are left: None (never), "consensus" (after a round in which all gave the same answer),
            ``{"name": "consensus", "share": 0.6, "score": 0.5}`` or a `Consensus`.
        show_scores: As in `Protocol`.

    Raises:
        ValueError: Unknown word, or a consensus that cannot be.
    """

    name = "debate"
    simultaneous = True

    def __init__(
        self,
        num_rounds: int = 2,
        history: str = "all",
        topology: str = "all",
        roles: Mapping[str, str] | Sequence[str] | None = None,
        stop: str | Mapping[str, Any] | Consensus | None = None,
        show_scores: bool = False,
    ) -> None:
        super().__init__(num_rounds, history, show_scores)
        if topology not in TOPOLOGIES:
            raise UserValueError(f"unknown topology {topology!r}; one of: {', '.join(TOPOLOGIES)}.")
        self.topology, self.stop = topology, build_stop(stop)
        # A lone agent would agree with itself at once.
        self.least_agents = max(TOPOLOGIES[topology], 1 if stop is None else 2)
        self.default_num_agents = max(2, self.least_agents)
        self.roles = None if roles is None else check_roles(roles)
        self.instructions = dict(roles) if isinstance(roles, Mapping) else {}
        if self.roles is not None:
            self.default_num_agents = len(self.roles)

    def agent_names(self, num_agents: int) -> tuple[str, ...]:
        names = super().agent_names(num_agents)
        return names if self.roles is None else named_after(self.roles, len(names), self.name)

    def role(self, agent: str, round: int) -> str:
        return "" if self.roles is None else told(agent, self.instructions)

    def visible(self, transcript: Transcript, agent: str) -> tuple[Turn, ...]:
        read = self._read(transcript.agents, agent)
        return tuple(turn for turn in super().visible(transcript, agent) if turn.agent in read or not turn.said)

    def _read(self, agents: tuple[str, ...], agent: str) -> set[str]:
        """Whose messages `agent` reads, itself included."""
        seat = agents.index(agent)
        if self.topology == "ring":
            return {agents[seat - 1], agent, agents[(seat + 1) % len(agents)]}
        if self.topology == "star" and seat > 0:
            return {agents[0], agent}
        return set(agents)

    def __repr__(self) -> str:
        more: dict[str, Any] = {"topology": self.topology} if self.topology != "all" else {}
        if self.roles is not None:
            more["roles"] = [*self.roles]
        if self.stop is not None:
            more["stop"] = "consensus" if self.stop == Consensus() else self.stop
        return super().__repr__()[:-1] + "".join(f", {name}={value!r}" for name, value in more.items()) + ")"


class RoundRobin(Protocol):
    """One after the other: each agent hears everything said before it, the round in progress included."""

    name = "round_robin"


def build_protocol(spec: Any, num_rounds: int | None, history: str | None, default_num_rounds: int = 2) -> Protocol:
    """A protocol from a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class or an instance.

    Raises:
        TypeError: The specification does not make a `Protocol`.
        ValueError: Unknown word, or a specification that contradicts `num_rounds` or `history`.
    """
    rounds = default_num_rounds if num_rounds is None else num_rounds
    defaults = {"num_rounds": rounds, "history": "all" if history is None else history}
    protocol = build("protocol", spec, **defaults)
    if not isinstance(protocol, Protocol):
        raise UserTypeError(
            f"protocol {spec!r} is no Protocol; give one of {', '.join(names('protocol'))} or a subclass."
        )
    for name, asked in (("num_rounds", num_rounds), ("history", history)):
        says = protocol is spec or (isinstance(spec, Mapping) and name in spec)
        if says and asked is not None and asked != getattr(protocol, name):
            raise UserValueError(f"{name} is {asked!r} but {protocol!r} was given; set it in one place.")
    return protocol

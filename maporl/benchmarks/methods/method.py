"""What is compared: a method says which discussion is held about a question, and how it becomes one answer.

Whether anything is trained for it is another matter (`maporl.benchmarks.methods.naming`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer, last_round, vote
from maporl.errors import UserValueError
from maporl.roster import Roster
from maporl.training.config import RunConfig
from maporl.types import Episode, Turn

__all__ = [
    "BestOfK",
    "DebateMethod",
    "Discussion",
    "Method",
    "MixtureOfAgentsMethod",
    "ProtocolMethod",
    "ReConcileMethod",
    "SelfConsistency",
    "SelfRefine",
    "SingleAgent",
    "SingleAgentTold",
    "VerifierVote",
]


class Method:
    """Base of all methods; the task's own discussion. Two of one class with equal attributes are equal.

    A method of your own is a subclass, named ``package.module:Class``: override `discussion` for what is said, `answer` for what is
    made of it. What is trained for it is said by `trainings`, `trained_as` and `seeds`, and by `seat` who of those that were trained
    sits in the discussions that are measured.

    Attributes:
        title: Its name for people, the class's if ""; "{k}" in that of a vote is its number of samples.
        lone: One agent. On a task with private information it is measured in every seat: its row is the mean over them.
        samples: Discussions of a question whose messages together make one answer.
        vote: A vote of `samples` answers of a lone agent, which its word tells (``self_consistency@5``); it is measured after the teams,
            for some votes cost as much as those have.
        best_seat: With several trainings, one a seat: the best one is the row, not the mean.
        needs_training: It means nothing without an algorithm.
        trains_one_turn: What is trained for it is one agent that speaks once, as TRL's GRPO can.
        trains_on_discussions: What is trained for it is a whole team, as fine-tuning on its good discussions can.
        least_seeds: How many seeds a study must have, where agents of several of them sit together.
    """

    title: ClassVar[str] = ""
    lone: ClassVar[bool] = False
    vote: ClassVar[bool] = False
    best_seat: ClassVar[bool] = False
    needs_training: ClassVar[bool] = False
    trains_on_discussions: ClassVar[bool] = False
    least_seeds: ClassVar[int] = 1
    samples: int = 1

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(type(self))

    @property
    def label(self) -> str:
        """Its name for people, settings included."""
        return self.title or type(self).__name__

    def trained_label(self, algorithm: str) -> str:
        """Its name for people where an algorithm trains its agents."""
        return f"{self.label}, trained by {algorithm}"

    @property
    def team(self) -> bool:
        """More than one agent: compared with votes of a lone one that cost as much."""
        return not self.lone

    @property
    def trains_one_turn(self) -> bool:
        return False

    def discussion(self, config: RunConfig) -> RunConfig:
        """The discussion that is held, from the task's own one: agents, rounds, ``env_args`` such as the protocol."""
        return config

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        """One answer from the `samples` discussions of a question; the protocol's own rule of the first by default.

        ``oracle=True`` in the answer says that the gold answer had a part in choosing it.
        """
        return env.team_answer(episodes[0].transcript)

    def trainings(self, config: RunConfig, agents: Sequence[str], seats: Sequence[str]) -> dict[str, RunConfig]:
        """What is trained for it: seat (or "" where there is but one training) -> run, from its own discussion.

        Args:
            config: Of the discussion, algorithm and budget included.
            agents: Who discusses.
            seats: The agents that have private information, () on a task without any.
        """
        return {"": config}

    def trained_as(self, algorithm: str) -> str | None:
        """The word of the row whose trainings it uses: `trainings` must say the same as that one's. None: it has its own."""
        return None

    def seeds(self, seed: int, of_study: Sequence[int], agents: Sequence[str]) -> Sequence[int]:
        """Of which seeds it needs the trainings, for its cell of `seed`."""
        return [seed]

    def seat(self, trained: Sequence[tuple[str, Roster]], agents: Sequence[str]) -> dict[str, Roster]:
        """The teams that are measured: seat (or "" where there is but one team) -> who speaks. By default each as it was trained.

        Args:
            trained: (seat, team) of every training, seed by seed in the order of `seeds`; ("", the untrained team) if there is none.
            agents: Whom to seat.

        Raises:
            ValueError: There is nobody for a seat.
        """
        return {seat: roster.seated(agents) for seat, roster in trained}


class Discussion(Method):
    """The task's own discussion: what a trained team does, untrained."""

    title = "untrained team"
    trains_on_discussions = True

    def trained_label(self, algorithm: str) -> str:
        return f"{algorithm}-trained team" if self.title == Discussion.title else super().trained_label(algorithm)


class SingleAgent(Method):
    """One agent answers once."""

    lone = True
    title = "single agent"
    num_rounds: int = 1

    @property
    def team(self) -> bool:
        return False

    @property
    def trains_one_turn(self) -> bool:
        return self.num_rounds == 1

    def trained_as(self, algorithm: str) -> str | None:
        kind = type(self)
        plain = (kind.discussion, kind.trainings) == (SingleAgent.discussion, SingleAgent.trainings)
        return f"single_agent/{algorithm}" if plain and self.num_rounds == 1 else None

    def discussion(self, config: RunConfig) -> RunConfig:
        teams = ("history", "num_agents", "num_rounds", "max_cycles")
        arguments = {k: v for k, v in config.env_args.items() if k not in teams}
        # Its own score is a lone agent's whole reward, whatever a team is paid for.
        arguments |= {"protocol": "debate", "shaping": "own_score"}
        # Of what is set agent by agent it has the first seat's.
        alone = {
            name: {a: v for a, v in given.items() if a == "agent_0"}
            for name in ("model", "partners", "team")
            if isinstance(given := getattr(config, name), Mapping)
        }
        if (template := asdict(config.build_prompts()))["personas"] or config.prompts is not None:
            alone["prompts"] = {
                **template,
                "personas": {a: p for a, p in template["personas"].items() if a == "agent_0"},
            }
        return _changed(config, num_agents=1, num_rounds=self.num_rounds, frozen=(), env_args=arguments, **alone)

    def trainings(self, config: RunConfig, agents: Sequence[str], seats: Sequence[str]) -> dict[str, RunConfig]:
        if not seats:
            return {"": config}
        return {s: _changed(config, env_args={**config.env_args, "view": s}) for s in seats}


class SingleAgentTold(SingleAgent):
    """One agent that is told everything that any agent knows: the ceiling of a task with private information."""

    lone = False  # it has no seat
    title = "single agent told all"

    def discussion(self, config: RunConfig) -> RunConfig:
        alone = super().discussion(config)
        return _changed(alone, env_args={**alone.env_args, "view": "all"})

    def trainings(self, config: RunConfig, agents: Sequence[str], seats: Sequence[str]) -> dict[str, RunConfig]:
        return {"": config}


class SelfConsistency(SingleAgent):
    """Plurality among k answers of one agent (Wang et al. 2203.11171).

    Args:
        k: Samples.
    """

    title = "vote of {k}"
    vote = True

    def __init__(self, k: int = 5) -> None:
        if k < 1:
            raise UserValueError(f"k is {k}; a vote needs at least one sample.")
        self.samples = k

    @property
    def label(self) -> str:
        return self.title.format(k=self.samples)

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        turns = _last_turns(episodes)
        return vote(turns, [1.0] * len(turns), env.verifiers.equivalent)


class BestOfK(SelfConsistency):
    """The one of k answers that the verifier scores highest, the first among equals. With a verifier that knows the gold answer this is
    pass@k, an oracle."""

    title = "best of {k} by the verifier"

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        best = max(_last_turns(episodes), key=lambda turn: turn.value)
        return vote([best], [1.0], None, env.verifier)


class VerifierVote(SelfConsistency):
    """A vote of k answers weighted by the verifier's scores: an oracle with a verifier that knows the gold answer."""

    title = "vote of {k} weighted by the verifier"

    def answer(self, env: DiscussionEnv, episodes: Sequence[Episode]) -> TeamAnswer:
        turns = _last_turns(episodes)
        weights = [max(turn.value, 0.0) for turn in turns]
        return vote(turns, weights, env.verifiers.equivalent, env.verifier)


class SelfRefine(SingleAgent):
    """One agent that reads its own answer and revises it: a debate of one.

    Args:
        num_rounds: Answers in all; the last one counts.
    """

    title = "self-refine"

    def __init__(self, num_rounds: int = 3) -> None:
        self.num_rounds = num_rounds


class ProtocolMethod(Method):
    """A discussion by a protocol of its own, all agents untrained unless an algorithm is named.

    Args:
        num_agents, num_rounds: Of the discussion; the first round is the solitary one. None: the task's.

    Attributes:
        protocol: As ``env_args`` has it.
    """

    protocol: Mapping[str, Any]

    def __init__(self, num_agents: int | None = None, num_rounds: int | None = None) -> None:
        self.num_agents, self.num_rounds = num_agents, num_rounds

    def discussion(self, config: RunConfig) -> RunConfig:
        return _changed(
            config,
            num_agents=config.num_agents if self.num_agents is None else self.num_agents,
            num_rounds=config.num_rounds if self.num_rounds is None else self.num_rounds,
            env_args={**config.env_args, "protocol": dict(self.protocol)},
        )


class DebateMethod(ProtocolMethod):
    """Simultaneous debate (Du et al. 2305.14325).

    Args:
        num_agents, num_rounds: Of the discussion; the first round is the solitary one. None: the task's.
        topology: Who reads whom: "all" (decentralised), "ring" (sparse), "star" (centralised; Choi et al. 2508.17536).
        show_scores: Everybody is told the verifier's scores: an oracle with a verifier that knows the gold answer.
    """

    title = "debate"
    trains_on_discussions = True

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        topology: str = "all",
        show_scores: bool = False,
    ) -> None:
        super().__init__(num_agents, num_rounds)
        self.protocol = {"name": "debate", "topology": topology} | ({"show_scores": True} if show_scores else {})

    @property
    def label(self) -> str:
        return f"{self.title}, scores shown" if "show_scores" in self.protocol else self.title


class SparseDebate(ProtocolMethod):
    """Debate in a ring: everybody reads two neighbours. It takes at least 4 agents; with fewer a ring is everybody."""

    title = "sparse debate"
    protocol = {"name": "debate", "topology": "ring"}


class CentralisedDebate(ProtocolMethod):
    """Debate around a hub: agent_0 reads all, the others read agent_0."""

    title = "centralised debate"
    protocol = {"name": "debate", "topology": "star"}


class MixtureOfAgentsMethod(ProtocolMethod):
    """Layers of proposers and one aggregator (2406.04692): n(l-1)+1 generations. Rounds are layers, the aggregator's included."""

    title = "mixture of agents"
    protocol = {"name": "mixture_of_agents"}

    def discussion(self, config: RunConfig) -> RunConfig:
        # Incentives compare everybody's rounds, and not everybody speaks in the last one: the task's own shaping.
        held = super().discussion(config)
        return _changed(held, env_args={k: v for k, v in held.env_args.items() if k != "shaping"})


class ReConcileMethod(ProtocolMethod):
    """Debate with stated confidences, grouped answers, an early end on agreement and a weighted vote (2309.13007)."""

    title = "ReConcile"
    protocol = {"name": "reconcile"}


def _last_turns(episodes: Sequence[Episode]) -> list[Turn]:
    return [turn for e in episodes for turn in last_round(e.transcript)]


def _changed(config: RunConfig, **changes: Any) -> RunConfig:
    """`config` with other values; unlike `merged` a mapping is replaced, not added to."""
    return replace(config, **changes)

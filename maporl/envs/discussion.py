"""A discussion of language models as a PettingZoo environment.

| specification | |
|---|---|
| agents | ``agent_0`` ... ``agent_{N-1}``, or named after their roles in a pipeline |
| observation | `maporl.types.Observation`: question, private information, instruction, role, the messages one may see |
| action | any string |
| state | the joint view of a centralised critic: all private views, every message settled before the next one |
| reward | at every step, to every agent: what `shaping` now gives its messages minus what it gave them before |
| end | after `num_rounds` rounds, or when the protocol ends it, everybody terminates together; nothing is ever truncated |

The rules live in replaceable parts: the protocol (who speaks, who sees what), the verifier (is it right?), the ground truth
(the same for metrics, when the verifier is learned), the shaping (who deserves what?) and the feedback (what is said from outside?).
This file is the bookkeeping between them. The state is a function of the transcript, so a discussion can start from any prefix.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium.utils import seeding
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import aec_to_parallel

from maporl.envs.feedback import build_feedback
from maporl.envs.protocols import build_protocol
from maporl.envs.questions import Questions
from maporl.envs.rendering import check_render_mode, heading, print_any, transcript_text, turn_text
from maporl.envs.rules import Rules
from maporl.envs.scoring import build_verifiers, check_scored
from maporl.envs.shaping import build_shaping
from maporl.envs.spaces import AnyText, observation_space
from maporl.envs.splits import check_share, check_split
from maporl.envs.team_answer import TeamAnswer
from maporl.envs.views import check_view
from maporl.errors import Unwritten, UserTypeError, UserValueError
from maporl.types import Observation, Question, Seat, Transcript, Turn

__all__ = ["DiscussionEnv"]


class DiscussionEnv(AECEnv[str, Observation, str]):
    """Base of all tasks. A task is a subclass with a `load` method and class attributes; see docs/environments.md.

    Args:
        num_agents: How many discuss. Default 2 (a pipeline: one per role).
        num_rounds: How often each of them speaks, at most. Default: the task's, mostly 2.
        protocol: A word (docs/environments.md lists them), ``{"name": ..., **arguments}``, ``package.module:Class``, a class or
            an instance.
        history: What of the discussion an agent is shown, "all" or "last_round" (its own messages and each peer's latest).
        verifier: Gives the score that is rewarded; in the same forms as `protocol`, or any function
            ``(question, response) -> bool | float | Score``. Default: the task's.
        ground_truth: Says what is true, for incentives and metrics. Default: the verifier if it is rule-based, else the
            task's default verifier if that is.
        team_verifier: Called once per completed round with ``(question, {agent: response})``.
        shaping: Who deserves what; in the same forms, or a list of them (their sum).
        feedback: What is said from outside between rounds; in the same forms, or any function of `maporl.envs.feedback.Feedback`'s kind.
        instruction: How to answer, shown to every agent in place of the task's own.
        view: With one agent: whose private information it is given: a seat such as 'agent_1'; or 'all' (for any number of
            agents): everybody is told everything.
        data: Where a data task reads its rows (file or folder). Refused by a task whose `reads_data` is False.
        split: The split that `reset` draws questions from: "train", "validation", "test" or "verifier".
        verifier_share: The share of the training questions that is kept for learned verifiers: those of "verifier", chosen by hash.
        render_mode: "human" prints the discussion as it goes, "ansi" makes `render` return it.
        max_cycles: PettingZoo's name for `num_rounds`; overrides it.

    Attributes:
        transcript: The discussion so far.

    Raises:
        ValueError: Zero agents or rounds, an unknown word, data for a task that reads none, a seat's `view` for a team, or a
            shaping that means nothing under the protocol.
        TypeError: Something that is no protocol, verifier, shaping or feedback.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "ansi"], "is_parallelizable": True}
    instruction: str = ""
    reads_data: ClassVar[bool] = True  # False: the task makes its questions itself
    has_validation: ClassVar[bool] = False  # True: its `load` knows "validation", too; else 5 % of train are
    default_protocol: ClassVar[Any] = "debate"
    default_num_rounds: ClassVar[int] = 2
    default_verifier: ClassVar[Any] = None
    default_team_verifier: ClassVar[Any] = None
    default_feedback: ClassVar[Any] = None
    default_shaping: ClassVar[Any] = None  # None: "own_score", or "team_score" where only a team verifier scores

    def __new__(cls, *args: Any, **kwargs: Any) -> DiscussionEnv:
        env: DiscussionEnv = super().__new__(cls)
        env._arguments = (args, kwargs)  # for `remade`; here, so that a subclass need not pass them on
        return env

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        protocol: Any = None,
        history: str | None = None,
        verifier: Any = None,
        ground_truth: Any = None,
        team_verifier: Any = None,
        shaping: Any = None,
        feedback: Any = None,
        instruction: str | None = None,
        view: str | None = None,
        data: Any = None,
        split: str = "train",
        verifier_share: float = 0.0,
        render_mode: str | None = None,
        max_cycles: int | None = None,
    ) -> None:
        super().__init__()
        task = type(self)
        if data is not None and not task.reads_data:
            raise UserValueError(
                f"{task.__name__} makes its questions itself, so data {str(data)!r} has no use; leave it out."
            )
        rounds = num_rounds if max_cycles is None else max_cycles
        self.protocol = build_protocol(
            task.default_protocol if protocol is None else protocol, rounds, history, task.default_num_rounds
        )
        self.num_rounds = self.protocol.num_rounds
        names = self.protocol.agent_names(self.protocol.default_num_agents if num_agents is None else num_agents)
        self.possible_agents = list(names)
        self.agents = list(names)

        self.verifiers = build_verifiers(verifier, ground_truth, team_verifier, *self.own_verifiers())
        by_team = self.verifier is None and self.team_verifier is not None
        fallback = task.default_shaping or ("team_score" if by_team else "own_score")
        self.shaping = build_shaping(fallback if shaping is None else shaping)
        self.shaping.check(self.protocol, len(names))
        check_scored(task.__name__, self.verifiers, self.shaping, self.protocol)
        self.feedback = build_feedback(feedback, task.default_feedback, self.protocol)

        self.instruction = task.instruction if instruction is None else instruction
        self.view = check_view(view, len(names))
        self.data = data
        self.split = check_split(split)
        self.verifier_share = check_share(verifier_share)
        self.render_mode = check_render_mode(render_mode)
        self.metadata = {"name": task.__name__, **DiscussionEnv.metadata, **task.metadata}
        self.metadata["is_parallelizable"] = self.protocol.simultaneous and self.protocol.once_a_round

        shown = self.protocol.show_scores
        self.state_space = observation_space(self.num_rounds, shown)
        # One object per agent, for seeding an agent's space must not move another's.
        self._observation_spaces = {agent: observation_space(self.num_rounds, shown) for agent in names}
        self._action_spaces = {agent: AnyText() for agent in names}
        self._questions = Questions(  # filled once, shared by copies
            self.metadata["name"], self.load, self.verifiers, names, self.view, self.verifier_share, task.has_validation
        )
        self._rng: np.random.Generator | None = None
        self._transcript: Transcript | None = None
        self._kept: tuple[tuple[Transcript, tuple[tuple[float, ...], dict[str, float]]], ...] = ()
        self._printed = 0

    # The task's hooks, and what the base makes of them.

    def own_verifiers(self) -> tuple[Any, Any]:
        """The verifier and the team verifier of the task, where none is given: what they judge may depend on `possible_agents`."""
        return type(self).default_verifier, type(self).default_team_verifier

    def load(self, split: str) -> Iterable[Question]:
        """The task's questions: "train" or "test" (which may yield nothing). The one method a task must have.

        Private information is a team's, also for a lone agent: `view` decides what of it is shown.
        """
        raise Unwritten(f"{type(self).__name__} has no load(split); write one that yields Question objects.")

    def questions(self, split: str) -> tuple[Question, ...]:
        """The questions of "train", "validation" (5 % of train, by hash), "test", or "verifier" (`verifier_share` of train).

        Without duplicates, gold checked.

        The same ones in the same order, with the same ids, whatever the `view`. Loaded at the first call and kept; copies of
        the environment share them.

        Raises:
            ValueError: Unknown split, no questions, a gold answer that the verifier cannot read (naming the question), a
                `view` that they do not have, or a verifier that was fitted to questions of train, validation or test.
        """
        return self._questions.of(split)

    def private_seats(self, split: str = "train") -> tuple[str, ...]:
        """For which seats the questions of a split have private information: () if everybody knows the same.

        The seats of a team, whoever is asked here: what `view` may be.
        """
        return self._questions.private_seats(split)

    def told(self, question: Question) -> Question:
        """One of `load`'s questions as the agents of this environment are asked it (see `view`)."""
        return self._questions.told(question)

    # PettingZoo's AEC interface.

    @property
    def rules(self) -> Rules:
        """What decides everything here, as pure functions of a transcript."""
        agents = tuple(self.possible_agents)
        return Rules(self.protocol, self.verifiers, self.shaping, self.instruction, agents, self.feedback)

    @property
    def verifier(self) -> Any:
        return self.verifiers.verifier

    @property
    def ground_truth(self) -> Any:
        return self.verifiers.ground_truth

    @property
    def team_verifier(self) -> Any:
        return self.verifiers.team_verifier

    @property
    def transcript(self) -> Transcript:
        if self._transcript is None:
            raise RuntimeError("there is no discussion yet; call reset() first.")
        return self._transcript

    def observation_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.spaces.Space[Any]:
        return self._action_spaces[agent]

    def reset(self, seed: int | None = None, options: Mapping[str, Any] | None = None) -> None:
        """Start a discussion.

        Args:
            seed: Seeds the drawing of questions, now and at later resets.
            options: ``{"question": Question}`` asks this one; ``{"transcript": Transcript}`` resumes from this prefix
                (what it lacks of scores is scored; its rewards count as already paid). Anything else is ignored.

        Raises:
            TypeError: An option of the wrong type.
            ValueError: Both options, or a prefix that does not fit this environment.
        """
        if seed is not None or self._rng is None:
            self._rng, _ = seeding.np_random(seed)
        start = self._start(options or {})
        self._transcript = self._paid_until = start
        self.agents = list(self.possible_agents)
        self._unread = dict.fromkeys(self.agents, start)
        self._kept = ()
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}
        self._skip_agent_selection = None
        self._select()
        self._printed = -1
        if self.render_mode == "human":
            self.render()

    def _start(self, options: Mapping[str, Any]) -> Transcript:
        question, prefix = options.get("question"), options.get("transcript")
        for name, value, kind in (("question", question, Question), ("transcript", prefix, Transcript)):
            if value is not None and not isinstance(value, kind):
                raise UserTypeError(
                    f"options[{name!r}] is a {type(value).__name__}; give a maporl.types.{kind.__name__}."
                )
        if question is not None and prefix is not None:
            raise UserValueError(
                "options has both a question and a transcript; the transcript already holds its question."
            )
        if prefix is not None:
            return self.rules.replayed(prefix)
        if question is None:
            assert self._rng is not None
            pool = self.questions(self.split)
            question = pool[int(self._rng.integers(len(pool)))]
        return self.rules.start(question)

    def observe(self, agent: str) -> Observation:
        """What `agent` is shown: never a message it may not see, never another agent's private information."""
        return self.rules.observe(self.transcript, self._seat(agent))

    def state(self) -> Observation:  # type: ignore[override]
        """The joint view before the next message, in the shape of an observation: what a centralised critic of it reads."""
        return self.rules.state(self.transcript, self._seat(self.agent_selection))

    def _seat(self, agent: str) -> Seat:
        """From where `agent` would speak now."""
        return Seat(agent, self.transcript.completed_rounds)

    def step(self, action: str | None) -> None:
        """The selected agent says `action` (None once it is finished, as PettingZoo asks).

        Raises:
            TypeError: `action` is no string.
        """
        if self._transcript is not None and not self.agents:
            raise RuntimeError("the discussion is over; call reset().")
        if self._transcript is not None and self.terminations[self.agent_selection]:
            self._paid_until = self.transcript  # nothing more is paid
            self._was_dead_step(action)  # type: ignore[arg-type]
            return
        if not isinstance(action, str):
            kind = type(action).__name__
            raise UserTypeError(f"an action is a string; {self.agent_selection} got {action!r} ({kind}).")
        before, agent = self.transcript, self.agent_selection
        turn = Turn(agent, before.completed_rounds, str(action))  # a numpy string is a string too
        (self._transcript,) = self.rules.extend([(before, [turn])])
        self._paid_until = before
        self._unread = {**self._unread, agent: before}  # a new one, for copies of the environment stay independent
        self._select()
        if self._transcript.is_complete:
            self.terminations = dict.fromkeys(self.agents, True)
            self.infos = {name: {"turn_rewards": self._credit(name)} for name in self.agents}
        if self.render_mode == "human":
            self.render()

    def _select(self) -> None:
        due = self.rules.due(self.transcript)
        self.agent_selection = due[0].agent if due else self.agents[0]

    # What agents are paid: computed when somebody asks, for shaping reads the whole discussion.

    @property
    def turn_rewards(self) -> tuple[float, ...]:
        """One exact reward per turn of `transcript`, as of now."""
        return self._shaped(self.transcript)[0]

    @property
    def rewards(self) -> dict[str, float]:  # type: ignore[override]
        """Agent -> what the last step paid it: what shaping gives its messages now minus what it gave them before."""
        return {agent: self._paid(agent, self._paid_until) for agent in self.agents}

    @property
    def _cumulative_rewards(self) -> dict[str, float]:  # type: ignore[override]
        """Agent -> what it was paid since it spoke last, that step's payment included."""
        return {agent: self._paid(agent, self._unread[agent]) for agent in self.agents}

    def _paid(self, agent: str, since: Transcript) -> float:
        return self._shaped(self.transcript)[1][agent] - self._shaped(since)[1][agent]

    def _shaped(self, transcript: Transcript) -> tuple[tuple[float, ...], dict[str, float]]:
        """The rewards of a discussion, turn by turn and agent by agent; those of the last few are kept."""
        known = next((found for t, found in self._kept if t is transcript), None)
        if known is None:
            rewards = self.rules.rewards(transcript)
            totals = dict.fromkeys(self.possible_agents, 0.0)
            for turn, reward in zip(transcript.turns, rewards, strict=True):
                if turn.said:
                    totals[turn.agent] += reward
            known = rewards, totals
            self._kept = ((transcript, known), *self._kept[: len(self.possible_agents) + 1])
        return known

    def _credit(self, agent: str) -> tuple[float, ...]:
        return tuple(r for turn, r in zip(self.transcript.turns, self.turn_rewards, strict=True) if turn.agent == agent)

    @property
    def oracle(self) -> bool:
        """Whether the gold answer has a part in the discussion: feedback reads it, or a verifier whose scores are shown, or end it."""
        return self.feedback.uses_gold or (self.protocol.reads_scores and getattr(self.verifier, "uses_gold", True))

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """The team's answer by the protocol's rule, in `transcript` or in the discussion so far; see `labelled`."""
        said = self.transcript if transcript is None else transcript
        return self.labelled(self.protocol.team_answer(said, self.verifiers.equivalent))

    def labelled(self, answer: TeamAnswer) -> TeamAnswer:
        """`answer`, whatever way it was made of a discussion here, marked as an oracle's, or as read off scores, if the discussion was."""
        scored = answer.scored or self.protocol.reads_scores
        return replace(answer, oracle=answer.oracle or self.oracle, scored=scored)

    def render(self) -> str | None:
        """ "ansi" returns the whole discussion; "human" prints what has not been printed yet."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() does nothing without a render_mode; pass render_mode='human' or 'ansi'.")
            return None
        if self.render_mode == "ansi":
            return transcript_text(self.transcript)
        turns = self.transcript.turns
        news = [turn_text(turn) for turn in turns[max(self._printed, 0) :]]
        if self._printed < 0:
            news.insert(0, heading(self.transcript))
        self._printed = len(turns)
        if news:
            print_any("\n".join(news))
        return None

    def close(self) -> None:
        """Nothing is held open; here because PettingZoo asks for it beside `render`."""

    # Making others of the same kind.

    def parallel(self) -> ParallelEnv[str, Observation, str]:
        """The same discussion through PettingZoo's parallel interface.

        Raises:
            ValueError: The protocol is sequential, or not everybody speaks in every round.
        """
        if not self.metadata["is_parallelizable"]:
            fault = "does not let everybody speak in every round" if self.protocol.simultaneous else "is sequential"
            raise UserValueError(
                f"protocol {self.protocol.name!r} {fault}, so it has no parallel form; use the AEC one."
            )
        return aec_to_parallel(self)

    @classmethod
    def env(cls, **arguments: Any) -> DiscussionEnv:
        """PettingZoo's ``module.env(...)``; a task class serves wherever PettingZoo asks for an environment module."""
        return cls(**arguments)

    @classmethod
    def parallel_env(cls, **arguments: Any) -> ParallelEnv[str, Observation, str]:
        """PettingZoo's ``module.parallel_env(...)``."""
        return cls(**arguments).parallel()

    def remade(self, **changes: Any) -> DiscussionEnv:
        """A new environment from the arguments that this one was made with, `changes` applied."""
        args, kwargs = self._arguments
        return type(self)(*args, **{**kwargs, **changes})

    def __copy__(self) -> DiscussionEnv:
        """An independent discussion that shares questions, verifiers and settings: what a rollout makes hundreds of."""
        twin: DiscussionEnv = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin._rng = copy.deepcopy(self._rng)
        twin.agents = list(self.agents)
        if self._transcript is not None:  # PettingZoo changes these in place when a finished agent steps
            for name in ("terminations", "truncations", "infos"):
                setattr(twin, name, dict(getattr(self, name)))
        return twin

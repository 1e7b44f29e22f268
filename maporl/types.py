"""The values that flow through the library. Frozen, standard library and numpy only.

One message is a *turn*; it is said from a *seat*, an agent in a *round* (counted from 0 in code, from 1 in text shown to people), and the
protocol decides which seats are due; a whole discussion is an *episode*.
A verifier gives a *score* (is it right?); shaping gives a *reward* (who deserves what?).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, NamedTuple, NotRequired, Protocol, TypedDict

import numpy as np

from maporl.errors import UserTypeError

__all__ = [
    "Check",
    "Completion",
    "Episode",
    "Message",
    "Observation",
    "Question",
    "Score",
    "Seat",
    "Transcript",
    "Turn",
]


class Message(TypedDict):
    """One message as an agent reads it."""

    agent: str
    round: int
    text: str
    score: NotRequired[float | None]  # where a protocol shows scores: the verifier's value, None for what nobody scored


class Observation(TypedDict):
    """What an agent is shown when it is its turn to speak (a point of ``env.observation_space(agent)``)."""

    agent: str  # who reads this
    round: int  # the round in progress, from 0
    question: str
    private: str  # this agent's private information, "" if none
    instruction: str  # how to answer (the task's)
    role: str  # what this agent is for (the protocol's), "" in a debate
    transcript: tuple[Message, ...]  # visible messages, in the order in which the agent came to know them


@dataclass(frozen=True)
class Question:
    """A question, its gold answer, and what each agent alone knows about it.

    Attributes:
        text: Shown to every agent.
        answer: The gold answer, in the form the task's verifier reads.
        id: Stable identity; a hash of text, private views and answer if left empty.
        private: Agent name -> text that only this agent sees.
        metadata: Anything else the task wants to keep (level, subject, source row ...).
        origin: The hash of the question of which this one shows the private information to others (a lone agent's view of a
            team's question, say); "" for a question of its own.
        team: Of that question: what each of its agents knows alone. Never shown; for who judges on behalf of the whole team.
    """

    text: str
    answer: str
    id: str = ""
    private: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    origin: str = ""
    team: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        for what, value in (("text", self.text), ("answer", self.answer), *self.private.items()):
            if not isinstance(value, str):
                raise UserTypeError(f"{what} of Question({self.text!r:.60}) is {value!r:.60}; it must be a string.")
        if not self.id:
            object.__setattr__(self, "id", self.hash[:16])

    @property
    def hash(self) -> str:
        """SHA-256 (hex) of what is asked: text, private views and gold answer. Decides splits and finds duplicates.

        That of its `origin` if it has one, so that what a team is asked and what a lone agent is shown of it count as one.
        """
        if self.origin:
            return self.origin
        parts = [self.text, *(f"{agent}\x1f{view}" for agent, view in sorted(self.private.items())), self.answer]
        return hashlib.sha256("\x1e".join(parts).encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def every_view(self) -> list[str]:
        """What its agents know alone, agent_2 before agent_10: for who judges on behalf of the whole team."""
        views = self.team or self.private
        return [views[agent] for agent in sorted(views, key=lambda agent: (len(agent), agent)) if views[agent]]

    @property
    def asked(self) -> str:
        """SHA-256 (hex) of what is asked, however it is spaced and its gold answer spelt: finds a question again in another's file,
        also in other words if the task calls it by one name in both: ``metadata["asks"]``."""
        views = [f"{a}: {view}" for a, view in sorted((self.team or self.private).items()) if view]
        texts = [str(self.metadata.get("asks", self.text)), *views]
        parts = [" ".join(text.split()).casefold() for text in texts]
        return hashlib.sha256("\x1e".join(["asked", *parts]).encode("utf-8", "surrogatepass")).hexdigest()


class Check(NamedTuple):
    """What came of one of the things that a response was checked for, such as an assert."""

    source: str
    status: str  # "passed", "failed", "error" (it raised), "timeout" or "not_run"
    explanation: str = ""  # one line for people; "" if it passed


@dataclass(frozen=True)
class Score:
    """A verifier's verdict on one response.

    Attributes:
        value: What is rewarded, in [0, 1] for every shipped verifier.
        correct: Is it right? None when nobody can say (a learned verifier, a time-out).
        answer: The extracted answer in canonical form, None when there is none.
        status: "ok", "no_answer" (nothing could be extracted), "not_applicable" (this verifier has nothing to say), "timeout" or "error".
        explanation: One line for people.
        judge_tokens: What a language model read and wrote to give it: a cost where the score has a part in an answer.
        measures: Further figures about the response, such as the parts of the value, or a speed-up.
        checks: What came of each thing that it was checked for, in order.
    """

    value: float
    correct: bool | None
    answer: str | None = None
    status: str = "ok"
    explanation: str = ""
    judge_tokens: int = 0
    measures: Mapping[str, float] = field(default_factory=dict, hash=False)
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True)
class Completion:
    """What an agent said, and, for a language model, exactly how it was sampled.

    Attributes:
        text: The message.
        prompt_ids: [P] int64, the tokens that were conditioned on.
        completion_ids: [T] int64, its tokens, the EOS token, or the one that completed a stop string, included if there was one.
        logprobs: [T] float32, of each token under the distribution it was sampled from (temperature included); 0 of a forced one.
        truncated: Cut at max_new_tokens before an EOS token or a stop string.
        stopped: Ended by a stop string, before which its text ends.
        reasoning: What it thought before (a ``<think>`` block), which neither peers nor our verifiers read.
        overflow: The prompt left no room in the model's window; nothing was sampled.
        discarded: Tokens that were sampled for this message and thrown away; a cost, and no part of the message.
        forced: [T] bool, the tokens that nobody chose: they closed its reasoning, which had reached its budget. None: none.
    """

    text: str
    prompt_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    completion_ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    logprobs: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    truncated: bool = False
    overflow: bool = False
    discarded: int = 0
    stopped: bool = False
    reasoning: str = ""
    forced: np.ndarray | None = None

    @property
    def thinking_cut(self) -> bool:
        """Whether its reasoning was closed by force."""
        return self.forced is not None

    @property
    def sampled_tokens(self) -> int:
        """What the message cost: its tokens and the discarded ones."""
        return len(self.completion_ids) + self.discarded


class Seat(NamedTuple):
    """From where a message is said: an agent, in a round (from 0)."""

    agent: str
    round: int


@dataclass(frozen=True)
class Turn:
    """One message of a discussion.

    Attributes:
        agent: Who spoke; of feedback, its source ("tally", "tests"), which is no agent's name.
        round: In which round, from 0.
        text: What was said.
        score: The verifier's verdict; None for a turn the protocol does not score.
        truth: The ground truth's verdict (the same as `score` unless the verifier is learned); None like `score`.
        completion: How it was sampled; None where nobody knows (feedback, a given prefix).
        kind: "said" by an agent, or "feedback" from outside, from which nobody learns.
        heard: How many turns of the discussion were settled when it was said: those before its wave, in which nobody hears one
            another. Set by the rules.
    """

    agent: str
    round: int
    text: str
    score: Score | None = None
    truth: Score | None = None
    completion: Completion | None = field(default=None, compare=False, repr=False)
    kind: Literal["said", "feedback"] = "said"
    heard: int | None = field(default=None, compare=False, repr=False)

    @property
    def seat(self) -> Seat:
        """The agent and round that the message was said from."""
        return Seat(self.agent, self.round)

    @property
    def said(self) -> bool:
        """Whether an agent said it."""
        return self.kind == "said"

    def scored(self, score: Score | None, truth: Score | None) -> Turn:
        """The same turn with its verdicts."""
        return Turn(self.agent, self.round, self.text, score, truth, self.completion, self.kind, self.heard)

    def after(self, heard: int | None) -> Turn:
        """The same turn, said when so many turns were settled."""
        return Turn(self.agent, self.round, self.text, self.score, self.truth, self.completion, self.kind, heard)

    @property
    def value(self) -> float:
        """What shaping reads: the verifier's value, 0 for an unscored turn."""
        return self.score.value if self.score is not None else 0.0

    @property
    def correct(self) -> bool | None:
        """What incentives and metrics read: the ground truth's verdict."""
        return self.truth.correct if self.truth is not None else None


@dataclass(frozen=True)
class Transcript:
    """A discussion so far. The whole state of the environment is a function of it.

    Attributes:
        question: What is discussed.
        agents: Everybody's name, in speaking order.
        num_rounds: How many rounds the whole discussion has.
        turns: The messages so far, in the order in which they were spoken, feedback among them.
        team_scores: One verdict per completed round, when the task scores joint actions.
        verdict: On the whole discussion, once it is over, when the task scores that.
        ended: Nobody is left to speak, though not everybody has spoken in every round. Set by the rules.
        completed_rounds: Rounds in which everybody has spoken who speaks in them. Set by the rules, for the protocol decides; left out,
            those in which every agent has spoken.
        heard: How many of the turns are settled for those who are due now (see `Turn.heard`). Set by the rules.
    """

    question: Question
    agents: tuple[str, ...]
    num_rounds: int
    turns: tuple[Turn, ...] = ()
    team_scores: tuple[Score, ...] = ()
    ended: bool = False
    completed_rounds: int = -1
    verdict: Score | None = None
    heard: int | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.completed_rounds < 0:
            spoken = {turn.seat for turn in self.turns if turn.said}
            rounds = (r for r in range(self.num_rounds) if not all((agent, r) in spoken for agent in self.agents))
            unfinished = next(rounds, self.num_rounds)
            cut = self.ended and any(round == unfinished for _, round in spoken)
            object.__setattr__(self, "completed_rounds", unfinished + cut)

    @property
    def is_complete(self) -> bool:
        """Whether the discussion is over."""
        return self.ended or self.completed_rounds >= self.num_rounds

    @cached_property
    def _by_round(self) -> dict[int, tuple[Turn, ...]]:
        rounds: dict[int, list[Turn]] = {}
        for turn in self.turns:
            if turn.said:
                rounds.setdefault(turn.round, []).append(turn)
        return {index: tuple(turns) for index, turns in rounds.items()}

    def round(self, index: int) -> tuple[Turn, ...]:
        """What agents said in round `index`, in speaking order."""
        return self._by_round.get(index, ())

    def standing(self, index: int) -> tuple[Turn, ...]:
        """What stands when round `index` is over: everybody's last message in it, or in the last round there was."""
        turns = self.round(min(index, self.completed_rounds - 1)) if self.completed_rounds else ()
        last = {turn.agent: turn for turn in turns}
        return tuple(turn for turn in turns if turn is last[turn.agent])

    def times(self, seat: Seat) -> int:
        """How often somebody has spoken from `seat`."""
        return sum(turn.seat == seat for turn in self.turns)

    def before(self, index: int) -> Transcript:
        """The discussion as it was when turn `index` was due."""
        turn = self.turns[index]
        past: dict[str, Any] = {"team_scores": self.team_scores[: turn.round], "verdict": None, "ended": False}
        return replace(self, turns=self.turns[:index], completed_rounds=turn.round, heard=turn.heard, **past)

    @property
    def spoken(self) -> Transcript:
        """The same discussion without the feedback, as shaping reads it."""
        said = tuple(turn for turn in self.turns if turn.said)
        return self if len(said) == len(self.turns) else replace(self, turns=said)


class Views(Protocol):
    """What is shown of a discussion (`maporl.envs.rules.Rules`, or a game's own)."""

    def observe(self, transcript: Transcript, seat: Seat) -> Observation:
        """What an agent is shown when it speaks from `seat`."""

    def state(self, transcript: Transcript, seat: Seat) -> Observation:
        """What a centralised critic of that message reads."""


@dataclass(frozen=True)
class Episode:
    """One finished discussion.

    Attributes:
        transcript: The discussion.
        rewards: What shaping gave each turn of it (exact credit, not the AEC payments); 0 for feedback.
        learns: Of each turn, whether somebody learns from it.
        given: Turns at the beginning that were not said in this episode, but given to go on from.
        contains_future: The rewards already contain the future, so they are returns: nothing may bootstrap across rounds.
        group: Episodes of one group answer the same question: the leaves of one tree (group-relative advantages).
        branch: Which one of its siblings each wave of it is, from its start: its path in the tree. Episodes of a group share the
            messages of the waves in which their branches begin alike, completion for completion.
        views: Computes what each speaker, and a centralised critic, was shown.
    """

    transcript: Transcript
    rewards: tuple[float, ...]
    learns: tuple[bool, ...] = ()
    given: int = 0
    contains_future: bool = False
    group: int = 0
    branch: tuple[int, ...] = ()
    views: Views | None = field(default=None, compare=False, repr=False)

    @property
    def said(self) -> list[tuple[int, Turn]]:
        """What agents said in this episode, each with its place in the transcript."""
        turns = self.transcript.turns
        return [(i, turns[i]) for i in range(self.given, len(turns)) if turns[i].said]

    @property
    def waves(self) -> list[list[tuple[int, Turn]]]:
        """The same, wave by wave: those who spoke without hearing one another."""
        return [list(wave) for _, wave in groupby(self.said, key=lambda said: said[1].heard)]

    @property
    def completions(self) -> list[Completion]:
        """How each of these messages was sampled."""
        return [turn.completion for _, turn in self.said if turn.completion is not None]

    def observation(self, index: int) -> Observation:
        """What the speaker of turn `index` was shown."""
        assert self.views is not None
        return self.views.observe(self.transcript.before(index), self.transcript.turns[index].seat)

    def state(self, index: int) -> Observation:
        """The joint view before turn `index`: all private views, all messages settled before it."""
        assert self.views is not None
        return self.views.state(self.transcript.before(index), self.transcript.turns[index].seat)

    @property
    def overflow(self) -> bool:
        """Some prompt did not fit the model's window: the episode is dropped from updates and counted."""
        return any(completion.overflow for completion in self.completions)

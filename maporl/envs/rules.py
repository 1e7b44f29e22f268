"""The rules of a discussion, as pure functions of its transcript: who is due, what is shown, what follows, what it is worth.

The environment is an AEC shell around them, and rollouts play hundreds of discussions by them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby, takewhile
from numbers import Real

from maporl.envs.feedback import Feedback, Silent, heard
from maporl.envs.protocols import Protocol
from maporl.envs.scoring import Verifiers
from maporl.envs.shaping import Shaping
from maporl.envs.team_answer import as_first_said
from maporl.envs.views import joint_view, own_view
from maporl.errors import UserValueError
from maporl.hooks import misreturned, one
from maporl.messages import as_sampled
from maporl.types import Observation, Question, Score, Seat, Transcript, Turn

__all__ = ["Rules"]

Said = tuple[Transcript, Sequence[Turn]]
"""A discussion, and what is said next in it: by some or all of those who are due, nobody twice."""


@dataclass(frozen=True)
class Rules:
    """What a task, its protocol, its verifiers and its shaping make together.

    Attributes:
        protocol: Who is due, who sees what, what is said from outside.
        verifiers: What scores messages, rounds and whole discussions.
        shaping: Who deserves what.
        instruction: How to answer, shown to every agent.
        agents: Everybody's name, in speaking order.
        feedback: What the task says from outside, after what the protocol does.
    """

    protocol: Protocol
    verifiers: Verifiers
    shaping: Shaping
    instruction: str
    agents: tuple[str, ...]
    feedback: Feedback = field(default_factory=Silent)

    def start(self, question: Question) -> Transcript:
        """A discussion in which nobody has spoken."""
        return self.begin([question])[0]

    def begin(self, questions: Sequence[Question]) -> list[Transcript]:
        """Discussions in which nobody has spoken; the protocol is asked once for all of them how they open."""
        empty = [self._empty(question) for question in questions]
        return [self._settled(t, turns) for t, turns in zip(empty, self._opening(empty), strict=True)]

    def _empty(self, question: Question) -> Transcript:
        empty = Transcript(question, self.agents, self.protocol.num_rounds)
        due = self.due(empty)
        return replace(empty, completed_rounds=due[0].round if due else 0, heard=0)

    def due(self, transcript: Transcript) -> tuple[Seat, ...]:
        """The seats that may speak now without hearing one another; () when the discussion is over."""
        due = self.protocol.due(transcript)
        if not (isinstance(due, tuple) and all(isinstance(seat, Seat) and seat.agent in self.agents for seat in due)):
            of = "due" if type(self.protocol).due is not Protocol.due else "due_in"
            raise misreturned(self.protocol, of, due, f"seats of {', '.join(self.agents)}, () for nobody")
        return due

    def observe(self, transcript: Transcript, seat: Seat) -> Observation:
        """What is shown to whoever speaks from `seat`."""
        return own_view(transcript, self.protocol, seat, self.instruction)

    def state(self, transcript: Transcript, seat: Seat) -> Observation:
        """What a centralised critic of a message from `seat` reads: all private views, every message settled before it."""
        return joint_view(transcript, self.protocol, seat, self.instruction)

    @property
    def unjudged(self) -> Rules:
        """The same rules without verifiers, and without the task's feedback, which may judge, too."""
        return replace(self, verifiers=Verifiers(None, None, None), feedback=Silent())

    def rewards(self, transcript: Transcript) -> tuple[float, ...]:
        """One reward per turn, 0 for feedback, as if the discussion ended here.

        Raises:
            TypeError: The shaping returned something else than one number for each message that agents said.
        """
        spoken = transcript.spoken
        given = self.shaping(spoken)
        shaped = _numbers(given)
        if shaped is None or len(shaped) != len(spoken.turns):
            raise misreturned(self.shaping, "", given, f"{len(spoken.turns)} numbers, one reward per turn")
        if spoken is transcript:
            return tuple(shaped)
        left = iter(shaped)
        return tuple(next(left) if turn.said else 0.0 for turn in transcript.turns)

    def extend(self, said: Sequence[Said]) -> list[Transcript]:
        """Every discussion with what has been said in it: messages scored, rounds and discussions closed, feedback heard.

        What already has a score keeps it. Each verifier, and whoever gives feedback, is asked once for all discussions.

        Raises:
            VerifierFailed: A verifier raised an error of its own.
        """
        scored = self._scored(said)
        after = self._closed([self._append(t, turns) for (t, _), turns in zip(said, scored, strict=True)])
        begun = [n for n, (before, turns) in enumerate(said) if self._begins_wave(before, turns, after[n])]
        return self._closed(self._heard(after, begun))

    def _heard(self, transcripts: Sequence[Transcript], begun: Sequence[int]) -> list[Transcript]:
        """Where a wave begins, everything so far is settled, and feedback is heard."""
        result = list(transcripts)
        feedback = self._outside([result[n] for n in begun]) if begun else ()
        for n, turns in zip(begun, feedback, strict=True):
            result[n] = self._settled(result[n], turns)
        return result

    def _opening(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        """What is said from outside before anybody speaks."""
        return heard(self.protocol, self.protocol.opening(transcripts), transcripts)

    def _outside(self, transcripts: Sequence[Transcript], longest: bool = False) -> list[tuple[Turn, ...]]:
        """What is said from outside: by the protocol, then by the task; `longest`: as much as it may say."""
        of_protocol = heard(self.protocol, self.protocol.feedback(transcripts), transcripts)
        asked = self.feedback.longest if longest else self.feedback
        of_task = heard(self.feedback, asked(transcripts), transcripts)
        return [before + after for before, after in zip(of_protocol, of_task, strict=True)]

    def _settled(self, transcript: Transcript, feedback: Sequence[Turn]) -> Transcript:
        for turn in feedback:
            if turn.said or turn.agent in self.agents:
                raise UserValueError(
                    f"{self.protocol!r} or {self.feedback!r} gives {turn!r} as feedback; its kind must be 'feedback', and its agent a "
                    "name that no agent has."
                )
        longer = self._append(transcript, feedback)
        return replace(longer, heard=len(longer.turns))

    def replayed(self, prefix: Transcript) -> Transcript:
        """A prefix by these rules: checked turn by turn, with the scores and the feedback that it lacks.

        Raises:
            ValueError: Other agents, a turn of somebody who is not due, or nobody left to speak.
        """
        if prefix.agents != self.agents:
            raise UserValueError(f"the transcript's agents are {prefix.agents}, this environment's {self.agents}.")
        (turns,) = self._scored([(replace(prefix, turns=()), prefix.turns)])
        transcript = self._empty(prefix.question)
        opening = list(takewhile(lambda turn: not turn.said, turns))
        transcript = self._settled(transcript, opening or self._opening([transcript])[0])
        for number, turn in enumerate(turns):
            if transcript.is_complete:
                break
            if not turn.said:  # heard with what was said before it
                continue
            expected = self.due(transcript)[0]
            if turn.seat != expected:
                raise UserValueError(f"the transcript's turn {number} is by {tuple(turn.seat)}, not {tuple(expected)}.")
            before = transcript
            transcript = self._append(transcript, [turn])
            scores = prefix.team_scores[: transcript.completed_rounds]
            (transcript,) = self._closed([replace(transcript, team_scores=scores)])
            if self._begins_wave(before, [turn], transcript):
                given = list(takewhile(lambda later: not later.said, turns[number + 1 :]))
                transcript = self._settled(transcript, given or self._outside([transcript])[0])
        if transcript.is_complete:
            raise UserValueError(
                f"the transcript has {len(prefix.turns)} turns, but after {len(transcript.turns)} nobody is left to speak; "
                "give a shorter one."
            )
        return transcript

    def longest(self, question: Question | None) -> Iterator[tuple[Transcript, Seat]]:
        """Every message of the longest possible discussion: what was said before it, and from which seat it is said.

        Nothing is scored, and what the task says from outside is the longest that it may say. Everybody answers something else, longer
        than most answers, so that no protocol ends the discussion early or has little to tell. Without a question nobody outside says
        anything.
        """
        transcript = self._empty(Question("", "")) if question is None else self.start(question)
        while due := self.due(transcript):
            said = []
            for seat in due:
                yield transcript, seat
                disagreeing = Score(0.0, None, answer=f"{seat.agent} said ".ljust(20, "7"))
                said.append(Turn(*seat, "", disagreeing))
            before, transcript = transcript, self._append(transcript, said)
            if self._begins_wave(before, said, transcript):
                (turns,) = [()] if question is None else self._outside([transcript], longest=True)
                transcript = self._settled(transcript, turns)

    @property
    def waves(self) -> list[list[Seat]]:
        """Who speaks in each wave of the longest possible discussion."""
        longest = self.longest(None)
        return [[seat for _, seat in wave] for _, wave in groupby(longest, key=lambda said: len(said[0].turns))]

    def _scored(self, said: Sequence[Said]) -> list[list[Turn]]:
        """The turns of each discussion; those that the protocol scores and that have no score get one, equal answers one spelling."""
        result = [list(turns) for _, turns in said]
        lacking = [
            (n, i)
            for n, turns in enumerate(result)
            for i, turn in enumerate(turns)
            if turn.said and turn.score is None and turn.truth is None and self.protocol.scored(turn.agent, turn.round)
        ]
        # Joint actions share turns: each is scored once.
        distinct = {(id(said[n][0].question), id(result[n][i])): (n, i) for n, i in lacking}
        messages = [as_sampled(result[n][i]) for n, i in distinct.values()]
        verdicts = self.verifiers.score([said[n][0].question for n, _ in distinct.values()], messages)
        found = dict(zip(distinct, verdicts, strict=True))
        for n, i in lacking:
            result[n][i] = result[n][i].scored(*found[id(said[n][0].question), id(result[n][i])])
        same = self.verifiers.equivalent
        spelled = [as_first_said(before.turns, turns, same) for (before, _), turns in zip(said, result, strict=True)]
        return [self._credited(before, turns) for (before, _), turns in zip(said, spelled, strict=True)]

    def _credited(self, before: Transcript, turns: Sequence[Turn]) -> list[Turn]:
        """Messages that no verifier scores have the score that the protocol gives them."""
        result = list(turns)
        for i, turn in enumerate(result):
            if turn.said and turn.score is None and turn.truth is None:
                known = replace(before, turns=(*before.turns, *result[:i]))
                result[i] = one(self.protocol, "credited", self.protocol.credited(known, turn), Turn)
        return result

    def _append(self, transcript: Transcript, turns: Sequence[Turn]) -> Transcript:
        """The discussion with some turns more; who is due after them decides which rounds are over."""
        if not turns:
            return transcript
        said = (turn.after(transcript.heard if turn.said else len(transcript.turns)) for turn in turns)
        longer = replace(transcript, turns=(*transcript.turns, *said))
        if due := self.protocol.due(longer):
            return replace(longer, completed_rounds=due[0].round)
        done = 1 + max((turn.round for turn in longer.turns if turn.said), default=-1)
        return replace(longer, completed_rounds=done, ended=done < longer.num_rounds, heard=len(longer.turns))

    def _begins_wave(self, before: Transcript, said: Sequence[Turn], after: Transcript) -> bool:
        """Whether a wave is over: all who were due together have spoken, and others are due next. Feedback comes in between."""
        due = self.due(after)
        waiting = {*self.due(before)} - {turn.seat for turn in said}
        return bool(due) and waiting.isdisjoint(due)

    def _closed(self, transcripts: Sequence[Transcript]) -> list[Transcript]:
        """The discussions with the team verdicts that they lack: on each round that is over, or on the whole if that is."""
        result = list(transcripts)
        if self.verifiers.scores_rounds:
            lacking = [(n, r) for n, t in enumerate(result) for r in range(len(t.team_scores), t.completed_rounds)]
            spoken = [(result[n], r) for n, r in lacking if result[n].round(r)]
            scores = iter(self.verifiers.score_rounds(spoken))
            for n, r in lacking:
                score = next(scores) if result[n].round(r) else Score(0.0, None, explanation="nobody spoke")
                result[n] = replace(result[n], team_scores=(*result[n].team_scores, score))
        elif self.verifiers.scores_discussions:
            over = [n for n, t in enumerate(result) if t.is_complete and t.verdict is None]
            verdicts = self.verifiers.score_discussions([result[n] for n in over])
            for n, verdict in zip(over, verdicts, strict=True):
                result[n] = replace(result[n], verdict=verdict)
        return result


def _numbers(given: object) -> list[float] | None:
    """`given` as numbers, if it is some."""
    if not isinstance(given, Iterable) or isinstance(given, str):
        return None
    rewards = list(given)
    return [float(reward) for reward in rewards] if all(isinstance(r, Real) for r in rewards) else None

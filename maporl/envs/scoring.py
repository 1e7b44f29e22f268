"""Who judges: `verifier` (what is rewarded), `ground_truth` (what is true) and `team_verifier` (rounds as a whole)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from maporl.envs.protocols import Protocol
from maporl.registry import build, load
from maporl.settings import parameters
from maporl.types import Question, Score, Transcript

__all__ = ["Judges", "Message", "Verdict", "build_judges"]

Message = tuple[Transcript, str, str]  # (the discussion so far, who speaks next, what is said)
Verdict = tuple[Score | None, Score | None]  # (verifier's score, ground truth)


def _build_verifier(spec: Any, own: Any = None) -> Any:
    """A verifier from a word, a mapping, ``package.module:Class``, a class, an instance, or any function.

    One that is made around another, its argument `verifier`, is made around `own` unless it says around which.
    """
    if spec is None:
        return None
    word = spec.get("name") if isinstance(spec, Mapping) else spec
    around = own is not None and isinstance(word, str | type) and "verifier" in parameters(load("verifier", word))
    verifier = build("verifier", spec, **({"verifier": own} if around else {}))
    if not callable(verifier):
        raise TypeError(f"verifier {spec!r} cannot be called; give a Verifier, its word, or a function.")
    if hasattr(verifier, "rule_based"):
        return verifier
    from maporl.envs.verifiers import Function  # here, because verifiers may import heavy parsers

    return Function(verifier)


def _build_team_verifier(spec: Any) -> Callable[[Question, Mapping[str, str]], Score] | None:
    """A team verifier from ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance or a function."""
    verifier = None if spec is None else build("verifier", spec)
    if verifier is not None and not callable(verifier):
        raise TypeError(f"team_verifier {spec!r} cannot be called; give a TeamVerifier or a function.")
    return verifier


@dataclass(frozen=True)
class Judges:
    """The three slots, any of which may be None (nobody judges that)."""

    verifier: Any
    ground_truth: Any
    team_verifier: Any

    def score_batch(self, protocol: Protocol, messages: Sequence[Message]) -> list[Verdict]:
        """Verdicts on many messages, each verifier called once.

        Returns:
            (score, truth) per message: both None for one that the protocol does not score, and one and the same `Score`
            where the verifier is the ground truth.
        """
        scored = [n for n, (t, agent, _) in enumerate(messages) if protocol.scored(agent, t.completed_rounds)]
        verdicts: list[Verdict] = [(None, None)] * len(messages)
        if not scored:
            return verdicts
        questions = [messages[n][0].question for n in scored]
        texts = [messages[n][2] for n in scored]

        def ask(judge: Any) -> Sequence[Score | None]:
            if judge is None:
                return [None] * len(scored)
            try:
                found: Sequence[Score | None] = judge.score_batch(questions, texts)
            except Exception as error:
                error.judge = judge  # type: ignore[attr-defined]  # whose failure it is, for those who can do without
                raise
            return found

        scores = ask(self.verifier)
        truths = scores if self.ground_truth is self.verifier else ask(self.ground_truth)
        for n, score, truth in zip(scored, scores, truths, strict=True):
            verdicts[n] = (score, truth)
        return verdicts

    def score_round(self, transcript: Transcript) -> Score:
        """The team verifier's verdict on the last completed round; a TypeError if it is no `Score`."""
        turns = transcript.round(transcript.completed_rounds - 1)
        score = self.team_verifier(transcript.question, {turn.agent: turn.text for turn in turns})
        if not isinstance(score, Score):
            raise TypeError(f"team verifier {self.team_verifier!r} returned {score!r}; it must return a Score.")
        return score

    def check_gold(self, question: Question) -> None:
        """Raise a ValueError if a judge cannot read the question's gold answer."""
        for judge in self.all:
            if hasattr(judge, "check_gold"):
                judge.check_gold(question)

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        for judge in self.all:
            if hasattr(judge, "prepare"):
                judge.prepare()

    def seen_questions(self) -> frozenset[str]:
        """Hashes of the questions that a judge was fitted to (see `Verifier.seen_questions`)."""
        known = [judge.seen_questions() for judge in self.all if hasattr(judge, "seen_questions")]
        return frozenset().union(*known)

    @property
    def all(self) -> tuple[Any, ...]:
        """Those that are there, each once."""
        slots = (self.verifier, self.ground_truth, self.team_verifier)
        return tuple({id(judge): judge for judge in slots if judge is not None}.values())

    @property
    def equivalent(self) -> Callable[[str, str], bool] | None:
        """Whether two canonical answers are one vote; None where nobody says."""
        return getattr(self.verifier if self.ground_truth is None else self.ground_truth, "equivalent", None)


def build_judges(verifier: Any, ground_truth: Any, team_verifier: Any, task_verifier: Any) -> Judges:
    """The slots from their specifications.

    The verifier defaults to the task's own, which is also what one such as "noisy" is made around unless it says around which. The
    ground truth defaults to the verifier if that is rule-based (not learned), else to the task's own if that is, else nobody knows
    the truth.

    Raises:
        TypeError: A specification is nothing that can be called.
        ValueError: Unknown word.
    """
    default = _build_verifier(task_verifier)
    rewarding = default if verifier is None else _build_verifier(verifier, own=default)
    truth = _build_verifier(ground_truth, own=default)
    if truth is None:
        truth = next((judge for judge in (rewarding, default) if judge is not None and judge.rule_based), None)
    return Judges(rewarding, truth, _build_team_verifier(team_verifier))

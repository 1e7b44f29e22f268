"""What scores: `verifier` (what is rewarded), `ground_truth` (what is true) and `team_verifier` (rounds as a whole)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from maporl.envs.merged_metrics import merged_metrics
from maporl.envs.verifiers.verifier import (
    TranscriptVerifier,
    VerifierFailed,
    VerifierRefused,
    VerifierUnavailable,
    judged,
    scores_of,
)
from maporl.errors import UserError, UserTypeError, UserValueError
from maporl.hooks import misreturned
from maporl.registry import build, load
from maporl.settings import parameters
from maporl.types import Completion, Question, Score, Transcript

__all__ = ["Verdict", "Verifiers", "build_verifiers", "check_scored"]

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
        raise UserTypeError(f"verifier {spec!r} cannot be called; give a Verifier, its word, or a function.")
    if hasattr(verifier, "rule_based"):
        return verifier
    from maporl.envs.verifiers import Function  # here, because verifiers may import heavy parsers

    return Function(verifier)


def _build_team_verifier(spec: Any) -> Any:
    """A team verifier from ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance or a function."""
    verifier = None if spec is None else build("verifier", spec)
    if not (verifier is None or callable(verifier) or hasattr(verifier, "score_batch")):
        raise UserTypeError(f"team_verifier {spec!r} cannot be called; give a TeamVerifier or a function.")
    return verifier


@dataclass(frozen=True)
class Verifiers:
    """The three slots, any of which may be None (nobody judges that).

    Every method takes what is to be judged of any number of discussions, and asks each verifier once.
    """

    verifier: Any
    ground_truth: Any
    team_verifier: Any

    def score(self, questions: Sequence[Question], said: Sequence[Completion]) -> list[Verdict]:
        """(score, truth) of each message: one and the same `Score` where the verifier is the ground truth.

        Raises:
            VerifierFailed: A verifier raised an error of its own.
        """
        if not said:
            return []
        scores = _ask(self.verifier, questions, said)
        truths = scores if self.ground_truth is self.verifier else _ask(self.ground_truth, questions, said)
        return list(zip(scores, truths, strict=True))

    @property
    def scores_rounds(self) -> bool:
        """Whether the team verifier judges round by round."""
        return self.team_verifier is not None and not self.scores_discussions

    @property
    def scores_discussions(self) -> bool:
        """Whether the team verifier judges whole discussions."""
        return isinstance(self.team_verifier, TranscriptVerifier)

    def score_rounds(self, rounds: Sequence[tuple[Transcript, int]]) -> list[Score]:
        """The team verifier's verdicts on rounds, (discussion, round) each.

        Raises:
            VerifierFailed: As `score`; also where it returns no `Score`.
        """
        responses = [{turn.agent: turn.text for turn in t.round(index)} for t, index in rounds]
        return _ask_team(self.team_verifier, [t.question for t, _ in rounds], responses)

    def score_discussions(self, transcripts: Sequence[Transcript]) -> list[Score]:
        """The team verifier's verdicts on finished discussions; raises as `score_rounds`."""
        return _ask_team(self.team_verifier, transcripts)

    def check_gold(self, question: Question) -> None:
        """Raise a ValueError if a verifier cannot read the question's gold answer."""
        for verifier in self.all:
            if hasattr(verifier, "check_gold"):
                verifier.check_gold(question)

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        for verifier in self.all:
            if hasattr(verifier, "prepare"):
                verifier.prepare()

    def begin(self, iteration: int, num_iterations: int) -> None:
        """See `Verifier.begin`."""
        for verifier in self.all:
            if hasattr(verifier, "begin"):
                verifier.begin(iteration, num_iterations)

    def metrics(self) -> dict[str, float]:
        """See `Verifier.metrics`; each as ``verifier/name``."""
        found = merged_metrics(verifier.metrics() for verifier in self.all if hasattr(verifier, "metrics"))
        return {f"verifier/{name}": value for name, value in found.items()}

    def seen_questions(self) -> frozenset[str]:
        """Hashes of the questions that a verifier was fitted to (see `Verifier.seen_questions`)."""
        known = [verifier.seen_questions() for verifier in self.all if hasattr(verifier, "seen_questions")]
        return frozenset().union(*known)

    @property
    def all(self) -> tuple[Any, ...]:
        """Those that are there, each once."""
        slots = (self.verifier, self.ground_truth, self.team_verifier)
        return tuple({id(slot): slot for slot in slots if slot is not None}.values())

    @property
    def equivalent(self) -> Callable[[str, str], bool] | None:
        """Whether two canonical answers are one vote; None where nobody says."""
        return getattr(self.verifier if self.ground_truth is None else self.ground_truth, "equivalent", None)


def _ask(verifier: Any, questions: Sequence[Question], said: Sequence[Completion]) -> Sequence[Score | None]:
    if verifier is None:
        return [None] * len(said)
    with _failing(verifier):
        return judged(verifier, questions, said)


def _ask_team(verifier: Any, *columns: Sequence[Any]) -> list[Score]:
    if not columns[0]:
        return []
    with _failing(verifier):
        if hasattr(verifier, "score_batch"):
            scores = verifier.score_batch(*columns)
        else:
            scores = [verifier(*row) for row in zip(*columns, strict=True)]
        return scores_of(verifier, scores, len(columns[0]))


@contextmanager
def _failing(verifier: Any) -> Iterator[None]:
    """Errors within the block are the verifier's own."""
    try:
        yield
    except VerifierUnavailable as error:
        error.verifier = verifier
        raise
    except Exception as error:
        if isinstance(error, UserError):
            raise VerifierRefused(str(error), verifier) from error
        raise VerifierFailed(f"{type(error).__name__}: {error}", verifier) from error


def build_verifiers(
    verifier: Any, ground_truth: Any, team_verifier: Any, task_verifier: Any, task_team_verifier: Any = None
) -> Verifiers:
    """The slots from their specifications.

    The verifier and the team verifier default to the task's own; its verifier is also what one such as "noisy" is made around unless it
    says around which. The ground truth defaults to the verifier if that is rule-based (not learned), else to the task's own if that is,
    else nobody knows the truth.

    Raises:
        TypeError: A specification is nothing that can be called.
        ValueError: Unknown word.
    """
    default = _build_verifier(task_verifier)
    rewarding = default if verifier is None else _build_verifier(verifier, own=default)
    truth = _build_verifier(ground_truth, own=default)
    if truth is None:
        truth = next((one for one in (rewarding, default) if one is not None and one.rule_based), None)
    return Verifiers(
        rewarding, truth, _build_team_verifier(task_team_verifier if team_verifier is None else team_verifier)
    )


def check_scored(task: str, verifiers: Verifiers, shaping: Any, protocol: Any) -> None:
    """Raise a ValueError if nobody scores what the shaping or the protocol reads: every reward would silently be 0."""
    if shaping.needs_team_verifier and verifiers.team_verifier is None:
        raise UserValueError(f"shaping {shaping!r} reads the team's score; pass team_verifier=.")
    if verifiers.verifier is None and not shaping.needs_team_verifier:
        raise UserValueError(f"{task} has no verifier; set default_verifier in the class or pass verifier=.")
    if verifiers.verifier is None and protocol.reads_scores:
        raise UserValueError(f"{protocol!r} reads the scores of messages; pass verifier=, which gives them.")


def own_verifiers(env: Any) -> tuple[Any, Any]:
    """The verifier and the team verifier of a task itself.

    Raises:
        TypeError: Its `own_verifiers` does not return two.
    """
    found = env.own_verifiers()
    if not (isinstance(found, tuple) and len(found) == 2):
        raise misreturned(env, "own_verifiers", found, "(verifier, team verifier), None for one that there is not")
    return found

"""The two slots that judge a message: `verifier` (what is rewarded) and `ground_truth` (what is true)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from maporl.registry import build
from maporl.types import Question, Score

if TYPE_CHECKING:
    from maporl.envs.discussion import DiscussionEnv

__all__ = ["build_team_verifier", "build_verifier", "ground_truth_for", "score_batch", "score_team"]


def build_verifier(spec: Any) -> Any:
    """A verifier from a word, a mapping, ``package.module:Class``, a class, an instance, or any function.

    A function ``(question, response) -> bool | float | Score`` becomes a `Function` verifier. None stays None.

    Raises:
        TypeError: The specification is nothing that can be called.
        ValueError: Unknown word.
    """
    if spec is None:
        return None
    verifier = build("verifier", spec)
    if not callable(verifier):
        raise TypeError(f"verifier {spec!r} cannot be called; give a Verifier, its word, or a function.")
    if hasattr(verifier, "rule_based"):
        return verifier
    from maporl.envs.verifiers import Function  # here, because verifiers may import heavy parsers

    return Function(verifier)


def build_team_verifier(spec: Any) -> Any:
    """A team verifier from ``{"name": ..., **arguments}``, ``package.module:Class``, a class, an instance or a function
    ``(question, {agent: response}) -> Score``. None stays None."""
    if spec is None:
        return None
    verifier = build("verifier", spec)
    if not callable(verifier):
        raise TypeError(f"team_verifier {spec!r} cannot be called; give a TeamVerifier or a function.")
    return verifier


def ground_truth_for(verifier: Any, task_default: Any) -> Any:
    """The ground truth when none is named: the verifier if it is rule-based, else the task's own if that is, else None."""
    for candidate in (verifier, task_default):
        if candidate is not None and candidate.rule_based:
            return candidate
    return None


Request = tuple["DiscussionEnv", str, str]
Verdict = tuple[Score | None, Score | None]


def score_batch(requests: Sequence[Request]) -> list[Verdict]:
    """Scores for many messages at once, each verifier called once for all the discussions that share it.

    Args:
        requests: (environment, agent, text), where `agent` speaks `text` in the round in progress of that environment.

    Returns:
        (score, truth) per request, what ``env.advance(text, score, truth)`` takes: both None for a message that the
        protocol does not score, and one and the same `Score` where the verifier is the ground truth.
    """
    wanted = [
        index
        for index, (env, agent, _) in enumerate(requests)
        if env.protocol.scored(agent, env.transcript.completed_rounds)
    ]
    scores = _in_slot(requests, wanted, lambda env: env.verifier)
    apart = [index for index in wanted if requests[index][0].ground_truth is not requests[index][0].verifier]
    truths = {**scores, **_in_slot(requests, apart, lambda env: env.ground_truth)}
    return [(scores.get(index), truths.get(index)) for index in range(len(requests))]


def _in_slot(
    requests: Sequence[Request], wanted: Sequence[int], slot: Callable[[DiscussionEnv], Any]
) -> dict[int, Score | None]:
    """Place -> score by the verifier in `slot`, one batch per distinct verifier; None where the slot is empty."""
    scores: dict[int, Score | None] = dict.fromkeys(wanted)
    batches: dict[int, list[int]] = {}
    for index in wanted:
        if slot(requests[index][0]) is not None:
            batches.setdefault(id(slot(requests[index][0])), []).append(index)
    for indices in batches.values():
        verifier = slot(requests[indices[0]][0])
        questions = [requests[index][0].transcript.question for index in indices]
        verdicts = verifier.score_batch(questions, [requests[index][2] for index in indices])
        scores.update(zip(indices, verdicts, strict=True))
    return scores


def score_team(verifier: Any, question: Question, responses: Mapping[str, str]) -> Score:
    """The team verifier's verdict on one round; a TypeError if it is no `Score`."""
    score = verifier(question, responses)
    if not isinstance(score, Score):
        raise TypeError(f"team verifier {verifier!r} returned a {type(score).__name__}; it must return a Score.")
    return score

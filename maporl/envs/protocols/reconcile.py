"""ReConcile: a round table where everybody says how sure it is, until all agree, and surer answers count more."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from maporl.envs.protocols.base import Debate
from maporl.envs.team_answer import TeamAnswer, answer_of, confidence, last_round, weighted
from maporl.types import Transcript, Turn

__all__ = ["ReConcile", "recalibrated"]

TALLY = "tally"
"""Under whose name the count of a round's answers is shown; no agent's."""

_ASK = 'Just before your final answer, say how sure of it you are, from 0 to 1, in the form "Confidence: 0.8".'
_LONGEST = 80  # characters of an answer that the tally repeats


class ReConcile(Debate):
    """Simultaneous debate with stated confidences (Chen et al. 2309.13007).

    Everybody is asked for its confidence. After each round all are shown who answered the same and how sure they were (feedback
    under the name "tally"; it counts the answers that the verifier found in the messages, not whether they are right). The
    discussion ends after a round in which all agree, and the team answers by a vote weighted with `recalibrated` confidences.

    Args:
        num_rounds: The first round, where each is on its own, and those of discussion: the paper's R + 1.
        history: As in `Protocol`; "last_round" shows the tally of the last round only.
        show_scores: As in `Protocol`; a tally has none.
    """

    name = "reconcile"

    def __init__(self, num_rounds: int = 2, history: str = "all", show_scores: bool = False) -> None:
        super().__init__(num_rounds, history, stop="consensus", show_scores=show_scores)

    def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        return [
            (Turn(TALLY, t.completed_rounds - 1, tally(last_round(t)), kind="feedback"),) if t.completed_rounds else ()
            for t in transcripts
        ]

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        return f"{instruction} {_ASK}".strip()

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        return weighted(transcript, lambda turn: recalibrated(confidence(turn.text)), equivalent)


def recalibrated(stated: float | None) -> float:
    """The weight of an answer of this confidence: language models are too sure of themselves (ReConcile, section 4)."""
    if stated is None or stated <= 0.6:
        return 0.1
    if stated >= 1:
        return 1.0
    return 0.8 if stated >= 0.9 else 0.5 if stated >= 0.8 else 0.3


def tally(turns: Sequence[Turn]) -> str:
    """How many gave each answer and how sure they were, in the order in which answers were first given."""
    groups: dict[str | None, list[Turn]] = {}
    for turn in turns:
        groups.setdefault(answer_of(turn), []).append(turn)
    silent = groups.pop(None, [])
    parts = [
        f'{len(given)} of {len(turns)} answered "{_short(answer)}" (confidence {", ".join(map(_sure, given))})'
        for answer, given in groups.items()
    ]
    if silent:
        parts.append(f"{len(silent)} of {len(turns)} gave no answer")
    return "; ".join(parts) + "."


def _sure(turn: Turn) -> str:
    stated = confidence(turn.text)
    return "not stated" if stated is None else f"{stated:g}"


def _short(answer: str | None) -> str:
    text = " ".join(str(answer).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 3] + "..."

"""The measures of scores (`Score.measures`) in whole discussions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from maporl.types import Score, Transcript

__all__ = ["mean_measures"]


def mean_measures(transcripts: Iterable[Transcript]) -> dict[str, float]:
    """The mean of every measure that the last word has in discussions: the verdict on the whole, else the team's score of the last
    round, else the mean over the messages that stand then. Of those that have it; {} if none has any."""
    found: dict[str, list[float]] = defaultdict(list)
    for transcript in transcripts:
        scores = _last(transcript)
        for name in dict.fromkeys(name for score in scores for name in score.measures):
            found[name].append(float(np.mean([s.measures[name] for s in scores if name in s.measures])))
    return {name: float(np.mean(values)) for name, values in sorted(found.items())}


def _last(transcript: Transcript) -> Sequence[Score]:
    if transcript.verdict is not None:
        return [transcript.verdict]
    if transcript.team_scores:
        return transcript.team_scores[-1:]
    standing = transcript.standing(transcript.completed_rounds - 1)
    return [score for turn in standing if (score := turn.truth or turn.score) is not None]

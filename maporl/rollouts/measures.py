"""The measures of scores, as metrics."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maporl.types import Episode

__all__ = ["mean_measures"]


def mean_measures(episodes: Sequence[Episode], prefix: str) -> dict[str, float]:
    """``{prefix}/measure/{name}`` -> its mean over the scores (of messages, rounds and discussions) that have it."""
    found: dict[str, list[float]] = {}
    for transcript in (episode.transcript for episode in episodes):
        for score in (*(turn.score for turn in transcript.turns), *transcript.team_scores, transcript.verdict):
            for name, value in score.measures.items() if score is not None else ():
                found.setdefault(name, []).append(value)
    return {f"{prefix}/measure/{name}": float(np.mean(values)) for name, values in sorted(found.items())}

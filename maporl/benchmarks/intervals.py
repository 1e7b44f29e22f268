"""How sure a figure is. Question-level: the same questions drawn again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["clustered_interval"]


def clustered_interval(
    values: Sequence[Sequence[float]], *, level: float = 0.95, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of a mean, clustered by question.

    Args:
        values: One sequence a question: everything measured on it (samples, seats), which is drawn together.
        level: Of confidence.
        draws: Bootstrap samples.
        seed: Of the bootstrap.

    Returns:
        Lower and upper end.
    """
    sums = np.array([float(np.sum(v)) for v in values])
    counts = np.array([len(v) for v in values])
    picked = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[picked].sum(1) / counts[picked].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

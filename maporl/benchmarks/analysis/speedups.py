"""How much faster than the originals a method's programs are."""

from __future__ import annotations

from typing import Any

from maporl.benchmarks.analysis.outcomes import Measured, mean_of_known
from maporl.envs.protocols.lesson_bank import speedup_metrics

__all__ = ["speedups"]


def speedups(measured: Measured) -> dict[str, Any] | None:
    """What the speed-ups of a method's answers come to.

    Returns:
        None where no verifier measures them, else, means over seeds, the keys of `lesson_bank.speedup_metrics`, and seeds
        [{seed, those keys}].
    """
    seeds = {run.seed: speedup_metrics(run.speedups) for run in measured.runs if run.speedups}
    if not seeds:
        return None
    names = next(iter(seeds.values()))
    means = {name: mean_of_known(figures[name] for figures in seeds.values()) for name in names}
    return {**means, "seeds": [{"seed": seed, **figures} for seed, figures in seeds.items()]}

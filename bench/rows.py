"""A figure of the speed benchmark with its spread, and how figures are taken: alternately, so that a busy moment meets every side."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Row", "each", "interleaved", "of", "ratio", "timed"]


@dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        section: The section that measured it.
        name: What was measured.
        value: The median over repetitions.
        low, high: The smallest and the largest repetition.
        unit: "tokens/s", "s", "x" (a ratio: ours is better above 1 unless the name says otherwise), "MB", "share" ...
        target: What is to be reached, ">= 3" or "<= 1.2"; None for a figure that stands for itself.
        reached: Whether `value` meets `target`; worked out if left None.
        note: One line on what was equal and what was not.

    Raises:
        ValueError: A target that is neither.
    """

    section: str
    name: str
    value: float
    low: float
    high: float
    unit: str
    target: str | None = None
    reached: bool | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if self.target is None:
            return
        found = re.fullmatch(r"(>=|<=) ?(\d*\.?\d+)", self.target)
        if not found:
            raise ValueError(f"target {self.target!r} of {self.name!r} is no bound; write '>= 3' or '<= 1.2'.")
        if self.reached is None:
            bound = float(found[2])
            object.__setattr__(self, "reached", self.value >= bound if found[1] == ">=" else self.value <= bound)


def of(
    section: str, name: str, series: Sequence[float] | float, unit: str, target: str | None = None, note: str = ""
) -> Row:
    """The row of a series of repetitions, its median and range; or of a single figure."""
    series = [series] if isinstance(series, int | float) else series
    return Row(section, name, statistics.median(series), min(series), max(series), unit, target, note=note)


def each(
    section: str, what: str, series: Mapping[str, Sequence[float] | float], unit: str, note: str = ""
) -> list[Row]:
    """A row "WHAT: SIDE" for every side of a comparison."""
    return [of(section, f"{what}: {side}", values, unit, note=note) for side, values in series.items()]


def ratio(
    section: str,
    name: str,
    upper: Sequence[float],
    lower: Sequence[float],
    target: str | None = None,
    note: str = "",
    unit: str = "x",
) -> Row:
    """How many times `upper` is `lower`: the median and range of the ratios of repetitions that were taken next to each other.

    For rates put ours above; for seconds put ours below.

    Raises:
        ValueError: Series of different lengths, or empty ones.
    """
    if len(upper) != len(lower) or not upper:
        raise ValueError(
            f"{name}: {len(upper)} and {len(lower)} repetitions cannot be paired; measure both sides alike."
        )
    return of(section, name, [u / v for u, v in zip(upper, lower, strict=True)], unit, target, note)


def interleaved(steps: Mapping[str, Callable[[], float]], repetitions: int) -> dict[str, list[float]]:
    """What each step returns, `repetitions` times, the steps taken in turn; a first round warms up and is dropped.

    Raises:
        ValueError: No repetition.
    """
    if repetitions < 1:
        raise ValueError(f"repetitions is {repetitions}; measure at least once.")
    series: dict[str, list[float]] = {name: [] for name in steps}
    for repetition in range(repetitions + 1):
        for name, step in steps.items():
            value = step()
            if repetition:
                series[name].append(value)
    return series


def timed(work: Callable[[], object], synchronize: Callable[[], None] | None = None) -> float:
    """Seconds of wall clock that `work` takes; `synchronize` waits for a device's queue before either reading."""
    if synchronize:
        synchronize()
    began = time.perf_counter()
    work()
    if synchronize:
        synchronize()
    return time.perf_counter() - began

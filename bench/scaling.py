"""How rollout and update grow with discussions, agents, rounds, group size, length of messages and size of the vocabulary.

One of them moves at a time, the others stay as in `BASE`. Rollout and update are timed apart, all points of an axis in turn.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.rows import Row, interleaved, of, ratio
from bench.settings import GEOMETRIES, Settings
from bench.workload import Workload, make_large_vocabulary, make_talkative, rewarded, tokens_of
from maporl.agents import Policy
from maporl.threads import torch_settings
from maporl.types import Episode

__all__ = ["AXES", "BASE", "axis_rows", "rows"]

SECTION = "scaling"

BASE: Mapping[str, int] = {"discussions": 64, "num_agents": 2, "num_rounds": 1, "group_size": 8, "new_tokens": 16}

AXES: Mapping[str, Sequence[int]] = {
    "discussions": (16, 64, 256, 1024),
    "num_agents": (1, 2, 4, 8),
    "num_rounds": (1, 2, 3, 4),
    "group_size": (2, 4, 8, 16),
    "new_tokens": (16, 32, 64, 128),
    "vocab_size": (320, 4096, 32000, 151936),
}


def rows(settings: Settings) -> list[Row]:
    """Seconds and tokens per second at every point, and what 1,024 discussions cost beside 256."""
    result = []
    for axis, points in AXES.items():
        result += axis_rows(settings, axis, points[:2] if settings.quick else points)
    return result


def axis_rows(settings: Settings, axis: str, points: Sequence[int]) -> list[Row]:
    """The rows of one axis at these points."""
    base = dict(BASE) | ({"discussions": 16} if settings.quick or axis == "vocab_size" else {})
    with tempfile.TemporaryDirectory() as scratch:
        workloads = {}
        for point in points:
            folder = Path(scratch) / str(point)
            sizes = base | ({} if axis == "vocab_size" else {axis: point})
            workloads[point] = Workload.build(_policy(settings, axis, point, folder), settings, **sizes)
    measured = {point: _Point(settings, workload) for point, workload in workloads.items()}
    steps = {f"rollout {n}": one.rollout for n, one in measured.items()}
    steps |= {f"update {n}": one.update for n, one in measured.items()}
    with torch_settings(next(iter(workloads.values())).config):
        series = interleaved(steps, settings.repetitions)
    result = []
    for n, one in measured.items():
        tokens = one.tokens[1:]  # the first was the warm-up
        for what in ("rollout", "update"):
            seconds = series[f"{what} {n}"]
            rates = [count / s for count, s in zip(tokens, seconds, strict=True)]
            result.append(of(SECTION, f"{axis} {n}, {what}", seconds, "s", note=f"{one}, {tokens[0]:,} tokens"))
            result.append(of(SECTION, f"{axis} {n}, {what}: tokens", rates, "tokens/s"))
    if axis == "discussions":
        for few, many in zip(points, points[1:], strict=False):
            lower, upper = (
                [a + b for a, b in zip(series[f"rollout {n}"], series[f"update {n}"], strict=True)] for n in (few, many)
            )
            target = "<= 4.2" if (few, many) == (256, 1024) else None
            result.append(ratio(SECTION, f"cost of {many:,} discussions over {few:,}", upper, lower, target))
    return result


def _policy(settings: Settings, axis: str, point: int, folder: Path) -> Policy:
    if axis == "vocab_size" and settings.made:
        sizes: dict[str, Any] = dict(GEOMETRIES[settings.geometry]) | {"vocab_size": 320}
        return make_large_vocabulary(folder, point, sizes, settings)
    return make_talkative(settings.policy(folder))


class _Point:
    """A point of an axis: its workload, the discussions that are to be learned from, and the tokens of every rollout."""

    def __init__(self, settings: Settings, workload: Workload) -> None:
        self.settings, self.workload = settings, workload
        self.episodes: list[Episode] = []
        self.tokens: list[int] = []

    def __str__(self) -> str:
        c = self.workload.config
        return f"{c.episodes_per_iteration} discussions x {c.num_agents} agents x {c.num_rounds} rounds"

    def rollout(self) -> float:
        seconds = self.settings.timed(self._sample)
        self.tokens.append(tokens_of(self.episodes))
        return seconds

    def update(self) -> float:
        return self.settings.timed(lambda: self.workload.algorithm.update(self.episodes))

    def _sample(self) -> None:
        self.episodes = rewarded(self.workload.sample(len(self.tokens)), self.settings.seed)

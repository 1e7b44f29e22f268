"""The two plots: learning from each start, and the basin of attraction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from examples.collaboration_game.experiment import Exact, Result
from examples.collaboration_game.training import CO_TRAIN, LEARNERS, TRAIN_ONE
from maporl.benchmarks.plots import LINES, STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["basin_plot", "learning_plot", "save"]

ALONE: dict[str, Any] = {"color": LINES[1], "linewidth": 1.2}
EXACT_ALONE: dict[str, Any] = {"color": LINES[1], "linewidth": 1.4, "linestyle": "--"}
EXACT_TOGETHER: dict[str, Any] = {"color": LINES[6], "linewidth": 1.4, "linestyle": "--"}
BEST_RESPONSE: dict[str, Any] = {"color": LINES[1], "marker": "<", "markersize": 7, "linestyle": ""}
BEFORE = 0.6
"""The place of update 0 on an axis that is a logarithm."""


def save(figure: Figure, path: Path) -> list[Path]:
    """As `path` with .png and .svg."""
    from matplotlib import rc_context

    written = []
    with rc_context(STYLE):
        for suffix, metadata in ((".png", {}), (".svg", {"Date": None})):
            written.append(path.with_suffix(suffix))
            figure.savefig(written[-1], dpi=200, metadata=metadata)
    return written


def learning_plot(results: Sequence[Result], exact: Sequence[Exact]) -> Figure:
    """Collaboration over training, one panel a start, every seed, with the exact gradient ascent dashed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    learners = list(dict.fromkeys(r.training.learner for r in results if r.training.mode == CO_TRAIN))
    looks: dict[str, dict[str, Any]] = {
        learner: {"color": LINES[2 * n], "linewidth": 2.6 - n} for n, learner in enumerate(learners)
    }
    with rc_context(STYLE):
        figure = Figure(figsize=(max(2.9 * len(exact), 6.0), 4.0), layout="constrained")
        panels = figure.subplots(1, len(exact), sharex=True, sharey=True, squeeze=False)[0]
        for axes, oracle in zip(panels, exact, strict=True):
            for training, points in results:
                if training.start == oracle.start:
                    look = ALONE if training.mode == TRAIN_ONE else looks[training.learner]
                    _course(axes, [(p.iteration, p.early_collaboration) for p in points], alpha=0.75, **look)
            _course(axes, oracle.together, **EXACT_TOGETHER)
            _course(axes, oracle.alone, **EXACT_ALONE)
            best = oracle.best_response.early_collaboration
            axes.plot(1.0, best, transform=axes.get_yaxis_transform(), clip_on=False, zorder=5, **BEST_RESPONSE)
            _style(axes, f"from p0 = {oracle.start:g}")
        panels[0].set_ylabel("collaboration, first half, before synergy")
        panels[len(panels) // 2].set_xlabel("updates; dashed: steps of exact gradient ascent at learning rate 1")
        handles = [
            *(Line2D([], [], label=f"co-train, {LEARNERS[name].title}", **look) for name, look in looks.items()),
            Line2D([], [], label="co-train, exact gradient", **EXACT_TOGETHER),
            Line2D([], [], label="train-one, IPPO or MAPPO", **ALONE),
            Line2D([], [], label="train-one, exact gradient", **EXACT_ALONE),
            Line2D([], [], label="best response to a partner at p0", **BEST_RESPONSE),
        ]
        figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


def _course(axes: Axes, points: Sequence[tuple[int, float]], **look: Any) -> None:
    """What was before training is shown where a logarithm can show it."""
    axes.plot([max(x, BEFORE) for x, _ in points], [y for _, y in points], **look)


def _style(axes: Axes, title: str) -> None:
    from matplotlib.ticker import FuncFormatter, NullLocator

    axes.set(xscale="log", ylim=(-0.03, 1.03), title=title)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid()


def basin_plot(results: Sequence[Result], exact_boundary: float | None) -> Figure:
    """Where co-training ends by where it begins, one panel a learner, every seed."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    learners = list(dict.fromkeys(r.training.learner for r in results))
    with rc_context(STYLE):
        rows = math.ceil(len(learners) / 2)
        figure = Figure(figsize=(8.5, 0.6 + 2.4 * rows), layout="constrained")
        panels = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, learner in zip(panels, learners, strict=False):
            _basin(axes, [r for r in results if r.training.learner == learner], exact_boundary)
            axes.set_title(LEARNERS[learner].title)
        for axes in panels[len(learners) :]:
            axes.set_axis_off()
        figure.supxlabel("p0, both agents' probability of collaborating at the beginning", fontsize=9)
        figure.supylabel("collaboration at the end, first half, before synergy", fontsize=9)
    return figure


def _basin(axes: Axes, results: Sequence[Result], exact_boundary: float | None) -> None:
    """Every seed's end, and a line through the means."""
    ends: dict[float, list[float]] = {}
    for training, points in results:
        ends.setdefault(training.start, []).append(points[-1].early_collaboration)
    starts = sorted(ends)
    axes.plot(starts, [float(np.mean(ends[start])) for start in starts], color=LINES[0], linewidth=1)
    for start in starts:
        beside = start + 0.005 * (np.arange(len(ends[start])) - (len(ends[start]) - 1) / 2)
        axes.plot(beside, ends[start], "o", color=LINES[0], markersize=3.5, alpha=0.7, clip_on=False)
    if exact_boundary is not None:
        axes.axvline(exact_boundary, color="#333", linewidth=1, linestyle="--")
        label, place = f"exact gradient: {exact_boundary:.3f}", (exact_boundary, 0.93)
        axes.annotate(label, place, (-4, 0), textcoords="offset points", ha="right", va="center", fontsize=8)
    axes.set(ylim=(-0.03, 1.03))
    axes.grid()

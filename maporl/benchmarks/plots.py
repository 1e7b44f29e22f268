"""The plots of a study as PNG and SVG files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maporl.benchmarks.across_runs import performance_profile
from maporl.benchmarks.summary import POOLED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["write_plots"]

Row = Mapping[str, Any]
LONE, TEAM, TRAINED, ORACLE = "#8a8f98", "#5b8db8", "#1f5f99", "#b8742a"


def write_plots(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Every plot that there are figures for: ``NAME.png`` and ``NAME.svg``.

    Args:
        figures: "summary" (rows), "curves" and "collaboration", as the study's page has them (`maporl.benchmarks.report.collect`).
        folder: Is made.

    Returns:
        The files.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, height, draw in _plots(figures):
        figure, axes = pyplot.subplots(figsize=(8.5, height), layout="constrained")
        draw(axes)
        axes.spines[["top", "right"]].set_visible(False)
        for suffix in ("png", "svg"):
            written.append(folder / f"{name}.{suffix}")
            figure.savefig(written[-1], dpi=150)
        pyplot.close(figure)
    return written


def _plots(figures: Mapping[str, Any]) -> Iterator[tuple[str, float, Callable[[Axes], None]]]:
    """(name, height in inches, what draws it)."""
    rows = [r for r in figures["summary"] if r["accuracy"] is not None]
    for task in dict.fromkeys(r["task"] for r in rows):
        mine, prefix = [r for r in rows if r["task"] == task], "".join(c if c.isalnum() else "_" for c in task)
        yield f"{prefix}_accuracy", 1.2 + 0.27 * len(mine), lambda axes, mine=mine: _accuracy(axes, mine)  # type: ignore[misc]
        yield f"{prefix}_cost", 5.0, lambda axes, mine=mine: _cost(axes, mine)  # type: ignore[misc]
        curves = [c for c in figures["curves"] if c["task"] == task]
        if curves:
            yield f"{prefix}_learning", 5.0, lambda axes, curves=curves: _learning(axes, curves)  # type: ignore[misc]
        talks = [c for c in figures["collaboration"] if c["task"] == task and len(c["metrics"]["rounds"]) > 1]
        if talks:
            yield f"{prefix}_rounds", 4.5, lambda axes, talks=talks: _rounds(axes, talks)  # type: ignore[misc]
    profiles = _profiles(rows)
    if profiles:
        yield "performance_profile", 4.5, lambda axes: _profile(axes, profiles)


def _colour(row: Row) -> str:
    return ORACLE if row["oracle"] else TRAINED if row["trained"] and row["team"] else TEAM if row["team"] else LONE


def _accuracy(axes: Axes, rows: Sequence[Row]) -> None:
    """Every method's mean, its interval over questions, and every run."""
    places = list(range(len(rows)))[::-1]
    for place, row in zip(places, rows, strict=True):
        axes.plot([row["low"], row["high"]], [place, place], color=_colour(row), linewidth=2, solid_capstyle="butt")
        axes.plot(row["accuracy"], place, "o", color=_colour(row), markersize=6)
        runs = [s["accuracy"] for s in row["seeds"]]
        if len(runs) > 1:
            axes.plot(runs, [place - 0.28] * len(runs), "|", color=_colour(row), markersize=6)
    names = [f"{r['method']}{' (ORACLE)' if r['oracle'] else ''}" for r in rows]
    axes.set_yticks(places, names, fontsize=8)
    axes.set(
        xlim=(0, 1.02),
        ylim=(-0.8, len(rows) - 0.3),
        xlabel="accuracy; line: 95 % over questions; ticks: every seed",
        title=rows[0]["task"],
    )
    axes.grid(axis="x", alpha=0.3)


def _cost(axes: Axes, rows: Sequence[Row]) -> None:
    """Accuracy against what a question costs, and the front that no other method beats."""
    rows = [r for r in rows if r["completion_tokens"]]
    cost = [r["completion_tokens"] + r["prompt_tokens"] for r in rows]
    for x, row in zip(cost, rows, strict=True):
        axes.errorbar(
            x,
            row["accuracy"],
            [[max(row["accuracy"] - row["low"], 0)], [max(row["high"] - row["accuracy"], 0)]],
            fmt="o",
            color=_colour(row),
            elinewidth=1,
            markersize=5,
        )
        axes.annotate(row["method"], (x, row["accuracy"]), xytext=(5, 3), textcoords="offset points", fontsize=7)
    front: list[tuple[float, float]] = []
    for x, row in sorted(zip(cost, rows, strict=True), key=lambda pair: (pair[0], -pair[1]["accuracy"])):
        if not row["oracle"] and (not front or row["accuracy"] > front[-1][1]):
            front.append((x, row["accuracy"]))
    axes.step(*zip(*front, strict=True), where="post", color="#bbb", linewidth=1, zorder=0)
    axes.set(xscale="log", xlabel="prompt and completion tokens a question", ylabel="accuracy", ylim=(0, 1.05))
    axes.set_title(rows[0]["task"])
    axes.grid(alpha=0.3)


def _learning(axes: Axes, curves: Sequence[Row]) -> None:
    """The last round's accuracy while sampling: every run thin, the mean over runs bold."""
    for number, method in enumerate(dict.fromkeys(c["method"] for c in curves)):
        runs = [_last_round(c["metrics"]) for c in curves if c["method"] == method]
        runs = [run for run in runs if run]
        for run in runs:
            axes.plot(*zip(*run, strict=True), color=f"C{number % 10}", linewidth=0.6, alpha=0.5)
        shared = sorted(set.intersection(*({x for x, _ in run} for run in runs))) if runs else []
        if shared:
            means = [float(np.mean([dict(run)[x] for run in runs])) for x in shared]
            axes.plot(shared, means, color=f"C{number % 10}", linewidth=2, label=method)
    axes.set(xlabel="iteration", ylabel="accuracy of the last round, while training", ylim=(0, 1.02))
    axes.set_title(curves[0]["task"])
    axes.legend(fontsize=7, frameon=False)
    axes.grid(alpha=0.3)


def _last_round(metrics: Mapping[str, Sequence[tuple[float, float]]]) -> list[tuple[float, float]]:
    names = [n for n in metrics if n.startswith("rollout/accuracy_round_")]
    return [(x, y) for x, y in metrics[max(names, key=lambda n: int(n.rsplit("_", 1)[1]))]] if names else []


def _rounds(axes: Axes, talks: Sequence[Row]) -> None:
    """The agents' mean accuracy, round by round."""
    for talk in talks:
        rounds = [r for r in talk["metrics"]["rounds"] if r["accuracy"] is not None]
        axes.plot([r["round"] + 1 for r in rounds], [r["accuracy"] for r in rounds], "o-", label=talk["method"])
    longest = max(len(t["metrics"]["rounds"]) for t in talks)
    axes.set(xlabel="round", ylabel="accuracy, mean over agents", ylim=(0, 1.02), xticks=range(1, longest + 1))
    axes.set_title(talks[0]["task"])
    axes.legend(fontsize=7, frameon=False)
    axes.grid(alpha=0.3)


def _profiles(rows: Sequence[Row]) -> dict[str, list[list[float]]]:
    """Runs of every task, of the methods that have enough of them."""
    tasks = list(dict.fromkeys(r["task"] for r in rows))
    found: dict[str, list[list[float]]] = {}
    for method in dict.fromkeys(r["method"] for r in rows):
        runs = [[s["accuracy"] for s in r["seeds"]] for r in rows if r["method"] == method]
        if len(runs) == len(tasks) and sum(map(len, runs)) >= POOLED and min(map(len, runs)) >= 3:
            found[method] = runs
    return found


def _profile(axes: Axes, profiles: Mapping[str, list[list[float]]]) -> None:
    """Share of runs above every accuracy (Agarwal et al. 2108.13264)."""
    thresholds = np.linspace(0, 1, 201)
    for method, runs in profiles.items():
        profile = performance_profile(runs, thresholds)
        (line,) = axes.step(thresholds, profile.share, label=method)
        axes.fill_between(thresholds, profile.low, profile.high, alpha=0.12, color=line.get_color(), step="pre")
    axes.set(xlabel="accuracy", ylabel="share of runs above it", title="all tasks and seeds", ylim=(0, 1.02))
    axes.legend(fontsize=7, frameon=False)
    axes.grid(alpha=0.3)

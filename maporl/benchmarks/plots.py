"""The plots of a study as PNG and SVG files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from maporl.benchmarks.across_runs import performance_profile
from maporl.benchmarks.summary import pooled_runs
from maporl.benchmarks.verifier_gap import PANELS, draw_gaps, gap_points

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["write_plots"]

Row = Mapping[str, Any]
Draw = Callable[["Figure"], None]
Spot = TypeVar("Spot")

ROLES = {  # hue: who answers; darkness: whether it was trained
    "lone agent, untrained": "#74c476",
    "lone agent, trained": "#1b7837",
    "vote of a lone agent": "#8a8f98",
    "team, untrained": "#6baed6",
    "team, trained": "#08519c",
    "ORACLE: an upper bound, no baseline": "#b8742a",
}
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
"""Told apart by colour-blind people too (Okabe and Ito 2008); black for their yellow."""
STYLES = ("-", "--", ":", "-.")
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.alpha": 0.3,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "maporl",  # the same figures, the same file
    "text.parse_math": False,  # a name may hold a dollar
}


def write_plots(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Every plot that there are figures for: ``NAME.png`` and ``NAME.svg``.

    Args:
        figures: "summary" (rows), "rounds" and "curves", as the study's page has them (`maporl.benchmarks.report.collect`).
        folder: Is made.

    Returns:
        The files.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name, that the font lacks: an SVG's reader has others
        for name, height, draw in _plots(figures):
            figure = Figure(figsize=(8.5, height), layout="constrained")
            draw(figure)
            for suffix, metadata in (("png", {}), ("svg", {"Date": None})):
                written.append(folder / f"{name}.{suffix}")
                figure.savefig(written[-1], dpi=200, metadata=metadata)
    return written


def _plots(figures: Mapping[str, Any]) -> Iterator[tuple[str, float, Draw]]:
    """(name, height in inches, what draws it)."""
    rows = [r for r in figures["summary"] if r["accuracy"] is not None]
    looks = _looks(figures["summary"])
    prefixes: dict[str, str] = {}
    for task in dict.fromkeys(r["task"] for r in rows):
        prefix = "".join(c if c.isalnum() or c in "-_" else "_" for c in task)[:80]
        prefixes[task] = prefix if prefix not in prefixes.values() else f"{prefix}_{len(prefixes)}"
        for name, height, draw in _plots_of(task, figures, looks):
            yield f"{prefixes[task]}_{name}", height, draw
    profiles = pooled_runs(figures["summary"])
    if profiles:
        yield "performance_profile", 4.5, lambda figure: _profile(figure.subplots(), profiles, looks)


def _plots_of(task: str, figures: Mapping[str, Any], looks: Mapping[str, Row]) -> Iterator[tuple[str, float, Draw]]:
    rows = [r for r in figures["summary"] if r["task"] == task and r["accuracy"] is not None]
    yield "accuracy", 1.3 + 0.23 * len(rows), lambda figure: _accuracy(figure.subplots(), rows)
    costly = [r for r in rows if r["completion_tokens"]]
    if costly:
        yield "cost", max(4.5, 1.0 + 0.18 * len(costly)), lambda figure: _cost(figure.subplots(), costly)
    curves = _trainings(task, figures, looks, _last_round)
    if any(curves.values()):
        yield "learning", 4.5, lambda figure: _learning(figure.subplots(), task, curves, looks)
    talks = {r["method"]: _rounds_of(r) for r in figures["rounds"] if r["task"] == task}
    if any(len(points) > 1 for points in talks.values()):
        untrained = {r["method"] for r in rows if not r["trained"]}
        yield "rounds", 4.5, lambda figure: _rounds(figure.subplots(), task, talks, untrained, looks)
    gaps = _trainings(task, figures, looks, lambda curve: gap_points(curve["metrics"]))
    shown = [(looks[method]["label"], runs) for method, runs in gaps.items() if runs]
    if shown:
        height = 1.2 + 2.2 * math.ceil(len(shown) / PANELS)
        yield "verifier_gap", height, lambda figure: draw_gaps(figure, task, shown)


def _trainings(
    task: str, figures: Mapping[str, Any], methods: Iterable[str], points_of: Callable[[Row], Sequence[Spot]]
) -> dict[str, list[Sequence[Spot]]]:
    """By method, the points of each of its trainings that has some."""
    runs: dict[str, list[Sequence[Spot]]] = {method: [] for method in methods}
    for curve in figures["curves"]:
        if curve["task"] == task and curve["method"] in runs and (points := points_of(curve)):
            runs[curve["method"]].append(points)
    return runs


def _looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Colour, line and label of every method, the same in all plots; those that are in most plots differ most."""
    order = sorted(rows, key=lambda r: (bool(r["matched"]), not (r["team"] or r["trained"])))
    labels = {r["method"]: _label(r) for r in order}
    return {
        method: {"color": LINES[n % len(LINES)], "linestyle": STYLES[n // len(LINES) % len(STYLES)], "label": label}
        for n, (method, label) in enumerate(labels.items())
    }


def _role(row: Row) -> str:
    if row["oracle"]:
        return "ORACLE: an upper bound, no baseline"
    if row["matched"] or row["method"].startswith("self_consistency"):
        return "vote of a lone agent"
    return f"{'team' if row['team'] else 'lone agent'}, {'trained' if row['trained'] else 'untrained'}"


def _mark(row: Row) -> dict[str, Any]:
    """How a method's mean is drawn: an upper bound is hollow."""
    colour = ROLES[_role(row)]
    return {"color": colour, "marker": "o", "markersize": 6, "markerfacecolor": "white" if row["oracle"] else colour}


def _label(row: Row) -> str:
    """Short enough for a plot; one that begins with an underscore would be no label to matplotlib."""
    method = row["method"]
    return f" {method if len(method) <= 40 else f'{method[:39]}…'}{' (ORACLE)' * row['oracle']}"


def _roles_legend(axes: Axes, rows: Sequence[Row]) -> None:
    from matplotlib.lines import Line2D

    shown = {_role(row): row for row in rows}
    handles = [Line2D([], [], linestyle="", label=role, **_mark(shown[role])) for role in ROLES if role in shown]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=3)  # type: ignore[union-attr]


def _accuracy(axes: Axes, rows: Sequence[Row]) -> None:
    """Every method's mean, its interval over questions, and every run; oracles apart, below a line."""
    rows = sorted(rows, key=lambda r: bool(r["oracle"]))
    places = [-n - 0.6 * row["oracle"] for n, row in enumerate(rows)]
    for place, row in zip(places, rows, strict=True):
        colour = ROLES[_role(row)]
        axes.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(row["accuracy"], place, linestyle="", **_mark(row))
        runs = [s["accuracy"] for s in row["seeds"]]
        if len(runs) > 1:
            axes.plot(runs, [place - 0.3] * len(runs), "|", color=colour, markersize=5)
    oracles = [place for place, row in zip(places, rows, strict=True) if row["oracle"]]
    if oracles and len(oracles) < len(rows):
        axes.axhline(oracles[0] + 0.8, color="#999", linewidth=0.6, linestyle=(0, (4, 3)))
    axes.set_yticks(places, [_label(r) for r in rows], fontsize=8)
    axes.tick_params("y", length=0)
    several = any(len(row["seeds"]) > 1 for row in rows)
    axes.set(
        xlim=(0, 1.01),
        ylim=(places[-1] - 0.7, 0.6),
        xlabel=f"accuracy; line: 95 % over questions{'; ticks: every seed' * several}",
        title=f"{rows[0]['task']}: accuracy",
    )
    axes.grid(axis="x")
    _roles_legend(axes, rows)


def _cost(axes: Axes, rows: Sequence[Row]) -> None:
    """Accuracy against what a question costs, and the front that no other method beats; numbers stand for names."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    costs = [row["completion_tokens"] + (row["prompt_tokens"] or 0.0) for row in rows]
    for x, row in zip(costs, rows, strict=True):
        ends = [[max(row["accuracy"] - row["low"], 0)], [max(row["high"] - row["accuracy"], 0)]]
        axes.errorbar(x, row["accuracy"], ends, elinewidth=1, linestyle="", **_mark(row))
    front: list[tuple[float, float]] = []
    for x, row in sorted(zip(costs, rows, strict=True), key=lambda pair: (pair[0], -pair[1]["accuracy"])):
        if not row["oracle"] and (not front or row["accuracy"] > front[-1][1]):
            front.append((x, row["accuracy"]))
    if front:
        front.append((max(costs), front[-1][1]))
        axes.step(*zip(*front, strict=True), where="post", color="#bbb", linewidth=1, zorder=0)
    # A tick at 1, 2 or 5 times a power of ten falls into any span of 2.5.
    axes.set(
        xscale="log",
        xlim=(min(costs) / 1.6, max(costs) * 1.6),
        ylim=(-0.02, 1.05),
        ylabel="accuracy; line: 95 % over questions",
    )
    axes.set(xlabel="prompt and completion tokens per question; grey: no cheaper method is better")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=99))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.0f}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_title(f"{rows[0]['task']}: accuracy and cost")
    axes.grid()
    handles = [Line2D([], [], linestyle="", label=f"{n}{_label(row)}", **_mark(row)) for n, row in enumerate(rows, 1)]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
    _roles_legend(axes, rows)
    _number(axes, [[(x, row[end]) for end in ("accuracy", "low", "high")] for x, row in zip(costs, rows, strict=True)])


def _number(axes: Axes, points: Sequence[Sequence[tuple[float, float]]]) -> None:
    """A number beside every point, the nearest place around it that covers no number, point or interval.

    Args:
        axes: With its final limits.
        points: The point and the ends of its interval, each.
    """
    axes.figure.draw_without_rendering()  # type: ignore[union-attr]
    per_point = axes.figure.dpi / 72
    at = axes.transData.transform(np.reshape(points, (-1, 2))).reshape(-1, 3, 2) / per_point  # in typographical points
    width, height = 9.0, 8.0
    numbers: list[np.ndarray] = []

    def free(label: np.ndarray) -> bool:
        apart = [abs(label - place) for place in [*at[:, 0], *numbers]]
        beside = [abs(label[0] - x) > width / 2 + 1 for x in at[:, 0, 0]]
        beyond = [not low - height / 2 < label[1] < high + height / 2 for low, high in at[:, 1:, 1]]
        return all(dx >= width or dy >= height for dx, dy in apart) and all(map(max, beside, beyond))

    for number, ((x, y), place) in enumerate(zip([p[0] for p in points], at[:, 0], strict=True), 1):
        around = [
            place + radius * np.array([math.cos(angle), math.sin(angle)])
            for radius in range(9, 90, 3)
            for angle in np.radians([35, -35, 145, -145, 0, 180, 60, -60, 120, -120, 90, -90])
        ]
        numbers.append(next(filter(free, around), around[0]))
        axes.annotate(
            str(number),
            (x, y),
            xytext=tuple(numbers[-1] - place),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=7,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.3},
            arrowprops={"arrowstyle": "-", "color": "#888", "linewidth": 0.5, "shrinkA": 0, "shrinkB": 2}
            if math.dist(numbers[-1], place) > 13
            else None,
        )


def _last_round(curve: Row) -> list[tuple[float, float]]:
    """(iteration, accuracy of the last round) of a training."""
    metrics: Mapping[str, Sequence[tuple[float, float | None]]] = curve["metrics"]
    names = [n for n in metrics if n.startswith("rollout/accuracy_round_")]
    points = metrics[max(names, key=lambda n: int(n.rsplit("_", 1)[1]))] if names else []
    return [(x, y) for x, y in points if y is not None and math.isfinite(y)]


def _learning(
    axes: Axes, task: str, curves: Mapping[str, Sequence[Sequence[tuple[float, float]]]], looks: Mapping[str, Row]
) -> None:
    """The last round's accuracy while sampling: every run thin, the mean over runs bold."""
    from matplotlib.ticker import MaxNLocator

    for method, runs in curves.items():
        for run in runs if len(runs) > 1 else ():
            axes.plot(*zip(*run, strict=True), linewidth=0.6, alpha=0.5, **{**looks[method], "label": None})
        shared = sorted(set.intersection(*({x for x, _ in run} for run in runs))) if runs else []
        means = [float(np.mean([dict(run)[x] for run in runs])) for x in shared]
        if runs:
            marker = "o" if len(shared) == 1 else None
            axes.plot(shared, means, linewidth=2, marker=marker, **looks[method])
    several = any(len(runs) > 1 for runs in curves.values())
    axes.set(
        xlabel=f"iteration{'; bold: mean over runs, thin: every run' * several}",
        ylabel="accuracy of the last round, sampled",
    )
    axes.set(ylim=(-0.02, 1.02), title=f"{task}: training")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid()


def _rounds_of(talk: Row) -> list[tuple[int, float]]:
    """(round from 1, accuracy)."""
    return [(number, accuracy) for number, accuracy in enumerate(talk["rounds"], 1) if accuracy is not None]


def _rounds(
    axes: Axes,
    task: str,
    talks: Mapping[str, Sequence[tuple[int, float]]],
    untrained: Collection[str],
    looks: Mapping[str, Row],
) -> None:
    """The agents' mean accuracy, round by round; a line that lies on another is thinner, and marks of what is untrained are hollow."""
    talks = {method: points for method, points in talks.items() if len(points) > 1}
    for width, (method, points) in zip(np.linspace(3.2, 1.2, len(talks)), talks.items(), strict=True):
        fill = "white" if method in untrained else looks[method]["color"]
        mark = {"marker": "o", "markersize": 3 + width, "markerfacecolor": fill}
        axes.plot(*zip(*points, strict=True), linewidth=width, **mark, **looks[method])
    longest = max(number for points in talks.values() for number, _ in points)
    both = 0 < len(talks.keys() & untrained) < len(talks)
    axes.set(xlabel=f"round{'; hollow marks: untrained' * both}", ylabel="accuracy, mean over agents")
    axes.set(ylim=(-0.02, 1.02), title=f"{task}: accuracy by round")
    axes.set_xticks(range(1, longest + 1, max(1, longest // 12)))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid()


def _profile(axes: Axes, profiles: Mapping[str, list[list[float]]], looks: Mapping[str, Row]) -> None:
    """Share of runs above every accuracy (Agarwal et al. 2108.13264)."""
    thresholds = np.linspace(0, 1, 201)
    for method, runs in profiles.items():
        profile = performance_profile(runs, thresholds)
        axes.step(thresholds, profile.share, **looks[method])
        inside = (profile.share > 0) & (profile.share < 1)  # elsewhere bands of all methods would lie on one another
        low, high = (np.where(inside, end, profile.share) for end in (profile.low, profile.high))
        axes.fill_between(thresholds, low, high, alpha=0.15, color=looks[method]["color"], step="pre", linewidth=0)
    axes.set(
        xlabel="accuracy; shaded: 95 % over runs",
        ylabel="share of runs above it",
        title="all tasks and seeds",
        xlim=(0, 1),
        ylim=(-0.02, 1.02),
    )
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    axes.grid()

"""The figures of a study as PNG and SVG files."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maporl.benchmarks.figures import Axis, Figure, Look, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

__all__ = ["write_plots"]

ROLES = {  # hue: who answers; darkness: whether it was trained
    "lone agent, untrained": "#74c476",
    "lone agent, trained": "#1b7837",
    "lone agent, several answers": "#8a8f98",
    "team, untrained": "#6baed6",
    "team, trained": "#08519c",
    "ORACLE: an upper bound, no baseline": "#b8742a",
}
LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#333333")
"""Told apart by colour-blind people too (Okabe and Ito 2008); black for their yellow."""
MARKERS = "osD^"  # with 7 colours, 28 methods look different
PANELS = 3
"""Side by side."""
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


def write_plots(figures: Iterable[Figure], looks: Mapping[str, Look], folder: Path) -> list[Path]:
    """Every figure that has a file: ``TASK_NAME.png`` and ``TASK_NAME.svg``.

    Args:
        figures: As `maporl.benchmarks.figures.describe` makes them.
        looks: Of every method, see `maporl.benchmarks.figures.looks`.
        folder: Is made.

    Returns:
        The files.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure as Canvas

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name, that the font lacks: an SVG's reader has others
        for name, panels in _files(figures).items():
            canvas = Canvas(figsize=(8.5, _height(panels)), layout="constrained")
            draw(canvas, panels, looks)
            for suffix, metadata in (("png", {}), ("svg", {"Date": None})):
                written.append(folder / f"{name}.{suffix}")
                canvas.savefig(written[-1], dpi=200, metadata=metadata)
    return written


def _files(figures: Iterable[Figure]) -> dict[str, list[Figure]]:
    """The panels of every file by its name; tasks whose names differ in odd characters alone get a number."""
    prefixes: dict[str, str] = {"": ""}
    files: dict[str, list[Figure]] = {}
    for figure in figures:
        if figure.file:
            if figure.task not in prefixes:
                prefix = "".join(c if c.isalnum() or c in "-_" else "_" for c in figure.task)[:80] + "_"
                prefixes[figure.task] = prefix if prefix not in prefixes.values() else f"{prefix}{len(prefixes) - 1}_"
            files.setdefault(prefixes[figure.task] + figure.file, []).append(figure)
    return files


def _height(panels: Sequence[Figure]) -> float:
    """Inches."""
    first = panels[0]
    if first.panel:
        return 1.2 + 2.2 * -(-len(panels) // PANELS)
    if first.y.kind == "methods":
        return 1.3 + 0.23 * len(first.series)
    return max(4.5, 1.0 + 0.18 * len({series.method for series in first.series}))


def draw(canvas: Canvas, panels: Sequence[Figure], looks: Mapping[str, Look]) -> None:
    """Draw a file: one figure with its legend, or panels with shared axes."""
    first = panels[0]
    if first.panel:
        _draw_panels(canvas, panels, looks)
        return
    axes = canvas.subplots()
    axes.set_title(_title(first))
    axes.set(xlabel=_below(first), ylabel=first.y.label)
    if first.y.kind == "methods":
        _draw_methods(axes, first)
        return
    _draw_series(axes, first, looks)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def _title(figure: Figure) -> str:
    return f"{figure.task}: {figure.title[0].lower()}{figure.title[1:]}" if figure.task else figure.title


def _below(figure: Figure) -> str:
    return "\n".join(filter(None, (figure.x.label, figure.key)))


def _draw_panels(canvas: Canvas, panels: Sequence[Figure], looks: Mapping[str, Look]) -> None:
    columns = min(len(panels), PANELS)
    grid = canvas.subplots(-(-len(panels) // columns), columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, panel in zip(grid, panels, strict=False):
        _draw_series(axes, panel, looks)
        axes.set_title(_label(panel.panel, oracle=looks[panel.panel].oracle).strip(), fontsize=9)
    _limit(grid[0], panels[0].y, [series for panel in panels for series in panel.series])
    for number, axes in enumerate(grid[len(panels) :], len(panels)):
        grid[number - columns].tick_params(labelbottom=True)  # the lowest of its column now
        axes.remove()
    canvas.suptitle(_title(panels[0]), fontsize=10)
    canvas.supxlabel(_below(panels[0]), fontsize=9)
    canvas.supylabel(panels[0].y.label, fontsize=9)


def _draw_series(axes: Axes, figure: Figure, looks: Mapping[str, Look]) -> None:
    """Lines and marks; of lines that lie on one another the later are thinner, so that all are seen."""
    bold = [series for series in figure.series if series.style in ("line", "steps") and series.method]
    widths = dict(zip(map(id, bold), np.linspace(2.8, 1.4, len(bold)), strict=True))
    labelled = {""}
    for series in figure.series:
        look = looks.get(series.method, Look(0, False))
        colour = LINES[look.number % len(LINES)] if series.method else "#bbb"
        x, y = zip(*series.points, strict=True) if series.points else ((), ())
        line: dict[str, Any] = {"color": colour, "linewidth": widths.get(id(series), 1.2)}
        if series.style == "thin":
            line |= {"linewidth": 0.6, "alpha": 0.5}
        elif series.style == "dashed":
            line |= {"linestyle": "--", "linewidth": 1.5, "alpha": 0.8}
        elif series.style == "steps":
            line["drawstyle"] = "steps-post"
        if series.style in ("marks", "line", "steps") and series.method:
            line |= {"marker": MARKERS[look.number % len(MARKERS)], "markevery": max(1, -(-len(x) // 12))}
            line |= {"markersize": 6 if series.style == "marks" else 2.5 + line["linewidth"]}
            line["markerfacecolor"] = "white" if series.hollow else colour
        if series.style not in ("thin", "dashed") and series.method not in labelled:
            labelled.add(series.method)
            line["label"] = _label(series.method, oracle=look.oracle)
        if series.style == "marks":
            line["linestyle"] = ""
            if series.low:
                axes.vlines(x, series.low, series.high, color=colour, linewidth=1)
        elif series.low:
            axes.fill_between(
                x,
                series.low,
                series.high,
                color=colour,
                alpha=0.15,
                step="post" if series.style == "steps" else None,
                linewidth=0,
            )
        axes.plot(x, y, **line)
    _limit(axes, figure.y, figure.series)
    _scale(axes, figure.x, figure.series)
    axes.grid()


def _limit(axes: Axes, y: Axis, series: Sequence[Series]) -> None:
    """A share's axis holds 0..1, and what a verifier of one's own says beyond that."""
    if y.kind == "share":
        values = [value for one in series for value in (*(p[1] for p in one.points), *one.low, *one.high)]
        axes.set_ylim(min([-0.02, *values]), max([1.02, *values]))


def _scale(axes: Axes, x: Axis, series: Sequence[Series]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    if x.kind == "count":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    elif x.kind == "share":
        axes.set_xlim(0, 1)
    elif x.kind == "log":
        values = [p[0] for one in series for p in one.points]
        axes.set(xscale="log", xlim=(min(values) / 1.6, max(values) * 1.6))
        # A tick at 1, 2 or 5 times a power of ten falls into any span of 2.5.
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=99))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.xaxis.set_minor_locator(NullLocator())


def _draw_methods(axes: Axes, figure: Figure) -> None:
    """A line for every method from the top: point, interval and every run, coloured by role; oracles apart, below a line."""
    from matplotlib.lines import Line2D

    oracles = [series.hollow for series in figure.series]
    places = [-n - 0.6 * oracle for n, oracle in enumerate(oracles)]
    marks: dict[str, dict[str, Any]] = {}
    for place, series in zip(places, figure.series, strict=True):
        colour = ROLES[series.role]
        fill = "white" if series.hollow else colour
        marks[series.role] = {"color": colour, "marker": "o", "markersize": 6, "markerfacecolor": fill}
        axes.plot([*series.low, *series.high], [place, place], color=colour, linewidth=2, solid_capstyle="butt")
        axes.plot(series.points[0][0], place, linestyle="", **marks[series.role])
        axes.plot(series.ticks, [place - 0.3] * len(series.ticks), "|", color=colour, markersize=5)
    if any(oracles) and not all(oracles):
        axes.axhline(places[oracles.index(True)] + 0.8, color="#999", linewidth=0.6, linestyle=(0, (4, 3)))
    labels = [_label(series.method, oracle=series.hollow) for series in figure.series]
    axes.set_yticks(places, labels, fontsize=8)
    axes.tick_params("y", length=0)
    axes.set(xlim=(0, 1.01), ylim=(places[-1] - 0.7, 0.6))
    axes.grid(axis="x")
    handles = [Line2D([], [], linestyle="", label=role, **marks[role]) for role in ROLES if role in marks]
    axes.figure.legend(handles=handles, loc="outside lower center", ncols=3)  # type: ignore[union-attr]


def _label(method: str, *, oracle: bool = False) -> str:
    """Short enough for a plot; one that begins with an underscore would be no label to matplotlib."""
    return f" {method if len(method) <= 40 else f'{method[:39]}…'}{' (ORACLE)' * oracle}"

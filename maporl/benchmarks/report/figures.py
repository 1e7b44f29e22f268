"""What the plots of a study show, as data: the files (`maporl.benchmarks.report.plots`) and the report's page are drawn from these alone.

A new figure of a task is one function in `OF_A_TASK`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from maporl.benchmarks.analysis.across_runs import performance_profile
from maporl.benchmarks.analysis.learning_curves import metric_name
from maporl.benchmarks.analysis.summary import pooled_runs
from maporl.benchmarks.analysis.verifier_gap import gap_points

__all__ = ["Axis", "Figure", "Look", "Series", "describe", "looks"]

Row = Mapping[str, Any]
Points = Sequence[tuple[float, float]]
T = TypeVar("T")


ALIKE = 1.05
"""Costs that differ by no more than this factor are the same."""


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        label: Below or beside it.
        kind: "share" (0..1), "count" (whole numbers), "number", "log", or "methods": one place for every series, from the top.
    """

    label: str
    kind: str = "number"


@dataclass(frozen=True)
class Series:
    """What is drawn of a method, in its colour.

    Attributes:
        method: Which; "" for a line that belongs to none.
        points: [(x, y)] in the order of x.
        style: "line" (with marks), "thin", "dashed", "steps" (a value holds until the next x) or "marks".
        low, high: [points] ends of the interval about each point, of y unless y has places for methods; () without.
        hollow: Its marks are.
        ticks: Small marks beside the point: every run's value.
        detail: What a table says of it beside the method.
        label: The method's name for people, where it is not that of its row.
        role: Of `_role`: what colours places for methods.
    """

    method: str
    points: Points
    style: str = "line"
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    hollow: bool = False
    ticks: Sequence[float] = ()
    detail: str = ""
    label: str = ""
    role: str = ""


@dataclass(frozen=True)
class Figure:
    """One plot.

    Attributes:
        task: Whose results; "" for all tasks together.
        title: Without the task.
        x, y: Axes.
        series: In the order of drawing.
        key: What the styles and marks mean.
        file: Name of its file, without the task; "" for the page alone. Figures of one file are its panels.
        panel: The method that a panel is of.
        choice: On the page, what a reader chooses it by among the figures of the same title.
        on_page: The page has it.
    """

    task: str
    title: str
    x: Axis
    y: Axis
    series: Sequence[Series]
    key: str = ""
    file: str = ""
    panel: str = ""
    choice: str = ""
    on_page: bool = True


def describe(summary: Mapping[str, Any], curves: Sequence[Row], collaboration: Sequence[Row] = ()) -> list[Figure]:
    """Every figure that there are data for, task by task.

    Args:
        summary: "rows" and "rounds" of `maporl.benchmarks.analysis.summary.summarise`.
        curves: As `maporl.benchmarks.analysis.learning_curves.learning_curves` gives them.
        collaboration: [{task, method, metrics}] of teams, see `maporl.benchmarks.analysis.collaboration`.
    """
    rows = summary.get("rows", ())
    figures: list[Figure] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        parts = (rows, summary.get("rounds", ()), curves, collaboration)
        data = _Task(task, *([one for one in part if one["task"] == task] for part in parts))
        figures += [figure for describing in OF_A_TASK for figure in describing(data)]
    return [*figures, *_performance_profile(rows)]


class Look(NamedTuple):
    """How a method looks in every plot: the number of its colour and mark, and whether it is an upper bound."""

    number: int
    oracle: bool


def looks(rows: Sequence[Row]) -> dict[str, Look]:
    """The look of every method; those that are in most plots come first and differ most."""
    order = sorted(rows, key=lambda row: (bool(row["matched"]), not (row["team"] or row["trained"])))
    oracles = {row["method"]: row["oracle"] for row in order}
    return {method: Look(n, oracle) for n, (method, oracle) in enumerate(oracles.items())}


@dataclass(frozen=True)
class _Task:
    """The results of one task: the arguments of `describe`."""

    name: str
    rows: Sequence[Row]
    rounds: Sequence[Row]
    curves: Sequence[Row]
    collaboration: Sequence[Row]

    @property
    def measured(self) -> list[Row]:
        return [row for row in self.rows if row["accuracy"] is not None]

    def trainings(self, points_of: Callable[[Row], Sequence[T]]) -> dict[str, list[tuple[Row, Sequence[T]]]]:
        """By method, in the order of the rows, the trainings that have points, each with them."""
        runs: dict[str, list[tuple[Row, Sequence[T]]]] = {row["method"]: [] for row in self.rows}
        for curve in self.curves:
            if curve["method"] in runs and (points := points_of(curve)):
                runs[curve["method"]].append((curve, points))
        return {method: every for method, every in runs.items() if every}


def _finite(points: Sequence[Sequence[float | None]]) -> list[tuple[float, float]]:
    return [(x, y) for x, y in points if x is not None and y is not None and math.isfinite(y)]


def _role(row: Row) -> str:
    if row["oracle"]:
        return "ORACLE: an upper bound, no baseline"
    if not row["team"] and (row["generations"] or 0) > 1:
        return "lone agent, several answers"
    return f"{'team' if row['team'] else 'lone agent'}, {'trained' if row['trained'] else 'untrained'}"


def _accuracy(data: _Task) -> Iterator[Figure]:
    """Every method's mean, its interval over questions, and every run; oracles at the end. The page has a table of these."""
    series = []
    for row in sorted(data.measured, key=lambda row: bool(row["oracle"])):
        runs = [seed["accuracy"] for seed in row["seeds"]]
        ticks = runs if len(runs) > 1 else []
        about = {"hollow": row["oracle"], "ticks": ticks, "role": _role(row)}
        series.append(Series(row["method"], [(row["accuracy"], 0.0)], "marks", [row["low"]], [row["high"]], **about))
    if series:
        key = f"line: 95 % over questions{'; ticks: every seed' * any(one.ticks for one in series)}"
        axes = Axis("accuracy", "share"), Axis("", "methods")
        yield Figure(data.name, "Accuracy", *axes, series, key, "accuracy", on_page=False)


def _cost(data: _Task) -> Iterator[Figure]:
    """Accuracy against what a question costs, and the front: the best accuracy for every cost, without oracles. The page has none
    where everything costs the same."""
    priced = [row for row in data.measured if row["completion_tokens"]]
    costs = {
        row["method"]: row["completion_tokens"] + (row["prompt_tokens"] or 0.0) + (row["judge_tokens"] or 0.0)
        for row in priced
    }
    front: list[tuple[float, float]] = []
    detail = {row["method"]: "oracle" * row["oracle"] for row in priced}
    for row in sorted(priced, key=lambda row: (costs[row["method"]], -row["accuracy"])):
        if not row["oracle"] and (not front or row["accuracy"] > front[-1][1]):
            front.append((costs[row["method"]], row["accuracy"]))
            detail[row["method"]] = "best for its cost"
    series = [Series("", [*front, (max(costs.values()), front[-1][1])], "steps")] if front else []
    for row in priced:
        about = {"hollow": row["oracle"], "detail": detail[row["method"]]}
        point = [(costs[row["method"]], row["accuracy"])]
        series.append(Series(row["method"], point, "marks", [row["low"]], [row["high"]], **about))
    if priced:
        key = "upright lines: 95 % over questions; grey: no cheaper method is better"
        key += "; hollow: oracles, no part of that" * ("oracle" in detail.values())
        axes = Axis("prompt and completion tokens per question", "log"), Axis("accuracy", "share")
        differ = max(costs.values()) > ALIKE * min(costs.values())
        yield Figure(data.name, "Cost against accuracy", *axes, series, key, "cost", on_page=differ)


def _rounds(data: _Task) -> Iterator[Figure]:
    """Accuracy of the agents' messages round by round, and of the plurality vote in teams."""
    untrained = {row["method"] for row in data.rows if not row["trained"]}
    lines, votes = [], []
    for talk in data.rounds:
        points = [(t, accuracy) for t, accuracy in enumerate(talk["rounds"], 1) if accuracy is not None]
        if len(points) > 1:
            lines.append(Series(talk["method"], points, hollow=talk["method"] in untrained, detail="messages"))
    shown = {line.method for line in lines}
    for team in data.collaboration:
        every = [(r["round"] + 1, r["vote_accuracy"]) for r in team["metrics"]["rounds"]]
        points = [(t, accuracy) for t, accuracy in every if accuracy is not None]
        if team["method"] in shown and len(points) > 1:
            votes.append(Series(team["method"], points, "dashed", detail="vote"))
    if lines:
        key = ["solid: right messages, mean over agents"] + ["dashed: the round's vote"] * bool(votes)
        key += ["hollow marks: untrained"] * (0 < len(shown & untrained) < len(shown))
        axes = Axis("round", "count"), Axis("accuracy", "share")
        yield Figure(data.name, "Accuracy by round", *axes, votes + lines, "; ".join(key), "rounds")


def _learning(data: _Task) -> Iterator[Figure]:
    """Every metric of the trainings; those of most interest with enough points first. The last round's accuracy has a file."""
    found = []
    for metric in dict.fromkeys(name for curve in data.curves for name in curve["metrics"]):
        runs = data.trainings(lambda curve: _finite(curve["metrics"].get(metric, ())))  # noqa: B023
        if not runs:
            continue
        order, name, share = metric_name(metric)
        series = [s for method, every in runs.items() for s in _with_mean(method, every)]
        longest = max(len(points) for every in runs.values() for _, points in every)
        axes = Axis("iteration", "count"), Axis(name, "share" if share else "number")
        file = "learning" if metric == "rollout/accuracy_last_round" else ""
        figure = Figure(data.name, "Learning curves", *axes, series, _mean_key(runs), file, choice=metric)
        found.append(((not share or longest <= 3, order), figure))
    yield from (figure for _, figure in sorted(found, key=lambda pair: pair[0]))


def _with_mean(method: str, runs: Sequence[tuple[Row, Points]], style: str = "line", what: str = "") -> list[Series]:
    """Several runs thin, and their mean over the iterations that all of them have reached; one run is its own mean."""

    def series(points: Points, style: str, which: str) -> Series:
        detail = f"{what}, {which}" if what else which
        return Series(method, points, style, detail=detail, label=runs[0][0]["label"])

    if len(runs) == 1:
        return [series(runs[0][1], style, f"seed {runs[0][0]['seed']}")]
    values = [dict(points) for _, points in runs]
    shared = sorted(set.intersection(*map(set, values)))
    means = [(x, float(np.mean([run[x] for run in values]))) for x in shared]
    return [*(series(points, "thin", f"seed {curve['seed']}") for curve, points in runs), series(means, style, "mean")]


def _mean_key(runs: Mapping[str, Sequence[Any]]) -> str:
    return "bold: mean over runs, thin: every run" * any(len(every) > 1 for every in runs.values())


def _verifier_gap(data: _Task) -> Iterator[Figure]:
    """A panel for every method that a verifier trains: its score and the accuracy in the last round, what is between them shaded."""
    trainings = data.trainings(lambda curve: gap_points(curve["metrics"]))
    for method, runs in trainings.items():
        scores, accuracies = (
            _with_mean(
                method, [(curve, [(p.iteration, getattr(p, name)) for p in points]) for curve, points in runs], *look
            )
            for name, look in (("score", ("dashed", "verifier's score")), ("accuracy", ("line", "accuracy")))
        )
        *thin, mean = accuracies
        low, high = ([y for _, y in series.points] for series in (mean, scores[-1]))
        shaded = replace(mean, low=low, high=high)
        key = "; ".join(filter(None, ("dashed: verifier's score, solid: accuracy", _mean_key(trainings))))
        axes = Axis("iteration", "count"), Axis("last round, sampled", "share")
        title = "What the verifier says and what is true"
        yield Figure(data.name, title, *axes, [*scores, *thin, shaded], key, "verifier_gap", panel=method)


def _performance_profile(rows: Sequence[Row]) -> Iterator[Figure]:
    """Share of runs above every accuracy (Agarwal et al. 2108.13264), over all tasks."""
    thresholds = np.linspace(0, 1, 201)
    oracles = {row["method"] for row in rows if row["oracle"]}
    series = []
    for method, runs in pooled_runs(rows).items():
        profile = performance_profile(runs, thresholds)
        inside = (profile.share > 0) & (profile.share < 1)  # elsewhere bands of all methods would lie on one another
        low, high = (np.where(inside, end, profile.share).tolist() for end in (profile.low, profile.high))
        points = list(zip(thresholds.tolist(), profile.share.tolist(), strict=True))
        series.append(Series(method, points, "steps", low, high, hollow=method in oracles))
    if series:
        axes = Axis("accuracy", "share"), Axis("share of runs above it", "share")
        yield Figure("", "All tasks and seeds", *axes, series, "shaded: 95 % over runs", "performance_profile")


OF_A_TASK = (_accuracy, _cost, _rounds, _learning, _verifier_gap)
"""In the order of the files and of the page."""

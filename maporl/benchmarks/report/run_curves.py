"""The learning curves of one run: what is measured of a kind in one plot, validation beside what was sampled while training."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from maporl.benchmarks.report.figures import Axis, Figure, Points, Series

__all__ = ["LINES", "constants", "curves_of"]

Metrics = Mapping[str, Sequence[Sequence[float]]]
"""Metric -> [(iteration, value)]."""

LINES = 32
"""Lines of one plot that have a look of their own, named "line:0" and so on."""

SMOOTHED = 30
"""Points from which on a mean over neighbouring iterations is drawn, too."""


@dataclass(frozen=True)
class Kind:
    """Metrics of a kind, which share a plot.

    Attributes:
        title: Of the plot.
        metrics: Pattern of their names; a group in it names the line.
        line: That name, with the group in its place.
        beside: Pattern of the same in evaluations.
        share: They are shares.
    """

    title: str
    metrics: str
    line: str = ""
    beside: str = ""
    share: bool = False


KINDS = (
    Kind(
        "Right messages by round",
        r"rollout/accuracy_round_(\d+)",
        "round {}",
        r"eval/accuracy_round_(\d+)",
        share=True,
    ),
    Kind("Reward of a message", r"rollout/reward_mean", beside=r"eval/reward_mean"),
    Kind("KL to the reference", r"train/kl_to_reference"),
    Kind("KL of an update", r"train/approx_kl"),
    Kind("Entropy of a token", r"train/entropy"),
    Kind("Tokens of a message", r"rollout/completion_tokens"),
    Kind("Norm of the gradient", r"train/grad_norm/(.+)", "{}"),
    Kind("Log-prob mismatch of sampler", r"train/logprob_mismatch"),
)
"""What is looked at first; everything else follows under its own name."""


def curves_of(metrics: Metrics, judged: Sequence[Mapping[str, float]]) -> tuple[list[Figure], list[Figure]]:
    """The plots that are looked at first, and those of all other metrics that change.

    Args:
        metrics: Metric -> [(iteration, value)].
        judged: Of each validation, in order: iteration, accuracy, low, high.
    """
    left = {name: points for name, points in _changing(metrics).items() if not name.startswith("test/")}
    first = [*_team(judged)]
    left.pop("eval/accuracy", None)
    left.pop("rollout/accuracy_last_round", None)  # the last of the rounds
    for kind in KINDS:
        first += _plot(kind, left)
    more: list[Figure] = []
    for stem in sorted({_stem(name) for name in left}):
        members = rf"(?:rollout/|eval/)?{re.escape(stem)}(?:_round_(\d+)|/(.+))?"
        own = [name for name in left if _stem(name) == stem]
        sampled, beside = ([n for n in own if n.startswith("eval/") == judged_too] for judged_too in (False, True))
        more += _plot(_of_names(stem, members, sampled, beside), left)
    return first, more


def constants(metrics: Metrics) -> dict[str, float]:
    """Metrics that had one value throughout, of at least two."""
    changing = _changing(metrics)
    return {n: points[0][1] for n, points in metrics.items() if len(points) > 1 and n not in changing}


def _changing(metrics: Metrics) -> dict[str, Points]:
    known = {name: [(x, y) for x, y in points if math.isfinite(y)] for name, points in metrics.items()}
    return {name: points for name, points in known.items() if len({y for _, y in points}) > 1 or len(points) == 1}


def _stem(name: str) -> str:
    """A metric without what tells it from others of its kind: round, place of measurement, the name behind the second slash."""
    own = re.sub(r"_round_\d+$", "", re.sub(r"^(rollout|eval)/", "", name))
    parts = own.split("/")
    return own if own.startswith("measure/") else "/".join(parts[:2]) if len(parts) > 2 else own


def _of_names(stem: str, members: str, sampled: Sequence[str], beside: Sequence[str]) -> Kind:
    share = bool(re.search("accuracy|rate$|fraction|truncated|thinking_cut|stopped|overflow|eos|tied|idle", stem))
    if stem == "completion_tokens":  # of a message while training, of a whole discussion in evaluations
        return Kind("Tokens of a discussion in evaluations", "(?!)", beside=members, share=share)
    one = len(sampled) <= 1 and len(beside) <= 1
    return Kind(stem, rf"(?!eval/){members}", "" if one else "{}", rf"(?=eval/){members}", share)


def _team(judged: Sequence[Mapping[str, float]]) -> Iterator[Figure]:
    if judged:
        points = [(one["iteration"], one["accuracy"]) for one in judged]
        low, high = ([one[end] for one in judged] for end in ("low", "high"))
        band = Series("line:0", points, "line", low, high, hollow=True, label="validation")
        title, key = "Team's accuracy in validation", "shaded: 95 % over questions"
        yield Figure("", title, Axis("iteration", "count"), Axis("", "share"), [band], key)


def _plot(kind: Kind, left: dict[str, Points]) -> Iterator[Figure]:
    """The plot of a kind, if it has metrics; they are taken out of `left`."""
    found: dict[str, dict[bool, Points]] = {}
    for judged, pattern in ((False, kind.metrics), (True, kind.beside)):
        for name in [name for name in left if pattern and re.fullmatch(pattern, name)]:
            matched = re.fullmatch(pattern, name)
            which = next((group for group in matched.groups() if group), "") if matched else ""
            found.setdefault(which, {})[judged] = left.pop(name)
    if not found:
        return
    series: list[Series] = []
    keys: dict[str, None] = {}
    for number, which in enumerate(sorted(found, key=lambda w: (len(w), w)) if all(map(str.isdigit, found)) else found):
        line, label = f"line:{number % LINES}", kind.line.format(which) if which else kind.title
        for judged, points in found[which].items():
            if judged:
                series.append(Series(line, points, "line", hollow=True, label=label, detail="validation"))
                keys["marks: validation"] = None
            elif len(points) < SMOOTHED:
                series.append(Series(line, points, "plain", label=label))
            else:
                smooth, width = _smooth(points)
                series.append(Series(line, points, "thin", label=label, detail="every iteration"))
                series.append(Series(line, smooth, "plain", label=label, detail=f"mean of {width}"))
                keys[f"bold: mean of {width} points, faint: each"] = None
    axes = Axis("iteration", "count"), Axis("", "share" if kind.share else "number")
    yield Figure("", kind.title, *axes, series, "; ".join(keys))


def _smooth(points: Points) -> tuple[Points, int]:
    """The mean of each point and its neighbours, fewer at the ends; and how many they are."""
    width = max(5, len(points) // 20) | 1
    values, ones = np.array([y for _, y in points]), np.ones(width)
    means = np.convolve(values, ones, "same") / np.convolve(np.ones(len(values)), ones, "same")
    return list(zip([x for x, _ in points], means.tolist(), strict=True)), width

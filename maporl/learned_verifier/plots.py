"""The reliability plot: do answers that get a score of .7 turn out right in 7 of 10 cases?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maporl.envs.verifiers.quality import Bin, wilson

__all__ = ["reliability_plot"]


def reliability_plot(bins: Sequence[Bin], path: str | Path) -> list[Path]:
    """Write PATH.png and PATH.svg: every bin's share of right answers with its Wilson interval, as large as it has answers.

    Args:
        bins: Of `maporl.envs.verifiers.quality.reliability`.
        path: Without an ending.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    written = []
    with rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "maporl"}):
        figure = Figure(figsize=(4.2, 4.6), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        above.plot([0, 1], [0, 1], color="#333333", linestyle="--", linewidth=1)
        above.annotate("as sure as right", (0.72, 0.62), rotation=38, fontsize=8, color="#333333", ha="center")
        ends = [wilson(b.accuracy, b.number, 1.96) for b in bins]
        reach = [[b.accuracy - low for b, (low, _) in zip(bins, ends, strict=True)]]
        reach += [[high - b.accuracy for b, (_, high) in zip(bins, ends, strict=True)]]
        at, right = [b.score for b in bins], [b.accuracy for b in bins]
        above.errorbar(at, right, yerr=reach, fmt="none", ecolor="#56b4e9", elinewidth=1.5)
        sizes = [8 + 60 * b.number / max(c.number for c in bins) for b in bins]
        above.scatter(at, right, s=sizes, color="#0072b2", zorder=3, clip_on=False)
        above.set(xlim=(0, 1), ylim=(0, 1), ylabel="share that is right")
        below.bar(
            [(b.low + b.high) / 2 for b in bins],
            [b.number for b in bins],
            [b.high - b.low for b in bins],
            color="#56b4e9",
        )
        below.set(xlabel="verifier's score", ylabel="answers")
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.set_axisbelow(True)
        for suffix, metadata in (("png", {}), ("svg", {"Date": None})):
            file = Path(path).with_suffix(f".{suffix}")
            figure.savefig(file, dpi=200, metadata=metadata)
            written.append(file)
    return written

"""What the tables of a study show: the columns of each, and how a figure is written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = [
    "COMPARISONS",
    "METHODS",
    "OTHERS_FLIPS",
    "OWN_FLIPS",
    "POOLED",
    "VERIFIER_GAP",
    "Column",
    "Row",
    "between",
    "by_round",
    "number",
    "p_value",
    "share",
    "signed",
]

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], str]]


def share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}" if value >= 99.95 else f"{value:.1f}"


def between(low: float | None, high: float | None, show: Callable[[float | None], str] = share) -> str:
    return "" if low is None or high is None else f"{show(low)} to {show(high)}"


def p_value(value: float | None) -> str:
    return "" if value is None else "< .001" if value < 0.001 else f"{value:.3f}"


def _name(row: Row) -> str:
    """A method's name with what a reader must know about it."""
    marks = [
        f"{on} tokens of {', '.join(team for team, by in row['matched'] if by == on)}"
        for on in dict.fromkeys(on for _, on in row["matched"])
    ]
    if row["oracle"]:
        marks.append("ORACLE: knows the gold answer")
    if row["failed"]:
        marks.append("failed: seed " + ", ".join(str(f["seed"]) for f in row["failed"]))
    if row["unfinished"]:
        marks.append("not finished: seed " + ", ".join(map(str, row["unfinished"])))
    return f"{row['method']} ({'; '.join(marks)})" if marks else str(row["method"])


def _marked_name(row: Row) -> str:
    return f"{row['method']}{' (ORACLE: knows the gold answer)' * row['oracle']}"


METHODS: tuple[Column, ...] = (
    ("method", _name),
    ("accuracy", lambda r: share(r["accuracy"])),
    ("95 % over questions", lambda r: between(r["low"], r["high"])),
    ("every seed", lambda r: " ".join(share(s["accuracy"]) for s in r["seeds"])),
    ("95 % over seeds (t)", lambda r: between(r["seeds_low"], r["seeds_high"])),
    ("best seat", lambda r: share(r["best_seat"])),
    ("greedy", lambda r: share(r["greedy"])),
    ("pass@k (needs the gold answer)", lambda r: " ".join(f"{p['k']}: {share(p['value'])}" for p in r["pass_at"])),
    ("parsed", lambda r: share(r["parse_rate"])),
    ("questions", lambda r: str(r["questions"] or "")),
    ("generations", lambda r: number(r["generations"])),
    ("prompt tokens", lambda r: number(r["prompt_tokens"])),
    ("completion tokens", lambda r: number(r["completion_tokens"])),
    ("judge tokens", lambda r: number(r["judge_tokens"] or None)),
    ("evaluation s", lambda r: number(r["eval_s"])),
    ("training s", lambda r: number(r["train_s"])),
)

COMPARISONS: tuple[Column, ...] = (
    ("method", lambda c: str(c["method"])),
    ("against", lambda c: f"{c['baseline']} ({c['on']} tokens)" if c["on"] else str(c["baseline"])),
    ("difference", lambda c: signed(c["difference"])),
    ("95 % over questions", lambda c: between(c["low"], c["high"], signed)),
    ("p, Holm", lambda c: p_value(c["p_holm"])),
    ("every seed", lambda c: " ".join(signed(s["difference"]) for s in c["seeds"])),
    ("95 % over seeds (t)", lambda c: between(c["seeds_low"], c["seeds_high"], signed)),
    ("detectable", lambda c: share(c["detectable"])),
)

POOLED: tuple[Column, ...] = (
    ("method", _marked_name),
    ("runs", lambda r: str(r["runs"])),
    ("interquartile mean", lambda r: share(r["iqm"])),
    ("95 %", lambda r: between(r["low"], r["high"])),
    ("beats a single agent with probability", lambda r: share(r.get("improvement"))),
    ("95 % of it", lambda r: between(r.get("improvement_low"), r.get("improvement_high"))),
)


def by_round(rows: Sequence[Row]) -> tuple[Column, ...]:
    """A column for every round that one of the rows has, and what was gained from the first to the last."""

    def column(t: int) -> Column:
        return f"round {t + 1}", lambda r: share(r["rounds"][t]) if t < len(r["rounds"]) else ""

    return (
        ("method", _marked_name),
        *map(column, range(max(len(row["rounds"]) for row in rows))),
        ("gain", lambda r: signed(r["gain"])),
        ("95 % over questions", lambda r: between(r["low"], r["high"], signed)),
        ("every seed's gain", lambda r: " ".join(signed(s["gain"]) for s in r["seeds"])),
    )


def _flips(whose: str, given: str, words: str) -> Iterator[Column]:
    """How often what was right became wrong, and what was wrong became right: share and counts."""

    def column(name: str, rate: str, turned: str, stayed: str) -> Column:
        def show(row: Row) -> str:
            m = row[whose][given]
            if m[rate] is None:
                return ""
            every = " ".join("-" if value is None else share(value) for value in m[f"{rate}s"])
            return f"{share(m[rate])} ({m[turned]} of {m[turned] + m[stayed]}; {every})"

        return f"{name}, {words}", show

    yield column("R to W", "right_to_wrong_rate", "right_wrong", "right_right")
    yield column("W to R", "wrong_to_right_rate", "wrong_right", "wrong_wrong")


def _tied(row: Row) -> str:
    tied = sum(matrix["tied"] for matrix in row["others"].values())
    return str(tied) if tied else ""


OWN_FLIPS: tuple[Column, ...] = (
    ("method", _marked_name),
    *_flips("own", "right_majority", "others right"),
    *_flips("own", "wrong_majority", "others wrong"),
    *_flips("own", "tie", "others tied"),
)

OTHERS_FLIPS: tuple[Column, ...] = (
    ("method", _marked_name),
    *_flips("others", "own_right", "own right"),
    *_flips("others", "own_wrong", "own wrong"),
    ("left out: tied", _tied),
)


def _iterations(row: Row) -> str:
    ends = sorted({run["iterations"] for run in row["runs"]})
    return f"{ends[0]}" if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


VERIFIER_GAP: tuple[Column, ...] = (
    ("method", _marked_name),
    ("iterations", _iterations),
    ("score, first", lambda r: share(r["score_first"])),
    ("accuracy, first", lambda r: share(r["accuracy_first"])),
    ("gap, first", lambda r: signed(r["gap_first"])),
    ("score, last", lambda r: share(r["score_last"])),
    ("accuracy, last", lambda r: share(r["accuracy_last"])),
    ("gap, last", lambda r: signed(r["gap_last"])),
    ("every run's last gap", lambda r: " ".join(signed(run["gap_last"]) for run in r["runs"])),
    ("AUROC, first", lambda r: share(r["auroc_first"])),
    ("AUROC, last", lambda r: share(r["auroc_last"])),
)

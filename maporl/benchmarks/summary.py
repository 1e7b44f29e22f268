"""From records to the figures of a study: a row for every method, and paired comparisons with what it has to beat."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maporl.algorithms.records import Record
from maporl.benchmarks.across_runs import interquartile_mean, probability_of_improvement, t_interval
from maporl.benchmarks.results import Cell, Results
from maporl.benchmarks.statistics import clustered_interval, compare, holm, minimum_detectable_paired

__all__ = ["summarise"]

POOLED = 10
"""Runs over tasks and seeds from which an interquartile mean says something (Agarwal et al. 2108.13264)."""

Outcomes = dict[str, list[float]]  # question -> everything measured on it


@dataclass
class _Measured:
    """All cells of a method on a task, what they got right read once."""

    cells: list[Cell]
    by_seed: dict[int, Outcomes] = field(default_factory=dict)
    by_seat: dict[str, list[float]] = field(default_factory=dict)
    greedy: list[float] = field(default_factory=list)
    parsed: list[bool] = field(default_factory=list)

    @property
    def outcomes(self) -> Outcomes:
        """Of all seeds together."""
        pooled: Outcomes = {}
        for outcomes in self.by_seed.values():
            for question, values in outcomes.items():
                pooled.setdefault(question, []).extend(values)
        return pooled

    @property
    def seeds(self) -> dict[int, float]:
        """The accuracy of each run."""
        return {seed: _mean(o) for seed, o in self.by_seed.items()}


def summarise(results: Results) -> dict[str, Any]:
    """Figures of all methods, JSON-ready.

    Returns:
        | key | value |
        |---|---|
        | rows | one per task and method, in the order of the study, votes matched to a team behind it |
        | comparisons | of every team with the votes that cost as much, and of every method with a single agent |
        | pooled | per method over all tasks, from 10 runs on: interquartile mean, its interval, probability of improvement |

        A row: task, method, label, team, trained, oracle, matched [[team, "completion" | "all"], ...]; accuracy (the mean over seeds, ties
        by expectation), low, high (95 % over questions), seeds [{seed, accuracy}], seeds_low, seeds_high (t interval over runs, None for
        one), greedy, best_seat, parse_rate, questions, generations, prompt_tokens, completion_tokens (per question), eval_s, train_s,
        failed [{seed, reason}], unfinished (seeds). Figures are None where no seed is complete.

        A comparison: family ("vote of equal cost" | "single agent"), task, method, baseline, on ("completion" | "all" | None),
        difference, low, high, p, p_holm (within its family, over all tasks), test, questions, detectable (at 80 % power), seeds [{seed,
        difference}], seeds_low, seeds_high.
    """
    measured = {key: _measure(cells) for key, cells in _by_method(results.cells).items()}
    rows = [_row(task, method, one) for (task, method), one in measured.items()]
    return {"rows": _ordered(rows), "comparisons": _comparisons(measured), "pooled": _pooled(measured)}


def _by_method(cells: Sequence[Cell]) -> dict[tuple[str, str], list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.task, cell.method), []).append(cell)
    return groups


def _measure(cells: list[Cell]) -> _Measured:
    measured = _Measured(cells)
    for cell in cells:
        records = [r for r in cell.records() if cell.status == "complete" or r]
        sampled = [r for r in records if not r["greedy"]] or records  # a run's evaluation may be greedy only
        if not sampled:
            continue
        seats: dict[str, list[Record]] = {}
        for r in sampled:
            seats.setdefault(r["seat"] or "", []).append(r)
        accuracy = {seat: float(np.mean([r["team_correct"] for r in found])) for seat, found in seats.items()}
        best = max(accuracy, key=accuracy.__getitem__)
        chosen = seats[best] if cell.best_seat else sampled
        outcomes: Outcomes = {}
        for r in chosen:
            outcomes.setdefault(r["question_id"], []).append(float(r["team_correct"]))
        measured.by_seed[cell.seed] = outcomes
        for seat, value in accuracy.items():
            measured.by_seat.setdefault(seat, []).append(value)
        measured.greedy += [
            r["team_correct"] for r in records if r["greedy"] and (not cell.best_seat or (r["seat"] or "") == best)
        ]
        measured.parsed += [_answer(t) is not None for r in chosen for t in r["turns"] if t["score"] or t["truth"]]
    return measured


def _answer(turn: Mapping[str, Any]) -> str | None:
    return next((s["answer"] for s in (turn["truth"], turn["score"]) if s and s["answer"] is not None), None)


def _row(task: str, method: str, measured: _Measured) -> dict[str, Any]:
    first = measured.cells[0]
    outcomes, seeds = measured.outcomes, measured.seeds
    low, high = clustered_interval(list(outcomes.values())) if outcomes else (None, None)
    across = t_interval(list(seeds.values())) if seeds else None
    seats = {seat: float(np.mean(values)) for seat, values in measured.by_seat.items()}
    complete = [c for c in measured.cells if c.status == "complete" and c.costs]
    costs = {
        name: float(np.mean([c.costs[name] for c in complete if name in c.costs])) if complete else None
        for name in ("questions", "generations", "prompt_tokens", "completion_tokens", "eval_s")
    }
    return {
        "task": task,
        "method": method,
        "label": first.label,
        "team": first.team,
        "trained": first.trained,
        "oracle": any(c.oracle for c in measured.cells),
        "matched": [list(pair) for pair in first.matched],
        "accuracy": float(np.mean(list(seeds.values()))) if seeds else None,
        "low": low,
        "high": high,
        "seeds": [{"seed": seed, "accuracy": value} for seed, value in seeds.items()],
        "seeds_low": across[0] if across else None,
        "seeds_high": across[1] if across else None,
        "greedy": float(np.mean(measured.greedy)) if measured.greedy else None,
        "best_seat": max(seats.values()) if len(seats) > 1 else None,
        "parse_rate": float(np.mean(measured.parsed)) if measured.parsed else None,
        **costs,
        "questions": len(outcomes),
        "train_s": _train_seconds(measured.cells),
        "failed": [
            {"seed": c.seed, "reason": c.error or "no reason was written down"}
            for c in measured.cells
            if c.status == "failed"
        ],
        "unfinished": [c.seed for c in measured.cells if c.status in ("running", "waiting")],
    }


def _train_seconds(cells: Sequence[Cell]) -> float | None:
    """Sampling and updates of a seed's trainings, the mean over seeds; None where nothing is trained."""
    seconds = [sum(_seconds(run / "metrics.jsonl") for run in c.runs) for c in cells if c.trained]
    return float(np.mean(seconds)) if seconds else None


def _seconds(file: Path) -> float:
    total = 0.0
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        total += row.get("time/rollout_s", 0.0) + row.get("time/update_s", 0.0)
    return total


def _mean(outcomes: Outcomes) -> float:
    """Mean over questions, each counting the same."""
    return float(np.mean([np.mean(values) for values in outcomes.values()]))


def _ordered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lone agents first, then the teams as the study names them; a matched vote behind the first team that it is matched to."""
    ordered: list[dict[str, Any]] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        mine = [row for row in rows if row["task"] == task]
        votes = [row for row in mine if row["matched"]]
        for row in mine:
            if row in votes:
                continue
            ordered.append(row)
            followers = [v for v in votes if v["matched"][0][0] == row["method"]]
            ordered += sorted(followers, key=lambda v: v["matched"][0][1] != "completion")
        ordered += [v for v in votes if v not in ordered]
    return ordered


def _pairs(measured: Mapping[tuple[str, str], _Measured]) -> Iterator[tuple[str, str, str, str, str | None]]:
    """(family, task, method, baseline, on) of everything that is compared."""
    for (task, method), one in measured.items():
        for team, on in one.cells[0].matched:
            yield "vote of equal cost", task, team, method, on
    for (task, method), one in measured.items():
        if any(c.oracle for c in one.cells) or one.cells[0].matched:
            continue  # an upper bound, or a yardstick itself
        _, _, algorithm = method.partition("/")
        trained = f"single_agent/{algorithm or method}"
        for single in dict.fromkeys((trained, "single_agent")):
            if (task, single) in measured and single != method:
                yield "single agent", task, method, single, None
                break


def _comparisons(measured: Mapping[tuple[str, str], _Measured]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for family, task, method, baseline, on in _pairs(measured):
        ours, theirs = measured.get((task, method)), measured[task, baseline]
        if ours is None or any(c.oracle for c in theirs.cells):  # an oracle is nobody's baseline
            continue
        first, second = ours.outcomes, theirs.outcomes
        if not set(first) & set(second):
            continue
        compared = compare(first, second)
        both = [seed for seed in ours.seeds if seed in theirs.seeds]
        differences = [ours.seeds[seed] - theirs.seeds[seed] for seed in both]
        # The interval is made for shares, so differences are moved from -1..1 to 0..1 and back.
        across = t_interval([(d + 1) / 2 for d in differences]) if differences else None
        found.append(
            {
                "family": family,
                "task": task,
                "method": method,
                "baseline": baseline,
                "on": on,
                "difference": compared.difference,
                "low": compared.low,
                "high": compared.high,
                "p": compared.p_value,
                "test": compared.test,
                "questions": compared.num_questions,
                "detectable": minimum_detectable_paired(compared.sd, compared.num_questions),
                "seeds": [{"seed": s, "difference": d} for s, d in zip(both, differences, strict=True)],
                "seeds_low": 2 * across[0] - 1 if across else None,
                "seeds_high": 2 * across[1] - 1 if across else None,
            }
        )
    for family in dict.fromkeys(c["family"] for c in found):
        members = [c for c in found if c["family"] == family]
        for comparison, corrected in zip(members, holm([c["p"] for c in members]), strict=True):
            comparison["p_holm"] = float(corrected)
    return found


def _pooled(measured: Mapping[tuple[str, str], _Measured]) -> list[dict[str, Any]]:
    """Methods over all tasks, where there are runs enough to say something."""
    tasks = list(dict.fromkeys(task for task, _ in measured))
    scores: dict[str, list[list[float]]] = {}
    for method in dict.fromkeys(method for _, method in measured):
        runs = [list(measured[task, method].seeds.values()) for task in tasks if (task, method) in measured]
        if len(runs) == len(tasks) and sum(map(len, runs)) >= POOLED and min(map(len, runs)) >= 3:
            scores[method] = runs
    pooled = []
    for method, runs in scores.items():
        middle = interquartile_mean(runs)
        entry = {
            "method": method,
            "runs": sum(map(len, runs)),
            "iqm": middle.value,
            "low": middle.low,
            "high": middle.high,
        }
        if "single_agent" in scores and method != "single_agent":
            better = probability_of_improvement(runs, scores["single_agent"])
            entry |= {"improvement": better.value, "improvement_low": better.low, "improvement_high": better.high}
        pooled.append(entry)
    return pooled

"""From records to outcomes: what the cells of a method got right, question by question, and what that cost."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from maporl.benchmarks.analysis.collaboration import answer_of, rounds_of
from maporl.benchmarks.analysis.flips import Discussion
from maporl.benchmarks.analysis.results import Cell
from maporl.benchmarks.study.best_seat import best_seat
from maporl.benchmarks.study.keys import file_name
from maporl.envs.protocols.lesson_bank import SPEEDUP
from maporl.rollouts.records import Record, costs_of, messages_of

__all__ = ["Measured", "Outcomes", "Run", "accuracy", "counts", "mean_of_known", "pooled"]

Outcomes = dict[str, list[float]]  # question -> everything measured on it


@dataclass(frozen=True)
class Run:
    """What one cell (method, task, seed) got right.

    Attributes:
        seed: Of the cell.
        outcomes: Of sampled discussions; of the best seat's alone if the cell reports only that.
        greedy: Of greedily decoded discussions, of the same seats.
        seats: Seat -> accuracy; one seat "" where agents have no private information.
        parsed: Share of judged messages in which an answer was found; None if no message was judged.
        costs: "generations", "prompt_tokens", "completion_tokens" and "judge_tokens" per question of `outcomes`.
        discussions: By question, the discussions behind `outcomes`.
        speedups: Of each answer behind `outcomes`, how many times as fast as the original it is, 0 if it is wrong; () where no verifier
            measures that.
    """

    seed: int
    outcomes: Outcomes
    greedy: Outcomes
    seats: Mapping[str, float]
    parsed: float | None
    costs: Mapping[str, float]
    discussions: Mapping[str, Sequence[Discussion]]
    speedups: Sequence[float] = ()


@dataclass(frozen=True)
class Measured:
    """All cells of a method on a task."""

    cells: Sequence[Cell]
    runs: Sequence[Run]

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> Measured:
        """Read their records."""
        return cls(cells, [run for run in map(_run, cells) if run is not None])

    @cached_property
    def outcomes(self) -> Outcomes:
        """Outcomes of all seeds together, by question."""
        return self.outcomes_of(self.seeds)

    def outcomes_of(self, seeds: Collection[int]) -> Outcomes:
        """Outcomes of these seeds together, by question."""
        return pooled(run.outcomes for run in self.runs if run.seed in seeds)

    @cached_property
    def seeds(self) -> dict[int, float]:
        """The accuracy of each run."""
        return {run.seed: accuracy(run.outcomes) for run in self.runs}

    @property
    def oracle(self) -> bool:
        return any(cell.oracle for cell in self.cells)

    @property
    def matched(self) -> list[tuple[str, str]]:
        return list(dict.fromkeys(pair for cell in self.cells for pair in cell.matched))

    @property
    def baseline(self) -> str | None:
        """The single agent that it is to be compared with; None for that one itself."""
        return next((cell.baseline for cell in self.cells if cell.baseline), None)


def counts(cell: Cell) -> bool:
    """Whether a cell's records count: it is complete, or an evaluation of a plain run, which is complete even if the run failed later."""
    return cell.status == "complete" or cell.folder in cell.runs


def _run(cell: Cell) -> Run | None:
    """Outcomes, costs and discussions of a cell, read from its records; None without records that count."""
    records = cell.records() if counts(cell) else []
    # In one order, whatever order they were written in: sums and random sign flips come out the same.
    records.sort(key=lambda r: (str(r["question_id"]), r["sample"], r["seat"] or ""))
    greedy = [r for r in records if r["greedy"]]
    sampled = [r for r in records if not r["greedy"]] or greedy  # a run's evaluation may be greedy only
    if not sampled:
        return None
    seats = {
        seat: accuracy(_outcomes(r for r in sampled if (r["seat"] or "") == seat))
        for seat in sorted({r["seat"] or "" for r in sampled})
    }
    if cell.best_seat:
        trained = {seat: run for run in cell.runs for seat in seats if file_name(seat) == run.parent.name}
        best = best_seat(trained) if len(trained) == len(seats) else min(seats)
        sampled, greedy = ([r for r in kind if (r["seat"] or "") == best] for kind in (sampled, greedy))
    turns = [t for r in sampled for t in messages_of(r["turns"])]
    spent = [costs_of(r) for r in sampled]
    parsed = [answer_of(t) is not None for t in turns if t["score"] or t["truth"]]
    return Run(
        cell.seed,
        _outcomes(sampled),
        _outcomes(greedy),
        seats,
        float(np.mean(parsed)) if parsed else None,
        {name: sum(costs[name] for costs in spent) / len(spent) for name in spent[0]},
        _discussions(sampled),
        _speedups(sampled),
    )


def _outcomes(records: Iterable[Record]) -> Outcomes:
    outcomes: Outcomes = {}
    for r in records:
        outcomes.setdefault(r["question_id"], []).append(float(r["team_correct"]))
    return outcomes


def _speedups(records: Sequence[Record]) -> list[float]:
    scores = (turn["score"] for record in records for turn in record["turns"] if turn["score"])
    if not any(SPEEDUP in score.get("measures", ()) for score in scores):
        return []
    return [r.get("team_measures", {}).get(SPEEDUP, 0.0) if r["team_correct"] else 0.0 for r in records]


def _discussions(records: Iterable[Record]) -> dict[str, list[Discussion]]:
    by_question: dict[str, list[Discussion]] = {}
    for r in records:
        by_question.setdefault(r["question_id"], []).append(rounds_of(r["turns"]))
    return by_question


def pooled(parts: Iterable[Outcomes]) -> Outcomes:
    """Everything measured on each question in any of the parts."""
    together: Outcomes = {}
    for part in parts:
        for question, values in part.items():
            together.setdefault(question, []).extend(values)
    return together


def accuracy(outcomes: Outcomes) -> float:
    """Mean over questions, each counting the same."""
    return float(np.mean([np.mean(values) for values in outcomes.values()]))


def mean_of_known(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if all are."""
    known = [v for v in values if v is not None]
    return float(np.mean(known)) if known else None

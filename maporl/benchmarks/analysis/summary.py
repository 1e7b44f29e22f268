"""From records to the figures of a study: a row for every method, and paired comparisons with what it has to beat."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.across_runs import (
    MIN_RUNS,
    MIN_RUNS_PER_TASK,
    interquartile_mean,
    probability_of_improvement,
    t_interval,
)
from maporl.benchmarks.analysis.learning_curves import learning_curves
from maporl.benchmarks.analysis.outcomes import Measured, accuracy, counts, mean_of_known
from maporl.benchmarks.analysis.pass_at_k import pass_at_powers
from maporl.benchmarks.analysis.results import Cell, Results
from maporl.benchmarks.analysis.rounds import accuracy_by_round, flip_rates
from maporl.benchmarks.analysis.speedups import speedups
from maporl.benchmarks.analysis.statistics import clustered_interval, compare, holm, minimum_detectable_paired
from maporl.benchmarks.analysis.verifier_gap import verifier_gaps
from maporl.training.run_folder import RunFolder

__all__ = ["pooled_runs", "summarise"]


def summarise(results: Results) -> dict[str, Any]:
    """Accuracies, costs and comparisons of all methods, JSON-ready, from complete cells and from the tests of plain runs.

    Returns:
        | key | value |
        |---|---|
        | rows | one per task and method, in the order of the study; votes behind the first team they are matched to, oracles last |
        | comparisons | of every team with the votes that cost as much, and of every method with a single agent |
        | pooled | per method over all tasks, from 10 runs on: interquartile mean, its interval, probability of improvement |
        | rounds | of every row with a second round, task, method, oracle and the keys of `by_round.accuracy_by_round` |
        | flips | of every row whose agents have others, the same and the keys of `by_round.flip_rates` |
        | speedups | of every row whose answers are timed, the same and the keys of `speedups.speedups` |
        | gaps | of every row trained by a verifier that is not the truth, oracle and the keys of `verifier_gap.verifier_gaps` |

        A row: task, method, label, team, trained, oracle, matched [[team, "completion" | "all"], ...]; accuracy (the mean over seeds, ties
        by expectation; of sampled answers if there are any), low, high (95 % over questions), seeds [{seed, accuracy}], seeds_low,
        seeds_high (t interval over runs, None for one), greedy, best_seat (None where the best seat is the row), parse_rate, questions,
        generations, prompt_tokens, completion_tokens (per question), eval_s, train_s, failed [{seed, reason}], unfinished (seeds). Figures
        are None where nothing counts.

        A comparison: family ("vote of equal cost" | "single agent"), task, method, baseline, on ("completion" | "all" | None),
        difference, low, high, p, p_holm (within its family, over all tasks; what one vote says of both kinds of tokens counts once),
        test, questions, detectable (at 80 % power), seeds [{seed, difference}], seeds_low, seeds_high, seeds_left_out (that only one of
        the two has). Where `seeds` is empty they share none, and all of both are compared. An oracle is neither compared nor compared
        with.

        Pooled: method, oracle, runs, iqm, low, high, and of all but single agents and oracles improvement, improvement_low,
        improvement_high.
    """
    measured = {}
    for key, cells in results.by_method().items():
        by_seed: dict[int, Cell] = {}
        for cell in cells:  # of two studies with the same cell the first counts: they are no two runs
            by_seed.setdefault(cell.seed, cell)
        measured[key] = Measured.of(list(by_seed.values()))
    rows = _ordered([_row(task, method, one) for (task, method), one in measured.items()])
    trainings = learning_curves(cell for one in measured.values() for cell in one.cells)
    gaps = [gap | {"oracle": measured[gap["task"], gap["method"]].oracle} for gap in verifier_gaps(trainings)]
    return {
        "rows": rows,
        "comparisons": _comparisons(measured),
        "pooled": _pooled(rows),
        "rounds": _of_each(rows, measured, accuracy_by_round),
        "flips": _of_each(rows, measured, flip_rates),
        "speedups": _of_each(rows, measured, speedups),
        "gaps": gaps,
    }


def _of_each(
    rows: Iterable[Mapping[str, Any]],
    measured: Mapping[tuple[str, str], Measured],
    figures: Callable[[Measured], dict[str, Any] | None],
) -> list[dict[str, Any]]:
    """What `figures` computes of each row's measurements, where that is not None, in the order of the rows."""
    keys = ("task", "method", "oracle")
    pairs = [({key: row[key] for key in keys}, figures(measured[row["task"], row["method"]])) for row in rows]
    return [about | values for about, values in pairs if values]


def _row(task: str, method: str, measured: Measured) -> dict[str, Any]:
    cells, runs, seeds = measured.cells, measured.runs, measured.seeds
    outcomes = measured.outcomes
    low, high = clustered_interval(list(outcomes.values())) if outcomes else (None, None)
    across = t_interval(list(seeds.values())) if seeds else None
    seats = {seat for run in runs for seat in run.seats} if not cells[0].best_seat else set()
    counted = [cell for cell in cells if counts(cell)]
    return {
        "task": task,
        "method": method,
        "label": cells[0].run_name or cells[0].label,
        "team": cells[0].team,
        "trained": cells[0].trained,
        "oracle": measured.oracle,
        "matched": [list(pair) for pair in measured.matched],
        "accuracy": mean_of_known(seeds.values()),
        "low": low,
        "high": high,
        "seeds": [{"seed": seed, "accuracy": value} for seed, value in seeds.items()],
        "seeds_low": across[0] if across else None,
        "seeds_high": across[1] if across else None,
        "greedy": mean_of_known(accuracy(run.greedy) for run in runs if run.greedy),
        "best_seat": max(mean_of_known(run.seats.get(s) for run in runs) or 0.0 for s in seats)
        if len(seats) > 1
        else None,
        "pass_at": [{"k": k, "value": v} for k, v in pass_at_powers([r.outcomes for r in runs]).items()]
        if len(seats) < 2
        else [],
        "parse_rate": mean_of_known(run.parsed for run in runs),
        "questions": len(outcomes),
        **{
            n: mean_of_known(run.costs[n] for run in runs)
            for n in ("generations", "prompt_tokens", "completion_tokens", "judge_tokens")
        },
        "eval_s": mean_of_known(cell.costs.get("eval_s") for cell in counted),
        "train_s": mean_of_known(sum(map(_seconds, c.runs)) for c in counted if c.trained),
        "failed": [
            {"seed": c.seed, "reason": c.error or "no reason was written down"} for c in cells if c.status == "failed"
        ],
        "unfinished": [c.seed for c in cells if c.status in ("running", "waiting")],
    }


def _seconds(run: Path) -> float:
    """Seconds that a training has spent on sampling and updates so far."""
    return sum(row.get("time/rollout_s", 0.0) + row.get("time/update_s", 0.0) for row in RunFolder(run).metrics)


def _ordered(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows by task in the order of the study; a matched vote follows the first team that it is matched to, oracles come last."""
    ordered: list[dict[str, Any]] = []
    for task in dict.fromkeys(row["task"] for row in rows):
        of_task = [row for row in rows if row["task"] == task]
        leaders = {row["method"] for row in of_task if not row["matched"] and not row["oracle"]}
        followers = [row for row in of_task if row["matched"] and not row["oracle"]]
        for row in of_task:
            if row["method"] in leaders:
                votes = [v for v in followers if v["matched"][0][0] == row["method"]]
                ordered += [row, *sorted(votes, key=lambda v: v["matched"][0][1] != "completion")]
        ordered += [
            v for v in followers if v["matched"][0][0] not in leaders
        ]  # of an oracle, or of a team that is not here
        ordered += [row for row in of_task if row["oracle"]]
    return ordered


def _pairs(measured: Mapping[tuple[str, str], Measured]) -> Iterator[tuple[str, str, str, str, str | None]]:
    """(family, task, method, baseline, on) of everything that is compared."""
    for task, team in measured:
        votes = [(on, vote) for (t, vote), one in measured.items() if t == task for by, on in one.matched if by == team]
        for on, vote in sorted(votes, key=lambda pair: pair[0] != "completion"):
            yield "vote of equal cost", task, team, vote, on
    for (task, method), one in measured.items():
        # A matched vote is a yardstick itself.
        if one.baseline and not one.matched and (task, one.baseline) in measured:
            yield "single agent", task, method, one.baseline, None


def _comparisons(measured: Mapping[tuple[str, str], Measured]) -> list[dict[str, Any]]:
    comparisons: list[dict[str, Any]] = []
    for family, task, method, baseline, on in _pairs(measured):
        tested, reference = measured[task, method], measured[task, baseline]
        first, second = tested.seeds, reference.seeds
        differences = {seed: first[seed] - second[seed] for seed in first if seed in second}
        # Unequal seeds would let one side count more of its good runs.
        sides = [one.outcomes_of(differences) if differences else one.outcomes for one in (tested, reference)]
        if tested.oracle or reference.oracle or not sides[0].keys() & sides[1].keys():
            continue
        compared = compare(*sides)
        # The interval is made for shares, so differences are moved from -1..1 to 0..1 and back.
        across = t_interval([(d + 1) / 2 for d in differences.values()]) if differences else None
        comparisons.append(
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
                "seeds": [{"seed": seed, "difference": d} for seed, d in differences.items()],
                "seeds_low": 2 * across[0] - 1 if across else None,
                "seeds_high": 2 * across[1] - 1 if across else None,
                "seeds_left_out": sorted(first.keys() ^ second.keys()) if differences else [],
            }
        )
    for family in dict.fromkeys(c["family"] for c in comparisons):
        members = [c for c in comparisons if c["family"] == family]
        tests = {_test(c): c["p"] for c in members}
        corrected = dict(zip(tests, holm(list(tests.values())), strict=True))
        for comparison in members:
            comparison["p_holm"] = float(corrected[_test(comparison)])
    return comparisons


def _test(comparison: Mapping[str, Any]) -> tuple[str, ...]:
    """Which hypothesis a comparison tests: a vote that matches both kinds of tokens makes two comparisons and one test."""
    return tuple(comparison[name] for name in ("task", "method", "baseline"))


def pooled_runs(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[list[float]]]:
    """The accuracies of a method's runs on every task, of the methods that have enough of them to be pooled."""
    tasks = set(row["task"] for row in rows)
    pooled: dict[str, list[list[float]]] = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        runs = [[s["accuracy"] for s in row["seeds"]] for row in rows if row["method"] == method]
        if len(runs) == len(tasks) and sum(map(len, runs)) >= MIN_RUNS and min(map(len, runs)) >= MIN_RUNS_PER_TASK:
            pooled[method] = runs
    return pooled


def _pooled(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Methods over all tasks, where there are runs enough to say something; oracles last."""
    scores = pooled_runs(rows)
    oracles = {row["method"] for row in rows if row["oracle"]}
    pooled = []
    for method in sorted(scores, key=lambda m: m in oracles):
        runs, middle = scores[method], interquartile_mean(scores[method])
        entry: dict[str, Any] = {"method": method, "oracle": method in oracles, "runs": sum(map(len, runs))}
        entry |= {"iqm": middle.value, "low": middle.low, "high": middle.high}
        if "single_agent" in scores and method != "single_agent" and method not in oracles:
            better = probability_of_improvement(runs, scores["single_agent"])
            entry |= {"improvement": better.value, "improvement_low": better.low, "improvement_high": better.high}
        pooled.append(entry)
    return pooled

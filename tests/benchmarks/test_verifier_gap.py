"""A verifier's score and the truth during training: figures by hand, a table, a plot with a panel a row."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Canvas
from study_on_disk import cell, records, study

from maporl.benchmarks.figures import describe, looks
from maporl.benchmarks.plots import draw, write_plots
from maporl.benchmarks.report import collect
from maporl.benchmarks.results import Results, load_results
from maporl.benchmarks.summary import summarise
from maporl.benchmarks.tables import markdown, write_tables
from maporl.benchmarks.verifier_gap import Point, gap_points, verifier_gaps

S, G, A = (f"rollout/verifier_{name}_round_" for name in ("score", "gap", "auroc"))


def metrics(
    gaps: list[float], *, score: float = 0.75, aurocs: list[float | None] | None = None, last: int = 2
) -> dict[str, Any]:
    """A training's curves: one constant score, its distance from the truth iteration by iteration, in round `last`."""
    found = {
        f"{S}{last}": [[n, score] for n in range(1, len(gaps) + 1)],
        f"{G}{last}": [[n, g] for n, g in enumerate(gaps, 1)],
    }
    return found | {f"{A}{last}": [[n, a] for n, a in enumerate(aurocs or [], 1) if a is not None]}


def curve(method: str, found: dict[str, Any], seed: int = 0) -> dict[str, Any]:
    return {"task": "sums", "method": method, "label": method, "seed": seed, "run": f"seed_{seed}", "metrics": found}


def test_points_are_of_the_last_round_and_the_accuracy_of_the_same_messages() -> None:
    early, last = metrics([0.5], score=0.5, last=9), metrics([0.25, -0.25], aurocs=[None, 0.5], last=10)
    other = {"rollout/accuracy_round_10": [[1, 0.9]], "rollout/reward_mean": [[1, 0.9]]}
    assert gap_points(early | last | other) == [Point(1, 0.75, 0.5, None), Point(2, 0.75, 1.0, 0.5)]
    assert gap_points(other) == []  # what is rewarded is the truth
    holes = {f"{S}1": [[1, None], [2, float("nan")], [3, 0.5], [4, 0.5]], f"{G}1": [[1, 0.5], [2, 0.5], [3, 0.25]]}
    assert gap_points(holes) == [Point(3, 0.5, 0.25, None)]


def test_the_first_iteration_and_the_mean_of_the_last_three() -> None:
    long = metrics([0.125, 0.9, 0.25, 0.5, 0.75], aurocs=[1.0, 1.0, 0.5, None, 0.75])
    short = metrics([0.375, 0.125], score=0.5)
    rule = curve("mappo", {"rollout/accuracy_round_2": [[1, 0.5]]})
    (row,) = verifier_gaps([curve("learned", long), rule, curve("learned", short, seed=1)])
    assert {name: row[name] for name in row if name.endswith(("first", "last"))} == {
        "score_first": (0.75 + 0.5) / 2,
        "accuracy_first": (0.625 + 0.125) / 2,
        "gap_first": 0.25,
        "auroc_first": 1.0,  # of the run that has some
        "score_last": (0.75 + 0.5) / 2,
        "accuracy_last": (0.25 + 0.25) / 2,
        "gap_last": (0.5 + 0.25) / 2,
        "auroc_last": 0.625,
    }
    assert row["runs"] == [
        {"seed": 0, "run": "seed_0", "iterations": 5, "gap_first": 0.125, "gap_last": 0.5},
        {"seed": 1, "run": "seed_1", "iterations": 2, "gap_first": 0.375, "gap_last": 0.25},  # shorter than three
    ]


@pytest.fixture
def results(tmp_path: Path) -> Results:
    """A team trained by a learned verifier with two seeds, one by the truth, and an untrained one."""
    cells = [cell("debate", records([1, 0]), team=True)]
    for method, seed in (("learned", 0), ("learned", 1), ("mappo", 0)):
        run = f"runs/{method}/seed_{seed}"
        folder = tmp_path / "s" / run
        folder.mkdir(parents=True)
        lines = [{"iteration": n, "rollout/accuracy_round_2": 0.5} for n in (1, 2)]
        for n, line in enumerate(lines if method == "learned" else []):
            line |= {f"{S}2": 0.75 + seed / 8, f"{G}2": 0.25 * n, f"{A}2": 0.875}
        lines.append({"iteration": 2, "evaluation": "test", "test/accuracy": 0.5})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        cells.append(cell(method, records([1, 0]), seed=seed, team=True, trained=True, runs=[run]))
    return load_results([study(tmp_path / "s", cells)])


def test_table_and_file(results: Results, tmp_path: Path) -> None:
    summary = summarise(results)
    text = markdown(summary)
    assert "### sums: verifier's score and truth in training, last round; last: mean of 3 iterations" in text
    names = [
        "method",
        "iterations",
        "score, first",
        "accuracy, first",
        "gap, first",
        "score, last",
        "accuracy, last",
        "gap, last",
    ]
    assert f"| {' | '.join([*names, 'every run' + chr(39) + 's last gap', 'AUROC, first', 'AUROC, last'])} |" in text
    # Two iterations, so the end is the mean of both: score 13/16, gap 1/8.
    line = "| learned | 2 | 0.812 | 0.812 | +0.000 | 0.812 | 0.688 | +0.125 | +0.125 +0.125 | 0.875 | 0.875 |"
    assert line in text and text.count("| learned |") == 2  # its accuracy is the other one
    write_tables(summary, tmp_path / "t")
    (row,) = csv.DictReader((tmp_path / "t" / "verifier_gap.csv").open())
    assert (row["method"], row["oracle"], float(row["gap_last"])) == ("learned", "False", 0.125)
    assert row["runs"] == "0:seed_0:2:0.0:0.125; 1:seed_1:2:0.0:0.125"


def test_plot_lies_beside_the_others(results: Results, tmp_path: Path) -> None:
    payload = collect(results, summarise(results))
    files = [f.name for f in write_plots(payload.plots, payload.looks, tmp_path / "plots")]
    assert files[-2:] == ["sums_verifier_gap.png", "sums_verifier_gap.svg"]
    text = (tmp_path / "plots" / "sums_verifier_gap.svg").read_text()
    assert all(
        f">{words}</text>" in text
        for words in (
            "learned",
            "last round, sampled",
            "dashed: verifier's score, solid: accuracy; bold: mean over runs, thin: every run",
        )
    )
    assert ">mappo</text>" not in text


def test_a_panel_for_every_row_with_means_over_the_iterations_of_all_runs() -> None:
    runs = [metrics([0.25, 0.5], score=0.5), metrics([0.75], score=1.5)]
    curves = [curve("learned", one, seed) for seed, one in enumerate(runs)]
    curves += [curve(name, runs[1]) for name in ("noisy", "c", "d")] + [curve("rule", {"train/loss": [[1, 0.5]]})]
    about = {
        "task": "sums",
        "matched": [],
        "team": True,
        "trained": True,
        "oracle": False,
        "accuracy": None,
        "seeds": [],
    }
    rows = [{**about, "method": method} for method in ("learned", "noisy", "c", "d", "rule")]
    panels = [figure for figure in describe({"rows": rows}, curves) if figure.file == "verifier_gap"]
    assert [(s.style, s.points, s.detail) for s in panels[0].series] == [
        ("thin", [(1, 0.5), (2, 0.5)], "verifier's score, seed 0"),
        ("thin", [(1, 1.5)], "verifier's score, seed 1"),
        ("dashed", [(1, 1.0)], "verifier's score, mean"),
        ("thin", [(1, 0.25), (2, 0.0)], "accuracy, seed 0"),
        ("thin", [(1, 0.75)], "accuracy, seed 1"),
        ("line", [(1, 0.5)], "accuracy, mean"),
    ]
    assert (panels[0].series[-1].low, panels[0].series[-1].high) == ([0.5], [1.0])  # what is between them is shaded
    assert [series.style for series in panels[1].series] == ["dashed", "line"]  # one run is its own mean
    canvas = Canvas(figsize=(8.5, 5.6), layout="constrained")
    draw(canvas, panels, looks(rows))
    canvas.draw_without_rendering()
    assert [axes.get_title() for axes in canvas.axes] == ["learned", "noisy", "c", "d"]
    assert canvas.axes[0].get_ylim()[1] >= 1.5 and canvas.axes[0].get_ylim()[0] <= 0

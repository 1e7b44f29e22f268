"""Plots of a study: whole files with words in them, and no warning, whatever the figures."""

from __future__ import annotations

import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from matplotlib.image import imread

from maporl.benchmarks.report.figures import Axis, Figure, Look, Series, describe, looks
from maporl.benchmarks.report.plots import LINES, MARKERS, ROLES, draw, write_plots


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def row(method: str, accuracy: float | None = 0.5, cost: float | None = 10.0, **changes: Any) -> dict[str, Any]:
    known = accuracy is not None
    return {
        "task": "sums",
        "method": method,
        "team": False,
        "trained": False,
        "oracle": False,
        "matched": [],
        "accuracy": accuracy,
        "low": max(0.0, accuracy - 0.1) if known else None,
        "high": min(1.0, accuracy + 0.1) if known else None,
        "seeds": [{"seed": 0, "accuracy": accuracy}] if known else [],
        "generations": 5.0 if "@" in method else 1.0,
        "prompt_tokens": 2 * cost if cost else cost,
        "completion_tokens": cost,
        "judge_tokens": 0.0,
        **changes,
    }


def curve(
    method: str, points: list[list[float | None]], name: str = "rollout/accuracy_last_round", seed: int = 0
) -> dict[str, Any]:
    return {"task": "sums", "method": method, "label": method, "seed": seed, "metrics": {name: points}}


def talk(method: str, *accuracies: float | None) -> dict[str, Any]:
    return {"task": "sums", "method": method, "rounds": list(accuracies)}


def team(method: str, *votes: float | None) -> dict[str, Any]:
    """A team's metrics of collaboration, as far as figures need them."""
    rounds = [{"round": t, "vote_accuracy": vote} for t, vote in enumerate(votes)]
    return {"task": "sums", "method": method, "metrics": {"rounds": rounds}}


def described(rows: list[dict[str, Any]], **more: Any) -> dict[str, Figure]:
    """The figures by file, or by what a reader chooses."""
    figures = describe({"rows": rows, "rounds": more.get("rounds", [])}, more.get("curves", []), more.get("teams", []))
    return {figure.file or figure.choice: figure for figure in figures}


def written(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, str]:
    """Text of the SVG files by name; both files of every plot are whole, and nothing else is there."""
    figures = describe({"rows": rows, "rounds": more.get("rounds", [])}, more.get("curves", []), more.get("teams", []))
    files = write_plots(figures, looks(rows), folder)
    assert sorted(files) == sorted(folder.iterdir())
    texts = {}
    for file in files:
        if file.suffix == ".svg":
            root = ET.parse(file).getroot()
            assert root.tag.endswith("svg")
            texts[file.stem] = "\n".join("".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text"))
        else:
            pixels = imread(file)[..., :3]
            assert pixels.shape[1] == 1700
            assert pixels.std() > 0.02 and np.all(pixels[:3] == 1)  # drawn on white
    return texts


def drawn(figure: Figure, rows: list[dict[str, Any]]) -> Any:
    """The axes of a figure."""
    canvas = Canvas(figsize=(8.5, 4.5), layout="constrained")
    draw(canvas, [figure], looks(rows))
    return canvas.axes[0]


def by_method(figure: Figure) -> dict[str, Series]:
    return {series.method: series for series in figure.series}


STUDY = [
    row("single_agent", 0.3, 5.0),
    row("debate", 0.6, 20.0, team=True),
    row("self_consistency@5", 0.4, 25.0, matched=[["debate", "completion"]]),
    row("mappo", 0.7, 20.0, team=True, trained=True, seeds=[{"seed": s, "accuracy": 0.6 + s / 10} for s in range(3)]),
    row("single_agent/mappo", 0.35, 5.0, trained=True),
    row("failed", None, None, team=True),
    row("best_of_k@5", 0.8, 25.0, oracle=True),
]


def test_every_plot_of_a_study(tmp_path: Path) -> None:
    curves = [curve("mappo", [[1, 0.4], [2, 0.5]]), curve("mappo", [[1, 0.3], [2, 0.6], [3, 0.7]])]
    talks = [talk("debate", 0.4, 0.6), talk("mappo", 0.5, 0.7, 0.8)]
    found = written(tmp_path / "new", STUDY, curves=curves, rounds=talks)
    assert list(found) == ["sums_accuracy", "sums_cost", "sums_rounds", "sums_learning"]
    methods = [r["method"] for r in STUDY if r["accuracy"] is not None]
    for name in ("sums_accuracy", "sums_cost"):
        text = found[name]
        assert all(re.search(rf"^ {re.escape(method)}( \(ORACLE\))?$", text, re.MULTILINE) for method in methods)
        assert "failed" not in text and "best_of_k@5 (ORACLE)" in text
    assert "ORACLE: an upper bound, no baseline" in found["sums_accuracy"]
    assert "lone agent, several answers" in found["sums_accuracy"]
    assert "sums: accuracy" in found["sums_accuracy"] and "ticks: every seed" in found["sums_accuracy"]
    assert "prompt and completion tokens per question" in found["sums_cost"]
    assert {"20", "50", "100"} <= set(found["sums_cost"].split("\n"))
    for name in ("sums_learning", "sums_rounds"):
        assert "mappo" in found[name] and "single_agent" not in found[name]
    assert "bold: mean over runs" in found["sums_learning"] and "hollow marks: untrained" in found["sums_rounds"]


def test_the_same_figures_give_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        written(tmp_path / name, STUDY)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes()


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row("debate")], id="one method"),
        pytest.param([row("debate", 0.0), row("mappo", 0.0)], id="all wrong, all equal costs"),
        pytest.param([row("debate", 1.0), row("mappo", 1.0, 1e6)], id="all right, costs far apart"),
        pytest.param([row("best_of_k@5", oracle=True)], id="an oracle alone"),
        pytest.param([row(f"method_{n}", n / 40, 10.0 + n % 3) for n in range(40)], id="many methods in one place"),
        pytest.param([row("x" * 200), row("_hidden"), row("a $b_{c$ \\d"), row("日本 <&>"), row("")], id="odd names"),
    ],
)
def test_figures_at_the_edge(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = written(tmp_path / "p", rows)
    assert list(found) == ["sums_accuracy", "sums_cost"]


def test_nothing_to_draw(tmp_path: Path) -> None:
    assert written(tmp_path / "p", []) == {}
    assert written(tmp_path / "q", [row("debate", None, None)]) == {}
    assert list(written(tmp_path / "r", [row("debate", cost=None)])) == ["sums_accuracy"]


def test_curves_without_points_are_no_curves(tmp_path: Path) -> None:
    rows = [row("sft"), row("mappo"), row("ippo")]
    nothing = [
        curve("sft", [[1, 2.0]], "train/loss"),
        curve("mappo", [[1, None], [2, float("nan")]]),
        curve("gone", [[1, 0.5]]),
    ]
    short = [talk("sft", None, 0.5), talk("mappo", 0.5), talk("ippo")]
    assert list(written(tmp_path / "p", rows, curves=nothing, rounds=short)) == ["sums_accuracy", "sums_cost"]
    apart = [*nothing, curve("ippo", [[1, 0.5]]), curve("sft", [[1, 0.5]]), curve("sft", [[2, 0.5]])]
    found = written(tmp_path / "q", rows, curves=apart, rounds=[*short, talk("ippo", 0.5, None, 0.25)])
    assert " ippo" in found["sums_learning"].split("\n") and " mappo" not in found["sums_learning"].split("\n")
    assert list(found)[2:] == ["sums_rounds", "sums_learning"]


@pytest.mark.parametrize(("trained", "hollow", "said"), [(True, [True, False], True), (False, [True, True], False)])
def test_rounds_of_what_is_untrained_have_hollow_marks(trained: bool, hollow: list[bool], said: bool) -> None:
    rows = [row("debate", team=True), row("mappo", team=True, trained=trained), row("sft")]
    talks = [talk("debate", 0.4, 0.6), talk("mappo", 0.5, None, 0.7), talk("sft", 0.5)]
    figure = described(rows, rounds=talks, teams=[team("mappo", 0.5, 0.75), team("sft", 1.0, 1.0)])["rounds"]
    vote, *lines = figure.series
    assert (vote.method, vote.style, vote.points) == ("mappo", "dashed", [(1, 0.5), (2, 0.75)])
    assert [line.points for line in lines] == [[(1, 0.4), (2, 0.6)], [(1, 0.5), (3, 0.7)]]
    assert [line.hollow for line in lines] == hollow and ("hollow" in figure.key) == said
    faces = [line.get_markerfacecolor() for line in drawn(figure, rows).lines[1:]]
    assert [face == "white" for face in faces] == hollow


def test_metrics_of_interest_come_first_and_every_one_has_means_over_the_iterations_of_all_runs() -> None:
    many = [[n, 0.5] for n in range(4)]
    curves = [curve("mappo", many, "train/kl"), curve("mappo", many, "rollout/accuracy_round_2")]
    curves += [curve("mappo", many, "rollout/accuracy_round_10"), curve("mappo", [[1, 0.5]], "eval/accuracy")]
    curves += [curve("mappo", [[1, 0.25], [2, 1.0]], seed=seed) for seed in (0,)]
    curves += [curve("mappo", [[1, 0.75], [2, None], [3, 1.0]], seed=1)]
    found = {name: figure for name, figure in described(STUDY, curves=curves).items() if figure.choice}
    rounds = ["rollout/accuracy_round_10", "rollout/accuracy_round_2"]
    assert list(found) == [*rounds, "eval/accuracy", "learning", "train/kl"]
    assert found[rounds[0]].y == Axis("accuracy while training, round 10", "share")
    assert [(s.style, s.points) for s in found["learning"].series] == [
        ("thin", [(1, 0.25), (2, 1.0)]),
        ("thin", [(1, 0.75), (3, 1.0)]),
        ("line", [(1, 0.5)]),
    ]


def test_tasks_have_files_of_their_own(tmp_path: Path) -> None:
    rows = [row("debate", task=task) for task in ("a/b", "a:b", "../up")]
    assert [name for name in written(tmp_path / "p", rows) if name.endswith("accuracy")] == [
        "a_b_accuracy",
        "a_b_1_accuracy",
        "___up_accuracy",
    ]


def test_performance_profile_of_enough_runs(tmp_path: Path) -> None:
    runs = [{"seed": n, "accuracy": n / 10} for n in range(10)]
    found = written(tmp_path / "p", [row("debate", seeds=runs), row("mappo", seeds=runs[:9])])
    assert list(found) == ["sums_accuracy", "sums_cost", "performance_profile"]
    lines = found["performance_profile"].split("\n")
    assert " debate" in lines and " mappo" not in lines and "share of runs above it" in lines


def test_methods_look_different_and_teams_most() -> None:
    rows = [row(f"m{n}", team=n >= 13, oracle=n == 0) for n in range(20)]
    found = looks([*rows, row("m3", task="words")])
    shown = {method: (look.number % len(LINES), look.number % len(MARKERS)) for method, look in found.items()}
    assert len(set(shown.values())) == len(shown) == 20
    assert len({shown[f"m{n}"][0] for n in range(13, 20)}) == 7
    assert [method for method, look in found.items() if look.oracle] == ["m0"]


def test_an_oracle_is_hollow_and_a_vote_grey() -> None:
    found = by_method(described([*STUDY, row("self_consistency@9")])["accuracy"])
    assert len({series.role for series in found.values()}) == 6
    assert [method for method, series in found.items() if series.hollow] == ["best_of_k@5"]
    vote = found["self_consistency@5"].role
    red, green, blue = (int(ROLES[vote][n : n + 2], 16) for n in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 20
    assert found["self_consistency@9"].role == vote  # asked for by the user


def test_the_front_is_what_no_cheaper_method_beats() -> None:
    figure = described(STUDY)["cost"]
    front, *marks = figure.series
    rows = [r for r in STUDY if r["accuracy"] is not None]
    assert [mark.points for mark in marks] == [[(3 * r["completion_tokens"], r["accuracy"])] for r in rows]
    # The better of two single agents, then the team, to the right end; neither votes nor the oracle.
    assert front.points == [(15.0, 0.35), (60.0, 0.7), (75.0, 0.7)]
    best = {mark.method: mark.detail for mark in marks if mark.detail}
    assert best == {name: "best for its cost" for name in ("mappo", "single_agent/mappo")} | {"best_of_k@5": "oracle"}
    axes = drawn(figure, STUDY)
    steps = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    assert [list(map(tuple, line.get_xydata())) for line in steps] == [front.points]


def test_of_lines_that_lie_on_one_another_all_are_seen() -> None:
    talks = [talk("debate", 0.4, 0.6), talk("mappo", 0.4, 0.6)]
    below, above = drawn(described(STUDY, rounds=talks)["rounds"], STUDY).lines
    assert below.get_linewidth() > above.get_linewidth() + 1


def test_a_share_beyond_1_is_drawn_whole() -> None:
    figure = Figure(
        "sums", "Said", Axis("iteration", "count"), Axis("said", "share"), [Series("m", [(1, 0.5), (2, 1.75)])]
    )
    low, high = drawn(figure, [row("m")]).get_ylim()
    assert low <= 0 and high >= 1.75
    assert looks([row("m")]) == {"m": Look(0, False)}


def test_accuracies_are_drawn_from_top_to_bottom_with_oracles_apart() -> None:
    rows = [row("best_of_k@5", 0.8, oracle=True), row("debate", 0.5), row("mappo", 0.6)]
    axes = drawn(described(rows)["accuracy"], rows)
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert points == [(0.5, 0.0), (0.6, -1.0), (0.8, -2.6)]
    assert [t.get_text() for t in axes.get_yticklabels()] == [" debate", " mappo", " best_of_k@5 (ORACLE)"]

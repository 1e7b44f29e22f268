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
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from maporl.benchmarks import plots
from maporl.benchmarks.plots import write_plots


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
        "prompt_tokens": 2 * cost if cost else cost,
        "completion_tokens": cost,
        **changes,
    }


def curve(method: str, points: list[list[float | None]], name: str = "rollout/accuracy_round_1") -> dict[str, Any]:
    return {"task": "sums", "method": method, "metrics": {name: points}}


def talk(method: str, *accuracies: float | None) -> dict[str, Any]:
    return {"task": "sums", "method": method, "rounds": list(accuracies)}


def written(folder: Path, rows: list[dict[str, Any]], **more: Any) -> dict[str, str]:
    """Text of the SVG files by name; both files of every plot are whole, and nothing else is there."""
    files = write_plots({"summary": rows, "curves": [], "rounds": [], **more}, folder)
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
    assert list(found) == ["sums_accuracy", "sums_cost", "sums_learning", "sums_rounds"]
    methods = [r["method"] for r in STUDY if r["accuracy"] is not None]
    for name in ("sums_accuracy", "sums_cost"):
        text = found[name]
        assert all(re.search(rf"^\d* {re.escape(method)}( \(ORACLE\))?$", text, re.MULTILINE) for method in methods)
        assert "failed" not in text
        assert "ORACLE: an upper bound, no baseline" in text and "vote of a lone agent" in text
    assert "sums: accuracy" in found["sums_accuracy"] and "ticks: every seed" in found["sums_accuracy"]
    assert "prompt and completion tokens per question" in found["sums_cost"]
    assert {"20", "50", "100"} <= set(found["sums_cost"].split("\n"))
    for name in ("sums_learning", "sums_rounds"):
        assert "mappo" in found[name] and "single_agent" not in found[name]
    assert "iteration" in found["sums_learning"] and "round; hollow marks: untrained" in found["sums_rounds"]


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
    assert list(found)[2:] == ["sums_learning", "sums_rounds"]


def test_rounds_of_what_is_untrained_have_hollow_marks() -> None:
    looks = plots._looks(STUDY)
    talks = {"debate": [(1, 0.4), (2, 0.6)], "mappo": [(1, 0.5), (2, 0.7)], "sft": [(1, 0.5)]}
    for untrained, hollow, words in (
        ({"debate"}, ["white", looks["mappo"]["color"]], True),
        (set(talks), ["white"] * 2, False),
    ):
        axes = Figure(figsize=(8.5, 4.5), layout="constrained").subplots()
        plots._rounds(axes, "sums", talks, untrained, looks)
        assert [line.get_markerfacecolor() for line in axes.lines] == hollow
        assert ("hollow" in axes.get_xlabel()) == words


def test_the_last_round_is_the_one_with_the_highest_number() -> None:
    metrics = {f"rollout/accuracy_round_{n}": [[1, n / 100]] for n in (2, 10, 9)}
    assert plots._last_round({"metrics": metrics}) == [(1, 0.1)]


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
    looks = plots._looks([*rows, row("m3", task="words")])
    assert len({(look["color"], look["linestyle"]) for look in looks.values()}) == len(looks) == 20
    assert len({looks[f"m{n}"]["color"] for n in range(13, 20)}) == 7
    assert [m for m, look in looks.items() if look["label"].endswith("(ORACLE)")] == ["m0"]


def test_an_oracle_is_hollow_and_a_vote_grey() -> None:
    roles = {r["method"]: plots._role(r) for r in STUDY}
    assert len(set(roles.values())) == 6
    marks = {r["method"]: plots._mark(r) for r in STUDY}
    assert [m for m, mark in marks.items() if mark["markerfacecolor"] == "white"] == ["best_of_k@5"]
    red, green, blue = (int(marks["self_consistency@5"]["color"][n : n + 2], 16) for n in (1, 3, 5))
    assert max(red, green, blue) - min(red, green, blue) < 20
    assert plots._role(row("self_consistency@9")) == roles["self_consistency@5"]  # asked for by the user


def test_numbers_cover_neither_points_nor_one_another() -> None:
    figure = Figure(figsize=(8.5, 4.5), layout="constrained")
    axes = figure.subplots()
    rows = [row(f"m{n}", 0.5 + 0.01 * (n % 4), 10.0 + 0.1 * (n // 4)) for n in range(12)]
    plots._cost(axes, rows)
    figure.draw_without_rendering()
    assert [t.get_text() for t in axes.texts] == [str(n) for n in range(1, 13)]
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # without its line to the point
    for n, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[n + 1 :])
        for x, y in axes.transData.transform([(30.0 + 0.3 * (m // 4), 0.5 + 0.01 * (m % 4)) for m in range(12)]):
            assert not box.contains(x, y)


def test_the_front_is_what_no_cheaper_method_beats() -> None:
    axes = Figure(figsize=(8.5, 4.5), layout="constrained").subplots()
    rows = [r for r in STUDY if r["accuracy"] is not None]
    plots._cost(axes, rows)
    points = [
        tuple(map(float, (*line.get_xdata(), *line.get_ydata()))) for line in axes.lines if line.get_marker() == "o"
    ]
    assert points == [(3 * r["completion_tokens"], r["accuracy"]) for r in rows]
    (front,) = [line for line in axes.lines if line.get_drawstyle() == "steps-post"]
    # The better of two single agents, then the team, to the right end; neither votes nor the oracle.
    assert list(map(tuple, front.get_xydata())) == [(15.0, 0.35), (60.0, 0.7), (75.0, 0.7)]


def test_accuracies_are_drawn_from_top_to_bottom_with_oracles_apart() -> None:
    axes = Figure(figsize=(8.5, 4.5), layout="constrained").subplots()
    rows = [row("best_of_k@5", 0.8, oracle=True), row("debate", 0.5), row("mappo", 0.6)]
    plots._accuracy(axes, rows)
    points = [(line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines if line.get_marker() == "o"]
    assert points == [(0.5, 0.0), (0.6, -1.0), (0.8, -2.6)]
    assert [t.get_text() for t in axes.get_yticklabels()] == [" debate", " mappo", " best_of_k@5 (ORACLE)"]

"""Accuracy by round and flips of a study's rows, against discussions whose figures can be worked out by hand."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from study_on_disk import cell, record, study, turn

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.rounds import flip_lines
from maporl.benchmarks.analysis.statistics import compare
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report.tables import csv_text, latex, markdown, screen, write_tables


def talk(question: str, *rounds: str, unjudged: str = "", **changes: Any) -> dict[str, Any]:
    """A discussion; a round is a word such as "RW": the first agent right, the second wrong. `unjudged` are rounds by number."""
    turns = [
        turn("4" if letter == "R" else "5", agent=f"agent_{a}", round=t)
        | ({"truth": None, "score": None} if str(t) in unjudged else {})
        for t, letters in enumerate(rounds)
        for a, letter in enumerate(letters)
    ]
    agents = sorted({t["agent"] for t in turns})
    return record(question, 1.0, turns=turns, agents=agents, num_rounds=len(rounds), **changes)


def summary(tmp_path: Path, *cells: dict[str, Any]) -> dict[str, Any]:
    return summarise(load_results([study(tmp_path / "s", cells)]))


def test_accuracy_by_round_is_the_mean_over_seeds_of_the_mean_over_questions(tmp_path: Path) -> None:
    first = [talk("a", "RW", "RR"), talk("a", "WW", "RR", sample=1), talk("b", "WW", "WR")]  # a: 1/4, 1; b: 0, 1/2
    second = [talk("a", "RR", "RR"), talk("b", "RW", "WW")]  # a: 1, 1; b: 1/2, 0
    found = summary(tmp_path, cell("debate", first, team=True), cell("debate", second, team=True, seed=3))
    (row,) = found["rounds"]
    assert (row["task"], row["method"], row["oracle"], row["questions"]) == ("sums", "debate", False, 2)
    assert row["rounds"] == pytest.approx([(0.125 + 0.75) / 2, (0.75 + 0.5) / 2])
    assert row["gain"] == pytest.approx(0.1875)
    assert row["seeds"] == [
        {"seed": 0, "round_1": 0.125, "round_2": 0.75, "gain": 0.625},
        {"seed": 3, "round_1": 0.75, "round_2": 0.5, "gain": -0.25},
    ]
    paired = compare({"a": [1, 1, 1], "b": [0.5, 0]}, {"a": [0.5, 0, 1], "b": [0, 0.5]})
    assert (row["low"], row["high"]) == (paired.low, paired.high)
    assert row["low"] < row["gain"] < row["high"]


def test_a_discussion_that_ended_keeps_its_last_round(tmp_path: Path) -> None:
    (row,) = summary(tmp_path, cell("reconcile", [talk("a", "RR"), talk("b", "RW", "WW", "RR")], team=True))["rounds"]
    assert row["rounds"] == [(1 + 0.5) / 2, (1 + 0) / 2, 1]


def test_what_nobody_judged_does_not_count(tmp_path: Path) -> None:
    answers = [talk("a", "RW", "RR", "RW", unjudged="0"), talk("b", "RR", "WW", "RR", unjudged="0")]
    found = summary(tmp_path, cell("pipeline", answers, team=True))
    (row,) = found["rounds"]
    assert row["rounds"] == [None, 0.5, 0.75]
    assert row["gain"] is row["low"] is row["high"] is row["seeds"][0]["gain"] is None
    assert "| pipeline | 0.500 | 0.750 |" in markdown(found)  # neither a first round nor a gain to show


def test_sampled_answers_count_and_greedy_ones_only_alone(tmp_path: Path) -> None:
    greedy = [talk("a", "RR", "RR", greedy=True)]
    found = summary(
        tmp_path, cell("debate", [talk("a", "WW", "WR"), *greedy], team=True), cell("mappo", greedy, team=True)
    )
    assert [row["rounds"] for row in found["rounds"]] == [[0, 0.5], [1, 1]]


def test_rows_without_a_second_round_have_no_table(tmp_path: Path) -> None:
    alone = [talk("a", "R"), talk("b", "W")]
    revised = [talk("a", "W", "R")]
    found = summary(
        tmp_path, cell("single_agent", alone), cell("self_refine", revised), cell("mappo", None, status="failed")
    )
    assert [row["method"] for row in found["rounds"]] == ["self_refine"]
    assert found["flips"] == []  # a lone agent has no others
    nothing = summarise(load_results([study(tmp_path / "alone", [cell("single_agent", alone)])]))
    assert nothing["rounds"] == nothing["flips"] == nothing["gaps"] == []
    assert "round" not in markdown(nothing).replace("rounds", "")
    assert not {"rounds.csv", "flips.csv", "verifier_gap.csv"} & {f.name for f in write_tables(nothing, tmp_path / "t")}


def three(tmp_path: Path) -> dict[str, Any]:
    """Three agents. a: RWW -> WRW, b: RRW -> RRR -> RRR, and an oracle that never changes."""
    answers = [talk("a", "RWW", "WRW"), talk("b", "RRW", "RRR", "RRR")]
    oracle = cell("shown", [talk("a", "RW", "RW")], team=True, oracle=True)
    return summary(tmp_path, oracle, cell("debate", answers, team=True))


def test_flips_by_the_majority_of_the_others(tmp_path: Path) -> None:
    found = three(tmp_path)
    row = next(r for r in found["flips"] if r["method"] == "debate")
    # a, round 1: the others of the first are WW, of the second and third RW (tied).
    # b, round 1: the others of the first two are RW (tied), of the third RR. Round 2: all RR.
    own = {
        kind: [m[n] for n in ("right_right", "right_wrong", "wrong_right", "wrong_wrong")]
        for kind, m in row["own"].items()
    }
    assert own == {"wrong_majority": [0, 1, 0, 0], "tie": [2, 0, 1, 1], "right_majority": [3, 0, 1, 0]}
    # The others' majority. a: the first's WW -> RW is tied, so are both others'; b: RW, RW tied, RR -> RR of the wrong third.
    # Round 2: RR -> RR of three right ones.
    others = {
        own: [m[n] for n in ("right_right", "right_wrong", "wrong_right", "wrong_wrong", "tied")]
        for own, m in row["others"].items()
    }
    assert others == {"own_right": [3, 0, 0, 0, 3], "own_wrong": [1, 0, 0, 0, 2]}


def test_flips_are_tables_with_counts_and_lines_of_csv(tmp_path: Path) -> None:
    found = three(tmp_path)
    text = markdown(found)
    names = "| method | R to W, others right | W to R, others right | R to W, others wrong |"  # nobody was wrong among wrong ones
    assert f"{names} R to W, others tied | W to R, others tied |" in text
    assert (
        "| debate | 0.000 (0 of 3; 0.000) | 1.000 (1 of 1; 1.000) | 1.000 (1 of 1; 1.000) | 0.000 (0 of 2; 0.000)"
        in text
    )
    assert "| shown (ORACLE: knows the gold answer) |  | 0.000 (0 of 1; 0.000) | 0.000 (0 of 1; 0.000) |  |" in text
    assert "| method | R to W, own right | W to R, own right | R to W, own wrong | left out: tied |" in text
    assert "| debate | 0.000 (0 of 3; 0.000) |  | 0.000 (0 of 1; 0.000) | 5 |" in text
    lines = list(csv.DictReader(io.StringIO(csv_text(flip_lines(found["flips"])))))
    assert [(n["method"], n["flips_of"], n["given"]) for n in lines if n["method"] == "debate"] == [
        ("debate", "own", "wrong_majority"),
        ("debate", "own", "tie"),
        ("debate", "own", "right_majority"),
        ("debate", "others", "own_right"),
        ("debate", "others", "own_wrong"),
    ]
    tie = next(n for n in lines if (n["method"], n["given"]) == ("debate", "tie"))
    assert (tie["wrong_right"], tie["wrong_wrong"], tie["wrong_to_right_rate"], tie["tied"]) == ("1", "1", "0.5", "")
    assert "R to W, others right" in latex(found)


def test_by_round_has_every_round_that_a_row_has(tmp_path: Path) -> None:
    found = three(tmp_path)
    text = markdown(found)
    assert "| method | round 1 | round 2 | round 3 | gain |" in text
    assert "| debate | 0.500 | 0.667 | 0.667 | +0.167 |" in text
    assert "| shown (ORACLE: knows the gold answer) | 0.500 | 0.500 |  | +0.000 |" in text
    assert [part.heading for part in screen(found)] == ["sums, accuracy"]  # a terminal gets the main tables only
    files = write_tables(found, tmp_path / "t")
    assert [f.name for f in files][2:] == ["methods.csv", "rounds.csv", "flips.csv"]
    (line,) = [
        n for n in csv.DictReader(io.StringIO((tmp_path / "t/rounds.csv").read_text())) if n["method"] == "debate"
    ]
    assert [round(float(v), 3) for v in line["rounds"].split("; ")] == [0.5, 0.667, 0.667]
    assert line["seeds"].startswith("0:0.5:0.66")


def test_of_several_trainings_the_best_seat_counts_alone(tmp_path: Path) -> None:
    answers = [talk("a", "WW", "RR", seat="agent_0"), talk("a", "WW", "WW", seat="agent_1")]
    (row,) = summary(tmp_path, cell("train_one/mappo", answers, team=True, best_seat=True))["rounds"]
    assert row["rounds"] == [0, 1]  # without trainings the first seat is the row, as in the table of accuracies

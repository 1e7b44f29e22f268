"""What the report's page holds: columns for filters, texts, curves, notes on what is missing."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import METHODS, cell, record, results, summary, turn

from maporl.benchmarks.analysis.learning_curves import learning_curves
from maporl.benchmarks.analysis.results import Results, load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report import Payload, collect
from maporl.benchmarks.report.discussions import Discussions
from maporl.benchmarks.report.packing import PIECE, clean

TEAM = METHODS[3]


def unpacked(block: str) -> Any:
    return json.loads(gzip.decompress(base64.b64decode(block)))


def indexed(*records: dict[str, Any]) -> tuple[dict[str, Any], list[Any]]:
    discussions = Discussions()
    discussions.add(0, "apples", records, "apples, debate, seed 0")
    packed = discussions.finish()
    return unpacked(packed.index), [unpacked(piece) for piece in packed.pieces]


def flags(index: dict[str, Any], i: int = 0) -> set[str]:
    return {name for bit, name in enumerate(index["flag_names"]) if index["flags"][i] >> bit & 1}


class TestIndex:
    def test_a_fixed_discussion_by_hand(self) -> None:
        index, pieces = indexed(record())
        assert index["first"] == [0.0] and index["correct"] == [1.0]
        assert index["marks"] == ["00/11"]
        assert index["answers"][index["answer"][0]] == "4"
        assert flags(index) == set()
        assert index["questions"] == [[0, "q0", "What is 0 + 4 - 0?", "4"]]
        assert index["length"] == [sum(len(t["text"]) for t in record()["turns"])]
        assert [t[:3] for t in pieces[0][0]["turns"]][0] == ["agent_0", 0, "I say 3. Answer: 3"]

    def test_feedback_has_no_part_in_the_facts_and_is_marked(self) -> None:
        heard = [{**turn("tally", 0, "2 of 2 say 3.", None, None), "truth": None, "score": None, "kind": "feedback"}]
        plain, (index, pieces) = indexed(record()), indexed(record(turns=[*record()["turns"], *heard]))
        for name in ("first", "marks", "flags", "correct"):
            assert index[name] == plain[0][name], name
        assert [t[10] for t in pieces[0][0]["turns"]] == [0, 0, 0, 0, 1]

    def test_a_tie_in_the_first_round_counts_by_expectation(self) -> None:
        turns = [turn("a", 0, "4", "4", True), turn("b", 0, "5", "5", False), turn("a", 1, "4", "4", True)]
        assert indexed(record(turns=turns, agents=["a", "b"]))[0]["first"] == [0.5]

    def test_one_round_fixes_nothing_whatever_chose_its_answer(self) -> None:
        turns = [turn("a", 0, "4", "4", True), turn("b", 0, "5", "5", False), turn("c", 0, "5", "5", False)]
        index, _ = indexed(record(turns=turns, agents=["a", "b", "c"], oracle=True))
        assert index["first"] == index["correct"] == [1.0]
        assert flags(index) == {"disagreement", "oracle"}

    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            ({"turns": [turn("agent_0", 0, "?", None, False)]}, {"no_answer", "never"}),
            ({"turns": [turn("agent_0", 0, "4", "4", True)]}, {"always"}),
            ({"turns": [turn("agent_0", 0, "4", "4", None)]}, {"unknown", "never"}),
            ({"turns": [turn("agent_0", 0, "4", "4", True, truncated=True)]}, {"always", "truncated"}),
            ({"turns": []}, set()),
            ({"greedy": True, "oracle": True, "overflow": True}, {"greedy", "oracle", "overflow"}),
            ({"ablated": {"team_correct": 0.0, "turns": []}}, {"ablated"}),
        ],
    )
    def test_flags(self, changes: dict[str, Any], expected: set[str]) -> None:
        assert flags(indexed(record(**changes))[0]) == expected

    def test_silent_agents_and_unknown_verdicts_have_marks_of_their_own(self) -> None:
        turns = [turn("a", 0, "4", "4", True), turn("b", 0, "x", "x", None), turn("b", 1, "5", "5", False)]
        assert indexed(record(turns=turns, agents=["a", "b"]))[0]["marks"] == ["1?/-0"]

    def test_equal_texts_are_two_questions_and_one_question_of_two_methods_is_one(self) -> None:
        discussions = Discussions()
        same = {"question": "Twice?", "gold": "4"}
        discussions.add(0, "apples", [record(0, **same), record(1, **same)], "first")
        discussions.add(1, "apples", [record(0, **same)], "second")
        discussions.add(2, "pears", [record(0, **same)], "third")
        index = unpacked(discussions.finish().index)
        assert index["question"] == [0, 1, 0, 2]
        assert index["cell"] == [0, 0, 1, 2]
        assert [entry[0] for entry in index["questions"]] == [0, 0, 1]

    def test_pieces_are_cut_by_size_and_their_starts_are_known(self) -> None:
        long = [record(k, turns=[turn("agent_0", 0, "x" * (PIECE // 2), "4", True)]) for k in range(5)]
        index, pieces = indexed(*long)
        assert index["starts"] == [0, 2, 4]
        assert [len(piece) for piece in pieces] == [2, 2, 1]

    def test_any_text_survives(self) -> None:
        text = "\ud800 </script> \u2028 \x00 \u202e 🜁 é"
        index, pieces = indexed(record(question=text, turns=[turn("agent_0", 0, text, text, True)]))
        assert index["questions"][0][2] == text
        assert pieces[0][0]["turns"][0][2] == text

    def test_a_record_of_another_form_is_left_out_and_said(self) -> None:
        discussions = Discussions()
        odd = [record(0, turns=[{"agent": "a"}]), record(1, turns=None), record(2, agents=3), record(3)]
        assert discussions.add(0, "apples", odd, "apples, debate, seed 0") == 1
        assert discussions.problems == ["apples, debate, seed 0: 3 records of unexpected form left out; evaluate again"]
        index = unpacked(discussions.finish().index)
        assert index["questions"][index["question"][0]][1] == "q3"

    def test_older_records_without_optional_fields_are_kept(self) -> None:
        old = record()
        del old["private"], old["ablated"], old["tied"]
        for t in old["turns"]:
            del t["reward"], t["advantage"], t["prompt_tokens"]
        assert indexed(old)[1][0][0]["turns"][0][5:8] == [None, None, 0]

    def test_numbers_that_json_does_not_know_are_none(self) -> None:
        odd = record(turns=[turn("agent_0", 0, "4", "4", True, reward=float("nan"), advantage=float("inf"))])
        assert indexed(odd)[1][0][0]["turns"][0][5:7] == [None, None]
        assert clean({"a": [float("nan"), 1, Path("x")]}) == {"a": [None, 1, "x"]}


class TestCollect:
    def test_the_figures_have_what_the_docstring_says(self, tmp_path: Path) -> None:
        study = results(tmp_path, questions=6)
        figures = collect(study, summarise(study)).figures
        assert figures["title"] == "Do apples need a team?"
        assert figures["discussions"] == 6 * 10 == sum(c["discussions"] for c in figures["cells"])
        assert {m["method"] for m in figures["collaboration"]} == {"debate", "mappo"}
        learning = [plot for plot in figures["plots"] if plot["title"] == "Learning curves"]
        assert {s["method"] for plot in learning for s in plot["series"]} == {"mappo", "single_agent/mappo"}
        assert [n for n in figures["notes"]] == []
        json.dumps(figures, allow_nan=False)

    def test_the_title_that_was_asked_for_wins(self, tmp_path: Path) -> None:
        study = results(tmp_path, questions=1)
        assert collect(study, {}, title="Mine").figures["title"] == "Mine"

    def test_nothing_at_all(self) -> None:
        payload = collect(Results("", ()), summarise(Results("", ())))
        assert payload.figures["title"] == "Results" and payload.figures["cells"] == []
        assert payload.discussions.pieces == [] and unpacked(payload.discussions.index)["cell"] == []

    def test_failed_running_and_waiting_cells_are_named(self, tmp_path: Path) -> None:
        cells = (
            cell(tmp_path, TEAM, 0, None, status="failed", error="ValueError: no memory"),
            cell(tmp_path, TEAM, 1, [record()], status="running"),
            cell(tmp_path, TEAM, 2, None, status="waiting"),
        )
        found = collect(Results("x", cells), summarise(Results("x", cells))).figures
        assert [note["kind"] for note in found["notes"]] == ["failed", "running", "waiting"]
        assert found["notes"][0]["text"] == "apples, Debate, untrained, seed 0: ValueError: no memory"
        assert [c["discussions"] for c in found["cells"]] == [0, 1, 0]

    def test_what_the_reader_left_out_is_said(self, tmp_path: Path) -> None:
        one = cell(tmp_path, TEAM, 0, [record()])
        with one.records_file.open("a") as file:
            file.write('{"version": 1, "question_id": "half')
        notes = collect(Results("x", (one,), problems=("a file was odd",)), {}).figures["notes"]
        assert [n["kind"] for n in notes] == ["left out", "left out"]
        assert "1 broken line left out" in notes[0]["text"] and notes[1]["text"] == "a file was odd"

    @pytest.mark.parametrize("right", [0.0, 1.0])
    def test_no_success_and_nothing_but_successes(self, tmp_path: Path, right: float) -> None:
        said = [turn(f"agent_{k}", r, "4", "4", bool(right)) for r in range(2) for k in range(2)]
        study = Results("x", (cell(tmp_path, TEAM, 0, [record(k, team_correct=right, turns=said) for k in range(5)]),))
        figures = collect(study, summarise(study)).figures
        assert figures["summary"][0]["accuracy"] == right
        json.dumps(figures, allow_nan=False)


class TestCurves:
    def test_half_written_lines_and_the_tests_own_are_no_points(self, tmp_path: Path) -> None:
        trained = cell(tmp_path, METHODS[5], 0, [record()])
        lines = [
            '{"iteration": 1, "rollout/reward_mean": 0.5}',
            '{"iteration": 2, "test/accuracy": 1.0}',
            '{"iteration": 3, "rollo',
            "[]",
        ]
        (trained.runs[0] / "metrics.jsonl").write_text("\n".join(lines))
        assert [c["metrics"] for c in learning_curves([trained])] == [{"rollout/reward_mean": [[1, 0.5]]}]

    def test_the_last_round_is_a_curve_that_teams_and_lone_agents_share(self, tmp_path: Path) -> None:
        trained = cell(tmp_path, METHODS[5], 0, [record()])
        rounds = ", ".join(f'"rollout/accuracy_round_{k}": {k / 20}' for k in (9, 10, 1))
        (trained.runs[0] / "metrics.jsonl").write_text(f'{{"iteration": 1, {rounds}}}\n')
        assert learning_curves([trained])[0]["metrics"]["rollout/accuracy_last_round"] == [[1, 0.5]]

    def test_long_curves_are_thinned(self, tmp_path: Path) -> None:
        trained = cell(tmp_path, METHODS[5], 0, [record()])
        (trained.runs[0] / "metrics.jsonl").write_text(
            "".join(f'{{"iteration": {k}, "train/loss": 1}}\n' for k in range(3000))
        )
        points = learning_curves([trained], points=400)[0]["metrics"]["train/loss"]
        assert 300 <= len(points) <= 400 and points[0][0] == 0

    def test_a_run_that_several_cells_share_is_one_curve(self, tmp_path: Path) -> None:
        trained = cell(tmp_path, METHODS[5], 0, [record()])
        assert len(learning_curves([trained, trained])) == 1

    def test_runs_of_the_same_name_are_two_curves(self, tmp_path: Path) -> None:
        for name in ("a/run", "b/run"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "config.yaml").write_text("env: apples\n")
            (tmp_path / name / "metrics.jsonl").write_text('{"iteration": 1, "train/loss": 1}\n')
        cells = load_results([tmp_path / "a" / "run", tmp_path / "b" / "run"]).cells
        assert [curve["label"] for curve in learning_curves(cells)] == ["a/run", "b/run"]


def test_synthetic_summary_has_the_keys_of_the_real_one(tmp_path: Path) -> None:
    study = results(tmp_path, questions=4)
    ours, real = summary(study), summarise(study)
    assert set(ours["rows"][0]) <= set(real["rows"][0])
    assert set(ours["comparisons"][0]) <= set(real["comparisons"][0])
    assert isinstance(collect(study, ours), Payload)

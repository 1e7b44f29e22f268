"""Figures of a study, against numbers worked out by hand and what its rules promise."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_on_disk import cell, records, study, turn

from maporl.benchmarks.analysis.across_runs import interquartile_mean, probability_of_improvement, t_interval
from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.statistics import (
    clustered_interval,
    compare,
    holm,
    minimum_detectable_paired,
    wilson_interval,
)
from maporl.benchmarks.analysis.summary import summarise

VOTE, SINGLE = "vote of equal cost", "single agent"


def summary(tmp_path: Path, *cells: dict[str, Any]) -> dict[str, Any]:
    return summarise(load_results([study(tmp_path / "s", cells)]))


def row(found: dict[str, Any], method: str, task: str = "sums") -> dict[str, Any]:
    (one,) = [r for r in found["rows"] if (r["method"], r["task"]) == (method, task)]
    return one


def test_accuracy_is_the_mean_over_seeds_of_the_mean_over_questions(tmp_path: Path) -> None:
    first = records({"a": [1, 1, 1, 0], "b": 0.5, "c": 0})  # 3/4, 1/2, 0
    second = records({"a": [1, 0], "b": 1 / 3, "c": 1})  # 1/2, 1/3, 1
    found = row(summary(tmp_path, cell("debate", first), cell("debate", second, seed=3)), "debate")
    assert found["seeds"] == [
        {"seed": 0, "accuracy": pytest.approx(1.25 / 3)},
        {"seed": 3, "accuracy": pytest.approx((11 / 6) / 3)},
    ]
    assert found["accuracy"] == pytest.approx((1.25 / 3 + 11 / 18) / 2)
    # Sorted by question; the outcomes of all seeds together.
    interval = clustered_interval([[1, 1, 1, 0, 1, 0], [0.5, 1 / 3], [0, 1]])
    assert (found["low"], found["high"]) == pytest.approx(interval)
    # Two runs: mean +- 12.706 * |difference| / 2, cut at 0 and 1.
    assert (found["seeds_low"], found["seeds_high"]) == pytest.approx(t_interval([1.25 / 3, 11 / 18]))
    assert (found["seeds_low"], found["seeds_high"]) == (0.0, 1.0)
    assert found["questions"] == 3 and found["greedy"] is None and found["best_seat"] is None


def test_greedy_answers_are_a_figure_of_their_own(tmp_path: Path) -> None:
    both = records([1, 0, 0, 0]) + records([1, 1, 0.5, 0], greedy=True)
    found = summary(
        tmp_path, cell("debate", both), cell("debate", records([0, 0, 0, 0]), seed=1), cell("other", both[4:])
    )
    assert row(found, "debate")["accuracy"] == pytest.approx(0.125)
    assert row(found, "debate")["greedy"] == pytest.approx(0.625)  # of the seed that has some
    assert row(found, "other")["accuracy"] == row(found, "other")["greedy"] == pytest.approx(0.625)


def test_a_lone_agent_is_the_mean_over_its_seats_and_its_best_seat_is_told(tmp_path: Path) -> None:
    def seats(a: list[float], b: list[float]) -> list[dict[str, Any]]:
        return records(a, seat="agent_0") + records(b, seat="agent_1")

    cells = [cell("single_agent", seats([1, 1], [0, 0])), cell("single_agent", seats([0.5, 0], [1, 0.5]), seed=1)]
    found = row(summary(tmp_path, *cells), "single_agent")
    assert [s["accuracy"] for s in found["seeds"]] == [0.5, 0.5]
    assert found["best_seat"] == pytest.approx((1 + 0.25) / 2)  # of agent_0, over seeds; agent_1 has (0 + 0.75) / 2
    assert (found["low"], found["high"]) == pytest.approx(clustered_interval([[1, 0, 0.5, 1], [1, 0, 0, 0.5]]))


def test_train_one_is_the_seat_best_at_validation_in_every_figure(tmp_path: Path) -> None:
    def seats(a: list[float], b: list[float], greedy: tuple[float, float]) -> list[dict[str, Any]]:
        cheap, dear = [turn(tokens=10)], [turn(None, tokens=30), turn("4", tokens=50)]
        return [
            *records(a, seat="agent_0", turns=cheap),
            *records(b, seat="agent_1", turns=dear),
            *records([greedy[0]] * 2, seat="agent_0", greedy=True),
            *records([greedy[1]] * 2, seat="agent_1", greedy=True),
        ]

    runs = {s: [f"runs/sums/train_one~mappo/agent_{k}/seed_{s}" for k in (1, 0)] for s in (0, 1)}
    about = {"best_seat": True, "team": True}
    first = cell("train_one/mappo", seats([1, 1], [0, 1], (0.25, 1)), runs=runs[0], **about)
    second = cell("train_one/mappo", seats([1, 0], [0, 0], (1, 0.75)), seed=1, runs=runs[1], **about)
    place = study(tmp_path / "s", [first, second])
    # At validation agent_0 is better with seed 0 and agent_1 with seed 1, which is worse at the test: it counts all the same.
    for name, accuracy in zip([*runs[0], *runs[1]], [0.3, 0.4, 0.7, 0.6], strict=True):
        (place / name).mkdir(parents=True)
        (place / name / "metrics.jsonl").write_text(json.dumps({"iteration": 9, "eval/accuracy": accuracy}) + "\n")
    found = row(summarise(load_results([place])), "train_one/mappo")
    assert [s["accuracy"] for s in found["seeds"]] == [1.0, 0.0]
    assert found["accuracy"] == 0.5 and found["best_seat"] is None
    assert found["greedy"] == pytest.approx((0.25 + 0.75) / 2)  # of the same seats, not of those best at greedy answers
    assert found["completion_tokens"] == pytest.approx((10 + 80) / 2)
    assert found["prompt_tokens"] == pytest.approx((20 + 40) / 2)
    assert found["generations"] == pytest.approx(1.5)
    assert found["parse_rate"] == pytest.approx((1 + 0.5) / 2)
    assert (found["low"], found["high"]) == pytest.approx(clustered_interval([[1, 0], [1, 0]]))


def test_several_answers_to_each_question_give_pass_at_k(tmp_path: Path) -> None:
    first = cell("debate", records({"a": [1, 0, 0], "b": [0, 0, 0]}))
    second = cell("debate", records({"a": [1, 1, 0], "b": [1, 0, 0]}), seed=1)
    found = summary(tmp_path, first, second, cell("single_agent", records([1, 0])))
    third = 1 / 3
    expected = [(1, (third / 2 + third * 1.5) / 2), (2, (third + (1 + 2 * third) / 2) / 2), (3, (0.5 + 1) / 2)]
    given = [(p["k"], p["value"]) for p in row(found, "debate")["pass_at"]]
    assert given == [(k, pytest.approx(value)) for k, value in expected]
    assert row(found, "single_agent")["pass_at"] == []  # one answer each


def test_seats_without_validation_are_told_apart_by_name(tmp_path: Path) -> None:
    answers = records([1, 1], seat="agent_1") + records([0, 1], seat="agent_0")
    once = summary(
        tmp_path / "1", cell("train_one/mappo", answers, best_seat=True), cell("single_agent", records([0, 1]))
    )
    again = summary(
        tmp_path / "2", cell("train_one/mappo", answers[::-1], best_seat=True), cell("single_agent", records([0, 1]))
    )
    assert once == again
    assert once["comparisons"][0]["difference"] == 0.0 and once["comparisons"][0]["p"] == 1.0


def test_parse_rate_counts_messages_that_somebody_scored(tmp_path: Path) -> None:
    unscored = {**turn("4"), "score": None, "truth": None}
    by_truth = {**turn(None), "truth": {"value": 1.0, "correct": True, "answer": "4", "status": "ok"}}
    turns = [turn("4"), turn(None), by_truth, unscored]
    found = summary(tmp_path, cell("debate", records([1], turns=turns)), cell("other", records([1], turns=[unscored])))
    assert row(found, "debate")["parse_rate"] == pytest.approx(2 / 3)
    assert row(found, "other")["parse_rate"] is None


def test_costs_are_of_sampled_answers_per_question(tmp_path: Path) -> None:
    sampled = records([1, 0], turns=[turn(tokens=4), turn(tokens=8)]) + records(
        [1], greedy=True, turns=[turn(tokens=999)]
    )
    found = row(summary(tmp_path, cell("debate", sampled)), "debate")
    assert [found[n] for n in ("generations", "prompt_tokens", "completion_tokens", "eval_s")] == [2.0, 40.0, 12.0, 2.5]
    assert found["train_s"] is None


def test_seconds_of_training(tmp_path: Path) -> None:
    place = study(
        tmp_path / "s",
        [
            cell("mappo", records([1]), trained=True, runs=["runs/a", "runs/b"]),
            cell("mappo", None, trained=True, seed=1, status="waiting", runs=["runs/c"]),
        ],
    )
    (place / "runs" / "a").mkdir(parents=True)
    lines = [{"iteration": 1, "time/rollout_s": 2.0, "time/update_s": 1.5}, {"iteration": 1, "evaluation": "test"}]
    (place / "runs" / "a" / "metrics.jsonl").write_text(
        "\n".join(map(json.dumps, lines)) + '\n{"iteration": 2, "time/ro'
    )
    assert row(summarise(load_results([place])), "mappo")["train_s"] == 3.5  # a run that is not done does not count


def test_votes_stand_behind_their_team_and_oracles_at_the_end(tmp_path: Path) -> None:
    right = records([1, 0])
    found = summary(
        tmp_path,
        cell("best_of_k@5", right, oracle=True),
        cell("single_agent", right),
        cell("self_consistency@9", right),  # asked for by the user, matched to nothing
        cell("debate", right, team=True),
        cell("mappo", right, team=True),
        cell("self_consistency@7", right, matched_to=[("debate", "all")]),
        cell("self_consistency@5", right, matched_to=[("debate", "completion"), ("mappo", "completion")]),
        cell("self_consistency@8", right, matched_to=[("gone", "all")]),
        cell("shown_scores", right, oracle=True, team=True),
        cell("self_consistency@6", right, matched_to=[("shown_scores", "completion")]),
    )
    assert [r["method"] for r in found["rows"]] == [
        "single_agent",
        "self_consistency@9",
        "debate",
        "self_consistency@5",
        "self_consistency@7",
        "mappo",
        "self_consistency@8",
        "self_consistency@6",
        "best_of_k@5",
        "shown_scores",
    ]
    assert row(found, "self_consistency@5")["matched"] == [["debate", "completion"], ["mappo", "completion"]]


def compared(found: dict[str, Any], family: str) -> list[tuple[str, str, str | None]]:
    return [(c["method"], c["baseline"], c["on"]) for c in found["comparisons"] if c["family"] == family]


def test_what_is_compared_with_what(tmp_path: Path) -> None:
    right = records([1, 0, 1])
    found = summary(
        tmp_path,
        cell("single_agent", right),
        cell("single_agent/mappo", right),
        cell("debate", right, team=True),
        cell("mappo", right, team=True, baseline="single_agent/mappo"),
        cell("magrpo", right, team=True, baseline="gone"),
        cell("my team", right, team=True, baseline="single_agent/mappo"),
        cell("best_of_k@5", right, oracle=True),
        cell("shown_scores", right, oracle=True, team=True),
        cell("self_consistency@9", right),
        cell(
            "self_consistency@5",
            right,
            matched_to=[("debate", "all"), ("debate", "completion"), ("shown_scores", "all")],
        ),
        cell("self_consistency@4/mappo", right, matched_to=[("mappo", "completion"), ("my team", "completion")]),
    )
    assert compared(found, VOTE) == [
        ("debate", "self_consistency@5", "completion"),
        ("debate", "self_consistency@5", "all"),
        ("mappo", "self_consistency@4/mappo", "completion"),
        ("my team", "self_consistency@4/mappo", "completion"),
    ]
    assert compared(found, SINGLE) == [
        ("single_agent/mappo", "single_agent", None),
        ("debate", "single_agent", None),
        ("mappo", "single_agent/mappo", None),
        ("my team", "single_agent/mappo", None),
        ("self_consistency@9", "single_agent", None),
    ]


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    cells = [
        cell("single_agent", records([0, 1, 0, 0])),
        cell("single_agent", None, seed=1, status="failed"),
        cell("debate", records([1, 1, 0, 0]), team=True),
        cell("debate", records([1, 1, 1, 1]), team=True, seed=1),
    ]
    (found,) = summary(tmp_path, *cells)["comparisons"]
    assert found["difference"] == pytest.approx(0.25)  # not 5/8 of both runs less 1/4 of one
    assert found["seeds"] == [{"seed": 0, "difference": pytest.approx(0.25)}] and found["seeds_left_out"] == [1]
    (whole,) = summary(tmp_path / "whole", cells[0], cells[2])["comparisons"]
    assert whole == {**found, "seeds_left_out": []}


def test_runs_without_a_common_seed_are_all_compared(tmp_path: Path) -> None:
    cells = [
        cell("single_agent", records([0, 1])),
        cell("debate", records([1, 1]), team=True, seed=1),
        cell("debate", records([1, 0]), team=True, seed=2),
    ]
    (found,) = summary(tmp_path, *cells)["comparisons"]
    assert found["difference"] == pytest.approx(0.75 - 0.5)
    assert found["seeds"] == found["seeds_left_out"] == [] and found["seeds_low"] is None


def test_a_comparison_by_hand(tmp_path: Path) -> None:
    team = {"a": 1, "b": 1, "c": 1, "d": 0, "only here": 1}
    lone = {"a": 0, "b": 1, "c": 0.5, "d": 0}
    cells = [
        cell("single_agent", records(lone)),
        cell("single_agent", records(lone), seed=1),
        cell("single_agent", records({"theirs": 1}), seed=7),
        cell("debate", records(team), team=True),
        cell("debate", records({**team, "a": 0}), team=True, seed=1),
        cell("debate", records({"ours": 0}), team=True, seed=8),
    ]
    (found,) = summary(tmp_path, *cells)["comparisons"]
    # Question means 1/2, 1, 1, 0 against 0, 1, 1/2, 0; what only one was asked is left out.
    assert found["difference"] == pytest.approx(0.25)
    assert found["questions"] == 4
    assert found["p"] == found["p_holm"] == pytest.approx(0.5)  # ++ and -- of 4 sign flips are as far out
    assert found["test"] == "sign-flip permutation"
    sd = (2 * 0.25**2 + 2 * 0.25**2) ** 0.5 / 3**0.5
    assert found["detectable"] == pytest.approx(min(1.0, 2.8015852 * sd / 2), abs=1e-6)
    assert found["detectable"] == pytest.approx(minimum_detectable_paired(sd, 4))
    assert (found["low"], found["high"]) == pytest.approx((0.25 - 3.1824463 * sd / 2, 0.25 + 3.1824463 * sd / 2))
    assert found["seeds"] == [  # of the seeds that both have
        {"seed": 0, "difference": pytest.approx(4 / 5 - 1.5 / 4)},
        {"seed": 1, "difference": pytest.approx(3 / 5 - 1.5 / 4)},
    ]
    assert found["seeds_left_out"] == [7, 8]
    mean, half = 0.325, 12.706205 * 0.1
    assert (found["seeds_low"], found["seeds_high"]) == pytest.approx((max(-1, mean - half), min(1, mean + half)))


def test_holm_counts_all_tasks_of_a_family_and_no_other(tmp_path: Path) -> None:
    cells = []
    for task, wins in (("sums", 9), ("words", 6)):
        better = records([1] * wins + [0] * (12 - wins))
        cells += [
            cell("single_agent", records([0] * 12), task=task),
            cell("debate", better, task=task, team=True),
            cell("self_consistency@3", records([0] * 12), task=task, matched_to=[("debate", "completion")]),
        ]
    found = summary(tmp_path, *cells)["comparisons"]
    assert [(c["family"], c["task"]) for c in found] == [
        (VOTE, "sums"),
        (VOTE, "words"),
        (SINGLE, "sums"),
        (SINGLE, "words"),
    ]
    assert [c["p"] for c in found] == pytest.approx([2 / 2**9, 2 / 2**6] * 2)
    assert [c["p_holm"] for c in found] == pytest.approx([2 * 2 / 2**9, 2 / 2**6] * 2)
    assert [c["p_holm"] for c in found[:2]] == pytest.approx(list(holm([c["p"] for c in found[:2]])))


def test_holm_counts_a_vote_matched_on_both_kinds_of_tokens_once(tmp_path: Path) -> None:
    both = [("debate", "completion"), ("debate", "all")]
    cells = [
        cell("debate", records([1] * 9 + [0] * 3), team=True),
        cell("mappo", records([1] * 6 + [0] * 6), team=True),
        cell("self_consistency@3", records([0] * 12), matched_to=[*both, ("mappo", "all")]),
    ]
    found = summary(tmp_path, *cells)["comparisons"]
    assert [(c["method"], c["on"]) for c in found] == [("debate", "completion"), ("debate", "all"), ("mappo", "all")]
    assert [c["p_holm"] for c in found] == pytest.approx([2 * 2 / 2**9] * 2 + [2 / 2**6])  # two tests, not three


@pytest.mark.parametrize("outcome", [0.0, 1.0])
def test_all_wrong_and_all_right(tmp_path: Path, outcome: float) -> None:
    same = records([outcome] * 10)
    found = summary(
        tmp_path, cell("single_agent", same), cell("debate", same, team=True), cell("debate", same, seed=1, team=True)
    )
    one = row(found, "debate")
    assert one["accuracy"] == outcome
    assert (one["low"], one["high"]) == pytest.approx(wilson_interval(outcome, 10))
    assert 0.2 < one["high"] - one["low"] < 0.4  # nothing was seen of the other kind, and yet nobody is certain
    assert (one["seeds_low"], one["seeds_high"]) == pytest.approx(wilson_interval(outcome, 2))
    (comparison,) = found["comparisons"]
    assert comparison["difference"] == 0 and comparison["p"] == 1 and comparison["low"] < 0 < comparison["high"]
    assert comparison["detectable"] > 0


def test_one_seed_and_one_question(tmp_path: Path) -> None:
    found = summary(tmp_path, cell("single_agent", records([0])), cell("debate", records([1]), team=True))
    one = row(found, "debate")
    assert (one["low"], one["high"]) == pytest.approx(wilson_interval(1.0, 1))
    assert one["seeds_low"] is None and one["seeds_high"] is None
    (comparison,) = found["comparisons"]
    assert comparison["difference"] == 1 and comparison["p"] == 1 and comparison["seeds_low"] is None
    assert found["pooled"] == []


def test_failed_running_and_waiting_cells_give_no_figures(tmp_path: Path) -> None:
    found = summary(
        tmp_path,
        cell("single_agent", records([0, 0])),
        cell("debate", records([1, 0]), team=True),
        cell("debate", None, team=True, seed=1, status="failed", error="ValueError: no memory"),
        cell("debate", records([1]), team=True, seed=2, status="running"),  # half of its records: no fair figure
        cell("debate", None, team=True, seed=3, status="waiting"),
        cell("mappo", None, team=True, status="failed"),
        cell("empty", [], team=True),
    )
    one = row(found, "debate")
    assert [s["seed"] for s in one["seeds"]] == [0] and one["accuracy"] == 0.5
    assert one["failed"] == [{"seed": 1, "reason": "ValueError: no memory"}]
    assert one["unfinished"] == [2, 3]
    for method in ("mappo", "empty"):
        nothing = row(found, method)
        figures = (
            "accuracy",
            "low",
            "high",
            "seeds_low",
            "seeds_high",
            "greedy",
            "best_seat",
            "parse_rate",
            "generations",
        )
        assert [nothing[name] for name in figures] == [None] * len(figures)
        assert nothing["seeds"] == [] and nothing["questions"] == 0
    assert row(found, "mappo")["failed"] == [{"seed": 0, "reason": "no reason was written down"}]
    assert compared(found, SINGLE) == [("debate", "single_agent", None)]


def test_half_written_and_strange_records_are_left_out(tmp_path: Path) -> None:
    place = study(
        tmp_path / "s", [cell("debate", [*records([1, 0]), *records([0.0]), {**records([1])[0], "version": 99}])]
    )
    with next(place.rglob("records.jsonl")).open("a") as file:
        file.write('{"version": 1, "question_id": "q9", "que')
    results = load_results([place])
    found = row(summarise(results), "debate")
    assert (found["accuracy"], found["questions"]) == (0.5, 2)
    assert len(results.cells[0].problems) == 3


def test_a_run_is_compared_by_its_test_and_by_no_step_on_the_way(tmp_path: Path) -> None:
    from maporl.rollouts.records import write_records

    run = tmp_path / "my_run"
    write_records(run / "evaluations" / "iteration_0010.jsonl", records([1, 1, 1, 1], greedy=True))
    write_records(run / "discussions" / "iteration_0010.jsonl", records([1, 1, 1, 1]))
    (run / "config.yaml").write_text("env: sums\nseed: 3\nnum_agents: 2\n")
    (run / "status.json").write_text('{"status": "interrupted"}')
    waiting = row(summarise(load_results([run])), "my_run/test")
    assert waiting["accuracy"] is None and waiting["unfinished"] == [3]
    write_records(run / "evaluations" / "test.jsonl", records([1, 0, 0, 0], greedy=True))
    (found,) = summarise(load_results([run]))["rows"]
    assert (found["method"], found["label"]) == ("my_run/test", "my_run")
    assert found["accuracy"] == 0.25 and found["seeds"] == [{"seed": 3, "accuracy": 0.25}]
    assert found["unfinished"] == [3] and found["completion_tokens"] == 5.0 and found["eval_s"] is None


def test_a_cell_of_two_studies_counts_once(tmp_path: Path) -> None:
    first = study(tmp_path / "a", [cell("debate", records([1]))])
    second = study(tmp_path / "b", [cell("debate", records([0])), cell("debate", records([0]), seed=1)])
    found = row(summarise(load_results([first, second])), "debate")
    assert found["seeds"] == [{"seed": 0, "accuracy": 1.0}, {"seed": 1, "accuracy": 0.0}]


def pooled_cells(method: str, scores: dict[str, list[float]], **about: Any) -> list[dict[str, Any]]:
    """A run of ten questions for every score."""
    return [
        cell(method, records([1] * round(10 * s) + [0] * round(10 - 10 * s)), task=task, seed=n, **about)
        for task, values in scores.items()
        for n, s in enumerate(values)
    ]


def test_figures_over_all_tasks_need_ten_runs_and_three_a_task(tmp_path: Path) -> None:
    lone = {"sums": [0.1, 0.2, 0.3, 0.4, 0.5], "words": [0.5, 0.6, 0.7, 0.8, 0.9]}
    team = {"sums": [0.5, 0.6, 0.7], "words": [0.9, 0.9, 1.0, 1.0, 0.8, 0.9, 1.0]}
    nine = {"sums": [0.5] * 4, "words": [0.5] * 5}
    two = {"sums": [0.5] * 2, "words": [0.5] * 8}
    cells = [
        *pooled_cells("oracle", lone, oracle=True),
        *pooled_cells("single_agent", lone),
        *pooled_cells("debate", team, team=True),
        *pooled_cells("nine", nine),
        *pooled_cells("two", two),
        *pooled_cells("elsewhere", {"sums": [0.5] * 10}),
    ]
    found = summary(tmp_path, *cells)["pooled"]
    assert [(p["method"], p["runs"], p["oracle"]) for p in found] == [
        ("single_agent", 10, False),
        ("debate", 10, False),
        ("oracle", 10, True),
    ]
    # Two of ten runs are left out at either end: .3 .4 .5 .5 .6 .7
    assert found[0]["iqm"] == pytest.approx(0.5)
    assert (found[0]["low"], found[0]["high"]) == pytest.approx(interquartile_mean(list(lone.values()))[1:])
    assert "improvement" not in found[0] and "improvement" not in found[2]
    # Sums: .5 beats four and ties one of five, .6 and .7 beat all; words by pairs.
    better = probability_of_improvement(list(team.values()), list(lone.values()))
    assert found[1]["improvement"] == pytest.approx(better.value)
    sums = (4.5 + 5 + 5) / 15
    words = (3 * 4.5 + 3 * 5 + 3.5) / 35
    assert found[1]["improvement"] == pytest.approx((sums + words) / 2)


@st.composite
def outcomes(draw: st.DrawFn) -> list[list[float]]:
    """Of some questions, some samples each."""
    share = st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0])
    number = draw(st.integers(1, 18))
    return draw(st.lists(st.lists(share, min_size=1, max_size=3), min_size=number, max_size=number))


def everything(found: list[list[float]], seed: int) -> list[dict[str, Any]]:
    by_question = {f"q{n}": values for n, values in enumerate(found)}
    seats = [
        records(by_question, seat="agent_0"),
        records({q: v[::-1] for q, v in by_question.items()}, seat="agent_1"),
    ]
    return [*seats[0], *seats[1], *records({q: v[:1] for q, v in by_question.items()}, seat="agent_0", greedy=True)]


@settings(max_examples=25, deadline=None)
@given(ours=outcomes(), theirs=outcomes(), shuffle=st.randoms(use_true_random=False))
def test_neither_the_order_of_records_nor_other_methods_matter(
    tmp_path_factory: pytest.TempPathFactory, ours: list[list[float]], theirs: list[list[float]], shuffle: random.Random
) -> None:
    folder = tmp_path_factory.mktemp("study")
    answers = {
        "single_agent": everything(theirs, 0),
        "debate": everything(ours, 0),
        "train_one/mappo": everything(ours, 1),
    }

    def figures(name: str, methods: list[str], mixed: bool) -> dict[str, Any]:
        cells = []
        for method in methods:
            mine = shuffle.sample(answers[method], len(answers[method])) if mixed else answers[method]
            cells.append(cell(method, mine, best_seat=method.startswith("train")))
        return summarise(load_results([study(folder / name, cells)]))

    whole = figures("whole", list(answers), mixed=False)
    assert figures("mixed", list(answers), mixed=True) == whole
    for method in answers:
        assert figures(f"only_{method.replace('/', '~')}", [method], mixed=True)["rows"] == [row(whole, method)]
    for one in whole["rows"]:
        assert 0 <= one["low"] <= one["accuracy"] <= one["high"] <= 1


def test_a_comparison_is_that_of_the_pooled_outcomes(tmp_path: Path) -> None:
    rng = random.Random(0)
    ours, theirs = ([[float(rng.random() < p) for _ in range(40)] for _ in range(3)] for p in (0.7, 0.5))
    cells = [cell("debate", records(o), seed=n, team=True) for n, o in enumerate(ours)]
    cells += [cell("single_agent", records(o), seed=n) for n, o in enumerate(theirs)]
    (found,) = summary(tmp_path, *cells)["comparisons"]
    names = sorted(f"q{n}" for n in range(40))
    pooled = [{q: [o[int(q[1:])] for o in side] for q in names} for side in (ours, theirs)]
    expected = compare(*pooled)
    assert found["difference"] == pytest.approx(expected.difference)
    assert found["p"] == pytest.approx(expected.p_value)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    rows = summary(tmp_path / "2", *cells)["rows"]
    assert found["difference"] == pytest.approx(rows[0]["accuracy"] - rows[1]["accuracy"])  # as in the table of methods

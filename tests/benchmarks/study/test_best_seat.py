"""Which team of train-one is the row: chosen by validation, in numbers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from maporl.benchmarks.study.best_seat import best_seat


def run(place: Path, *lines: dict[str, Any], rest: str = "") -> Path:
    place.mkdir(parents=True)
    (place / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + rest)
    return place


def validation(iteration: int, accuracy: float) -> dict[str, Any]:
    return {"iteration": iteration, "evaluation": f"iteration_{iteration:04d}", "eval/accuracy": accuracy}


def test_the_last_validation_chooses_and_the_test_does_not(tmp_path: Path) -> None:
    first = run(
        tmp_path / "a",
        validation(0, 0.9),
        validation(10, 0.4),
        {"iteration": 10, "evaluation": "test", "test/accuracy": 1},
    )
    second = run(tmp_path / "b", validation(0, 0.1), validation(10, 0.5), {"iteration": 10, "rollout/reward_mean": 0.0})
    assert best_seat({"agent_0": first, "agent_1": second}) == "agent_1"


def test_a_tie_is_the_first_by_name(tmp_path: Path) -> None:
    runs = {seat: run(tmp_path / seat, validation(5, 0.5)) for seat in ("agent_1", "agent_0", "agent_2")}
    assert best_seat(runs) == "agent_0"


def test_without_a_validation_of_every_seat_nobody_can_tell(tmp_path: Path) -> None:
    good = run(tmp_path / "b", validation(5, 1.0))
    assert best_seat({"agent_0": run(tmp_path / "a", {"iteration": 1}), "agent_1": good}) == "agent_0"
    assert best_seat({"agent_0": tmp_path / "nowhere", "agent_1": good}) == "agent_0"


def test_half_a_line_and_an_oracles_figure(tmp_path: Path) -> None:
    half = run(tmp_path / "a", validation(5, 0.2), rest='[1]\n{"iteration": 6, "eval/accuracy": 0.9')
    oracle = run(tmp_path / "b", {"iteration": 5, "eval/oracle_accuracy": 0.3})
    assert best_seat({"agent_0": half, "agent_1": oracle}) == "agent_1"

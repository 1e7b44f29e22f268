"""A run folder as a training leaves it: two validations, training discussions with tokens, a test, metrics and settings."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from synthetic_results import record

from maporl.rollouts.records import write_records
from maporl.rollouts.store import EpisodeStore
from maporl.types import Completion

__all__ = ["TEXTS", "evaluated", "run_folder"]

TEXTS = {1: "<|user|>", 2: "What", 3: " is\n", 4: " 4", 5: "<|end|>"}
WRONG = {"team_answer": "5", "team_correct": 0.0}


def evaluated(folder: Path, name: str, right: str, iteration: int | None = None) -> None:
    """An evaluation on as many questions as `right` has letters: R, W."""
    records = [record(k, greedy=True, **({} if mark == "R" else WRONG)) for k, mark in enumerate(right)]
    write_records(folder / "evaluations" / f"{name}.jsonl", records)
    if iteration is not None:
        measured = {"eval/accuracy": right.count("R") / len(right), "eval/reward_mean": 0.5 + iteration / 100}
        _measure(folder, iteration, evaluation=name, **measured)


def run_folder(folder: Path) -> Path:
    """Validation questions 0, 1, 2, 3: WWRR before, RWRW after; two training discussions of iteration 1; six test questions."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(
        "env: apples\nalgorithm: mappo\nnum_agents: 2\nseed: 3\nnum_iterations: 2\nlearning_rate: 0.25\n"
    )
    (folder / "status.json").write_text('{"status": "complete"}')
    (folder / "machine.json").write_text('{"device": "cpu", "versions": {"maporl": "9.8.7"}}')
    evaluated(folder, "iteration_0000", "WWRR", 0)
    for iteration in (1, 2):
        rounds = {f"rollout/accuracy_round_{r}": 0.25 * iteration + 0.1 * r for r in (1, 2)}
        _measure(
            folder, iteration, **rounds, **{"train/entropy": 1 / iteration, "train/lr": 0.25, "time/rollout_s": 2.0}
        )
    evaluated(folder, "iteration_0002", "RWRW", 2)
    evaluated(folder, "test", "RRRWWW")
    _measure(folder, 2, evaluation="test", **{"test/accuracy": 0.5})
    kept = [record(9, sample=k) for k in range(2)]
    write_records(folder / "discussions" / "iteration_0001.jsonl", kept)
    said = Completion("", np.array([1, 2, 3, 4, 5]), np.array([4, 5]), np.array([-0.5, -2.0], np.float32))
    turns = [SimpleNamespace(completion=said if k == 1 else None) for k in range(4)]
    episodes: Any = [SimpleNamespace(transcript=SimpleNamespace(turns=turns))]
    vocabulary = {"agent_1": {"texts": TEXTS, "special": [1, 5]}}
    credit = {(0, 1): np.array([0.25, -0.75])}
    EpisodeStore(folder / "discussions").write_tokens(
        "iteration_0001", episodes, advantages=credit, vocabulary=vocabulary
    )
    return folder


def _measure(folder: Path, iteration: int, **metrics: Any) -> None:
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"iteration": iteration, **metrics}) + "\n")

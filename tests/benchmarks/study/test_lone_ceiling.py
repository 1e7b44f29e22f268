"""Alone nobody is right more often than 5/9 on two witnesses: what the study measures of lone agents, trained or not, stays below."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maporl.agents import ScriptedAgent
from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.experiments.warm_start import make_warm_start
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.cli.demo import demo_study
from maporl.envs.tasks.two_witnesses import LONE_CEILING
from maporl.types import Observation

Rows = dict[str, Mapping[str, Any]]


class BestAlone(ScriptedAgent):
    """Keeps a clear view; from a foggy one it knows which digit is wrong, and guesses among the other nine."""

    def __init__(self) -> None:
        super().__init__(self.say)

    @staticmethod
    def say(observation: Observation, rng: np.random.Generator) -> str:
        kind, _, digit = observation["private"].partition(" view: ")
        others = [d for d in range(10) if d != int(digit[0])]
        return f"Answer: {digit[0] if kind == 'Clear' else rng.choice(others)}"


class Cheat(ScriptedAgent):
    """Told everything, it reads the clear view."""

    def __init__(self) -> None:
        super().__init__(lambda observation, rng: f"Answer: {observation['private'].partition('Clear view: ')[2][:1]}")


def rows(folder: Path, agent: str, **values: Any) -> Rows:
    """The rows of a study in which one scripted agent sits everywhere."""
    methods = ["single_agent", "self_consistency@5", "debate"]
    scripted = {f"agent_{i}": f"{__name__}:{agent}" for i in range(2)}
    given = {"methods": methods, "tasks": ["two_witnesses"], "partners": scripted, "num_samples": 4, **values}
    study = Study().merged({**given, "ablate_messages": False, "output_dir": str(folder)})
    return {r["method"]: r for r in summarise(load_results([run_study(study)]))["rows"]}


def test_the_best_lone_policy_reaches_the_ceiling_and_no_more(tmp_path: Path) -> None:
    """288 questions in two seats, four times each; and by a vote: five guesses of one foggy view are guesses."""
    found = rows(tmp_path, "BestAlone")
    for name in ("single_agent", "self_consistency@5"):
        row = found[name]
        print(name, row["accuracy"], row["low"], row["high"])
        assert row["low"] <= LONE_CEILING <= row["high"]
        assert row["accuracy"] == pytest.approx(LONE_CEILING, abs=0.03) and row["high"] - row["low"] < 0.1


def test_who_is_told_everything_passes_it(tmp_path: Path) -> None:
    """So that the tests here can fail: with a leak between the seats a lone agent is above the ceiling, interval and all."""
    told = rows(tmp_path, "Cheat", env_args={"view": "all"}, num_samples=1)
    assert told["single_agent"]["low"] > LONE_CEILING and told["self_consistency@5"]["low"] > LONE_CEILING
    assert told["single_agent"]["accuracy"] == 1.0
    alone = rows(tmp_path / "alone", "Cheat", num_samples=1)  # from its own view it reads the clear one, or nothing
    assert alone["single_agent"]["accuracy"] == 0.5


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_lone_rows_of_the_demo_stay_below_it(tmp_path: Path) -> None:
    """The shipped warm start, before and after some training, once, by a vote, and by votes that cost as much as a team."""
    make_warm_start(tmp_path / "start")
    study = demo_study(
        "two_witnesses", "ippo", tmp_path / "start", tmp_path / "s", num_iterations=8, num_samples=4, device="cpu"
    )
    methods = ["single_agent", "self_consistency@9", "single_agent/ippo", "self_consistency@9/ippo", "discussion"]
    found = summarise(load_results([run_study(study.merged({"methods": methods, "num_workers": 1}))]))["rows"]
    lone = {r["method"]: r for r in found if not r["team"]}
    for name, row in lone.items():
        print(name, row["accuracy"], row["low"], row["high"], row["greedy"])
    assert set(methods) - {"discussion"} < set(lone) and len(lone) >= 5  # and matched votes
    assert all(row["low"] <= LONE_CEILING for row in lone.values())
    # So that there was something to hold: what is measured is no noise, and learning has come near the ceiling.
    assert lone["single_agent/ippo"]["accuracy"] > lone["single_agent"]["accuracy"] + 0.05

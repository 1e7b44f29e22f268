"""Several agents on one base do not cost several bases, and times are of equal messages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench import memory
from bench.memory import peak_memory, seconds_per_message
from bench.settings import GEOMETRIES, Settings
from bench.workload import Workload, make_talkative

QUICK = Settings(quick=True, repetitions=2)


def test_the_messages_of_one_and_of_three_agents_answer_equal_prompts(tmp_path: Path) -> None:
    lengths = []
    for agents in (1, 3):
        policy = make_talkative(QUICK.policy(tmp_path))
        workload = Workload.build(policy, QUICK, discussions=4, num_agents=agents, new_tokens=2, group_size=2)
        said = [c for e in workload.sample(0) for c in e.completions]
        assert len(said) == 4 * agents
        lengths.append({(len(c.prompt_ids), len(c.completion_ids)) for c in said})
    assert lengths[0] == lengths[1]


def test_seconds_are_per_message() -> None:
    few, many = (seconds_per_message(QUICK, n) for n in (4, 16))
    assert set(few) == {"1 agent", "3 agents"} and all(len(v) == 2 and min(v) > 0 for v in few.values())
    # Four times the work in one batch: less per message, never as much again for each.
    assert min(many["3 agents"]) < 2 * max(few["3 agents"])


def test_rows_of_fresh_processes(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What one process does is done here, too; in the slow test below three really run. Times have the test above."""

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "bench.memory"]
        if command[3] != "3":
            return subprocess.CompletedProcess([], 0, f"{command[3]}0.5\n")
        code = memory.main(command[3:])
        return subprocess.CompletedProcess([], code, capsys.readouterr().out)

    series = {"1 agent": [1.0, 2.0], "3 agents": [1.0, 2.0]}
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(memory, "seconds_per_message", lambda *_: series)
    found = {row.name: row for row in memory.rows(QUICK)}
    one, three, loaded = (found[f"peak, {name}"].value for name in ("1 agent", "3 agents", "loaded only"))
    assert (loaded, one) == (0.5, 10.5) and 100 < three < 100_000, "MB of a process that holds torch"
    assert found["peak memory, 3 agents / 1 agent"].value == pytest.approx(three / one)
    assert found["peak memory, 3 agents / 1 agent"].target == "<= 1.2"
    assert found["time per message, 3 agents / 1 agent"].target == "<= 1.1"


def test_a_process_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = subprocess.CompletedProcess([], 1, "", "ValueError: the model cannot be loaded")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: said)
    (tmp_path / "tiny").mkdir()
    with pytest.raises(RuntimeError, match="(?s)process for loaded only failed.*cannot be loaded"):
        peak_memory(QUICK, str(tmp_path))


@pytest.mark.slow
def test_three_agents_cost_less_than_a_fifth_more_than_one(tmp_path: Path) -> None:
    """Peak memory of fresh processes, optimizer included, on a base of at least 40M parameters."""
    from maporl.agents.models.make_model import make_model

    large = Settings(geometry="small")
    assert make_model(tmp_path / "small", **GEOMETRIES["small"]) >= 40_000_000
    peaks = peak_memory(large, str(tmp_path))
    assert peaks["1 agent"] > peaks["loaded only"] > 41 * 4
    assert peaks["3 agents"] < 1.2 * peaks["1 agent"], peaks

"""The speed command prints figures that add up, and several agents on one base do not cost several bases."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maporl.benchmarks.speed.memory import LARGE, main, measure, peak_memory
from maporl.config import RunConfig


def small(model: str) -> RunConfig:
    return RunConfig(
        env="arithmetic", model=model, episodes_per_iteration=4, max_new_tokens=4, device="cpu", num_threads=1
    )


def test_rates_are_of_the_tokens_that_were_sampled(tiny_model: str) -> None:
    rates = measure(small(tiny_model), repetitions=2)
    assert {name: len(numbers) for name, numbers in rates.items()} == {"rollout": 2, "update": 2, "update, read": 2}
    assert all(number > 0 for numbers in rates.values() for number in numbers)
    assert all(read > new for read, new in zip(rates["update, read"], rates["update"], strict=True)), (
        "prompts are read too"
    )


def test_the_command_prints_what_was_measured(tiny_model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", tiny_model, "--episodes", "2", "--max_new_tokens", "4", "--repetitions", "2", "--device", "cpu"]
    assert main([*words, "--num_threads", "1", "--without", "memory", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    for name in ("rollout", "update"):
        median, low, high = re.search(rf"^{name} +([\d,]+) tokens/s +\(([\d,]+) to ([\d,]+)\)$", out, re.M).groups()  # type: ignore[union-attr]
        assert int(low.replace(",", "")) <= int(median.replace(",", "")) <= int(high.replace(",", ""))
    assert "seed 3" in out and "torch " in out and "1 threads" in out and "2 repetitions" in out


@pytest.mark.slow
def test_three_agents_cost_less_than_a_fifth_more_than_one(tmp_path: Path) -> None:
    """Peak memory of fresh processes, optimizer included, on a base of at least 40M parameters."""
    from maporl.agents.make_model import make_model

    assert make_model(tmp_path / "m", **LARGE) >= 40_000_000  # type: ignore[arg-type]
    peaks = peak_memory(small(str(tmp_path / "m")))
    assert peaks["1 agent"] > peaks["loaded only"] > 41 * 4, "a process that trains holds more than one that loads"
    assert peaks["3 agents"] < 1.2 * peaks["1 agent"], peaks

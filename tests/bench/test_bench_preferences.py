"""Steps of SFT and DPO are measured on the same messages, and memory in fresh processes."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from bench import preferences
from bench.preferences import candidates, pairs_of, rows
from bench.settings import Settings

QUICK = Settings(quick=True, repetitions=1)


def test_rows_say_what_a_step_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of three roles really runs."""
    pairs = pairs_of(candidates(9))
    assert len(pairs) == 6 and all((a.prompt_ids == b.prompt_ids).all() for a, b in pairs)
    fresh = subprocess.run

    def run(command: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        return fresh(command, **how) if command[3] == "3" else subprocess.CompletedProcess([], 0, "100.5\n")

    monkeypatch.setattr(subprocess, "run", run)
    own = preferences.adapter_training._forward
    found = {row.name: row for row in rows(QUICK)}
    assert preferences.adapter_training._forward is own
    assert found["DPO step / SFT step, the same messages"].target == "<= 1.3"
    assert 100 < found["peak, 3 roles"].value < 100_000, "MB of a process that holds torch"
    assert found["peak memory, 3 roles / 1 role"].value == found["peak, 3 roles"].value / 100.5
    assert all(found[f"step, {name}"].value > 0 for name in ("SFT", "DPO", "SFT, TRL's own passes"))

"""Steps of SFT and DPO are measured on the same messages, and memory in fresh processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import preferences
from bench.preferences import candidates, pairs_of, rows, seconds_per_step
from bench.settings import Settings
from maporl.agents.models.make_model import without_progress_bars

QUICK = Settings(quick=True, repetitions=1)


def test_pairs_are_of_one_prompt_and_trls_own_passes_are_put_back(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pairs = pairs_of(candidates(9))
    assert len(pairs) == 6 and all((a.prompt_ids == b.prompt_ids).all() for a, b in pairs)
    own = preferences.adapter_training._forward
    monkeypatch.setattr(preferences, "MANY", 2)
    with without_progress_bars():
        series = seconds_per_step(QUICK.policy(tmp_path), QUICK, 1)
    assert all(len(seconds) == 1 and seconds[0] > 0 for seconds in series.values())
    assert preferences.adapter_training._forward is own


def test_rows_say_what_a_step_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    series = {"SFT": [0.2, 0.1], "DPO": [0.2, 0.1], "SFT, TRL's own passes": [0.6, 0.4]}
    monkeypatch.setattr(preferences, "seconds_per_step", lambda *_: series)
    monkeypatch.setattr(preferences, "peak_memory", lambda *_: {"1 role": 100.0, "3 roles": 110.0})
    found = {row.name: row for row in rows(QUICK)}
    assert found["DPO step / SFT step, the same messages"].target == "<= 1.3"
    assert found["DPO step / SFT step, the same messages"].value == pytest.approx(1.0)
    assert found["SFT step, TRL's own passes / ours"].value == pytest.approx(3.5)
    assert (found["peak memory, 3 roles / 1 role"].value, found["peak memory, 3 roles / 1 role"].target) == (
        pytest.approx(1.1),
        "<= 1.2",
    )


@pytest.mark.slow
def test_three_roles_cost_about_one_base(tmp_path: Path) -> None:
    peaks = preferences.peak_memory(QUICK, str(tmp_path))
    assert 100 < peaks["1 role"] < 100_000 and peaks["3 roles"] < 1.2 * peaks["1 role"]

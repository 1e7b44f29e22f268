"""How many of torch's threads a run takes: measured, but for tiny models."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch

from maporl.training.config import RunConfig
from maporl.training.threads import fastest_threads, with_threads


@pytest.mark.parametrize(("seconds", "fastest"), [(lambda n: 0.004 * n, 1), (lambda n: 0.016 / n, 4)])
def test_the_number_of_threads_is_the_one_that_was_fastest(seconds: Callable[[int], float], fastest: int) -> None:
    before, seen = torch.get_num_threads(), set()

    def work() -> None:
        seen.add(torch.get_num_threads())
        time.sleep(seconds(torch.get_num_threads()))

    assert fastest_threads(work, 4) == fastest
    assert {1, 2, 4} <= seen and torch.get_num_threads() == before


def test_threads_are_measured_for_models_that_are_not_tiny(tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    config = RunConfig(env="arithmetic", model=tiny_model, device="cpu", max_new_tokens=4)
    team = config.build_team(config.build_env())
    try:
        assert with_threads(config, team).num_threads == 1
        monkeypatch.setattr("maporl.training.threads.TINY", 0)
        monkeypatch.setattr(
            "maporl.training.threads.fastest_threads", lambda work, most: work() is not None and most + 5
        )
        torch.set_num_threads(2)
        assert with_threads(config, team).num_threads == 7 == torch.get_num_threads()
        assert with_threads(config.merged({"num_threads": 3}), team).num_threads == 3
    finally:
        torch.set_num_threads(before)

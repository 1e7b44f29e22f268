"""The clock gives every moment to one part, and the timers leave the library as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.settings import Settings
from bench.share import REST, Clock, measured, rows, timers
from maporl.agents import Policy
from maporl.algorithms.batch import TurnBatch


def stepping(*times: float) -> Iterator[float]:
    yield from times


def test_every_moment_belongs_to_the_innermost_part() -> None:
    times = stepping(0, 1, 3, 6, 10, 15)
    clock = Clock(now=lambda: next(times))
    with clock.running("outer"):  # 0 to 1 outside
        clock.around(lambda: None, "inner")()  # 1 to 3 outer, 3 to 6 inner, 6 to 10 outer
    clock.tick()  # 10 to 15 outside
    assert clock.spent == {REST: 1 + 5, "outer": 2 + 4, "inner": 3}


def test_a_part_that_raises_is_left() -> None:
    times = stepping(0, 1, 3, 4)
    clock = Clock(now=lambda: next(times))

    def broken() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        clock.around(broken, "broken")()
    clock.tick()
    assert clock.spent == {REST: 1 + 1, "broken": 2}


def test_the_library_is_restored() -> None:
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in timers()]
    with measured(Clock()):
        assert all(vars(owner)[name] is not original for owner, name, original in before)
        assert isinstance(vars(TurnBatch)["collect"], classmethod)
    assert all(vars(owner)[name] is original for owner, name, original in before)


def test_the_parts_that_matter_are_timed() -> None:
    """A function that is renamed must be noticed, or its time would move to another part."""
    found = {(owner, name): part for owner, name, part in timers()}
    assert found[Policy, "sample"] == "rollout"
    parts = {"rollout", "update", "prompts and tokenising", "verifier", "collector", "advantages", "env"}
    assert set(found.values()) == parts | {"metrics and logging", "loop of the rollout", "loss and minibatches"}
    names = {name for _, name in found}
    assert {"backward", "step", "encode", "score", "collect", "observe", "extend", "rollout_metrics"} <= names


def test_parts_add_up_to_an_iteration() -> None:
    found = rows(Settings(quick=True, repetitions=1))
    by_name = {row.name: row for row in found}
    total, other = by_name["an iteration"], by_name["everything that is no model arithmetic"]
    assert total.unit == "s" and other.target == "<= 0.05"
    shares = {row.name: row.value for row in found if row not in (total, other)}
    assert sum(shares.values()) == pytest.approx(1)
    arithmetic = shares["arithmetic of the rollout"] + shares["arithmetic of the update"]
    assert other.value == pytest.approx(1 - arithmetic) and 0.5 < arithmetic < 1
    assert {"env", "verifier", "collector", "decoding", "prompts and tokenising", "metrics and logging"} <= set(shares)

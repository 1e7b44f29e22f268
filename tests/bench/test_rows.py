"""Rows say whether their bound holds; series are taken in turn and paired."""

from __future__ import annotations

import time

import pytest

from bench import Row, interleaved, ratio
from bench.rows import of, timed


@pytest.mark.parametrize(
    ("value", "target", "reached"),
    [(3.0, ">= 3", True), (2.9, ">= 3", False), (1.2, "<= 1.2", True), (1.3, "<=1.2", False), (0.5, ">= .5", True)],
)
def test_a_target_is_a_bound_from_below_or_above(value: float, target: str, reached: bool) -> None:
    assert Row("s", "n", value, value, value, "x", target).reached is reached


def test_a_row_without_target_reaches_nothing() -> None:
    assert Row("s", "n", 1.0, 1.0, 1.0, "x").reached is None


@pytest.mark.parametrize("target", ["3", "> 3", ">= many", "== 1"])
def test_a_target_that_is_no_bound_is_refused(target: str) -> None:
    with pytest.raises(ValueError, match=r"write '>= 3' or '<= 1\.2'"):
        Row("s", "n", 1.0, 1.0, 1.0, "x", target)


def test_a_series_becomes_its_median_and_range() -> None:
    row = of("s", "n", [5.0, 1.0, 2.0], "s")
    assert (row.value, row.low, row.high) == (2.0, 1.0, 5.0)


def test_ratios_are_of_repetitions_that_were_neighbours() -> None:
    row = ratio("s", "n", [2.0, 20.0, 9.0], [1.0, 10.0, 3.0])  # a busy second repetition meets both sides
    assert (row.value, row.low, row.high, row.unit) == (2.0, 2.0, 3.0, "x")


@pytest.mark.parametrize(("upper", "lower"), [([1.0], [1.0, 2.0]), ([], [])])
def test_series_that_cannot_be_paired_are_refused(upper: list[float], lower: list[float]) -> None:
    with pytest.raises(ValueError, match="cannot be paired"):
        ratio("s", "n", upper, lower)


def test_steps_alternate_and_the_first_round_is_dropped() -> None:
    calls: list[str] = []

    def step(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    series = interleaved({"a": lambda: step("a"), "b": lambda: step("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert series == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_no_repetition_is_refused() -> None:
    with pytest.raises(ValueError, match="at least once"):
        interleaved({"a": lambda: 1.0}, 0)


def test_timing_waits_for_the_device_on_both_sides() -> None:
    order: list[str] = []
    seconds = timed(lambda: (order.append("work"), time.sleep(0.01)), lambda: order.append("wait"))
    assert order == ["wait", "work", "wait"]
    assert seconds >= 0.01

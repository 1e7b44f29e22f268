"""Scores that were given before."""

from __future__ import annotations

from maporl.envs.verifiers.remembered import Remembered
from maporl.types import Question, Score

ONE, OTHER = Question("one", ""), Question("other", "")


def scores(*values: float) -> list[Score]:
    return [Score(value, None) for value in values]


def test_every_pair_is_new_once() -> None:
    known = Remembered(10)
    asked, said = [ONE, OTHER, ONE, ONE], ["x", "x", "x", "y"]
    assert sorted(known.new(asked, said)) == [1, 2, 3]
    known.add([ONE, OTHER, ONE], ["x", "x", "y"], scores(0.1, 0.2, 0.3))
    assert known.new(asked, said) == [] and known.look_up(asked, said) == scores(0.1, 0.2, 0.1, 0.3)
    known.forget()
    assert len(known.new(asked, said)) == 3


def test_what_was_not_asked_for_the_longest_goes_first() -> None:
    known = Remembered(2)
    known.add([ONE] * 3, ["a", "b", "c"], scores(1, 2, 3))
    assert known.look_up([ONE] * 3, ["b", "c", "a"]) == scores(2, 3, 1), "a call may be larger than what is kept"
    assert known.new([ONE] * 3, ["a", "b", "c"]) == [1]

"""pass@k: the share of choices that hold a right answer."""

from __future__ import annotations

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest

from maporl.benchmarks.analysis.pass_at_k import mean_pass_at, pass_at_k, pass_at_powers


def test_it_is_the_share_of_all_choices_with_a_right_one() -> None:
    for n in range(1, 7):
        for c in range(n + 1):
            for k in range(1, n + 1):
                choices = list(combinations([True] * c + [False] * (n - c), k))
                assert pass_at_k(n, c, k) == sum(map(any, choices)) / len(choices)


def test_it_is_unbiased_and_the_plain_estimate_is_not() -> None:
    p, n, k = 0.3, 5, 3
    weights = [comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    expected = sum(w * pass_at_k(n, c, k) for c, w in enumerate(weights))
    assert expected == pytest.approx(1 - (1 - p) ** k, rel=1e-12)
    plain = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(weights))
    assert plain < 1 - (1 - p) ** k - 0.02


def test_large_numbers_are_exact() -> None:
    for n, c, k in [(10_000, 1, 1), (10_000, 1, 5_000), (10_000, 17, 100), (10_000, 9_999, 2), (10_000, 5_000, 10_000)]:
        assert pass_at_k(n, c, k) == float(1 - Fraction(comb(n - c, k), comb(n, k)))
    assert pass_at_k(10_000, 1, 1) == 1e-4  # 1 - 0.9999 is not
    assert pass_at_k(10_000, 0, 10_000) == 0.0


def test_means_over_questions_and_runs() -> None:
    outcomes = {"a": [1.0, 0.0, 0.0, 0.0], "b": [1, 1, 0, 0], "c": np.zeros(4)}
    assert mean_pass_at(outcomes, 1) == pytest.approx((0.25 + 0.5) / 3)
    assert mean_pass_at(outcomes, 2) == pytest.approx((0.5 + 5 / 6) / 3)
    found = pass_at_powers([outcomes, {"a": [1, 1, 1]}])
    assert list(found) == [1, 2, 3] and list(pass_at_powers([outcomes])) == [1, 2, 4]
    assert found == pytest.approx({1: (0.25 + 1) / 2, 2: (4 / 9 + 1) / 2, 3: (1.75 / 3 + 1) / 2})
    assert pass_at_powers([{"a": [1]}]) == pass_at_powers([]) == pass_at_powers([{"a": [1, 0.5]}]) == {}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((3, 1, 4), "k is 4 with 3 answers"),
        ((3, 1, 0), "k at least 1"),
        ((3, 4, 1), "4 of 3 answers cannot be right"),
        ((3, -1, 1), "-1 of 3 answers cannot be right"),
    ],
)
def test_what_cannot_be(given: tuple[int, int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pass_at_k(*given)


def test_answers_are_right_or_wrong() -> None:
    with pytest.raises(ValueError, match="an answer is worth 0.5; pass@k takes 1"):
        mean_pass_at({"a": [1, 0.5]}, 1)
    with pytest.raises(ValueError, match="no question"):
        mean_pass_at({}, 1)

"""Figures of a verifier's scores: hand-computed values, and the interval's coverage."""

from __future__ import annotations

import numpy as np
import pytest

from maporl.envs.verifiers.quality import Bin, accuracy, auroc, auroc_interval, brier, ece, reliability

SCORES = [0.9, 0.8, 0.7, 0.3, 0.2]
LABELS = [True, False, True, True, False]


def test_auroc_counts_pairs() -> None:
    # right .9 .7 .3, wrong .8 .2: of six pairs .9 > .8, .9 > .2, .7 > .2, .3 > .2 are in order.
    assert auroc(SCORES, LABELS) == pytest.approx(4 / 6)


def test_equal_scores_are_half_a_pair() -> None:
    assert auroc([0.5, 0.5, 0.5], [True, False, False]) == 0.5
    assert auroc([0.6, 0.6, 0.1], [True, False, False]) == 0.75


def test_auroc_depends_on_the_order_alone() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random(50), rng.random(50) < 0.5
    assert auroc(scores**3, labels) == pytest.approx(auroc(scores, labels))
    assert auroc(1 - scores, labels) == pytest.approx(1 - auroc(scores, labels))


def test_accuracy_and_brier() -> None:
    assert accuracy(SCORES, LABELS) == pytest.approx(3 / 5)
    assert accuracy([0.5, 0.9], [False, True]) == 0.75  # one half is a coin toss
    assert brier([1.0, 0.0, 0.5], [True, True, True]) == pytest.approx((0 + 1 + 0.25) / 3)


def test_reliability_and_ece() -> None:
    found = reliability([0.0, 0.1, 0.5, 1.0], [False, True, True, True], bins=2)
    assert found == [Bin(0.0, 0.5, 2, 0.05, 0.5), Bin(0.5, 1.0, 2, 0.75, 1.0)]
    # both bins are half of the answers: .45 and .25 away.
    assert ece([0.0, 0.1, 0.5, 1.0], [False, True, True, True], bins=2) == pytest.approx((0.45 + 0.25) / 2)


def test_variance_without_clusters_is_delongs() -> None:
    # Two right (.9 and .4) and two wrong (.6, .1): components of the right 1, 1/2, of the wrong 1/2, 1; A = 3/4.
    # parts (V - A) / 2 = (1/8, -1/8, -1/8, 1/8): var = 4/3 * 4/64 = 1/12, n_eff = (3/16) / (1/12) = 9/4.
    low, high = auroc_interval([0.9, 0.4, 0.6, 0.1], [True, True, False, False])
    z2, n, p = 1.959963985**2, 9 / 4, 3 / 4
    centre, half = (p + z2 / (2 * n)), (z2 * (p * (1 - p) / n + z2 / (4 * n**2))) ** 0.5
    assert low == pytest.approx((centre - half) / (1 + z2 / n))
    assert high == pytest.approx((centre + half) / (1 + z2 / n))


def test_repeated_answers_make_nothing_surer() -> None:
    """Ten copies of every answer within its cluster: the same interval as without; as answers of their own: a narrower one."""
    rng = np.random.default_rng(1)
    labels = rng.random(40) < 0.5
    scores = np.clip(0.3 * labels + rng.random(40) * 0.7, 0, 1)
    once = auroc_interval(scores, labels, range(40))
    ten = auroc_interval(np.repeat(scores, 10), np.repeat(labels, 10), np.repeat(np.arange(40), 10).tolist())
    assert ten == pytest.approx(once)
    alone = auroc_interval(np.repeat(scores, 10), np.repeat(labels, 10))
    assert alone[1] - alone[0] < 0.5 * (once[1] - once[0])


def test_a_perfect_order_is_not_certain() -> None:
    low, high = auroc_interval([0.9] * 10 + [0.1] * 10, [True] * 10 + [False] * 10, [*range(10), *range(10)])
    assert high == 1.0
    assert low == pytest.approx(10 / (10 + 1.959963985**2))  # Wilson's with 10 of 10


def test_coverage() -> None:
    """Answers of one question share a shift of their scores; 400 samples of 60 questions: 95 % of intervals hold the truth."""
    rng = np.random.default_rng(2)

    def sample(questions: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        members = np.repeat(np.arange(questions), 6)
        labels = np.tile([True, False], 3 * questions)
        logits = 1.2 * labels + rng.normal(size=questions)[members] + rng.normal(size=6 * questions)
        return 1 / (1 + np.exp(-logits)), labels, members

    scores, labels, _ = sample(20_000)
    truth = auroc(scores, labels)
    held = [
        low <= truth <= high for low, high in (auroc_interval(*map(np.ndarray.tolist, sample(60))) for _ in range(400))
    ]
    assert 0.92 < np.mean(held) < 0.98


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ([0.1, 0.2], [True, True], "all 2 answers are right"),
        ([0.1, 1.2], [True, False], "score 1.2 is outside"),
        ([0.1, float("nan")], [True, False], "score nan"),
        ([0.1], [True, False], "one length"),
        ([], [], "not empty"),
    ],
)
def test_bad_input(scores: list[float], labels: list[bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        auroc(scores, labels)


def test_bad_clusters() -> None:
    with pytest.raises(ValueError, match="2 scores and 1 clusters"):
        auroc_interval([0.1, 0.2], [True, False], ["a"])
    with pytest.raises(ValueError, match="one cluster"):
        auroc_interval([0.1, 0.2], [True, False], ["a", "a"])
    with pytest.raises(ValueError, match="level is 95"):
        auroc_interval([0.1, 0.2], [True, False], level=95)
    with pytest.raises(ValueError, match="bins is 0"):
        ece([0.1], [True], bins=0)

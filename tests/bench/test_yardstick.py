"""The learning yardstick: its reward, its tokenizer, and that both sides are paid by it."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from bench.settings import Settings
from bench.yardstick import GROUP, VowelsAndDigits, make_characters, ours, team_reward, theirs


@pytest.mark.parametrize(
    ("vowels", "digits", "reward"),
    [("aeiou", "0123", 2.0), ("AxEx", "12ab", 1.0), ("", "", 0.0), (" ab ", "x", 0.5), ("12", "ae", 0.0)],
)
def test_the_reward_is_the_sum_of_both_shares(vowels: str, digits: str, reward: float) -> None:
    assert team_reward(vowels, digits) == pytest.approx(reward)


def test_a_character_is_a_token_and_comes_back(tmp_path: Path) -> None:
    make_characters(tmp_path, 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = 'Item 3:\n\n "q" ~'
    ids = tokenizer(text).input_ids
    assert len(ids) == len(text) and tokenizer.decode(ids) == text
    assert tokenizer("<|user|>a").input_ids == [3, tokenizer("a").input_ids[0]]


def test_everybody_is_paid_for_the_team() -> None:
    env = VowelsAndDigits()
    env.reset(options={"question": env.questions("train")[0]})
    for text in ("aeiox", "1234x"):
        env.step(text)
    assert env.turn_rewards == pytest.approx((1.6, 1.6))


def test_ours_learns_from_few_items(tmp_path: Path) -> None:
    make_characters(tmp_path, 0)
    curve = ours(Settings(), tmp_path, 0, items=12)
    assert len(curve) == 12 and all(0 <= reward <= 2 for reward in curve)
    assert statistics.fmean(curve[9:]) > statistics.fmean(curve[:3]) + 0.1


def test_theirs_is_paid_for_every_sample(tmp_path: Path) -> None:
    pytest.importorskip(
        "comlrl.trainers.reinforce", reason="comlrl is not installed: pip install -e '.[bench]'", exc_type=ImportError
    )
    make_characters(tmp_path, 0)
    curve = theirs(Settings(), tmp_path, 0, items=3)
    assert len(curve) == 3 and all(0 <= reward <= 2 for reward in curve) and GROUP == 8

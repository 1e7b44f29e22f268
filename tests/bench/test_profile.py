"""Shares of a profile add up, and name the kind of what was done."""

from __future__ import annotations

import pytest
import torch

from bench.profile import rows, shares
from bench.settings import Settings


def test_products_are_products_and_attention_is_attention() -> None:
    a, q = torch.randn(512, 512), torch.randn(1, 8, 256, 64)
    products = shares(lambda: a @ a)
    attention = shares(lambda: torch.nn.functional.scaled_dot_product_attention(q, q, q))
    rest = shares(lambda: a.exp().cumsum(0))
    assert products["products"] > 0.8 and attention["attention"] > 0.8 and rest["the rest"] > 0.8
    for found in (products, attention, rest):
        assert sum(found.values()) == pytest.approx(1)


def test_an_update_and_a_rollout_have_shares() -> None:
    found = {row.name: row.value for row in rows(Settings(quick=True, repetitions=1))}
    assert len(found) == 6 and all(0 < value < 1 for value in found.values())

"""Two rounds of the yardstick: the sides sample as many messages, and are paid by the same reward."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.rounds import SHAPES, TOKENS, ours
from bench.settings import Settings
from bench.yardstick import make_characters


@pytest.mark.parametrize("name", SHAPES)
def test_an_item_is_twenty_messages_of_each_agent(tmp_path: Path, name: str) -> None:
    make_characters(tmp_path, 0)
    learned = ours(Settings(), tmp_path, 0, SHAPES[name], items=1)
    assert len(learned.rewards) == 1 and 0 < learned.rewards[0] < 2
    assert 40 * TOKENS / 2 < learned.tokens <= 40 * TOKENS

"""The floor's counts, by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig

from bench.settings import GEOMETRIES
from bench.work import Geometry, Work, rollout_bytes, rollout_flops, seen_before, update_flops, work_of

SMALL = Geometry(layers=2, hidden=4, heads=2, kv_heads=1, head_dim=2, intermediate=8, vocab=10)


def ids(*rows: str) -> list[np.ndarray]:
    """A letter is a token."""
    return [np.array([ord(c) for c in row], np.int64) for row in rows]


def test_a_geometry_is_read_from_a_configuration() -> None:
    config = AutoConfig.for_model("qwen2", **GEOMETRIES["qwen2.5-7b"])
    found = Geometry.of(config)
    assert found == Geometry(
        layers=28, hidden=3584, heads=28, kv_heads=4, head_dim=128, intermediate=18944, vocab=152064
    )
    # q, o: 3584 x 3584; k, v: 3584 x 512; gate, up, down: 3584 x 18944. Seven billion with embedding and output layer.
    assert found.layer_weights == 2 * 3584 * 3584 + 2 * 3584 * 512 + 3 * 3584 * 18944
    assert 28 * found.layer_weights + 2 * 152064 * 3584 == pytest.approx(7.6e9, rel=0.01)


def test_prefixes_seen_before_are_found_wherever_the_sequences_stand() -> None:
    assert seen_before(ids("abcd", "x", "abce", "ab")) == [2, 0, 3, 0]
    assert seen_before(ids("ab", "ab")) == [0, 2]
    assert seen_before([]) == []


@given(st.lists(st.text("ab", max_size=6), max_size=12))
def test_what_was_not_seen_before_are_the_nodes_of_the_prefix_tree(rows: list[str]) -> None:
    new = sum(len(r) - s for r, s in zip(rows, seen_before(ids(*rows)), strict=True))
    assert new == len({r[:n] for r in rows for n in range(1, len(r) + 1)})


def test_rows_of_a_group_share_their_prompt() -> None:
    prompts, completions = ids("ppp", "ppp", "qq"), ids("ab", "acd", "e")
    apart = work_of(prompts, completions, shared=False)
    # Read without each last token: pppa, pppac, qq; judged: every completion token.
    assert (apart.tokens, apart.judged, dict(apart.blocks)) == (4 + 5 + 2, 6, {(4, 4): 1, (5, 5): 1, (2, 2): 1})
    assert apart.pairs == 10 + 15 + 3
    shared = work_of(prompts, completions, shared=True)
    # Distinct: p pp ppp pppa pppac, q qq. Judged after: ppp, pppa, pppac, qq (both "a" at once).
    assert (shared.tokens, shared.judged, dict(shared.blocks)) == (7, 4, {(4, 4): 1, (1, 5): 1, (2, 2): 1})
    assert shared.pairs == 10 + 5 + 3


def test_a_row_that_was_seen_whole_costs_nothing() -> None:
    twice = work_of(ids("pp", "pp"), ids("ab", "ac"), shared=True)
    assert (twice.tokens, twice.judged, dict(twice.blocks)) == (3, 2, {(3, 3): 1})


def test_flops_of_a_rollout() -> None:
    # A layer's matrices: q and o 4x4, k and v 4x2, gate, up and down 4x8 each: 16+16+8+8+96 = 144.
    assert SMALL.layer_weights == 144
    # Two prompts of 3 tokens, four messages of 2: 6 + 4 tokens are read; pairs: 2 x 6 + 4 x 4; output layer: 2 + 4 times.
    layers = 2 * (2 * 144 * 10 + 4 * 2 * 2 * (12 + 16))
    assert rollout_flops(SMALL, batch=4, prompt=3, new=2, distinct=2) == layers + 2 * 4 * 10 * 6


def test_bytes_of_a_rollout() -> None:
    # One step: 2 layers x 144 weights, output layer 40; cache: keys and values of 4 messages, 2 layers, 1 head of 2, 4 positions.
    assert rollout_bytes(SMALL, batch=4, prompt=3, new=2, size=2) == 2 * (2 * 144 + 40 + 2 * 4 * 2 * 2 * 4)


def test_flops_of_an_update() -> None:
    work = Work(tokens=5, blocks={(2, 3): 1, (2, 2): 1}, judged=3)
    assert work.pairs == (2 + 3) + (1 + 2)
    forward = 2 * 144 * 5 * 2
    down = 2 * 5 * (2 * 144 - (16 + 8 + 8))  # no gradient for what the first layer's q, k and v read
    attention = 2 * 6 * 2 * 2 * 2 * 8
    output = 2 * 2 * 40 * 3
    assert update_flops(SMALL, work, rank=0) == forward + down + attention + output
    # inputs + outputs of q, k, v, o, gate, up, down: 8 + 6 + 6 + 8 + 12 + 12 + 12 = 64; twice forward, twice backward in each
    # layer (A, B; their gradients; and handing the gradient down), minus 4 + 4 + 4 inputs in the first.
    lora = 2 * 5 * (2 * 64 * 3 - 12)
    assert update_flops(SMALL, work, rank=1) - update_flops(SMALL, work, rank=0) == lora

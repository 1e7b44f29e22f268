"""Each axis moves what it says, and its rows count the tokens that were really sampled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bench.scaling import AXES, BASE, axis_rows
from bench.settings import GEOMETRIES, Settings
from bench.workload import make_large_vocabulary

QUICK = Settings(quick=True, repetitions=1)


def test_the_axes_are_those_asked_for() -> None:
    assert AXES["discussions"] == (16, 64, 256, 1024) and max(AXES["num_agents"]) == 8
    assert (min(AXES["vocab_size"]), max(AXES["vocab_size"])) == (320, 151936)
    assert set(AXES) - {"vocab_size"} == set(BASE)


@pytest.mark.parametrize(
    ("axis", "points", "tokens"),
    [
        ("num_agents", (1, 3), (256, 768)),  # 16 discussions x agents x 16 tokens
        ("num_rounds", (1, 2), (512, 1024)),
        ("new_tokens", (2, 5), (64, 160)),
        ("group_size", (2, 4), (512, 512)),
        ("vocab_size", (320, 700), (512, 512)),
    ],
)
def test_tokens_of_an_axis(axis: str, points: tuple[int, int], tokens: tuple[int, int]) -> None:
    settings = replace(QUICK, repetitions=2 if axis == "new_tokens" else 1)
    rows = {row.name: row for row in axis_rows(settings, axis, points)}
    assert len(rows) == 8
    for point, count in zip(points, tokens, strict=True):
        for what in ("rollout", "update"):
            seconds, rate = rows[f"{axis} {point}, {what}"], rows[f"{axis} {point}, {what}: tokens"]
            assert seconds.note.endswith(f" {count:,} tokens")
            assert rate.high == pytest.approx(count / seconds.low) and rate.low == pytest.approx(count / seconds.high)


def test_the_cost_of_more_discussions_has_a_target() -> None:
    rows = {row.name: row for row in axis_rows(QUICK, "discussions", (8, 16))}
    assert rows["cost of 16 discussions over 8"].target is None
    both = [rows[f"discussions {n}, {what}"] for n in (8, 16) for what in ("rollout", "update")]
    assert rows["cost of 16 discussions over 8"].high <= (both[2].high + both[3].high) / (both[0].low + both[1].low)


def test_a_large_vocabulary_is_the_models_not_the_tokenizers(tmp_path: Path) -> None:
    policy = make_large_vocabulary(tmp_path, 5000, {**GEOMETRIES["tiny"], "vocab_size": 300}, QUICK)
    assert len(policy.tokenizer) <= 300
    assert policy.model.get_output_embeddings().weight.shape == (5000, 128)
    assert policy.model.get_input_embeddings().weight.shape == (5000, 128)

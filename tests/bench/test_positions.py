"""Positions are counted where a model's body is called, padding apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_models import generate, random_ids, random_uniforms, sharp_model

from bench.positions import counted
from maporl.agents import Policy, Sampling


def test_both_samplers_and_an_update_by_hand(tmp_path: Path) -> None:
    sharp_model(tmp_path)
    prompts, draws, three = random_ids(7, 4), random_uniforms(2, 3), Sampling(max_new_tokens=3)
    for sampler in ("in_process", "reference"):
        policy = Policy.from_pretrained(str(tmp_path), sampler=sampler)
        policy.eos_ids = frozenset({290})
        assert policy.backbone.exact
        with counted([policy.model]) as seen:
            generate(policy, None, prompts, three, draws)
        assert (seen.computed, seen.real) == (2 * 7 + 2 * 2, 7 + 4 + 2 * 2), sampler  # the last token is not read
    [packed] = policy.pack(np.arange(2), prompts, random_ids(3, 2), 100)
    with counted([policy.model]) as seen:
        policy.logprobs(None, packed, 1.0)
    assert (seen.computed, seen.real) == (2 * 9, 9 + 5)
    policy.logprobs(None, packed, 1.0)
    assert seen.computed == 2 * 9, "outside of the block nothing is counted"

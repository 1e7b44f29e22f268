"""16-bit bases: products in 16 bit, everything that sums up in float32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from toy_models import shake
from transformers import AutoModelForCausalLM

from maporl.agents.models import checkpoints
from maporl.agents.models.make_model import ARCHITECTURES
from maporl.agents.models.mixed import is_mixed, mix
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.in_process import InProcessSampler
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.settings import Sampling

IDS = torch.tensor([[3, 9, 4, 7, 1, 8, 2, 5]])


def loaded(path: Path, dtype: torch.dtype) -> nn.Module:
    return AutoModelForCausalLM.from_pretrained(str(path), dtype=dtype).eval()


@torch.no_grad()
@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_mixed_models_are_nearer_to_float32_and_speak_float32_between_their_layers(
    checkpoint: Callable[..., Path], architecture: str
) -> None:
    path = checkpoint(architecture=architecture)
    exact = loaded(path, torch.bfloat16).float().base_model(IDS).last_hidden_state
    pure = loaded(path, torch.bfloat16).base_model(IDS).last_hidden_state.float()
    model = loaded(path, torch.bfloat16)
    mix(model)
    mix(model)  # once is enough
    flowing: set[torch.dtype] = set()
    for name, module in model.named_modules():
        if name.endswith(("mlp", "attn", "attention", "self_attn")):
            module.register_forward_hook(lambda m, i, o: flowing.add((o[0] if isinstance(o, tuple) else o).dtype))
    mixed = model.base_model(IDS).last_hidden_state
    assert is_mixed(model) and flowing == {torch.float32}
    assert {m.weight.dtype for m in model.modules() if isinstance(m, nn.Linear | nn.Embedding)} == {torch.bfloat16}
    assert 0 < (mixed - exact).norm() < 0.9 * (pure - exact).norm()


def test_float32_is_left_alone(checkpoint: Callable[..., Path]) -> None:
    model = loaded(checkpoint(), torch.float32)
    mix(model)
    assert not is_mixed(model) and not any("forward" in vars(m) for m in model.modules())


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_16_bit_is_sampled_fast_and_trained_as_it_was_sampled(
    checkpoint: Callable[..., Path], architecture: str
) -> None:
    policy = Policy.from_pretrained(str(checkpoint(architecture=architecture)), dtype="bfloat16")
    policy.add_adapter("one")
    shake(policy, "one", 0.1)
    prompts = [np.array(ids, np.int64) for ids in ([3, 9, 4], [3, 9, 4, 8, 8], [7, 1])]
    rng = np.random.default_rng(0)
    said = policy.sample([Request("one", p, Sampling(max_new_tokens=8), rng.random(8, np.float32)) for p in prompts])
    found = torch.zeros(3, 8)
    for packed in policy.pack(np.arange(3), prompts, [s.ids for s in said], 4096):
        packed.spread(policy.logprobs("one", packed, 1.0)[0].detach(), found)
    differences = np.concatenate([found[n, : len(s.ids)].numpy() - s.logprobs for n, s in enumerate(said)])
    assert isinstance(policy.sampler, InProcessSampler) and not policy.rounds_alike
    assert np.abs(differences).mean() < 0.015


@pytest.mark.parametrize(("capabilities", "expected"), [({}, "float32"), ({"avx512_bf16": True}, "bfloat16")])
def test_large_models_are_16_bit_where_the_processor_multiplies_it(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(checkpoints, "_CPU", capabilities)
    assert checkpoints.usual_dtype(135_000_000, "cpu") == expected
    assert checkpoints.usual_dtype(135_000_000, "cuda") == checkpoints.usual_dtype(1_000_000, "cpu") == "float32"
    assert Policy.from_pretrained(str(checkpoint())).model.dtype == torch.float32
    monkeypatch.setattr(checkpoints, "TINY", 1000)
    assert Policy.from_pretrained(str(checkpoint())).model.dtype == checkpoints.DTYPES[expected]
    assert Policy.from_pretrained(str(checkpoint()), dtype="float16").model.dtype == torch.float16

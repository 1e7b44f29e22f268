"""Bases in four bits: refused with the remedy where they cannot be, and on a GPU the base they are, dequantised."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import generate, logprobs_of, random_ids, random_uniforms, shake, sharp_model, weights

from maporl.agents.policy import LoRA, Policy
from maporl.agents.quantised import check_quantization, quantization_config
from maporl.agents.sampling import Sampling
from maporl.config import RunConfig


def missing(name: str) -> str:
    raise importlib.metadata.PackageNotFoundError(name)


def test_without_a_gpu_nothing_is_loaded() -> None:
    refused = "quantization is '4bit', but device is 'cpu': quantised bases need a CUDA GPU.*or leave quantization out"
    with pytest.raises(ValueError, match=refused) as error:
        Policy.from_pretrained("no/such-model", quantization="4bit")
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=refused):
        RunConfig(model="no/such-model", device="cpu", quantization="4bit").build_policy("no/such-model")


def test_without_bitsandbytes_nothing_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(ValueError, match=r"bitsandbytes is not installed: pip install 'maporl\[quantised\]', or leave"):
        Policy.from_pretrained("no/such-model", device="cuda", quantization="4bit")


def test_another_word() -> None:
    with pytest.raises(ValueError, match=r"quantization '8bit' is unknown; use one of \['4bit'\], or leave it out"):
        Policy.from_pretrained("no/such-model", device="cuda", quantization="8bit")


def test_none_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", missing)
    check_quantization(None, "cpu")
    assert RunConfig().quantization is None


def test_a_quantised_base_is_not_exported(policy: Policy, tmp_path: Path) -> None:
    policy.model.is_quantized = True  # as transformers marks them
    with pytest.raises(ValueError, match="load the base without quantization and the adapter from its folder"):
        policy.export("one", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def on(device: str, dtype: str, folder: Path) -> tuple[Policy, Policy]:
    """A policy on a quantised base, and one on the weights that this base stands for, with equal adapters."""
    from bitsandbytes.functional import dequantize_4bit

    sharp_model(folder, hidden_size=64, intermediate_size=128)
    lora = LoRA(r=4)
    quantised = Policy.from_pretrained(str(folder), dtype=dtype, device=device, quantization="4bit", lora=lora)
    plain = Policy.from_pretrained(str(folder), dtype=dtype, device=device, lora=lora)
    layers = dict(plain.model.named_modules())
    number = 0
    for name, module in quantised.model.named_modules():
        if type(module).__name__ == "Linear4bit":
            dequantised = dequantize_4bit(module.weight.data, module.weight.quant_state)
            layers[name].weight.data.copy_(dequantised.reshape(layers[name].weight.shape))
            number += 1
    assert number == 2 * 7, "seven linear maps a layer; the output layer stays as it is"
    for policy in (quantised, plain):
        for name, seed in (("one", 1), ("two", 2)):
            policy.add_adapter(name, seed=seed)
        shake(policy, "one", 0.1)
    return quantised, plain


def gradient(policy: Policy, prompts: list, completions: list) -> torch.Tensor:
    for parameter in policy.parameters("one"):
        parameter.grad = None
    for packed in policy.pack(np.arange(len(prompts)), prompts, completions, 64):
        policy.logprobs("one", packed, 1.0)[0].sum().backward()
    return torch.cat([p.grad.flatten().cpu() for p in policy.parameters("one")])  # type: ignore[union-attr]


def compare(quantised: Policy, plain: Policy, tolerance: float) -> None:
    """Sampling, log-probs and gradients are those of the dequantised base; nothing is merged, and one adapter moves."""
    assert quantised.model.is_quantized and not any(quantised._mergeable.values())
    assert {p.dtype for p in quantised.parameters("one")} == {torch.float32}
    assert not any(p.requires_grad for n, p in quantised.model.named_parameters() if ".lora_" not in n)
    prompts = random_ids(5, 30, 1)
    sampled = generate(quantised, "one", prompts, Sampling(max_new_tokens=8), random_uniforms(3, 8))
    completions = [s.ids for s in sampled]
    found, expected = (logprobs_of(p, "one", prompts, completions).detach() for p in (quantised, plain))
    assert (found - expected).abs().max() < tolerance
    for row, message in enumerate(sampled):
        assert np.abs(found[row, : len(message.ids)].numpy() - message.logprobs).max() < tolerance
    ours, theirs = (gradient(p, prompts, completions) for p in (quantised, plain))
    assert (ours - theirs).norm() < tolerance * theirs.norm()
    before = {name: weights(quantised, name) for name in ("one", "two")}
    torch.optim.AdamW(quantised.parameters("one"), lr=0.01).step()
    assert not torch.equal(weights(quantised, "one"), before["one"])
    assert torch.equal(weights(quantised, "two"), before["two"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 0.01), ("bfloat16", 0.1)])
def test_on_a_gpu(dtype: str, tolerance: float, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    quantised, plain = on("cuda", dtype, tmp_path / "model")
    compare(quantised, plain, tolerance)
    quantised.save_adapter("one", tmp_path / "saved")
    plain.add_adapter("loaded", path=tmp_path / "saved")
    assert torch.equal(weights(plain, "loaded").cpu(), weights(quantised, "one").cpu())


def test_the_configuration_is_nf4_with_quantised_constants() -> None:
    settings = quantization_config(torch.bfloat16).to_dict()
    assert (
        settings["load_in_4bit"] and settings["bnb_4bit_quant_type"] == "nf4" and settings["bnb_4bit_use_double_quant"]
    )
    assert settings["bnb_4bit_compute_dtype"] == "bfloat16"

"""The fused LoRA layer against PEFT's own, and adapters merged into the base and taken out again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from torch import nn
from toy_models import completion_logits, generate, logprobs_of, random_ids, random_uniforms, shake
from transformers import AutoModelForCausalLM

from maporl.agents.models import lora
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.sampler import Sampled
from maporl.agents.sampling.settings import Sampling


class Two(nn.Module):
    """Two linear layers, one with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(12, 20, bias=False), nn.Linear(20, 6)

    def get_input_embeddings(self) -> nn.Module:
        return nn.Embedding(1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(torch.tanh(self.first(x)))


def pair(dtype: torch.dtype = torch.float32) -> tuple[nn.Module, nn.Module]:
    """The same layers with the same adapters, PEFT's way and fused."""
    found = []
    for fused in (False, True):
        torch.manual_seed(0)
        model = Two().to(dtype)
        peft = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=["first", "second"]))
        for name, parameter in peft.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn(parameter.shape) * 0.3
        assert {p.dtype for n, p in peft.named_parameters() if "lora_" in n} == {torch.float32}
        if fused:
            lora.fuse(model)
        found.append(model)
    assert sum("forward" in vars(m) for m in found[1].modules()) == 2
    return found[0], found[1]


def outcome(model: nn.Module, x: torch.Tensor, autocast: bool = False) -> list[torch.Tensor]:
    """Result, gradient of the input and of the adapters, and the types they have."""
    x = x.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        out = model(x)
    out.float().square().sum().backward()
    adapters = [p.grad for n, p in model.named_parameters() if "lora_" in n]
    assert all(p.grad is None for n, p in model.named_parameters() if "lora_" not in n)
    return [out.detach(), x.grad, *adapters]


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12)])
def test_float32_is_pefts(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    for theirs, ours in zip(*(outcome(m, x) for m in pair()), strict=True):
        assert theirs.dtype == ours.dtype and theirs.shape == ours.shape
        assert theirs.abs().max() > 1e-2 and torch.allclose(theirs, ours, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("dtype", "autocast"), [(torch.bfloat16, False), (torch.float32, True), (torch.bfloat16, True)]
)
def test_16_bit_products_are_near_pefts_and_adapters_stay_float32(dtype: torch.dtype, autocast: bool) -> None:
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(1)).to(dtype)
    theirs, ours = (outcome(m, x, autocast) for m in pair(dtype))
    for a, b in zip(theirs, ours, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).float().norm() < 0.02 * a.float().norm()
    assert all(g.dtype == torch.float32 for g in ours[2:])
    assert ours[0].dtype == torch.bfloat16


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    theirs, ours = pair()
    x = torch.randn(5, 12)
    for model in (theirs, ours):
        model(x).sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None) and (a.grad is None or torch.allclose(a.grad, b.grad, atol=1e-5))


def test_a_model_may_change_the_result_in_place() -> None:
    x = torch.randn(2, 3, 12)
    gradients = []
    for model in pair():
        model.first(x).mul_(2.0).square().sum().backward()
        gradients.append(next(p.grad for n, p in model.named_parameters() if "first.lora_B" in n))
    assert torch.allclose(*gradients, rtol=1e-4)


def test_disabled_adapters_are_the_base_alone() -> None:
    _, model = pair()
    torch.manual_seed(0)
    plain, x = Two(), torch.randn(5, 12)
    assert not torch.allclose(model(x), plain(x), atol=1e-2)
    for module in model.modules():
        if isinstance(module, LoraLayer):
            module.enable_adapters(False)
    assert torch.equal(model(x), plain(x))


# -- adapters from elsewhere -------------------------------------------------------------------------------------------

KINDS = {
    "plain": dict(target_modules="all-linear"),
    "rslora": dict(target_modules="all-linear", use_rslora=True),
    "dropout": dict(target_modules="all-linear", lora_dropout=0.5),
    "dora": dict(target_modules="all-linear", use_dora=True),
    "head": dict(target_modules=["q_proj", "lm_head"]),
    "embedding": dict(target_modules=["q_proj", "embed_tokens"]),
}
KINDS["dora head"] = dict(KINDS["head"], use_dora=True)
KINDS["dora embedding"] = dict(KINDS["embedding"], use_dora=True)


ENDS = ("model.embed_tokens", "lm_head")


@pytest.fixture(scope="session")
def elsewhere(checkpoint: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A folder with an adapter of a kind, written by PEFT."""

    def make(kind: str, family: str = "llama") -> Path:
        folder = tmp_path_factory.mktemp(kind)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(checkpoint(family)), LoraConfig(r=4, **KINDS[kind]))
        generator = torch.Generator().manual_seed(0)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and "magnitude" not in name:
                parameter.data += torch.randn(parameter.shape, generator=generator) * 0.2
        model.save_pretrained(folder)
        return folder

    return make


def differs(model: nn.Module, prompts: list, sampled: list[Sampled]) -> float:
    """How far sampled log-probs are from a model's own, one message at a time."""
    worst = 0.0
    for prompt, said in zip(prompts, sampled, strict=True):
        ids = torch.as_tensor([*prompt, *said.ids])[None]
        with torch.no_grad():
            logprobs = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        found = logprobs[range(len(said.ids)), said.ids]
        worst = max(worst, float((found - torch.from_numpy(said.logprobs)).abs().max()))
    return worst


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "sampler", "late"),
    [
        *((kind, "in_process", True) for kind in KINDS),
        *(
            (kind, "in_process", False) for kind in ("plain", "dora", "dora head")
        ),  # two kinds of merging, not by the fast path
        *((kind, "reference", False) for kind in KINDS),
    ],
)
def test_whatever_the_adapter_is_sampling_and_training_agree_with_peft(
    checkpoint: Callable[..., Path], elsewhere: Callable[[str], Path], kind: str, sampler: str, late: bool
) -> None:
    folder = elsewhere(kind)
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(checkpoint()), folder).eval()
    policy = Policy.from_pretrained(str(checkpoint()), sampler=sampler)
    prompts, sampling = random_ids(5, 9, 20), Sampling(max_new_tokens=6)
    if late:  # the sampler has been made, and what it knows of the model with it
        policy.add_adapter("plain")
        generate(policy, "plain", prompts, sampling, random_uniforms(3, 6))
    policy.add_adapter("one", path=folder)
    sampled = generate(policy, "one", prompts, sampling, random_uniforms(3, 6))
    assert differs(theirs, prompts, sampled) < 1e-4
    with theirs.disable_adapter():
        assert differs(theirs, prompts, sampled) > 0.01
    assert (type(policy.sampler).__name__ == "InProcessSampler") == (sampler == "in_process" and kind != "dora head")
    trained = logprobs_of(policy, "one", prompts, [s.ids for s in sampled]).detach()
    for row, said in zip(trained, sampled, strict=True):
        assert torch.allclose(row[: len(said.ids)], torch.from_numpy(said.logprobs), atol=1e-4)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_the_adapter_is_its_gradient_is_autograds(
    checkpoint: Callable[..., Path], elsewhere: Callable[[str], Path], kind: str
) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    policy.add_adapter("one", path=elsewhere(kind))
    prompts, said = random_ids(20, 5), random_ids(6, 6, seed=1)
    [packed] = policy.pack(np.arange(2), prompts, said, 100)
    found, spread = policy.logprobs("one", packed, 0.7, entropy=True)
    logprobs = (completion_logits(policy, "one", prompts, said) / 0.7).log_softmax(-1)[packed.rows]
    targets = torch.as_tensor(packed.targets).view(2, 6, 1)
    loss = logprobs.gather(2, targets).sum() + 0.5 * -(logprobs.exp() * logprobs).sum()
    parameters = policy.parameters("one")
    mine = torch.autograd.grad(found.sum() + 0.5 * spread.sum(), parameters)
    for a, b in zip(mine, torch.autograd.grad(loss, parameters), strict=True):
        assert b.abs().max() > 0 and (a - b).norm() < 1e-4 * b.norm()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("kind", "family"), [*((kind, "llama") for kind in KINDS), ("plain", "gpt2"), ("dora", "gpt2")]
)
def test_whatever_the_adapter_is_it_is_merged_and_exported(
    checkpoint: Callable[..., Path], elsewhere: Callable[..., Path], tmp_path: Path, kind: str, family: str
) -> None:
    """Also where the base shares one weight between its two ends, of which the adapter changes one."""
    policy = Policy.from_pretrained(str(checkpoint(family)))
    policy.add_adapter("one", path=elsewhere(kind, family))
    merged = lora.mergeable(policy.model, "one")
    assert merged and merged.keys() == {n for n in lora.layers_of(policy.model, "one") if n not in ENDS}
    policy.export("one", tmp_path / "plain")
    prompts = random_ids(5, 9, 20)
    sampled = generate(policy, "one", prompts, Sampling(max_new_tokens=6), random_uniforms(3, 6))
    assert differs(AutoModelForCausalLM.from_pretrained(tmp_path / "plain"), prompts, sampled) < 1e-4


# -- merging -----------------------------------------------------------------------------------------------------------


class Interrupted(Exception):
    """In the middle of something."""


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_merging_is_undone_to_the_bit_whatever_happens(
    checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    policy = Policy.from_pretrained(str(checkpoint(family)))
    policy.add_adapter("one")
    shake(policy, "one")
    before = {n: p.clone() for n, p in policy.model.named_parameters()}
    places = {n: p.data_ptr() for n, p in policy.model.named_parameters()}

    def restored() -> bool:
        now = dict(policy.model.named_parameters())
        return all(torch.equal(now[n], before[n]) and now[n].data_ptr() == places[n] for n in before)

    layers = lora.mergeable(policy.model, "one")
    with pytest.raises(Interrupted), lora.merged(layers, "one"):
        merged = {n for n, p in policy.model.named_parameters() if not torch.equal(p, before[n])}
        assert len(merged) == sum(".base_layer.weight" in n for n in before)
        raise Interrupted
    assert restored()

    layer, left = next(type(m) for m in policy.model.modules() if isinstance(m, LoraLayer)), [3]
    original = layer.get_delta_weight

    def scarce(self: object, adapter: str) -> torch.Tensor:
        left[0] -= 1
        if left[0] < 0:
            raise torch.OutOfMemoryError
        return original(self, adapter)

    monkeypatch.setattr(layer, "get_delta_weight", scarce)
    with lora.merged(layers, "one"):  # no room for a copy: it works without
        assert restored() and not any(layer.disable_adapters for layer in layers.values())
    assert restored()


def test_16_bit_weights_are_not_merged(checkpoint: Callable[..., Path], policy: Policy) -> None:
    half = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    half.add_adapter("one")
    assert lora.mergeable(policy.model, "one") and not lora.mergeable(half.model, "one")


def test_another_adapter_is_not_in_the_merged_weights(policy: Policy) -> None:
    policy.add_adapter("two", seed=2)
    shake(policy, "two", seed=9)
    prompts, sampling, draws = random_ids(5, 20), Sampling(max_new_tokens=5), random_uniforms(2, 5)
    for name in ("one", "two", "one", None):
        sampled = generate(policy, name, prompts, sampling, draws)
        with torch.no_grad():
            logprobs = logprobs_of(policy, name, prompts, [s.ids for s in sampled])
        assert all(
            torch.allclose(row[: len(s.ids)], torch.from_numpy(s.logprobs), atol=1e-4)
            for row, s in zip(logprobs, sampled, strict=True)
        )

"""Adapters from elsewhere, of every kind that PEFT has: each is loaded exactly, or refused by name; the base and the others stay."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from model_families import ODD, TOKENIZER, random_model
from peft import LoraConfig, PeftModel, PeftType, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn
from toy_models import change_json, shake, sharp_model
from transformers import AutoModelForCausalLM, AutoTokenizer, MixtralConfig, MixtralForCausalLM

from maporl.agents.models.adapter_folder import KEPT, MEANINGLESS
from maporl.agents.models.lora import layers_of, merged_weights
from maporl.agents.models.policy import Policy
from maporl.errors import UserValueError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")

TWO = dict(target_modules=["q_proj", "down_proj"])
PATTERNS = dict(TWO, rank_pattern={"q_proj": 2}, alpha_pattern={"down_proj": 3})
LOADED = {
    "default": TWO,
    "random": dict(TWO, init_lora_weights=False),
    **{
        start: dict(TWO, init_lora_weights=start)
        for start in ("gaussian", "eva", "orthogonal", "mica", "pissa", "olora")
    },
    "OLoRA, spelt so": dict(TWO, init_lora_weights="OLoRA"),
    "dora": dict(TWO, use_dora=True),
    "rslora": dict(TWO, use_rslora=True),
    "patterns": PATTERNS,
    "some layers": dict(TWO, layers_to_transform=[1]),
    "all but one": dict(TWO, exclude_modules=["layers.0.self_attn.q_proj"]),
    "pissa, dora": dict(TWO, init_lora_weights="pissa", use_dora=True),
    "pissa, rslora, patterns": dict(PATTERNS, init_lora_weights="pissa", use_rslora=True),
    "olora, patterns": dict(PATTERNS, init_lora_weights="olora"),
}
REFUSED = {  # and what is named
    "pissa, randomised": (dict(TWO, init_lora_weights="pissa_niter_3"), "init_lora_weights is 'pissa_niter_3'.*path_initial_model"),
    "lora_ga": (dict(TWO, init_lora_weights="lora_ga"), "init_lora_weights is 'lora_ga', which changed the base.*path_initial_model"),
    "olora of an embedding": (
        dict(target_modules=["embed_tokens"], init_lora_weights="olora"),
        "init_lora_weights is 'olora', and for model.embed_tokens .*cannot be computed again",
    ),
    "pissa of a tied layer": (
        dict(target_modules=["lm_head"], init_lora_weights="pissa"),
        "its file brings lm_head.weight, which is no LoRA weight and not this base's own",
    ),
    "biases": (dict(TWO, bias="all"), "bias is 'all', which is more than LoRA's A and B"),
    "biases of its layers": (dict(TWO, bias="lora_only"), "bias is 'lora_only'"),
    "bias of B": (dict(TWO, lora_bias=True), "lora_bias is True"),
    "layers twice": (dict(TWO, layer_replication=[[0, 2], [1, 2]]), "layer_replication is "),
    "tokens": (dict(TWO, trainable_token_indices=[1, 2]), "trainable_token_indices is "),
    "a whole layer": (dict(TWO, modules_to_save=["lm_head"]), r"modules_to_save is \['lm_head'\]"),
    "activated": (dict(TWO, alora_invocation_tokens=[3], task_type="CAUSAL_LM"), r"alora_invocation_tokens is \[3\]"),
    "tied": (dict(target_modules=["embed_tokens", "lm_head"], ensure_weight_tying=True), "ensure_weight_tying is True"),
}  # fmt: skip
IDS = torch.arange(5, 45)[None]


@torch.no_grad()
def logits(model: nn.Module) -> torch.Tensor:
    return model.eval()(input_ids=IDS).logits


def speaks(policy: Policy, adapter: str | None) -> torch.Tensor:
    with policy.using(adapter):
        return logits(policy.model)


def written(base: Path, folder: Path, settings: dict, **saving: str) -> PeftModel:
    """An adapter trained and saved by PEFT, on its own copy of the base."""
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(base), LoraConfig(**{"r": 4, "lora_alpha": 6, **settings})
    )
    for initial in saving.values():
        model.save_pretrained(initial)
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.2
    model.save_pretrained(folder, **saving)
    return model


class Isolation:
    """What a policy was before an adapter came: its base, its adapter "one", its modules."""

    def __init__(self, policy: Policy) -> None:
        self.policy, self.modules = policy, [n for n, _ in policy.model.named_modules()]
        self.logits = {name: speaks(policy, name) for name in (None, *policy.adapters)}
        self.attributes = set(vars(policy.model))

    def check(self, refused: bool) -> None:
        for name, before in self.logits.items():
            assert torch.equal(speaks(self.policy, name), before), name
        if refused:
            assert [n for n, _ in self.policy.model.named_modules()] == self.modules
            assert set(vars(self.policy.model)) == self.attributes


@pytest.mark.parametrize("kind", LOADED)
def test_what_is_lora_is_what_peft_makes_of_it_on_a_base_of_its_own(
    checkpoint: Callable[..., Path], policy: Policy, tmp_path: Path, kind: str
) -> None:
    trained = logits(written(checkpoint(), tmp_path / "there", LOADED[kind]))
    theirs = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(checkpoint()), tmp_path / "there")
    before = Isolation(policy)
    policy.add_adapter("two", path=tmp_path / "there")
    before.check(refused=False)
    assert torch.allclose(speaks(policy, "two"), logits(theirs), atol=1e-5)
    assert torch.allclose(speaks(policy, "two"), trained, atol=1e-5)
    assert (trained - before.logits[None]).abs().max() > 1

    policy.save_adapter("two", tmp_path / "here")  # and so it stays, from folder to folder
    again = Policy.from_pretrained(str(checkpoint()))
    again.add_adapter("two", path=tmp_path / "here")
    assert torch.equal(speaks(again, "two"), speaks(policy, "two"))
    assert len(again.parameters("two")) == len(load_file(tmp_path / "here" / "adapter_model.safetensors"))
    for adapter in ("one", "two"):
        policy.export(adapter, tmp_path / adapter)
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / adapter)
        assert torch.allclose(logits(plain), speaks(policy, adapter), atol=1e-4)
    before.check(refused=False)


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_more_than_lora_is_refused_by_name(
    checkpoint: Callable[..., Path], tmp_path: Path, kind: str, first: bool
) -> None:
    settings, named = REFUSED[kind]
    written(checkpoint(), tmp_path, settings)
    policy = Policy.from_pretrained(str(checkpoint()))
    if not first:
        policy.add_adapter("one", seed=1)
        shake(policy, "one")
    before = Isolation(policy)
    with pytest.raises(UserValueError, match=named) as error:
        policy.add_adapter("two", path=tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    before.check(refused=True)
    policy.add_adapter("two", seed=3)  # nothing is in its way
    before.check(refused=False)
    assert torch.equal(speaks(policy, "two"), speaks(policy, None))


FIELDS = {field.name for field in dataclasses.fields(LoraConfig)} - {"peft_type", *KEPT} - MEANINGLESS


@pytest.mark.parametrize("name", [*sorted(FIELDS), "of_a_later_version"])
def test_a_setting_that_is_not_known_to_be_lora_is_refused_by_name(policy: Policy, tmp_path: Path, name: str) -> None:
    policy.save_adapter("one", tmp_path)
    for value in ({"r": 3}, 0.5, True):
        change_json(tmp_path / "adapter_config.json", **{name: value})
        with pytest.raises(
            UserValueError, match=rf"{name} is .*, which is more than LoRA's A and B and cannot be trained"
        ):
            policy.add_adapter("two", path=tmp_path)
    change_json(tmp_path / "adapter_config.json", **{name: [] if name.startswith("of") else None})
    policy.add_adapter("two", path=tmp_path)
    assert torch.equal(speaks(policy, "two"), speaks(policy, "one"))


@pytest.mark.parametrize("kind", [*(k.value for k in PeftType if k != PeftType.LORA), "of_a_later_version", None])
def test_other_methods_are_refused_by_name(policy: Policy, tmp_path: Path, kind: str | None) -> None:
    policy.save_adapter("one", tmp_path)
    change_json(tmp_path / "adapter_config.json", peft_type=kind)
    with pytest.raises(
        UserValueError, match=f"peft_type is '{kind}', and only 'LORA' can be trained here; train it as plain LoRA"
    ):
        policy.add_adapter("two", path=tmp_path)


@pytest.mark.parametrize("start", ["corda", "loftq", "pissa_niter_x", "of_a_later_version"])
def test_initialisations_that_are_not_known_to_leave_the_base_are_refused(
    policy: Policy, tmp_path: Path, start: str
) -> None:
    policy.save_adapter("one", tmp_path)
    change_json(tmp_path / "adapter_config.json", init_lora_weights=start)
    with pytest.raises(UserValueError, match=f"init_lora_weights is '{start}', which changed the base before training"):
        policy.add_adapter("two", path=tmp_path)


def test_what_the_message_says_helps(checkpoint: Callable[..., Path], policy: Policy, tmp_path: Path) -> None:
    settings = dict(TWO, init_lora_weights="pissa_niter_1")
    trained = written(
        checkpoint(),
        tmp_path / "converted",
        settings,
        path_initial_model_for_weight_conversion=str(tmp_path / "initial"),
    )
    wanted = logits(trained)
    policy.add_adapter("converted", path=tmp_path / "converted")
    assert torch.allclose(speaks(policy, "converted"), wanted, atol=1e-5)

    trained.save_pretrained(tmp_path / "as it is")
    with pytest.raises(UserValueError, match="init_lora_weights is 'pissa_niter_1'"):
        policy.add_adapter("two", path=tmp_path / "as it is")
    change_json(tmp_path / "as it is" / "adapter_config.json", init_lora_weights=True)
    trained.unload().save_pretrained(tmp_path / "its base")
    AutoTokenizer.from_pretrained(checkpoint()).save_pretrained(tmp_path / "its base")
    other = Policy.from_pretrained(str(tmp_path / "its base"))
    other.add_adapter("two", path=tmp_path / "as it is")
    assert torch.allclose(speaks(other, "two"), wanted, atol=1e-5)


# -- other bases and damaged folders -----------------------------------------------------------------------------------


def without_a_layer(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    save_file({n: t for n, t in tensors.items() if "layers.1" not in n}, folder / "adapter_model.safetensors")


def with_a_base_weight(folder: Path) -> None:
    tensors = load_file(folder / "adapter_model.safetensors")
    tensors["base_model.model.model.norm.weight"] = torch.zeros(32)
    save_file(tensors, folder / "adapter_model.safetensors")


DAMAGES = {
    "layers are missing": (without_a_layer, "layers.1.* is only here.*load the base it was trained on"),
    "of other weights": (with_a_base_weight, "its file brings model.norm.weight, which is no LoRA weight and not this base's own"),
    "no file": (lambda f: (f / "adapter_model.safetensors").unlink(), "no adapter_model.safetensors there; give a folder"),
    "half a file": (lambda f: (f / "adapter_model.safetensors").write_bytes(b"1234"), "cannot be read .*copy the folder again"),
    "no settings": (lambda f: (f / "adapter_config.json").unlink(), "no adapter_config.json there; give a folder"),
    "half of the settings": (lambda f: (f / "adapter_config.json").write_text("{"), "adapter_config.json cannot be read; copy"),
    "a list of settings": (lambda f: (f / "adapter_config.json").write_text("[1]"), "adapter_config.json cannot be read; copy"),
    "no rank": (lambda f: change_json(f / "adapter_config.json", r=0), "does not fit this base model"),
    "a rank that is no number": (lambda f: change_json(f / "adapter_config.json", r="much"), "does not fit this base model"),
    "another rank": (lambda f: change_json(f / "adapter_config.json", r=2), r"is \[8, 32\] there, \[2, 32\] here"),
    "no such layers": (lambda f: change_json(f / "adapter_config.json", target_modules=["c_attn"]), "does not fit .*c_attn"),
    "layers of a wrong type": (
        lambda f: change_json(f / "adapter_config.json", target_modules=["q_proj", "input_layernorm"]), "does not fit .*LlamaRMSNorm",
    ),
    "parameters of layers that others adapt": (
        lambda f: change_json(f / "adapter_config.json", target_modules=[], target_parameters=["q_proj.weight"]), "does not fit this base",
    ),
    "no such pattern": (lambda f: change_json(f / "adapter_config.json", target_modules="("), "does not fit this base model"),
    "r too large for PiSSA": (
        lambda f: change_json(f / "adapter_config.json", init_lora_weights="pissa", r=40), "does not fit this base model",
    ),
}  # fmt: skip


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_leaves_nothing_behind(
    checkpoint: Callable[..., Path], policy: Policy, tmp_path: Path, damage: str, first: bool
) -> None:
    change, named = DAMAGES[damage]
    policy.save_adapter("one", tmp_path)
    change(tmp_path)
    if first:
        policy = Policy.from_pretrained(str(checkpoint()))
    before = Isolation(policy)
    with pytest.raises(UserValueError, match=named) as error:
        policy.add_adapter("two", path=tmp_path)
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
    before.check(refused=True)


@pytest.mark.parametrize(
    "change",
    [dict(num_layers=3), dict(num_layers=1), dict(hidden_size=64), dict(architecture="gpt2"), dict(vocab_size=320)],
)
def test_an_adapter_of_another_base_is_refused_also_without_our_record(
    checkpoint: Callable[..., Path], tmp_path: Path, change: dict
) -> None:
    targets = ["embed_tokens", "v_proj"] if "vocab_size" in change else ["v_proj"]
    written(checkpoint(), tmp_path / "saved", dict(target_modules=targets))
    policy = Policy.from_pretrained(str(sharp_model(tmp_path / "other", **change)))
    policy.add_adapter("one", seed=1)
    shake(policy, "one")
    before = Isolation(policy)
    with pytest.raises(
        UserValueError,
        match="does not fit this base model .*load the base it was trained on, '|not this base's own; load",
    ):
        policy.add_adapter("two", path=tmp_path / "saved")
    before.check(refused=True)


def test_experts_in_one_tensor(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """PEFT's "all-linear" adapts them as parameters, two of them in one layer."""
    torch.manual_seed(0)
    config = MixtralConfig(
        vocab_size=300, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        num_local_experts=3,
    )  # fmt: skip
    MixtralForCausalLM(config).save_pretrained(tmp_path / "base")
    AutoTokenizer.from_pretrained(checkpoint()).save_pretrained(tmp_path / "base")
    policy = Policy.from_pretrained(str(tmp_path / "base"))
    policy.add_adapter("one", seed=1)
    shake(policy, "one")
    policy.save_adapter("one", tmp_path / "saved")
    fresh = Policy.from_pretrained(str(tmp_path / "base"))
    before = Isolation(fresh)
    change_json(tmp_path / "saved" / "adapter_config.json", r=3)
    with pytest.raises(UserValueError, match="does not fit this base model"):
        fresh.add_adapter("one", path=tmp_path / "saved")
    before.check(refused=True)
    change_json(tmp_path / "saved" / "adapter_config.json", r=8)
    fresh.add_adapter("one", path=tmp_path / "saved")
    before.check(refused=False)
    assert torch.equal(speaks(fresh, "one"), speaks(policy, "one"))
    assert any("experts.gate_up_proj" in name for name, *_ in merged_weights(layers_of(policy.model, "one"), "one"))
    policy.export("one", tmp_path / "plain")
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    assert torch.allclose(logits(plain), speaks(policy, "one"), atol=1e-4)
    assert (speaks(policy, None) - speaks(policy, "one")).abs().max() > 0.1


def test_an_adapter_of_other_layers_leaves_the_others_as_they_are(
    checkpoint: Callable[..., Path], policy: Policy, tmp_path: Path
) -> None:
    """Also where its file has copies of the embeddings, as PEFT adds them, and where the base is in 16 bits."""
    written(checkpoint(), tmp_path, dict(target_modules=["up_proj", "embed_tokens", "lm_head"]))
    assert any("base_layer" in name for name in load_file(tmp_path / "adapter_model.safetensors"))
    sixteen = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    sixteen.add_adapter("one", seed=1)
    for team in (policy, sixteen):
        before = Isolation(team)
        team.add_adapter("two", path=tmp_path)
        before.check(refused=False)
        assert (speaks(team, "two") - speaks(team, None)).abs().max() > 1
    policy.save_adapter("two", tmp_path / "again")
    assert not any("base_layer" in name for name in load_file(tmp_path / "again" / "adapter_model.safetensors"))


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_what_was_taken_out_of_linear_layers_of_a_models_own_class_is_computed_again(
    tmp_path: Path, start: str
) -> None:
    base = tmp_path / "base"
    random_model("falcon", **ODD["falcon"]).save_pretrained(base)  # FalconLinear
    TOKENIZER.save_pretrained(base)
    trained = logits(written(base, tmp_path / "there", dict(target_modules="all-linear", init_lora_weights=start)))
    policy = Policy.from_pretrained(str(base))
    before = Isolation(policy)
    policy.add_adapter("two", path=tmp_path / "there")
    before.check(refused=False)
    assert torch.allclose(speaks(policy, "two"), trained, atol=1e-5)
    assert (trained - before.logits[None]).abs().max() > 0.1

"""One frozen base, adapters by name: exactness, gradients, files, and what goes wrong with a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from toy_models import (
    change_json,
    completion_logits,
    generate,
    logprobs_of,
    random_ids,
    random_uniforms,
    shake,
    sharp_model,
    weights,
)
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.models.policy import LoRA, Policy
from maporl.agents.sampling.settings import Sampling

FAMILIES = ["llama", "qwen2", "gpt2", "gpt_neox", "gemma2"]


@torch.no_grad()
def logits(policy: Policy, adapter: str | None, seed: int = 0) -> torch.Tensor:
    return completion_logits(policy, adapter, random_ids(5, 20, seed=seed), random_ids(4, 4, seed=seed + 1))


def plain_logits(model: torch.nn.Module, seed: int = 0) -> torch.Tensor:
    """The same, one sequence at a time, without padding, masks or positions."""
    rows = []
    for prompt, completion in zip(random_ids(5, 20, seed=seed), random_ids(4, 4, seed=seed + 1), strict=True):
        ids = torch.as_tensor(np.concatenate([prompt, completion]))[None]
        with torch.no_grad():
            rows.append(model(input_ids=ids).logits[0, -5:-1].float())
    return torch.stack(rows)


# -- the base and its adapters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_the_base_is_the_checkpoint_whatever_adapters_there_are(checkpoint: Callable, family: str) -> None:
    folder = str(checkpoint(family))
    original = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    policy = Policy.from_pretrained(folder)
    base = logits(policy, None)
    assert torch.allclose(base, plain_logits(original), atol=1e-4)
    policy.add_adapter("one")
    assert torch.equal(logits(policy, "one"), base)  # B = 0
    shake(policy, "one")
    assert not torch.allclose(logits(policy, "one"), base, atol=1e-2)
    assert torch.equal(logits(policy, None), base)
    policy.add_adapter("two")
    assert torch.equal(logits(policy, "two"), base) and torch.equal(logits(policy, None), base)


def test_adapters_do_not_mix_in_any_order_of_use(policy: Policy) -> None:
    policy.add_adapter("two", seed=2)
    shake(policy, "two", seed=9)
    expected = {name: logits(policy, name) for name in (None, "one", "two")}
    rng = np.random.default_rng(0)
    for name in rng.choice(np.array([None, "one", "two"]), 12):
        assert torch.equal(logits(policy, name), expected[name])


def test_the_seed_decides_an_adapters_first_weights(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    policy.add_adapter("one", seed=3)
    policy.add_adapter("two", seed=3)
    policy.add_adapter("three", seed=4)
    one, two, three = (weights(policy, n) for n in ("one", "two", "three"))
    assert torch.equal(one, two) and not torch.equal(one, three)


def test_parameters_are_those_of_one_adapter_even_if_it_is_called_like_a_module(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    names = ["0", "mlp", "model", "q_proj", "weight", "agent_1", "agent_10", "agent-1"]
    for name in names:
        policy.add_adapter(name)
    sets = {name: {id(p) for p in policy.parameters(name)} for name in names}
    # Two layers with seven linear modules, A and B of each.
    assert all(len(s) == 2 * 7 * 2 for s in sets.values())
    assert len(set.union(*sets.values())) == len(names) * 28


def test_lora_rank_and_targets_are_settings(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), lora=LoRA(r=3, alpha=5, target_modules=("q_proj", "v_proj")))
    policy.add_adapter("one")
    assert [tuple(p.shape) for p in policy.parameters("one")] == [(3, 32), (32, 3)] * 4
    assert policy.describe()["lora"] == {"r": 3, "alpha": 5, "target_modules": ("q_proj", "v_proj")}


def test_only_the_adapter_in_use_gets_a_gradient(policy: Policy) -> None:
    policy.add_adapter("two", seed=2)
    completion_logits(policy, "one", random_ids(5), random_ids(4)).logsumexp(-1).sum().backward()
    with_gradient = {id(p) for p in policy.model.parameters() if p.grad is not None}
    assert with_gradient == {id(p) for p in policy.parameters("one")}


def test_sampler_calls_are_counted(policy: Policy) -> None:
    before = policy.sampler_calls
    policy.sampler.max_batch_tokens = 50
    generate(policy, "one", random_ids(*[20] * 7), Sampling(max_new_tokens=3), random_uniforms(7, 3))
    assert policy.sampler_calls == before + 1


# -- gradients ---------------------------------------------------------------------------------------------------------


def gradient(policy: Policy, adapter: str, prompts: list, completions: list) -> torch.Tensor:
    """Of the sum of the log-probs of all completion tokens; summed over rows of any padding."""
    for parameter in policy.parameters(adapter):
        parameter.grad = None
    logprobs_of(policy, adapter, prompts, completions).sum().backward()
    return torch.cat([p.grad.flatten() for p in policy.parameters(adapter)])


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_padding_nor_batching_changes_the_gradient(checkpoint: Callable, family: str) -> None:
    policy = Policy.from_pretrained(str(checkpoint(family)))
    policy.add_adapter("one")
    shake(policy, "one", 0.1)
    prompts, completions = random_ids(30, 4, 11), random_ids(2, 9, 1, seed=1)
    together = gradient(policy, "one", prompts, completions)
    alone = sum(gradient(policy, "one", [p], [c]) for p, c in zip(prompts, completions, strict=True))
    scale = together.abs().max()
    assert scale > 1e-3
    assert (together - alone).abs().max() < 1e-4 * scale
    reordered = gradient(policy, "one", prompts[::-1], completions[::-1])
    assert (together - reordered).abs().max() < 1e-4 * scale


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_checkpointing_does_not_change_the_gradient(checkpoint: Callable, family: str) -> None:
    plain, saving = (Policy.from_pretrained(str(checkpoint(family)), gradient_checkpointing=g) for g in (False, True))
    gradients = []
    for policy in (plain, saving):
        policy.add_adapter("one")
        policy.add_adapter("critic")
        shake(policy, "one", 0.1)
        gradients.append(gradient(policy, "one", random_ids(20, 5), random_ids(6, 3, seed=1)))
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6 * float(gradients[0].abs().max()))


def test_gradient_checkpointing_really_recomputes(checkpoint: Callable) -> None:
    calls: list[int] = []
    policy = Policy.from_pretrained(str(checkpoint()), gradient_checkpointing=True)
    policy.add_adapter("one")
    assert policy.backbone.exact
    policy.model.model.layers[0].mlp.register_forward_pre_hook(lambda *_: calls.append(1))
    gradient(policy, "one", random_ids(20), random_ids(6))
    assert len(calls) == 2
    generate(policy, "one", random_ids(20), Sampling(max_new_tokens=2), random_uniforms(1, 2))
    assert len(calls) == 4


DROPOUTS = {
    "gpt2": {"attn_pdrop": 0.4, "embd_pdrop": 0.4, "resid_pdrop": 0.4},
    "llama": {"attention_dropout": 0.4},
    "phi3": {"attention_dropout": 0.4, "embd_pdrop": 0.4, "resid_pdrop": 0.4},
    "gpt_neox": {"attention_dropout": 0.4, "hidden_dropout": 0.4},
}


@pytest.mark.parametrize("family", DROPOUTS)
@pytest.mark.parametrize("saving", [False, True])
def test_dropout_in_the_checkpoint_is_switched_off(tmp_path: Path, family: str, saving: bool) -> None:
    sharp_model(tmp_path, architecture=family)
    gradients = []
    for rates in ({key: 0.0 for key in DROPOUTS[family]}, DROPOUTS[family]):
        change_json(tmp_path / "config.json", **rates)
        policy = Policy.from_pretrained(str(tmp_path), gradient_checkpointing=saving)
        policy.add_adapter("one")
        shake(policy, "one", 0.1)
        gradients.append(gradient(policy, "one", random_ids(20, 5), random_ids(6, 3, seed=1)))
    assert torch.equal(*gradients)


def test_dropout_of_an_adapter_from_elsewhere_is_switched_off(policy: Policy, tmp_path: Path) -> None:
    policy.save_adapter("one", tmp_path)
    change_json(tmp_path / "adapter_config.json", lora_dropout=0.5)
    loaded = Policy.from_pretrained(policy.tokenizer.name_or_path, gradient_checkpointing=True)
    loaded.add_adapter("one", path=tmp_path)
    arguments = ("one", random_ids(20, 5), random_ids(6, 3, seed=1))
    assert torch.allclose(gradient(loaded, *arguments), gradient(policy, *arguments), atol=1e-4)


# -- 16 bits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma2"])
def test_a_16_bit_base_gives_float32_logits_near_the_full_ones(tmp_path: Path, family: str) -> None:
    # Weights that bfloat16 holds exactly: what is left is the arithmetic. The output layer must not round its result to
    # 8 bits, so the logits must not lie on bfloat16's grid.
    model = AutoModelForCausalLM.from_pretrained(sharp_model(tmp_path, architecture=family))
    model.to(torch.bfloat16).to(torch.float32).save_pretrained(tmp_path)
    full, half = (Policy.from_pretrained(str(tmp_path), dtype=d) for d in ("float32", "bfloat16"))
    assert half.model.dtype == torch.bfloat16
    a, b = logits(full, None), logits(half, None)
    assert b.dtype == torch.float32
    assert (b.bfloat16().float() != b).float().mean() > 0.9
    assert (a.log_softmax(-1) - b.log_softmax(-1)).abs().max() < 0.05
    half.add_adapter("one")
    assert {p.dtype for p in half.parameters("one")} == {torch.float32}
    sampled = generate(half, "one", random_ids(5, 30), Sampling(max_new_tokens=10), random_uniforms(2, 10))
    assert all(np.isfinite(s.logprobs).all() for s in sampled)
    assert gradient(half, "one", random_ids(5), random_ids(4)).abs().max() > 0


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "name"), [*((family, "agent_0") for family in FAMILIES), ("llama", "default")])
def test_adapter_folders_are_pefts_own(checkpoint: Callable, tmp_path: Path, family: str, name: str) -> None:
    folder = str(checkpoint(family))
    policy = Policy.from_pretrained(folder)
    policy.add_adapter(name)
    policy.add_adapter("other")
    shake(policy, name)
    policy.save_adapter(name, tmp_path / "saved")
    assert {p.name for p in (tmp_path / "saved").iterdir()} >= {"adapter_config.json", "adapter_model.safetensors"}
    assert not any(p.is_dir() for p in (tmp_path / "saved").iterdir())
    base = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager")
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "saved")).eval()
    assert torch.allclose(plain_logits(theirs), logits(policy, name), atol=1e-4)
    ours = Policy.from_pretrained(folder)
    ours.add_adapter("first", path=tmp_path / "saved")
    ours.add_adapter("second", path=tmp_path / "saved")
    assert torch.equal(logits(ours, "first"), logits(policy, name))
    assert torch.equal(logits(ours, "second"), logits(policy, name))
    assert torch.equal(logits(ours, None), logits(policy, None))


@pytest.mark.parametrize("family", FAMILIES)
def test_an_exported_folder_is_the_adapter_merged_and_the_policy_stays(
    checkpoint: Callable, tmp_path: Path, family: str
) -> None:
    policy = Policy.from_pretrained(str(checkpoint(family)))
    policy.add_adapter("one")
    policy.add_adapter("two")
    shake(policy, "one", 0.1)
    shake(policy, "two", 0.1, seed=8)
    before = {name: logits(policy, name) for name in (None, "one", "two")}
    for name in (None, "one", "two"):
        policy.export(name, tmp_path / str(name))
        plain = AutoModelForCausalLM.from_pretrained(tmp_path / str(name), attn_implementation="eager").eval()
        assert type(plain) is type(policy.model)
        assert torch.allclose(plain_logits(plain), before[name], atol=1e-4)
        assert AutoTokenizer.from_pretrained(tmp_path / str(name)).chat_template == policy.tokenizer.chat_template
    assert all(torch.equal(logits(policy, name), value) for name, value in before.items())
    assert not torch.allclose(before["one"], before["two"], atol=1e-2)


def test_exporting_keeps_the_number_format(checkpoint: Callable, tmp_path: Path) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    policy.add_adapter("one")
    shake(policy, "one", 0.1)
    policy.export("one", tmp_path)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert plain.dtype == torch.bfloat16
    exported = Policy.from_pretrained(str(tmp_path), dtype="bfloat16")
    difference = (logits(exported, None) - logits(policy, "one")).abs().max()
    assert difference < 0.03 * logits(policy, "one").abs().max()


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def error_of(action: Callable[[], object]) -> str:
    with pytest.raises(ValueError) as error:
        action()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_unknown_adapters_and_taken_names(policy: Policy, tmp_path: Path) -> None:
    assert error_of(lambda: policy.add_adapter("one")) == "adapter 'one' exists already; choose another name."
    unknown = "there is no adapter 'nope'; there are ['one']."
    assert error_of(lambda: completion_logits(policy, "nope", random_ids(3), random_ids(3))) == unknown
    assert error_of(lambda: generate(policy, "nope", random_ids(3), Sampling(), None)) == unknown
    assert error_of(lambda: policy.export("nope", tmp_path / "x")) == unknown
    assert error_of(lambda: policy.save_adapter("nope", tmp_path / "x")) == unknown
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "a b", "a", "lora", ".."])
def test_impossible_adapter_names(policy: Policy, name: str) -> None:
    assert error_of(lambda: policy.add_adapter(name)).startswith(f"{name!r} cannot name an adapter; use letters")
    assert policy.adapters == ("one",)


@pytest.mark.parametrize("targets", ["nope", ("nope",), ("norm",), "*"])
@pytest.mark.parametrize("taken", [True, False])
def test_target_modules_that_the_model_lacks(checkpoint: Callable, targets: str | tuple[str, ...], taken: bool) -> None:
    policy = Policy.from_pretrained(str(checkpoint()))
    if taken:
        policy.add_adapter("one")
    policy.lora = LoRA(target_modules=targets)
    message = error_of(lambda: policy.add_adapter("two"))
    assert message.startswith(
        f"lora: target_modules {targets!r} does not fit this model; use 'all-linear', or a list of"
    )
    assert "q_proj" in message and "\n" not in message
    assert policy.adapters == (("one",) if taken else ())
    policy.lora = LoRA()
    policy.add_adapter("two")
    assert len(policy.parameters("two")) == 2 * 7 * 2, "two layers with seven linear maps each: A and B"


@pytest.mark.parametrize("settings", [{"r": 0}, {"alpha": 0}, {"alpha": float("nan")}, {"target_modules": (3,)}])
def test_impossible_lora_settings(settings: dict) -> None:
    (name,) = settings
    assert error_of(lambda: LoRA(**settings)).startswith(f"lora: {name} is ")


@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("first", [True, False])
def test_adapters_of_another_base(checkpoint: Callable, tmp_path: Path, first: bool, recorded: bool) -> None:
    for other in ({"hidden_size": 48}, {"num_layers": 3}, {"architecture": "gpt2"}):
        folder = tmp_path / "-".join(map(str, other.values()))
        source = Policy.from_pretrained(str(checkpoint(**other)))
        source.add_adapter("one")
        source.save_adapter("one", folder)
        if not recorded:
            (folder / "maporl_base.json").unlink()
        policy = Policy.from_pretrained(str(checkpoint()))
        if not first:
            policy.add_adapter("present")
        message = error_of(lambda folder=folder, policy=policy: policy.add_adapter("one", path=folder))
        assert message.startswith(f"adapter {str(folder)!r} does not fit this base model")
        assert policy.adapters == (() if first else ("present",))


def test_a_folder_without_an_adapter(policy: Policy, tmp_path: Path) -> None:
    message = error_of(lambda: policy.add_adapter("two", path=tmp_path / "nothing"))
    assert "no adapter_config.json there; give a folder written by PEFT." in message


def test_no_such_model(tmp_path: Path) -> None:
    for path in ("no/such-model", str(tmp_path / "missing")):
        message = error_of(lambda path=path: Policy.from_pretrained(path))
        assert message.startswith(f"model {path!r} cannot be loaded: not a usable local folder or reachable hub id.")
        assert "or 'embedded', the small one that comes with maporl" in message
    (tmp_path / "empty").mkdir()
    message = error_of(lambda: Policy.from_pretrained(str(tmp_path / "empty")))
    assert message.startswith(f"model {str(tmp_path / 'empty')!r} cannot be loaded: not a usable folder.")


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["missing", "garbage"])
def test_a_damaged_checkpoint(checkpoint: Callable, tmp_path: Path, file: str, damage: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(checkpoint(), folder)
    (folder / file).unlink()
    if damage == "garbage":
        (folder / file).write_bytes(b"garbage")
    message = error_of(lambda: Policy.from_pretrained(str(folder)))
    assert message.startswith(f"model {str(folder)!r} cannot be loaded: not a usable folder.")


def test_an_unknown_dtype(checkpoint: Callable) -> None:
    message = error_of(lambda: Policy.from_pretrained(str(checkpoint()), dtype="int4"))
    assert message == "dtype 'int4' is unknown; use one of ['bfloat16', 'float16', 'float32']."


def changed_tokenizer(checkpoint: Callable, folder: Path, **attributes: object) -> str:
    shutil.copytree(checkpoint(), folder, dirs_exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    (folder / "chat_template.jinja").unlink()
    for name, value in attributes.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(folder)
    return str(folder)


def test_no_chat_template(checkpoint: Callable, tmp_path: Path) -> None:
    path = changed_tokenizer(checkpoint, tmp_path / "m", chat_template=None)
    assert "has no chat template; give one: --chat_template plain" in error_of(lambda: Policy.from_pretrained(path))
    assert "User" in Policy.from_pretrained(path, chat_template="plain").tokenizer.apply_chat_template(
        [{"role": "user", "content": "x"}], tokenize=False
    )
    (tmp_path / "own.jinja").write_text("own {{ messages[0]['content'] }}")
    own = Policy.from_pretrained(path, chat_template=str(tmp_path / "own.jinja"))
    assert own.tokenizer.apply_chat_template([{"role": "user", "content": "x"}], tokenize=False) == "own x"
    missing = error_of(lambda: Policy.from_pretrained(path, chat_template="nope.jinja"))
    assert missing == "chat_template 'nope.jinja' is neither 'plain' nor a file; give a Jinja file."


def test_no_pad_token_is_replaced_by_an_end_token(checkpoint: Callable, tmp_path: Path) -> None:
    path = changed_tokenizer(checkpoint, tmp_path, pad_token=None)
    policy, usual = Policy.from_pretrained(path), Policy.from_pretrained(str(checkpoint()))
    assert policy.pad_id == policy.tokenizer.eos_token_id != usual.pad_id
    arguments = (None, random_ids(3, 30), Sampling(max_new_tokens=8), random_uniforms(2, 8))
    left, right = generate(policy, *arguments), generate(usual, *arguments)
    assert all(np.array_equal(a.ids, b.ids) for a, b in zip(left, right, strict=True))


def test_neither_pad_nor_end_token(checkpoint: Callable, tmp_path: Path) -> None:
    path = changed_tokenizer(checkpoint, tmp_path, pad_token=None, eos_token=None)
    change_json(tmp_path / "generation_config.json", eos_token_id=None, pad_token_id=None)
    change_json(tmp_path / "config.json", eos_token_id=None, pad_token_id=None)
    policy = Policy.from_pretrained(path)  # what ends a turn in its template will do
    assert policy.eos_ids == {policy.pad_id} and policy.tokenizer.pad_token == "<|end|>"
    template = tmp_path / "of_text.jinja"
    template.write_text("{% for m in messages %}{{ m['role'] + ': ' + m['content'] + '\n' }}{% endfor %}")
    message = error_of(lambda: Policy.from_pretrained(path, chat_template=str(template)))
    assert message.endswith("has neither a pad nor an EOS token; set one and save it again.")


def test_code_in_a_checkpoint_is_not_run(checkpoint: Callable, tmp_path: Path) -> None:
    shutil.copytree(checkpoint(), tmp_path / "m")
    (tmp_path / "m" / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Evil: pass\n")
    change_json(tmp_path / "m" / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Evil"})
    assert "cannot be loaded" in error_of(lambda: Policy.from_pretrained(str(tmp_path / "m")))
    assert not (tmp_path / "ran").exists()


def test_a_model_without_a_key_value_cache_is_refused(tmp_path: Path) -> None:
    from transformers import MambaConfig, MambaForCausalLM

    from maporl.agents.models.make_model import make_tokenizer

    tokenizer = make_tokenizer(vocab_size=300)
    sizes = dict(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=1, state_size=4)
    model = MambaForCausalLM(MambaConfig(**sizes))
    assert "keeps no key-value cache" in error_of(lambda: Policy(model, tokenizer))

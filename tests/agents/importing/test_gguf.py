"""GGUF files as base models: the weights that were written, trainable and saveable like any other; and what is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from gguf_files import write_gguf
from run_toys import SMALL
from toy_models import random_ids, shake
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.models.checkpoints import load_causal_lm, load_tokenizer
from maporl.agents.models.lora import LoRA
from maporl.agents.models.policy import Policy
from maporl.cli import main
from maporl.errors import UserValueError
from maporl.settings import full_path
from maporl.training.run import train

pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'maporl[gguf]'")

TEXT = "Agent 12 said:\n\n5 + 7 is  13."


@pytest.fixture(scope="module")
def folder(checkpoint: Callable[..., Path]) -> Path:
    return checkpoint(num_heads=2)


def logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.tensor(random_ids(40)[0])[None]).logits


def error_of(path: Path, **settings: str) -> str:
    with pytest.raises(UserValueError) as raised:
        load_causal_lm(str(path), **settings)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_model_is_the_one_that_was_written(folder: Path, tmp_path: Path) -> None:
    file = write_gguf(folder, tmp_path / "model" / "tiny.gguf")
    right, theirs = load_causal_lm(str(folder))
    for path in (file, file.parent):
        model, tokenizer = load_causal_lm(str(path))
        torch.testing.assert_close(logits(model), logits(right), rtol=0, atol=0)
        assert tokenizer(TEXT).input_ids == theirs(TEXT).input_ids
        assert tokenizer.chat_template == theirs.chat_template
        assert (tokenizer.eos_token_id, tokenizer.pad_token_id) == (theirs.eos_token_id, theirs.pad_token_id)
        assert tokenizer.name_or_path == str(path)
        config = copy.deepcopy(model.config)
        assert not hasattr(config, "quantization_config") and not getattr(model, "is_quantized", False)
    assert full_path(str(file)) == str(file)


def test_half_precision_and_blocks_are_read_as_numbers_in_the_dtype_asked_for(folder: Path, tmp_path: Path) -> None:
    state = load_causal_lm(str(folder))[0].state_dict()
    halved = load_causal_lm(str(write_gguf(folder, tmp_path / "half.gguf", kind="F16")))[0].state_dict()
    blocks = load_causal_lm(str(write_gguf(folder, tmp_path / "q8.gguf", kind="Q8_0")), dtype="bfloat16")[
        0
    ].state_dict()
    for name, right in state.items():
        rounded = right.half().float() if right.dim() > 1 else right
        torch.testing.assert_close(halved[name], rounded, rtol=0, atol=0)
        assert blocks[name].dtype == torch.bfloat16
        if right.dim() > 1:
            scale = right.reshape(-1, 32).abs().amax(1).max() / 127  # a step of the coarsest block
            torch.testing.assert_close(blocks[name].float(), right, rtol=2**-8, atol=float(scale))


def test_it_is_trained_saved_and_exported_like_any_other(folder: Path, tmp_path: Path) -> None:
    file = write_gguf(folder, tmp_path / "tiny.gguf")
    policy = Policy.from_pretrained(str(file), lora=LoRA(r=4))
    policy.add_adapter("one")
    shake(policy, "one")
    prompts, said = random_ids(9, 7), random_ids(5, 6, seed=1)
    (packed,) = policy.pack(np.arange(2), prompts, said, 1000)
    policy.logprobs("one", packed, 1.0)[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in policy.parameters("one"))
    policy.save_adapter("one", tmp_path / "adapter")
    policy.export("one", tmp_path / "plain")
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "plain")
    with policy.using("one"):
        torch.testing.assert_close(logits(exported), logits(policy.model), rtol=1e-4, atol=1e-4)
    # The adapter fits the folder that the file was made from, and the other way round.
    again = Policy.from_pretrained(str(folder))
    again.add_adapter("two", path=tmp_path / "adapter")
    with again.using("two"), policy.using("one"):
        torch.testing.assert_close(logits(again.model), logits(policy.model), rtol=1e-5, atol=1e-5)


def test_a_run_names_the_file_and_is_exported(folder: Path, tmp_path: Path) -> None:
    file = write_gguf(folder, tmp_path / "tiny.gguf")
    train(env="run_toys:Letters", model=str(file), output_dir=str(tmp_path / "run"), **SMALL | {"num_iterations": 1})
    assert yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"] == str(file)
    named = [json.loads(f.read_text()) for f in (tmp_path / "run").rglob("team.json")]
    assert named and all(str(file) in json.dumps(team) for team in named)
    (adapter, *_) = (tmp_path / "run").rglob("adapter_config.json")
    assert json.loads(adapter.read_text())["base_model_name_or_path"] == str(file)
    assert main(["export", str(tmp_path / "run"), str(tmp_path / "plain")]) == 0
    (first, *_) = (tmp_path / "plain").rglob("config.json")
    AutoModelForCausalLM.from_pretrained(first.parent)


def test_a_tokenizer_that_adds_bos_does(folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(str(write_gguf(folder, tmp_path / "bos.gguf", bos=True)))
    assert tokenizer(TEXT).input_ids[0] == tokenizer.bos_token_id
    assert tokenizer(TEXT).input_ids[1:] == AutoTokenizer.from_pretrained(folder)(TEXT).input_ids


class TestRefused:
    def test_without_the_reader(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import importlib.util

        file = write_gguf(folder, tmp_path / "tiny.gguf")
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: None)
        assert error_of(file).endswith("what reads those is not installed: pip install 'maporl[gguf]'.")

    def test_an_unknown_architecture(self, folder: Path, tmp_path: Path) -> None:
        message = error_of(write_gguf(folder, tmp_path / "x.gguf", architecture="perceptron"))
        assert "transformers cannot read this GGUF file" in message and "perceptron is not supported" in message

    def test_no_gguf_file_at_all(self, folder: Path, tmp_path: Path) -> None:
        file = tmp_path / "x.gguf"
        assert "there is no such file" in error_of(file)
        file.write_bytes(b"no model" * 10)
        assert "is not a whole GGUF file; fetch it again" in error_of(file)
        content = write_gguf(folder, tmp_path / "whole.gguf").read_bytes()
        for size in (20, 1000, len(content) // 2, len(content) - 100):
            file.write_bytes(content[:size])
            assert error_of(file).startswith(f"model {str(file)!r}"), size

    def test_a_lacking_tensor(self, folder: Path, tmp_path: Path) -> None:
        file = write_gguf(folder, tmp_path / "x.gguf", leave_out="blk.1.ffn_up.weight")
        assert "it lacks model.layers.1.mlp.up_proj.weight" in error_of(file)

    def test_scaled_rotary_positions(self, folder: Path, tmp_path: Path) -> None:
        factors = {"rope_freqs.weight": np.ones(8, np.float32)}
        assert "scales its rotary positions (rope_freqs.weight)" in error_of(
            write_gguf(folder, tmp_path / "x.gguf", extra=factors)
        )

    def test_several_files_in_a_folder(self, folder: Path, tmp_path: Path) -> None:
        for number in (1, 2):
            write_gguf(folder, tmp_path / f"m-0000{number}-of-00002.gguf")
        message = error_of(tmp_path)
        assert "holds 2 GGUF files (m-00001-of-00002.gguf, m-00002-of-00002.gguf); name one of them" in message
        (tmp_path / "config.json").write_text("{}")  # a checkpoint of its own: they are not looked at
        assert "not a usable folder" in error_of(tmp_path)

    def test_four_bits(self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("maporl.agents.models.checkpoints.check_quantization", lambda *_: None)
        monkeypatch.setattr("maporl.agents.models.checkpoints.quantization_config", lambda *_: None)
        message = error_of(write_gguf(folder, tmp_path / "x.gguf"), quantization="4bit")
        assert "write a plain folder first: maporl import-model" in message

    def test_no_template_and_then_plain(self, folder: Path, tmp_path: Path) -> None:
        file = write_gguf(folder, tmp_path / "x.gguf", template=False)
        assert "has no chat template; give one: --chat_template plain" in error_of(file)
        assert load_tokenizer(str(file), "plain").chat_template

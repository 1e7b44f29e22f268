"""The checkpoint that the project makes itself must pass for any other Hugging Face folder."""

from __future__ import annotations

import filecmp
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.models.make_model import ARCHITECTURES, make_model, make_tokenizer

CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "12 é 日"},
    {"role": "assistant", "content": "Answer: 4"},
    {"role": "user", "content": "agent_1: Answer: 7"},
]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_every_architecture_loads_and_speaks(architecture: str, tmp_path: Path) -> None:
    count = make_model(tmp_path, architecture=architecture, hidden_size=32, intermediate_size=64, context=256)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert model.config.model_type == architecture
    assert sum(p.numel() for p in model.parameters()) == count
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight
    assert len(tokenizer) == model.config.vocab_size  # no token that the model has no row for
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    ids = tokenizer.apply_chat_template(CHAT, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**ids, max_new_tokens=3, do_sample=False, min_new_tokens=3)
    assert out.shape[1] == ids["input_ids"].shape[1] + 3
    assert tokenizer.decode(tokenizer.encode("Answer: 47 🎉")) == "Answer: 47 🎉"


def test_two_calls_write_identical_files(tmp_path: Path) -> None:
    before = torch.random.get_rng_state()
    for name in "ab":
        make_model(tmp_path / name, seed=3)
    make_model(tmp_path / "c", seed=4)
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert filecmp.cmpfiles(tmp_path / "a", tmp_path / "b", names, shallow=False) == (names, [], [])
    assert not filecmp.cmp(tmp_path / "a/model.safetensors", tmp_path / "c/model.safetensors", shallow=False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_default_size_is_the_tiny_model(tmp_path: Path) -> None:
    # 2 blocks of 4 h^2 (attention) + 3 h f (gated feed-forward) + 2 h (norms), the last norm, the tied embedding.
    hidden, ff = 128, 384
    blocks = 2 * (4 * hidden**2 + 3 * hidden * ff + 2 * hidden) + hidden
    assert make_model(tmp_path) == blocks + len(AutoTokenizer.from_pretrained(tmp_path)) * hidden


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_unicode_comes_back(tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_digits_are_single_and_context_free(tokenizer) -> None:
    digit = {d: tokenizer.encode(str(d)) for d in range(10)}
    assert all(len(ids) == 1 for ids in digit.values())
    assert tokenizer.encode("Answer: 4071")[-4:] == [digit[4][0], digit[0][0], digit[7][0], digit[1][0]]


def test_chat_template_only_grows_at_its_end(tokenizer) -> None:
    render = tokenizer.apply_chat_template
    whole = render(CHAT, add_generation_prompt=True, return_dict=False)
    for end in range(1, len(CHAT) + 1):
        part = render(CHAT[:end], return_dict=False)
        assert whole[: len(part)] == part
        assert part[-1] == tokenizer.eos_token_id
        assert part.count(tokenizer.eos_token_id) == end
    prompt = render(CHAT[:2], add_generation_prompt=True, return_dict=False)
    assert whole[: len(prompt)] == prompt
    assert whole[len(prompt) :][:5] == [*tokenizer.encode("Answer: 4"), tokenizer.eos_token_id][:5]


def test_assistant_mask_covers_exactly_the_answers(tokenizer) -> None:
    both = tokenizer.apply_chat_template(CHAT, return_dict=True, return_assistant_tokens_mask=True)
    masked = [i for i, m in zip(both["input_ids"], both["assistant_masks"], strict=True) if m]
    assert tokenizer.decode(masked) == "Answer: 4<|end|>"


def test_unknown_role_is_refused(tokenizer) -> None:
    with pytest.raises(Exception, match="unknown role tool; use system, user or assistant"):
        tokenizer.apply_chat_template([{"role": "tool", "content": ""}])


def test_own_texts_become_tokens() -> None:
    words = make_tokenizer(["witness witness witness"], vocab_size=400)
    assert len(words.encode("witness")) == 1
    assert len(words) < 400  # no more merges than the text gives


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"architecture": "lama"}, "unknown architecture 'lama'; known: llama"),
        ({"hidden_size": 100, "num_heads": 3}, "hidden_size 100 must be a multiple of 2 x num_heads = 6"),
        ({"num_heads": 0}, "hidden_size 128 must be a multiple"),
        ({"num_layers": 0}, "num_layers 0"),
        ({"vocab_size": 100}, "vocab_size 100 is too small: 261 are needed"),
    ],
)
def test_bad_input(tmp_path: Path, bad: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make_model(tmp_path, **bad)
    assert "\n" not in str(error.value)

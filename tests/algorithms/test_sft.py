"""Supervised fine-tuning: the tokens it trains on are the tokens a rollout shows, and only the assistant's count."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.chat import PLAIN_CHAT_TEMPLATE, ChatEncoder
from maporl.agents.models.chat_rows import IGNORE, encode_row, read_rows
from maporl.agents.models.lora import LoRA
from maporl.agents.models.make_model import make_model, make_tokenizer
from maporl.agents.prompts import PromptTemplate
from maporl.algorithms.sft import SFTSettings, sft
from maporl.types import Message, Observation

CHAT = [
    {"role": "user", "content": "Digit?"},
    {"role": "assistant", "content": "Answer: 4"},
    {"role": "user", "content": "agent_1: Answer: 7"},
    {"role": "assistant", "content": "Answer: 7"},
]
ROWS = [
    {"messages": [{"role": "user", "content": f"{d}?"}, {"role": "assistant", "content": f"Answer: {d}"}]} for d in "47"
]


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("base")
    make_model(path, hidden_size=32, num_heads=2, intermediate_size=64, context=64)
    return path


def weights(path: Path) -> dict[str, torch.Tensor]:
    return AutoModelForCausalLM.from_pretrained(path).state_dict()


def answer(path: Path, question: str) -> str:
    """What a model says, by transformers alone."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    chat = [{"role": "user", "content": question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    out = model.generate(**prompt, max_new_tokens=10, do_sample=False)
    return tokenizer.decode(out[0, prompt["input_ids"].shape[1] :])


def learned(sequence: dict[str, list[int]]) -> list[int]:
    return [label for label in sequence["labels"] if label != IGNORE]


# -- rows to tokens -----------------------------------------------------------------------------------------------------


def test_prompts_are_those_of_a_rollout(tokenizer) -> None:
    prompts = PromptTemplate()
    said = (
        Message(agent="agent_0", round=0, text="Answer: 4"),
        Message(agent="agent_1", round=0, text="Answer: 7"),
    )
    first = Observation(agent="agent_0", round=0, question="Q?", private="4", instruction="Go.", role="", transcript=())
    second: Observation = {**first, "round": 1, "transcript": said}
    chat = [*prompts.messages(second), {"role": "assistant", "content": "Answer: 7"}]
    (sequence,) = encode_row({"messages": chat}, ChatEncoder(tokenizer))
    ids, labels = sequence["input_ids"], sequence["labels"]
    for observation, answer in ((first, "Answer: 4"), (second, "Answer: 7")):
        prompt = prompts.encode(tokenizer, observation)
        completion = [*tokenizer.encode(answer), tokenizer.eos_token_id]
        assert ids[: len(prompt)] == prompt
        assert ids[len(prompt) : len(prompt) + len(completion)] == completion
        assert labels[len(prompt) : len(prompt) + len(completion)] == completion
    assert tokenizer.decode(learned(sequence)) == "Answer: 4<|end|>Answer: 7<|end|>"


def test_completion_alone_is_learned(tokenizer) -> None:
    (sequence,) = encode_row({"prompt": CHAT[:3], "completion": "Answer: 7"}, ChatEncoder(tokenizer))
    assert tokenizer.decode(learned(sequence)) == "Answer: 7<|end|>"
    assert sequence["input_ids"] == tokenizer.apply_chat_template(CHAT, return_dict=False)
    assert encode_row({"prompt": CHAT[:3], "completion": CHAT[3:]}, ChatEncoder(tokenizer)) == [sequence]


def test_text_prompt_is_a_user_message(tokenizer) -> None:
    as_text = encode_row({"prompt": "Digit?", "completion": "Answer: 4"}, ChatEncoder(tokenizer))
    assert as_text == encode_row({"messages": CHAT[:2]}, ChatEncoder(tokenizer))


def test_template_that_rewrites_its_history_gives_a_sequence_per_answer() -> None:
    tokenizer = make_tokenizer()
    # Marks the last message of a chat, so a longer chat is no continuation of a shorter one.
    tokenizer.chat_template = (
        "{% for m in messages %}{% if loop.last and not add_generation_prompt %}*{% endif %}{{ m['content'] }}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}>{% endif %}"
    )
    first, second = encode_row({"messages": CHAT}, ChatEncoder(tokenizer))
    assert tokenizer.decode(first["input_ids"]) == "Digit?<|end|>>Answer: 4<|end|>"
    assert (
        tokenizer.decode(second["input_ids"])
        == "Digit?<|end|>Answer: 4<|end|>agent_1: Answer: 7<|end|>>Answer: 7<|end|>"
    )
    assert tokenizer.decode(learned(second)) == "Answer: 7<|end|>"


def test_nothing_after_the_end_of_turn_is_learned() -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}:{{ m['content'] }}<|end|>\n{% endfor %}"
        "{% if add_generation_prompt %}assistant:{% endif %}"
    )
    (sequence,) = encode_row({"messages": CHAT}, ChatEncoder(tokenizer))
    assert tokenizer.decode(learned(sequence)) == "Answer: 4<|end|>Answer: 7<|end|>"
    assert sequence["input_ids"][-1] == tokenizer.eos_token_id


BAD_ROWS = [
    ([1], "a row is an object, not list"),
    ({"text": "x"}, r"has the keys \['text'\]"),
    ({"messages": "x"}, "'messages' must be a list, not str"),
    ({"messages": [{"role": "user"}]}, "is not a message; each needs the texts 'role' and 'content'"),
    ({"messages": [{"role": "assistant", "content": None}]}, "is not a message"),
    ({"messages": []}, "no assistant message"),
    ({"messages": CHAT[:1]}, "no assistant message, so there is nothing to learn"),
    ({"messages": CHAT[1:2]}, "no user speaks before the assistant"),
    ({"prompt": 3, "completion": "x"}, "prompt and completion must be text or lists"),
    ({"prompt": "x", "completion": CHAT[:1]}, "no assistant message"),
]


@pytest.mark.parametrize(("row", "message"), BAD_ROWS)
def test_malformed_row_names_file_and_line(base: Path, tmp_path: Path, row: object, message: str) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text(json.dumps(ROWS[0]) + "\n\n" + json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"rows\.jsonl, line 3: .*{message}") as error:
        sft(base, file, tmp_path / "out", SFTSettings(steps=1))
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


def test_a_line_ends_where_its_newline_is(tmp_path: Path) -> None:
    """Unicode has other line separators, which JSON texts may hold as they are."""
    file = tmp_path / "rows.jsonl"
    row = {"prompt": "one\u2028two\x85", "completion": "3"}
    file.write_text(f"{json.dumps(row, ensure_ascii=False)}\n\n{json.dumps(ROWS[0])}", encoding="utf-8")
    assert read_rows(file) == [(f"{file}, line 1", row), (f"{file}, line 3", ROWS[0])]


def test_line_that_is_not_json_names_file_and_line(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"messages": \n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"rows\.jsonl, line 1: not JSON"):
        read_rows(file)
    with pytest.raises(ValueError, match="nothing.jsonl': no such file"):
        read_rows(tmp_path / "nothing.jsonl")


def test_row_longer_than_the_window(base: Path, tmp_path: Path) -> None:
    row = {"prompt": "\u65e5" * 40, "completion": "x"}
    with pytest.raises(ValueError, match="row 1: 1[0-9]{2} tokens, more than the model's window of 64"):
        sft(base, [ROWS[0], row], tmp_path, SFTSettings(steps=1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, "steps is 0; it must be above 0"),
        ({"learning_rate": -1e-3}, "learning_rate is -0.001; it must be above 0"),
        ({"batch_size": 4, "microbatch_size": 3}, "microbatch_size is 3; it must divide batch_size 4"),
        ({"dtype": "int8"}, "dtype 'int8' is unknown; use 'float32' or 'bfloat16'"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SFTSettings(**settings)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rows": []}, "there are no rows to learn from"),
        ({"model": "no/such-model"}, "model 'no/such-model' cannot be loaded"),
    ],
)
def test_bad_arguments(base: Path, tmp_path: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        sft(**{"model": base, "rows": ROWS, "output": tmp_path, **arguments})
    assert "\n" not in str(error.value)


# -- training -----------------------------------------------------------------------------------------------------------

QUICK = {"batch_size": 2, "device": "cpu", "warmup_steps": 0}


def test_it_learns_and_the_folder_speaks(base: Path, tmp_path: Path) -> None:
    measured = sft(base, ROWS, tmp_path, SFTSettings(steps=60, learning_rate=1e-2, **QUICK))
    assert measured["accuracy"] == 1.0
    assert measured["loss"] < 0.05
    assert measured["rows"] == 2
    assert [answer(tmp_path, f"{digit}?") for digit in "47"] == ["Answer: 4<|end|>", "Answer: 7<|end|>"]


def test_same_seed_same_weights_and_global_state_kept(base: Path, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()
    rows = [*ROWS, {"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}]
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        sft(base, rows, tmp_path / name, SFTSettings(steps=2, seed=seed, matmul_precision="medium", **QUICK))
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)  # another order of the rows
    assert torch.equal(torch.random.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert torch.get_float32_matmul_precision() == "highest"
    assert torch.get_num_threads() == threads


def test_unshuffled_rows_come_in_order(base: Path, tmp_path: Path) -> None:
    settings = SFTSettings(steps=2, batch_size=1, device="cpu", shuffle=False)
    sft(base, [ROWS[0], ROWS[1], {"prompt": "never", "completion": "seen"}], tmp_path / "a", settings)
    sft(base, ROWS, tmp_path / "b", settings)
    sft(base, ROWS[::-1], tmp_path / "c", settings)
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[key], b[key]) for key in a)
    assert any(not torch.equal(a[key], c[key]) for key in a)


def test_microbatches_save_memory_only(base: Path, tmp_path: Path) -> None:
    rows = [*ROWS, {"prompt": "a", "completion": "bcdefgh"}, {"prompt": "c", "completion": "d"}]
    settings = SFTSettings(steps=1, batch_size=4, device="cpu", shuffle=False, learning_rate=1e-3)
    sft(base, rows, tmp_path / "whole", settings)
    sft(base, rows, tmp_path / "parts", replace(settings, microbatch_size=1))
    whole, parts, before = weights(tmp_path / "whole"), weights(tmp_path / "parts"), weights(base)
    moved = max((whole[key] - before[key]).abs().max() for key in whole)
    # Adam's first step is the sign of the gradient: where that is nearly 0 the sign may differ, elsewhere nothing may.
    agree = np.mean(
        [torch.isclose(whole[key], parts[key], atol=float(moved) / 100).float().mean().item() for key in whole]
    )
    assert moved > 0
    assert agree > 0.999


def test_lora_is_merged_into_a_plain_folder(base: Path, tmp_path: Path) -> None:
    sft(base, ROWS, tmp_path, SFTSettings(steps=3, learning_rate=1e-2, lora=LoRA(r=2), **QUICK))
    assert not list(tmp_path.glob("adapter*"))
    before, after = weights(base), weights(tmp_path)
    assert before.keys() == after.keys()
    changed = {key for key in before if not torch.equal(before[key], after[key])}
    assert changed
    assert all("_proj" in key for key in changed)  # linear layers of the blocks, neither embeddings nor norms


def test_bfloat16_without_a_word_about_the_device(base: Path, tmp_path: Path) -> None:
    sft(base, ROWS, tmp_path, SFTSettings(steps=1, batch_size=2, lora=LoRA(r=2), dtype="bfloat16"))
    assert {weight.dtype for weight in weights(tmp_path).values()} == {torch.bfloat16}


def test_a_folder_may_be_trained_in_place(base: Path, tmp_path: Path) -> None:
    sft(base, ROWS, tmp_path, SFTSettings(steps=1, **QUICK))
    before = weights(tmp_path)
    sft(tmp_path, ROWS, tmp_path, SFTSettings(steps=2, learning_rate=1e-2, **QUICK))
    assert any(not torch.equal(before[key], value) for key, value in weights(tmp_path).items())


def test_the_chat_template_asked_for_is_learned_and_written(base: Path, tmp_path: Path) -> None:
    bare = AutoTokenizer.from_pretrained(base)
    bare.chat_template = None
    AutoModelForCausalLM.from_pretrained(base).save_pretrained(tmp_path / "bare")
    bare.save_pretrained(tmp_path / "bare")
    settings = SFTSettings(steps=60, learning_rate=1e-2, **QUICK)
    with pytest.raises(ValueError, match="bare' has no chat template; give one: --chat_template plain"):
        sft(tmp_path / "bare", ROWS, tmp_path / "out", settings)
    sft(tmp_path / "bare", ROWS, tmp_path / "out", replace(settings, chat_template="plain"))
    assert AutoTokenizer.from_pretrained(tmp_path / "out").chat_template == PLAIN_CHAT_TEMPLATE
    assert "local_files_only" not in (tmp_path / "out" / "tokenizer_config.json").read_text(), "it may move to a hub"
    assert [answer(tmp_path / "out", f"{digit}?") for digit in "47"] == [" Answer: 4<|end|>", " Answer: 7<|end|>"]


def test_progress_bar_shows_and_ends(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = SFTSettings(steps=1, **QUICK)
    quiet = sft(base, ROWS, tmp_path, settings)
    assert capsys.readouterr().out == ""
    shown = sft(base, ROWS, tmp_path, settings, show_progress=True)
    assert shown["loss"] == quiet["loss"]

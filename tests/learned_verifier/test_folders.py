"""Verifiers' folders: which base they belong to, in which precision, and what becomes of damaged ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer
from verifier_toys import letters

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import load_tokenizer
from maporl.learned_verifier import LearnedVerifier
from maporl.learned_verifier.model import Network, Reading, fingerprint, rows_of
from maporl.learned_verifier.training import Settings, _Scorer, fit
from maporl.types import Question

ASKED = Question("Which a?", "1")


@pytest.fixture
def copied(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "copy"))


def changed(base: str, folder: Path, name: str) -> str:
    """The base with one matrix, whose name holds `name`, as fine-tuning might have left it."""
    shutil.copytree(base, folder)
    weights = load_file(folder / "model.safetensors")
    key = next(k for k in sorted(weights) if name in k)
    weights[key] = weights[key] * 1.02
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return str(folder)


@pytest.mark.parametrize("name", ["embed", "layers.1.self_attn.q_proj"])
def test_a_fine_tuned_base_is_another_base(trained: Path, base: str, tmp_path: Path, name: str) -> None:
    other = changed(base, tmp_path / "tuned", name)
    with pytest.raises(ValueError, match=rf"was trained on '{base}', and '{other}' is another model"):
        Network.load(trained, base=other)


def test_one_checkpoint_is_one_base_in_any_precision(base: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(base)
    marks = {
        fingerprint(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), tokenizer)
        for dtype in (torch.float32, torch.bfloat16)
    }
    assert len(marks) == 1


def test_it_is_loaded_in_the_precision_that_it_was_trained_in(base: str, tmp_path: Path) -> None:
    settings = Settings(r=4, alpha=8, dropout=0.0, learning_rate=3e-3, epochs=4, batch_size=16, dtype="bfloat16")
    fit(letters(100), base, tmp_path / "v", settings=settings)
    verifier, wider = LearnedVerifier(tmp_path / "v"), LearnedVerifier(tmp_path / "v", dtype="float32")
    assert verifier.network.policy.model.dtype == torch.bfloat16 and wider.network.policy.model.dtype == torch.float32
    assert verifier(ASKED, "good x").value == pytest.approx(wider(ASKED, "good x").value, abs=0.05)
    assert verifier(ASKED, "good x").value > 0.8 > 0.2 > verifier(ASKED, "bad x").value


def test_damaged_files_say_so(copied: Path) -> None:
    head = copied / "head.safetensors"
    save_file({"weight": torch.zeros(1, 7)}, head)
    with pytest.raises(ValueError, match="head.safetensors is missing, damaged or of another size"):
        LearnedVerifier(copied)(ASKED, "good x")
    head.write_bytes(b"half of i")
    with pytest.raises(ValueError, match="head.safetensors is missing, damaged or of another size"):
        LearnedVerifier(copied)(ASKED, "good x")
    head.unlink()
    with pytest.raises(ValueError, match="head.safetensors is missing, damaged or of another size"):
        LearnedVerifier(copied)(ASKED, "good x")


def test_a_damaged_adapter_says_so(copied: Path) -> None:
    adapter = copied / "adapter_model.safetensors"
    adapter.write_bytes(adapter.read_bytes()[:100])
    with pytest.raises(ValueError, match="cannot be read .* copy the folder again"):
        LearnedVerifier(copied)(ASKED, "good x")


def test_scores_that_are_no_numbers_are_no_scores(copied: Path) -> None:
    save_file({"weight": torch.full((1, 64), float("nan"))}, copied / "head.safetensors")
    verifier = LearnedVerifier(copied)
    for _ in range(2):  # and are not remembered either
        with pytest.raises(FloatingPointError, match="scores that are no numbers.*train it again"):
            verifier(ASKED, "good x")


def test_a_card_of_another_shape_says_so(copied: Path) -> None:
    card = json.loads((copied / "verifier.json").read_text())
    (copied / "verifier.json").write_text(json.dumps({**card, "colour": "red"}))
    with pytest.raises(ValueError, match="verifier.json cannot be read .*colour"):
        LearnedVerifier(copied)


def test_a_response_cannot_end_itself(base: str) -> None:
    tokenizer = load_tokenizer(base)
    text = f"bad x{tokenizer.eos_token}{''.join(tokenizer.all_special_tokens)}good"
    ((_, response),) = rows_of(ChatEncoder(tokenizer), Reading(), [ASKED], [text], 256)
    assert not set(response.tolist()) & set(tokenizer.all_special_ids)
    assert tokenizer.decode(response) == text, "nothing of it is lost"


def test_passes_do_not_change_an_update(base: str, tmp_path: Path) -> None:
    """The mean is over the tokens of a whole step, however many passes it takes."""
    answers = letters(8)
    for micro in (16, 4):
        settings = Settings(dropout=0.0, learning_rate=1e-2, epochs=1, batch_size=16, microbatch_size=micro)
        fit(answers, base, tmp_path / str(micro), settings=settings)
    one, other = (load_file(tmp_path / micro / "head.safetensors")["weight"] for micro in ("16", "4"))
    assert one.abs().max() > 5e-3 and torch.allclose(one, other, atol=1e-6)


def test_dropout_is_applied_while_it_learns_and_not_afterwards(base: str) -> None:
    scorer = _Scorer(AutoModelForCausalLM.from_pretrained(base), Settings(dropout=0.5))
    with torch.no_grad():
        for name, parameter in scorer.network.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
        scorer.head.weight.normal_()
    ids, labels = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[-100.0, 1.0, 1.0, 1.0]])
    losses = [scorer.train()(ids, torch.ones_like(ids), labels).item() for _ in range(2)]
    assert losses[0] != losses[1]
    losses = [scorer.eval()(ids, torch.ones_like(ids), labels).item() for _ in range(2)]
    assert losses[0] == losses[1]

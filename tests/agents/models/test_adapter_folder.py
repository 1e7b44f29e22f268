"""An adapter's folder says what it was trained on: layers of equal shapes would take it whatever their tokens mean."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model_state_dict
from peft.utils import load_peft_weights
from toy_models import sharp_model, weights
from transformers import AutoModelForCausalLM, AutoTokenizer

from maporl.agents.models.make_model import make_tokenizer
from maporl.agents.models.policy import Policy
from maporl.agents.team import Team

TWO = ("agent_0", "agent_1")


@pytest.fixture
def saved(policy: Policy, tmp_path: Path) -> Path:
    policy.save_adapter("one", tmp_path / "saved")
    return tmp_path / "saved"


def with_other_tokens(folder: Path, base: Path) -> Path:
    """The same layers and the same number of tokens, but other merges: what is "the" there is "is" here, say."""
    model = AutoModelForCausalLM.from_pretrained(base)
    number = len(AutoTokenizer.from_pretrained(base))
    tokenizer = make_tokenizer(["zebras quiz jolly foxes with unknown words, vexed by quartz"] * 9, vocab_size=number)
    assert len(tokenizer) == number
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_record_is_readable(policy: Policy, saved: Path) -> None:
    record = json.loads((saved / "maporl_base.json").read_text())
    digest = record.pop("tokens_sha256")
    assert len(digest) == 64 and set(digest) <= set("0123456789abcdef")
    assert record == {
        "model_type": "llama", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": policy.model.config.num_attention_heads,
        "vocab_size": policy.model.config.vocab_size, "num_tokens": len(policy.tokenizer),
    }  # fmt: skip


def test_other_tokens_in_layers_of_the_same_shapes(checkpoint: Callable, saved: Path, tmp_path: Path) -> None:
    other = Policy.from_pretrained(str(with_other_tokens(tmp_path / "other", checkpoint())))
    refused = (
        "does not fit this base model, for it was trained on another .*the same number of tokens, but other tokens"
    )
    for build in (
        lambda: other.add_adapter("one", path=saved),
        lambda: Team.build(other, TWO, 1, init_adapter=saved),
    ):
        with pytest.raises(ValueError, match=refused) as error:
            build()
        assert "\n" not in str(error.value) and str(saved) in str(error.value)
    assert "one" not in other.adapters
    (saved / "maporl_base.json").unlink()  # as PEFT writes folders: nothing is known, and it loads as it always did
    other.add_adapter("unchecked", path=saved)


def test_another_seed_of_the_same_family_is_welcome(policy: Policy, saved: Path, tmp_path: Path) -> None:
    """Adapters are moved between checkpoints of a family on purpose: weights are not compared."""
    sister = Policy.from_pretrained(str(sharp_model(tmp_path / "sister", seed=9)))
    sister.add_adapter("one", path=saved)
    assert torch.equal(weights(sister, "one"), weights(policy, "one"))


def test_what_a_chat_template_or_a_pad_token_is_does_not_matter(
    checkpoint: Callable, saved: Path, tmp_path: Path
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint())
    tokenizer.pad_token, tokenizer.chat_template = None, "{{ messages[0]['content'] }}"
    model = AutoModelForCausalLM.from_pretrained(checkpoint())
    for what in (model, tokenizer):
        what.save_pretrained(tmp_path / "other")
    other = Policy.from_pretrained(str(tmp_path / "other"))
    other.add_adapter("one", path=saved)
    half = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    half.add_adapter("one", path=saved)
    half.save_adapter("one", tmp_path / "again")
    assert (tmp_path / "again" / "maporl_base.json").read_text() == (saved / "maporl_base.json").read_text()


def test_peft_does_not_mind_the_record(checkpoint: Callable, saved: Path) -> None:
    loaded = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(checkpoint()), str(saved))
    there, here = load_peft_weights(str(saved)), get_peft_model_state_dict(loaded)
    assert there and there.keys() == here.keys() and all(torch.equal(there[n], here[n]) for n in there)


@pytest.mark.parametrize("text", ["{", "3", ""])
def test_a_damaged_record(checkpoint: Callable, saved: Path, text: str) -> None:
    (saved / "maporl_base.json").write_text(text)
    with pytest.raises(ValueError, match="maporl_base.json cannot be read; copy the folder again, or delete that file"):
        Policy.from_pretrained(str(checkpoint())).add_adapter("one", path=saved)

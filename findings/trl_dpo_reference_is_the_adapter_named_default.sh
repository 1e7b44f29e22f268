#!/usr/bin/env bash
# TRL's DPOTrainer takes as reference a copy of the adapter *named* "default", whichever adapter is trained.
#
# Given a PEFT model with several adapters of which one is active and trained, one would expect that one's start to be the reference: then the loss of
# the first step is log 2, for nothing has moved. The trainer copies the adapter of the name "default" instead. With a "default" beside the trained
# adapter the first loss says that the policy is far from its reference before any step; without one the constructor raises KeyError.
#
# Versions: trl 1.16.0, peft 0.21.2, transformers 5.23.0, torch 2.13.0 (CPU), Python 3.11. Seen on 2026-11-30. Output of that run:
#   trained "default", first loss is log 2: True
#   trained "role" beside "default", first loss is log 2: False
#   trained "role" alone: KeyError 'default'
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check trl==1.16.0 peft==0.21.2 transformers==5.23.0 torch==2.13.0
cd "$place"
HF_HUB_OFFLINE=1 "$place/venv/bin/python" - <<'PY' 2>errors | tee "$place/output"
import math

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import DPOConfig, DPOTrainer

words = ["<pad>", "<eos>", "<unk>", *(f"w{n}" for n in range(29))]
raw = Tokenizer(models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="<unk>"))
raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>")
pairs = Dataset.from_list([{"prompt": "w1 w2 ", "chosen": f"w{n} w5 ", "rejected": f"w{n + 9} w7 w8 "} for n in range(4)])
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "vocab_size": 32}


def first_loss(*names: str) -> float:
    """Of the last of these adapters, each with other weights."""
    torch.manual_seed(0)
    lora = LoraConfig(target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(**sizes)), lora, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, lora)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if f".{names[-1]}." in name:
                weight.mul_(3)
    model.set_adapter(names[-1])
    settings = DPOConfig("out", max_steps=1, per_device_train_batch_size=4, use_cpu=True, bf16=False, logging_steps=1, report_to="none",
                         disable_tqdm=True, save_strategy="no", gradient_checkpointing=False)
    trainer = DPOTrainer(model, args=settings, train_dataset=pairs, processing_class=tokenizer)
    trainer.train()
    return trainer.state.log_history[0]["loss"]


def says(*names: str) -> bool:
    return math.isclose(first_loss(*names), math.log(2), abs_tol=1e-3)


found = [f'trained "default", first loss is log 2: {says("default")}']
found.append(f'trained "role" beside "default", first loss is log 2: {says("default", "role")}')
try:
    says("role")
except KeyError as error:
    found.append(f'trained "role" alone: KeyError {error}')
print("\n".join(["SEEN", *found]))
PY
sed -n '/^SEEN$/,$p' "$place/output" | tail -n +2 | diff - <(printf '%s\n' \
  'trained "default", first loss is log 2: True' \
  'trained "role" beside "default", first loss is log 2: False' \
  "trained \"role\" alone: KeyError 'default'")

"""How a verifier learns: binary cross-entropy of an answer's label on every one of its tokens (MAPoRL 2502.18439, section 3)."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments, set_seed

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import context_window, load_causal_lm
from maporl.agents.models.lora import LoRA
from maporl.agents.models.make_model import without_progress_bars
from maporl.agents.models.value_model import ValueHead
from maporl.algorithms.hf_training import TrainerSettings, global_settings_kept, train
from maporl.errors import UserValueError, warn
from maporl.learned_verifier.answers import LabelledAnswer, seen
from maporl.learned_verifier.model import Card, Reading, Row, fingerprint, rows_of, save_head
from maporl.settings import model_name

__all__ = ["Settings", "fit"]

IGNORED = -100.0


@dataclass(frozen=True)
class Settings(TrainerSettings):
    """How a verifier is trained: AdamW, a short warm-up, then linearly down. Defaults are the paper's, for billions of parameters.

    Attributes:
        r, alpha, dropout: Of the LoRA adapter on all linear layers.
        epochs: Passes over the answers.
        max_length: Tokens of question and answer; longer rows are left out, and counted.
        dtype: Of the base: "float32", "bfloat16", or None for what suits it and the processor; the card names the one that it was.

    Raises:
        ValueError: As `TrainerSettings`; a size that is not above 0, or a dropout outside [0, 1).
    """

    r: int = 16
    alpha: int = 32
    dropout: float = 0.05
    learning_rate: float = 2e-4
    epochs: float = 1.0
    batch_size: int = 32
    max_length: int = 550

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("r", "alpha", "epochs", "max_length")
        if not 0 <= self.dropout < 1:
            raise UserValueError(f"dropout is {self.dropout}; it lies in [0, 1).")


def fit(
    answers: Sequence[LabelledAnswer],
    base: str,
    output: str | Path,
    *,
    settings: Settings | None = None,
    reading: Reading | None = None,
    chat_template: str | None = None,
) -> Card:
    """Train a verifier on labelled answers and write its folder: PEFT adapter, head, card.

    Args:
        answers: All of them are learned from.
        base: Checkpoint folder or hub id.
        output: The folder to write.
        settings: Of the training.
        reading: What it reads, and how that is put; None: question and response, plainly.
        chat_template: As in `RunConfig`.

    Raises:
        ValueError: No base, no right or no wrong answers, or nothing that is short enough.
    """
    settings, reading = settings or Settings(), reading or Reading()
    if len({a.correct for a in answers}) < 2:
        raise UserValueError(
            f"all {len(answers)} answers are {'right' if answers and answers[0].correct else 'wrong'}: there is nothing to tell apart; "
            "sample or label answers of both kinds."
        )
    began = time.perf_counter()
    with global_settings_kept(), without_progress_bars():
        set_seed(settings.seed)
        network, tokenizer = load_causal_lm(
            base,
            dtype=settings.dtype,
            device=settings.device_type,
            chat_template=chat_template,
            attn_implementation="sdpa",
        )
        settings = replace(settings, dtype=str(network.dtype).removeprefix("torch."))  # scored as it was trained
        settings.set_threads(network)
        mark = fingerprint(network, tokenizer)
        examples = _examples(answers, network, tokenizer, reading, settings.max_length)
        scorer = _Scorer(network, settings)
        loss = _train(scorer, examples, tokenizer, settings)
        folder = Path(output)
        folder.mkdir(parents=True, exist_ok=True)
        scorer.network.save_pretrained(str(folder))
        save_head(scorer.head, folder)
    card = Card(
        base=model_name(base),
        base_fingerprint=mark,
        reading=reading,
        chat_template=chat_template,
        questions=tuple(sorted(seen(answers))),
        settings={**vars(settings), "answers": len(examples), "left_out": len(answers) - len(examples)},
        measured={"train_loss": loss, "train_seconds": time.perf_counter() - began},
    )
    card.save(folder)
    return card


Example = dict[str, list[Any]]


def _examples(
    answers: Sequence[LabelledAnswer], network: Any, tokenizer: Any, reading: Reading, max_length: int
) -> list[Example]:
    """The answers of at most `max_length` tokens; warns of longer ones."""
    questions, responses = [a.question for a in answers], [a.response for a in answers]
    rows = rows_of(ChatEncoder(tokenizer), reading, questions, responses, context_window(network))
    kept = [n for n, (prompt, response) in enumerate(rows) if len(prompt) + len(response) <= max_length]
    if len({answers[n].correct for n in kept}) < 2:
        raise UserValueError(
            f"of {len(rows)} answers {len(kept)} have at most {max_length} tokens (max_length), not both right and wrong ones."
        )
    if len(kept) < len(rows):
        share = float(np.mean([answers[n].correct for n in kept]))
        warn(
            f"{len(rows) - len(kept)} of {len(rows)} answers are longer than {max_length} tokens and left out (max_length); "
            f"{share:.0%} of the others are right."
        )
    return [_example(rows[n], answers[n].correct) for n in kept]


def _example(row: Row, correct: bool) -> Example:
    """One row: p(right) is learned after every token of the response; of an empty one, after the question."""
    prompt, response = row
    ids = np.concatenate([prompt, response]).tolist()
    first = len(prompt) if len(response) else len(prompt) - 1
    return {"input_ids": ids, "labels": [IGNORED] * first + [float(correct)] * (len(ids) - first)}


class _Scorer(nn.Module):
    """A base with a new adapter and head, as transformers' trainer wants it."""

    def __init__(self, network: Any, settings: Settings) -> None:
        super().__init__()
        lora = LoRA(settings.r, settings.alpha)
        self.network: Any = get_peft_model(network, lora.config(network, dropout=settings.dropout))
        for parameter in self.network.parameters():  # a 16-bit base has an adapter in float32
            if parameter.requires_grad:
                parameter.data = parameter.data.float()
        hidden = network.get_input_embeddings().weight.shape[1]
        self.head = ValueHead(hidden, bias=False)
        # Small, so that it begins near one half; not zero, for the adapter's B is: each would wait for the other to move.
        nn.init.normal_(self.head.weight, std=0.02)
        if settings.gradient_checkpointing:
            self.network.gradient_checkpointing_enable()
            self.network.enable_input_require_grads()

    def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, num_items: Any = None) -> Tensor:
        """The loss: labels [N, T] are 0 or 1 on the tokens after which p(right) is learned, `IGNORED` elsewhere."""
        inner = self.network.get_base_model().base_model  # its last states, without logits nobody reads
        with torch.autocast(input_ids.device.type, torch.bfloat16, enabled=inner.dtype == torch.bfloat16):
            states = inner(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        logits = self.head(states)
        counted = labels != IGNORED
        total = nn.functional.binary_cross_entropy_with_logits(logits[counted], labels[counted], reduction="sum")
        return total / (counted.sum() if num_items is None else num_items)


class _Trainer(Trainer):
    """The trainer, with a loss that is a mean over all tokens of an optimizer step."""

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        loss = model(**inputs, num_items=num_items_in_batch)
        return (loss, {}) if return_outputs else loss


def _train(scorer: _Scorer, rows: Sequence[Example], tokenizer: Any, settings: Settings) -> float:
    """Train; returns the loss over the last tenth of the steps."""
    from datasets import Dataset  # seconds to import

    def collate(batch: Sequence[Example]) -> dict[str, Tensor]:
        width = max(len(row["input_ids"]) for row in batch)
        ids = torch.full((len(batch), width), tokenizer.pad_token_id)
        mask = torch.zeros(len(batch), width, dtype=torch.int64)
        labels = torch.full((len(batch), width), IGNORED)
        for n, row in enumerate(batch):
            size = len(row["input_ids"])
            ids[n, :size], mask[n, :size] = torch.tensor(row["input_ids"]), 1
            labels[n, :size] = torch.tensor(row["labels"])
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    steps = max(int(np.ceil(len(rows) / settings.batch_size) * settings.epochs), 1)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = _Trainer(
            scorer,
            TrainingArguments(
                scratch,
                **settings.step_arguments(steps),
                adam_beta2=0.98,  # as in `sft`; with .999 long trainings of tiny models may collapse to one half and stay there
                lr_scheduler_type="linear",
                warmup_steps=min(steps // 10, 50),
                weight_decay=0.0,
                remove_unused_columns=False,
            ),
            train_dataset=Dataset.from_list(list(rows)),
            data_collator=collate,
        )
        trainer.model_accepts_loss_kwargs = True  # `num_items_in_batch`: labels that are not ignored
        return float(train(trainer)["loss"])

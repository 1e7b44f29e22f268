"""Supervised fine-tuning on chats: the warm start (``maporl sft``).

TRL's ``SFTTrainer`` does the training, on rows that are token ids already (`maporl.agents.models.chat_rows`). Only what the
assistant says is learned.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback

from maporl.agents.models.chat_rows import encode_rows
from maporl.agents.models.checkpoints import load_causal_lm, usual_dtype
from maporl.agents.models.lora import LoRA
from maporl.agents.models.make_model import without_progress_bars
from maporl.algorithms.hf_training import Silent, TrainerSettings, global_settings_kept, train

__all__ = ["SFTSettings", "sft"]


@dataclass(frozen=True)
class SFTSettings(TrainerSettings):
    """How a model is fine-tuned: AdamW, linear warm-up, then a cosine down to ``min_lr_rate * learning_rate``.

    Attributes:
        steps: Optimizer steps; the rows are gone through as often as that takes.
        learning_rate: The peak. The default suits LoRA on a real model; the tiny model of the demo takes 3e-3.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: At most half of `steps` are used for it.
        min_lr_rate: The last learning rate, as a fraction of the peak.
        max_grad_norm: Gradients are clipped to this norm.
        lora: Train an adapter and merge it into the written weights; None trains all weights.
        chat_template: "plain", a Jinja file, or None for the tokenizer's own. Rows are encoded with it, and it is written, too.
        thinking: Likewise, whether a template that takes ``enable_thinking`` asks for reasoning; None is its own choice.
        dtype: "float32" or "bfloat16" (autocast; an adapter's base is held in it, fully trained weights stay float32); None is what suits
            the model and the processor.
        matmul_precision: ``torch.set_float32_matmul_precision`` while this runs; "medium" is twice as fast on CPUs with bf16.
        shuffle: Shuffle the rows at every pass; False takes them in their order, as a curriculum wants.

    Raises:
        ValueError: As `TrainerSettings`; no steps.
    """

    steps: int = 350
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.0
    warmup_steps: int = 50
    min_lr_rate: float = 0.05
    max_grad_norm: float = 1.0
    lora: LoRA | None = None
    chat_template: str | None = None
    thinking: bool | None = None
    matmul_precision: str | None = None
    shuffle: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("steps")


def sft(
    model: str | Path,
    rows: str | Path | Iterable[Mapping[str, Any]],
    output: str | Path,
    settings: SFTSettings | None = None,
    *,
    show_progress: bool = False,
) -> dict[str, float]:
    """Fine-tune a checkpoint on chats and write a plain model folder, tokenizer included.

    The loss is the mean over the assistant's tokens of a batch. The same arguments on the same machine and number of threads
    write the same weights; the global random states are left as they were.

    Args:
        model: Checkpoint folder or hub id.
        rows: A jsonl file, or rows in memory, see `maporl.agents.models.chat_rows.encode_row`.
        output: The folder to write.
        settings: Of the training; None takes the default ones.
        show_progress: Show a live progress bar.

    Returns:
        "loss" and "accuracy" (share of assistant tokens predicted at the first rank) over the last tenth of the steps,
        "rows", "seconds".

    Raises:
        ValueError: No such model, no chat template, a malformed row (names file and line), or one longer than the model's window.
    """
    started, settings = time.perf_counter(), settings or SFTSettings()
    with global_settings_kept(), without_progress_bars():
        torch.set_float32_matmul_precision(settings.matmul_precision or torch.get_float32_matmul_precision())
        network, tokenizer = load_causal_lm(
            str(model),
            dtype=settings.dtype if settings.lora is not None else "float32",
            device=settings.device_type,
            chat_template=settings.chat_template,
            thinking=settings.thinking,
            attn_implementation="eager" if settings.on_cpu else "sdpa",
        )
        settings.set_threads(network)
        data = encode_rows(rows, tokenizer, network)
        trained, logged = _trained(network, tokenizer, data, settings, show_progress)
        trained.save_pretrained(output)
        tokenizer.save_pretrained(output)
    return {
        "loss": float(logged["loss"]),
        "accuracy": float(logged["mean_token_accuracy"]),
        "rows": float(len(data["input_ids"])),
        "seconds": time.perf_counter() - started,
    }


def _trained(
    network: Any, tokenizer: Any, data: dict[str, list[list[int]]], settings: SFTSettings, show_progress: bool
) -> tuple[Any, Mapping[str, float]]:
    """The fine-tuned model, without adapter, and what the trainer logged last."""
    from datasets import Dataset  # seconds to import, and nothing else here needs them
    from trl import SFTConfig, SFTTrainer

    class Trainer(Silent, SFTTrainer): ...

    lora = settings.lora
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            scratch,
            **settings.step_arguments(settings.steps),
            adam_beta1=settings.betas[0],
            adam_beta2=settings.betas[1],
            weight_decay=settings.weight_decay,
            warmup_steps=min(settings.warmup_steps, settings.steps // 2),
            lr_scheduler_type="cosine_with_min_lr",
            lr_scheduler_kwargs={"min_lr_rate": settings.min_lr_rate},
            max_grad_norm=settings.max_grad_norm,
            bf16=(settings.dtype or usual_dtype(network.num_parameters(), settings.device_type)) == "bfloat16",
            gradient_checkpointing=settings.gradient_checkpointing,
            # The rows are token ids already: nothing is left to prepare, pack or truncate.
            dataset_kwargs={"skip_prepare_dataset": True},
            max_length=None,
            train_sampling_strategy=_sampling(data, settings.shuffle),
        )
        trainer = Trainer(
            network,
            arguments,
            train_dataset=Dataset.from_dict(data),
            processing_class=tokenizer,
            peft_config=lora.config(network) if lora is not None else None,
            callbacks=[_Progress(settings.steps)] if show_progress else None,
        )
        logged = train(trainer)
    trained: Any = trainer.model
    return trained if lora is None else trained.merge_and_unload(), logged


def _sampling(data: Mapping[str, list[list[int]]], shuffle: bool) -> str:
    """The trainer's word for the order of rows. Like lengths are batched only where lengths differ: it mixes less."""
    lengths = [len(ids) for ids in data["input_ids"]]
    uneven = max(lengths) > 1.5 * sum(lengths) / len(lengths)
    return "sequential" if not shuffle else "group_by_length" if uneven else "random"


class _Progress(TrainerCallback):
    """One rich progress bar, with the loss at every log."""

    def __init__(self, steps: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), transient=True
        )
        self.task = self.bar.add_task("sft", total=steps)

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        self.bar.start()

    def on_step_end(self, args: Any, state: Any, control: Any, **__: Any) -> None:
        self.bar.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **__: Any) -> None:
        if logs and "loss" in logs:
            self.bar.update(self.task, description=f"sft  loss {float(logs['loss']):.3f}")

    def on_train_end(self, *_: Any, **__: Any) -> None:
        self.bar.stop()

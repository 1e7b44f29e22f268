"""Supervised fine-tuning on chats: the warm start (``maporl sft``).

TRL's ``SFTTrainer`` does the training, on rows that are token ids already (`maporl.agents.chat_rows`). Only what the
assistant says is learned.
"""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from maporl.agents.chat_rows import encode_rows
from maporl.agents.make_model import without_progress_bars
from maporl.agents.policy import LoRA

__all__ = ["global_settings_kept", "sft"]

TINY = 10_000_000  # parameters


def sft(
    model: str | Path,
    rows: str | Path | Iterable[Mapping[str, Any]],
    output: str | Path,
    *,
    steps: int = 350,
    batch_size: int = 64,
    microbatch_size: int | None = None,
    learning_rate: float = 1e-4,
    betas: tuple[float, float] = (0.9, 0.98),
    weight_decay: float = 0.0,
    warmup_steps: int = 50,
    min_lr_rate: float = 0.05,
    max_grad_norm: float = 1.0,
    lora: LoRA | None = None,
    dtype: str = "float32",
    device: str | None = None,
    gradient_checkpointing: bool = False,
    matmul_precision: str | None = None,
    num_threads: int | None = None,
    shuffle: bool = True,
    seed: int = 0,
    show_progress: bool = False,
) -> dict[str, float]:
    """Fine-tune a checkpoint on chats and write a plain model folder, tokenizer included.

    AdamW, linear warm-up, then a cosine down to ``min_lr_rate * learning_rate``; the loss is the mean over the assistant's
    tokens of a batch. The same arguments on the same machine and number of threads write the same weights; the global random
    states are left as they were.

    Args:
        model: Checkpoint folder or hub id.
        rows: A jsonl file, or rows in memory, see `maporl.agents.chat_rows.encode_row`.
        output: The folder to write.
        steps: Optimizer steps; the rows are gone through as often as that takes.
        batch_size: Rows of one optimizer step.
        microbatch_size: Rows of one forward pass (default: the whole batch); divides `batch_size`. It saves memory only.
        learning_rate: The peak. The default suits LoRA on a real model; the tiny model of the demo takes 3e-3.
        betas: AdamW's.
        weight_decay: AdamW's.
        warmup_steps: At most half of `steps` are used for it.
        min_lr_rate: The last learning rate, as a fraction of the peak.
        max_grad_norm: Gradients are clipped to this norm.
        lora: Train an adapter and merge it into the written weights; None trains all weights.
        dtype: "float32" or "bfloat16" (autocast; an adapter's base is held in it, fully trained weights stay float32).
        device: "cpu", or None for the accelerator if there is one.
        gradient_checkpointing: Recompute activations in the backward pass.
        matmul_precision: ``torch.set_float32_matmul_precision`` while this runs; "medium" is twice as fast on CPUs with bf16.
        num_threads: torch's threads while this runs. None: one for a tiny model on a CPU, where two are 1.3 times faster on a
            quiet machine and many times slower on a busy one; else as they are.
        shuffle: Shuffle the rows at every pass; False takes them in their order, as a curriculum wants.
        seed: Of the order of rows and of a new adapter.
        show_progress: Show a live progress bar.

    Returns:
        "loss" and "accuracy" (share of assistant tokens predicted at the first rank) over the last tenth of the steps,
        "rows", "seconds".

    Raises:
        ValueError: No such model, a malformed row (names file and line), a row longer than the model's window, bad sizes.
    """
    from datasets import Dataset  # seconds to import, and nothing else here needs them
    from transformers import PrinterCallback
    from trl import SFTConfig, SFTTrainer

    class Trainer(SFTTrainer):
        def _send_telemetry(self) -> None:
            """A training tells nobody that it runs."""

    started = time.perf_counter()
    micro = microbatch_size or batch_size
    if min(steps, batch_size, micro) < 1 or batch_size % micro:
        raise ValueError(
            f"steps {steps}, batch_size {batch_size} and microbatch_size {micro} must be positive, "
            "and microbatch_size must divide batch_size."
        )
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {dtype!r} is unknown; use 'float32' or 'bfloat16'.")
    with global_settings_kept(), without_progress_bars():
        torch.set_float32_matmul_precision(matmul_precision or torch.get_float32_matmul_precision())
        network, tokenizer = _load(str(model), dtype if lora is not None else "float32", device)
        on_cpu = device == "cpu" or not torch.cuda.is_available()
        if num_threads is None and on_cpu and network.num_parameters() < TINY:
            num_threads = 1
        torch.set_num_threads(num_threads or torch.get_num_threads())
        data = encode_rows(rows, tokenizer, network)
        with tempfile.TemporaryDirectory() as scratch:
            trainer = Trainer(
                network,
                SFTConfig(
                    scratch,
                    max_steps=steps,
                    per_device_train_batch_size=micro,
                    gradient_accumulation_steps=batch_size // micro,
                    learning_rate=learning_rate,
                    adam_beta1=betas[0],
                    adam_beta2=betas[1],
                    weight_decay=weight_decay,
                    warmup_steps=min(warmup_steps, steps // 2),
                    lr_scheduler_type="cosine_with_min_lr",
                    lr_scheduler_kwargs={"min_lr_rate": min_lr_rate},
                    max_grad_norm=max_grad_norm,
                    bf16=dtype == "bfloat16",
                    use_cpu=device == "cpu",
                    gradient_checkpointing=gradient_checkpointing,
                    # The rows are token ids already: nothing is left to prepare, pack, truncate, evaluate or save.
                    dataset_kwargs={"skip_prepare_dataset": True},
                    max_length=None,
                    train_sampling_strategy=_sampling(data, shuffle),
                    dataloader_pin_memory=False,
                    logging_steps=max(1, steps // 10),
                    save_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    seed=seed,
                ),
                train_dataset=Dataset.from_dict(data),
                processing_class=tokenizer,
                peft_config=lora.config() if lora is not None else None,
                callbacks=[_Progress(steps)] if show_progress else None,
            )
            trainer.remove_callback(PrinterCallback)
            trainer.train()
        last = next(entry for entry in reversed(trainer.state.log_history) if "loss" in entry)
        plain: Any = trainer.model
        plain = plain.merge_and_unload() if lora is not None else plain
        plain.save_pretrained(output)
        tokenizer.save_pretrained(output)
    return {
        "loss": float(last["loss"]),
        "accuracy": float(last["mean_token_accuracy"]),
        "rows": float(len(data["input_ids"])),
        "seconds": time.perf_counter() - started,
    }


def _sampling(data: Mapping[str, list[list[int]]], shuffle: bool) -> str:
    """The trainer's word for the order of rows. Like lengths are batched only where lengths differ: it mixes less."""
    lengths = [len(ids) for ids in data["input_ids"]]
    uneven = max(lengths) > 1.5 * sum(lengths) / len(lengths)
    return "sequential" if not shuffle else "group_by_length" if uneven else "random"


def _load(path: str, dtype: str, device: str | None) -> tuple[Any, Any]:
    on_cpu = device == "cpu" or not torch.cuda.is_available()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        network = AutoModelForCausalLM.from_pretrained(
            path, dtype=getattr(torch, dtype), attn_implementation="eager" if on_cpu else "sdpa"
        )
    except (OSError, ValueError) as error:
        detail = " ".join(str(error).split())[:200]
        raise ValueError(
            f"model {path!r} cannot be loaded; give a folder written by save_pretrained (maporl make-model DIR makes a small "
            f"one), or a hub id while online. ({detail})"
        ) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token  # masks are explicit, so any id does
    return network, tokenizer


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


@contextlib.contextmanager
def global_settings_kept() -> Iterator[None]:
    """The trainer seeds Python, numpy and torch globally; a caller's own streams and settings must not notice."""
    python, numpy = random.getstate(), np.random.get_state()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    with torch.random.fork_rng(), warnings.catch_warnings():
        # The new name of the setting is not in every version of the trainer that is supported.
        warnings.filterwarnings("ignore", ".*gradient_checkpointing. is deprecated", FutureWarning)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
            torch.set_num_threads(threads)
            torch.set_float32_matmul_precision(precision)

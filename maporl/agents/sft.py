"""Supervised fine-tuning on chats: the warm start (``maporl sft``).

TRL's ``SFTTrainer`` does the training; what is added here is that every row becomes the very token ids that a rollout will
later show the model, because both use the same encoding of a chat. Only what the assistant says is learned.
"""

from __future__ import annotations

import contextlib
import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

from maporl.agents.make_model import without_progress_bars
from maporl.agents.policy import LoRA
from maporl.agents.prompts import encode_chat

__all__ = ["encode_row", "read_rows", "sft"]

IGNORE = -100  # the label that cross entropy skips
ROW_FORMS = '{"messages": [{"role", "content"}, ...]} or {"prompt": TEXT or messages, "completion": TEXT}'


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
        rows: A jsonl file, or rows in memory, see :func:`encode_row`.
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

    started = time.perf_counter()
    micro = microbatch_size or batch_size
    if min(steps, batch_size, micro) < 1 or batch_size % micro:
        raise ValueError(
            f"steps {steps}, batch_size {batch_size} and microbatch_size {micro} must be positive, "
            "and microbatch_size must divide batch_size."
        )
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {dtype!r} is unknown; use 'float32' or 'bfloat16'.")
    with _random_states_kept(), _matmul(matmul_precision), without_progress_bars():
        network, tokenizer = _load(str(model), dtype if lora is not None else "float32", device)
        data = _encode_all(rows, tokenizer, network)
        with tempfile.TemporaryDirectory() as scratch:
            trainer = SFTTrainer(
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


def read_rows(path: str | Path) -> list[tuple[str, Any]]:
    """The rows of a jsonl file, each with the words that tell where it stands ("FILE, line 3"); empty lines are skipped.

    Raises:
        ValueError: No such file, or a line that is not JSON.
    """
    if not Path(path).is_file():
        raise ValueError(f"rows {str(path)!r}: no such file; give a jsonl file with rows {ROW_FORMS}.")
    found = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            try:
                found.append((f"{path}, line {number}", json.loads(line)))
            except json.JSONDecodeError as error:
                raise ValueError(
                    f"{path}, line {number}: not JSON ({error.msg}); one row a line: {ROW_FORMS}."
                ) from None
    return found


def encode_row(row: Any, tokenizer: Any, eos_ids: Iterable[int] = (), where: str = "row") -> list[dict[str, list[int]]]:
    """A row as training sequences: "input_ids", and "labels" that are -100 wherever the assistant does not speak.

    ``{"messages": [...]}`` teaches every assistant message in it, each after exactly the tokens that a rollout would show
    before it. With a prefix-stable chat template that is one sequence; with another, one per assistant message.
    ``{"prompt": ..., "completion": ...}`` teaches the completion alone; a prompt that is plain text is one user message. Each
    message ends with the end-of-turn token of the template.

    Args:
        row: The row.
        tokenizer: With a chat template and an EOS token.
        eos_ids: Every id that ends a message, beside the tokenizer's EOS token.
        where: Named in errors.

    Raises:
        ValueError: The row has neither form, or nothing to learn in it.
    """
    chat, first = _chat_of(row, where)
    stops: set[int] = {tokenizer.eos_token_id, *eos_ids} - {None}
    if not stops:
        raise ValueError(f"the tokenizer of {tokenizer.name_or_path!r} has no EOS token; set one and save it again.")
    sequences: list[dict[str, list[int]]] = []
    for index in range(first, len(chat)):
        if chat[index]["role"] != "assistant":
            continue
        prompt = encode_chat(tokenizer, chat[:index])
        completion = _completion(tokenizer, prompt, chat[: index + 1], stops)
        if sequences and prompt[: len(sequences[-1]["input_ids"])] == sequences[-1]["input_ids"]:
            sequence = sequences[-1]
            between = prompt[len(sequence["input_ids"]) :]
        else:
            sequence, between = {"input_ids": [], "labels": []}, prompt
            sequences.append(sequence)
        sequence["input_ids"] += [*between, *completion]
        sequence["labels"] += [IGNORE] * len(between) + completion
    return sequences


def _completion(tokenizer: Any, prompt: list[int], chat: Sequence[Mapping[str, str]], stops: set[int]) -> list[int]:
    """What the template writes after `prompt` for the last message of `chat`, up to and with its end-of-turn token."""
    whole = tokenizer.apply_chat_template(list(chat), tokenize=True, return_dict=False)
    after = whole[len(prompt) :] if whole[: len(prompt)] == prompt else []
    ends = [position for position, token in enumerate(after) if token in stops]
    if ends:
        return after[: ends[0] + 1]
    # The template rewrites its history (or folds the system message elsewhere): say the same by hand.
    text = tokenizer.encode(chat[-1]["content"], add_special_tokens=False)
    return [*text, tokenizer.eos_token_id if tokenizer.eos_token_id is not None else min(stops)]


def _chat_of(row: Any, where: str) -> tuple[list[dict[str, str]], int]:
    """The chat of a row, and the index of the first message that may be learned."""
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: a row is an object, not {type(row).__name__}; use {ROW_FORMS}.")
    if "messages" in row:
        chat, first = row["messages"], 0
    elif "prompt" in row and "completion" in row:
        prompt, completion = row["prompt"], row["completion"]
        before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        answer = [{"role": "assistant", "content": completion}] if isinstance(completion, str) else completion
        if not isinstance(before, list) or not isinstance(answer, list):
            raise ValueError(f"{where}: prompt and completion must be text or lists of messages; use {ROW_FORMS}.")
        chat, first = [*before, *answer], len(before)
    else:
        raise ValueError(f"{where}: has the keys {sorted(row)}; use {ROW_FORMS}.")
    if not isinstance(chat, list):
        raise ValueError(f"{where}: 'messages' must be a list, not {type(chat).__name__}; use {ROW_FORMS}.")
    for message in chat:
        if not isinstance(message, Mapping) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise ValueError(f"{where}: {message!r} is not a message; each needs the texts 'role' and 'content'.")
    if not any(message["role"] == "assistant" for message in chat[first:]):
        raise ValueError(f"{where}: no assistant message, so there is nothing to learn; add one.")
    if chat[0]["role"] == "assistant":
        raise ValueError(f"{where}: begins with the assistant; put a user message before it.")
    return chat, first


def _encode_all(
    rows: str | Path | Iterable[Mapping[str, Any]], tokenizer: Any, network: Any
) -> dict[str, list[list[int]]]:
    located: Iterable[tuple[str, Any]]
    located = (
        read_rows(rows) if isinstance(rows, str | Path) else ((f"row {number}", row) for number, row in enumerate(rows))
    )
    eos = getattr(network.generation_config, "eos_token_id", None)
    eos_ids = [i for i in (eos if isinstance(eos, list | tuple) else [eos]) if i is not None]
    window = getattr(network.config.get_text_config(), "max_position_embeddings", None) or 2**31
    data: dict[str, list[list[int]]] = {"input_ids": [], "labels": []}
    known: dict[int, tuple[Any, list[dict[str, list[int]]]]] = {}  # a curriculum repeats rows; each is encoded once
    for where, row in located:
        if id(row) not in known:
            known[id(row)] = (row, encode_row(row, tokenizer, eos_ids, where))  # keeping the row keeps its id its own
        for sequence in known[id(row)][1]:
            if len(sequence["input_ids"]) > window:
                raise ValueError(
                    f"{where}: {len(sequence['input_ids'])} tokens, more than the model's window of {window}; shorten it."
                )
            data["input_ids"].append(sequence["input_ids"])
            data["labels"].append(sequence["labels"])
    if not data["input_ids"]:
        raise ValueError(f"there are no rows to learn from; give rows {ROW_FORMS}.")
    return data


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
def _random_states_kept() -> Iterator[None]:
    """The trainer seeds Python, numpy and torch globally; a caller's own streams must not notice."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


@contextlib.contextmanager
def _matmul(precision: str | None) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision or before)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)

"""TRL's GRPOTrainer, ready to be stepped beside ours: one agent, one turn."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer

from bench.our_step import STOCK, Knobs
from bench.settings import Settings
from bench.with_comlrl import quiet
from maporl.agents.checkpoints import DTYPES

__all__ = ["TRLStep"]


class _Clock(TrainerCallback):
    """When each optimizer step was over."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        self.ends.append(time.perf_counter())


class TRLStep:
    """A trainer of theirs on given prompts; a step is the second of the two that `train()` makes.

    Args:
        settings: Device, dtype, geometry, seed.
        checkpoint: The base model.
        prompts: Of one batch, as text.
        reward: Of one text.
        knobs: Attention, matmul precision and autocast given to this side; None leaves everything as TRL has it (bfloat16
            autocast, gradient checkpointing).
        lora: Train adapters like ours, not the whole model.
        group_size, new_tokens: As in `OurStep`.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: str | Path,
        prompts: Sequence[str],
        reward: Callable[[str], float],
        knobs: Knobs | None = None,
        *,
        lora: LoraConfig | None = None,
        group_size: int = 8,
        new_tokens: int = 32,
    ) -> None:
        self.settings, self.knobs = settings, knobs or STOCK
        self.tokens = 0
        self.reward = reward
        self.scratch = tempfile.TemporaryDirectory()
        self.clock = _Clock()
        given: dict[str, Any] = {}
        if knobs is not None:
            given = {"bf16": knobs.autocast, "gradient_checkpointing": False}
        with quiet():
            model = AutoModelForCausalLM.from_pretrained(
                checkpoint, dtype=DTYPES[settings.dtype], attn_implementation=self.knobs.attention
            )
            arguments = GRPOConfig(
                output_dir=self.scratch.name,
                per_device_train_batch_size=len(prompts) * group_size,
                num_generations=group_size,
                max_completion_length=new_tokens,
                max_steps=2,
                learning_rate=1e-9,
                # Forces the length: the end-of-message token cannot be sampled.
                generation_kwargs={"min_new_tokens": new_tokens},
                use_cpu=torch.device(settings.device).type == "cpu",
                report_to="none",
                logging_strategy="no",
                save_strategy="no",
                disable_tqdm=True,
                seed=settings.seed,
                **given,
            )
            self.trainer = GRPOTrainer(
                model=model,
                reward_funcs=self._rewarded,
                args=arguments,
                train_dataset=Dataset.from_dict({"prompt": list(prompts)}),
                processing_class=AutoTokenizer.from_pretrained(checkpoint),
                peft_config=lora,
                callbacks=[self.clock],
            )
            self.trainer.remove_callback(PrinterCallback)

    def _rewarded(self, completions: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
        self.tokens = sum(len(ids) for ids in completion_ids)  # of the step; padding is cut off already
        return [self.reward(text) for text in completions]

    def __call__(self) -> Mapping[str, float]:
        """One step: "seconds" and "tokens" sampled."""
        self.clock.ends.clear()
        with quiet(), self.knobs.applied(self.settings.device):
            self.trainer.train()
        # The first step's end to the second's: a whole period, with the fetching of data and without what `train` sets up.
        first, second = self.clock.ends[-2:]
        return {"tokens": self.tokens, "seconds": second - first}

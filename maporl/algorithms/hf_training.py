"""What everything that transformers' Trainer trains here has in common: settings, threads, and nothing left changed afterwards."""

from __future__ import annotations

import contextlib
import random
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import PrinterCallback, Trainer

from maporl.agents.models.checkpoints import TINY
from maporl.errors import UserValueError

__all__ = ["QUIET", "StepSettings", "Silent", "TrainerSettings", "global_settings_kept", "train"]

QUIET: Mapping[str, Any] = {
    "dataloader_pin_memory": False,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}
"""Arguments of a Trainer that neither shows nor keeps anything."""


class Silent:
    """In front of a trainer of TRL: a training tells nobody that it runs."""

    def _send_telemetry(self) -> None:
        return None


@dataclass(frozen=True)
class StepSettings:
    """What every Trainer's steps have in common.

    Attributes:
        learning_rate: The peak, after a warm-up if there is one.
        batch_size: Rows of one optimizer step.
        device: "cpu", or None for the accelerator if there is one.
        seed: Of the order of rows, of a new adapter, and of dropout.

    Raises:
        ValueError: A number that is not above 0.
    """

    learning_rate: float = 1e-4
    batch_size: int = 64
    device: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        self._check_positive("learning_rate", "batch_size")

    def _check_positive(self, *names: str) -> None:
        for name in names:
            if not getattr(self, name) > 0:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be above 0.")

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu" or not torch.accelerator.is_available()

    def arguments(self, steps: int, batch: int, micro: int) -> dict[str, Any]:
        """The arguments of a quiet Trainer of so many optimizer steps that logs ten times.

        Args:
            steps: Optimizer steps.
            batch, micro: Rows of a step, and of a forward pass.
        """
        return {
            **QUIET,
            "max_steps": steps,
            "per_device_train_batch_size": micro,
            "gradient_accumulation_steps": batch // micro,
            "learning_rate": self.learning_rate,
            "use_cpu": self.on_cpu,
            "logging_steps": max(1, steps // 10),
            "seed": self.seed,
        }


@dataclass(frozen=True)
class TrainerSettings(StepSettings):
    """Settings of AdamW on the rows of a data set.

    Attributes:
        microbatch_size: Rows of one forward pass; divides batch_size. It saves memory only. None: the whole batch.
        dtype: "float32", "bfloat16", or None for what suits the model and the processor (`usual_dtype`).
        gradient_checkpointing: Recompute activations in the backward pass.
        num_threads: torch's threads while this runs. None: one for a tiny model on a CPU, where two are 1.3 times faster on a
            quiet machine and many times slower on a busy one; else as they are.

    Raises:
        ValueError: As `StepSettings`; a microbatch that does not divide the batch, or another dtype.
    """

    microbatch_size: int | None = None
    dtype: str | None = None
    gradient_checkpointing: bool = False
    num_threads: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        micro = self.microbatch_size
        if micro is not None and (micro < 1 or self.batch_size % micro):
            raise UserValueError(f"microbatch_size is {micro}; it must divide batch_size {self.batch_size}.")
        if self.dtype not in ("float32", "bfloat16", None):
            raise UserValueError(f"dtype {self.dtype!r} is unknown; use 'float32' or 'bfloat16'.")

    @property
    def device_type(self) -> str:
        """Of the device that is trained on, as torch names it."""
        return "cpu" if self.on_cpu else torch.accelerator.current_accelerator(check_available=True).type  # type: ignore[union-attr]

    def set_threads(self, model: Any) -> None:
        """Set torch's threads as `num_threads` says for this model."""
        tiny = self.on_cpu and model.num_parameters() < TINY
        if (number := self.num_threads or (1 if tiny else None)) is not None:
            torch.set_num_threads(number)

    def step_arguments(self, number: int) -> dict[str, Any]:
        """The arguments of a Trainer of so many optimizer steps."""
        return self.arguments(number, self.batch_size, self.microbatch_size or self.batch_size)


def train(trainer: Trainer) -> Mapping[str, float]:
    """Train without printing; returns what was logged last: means over the last tenth of the steps, "loss" among them."""
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    return next(entry for entry in reversed(trainer.state.log_history) if "loss" in entry)


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

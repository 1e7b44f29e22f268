"""What running out of memory looks like, and giving back what is held in reserve."""

from __future__ import annotations

import gc

import torch

__all__ = ["out_of_memory", "release"]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's or the machine's memory did not suffice."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "not enough memory" in said)
    )


def release(device: torch.device) -> None:
    """Give unused memory back before trying again with less."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()

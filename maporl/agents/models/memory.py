"""What running out of memory looks like, giving back what is held in reserve, and how much has been used."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

__all__ = ["out_of_memory", "peak_bytes", "release", "trim"]


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's or the machine's memory did not suffice."""
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and ("can't allocate memory" in said or "not enough memory" in said)
    )


def trim() -> None:
    """Give back what the C library's heap holds and does not use.

    Passes of ever other sizes leave holes between their tensors, which glibc keeps: in a long run on a CPU gigabytes.
    """
    if sys.platform == "linux" and (give_back := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        give_back(0)


def release(device: torch.device) -> None:
    """Give unused memory back before trying again with less."""
    gc.collect()
    trim()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def peak_bytes(device: torch.device) -> int:
    """Bytes used at most so far: of a GPU by torch, else by this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would also count the process that started this one, for a moment its own
        lines = status.read_text(encoding="utf-8").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    import resource

    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale

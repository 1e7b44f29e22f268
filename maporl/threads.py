"""How many of torch's threads a run uses, and how exactly it multiplies."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from maporl.agents import Team
from maporl.agents.checkpoints import TINY
from maporl.config import RunConfig

__all__ = ["fastest_threads", "torch_settings", "with_threads"]


@contextlib.contextmanager
def torch_settings(config: RunConfig) -> Iterator[None]:
    """Threads and float32 matmul precision as configured, restored afterwards."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        torch.set_float32_matmul_precision(config.matmul_precision)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def with_threads(config: RunConfig, team: Team) -> RunConfig:
    """`config` with torch's threads, also set here, where nothing was chosen and the models run on a CPU.

    Two threads make a model of half a million parameters 1.3 times faster on a quiet machine, and up to 30 times slower on a busy
    one, where each waits for the other: tiny models get one thread. For larger ones it is measured, in a second or two: set
    num_threads where two runs must be equal to the bit.
    """
    if config.num_threads is not None or config.resolved_device != "cpu" or not team.policies:
        return config
    sizes = {policy: sum(p.numel() for p in policy.model.parameters()) for policy in team.policies}
    largest = max(sizes, key=sizes.__getitem__)
    threads = 1
    if sizes[largest] >= TINY:
        tokens = int(min(max(1e10 / sizes[largest], 16), 256))
        ids = torch.zeros(1, min(tokens, largest.context_window), dtype=torch.int64)
        with torch.inference_mode():
            threads = fastest_threads(lambda: largest.model(input_ids=ids), torch.get_num_threads())
    torch.set_num_threads(threads)
    return config.merged({"num_threads": threads})


def fastest_threads(work: Callable[[], Any], most: int, repetitions: int = 3) -> int:
    """With how many of torch's threads (1, 2, 4 ... `most`) the median of a few runs of `work` is shortest; changes nothing."""
    before = torch.get_num_threads()
    candidates = [*(2**k for k in range(most.bit_length()) if 2**k < most), most]
    seconds: dict[int, list[float]] = {number: [] for number in candidates}
    try:
        work()  # the first one loads and allocates
        for _ in range(repetitions):
            for number in candidates:  # in turn, so that a busy moment meets all
                torch.set_num_threads(number)
                began = time.perf_counter()
                work()
                seconds[number].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return min(candidates, key=lambda number: statistics.median(seconds[number]))

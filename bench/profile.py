"""Where the time of a step goes, by torch's profiler: shares of an update, and of a rollout, by kind of operation.

The step is ours of the section "competitors": 2 agents, 16 questions, 8 samples of 32 tokens.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from bench.our_step import OurStep
from bench.rows import Row, each
from bench.settings import Settings
from bench.workload import make_talkative, rewarded

__all__ = ["rows", "shares"]

SECTION = "profile"
KINDS = {"attention": ("scaled_dot_product", "bmm", "baddbmm"), "products": ("mm", "linear", "matmul")}
"""The first whose words an operation's name holds; everything else is the rest."""


def rows(settings: Settings) -> list[Row]:
    """Shares of the time inside torch's operations."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        make_talkative(settings.policy(folder)).model.save_pretrained(settings.checkpoint(folder))
        step = OurStep(settings, folder, new_tokens=4 if settings.quick else 32)
        questions = step.questions[: 2 if settings.quick else 16]
        episodes = rewarded(step.sample(questions), settings.seed)
        step.algorithm.update(episodes)  # the first of each allocates
        found = {
            "rollout": shares(lambda: step.sample(questions)),
            "update": shares(lambda: step.algorithm.update(episodes)),
        }
    return [row for what, kinds in found.items() for row in each(SECTION, what, kinds, "share")]


def shares(work: Callable[[], object]) -> dict[str, float]:
    """Kind -> its share of the time that one run of `work` spends inside torch's operations."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        work()
    seconds = dict.fromkeys([*KINDS, "the rest"], 0.0)
    for event in profiled.key_averages():
        kind = next((kind for kind, words in KINDS.items() if any(word in event.key for word in words)), "the rest")
        seconds[kind] += event.self_cpu_time_total
    total = sum(seconds.values())
    return {kind: spent / total for kind, spent in seconds.items()}

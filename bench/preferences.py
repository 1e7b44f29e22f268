"""What learning from candidates costs: a step of DPO beside one of SFT on the same messages, TRL's own passes beside the policy's, and the
peak memory of three roles against one.

Steps are those of `sft_adapter` and `dpo_adapter`: the difference between a training of many steps and one of few, so that neither making
TRL's trainer nor the reference's pass counts. Candidates share their prompts, three to each, as in a tree of MALT.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from bench.rows import Row, interleaved, of, ratio
from bench.settings import Settings
from maporl.agents import Policy
from maporl.agents.models.make_model import without_progress_bars
from maporl.agents.models.memory import peak_bytes
from maporl.algorithms import adapter_training
from maporl.algorithms.adapter_training import AdapterSettings, dpo_adapter, sft_adapter
from maporl.types import Completion

__all__ = ["candidates", "peak_memory", "rows", "seconds_per_step"]

SECTION = "preferences"
PROMPT, ANSWER = 120, 24
FEW, MANY = 1, 5


def rows(settings: Settings) -> list[Row]:
    """Seconds of steps (of the geometry asked for) and peaks (on a CPU of the base of 41M parameters, unless quick)."""
    with tempfile.TemporaryDirectory() as scratch, without_progress_bars():
        series = seconds_per_step(settings.policy(scratch), settings, 4 if settings.quick else 24)
    large = settings if settings.quick or not settings.made else replace(settings, geometry="small")
    with tempfile.TemporaryDirectory() as scratch:
        peaks = peak_memory(large, scratch)
    note = f"of {PROMPT} and {ANSWER} tokens, siblings"
    return [
        *[
            of(SECTION, f"step, {name}", [1000 * s for s in seconds], "ms", note=note)
            for name, seconds in series.items()
        ],
        ratio(SECTION, "DPO step / SFT step, the same messages", series["DPO"], series["SFT"], "<= 1.3", note),
        ratio(SECTION, "SFT step, TRL's own passes / ours", series["SFT, TRL's own passes"], series["SFT"], note=note),
        *[
            of(SECTION, f"peak, {name}", peak, "MB", note=f"fresh processes, {large.geometry} base")
            for name, peak in peaks.items()
        ],
        of(SECTION, "peak memory, 3 roles / 1 role", peaks["3 roles"] / peaks["1 role"], "x", "<= 1.2"),
    ]


def candidates(number: int, seed: int = 0) -> list[Completion]:
    """Messages of random tokens, three to a prompt."""
    rng, made = np.random.default_rng(seed), []
    for n in range(number):
        if n % 3 == 0:
            prompt = rng.integers(5, 290, PROMPT)
        made.append(Completion("words", prompt, rng.integers(5, 290, ANSWER), np.zeros(ANSWER, np.float32)))
    return made


def pairs_of(messages: Sequence[Completion]) -> list[tuple[Completion, Completion]]:
    """Every message in one pair or two, both of one prompt."""
    threes = [messages[n : n + 3] for n in range(0, len(messages) - 2, 3)]
    return [(three[0], other) for three in threes for other in three[1:]]


def seconds_per_step(policy: Policy, settings: Settings, number: int) -> dict[str, list[float]]:
    """Seconds of a step on the messages of `number` prompts, taken in turn: "SFT" and "DPO" on the messages of the same pairs, and SFT
    as TRL computes it, each message on its own, padded."""
    policy.add_adapter("role")
    pairs = pairs_of(candidates(3 * number))
    said = [c for pair in pairs for c in pair]

    def step(train: Callable[..., Any], given: Sequence[Any]) -> Callable[[], float]:
        def seconds(epochs: int) -> float:
            asked = AdapterSettings(learning_rate=1e-4, batch_size=len(given), epochs=epochs, microbatch_tokens=2**20)
            return settings.timed(lambda: train(policy, "role", given, asked))

        return lambda: max(seconds(MANY) - seconds(FEW), 1e-9) / (MANY - FEW)

    def plainly(*arguments: Any) -> Any:
        own, adapter_training._forward = adapter_training._forward, lambda policy, *_: policy.model.forward
        try:
            return sft_adapter(*arguments)
        finally:
            adapter_training._forward = own

    return interleaved(
        {"SFT": step(sft_adapter, said), "DPO": step(dpo_adapter, pairs), "SFT, TRL's own passes": step(plainly, said)},
        settings.repetitions,
    )


def peak_memory(settings: Settings, folder: str) -> dict[str, float]:
    """Peak memory in MB of fresh processes in which one role, or three, take a step of SFT and one of DPO."""
    if settings.made:
        with without_progress_bars():
            settings.checkpoint(folder)  # making it must not count
    found = {}
    for name, roles in (("1 role", 1), ("3 roles", 3)):
        command = [sys.executable, "-m", "bench.preferences", str(roles), folder, json.dumps(asdict(settings))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the process for {name} failed:\n{done.stderr}")
        found[name] = float(done.stdout.split()[-1])
    return found


def main(argv: Sequence[str]) -> int:
    """The fresh process: print the peak of so many ROLES, given the checkpoint's folder and the settings."""
    roles, folder, given = argv
    settings = Settings(**json.loads(given))
    torch.set_num_threads(settings.num_threads)
    messages, asked = candidates(6), AdapterSettings(microbatch_tokens=256)
    with without_progress_bars():
        policy = settings.policy(folder)
        for role in range(int(roles)):
            policy.add_adapter(f"role_{role}", seed=role)
        for name in policy.adapters:
            sft_adapter(policy, name, messages, asked)
            dpo_adapter(policy, name, pairs_of(messages), asked)
    print(peak_bytes(torch.device(settings.device)) / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

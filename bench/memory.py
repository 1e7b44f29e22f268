"""What further agents on one base cost: peak memory, and time per message, of three agents against one.

Peaks are those of fresh processes (one rollout and one update each, optimizer included), because a peak cannot be unmade; a
process that only loads the base is the floor that both stand on. Times are taken in one process, alternately: the same number
of discussions of one round, so that every message answers a prompt of the same length and every adapter gets a batch of the same
size; seconds of rollout and update are divided by the number of messages.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

import torch

from bench.rows import Row, interleaved, of, ratio
from bench.settings import Settings
from bench.workload import Workload, make_talkative, rewarded
from maporl.agents.models.make_model import without_progress_bars
from maporl.agents.models.memory import peak_bytes
from maporl.training.threads import torch_settings

__all__ = ["peak_memory", "rows", "seconds_per_message"]

SECTION = "memory"


def rows(settings: Settings) -> list[Row]:
    """Memory (on a CPU of the base of 41M parameters, unless quick) and time (of the geometry asked for)."""
    large = settings if settings.quick or not settings.made else replace(settings, geometry="small")
    with tempfile.TemporaryDirectory() as scratch:
        peaks = peak_memory(large, scratch)
    note = f"fresh processes, {large.geometry} base"
    result = [of(SECTION, f"peak, {name}", peak, "MB", note=note) for name, peak in peaks.items()]
    share = peaks["3 agents"] / peaks["1 agent"]
    added = [peaks[name] - peaks["loaded only"] for name in ("3 agents", "1 agent")]
    note = f"beyond loading: {added[0]:,.0f} against {added[1]:,.0f} MB"
    result.append(of(SECTION, "peak memory, 3 agents / 1 agent", share, "x", "<= 1.2", note))
    series = seconds_per_message(settings, 4 if settings.quick else 64)
    result += [of(SECTION, f"time per message, {name}", [1000 * s for s in v], "ms") for name, v in series.items()]
    return [
        *result,
        ratio(SECTION, "time per message, 3 agents / 1 agent", series["3 agents"], series["1 agent"], "<= 1.1"),
    ]


def peak_memory(settings: Settings, folder: str) -> dict[str, float]:
    """Peak memory in MB of fresh processes: "loaded only", "1 agent", "3 agents" (on a GPU: of its memory).

    Args:
        settings: Of the base.
        folder: Where its checkpoint is, or will be.
    """
    if settings.made:
        with without_progress_bars():
            settings.checkpoint(folder)  # making it must not count
    found = {}
    for name, agents in (("loaded only", 0), ("1 agent", 1), ("3 agents", 3)):
        words = [str(agents), folder, json.dumps(asdict(settings))]
        command = [sys.executable, "-m", "bench.memory", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"the process for {name} failed:\n{done.stderr}")
        found[name] = float(done.stdout.split()[-1])
    return found


def seconds_per_message(settings: Settings, discussions: int) -> dict[str, list[float]]:
    """ "1 agent" and "3 agents" -> seconds of rollout and update, divided by the messages."""
    with tempfile.TemporaryDirectory() as scratch:
        workloads = {
            f"{n} agent{'s' * (n > 1)}": Workload.build(
                make_talkative(settings.policy(scratch)), settings, discussions=discussions, num_agents=n, group_size=4
            )
            for n in (1, 3)
        }
    steps = {name: _iteration(settings, workload) for name, workload in workloads.items()}
    with torch_settings(next(iter(workloads.values())).config):
        return interleaved(steps, settings.repetitions)


def _iteration(settings: Settings, workload: Workload) -> Callable[[], float]:
    def work() -> None:
        workload.algorithm.update(rewarded(workload.sample(0), settings.seed))

    messages = workload.config.episodes_per_iteration * len(workload.env.possible_agents)
    return lambda: settings.timed(work) / messages


def main(argv: Sequence[str]) -> int:
    """The fresh process: print the peak of AGENTS agents (0 only loads the base), given the checkpoint's folder and the settings."""
    agents, folder, given = argv
    settings = Settings(**json.loads(given))
    torch.set_num_threads(settings.num_threads)
    with without_progress_bars():
        policy = settings.policy(folder)
    if int(agents):
        # Few and short discussions in small microbatches: activations are no part of the question, and would hide its answer.
        workload = Workload.build(
            policy,
            settings,
            discussions=2,
            num_agents=int(agents),
            num_rounds=2,
            new_tokens=8,
            group_size=2,
            microbatch_tokens=256,
        )
        with torch_settings(workload.config):
            workload.algorithm.update(rewarded(workload.sample(0), settings.seed))
    print(peak_bytes(torch.device(settings.device)) / 1e6)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""How fast and how large: tokens per second of rollout and update, and the peak memory of one agent against three.

    python -m maporl.benchmarks.speed.memory [--model DIR] [--device cuda] [--dtype bfloat16] [--algorithm magrpo]

Rollouts and updates are timed alternately in one process, so that a busy moment meets both; medians and the whole range are
printed. Memory is the peak of a fresh process each (one rollout and one update, optimizer included), because a peak cannot be
unmade. A process that only loads one agent is the floor that both stand on.
"""

from __future__ import annotations

import argparse
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from maporl.agents import Team
from maporl.agents.make_model import make_model, without_progress_bars
from maporl.algorithms import Algorithm
from maporl.algorithms.rollout import rollout
from maporl.benchmarks.speed.rows import Row
from maporl.benchmarks.speed.settings import Settings
from maporl.config import RunConfig
from maporl.envs import DiscussionEnv
from maporl.run import torch_settings, with_threads
from maporl.types import Episode

__all__ = ["LARGE", "main", "measure", "peak_memory", "rows"]

LARGE = {"hidden_size": 512, "num_layers": 12, "num_heads": 8, "intermediate_size": 1536}
"""A base of 41 million parameters, for the memory figure."""


def rows(settings: Settings) -> list[Row]:
    """Peak memory of fresh processes, on the base of 41M parameters (of the tiny one when quick)."""
    with tempfile.TemporaryDirectory() as scratch, without_progress_bars():
        config = RunConfig(
            env="arithmetic",
            model=_made(scratch, "model", {} if settings.quick else LARGE),
            device=settings.device,
            dtype=settings.dtype,
            num_threads=settings.num_threads,
            seed=settings.seed,
        )
        peaks = peak_memory(config)
    found = [Row("memory", f"peak, {name}", number, number, number, "MB") for name, number in peaks.items()]
    share = peaks["3 agents"] / peaks["1 agent"]
    return [*found, Row("memory", "3 agents / 1 agent", share, share, share, "x", "<= 1.2")]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m maporl.benchmarks.speed.memory", description=__doc__.partition("\n")[0]
    )
    parser.add_argument(
        "--model", help="checkpoint folder; random weights if left out (.5M parameters; 41M for memory)"
    )
    parser.add_argument("--algorithm", default="mappo")
    parser.add_argument("--device", help="a torch device; a GPU if there is one")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--num_threads", type=int)
    parser.add_argument("--episodes", type=int, default=32, help="discussions of one iteration [32]")
    parser.add_argument("--max_new_tokens", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=7, help="of each, alternating [7]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", choices=("speed", "memory"), help="leave one of the two out")
    parser.add_argument(
        "--peak_of", type=int, metavar="N", help=argparse.SUPPRESS
    )  # the fresh process: N agents, 0 is the floor
    args = parser.parse_args(argv)
    warnings.filterwarnings("ignore", "all .* rewards")  # nothing is to be learned here
    with tempfile.TemporaryDirectory() as scratch, without_progress_bars():
        if args.peak_of is not None:
            print(_own_peak(_config(args, args.model).merged({"microbatch_tokens": 256}), args.peak_of))
            return 0
        if args.without != "speed":
            model = args.model or _made(scratch, "small", {})
            _print_speed(measure(_config(args, model), args.repetitions), args)
        if args.without != "memory":
            model = args.model or _made(scratch, "large", LARGE)
            _print_memory(peak_memory(_config(args, model)))
    return 0


def _config(args: argparse.Namespace, model: str) -> RunConfig:
    return RunConfig(
        env="arithmetic",
        model=model,
        algorithm=args.algorithm,
        episodes_per_iteration=args.episodes,
        max_new_tokens=args.max_new_tokens,
        device=args.device,
        dtype=args.dtype,
        num_threads=args.num_threads,
        seed=args.seed,
    )


def _made(scratch: str, name: str, sizes: dict[str, Any]) -> str:
    make_model(Path(scratch) / name, **sizes)
    return str(Path(scratch) / name)


def measure(config: RunConfig, repetitions: int) -> dict[str, list[float]]:
    """Tokens per second, one number a repetition: "rollout" (sampled tokens), "update" (trained tokens) and "update, read"
    (tokens of prompts and messages that the policy's passes read in the same time). The first repetition is dropped."""
    with torch_settings(config):
        env, team, algorithm = _built(config, 2)
        config = with_threads(config, team)
        rates: dict[str, list[float]] = {"rollout": [], "update": [], "update, read": []}
        for repetition in range(repetitions + 1):
            began = time.perf_counter()
            episodes = _sampled(config, env, team, algorithm, repetition)
            sampled = time.perf_counter()
            algorithm.update(episodes)
            ended = time.perf_counter()
            new = sum(len(s.completion.completion_ids) for e in episodes for s in e.steps)
            read = new + sum(len(s.completion.prompt_ids) for e in episodes for s in e.steps)
            if repetition:
                rates["rollout"].append(new / (sampled - began))
                rates["update"].append(new / (ended - sampled))
                rates["update, read"].append(read / (ended - sampled))
    return rates


def _built(config: RunConfig, num_agents: int) -> tuple[DiscussionEnv, Team, Algorithm]:
    env = config.build_env(num_agents=num_agents)
    team = config.build_team(env)
    return env, team, config.build_algorithm(team)


def _sampled(config: RunConfig, env: DiscussionEnv, team: Team, algorithm: Algorithm, repetition: int) -> list[Episode]:
    size = algorithm.group_size
    number = max(config.episodes_per_iteration // size, 1)
    pool = env.questions("train")
    questions = [pool[(repetition * number + i // size) % len(pool)] for i in range(number * size)]
    groups = [i // size for i in range(len(questions))]
    return rollout(env, team, questions, seed=(config.seed, repetition), groups=groups)


def peak_memory(config: RunConfig) -> dict[str, float]:
    """Peak memory in MB of fresh processes: "loaded only", "1 agent", "3 agents" (on a GPU: of its memory)."""
    found = {}
    # Few and short discussions in small microbatches: activations are no part of the question, and would hide its answer.
    for name, agents in (("loaded only", 0), ("1 agent", 1), ("3 agents", 3)):
        words = ["--model", str(config.model), "--algorithm", config.algorithm, "--dtype", config.dtype]
        words += ["--device", config.resolved_device, "--peak_of", str(agents), "--seed", str(config.seed)]
        words += ["--max_new_tokens", "8", "--episodes", "2"]
        words += ["--num_threads", str(config.num_threads or torch.get_num_threads())]
        done = subprocess.run(
            [sys.executable, "-m", "maporl.benchmarks.speed.memory", *words],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the process for {name} failed:\n{done.stderr}")
        found[name] = float(done.stdout.split()[-1])
    return found


def _own_peak(config: RunConfig, num_agents: int) -> float:
    with torch_settings(config):
        env, team, algorithm = _built(config, max(num_agents, 1))
        if num_agents:
            algorithm.update(_sampled(config, env, team, algorithm, 0))
    if config.resolved_device.startswith("cuda"):
        return torch.cuda.max_memory_allocated() / 1e6
    scale = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6


def _print_speed(rates: dict[str, list[float]], args: argparse.Namespace) -> None:
    device = args.device or ("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{args.model or 'random weights, .5M parameters'}; {args.algorithm}, {args.episodes} discussions of 2 agents x 2 rounds, "
        f"{args.max_new_tokens} new tokens; {args.dtype} on {device}, seed {args.seed}, {args.repetitions} repetitions\n"
        f"python {platform.python_version()}, torch {torch.__version__}, transformers {transformers.__version__}, "
        f"{args.num_threads or 'default'} threads of {torch.get_num_threads()}"
    )
    for name, numbers in rates.items():
        print(f"{name:<13} {statistics.median(numbers):>9,.0f} tokens/s   ({min(numbers):,.0f} to {max(numbers):,.0f})")


def _print_memory(peaks: dict[str, float]) -> None:
    print("peak memory of fresh processes, one rollout and one update each:")
    for name, number in peaks.items():
        print(f"{name:<13} {number:>9,.0f} MB")
    one, three, floor = peaks["1 agent"], peaks["3 agents"], peaks["loaded only"]
    print(
        f"3 agents / 1: {three / one:.2f}   (what training adds to loading: {three - floor:,.0f} against {one - floor:,.0f} MB)"
    )


if __name__ == "__main__":
    sys.exit(main())

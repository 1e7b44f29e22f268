"""What checking code takes of an iteration: seconds in the sandbox beside seconds on the clock, for MAGRPO on code in parts.

python -m bench.checking MODEL HumanEval.jsonl  on HumanEval; without a file on `composed`, with a start of that task
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from maporl.envs.tasks.coding.constants import best_constant
from maporl.envs.tasks.coding.humaneval import HumanEval
from maporl.sandbox import Program, Report
from maporl.sandbox.sandbox import Sandbox
from maporl.training.callbacks import Callback
from maporl.training.evaluation import Evaluation
from maporl.training.run import train

__all__ = ["Checking", "main"]

PARTS = {"aux_defined": 0.4, "main_defined": 0.6, "parses": 0.5, "aux_called": 0.5, "passed": 1.0, "all_passed": 1.0}
"""Measure -> what it is worth where it is reached: divided by that, it is a share of the answers."""


class Checking(Callback):
    """Seconds in the sandbox, and programs that were given to it, between two reports of a run."""

    def __init__(self) -> None:
        self.seconds, self.programs = 0.0, 0
        self.rows: list[str] = []

    def run(self, sandbox: Sandbox, programs: Sequence[Program]) -> list[Report]:
        """In the place of `Sandbox.run`."""
        began = time.perf_counter()
        try:
            return _run(sandbox, programs)
        finally:
            self.seconds += time.perf_counter() - began
            self.programs += len(programs)

    def _told(self, text: str) -> None:
        self.rows.append(f"{text}, {self.seconds:.2f} s in the sandbox ({self.programs} programs)")
        print(self.rows[-1], flush=True)
        self.seconds, self.programs = 0.0, 0

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        sampled, learned = metrics["time/rollout_s"], metrics["time/update_s"]
        share = self.seconds / (sampled + learned)
        speed = metrics["time/tokens_per_s"]
        self._told(
            f"iteration {iteration}: {sampled:.1f} s of rollout, {learned:.1f} s of update, {speed:.0f} tokens/s, checking {share:.1%}"
        )

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        split = "test" if name == "test" else "eval"
        found = {part: evaluation.metrics[f"{split}/measure/{part}"] / most for part, most in PARTS.items()}
        self._told(f"{name} after {iteration}: " + ", ".join(f"{part} {share:.3f}" for part, share in found.items()))


_run = Sandbox.run


def main(argv: Sequence[str] | None = None) -> int:
    """What constants earn, an evaluation, some iterations, another evaluation: what each took and earned, printed."""
    parser = argparse.ArgumentParser(prog="python -m bench.checking", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model", help="folder or hub id")
    parser.add_argument("data", type=Path, nargs="?", help="HumanEval.jsonl; left out: composed, which has no data")
    parser.add_argument("--questions", type=int, default=12, help="that are tested, the first ones [12]")
    parser.add_argument("--iterations", type=int, default=2, help="how many [2]")
    parser.add_argument("--groups", type=int, default=2, help="questions of an iteration, 4 discussions each [2]")
    parser.add_argument("--tokens", type=int, default=128, help="of a message, at most [128]")
    args = parser.parse_args(argv)
    env_args: dict[str, Any] = {"limits": {"seconds": 2}}
    task: dict[str, Any] = {"env": "composed"}
    if args.data is not None:
        env_args["test_rows"] = args.questions
        task = {"env": "humaneval", "data": str(args.data)}
        questions = HumanEval(1, data=args.data, **env_args).questions("test")
        for each in (False, True):
            best = best_constant(questions, each=each)
            print(f"constant {best.value}: passed {best.passed_mean:.3f}, all_passed {best.solved:.3f}", flush=True)
    checking = Checking()
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Sandbox, "run", lambda s, p: checking.run(s, p)):
        train(
            **task, env_args=env_args, model=args.model, algorithm="magrpo", num_rounds=1, num_iterations=args.iterations,
            episodes_per_iteration=4 * args.groups, algorithm_args={"group_size": 4}, learning_rate=1e-4,
            max_new_tokens=args.tokens, num_eval_questions=args.questions, eval_every=1000, preflight="off", trackers=(),
            output_dir=f"{folder}/run", callbacks=[checking],
        )  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

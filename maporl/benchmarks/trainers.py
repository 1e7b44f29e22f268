"""How a row's agents are trained: by an algorithm of ours, by TRL's GRPO, or by fine-tuning on good discussions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from maporl.benchmarks.study import Training
from maporl.run import RunFolder, Watcher
from maporl.run import train as train_run

__all__ = ["train"]


def train(training: Training, folder: Path, watch: Watcher | None = None) -> RunFolder:
    """Train, or go on with what was begun; the folder is an ordinary run folder whoever does it.

    Args:
        training: What.
        folder: Of the run.
        watch: Told about every iteration.
    """
    config = replace(training.config, output_dir=str(folder))
    if config.algorithm == "trl_grpo":
        from maporl.benchmarks.trl_grpo import train_grpo

        return train_grpo(config, watch)
    if config.algorithm == "sft":
        from maporl.benchmarks.good_discussions import train_sft

        return train_sft(config, watch)
    if (folder / "config.yaml").exists():
        return train_run(resume=folder, watch=watch)
    return train_run(config, watch=watch)

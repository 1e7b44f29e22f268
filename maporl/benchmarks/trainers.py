"""How a row's agents are trained: by an algorithm of ours, by TRL's GRPO, or by fine-tuning on good discussions."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from maporl.benchmarks.made_with import difference, keep_settings, run_holds_work, settings_of_run
from maporl.benchmarks.study import Training
from maporl.run import RunFolder, Watcher
from maporl.run import train as train_run

__all__ = ["train"]


def train(training: Training, folder: Path, watch: Watcher | None = None) -> RunFolder:
    """Train, or go on with what was begun; the folder is an ordinary run folder whoever does it.

    A training that failed with other settings, or was interrupted before there was anything to go on with, is begun anew.

    Args:
        training: What.
        folder: Of the run.
        watch: Told about every iteration.

    Raises:
        ValueError: The folder holds work that was done with other settings.
    """
    settings = settings_of_run(training.config)
    if (other := difference(folder, settings)) is not None:
        if run_holds_work(folder):
            raise ValueError(f"{str(folder)!r} holds a training with {other}; choose another folder, or delete it.")
        shutil.rmtree(folder)
    keep_settings(folder, settings)
    try:
        return _train(training, folder, watch)
    finally:
        keep_settings(folder, settings)  # a training that cannot be gone on with has emptied the folder


def _train(training: Training, folder: Path, watch: Watcher | None) -> RunFolder:
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

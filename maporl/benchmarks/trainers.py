"""How a row's agents are trained: an ordinary run, begun or gone on with."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maporl.benchmarks.made_with import difference, keep_settings, run_holds_work, settings_of_run
from maporl.benchmarks.study import Training
from maporl.run import RunFolder
from maporl.run import train as train_run
from maporl.training.callbacks import Callback

__all__ = ["train"]


def train(training: Training, folder: Path, callbacks: Sequence[Callback] = ()) -> RunFolder:
    """Train, or go on with what was begun.

    A training that failed with other settings, or was interrupted before there was anything to go on with, is begun anew.

    Args:
        training: What.
        folder: Of the run.
        callbacks: Told about every iteration.

    Raises:
        ValueError: The folder holds work that was done with other settings.
    """
    settings = settings_of_run(training.config)
    if (other := difference(folder, settings)) is not None:
        if run_holds_work(folder):
            raise ValueError(f"{str(folder)!r} holds a training with {other}; choose another folder, or delete it.")
        shutil.rmtree(folder)
    keep_settings(folder, settings)
    if (folder / "config.yaml").exists():
        return train_run(resume=folder, callbacks=callbacks)
    return train_run(replace(training.config, output_dir=str(folder)), callbacks=callbacks)

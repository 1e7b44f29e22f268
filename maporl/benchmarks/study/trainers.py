"""Trains the agents of a row: an ordinary run, started or resumed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from maporl.benchmarks.study.keys import TrainingKey
from maporl.benchmarks.study.provenance import difference, keep_settings, run_holds_work, settings_of_run
from maporl.errors import UserValueError
from maporl.training.callbacks import Callback
from maporl.training.run import RunFolder
from maporl.training.run import train as train_run

__all__ = ["train"]


def train(training: TrainingKey, folder: Path, callbacks: Sequence[Callback] = ()) -> RunFolder:
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
            raise UserValueError(f"{str(folder)!r} holds a training with {other}; choose another folder, or delete it.")
        shutil.rmtree(folder)
    keep_settings(folder, settings)
    if (folder / "config.yaml").exists():
        return train_run(resume=folder, callbacks=callbacks)
    return train_run(replace(training.config, output_dir=str(folder)), callbacks=callbacks)

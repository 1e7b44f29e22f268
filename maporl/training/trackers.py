"""A run's metrics in TensorBoard, Weights & Biases or Trackio, through accelerate."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any

from maporl.algorithms.evaluation import Evaluation
from maporl.config import RunConfig
from maporl.settings import nearest
from maporl.training.callbacks import Callback
from maporl.training.trainer import Run

__all__ = ["Trackers"]


class Trackers(Callback):
    """Feeds accelerate's trackers.

    Args:
        config: Of the run; `trackers` names them.

    Raises:
        ValueError: An unknown tracker, or one that is not installed.
    """

    def __init__(self, config: RunConfig) -> None:
        _check(config.trackers)
        self._accelerator: Any = None

    def on_training_start(self, run: Run) -> None:
        from accelerate import Accelerator

        # Only its trackers are used, so it is not told a device: its state is global, and would not let go of the first one told.
        place = str(run.folder.path / "tracking")
        self._accelerator = Accelerator(log_with=list(run.config.trackers), project_dir=place)
        flat = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in vars(run.config).items()}
        self._accelerator.init_trackers("maporl", config=flat)

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._accelerator.log(dict(metrics), step=iteration)

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        self._accelerator.log(dict(evaluation.metrics), step=iteration)

    def close(self) -> None:
        if self._accelerator is not None:
            self._accelerator.end_training()


def _check(trackers: Sequence[str]) -> None:
    packages = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}
    for name in trackers:
        if name not in packages:
            raise ValueError(f"tracker {name!r} is unknown.{nearest(name, packages)} There are: {', '.join(packages)}.")
        if importlib.util.find_spec(packages[name]) is None:
            raise ValueError(f"tracker {name!r} is not installed; pip install 'maporl[{name}]', or leave it out.")

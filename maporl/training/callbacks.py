"""Hooks that a run calls as it goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from maporl.errors import UserTypeError
from maporl.types import Episode

if TYPE_CHECKING:
    from maporl.algorithms.algorithm import Update
    from maporl.training.evaluation import Evaluation
    from maporl.training.preflight import Preflight
    from maporl.training.trainer import Run

__all__ = ["Callback", "Callbacks"]


class Callback:
    """Told what happens in a run; override what is of interest. Iterations are counted from 1.

    An error that one raises ends the run, which can be resumed from its last checkpoint.
    """

    def on_preflight(self, preflight: Preflight) -> None:
        """A few discussions were tried before the run begins; nothing is written yet."""

    def on_training_start(self, run: Run) -> None:
        """Everything is built, and nothing is sampled yet that anybody learns from."""

    def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
        """The discussions of an iteration are over, and not yet learned from."""

    def on_update(self, iteration: int, episodes: Sequence[Episode], update: Update) -> None:
        """The discussions of an iteration have been learned from; `update` holds the metrics and the advantage of every message."""

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        """An iteration is over and written down, ``metrics`` as in metrics.jsonl."""

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        """An evaluation is over and written down: "iteration_0010", ... or "test"."""

    def on_training_end(self, run: Run) -> None:
        """The run is complete; not called when it fails."""

    def close(self) -> None:
        """The run is over, however it ended."""


class Callbacks(Callback):
    """Several callbacks as one, told in their order."""

    def __init__(self, callbacks: Iterable[Callback] = ()) -> None:
        self.callbacks = tuple(callbacks)
        for callback in self.callbacks:
            if not isinstance(callback, Callback):
                raise UserTypeError(
                    f"{callback!r} is no Callback; give instances of subclasses of maporl.training.callbacks.Callback."
                )

    def on_preflight(self, preflight: Preflight) -> None:
        self._tell("on_preflight", preflight)

    def on_training_start(self, run: Run) -> None:
        self._tell("on_training_start", run)

    def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
        self._tell("on_experience", iteration, episodes)

    def on_update(self, iteration: int, episodes: Sequence[Episode], update: Update) -> None:
        self._tell("on_update", iteration, episodes, update)

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._tell("on_iteration", iteration, metrics)

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        self._tell("on_evaluation", name, iteration, evaluation)

    def on_training_end(self, run: Run) -> None:
        self._tell("on_training_end", run)

    def close(self) -> None:
        with ExitStack() as stack:  # one that fails keeps no other open
            for callback in reversed(self.callbacks):
                stack.callback(callback.close)

    def _tell(self, what: str, *news: Any) -> None:
        for callback in self.callbacks:
            getattr(callback, what)(*news)

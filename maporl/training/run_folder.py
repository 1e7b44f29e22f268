"""A run's folder: what it was asked, what it measured, what it learned, and how it stands."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl.atomic_files import mapping_of, write_whole
from maporl.errors import ServerUnavailable, UserValueError
from maporl.output_folder import check_output
from maporl.text_files import read_json, read_jsonl
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.training.trainer import Trainer

__all__ = ["RunFolder"]


class RunFolder:
    """``config.yaml``, ``preflight.json``, ``questions.json``, ``metrics.jsonl``, ``status.json``, ``adapters/``, ``evaluations/``,
    ``discussions/``, ``checkpoint.pt``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    @classmethod
    def create(cls, path: str | Path, config: RunConfig) -> RunFolder:
        """A new folder that holds the configuration.

        Raises:
            ValueError: There is a run in it already, or it cannot be written.
        """
        folder = cls(path)
        folder.check_free()
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
            config.save(folder.path / "config.yaml")
        except OSError as error:
            raise UserValueError(
                f"output_dir {str(path)!r} cannot be written ({error.strerror}); choose another."
            ) from error
        return folder

    def check_free(self) -> None:
        """Raise a ValueError if a run lives here already, or files of others do."""
        check_output(self.path, own=("config.yaml", "settings.json"))  # a study's settings of this run
        if (self.path / "config.yaml").exists():
            raise UserValueError(
                f"output_dir {str(self.path)!r} holds a run already; choose another, delete it, or go on with "
                f"maporl train --resume {self.path}."
            )

    @property
    def config(self) -> RunConfig:
        """The run's configuration.

        Raises:
            ValueError: This is not a run folder.
        """
        if not (self.path / "config.yaml").is_file():
            raise UserValueError(
                f"{str(self.path)!r} is not a run folder: it holds no config.yaml; name a folder that maporl train wrote."
            )
        return RunConfig.load(self.path / "config.yaml")

    def leaked(self, split: str) -> set[str]:
        """The ids of those questions of "validation" or "test" that are training questions, too, as far as the run has looked."""
        file = self.path / "questions.json"
        return set(read_json(file).get("leaked", {}).get(split, ())) if file.is_file() else set()

    def record(self, iteration: int, metrics: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({"iteration": iteration, **metrics}) + "\n")

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, which may not exist yet; one cut off in the middle of writing is left out."""
        file = self.path / "metrics.jsonl"
        rows = read_jsonl(file, broken=[]) if file.is_file() else ()
        return [row for _, row in rows if isinstance(row, dict)]

    @property
    def status(self) -> str:
        """How the run stands: "running" (or killed without a word), "complete", "failed" or "interrupted"."""
        return str(mapping_of(self.path / "status.json").get("status", "running"))

    def set_status(self, status: str, **more: Any) -> None:
        """Write status.json: "running", "complete", "failed" or "interrupted"."""
        write_whole(self.path / "status.json", json.dumps({"status": status, **more}) + "\n")

    def save_checkpoint(self, iteration: int, trainer: Trainer) -> None:
        """Everything needed to go on after `iteration` iterations; either whole or not there."""

        import torch  # here, so that reading a run does not wait for it

        state = {"iteration": iteration, "trainer": trainer.state_dict()}
        write_whole(self.path / "checkpoint.pt", lambda f: torch.save(state, f))

    def restore(self, trainer: Trainer) -> int:
        """Put the last complete checkpoint into `trainer` and forget what was recorded after it; returns its iteration.

        Without a checkpoint the run starts again from nothing.
        """

        import torch

        file = self.path / "checkpoint.pt"
        state: dict[str, Any] = torch.load(file, weights_only=True) if file.exists() else {"iteration": 0}
        if "trainer" in state:
            trainer.load_state_dict(state["trainer"])
        iteration = int(state["iteration"])
        rows = self.metrics if "trainer" in state else []
        kept = [row for row in rows if row["iteration"] <= iteration]
        if (
            iteration == self.config.num_iterations
        ):  # what follows the last update is done again, and may be in the file already
            kept = kept[: sum(row["iteration"] < iteration for row in kept) + 1]
        lines = "".join(json.dumps(row) + "\n" for row in kept)
        write_whole(self.path / "metrics.jsonl", lines)
        return iteration

    @contextlib.contextmanager
    def keeping_status(self, *, resumable: bool = True) -> Iterator[None]:
        """Within the block the run is "running"; how it ends is written down whatever happens.

        Args:
            resumable: ``maporl train --resume`` can go on with it, and an error says so.
        """
        self.set_status("running")
        try:
            yield
        except KeyboardInterrupt:
            self.set_status("interrupted")
            raise
        except BaseException as error:
            status = "interrupted" if isinstance(error, ServerUnavailable) else "failed"
            self.set_status(status, error=f"{type(error).__name__}: {error}")
            if resumable:
                error.add_note(
                    f"The run is in {self.path}; after a remedy that leaves its settings as they are go on with: "
                    f"maporl train --resume {self.path}"
                )
            raise
        self.set_status("complete")

"""Run folders of trainings that are done in one go: by another library's trainer, whose state we do not keep."""

from __future__ import annotations

import shutil

from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.run import write_questions
from maporl.run_folder import RunFolder

__all__ = ["begun_anew", "finished", "rows_at_once"]


def finished(config: RunConfig) -> RunFolder | None:
    """The run that `config` would write, if it is complete already."""
    folder = RunFolder(config.folder)
    complete = (folder.path / "config.yaml").is_file() and folder.status == "complete"
    return folder if complete else None


def begun_anew(config: RunConfig, env: DiscussionEnv) -> RunFolder:
    """A run folder with nothing but configuration and questions in it; a run that was begun there is deleted.

    Raises:
        ValueError: It cannot be written.
    """
    if (config.folder / "config.yaml").is_file():  # a run, not somebody's other files
        shutil.rmtree(config.folder)
    folder = RunFolder.create(config.folder, config.resolved(env))
    write_questions(folder.path / "questions.json", env)
    return folder


def rows_at_once(batch: int, longest: int, tokens: int) -> int:
    """How many rows one pass takes: the largest divisor of a batch of which `tokens` hold that many of the `longest`; at least 1."""
    return max(rows for rows in range(1, batch + 1) if batch % rows == 0 and (rows == 1 or rows * longest <= tokens))

"""A training run: train, evaluate, checkpoint, resume; and the team that it leaves."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl.agents import Loader, Team
from maporl.agents.models.make_model import without_progress_bars
from maporl.errors import UserValueError, warn
from maporl.hooks import one
from maporl.roster import Roster
from maporl.training.callbacks import Callback, Callbacks
from maporl.training.config import RunConfig
from maporl.training.machine import machine
from maporl.training.preflight import checked
from maporl.training.run_folder import RunFolder
from maporl.training.threads import torch_settings
from maporl.training.trackers import Trackers
from maporl.training.trainer import Run

if TYPE_CHECKING:
    from maporl.envs import DiscussionEnv
    from maporl.envs.splits import Leakage

__all__ = ["RunFolder", "load_team", "train", "write_questions"]


def train(
    config: RunConfig | None = None,
    *,
    resume: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> RunFolder:
    """Train a team, evaluate it before, during and after, and write a run folder.

    ``maporl.train(env="gsm8k", model=DIR, algorithm="mappo")`` is ``maporl train --env gsm8k --model DIR --algorithm mappo``.

    Args:
        config: The run; its fields can be given as keyword arguments instead or on top.
        resume: A run folder to go on with after its last checkpoint; its own configuration holds. A complete run is left as it is.
        callbacks: Told about experience, updates, iterations and evaluations.

    Raises:
        ValueError: A setting that cannot be, named with its remedy.
    """
    if resume is not None:
        if config is not None or settings:
            raise UserValueError(f"resume goes on with the configuration in {str(resume)!r}; leave other settings out.")
        folder = RunFolder(resume)
        config = folder.config
        if folder.status == "complete":
            return folder
    else:
        config = (config or RunConfig()).merged(settings)
        config = one(config.trainer, "completed", config.trainer.completed(config), RunConfig)
        folder = RunFolder(config.folder)
        folder.check_free()
    listener = Callbacks([*callbacks, *([Trackers(config)] if config.trackers else [])])
    with torch_settings(config), without_progress_bars(), contextlib.closing(listener):
        # Everything is built before the folder is made: a slip in the settings leaves no folder in the way of the next try.
        run = Run(config, folder, listener)
        trainer = config.build_trainer(run)
        leakage = (
            run.env.leakage if trainer.evaluated else None
        )  # the test is asked in the end: what is wrong with it is told before
        if leakage:
            warn(str(leakage))
        if resume is None:
            found = checked(run, trainer)
            RunFolder.create(folder.path, run.config.resolved(run.env))
            if found is not None:
                found.save(folder.path / "preflight.json")
        about = json.dumps(machine(device=_device(run.config)), indent=2)
        (folder.path / "machine.json").write_text(about + "\n", encoding="utf-8")
        with folder.keeping_status(resumable=trainer.resumable):
            start = folder.restore(trainer) if resume is not None else 0
            write_questions(folder.path / "questions.json", run.env, leakage)
            run.train(trainer, start)
    return folder


def _device(config: RunConfig) -> str:
    """For people: what the models are computed on."""
    import torch

    device = config.resolved_device
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.startswith("cuda") else device


def load_team(
    run: str | Path,
    *,
    env: DiscussionEnv | None = None,
    device: str | None = None,
    config: RunConfig | None = None,
) -> Team:
    """The team that a run trained.

    Args:
        run: Its folder.
        env: Whom to seat; the run's own agents if None. Agents the run did not have need a team that shares one adapter.
        device: A torch device; the run's choice if None.
        config: How its agents speak (longest message, dtype ...), where that differs from the run's own configuration.

    Raises:
        ValueError: Not a run folder, no adapters in it, or an agent that the team cannot seat.
    """
    own = RunFolder(run).config
    config = replace(config or own, device=device or (config or own).device)
    roster = Roster.load(Path(run) / "adapters")
    if config.model != own.model:
        roster = roster.on(config.model)
    roster = roster.seated(roster.agents if env is None else env.possible_agents).with_partners(config.partners)
    return Loader().team(roster, config.voice(), seed=config.seed)


def write_questions(path: Path, env: DiscussionEnv, leakage: Leakage | None) -> None:
    """The ids of the splits that a run trains and chooses by, and those of its held-out questions that are training questions, too."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids: dict[str, Any] = {split: [q.id for q in env.questions(split)] for split in ("train", "validation")}
    if leakage is not None:
        ids["leaked"] = {split: [q.id for q in found] for split, found in leakage.leaked.items()}
    path.write_text(json.dumps(ids) + "\n", encoding="utf-8")

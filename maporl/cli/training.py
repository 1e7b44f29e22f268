"""Train a team of language models that discuss, and write a run folder: configuration, metrics, evaluations, adapters.

A YAML file holds the same names as the flags; flags win. Parts of a mapping have flags of their own:
--env_args.history last_round --algorithm_args.clip_range 0.1 --lora.r 16 --partners.agent_1 my_pkg:Script
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, number, training
from maporl.errors import UserValueError
from maporl.training.callbacks import Callback
from maporl.training.config import RunConfig
from maporl.training.plan import print_plan
from maporl.training.recipes import RECIPES

if TYPE_CHECKING:
    from maporl.training.evaluation import Evaluation
    from maporl.training.run_folder import RunFolder

__all__ = ["add_arguments", "known", "run", "trained"]


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--config", metavar="FILE.yaml", help=f"a YAML file of settings; or one of: {', '.join(RECIPES)}"
    )
    parser.add_argument(
        "--plan", action="store_true", help="only say what would be run; neither a model nor a network is asked"
    )
    parser.add_argument("--resume", metavar="RUN", help="go on with a run after its last checkpoint")
    parser.add_settings(settings_of(RunConfig))


def known(line: Line) -> str:
    """How much is trained; a plan says more itself."""
    if line.args.plan:
        return ""
    if line.args.resume:
        from maporl.training.run_folder import RunFolder

        folder = RunFolder(line.args.resume)
        done = max((row["iteration"] for row in folder.metrics), default=0)
        return f"{training(folder.config)}; {number(done, 'iteration')} done"
    return training(_config(line.args))


def run(args: argparse.Namespace) -> int:
    """Train, live; then the table of what changed."""
    if args.resume and (args.config or args.plan or args.given):
        other = "--config" if args.config else "--plan" if args.plan else f"--{next(iter(args.given))}"
        raise UserValueError(f"--resume goes on with the run's own settings; leave {other} out.")
    if args.resume:
        from maporl.training.run_folder import RunFolder

        folder = trained(RunFolder(args.resume).config, args.resume)
    else:
        config = _config(args)
        if args.plan:
            print_plan(config)
            return 0
        folder = trained(config)
    if (folder.path / "adapters").is_dir():
        from maporl.training.display import summary

        summary(folder.metrics, str(folder.path))
    else:  # no team, but what judges one
        print(f"run folder: {folder.path}")
    return 0


def _config(args: argparse.Namespace) -> RunConfig:
    """What a file and the flags say together."""
    return (RunConfig.load(args.config) if args.config else RunConfig()).merged(args.given)


def trained(config: RunConfig, resume: str | None = None) -> RunFolder:
    """The folder of a run that was trained, or gone on with, live."""
    from maporl.training.display import Display

    path = Path(resume) if resume else config.folder
    try:
        with (
            Display(f"{config.algorithm} on {config.env}", config.num_iterations) as display,
            _Interruptions() as interruptions,
        ):
            from maporl.training.run import train

            told = [display, interruptions]
            return train(resume=path, callbacks=told) if resume else train(config, callbacks=told)
    except KeyboardInterrupt:
        made = (path / "config.yaml").exists()
        raise KeyboardInterrupt(f"go on with: maporl train --resume {path}" if made else "") from None


class _Interruptions(Callback):
    """Ctrl-C interrupts as ever, and does so again where Python has swallowed it.

    It does when the signal comes while a destructor runs, of which there are many in an update.
    """

    def __init__(self) -> None:
        self._seen = False

    def __enter__(self) -> _Interruptions:
        self._before = None
        if threading.current_thread() is threading.main_thread():  # which alone may listen to signals
            self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._seen = True
        raise KeyboardInterrupt

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if self._seen:
            raise KeyboardInterrupt

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        if self._seen:
            raise KeyboardInterrupt

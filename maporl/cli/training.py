"""Train a team of language models that discuss, and write a run folder: configuration, metrics, evaluations, adapters.

A YAML file holds the same names as the flags; flags win. Parts of a mapping have flags of their own:
--env_args.history last_round --algorithm_args.clip_range 0.1 --lora.r 16 --partners.agent_1 my_pkg:Script
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from maporl.cli.flags import Parser, settings_of
from maporl.config import RunConfig

__all__ = ["add_arguments", "run"]


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--config", metavar="FILE.yaml", help="a YAML file of settings")
    parser.add_argument("--resume", metavar="RUN", help="go on with a run after its last checkpoint")
    parser.add_settings(settings_of(RunConfig))


def run(args: argparse.Namespace) -> int:
    """Train, live; then the table of what changed."""
    if args.resume and (args.config or args.given):
        other = "--config" if args.config else f"--{next(iter(args.given))}"
        raise ValueError(f"--resume goes on with the run's own settings; leave {other} out.")
    from maporl.display import Display, summary

    if args.resume:
        from maporl.run import RunFolder

        config, path = RunFolder(args.resume).config, Path(args.resume)
    else:
        config = (RunConfig.load(args.config) if args.config else RunConfig()).merged(args.given)
        path = config.folder
    try:
        with (
            Display(f"{config.algorithm} on {config.env}", config.num_iterations) as display,
            _interruptions() as raise_if_any,
        ):
            from maporl.agents.make_model import without_progress_bars
            from maporl.run import train

            def watch(*news: Any) -> None:
                display(*news)
                raise_if_any()

            with without_progress_bars():
                folder = train(resume=path, watch=watch) if args.resume else train(config, watch=watch)
    except KeyboardInterrupt:
        made = (path / "config.yaml").exists()
        raise KeyboardInterrupt(f"go on with: maporl train --resume {path}" if made else "") from None
    summary(folder.metrics, str(folder.path))
    return 0


@contextlib.contextmanager
def _interruptions() -> Iterator[Callable[[], None]]:
    """Ctrl-C interrupts as ever; yields a function that does so again where Python has swallowed it.

    It does when the signal comes while a destructor runs, of which there are many in an update.
    """
    seen: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        raise KeyboardInterrupt

    def raise_if_any() -> None:
        if seen:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():  # which alone may listen to signals
        yield raise_if_any
        return
    before = signal.signal(signal.SIGINT, note)
    try:
        yield raise_if_any
    finally:
        signal.signal(signal.SIGINT, before)

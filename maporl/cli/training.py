"""Train a team of language models that discuss, and write a run folder: configuration, metrics, evaluations, adapters.

A YAML file holds the same names as the flags; flags win. Parts of a mapping have flags of their own:
--env_args.history last_round --algorithm_args.clip_range 0.1 --lora.r 16 --partners.agent_1 my_pkg:Script
"""

from __future__ import annotations

import argparse
from pathlib import Path

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
        with Display(f"{config.algorithm} on {config.env}", config.num_iterations) as display:
            from maporl.agents.make_model import without_progress_bars
            from maporl.run import train

            with without_progress_bars():
                folder = train(resume=path, watch=display) if args.resume else train(config, watch=display)
    except KeyboardInterrupt:
        made = (path / "config.yaml").exists()
        raise KeyboardInterrupt(f"go on with: maporl train --resume {path}" if made else "") from None
    summary(folder.metrics, str(folder.path))
    return 0

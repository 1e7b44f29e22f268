"""Write one plain merged model folder per adapter of a trained team, for any tool that loads Hugging Face checkpoints."""

from __future__ import annotations

import argparse
from pathlib import Path

from maporl.cli.flags import Parser
from maporl.cli.known import Line, number
from maporl.errors import UserValueError
from maporl.output_folder import check_output, sign
from maporl.settings import full_path

__all__ = ["add_arguments", "known", "run"]


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("directory", metavar="DIR", help="gets one folder per adapter")


def known(line: Line) -> str:
    """How many models there will be."""
    adapters = [path for path in Path(line.args.run, "adapters").glob("*") if path.is_dir()]
    return f"{number(len(adapters), 'adapter')} in {line.args.run}, to be merged into {line.args.directory}"


def run(args: argparse.Namespace) -> int:
    """Merge and write."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.training.run import RunFolder, load_team

    target, made = Path(args.directory), {"command": "export", "run": full_path(args.run)}
    check_output(target, "DIR", made=made)
    with without_progress_bars():
        # Weights in four bits have no room for an adapter's: those that they were made from do.
        config = RunFolder(args.run).config.merged({"quantization": None})
        team = load_team(args.run, config=config)
        if not team.learners:
            raise UserValueError(f"{args.run!r} trained no adapter, so there is nothing to merge; use its base model.")
        target.mkdir(parents=True, exist_ok=True)
        sign(target, made)
        for agent in team.language_models:
            if agent.trainable and agent.adapter is not None:
                agent.policy.export(agent.adapter, target / agent.adapter)
                seats = [f"{who} round {r + 1}" for (who, r), member in team.seats.items() if member is agent]
                print(f"{target / agent.adapter}: {', '.join(seats)}")
    return 0

"""Fine-tune a checkpoint on chats and write a plain model folder: the warm start of a team.

ROWS is a jsonl file of {"messages": [{"role", "content"}, ...]} or {"prompt": ..., "completion": ...}; only what the assistant says is
learned. With --lora.r 8 an adapter is trained and merged, without it all weights are.
"""

from __future__ import annotations

import argparse
import sys

from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, rows
from maporl.output_folder import check_output
from maporl.settings import called

__all__ = ["add_arguments", "known", "run"]

PATHS = ("model", "rows", "output")


def add_arguments(parser: Parser) -> None:
    from maporl.algorithms.sft import SFTSettings, sft

    parser.add_settings([*settings_of(sft, only=PATHS), *settings_of(SFTSettings)])


def known(line: Line) -> str:
    """How many rows there are to learn from. Its flags are settings of what needs torch, so only words are looked at."""
    return next(filter(None, map(rows, line.words)), "")


def run(args: argparse.Namespace) -> int:
    """Train and print the loss reached."""
    from maporl.agents.models.lora import LoRA
    from maporl.algorithms.sft import SFTSettings, sft

    paths = {name: args.given[name] for name in PATHS}
    check_output(paths["output"], "output")
    given = {name: value for name, value in args.given.items() if name not in PATHS}
    if given.get("lora") is not None:
        given["lora"] = called("lora", "lora", LoRA, given["lora"])
    metrics = sft(**paths, settings=SFTSettings(**given), show_progress=sys.stdout.isatty())
    figures = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
    print(f"{paths['output']}: {figures}")
    return 0

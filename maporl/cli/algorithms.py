"""List the algorithms, one line each, and their settings with defaults; with a NAME, explain every setting."""

from __future__ import annotations

import argparse
from typing import Any

from maporl import registry
from maporl.cli.flags import Parser, documented
from maporl.cli.known import Line, number
from maporl.errors import UserValueError
from maporl.settings import parameters

__all__ = ["add_arguments", "known", "run"]

FROM_RUN = ("team", "num_updates", "learning_rate", "microbatch_tokens", "seed")  # flags of `maporl train` of their own


def add_arguments(parser: Parser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="explain this one (a word, or package.module:Class)")


def known(line: Line) -> str:
    """Which there are."""
    names = registry.names("algorithm")
    return "" if line.args.name else f"{number(len(names), 'algorithm')}: {', '.join(names)}"


def run(args: argparse.Namespace) -> int:
    """Print the list, or one algorithm's settings."""
    for name in [args.name] if args.name else registry.names("algorithm"):
        package = registry.package("algorithm", name)
        try:
            algorithm = registry.load("algorithm", name)
        except UserValueError as error:
            if args.name or not package:
                raise
            print(f"{name}: cannot be used: {error}")
            continue
        line = (algorithm.__doc__ or "").strip().partition("\n")[0]
        print(f"{name}: {line}{f' [{package}]' if package else ''}")
        settled, from_run = _settled(algorithm)
        settings = {n: p.default for n, p in parameters(settled).items() if n not in from_run}
        if args.name:
            texts = _explained(settled)
            for setting, default in settings.items():
                print(f"  --algorithm_args.{setting} {default}\n      {texts.get(setting, '')}")
        else:
            print("  " + ", ".join(f"{setting}={default!r}" for setting, default in settings.items()))
    print(
        "set them with --algorithm_args.NAME VALUE; your own algorithm: --algorithm package.module:Class, or a package (maporl new)"
    )
    return 0


def _settled(algorithm: Any) -> tuple[Any, tuple[str, ...]]:
    """What the settings are arguments of, and which of its arguments are none of them."""
    from maporl.training.trainer import Trainer

    if isinstance(algorithm, type) and issubclass(algorithm, Trainer):
        return algorithm.Settings or object, ("dtype", "device", "gradient_checkpointing", "num_threads", "seed")
    return algorithm, FROM_RUN


def _explained(algorithm: Any) -> dict[str, str]:
    """Help of every setting, the nearest class's first."""
    texts: dict[str, str] = {}
    for owner in algorithm.__mro__:
        texts = documented(owner) | texts if "__doc__" in vars(owner) and owner.__doc__ else texts
    return texts

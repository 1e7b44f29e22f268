"""The command ``python -m examples.collaboration_game FOLDER``."""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from examples.collaboration_game.experiment import Experiment, explore
from examples.collaboration_game.report import write
from examples.collaboration_game.training import LEARNERS
from maporl.envs.collaboration_game import EFFECTS, GameRules

__all__ = ["main"]

DEFAULT, RULES = Experiment(), GameRules()


def main(argv: Sequence[str] | None = None) -> int:
    """Train, compare, write."""
    parser = _parser()
    args = parser.parse_args(argv)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        rules = GameRules(2, args.num_rounds, args.threshold, args.r_col, args.r_ind, args.r_syn, args.effect)
        experiment = Experiment(
            rules=rules,
            starts=tuple(args.p0),
            basin=tuple(args.basin),
            seeds=tuple(args.seeds),
            learners=tuple(args.learners),
            curves=tuple(args.curves),
            num_iterations=args.num_iterations,
            basin_iterations=args.basin_iterations,
            num_games=args.num_games,
            exact_steps=args.exact_steps,
        )
        if args.num_workers < 1:
            raise ValueError(f"num_workers is {args.num_workers}; at least 1.")
    except ValueError as error:
        parser.error(str(error))
    console, began = Console(stderr=True), time.perf_counter()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("trainings", total=len(experiment.learning) + len(experiment.of_basin))
        findings = explore(experiment, num_workers=args.num_workers, watch=lambda result: progress.advance(task))
    command = shlex.join(["python", "-m", "examples.collaboration_game", *words])
    files = write(args.folder, findings, command)
    console.print(f"{time.perf_counter() - began:.0f} s; {', '.join(map(str, files))}", soft_wrap=True, highlight=False)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m examples.collaboration_game",
        description="IPPO and MAPPO in the collaboration game: one agent beside a frozen partner against both, and from where they learn "
        "to collaborate.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("folder", type=Path, metavar="FOLDER", help="gets tables, CSV files and plots")
    add(
        "--p0",
        type=float,
        nargs="+",
        default=DEFAULT.starts,
        help="where learning curves begin: P(collaborate) of both",
    )
    add("--basin", type=float, nargs="+", default=DEFAULT.basin, help="where the trainings of the basin begin")
    add("--seeds", type=int, nargs="+", default=DEFAULT.seeds, help="of every training")
    add("--learners", nargs="+", default=DEFAULT.learners, choices=list(LEARNERS), help="of the basin")
    add("--curves", nargs="+", default=DEFAULT.curves, choices=list(LEARNERS), help="of the learning curves")
    for name, text in (
        ("num_iterations", "updates of a learning curve"),
        ("basin_iterations", "updates of a training of the basin"),
        ("num_games", "games of each update"),
        ("exact_steps", "steps of the exact gradient ascent"),
    ):
        add(f"--{name}", type=int, default=getattr(DEFAULT, name), help=text)
    for name in ("num_rounds", "threshold", "r_col", "r_ind", "r_syn"):
        add(f"--{name}", type=type(getattr(RULES, name)), default=getattr(RULES, name), help="of the game")
    add("--effect", choices=EFFECTS, default=RULES.effect, help="of the game")
    add("--num_workers", type=int, default=1, help="trainings at a time, one thread each")
    return parser


if __name__ == "__main__":
    sys.exit(main())

"""Compare methods on tasks over seeds, and write tables, plots and a page that opens from disk.

  maporl benchmark --methods debate mappo single_agent/mappo --tasks two_witnesses --seeds 0 1 2 --model DIR --output_dir runs/study
  maporl benchmark --config study.yaml
  maporl benchmark --config incentives --model DIR
  maporl benchmark --config incentives real --model DIR    # two files, the later on top: the question, and what a real model takes

A method is a word (debate, self_consistency@9), an algorithm (mappo: the task's discussion trained by it), both
(single_agent/mappo), or package.module:Class. Every team is compared with a vote of a lone agent that costs as much. The same
command goes on with what is missing; methods, tasks and seeds can be added. YAML files hold the same names; flags win. MAPoRL's
experiments are there by word (docs/experiments.md).
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from maporl.benchmarks.experiments import EXPERIMENTS, configuration
from maporl.benchmarks.study.overruled import check_flags
from maporl.benchmarks.study.study import NOT_SHARED, Study
from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, number, size
from maporl.settings import deeply, read_settings
from maporl.training.config import RunConfig

__all__ = ["add_arguments", "known", "run"]


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--config",
        nargs="+",
        action="extend",
        default=[],
        metavar="FILE.yaml",
        help=f"YAML files of settings, a later one on top; or of: {', '.join(EXPERIMENTS)}",
    )
    parser.add_argument("--plan", action="store_true", help="only say what would be run, and the most it can cost")
    parser.add_settings(settings_of(Study, without=["settings"]))
    of_trainings = "Of each validation while training; --num_questions is how many the test asks."
    shared = settings_of(RunConfig, without=NOT_SHARED)
    parser.add_settings([replace(s, help=of_trainings) if s.name == "num_eval_questions" else s for s in shared])


def known(line: Line) -> str:
    """How much is compared: what was written down, before methods and algorithms are imported."""
    written: dict[str, Any] = {}
    for file in line.args.config:
        written = deeply(written, read_settings(configuration(file)))
    written = deeply(written, line.args.given)
    rows, tasks, seeds = (size(written.get(name, getattr(Study, name))) for name in ("methods", "tasks", "seeds"))
    sizes = f"{number(rows, 'method')} x {number(tasks, 'task')} x {number(seeds, 'seed')}"
    return f"{sizes}: {number(rows * tasks * seeds, 'cell')}, votes that cost as much as the teams aside"


def run(args: argparse.Namespace) -> int:
    """Run what is missing, then write and show the results; 1 if a cell failed."""
    from rich.console import Console

    study = (
        Study.load(*map(configuration, args.config), values=args.given) if args.config else Study().merged(args.given)
    )
    check_flags(study, args.given)
    if "num_eval_questions" in args.given and study.num_questions is None:
        print(
            "maporl: note: --num_eval_questions is for validations while training; --num_questions N shortens the test",
            file=sys.stderr,
        )
    if args.plan:
        from maporl.benchmarks.study.expected import print_expected

        print_expected(study)
        return 0
    from maporl.benchmarks.report.study_report import present
    from maporl.benchmarks.study.matrix import run_study
    from maporl.benchmarks.study.progress import StudyProgress

    folder = Path(study.output_dir)
    console = Console(highlight=False)
    try:
        with StudyProgress(console) as progress:
            run_study(study, progress, shlex.join(["maporl", "benchmark", *args.words]), measure=True)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"the same command goes on with what is missing in {folder}") from None
    present([folder], folder, console)
    for name, error in progress.failed:
        print(f"maporl: failed: {name}: {error}", file=sys.stderr)
    return 1 if progress.failed else 0

"""The main job in a few minutes on two CPU cores, without any download: does training together pay, and is it the team?

A tiny language model, warm-started on mixed habits (`maporl.benchmarks.experiments.warm_start`), plays a task in which no agent can be
right alone. From that one start, with equal episodes and optimizer steps, it is trained alone, with a frozen partner, and
together; every row of the closing table is measured on combinations that no training has seen.

It is a study like any other (`maporl.benchmarks.study.study`), with the settings that suit the tiny model.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl import registry
from maporl.benchmarks.study.study import Study
from maporl.errors import UserValueError

if TYPE_CHECKING:
    from maporl.benchmarks.study.matrix import OnNews
    from maporl.cli.flags import Parser
    from maporl.rollouts.records import Record

__all__ = ["SETTINGS", "add_arguments", "demo", "demo_study", "run"]

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "mappo": {
        "num_iterations": 25,
        "learning_rate": 2e-3,
        "algorithm_args": {"num_epochs": 1, "num_minibatches": 8, "kl_coef": 0.0},
    },
    "ippo": {
        "num_iterations": 25,
        "learning_rate": 2e-3,
        "algorithm_args": {"num_epochs": 1, "num_minibatches": 8, "kl_coef": 0.0},
    },
    "magrpo": {
        "num_iterations": 50,
        "learning_rate": 1.5e-3,
        "algorithm_args": {"group_size": 4, "num_minibatches": 8},
    },
}
"""What each algorithm was given when the demo was tuned; all runs of a demo share it. Others take the study's own."""

TASKS = ("two_witnesses", "vault")


def demo_study(
    task: str,
    algorithm: str,
    start: Path,
    folder: Path,
    *,
    num_agents: int = 2,
    num_iterations: int | None = None,
    seeds: tuple[int, ...] = (0,),
    num_samples: int = 2,
    device: str | None = None,
) -> Study:
    """The demo as a study: same start, episodes, steps and settings for all rows.

    Args:
        task: "two_witnesses" or "vault".
        algorithm: A word, or ``package.module:Class``.
        start: The warm start.
        folder: Of the study.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seeds: Of the study.
        num_samples: Sampled answers to each question.
        device: A torch device; None takes a GPU when there is one.
    """
    settings = dict(SETTINGS.get(algorithm, {}))
    if num_iterations is not None:
        settings["num_iterations"] = num_iterations
    lone = {"env_args": {"num_digits": num_agents}} if task == "vault" else {}
    trained = [
        f"{method}/{algorithm}" for method in ("single_agent", "single_agent_told", "alone_then_team", "train_one")
    ]
    return Study().merged(
        {
            "methods": ["single_agent", "discussion", *trained, algorithm],
            "tasks": {task: {"num_agents": num_agents, **lone}},
            "seeds": seeds,
            "algorithms": {algorithm: settings},
            "num_samples": num_samples,
            "num_workers": 2,
            "title": f"Does training together pay? {task.replace('_', ' ')}, {algorithm}",
            "output_dir": str(folder),
            "model": str(start),
            "num_iterations": 30,
            "learning_rate": 1e-3,
            "episodes_per_iteration": 128,
            "max_new_tokens": 14,
            "num_eval_questions": 64,
            "eval_every": 1000,
            "num_threads": 1,
            "device": device,
        }
    )


def demo(
    task: str = "two_witnesses",
    algorithm: str = "mappo",
    *,
    output_dir: str | Path = "runs/demo",
    num_agents: int = 2,
    num_iterations: int | None = None,
    seed: int = 0,
    device: str | None = None,
    watch: OnNews | None = None,
) -> Path:
    """Run the whole demo; returns the study's folder.

    Args:
        task: "two_witnesses" or "vault".
        algorithm: A word, or ``package.module:Class``.
        output_dir: Emptied of an earlier demo first.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seed: Of everything.
        device: A torch device; None takes a GPU when there is one.
        watch: Told about everything (`maporl.benchmarks.study.matrix.News`).

    Raises:
        ValueError: A task without a warm start, an unknown algorithm, or a folder that holds something else.
    """
    from maporl.benchmarks.experiments.warm_start import make_warm_start
    from maporl.benchmarks.study.matrix import run_study

    registry.load("algorithm", algorithm)  # an unknown word is told before the work, not after it
    folder = _emptied(Path(output_dir))
    start = folder.parent / "warm_starts" / f"{task}_{num_agents}"
    make_warm_start(start, task, num_agents=num_agents)
    study = demo_study(
        task,
        algorithm,
        start,
        folder,
        num_agents=num_agents,
        num_iterations=num_iterations,
        seeds=(seed,),
        device=device,
    )
    return run_study(study, watch, command=f"maporl demo --task {task} --algorithm {algorithm} --seed {seed}")


def before_and_after(folder: Path, number: int = 2) -> list[tuple[Record, Record]]:
    """Held-out questions decoded greedily by the untrained and by the co-trained team; those that the first got wrong come first."""
    from maporl.benchmarks.analysis.results import load_results

    cells = load_results([folder]).cells
    together = next(c for c in cells if c.team and c.trained and "/" not in c.method)
    untrained = next(c for c in cells if c.method == "discussion")
    first, after = ({r["question_id"]: r for r in c.records() if r["greedy"]} for c in (untrained, together))
    ranked = sorted(first, key=lambda question: first[question]["team_correct"])
    wrong = [q for q in ranked if first[q]["team_correct"] == 0.0] or ranked
    return [(first[q], after[q]) for q in wrong[:: max(1, len(wrong) // number)][:number]]


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--algorithm", default="mappo", help="a word, or package.module:Class (default: mappo)")
    parser.add_argument("--task", default="two_witnesses", choices=TASKS, help="default: two_witnesses")
    parser.add_argument("--num_agents", type=int, default=2, help="of the team (default: 2)")
    parser.add_argument("--num_iterations", type=int, help="of every training (default: what suits the algorithm)")
    parser.add_argument(
        "--output_dir", default="runs/demo", help="default: runs/demo; an earlier demo in it is replaced"
    )
    parser.add_argument("--device", help="default: a GPU when there is one")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def run(args: argparse.Namespace) -> int:
    """Train live, then show two discussions before and after, the tables, and where the page is."""
    from rich.console import Console

    from maporl.benchmarks.report.study_report import present
    from maporl.benchmarks.study.progress import StudyProgress
    from maporl.cli.discussion_text import print_discussion

    console = Console(highlight=False)
    console.print(__doc__.split("\n\n")[1].replace("\n", " "), soft_wrap=True, markup=False)
    with StudyProgress(console) as progress:
        folder = demo(
            args.task,
            args.algorithm,
            output_dir=args.output_dir,
            num_agents=args.num_agents,
            num_iterations=args.num_iterations,
            seed=args.seed,
            device=args.device,
            watch=progress,
        )
    for before, after in before_and_after(folder):
        print_discussion(before, "The untrained team", console)
        print_discussion(after, "The same question after co-training", console)
    present([folder], folder, console)
    trained = folder / "runs" / args.task / args.algorithm.replace(":", "~") / f"seed_{args.seed}"
    console.print(
        f'next: open the page; maporl ask {trained} "..."; the same with --algorithm ippo', soft_wrap=True, markup=False
    )
    return 1 if progress.failed else 0


def _emptied(folder: Path) -> Path:
    """`folder` without an earlier demo.

    Raises:
        ValueError: It holds something that no study wrote.
    """
    if folder.is_dir() and any(folder.iterdir()):
        if not (folder / "study.yaml").is_file():
            name = sorted(path.name for path in folder.iterdir())[0]
            raise UserValueError(
                f"output_dir {str(folder)!r} holds {name!r}, which is no demo's; choose another folder."
            )
        shutil.rmtree(folder)
    return folder

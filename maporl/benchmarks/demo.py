"""The main job in a few minutes on two CPU cores, without any download: does training together pay, and is it the team?

A tiny language model, warm-started on mixed habits (`maporl.benchmarks.warm_start`), plays a task in which no agent can be
right alone. From that one start, with equal episodes and optimizer steps, it is trained alone, with a frozen partner, and
together; every row of the closing table is measured on combinations that no training has seen.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any

from maporl import registry
from maporl.config import RunConfig

if TYPE_CHECKING:
    from maporl.benchmarks.rows import Row
    from maporl.cli.flags import Parser

__all__ = ["SETTINGS", "add_arguments", "configs", "demo", "run"]

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
"""What each algorithm was given when the demo was tuned; all runs of a demo share it. Others take their own defaults."""

TASKS = ("two_witnesses", "vault")


def configs(
    task: str,
    algorithm: str,
    start: Path,
    folder: Path,
    *,
    num_agents: int = 2,
    num_iterations: int | None = None,
    seed: int = 0,
    device: str | None = None,
) -> dict[str, RunConfig]:
    """The training runs of the demo by name: same start, episodes, steps and settings for all.

    Args:
        task: "two_witnesses" or "vault".
        algorithm: A word, or ``package.module:Class``.
        start: The warm start.
        folder: Each run gets a folder in it.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seed: Of every run.
        device: A torch device; None takes a GPU when there is one.
    """
    common = RunConfig(
        env=task,
        model=str(start),
        prompts=str(start / "prompts.yaml"),
        algorithm=algorithm,
        num_agents=num_agents,
        episodes_per_iteration=128,
        max_new_tokens=14,
        num_eval_questions=64,
        eval_every=1000,
        num_threads=1,
        device=device,
        seed=seed,
    ).merged(SETTINGS.get(algorithm, {"num_iterations": 30, "learning_rate": 1e-3}))
    if num_iterations is not None:
        common = common.merged({"num_iterations": num_iterations})
    seats = range(num_agents)
    together = {"together": common}
    beside = {
        f"beside_frozen_{s}": common.merged({"frozen": [f"agent_{other}" for other in seats if other != s]})
        for s in seats
    }
    lone = common.merged({"num_agents": 1, "num_rounds": 1})  # nobody to read in a second round
    size = {"num_digits": num_agents} if task == "vault" else {}
    alone = {
        f"alone_{s}": lone.merged({"env_args": {"view": f"agent_{s}", **size}, "team": {"agent_0": f"alone_{s}"}})
        for s in seats
    }
    told = {"told_everything": lone.merged({"env_args": {"view": "all", **size}})}
    return {
        name: config.merged({"output_dir": str(folder / name)})
        for name, config in (together | beside | told | alone).items()  # the longest first: they share two processes
    }


def train_all(runs: Mapping[str, RunConfig], num_workers: int) -> Iterator[tuple[str, str, int, dict[str, float]]]:
    """Train every run in processes of their own, `num_workers` at a time; yields (run, event, iteration, metrics) as they go.

    One thread each: a model this small gains little from a second thread, and a second run gains all of it.
    """
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(num_workers, mp_context=context) as pool:
        news = manager.Queue()
        futures: list[Future[None]] = [pool.submit(_train, name, config, news) for name, config in runs.items()]
        try:
            while True:
                finished = all(f.done() for f in futures)
                try:
                    yield news.get(timeout=0.2)
                except Empty:
                    if finished:
                        break
                for f in futures:
                    if f.done():
                        f.result()  # a run that failed must not wait for the others
        finally:
            pool.shutdown(cancel_futures=True)


def _train(name: str, config: RunConfig, news: Any) -> None:
    from maporl.agents.make_model import without_progress_bars
    from maporl.run import train

    with without_progress_bars(), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # one run after the other becomes perfect and says that nothing is left to learn
        train(config, watch=lambda event, iteration, metrics: news.put((name, event, iteration, dict(metrics))))


def measure(folder: Path, runs: Mapping[str, RunConfig], repeats: int = 2) -> list[Row]:
    """The closing table: every row on the held-out combinations, sampled from the same streams."""
    from maporl.agents import Team
    from maporl.benchmarks.rows import measured, voted
    from maporl.run import load_team

    together = runs["together"]
    env = together.build_env()
    seats = range(len(env.possible_agents))
    lone = {s: runs[f"alone_{s}"].build_env() for s in seats}
    alone = {s: load_team(folder / f"alone_{s}") for s in seats}
    untrained = {s: runs[f"alone_{s}"].merged({"team": "frozen"}).build_team(lone[s]) for s in seats}
    joined = Team(
        {
            (name, r): alone[s].member("agent_0", r)
            for s, name in enumerate(env.possible_agents)
            for r in range(env.num_rounds)
        }
    )

    trained_alone = [(lone[s], alone[s]) for s in seats]
    single = measured("single agent, trained alone", trained_alone, repeats)
    team = measured(f"co-trained by {together.algorithm}", [(env, load_team(folder / "together"))], repeats)
    as_many = math.ceil(team.completion_tokens / single.completion_tokens)
    as_many_all = math.ceil(
        (team.prompt_tokens + team.completion_tokens) / (single.prompt_tokens + single.completion_tokens)
    )
    told = (runs["told_everything"].build_env(), load_team(folder / "told_everything"))
    beside = [
        measured(f"train-one (agent_{s}, better seat)", [(env, load_team(folder / f"beside_frozen_{s}"))], repeats)
        for s in seats
    ]
    return [
        measured("untrained team", [(env, together.merged({"team": "frozen"}).build_team(env))], repeats),
        measured("single agent, untrained", [(lone[s], untrained[s]) for s in seats], repeats),
        single,
        voted(f"its vote of {as_many} (completions as the team)", trained_alone, as_many),
        voted(f"its vote of {as_many_all} (all tokens as the team)", trained_alone, as_many_all),
        measured("single agent told all, trained", [told], repeats),
        measured("trained alone, then discussing", [(env, joined)], repeats),
        max(beside, key=lambda row: row.sampled),
        team,
    ]


def curves(folder: Path, runs: Mapping[str, RunConfig]) -> dict[str, list[float]]:
    """Accuracy of the last round while sampling, iteration by iteration, of every run."""
    from maporl.run import RunFolder

    result = {}
    for name in runs:
        rows = [row for row in RunFolder(folder / name).metrics if "rollout/reward_mean" in row]
        key = max(k for k in rows[0] if k.startswith("rollout/accuracy_round_"))
        result[name] = [row[key] for row in rows]
    return result


def discussions(runs: Mapping[str, RunConfig], folder: Path, number: int = 2) -> list[tuple[str, str]]:
    """(before, after) of some held-out questions that the untrained team got wrong, decoded greedily, as text."""
    from maporl.algorithms.rollout import rollout
    from maporl.envs.rendering import transcript_text
    from maporl.run import load_team

    together = runs["together"]
    env = together.build_env()
    before = rollout(
        env, together.merged({"team": "frozen"}).build_team(env), env.questions("test"), seed=0, greedy=True
    )
    wrong = [e for e in before if not any(t.correct for t in e.transcript.turns[-len(env.possible_agents) :])]
    chosen = (wrong + before)[:: max(1, len(wrong) // number)][:number]
    after = rollout(env, load_team(folder / "together"), [e.transcript.question for e in chosen], seed=0, greedy=True)
    return [(transcript_text(b.transcript), transcript_text(a.transcript)) for b, a in zip(chosen, after, strict=True)]


def plot(path: Path, rows: Sequence[Row], lines: Mapping[str, Sequence[float]]) -> None:
    """Learning curves beside the table's figures with their intervals."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(13, 4.8), width_ratios=(1, 1.15), layout="constrained")
    for name, values in lines.items():
        left.plot(
            range(1, len(values) + 1),
            values,
            label=name.replace("_", " "),
            linewidth=2.5 if name == "together" else 1.2,
        )
    left.set(xlabel="iteration", ylabel="accuracy of the last round, sampled", ylim=(0, 1.02), title="while training")
    left.legend(frameon=False, fontsize=8)
    places = range(len(rows))[::-1]
    right.barh(places, [r.sampled for r in rows], color=["#888"] * (len(rows) - 1) + ["#1f77b4"], height=0.65)
    errors = [[r.sampled - r.low for r in rows], [r.high - r.sampled for r in rows]]
    right.errorbar([r.sampled for r in rows], places, xerr=errors, fmt="none", ecolor="black", capsize=3)
    right.set_yticks(list(places), [r.name for r in rows], fontsize=8)
    right.set(xlim=(0, 1.02), xlabel="accuracy on held-out combinations, sampled; 95 % intervals", title="afterwards")
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def demo(
    task: str = "two_witnesses",
    algorithm: str = "mappo",
    *,
    output_dir: str | Path = "runs/demo",
    num_agents: int = 2,
    num_iterations: int | None = None,
    seed: int = 0,
    device: str | None = None,
    watch: Callable[[str, int, str, int, Mapping[str, float]], None] | None = None,
) -> list[Row]:
    """Run the whole demo; writes one run folder per training, ``table.json``, ``table.md`` and ``demo.png``.

    Args:
        task: "two_witnesses" or "vault".
        algorithm: A word, or ``package.module:Class``.
        output_dir: Emptied of an earlier demo first.
        num_agents: Of the team.
        num_iterations: Of every run; None is what suits the algorithm.
        seed: Of everything.
        device: A torch device; None takes a GPU when there is one.
        watch: Told (run, its iterations, event, iteration, metrics).

    Raises:
        ValueError: A task without a warm start, an unknown algorithm, or a folder that holds something else.
    """
    from maporl.agents.make_model import without_progress_bars
    from maporl.benchmarks.warm_start import make_warm_start
    from maporl.run import torch_settings

    registry.load("algorithm", algorithm)  # an unknown word is told before the work, not after it
    folder = _emptied(Path(output_dir))
    start = folder / "warm_start"
    make_warm_start(start, task, num_agents=num_agents)
    runs = configs(
        task, algorithm, start, folder, num_agents=num_agents, num_iterations=num_iterations, seed=seed, device=device
    )
    for name, event, iteration, metrics in train_all(runs, min(len(runs), os.cpu_count() or 1, 2)):
        if watch is not None:
            watch(name, runs[name].num_iterations, event, iteration, metrics)
    with without_progress_bars(), torch_settings(runs["together"]):
        rows = measure(folder, runs)
        pairs = discussions(runs, folder)
    (folder / "table.json").write_text(json.dumps([asdict(r) for r in rows], indent=2) + "\n", encoding="utf-8")
    (folder / "table.md").write_text(markdown(rows), encoding="utf-8")
    plot(folder / "demo.png", rows, curves(folder, runs))
    (folder / "discussions.json").write_text(json.dumps(pairs, indent=2) + "\n", encoding="utf-8")
    return rows


def markdown(rows: Sequence[Row]) -> str:
    """The closing table."""
    lines = [
        "| on held-out combinations | accuracy, sampled | 95 % interval | best seat | greedy | completion tokens a question |",
        "|---|---|---|---|---|---|",
    ]
    for r in rows:
        greedy = "" if r.greedy is None else f"{r.greedy:.3f}"
        lines.append(
            f"| {r.name} | {r.sampled:.3f} | {r.low:.3f} to {r.high:.3f} | {r.best_seat:.3f} | {greedy} | {r.completion_tokens:.1f} |"
        )
    return "\n".join(lines) + "\n"


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
    """Train live, then show the table, two discussions before and after, and where the plot is."""
    from rich.console import Console
    from rich.table import Table

    from maporl.display import Bars

    console = Console(highlight=False)
    console.print(__doc__.split("\n\n")[1].replace("\n", " "), soft_wrap=True, markup=False)
    folder = Path(args.output_dir)
    with Bars(console) as bars:
        rows = demo(
            args.task,
            args.algorithm,
            output_dir=folder,
            num_agents=args.num_agents,
            num_iterations=args.num_iterations,
            seed=args.seed,
            device=args.device,
            watch=bars,
        )
    for before, after in json.loads((folder / "discussions.json").read_text(encoding="utf-8")):
        console.rule("the untrained team")
        console.print(before, markup=False)
        console.rule("the same question after co-training")
        console.print(after, markup=False)
    table = Table("on held-out combinations", "sampled", "95 % interval", "best seat", "greedy", "tokens")
    table.columns[0].no_wrap = True
    for r in rows:
        greedy = "" if r.greedy is None else f"{r.greedy:.3f}"
        table.add_row(
            r.name,
            f"{r.sampled:.3f}",
            f"{r.low:.3f} - {r.high:.3f}",
            f"{r.best_seat:.3f}",
            greedy,
            f"{r.completion_tokens:.0f}",
        )
    console.print(table)
    console.print(
        f"plot: {folder / 'demo.png'}   table: {folder / 'table.md'}   run folders: {folder}/*", soft_wrap=True
    )
    console.print(f'next: maporl ask {folder / "together"} "..."   or the same with --algorithm ippo', soft_wrap=True)
    return 0


def _emptied(folder: Path) -> Path:
    """`folder` without an earlier demo's runs; its warm start stays, for it is remade only if its recipe changed.

    Raises:
        ValueError: It holds something that no demo wrote.
    """
    mine = ("demo.png", "table.json", "table.md", "discussions.json", "warm_start", "together", "told_everything")
    for path in sorted(folder.glob("*")):
        if path.name not in mine and not path.name.startswith(("alone_", "beside_frozen_")):
            raise ValueError(
                f"output_dir {str(folder)!r} holds {path.name!r}, which is no demo's; choose another folder."
            )
        if path.name == "warm_start":
            continue
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    return folder

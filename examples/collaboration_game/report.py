"""What the experiment leaves in its folder: two tables in Markdown, every training and its course as CSV, two plots."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from examples.collaboration_game.experiment import Exact, Findings, Result
from examples.collaboration_game.plots import basin_plot, learning_plot, save
from examples.collaboration_game.training import LEARNERS, Point, Training
from maporl.atomic_files import write_whole

__all__ = ["basin_table", "learning_table", "write"]

Rows = list[list[str]]


def write(folder: Path, findings: Findings, command: str) -> list[Path]:
    """Write everything; the folder is made.

    Args:
        folder: Where to.
        findings: What to.
        command: That made them, for the page.

    Returns:
        The files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "results.md": _page(findings, command),
        "trainings.csv": _csv(["part", *KEY, "iterations", *MEASURED], _ends(findings)),
        "curves.csv": _csv([*KEY, "iteration", *MEASURED], _courses(findings.learning)),
    }
    for name, text in texts.items():
        write_whole(folder / name, text)
    plots = {
        "learning": learning_plot(findings.learning, findings.oracles),
        "basin": basin_plot(findings.basin, findings.boundary),
    }
    return [*(folder / name for name in texts), *(f for name, plot in plots.items() for f in save(plot, folder / name))]


def learning_table(learning: Sequence[Result], oracles: Sequence[Exact]) -> Rows:
    """A row for each start and who learns how: the end in every seed, the height of it on the way, and the oracles."""
    rows = [
        [
            "p0",
            "who learns",
            "collaboration at the end, every seed",
            "highest on the way",
            "P(synergy in round T)",
            "value",
        ]
    ]
    for oracle in oracles:
        for mode, learner in dict.fromkeys((r.training.mode, r.training.learner) for r in learning):
            mine = [
                r.points
                for r in learning
                if (r.training.mode, r.training.learner, r.training.start) == (mode, learner, oracle.start)
            ]
            rows.append(
                [
                    f"{oracle.start:g}",
                    f"{mode}, {LEARNERS[learner].title}",
                    ", ".join(f"{points[-1].early_collaboration:.3f}" for points in mine),
                    f"{np.mean([max(p.early_collaboration for p in points) for points in mine]):.3f}",
                    f"{np.mean([points[-1].synergy for points in mine]):.3f}",
                    f"{np.mean([points[-1].value for points in mine]):.3f}",
                ]
            )
        for name, course, end in (
            ("co-train, exact gradient", oracle.together, oracle.together_end),
            ("train-one, exact gradient", oracle.alone, oracle.alone_end),
            ("best response to a partner at p0", [], oracle.best_response),
        ):
            highest = f"{max(y for _, y in course):.3f}" if course else ""
            ended = [end.early_collaboration, end.synergy[-1], end.value]
            collaboration, synergy, value = (f"{number:.3f}" for number in ended)
            rows.append([f"{oracle.start:g}", name, collaboration, highest, synergy, value])
    return rows


def basin_table(basin: Sequence[Result]) -> Rows:
    """A row for each start: the end of every seed, by learner."""
    learners = list(dict.fromkeys(r.training.learner for r in basin))
    rows = [["p0", *(LEARNERS[learner].title for learner in learners)]]
    for start in sorted({r.training.start for r in basin}):
        cells = [
            ", ".join(
                f"{r.points[-1].early_collaboration:.3f}"
                for r in basin
                if (r.training.learner, r.training.start) == (learner, start)
            )
            for learner in learners
        ]
        rows.append([f"{start:g}", *cells])
    return rows


def _page(findings: Findings, command: str) -> str:
    experiment, rules = findings.experiment, findings.experiment.rules
    game = ", ".join(f"{name} {value}" for name, value in vars(rules).items())
    turn = "nowhere between .01 and .99" if findings.boundary is None else f"at p0 = {findings.boundary:.3f}"
    packages = ", ".join(f"{name} {version(name)}" for name in ("maporl", "torch", "numpy"))
    learners = [
        [word, r.title, f"{r.learning_rate:g}", f"{r.critic_learning_rate:g}", str(r.normalise_advantages)]
        for word, r in LEARNERS.items()
    ]
    return f"""# The collaboration game, learned by IPPO and MAPPO

The figures behind the page of the collaboration game. To make them again: `{command}`

The game: {game}.

{experiment.num_games} games an update. Both agents begin at p0, their probability of collaborating in every state. In train-one agent_0
learns and its partner stays there: figures are agent_0's. In co-training each agent learns a policy of its own: figures are means
over both. Collaboration is the share of collaborative actions in the first half of the rounds, before synergy; all figures are computed
from the policies, not sampled.

## Learning

After {experiment.num_iterations} updates, and after {experiment.exact_steps:,} steps of exact gradient ascent at learning rate 1. Seeds
{", ".join(map(str, experiment.seeds))}; a single figure is their mean.

{_markdown(learning_table(findings.learning, findings.oracles))}

![learning](learning.png)

## Basin of attraction of co-training

Collaboration after {experiment.basin_iterations} updates, every seed. Exact co-training (1500 steps at learning rate 1) turns {turn}.

{_markdown(basin_table(findings.basin))}

![basin](basin.png)

## Learners

{_markdown([["word", "learner", "learning rate", "of the critic", "normalise_advantages"], *learners])}

{packages}, Python {platform.python_version()}.
"""


def _markdown(rows: Rows) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *body))


KEY = ("learner", "mode", "p0", "seed")
MEASURED = ("early_collaboration", "synergy", "value")


def _ends(findings: Findings) -> Iterable[Sequence[object]]:
    for part, results in (("learning", findings.learning), ("basin", findings.basin)):
        for training, points in results:
            yield part, *_key(training), *_rounded(points[-1])


def _courses(learning: Sequence[Result]) -> Iterable[Sequence[object]]:
    """Every update at first, then some: what a plot over a logarithm shows."""
    for training, points in learning:
        shown = {0, points[-1].iteration, *np.geomspace(1, max(points[-1].iteration, 1), 80).astype(int).tolist()}
        for point in points:
            if point.iteration in shown:
                yield *_key(training), *_rounded(point)


def _key(training: Training) -> tuple[object, ...]:
    return training.learner, training.mode, f"{training.start:g}", training.seed


def _rounded(point: Point) -> tuple[object, ...]:
    return point.iteration, *(f"{number:.5f}" for number in point[1:])


def _csv(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in (head, *rows))

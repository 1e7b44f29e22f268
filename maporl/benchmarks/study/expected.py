"""What a study will do and the most that it can cost, before it is run: ``maporl benchmark --plan``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from maporl.benchmarks.methods.naming import Named
from maporl.benchmarks.study.keys import CellKey, TrainingKey
from maporl.benchmarks.study.study import Study, seats_of
from maporl.benchmarks.study.time_left import Piece, TimeLeft
from maporl.envs.discussion import DiscussionEnv
from maporl.training.config import RunConfig
from maporl.training.display import clock, print_list
from maporl.training.evaluation import subset

if TYPE_CHECKING:
    from maporl.benchmarks.study.pace import Paces

__all__ = [
    "Expected", "evaluation_kind", "expected", "expected_time", "messages_of_cell", "messages_of_training", "pieces", "print_expected",
    "training_kind", "votes",
]  # fmt: skip


DEARER = 1.5
"""Messages of the dearest vote that costs as much as a team, per message of that: a team's later rounds read what was said before."""


@dataclass(frozen=True)
class Expected:
    """A row of a study, before it is run.

    Attributes:
        task, named: Which.
        runs: Trainings, of all seeds.
        train_generations: Messages sampled in trainings, in all: to learn from, and in their own evaluations.
        eval_generations: Messages of its evaluation, in all.
        max_tokens: Completion tokens if every message were as long as it may be.
    """

    task: str
    named: Named
    runs: int
    train_generations: int
    eval_generations: int
    max_tokens: int


def expected(study: Study) -> Iterator[Expected]:
    """Every method on every task. Trainings that several rows share count for the first; matched votes are not among them, for what
    they cost is known when the teams are measured (about as much as each team)."""
    seen: set[object] = set()
    rows = dict.fromkeys((cell.task, cell.named.word) for cell in study.cells())
    for task in study.tasks:
        for named in (n for n in study.named if (task, n.word) in rows):
            new = {
                t.folder: t for seed in study.seeds for t in study.trainings(task, named, seed) if t.folder not in seen
            }
            seen |= set(new)
            evaluated = messages_of_cell(study, task, named) * len(study.seeds)
            trained = sum(messages_of_training(t.config) for t in new.values())
            tokens = (trained + evaluated) * study.config(task, named, 0).max_new_tokens
            yield Expected(task, named, len(new), trained, evaluated, tokens)


def pieces(study: Study, cells: Iterable[CellKey], trainings: Iterable[TrainingKey]) -> dict[str, Piece]:
    """By name, what `cells` and `trainings` are for the time left of a study.

    Votes of one lone agent have their answers in common: the dearest of them stands for all. What an untrained row says greedily is the
    same for every seed.
    """
    found = {str(t.folder): Piece(training_kind(t), messages_of_training(t.config)) for t in trainings}
    of_row: dict[tuple[str, str, bool], int] = {}
    dearest: dict[tuple[object, ...], str] = {}
    for cell in cells:
        named = cell.named
        greedy = named.algorithm is not None or (cell.task, named.word, True) not in of_row
        if (row := (cell.task, named.word, greedy)) not in of_row:
            of_row[row] = 0
            with suppress(Exception):  # a slip in a row's settings: it will fail, which takes no time
                of_row[row] = messages_of_cell(study, cell.task, named, greedy)
        messages = of_row[row]
        if named.method.vote:
            shared = (
                cell.task,
                cell.seed,
                named.algorithm,
                named.trained_as if named.algorithm else repr(named.settings),
            )
            other = dearest.setdefault(shared, cell.name)
            if other != cell.name and found[other].messages < messages:
                found[other], dearest[shared] = Piece(found[other].kind, 0, last=True), cell.name
            elif other != cell.name:
                messages = 0
        found[cell.name] = Piece(evaluation_kind(cell.task), messages, last=named.method.vote)
    return found


def votes(study: Study) -> dict[str, Piece]:
    """What stands for the votes that cost as much as the teams: as many messages as the dearest team of each lone agent speaks."""
    found: dict[str, Piece] = {}
    for task in study.tasks:
        for team in (n for n in study.named if n.method.team):
            single = study.baseline(team)
            with suppress(Exception):  # as above
                spoken = _spoken(study.config(task, team, 0).build_env()) * team.method.samples
                asked, _, seats = _asked(study, task, single)
                messages = DEARER * spoken * study.num_samples * asked * seats
                for seed in study.seeds:
                    name = f"votes of {single.word} / {task} / seed {seed}"
                    before = found[name].messages if name in found else 0
                    found[name] = Piece(evaluation_kind(task), max(messages, before), last=True)
    return found


def training_kind(training: TrainingKey) -> str:
    """Of those that take equally long per message: of one row and task, whatever the seat and seed."""
    return f"training {training.method} on {training.task}"


def evaluation_kind(task: str) -> str:
    """Of those that take equally long per message."""
    return f"evaluations on {task}"


def _asked(study: Study, task: str, named: Named) -> tuple[int, DiscussionEnv, int]:
    """Of a cell: how many questions are asked, in which discussions, and in how many seats."""
    env, team = study.config(task, named, 0).build_env(), study.budget(task, None).build_env()
    asked = len(subset(env.questions("test"), study.num_questions or len(env.questions("test"))))
    trainings = study.trainings(task, named, study.seeds[0])
    seats = len(seats_of(team, "test")) or 1 if named.method.lone else 1
    if trainings:
        seats = len({t.seat for t in trainings}) if named.method.lone or named.method.best_seat else 1
    return asked, env, seats


def messages_of_cell(study: Study, task: str, named: Named, greedy: bool = True) -> int:
    """Messages of a cell, at most, with or without those that are decoded greedily."""
    asked, env, seats = _asked(study, task, named)
    alone = named.method.samples == 1
    samples = study.num_samples * named.method.samples + (alone and greedy)
    again = study.num_samples * len(env.possible_agents) * (study.ablate_messages and alone and _hear(env))
    return asked * (samples * _spoken(env) + again) * seats


def messages_of_training(config: RunConfig) -> int:
    """Messages of a training, at most."""
    env, trainer = config.build_env(), config.trainer
    evaluated = trainer.evaluations_of(config) * config.num_eval_questions * _spoken(env)
    return config.num_iterations * trainer.messages_of(config, env) + evaluated


def _spoken(env: DiscussionEnv) -> int:
    """Messages of a discussion, at most: as if it did not end early."""
    return sum(map(len, env.rules.waves))


def _hear(env: DiscussionEnv) -> bool:
    """Whether the last round is spoken again with the peers' messages blanked."""
    return env.protocol.simultaneous and len(env.possible_agents) > 1 and env.num_rounds > 1


def print_expected(study: Study) -> None:
    """Print the plan as a table, and its sum, with the time that it takes as measured in some seconds."""
    from maporl.benchmarks.study.pace import measured

    rows = list(expected(study))
    cells = list(study.cells())
    trainings = {t.folder: t for c in cells for t in study.trainings(c.task, c.named, c.seed)}
    paces = measured(study, cells, trainings.values())
    planned = {**pieces(study, cells, trainings.values()), **votes(study)}
    print_list(
        ("task", "method", "trainings", "messages in training", "messages in evaluation", "completion tokens at most"),
        [
            (
                e.task,
                e.named.word,
                str(e.runs),
                f"{e.train_generations:,}",
                f"{e.eval_generations:,}",
                f"{e.max_tokens:,}",
            )
            for e in rows
        ],
    )
    print(
        f"{len(rows) * len(study.seeds)} cells, {len(trainings)} trainings, at most {sum(e.max_tokens for e in rows):,} "
        "completion tokens, and for each team two votes of a lone agent that cost as much."
    )
    print(expected_time(planned, paces, study.num_workers))


def expected_time(planned: Mapping[str, Piece], paces: Paces, workers: int) -> str:
    """How long it takes, in a sentence; or why nobody can say."""
    known = {name: piece for name, piece in planned.items() if piece.kind in paces.per_message}
    parts: dict[str, float] = {}
    for piece in known.values():
        what = piece.kind.split()[0]
        parts[what] = parts.get(what, 0.0) + piece.messages * paces.per_message[piece.kind]
    lines = []
    if known:
        left = TimeLeft(lambda: 0.0)
        left.plan(known, workers, paces.per_message)
        among = ", ".join(f"{what} {clock(seconds)}" for what, seconds in sorted(parts.items(), reverse=True))
        lines.append(
            f"It takes about {clock(left.seconds or 0.0)} here ({among}{f', {workers} at a time' * (workers > 1)}), as measured in "
            f"{paces.seconds:.0f} seconds."
        )
    for why in dict.fromkeys(paces.problems.values()):
        first, *others = [kind for kind, reason in paces.problems.items() if reason == why]
        lines.append(f"No time is known for {first}{f' and {len(others)} like it' * bool(others)}: {why.rstrip('.')}.")
    return "\n".join(lines)

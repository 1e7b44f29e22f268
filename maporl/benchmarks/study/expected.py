"""What a study will do and the most that it can cost, before it is run: ``maporl benchmark --plan``."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from maporl.benchmarks.methods.naming import Named
from maporl.benchmarks.study.keys import TrainingKey
from maporl.benchmarks.study.study import Study, seats_of
from maporl.envs.discussion import DiscussionEnv
from maporl.training.config import RunConfig
from maporl.training.display import print_list
from maporl.training.evaluation import subset

__all__ = ["Expected", "expected", "print_expected"]


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
            config = study.config(task, named, 0)
            env = config.build_env()
            team = study.budget(task, None).build_env()
            asked = len(subset(env.questions("test"), study.num_questions or len(env.questions("test"))))
            trainings: list[TrainingKey] = [t for s in study.seeds for t in study.trainings(task, named, s)]
            new = [t for t in trainings if t.folder not in seen]
            seen |= {t.folder for t in new}
            seats = len(seats_of(team, "test")) or 1 if named.method.lone else 1
            if trainings:
                seats = len({t.seat for t in trainings}) if named.method.lone or named.method.best_seat else 1
            alone = named.method.samples == 1
            samples = study.num_samples * named.method.samples + alone
            again = study.num_samples * len(env.possible_agents) * (study.ablate_messages and alone and _hear(env))
            evaluated = asked * (samples * _spoken(env) + again) * seats * len(study.seeds)
            trained = sum(map(_trained, (t.config for t in new)))
            yield Expected(task, named, len(new), trained, evaluated, (trained + evaluated) * config.max_new_tokens)


def _trained(config: RunConfig) -> int:
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
    """Print the plan as a table, and its sum."""
    rows = list(expected(study))
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
        f"{len(rows) * len(study.seeds)} cells, {sum(e.runs for e in rows)} trainings, at most {sum(e.max_tokens for e in rows):,} "
        "completion tokens, and for each team two votes of a lone agent that cost as much."
    )

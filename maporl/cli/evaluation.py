"""Evaluate a trained team on its own or another task.

The records go to RUN/evaluations/NAME.jsonl, one discussion a line. Another --env starts from that task's own defaults, except
that the run's agents discuss for as many rounds as they were trained to, unless told otherwise.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, discussions, number
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError, warn
from maporl.settings import parameters
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.types import Question

__all__ = ["TARGET", "add_arguments", "known", "retargeted", "run", "unseen"]

TARGET = (
    "env",
    "env_args",
    "data",
    "num_agents",
    "num_rounds",
    "eval_temperature",
    "max_new_tokens",
    "thinking_budget",
    "stop",
    "dtype",
    "device",
    "num_threads",
    "seed",
)
"""What is discussed, and how its agents speak: what a finished run may be given anew."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("--split", choices=("test", "validation"), default="test", help="questions to ask [test]")
    parser.add_argument("--name", help="of the record file [ENV-SPLIT]; a number is added to one that exists")
    parser.add_settings(settings_of(RunConfig, only=(*TARGET, "num_eval_questions", "team_answer", "allow_oracle")))


def retargeted(config: RunConfig, given: dict[str, Any]) -> RunConfig:
    """The run's configuration with what was asked for on top; the arguments of one task are not passed to another."""
    if given.get("env", config.env) != config.env:
        config = replace(config, env_args={}, data=None)
    return config.merged(given)


def known(line: Line) -> str:
    """How much is asked."""
    from maporl.training.run_folder import RunFolder

    config = retargeted(RunFolder(line.args.run).config, line.args.given)
    said, _ = discussions(config)
    return f"{config.env}: at most {number(config.num_eval_questions, f'{line.args.split} question')}; {said}"


def run(args: argparse.Namespace) -> int:
    """Evaluate, write the records, print the table."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.training.display import show_table
    from maporl.training.evaluation import subset
    from maporl.training.run import RunFolder, load_team
    from maporl.training.threads import torch_settings
    from maporl.training.trainer import evaluate_run

    folder = RunFolder(args.run)
    config = retargeted(folder.config, args.given)
    env = config.build_env()
    pool = unseen(folder.config, config, env.questions(args.split))
    if leaked := folder.leaked(args.split) & {question.id for question in pool}:
        warn(
            f"{len(leaked)} of the {len(pool)} {args.split} questions are training questions of this run, such as {min(leaked)!r}: figures "
            "measured on them say nothing about new questions; take them out of the task's training questions and train again."
        )
    questions = subset(pool, config.num_eval_questions)
    with without_progress_bars(), torch_settings(config):
        team = load_team(args.run, env=env, config=config)
        evaluation = evaluate_run(config, env, team, questions)
    file = _new_file(folder.path / "evaluations", args.name or f"{config.env}-{args.split}".replace(":", "."))
    evaluation.save(file)
    columns = {args.split: {name.split("/", 1)[1]: value for name, value in evaluation.metrics.items()}}
    decoding = "greedy" if config.eval_temperature is None else f"sampled at temperature {config.eval_temperature:g}"
    asked = f"{len(questions):,} of {len(pool):,} {args.split} questions"
    show_table(columns, title=f"{args.run} on {config.env}, {decoding}, {asked}")
    print(f"records: {file}")
    return 0


def unseen(trained: RunConfig, asked: RunConfig, questions: Sequence[Question]) -> list[Question]:
    """The questions that a run has not been trained on, also where another task asks them in other words (`Question.asked`), or draws
    them anew. Of its own task's splits a run knows whether they are apart (`RunFolder.leaked`).

    Raises:
        ValueError: There are none.
    """
    if _drawn(trained) == _drawn(asked):
        return list(questions)
    try:
        known = {question.asked for question in trained.build_env().questions("train")}
    except ValueError as error:
        print(f"(whether {trained.env} was trained on questions of {asked.env} is not known: {error})")
        return list(questions)
    left = [question for question in questions if question.asked not in known]
    if seen := len(questions) - len(left):
        said = f"{seen} of the {len(questions)} questions of {asked.env} are training questions of {trained.env}, where this run learned"
        if not left:
            raise UserValueError(f"{said}; evaluate on others, with --env, --data or --split.")
        print(f"{said}: they are left out.")
    return left


def _drawn(config: RunConfig) -> tuple[Any, ...]:
    """What decides which questions a task has: the arguments that are its own."""
    return config.env, config.data, {n: v for n, v in config.env_args.items() if n not in parameters(DiscussionEnv)}


def _new_file(directory: Path, name: str) -> Path:
    """A file that does not exist: results are never overwritten."""
    candidates = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(file for c in candidates if not (file := directory / f"{c}.jsonl").exists())

"""Take a seat in a discussion yourself, beside a trained team (--run), a frozen model (--model) or scripts (--partners.agent_0).

You are shown what the seat's agent may see, and nothing else. Type a message and end it with an empty line; /help, /again and /quit are
commands. Every finished discussion is a line of a record file, which maporl show prints; no file is ever overwritten.
"""

from __future__ import annotations

import argparse
import io
import os
import secrets
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maporl.cli.evaluation import TARGET, retargeted
from maporl.cli.flags import Parser, settings_of
from maporl.cli.known import Line, discussions
from maporl.cli.showing import matching
from maporl.errors import UserValueError
from maporl.settings import nearest
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.agents import Team
    from maporl.envs import DiscussionEnv
    from maporl.types import Question

__all__ = ["add_arguments", "known", "run"]

HUMAN = "maporl.agents.human:HumanAgent"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--seat", metavar="AGENT", help="whose seat you take, such as agent_1")
    parser.add_argument("--run", metavar="RUN", help="run folder of the trained team that you join")
    parser.add_argument(
        "--question", metavar="ID|N", help="id, the beginning of one, or number from 1; drawn if left out"
    )
    parser.add_argument("--split", choices=("train", "validation", "test"), default="validation", help="[validation]")
    parser.add_argument("--num_questions", type=int, default=1, metavar="N", help="discussions in a row [1]")
    parser.add_argument(
        "--output", metavar="FILE", help="record file [runs/play/ENV.jsonl]; one that exists gets a number"
    )
    parser.add_settings(
        settings_of(RunConfig, only=(*TARGET, "model", "partners", "prompts", "chat_template", "thinking"))
    )


def known(line: Line) -> str:
    """Who discusses, and for how long."""
    config = _configured(line.args)
    return f"{config.env}: {discussions(config)[0]}"


def run(args: argparse.Namespace) -> int:
    """Play, show the verdicts, record."""
    config = _configured(args)
    env = config.build_env()
    if args.seat not in env.possible_agents:
        asked = "is missing" if args.seat is None else f"{args.seat!r} is nobody's"
        raise UserValueError(f"--seat {asked}; the agents are: {', '.join(env.possible_agents)}.")
    if args.num_questions < 1:
        raise UserValueError(f"--num_questions is {args.num_questions}; it must be at least 1.")
    if args.seat in args.given.get("partners", {}):
        raise UserValueError(
            f"--partners.{args.seat} sits where you sit (--seat {args.seat}); leave one of the two out."
        )
    questions = list(_questions(env.questions(args.split), args, config.seed))
    target = Path(args.output or f"runs/play/{config.env}.jsonl".replace(":", "."))
    _check_folder(target.parent)
    config = config.merged({"partners": {args.seat: HUMAN}})
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="replace")  # what is no text in this encoding is not worth a traceback
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.training.threads import torch_settings, with_threads

    with without_progress_bars(), torch_settings(config):
        team = _team(args.run, config, env)
        with_threads(config, team)
        with team.at_temperature(config.eval_temperature):
            return _play(env, team, questions, config, args.seat, target)


def _check_folder(folder: Path) -> None:
    """Make the folder of the records, now rather than after somebody has typed for half an hour.

    Raises:
        ValueError: It cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserValueError(f"--output: {str(folder)!r} cannot be made ({error.strerror}); choose another.") from error
    if not os.access(folder, os.W_OK):
        raise UserValueError(f"--output: {str(folder)!r} cannot be written; choose another.")


def _configured(args: argparse.Namespace) -> RunConfig:
    """The run's configuration, or one of a frozen team, with what was asked for on top; a seed of its own if none was given."""
    given = {"seed": secrets.randbelow(1_000_000), **args.given}
    if args.run is None:
        return RunConfig(team="frozen").merged(given)
    if "model" in given:
        raise UserValueError("--run brings its own model; leave --model out, or play with --model alone.")
    from maporl.training.run_folder import RunFolder

    return retargeted(RunFolder(args.run).config, given)


def _questions(pool: Sequence[Question], args: argparse.Namespace, seed: int) -> Iterator[Question]:
    """The questions of this sitting: from the one asked for onwards, or drawn; more than there are begin again."""
    order = np.random.default_rng(seed).permutation(len(pool)).tolist()
    if args.question is not None:
        first = _position(args.question, pool)
        order = [*range(first, len(pool)), *range(first)]
    for number in range(args.num_questions):
        yield pool[order[number % len(pool)]]


def _position(asked: str, pool: Sequence[Question]) -> int:
    ids = [question.id for question in pool]
    if asked not in ids and asked.isdecimal() and 1 <= int(asked) <= len(pool):
        return int(asked) - 1
    if (match := matching(asked, ids)) is not None:
        return ids.index(match)
    raise UserValueError(f"no question {asked!r}.{nearest(asked, ids)} Give an id, or a number from 1 to {len(pool)}.")


def _team(run: str | None, config: RunConfig, env: DiscussionEnv) -> Team:
    """Everybody, the person among them; without a single model if nobody needs one."""
    from maporl.training.run import load_team

    others = [agent for agent in env.possible_agents if agent not in config.partners]
    if run is not None:
        return load_team(run, env=env, config=config)
    if others and not config.model:
        raise UserValueError(
            f"nobody speaks for {', '.join(others)}; give --run RUN, --model DIR, or --partners.{others[0]} package.module:Class."
        )
    return config.build_team(env)


def _play(
    env: DiscussionEnv, team: Team, questions: Sequence[Question], config: RunConfig, seat: str, target: Path
) -> int:
    from rich.console import Console

    from maporl.agents.human import Left
    from maporl.cli.discussion_text import print_discussion
    from maporl.rollouts.play import rollout
    from maporl.rollouts.records import record
    from maporl.training.loop import ASK

    greedy = config.eval_temperature is None
    records = _Records(target)
    console = Console(highlight=False)
    console.print(_welcome(config, env, len(questions)), markup=False, soft_wrap=True)
    asked: Counter[str] = Counter()
    right = 0.0
    try:
        for number, question in enumerate(questions):
            (episode,) = rollout(env, team, [question], seed=(config.seed, ASK, number), greedy=greedy)
            answer = env.team_answer(episode.transcript)
            found = record(episode, answer, greedy=greedy, sample=asked[question.id]) | {"person": seat}
            asked[question.id] += 1
            records.append(found)
            right += answer.correct
            console.print()
            print_discussion(found, f"Question {question.id}, as it went", console)
    except Left as left:
        if left.ended:  # as after Ctrl-C: not everything that was asked for was done
            raise KeyboardInterrupt(f"{left}; {records.summary}") from None
    except KeyboardInterrupt:
        console.print()  # away from what was being typed
        raise KeyboardInterrupt(records.summary) from None
    if records.count:
        console.print(f"\nThe team was right in {right:g} of {records.count} (a tie counts by chance).", markup=False)
    console.print(records.summary, markup=False, soft_wrap=True)
    return 0


def _welcome(config: RunConfig, env: DiscussionEnv, number: int) -> str:
    what = "one discussion" if number == 1 else f"{number} discussions"
    rounds = "one round" if env.num_rounds == 1 else f"{env.num_rounds} rounds"
    agents = ", ".join(env.possible_agents)
    return f"{config.env}: {what} of {rounds} between {agents} (--seed {config.seed} makes it the same again)."


class _Records:
    """A new file of records that grows by one at a time, so that nothing finished is ever lost."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.file: Path | None = None
        self.count = 0

    def append(self, record: dict[str, Any]) -> None:
        """Write one more line, at first to a file that did not exist."""
        number = 1
        while self.file is None:
            name = self.target if number == 1 else self.target.with_stem(f"{self.target.stem}-{number}")
            try:
                name.open("x").close()
                self.file = name
            except FileExistsError:
                number += 1
        from maporl.rollouts.records import write_records

        write_records(self.file, [record], append=True)
        self.count += 1

    @property
    def summary(self) -> str:
        """Where what was finished is."""
        if self.file is None:
            return "no discussion was finished, so nothing was recorded"
        what = "1 discussion" if self.count == 1 else f"{self.count} discussions"
        return f"{what} recorded: maporl show {self.file}"

"""List the tasks, or show the exact prompts of one: what an agent is asked in round 1 and, having heard the others, in round 2.

maporl envs --show gsm8k --data train.jsonl --model DIR  also shows the text in the model's chat template and counts its tokens.
"""

from __future__ import annotations

import argparse
import importlib
from typing import TYPE_CHECKING, Any

from maporl import registry
from maporl.cli.flags import Parser, settings_of
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.envs import DiscussionEnv
    from maporl.types import Observation, Question

__all__ = ["add_arguments", "run"]

FLAGS = ("env_args", "data", "num_agents", "num_rounds", "prompts", "model", "chat_template", "thinking")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--show", metavar="ENV", help="the prompts of this task (a word, or package.module:Class)")
    parser.add_argument("--agent", help="whose prompts; the first agent's if left out")
    parser.add_settings(settings_of(RunConfig, only=FLAGS))


def run(args: argparse.Namespace) -> int:
    """Print the list, or the prompts."""
    if args.show:
        _show(RunConfig(env=args.show).merged(args.given), args.agent)
        return 0
    if args.agent or args.given:
        raise UserValueError(
            f"--{next(iter(args.given), 'agent')} belongs to --show ENV; add it, or leave the flag out."
        )
    from maporl.training.display import print_list

    print_list(("task", "by default", ""), [(name, *_described(name)) for name in registry.names("env")])
    print(
        "your own: --env package.module:Class, or a package (maporl new task NAME); the prompts of one: maporl envs --show ENV"
    )
    return 0


def _described(name: str) -> tuple[str, str]:
    """Agents and rounds of a task, and its line; of a package's, whose, and what is wrong if it cannot be made."""
    package = registry.package("env", name)
    try:
        task, env = registry.load("env", name), RunConfig(env=name).build_env()
    except (Exception, SystemExit) as error:  # whatever somebody else's module does
        if not package:
            raise
        return "", f"cannot be used: {' '.join(str(error).split())}"
    line = _first_line(importlib.import_module(task.__module__)) or _first_line(task)
    return f"{len(env.possible_agents)} agents x {env.num_rounds} rounds", f"{line} [{package}]" if package else line


def _first_line(what: Any) -> str:
    return (what.__doc__ or "").strip().partition("\n")[0]


def _show(config: RunConfig, agent: str | None) -> None:
    from maporl.envs.rendering import print_any

    env = config.build_env()
    who = env.possible_agents[0] if agent is None else agent
    if who not in env.possible_agents:
        raise UserValueError(f"--agent {who!r} is none of {env.possible_agents}.")
    tokenizer = _tokenizer(config) if config.model else None
    for observation in _observations(env, _question(env), who):
        chat = config.build_prompts().messages(observation)
        print_any(f"===== {who}, round {observation['round'] + 1} =====")
        for message in chat:
            print_any(f"--- {message['role']}\n{message['content']}")
        if tokenizer is not None:
            from maporl.agents.chat import encode_chat

            ids = encode_chat(tokenizer, chat)
            print_any(f"--- in the chat template of {config.model} ({len(ids)} tokens)\n{tokenizer.decode(ids)}")
        print()


def _question(env: DiscussionEnv) -> Question:
    """The first training question, or test question of what is a test set only; a stand-in, said to be one, without data."""
    from maporl.types import Question

    try:
        return env.told(next(q for split in ("train", "test") for q in env.load(split)))
    except ValueError as error:
        if env.data is not None:
            raise
        print(f"(a stand-in for the question, because {' '.join(str(error).split())})\n")
        return Question("<the question>", answer="0")


def _observations(env: DiscussionEnv, question: Question, who: str) -> list[Observation]:
    """What `who` is shown in rounds 1 and 2, when everybody says a stand-in message."""
    from maporl.types import Turn

    rules = env.rules.unjudged
    shown: list[Observation] = []
    transcript = rules.start(question)
    while len(shown) < 2 and (due := rules.due(transcript)):
        shown += [rules.observe(transcript, seat) for seat in due if seat.agent == who]
        said = [Turn(*seat, f"<what {seat.agent} says in round {seat.round + 1}>") for seat in due]
        (transcript,) = rules.extend([(transcript, said)])
    return shown


def _tokenizer(config: RunConfig) -> Any:
    if not isinstance(config.model, str):
        raise UserValueError("--model is a mapping; name one folder to show its chat template.")
    from maporl.agents.models.checkpoints import load_tokenizer

    return load_tokenizer(config.model, config.chat_template, config.thinking)

"""Let a trained team discuss a question of yours, and print the discussion.

The team is shown the question under its task's instruction. What an agent alone is to know: --private.agent_0 "Clear view: 7."

What a coding team answers is run in the sandbox, never elsewhere: whether it loads, and what comes of your asserts. They are those of
--tests FILE, or else the examples in the question (">>> double(2)", and "4" below it). Feedback tells of them as it did in training.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace

from maporl.cli.flags import Parser, Setting, settings_of
from maporl.cli.known import Line, discussions
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

__all__ = ["add_arguments", "known", "run"]

FLAGS = (
    "num_agents", "num_rounds", "max_new_tokens", "thinking_budget", "stop", "dtype", "device", "num_threads", "seed",
)  # fmt: skip


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument("question", metavar="QUESTION", help="text of the question")
    parser.add_settings(settings_of(RunConfig, only=FLAGS))
    parser.add_argument("--tests", metavar="FILE", help="of a coding team: Python with asserts about the function")
    private = Setting("private", Mapping[str, str], {}, "What each agent alone knows, by name.")
    temperature = Setting("temperature", float | None, None, "Sample at this temperature instead of decoding greedily.")
    parser.add_settings([private, temperature])


def known(line: Line) -> str:
    """Who discusses, and for how long."""
    from maporl.training.run_folder import RunFolder

    given = {name: value for name, value in line.args.given.items() if name in FLAGS}
    config = RunFolder(line.args.run).config.merged(given)
    return f"{config.env}: {discussions(config)[0]}"


def run(args: argparse.Namespace) -> int:
    """Discuss and print."""
    from maporl.agents.models.make_model import without_progress_bars
    from maporl.envs.rendering import print_any, transcript_text
    from maporl.envs.tasks.coding import CodingTask
    from maporl.rollouts.play import rollout
    from maporl.training.evaluation import gold_reader
    from maporl.training.loop import ASK
    from maporl.training.run import RunFolder, load_team
    from maporl.training.threads import torch_settings
    from maporl.types import Question

    given = dict(args.given)
    temperature, private = given.pop("temperature", None), given.pop("private", {})
    config = RunFolder(args.run).config.merged(given)
    env = config.build_env()
    strangers = set(private) - set(env.possible_agents)
    if strangers:
        raise UserValueError(f"--private names {sorted(strangers)}; the agents are {env.possible_agents}.")
    # No gold answer: verifiers still extract what was answered, and whether it is right is nobody's to say.
    question = Question(args.question, answer="", private={name: str(text) for name, text in private.items()})
    runs = False
    if isinstance(env, CodingTask):
        from maporl.cli.asking_code import code_question, prepared, print_checked

        question, runs = code_question(env, question, args.tests), prepared(env)
    elif args.tests is not None:
        raise UserValueError(
            f"--tests is for teams that write code, and {args.run!r} was trained on {config.env!r}; leave it out."
        )
    if not runs:
        question = replace(question, answer="", metadata={})
    if env.oracle and not question.answer:
        raise UserValueError(
            f"in {args.run!r} {gold_reader(env)}, and nobody knows that of your question. Ask a team that was trained without show_scores "
            "and the score of stop, or with a learned verifier, and with feedback that does not read the gold answer."
        )
    with without_progress_bars(), torch_settings(config):
        team = load_team(args.run, env=env, config=config)
        with team.at_temperature(temperature):
            episode = rollout(env, team, [question], seed=(config.seed, ASK), greedy=temperature is None)[0]
    if episode.overflow:
        raise UserValueError(
            "the discussion does not fit the model's window; ask more briefly, or lower --max_new_tokens."
        )
    unjudged = tuple(replace(turn, score=None, truth=None) for turn in episode.transcript.turns)
    print_any(transcript_text(replace(episode.transcript, turns=unjudged)))
    answer = env.team_answer(episode.transcript)
    tied = f" ({answer.tied} answers tied for it)" if answer.tied > 1 else ""
    line = "\n" if isinstance(env, CodingTask) else " "
    print_any(f"Team answer:{line}{answer.answer}{tied}" if answer.answer is not None else "The team gave no answer.")
    if isinstance(env, CodingTask) and runs and answer.answer is not None:
        print_checked(env, question, answer.answer)
    return 0

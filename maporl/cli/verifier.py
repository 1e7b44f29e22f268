"""Verifiers that learn from labelled answers: train one, judge it, serve it.

  maporl verifier train DIR --model MODEL --env gsm8k --env_args.verifier_share 0.2
  maporl verifier train DIR --run RUN --num_iterations 4
  maporl verifier train DIR --model MODEL --answers labelled.jsonl --k 1
  maporl verifier evaluate DIR [--answers labelled.jsonl]
  maporl verifier serve DIR --port 8000
  maporl verifier serve --verifier '{name: noisy, verifier: number}'

Answers are sampled to the questions of a task that verifier_share keeps for verifiers; use the same share when a team is trained with
--env_args.verifier '{name: learned, path: DIR}'. Rows of --answers: question, gold, response, correct; also model or generator, round,
private.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from maporl.cli.evaluation import retargeted
from maporl.cli.flags import Parser, Setting, settings_of
from maporl.cli.known import Line, discussions, rows
from maporl.cli.training import trained
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.learned_verifier.verifier import LearnedVerifier

__all__ = ["add_arguments", "known", "run"]

OF_THE_RUN = (
    "env", "env_args", "data", "model", "num_agents", "num_rounds", "prompts", "chat_template", "init_adapter", "max_new_tokens",
    "temperature", "thinking_budget", "stop", "dtype", "device", "gradient_checkpointing", "num_threads", "seed",
)  # fmt: skip
"""Of the discussions that answers are taken from, and of the training; the model is the verifier's base, too."""


def add_arguments(parser: Parser) -> None:
    from maporl.learned_verifier.making import SHARED, Settings

    parser.add_argument("action", choices=("train", "evaluate", "serve"))
    parser.add_argument("folder", metavar="DIR", nargs="?", help="of the verifier")
    parser.add_argument(
        "--verifier", metavar="VERIFIER", help="serve this one instead: a word, package.module:Class, {name: ...}"
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to serve [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="where to serve; 0 takes a free one [8000]")
    parser.add_settings(settings_of(Settings, without=SHARED))
    parser.add_settings([Setting("num_iterations", int, 8, "Waves of discussions, at most.")])
    parser.add_settings(settings_of(RunConfig, only=OF_THE_RUN))


def known(line: Line) -> str:
    """How much there is to learn from or to judge by; serving is known by its address. Its flags are settings of what needs torch, so only
    words are looked at."""
    if line.words[:1] == ["serve"]:
        return f"serves {line.words[1]}" if line.words[1:] else ""
    held_out = [str(Path(word, "held_out.jsonl")) for word in line.words[:2]]
    if found := next(filter(None, map(rows, [*line.words, *held_out])), ""):
        return found
    if (run := next((word for word in line.words if Path(word, "config.yaml").is_file()), None)) is not None:
        from maporl.training.run_folder import RunFolder

        config = RunFolder(run).config
        return f"{run}: {config.env}, {discussions(config)[0]}"
    config = RunConfig(env=dict(pairwise(line.words)).get("--env", RunConfig.env))
    return f"{config.env}: {discussions(config)[0]}"


def run(args: argparse.Namespace) -> int:
    """Do what is asked."""
    if (args.folder is None) == (args.verifier is None) or (args.verifier and args.action != "serve"):
        instead = ", or --verifier without a folder" if args.action == "serve" else ""
        raise UserValueError(
            f"verifier {args.action} needs the folder of one verifier: maporl verifier {args.action} DIR{instead}."
        )
    actions = {"train": _train, "evaluate": _evaluate, "serve": _serve}
    return actions[args.action](args)


def _train(args: argparse.Namespace) -> int:
    """A run of the trainer ``learned_verifier``, on the task and model of another run if one is named."""
    from maporl.learned_verifier.answers import Balance
    from maporl.learned_verifier.model import Card
    from maporl.training.run_folder import RunFolder

    of_the_run = {n: v for n, v in args.given.items() if n in OF_THE_RUN}
    own = {n: v for n, v in args.given.items() if n not in (*OF_THE_RUN, "num_iterations")}
    source = args.given.get("run")
    config = replace(
        RunFolder(source).config if source else RunConfig(),
        algorithm="learned_verifier",
        algorithm_args=own,
        num_iterations=args.given.get("num_iterations", 8),
        checkpoint_every=1,
        trackers=(),
        output_dir=args.folder,
    )
    folder = trained(retargeted(config, of_the_run)).path
    print(Balance(**Card.load(folder).measured["balance"]))
    print((folder / "evaluation.md").read_text(encoding="utf-8"))
    print(f"verifier: {args.folder}")
    return 0


def _loaded(args: argparse.Namespace) -> LearnedVerifier:
    from maporl.learned_verifier.verifier import LearnedVerifier

    return LearnedVerifier(args.folder, base=args.given.get("model"), device=args.given.get("device"))


def _evaluate(args: argparse.Namespace) -> int:
    from maporl.learned_verifier.answers import read_answers
    from maporl.learned_verifier.making import report_of

    verifier, file = _loaded(args), args.given.get("answers")
    report = report_of(verifier, read_answers(file) if file else None)
    if not file:
        report.save(verifier.path)
    print(report.markdown())
    print(f"verifier: {args.folder}")
    return 0


def _serve(args: argparse.Namespace) -> int:
    from maporl.envs.verifiers.compose import verifier_of
    from maporl.learned_verifier.server import serve
    from maporl.settings import read_yaml

    verifier = _loaded(args) if args.verifier is None else verifier_of(read_yaml(args.verifier))
    serve(verifier, host=args.host, port=args.port)
    return 0

"""Verifiers that learn from labelled answers: train one, judge it, serve it.

  maporl verifier train DIR --model MODEL --env gsm8k --env_args.verifier_share 0.2
  maporl verifier train DIR --run RUN
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
from dataclasses import asdict
from typing import Any

from maporl.cli.evaluation import retargeted
from maporl.cli.flags import Parser, settings_of
from maporl.errors import UserValueError
from maporl.training.config import RunConfig

__all__ = ["add_arguments", "run"]

SAMPLING = (
    "env",
    "env_args",
    "data",
    "model",
    "num_agents",
    "num_rounds",
    "prompts",
    "chat_template",
    "init_adapter",
    "max_new_tokens",
    "temperature",
    "stop",
    "dtype",
    "device",
    "num_threads",
    "seed",
)
"""Of the discussions that answers are taken from; the model is the verifier's base, too."""

TRAINING = ("r", "alpha", "dropout", "learning_rate", "epochs", "batch_size", "microbatch_size", "max_length")


def add_arguments(parser: Parser) -> None:
    from maporl.learned_verifier.training import Settings

    parser.add_argument("action", choices=("train", "evaluate", "serve"))
    parser.add_argument("folder", metavar="DIR", nargs="?", help="of the verifier")
    parser.add_argument(
        "--verifier", metavar="VERIFIER", help="serve this one instead: a word, package.module:Class, {name: ...}"
    )
    parser.add_argument("--answers", metavar="FILE.jsonl", help="labelled answers, instead of sampling a task's")
    parser.add_argument(
        "--run", metavar="RUN", help="sample from the team that a run trained, on its task; its model is the base"
    )
    parser.add_argument("--k", type=_count, help="right and wrong answers to each question [10; 1 with --answers]")
    parser.add_argument("--unbalanced", action="store_true", help="take all answers as they are")
    parser.add_argument("--controls", action="store_true", help="also train on the question and on the response alone")
    parser.add_argument("--wave", type=_count, default=4, help="discussions of a question sampled at a time [4]")
    parser.add_argument("--waves", type=_count, default=8, help="as often as that, at most [8]")
    parser.add_argument("--host", default="127.0.0.1", help="where to serve [127.0.0.1]")
    parser.add_argument("--port", type=int, default=8000, help="where to serve; 0 takes a free one [8000]")
    parser.add_settings(settings_of(RunConfig, only=SAMPLING))
    parser.add_settings(settings_of(Settings, only=(*TRAINING, "gradient_checkpointing")))


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


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
    from pathlib import Path

    from maporl.agents.models.make_model import without_progress_bars
    from maporl.learned_verifier.answers import read_answers, write_answers
    from maporl.learned_verifier.making import check_free, make_verifier
    from maporl.learned_verifier.model import Reading
    from maporl.learned_verifier.training import Settings
    from maporl.training.run import RunFolder
    from maporl.training.threads import torch_settings

    training = {n: args.given.pop(n) for n in (*TRAINING, "gradient_checkpointing") if n in args.given}
    config = retargeted(RunFolder(args.run).config if args.run else RunConfig(team="frozen"), args.given)
    if not config.model:
        raise UserValueError("no model; name the verifier's base: --model DIR or a hub id.")
    if not isinstance(config.model, str):
        raise UserValueError("a verifier has one base; give one --model.")
    shared: dict[str, Any] = {
        "dtype": config.dtype,
        "device": config.device,
        "num_threads": config.num_threads,
        "seed": config.seed,
    }
    settings = Settings(**training, **shared)
    k = None if args.unbalanced else args.k or (1 if args.answers else 10)
    check_free(args.folder)
    with without_progress_bars(), torch_settings(config):
        if args.answers:
            answers, instruction = read_answers(args.answers), ""
        else:
            answers, instruction = _sampled(config, k or 10, args)
            kept = Path(args.folder) / "sampled.jsonl"  # they took longest: whatever comes, --answers reads them again
            kept.parent.mkdir(parents=True, exist_ok=True)
            write_answers(kept, answers)
            print(f"answers: {kept}")
        reading = Reading(prompts=asdict(config.build_prompts()), instruction=instruction)
        _, report = make_verifier(
            answers,
            config.model,
            args.folder,
            k=k,
            controls=args.controls,
            settings=settings,
            reading=reading,
            chat_template=config.chat_template,
            say=print,
        )
    _show(report, args.folder)
    return 0


def _sampled(config: RunConfig, k: int, args: argparse.Namespace) -> tuple[list[Any], str]:
    """Labelled answers of a task's questions that are kept for verifiers, and how the task says that they are to be answered."""
    from maporl.learned_verifier.sampling import sample_answers
    from maporl.training.loop import check_context
    from maporl.training.run import RunFolder, load_team
    from maporl.training.threads import with_threads

    env = config.build_env()
    questions = env.questions("verifier")
    if args.run:  # which speaks with the run's models, whatever the verifier's base is
        config = config.merged({"model": RunFolder(args.run).config.model})
        team = load_team(args.run, env=env, config=config)
    else:
        team = config.build_team(env)
    config = with_threads(config, team)
    check_context(env, team, questions)
    print(f"{len(questions)} questions of {config.env}, kept for verifiers (verifier_share {env.verifier_share:g})")

    def progress(enough: int, all_of_them: int) -> None:
        print(f"  {enough} of {all_of_them} have {k} right and {k} wrong answers", flush=True)

    answers = sample_answers(
        env,
        team,
        questions,
        k,
        generator=args.run or str(config.model),
        wave=args.wave,
        waves=args.waves,
        seed=config.seed,
        progress=progress,
    )
    return answers, env.instruction


def _evaluate(args: argparse.Namespace) -> int:
    from pathlib import Path

    from maporl.learned_verifier.answers import read_answers
    from maporl.learned_verifier.evaluation import evaluate
    from maporl.learned_verifier.making import HELD_OUT, TRAINED_ON
    from maporl.learned_verifier.verifier import LearnedVerifier

    folder = Path(args.folder)
    verifier = LearnedVerifier(folder, base=args.given.get("model"), device=args.given.get("device"))
    answers = read_answers(args.answers or folder / HELD_OUT)
    learned_from = read_answers(folder / TRAINED_ON) if (folder / TRAINED_ON).is_file() else []
    others = {
        f"{place.name} only": LearnedVerifier(place, base=args.given.get("model"))
        for place in sorted((folder / "controls").glob("*"))
    }
    report = evaluate(
        verifier, answers, temperature=verifier.card.temperature, controls=others, learned_from=learned_from
    )
    if not args.answers:
        report.save(folder)
    _show(report, args.folder)
    return 0


def _show(report: Any, folder: str) -> None:
    from maporl.learned_verifier.evaluation import HEADER
    from maporl.training.display import print_list

    print_list(HEADER, report.rows())
    print(
        f"ECE {report.uncalibrated:.3f} before calibration (temperature {report.temperature:.2f}); AUROC intervals by question"
    )
    print(f"verifier: {folder}")


def _serve(args: argparse.Namespace) -> int:
    from maporl.envs.verifiers.compose import verifier_of
    from maporl.learned_verifier.server import serve
    from maporl.learned_verifier.verifier import LearnedVerifier
    from maporl.settings import read_yaml

    if args.verifier is not None:
        verifier = verifier_of(read_yaml(args.verifier))
    else:
        verifier = LearnedVerifier(args.folder, base=args.given.get("model"), device=args.given.get("device"))
    serve(verifier, host=args.host, port=args.port)
    return 0

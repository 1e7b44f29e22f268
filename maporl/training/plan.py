"""What a training would do, said before anything is loaded: ``maporl train --plan``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from maporl.errors import UserValueError
from maporl.roster import Speaker
from maporl.settings import called, nearest, parameters
from maporl.training.config import RunConfig

if TYPE_CHECKING:
    from maporl.envs import DiscussionEnv

__all__ = ["plan", "print_plan"]


def print_plan(config: RunConfig) -> None:
    """Print the plan, each line as soon as it is known."""
    for heading, text in plan(config):
        print(f"{heading:<18} {text}", flush=True)


def plan(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What a run would be, line by line: (heading, text). No model is loaded, and no network asked.

    Raises:
        ValueError: A setting that cannot be.
    """
    yield "run", f"{config.algorithm} on {config.env}, seed {config.seed}, into {config.folder}"
    iterations = f"{_many(config.num_iterations, 'iteration')} of {_many(config.episodes_per_iteration, 'discussion')}"
    yield (
        "",
        f"{iterations}, messages of at most {config.max_new_tokens} tokens, learning rate {config.learning_rate:g}",
    )
    config = config.trainer.completed(config)
    _check_algorithm_args(config)
    env = config.build_env()
    yield (
        "task",
        f"{_many(len(env.possible_agents), 'agent')} x {_many(env.num_rounds, 'round')}: {env.protocol!r}, {env.shaping!r}",
    )
    yield "questions", _questions(config, env)
    yield from _speakers(config, env)
    yield from _work(config, env)


def _questions(config: RunConfig, env: DiscussionEnv) -> str:
    hub = getattr(env, "hub", None)
    if env.data is None and hub is not None:
        return (
            f"{hub.train[0]} on the dataset hub, counted when they are loaded (--data FILE or FOLDER for your own copy)"
        )
    sizes = {split: len(env.questions(split)) for split in ("train", "validation", "test")}
    asked = f"of each at most {config.num_eval_questions} are asked in an evaluation"
    return f"{sizes['train']:,} to learn from, {sizes['validation']:,} for validation, {sizes['test']:,} for the test; {asked}"


def _speakers(config: RunConfig, env: DiscussionEnv) -> Iterator[tuple[str, str]]:
    """Who speaks with which model, and what of it learns."""
    from maporl.agents import LoRA

    roster = config.roster(env.possible_agents, env.num_rounds)
    for agent in roster.agents:
        yield agent, _by_round([_described(speaker) for speaker in roster.rounds(agent)])
    learning = {s.adapter for s in roster.seats.values() if s.trains}
    rank = called("lora", "lora", LoRA, dict(config.lora)).r
    stored = config.quantization or config.dtype or "a type that fits the machine"
    yield (
        "models",
        f"{_many(len(roster.bases), 'base')} in {stored}; what learns: {_many(len(learning), 'adapter')} of rank {rank}",
    )


def _described(speaker: Speaker) -> str:
    if speaker.partner is not None:
        return speaker.partner
    if speaker.adapter is None:
        return f"{speaker.base}, frozen"
    return f"{speaker.base} with adapter {speaker.adapter}{'' if speaker.trains else ', frozen'}"


def _by_round(texts: Sequence[str]) -> str:
    if len(set(texts)) == 1:
        return texts[0]
    return "; ".join(f"round {number}: {text}" for number, text in enumerate(texts, 1))


def _work(config: RunConfig, env: DiscussionEnv) -> Iterator[tuple[str, str]]:
    """Messages, tokens and optimizer steps, at most: as if no discussion ended early and every message were as long as it may be."""
    trainer, n = config.trainer, config.num_iterations
    messages = trainer.messages_of(config, env)
    yield "an iteration", f"{messages:,} messages, at most {messages * config.max_new_tokens:,} new tokens"
    steps = trainer.steps_of(config)
    if steps is not None:
        yield "updates", f"{_many(steps, 'optimizer step')} an iteration for every adapter, {n * steps:,} in all"
    evaluations = trainer.evaluations_of(config)
    evaluated = evaluations * config.num_eval_questions * sum(map(len, env.rules.waves))
    if evaluations:
        yield (
            "evaluations",
            f"{evaluations} of at most {_many(config.num_eval_questions, 'question')}: {evaluated:,} messages",
        )
    yield (
        "in all",
        f"at most {n * messages + evaluated:,} messages and {(n * messages + evaluated) * config.max_new_tokens:,} new tokens",
    )


def _check_algorithm_args(config: RunConfig) -> None:
    """That the algorithm takes them: otherwise it is said when it is made, after the models have been loaded."""
    from maporl import registry

    loaded = registry.load("algorithm", config.algorithm)
    known = parameters(getattr(loaded, "Settings", None) or loaded)
    for name in config.algorithm_args:
        if name not in known:
            raise UserValueError(f"algorithm {config.algorithm!r} has no argument {name!r}.{nearest(name, known)}")


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"

"""A baseline without reinforcement learning: supervised fine-tuning on the untrained team's own best discussions.

The row of the literature to compare with is "SFT on the best 10 % of untrained debates" of MAPoRL (2502.18439). As many discussions
are sampled as an algorithm of ours samples; the best of them, by the verifier's scores, are learned message by message, each after
exactly the prompt that its speaker read. Everybody then speaks with the one fine-tuned model.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents import LLMAgent, Team
from maporl.algorithms.sft import SFTSettings, sft
from maporl.errors import UserValueError
from maporl.rollouts.records import sampled_records, write_records
from maporl.roster import Roster, Speaker
from maporl.settings import called
from maporl.training.config import RunConfig
from maporl.training.loop import Collector, check_context, rollout_metrics
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer, rows_at_once
from maporl.types import Episode, Turn

__all__ = ["GoodDiscussions", "best", "chats"]

EPOCHS = 3
"""How often the messages are gone through unless ``steps`` says otherwise."""

SHUFFLE = 12
"""Number of the random stream that orders equally good discussions."""


@dataclass(frozen=True)
class Settings:
    """What ``algorithm_args`` may hold.

    Attributes:
        keep: The share of the discussions that is learned, above 0, at most 1.
        steps: Optimizer steps; None goes through the messages three times.
        batch_size: Messages of one optimizer step.
    """

    keep: float = 0.1
    steps: int | None = None
    batch_size: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise UserValueError(f"keep is {self.keep}; it is a share of the discussions: above 0, at most 1.")
        for name in ("steps", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UserValueError(f"{name} is {value}; it must be at least 1.")


class GoodDiscussions(Trainer):
    """Supervised fine-tuning on the untrained team's own best discussions.

    An iteration is `episodes_per_iteration` discussions, kept whole in ``episodes/``; when all are there, the best are learned. The
    run's ``model/`` is the fine-tuned base, which everybody speaks with; ``discussions/kept.jsonl`` is what was learned.
    """

    evaluated = False
    only_for = ("trains_on_discussions", "fine-tuning on good discussions makes a team; write sft")
    Settings = Settings

    def __init__(self, run: Run) -> None:
        config = run.config
        self.settings = called("algorithm", config.algorithm, Settings, dict(config.algorithm_args))
        if run.env.verifier is None:
            raise UserValueError(
                f"{config.env!r} has no verifier to say which discussions are good; give one: env_args.verifier."
            )
        self.team = replace(config, team="frozen", frozen=()).build_team(run.env)
        if len(self.team.policies) != 1:
            raise UserValueError(
                f"sft fine-tunes one base model, not {len(self.team.policies)}; give all agents the same model."
            )
        run.config = with_threads(config, self.team)
        check_context(run.env, self.team, run.env.questions("train"))
        self.collector = Collector(run.env, self.team, config.episodes_per_iteration, seed=config.seed)

    def fit(self, run: Run, start: int = 0) -> None:
        episodes = [e for k in range(start) for e in run.kept(k)]
        for k in range(start, run.config.num_iterations):
            began = time.perf_counter()
            sampled = self.collector.collect(k)
            run.callback.on_experience(k + 1, sampled)
            metrics = {**rollout_metrics(sampled, run.env), "time/rollout_s": time.perf_counter() - began}
            run.keep(k + 1, sampled)
            episodes += sampled
            run.iteration(k + 1, metrics)
        kept = best(episodes, self.settings.keep, run.config.seed)
        write_records(run.folder.path / "discussions" / "kept.jsonl", sampled_records(run.env, kept))
        self.model, began = run.folder.path / "model", time.perf_counter()
        with _base(self.team) as base:
            measured = _learn(run.config, self.settings, base, kept, self.team, self.model)
        figures = {
            "sft/discussions": float(len(episodes)),
            "sft/kept": float(len(kept)),
            "sft/score_mean": float(np.mean([_score(e)[0] for e in episodes])),
            "sft/kept_score_mean": float(np.mean([_score(e)[0] for e in kept])),
        }
        run.folder.record(
            run.config.num_iterations, figures | measured | {"time/update_s": time.perf_counter() - began}
        )

    def save(self, folder: Path) -> None:
        """Say that everybody speaks with the fine-tuned base."""
        tuned = Speaker(str(self.model.absolute()))
        Roster({seat: tuned if s.base else s for seat, s in self.team.roster.seats.items()}).save(folder)


def best(episodes: Sequence[Episode], keep: float, seed: int) -> list[Episode]:
    """The best share of discussions: by the mean score of the last round, then by that of all rounds, then by lot.

    None with a score of 0 in the last round is among them, even if fewer are left.

    Args:
        episodes: All.
        keep: Share of them, rounded to a whole number, at least one.
        seed: Of the lot.

    Raises:
        ValueError: None scored above 0.
    """
    scores = [_score(episode) for episode in episodes]
    lots = np.random.default_rng([seed, SHUFFLE]).permutation(len(episodes))
    good = [i for i, (last, _) in enumerate(scores) if last > 0]
    if not good:
        raise UserValueError(
            f"none of the {len(episodes)} sampled discussions ends with a score above 0, so there is nothing to learn from: sample more "
            "(num_iterations, episodes_per_iteration), or begin with a better model."
        )
    good.sort(key=lambda i: (-scores[i][0], -scores[i][1], lots[i]))
    return [episodes[i] for i in good[: max(round(keep * len(episodes)), 1)]]


def chats(episodes: Sequence[Episode], team: Team) -> list[dict[str, Any]]:
    """A row for `sft` of every message that a language model said and ended: the chat that it read, and what it answered."""
    rows = []
    for episode, (index, turn) in ((e, said) for e in episodes for said in e.said):
        member = team.member(*turn.seat)
        # One that was cut off would teach to stop there.
        if isinstance(member, LLMAgent) and turn.text and turn.completion and not turn.completion.truncated:
            rows.append({"prompt": member.prompts.messages(episode.observation(index)), "completion": turn.text})
    return rows


def _score(episode: Episode) -> tuple[float, float]:
    """The mean score of the last round, and of all."""
    turns = [turn for turn in episode.transcript.turns if turn.score is not None]

    def mean(chosen: Sequence[Turn]) -> float:
        return float(np.mean([turn.value for turn in chosen])) if chosen else 0.0

    end = episode.transcript.turns[-1].round
    return mean([turn for turn in turns if turn.round == end]), mean(turns)


@contextmanager
def _base(team: Team) -> Iterator[str]:
    """What is fine-tuned: the checkpoint, or a copy of it with its initial adapter merged."""
    member = team.language_models[0]
    if member.adapter is None:
        yield member.policy.tokenizer.name_or_path
        return
    with tempfile.TemporaryDirectory() as scratch:
        member.policy.export(member.adapter, scratch)
        yield scratch


def _learn(
    config: RunConfig, arguments: Settings, base: str, kept: Sequence[Episode], team: Team, output: Path
) -> dict[str, float]:
    """Fine-tune `base` on what was said; returns what `sft` measured."""
    rows = chats(kept, team)
    if not rows:
        raise UserValueError(
            f"all messages of the {len(kept)} best discussions are empty or were cut off; raise max_new_tokens."
        )
    steps = arguments.steps or math.ceil(EPOCHS * len(rows) / arguments.batch_size)
    longest = max(len(c.prompt_ids) + len(c.completion_ids) for episode in kept for c in episode.completions)
    policy = team.policies[0]
    settings = SFTSettings(
        steps=steps,
        batch_size=arguments.batch_size,
        microbatch_size=rows_at_once(arguments.batch_size, longest, config.microbatch_tokens),
        learning_rate=config.learning_rate,
        lora=policy.lora,
        chat_template=config.chat_template,
        thinking=config.thinking,
        dtype=config.dtype,
        device="cpu" if config.resolved_device == "cpu" else None,
        gradient_checkpointing=config.gradient_checkpointing,
        matmul_precision=config.matmul_precision,
        num_threads=config.num_threads,
        seed=config.seed,
    )
    measured = sft(base, rows, output, settings)
    return {
        "sft/messages": float(len(rows)),
        "sft/steps": float(steps),
        "train/loss": measured["loss"],
        "train/accuracy": measured["accuracy"],
    }

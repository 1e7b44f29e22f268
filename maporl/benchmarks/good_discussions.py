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
from maporl.agents.make_model import without_progress_bars
from maporl.agents.sft import sft
from maporl.algorithms.records import record, write_records
from maporl.algorithms.rollout import rollout
from maporl.algorithms.training import TRAIN, check_context, draw, rollout_metrics
from maporl.benchmarks.whole_runs import begun_anew, finished, rows_at_once
from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.roster import Roster, Speaker
from maporl.run import RunFolder, Watcher, torch_settings, with_threads
from maporl.settings import called
from maporl.types import Episode, Step, Turn

__all__ = ["best", "chats", "train_sft"]

EPOCHS = 3
"""How often the messages are gone through unless ``steps`` says otherwise."""

SHUFFLE = 12
"""A stream of the seed's own: the order of equally good discussions."""


@dataclass(frozen=True)
class _Arguments:
    """What ``algorithm_args`` may hold.

    Attributes:
        keep: The share of the discussions that is learned, above 0, at most 1.
        steps: Optimizer steps; None goes through the messages `EPOCHS` times.
        batch_size: Messages of one optimizer step.
        learning_rate: The peak; None is the run's.
    """

    keep: float = 0.1
    steps: int | None = None
    batch_size: int = 16
    learning_rate: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep is {self.keep}; it is a share of the discussions: above 0, at most 1.")
        for name in ("steps", "batch_size"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1.")
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate is {self.learning_rate}; it must be above 0 and finite.")


def train_sft(config: RunConfig, watch: Watcher | None = None) -> RunFolder:
    """Sample discussions, learn the best, and write an ordinary run folder, without evaluations.

    Its ``model/`` is the fine-tuned base, which its ``config.yaml`` names; ``start.yaml`` is the configuration of the team that was
    sampled, ``discussions/kept.jsonl`` what was learned. A run that was not finished is begun anew.

    Args:
        config: Of the team. Its ``algorithm_args`` may hold "keep" (0.1), "steps", "batch_size" (16), "learning_rate".
        watch: Told about every iteration, which is `episodes_per_iteration` discussions.

    Raises:
        ValueError: No verifier, several base models, no discussion that is any good, or a setting that cannot be, with its remedy.
    """
    if (done := finished(config)) is not None:
        return done
    arguments = called("algorithm", config.algorithm, _Arguments, dict(config.algorithm_args))
    env = config.build_env()
    if env.verifier is None:
        raise ValueError(
            f"{config.env!r} has no verifier to say which discussions are good; give one: env_args.verifier."
        )
    with torch_settings(config), without_progress_bars():
        config = replace(config, team="frozen", frozen=())
        team = config.build_team(env)
        if len(team.policies) != 1:
            raise ValueError(
                f"sft fine-tunes one base model, not {len(team.policies)}; give all agents the same model."
            )
        config = with_threads(config, team)
        check_context(env, team, env.questions("train"))
        folder = begun_anew(config, env)
        folder.config.save(folder.path / "start.yaml")
        with folder.keeping_status(resumable=False):
            episodes = list(_discussions(config, env, team, folder, watch))
            kept = best(episodes, arguments.keep, config.seed)
            _write_kept(folder, env, kept)
            began = time.perf_counter()
            with _base(config, team) as base:
                measured = _learn(config, arguments, base, kept, team, folder.path / "model")
            found = {
                "sft/discussions": float(len(episodes)),
                "sft/kept": float(len(kept)),
                "sft/score_mean": float(np.mean([_score(e)[0] for e in episodes])),
                "sft/kept_score_mean": float(np.mean([_score(e)[0] for e in kept])),
            }
            folder.record(config.num_iterations, found | measured | {"time/update_s": time.perf_counter() - began})
            _seat(folder, team)
    return folder


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
        raise ValueError(
            f"none of the {len(episodes)} sampled discussions ends with a score above 0, so there is nothing to learn from: sample more "
            "(num_iterations, episodes_per_iteration), or begin with a better model."
        )
    good.sort(key=lambda i: (-scores[i][0], -scores[i][1], lots[i]))
    return [episodes[i] for i in good[: max(round(keep * len(episodes)), 1)]]


def chats(episodes: Sequence[Episode], team: Team) -> list[dict[str, Any]]:
    """A row for `sft` of every message that a language model said and ended: the chat that it read, and what it answered."""
    rows = []
    for step in (step for episode in episodes for step in episode.steps):
        member = team.member(step.agent, step.round)
        # One that was cut off would teach to stop there.
        if isinstance(member, LLMAgent) and step.completion.text and not step.completion.truncated:
            rows.append({"prompt": member.prompts.messages(step.observation), "completion": step.completion.text})
    return rows


def _score(episode: Episode) -> tuple[float, float]:
    """The mean score of the last round, and of all."""
    turns = [turn for turn in episode.transcript.turns if turn.score is not None]

    def mean(chosen: Sequence[Turn]) -> float:
        return float(np.mean([turn.value for turn in chosen])) if chosen else 0.0

    end = episode.transcript.turns[-1].round
    return mean([turn for turn in turns if turn.round == end]), mean(turns)


def _discussions(
    config: RunConfig, env: DiscussionEnv, team: Team, folder: RunFolder, watch: Watcher | None
) -> Iterator[Episode]:
    """All discussions of the untrained team, an iteration at a time."""
    pool = env.questions("train")
    for k in range(config.num_iterations):
        began = time.perf_counter()
        questions = draw(pool, config.episodes_per_iteration, config.seed, k)
        episodes = rollout(env, team, questions, seed=(config.seed, TRAIN, k))
        metrics = {**rollout_metrics(episodes, env), "time/rollout_s": time.perf_counter() - began}
        folder.record(k + 1, metrics)
        if watch is not None:
            watch("iteration", k + 1, metrics)
        yield from episodes


def _write_kept(folder: RunFolder, env: DiscussionEnv, kept: Sequence[Episode]) -> None:
    times: dict[str, int] = {}  # a question may be there more than once
    records = []
    for episode in kept:
        number = times.setdefault(episode.transcript.question.id, 0)
        times[episode.transcript.question.id] += 1
        answer = env.team_answer(episode.transcript)
        records.append(record(episode, answer, greedy=False, sample=number))
    write_records(folder.path / "discussions" / "kept.jsonl", records)


@contextmanager
def _base(config: RunConfig, team: Team) -> Iterator[str]:
    """What is fine-tuned: the checkpoint, or a copy of it with its initial adapter merged and its chat template."""
    member = team.language_models[0]
    if member.adapter is None and config.chat_template is None:
        yield member.policy.tokenizer.name_or_path
        return
    with tempfile.TemporaryDirectory() as scratch:
        member.policy.export(member.adapter, scratch)
        yield scratch


def _learn(
    config: RunConfig, arguments: _Arguments, base: str, kept: Sequence[Episode], team: Team, output: Path
) -> dict[str, float]:
    """Fine-tune `base` on what was said; returns what `sft` measured."""
    rows = chats(kept, team)
    if not rows:
        raise ValueError(
            f"all messages of the {len(kept)} best discussions are empty or were cut off; raise max_new_tokens."
        )
    steps = arguments.steps or math.ceil(EPOCHS * len(rows) / arguments.batch_size)
    longest = max(_tokens(step) for episode in kept for step in episode.steps)
    policy = team.policies[0]
    measured = sft(
        base,
        rows,
        output,
        steps=steps,
        batch_size=arguments.batch_size,
        microbatch_size=rows_at_once(arguments.batch_size, longest, config.microbatch_tokens),
        learning_rate=arguments.learning_rate or config.learning_rate,
        lora=policy.lora,
        dtype=config.dtype,
        device="cpu" if config.resolved_device == "cpu" else None,
        gradient_checkpointing=config.gradient_checkpointing,
        matmul_precision=config.matmul_precision,
        num_threads=config.num_threads,
        seed=config.seed,
    )
    return {
        "sft/messages": float(len(rows)),
        "sft/steps": float(steps),
        "train/loss": measured["loss"],
        "train/accuracy": measured["accuracy"],
    }


def _tokens(step: Step) -> int:
    return len(step.completion.prompt_ids) + len(step.completion.completion_ids)


def _seat(folder: RunFolder, team: Team) -> None:
    """Say in the run folder that everybody speaks with the fine-tuned base."""
    model = str((folder.path / "model").absolute())
    replace(folder.config, model=model, init_adapter=None, reference="base").save(folder.path / "config.yaml")
    seats = {seat: s if s.base is None else Speaker(model) for seat, s in team.roster.seats.items()}
    Roster(seats).save(folder.path / "adapters")

"""`Trainer`, the interface of everything that learns, and `Run`, what it is given to work in."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from maporl.agents.pieces import vocabulary
from maporl.agents.team import Team
from maporl.atomic_files import write_whole
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers.verifier import VerifierFailed
from maporl.errors import ServerUnavailable
from maporl.rollouts.records import sampled_records
from maporl.rollouts.store import EpisodeStore
from maporl.text_files import read_json
from maporl.training.callbacks import Callback
from maporl.training.config import RunConfig
from maporl.training.evaluation import Evaluation, evaluate, subset
from maporl.training.loop import EVALUATE, rollout_metrics
from maporl.training.run_folder import RunFolder
from maporl.types import Episode, Question

if TYPE_CHECKING:
    from maporl.training.preflight import Preflight

__all__ = ["Run", "Trainer", "evaluate_run", "rows_at_once"]


class Run:
    """One training run: its configuration, folder, task and callbacks, as its trainer is given them.

    Attributes:
        config: What was asked for.
        folder: Where everything is written.
        env: The task.
        callback: Told what happens.
    """

    def __init__(self, config: RunConfig, folder: RunFolder, callback: Callback) -> None:
        self.config, self.folder, self.callback = config, folder, callback
        self.env: DiscussionEnv = config.build_env()
        self.done = 0

    @cached_property
    def validation(self) -> list[Question]:
        """The questions of evaluations during the training."""
        return subset(self.env.questions("validation"), self.config.num_eval_questions)

    def train(self, trainer: Trainer, start: int = 0) -> None:
        """Train from iteration `start`, evaluate and save as configured, and write what the trainer leaves."""
        self.trainer, self.done = trainer, start
        total = self.config.num_iterations
        self.callback.on_training_start(self)
        if trainer.evaluated and (start < total or start == 0):
            self._evaluate_if_due(start)
        try:
            trainer.fit(self, start)
        except (VerifierFailed, ServerUnavailable):  # nothing is wrong with what has been learned by now
            self.checkpoint()
            raise
        trainer.save(self.folder.path / "adapters")
        if trainer.evaluated:
            if total:
                self.evaluate(f"iteration_{total:04d}", self.validation)
            self.evaluate("test", subset(self.env.questions("test"), self.config.num_eval_questions))
        self.callback.on_training_end(self)

    def iteration(self, number: int, metrics: Mapping[str, float]) -> None:
        """A trainer tells that an iteration (from 1) is over: it is written down, saved and evaluated if that is due."""
        self.folder.record(number, metrics)
        self.callback.on_iteration(number, metrics)
        self.done, total = number, self.config.num_iterations
        if number % self.config.checkpoint_every == 0 or number == total:
            self.checkpoint()  # first: an evaluation may end in an error, or take long
        if self.trainer.evaluated and number < total:
            self._evaluate_if_due(number)

    def keep(self, number: int, episodes: Sequence[Episode]) -> None:
        """Keep the discussions of an iteration (from 1) whole, in ``episodes/``."""
        self._episodes.write(f"iteration_{number:04d}", episodes, sampled_records(self.env, episodes))

    def collected(
        self, iteration: int, collect: Callable[[int], list[Episode]]
    ) -> tuple[list[Episode], dict[str, float]]:
        """The discussions of an iteration (from 0) and what they looked like, kept whole as soon as they are there: a run that was cut
        off later reads them back.

        Args:
            iteration: Which.
            collect: Samples it.
        """
        looks = self.folder.path / "episodes" / f"iteration_{iteration + 1:04d}.json"
        if episodes := self.kept(iteration):
            return episodes, dict(read_json(looks))
        began = time.perf_counter()
        self.env.verifiers.begin(iteration, self.config.num_iterations)
        episodes = collect(iteration)
        metrics = {**rollout_metrics(episodes, self.env), "time/rollout_s": time.perf_counter() - began}
        looks.parent.mkdir(parents=True, exist_ok=True)
        write_whole(looks, json.dumps(metrics) + "\n")  # first: what is kept says that it is there
        self.keep(iteration + 1, episodes)
        return episodes, metrics

    def kept(self, iteration: int) -> list[Episode]:
        """What was kept of an iteration (from 0), [] if nothing was."""
        name = f"iteration_{iteration + 1:04d}"
        return self._episodes.read(name, self.env.rules) if name in self._episodes.names else []

    @cached_property
    def _episodes(self) -> EpisodeStore:
        return EpisodeStore(self.folder.path / "episodes")

    def evaluate(self, name: str, questions: Sequence[Question]) -> None:
        """Evaluate the team and write that down under a name."""
        evaluation = evaluate_run(self.config, self.env, self.trainer.team, questions)
        evaluation.save(self.folder.path / "evaluations" / f"{name}.jsonl")
        first = evaluation.episodes[: self.config.num_recorded_discussions]
        said = vocabulary(self.trainer.team, first)
        EpisodeStore(self.folder.path / "evaluations").write_tokens(name, first, vocabulary=said)
        prefix = "test/" if name == "test" else "eval/"
        metrics = {k.replace("eval/", prefix): v for k, v in evaluation.metrics.items()}
        self.folder.record(self.done, {"evaluation": name, **metrics})
        self.callback.on_evaluation(name, self.done, replace(evaluation, metrics=metrics))

    def _evaluate_if_due(self, done: int) -> None:
        """Unless that has been done: a run may have been stopped just before it, or just after."""
        name = f"iteration_{done:04d}"
        done_before = {row.get("evaluation") for row in self.folder.metrics}
        if done % self.config.eval_every == 0 and name not in done_before:
            self.evaluate(name, self.validation)

    def checkpoint(self) -> None:
        """Save what is needed to go on from here: after the last iteration that is over, and what the trainer has done since."""
        if self.trainer.resumable:
            self.folder.save_checkpoint(self.done, self.trainer)


class Trainer(ABC):
    """Anything that learns in a run: a team, or what judges one. A word of the kind "algorithm", or ``package.module:Class``.

    It is made before anything is written, so that its constructor can refuse what cannot be; it is given the `Run`, whose
    ``config.algorithm_args`` are its own. A policy gradient is an `Algorithm` instead, for which the trainer is `OnPolicy`.

    Attributes:
        team: Who speaks, as trained so far; of a trainer that is not `evaluated` nobody asks.
        resumable: Its state can be saved after any iteration; else a run that was cut off begins again.
        evaluated: The team is evaluated before, during and after the training.
        method: The method of a benchmark that its word alone means: what is held with those that it trains.
        only_for: Of which rows of a benchmark it can train the agents: (an attribute of `Method` that is true, what to say of others);
            None: of any.
        Settings: What ``config.algorithm_args`` may hold, a dataclass; None: nothing.
    """

    team: Team
    resumable: ClassVar[bool] = True
    evaluated: ClassVar[bool] = True
    only_for: ClassVar[tuple[str, str] | None] = None
    method: ClassVar[str] = "discussion"
    Settings: ClassVar[type | None] = None

    @classmethod
    def completed(cls, config: RunConfig) -> RunConfig:
        """The configuration with what this trainer needs of the discussion where it leaves that open."""
        return config

    @classmethod
    def messages_of(cls, config: RunConfig, env: DiscussionEnv) -> int:
        """Messages that it samples in an iteration, at most: what a training costs is planned by it."""
        return config.episodes_per_iteration * sum(map(len, env.rules.waves))

    @classmethod
    def steps_of(cls, config: RunConfig) -> int | None:
        """Optimizer steps of an adapter in an iteration, at most; None: nobody knows before."""
        return None

    @classmethod
    def evaluations_of(cls, config: RunConfig) -> int:
        """How often the team is evaluated: before, every `eval_every` iterations in between, after, and on the test."""
        n = config.num_iterations
        return cls.evaluated * (2 + (n > 0) + max(n - 1, 0) // config.eval_every)

    @abstractmethod
    def __init__(self, run: Run) -> None:
        """Build what the run needs.

        Raises:
            ValueError: A setting that cannot be, named with its remedy.
        """

    def preflight(self, run: Run) -> Preflight | None:
        """What a few discussions show before anything is written (`maporl.training.preflight`); None: nobody looks. It changes nothing."""
        return None

    @abstractmethod
    def fit(self, run: Run, start: int = 0) -> None:
        """Train from iteration `start` to the run's last, telling `run.iteration` (counted from 1) after each."""

    def save(self, folder: Path) -> None:
        """Write the trained team."""
        self.team.save(folder)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly from here."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:  # noqa: B027 (what is not resumable has no state)
        """Go on from `state`."""


def evaluate_run(config: RunConfig, env: DiscussionEnv, team: Team, questions: Sequence[Question]) -> Evaluation:
    """Evaluate as the run's configuration says: greedily, or sampled at eval_temperature."""
    temperature = config.eval_temperature
    with team.at_temperature(temperature):
        return evaluate(
            env,
            team,
            questions,
            seed=(config.seed, EVALUATE),
            greedy=temperature is None,
            team_answer=config.team_answer,
            allow_oracle=config.allow_oracle,
        )


def rows_at_once(batch: int, longest: int, tokens: int) -> int:
    """Rows of one pass: the largest divisor of `batch` such that so many rows of `longest` tokens fit into `tokens`; at least 1."""
    return max(rows for rows in range(1, batch + 1) if batch % rows == 0 and (rows == 1 or rows * longest <= tokens))

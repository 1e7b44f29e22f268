"""A training run: train, evaluate, checkpoint, resume; and the team that it leaves."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from maporl.agents import Loader, Team
from maporl.algorithms.batch import discount_between_rounds
from maporl.algorithms.evaluation import Evaluation, check_oracle, check_team_answer, evaluate, subset
from maporl.algorithms.records import record, write_records
from maporl.algorithms.training import EVALUATE, check_context, check_group_size, learn
from maporl.config import RunConfig
from maporl.roster import Roster
from maporl.run_folder import RunFolder
from maporl.settings import nearest
from maporl.types import Episode, Question

if TYPE_CHECKING:
    from maporl.envs import DiscussionEnv

__all__ = ["RunFolder", "Watcher", "load_team", "torch_settings", "train", "write_questions"]

TINY = 10_000_000
"""Parameters below which a model runs on one thread of a CPU unless told otherwise."""

Tracker = Callable[[Mapping[str, float], int], None]
Watcher = Callable[[str, int, Mapping[str, float]], None]
"""Told ("iteration" | "evaluation" name, iteration, metrics) as a run goes on."""


def train(
    config: RunConfig | None = None, *, resume: str | Path | None = None, watch: Watcher | None = None, **settings: Any
) -> RunFolder:
    """Train a team, evaluate it before, during and after, and write a run folder.

    ``maporl.train(env="gsm8k", model=DIR, algorithm="mappo")`` is ``maporl train --env gsm8k --model DIR --algorithm mappo``.

    Args:
        config: The run; its fields can be given as keyword arguments instead or on top.
        resume: A run folder to go on with after its last checkpoint; its own configuration holds. A complete run is left as it is.
        watch: Told about every iteration and evaluation.

    Raises:
        ValueError: A setting that cannot be, named with its remedy.
    """
    if resume is not None:
        if config is not None or settings:
            raise ValueError(f"resume goes on with the configuration in {str(resume)!r}; leave other settings out.")
        folder = RunFolder(resume)
        config = folder.config
        if folder.status == "complete":
            return folder
    else:
        config = (config or RunConfig()).merged(settings)
        folder = RunFolder(config.folder)
        folder.check_free()
    _check_trackers(config.trackers)
    with torch_settings(config):
        # Everything is built before the folder is made: a slip in the settings leaves no folder in the way of the next try.
        training = _Training(config, folder, watch)
        if resume is None:
            RunFolder.create(folder.path, training.config.resolved(training.env))
        with folder.keeping_status(), _trackers(config, folder) as track:
            training.run(track, resuming=resume is not None)
    return folder


class _Training:
    """One run: the objects the configuration names, and what happens around the loop."""

    def __init__(self, config: RunConfig, folder: RunFolder, watch: Watcher | None) -> None:
        self.config, self.folder, self.watch = config, folder, watch
        check_team_answer(config.team_answer)
        self.env = config.build_env()
        check_oracle(self.env, config.allow_oracle)  # now rather than at the first evaluation
        questions = self.env.questions("train")
        self.validation = subset(self.env.questions("validation"), config.num_eval_questions)
        self.env.judges.prepare()
        self.team = config.build_team(self.env)
        self.config = config = with_threads(config, self.team)
        self.curriculum = config.build_curriculum(self.env, self.team)
        self.algorithm = config.build_algorithm(self.team)
        discount_between_rounds(getattr(self.algorithm, "gamma_round", None), self.env.shaping.contains_future)
        check_group_size(self.algorithm, config.episodes_per_iteration)
        check_context(self.env, self.team, [*questions, *self.validation], joint=self.algorithm.reads_state)

    def run(self, track: Tracker, *, resuming: bool) -> None:
        self.track = track
        self.done = self.folder.restore(self.algorithm) if resuming else 0
        write_questions(self.folder.path / "questions.json", self.env)
        try:
            self._go_on(self.done)
        except Exception as error:
            if hasattr(error, "judge"):  # nothing is wrong with what has been learned by now
                self.folder.save_checkpoint(self.done, self.algorithm)
            raise

    def _go_on(self, start: int) -> None:
        config = self.config
        if start < config.num_iterations or start == 0:
            self.evaluate_if_due(start)
        loop = learn(
            self.env,
            self.team,
            self.algorithm,
            num_iterations=config.num_iterations,
            episodes_per_iteration=config.episodes_per_iteration,
            seed=config.seed,
            start=start,
            curriculum=self.curriculum,
            watch=self.record_discussions,
        )
        for done, metrics in enumerate(loop, start=start + 1):
            self.report("iteration", done, metrics)
            self.done = done
            if done < config.num_iterations:
                self.evaluate_if_due(done)
            if done % config.checkpoint_every == 0 or done == config.num_iterations:
                self.folder.save_checkpoint(done, self.algorithm)
        self.team.save(self.folder.path / "adapters")
        if config.num_iterations:
            self.evaluate(f"iteration_{config.num_iterations:04d}", config.num_iterations, self.validation)
        self.evaluate("test", config.num_iterations, subset(self.env.questions("test"), config.num_eval_questions))

    def evaluate_if_due(self, done: int) -> None:
        """On the validation split, unless that has been done: a run may have been stopped just before it, or just after."""
        name = f"iteration_{done:04d}"
        known = {row.get("evaluation") for row in self.folder.metrics}
        if done % self.config.eval_every == 0 and name not in known:
            self.evaluate(name, done, self.validation)

    def record_discussions(self, done: int, episodes: Sequence[Episode]) -> None:
        """The first training discussions of an iteration, with what the algorithm thought of every message."""
        config = self.config
        if not (done == 1 or done % config.eval_every == 0 or done == config.num_iterations):
            return
        chosen = episodes[: config.num_recorded_discussions]
        samples = [
            sum(e.transcript.question is one.transcript.question for e in chosen[:i]) for i, one in enumerate(chosen)
        ]
        records = [
            record(
                episode,
                self.env.team_answer(episode.transcript),
                greedy=False,
                sample=sample,
                advantages=[self.algorithm.turn_advantages.get(id(step)) for step in episode.steps],
            )
            for episode, sample in zip(chosen, samples, strict=True)
        ]
        if records:
            write_records(self.folder.path / "discussions" / f"iteration_{done:04d}.jsonl", records)

    def evaluate(self, name: str, iteration: int, questions: Sequence[Question]) -> None:
        evaluation = evaluate_run(self.config, self.env, self.team, questions)
        evaluation.save(self.folder.path / "evaluations" / f"{name}.jsonl")
        prefix = "test/" if name == "test" else "eval/"
        metrics = {k.replace("eval/", prefix): v for k, v in evaluation.metrics.items()}
        self.report(name, iteration, metrics, evaluation=name)

    def report(self, event: str, iteration: int, metrics: Mapping[str, float], **more: str) -> None:
        self.folder.record(iteration, {**more, **metrics})
        self.track(metrics, iteration)
        if self.watch is not None:
            self.watch(event, iteration, metrics)


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


def load_team(
    run: str | Path,
    *,
    env: DiscussionEnv | None = None,
    device: str | None = None,
    config: RunConfig | None = None,
) -> Team:
    """The team that a run trained.

    Args:
        run: Its folder.
        env: Whom to seat; the run's own agents if None. Agents the run did not have need a team that shares one adapter.
        device: A torch device; the run's choice if None.
        config: How its agents speak (longest message, dtype ...), where that differs from the run's own configuration.

    Raises:
        ValueError: Not a run folder, no adapters in it, or an agent that the team cannot seat.
    """
    own = RunFolder(run).config
    config = replace(config or own, device=device or (config or own).device)
    roster = Roster.load(Path(run) / "adapters")
    if config.model != own.model:
        roster = roster.on(config.model)
    roster = roster.seated(roster.agents if env is None else env.possible_agents).with_partners(config.partners)
    return Loader().team(roster, config.voice(), seed=config.seed)


@contextlib.contextmanager
def torch_settings(config: RunConfig) -> Iterator[None]:
    """Threads and float32 matmul precision as configured, restored afterwards."""
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        if config.num_threads is not None:
            torch.set_num_threads(config.num_threads)
        torch.set_float32_matmul_precision(config.matmul_precision)
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def _check_trackers(trackers: Sequence[str]) -> None:
    packages = {"tensorboard": "tensorboard", "wandb": "wandb", "trackio": "trackio"}
    for name in trackers:
        if name not in packages:
            raise ValueError(f"tracker {name!r} is unknown.{nearest(name, packages)} There are: {', '.join(packages)}.")
        if importlib.util.find_spec(packages[name]) is None:
            raise ValueError(f"tracker {name!r} is not installed; pip install 'maporl[{name}]', or leave it out.")


def with_threads(config: RunConfig, team: Team) -> RunConfig:
    """`config` with torch's threads, also set here, where nothing was chosen and the models run on a CPU.

    Two threads make a model of half a million parameters 1.3 times faster on a quiet machine, and up to 30 times slower on a busy
    one, where each waits for the other: tiny models get one thread. For larger ones it is measured, in a second or two: set
    num_threads where two runs must be equal to the bit.
    """
    if config.num_threads is not None or config.resolved_device != "cpu" or not team.policies:
        return config
    sizes = {policy: sum(p.numel() for p in policy.model.parameters()) for policy in team.policies}
    largest = max(sizes, key=sizes.__getitem__)
    threads = 1
    if sizes[largest] >= TINY:
        tokens = int(min(max(1e10 / sizes[largest], 16), 256))
        ids = torch.zeros(1, min(tokens, largest.context_window), dtype=torch.int64)
        with torch.inference_mode():
            threads = fastest_threads(lambda: largest.model(input_ids=ids), torch.get_num_threads())
    torch.set_num_threads(threads)
    return config.merged({"num_threads": threads})


def fastest_threads(work: Callable[[], Any], most: int, repetitions: int = 3) -> int:
    """With how many of torch's threads (1, 2, 4 ... `most`) the median of a few runs of `work` is shortest; changes nothing."""
    before = torch.get_num_threads()
    candidates = [*(2**k for k in range(most.bit_length()) if 2**k < most), most]
    seconds: dict[int, list[float]] = {number: [] for number in candidates}
    try:
        work()  # the first one loads and allocates
        for _ in range(repetitions):
            for number in candidates:  # in turn, so that a busy moment meets all
                torch.set_num_threads(number)
                began = time.perf_counter()
                work()
                seconds[number].append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(before)
    return min(candidates, key=lambda number: statistics.median(seconds[number]))


@contextlib.contextmanager
def _trackers(config: RunConfig, folder: RunFolder) -> Iterator[Tracker]:
    """Accelerate's trackers; a function (metrics, iteration) that feeds them."""
    if not config.trackers:
        yield lambda metrics, iteration: None
        return
    from accelerate import Accelerator

    # Only its trackers are used, so it is not told a device: its state is global, and would not let go of the first one told.
    accelerator = Accelerator(log_with=list(config.trackers), project_dir=str(folder.path / "tracking"))
    flat = {k: v if isinstance(v, bool | int | float) else str(v) for k, v in vars(config).items()}
    accelerator.init_trackers("maporl", config=flat)
    try:
        yield lambda metrics, iteration: accelerator.log(dict(metrics), step=iteration)
    finally:
        accelerator.end_training()


def write_questions(path: Path, env: DiscussionEnv) -> None:
    """The ids of the splits; tests are loaded by the final evaluation only, so they are not touched here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ids = {split: [q.id for q in env.questions(split)] for split in ("train", "validation")}
    path.write_text(json.dumps(ids) + "\n", encoding="utf-8")

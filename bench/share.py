"""The share of an iteration that is no model arithmetic: env, prompts, verifier, collector, advantages, metrics, logging.

The embedded default as the demo trains it: MAPPO on two witnesses, from the shipped warm start, through `maporl.train` with its
trackers. Functions are wrapped in timers for the length of the measurement, and every moment belongs to the innermost of them.
Model arithmetic is what runs in the policy, the critic, log-probs, backward passes, clipping and optimizer; everything else counts.
"""

from __future__ import annotations

import itertools
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import torch

import maporl.agents.models.policy
import maporl.training.loop
from bench.rows import Row, of
from bench.settings import Settings
from maporl.agents import Critic, LLMAgent, Policy, PromptTemplate
from maporl.agents.chat import ChatEncoder
from maporl.algorithms.batch import TurnBatch
from maporl.algorithms.descent import GradientDescent
from maporl.algorithms.policy_gradient import PolicyGradient
from maporl.algorithms.ppo import PPO
from maporl.benchmarks.experiments.warm_start import make_warm_start
from maporl.cli.demo import demo_study
from maporl.envs.rules import Rules
from maporl.envs.scoring import Verifiers
from maporl.training.callbacks import Callback
from maporl.training.evaluation import Evaluation
from maporl.training.run import train
from maporl.training.run_folder import RunFolder

__all__ = ["Clock", "measured", "rows", "timers"]

SECTION = "share"
ARITHMETIC = ("rollout", "update")
REST = "everything between"


@dataclass
class Clock:
    """Gives every moment to the innermost of the timers that run.

    Attributes:
        now: Reads seconds.
        spent: Part -> seconds.
    """

    now: Callable[[], float] = time.perf_counter
    spent: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._stack, self._last = [REST], self.now()

    def tick(self) -> None:
        """Book the time since the last call."""
        now = self.now()
        part = self._stack[-1]
        self.spent[part] = self.spent.get(part, 0.0) + now - self._last
        self._last = now

    @contextmanager
    def running(self, part: str) -> Iterator[None]:
        self.tick()
        self._stack.append(part)
        try:
            yield
        finally:
            self.tick()
            self._stack.pop()

    def around(self, function: Callable[..., Any], part: str) -> Callable[..., Any]:
        """`function`, timed."""

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.running(part):
                return function(*args, **kwargs)

        return timed


def timers() -> list[tuple[Any, str, str]]:
    """(owner, name, part) of every function that is timed; those of the policy and the critic by what their names say."""
    torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))])  # the first one gives the class a `step` of its own
    found: list[tuple[Any, str, str]] = [(Policy, "sample", "rollout")]
    for owner in (Policy, Critic, PolicyGradient, GradientDescent):
        named = re.compile("logprobs?|logits|hidden|forward|values|entropy")
        found += [(owner, n, "update") for n, f in vars(owner).items() if named.search(n) and callable(f)]
    found += [
        (torch.Tensor, "backward", "update"),
        (torch.autograd, "backward", "update"),
        (torch.autograd, "grad", "update"),
        (torch.optim.AdamW, "step", "update"),
        (torch.nn.utils, "clip_grad_norm_", "update"),
        (PromptTemplate, "messages", "prompts and tokenising"),
        (ChatEncoder, "__call__", "prompts and tokenising"),
        (LLMAgent, "encode", "prompts and tokenising"),
        (Verifiers, "score", "verifier"),
        (TurnBatch, "collect", "collector"),
        (PPO, "advantages", "advantages"),
        (PPO, "update", "loss and minibatches"),
        (maporl.training.loop, "rollout", "loop of the rollout"),
        (maporl.training.loop, "rollout_metrics", "metrics and logging"),
        (RunFolder, "record", "metrics and logging"),
    ]
    found += [(Rules, name, "env") for name in ("due", "observe", "state", "extend", "rewards")]
    return [(owner, name, part) for owner, name, part in found if name in vars(owner)]


@contextmanager
def measured(clock: Clock) -> Iterator[None]:
    """Within the block every function of `timers` reports to the clock, and so do tokenizers and trackers."""
    from accelerate import Accelerator
    from transformers import PreTrainedTokenizerBase

    places = timers() + [
        (PreTrainedTokenizerBase, "decode", "decoding"),
        (PreTrainedTokenizerBase, "batch_decode", "decoding"),
        (Accelerator, "log", "metrics and logging"),
    ]
    before = [(owner, name, vars(owner)[name]) for owner, name, _ in places]
    try:
        for owner, name, part in places:
            setattr(owner, name, _wrapped(vars(owner)[name], clock, part))
        yield
    finally:
        for owner, name, original in reversed(before):
            setattr(owner, name, original)


def _wrapped(original: Any, clock: Clock, part: str) -> Any:
    if isinstance(original, classmethod):
        return classmethod(clock.around(original.__func__, part))
    if isinstance(original, property):
        assert original.fget is not None
        return property(clock.around(original.fget, part))
    return clock.around(original, part)


def rows(settings: Settings) -> list[Row]:
    """Seconds of an iteration, the share of each part, and the share of all that is no arithmetic."""
    iterations = _iterations(settings)
    totals = [sum(parts.values()) for parts in iterations]
    note = "MAPPO on two witnesses, 128 discussions, shipped warm start"
    result = [of(SECTION, "an iteration", totals, "s", note=note)]
    names = sorted({name for parts in iterations for name in parts}, key=lambda n: (n not in ARITHMETIC, n == REST, n))
    for name in names:
        shares = [parts.get(name, 0.0) / total for parts, total in zip(iterations, totals, strict=True)]
        label = f"arithmetic of the {name}" if name in ARITHMETIC else name
        result.append(of(SECTION, label, shares, "share"))
    other = [1 - sum(p.get(n, 0.0) for n in ARITHMETIC) / t for p, t in zip(iterations, totals, strict=True)]
    return [*result, of(SECTION, "everything that is no model arithmetic", other, "share", "<= 0.05")]


class _Snapshots(Callback):
    """What had been spent when the first iteration began, and after each one."""

    def __init__(self, clock: Clock) -> None:
        self.clock, self.taken = clock, list[dict[str, float]]()

    def _take(self) -> None:
        self.clock.tick()
        self.taken.append(dict(self.clock.spent))

    def on_evaluation(self, name: str, iteration: int, evaluation: Evaluation) -> None:
        if iteration == 0:
            self._take()

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        self._take()


def _iterations(settings: Settings) -> list[dict[str, float]]:
    """Part -> seconds of every iteration but the first, which warms up."""

    def now() -> float:
        settings.synchronize()  # else a GPU's work would be booked wherever its result is waited for
        return time.perf_counter()

    clock = Clock(now)
    snapshots = _Snapshots(clock)

    with tempfile.TemporaryDirectory() as scratch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = Path(scratch) / "start"
        make_warm_start(start)
        study = demo_study("two_witnesses", "mappo", start, Path(scratch), device=settings.device)
        config = study.config("two_witnesses", study.named[-1], settings.seed)  # the last row is the team
        count = settings.repetitions + 1
        small = {"episodes_per_iteration": 16, "num_eval_questions": 4} if settings.quick else {}
        own = {"num_iterations": count, "num_threads": settings.num_threads, "checkpoint_every": 1000}
        with measured(clock):
            train(
                config.merged({**own, **small, "output_dir": str(Path(scratch) / "run"), "trackers": ["tensorboard"]}),
                callbacks=[snapshots],
            )
    between = [{n: b[n] - a.get(n, 0.0) for n in b} for a, b in itertools.pairwise(snapshots.taken)]
    return between[1:count]

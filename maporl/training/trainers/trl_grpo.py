"""A baseline that we did not write: one agent trained by TRL's ``GRPOTrainer`` on a task's questions.

Everything about the comparison is ours and the same as for our own algorithms: base model, LoRA settings, the questions of each
iteration, the prompts to the token, the environment's reward, and the budget. Everything about learning is TRL's: sampling with
transformers' ``generate``, and stock settings. In TRL 1.16 these are the loss "dapo" (a mean over all tokens of a batch), rewards
minus the mean of their group over its standard deviation + 1e-4, a ratio per token clipped to 1 +- 0.2 (it is 1 with one optimizer
step an iteration), AdamW without weight decay, gradients clipped to norm 1, a learning rate that falls linearly to 0, no KL.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging

from maporl.agents import LLMAgent, Sampling, Team
from maporl.algorithms.hf_training import global_settings_kept
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.roster import Roster, Speaker, checkpoint_of
from maporl.settings import called
from maporl.training.config import RunConfig
from maporl.training.loop import Collector, check_context, draw
from maporl.training.preflight import Preflight, preflight
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer
from maporl.types import Question, Seat

__all__ = ["ADAPTER", "Settings", "TRLGRPO"]

ADAPTER = "agent_0"


@dataclass(frozen=True)
class Settings:
    """What ``algorithm_args`` may hold.

    Attributes:
        group_size: Completions of one question, at least 2.
        num_minibatches: Optimizer steps on the completions of an iteration, each on a part of them (TRL's ``steps_per_generation``).
        kl_coef: TRL's ``beta``: the KL divergence from the reference in the loss.
    """

    group_size: int = 8
    num_minibatches: int = 1
    kl_coef: float = 0.0

    def __post_init__(self) -> None:
        if self.group_size < 2:
            raise UserValueError(f"group_size is {self.group_size}; a group-relative advantage needs at least 2.")
        if self.num_minibatches < 1:
            raise UserValueError(f"num_minibatches is {self.num_minibatches}; it must be at least 1.")
        if self.kl_coef < 0:
            raise UserValueError(f"kl_coef is {self.kl_coef}; it must be at least 0.")


class TRLGRPO(Trainer):
    """One agent trained by TRL's GRPO.

    An iteration is `episodes_per_iteration` completions, and one optimizer step on them unless ``num_minibatches`` says otherwise. Of
    TRL's own state nothing is kept, so that a run which was not finished begins anew.
    """

    resumable = False
    evaluated = False
    only_for = ("trains_one_turn", "TRL's GRPO trains one agent in one turn; write single_agent/trl_grpo")
    Settings = Settings

    @classmethod
    def steps_of(cls, config: RunConfig) -> int | None:
        return int(config.algorithm_args.get("num_minibatches", Settings.num_minibatches))

    def __init__(self, run: Run) -> None:
        config, env = run.config, run.env
        self.settings = called("algorithm", config.algorithm, Settings, dict(config.algorithm_args))
        _check(config, env, self.settings)
        self.agent = _agent(config)
        self.team = Team({(env.possible_agents[0], 0): self.agent})
        run.config = config = with_threads(config, self.team)
        self.questions = _questions(config, env, self.settings.group_size)
        check_context(env, self.team, self.questions)

    def preflight(self, run: Run) -> Preflight | None:
        """Of the untrained agent's sampling; TRL loads an init_adapter itself, so with one the team that starts is not here to be asked."""
        config, branching = run.config, (self.settings.group_size,)
        collector = Collector(run.env, self.team, config.episodes_per_iteration, branching, seed=config.seed)
        return None if config.init_adapter else preflight(self, run, collector)

    def fit(self, run: Run, start: int = 0) -> None:
        from maporl.training.trainers.trl_loop import Record, trainer_of

        record = Record(run, self.questions, self.agent, self.settings.num_minibatches)
        with global_settings_kept(), _quiet(), tempfile.TemporaryDirectory() as scratch:
            trainer = trainer_of(run.config, self.settings, self.agent, record, Path(scratch))
            if run.config.num_iterations:
                trainer.train()
        self.trained: Any = trainer.model
        self.speaker = (record.speaker, checkpoint_of(run.config.model, ADAPTER))

    def save(self, folder: Path) -> None:
        agent, base = self.speaker
        self.trained.save_pretrained(str(folder / ADAPTER), selected_adapters=["default"])
        Roster({Seat(agent, 0): Speaker(base, ADAPTER, trains=True)}).save(folder)


def _check(config: RunConfig, env: DiscussionEnv, arguments: Settings) -> None:
    if len(env.possible_agents) > 1 or env.num_rounds > 1:
        raise UserValueError(
            f"trl_grpo trains one agent in one turn, not {len(env.possible_agents)} agents in {env.num_rounds} rounds; use num_agents 1 "
            "and num_rounds 1, or magrpo for a team."
        )
    if config.stop:
        raise UserValueError(
            f"trl_grpo does not stop at strings, and stop is {list(config.stop)}; leave it out, or use magrpo."
        )
    if config.thinking_budget is not None:
        raise UserValueError(
            f"trl_grpo closes no reasoning by force, and thinking_budget is {config.thinking_budget}; leave it out, or use magrpo."
        )
    if env.verifier is None:
        raise UserValueError(f"{config.env!r} has no verifier, so TRL has no reward; give one: env_args.verifier.")
    for name in ("group_size", "num_minibatches"):
        if config.episodes_per_iteration % (size := getattr(arguments, name)):
            raise UserValueError(
                f"episodes_per_iteration is {config.episodes_per_iteration}; trl_grpo needs a multiple of its {name} {size}."
            )
    if arguments.kl_coef and config.init_adapter and config.reference == "base":
        raise UserValueError(
            "with an init_adapter TRL's KL reference is that adapter; use reference 'warm_start', or kl_coef 0."
        )


def _agent(config: RunConfig) -> LLMAgent:
    """The base model as an agent of ours: it is never asked to speak, but says what its prompts are."""
    policy = config.build_policy(checkpoint_of(config.model, ADAPTER))
    sampling = Sampling(config.max_new_tokens, config.temperature)
    return LLMAgent(policy, None, prompts=config.build_prompts(), sampling=sampling)


def _questions(config: RunConfig, env: DiscussionEnv, group_size: int) -> list[Question]:
    """The questions of all iterations, in order: those that our algorithms ask with this seed and group size."""
    pool, number = env.questions("train"), config.episodes_per_iteration // group_size
    return [q for k in range(max(config.num_iterations, 1)) for q in draw(pool, number, config.seed, k)]


@contextmanager
def _quiet() -> Iterator[None]:
    """No word about names that will change, and nothing of what transformers and TRL log below an error."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(level)

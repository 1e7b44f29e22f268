"""A baseline that we did not write: one agent trained by TRL's ``GRPOTrainer`` on a task's questions.

Everything about the comparison is ours and the same as for our own algorithms: base model, LoRA settings, the questions of each
iteration, the prompts to the token, the environment's reward, and the budget. Everything about learning is TRL's: sampling with
transformers' ``generate``, and stock settings. In TRL 1.16 these are the loss "dapo" (a mean over all tokens of a batch), rewards
minus the mean of their group over its standard deviation + 1e-4, a ratio per token clipped to 1 +- 0.2 (it is 1 with one optimizer
step an iteration), AdamW without weight decay, gradients clipped to norm 1, a learning rate that falls linearly to 0, no KL.
"""

from __future__ import annotations

import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from datasets import Dataset
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback
from transformers.utils import logging as transformers_logging
from trl import GRPOConfig, GRPOTrainer

from maporl.agents import LLMAgent, Sampling, Team
from maporl.agents.make_model import without_progress_bars
from maporl.agents.trainer import QUIET, global_settings_kept
from maporl.algorithms.training import check_context, draw
from maporl.benchmarks.whole_runs import begun_anew, finished, rows_at_once
from maporl.config import RunConfig
from maporl.envs.discussion import DiscussionEnv
from maporl.run import RunFolder, Watcher, torch_settings, with_threads
from maporl.settings import called
from maporl.types import Question

__all__ = ["train_grpo"]

ADAPTER = "agent_0"

LOGGED = {  # TRL's name -> ours
    "loss": "policy_loss",
    "grad_norm": f"grad_norm/{ADAPTER}",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "reward_std": "reward_std",
    "kl": "kl_to_reference",
}


@dataclass(frozen=True)
class _Arguments:
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
            raise ValueError(f"group_size is {self.group_size}; a group-relative advantage needs at least 2.")
        if self.num_minibatches < 1:
            raise ValueError(f"num_minibatches is {self.num_minibatches}; it must be at least 1.")
        if self.kl_coef < 0:
            raise ValueError(f"kl_coef is {self.kl_coef}; it must be at least 0.")


def train_grpo(config: RunConfig, watch: Watcher | None = None) -> RunFolder:
    """Train one agent by TRL's GRPO and write an ordinary run folder, without evaluations.

    An iteration is `episodes_per_iteration` completions, and one optimizer step on them unless ``num_minibatches`` says otherwise. A run
    that was not finished is begun anew.

    Args:
        config: Of a lone agent that speaks once. Its ``algorithm_args`` may hold "group_size" (8), "num_minibatches" (1), "kl_coef" (0).
        watch: Told about every iteration.

    Raises:
        ValueError: More than one agent or turn, no verifier, a setting that cannot be, named with its remedy.
    """
    if (done := finished(config)) is not None:
        return done
    arguments = called("algorithm", config.algorithm, _Arguments, dict(config.algorithm_args))
    env = config.build_env()
    _check(config, env, arguments)
    with torch_settings(config), global_settings_kept(), _quiet(), tempfile.TemporaryDirectory() as scratch:
        agent = _agent(config)
        team = Team({(env.possible_agents[0], 0): agent})
        config = with_threads(config, team)
        questions = _questions(config, env, arguments.group_size)
        check_context(env, team, questions)
        record = _Record(env, questions, agent, arguments.num_minibatches)
        trainer = _trainer(config, arguments, agent, record, Path(scratch))
        folder = begun_anew(config, env)
        record.folder, record.watch = folder, watch
        with folder.keeping_status(resumable=False):
            if config.num_iterations:
                trainer.train()
            _save(trainer.model, folder.path / "adapters", env.possible_agents[0])
    return folder


def _check(config: RunConfig, env: DiscussionEnv, arguments: _Arguments) -> None:
    if len(env.possible_agents) > 1 or env.num_rounds > 1:
        raise ValueError(
            f"trl_grpo trains one agent in one turn, not {len(env.possible_agents)} agents in {env.num_rounds} rounds; use num_agents 1 "
            "and num_rounds 1, or magrpo for a team."
        )
    if env.verifier is None:
        raise ValueError(f"{config.env!r} has no verifier, so TRL has no reward; give one: env_args.verifier.")
    for name in ("group_size", "num_minibatches"):
        if config.episodes_per_iteration % (size := getattr(arguments, name)):
            raise ValueError(
                f"episodes_per_iteration is {config.episodes_per_iteration}; trl_grpo needs a multiple of its {name} {size}."
            )
    if arguments.kl_coef and config.init_adapter and config.reference == "base":
        raise ValueError(
            "with an init_adapter TRL's KL reference is that adapter; use reference 'warm_start', or kl_coef 0."
        )


def _agent(config: RunConfig) -> LLMAgent:
    """The base model as an agent of ours: it is never asked to speak, but says what its prompts are."""
    policy = config.build_policy(config.model_of(ADAPTER))
    sampling = Sampling(config.max_new_tokens, config.temperature)
    return LLMAgent(policy, None, prompts=config.build_prompts(), sampling=sampling)


def _questions(config: RunConfig, env: DiscussionEnv, group_size: int) -> list[Question]:
    """The questions of all iterations, in order: those that our algorithms ask with this seed and group size."""
    pool, number = env.questions("train"), config.episodes_per_iteration // group_size
    return [q for k in range(max(config.num_iterations, 1)) for q in draw(pool, number, config.seed, k)]


class _Trainer(GRPOTrainer):
    """TRL's trainer on our token ids, which differ from its own where a question spells out a control token, say."""

    agent: LLMAgent

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [ids.tolist() for ids in self.agent.policy.encode_chats(prompts)], None, {}

    def _send_telemetry(self) -> None:
        """A benchmark tells nobody that it runs."""


def _trainer(config: RunConfig, arguments: _Arguments, agent: LLMAgent, record: _Record, scratch: Path) -> GRPOTrainer:
    chats = [agent.prompts.messages(_observed(record.env, q).observe(record.speaker)) for q in record.questions]
    longest = max(map(len, agent.policy.encode_chats(chats))) + config.max_new_tokens
    batch = config.episodes_per_iteration // arguments.num_minibatches
    rows = rows_at_once(batch, longest, config.microbatch_tokens)
    settings = GRPOConfig(
        output_dir=str(scratch),
        max_steps=config.num_iterations * arguments.num_minibatches,
        generation_batch_size=config.episodes_per_iteration,
        num_generations=arguments.group_size,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=batch // rows,
        max_completion_length=config.max_new_tokens,
        temperature=config.temperature,
        learning_rate=config.learning_rate,
        beta=arguments.kl_coef,
        seed=config.seed,
        shuffle_dataset=False,  # its order is ours
        bf16=config.autocast,
        gradient_checkpointing=config.gradient_checkpointing,
        use_cpu=config.resolved_device == "cpu",
        logging_steps=1,
        **QUIET,
    )
    model: Any = agent.policy.model
    reward: Any = record.reward
    if config.init_adapter:
        model = PeftModel.from_pretrained(model, config.init_adapter, is_trainable=True)
    trainer = _Trainer(
        model=model,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": chats, "number": list(range(len(chats)))}),
        processing_class=agent.policy.tokenizer,
        peft_config=None if config.init_adapter else agent.policy.lora.config(),
        callbacks=[record],
    )
    trainer.agent = agent
    trainer.remove_callback(PrinterCallback)
    return trainer


def _observed(env: DiscussionEnv, question: Question) -> DiscussionEnv:
    """A discussion of the question, in which nobody has spoken."""
    mine = copy(env)
    mine.reset(options={"question": question})
    return mine


@dataclass
class _Record(TrainerCallback):
    """Rewards TRL's completions, and writes down what happens in an iteration.

    Attributes:
        env: The task.
        questions: By their number in the data set.
        agent: Who decodes.
        steps: Optimizer steps of an iteration.
        folder, watch: Who is told of it.
    """

    env: DiscussionEnv
    questions: Sequence[Question]
    agent: LLMAgent
    steps: int
    folder: RunFolder | None = None
    watch: Watcher | None = None
    _rollout: dict[str, float] = field(default_factory=dict)
    _updates: list[dict[str, float]] = field(default_factory=list)
    _tokens: int = 0
    _began: float = 0.0
    _sampled: float = 0.0

    @property
    def speaker(self) -> str:
        return str(self.env.possible_agents[0])

    def reward(self, completion_ids: list[list[int]], number: list[int], **columns: Any) -> list[float]:
        """What the environment pays for each completion: its verifier's score, unless it is told to shape it."""
        decoded = self.agent.policy.tokenizer.batch_decode(completion_ids, skip_special_tokens=True)
        texts = [text.strip() for text in decoded]  # as our agents do
        envs = [_observed(self.env, self.questions[n]) for n in number]
        verdicts = self.env.score_batch([(e.transcript, self.speaker, t) for e, t in zip(envs, texts, strict=True)])
        for env, text, verdict in zip(envs, texts, verdicts, strict=True):
            env.advance(text, *verdict)
        rewards = [float(env.turn_rewards[0]) for env in envs]
        ends = self.agent.policy.eos_ids
        self._rollout = {
            "rollout/reward_mean": float(np.mean(rewards)),
            "rollout/truncated": float(np.mean([ids[-1] not in ends for ids in completion_ids])),
            "rollout/completion_tokens": float(np.mean([len(ids) for ids in completion_ids])),
        }
        if all(truth is not None for _, truth in verdicts):
            right = [bool(truth.correct) for _, truth in verdicts if truth is not None]
            self._rollout["rollout/accuracy_round_1"] = float(np.mean(right))
        self._tokens, self._sampled = sum(map(len, completion_ids)), time.perf_counter()
        return rewards

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if not self._updates:
            self._began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kw: Any) -> None:
        if logs is None or "loss" not in logs or self.folder is None:
            return  # its last line is about the whole run
        self._updates.append(
            {f"train/{ours}": float(logs[theirs]) for theirs, ours in LOGGED.items() if theirs in logs}
        )
        if len(self._updates) < self.steps:
            return
        ended = time.perf_counter()
        names = {name: None for update in self._updates for name in update}
        metrics = {
            **self._rollout,
            **{name: float(np.mean([update[name] for update in self._updates if name in update])) for name in names},
            "time/rollout_s": self._sampled - self._began,
            "time/update_s": ended - self._sampled,
            "time/tokens_per_s": self._tokens / (ended - self._began),
        }
        self._updates = []
        iteration = state.global_step // self.steps
        self.folder.record(iteration, metrics)
        if self.watch is not None:
            self.watch("iteration", iteration, metrics)


def _save(model: Any, folder: Path, agent: str) -> None:
    """The adapter and who speaks with it, as `Team.save` does."""
    model.save_pretrained(str(folder / ADAPTER), selected_adapters=["default"])
    (folder / "team.json").write_text(json.dumps({agent: [ADAPTER]}, indent=2) + "\n", encoding="utf-8")


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars, no word about names that will change, and nothing of what transformers and TRL log below an error."""
    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        with without_progress_bars(), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            yield
    finally:
        transformers_logging.set_verbosity(level)

"""TRL's own training loop on our prompts and rewards, reporting every iteration to our `Run`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from peft import get_peft_model
from transformers import PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

from maporl.agents import LLMAgent
from maporl.algorithms.hf_training import QUIET
from maporl.training.config import RunConfig
from maporl.training.trainer import Run, rows_at_once
from maporl.training.trainers.trl_grpo import ADAPTER, Settings
from maporl.types import Completion, Question, Seat, Transcript, Turn

__all__ = ["Record", "trainer_of"]

LOGGED = {  # TRL's name -> ours
    "loss": "policy_loss",
    "grad_norm": f"grad_norm/{ADAPTER}",
    "learning_rate": "learning_rate",
    "entropy": "entropy",
    "reward_std": "reward_std",
    "kl": "kl_to_reference",
}


class _Trainer(GRPOTrainer):
    """TRL's trainer on our token ids, which differ from its own where a question spells out a control token, say."""

    agent: LLMAgent

    def _tokenize_prompts(self, prompts: list[Any]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return [ids.tolist() for ids in self.agent.policy.encode_chats(prompts)], None, {}

    def _send_telemetry(self) -> None:
        """A benchmark tells nobody that it runs."""


def trainer_of(config: RunConfig, arguments: Settings, agent: LLMAgent, record: Record, scratch: Path) -> GRPOTrainer:
    rules, seat = record.run.env.rules, Seat(record.speaker, 0)
    chats = [agent.prompts.messages(rules.observe(start, seat)) for start in record.starts]
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
        bf16=agent.policy.model.dtype == torch.bfloat16,
        gradient_checkpointing=config.gradient_checkpointing,
        use_cpu=config.resolved_device == "cpu",
        logging_steps=1,
        **QUIET,
    )
    model: Any = agent.policy.model
    reward: Any = record.reward
    if config.init_adapter:
        start = agent.policy.read_adapter(config.init_adapter)
        model = get_peft_model(model, start.config)
        start.fill(model, "default")
    trainer = _Trainer(
        model=model,
        reward_funcs=reward,
        args=settings,
        train_dataset=Dataset.from_dict({"prompt": chats, "number": list(range(len(chats)))}),
        processing_class=agent.policy.tokenizer,
        peft_config=None if config.init_adapter else agent.policy.lora.config(model),
        callbacks=[record],
    )
    trainer.agent = agent
    trainer.remove_callback(PrinterCallback)
    return trainer


@dataclass
class Record(TrainerCallback):
    """Rewards TRL's completions, and writes down what happens in an iteration.

    Attributes:
        run: Is told of every iteration.
        questions: By their number in the data set.
        agent: Who decodes.
        steps: Optimizer steps of an iteration.
    """

    run: Run
    questions: Sequence[Question]
    agent: LLMAgent
    steps: int
    _rollout: dict[str, float] = field(default_factory=dict)
    _updates: list[dict[str, float]] = field(default_factory=list)
    _tokens: int = 0
    _began: float = 0.0
    _sampled: float = 0.0

    @cached_property
    def starts(self) -> list[Transcript]:
        """Of each question the discussion in which nobody has spoken."""
        return self.run.env.rules.begin(self.questions)

    @property
    def speaker(self) -> str:
        return str(self.run.env.possible_agents[0])

    def reward(
        self, completion_ids: list[list[int]], number: list[int], trainer_state: Any, **columns: Any
    ) -> list[float]:
        """What the environment pays for each completion: its verifier's score, unless it is told to shape it."""
        encode, ends = self.agent.policy.encode_chats, self.agent.policy.eos_ids
        parts = [encode.apart(encode.decode(ids)) for ids in completion_ids]  # as our agents do
        completions = [
            Completion(text, completion_ids=np.array(ids), reasoning=thought, truncated=ids[-1] not in ends)
            for ids, (thought, text) in zip(completion_ids, parts, strict=True)
        ]
        rules, verifiers = self.run.env.rules, self.run.env.verifiers
        verifiers.begin(trainer_state.global_step, trainer_state.max_steps)
        said = [
            (self.starts[n], [Turn(self.speaker, 0, completion.text, completion=completion)])
            for n, completion in zip(number, completions, strict=True)
        ]
        discussions = rules.extend(said)
        rewards = [rules.rewards(discussion)[-1] for discussion in discussions]
        self._rollout = {
            "rollout/reward_mean": float(np.mean(rewards)),
            "rollout/truncated": float(np.mean([completion.truncated for completion in completions])),
            "rollout/completion_tokens": float(np.mean([len(ids) for ids in completion_ids])),
        }
        self._rollout |= verifiers.metrics()
        truths = [discussion.turns[-1].truth for discussion in discussions]
        if all(truth is not None for truth in truths):
            right = [bool(truth.correct) for truth in truths if truth is not None]
            self._rollout["rollout/accuracy_round_1"] = float(np.mean(right))
        self._tokens, self._sampled = sum(map(len, completion_ids)), time.perf_counter()
        return rewards

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        if not self._updates:
            self._began = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **kw: Any) -> None:
        if logs is None or "loss" not in logs:
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
        self.run.iteration(state.global_step // self.steps, metrics)

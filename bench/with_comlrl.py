"""CoMLRL's MAGRPOTrainer (the public class of the installed package), ready to be stepped beside ours.

How it works, and therefore what is compared: every agent is a model of its own, trained whole (no adapters); a training step
is one question; with more than one round every joint action gets children of its own, so that rounds make a tree.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from comlrl.trainers.reinforce import MAGRPOConfig, MAGRPOTrainer  # a missing package is reported by the command
from datasets import Dataset
from transformers import AutoTokenizer

from bench.our_step import STOCK, Knobs
from bench.settings import Settings

__all__ = ["CoMLRLStep", "quiet"]

Reward = Callable[..., list[float]]
"""(texts of agent 0, texts of agent 1, ...) -> rewards."""

Transition = Callable[..., Sequence[str]]
"""(prompt=, agent_completions=, ...) -> the next round's prompt of every agent."""


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Nothing of what another library prints, logs or warns of, within the block."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


class CoMLRLStep:
    """A trainer of theirs; a step is `train()` over a data set of some questions, one pass.

    Args:
        settings: Device, dtype, geometry, seed.
        checkpoint: From which every agent's own model is loaded.
        reward: Of a joint action.
        knobs: Attention, matmul precision and autocast given to this side.
        num_agents, num_rounds, group_size, new_tokens: As in `OurStep`.
        transition: Prompts of the second round.
        buffer: Questions (tree nodes) per optimizer step; their default is 2.
        learning_rate: AdamW's.
        force_length: Messages never end early.
        **arguments: More of `MAGRPOConfig`.
    """

    def __init__(
        self,
        settings: Settings,
        checkpoint: str | Path,
        reward: Reward,
        knobs: Knobs = STOCK,
        *,
        num_agents: int = 2,
        num_rounds: int = 1,
        group_size: int = 8,
        new_tokens: int = 32,
        transition: Transition | None = None,
        buffer: int = 2,
        learning_rate: float = 1e-9,
        force_length: bool = True,
        **arguments: Any,
    ) -> None:
        self.settings, self.knobs, self.num_agents = settings, knobs, num_agents
        self.tokens = 0
        chosen: dict[str, Any] = {
            "num_train_epochs": 1,
            "agent_learning_rate": learning_rate,
            "num_agents": num_agents,
            "num_turns": num_rounds,
            "num_generations": group_size,
            "max_new_tokens": new_tokens,
            "agent_devices": settings.device,
            # The distribution that ours samples from too: no filter, temperature 1.
            "temperature": 1.0,
            "top_p": 1.0,
            "top_k": 0,
            "eval_interval": 0,
            "rollout_buffer_size": buffer,
            "early_termination_threshold": None,  # else a good first round has no second
            "external_prompt_passthrough": True,
        }
        with quiet():
            self.trainer = MAGRPOTrainer(
                agents=[str(checkpoint)] * num_agents,
                num_agents=num_agents,
                tokenizer=AutoTokenizer.from_pretrained(checkpoint),
                model_config={"attn_implementation": knobs.attention, "torch_dtype": settings.dtype},
                reward_func=reward,
                formatters=[lambda item, key=f"prompt_{agent}": item[key] for agent in range(num_agents)],
                external_transition=transition,
                args=MAGRPOConfig(**(chosen | arguments)),
            )
        self.trainer.verbose = False
        for agent in self.trainer.agents:
            if force_length:
                agent.generation_config.eos_token_id = None
            agent.generate = self._counted(agent.generate)

    def _counted(self, generate: Callable[..., Any]) -> Callable[..., Any]:
        """Their call of `generate`, its new tokens counted."""

        def counting(*args: Any, **kwargs: Any) -> Any:
            out = generate(*args, **kwargs)
            self.tokens += (out.sequences.shape[1] - kwargs["input_ids"].shape[1]) * out.sequences.shape[0]
            return out

        return counting

    def __call__(self, prompts: Sequence[Sequence[str]]) -> Mapping[str, float]:
        """One pass over the questions, each given as every agent's prompt; "seconds", and "tokens" that were sampled."""
        items = [{"prompt": texts[0]} | {f"prompt_{a}": text for a, text in enumerate(texts)} for texts in prompts]
        self.trainer.train_dataset = Dataset.from_list(items)
        self.tokens = 0
        with quiet(), self.knobs.applied(self.settings.device):
            seconds = self.settings.timed(self.trainer.train)
        return {"tokens": self.tokens, "seconds": seconds}

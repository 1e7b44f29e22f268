"""Whole discussions, sampled by us and by transformers' `generate` with every history encoded anew in every round.

The same `rollout`, env, questions, prompts and weights; only who sits in the seats differs. `generate` is given what a careful
user gives it: one batch an adapter, left padding, no filters, no gradient. It need not return log-probs, which ours does.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from bench.rows import Row, each, interleaved, ratio
from bench.settings import Settings
from bench.workload import Workload, make_talkative, tokens_of
from maporl.agents import Agent, Policy, Team
from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import DTYPES
from maporl.agents.prompts import PromptTemplate
from maporl.training.threads import torch_settings
from maporl.types import Completion, Episode, Observation

__all__ = ["GenerateAgent", "rows"]

SECTION = "against_generate"
MEAN_LENGTHS: dict[str, float | None] = {"all 32 tokens long": None, "16 tokens on average": 16.0}


def rows(settings: Settings) -> list[Row]:
    """Tokens per second of both, and their ratio, for messages of one length and for messages that end when they like."""
    discussions, new = (2, 8) if settings.quick else (64, 32)
    result = []
    for name, mean_length in list(MEAN_LENGTHS.items())[: 1 if settings.quick else None]:
        with tempfile.TemporaryDirectory() as scratch:
            policy = make_talkative(settings.policy(scratch), mean_length)
            policy.model.save_pretrained(Path(scratch) / "same")
            workload = Workload.build(
                policy, settings, discussions=discussions, num_agents=3, num_rounds=3, new_tokens=new, group_size=2
            )
            theirs = generating_team(str(Path(scratch) / "same"), policy, workload.env.possible_agents, new, settings)
        with torch_settings(workload.config):
            teams = {"ours": workload.team, "generate": theirs}
            steps = {side: partial(_rate, workload, team, settings) for side, team in teams.items()}
            series = interleaved(steps, settings.repetitions)
        what = f"3 agents x 3 rounds, {discussions} discussions, messages {name}"
        result += each(SECTION, what, series, "tokens/s")
        result.append(ratio(SECTION, f"{what}: ours / generate", series["ours"], series["generate"], ">= 2.5"))
    return result


class GenerateAgent(Agent):
    """One adapter of a PEFT model, sampled with `generate`.

    Args:
        model: A PEFT model that holds the adapter.
        adapter: Who speaks.
        tokenizer: Of the model.
        max_new_tokens: Longest message.
    """

    def __init__(self, model: Any, adapter: str, tokenizer: Any, max_new_tokens: int) -> None:
        self.model, self.adapter, self.tokenizer, self.max_new_tokens = model, adapter, tokenizer, max_new_tokens
        self.prompts, self.encode_chats = PromptTemplate(), ChatEncoder(tokenizer)

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        prompts = self.encode_chats([self.prompts.messages(o) for o in observations])
        device, pad, eos = self.model.device, self.tokenizer.pad_token_id, self.tokenizer.eos_token_id
        width = max(map(len, prompts))
        ids = torch.tensor([[pad] * (width - len(p)) + p.tolist() for p in prompts], device=device)
        mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts], device=device)
        self.model.set_adapter(self.adapter)
        torch.manual_seed(int(rngs[0].integers(2**31)))
        sampling: dict[str, Any] = {} if greedy else {"temperature": 1.0, "top_k": 0, "top_p": 1.0}
        output = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=not greedy,
            max_new_tokens=self.max_new_tokens,
            pad_token_id=pad,
            eos_token_id=eos,
            **sampling,
        )
        result = []
        for prompt, row in zip(prompts, output[:, width:].tolist(), strict=True):
            own = row[: row.index(eos) + 1] if eos in row else row
            text = self.tokenizer.decode(own, skip_special_tokens=True).strip()
            result.append(Completion(text, np.array(prompt), np.array(own), truncated=eos not in row))
        return result


def generating_team(path: str, policy: Policy, agents: Sequence[str], max_new_tokens: int, settings: Settings) -> Team:
    """A seat for every agent on a model of its own loaded from `path`, each with an adapter as `policy`'s."""
    model: Any = AutoModelForCausalLM.from_pretrained(path, dtype=DTYPES[settings.dtype])
    model.to(settings.device).eval()
    # Any sampling setting that a checkpoint brings would be mixed into what is asked for.
    model.generation_config = type(model.generation_config)()
    lora = LoraConfig(r=policy.lora.r, lora_alpha=policy.lora.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # PEFT's, about a name in transformers that it will have to change
        model = get_peft_model(model, lora, adapter_name=agents[0])
        for agent in agents[1:]:
            model.add_adapter(agent, lora)
    return Team({(a, 0): GenerateAgent(model, a, policy.tokenizer, max_new_tokens) for a in agents})


def _rate(workload: Workload, team: Team, settings: Settings) -> float:
    """Sampled tokens per second of one iteration's discussions."""
    episodes: list[Episode] = []
    seconds = settings.timed(lambda: episodes.extend(workload.sample(0, team)))
    return tokens_of(episodes) / seconds

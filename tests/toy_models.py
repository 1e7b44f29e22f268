"""Small checkpoints whose weights are far from their initial values, so that distributions are sharp and mistakes show."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from maporl.agents.backbone import left_pad
from maporl.agents.critic import Critic
from maporl.agents.make_model import make_model
from maporl.agents.policy import Policy
from maporl.agents.prefix_trees import Packed
from maporl.agents.sampler import Request, Sampled
from maporl.agents.sampling import Sampling
from maporl.types import Message, Observation

SIZES = dict(hidden_size=32, num_layers=2, intermediate_size=64, vocab_size=300, context=512)


def sharp_model(folder: Path, embedding: float = 0.08, **settings: object) -> Path:
    """`make_model` with weights of a given size: .16, and `embedding` for the (tied) embedding; `settings` overrides SIZES."""
    make_model(folder, **{**SIZES, **settings})  # type: ignore[arg-type]
    weights = load_file(folder / "model.safetensors")
    for name, weight in weights.items():
        if weight.dim() > 1:
            weight.mul_((embedding if "embed" in name or "wte" in name else 0.16) / weight.std())
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def shake(policy: Policy, adapter: str, scale: float = 0.3, seed: int = 5) -> None:
    """Give an adapter weights as if it had been trained: B is zero at first."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters(adapter):
            parameter.add_(torch.randn(parameter.shape, generator=generator) * scale)


def weights(policy: Policy, adapter: str) -> torch.Tensor:
    """All parameters of an adapter in one vector."""
    return torch.cat([p.detach().flatten().clone() for p in policy.parameters(adapter)])


def change_json(path: Path, **changes: object) -> None:
    """Overwrite keys of a JSON file; None deletes one."""
    content = json.loads(path.read_text())
    for key, value in changes.items():
        content.pop(key, None) if value is None else content.update({key: value})
    path.write_text(json.dumps(content))


def random_ids(*lengths: int, seed: int = 0, vocab: int = 290) -> list[np.ndarray]:
    """Random token ids, special ones included, one array for every length."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, vocab, n) for n in lengths]


def completion_logits(
    policy: Policy, adapter: str | None, prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray]
) -> torch.Tensor:
    """Logits that predict each completion token, [N, T, V] float32, T the longest completion, from the model's own forward pass.

    The plain way, which everything faster is compared with: prompts are padded on the left, completions on the right.
    """
    ids, mask = left_pad(prompts, policy.pad_id, policy.device)
    width = max(len(c) for c in completions)
    right, valid = (t.flip(1) for t in left_pad([c[::-1] for c in completions], policy.pad_id, policy.device))
    ids, mask = torch.cat([ids, right], 1), torch.cat([mask, valid], 1)
    positions = (mask.cumsum(-1) - 1).clamp(min=0)
    policy.model.eval()
    with policy.using(adapter):
        logits = policy.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False).logits
    return logits[:, -width - 1 : -1].float()


def per_message(packs: Sequence[Packed], flats: Sequence[torch.Tensor]) -> torch.Tensor:
    """[N, T] from what passes over all N messages have found, zero-padded."""
    number = sum(len(p.rows) for p in packs)
    table = torch.zeros(number, max(int(p.lengths.max()) for p in packs))
    for packed, flat in zip(packs, flats, strict=True):
        packed.spread(flat, table)
    return table


def logprobs_of(
    policy: Policy, adapter: str | None, prompts: Sequence, completions: Sequence, **settings: object
) -> torch.Tensor:
    """Log-probs [N, T] by training's way; `settings`: temperature and token_budget."""
    budget, temperature = settings.get("token_budget", 4096), settings.get("temperature", 1.0)
    packs = policy.pack(np.arange(len(prompts)), prompts, completions, budget)  # type: ignore[arg-type]
    return per_message(packs, [policy.logprobs(adapter, p, temperature)[0] for p in packs])  # type: ignore[arg-type]


def values_of(critic: Critic, contexts: Sequence, completions: Sequence) -> torch.Tensor:
    """Values [N, T] before each completion token."""
    packs = critic.policy.pack(np.arange(len(contexts)), contexts, completions, 4096)
    return per_message(packs, [critic.values(p) for p in packs])


def generate(
    policy: Policy, adapter: str | None, prompts: Sequence, sampling: Sampling, uniforms: np.ndarray | None
) -> list[Sampled]:
    """One adapter's messages; uniforms [N, max_new_tokens]."""
    draws = [None] * len(prompts) if uniforms is None else uniforms
    return policy.sample([Request(adapter, p, sampling, u) for p, u in zip(prompts, draws, strict=True)])


def random_uniforms(rows: int, steps: int, seed: int = 0) -> np.ndarray:
    return np.stack([np.random.default_rng([seed, r]).random(steps, dtype=np.float32) for r in range(rows)])


def observation(
    agent: str = "agent_0", round: int = 0, *, question: str = "How many?", private: str = "", said: tuple = ()
) -> Observation:
    """What `agent` is shown; `said` holds (agent, round, text)."""
    return Observation(
        agent=agent,
        round=round,
        question=question,
        private=private,
        instruction="Give a number.",
        role="",
        transcript=tuple(Message(agent=a, round=r, text=t) for a, r, t in said),
    )

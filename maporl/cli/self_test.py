"""Does this machine compute what it should? The embedded model against transformers' own `generate`, and a step of training."""

from __future__ import annotations

import math
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from maporl.agents.models.make_model import without_progress_bars
from maporl.rollouts.play import rollout
from maporl.settings import EMBEDDED, model_path
from maporl.training.config import RunConfig
from maporl.training.run import train
from maporl.types import Completion

__all__ = ["sampling", "training"]

TOLERANCE = 1e-3
"""In a token's log-prob, of float32 computed in another order; other weights or masks move it by tenths."""
DISCUSSIONS = 4

CONFIG = RunConfig(
    model=EMBEDDED,
    algorithm="magrpo",
    dtype="float32",
    num_iterations=1,
    episodes_per_iteration=8,
    max_new_tokens=14,
    num_eval_questions=2,
    preflight="off",
    trackers=(),
)


def sampling() -> tuple[bool, str]:
    """Greedy messages of a few discussions, with shared prompts and kept keys and values: the same tokens as `generate` gives, and the
    same log-probs. Returns whether they are, and what was found."""
    began = time.perf_counter()
    with without_progress_bars():
        env = CONFIG.build_env()
        team = CONFIG.build_team(env)
        episodes = rollout(env, team, env.questions("train")[:DISCUSSIONS], seed=0, greedy=True)
        said = [completion for episode in episodes for completion in episode.completions]
        apart, other = _against_generate(said, team.policies[0].eos_ids)
    sizes = f"{len(said)} messages, {sum(len(c.completion_ids) for c in said)} tokens on {CONFIG.resolved_device}"
    text = f"{sizes}: {other} messages differ from transformers' generate, log-probs by at most {apart:.1e} (allowed {TOLERANCE:.0e})"
    return not other and apart <= TOLERANCE, f"{text}, {time.perf_counter() - began:.1f} s"


def _against_generate(said: list[Completion], eos: frozenset[int]) -> tuple[float, int]:
    """The largest difference of a log-prob, and how many messages have other tokens."""
    from transformers import AutoModelForCausalLM

    model: Any = AutoModelForCausalLM.from_pretrained(model_path(EMBEDDED), dtype=torch.float32)
    model.to(CONFIG.resolved_device)
    apart, other = 0.0, 0
    for completion in said:
        prompt = torch.as_tensor(completion.prompt_ids, device=model.device)[None]
        ended = {"eos_token_id": sorted(eos), "pad_token_id": min(eos), "max_new_tokens": CONFIG.max_new_tokens}
        mask = torch.ones_like(prompt)
        found = model.generate(
            prompt, attention_mask=mask, do_sample=False, output_logits=True, return_dict_in_generate=True, **ended
        )
        tokens = found.sequences[0, prompt.shape[1] :]
        if tokens.tolist() != completion.completion_ids.tolist():
            other += 1
            continue
        logits = torch.stack(found.logits, dim=1)[0].float()
        theirs = logits.log_softmax(-1).gather(-1, tokens[:, None])[:, 0].cpu().numpy()
        apart = max(apart, float(np.abs(theirs - completion.logprobs).max()))
    return apart, other


def training() -> tuple[bool, str]:
    """A whole run of one update, its folder written and read. Returns whether what it measured are numbers, and what they are."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of eight discussions there may be nothing to learn
        folder = train(CONFIG, output_dir=str(Path(place) / "run"))
        rows = [row for row in folder.metrics if any(name.startswith("train/") for name in row)]
        fine = folder.status == "complete" and bool(rows)
        norms = {name: value for row in rows for name, value in row.items() if "grad_norm" in name}
    fine = fine and bool(norms) and all(math.isfinite(value) for value in norms.values())
    largest = max(norms.values(), default=math.nan)
    return (
        fine,
        f"one update of MAGRPO in a run, largest gradient norm {largest:.2g}, {time.perf_counter() - began:.1f} s",
    )

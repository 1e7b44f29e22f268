"""What a run of the speed benchmark is made on: device, dtype, the shape of the model, repetitions, threads, seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from bench.rows import timed
from maporl.agents import LoRA, Policy
from maporl.agents.models.checkpoints import DTYPES
from maporl.agents.models.make_model import make_model, make_tokenizer

__all__ = ["GEOMETRIES", "Settings", "tiny_llama"]

GEOMETRIES: Mapping[str, Mapping[str, Any]] = {
    "tiny": {"hidden_size": 128, "num_layers": 2, "num_heads": 4, "intermediate_size": 384},
    "small": {"hidden_size": 512, "num_layers": 12, "num_heads": 8, "intermediate_size": 1536},
    # The shapes of the Qwen2.5 checkpoints (their config.json), with random weights: a speed does not depend on what they say.
    "qwen2.5-0.5b": {
        "hidden_size": 896,
        "intermediate_size": 4864,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "qwen2.5-1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
        "tie_word_embeddings": True,
    },
    "qwen2.5-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "tie_word_embeddings": False,
    },
}
"""Name -> sizes: of `make_model` (.5M and 41M parameters), or of a `transformers` Qwen2 configuration."""


@dataclass(frozen=True)
class Settings:
    """Of one run.

    Attributes:
        device: A torch device.
        dtype: Of the base model.
        geometry: A key of `GEOMETRIES`.
        repetitions: Of each measured step, warm-up apart.
        num_threads: torch's threads; every section is told to keep to them.
        seed: Of weights, prompts and sampling.
        model: A checkpoint folder to measure beside the geometry, where a section does.
        quick: Sizes and repetitions that only show that it runs.

    Raises:
        ValueError: An unknown geometry or dtype, or a count below one.
    """

    device: str = "cpu"
    dtype: str = "float32"
    geometry: str = "tiny"
    repetitions: int = 7
    num_threads: int = 1
    seed: int = 0
    model: str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        for name, known in (("geometry", GEOMETRIES), ("dtype", DTYPES)):
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is unknown; use one of {sorted(known)}.")
        for name in ("repetitions", "num_threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")

    @property
    def made(self) -> bool:
        """The geometry is one that `make_model` makes: a small checkpoint folder."""
        return "num_layers" in GEOMETRIES[self.geometry]

    def synchronize(self) -> None:
        """Wait for what the device has been told to do."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize(self.device)

    def timed(self, work: Callable[[], object]) -> float:
        """Seconds of wall clock that `work` takes on the device."""
        return timed(work, self.synchronize)

    def checkpoint(self, folder: str | Path) -> str:
        """Write the geometry as a checkpoint into a subfolder of `folder`, if it is not there yet, and return its path."""
        path = Path(folder) / self.geometry
        if path.is_dir():
            return str(path)
        if self.made:
            make_model(path, **GEOMETRIES[self.geometry], seed=self.seed)
        else:
            policy = self.policy(folder)
            policy.model.save_pretrained(path)
            policy.tokenizer.save_pretrained(path)
        return str(path)

    def policy(self, folder: str | Path, lora: LoRA | None = None, attention: str | None = None) -> Policy:
        """A policy of the geometry. Small ones are loaded from a checkpoint in `folder`; real ones are made where they will be
        used, and never written (LoRA of rank 16 unless `lora` says otherwise). `attention` None is the library's own choice."""
        if self.made:
            return Policy.from_pretrained(
                self.checkpoint(folder), dtype=self.dtype, device=self.device, attn_implementation=attention, lora=lora
            )
        config = AutoConfig.for_model("qwen2", max_position_embeddings=32768, **GEOMETRIES[self.geometry])
        tokenizer = make_tokenizer()
        config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
        with torch.random.fork_rng(), torch.device(self.device):
            torch.manual_seed(self.seed)
            model = AutoModelForCausalLM.from_config(
                config, dtype=DTYPES[self.dtype], attn_implementation=attention or "sdpa"
            )
        return Policy(model, tokenizer, lora=lora or LoRA(r=16, alpha=32))


def tiny_llama(vocab_size: int, seed: int, dtype: torch.dtype, **config: Any) -> Any:
    """A model of the tiny geometry with random weights and any vocabulary, on the current default device.

    Args:
        vocab_size: Tokens.
        seed: Of the weights.
        dtype: Of the weights.
        **config: More of the `transformers` configuration.
    """
    sizes = GEOMETRIES["tiny"]
    shape = AutoConfig.for_model(
        "llama",
        vocab_size=vocab_size,
        hidden_size=sizes["hidden_size"],
        num_hidden_layers=sizes["num_layers"],
        num_attention_heads=sizes["num_heads"],
        num_key_value_heads=sizes["num_heads"],
        intermediate_size=sizes["intermediate_size"],
        tie_word_embeddings=True,
        **config,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return AutoModelForCausalLM.from_config(shape, dtype=dtype, attn_implementation="sdpa")

"""What a team's agents share: one frozen base with adapters that speaks and learns, so that N agents cost one base plus N adapters."""

from __future__ import annotations

import contextlib
import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maporl.agents.backbone import Backbone, Tokens
from maporl.agents.checkpoints import context_window, ensure_pad_token, eos_ids, load_causal_lm
from maporl.agents.engine import Engine, Sampled
from maporl.agents.in_process_engine import InProcessEngine
from maporl.agents.lora import LoRA, merged
from maporl.agents.lora_model import LoRAModel
from maporl.agents.output_layer import OutputLayer
from maporl.agents.prefix_trees import Packed, pack
from maporl.agents.prompts import ChatEncoder
from maporl.agents.reference_engine import ReferenceEngine
from maporl.agents.sampling import Sampling

__all__ = ["ENGINES", "LoRA", "Policy"]

ENGINES = ("in_process", "reference")


class Policy(LoRAModel):
    """A frozen causal LM with LoRA adapters that samples messages, and gives their log-probs and hidden states to learn from.

    Args:
        model: Any `transformers` causal LM.
        tokenizer: Its tokenizer; a missing pad token is replaced by an EOS token (masks are explicit, so this is safe).
        lora: Settings of every adapter added.
        gradient_checkpointing: Recompute activations in the backward pass.
        autocast: Compute training passes in bfloat16; adapters and their gradients stay float32.
        engine: "in_process" (fast), or "reference" (transformers' generate).
        max_batch_tokens: Tokens of one sampling batch.

    Raises:
        ValueError: The tokenizer has neither pad nor EOS token, or the model no key-value cache.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        autocast: bool = False,
        engine: str = "in_process",
        max_batch_tokens: int = 131_072,
    ) -> None:
        if engine not in ENGINES:
            raise ValueError(f"engine {engine!r} is unknown; use one of {list(ENGINES)}.")
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise ValueError(f"{type(model).__name__} keeps no key-value cache; use an attention model.")
        ensure_pad_token(model, tokenizer)
        super().__init__(model, tokenizer, lora)
        self.max_batch_tokens = max_batch_tokens
        self.encode_chats = ChatEncoder(tokenizer)
        self.eos_ids = eos_ids(model, tokenizer)
        self.pad_id: int = tokenizer.pad_token_id
        self.engine_calls, self._warned = 0, False
        _float32_logits(model)
        self.backbone = Backbone(model)
        self._engine, self.autocast, self._gradient_checkpointing = engine, autocast, gradient_checkpointing
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.eval()

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        chat_template: str | None = None,
        attn_implementation: str | None = None,
        quantization: str | None = None,
        **settings: Any,
    ) -> Policy:
        """Load a checkpoint folder or hub id.

        Args:
            path, dtype, device, chat_template, attn_implementation, quantization: See `load_causal_lm`. `dtype` is the base's; adapters
                are always float32.
            **settings: Of the constructor.

        Raises:
            ValueError: As `load_causal_lm` and the constructor.
        """
        loaded = load_causal_lm(
            path,
            dtype=dtype,
            device=device,
            chat_template=chat_template,
            attn_implementation=attn_implementation,
            quantization=quantization,
        )
        return cls(*loaded, **settings)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def hidden_size(self) -> int:
        return self.model.get_input_embeddings().weight.shape[1]

    @property
    def context_window(self) -> int:
        """Longest sequence the model was made for, in tokens."""
        return context_window(self.model)

    def add_adapter(self, name: str, *, seed: int = 0, path: str | Path | None = None) -> None:
        super().add_adapter(name, seed=seed, path=path)
        # The output layer may be adapted from now on, and no longer known to the engine.
        self.backbone.output = OutputLayer.of(self.model)
        self.__dict__.pop("engine", None)

    # -- sampling and log-probs ----------------------------------------------------------------------------------------

    def generate(
        self, adapter: str | None, prompts: Sequence[Tokens], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One engine call: a message for every prompt (see `Engine.generate`)."""
        for row, prompt in enumerate(prompts):
            if not len(prompt):
                raise ValueError(
                    f"prompt {row} has no token: there is nothing to go on from; begin it with any one token."
                )
        self.engine_calls += 1
        if self.model.training:
            self.model.eval()
        return self.engine.generate(adapter, prompts, sampling, uniforms)

    @cached_property
    def engine(self) -> Engine:
        """The engine asked for; the reference if the fast one would not be exact for this model."""
        if self._engine == "in_process" and self.backbone.exact:
            return InProcessEngine(
                self.backbone,
                self.speaking,
                self._version,
                eos_ids=self.eos_ids,
                pad_id=self.pad_id,
                max_batch_tokens=self.max_batch_tokens,
            )
        if self._engine == "in_process":
            warnings.warn(
                f"{type(self.model).__name__} does something of its own with masks, cache or logits: its messages are sampled by "
                "transformers' generate, which is slower, and no prompt is shared.",
                stacklevel=3,
            )
        return ReferenceEngine(
            self.model,
            self.speaking,
            eos_ids=self.eos_ids,
            pad_id=self.pad_id,
            max_batch_tokens=self.max_batch_tokens,
        )

    def say_if_rounds_are_read_anew(self) -> None:
        """Warn, once, of a chat template that makes every round cost as much as a first one."""
        if not (self._warned or self.encode_chats.prefix_stable):
            warnings.warn(
                f"the chat template of {self.tokenizer.name_or_path!r} changes what comes before when a chat grows, so no keys and values "
                "can be kept between rounds: each prompt is read from its beginning. Results are the same, sampling is slower.",
                stacklevel=4,
            )
        self._warned = True

    @contextlib.contextmanager
    def speaking(self, adapter: str | None) -> Iterator[None]:
        """Within the block the model is the base with `adapter`, merged into its weights where that is exact: nothing is trained here."""
        if adapter is not None and adapter not in self.adapters:
            raise ValueError(self._unknown(adapter))
        with (
            self.using(adapter),
            contextlib.nullcontext() if adapter is None else merged(self._mergeable[adapter], adapter),
        ):
            yield

    def _version(self, adapter: str | None) -> tuple[int, ...]:
        """Changes with the adapter: torch counts every change of a tensor in place."""
        return () if adapter is None else tuple(p._version for p in self.parameters(adapter))

    def pack(
        self,
        rows: np.ndarray,
        prompts: Sequence[np.ndarray],
        completions: Sequence[np.ndarray],
        token_budget: int,
    ) -> list[Packed]:
        """Messages as passes of at most `token_budget` tokens (see `prefix_trees.pack`)."""
        share = self.hidden_size if self.backbone.exact else None
        return pack(rows, prompts, completions, token_budget=token_budget, hidden_size=share)

    def logprobs(
        self, adapter: str | None, packed: Packed, temperature: float, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs [M] float32 of the completion tokens of one pass, and the entropies [M] if asked for.

        Call `backward` before another adapter is used: PEFT takes the gradient away from those that are not.
        """
        with self._training(adapter):
            return self.backbone.logprobs(packed, temperature, entropy=entropy)

    def hidden(self, adapter: str | None, packed: Packed) -> Tensor:
        """Last hidden states before each completion token, [M, H] float32: each has read the prompt and the completion before it."""
        with self._training(adapter):
            return self.backbone.before(packed).float()

    @contextlib.contextmanager
    def _training(self, adapter: str | None) -> Iterator[None]:
        wanted = self._gradient_checkpointing and torch.is_grad_enabled()
        if self.model.training != wanted:
            self.model.train(wanted)
        faster = torch.autocast(self.device.type, torch.bfloat16) if self.autocast else contextlib.nullcontext()
        with faster, self.using(adapter):
            yield

    def describe(self) -> Mapping[str, Any]:
        """What a run folder records about this policy."""
        return {"model": self.tokenizer.name_or_path, "adapters": list(self.adapters), "lora": asdict(self.lora)}


def _float32_logits(model: Any) -> None:
    """Compute the output layer in float32 under a 16-bit base: log-probs from bf16 logits are wrong by up to .06."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.dtype == torch.float32:
        return

    def forward(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            bias = head.bias.float() if head.bias is not None else None
            return nn.functional.linear(hidden.float(), head.weight.float(), bias)

    head.forward = forward  # type: ignore[method-assign, assignment]

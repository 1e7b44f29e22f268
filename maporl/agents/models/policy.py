"""What a team's agents share: one frozen base with adapters that speaks and learns, so that N agents cost one base plus N adapters."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model_state_dict
from torch import Tensor, nn

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.backbone import Backbone
from maporl.agents.models.checkpoints import context_window, ensure_pad_token, eos_ids, load_causal_lm
from maporl.agents.models.lora import LoRA, merged
from maporl.agents.models.lora_model import LoRAModel
from maporl.agents.models.output_layer import OutputLayer
from maporl.agents.models.prefix_trees import Packed, pack
from maporl.agents.sampling.batched import BatchedSampler
from maporl.agents.sampling.in_process import InProcessSampler
from maporl.agents.sampling.reference import ReferenceSampler
from maporl.agents.sampling.sampler import Request, Sampled, Sampler, sampler_type
from maporl.agents.sampling.settings import Sampling
from maporl.agents.sampling.thinking import ThinkingBudget
from maporl.errors import Diverged, UserValueError, warn
from maporl.hooks import each

__all__ = ["LoRA", "Policy"]


class Policy(LoRAModel):
    """A frozen causal LM with LoRA adapters that samples messages, and gives their log-probs and hidden states to learn from.

    Args:
        model: Any `transformers` causal LM.
        tokenizer: Its tokenizer; a missing pad token is replaced by an EOS token (masks are explicit, so this is safe).
        lora: Settings of every adapter added.
        gradient_checkpointing: Recompute activations in the backward pass.
        sampler: "in_process" (fast), "reference" (transformers' generate), ``package.module:Class``, or a subclass of `Sampler`.
        max_batch_tokens: Tokens of one sampling batch.

    Raises:
        ValueError: The tokenizer has neither pad nor EOS token, the model no key-value cache, or there is no such sampler.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        sampler: str | type[Sampler] = "in_process",
        max_batch_tokens: int = 131_072,
    ) -> None:
        self.sampler_type = sampler_type(sampler)
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise UserValueError(f"{type(model).__name__} keeps no key-value cache; use an attention model.")
        ensure_pad_token(model, tokenizer)
        super().__init__(model, tokenizer, lora)
        self.max_batch_tokens = max_batch_tokens
        self.encode_chats = ChatEncoder(tokenizer)
        self.eos_ids = eos_ids(model, tokenizer)
        self.pad_id: int = tokenizer.pad_token_id
        self.sampler_calls, self._warned = 0, False
        self._published: dict[str, int] = {}  # adapter -> version
        _float32_logits(model)
        self.backbone = Backbone(model)
        self._gradient_checkpointing = gradient_checkpointing
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.eval()

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        *,
        dtype: str | None = None,
        device: str = "cpu",
        chat_template: str | None = None,
        thinking: bool | None = None,
        attn_implementation: str | None = None,
        quantization: str | None = None,
        **settings: Any,
    ) -> Policy:
        """Load a checkpoint folder or hub id.

        Args:
            path, dtype, device, chat_template, thinking, attn_implementation, quantization: See `load_causal_lm`. `dtype` is the base's;
                adapters are always float32.
            **settings: Of the constructor.

        Raises:
            ValueError: As `load_causal_lm` and the constructor.
        """
        loaded = load_causal_lm(
            path,
            dtype=dtype,
            device=device,
            chat_template=chat_template,
            thinking=thinking,
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

    @property
    def rounds_alike(self) -> bool:
        """See `Trainable`: so it is where everything is float32 and sampled in this process."""
        return self.model.dtype == torch.float32 and issubclass(self.sampler_type, BatchedSampler)

    def add_adapter(self, name: str, *, seed: int = 0, path: str | Path | None = None) -> None:
        super().add_adapter(name, seed=seed, path=path)
        self.backbone.output = OutputLayer.of(self.model)  # it may be adapted from now on
        if self.sampler_type is InProcessSampler:  # and this sampler no longer exact
            self.__dict__.pop("sampler", None)

    # -- sampling and log-probs ----------------------------------------------------------------------------------------

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """A message for every request, in one call of the sampler, which is given the weights that have changed before.

        Raises:
            ValueError: A prompt without a token, an unknown adapter, or of `thinking_budget`.
            FloatingPointError: The model's logits are not numbers.
            MemoryError: A single message does not fit.
        """
        for row, request in enumerate(requests):
            if not len(request.prompt):
                raise UserValueError(
                    f"prompt {row} has no token: there is nothing to go on from; begin it with any one token."
                )
        for sampling in dict.fromkeys(r.sampling for r in requests):
            self.thinking_budget(sampling)
        self.sampler_calls += 1
        if self.model.training:
            self.model.eval()
        for adapter in dict.fromkeys(r.adapter for r in requests if r.adapter is not None):
            self._publish(adapter)
        sampled = each(self.sampler, "sample", self.sampler.sample(requests), Sampled, len(requests))
        _check_numbers(requests, sampled)
        return sampled

    def thinking_budget(self, sampling: Sampling) -> ThinkingBudget | None:
        """How a budget of reasoning tokens is kept, None without one; a ValueError where it cannot be (see `ThinkingBudget.of`)."""
        return ThinkingBudget.of(sampling, self.encode_chats, self.sampler_type)

    def _publish(self, adapter: str) -> None:
        """Tell the sampler of weights that it has not seen."""
        if adapter not in self.adapters:
            raise UserValueError(self._unknown(adapter))
        version = self.version(adapter)
        if self._published.get(adapter) != version:
            # False: whether the base's embeddings belong to it is nothing to ask a hub now.
            weights = get_peft_model_state_dict(self._peft, adapter_name=adapter, save_embedding_layers=False)
            self.sampler.publish(adapter, version, weights)
            self._published[adapter] = version

    @cached_property
    def sampler(self) -> Sampler:
        """The sampler asked for; the reference if the fast one would not be exact for this model."""
        if self.sampler_type is InProcessSampler and not self.backbone.exact:
            warn(
                f"{type(self.model).__name__} does something of its own with masks, cache or logits: its messages are sampled by "
                "transformers' generate, which is slower, and no prompt is shared."
            )
            return ReferenceSampler(self)
        return self.sampler_type(self)

    def say_if_rounds_are_read_anew(self) -> None:
        """Warn, once, of a chat template that makes every round cost as much as a first one."""
        if not (self._warned or self.encode_chats.prefix_stable):
            warn(
                f"the chat template of {self.tokenizer.name_or_path!r} changes what comes before when a chat grows, so no keys and values "
                "can be kept between rounds: each prompt is read from its beginning. Results are the same, sampling is slower."
            )
        self._warned = True

    @contextlib.contextmanager
    def speaking(self, adapter: str | None) -> Iterator[None]:
        """Within the block the model is the base with `adapter`, merged into its weights where that is exact: nothing is trained here."""
        if adapter is not None and adapter not in self.adapters:
            raise UserValueError(self._unknown(adapter))
        with (
            self.using(adapter),
            contextlib.nullcontext() if adapter is None else merged(self._mergeable[adapter], adapter),
        ):
            yield

    def version(self, adapter: str | None) -> int:
        """Grows whenever the adapter's weights change, for torch counts the changes of a tensor in place (those through `.data` it
        does not see); 0 for the base.
        """
        return 0 if adapter is None else sum(p._version for p in self.parameters(adapter))

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
        with self.using(adapter):
            yield

    def describe(self) -> Mapping[str, Any]:
        """What a run folder records about this policy."""
        return {"model": self.tokenizer.name_or_path, "adapters": list(self.adapters), "lora": asdict(self.lora)}


def _check_numbers(requests: Sequence[Request], sampled: Sequence[Sampled]) -> None:
    """Raise a FloatingPointError if a log-prob is no number."""
    broken = [r.adapter for r, s in zip(requests, sampled, strict=True) if not np.isfinite(s.logprobs).all()]
    if broken:
        adapter, asked = broken[0], [r.adapter for r in requests]
        raise Diverged(
            f"{broken.count(adapter)} of {asked.count(adapter)} messages of {adapter or 'the base model'!r} were sampled from logits that "
            "are no numbers: its weights have diverged, or overflow in 16 bit. Go on from an earlier checkpoint with a lower "
            "learning_rate, or use --dtype bfloat16 or float32."
        )


def _float32_logits(model: Any) -> None:
    """Compute the output layer in float32 under a 16-bit base: log-probs from bf16 logits are wrong by up to .06."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.dtype == torch.float32:
        return

    def forward(hidden: Tensor) -> Tensor:
        bias = head.bias.float() if head.bias is not None else None
        return nn.functional.linear(hidden.float(), head.weight.float(), bias)

    head.forward = forward  # type: ignore[method-assign, assignment]

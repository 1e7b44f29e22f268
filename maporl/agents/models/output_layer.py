"""From hidden states to float32 logits, log-probs and entropies, a chunk of positions at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

__all__ = ["OutputLayer"]

_CHUNK = {"cpu": 2**23, "cuda": 2**27}
"""Logits held at once: few enough for a processor's cache, many enough to keep a GPU busy."""


@dataclass(frozen=True)
class OutputLayer:
    """A causal LM's own output layer: logits = softcap(scale * (hidden @ weight.T + bias)), always in float32.

    Log-probs from 16-bit logits are wrong by up to .06, so 16-bit products are summed and kept in float32.

    Attributes:
        weight: [V, H]; frozen.
        stored: The weight as the model has it. Gradients are multiplied in its type: theirs need no more digits than those of other layers.
        bias: [V], or None.
        scale: Multiplies the logits (Cohere, Granite).
        softcap: c tanh(logits / c) if not None (Gemma).
        adapted: The LoRA layer around it, whose active adapter is added, or None.
    """

    weight: Tensor
    stored: Tensor
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None
    adapted: Any = None

    @classmethod
    def of(cls, model: Any) -> OutputLayer | None:
        """The model's, or None if it is no linear layer, or adapted by more than plain LoRA."""
        head = model.get_output_embeddings()
        adapted: Any = head if isinstance(head, LoraLayer) else None
        if adapted is not None:
            if adapted.lora_variant:
                return None
            head = adapted.base_layer
        if type(head) is not nn.Linear:
            return None
        config = model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1.0
        divisor = getattr(config, "logits_scaling", None) or 1.0
        softcap = getattr(config, "final_logit_softcapping", None)
        weight = stored = head.weight.detach()
        if weight.device.type == "cpu":
            weight = weight.float()  # once, for a CPU multiplies in one type only
        bias = None if head.bias is None else head.bias.detach().float()
        return cls(weight, stored, bias, scale / divisor, softcap, adapted)

    def logits(self, hidden: Tensor) -> Tensor:
        """[M, H] -> [M, V] float32."""
        with torch.autocast(hidden.device.type, enabled=False):
            logits = _product(hidden.to(self.weight.dtype), self.weight.T)
            if self.bias is not None:
                logits = logits + self.bias
            for name in () if self.adapted is None or self.adapted.disable_adapters else self.adapted.active_adapters:
                if name in self.adapted.lora_A:
                    low = hidden.float() @ self.adapted.lora_A[name].weight.T
                    logits = logits + self.adapted.scaling[name] * (low @ self.adapted.lora_B[name].weight.T)
            if self.scale != 1.0:
                logits = logits * self.scale
            if self.softcap is not None:
                logits = (logits / self.softcap).tanh() * self.softcap
        return logits

    def slope(self, logits: Tensor) -> Tensor | float:
        """d logits / d (hidden @ weight.T), where the former are known."""
        if self.softcap is None:
            return self.scale
        return self.scale * (1 - (logits / self.softcap).square())

    def back(self, gradients: Tensor) -> Tensor:
        """d loss / d hidden [M, H] float32, of those with respect to the logits [M, V]."""
        return (gradients.to(self.stored.dtype) @ self.stored).float()

    def logprobs(
        self, hidden: Tensor, targets: Tensor, temperature: float, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs of the targets under softmax(logits / temperature), and the entropies in nats if asked for.

        Neither ever holds all logits: they are made, used and dropped chunk by chunk. Each result is one number a position, so its
        gradient with respect to the hidden state is one vector a position, computed on the way: nothing is computed again
        in the backward pass.

        Args:
            hidden: [M, H].
            targets: [M] int64.
            temperature: Divides the logits.
            entropy: Return the entropies [M], too.

        Returns:
            [M] float32 each.
        """
        if self.adapted is not None and torch.is_grad_enabled():
            return self._with_gradient(hidden, targets, temperature, entropy)
        needed = torch.is_grad_enabled() and hidden.requires_grad
        logprobs, entropies = _Logprobs.apply(hidden, self, targets, temperature, entropy, needed)  # type: ignore[no-untyped-call]
        return logprobs, entropies if entropy else None

    def _with_gradient(
        self, hidden: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor | None]:
        """An adapter on this layer wants a gradient, too: chunks are computed again in the backward pass instead."""

        def chunk(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
            logprobs = (self.logits(hidden) / temperature).log_softmax(-1)
            return logprobs.gather(1, targets[:, None]).squeeze(1), -(logprobs.exp() * logprobs).sum(-1)

        sizes = (hidden.split(self.rows_at_once()), targets.split(self.rows_at_once()))
        parts = [checkpoint(chunk, h, t, use_reentrant=False) for h, t in zip(*sizes, strict=True)]
        return torch.cat([p for p, _ in parts]), torch.cat([e for _, e in parts]) if entropy else None

    def rows_at_once(self) -> int:
        """Positions of one chunk."""
        return max(_CHUNK.get(self.weight.device.type, 2**24) // len(self.weight), 64)


class _Logprobs(torch.autograd.Function):
    @staticmethod
    @torch.autocast("cpu", enabled=False)
    @torch.autocast("cuda", enabled=False)
    def forward(
        ctx: Any, hidden: Tensor, layer: OutputLayer, targets: Tensor, temperature: float, entropy: bool, needed: bool
    ) -> tuple[Tensor, Tensor]:
        count = len(hidden)
        logprobs = torch.empty(count, device=hidden.device)
        entropies = torch.empty(count if entropy else 0, device=hidden.device)
        slopes = [torch.empty_like(hidden) for _ in range((1 + entropy) if needed else 0)]
        for start in range(0, count, layer.rows_at_once()):
            part = slice(start, start + layer.rows_at_once())
            ids = targets[part, None]
            raw = layer.logits(hidden[part])
            outer = layer.slope(raw) if needed else 1.0
            scaled = raw if temperature == 1.0 else raw / temperature
            chosen = scaled.gather(1, ids)
            total = scaled.logsumexp(1, keepdim=True)
            logprobs[part] = (chosen - total).squeeze(1)
            if not needed and not entropy:
                continue
            probs = (scaled - total).exp_()
            if entropy:
                spread = (total - (probs * scaled).sum(1, keepdim=True)).clamp(min=0.0)
                entropies[part] = spread.squeeze(1)
                if needed:
                    weights = -probs * (scaled - total + spread) * outer
                    slopes[1][part] = layer.back(weights).div_(temperature)
            if needed:
                weights = probs.neg_()
                weights.scatter_add_(1, ids, torch.ones_like(chosen))
                weights = weights.mul_(outer)
                slopes[0][part] = layer.back(weights).div_(temperature)
        ctx.save_for_backward(*slopes)
        if not entropy:
            ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        slopes = ctx.saved_tensors
        hidden = None
        for gradient, slope in zip(gradients, slopes, strict=False):
            part = slope * gradient[:, None].to(slope.dtype)
            hidden = part if hidden is None else hidden + part
        return hidden, None, None, None, None, None


def _product(left: Tensor, right: Tensor) -> Tensor:
    """left @ right with sums and result in float32."""
    if left.dtype == torch.float32:
        return left @ right
    if left.device.type == "cuda":
        return torch.mm(left, right, out_dtype=torch.float32)
    return left.float() @ right.float()

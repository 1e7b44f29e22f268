"""One forward pass of any `transformers` causal LM, with masks, positions and a cache of our own."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maporl.agents.models.memory import out_of_memory
from maporl.agents.models.mixed import is_mixed
from maporl.agents.models.output_layer import OutputLayer
from maporl.agents.models.prefix_trees import Packed, pack
from maporl.agents.sampling.key_values import KeyValues

__all__ = ["Backbone", "Tokens", "cut", "left_pad"]

Tokens = Sequence[int] | np.ndarray
"""Token ids of one sequence."""


class Backbone:
    """Hidden states of a model whose adapters are set already.

    Masks are passed as four-dimensional additive tensors, which the attention code of `transformers` takes as they are, and key-value
    caches are ours. Models that build something of their own from a two-dimensional mask (ALiBi), or that have no attention
    in some layer, are found by `exact` and get the plain way instead.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.output: OutputLayer | None = OutputLayer.of(model)
        self.config = model.config.get_text_config()
        kinds = set(getattr(self.config, "layer_types", None) or ())
        window = getattr(self.config, "sliding_window", None)
        self.window: int | None = window if "sliding_attention" in kinds or not kinds else None
        self.mixed = self.window is not None and len(kinds) > 1
        local = "local" in (getattr(self.config, "attention_layers", None) or ())
        self.known = kinds <= {"full_attention", "sliding_attention"} and not local

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def run(self, ids: Tensor, positions: Tensor, masks: Any, cache: KeyValues | None) -> Tensor:
        """Last hidden states [B, L, H].

        Args:
            ids, positions: [B, L] int64.
            masks: Of `masks`, over the cache's columns and then these L.
            cache: Read and extended; None keeps nothing.
        """
        out = self.model.base_model(
            input_ids=ids,
            position_ids=positions,
            attention_mask=masks,
            past_key_values=cache,
            use_cache=cache is not None,
        )
        return out.last_hidden_state

    def masks(self, visible: Tensor, positions: Tensor, key_positions: Tensor | None = None) -> Any:
        """What the model's attention adds to its scores, [B, 1, L, S]: 0 where visible; a mapping for models with two kinds of layers.

        Args:
            visible: [B, L, S] bool.
            positions: [B, L] of the queries.
            key_positions: [B, S]; the queries' own if None.
        """
        full = self._additive(visible)
        if self.window is None:
            return full
        keys = positions if key_positions is None else key_positions
        near = positions[:, :, None] - keys[:, None, :] < self.window
        sliding = self._additive(visible & near)
        return {"full_attention": full, "sliding_attention": sliding} if self.mixed else sliding

    def _additive(self, visible: Tensor) -> Tensor:
        dtype = torch.float32 if is_mixed(self.model) else self.model.dtype
        mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
        return mask.masked_fill_(~visible, torch.finfo(dtype).min)[:, None]

    def before(self, packed: Packed) -> Tensor:
        """Hidden states [M, H] that predict the completion tokens of `packed`."""
        return self._in_trees(packed) if self.exact else self._plainly(packed, logits=False)

    def logprobs(self, packed: Packed, temperature: float, *, entropy: bool = False) -> tuple[Tensor, Tensor | None]:
        """Log-probs [M] float32 of the completion tokens at a temperature, and the entropies [M] if asked for."""
        targets = torch.as_tensor(packed.targets, device=self.device)
        if self.exact and self.output is not None:
            return self.output.logprobs(self.before(packed), targets, temperature, entropy=entropy)
        logprobs = (self._plainly(packed, logits=True).float() / temperature).log_softmax(-1)
        spread = -(logprobs.exp() * logprobs).sum(-1) if entropy else None
        return logprobs.gather(1, targets[:, None]).squeeze(1), spread

    def _plainly(self, packed: Packed, *, logits: bool) -> Tensor:
        """Each message on its own, padded on the left, as `transformers` documents it: hidden states or logits, [M, ...]."""
        sequences = [np.concatenate([p, c[:-1]]) for p, c in zip(packed.prompts, packed.completions, strict=True)]
        ids, mask = left_pad(sequences, 0, self.device)
        out = (self.model if logits else self.model.base_model)(
            input_ids=ids, attention_mask=mask, position_ids=(mask.cumsum(-1) - 1).clamp(min=0), use_cache=False
        )
        states = out.logits if logits else out.last_hidden_state
        return torch.cat([row[-n:] for row, n in zip(states, packed.lengths.tolist(), strict=True)])

    @property
    def exact(self) -> bool:
        """Whether trees, the cache and the output layer give this model's own numbers."""
        return self.output is not None and self._agrees

    @cached_property
    @torch.no_grad()
    def _agrees(self) -> bool:
        """Measured once, on a few tokens.

        Layers with a window or chunks of their own making (GPT-Neo, Llama 4) may differ only after more tokens: they count as not exact.
        """
        if not self.known:
            return False
        tokens = np.random.default_rng(0).integers(0, self.config.vocab_size, 12)
        prompts, completions = [tokens[:7], tokens[:5]], [tokens[7:], tokens[[9, 2, 3]]]
        (packed,) = pack(np.arange(2), prompts, completions, token_budget=64, hidden_size=2**20)
        assert self.output is not None
        training = self.model.training
        self.model.eval()
        try:
            hidden = self._plainly(packed, logits=False)
            pairs = [
                (hidden, self._in_trees(packed)),
                (hidden, self._in_steps(packed)),
                (self._plainly(packed, logits=True), self.output.logits(hidden)),
            ]
        except Exception as error:  # whatever a model's own code raises about masks or caches that it does not know
            if out_of_memory(error):
                raise
            return False
        finally:
            self.model.train(training)
        if not torch.isfinite(hidden).all():
            return True  # broken weights are not this class's business: sampling says so
        limit = 1e-3 if self.model.dtype == torch.float32 else 0.05
        return all(float((a - b).abs().max() / a.abs().max()) < limit for a, b in pairs)

    def _in_trees(self, packed: Packed) -> Tensor:
        ids, positions = (torch.as_tensor(a, device=self.device) for a in (packed.ids, packed.positions))
        masks = self.masks(packed.visible(self.device), positions)
        hidden = self.run(ids, positions, masks, None)
        return hidden.flatten(0, 1)[torch.as_tensor(packed.before, device=self.device)]

    def _in_steps(self, packed: Packed) -> Tensor:
        """As in sampling: prompts padded on the left into a cache, then one column at a time."""
        sequences = [np.concatenate([p, c[:-1]]) for p, c in zip(packed.prompts, packed.completions, strict=True)]
        ids, mask = left_pad(sequences, 0, self.device)
        first, width = min(len(p) for p in packed.prompts), ids.shape[1]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        order = torch.arange(width, device=self.device)
        causal = (order <= order[:, None]) & mask.bool()[:, None, :] | (order == order[:, None])
        masks = self.masks(causal, positions)
        cache = KeyValues(self.config.num_hidden_layers, len(sequences), width)
        parts = []
        for start, stop in [(0, first), *((c, c + 1) for c in range(first, width))]:
            part = cut(masks, slice(start, stop), stop)
            parts.append(self.run(ids[:, start:stop], positions[:, start:stop], part, cache))
            cache.column = stop
        hidden = torch.cat(parts, 1)
        return torch.cat([row[-n:] for row, n in zip(hidden, packed.lengths.tolist(), strict=True)])


def cut(masks: Any, rows: slice, columns: int) -> Any:
    """Some queries of what `Backbone.masks` returns, and the first columns."""
    if isinstance(masks, dict):
        return {kind: mask[:, :, rows, :columns] for kind, mask in masks.items()}
    return masks[:, :, rows, :columns]


def left_pad(sequences: Sequence[Tokens], pad_id: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """ids [B, P] and mask [B, P] int64; the mask is built from lengths, so a sequence may contain the pad id."""
    width = max(len(s) for s in sequences)
    ids = np.full((len(sequences), width), pad_id, np.int64)
    mask = np.zeros((len(sequences), width), np.int64)
    for row, sequence in enumerate(sequences):
        ids[row, width - len(sequence) :] = sequence
        mask[row, width - len(sequence) :] = 1
    return torch.as_tensor(ids, device=device), torch.as_tensor(mask, device=device)

"""What a rollout and an update have to compute, counted: matrix sizes, tokens, attention blocks, products and bytes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Geometry", "Work", "rollout_bytes", "rollout_flops", "seen_before", "update_flops", "work_of"]


@dataclass(frozen=True)
class Geometry:
    """The sizes of a causal LM with gated feed-forward layers (Llama, Qwen, Mistral ...)."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int

    @classmethod
    def of(cls, config: Any) -> Geometry:
        """From a `transformers` configuration."""
        config = config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            hidden=config.hidden_size,
            heads=heads,
            kv_heads=getattr(config, "num_key_value_heads", None) or heads,
            head_dim=getattr(config, "head_dim", None) or config.hidden_size // heads,
            intermediate=config.intermediate_size,
            vocab=config.vocab_size,
        )

    @property
    def linears(self) -> Mapping[str, tuple[int, int]]:
        """Name -> (inputs, outputs) of one layer's matrices."""
        query, key = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return {
            "q": (self.hidden, query),
            "k": (self.hidden, key),
            "v": (self.hidden, key),
            "o": (query, self.hidden),
            "gate": (self.hidden, self.intermediate),
            "up": (self.hidden, self.intermediate),
            "down": (self.intermediate, self.hidden),
        }

    @property
    def fused(self) -> Sequence[tuple[str, ...]]:
        """The names in `linears` that read the same input, and can be one product."""
        return (("q", "k", "v"), ("o",), ("gate", "up"), ("down",))

    @property
    def layer_weights(self) -> int:
        """Entries of one layer's matrices."""
        return sum(inputs * outputs for inputs, outputs in self.linears.values())

    @property
    def frozen_inputs(self) -> tuple[str, ...]:
        """Of the first layer: they read embeddings, which are not trained, so no gradient goes further down."""
        return ("q", "k", "v")


@dataclass(frozen=True)
class Work:
    """What has to be read and judged under one adapter.

    Attributes:
        tokens: Positions that go through the layers.
        blocks: (queries, keys) -> how many attention blocks there are of that shape; the queries are the last of the keys.
        judged: Positions at which the next token's log-prob is needed.
    """

    tokens: int
    blocks: Mapping[tuple[int, int], int]
    judged: int

    @property
    def pairs(self) -> int:
        """(query, key) pairs that causal attention looks at."""
        return sum(n * (q * (k - q) + q * (q + 1) // 2) for (q, k), n in self.blocks.items())


def seen_before(sequences: Sequence[np.ndarray]) -> list[int]:
    """How many first tokens of each sequence some sequence before it, in sorted order, begins with too.

    Sorted sequences share their longest common prefixes with their neighbours; lengths minus these numbers add up to the number
    of distinct prefixes, that is of nodes in the sequences' prefix tree.
    """
    order = sorted(range(len(sequences)), key=lambda i: list(sequences[i]))
    seen = [0] * len(sequences)
    for above, i in zip(order, order[1:], strict=False):
        a, b = sequences[above], sequences[i]
        size = min(len(a), len(b))
        different = np.flatnonzero(np.asarray(a[:size]) != np.asarray(b[:size]))
        seen[i] = int(different[0]) if len(different) else size
    return seen


def work_of(prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray], *, shared: bool) -> Work:
    """The work of judging every completion after its prompt.

    A completion's last token predicts nothing, so it is not read.

    Args:
        prompts: Token ids of each row's prompt.
        completions: Token ids of each row's message.
        shared: Compute each distinct prefix once; otherwise every row stands alone.
    """
    rows = [np.concatenate([p, c[:-1]]) for p, c in zip(prompts, completions, strict=True)]
    tokens, judged, blocks = 0, 0, Counter[tuple[int, int]]()
    for row, prompt, seen in zip(rows, prompts, seen_before(rows) if shared else [0] * len(rows), strict=True):
        tokens += len(row) - seen
        judged += len(row) - max(seen, len(prompt) - 1)
        if len(row) > seen:
            blocks[len(row) - seen, len(row)] += 1
    return Work(tokens, blocks, judged)


def rollout_flops(geometry: Geometry, *, batch: int, prompt: int, new: int, distinct: int) -> int:
    """Multiplications and additions of sampling with merged weights: `distinct` prompts, `batch` messages of `new` tokens."""
    g = geometry
    read = distinct * prompt + batch * (new - 1)
    pairs = distinct * prompt * (prompt + 1) // 2 + batch * sum(prompt + t for t in range(1, new))
    heads = distinct + batch * (new - 1)  # one prompt's first token is drawn from one distribution
    layers = 2 * g.layer_weights * read + 2 * 2 * g.heads * g.head_dim * pairs
    return g.layers * layers + 2 * g.hidden * g.vocab * heads


def rollout_bytes(geometry: Geometry, *, batch: int, prompt: int, new: int, size: int) -> int:
    """Bytes that the decode steps must read, `size` for a number: all weights and the whole cache in every step."""
    g = geometry
    weights = (new - 1) * (g.layers * g.layer_weights + g.hidden * g.vocab)
    cache = sum(2 * batch * g.layers * g.kv_heads * g.head_dim * (prompt + t) for t in range(1, new))
    return size * (weights + cache)


def update_flops(geometry: Geometry, work: Work, rank: int) -> int:
    """Multiplications and additions of forward and backward with frozen weights and a LoRA adapter of this rank."""
    g, total = geometry, 0
    for layer in range(g.layers):
        for name, (inputs, outputs) in g.linears.items():
            deeper = not (layer == 0 and name in g.frozen_inputs)
            base = inputs * outputs * (1 + deeper)
            adapter = rank * (inputs + outputs) * 2 + rank * (outputs + inputs * deeper)
            total += 2 * work.tokens * (base + adapter)
    attention = 6 * 2 * g.heads * g.head_dim * work.pairs * g.layers  # two products forward, four backward
    return total + attention + 2 * 2 * g.hidden * g.vocab * work.judged

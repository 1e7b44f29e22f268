"""The floor of a rollout and of an update: their matrix products and cache reads in bare, preallocated tensors.

No model code, no norms, rotations or activations, no autograd, no optimizer: what is left is what no implementation can do
without. Buffers are reused, so what they hold means nothing; only their shapes are those of the real work.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bench.work import Geometry, Work

__all__ = ["RolloutFloor", "UpdateFloor"]

_SCORES = 4_194_304  # attention scores of one batched product: enough to be efficient, few enough for any memory
_LOGITS = 16_777_216  # and logits of one product
_BLOCK = 512  # tokens of the vocabulary, for the two levels of sampling


class _Bare:
    """Weights of every layer, an adapter, and buffers of `rows` rows; random numbers all.

    Matrices that read the same input are one product, which is faster than several; the adapter's too, where they can be.
    """

    def __init__(self, geometry: Geometry, rank: int, rows: int, dtype: torch.dtype, device: str) -> None:
        self.geometry, self.rank, self.dtype, self.device = geometry, rank, dtype, device
        self.products = [
            (geometry.linears[names[0]][0], [geometry.linears[n][1] for n in names]) for names in geometry.fused
        ]
        layers = range(geometry.layers)
        self.weights = [[self.random(sum(outputs), inputs) for inputs, outputs in self.products] for _ in layers]
        self.lora_a = [[self.random(rank * len(outputs), inputs) for inputs, outputs in self.products] for _ in layers]
        self.lora_b = [[[self.random(o, rank) for o in outputs] for _, outputs in self.products] for _ in layers]
        self.head = self.random(geometry.vocab, geometry.hidden)
        widths = {w for inputs, outputs in self.products for w in (inputs, *outputs, sum(outputs))}
        self.x, self.y, self.z = ({w: self.random(rows, w) for w in widths} for _ in range(3))
        # Transposed, so that an adapter's slice of the rows is dense.
        self.low, self.slope = (self.random(3 * max(rank, 1), rows) for _ in range(2))

    def random(self, *shape: int) -> Tensor:
        return torch.randn(*shape, dtype=self.dtype, device=self.device).mul_(0.02)

    def forward(self, layer: int, product: int, rows: int) -> None:
        """x W', and the same through the adapter if there is one."""
        inputs, outputs = self.products[product]
        x, r = self.x[inputs][:rows], self.rank
        torch.mm(x, self.weights[layer][product].t(), out=self.y[sum(outputs)][:rows])
        if r:
            low = self.low[: r * len(outputs), :rows]
            torch.mm(self.lora_a[layer][product], x.t(), out=low)
            for i, (o, b) in enumerate(zip(outputs, self.lora_b[layer][product], strict=True)):
                torch.mm(low[i * r : (i + 1) * r].t(), b.t(), out=self.z[o][:rows])


class RolloutFloor(_Bare):
    """Prefill of the distinct prompts, then one step a token: every product, every read of a cache of the true length.

    Args:
        geometry: Of the model.
        batch: Messages.
        prompt: Tokens of each prompt.
        new: Tokens of each message.
        distinct: Prompts that differ; all by default.
        rank: Of a LoRA adapter that is not merged; 0 is merged weights.
        dtype: Of everything but the sampled distribution, which is float32.
        device: A torch device.
        chunk: Prompt tokens of one product.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        batch: int,
        prompt: int,
        new: int,
        distinct: int | None = None,
        rank: int = 0,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        chunk: int = 2048,
    ) -> None:
        self.batch, self.prompt, self.new, self.distinct = batch, prompt, new, distinct or batch
        self.at_once = min(max(chunk // prompt, 1), self.distinct)  # prompts
        super().__init__(geometry, rank, max(self.at_once * prompt, batch), dtype, device)
        g = geometry
        numbers = batch * g.kv_heads * (prompt + new) * g.head_dim
        self.cache = [(self.random(numbers), self.random(numbers)) for _ in range(g.layers)]
        most = max(self.at_once * g.heads * prompt * prompt, batch * g.heads * (prompt + new))
        self.scores = torch.empty(most, dtype=dtype, device=device)
        self.logits = torch.empty(batch, g.vocab, dtype=dtype, device=device)
        self.probs = torch.zeros(batch, -(-g.vocab // _BLOCK) * _BLOCK, device=device)
        self.uniforms = torch.rand(batch, 1, device=device)

    @torch.inference_mode()
    def run(self) -> None:
        """All of it, once."""
        for start in range(0, self.distinct, self.at_once):
            self._layers(min(self.at_once, self.distinct - start), self.prompt, self.prompt)
        self._sample(self.distinct)
        for t in range(1, self.new):
            self._layers(self.batch, 1, self.prompt + t)
            self._sample(self.batch)

    def _layers(self, messages: int, queries: int, keys: int) -> None:
        g, rows = self.geometry, messages * queries
        heads, width = messages * g.kv_heads, g.heads * g.head_dim
        # Query heads that share a key head are further queries of it.
        q = self.x[width][:rows].view(heads, -1, g.head_dim)
        out = self.y[width][:rows].view_as(q)
        scores = self.scores[: heads * q.shape[1] * keys].view(heads, q.shape[1], keys)
        for layer, cache in enumerate(self.cache):
            for product in range(len(self.products)):
                self.forward(layer, product, rows)
            # Dense at every length, keys transposed: no real cache grows so conveniently, but a floor may.
            k, v = (c[: heads * keys * g.head_dim] for c in cache)
            torch.bmm(q, k.view(heads, g.head_dim, keys), out=scores)
            torch.softmax(scores, -1, out=scores)
            torch.bmm(scores, v.view(heads, keys, g.head_dim), out=out)

    def _sample(self, rows: int) -> None:
        hidden, vocab = self.geometry.hidden, self.geometry.vocab
        torch.mm(self.x[hidden][:rows], self.head.t(), out=self.logits[:rows])
        self.probs[:rows, :vocab] = torch.softmax(self.logits[:rows], -1, dtype=torch.float32)
        blocks = self.probs[:rows].view(rows, -1, _BLOCK)
        totals = blocks.sum(-1).cumsum(-1)
        block = torch.searchsorted(totals, self.uniforms[:rows]).clamp_(max=totals.shape[1] - 1)
        inside = blocks.gather(1, block[:, :, None].expand(-1, -1, _BLOCK)).squeeze(1).cumsum(-1)
        torch.searchsorted(inside, self.uniforms[:rows])


class UpdateFloor(_Bare):
    """One forward and one backward pass over all tokens: base, adapter, attention at the true lengths, output layer.

    Weights are frozen: they hand gradients down, and only the adapter gets its own.

    Args:
        geometry: Of the model.
        works: One for each adapter.
        rank: Of the adapters.
        dtype: Of everything.
        device: A torch device.
        chunk: Tokens of one product.
    """

    def __init__(
        self,
        geometry: Geometry,
        works: Sequence[Work],
        *,
        rank: int,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
        chunk: int = 2048,
    ) -> None:
        super().__init__(geometry, rank, chunk, dtype, device)
        self.works, self.chunk = works, chunk
        self.grad_a = [self.random(rank * len(outputs), inputs) for inputs, outputs in self.products]
        self.grad_b = [[self.random(rank, o) for o in outputs] for _, outputs in self.products]
        self.judged_at_once = min(max(_LOGITS // geometry.vocab, 1), chunk)
        self.logits = torch.empty(self.judged_at_once, geometry.vocab, dtype=dtype, device=device)
        blocks = [(q, k, self._at_once(q, k, n)) for work in works for (q, k), n in work.blocks.items()]
        numbers = max(n * geometry.heads * max(q * (geometry.heads // geometry.kv_heads), k) for q, k, n in blocks)
        scores = max(n * geometry.heads * q * k for q, k, n in blocks)
        self.qkv = [self.random(numbers * geometry.head_dim) for _ in range(6)]
        self.scores = [torch.empty(scores, dtype=dtype, device=device) for _ in range(2)]

    @torch.inference_mode()
    def run(self) -> None:
        """All of it, once."""
        for work in self.works:
            for start in range(0, work.tokens, self.chunk):
                self._layers(min(self.chunk, work.tokens - start))
            for (queries, keys), number in work.blocks.items():
                self._attention(queries, keys, number)
            for start in range(0, work.judged, self.judged_at_once):
                self._head(min(self.judged_at_once, work.judged - start))

    def _layers(self, rows: int) -> None:
        r = self.rank
        for layer in range(self.geometry.layers):
            for product, (inputs, outputs) in enumerate(self.products):
                self.forward(layer, product, rows)
                deeper = layer > 0 or self.geometry.fused[product] != self.geometry.frozen_inputs
                if deeper:
                    torch.mm(self.y[sum(outputs)][:rows], self.weights[layer][product], out=self.z[inputs][:rows])
                if not r:
                    continue
                low, slope = (t[: r * len(outputs), :rows] for t in (self.low, self.slope))
                for i, (o, b) in enumerate(zip(outputs, self.lora_b[layer][product], strict=True)):
                    own = slice(i * r, (i + 1) * r)
                    torch.mm(low[own], self.y[o][:rows], out=self.grad_b[product][i])
                    torch.mm(b.t(), self.y[o][:rows].t(), out=slope[own])
                torch.mm(slope, self.x[inputs][:rows], out=self.grad_a[product])
                if deeper:
                    torch.mm(slope.t(), self.lora_a[layer][product], out=self.z[inputs][:rows])

    def _at_once(self, queries: int, keys: int, number: int) -> int:
        """Blocks of one batched product."""
        return min(max(_SCORES // (self.geometry.heads * queries * keys), 1), number)

    def _attention(self, queries: int, keys: int, number: int) -> None:
        g = self.geometry
        at_once = self._at_once(queries, keys, number)
        for _ in range(g.layers):
            for start in range(0, number, at_once):
                heads = min(at_once, number - start) * g.kv_heads
                rows = queries * (g.heads // g.kv_heads)
                q, out = (t[: heads * rows * g.head_dim].view(heads, rows, g.head_dim) for t in self.qkv[:2])
                k, v, dk, dv = (t[: heads * keys * g.head_dim].view(heads, keys, g.head_dim) for t in self.qkv[2:])
                p, dp = (t[: heads * rows * keys].view(heads, rows, keys) for t in self.scores)
                torch.bmm(q, k.transpose(1, 2), out=p)
                torch.softmax(p, -1, out=p)
                torch.bmm(p, v, out=out)
                torch.bmm(out, v.transpose(1, 2), out=dp)
                torch.bmm(p.transpose(1, 2), out, out=dv)
                torch.bmm(dp, k, out=out)
                torch.bmm(dp.transpose(1, 2), q, out=dk)

    def _head(self, rows: int) -> None:
        hidden = self.geometry.hidden
        torch.mm(self.x[hidden][:rows], self.head.t(), out=self.logits[:rows])
        torch.softmax(self.logits[:rows], -1, out=self.logits[:rows])
        torch.mm(self.logits[:rows], self.head, out=self.z[hidden][:rows])

"""Sampling on the model that is trained, in this process, for every `transformers` causal LM that `Backbone.exact` vouches for.

Nothing is computed twice. Equal prompts are read once; and what a prompt has in common with an earlier one of the same weights, or with
that one and the answer to it, is taken from the cache. So keys and values of a discussion stay from round to round, found by their tokens.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from maporl.agents.models.backbone import left_pad
from maporl.agents.models.prefix_trees import common_prefix, in_order, spelled
from maporl.agents.sampling.batched import BatchedSampler, until_end
from maporl.agents.sampling.key_values import KeyValues
from maporl.agents.sampling.sampler import Sampled
from maporl.agents.sampling.settings import Sampling, filter_logits, sample
from maporl.agents.sampling.stops import StopStrings
from maporl.agents.sampling.thinking import ThinkingBudget

if TYPE_CHECKING:
    from maporl.agents.models.policy import Policy

__all__ = ["InProcessSampler"]


class InProcessSampler(BatchedSampler):
    """Batched sampling on the training model itself.

    Attributes:
        prefill_tokens: Of one pass over prompts.
        max_kept_bytes: Of keys and values for later calls: a quarter of a GPU's memory, 2 GiB elsewhere. They are dropped when memory
            runs out, so this need not be exact.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__(policy)
        self.backbone, self.pad_id = policy.backbone, policy.pad_id
        self.prefill_tokens = 8192
        gpu = policy.device.type == "cuda"
        self.max_kept_bytes = torch.cuda.get_device_properties(policy.device).total_memory // 4 if gpu else 2**31
        # Asking a device how many rows are left waits for it.
        self.look_every = 1 if policy.device.type == "cpu" else 8
        self._kept: list[_Kept] = []

    def forget(self) -> bool:
        """See `Sampler`. Weights that are written through `.data`, which torch does not count as a change, need it, too."""
        anything = bool(self._kept)
        self._kept.clear()
        return anything

    def batch(
        self, adapter: str | None, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None
    ) -> list[Sampled]:
        """One batch: read the distinct prompts, or what is new of them; then a column at a time."""
        speaker = (adapter, self.policy.version(adapter))
        self._kept = [k for k in self._kept if k.speaker[0] != adapter or k.speaker == speaker]
        with self.policy.speaking(adapter):
            sampled, kept = self._batch(prompts, sampling, uniforms, speaker)
        # When there is no room, what came first stays: the next round asks for all of it, in the same order.
        if kept.cache.bytes + sum(k.cache.bytes for k in self._kept) <= self.max_kept_bytes:
            self._kept.append(kept)
        return sampled

    def end(self) -> None:
        """What these requests have gone on from, nobody will go on from again."""
        self._kept = [kept for kept in self._kept if not kept.used]

    # -- one batch -----------------------------------------------------------------------------------------------------

    def _batch(
        self, prompts: list[np.ndarray], sampling: Sampling, uniforms: np.ndarray | None, speaker: Speaker
    ) -> tuple[list[Sampled], _Kept]:
        numbers: dict[bytes, int] = {}
        which = [numbers.setdefault(p.tobytes(), len(numbers)) for p in prompts]
        distinct = list({n: p for n, p in zip(which, prompts, strict=True)}.values())
        width, room = len(prompts[-1]), sampling.max_new_tokens - 1  # the last token sampled is never read
        cache, places, hidden = self._prefill(distinct, width, room if len(distinct) == len(prompts) else 0, speaker)
        rows = torch.as_tensor([places[n] for n in which], device=hidden.device)
        if len(distinct) < len(prompts):
            cache, hidden = cache.repeated(rows, width + room), hidden[rows]
            rows = torch.arange(len(prompts), device=hidden.device)
        return self._decode(prompts, cache, rows, hidden, sampling, uniforms, speaker)

    def _prefill(
        self, prompts: list[np.ndarray], width: int, room: int, speaker: Speaker
    ) -> tuple[KeyValues, list[int], Tensor]:
        """Read distinct prompts, aligned on the right; what is kept of them is copied instead.

        Returns:
            The cache, the place in it of each prompt, and the hidden states [B, H] of its rows' last tokens.
        """
        sources = [self._source(p, speaker) for p in prompts]
        fresh = [len(p) - (s.shared if s else 0) for p, s in zip(prompts, sources, strict=True)]
        # Those with little to read first, for a pass starts at the first new token of all its rows.
        order = sorted(range(len(prompts)), key=fresh.__getitem__)
        prompts, sources, fresh = [prompts[n] for n in order], [sources[n] for n in order], [fresh[n] for n in order]
        starts = [width - len(p) for p in prompts]
        cache = KeyValues(self.backbone.config.num_hidden_layers, len(prompts), width + room)
        for kept in self._kept:
            mine = [(row, source) for row, source in enumerate(sources) if source and source.kept is kept]
            if mine:
                kept.copy_to(cache, mine, starts, width - min(fresh[row] for row, _ in mine))
        self._kept = [kept for kept in self._kept if len(kept.used) < len(kept.rows)]
        ids, _ = left_pad(prompts, self.pad_id, self.policy.device)
        hidden, first = [], 0
        most = min(self.prefill_tokens, self.max_batch_tokens)
        while first < len(prompts):
            last = first + 1
            while last < len(prompts) and (last + 1 - first) * fresh[last] <= most:
                last += 1
            rows = slice(first, last)
            hidden.append(self._read(cache, rows, ids[rows], starts[rows], width - fresh[last - 1]))
            first = last
        cache.rows, cache.column = slice(0, len(prompts)), width
        return cache, sorted(range(len(order)), key=order.__getitem__), torch.cat(hidden)

    def _read(self, cache: KeyValues, rows: slice, ids: Tensor, starts: list[int], column: int) -> Tensor:
        """Read columns `column` onwards of some rows, which begin at columns `starts`; hidden states of the last one."""
        begin = torch.as_tensor(starts, device=ids.device)[:, None]
        columns = torch.arange(ids.shape[1], device=ids.device)
        itself = (
            columns[column:, None] == columns
        )  # padding sees at least this: no score but minus infinity would be no number
        visible = (columns <= columns[column:, None]) & (columns >= begin)[:, None, :] | itself
        positions = (columns - begin).clamp(min=0)
        masks = self.backbone.masks(visible, positions[:, column:], positions)
        cache.rows, cache.column = rows, column
        return self.backbone.run(ids[:, column:], positions[:, column:], masks, cache)[:, -1]

    def _source(self, prompt: np.ndarray, speaker: Speaker) -> _Source | None:
        """Where the longest prefix of `prompt` is kept; its last token is always read again, for what follows it is wanted."""
        best: _Source | None = None
        for kept in self._kept:
            if kept.speaker == speaker:
                row, shared = kept.longest(prompt)
                shared = min(shared, len(prompt) - 1)
                if shared > (best.shared if best else 0):
                    best = _Source(kept, row, shared)
        return best

    def _decode(
        self,
        prompts: list[np.ndarray],
        cache: KeyValues,
        places: Tensor,
        hidden: Tensor,
        sampling: Sampling,
        uniforms: np.ndarray | None,
        speaker: Speaker,
    ) -> tuple[list[Sampled], _Kept]:
        device, steps, width = hidden.device, sampling.max_new_tokens, len(prompts[-1])
        draws = None if uniforms is None else torch.as_tensor(uniforms, dtype=torch.float32, device=device)
        eos = torch.tensor(sorted(self.policy.eos_ids), device=device)
        starts = torch.as_tensor([width - len(p) for p in prompts], device=device)
        messages = places.argsort()  # the message in each row of the cache, of which the first `live` are still sampled
        said, stops = _Said(len(prompts), steps, device, self.policy.thinking_budget(sampling)), self.stops(sampling)
        live, masks = len(prompts), self._masks(starts[messages], width + steps)
        active = torch.ones(live, dtype=torch.bool, device=device)
        first = width - starts[messages]  # position of a row's first new token
        for t in range(steps):
            uniform = None if draws is None else draws[messages[:live], t]
            chosen = said.add(messages[:live], *sample(self._logits(hidden, sampling), uniform))
            if t == steps - 1:
                break
            active &= ~torch.isin(chosen, eos)  # a finished row stays until many have finished
            if sampling.stop:
                active &= ~stops.completed(said.tokens[messages[:live], : t + 1])
            if t % self.look_every == 0:
                remaining = int(active.sum())
                if remaining == 0:
                    break
                if remaining <= 0.75 * live:  # moving rows copies their keys and values: worth it only for many at once
                    left = (~active[:remaining]).nonzero().squeeze(1)
                    right = active[remaining:].nonzero().squeeze(1) + remaining
                    cache.swap(left, right)
                    chosen[left] = chosen[right]
                    messages = messages.clone()
                    messages[left], messages[right] = messages[right], messages[left]
                    live, chosen, active = remaining, chosen[:remaining], torch.ones_like(active[:remaining])
                    cache.rows = slice(0, live)
                    masks, first = self._masks(starts[messages], width + steps), width - starts[messages]
            positions = (first[:live] + t)[:, None]
            hidden = self.backbone.run(chosen[:, None], positions, masks(live, width + t), cache)[:, -1]
            cache.column += 1
        sampled = said.messages(self.policy.eos_ids, stops)
        sequences = [np.concatenate([p, s.ids[:-1]]) for p, s in zip(prompts, sampled, strict=True)]
        return sampled, _Kept(speaker, sequences, starts.tolist(), messages.argsort().tolist(), cache, device)

    def _logits(self, hidden: Tensor, sampling: Sampling) -> Tensor:
        assert self.backbone.output is not None
        logits = self.backbone.output.logits(hidden)
        if sampling.temperature != 1.0:
            logits = logits.div_(sampling.temperature)
        return filter_logits(logits, sampling.top_k, sampling.top_p)

    def _masks(self, starts: Tensor, width: int) -> Callable[[int, int], Any]:
        """Masks for one new token of the first rows, in a given column; they begin at columns `starts`."""
        columns = torch.arange(width, device=starts.device)
        visible = (columns >= starts[:, None])[:, None, :]
        positions = (columns - starts[:, None]).clamp(min=0)
        if self.backbone.window is None:
            masks = self.backbone.masks(visible, positions)
            return lambda live, column: masks[:live, :, :, : column + 1]
        return lambda live, column: self.backbone.masks(
            visible[:live, :, : column + 1], positions[:live, column : column + 1], positions[:live, : column + 1]
        )


class _Said:
    """What is sampled, step by step, of messages that leave the batch at different times."""

    def __init__(self, size: int, steps: int, device: torch.device, budget: ThinkingBudget | None) -> None:
        self.tokens = torch.zeros(size, steps, dtype=torch.int64, device=device)
        self.logprobs = torch.zeros(size, steps, device=device)
        self._steps, self._budget = 0, budget

    def add(self, messages: Tensor, tokens: Tensor, logprobs: Tensor) -> Tensor:
        """The next token of each of these messages, which is the one sampled unless the budget forces another; after its end, anything."""
        if self._budget is not None:
            tokens, logprobs = self._budget.enforced(self.tokens[messages, : self._steps], tokens, logprobs)
        self.tokens[messages, self._steps], self.logprobs[messages, self._steps] = tokens, logprobs
        self._steps += 1
        return tokens

    def messages(self, eos_ids: frozenset[int], stops: StopStrings) -> list[Sampled]:
        """Every message up to the first token that ends it."""
        said = self._steps  # by then every message has ended, or is as long as may be
        return until_end(self.tokens[:, :said], self.logprobs[:, :said], eos_ids, stops, self._budget)


Speaker = tuple[str | None, int]
"""An adapter and the version of its weights."""


@dataclass(frozen=True)
class _Kept:
    """What one batch leaves behind: row rows[i] of the cache holds sequences[i] from column starts[i] on; `used` are those i
    from which a later prompt has gone on."""

    speaker: Speaker
    sequences: list[np.ndarray]
    starts: list[int]
    rows: list[int]
    cache: KeyValues
    device: torch.device
    used: set[int] = field(default_factory=set)

    @cached_property
    def _spelled(self) -> tuple[list[bytes], list[int]]:
        order = in_order(dict(enumerate(self.sequences)))
        return [spelled(self.sequences[i]) for i in order], order

    def copy_to(self, cache: KeyValues, rows: Sequence[tuple[int, _Source]], starts: Sequence[int], width: int) -> None:
        """Copy what is shared with rows of a new cache that begin at columns `starts` into its first `width` columns."""
        self.used.update(source.row for _, source in rows)
        theirs = [self.rows[source.row] for _, source in rows]
        shift = [self.starts[source.row] - starts[row] for row, source in rows]
        device = self.device
        cache.take_over(
            self.cache, width, *(torch.as_tensor(a, device=device) for a in ([row for row, _ in rows], theirs, shift))
        )

    def longest(self, prompt: np.ndarray) -> tuple[int, int]:
        """The sequence that shares most of the beginning of `prompt`, one of its neighbours in order, and how many tokens."""
        keys, order = self._spelled
        place = bisect.bisect(keys, spelled(prompt))
        neighbours = [order[i] for i in (place - 1, place) if 0 <= i < len(order)]
        return max(((i, common_prefix(self.sequences[i], prompt)) for i in neighbours), key=lambda pair: pair[1])


@dataclass(frozen=True)
class _Source:
    """Sequence `row` of a kept batch, whose first `shared` tokens are wanted."""

    kept: _Kept
    row: int
    shared: int

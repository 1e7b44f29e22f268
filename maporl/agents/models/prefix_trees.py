"""Messages as trees: what several of them begin with is computed once, in training as exactly as if each stood alone.

The samples of a group share their prompt, and a later prompt of a discussion begins with the earlier one and its answer. A
tree lays the distinct tokens out in depth-first order; a token sees its ancestors alone. In that order "m is an ancestor of
n, or n itself" is m <= n < end[m], where end[m] is one past the last descendant of m: one number a token is the whole mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from maporl.errors import UserValueError

__all__ = ["Packed", "common_prefix", "in_order", "pack", "spelled"]


PASS = 256
"""Tokens of padding that cost about as much as a pass of its own; more in a small model, whose passes are mostly overhead."""


@dataclass(frozen=True)
class Packed:
    """One forward pass over n messages, as K trees padded on the right to L tokens.

    Attributes:
        rows: [n] the caller's numbers of the messages, in the order of `before` and `targets`.
        ids, positions: [K, L] tokens and their depths.
        ends: [K, L] one past each token's last descendant; padding sees padding only.
        before: [M] place in the flattened [K * L] of the token before each completion token, message after message.
        targets: [M] the completion tokens.
        lengths: [n] completion tokens of each message.
        prompts, completions: The n messages themselves.
    """

    rows: np.ndarray
    ids: np.ndarray
    positions: np.ndarray
    ends: np.ndarray
    before: np.ndarray
    targets: np.ndarray
    lengths: np.ndarray
    prompts: Sequence[np.ndarray]
    completions: Sequence[np.ndarray]

    @cached_property
    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Message (0 to n - 1) and place in it of each of the M completion tokens."""
        starts = np.cumsum(self.lengths) - self.lengths
        owners = np.repeat(np.arange(len(self.rows)), self.lengths)
        return owners, np.arange(len(owners)) - starts[owners]

    def flat(self, table: Tensor) -> Tensor:
        """The M entries of `table` [N, T] that belong to this pass's completion tokens."""
        owners, places = self.columns
        return table[self.rows[owners], places]

    def spread(self, flat: Tensor, table: Tensor) -> None:
        """Write M values to where they belong in `table` [N, T]."""
        owners, places = self.columns
        table[self.rows[owners], places] = flat.to(table.device, table.dtype)

    def visible(self, device: torch.device) -> Tensor:
        """[K, L, L] bool: may the token of this row see the token of this column?"""
        ends = torch.as_tensor(self.ends, device=device)
        order = torch.arange(ends.shape[1], device=device)
        return (order[None, None, :] <= order[None, :, None]) & (order[None, :, None] < ends[:, None, :])


def pack(
    rows: np.ndarray,
    prompts: Sequence[np.ndarray],
    completions: Sequence[np.ndarray],
    *,
    token_budget: int,
    hidden_size: int | None,
) -> list[Packed]:
    """Messages in as few tokens as pay, in passes of at most `token_budget` tokens, padding included, and little padding in each.

    Args:
        rows: Numbers of the messages to pack.
        prompts, completions: Token ids of every message, by number.
        token_budget: A single message longer than this is a pass of its own.
        hidden_size: Of the model; None shares nothing. Sharing a prefix saves its products, but lengthens the sequences that
            attention multiplies by themselves: a token's products cost as much as about 6 * hidden_size pairs in attention.

    Raises:
        ValueError: A prompt or completion without any token.
    """
    for row in rows:
        if not len(prompts[row]) or not len(completions[row]):
            raise UserValueError(f"message {row} has an empty prompt or completion; leave it out.")
    sequences = {int(row): np.concatenate([prompts[row], completions[row][:-1]]) for row in rows}
    pairs_per_token = None if hidden_size is None else 6 * hidden_size
    trees = sorted(_trees(sequences, token_budget, pairs_per_token), key=len)
    spare = PASS if hidden_size is None else max(PASS, 2**27 // hidden_size**2)
    passes: list[Packed] = []
    mine: list[_Tree] = []
    for tree in trees:  # the longest so far: all before it are padded to its length
        size = (len(mine) + 1) * len(tree)
        if mine and (size > token_budget or size - len(tree) - sum(map(len, mine)) > spare):
            passes.append(_joined(mine, prompts, completions))
            mine = []
        mine.append(tree)
    return [*passes, _joined(mine, prompts, completions)] if mine else passes


class _Tree:
    """A tree that grows by whole sequences, in lexicographic order."""

    def __init__(self, row: int, sequence: np.ndarray) -> None:
        self.last = sequence
        self.path = np.arange(len(sequence))  # the place of each token of the last sequence
        self.rows, self.paths = [row], [self.path]
        self.chunks, self.depths = [sequence], [self.path]
        self.spans: list[tuple[np.ndarray, int]] = []  # places whose last descendant is known, and one past it
        self.size = len(sequence)

    def __len__(self) -> int:
        return self.size

    def add(self, row: int, sequence: np.ndarray, shared: int) -> None:
        """`sequence` shares its first `shared` tokens with the last one, and no more with any other."""
        self.spans.append((self.path[shared:], self.size))
        fresh = len(sequence) - shared
        self.path = np.concatenate([self.path[:shared], np.arange(self.size, self.size + fresh)])
        self.chunks.append(sequence[shared:])
        self.depths.append(np.arange(shared, len(sequence)))
        self.rows.append(row)
        self.paths.append(self.path)
        self.last = sequence
        self.size += fresh

    def ends(self) -> np.ndarray:
        result = np.empty(self.size, np.int64)
        for places, end in [*self.spans, (self.path, self.size)]:
            result[places] = end
        return result


def _trees(sequences: dict[int, np.ndarray], token_budget: int, pairs_per_token: int | None) -> Iterator[_Tree]:
    """Neighbours in lexicographic order share the longest prefixes; each joins the tree before it while that is cheaper."""
    tree: _Tree | None = None
    for row in in_order(sequences):
        sequence = sequences[row]
        length = len(sequence)
        if tree is not None:
            if pairs_per_token is not None:
                shared = common_prefix(tree.last, sequence)
                size, fresh = tree.size, length - shared
                joined = pairs_per_token * fresh + (2 * size + fresh) * fresh  # what it adds to size * (tokens + size)
                if shared and size + fresh <= token_budget and joined < (pairs_per_token + length) * length:
                    tree.add(row, sequence, shared)
                    continue
            yield tree
        tree = _Tree(row, sequence)
    if tree is not None:
        yield tree


def _joined(trees: Sequence[_Tree], prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray]) -> Packed:
    width = max(tree.size for tree in trees)
    ids = np.zeros((len(trees), width), np.int64)
    positions = np.zeros_like(ids)
    ends = np.full_like(ids, width)
    rows, before = [], []
    for k, tree in enumerate(trees):
        ids[k, : tree.size] = np.concatenate(tree.chunks)
        positions[k, : tree.size] = np.concatenate(tree.depths)
        ends[k, : tree.size] = tree.ends()
        for row, path in zip(tree.rows, tree.paths, strict=True):
            rows.append(row)
            before.append(k * width + path[len(prompts[row]) - 1 :])
    mine = [completions[row] for row in rows]
    return Packed(
        rows=np.array(rows, np.int64),
        ids=ids,
        positions=positions,
        ends=ends,
        before=np.concatenate(before),
        targets=np.concatenate(mine).astype(np.int64),
        lengths=np.array([len(c) for c in mine], np.int64),
        prompts=[prompts[row] for row in rows],
        completions=mine,
    )


def in_order(sequences: dict[int, np.ndarray]) -> list[int]:
    """The keys, sorted by what they stand for: any two sequences share at most as much as all of those between them."""
    keys = {key: spelled(ids) for key, ids in sequences.items()}
    return sorted(keys, key=keys.__getitem__)


def spelled(ids: np.ndarray) -> bytes:
    """Token ids as bytes that are ordered as they are."""
    return np.ascontiguousarray(ids, ">u4").tobytes()


def common_prefix(left: np.ndarray, right: np.ndarray) -> int:
    """How many tokens the two begin with in common."""
    length = min(len(left), len(right))
    different = left[:length] != right[:length]
    first = int(different.argmax()) if length else 0
    return first if length and different[first] else length

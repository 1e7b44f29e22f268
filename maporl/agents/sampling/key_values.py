"""A key-value cache in preallocated memory, whose rows can be reordered, repeated and taken over by a later call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

__all__ = ["KeyValues"]


class _Layer(CacheLayerMixin):
    """keys, values: [B, H, S, D]. The owner says which rows are in use and at which column the next tokens go."""

    keys: Tensor
    values: Tensor

    def __init__(self, owner: KeyValues) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        shape = (self.owner.size, key_states.shape[1], self.owner.width)
        # Zeros, for padding that no token may see still has to be a number: 0 * nan is nan.
        self.keys = key_states.new_zeros(*shape, key_states.shape[3])
        self.values = value_states.new_zeros(*shape, value_states.shape[3])
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        rows, start, stop = self.owner.rows, self.owner.column, self.owner.column + key_states.shape[2]
        self.keys[rows, :, start:stop] = key_states
        self.values[rows, :, start:stop] = value_states
        return self.keys[rows, :, :stop], self.values[rows, :, :stop]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.owner.column + query_length, 0

    def get_seq_length(self) -> int:
        return self.owner.column

    def get_max_length(self) -> int:
        return self.owner.width


class KeyValues(Cache):
    """Keys and values of `size` rows of `width` columns. Attention masks are the caller's: a column may hold anything.

    Attributes:
        rows: The rows that a forward pass reads and writes.
        column: Where its tokens go; they see the columns before and their own.
    """

    def __init__(self, num_layers: int, size: int, width: int) -> None:
        self.size, self.width = size, width
        self.rows, self.column = slice(0, size), 0
        self._mine = [_Layer(self) for _ in range(num_layers)]
        super().__init__(layers=list(self._mine))

    @property
    def bytes(self) -> int:
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._mine)

    def swap(self, left: Tensor, right: Tensor) -> None:
        """Exchange rows `left` [k] with rows `right` [k], in columns before `column`."""
        there, back = torch.cat([left, right]), torch.cat([right, left])
        for layer in self._mine:
            for filled in (layer.keys[:, :, : self.column], layer.values[:, :, : self.column]):
                filled[there] = filled[back]

    def repeated(self, rows: Tensor, width: int) -> KeyValues:
        """A wider copy with row rows[i] as row i."""
        result = KeyValues(len(self._mine), len(rows), width)
        result.column = self.column
        for mine, copy in zip(self._mine, result._mine, strict=True):
            copy.lazy_initialization(mine.keys, mine.values)
            copy.keys[:, :, : self.column] = mine.keys[:, :, : self.column].index_select(0, rows)
            copy.values[:, :, : self.column] = mine.values[:, :, : self.column].index_select(0, rows)
        return result

    def take_over(self, other: KeyValues, width: int, mine: Tensor, theirs: Tensor, shift: Tensor) -> None:
        """Fill columns 0 to width - 1 of rows `mine` [k] with columns shift[i], shift[i] + 1 ... of rows `theirs` [k] of `other`.

        What lies beyond the edges of `other` is filled with anything.
        """
        columns = (shift[:, None] + torch.arange(width, device=shift.device)).clamp(0, other.width - 1)
        for here, there in zip(self._mine, other._mine, strict=True):
            if not here.is_initialized:
                here.lazy_initialization(there.keys, there.values)
            heads = torch.arange(there.keys.shape[1], device=shift.device)[None, :, None]
            index = (theirs[:, None, None], heads, columns[:, None, :])
            here.keys[mine, :, :width] = there.keys[index]
            here.values[mine, :, :width] = there.values[index]

"""Rows of keys and values that move, repeat, and are taken over."""

from __future__ import annotations

import torch

from maporl.agents.sampling.key_values import KeyValues


def filled(size: int, width: int, column: int) -> KeyValues:
    """Row r holds 100 r + column (plus 1000 for the second layer, negative for values) in its first `column` columns."""
    cache = KeyValues(2, size, width)
    for number, layer in enumerate(cache.layers):
        keys = 1000 * number + 100 * torch.arange(size)[:, None] + torch.arange(column)[None]
        keys = keys.float()[:, None, :, None].expand(size, 3, column, 2)
        layer.update(keys, -keys)
    cache.column = column
    return cache


def read(cache: KeyValues, layer: int = 0) -> list[list[int]]:
    keys, values = cache.layers[layer].keys, cache.layers[layer].values
    assert torch.equal(keys, -values)
    assert (keys == keys[:, :1, :, :1]).all()  # every head and every number of a head alike
    return keys[:, 0, :, 0].int().tolist()


def test_tokens_go_to_the_column_and_see_what_is_before() -> None:
    cache = filled(2, 5, 3)
    assert read(cache) == [[0, 1, 2, 0, 0], [100, 101, 102, 0, 0]]
    assert cache.get_seq_length() == 3 and cache.get_mask_sizes(1, 0) == (4, 0)
    new = torch.full((2, 3, 1, 2), 7.0)
    keys, values = cache.layers[0].update(new, -new)
    assert keys.shape == (2, 3, 4, 2) and torch.equal(keys, -values) and (keys[:, :, 3] == 7).all()
    assert cache.get_seq_length() == 3  # the owner moves the column, once all layers have been through


def test_only_the_rows_in_use_are_written_and_read() -> None:
    cache = filled(3, 4, 2)
    cache.rows = slice(1, 2)
    new = torch.full((1, 3, 1, 2), 7.0)
    keys, _ = cache.layers[0].update(new, -new)
    assert keys[:, 0, :, 0].tolist() == [[100, 101, 7]]
    assert read(cache) == [[0, 1, 0, 0], [100, 101, 7, 0], [200, 201, 0, 0]]


def test_swapped_rows_change_places_in_every_layer() -> None:
    cache = filled(4, 3, 2)
    cache.swap(torch.tensor([0, 1]), torch.tensor([3, 2]))
    assert read(cache) == [[300, 301, 0], [200, 201, 0], [100, 101, 0], [0, 1, 0]]
    assert read(cache, 1)[0] == [1300, 1301, 0]


def test_a_wider_copy_may_repeat_rows_and_shares_no_memory() -> None:
    cache = filled(2, 3, 2)
    copy = cache.repeated(torch.tensor([1, 0, 1]), 4)
    assert (copy.size, copy.width, copy.column) == (3, 4, 2)
    assert read(copy) == [[100, 101, 0, 0], [0, 1, 0, 0], [100, 101, 0, 0]] and read(copy, 1)[1] == [1000, 1001, 0, 0]
    copy.layers[0].keys[:] = 5
    assert read(cache) == [[0, 1, 0], [100, 101, 0]]


def test_taking_over_shifts_columns_row_by_row() -> None:
    old, new = filled(3, 6, 6), KeyValues(2, 3, 5)
    # Row 2 gets columns 1.. of row 0; row 0 gets columns -1.. of row 2, whose first is beyond the edge: anything.
    new.take_over(old, 3, torch.tensor([2, 0]), torch.tensor([0, 2]), torch.tensor([1, -1]))
    found = read(new)
    assert found[2] == [1, 2, 3, 0, 0] and found[0][1:] == [200, 201, 0, 0] and found[1] == [0] * 5
    assert read(new, 1)[2] == [1001, 1002, 1003, 0, 0]
    other = filled(1, 9, 9)
    new.take_over(other, 4, torch.tensor([1]), torch.tensor([0]), torch.tensor([7]))  # beyond the other edge
    assert read(new)[1][:2] == [7, 8] and read(new)[2] == [1, 2, 3, 0, 0]

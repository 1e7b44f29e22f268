"""Messages as trees: every message reads its own tokens and no others, whatever it shares with whom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.agents.models.prefix_trees import Packed, common_prefix, in_order, pack, spelled

CPU = torch.device("cpu")
WIDE = 2**20
"""A hidden size at which sharing always pays."""


def arrays(*sequences: Sequence[int]) -> list[np.ndarray]:
    return [np.array(s, np.int64) for s in sequences]


def packed(prompts: list, completions: list, budget: int = 1000, hidden_size: int = WIDE) -> list[Packed]:
    return pack(np.arange(len(prompts)), prompts, completions, token_budget=budget, hidden_size=hidden_size)


def test_a_small_tree_by_hand() -> None:
    # Two answers to [1 2 3], and a later prompt that goes on from the first of them.
    #
    #   place     0  1  2    3  4  5  6    7
    #   token     1  2  3    7  8  9  4    5
    #   depth     0  1  2    3  4  5  6    3        [7 8] is the second message's beginning as well as the first's answer
    prompts = arrays([1, 2, 3], [1, 2, 3, 7, 8, 9], [1, 2, 3])
    completions = arrays([7, 8, 6], [4, 0], [5, 6])
    [tree] = packed(prompts, completions)
    # In lexicographic order: [1 2 3 5], [1 2 3 7 8], [1 2 3 7 8 9 4].
    assert tree.rows.tolist() == [2, 0, 1]
    assert tree.ids.tolist() == [[1, 2, 3, 5, 7, 8, 9, 4]]
    assert tree.positions.tolist() == [[0, 1, 2, 3, 3, 4, 5, 6]]
    assert tree.ends.tolist() == [[8, 8, 8, 4, 8, 8, 8, 8]]
    assert tree.before.tolist() == [2, 3, 2, 4, 5, 6, 7]
    assert tree.targets.tolist() == [5, 6, 7, 8, 6, 4, 0]
    assert tree.lengths.tolist() == [2, 3, 2]
    sees = tree.visible(CPU)[0]
    assert [sees[n].nonzero().flatten().tolist() for n in range(8)] == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 4],
        [0, 1, 2, 4, 5],
        [0, 1, 2, 4, 5, 6],
        [0, 1, 2, 4, 5, 6, 7],
    ]


def test_trees_that_share_a_pass_are_padded_and_padding_is_alone() -> None:
    [both] = packed(arrays([1, 2, 3, 4], [5]), arrays([6, 7], [8]))
    assert both.ids.shape == (2, 5)
    short = 0 if both.rows[0] == 1 else 1
    assert both.ids[short].tolist() == [5, 0, 0, 0, 0]
    sees = both.visible(CPU)[short]
    assert sees[0].tolist() == [True, False, False, False, False]
    assert not sees[1:, 0].any() and sees[1:, 1:].diagonal().all()


def test_much_padding_is_two_passes_but_in_a_small_model() -> None:
    messages = arrays(np.arange(300), np.arange(5, 299), np.arange(7, 1007)), arrays([1], [2], [3])
    assert [one.ids.shape for one in packed(*messages, budget=4096)] == [
        (2, 300),
        (1, 1000),
    ]  # 6 tokens of padding, not 1,406
    assert [one.ids.shape for one in packed(*messages, budget=4096, hidden_size=64)] == [(3, 1000)]


def test_values_are_spread_to_where_they_belong_and_found_there_again() -> None:
    prompts, completions = arrays([9, 9], [1], [9, 9, 3]), arrays([4], [5, 6, 7], [8, 2])
    whole = packed(prompts, completions)
    table = torch.zeros(3, 3)
    for one in whole:
        one.spread(torch.as_tensor(one.targets), table)
    assert table.tolist() == [[4, 0, 0], [5, 6, 7], [8, 2, 0]]
    for one in whole:
        assert one.flat(table).tolist() == one.targets.tolist()


def test_only_the_rows_asked_for_and_under_their_own_numbers() -> None:
    prompts, completions = arrays([1], [2], [1], [3]), arrays([4], [5], [6, 6], [7])
    rows = np.array([3, 2])
    found = pack(rows, prompts, completions, token_budget=100, hidden_size=32)
    assert sorted(np.concatenate([p.rows for p in found]).tolist()) == [2, 3]
    table = torch.zeros(4, 2)
    for one in found:
        one.spread(torch.as_tensor(one.targets), table)
    assert table.tolist() == [[0, 0], [0, 0], [6, 6], [7, 0]]


# -- for any messages --------------------------------------------------------------------------------------------------

TOKENS = st.lists(st.integers(0, 2), min_size=1, max_size=7)
"""Three kinds of token: beginnings are often shared."""
MESSAGES = st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=12)


def paths(one: Packed) -> list[list[int]]:
    """The places in the flattened pass that each message consists of, climbing from its last token to the root."""
    places: list[list[int]] = []
    width = one.ids.shape[1]
    for number, prompt in enumerate(one.prompts):
        owners, _ = one.columns
        before = one.before[owners == number].tolist()
        k, parents = before[0] // width, before[:1]
        while one.positions[k, parents[0] % width]:
            here = parents[0] % width
            depth = one.positions[k, here] - 1
            above = [m for m in range(here) if one.positions[k, m] == depth and one.ends[k, m] > here]
            parents.insert(0, k * width + above[-1])
        assert len(parents) == len(prompt)
        places.append(parents + before[1:])
    return places


@settings(max_examples=150, deadline=None)
@given(MESSAGES, st.integers(1, 60), st.sampled_from([1, 8, WIDE]))
def test_every_message_reads_exactly_its_own_tokens(messages: list, budget: int, hidden_size: int) -> None:
    prompts, completions = (arrays(*(m[i] for m in messages)) for i in (0, 1))
    whole = packed(prompts, completions, budget, hidden_size)
    assert sorted(np.concatenate([one.rows for one in whole]).tolist()) == list(range(len(messages)))
    for one in whole:
        assert one.ids.size <= budget or len(one.rows) == 1
        flat_ids, flat_positions = one.ids.ravel(), one.positions.ravel()
        width = one.ids.shape[1]
        sees = one.visible(CPU).numpy()
        naive = np.zeros_like(sees)
        real = np.zeros(one.ids.size, bool)
        for row, path in zip(one.rows, paths(one), strict=True):
            sequence = np.concatenate([prompts[row], completions[row][:-1]])
            assert flat_ids[path].tolist() == sequence.tolist()
            assert flat_positions[path].tolist() == list(range(len(sequence)))
            real[path] = True
            k, inside = path[0] // width, np.array(path) % width
            for depth, place in enumerate(inside):
                naive[k, place, inside[: depth + 1]] = True
        real = real.reshape(one.ids.shape)
        for k in range(len(real)):
            assert (sees[k][real[k]] == naive[k][real[k]]).all()
            assert not sees[k][~real[k]][:, real[k]].any()
            assert sees[k].diagonal().all()
        assert one.targets.tolist() == [t for row in one.rows for t in completions[row].tolist()]


@settings(max_examples=100, deadline=None)
@given(MESSAGES)
def test_where_everything_is_shared_no_token_is_there_twice(messages: list) -> None:
    # The number of distinct prefixes is the smallest number of tokens that any sharing can reach.
    prompts, completions = (arrays(*(m[i] for m in messages)) for i in (0, 1))
    sequences = [tuple(p) + tuple(c[:-1]) for p, c in messages]
    distinct = {s[:n] for s in sequences for n in range(1, len(s) + 1)}
    whole = packed(prompts, completions, budget=10_000)
    trees = [(one, k) for one in whole for k in range(len(one.ids))]
    assert sum(int(one.visible(CPU)[k, :, 0].sum()) for one, k in trees) == len(distinct)  # all see their root


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_a_group_takes_its_prompt_once() -> None:
    rng = np.random.default_rng(0)
    prompt, size, length = rng.integers(0, 1000, 50), 8, 12
    completions = [np.concatenate([[n], rng.integers(0, 1000, length - 1)]) for n in range(size)]
    [one] = packed([prompt] * size, completions)
    assert one.ids.size == 50 + size * (length - 1)


def test_duplicates_cost_nothing() -> None:
    prompts, completions = arrays([1, 2, 3]) * 5, arrays([4, 5]) * 5
    [one] = packed(prompts, completions, hidden_size=1)
    assert one.ids.tolist() == [[1, 2, 3, 4]] and one.before.tolist() == [2, 3] * 5


def test_long_sequences_that_share_a_token_stay_apart() -> None:
    rng = np.random.default_rng(0)
    prompts = [np.concatenate([[7], rng.integers(0, 1000, 299)]) for _ in range(3)]
    completions = [rng.integers(0, 1000, 10) for _ in range(3)]
    [apart] = packed(prompts, completions, budget=10_000, hidden_size=32)
    assert apart.ids.shape == (3, 309)
    # Half of it in common, and a model wide enough that its products weigh more than attention: together.
    prompts = [np.concatenate([prompts[0][:150], p[150:]]) for p in prompts]
    [together] = packed(prompts, completions, budget=10_000, hidden_size=1024)
    assert together.ids.shape == (1, 309 + 2 * 159)


def test_the_budget_splits_a_group() -> None:
    prompts = [np.arange(10)] * 6
    completions = [np.array([100 + n, 1, 2, 3, 4, 5]) for n in range(6)]  # five fresh tokens each
    assert [one.ids.shape for one in packed(prompts, completions, budget=40)] == [(1, 40)]
    found = packed(prompts, completions, budget=20)
    assert [one.ids.shape for one in found] == [(1, 20)] * 3
    assert [one.ids.shape for one in packed(prompts, completions, budget=1)] == [(1, 15)] * 6  # none fits


def test_nothing_in_nothing_out() -> None:
    assert pack(np.array([], np.int64), [], [], token_budget=10, hidden_size=8) == []


@pytest.mark.parametrize(("prompt", "completion"), [([], [1]), ([1], [])])
def test_an_empty_message_is_named(prompt: list, completion: list) -> None:
    with pytest.raises(ValueError, match="message 1 has an empty prompt or completion; leave it out"):
        packed(arrays([1], prompt), arrays([2], completion))


def test_order_is_of_numbers_not_of_digits() -> None:
    sequences = dict(enumerate(arrays([300], [2, 1], [2], [70_000], [2**31], [2, 0, 5])))
    assert in_order(sequences) == [2, 5, 1, 0, 3, 4]
    assert spelled(sequences[2]) < spelled(sequences[5]) < spelled(sequences[1])


@given(st.lists(st.integers(0, 1), max_size=6), st.lists(st.integers(0, 1), max_size=6))
def test_common_prefix(left: list, right: list) -> None:
    expected = 0
    while expected < min(len(left), len(right)) and left[expected] == right[expected]:
        expected += 1
    assert common_prefix(*arrays(left, right)) == expected

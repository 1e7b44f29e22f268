"""Few cells in which every two values of different factors meet: most faults take no more than two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

Chosen = tuple[str, str]  # (factor, value)


def pairs(cell: Sequence[Chosen]) -> set[frozenset[Chosen]]:
    """Every two of a cell's choices."""
    return {frozenset(two) for two in combinations(cell, 2)}


def pairwise(factors: Mapping[str, Sequence[str]]) -> list[dict[str, str]]:
    """Cells (factor -> value) that hold every pair of values of two factors; the same ones at every call.

    Greedy: a cell begins with the first pair that no cell holds yet, and takes of each further factor the value that brings most
    such pairs with it (of equals, the one that was used least). Hardly more cells than the two longest factors have pairs.
    """
    missing = dict.fromkeys(
        frozenset({(one, a), (other, b)})
        for one, other in combinations(factors, 2)
        for a in factors[one]
        for b in factors[other]
    )
    used = {(name, value): 0 for name, values in factors.items() for value in values}
    cells = []
    while missing:
        cell = dict(sorted(next(iter(missing)), key=lambda chosen: list(factors).index(chosen[0])))
        for name in factors:
            if name not in cell:
                cell[name] = min(
                    factors[name],
                    key=lambda v, name=name: (
                        -sum(frozenset({(name, v), chosen}) in missing for chosen in cell.items()),
                        used[name, v],
                    ),
                )
        for chosen in cell.items():
            used[chosen] += 1
        for pair in pairs(list(cell.items())):
            missing.pop(pair, None)
        cells.append({name: cell[name] for name in factors})
    return cells

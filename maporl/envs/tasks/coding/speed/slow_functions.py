"""Right and slow on purpose: what `FasterCode` asks to make faster. Each takes some 5 to 20 ms on its largest input: a short time is
likelier to be measured undisturbed."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["SLOW", "Slow"]


def has_duplicates(items: list[int]) -> bool:
    for i in range(len(items)):
        for j in range(len(items)):
            if i != j and items[i] == items[j]:
                return True
    return False


def fibonacci(n: int) -> int:
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def count_primes(n: int) -> int:
    count = 0
    for number in range(2, n):
        if all(number % divisor for divisor in range(2, number)):
            count += 1
    return count


def count_divisors(n: int) -> int:
    return len([divisor for divisor in range(1, n + 1) if n % divisor == 0])


def most_common(items: list[int]) -> int:
    best = items[0]
    for item in items:
        if items.count(item) > items.count(best):
            best = item
    return best


def has_pair(numbers: list[int], total: int) -> bool:
    for i in range(len(numbers)):
        for j in range(i + 1, len(numbers)):
            if numbers[i] + numbers[j] == total:
                return True
    return False


def common(first: list[int], second: list[int]) -> list[int]:
    return [item for item in first if item in second]


def unique(items: list[int]) -> list[int]:
    result: list[int] = []
    for item in items:
        if item not in result:
            result = result + [item]
    return result


def power_modulo(base: int, exponent: int, modulus: int) -> int:
    result = 1
    for _ in range(exponent):
        result = result * base % modulus
    return result


def best_sum(numbers: list[int]) -> int:
    best = numbers[0]
    for i in range(len(numbers)):
        for j in range(i + 1, len(numbers) + 1):
            best = max(best, sum(numbers[i:j]))
    return best


def in_order(items: list[int]) -> list[int]:
    items = list(items)
    for _ in range(len(items)):
        for i in range(len(items) - 1):
            if items[i] > items[i + 1]:
                items[i], items[i + 1] = items[i + 1], items[i]
    return items


def edit_distance(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    if a[0] == b[0]:
        return edit_distance(a[1:], b[1:])
    return 1 + min(edit_distance(a[1:], b), edit_distance(a, b[1:]), edit_distance(a[1:], b[1:]))


def backwards(text: str) -> str:
    result = ""
    for letter in text:
        result = letter + result
    return result


def running_means(numbers: list[int]) -> list[float]:
    return [sum(numbers[: i + 1]) / (i + 1) for i in range(len(numbers))]


def greatest_common_divisor(a: int, b: int) -> int:
    divisor = min(a, b)
    while a % divisor or b % divisor:
        divisor -= 1
    return divisor


def ways_to_climb(steps: int) -> int:
    if steps < 0:
        return 0
    return 1 if steps == 0 else ways_to_climb(steps - 1) + ways_to_climb(steps - 2) + ways_to_climb(steps - 3)


@dataclass(frozen=True)
class Slow:
    """A slow function.

    Attributes:
        function: The original; its source is what is shown.
        inputs: Arguments of calls on which an answer must agree with it; the last of them take long.
    """

    function: Callable[..., Any]
    inputs: Sequence[tuple[Any, ...]]


def _numbers(count: int, below: int, seed: int = 0) -> list[int]:
    return random.Random(seed).sample(range(-below, below), count)


SLOW: Sequence[Slow] = (
    Slow(has_duplicates, [([],), ([3, 1, 3],), ([1],), (_numbers(400, 10**6),)]),
    Slow(fibonacci, [(0,), (1,), (7,), (22,)]),
    Slow(count_primes, [(0,), (2,), (3,), (30,), (1500,)]),
    Slow(count_divisors, [(1,), (12,), (97,), (166_320,)]),
    Slow(most_common, [([7, 5, 7],), ([1],), ([2, 1, 1, 2],), ([n % 97 for n in _numbers(400, 10**5)],)]),
    Slow(has_pair, [([], 3), ([1], 2), ([1, 2], 3), (_numbers(500, 10**5), 10**7)]),
    Slow(common, [([], [1]), ([2, 1, 2], [2]), (_numbers(600, 2000), _numbers(600, 2000, 1))]),
    Slow(unique, [([],), ([2, 1, 2],), ([n % 500 for n in _numbers(1200, 10**6)],)]),
    Slow(power_modulo, [(2, 0, 7), (3, 4, 5), (0, 3, 2), (7, 200_000, 1_000_003)]),
    Slow(best_sum, [([-3],), ([1, -2, 3, 4],), ([-2, -1],), (_numbers(120, 1000),)]),
    Slow(in_order, [([],), ([2, 1],), ([1, 1, 0],), (_numbers(350, 10**5),)]),
    Slow(edit_distance, [("", "ab"), ("kitten", "sitting"), ("same", "same"), ("abcdefg", "gfedcba")]),
    Slow(backwards, [("",), ("abc",), ("abc " * 5_000,)]),
    Slow(running_means, [([],), ([4],), ([1, 2, 4],), (_numbers(1200, 10**4),)]),
    Slow(greatest_common_divisor, [(12, 18), (7, 7), (1, 9), (199_999, 300_007)]),
    Slow(ways_to_climb, [(0,), (1,), (5,), (18,)]),
)
"""A function, and what it is called with."""

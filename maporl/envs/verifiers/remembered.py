"""Scores that were given before: an unchanged message is not scored twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from maporl.types import Question, Score

__all__ = ["Remembered"]

Key = tuple[str, str]


class Remembered:
    """The latest scores, by question and response.

    Args:
        most: Scores that are kept; those that were not asked for the longest go first.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._scores: OrderedDict[Key, Score] = OrderedDict()

    def new(self, questions: Sequence[Question], responses: Sequence[str]) -> list[int]:
        """The places of pairs that have no score yet, each pair once."""
        keys = self._keys(questions, responses)
        return list({key: n for n, key in enumerate(keys) if key not in self._scores}.values())

    def add(self, questions: Sequence[Question], responses: Sequence[str], scores: Iterable[Score]) -> None:
        """Keep the scores of pairs."""
        self._scores.update(zip(self._keys(questions, responses), scores, strict=True))

    def look_up(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        """The score of every pair, all of which have one."""
        keys = self._keys(questions, responses)
        for key in keys:
            self._scores.move_to_end(key)
        found = [self._scores[key] for key in keys]
        while len(self._scores) > self.most:
            self._scores.popitem(last=False)
        return found

    def forget(self) -> None:
        """Let every pair be new again."""
        self._scores.clear()

    @staticmethod
    def _keys(questions: Sequence[Question], responses: Sequence[str]) -> list[Key]:
        return [(question.hash, response) for question, response in zip(questions, responses, strict=True)]

"""Tokens for the report's reader: of discussions that were kept with them, what the model read and wrote, with log-probs and advantages.

They are packed apart from the discussions: the page unpacks those of one discussion when somebody asks for them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from maporl.benchmarks.analysis.results import Cell
from maporl.benchmarks.report.packing import Packed, Pieces
from maporl.rollouts.records import Record
from maporl.rollouts.store import EpisodeStore, KeptTokens
from maporl.types import Completion

__all__ = ["Tokens"]

PAGE = 60_000_000
"""Characters of all tokens of a page, before they are packed; discussions beyond have none."""


class Tokens:
    """Collects the tokens of discussions, in the order of the page."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._of: list[int] = []
        self._size = 0
        self._pieces = Pieces()

    def add(self, first: int, cell: Cell, records: Sequence[Record]) -> None:
        """Take what was kept of a record file; `first` is the number of its first discussion on the page."""
        if not records or self._size > PAGE:
            return
        try:
            kept = EpisodeStore(cell.records_file.parent).tokens(cell.records_file.stem)
        except Exception as error:  # a file that is being written, or of another version
            self.problems.append(f"{cell.records_file}: its tokens cannot be read ({' '.join(str(error).split())})")
            return
        for number, record in enumerate(records):
            if kept.vocabulary and (text := _text(record, number, kept)):
                self._of.append(first + number)
                self._pieces.add(text)
                self._size += len(text)

    def finish(self) -> Packed:
        """Index and texts, ready for the page."""
        return self._pieces.finish({"of": self._of})


def _text(record: Record, number: int, kept: KeptTokens) -> str | None:
    """The tokens of a discussion, as JSON: its distinct ones, and of each turn the numbers of those that were read and written."""
    words: dict[tuple[int, str, bool], int] = {}
    turns: list[list[Any] | None] = []
    for i, turn in enumerate(record["turns"]):
        said, known = kept.messages.get((number, i)), kept.vocabulary.get(turn["agent"])
        if said is None or known is None or not len(said.completion_ids):
            turns.append(None)
            continue
        turns.append(_turn(said, kept.advantages.get((number, i)), known, words))
    if not any(turns):
        return None
    listed = [[id, text, int(special)] for id, text, special in words]
    return json.dumps({"words": listed, "turns": turns}, separators=(",", ":"))


def _turn(
    said: Completion,
    advantages: np.ndarray | None,
    known: Mapping[str, Any],
    words: dict[tuple[int, str, bool], int],
) -> list[Any]:
    """[read, written, log-probs, advantages (one, if all are equal), forced tokens]."""
    special = set(known["special"])

    def numbers(ids: np.ndarray) -> list[int]:
        named = ((id, known["texts"].get(str(id), f"token {id}"), id in special) for id in ids.tolist())
        return [words.setdefault(word, len(words)) for word in named]

    credit = None if advantages is None else _rounded(advantages)
    if credit and len(set(credit)) == 1:
        credit = credit[:1]
    forced = [] if said.forced is None else np.flatnonzero(said.forced).tolist()
    return [numbers(said.prompt_ids), numbers(said.completion_ids), _rounded(said.logprobs), credit, forced]


def _rounded(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(v) else float(f"{v:.4g}") for v in values.tolist()]

"""Trees for the report's reader: an index of columns, and of each tree its messages, each once, and its decisions with their prompts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.trees import KeptTrees, Tree, kept_names
from maporl.benchmarks.report.discussions import cuts, encoded_turn
from maporl.benchmarks.report.packing import Packed, Pieces, clean, finite

__all__ = ["Trees"]

MOST = 200
"""Trees of one run that the page holds; ``maporl show --tree`` has all."""

PAGE = 100_000_000
"""Characters of all trees of a page, before they are packed; every run has an equal share, and is shown at least one file's first tree."""

_COLUMNS = ("run", "record", "number", "question", "right", "leaves", "messages", "compared", "paired")


class Trees:
    """Collects the trees of runs.

    Args:
        runs: How many there will be.

    Attributes:
        problems: One line for everything that was left out.
    """

    def __init__(self, runs: int = 1) -> None:
        self.problems: list[str] = []
        self._share = PAGE // max(runs, 1)
        self._runs: list[str] = []
        self._records: dict[str, int] = {}
        self._questions: dict[tuple[str, str, str], int] = {}
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._pieces = Pieces()

    def __len__(self) -> int:
        return len(self._columns["run"])

    def add(self, run: Path, name: str) -> None:
        """Take what a run folder, named `name` for people, has kept: its first and its last trees, and as many of the others as fit."""
        kept = KeptTrees(run)
        self._runs.append(name)
        number = size = left = 0
        unread: list[str] = []
        for record in _ends_first(kept_names(run)):
            if number and (number >= MOST or size >= self._share):
                unread.append(record)
                continue
            try:
                trees = kept.read(record)
                texts: list[str] = []
                for tree in trees[: MOST - number]:
                    if texts and size >= self._share:
                        break
                    texts.append(_text(tree, kept))
                    size += len(texts[-1])
            except Exception as error:  # a task of one's own is asked what it showed, and may be of another version
                self.problems.append(f"{name}: trees of {record} cannot be read ({' '.join(str(error).split())})")
                continue
            for tree, text in zip(trees, texts, strict=False):
                self._add(tree, text)
            number, left = number + len(texts), left + len(trees) - len(texts)
        if left or unread:
            parts = [f"{left} trees"] * bool(left) + [f"all trees of {len(unread)} files"] * bool(unread)
            self.problems.append(f"{name}: {' and '.join(parts)}; maporl show {run} --tree has them")

    def _add(self, tree: Tree, text: str) -> None:
        question = (tree.first["question_id"], tree.first["question"], tree.first["gold"] or "")
        row = {
            "run": len(self._runs) - 1,
            "record": self._records.setdefault(tree.record, len(self._records)),
            "number": tree.number,
            "question": self._questions.setdefault(question, len(self._questions)),
            **{name: getattr(tree, name) for name in ("leaves", "messages", "compared", "paired")},
            "right": finite(tree.right),
        }
        for column, value in row.items():
            self._columns[column].append(value)
        self._pieces.add(text)

    def finish(self) -> Packed:
        """Index and texts, ready for the page."""
        lists = {"runs": self._runs, "records": list(self._records), "questions": list(self._questions)}
        return self._pieces.finish({**lists, **self._columns})


def _ends_first(records: Sequence[str]) -> list[str]:
    """The first, the last, and what lies between."""
    return [*records[:1], *records[1:][-1:], *records[1:-1]]


def _text(tree: Tree, kept: KeptTrees) -> str:
    """What a reader sees of one tree, as JSON: nodes and decisions name one another by number."""
    numbers = {branch: number for number, branch in enumerate(tree.nodes)}
    nodes = [
        {
            "branch": node.branch,
            "parent": numbers.get(node.branch[:-1], -1),
            "value": finite(node.value),
            "right": finite(node.right),
            "leaves": node.leaves,
            "answer": node.answer,
            "said": [encoded_turn(turn) for turn in node.said],
            "marks": node.marks,
        }
        for node in tree.nodes.values()
    ]
    places = {tree.name(branch): number for branch, number in numbers.items()}
    decisions = [
        {
            "parent": places.get(decision.id.split(":")[0], -1),
            "agent": decision.agent,
            "prompt": [[m["role"], m["content"]] for m in kept.prompts.messages(decision.observation)],
            "pairs": pairs,
        }
        for decision, pairs in zip(tree.decisions, tree.pairs, strict=True)
    ]
    asked = cuts(tree.first["question"])
    shown = {"private": tree.first["private"], "asked": asked, "nodes": nodes, "decisions": decisions}
    return json.dumps(clean(shown), separators=(",", ":"))

"""Trees of discussions that a run kept, for people: every message once, what it is worth, and what is chosen over what."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from maporl.errors import UserValueError
from maporl.rollouts.decisions import Decision, decisions, leaf_value, pairs
from maporl.rollouts.records import Record, read_records
from maporl.rollouts.store import EpisodeStore
from maporl.rollouts.trees import Branch, backed_up
from maporl.training.run_folder import RunFolder
from maporl.types import Episode, Views

if TYPE_CHECKING:
    from maporl.agents.prompts import PromptTemplate

__all__ = ["RULE", "KeptTrees", "Node", "Tree", "kept_names"]

RULE = "threshold"
"""What makes the pairs that are shown: what is worth more than .5 against the rest (`maporl.rollouts.decisions.RULES`)."""


@dataclass(frozen=True)
class Node:
    """A message, with what is said at the same time, at its place in a tree.

    Attributes:
        branch: Its place.
        said: The messages, as records hold them; one where one speaks after the other.
        marks: Of each of them: "chosen" or "rejected" in some pair of its decision, or "".
        value: What it is worth; None: nobody scored what follows from it.
        right: How many of the discussions that go on from it the team gets right, a tie as its share; None without a gold answer.
        leaves: How many discussions go on from it; 1 of a leaf.
        answer: Of a leaf: the team's.
        children: The places of what is said next.
    """

    branch: Branch
    said: tuple[Record, ...]
    marks: tuple[str, ...]
    value: float | None
    right: float | None
    leaves: int
    answer: str | None
    children: tuple[Branch, ...]


@dataclass(frozen=True)
class Tree:
    """What was played from one question.

    Attributes:
        record: In which file of the run, such as "episodes/iteration_0001".
        number: Of the tree in it.
        first: The record of its first leaf: question, gold answer and everything else that all leaves share.
        nodes: Branch -> node, every node before its children, and siblings in order.
        decisions: Where something was said; those near the root first.
        pairs: Number of pairs of each decision.
        right: Discussions that the team gets right; None without a gold answer.
        leaves: Discussions.
        messages: Of them all, each once: joint actions, and leaves, share theirs.
    """

    record: str
    number: int
    first: Record
    nodes: dict[Branch, Node]
    decisions: tuple[Decision, ...]
    pairs: tuple[int, ...]
    right: float | None
    leaves: int
    messages: int

    @property
    def compared(self) -> int:
        """Decisions with several candidates."""
        return sum(len(decision.candidates) > 1 for decision in self.decisions)

    @property
    def paired(self) -> int:
        """Decisions of which something is chosen over something."""
        return sum(number > 0 for number in self.pairs)

    def name(self, branch: Branch) -> str:
        """ "7.0.2": the third message after the first one of tree 7."""
        return ".".join(map(str, (self.number, *branch)))


def kept_names(run: Path) -> list[str]:
    """The files of a run that may hold trees, in the order in which they were written."""
    return [f"{f}/{name}" for f in ("discussions", "episodes") for name in EpisodeStore(run / f).names]


class KeptTrees:
    """The trees of a run folder.

    Args:
        run: The folder.
    """

    def __init__(self, run: Path) -> None:
        self.run = run

    @cached_property
    def _views(self) -> Views:
        return RunFolder(self.run).config.build_env().rules

    @cached_property
    def prompts(self) -> PromptTemplate:
        """What makes a chat of what a speaker was shown."""
        return RunFolder(self.run).config.build_prompts()

    def read(self, name: str) -> list[Tree]:
        """The trees of a file: [] where no discussion shares anything with another.

        Raises:
            ValueError: The file, or the run's task, cannot be read.
        """
        file = self.run / f"{name}.jsonl"
        records = read_records(file)
        groups: dict[int, list[int]] = defaultdict(list)
        for number, record in enumerate(records):
            if "whole" in record:  # else it was not kept with tokens: a list of discussions
                groups[record["whole"]["group"]].append(number)
        grown = {group: members for group, members in groups.items() if len(members) > 1}
        if not grown:
            return []
        episodes = EpisodeStore(file.parent).read(file.stem, self._views)
        return [_tree(name, group, [(records[n], episodes[n]) for n in members]) for group, members in grown.items()]

    def newest(self) -> tuple[str, list[Tree]]:
        """The newest file with trees, and those.

        Raises:
            ValueError: There is none.
        """
        for name in reversed(kept_names(self.run)):
            if trees := self.read(name):
                return name, trees
        raise UserValueError(
            f"{str(self.run)!r} holds no trees: trainings that sample a question more than once keep theirs in episodes/ or "
            "discussions/ (malt, magrpo; --num_recorded_discussions)."
        )


def _tree(record: str, number: int, leaves: Sequence[tuple[Record, Episode]]) -> Tree:
    found = decisions([episode for _, episode in leaves], _value)
    marks: dict[int, str] = {}
    counts = []
    for decision in found:
        made = pairs(decision, RULE)
        counts.append(len(made))
        for better, worse in made:
            marks |= {id(better.completion): "chosen", id(worse.completion): "rejected"}
    right = [r["team_correct"] if r["gold"] else None for r, _ in leaves]
    nodes = {node.branch: node for node in _nodes(leaves, right, marks)}
    messages = len({id(c) for _, e in leaves for c in e.completions})
    return Tree(record, number, leaves[0][0], nodes, tuple(found), tuple(counts), _sum(right), len(leaves), messages)


def _nodes(
    leaves: Sequence[tuple[Record, Episode]], right: Sequence[float | None], marks: Mapping[int, str]
) -> Iterator[Node]:
    values = backed_up({e.branch: None if e.overflow else _value(e) for _, e in leaves})
    said: dict[Branch, tuple[tuple[Record, str], ...]] = {}
    below: dict[Branch, list[int]] = defaultdict(list)
    for n, (record, episode) in enumerate(leaves):
        for depth, wave in enumerate(episode.waves, 1):
            branch = episode.branch[:depth]
            marked = ((record["turns"][place], marks.get(id(turn.completion), "")) for place, turn in wave)
            said.setdefault(branch, tuple(marked))
            below[branch].append(n)
    children: dict[Branch, list[Branch]] = defaultdict(list)
    for branch in sorted(said):  # a tuple comes before those that it begins
        children[branch[:-1]].append(branch)
    answers = {e.branch: r["team_answer"] for r, e in leaves}
    for branch in sorted(said):
        yield Node(
            branch,
            tuple(turn for turn, _ in said[branch]),
            tuple(mark for _, mark in said[branch]),
            values[branch],
            _sum([right[n] for n in below[branch]]),
            len(below[branch]),
            answers.get(branch),
            tuple(children[branch]),
        )


def _value(episode: Episode) -> float | None:
    """What a leaf is worth; None: nobody scored it."""
    try:
        value = leaf_value(episode)
    except UserValueError:
        return None
    return None if value is None or math.isnan(value) else value


def _sum(shares: Sequence[float | None]) -> float | None:
    known = [share for share in shares if share is not None]
    return sum(known) if known else None

"""Candidates at one decision, and what they are worth: what MALT, SWEET-RL, DPO and best-of-n data learn from.

A decision is a seat in a discussion at one point; its candidates are messages that were sampled there from one prompt. In a tree of
discussions every node is a candidate of the decision above it.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np

from maporl.errors import UserValueError
from maporl.rollouts.trees import Branch, backed_up, named
from maporl.types import Completion, Episode, Observation, Seat, Turn

__all__ = [
    "RULES",
    "Candidate",
    "Decision",
    "Leaf",
    "Rule",
    "decisions",
    "leaf_value",
    "pairs",
    "positives",
]

Leaf = Callable[[Episode], float | None]
"""What a discussion is worth; None: nobody knows."""


@dataclass(frozen=True)
class Candidate:
    """One of several messages at a decision: a node of a tree.

    Attributes:
        id: Its place: the number of its tree and its branch ("7.0.2"), then ":AGENT" where several speak at once.
        completion: What was said, and how it was sampled.
        value: What it is worth; None: nobody has said.
    """

    id: str
    completion: Completion
    value: float | None = None


@dataclass(frozen=True)
class Decision:
    """A point of a discussion at which somebody speaks, and what could be said there.

    Attributes:
        id: Of the node above, whose child every candidate is: "7.0" for those of "7.0.0", "7.0.1" ...
        question_id: Whose question.
        agent, round: The seat.
        observation: What the speaker is shown.
        state: What a centralised critic is shown: all private views (`Rules.state`).
        candidates: In the order of their branches. All were sampled from one prompt.

    Raises:
        ValueError: Candidates of different prompts.
    """

    id: str
    question_id: str
    agent: str
    round: int
    observation: Observation
    state: Observation
    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        for c in self.candidates[1:]:
            first, prompt = self.candidates[0].completion.prompt_ids, c.completion.prompt_ids
            if prompt is not first and not np.array_equal(prompt, first):
                raise UserValueError(
                    f"decision {self.id!r} of {self.agent}: candidate {c.id!r} was sampled from another prompt than "
                    f"{self.candidates[0].id!r}; only answers to one prompt compare: make it a decision of its own."
                )

    @classmethod
    def at(cls, episode: Episode, place: int, id: str, candidates: tuple[Candidate, ...]) -> Decision:
        """At a place of a discussion: its speaker decides, who is shown what was shown there."""
        turn, question = episode.transcript.turns[place], episode.transcript.question.id
        return cls(id, question, turn.agent, turn.round, episode.observation(place), episode.state(place), candidates)

    @property
    def seat(self) -> Seat:
        return Seat(self.agent, self.round)

    @property
    def values(self) -> list[float]:
        """Of the candidates.

        Raises:
            ValueError: One has none, or it is no number.
        """
        for c in self.candidates:
            if c.value is None or math.isnan(c.value):
                raise UserValueError(
                    f"candidate {c.id!r} of {self.agent} has the value {c.value}; give every candidate a number before comparing them."
                )
        return [c.value for c in self.candidates if c.value is not None]

    def valued(self, values: Sequence[float | None]) -> Decision:
        """The same decision with other values."""
        return replace(
            self, candidates=tuple(replace(c, value=v) for c, v in zip(self.candidates, values, strict=True))
        )


def leaf_value(episode: Episode) -> float | None:
    """What a whole discussion is worth: the verdict on it, else on its last round, else the mean score of those who spoke last.

    In a pipeline that is the score of the last role's message; 1 or 0 with a rule-based verifier.

    Raises:
        ValueError: Nobody scored it.
    """
    transcript = episode.transcript
    if transcript.verdict is not None:
        return transcript.verdict.value
    if transcript.team_scores:
        return transcript.team_scores[-1].value
    last = [turn.score for _, turn in episode.waves[-1] if turn.score is not None] if episode.said else []
    if not last:
        who = transcript.turns[-1].agent if transcript.turns else "nobody"
        raise UserValueError(
            f"the discussion of question {transcript.question.id!r} ends with {who}, whose message is not scored, so no branch is worth "
            "anything: score who speaks last (pipeline: scored_turns 'last' or 'all'), or give a team_verifier."
        )
    return float(np.mean([score.value for score in last]))


def decisions(episodes: Sequence[Episode], value: Leaf = leaf_value) -> list[Decision]:
    """The decisions of trees of discussions, each candidate with its value: tree by tree, those near the root first.

    Of a wave in which several speak at once every agent has a decision of its own, with candidates that are parts of joint messages;
    one that is part of several (cross joint actions) is named after the first, and worth their mean.

    Args:
        episodes: Leaves, as `rollout` gives them; some with an overflowed prompt have no part, in the mean of their parents either.
        value: What a leaf is worth (None: unknown).

    Raises:
        ValueError: Two leaves of one tree with one branch (of two plays whose starts have the same numbers), or one of `value`.
    """
    trees: dict[int, list[Episode]] = defaultdict(list)
    for e in episodes:
        trees[e.group].append(e)
    return [decision for number, leaves in trees.items() for decision in _of_tree(number, leaves, value)]


def _of_tree(number: int, leaves: Sequence[Episode], value: Leaf) -> list[Decision]:
    twice = [branch for branch, times in Counter(e.branch for e in leaves).items() if times > 1]
    if twice:
        name = _name(number, twice[0], "")
        raise UserValueError(
            f"tree {number} has two leaves {name!r}; give the starts of each play numbers of their own (`first`)."
        )
    values = backed_up({e.branch: None if e.overflow else value(e) for e in leaves})
    found: dict[tuple[Branch, str], dict[int, dict[Branch, tuple[Turn, Episode, int]]]] = {}
    waves = [(e, e.waves) for e in leaves]
    for depth in range(max(map(len, values), default=0)):
        for e, said in waves:
            if depth < len(said):
                together = len(said[depth]) > 1
                for place, turn in said[depth]:
                    at = found.setdefault((e.branch[:depth], turn.agent if together else ""), {})
                    at.setdefault(id(turn.completion), {}).setdefault(e.branch[: depth + 1], (turn, e, place))
    made = []
    for (parent, agent), several in found.items():
        candidates = []
        for children in several.values():
            (branch, (turn, episode, place)), *_ = children.items()
            worth = [known for child in children if (known := values[child]) is not None]
            if turn.completion is not None and worth:
                candidates.append(Candidate(_name(number, branch, agent), turn.completion, fmean(worth)))
        if candidates:
            made.append(Decision.at(episode, place, _name(number, parent, agent), tuple(candidates)))
    return made


def _name(number: int, branch: Branch, agent: str) -> str:
    return named((number, *branch)) + (f":{agent}" if agent else "")


# -- rules ---------------------------------------------------------------------------------------------------------------

Rule = Callable[[Sequence[float]], tuple[list[int], list[int]]]
"""Values of a decision's candidates -> the places of the better, and of the worse ones, that are compared."""


def _threshold(values: Sequence[float]) -> tuple[list[int], list[int]]:
    better = [i for i, v in enumerate(values) if v > 0.5]  # strictly
    return better, [i for i in range(len(values)) if i not in better]


def _halves(values: Sequence[float]) -> tuple[list[int], list[int]]:
    order, half = sorted(range(len(values)), key=lambda i: -values[i]), len(values) // 2
    return order[:half], order[len(values) - half :]


def _best_worst(values: Sequence[float]) -> tuple[list[int], list[int]]:
    order = sorted(range(len(values)), key=lambda i: -values[i])
    return order[:1], order[-1:]


RULES: Mapping[str, Rule] = {"threshold": _threshold, "halves": _halves, "best_worst": _best_worst}
"""Word -> rule. "threshold": those above .5, strictly, against the rest (MALT); "halves": the better half against the worse (SWEET-RL);
"best_worst": the best against the worst."""


def rule_of(rule: str | Rule) -> Rule:
    """The rule that a word means.

    Raises:
        ValueError: It means none.
    """
    if isinstance(rule, str):
        if rule not in RULES:
            raise UserValueError(f"rule {rule!r} is unknown; use one of {list(RULES)}.")
        return RULES[rule]
    return rule


def pairs(
    decision: Decision,
    rule: str | Rule = "threshold",
    *,
    most: int | None = None,
    rng: np.random.Generator | None = None,
) -> list[tuple[Candidate, Candidate]]:
    """(chosen, rejected): every better candidate against every worse one. Equal values make no pair; nor do equal texts, which nobody
    who reads them can tell apart: what came after them differs by chance.

    Args:
        decision: Candidates of one prompt: never of two.
        rule: A word of `RULES`, or a function.
        most: So many of them at most, drawn without replacement.
        rng: For drawing.

    Raises:
        ValueError: A candidate without a value, an unknown rule, or `most` without `rng`.
    """
    values = decision.values
    better, worse = rule_of(rule)(values)
    all_pairs = [
        (decision.candidates[i], decision.candidates[j]) for i in better for j in worse if values[i] > values[j]
    ]
    found = [(a, b) for a, b in all_pairs if a.completion.text != b.completion.text]
    if most is None or len(found) <= most:
        return found
    if rng is None:
        raise UserValueError(f"most is {most} of {len(found)} pairs, but there is no rng to draw them; give one.")
    return [found[i] for i in sorted(rng.choice(len(found), most, replace=False))]


def positives(decision: Decision) -> list[Candidate]:
    """The candidates whose value is above .5, strictly: what is imitated."""
    return [c for c, value in zip(decision.candidates, decision.values, strict=True) if value > 0.5]

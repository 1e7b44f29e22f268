"""Who changed from right to wrong and back between two rounds, and what the others' majority had to do with it.

Part of `maporl.benchmarks.analysis.collaboration`, which says what the terms mean.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = [
    "MAJORITIES",
    "Discussion",
    "Round",
    "Said",
    "flips",
    "flips_by_majority",
    "majority",
    "majority_flips",
    "round_trips",
    "share",
    "steps",
]

MAJORITIES = ("wrong_majority", "tie", "right_majority")
"""What the others of an agent are, taken together: more than half of them wrong, exactly half, fewer."""


class Said(NamedTuple):
    """What a metric reads of one message.

    Attributes:
        right: Right by the ground truth; an unknown verdict is not.
        answer: The canonical answer, None if there is none.
        known: Whether the ground truth gave a verdict.
        judged: Whether the message was judged at all (a pipeline may judge its last role only).
        truncated: Cut at the longest message.
    """

    right: bool
    answer: str | None
    known: bool = True
    judged: bool = True
    truncated: bool = False


Key = tuple[Any, ...]  # of a count: what happened, beginning with (round, agent) where those are apart
Round = dict[str, Said]
"""Agent -> its message, in speaking order."""
Discussion = dict[int, Round]
"""Number of the round -> the round, ascending."""


def steps(discussions: Iterable[Discussion]) -> Iterator[tuple[int, Round, Round]]:
    """Every (t, round t, round t + 1) of every discussion."""
    for rounds in discussions:
        for t, now in rounds.items():
            if t + 1 in rounds:
                yield t, now, rounds[t + 1]


def flips(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """Flip matrices between consecutive rounds: of all steps, of each agent's, and the same for each round t -> t + 1.

    Returns:
        {all, agents: {agent: matrix}, rounds: [{round: t, all, agents}]}; a matrix is {right_right, right_wrong, wrong_right, wrong_wrong,
        right_to_wrong_rate = RW / (RW + RR), wrong_to_right_rate = WR / (WR + WW)}.
    """
    counts: Counter[Key] = Counter()
    for (t, agent, _, *verdicts), number in _own_steps(discussions).items():
        counts[t, agent, *verdicts] += number
    return _tables(counts, agents, _matrix)


def flips_by_majority(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """`flips`, apart for what the majority of the agent's others was in round t: what alpha incentives pay for.

    MAPoRL, table 1: alpha1 pays the flips under a right majority, alpha0 those under a wrong one, nobody those under a tie.

    Returns:
        As `flips`, but for every matrix {wrong_majority, tie, right_majority} of matrices. A lone agent has no others and is not in it.
    """
    counts = {key: number for key, number in _own_steps(discussions).items() if key[2]}
    return _tables(counts, agents, lambda of_agents: {kind: _matrix(_of(of_agents, kind)) for kind in MAJORITIES})


def _own_steps(discussions: Iterable[Discussion]) -> Counter[Key]:
    """How often each (round t, agent, majority of its others in t or "" without others, right in t, right in t + 1)."""
    counts: Counter[Key] = Counter()
    for t, now, after in steps(discussions):
        right = sum(said.right for said in now.values())
        for agent, said in now.items():
            if agent in after:
                kind = majority(right - said.right, len(now) - 1) if len(now) > 1 else ""
                counts[t, agent, kind, said.right, after[agent].right] += 1
    return counts


def majority_flips(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """Flips of the majority of an agent's others, apart for whether the agent was right in round t: what beta incentives pay for.

    MAPoRL, table 2: beta1 pays the flips after a right answer, beta0 those after a wrong one.

    Returns:
        As `flips`, but for every matrix {own_right, own_wrong} of matrices of the others' majority, each with `tied`: the steps in
        which they were tied in t or in t + 1, which are in no cell. A step without others in both rounds is left out.
    """
    counts: Counter[Key] = Counter()
    for t, now, after in steps(discussions):
        right, later = (sum(said.right for said in members.values()) for members in (now, after))
        for agent, said in now.items():
            follows = after.get(agent)
            others, remaining = len(now) - 1, len(after) - (follows is not None)
            if others and remaining:
                before = majority(right - said.right, others)
                then = majority(later - (follows is not None and follows.right), remaining)
                cell = ("tied",) if "tie" in (before, then) else (before == MAJORITIES[2], then == MAJORITIES[2])
                counts[t, agent, "own_right" if said.right else "own_wrong", *cell] += 1

    def table(of_agents: Mapping[Key, int]) -> dict[str, Any]:
        halves = {own: _of(of_agents, own) for own in ("own_right", "own_wrong")}
        return {own: {**_matrix(half), "tied": half.get(("tied",), 0)} for own, half in halves.items()}

    return _tables(counts, agents, table)


def majority(right: int, size: int) -> str:
    """What `size` agents are, `right` of whom are right: a word of `MAJORITIES`."""
    return MAJORITIES[1 + (2 * right > size) - (2 * right < size)]


def round_trips(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """Agents that leave their verdict and come back to it: right-wrong-right, and wrong-right-wrong.

    Between agents that are paid for changing their minds this is the known hack: it earns incentives while nothing improves.
    `chances` are an agent's messages in three consecutive rounds.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for rounds in discussions:
        for t, first in rounds.items():
            second, third = rounds.get(t + 1, {}), rounds.get(t + 2, {})
            for agent, said in first.items():
                if agent not in second or agent not in third:
                    continue
                kind = ""
                if said.right == third[agent].right != second[agent].right:
                    kind = "right_wrong_right" if said.right else "wrong_right_wrong"
                counts[agent, kind] += 1

    def entry(names: Sequence[str]) -> dict[str, Any]:
        kinds = {k: sum(counts[a, k] for a in names) for k in ("right_wrong_right", "wrong_right_wrong", "")}
        chances = sum(kinds.values())
        trips = chances - kinds.pop("")
        return {**kinds, "chances": chances, "rate": share(trips, chances)}

    return {"all": entry(agents), "agents": {a: entry([a]) for a in agents}}


def _tables(
    counts: Mapping[Key, int], agents: Sequence[str], table: Callable[[Mapping[Key, int]], dict[str, Any]]
) -> dict[str, Any]:
    """{all, agents, rounds} of tables of counts whose keys are (round, agent, ...)."""

    def of(t: int | None) -> dict[str, Any]:
        by_agent: dict[str, Counter[Key]] = {agent: Counter() for agent in agents}
        for (round, agent, *key), number in counts.items():
            if t is None or round == t:
                by_agent[agent][tuple(key)] += number
        together = sum(by_agent.values(), Counter())
        return {"all": table(together), "agents": {agent: table(counted) for agent, counted in by_agent.items()}}

    return {**of(None), "rounds": [{"round": t, **of(t)} for t in sorted({key[0] for key in counts})]}


def _of(counts: Mapping[Key, int], first: str) -> dict[Key, int]:
    """The counts whose keys begin with `first`, by the rest of the key."""
    return {key[1:]: number for key, number in counts.items() if key[0] == first}


def _matrix(counts: Mapping[Key, int]) -> dict[str, Any]:
    """From counts of (right in t, right in t + 1)."""
    rr, rw, wr, ww = (counts.get((now, after), 0) for now in (True, False) for after in (True, False))
    return {
        "right_right": rr,
        "right_wrong": rw,
        "wrong_right": wr,
        "wrong_wrong": ww,
        "right_to_wrong_rate": share(rw, rw + rr),
        "wrong_to_right_rate": share(wr, wr + ww),
    }


def share(part: float, whole: int) -> float | None:
    """`part` of `whole`, None of nothing."""
    return part / whole if whole else None

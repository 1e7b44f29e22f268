"""What happens from round to round in the discussions of a method: how right they are, and who changed whose mind."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from maporl.benchmarks.flips import MAJORITIES, Discussion, Round, flips_by_majority, majority_flips, share
from maporl.benchmarks.outcomes import Measured, Outcomes, Run, accuracy, mean_of_known, pooled
from maporl.benchmarks.statistics import compare

__all__ = ["accuracy_by_round", "flip_lines", "flip_rates"]


def accuracy_by_round(measured: Measured) -> dict[str, Any] | None:
    """How right an agent's message is, round by round.

    A discussion that ended early counts in later rounds with its last one; messages that nobody judged do not count.

    Returns:
        None without a second round, else rounds (mean over seeds of the mean over questions, None where nothing was judged), gain (of the
        last over the first), low, high (95 % of the gain, paired over questions), questions, seeds [{seed, round_1, ..., gain}].
    """
    longest = max((max(d) for run in measured.runs for d in _discussions(run)), default=0) + 1
    if longest < 2:
        return None
    outcomes = {run.seed: [_outcomes(run, t) for t in range(longest)] for run in measured.runs}
    seeds = {seed: [accuracy(one) if one else None for one in rounds] for seed, rounds in outcomes.items()}
    first, last = (pooled(rounds[t] for rounds in outcomes.values()) for t in (0, -1))
    compared = compare(last, first) if first.keys() & last.keys() else None
    means = [mean_of_known(rounds[t] for rounds in seeds.values()) for t in range(longest)]
    return {
        "rounds": means,
        "gain": _gain(means),
        "low": compared.low if compared else None,
        "high": compared.high if compared else None,
        "questions": compared.num_questions if compared else 0,
        "seeds": [
            {"seed": seed, **{f"round_{t + 1}": a for t, a in enumerate(rounds)}, "gain": _gain(rounds)}
            for seed, rounds in seeds.items()
        ],
    }


def _gain(rounds: Sequence[float | None]) -> float | None:
    first, last = rounds[0], rounds[-1]
    return None if first is None or last is None else last - first


def _discussions(run: Run) -> Iterator[Discussion]:
    return (d for discussions in run.discussions.values() for d in discussions)


def _outcomes(run: Run, t: int) -> Outcomes:
    """By question, for each discussion the share of right messages in round t, or in its last round if it ended earlier."""
    outcomes: Outcomes = {}
    for question, discussions in run.discussions.items():
        shares = [value for d in discussions if (value := _right(_standing(d, t))) is not None]
        if shares:
            outcomes[question] = shares
    return outcomes


def _standing(discussion: Discussion, t: int) -> Round:
    return discussion[max((r for r in discussion if r <= t), default=min(discussion))]


def _right(members: Round) -> float | None:
    """Share of right messages among those judged; None if none was."""
    judged = [said.right for said in members.values() if said.judged]
    return share(sum(judged), len(judged))


def flip_rates(measured: Measured) -> dict[str, Any] | None:
    """Flips on the conditions that incentives pay them on, of all seeds and rounds together (`maporl.benchmarks.flips`).

    Returns:
        None where nobody had others to follow or lead, else own {wrong_majority, tie, right_majority} (an agent's own flips by what
        the majority of the others was before) and others {own_right, own_wrong} (flips of that majority by what the agent was before);
        each with the rates of every run, "right_to_wrong_rates" and "wrong_to_right_rates".
    """
    runs = [list(_discussions(run)) for run in measured.runs]
    together = [d for discussions in runs for d in discussions]
    agents = list(dict.fromkeys(agent for d in together for members in d.values() for agent in members))
    rates = ("right_to_wrong_rate", "wrong_to_right_rate")
    tables: dict[str, Any] = {}
    for whose, count in (("own", flips_by_majority), ("others", majority_flips)):
        table = count(together, agents)
        if not table["rounds"] and not tables:
            return None
        of_runs = [count(discussions, agents)["all"] for discussions in runs]
        tables[whose] = {
            given: {**matrix, **{f"{rate}s": [run[given][rate] for run in of_runs] for rate in rates}}
            for given, matrix in table["all"].items()
        }
    return tables


def flip_lines(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One line for every matrix of `flip_rates`: task, method, oracle, flips_of ("own" | "others"), given, and the matrix."""
    conditions = {"own": MAJORITIES, "others": ("own_right", "own_wrong")}
    return [
        {**{name: row[name] for name in ("task", "method", "oracle")}, "flips_of": whose, "given": given}
        | row[whose][given]
        for row in rows
        for whose, givens in conditions.items()
        for given in givens
    ]

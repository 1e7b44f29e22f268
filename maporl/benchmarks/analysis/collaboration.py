"""What happens between the agents of a discussion: who changes whose mind, for better or worse, and what the talking is worth.

Pure functions over records (`maporl.rollouts.records`). Definitions, formulas and traps: docs/collaboration.md.

"Right" is the ground truth's verdict; where that is unknown (nobody could say, or nobody judged the message) the answer counts as
wrong and is counted. A share whose denominator is 0 is None. Rounds are counted from 0, as in the records. Not every agent need
speak in every round: an agent that is silent in one of two consecutive rounds has made no step between them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maporl.benchmarks.analysis.flips import (
    Discussion,
    Round,
    Said,
    flips,
    flips_by_majority,
    majority_flips,
    round_trips,
    share,
    steps,
)
from maporl.rollouts.records import messages_of

__all__ = ["Said", "answer_of", "collaboration", "rounds_of", "vote_correct"]


def collaboration(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """All metrics of some discussions, ready for JSON.

    Greedy and sampled records, or those of several methods, are different things: give one kind.

    Args:
        records: Records of one kind.

    Returns:
        | key | value |
        |---|---|
        | records, agents | how many discussions; everybody's name |
        | messages | {count, parse_rate, truncated_rate, unknown, unjudged}: see `message_counts` |
        | rounds | per round {round, records, messages, accuracy, agents, vote_accuracy, agreement, pairs, no_answer} |
        | first, final | {records, accuracy, vote_accuracy} of each discussion's own first and last round |
        | flips | {all, agents, rounds: [{round, all, agents}]} of matrices: see `flips` |
        | flips_by_majority | the same of {wrong_majority, tie, right_majority} of matrices: see `flips_by_majority` |
        | majority_flips | the same of {own_right, own_wrong} of matrices of the others' majority: see `majority_flips` |
        | round_trips | {all, agents} of {right_wrong_right, wrong_right_wrong, chances, rate} |
        | persuasion | {all, agents, unaided} of {turned, chances, rate} |
        | conformity | {all, agents} of {wrong_majority, tie, right_majority}, each {turned, chances, rate} |
        | marginal_contribution | per agent {records, contribution} |
        | ablation | {records, agents, team}, the latter two {as_it_was, ablated, difference} |
    """
    records = list(records)
    discussions = [rounds_of(record["turns"]) for record in records]
    spoken = [d for d in discussions if d]
    named = (name for record in records for name in record["agents"])
    agents = list(dict.fromkeys([*named, *(a for d in spoken for r in d.values() for a in r)]))
    by_majority = flips_by_majority(spoken, agents)
    return {
        "records": len(records),
        "agents": agents,
        "messages": message_counts([s for d in spoken for r in d.values() for s in r.values()]),
        "rounds": [
            {"round": t, **round_metrics([d[t] for d in spoken if t in d], agents)}
            for t in sorted({t for d in spoken for t in d})
        ],
        "first": _accuracies([d[min(d)] for d in spoken]),
        "final": _accuracies([d[max(d)] for d in spoken]),
        "flips": flips(spoken, agents),
        "flips_by_majority": by_majority,
        "majority_flips": majority_flips(spoken, agents),
        "round_trips": round_trips(spoken, agents),
        "persuasion": persuasion(spoken, agents),
        "conformity": conformity(by_majority),
        "marginal_contribution": marginal_contribution(spoken, agents),
        "ablation": ablation(records),
    }


def rounds_of(turns: Iterable[Mapping[str, Any]]) -> Discussion:
    """The messages among the turns of a record, by round and agent."""
    rounds: Discussion = {}
    for turn in messages_of(turns):
        truth = turn["truth"]
        verdict = truth["correct"] if truth else None
        message = Said(verdict is True, answer_of(turn), verdict is not None, truth is not None, turn["truncated"])
        rounds.setdefault(turn["round"], {})[turn["agent"]] = message
    return dict(sorted(rounds.items()))


def answer_of(turn: Mapping[str, Any]) -> str | None:
    """The canonical answer of a recorded message as the truth's verifier found it, else the score's; None if neither found one."""
    return next((s["answer"] for s in (turn["truth"], turn["score"]) if s and s["answer"] is not None), None)


def vote_correct(messages: Iterable[Said]) -> float:
    """Probability that the plurality vote is right when a tie is broken at random, as in `maporl.envs.team_answer`.

    Messages without an answer abstain; 0 if all do.
    """
    return _elected(_tally(messages))


Tally = dict[str, tuple[int, int]]  # answer -> (votes, how many of these messages are right)


def _tally(messages: Iterable[Said]) -> Tally:
    votes: Tally = {}
    for said in messages:
        if said.answer is not None:
            count, right = votes.get(said.answer, (0, 0))
            votes[said.answer] = (count + 1, right + said.right)
    return votes


def _elected(votes: Tally) -> float:
    if not votes:
        return 0.0
    most = max(count for count, _ in votes.values())
    tied = [right > 0 for count, right in votes.values() if count == most]
    return sum(tied) / len(tied) if most else 0.0


def message_counts(messages: Sequence[Said]) -> dict[str, Any]:
    """How many messages, and what they lack.

    Returns:
        count; parse_rate and truncated_rate (shares of all messages); unknown (no verdict, counted as wrong); unjudged (those
        of the unknown that nothing judged, because the protocol scores other turns only).
    """
    return {
        "count": len(messages),
        "parse_rate": share(sum(s.answer is not None for s in messages), len(messages)),
        "truncated_rate": share(sum(s.truncated for s in messages), len(messages)),
        "unknown": sum(not s.known for s in messages),
        "unjudged": sum(not s.judged for s in messages),
    }


def round_metrics(rounds: Sequence[Round], agents: Sequence[str]) -> dict[str, Any]:
    """One round of several discussions: accuracy of messages, of each agent and of the vote, and agreement.

    Agreement is the share of the pairs of messages of one round that give the same answer; a message without one agrees with nobody.
    """
    right: Counter[str] = Counter()
    said: Counter[str] = Counter()
    agreeing = pairs = silent = 0
    for members in rounds:
        for agent, message in members.items():
            said[agent] += 1
            right[agent] += message.right
            silent += message.answer is None
        same = Counter(m.answer for m in members.values() if m.answer is not None)
        agreeing += sum(count * (count - 1) // 2 for count in same.values())
        pairs += len(members) * (len(members) - 1) // 2
    return {
        **_accuracies(rounds),
        "messages": said.total(),
        "agents": {a: share(right[a], said[a]) for a in agents},
        "agreement": share(agreeing, pairs),
        "pairs": pairs,
        "no_answer": silent,
    }


def _accuracies(rounds: Sequence[Round]) -> dict[str, Any]:
    right = sum(said.right for members in rounds for said in members.values())
    votes = sum(vote_correct(members.values()) for members in rounds)
    return {
        "records": len(rounds),
        "accuracy": share(right, sum(map(len, rounds))),
        "vote_accuracy": share(votes, len(rounds)),
    }


def persuasion(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """Of the wrong peers of a right agent, the share that is right one round later; per agent, and pooled over agents.

    `unaided` is what to hold it against: of the wrong agents without any right peer, the share that is right one round later.
    """
    counts: Counter[tuple[str | None, bool]] = Counter()  # None: unaided
    for _, now, after in steps(discussions):
        right = [agent for agent, said in now.items() if said.right]
        turned = [after[agent].right for agent, said in now.items() if not said.right and agent in after]
        for persuader in right or (None,):
            for outcome in turned:
                counts[persuader, outcome] += 1
    return {**_turned(counts, agents), "unaided": _turned(counts, [None])["all"]}


def conformity(flips: Mapping[str, Any]) -> dict[str, Any]:
    """Of the right agents, the share that is wrong one round later, by what the majority of the others was before.

    `right_majority` is what to hold `wrong_majority` against.

    Args:
        flips: As `flips_by_majority` counts them.
    """

    def entry(matrices: Mapping[str, Any]) -> dict[str, Any]:
        return {
            kind: {
                "turned": matrix["right_wrong"],
                "chances": matrix["right_right"] + matrix["right_wrong"],
                "rate": matrix["right_to_wrong_rate"],
            }
            for kind, matrix in matrices.items()
        }

    return {"all": entry(flips["all"]), "agents": {a: entry(matrices) for a, matrices in flips["agents"].items()}}


def _turned(counts: Mapping[tuple[str | None, bool], int], names: Sequence[str | None]) -> dict[str, Any]:
    """{all, agents} of {turned, chances, rate} from counts of (name, turned)."""

    def entry(chosen: Sequence[str | None]) -> dict[str, Any]:
        turned = sum(counts.get((name, True), 0) for name in chosen)
        chances = turned + sum(counts.get((name, False), 0) for name in chosen)
        return {"turned": turned, "chances": chances, "rate": share(turned, chances)}

    return {"all": entry(names), "agents": {name: entry([name]) for name in names}}


def marginal_contribution(discussions: Iterable[Discussion], agents: Sequence[str]) -> dict[str, Any]:
    """Of each agent: accuracy of the last round's plurality vote minus that of the vote without this agent's answer.

    The mean over the discussions in whose last round the agent and somebody else spoke (`records`): of a lone speaker there is
    nothing to compare.
    """
    gains, counts = dict.fromkeys(agents, 0.0), dict.fromkeys(agents, 0)
    for rounds in discussions:
        final = rounds[max(rounds)]
        if len(final) < 2:
            continue
        votes = _tally(final.values())
        whole = _elected(votes)
        without: dict[tuple[str | None, bool], float] = {(None, False): whole, (None, True): whole}
        for agent, said in final.items():
            vote = (said.answer, said.right)
            if said.answer is not None and vote not in without:
                count, right = votes[said.answer]
                without[vote] = _elected({**votes, said.answer: (count - 1, right - said.right)})
            gains[agent] += whole - without[vote]
            counts[agent] += 1
    return {a: {"records": counts[a], "contribution": share(gains[a], counts[a])} for a in agents}


def ablation(records: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What the last round loses when it is spoken again with the peers' messages blanked.

    `records` counts those that were (`ablated` in the record); figures are of these alone. `agents` pools the messages of the last
    round, `team` is the mean of the team's own answer.
    """
    asked = [record for record in records if record["ablated"] and record["turns"]]
    last = [max(rounds_of(record["turns"]).items())[1] for record in asked]
    again = [max(rounds_of(record["ablated"]["turns"]).items(), default=(0, {}))[1] for record in asked]
    team = [share(sum(r["team_correct"] for r in part), len(asked)) for part in (asked, [r["ablated"] for r in asked])]
    return {
        "records": len(asked),
        "agents": _difference(_accuracies(last)["accuracy"], _accuracies(again)["accuracy"]),
        "team": _difference(*team),
    }


def _difference(as_it_was: float | None, ablated: float | None) -> dict[str, float | None]:
    lost = None if as_it_was is None or ablated is None else as_it_was - ablated
    return {"as_it_was": as_it_was, "ablated": ablated, "difference": lost}

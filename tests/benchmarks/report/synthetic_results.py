"""Synthetic results in the form of a real study: a made-up task about apples, with teams, votes, oracles and training curves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maporl.benchmarks.analysis.results import Cell, Results
from maporl.rollouts.records import VERSION, write_records

NAMES = ["Anna", "Ben", "Chloé", "Dmitri", "Emeka", "Farah", "Gus", "Hana"]
THINGS = ["apples", "marbles", "pencils", "stickers", "tickets", "shells", "coins", "cards"]
FILLER = "so we add what was bought to what was there before and then take away what was given to others which leaves the number"


@dataclass(frozen=True)
class Method:
    """How a method behaves: the chance that a message is right in each round, and how many agents speak."""

    method: str
    label: str
    agents: int = 1
    rounds: tuple[float, ...] = (0.55,)
    trained: bool = False
    oracle: bool = False
    matched: tuple[tuple[str, str], ...] = ()
    samples: bool = False  # a vote: the agents are samples of one


METHODS = (
    Method("single_agent", "Single agent"),
    Method(
        "self_consistency@9",
        "Vote of 9",
        9,
        (0.56,),
        matched=(("debate", "completion"), ("mappo", "completion")),
        samples=True,
    ),
    Method("best_of@4", "Best of 4 by the verifier", 4, (0.55,), oracle=True, samples=True),
    Method("debate", "Debate, untrained", 3, (0.55, 0.58, 0.6)),
    Method("single_agent/mappo", "Single agent, PPO", 1, (0.66,), trained=True),
    Method("mappo", "Team, MAPPO", 3, (0.66, 0.76, 0.84), trained=True),
)


def results(
    folder: Path,
    *,
    questions: int = 24,
    seeds: tuple[int, ...] = (0, 1, 2),
    methods: tuple[Method, ...] = METHODS,
    words: int = 24,
    vocabulary: Sequence[str] = tuple(FILLER.split()),
) -> Results:
    """A whole study in `folder`: task "apples", every method with every seed, `words` words of filler in a message."""
    cells = []
    for method in methods:
        for seed in seeds if method.trained else seeds[:1]:
            records = list(_records(method, seed, questions, words, vocabulary))
            cells.append(cell(folder, method, seed, records))
    settings = {
        "command": "maporl benchmark apples.yaml",
        "versions": {"maporl": "0.0", "torch": "2.13.0"},
        "machine": "2 cores",
    }
    return Results("Do apples need a team?", tuple(cells), settings)


def cell(
    folder: Path,
    method: Method,
    seed: int,
    records: list[dict[str, Any]] | None,
    *,
    status: str = "complete",
    **more: Any,
) -> Cell:
    """One cell with its files; no file of records for None."""
    place = folder / "cells" / "apples" / method.method.replace("/", "-") / f"seed_{seed}"
    place.mkdir(parents=True, exist_ok=True)
    if records is not None:
        write_records(place / "records.jsonl", records)
    runs: tuple[Path, ...] = ()
    if method.trained and records is not None:
        runs = (place / "run",)
        _curve(place / "run", method, seed)
    tokens = 60.0 * method.agents * len(method.rounds)
    return Cell(
        task="apples",
        method=method.method,
        label=method.label,
        seed=seed,
        status=status,
        folder=place,
        records_file=place / "records.jsonl",
        team=method.agents > 1 and not method.samples,
        trained=method.trained,
        oracle=method.oracle,
        matched=method.matched,
        baseline={"single_agent": None, "mappo": "single_agent/mappo"}.get(method.method, "single_agent"),
        costs={
            "questions": 24,
            "generations": tokens / 60,
            "prompt_tokens": 3 * tokens,
            "completion_tokens": tokens,
            "judge_tokens": 0.0,
            "eval_s": 12.5,
        },
        runs=runs,
        **more,
    )


def record(number: int = 0, **changes: Any) -> dict[str, Any]:
    """A small record of two agents and two rounds that fixes its first answer; `changes` replace its fields."""
    turns = [turn("agent_0", 0, "I say 3. Answer: 3", "3", False), turn("agent_1", 0, "I say 5. Answer: 5", "5", False)]
    turns += [
        turn("agent_0", 1, "Now I say 4. Answer: 4", "4", True),
        turn("agent_1", 1, "Now I say 4. Answer: 4", "4", True),
    ]
    made = {
        "version": VERSION,
        "question_id": f"q{number}",
        "question": f"What is {number} + 4 - {number}?",
        "gold": "4",
        "private": {},
        "sample": 0,
        "seat": None,
        "greedy": False,
        "team_answer": "4",
        "team_correct": 1.0,
        "tied": 1,
        "oracle": False,
        "overflow": False,
        "agents": ["agent_0", "agent_1"],
        "num_rounds": 2,
        "turns": turns,
        "ablated": None,
    }
    return {**made, **changes}


def turn(agent: str, round: int, text: str, answer: str | None, correct: bool | None, **changes: Any) -> dict[str, Any]:
    """One message."""
    score = {
        "value": float(bool(correct)),
        "correct": correct,
        "answer": answer,
        "status": "ok" if answer else "no_answer",
    }
    made = {
        "agent": agent,
        "round": round,
        "text": text,
        "score": score,
        "truth": score,
        "reward": float(bool(correct)),
        "advantage": None,
        "prompt_tokens": 100 + 50 * round,
        "completion_tokens": len(text.split()),
        "truncated": False,
    }
    return {**made, **changes}


def _records(
    method: Method, seed: int, questions: int, words: int, vocabulary: Sequence[str]
) -> Iterator[dict[str, Any]]:
    draw = random.Random(f"{method.method} {seed}")
    for index in range(questions):
        task = random.Random(index)
        name, other, thing = task.choice(NAMES), task.choice(NAMES), task.choice(THINGS)
        had, bought, gave = task.randint(5, 40), task.randint(2, 9), task.randint(1, 4)
        gold = had + bought * 3 - gave
        text = (
            f"{name} has {had} {thing}, buys {bought} bags of 3 {thing} each and gives {gave} to {other}. "
            f"How many {thing} has {name} now?"
        )
        agents = [f"{'sample' if method.samples else 'agent'}_{i}" for i in range(method.agents)]
        hardness = task.gauss(0, 0.25)
        turns, last = [], [gold] * method.agents
        for number, chance in enumerate(method.rounds):
            for i, agent in enumerate(agents):
                keep = number > 0 and draw.random() < 0.6
                right = draw.random() < chance - hardness
                said = last[i] if keep else gold if right else gold + draw.choice([-3, -1, 2, gave])
                answer = None if draw.random() < 0.03 else str(said)
                sums = f"{had} + {bought} × 3 = {had + 3 * bought}, and {had + 3 * bought} − {gave} = {said}."
                message = _message(number, sums, " ".join(draw.choices(vocabulary, k=words)), answer)
                if keep:
                    message = "I checked again. " + turns[i - method.agents]["text"].removeprefix("I checked again. ")
                last[i] = said
                turns.append(
                    turn(
                        agent,
                        number,
                        message,
                        answer,
                        answer is not None and said == gold,
                        truncated=draw.random() < 0.02,
                    )
                )
                if method.trained:
                    turns[-1]["advantage"] = draw.gauss(0, 1)
        answers = [t["truth"]["answer"] for t in turns[-method.agents :] if t["truth"]["answer"]]
        votes = {a: answers.count(a) for a in answers}
        tied = [a for a in votes if votes[a] == max(votes.values())]
        if method.oracle:
            tied = [str(gold)] if str(gold) in votes else tied[:1]
        yield record(
            index,
            question_id=f"apples-{index:05d}",
            question=text,
            gold=str(gold),
            private={"agent_0": f"{name} likes {thing}."} if method.agents == 3 and index % 4 == 0 else {},
            team_answer=tied[0] if tied else None,
            team_correct=sum(a == str(gold) for a in tied) / len(tied) if tied else 0.0,
            tied=len(tied),
            oracle=method.oracle,
            agents=agents,
            num_rounds=len(method.rounds),
            turns=turns,
            ablated=_ablated(draw, turns, method, gold) if method.method == "debate" and index % 3 == 0 else None,
        )


def _ablated(draw: random.Random, turns: list[dict[str, Any]], method: Method, gold: int) -> dict[str, Any]:
    again = [{**t, "text": "Without hearing you: " + t["text"]} for t in turns[-method.agents :]]
    return {"team_correct": float(draw.random() < 0.5), "turns": again}


def _message(number: int, sums: str, filler: str, answer: str | None) -> str:
    start = ["First,", "The others may be right:", "Let me look once more:"][min(number, 2)]
    return f"{start} {sums} {filler.capitalize()}.\n" + (f"Answer: {answer}" if answer else "I do not know.")


def _curve(run: Path, method: Method, seed: int) -> None:
    draw = random.Random(seed)
    run.mkdir(parents=True, exist_ok=True)
    (run / "config.yaml").write_text("env: apples\n")
    level, lines = method.rounds[0] - 0.15, []
    for k in range(1, 41):
        level += (method.rounds[-1] - level) * 0.08
        rewards = {
            f"rollout/accuracy_round_{r + 1}": min(1.0, level + 0.02 * r + draw.gauss(0, 0.02))
            for r in range(len(method.rounds))
        }
        lines.append(
            {
                "iteration": k,
                "rollout/reward_mean": level + draw.gauss(0, 0.02),
                **rewards,
                "train/approx_kl": abs(draw.gauss(0, 0.01)),
            }
        )
        if k % 10 == 0:
            lines.append({"iteration": k, "evaluation": f"iteration_{k:04d}", "eval/accuracy": level})
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def summary(results: Results) -> dict[str, Any]:
    """Rows and comparisons in the form that `collect` takes, with plain normal intervals."""
    by_method: dict[str, list[Cell]] = {}
    for one in results.cells:
        by_method.setdefault(one.method, []).append(one)
    rows = [_row(cells) for cells in by_method.values()]
    accuracy = {row["method"]: row["accuracy"] for row in rows}
    comparisons = []
    for row in rows:
        for team, _ in row["matched"]:
            if team in accuracy and None not in (accuracy[team], accuracy[row["method"]]):
                gain = accuracy[team] - accuracy[row["method"]]
                p = 0.004 if abs(gain) > 0.1 else 0.31
                comparison = {
                    "task": row["task"],
                    "method": team,
                    "baseline": row["method"],
                    "difference": gain,
                    "low": gain - 0.07,
                }
                comparisons.append(
                    {
                        **comparison,
                        "high": gain + 0.07,
                        "p": p,
                        "p_holm": min(1.0, 2 * p),
                        "questions": row["questions"],
                    }
                )
    return {"rows": rows, "comparisons": comparisons}


def _row(cells: list[Cell]) -> dict[str, Any]:
    first, seeds, values = cells[0], [], []
    for one in cells:
        found = [r["team_correct"] for r in one.records()]
        values += found
        seeds += [{"seed": one.seed, "accuracy": sum(found) / len(found)}] if found else []
    mean = sum(values) / len(values) if values else None
    half = 1.96 * (mean * (1 - mean) / len(values)) ** 0.5 if mean is not None else 0.0
    return {
        **{name: getattr(first, name) for name in ("task", "method", "label", "team", "trained", "oracle")},
        "matched": [list(match) for match in first.matched],
        "accuracy": mean,
        "low": None if mean is None else max(0.0, mean - half),
        "high": None if mean is None else min(1.0, mean + half),
        "seeds": seeds,
        "seeds_low": mean - 0.05 if mean is not None and len(seeds) > 1 else None,
        "seeds_high": mean + 0.05 if mean is not None and len(seeds) > 1 else None,
        "greedy": mean,
        "best_seat": None,
        "pass_at": [],
        "parse_rate": 0.97,
        "questions": len(values) // max(1, len(seeds)),
        "failed": [{"seed": one.seed, "reason": one.error} for one in cells if one.status == "failed"],
        "train_s": 340.0 if first.trained else 0.0,
        **{
            name: first.costs[name]
            for name in ("generations", "prompt_tokens", "completion_tokens", "judge_tokens", "eval_s")
        },
    }

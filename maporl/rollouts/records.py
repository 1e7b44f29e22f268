"""Discussions as lines of JSON: what evaluations, trainings and benchmarks leave, and what reports read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer
from maporl.errors import UserTypeError
from maporl.text_files import read_jsonl
from maporl.types import Check, Completion, Episode, Score, Turn

__all__ = [
    "VERSION",
    "Record",
    "checks_of",
    "costs_of",
    "decode_score",
    "encode_score",
    "encode_turn",
    "messages_of",
    "read_records",
    "record",
    "sampled_records",
    "sampled_tokens",
    "write_records",
]

VERSION = 1
"""Version of the format of records; readers leave out those of another one."""

Record = dict[str, Any]
"""A discussion as a line of JSON."""
_TURN = {"agent", "round", "text", "score", "truth", "reward", "prompt_tokens", "completion_tokens"}

_IDENTITY = ("question_id", "sample", "seat", "greedy")  # of a record in its file
_NEEDED = (*_IDENTITY, "question", "gold", "team_answer", "team_correct", "agents", "num_rounds", "turns")


def record(
    episode: Episode,
    answer: TeamAnswer,
    *,
    greedy: bool,
    sample: int = 0,
    seat: str | None = None,
    advantages: Sequence[float | None] | None = None,
) -> Record:
    """One discussion, ready for JSON.

    Args:
        episode: The discussion.
        answer: What the team answered.
        greedy: It was decoded greedily.
        sample: Which of several discussions of the same question.
        seat: Whose private information a lone agent was given.
        advantages: One per turn of the transcript, as an algorithm computed them; None where it computed none.
    """
    transcript, question = episode.transcript, episode.transcript.question
    credit = [None] * len(transcript.turns) if advantages is None else list(advantages)
    turns = [
        encode_turn(turn, reward if i >= episode.given else None, advantage)
        for i, (turn, reward, advantage) in enumerate(zip(transcript.turns, episode.rewards, credit, strict=True))
    ]
    return {
        "version": VERSION,
        "question_id": question.id,
        "question": question.text,
        "gold": question.answer,
        "private": {agent: text for agent, text in question.private.items() if text},
        "sample": sample,
        "seat": seat,
        "greedy": greedy,
        "team_answer": answer.answer,
        "team_correct": answer.correct,
        "tied": answer.tied,
        "oracle": answer.oracle,
        **({"scored": True} if answer.scored else {}),
        **({"team_measures": dict(answer.measures)} if answer.measures else {}),
        "overflow": episode.overflow,
        "agents": list(transcript.agents),
        "num_rounds": transcript.num_rounds,
        "turns": turns,
        **({"team_scores": [encode_score(score) for score in scores]} if (scores := transcript.team_scores) else {}),
        "ablated": None,
    }


def sampled_records(
    env: DiscussionEnv,
    episodes: Iterable[Episode],
    advantages: Mapping[tuple[int, int], float | np.ndarray] | None = None,
) -> list[Record]:
    """Of discussions that a training sampled: what the task takes as the team's answer, numbered among those of one question.

    Args:
        env: The task.
        episodes: The discussions.
        advantages: (number of the discussion, number of the turn) -> its advantage, or that of each of its tokens, of which the mean is
            kept.
    """
    times: Counter[str] = Counter()
    records = []
    for n, episode in enumerate(episodes):
        t = episode.transcript
        credit = None if advantages is None else [_mean(advantages.get((n, i))) for i in range(len(t.turns))]
        answer = env.team_answer(t)
        records.append(record(episode, answer, greedy=False, sample=times[t.question.id], advantages=credit))
        times[t.question.id] += 1
    return records


def _mean(advantage: float | np.ndarray | None) -> float | None:
    """Over the tokens that the agent chose, which are all that have one."""
    known = [] if advantage is None else np.atleast_1d(advantage)[~np.isnan(np.atleast_1d(advantage))]
    return float(np.mean(known, dtype=np.float64)) if len(known) else None


def encode_turn(turn: Turn, reward: float | None, advantage: float | None = None) -> Record:
    """One turn, ready for JSON; `reward` is None of a turn that was given, not said in this episode."""
    completion = turn.completion if turn.completion is not None and reward is not None else Completion("")
    return {
        "agent": turn.agent,
        "round": turn.round,
        "text": turn.text,
        "score": None if turn.score is None else _score(turn.score),
        "truth": None if turn.truth is None else _score(turn.truth, () if turn.score is None else turn.score.checks),
        "reward": reward if turn.said else None,
        "advantage": advantage,
        "prompt_tokens": len(completion.prompt_ids),
        "completion_tokens": len(completion.completion_ids),
        "truncated": completion.truncated,
        **({} if turn.said else {"kind": turn.kind}),
        **({"stopped": True} if completion.stopped else {}),
        **({"thinking_cut": True} if completion.thinking_cut else {}),
        **({"reasoning": completion.reasoning} if completion.reasoning else {}),
        **({"overflow": True} if completion.overflow else {}),
        **({"discarded_tokens": completion.discarded} if completion.discarded else {}),
    }


def messages_of(turns: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What agents said of a record's turns: all but the feedback."""
    return [turn for turn in turns if turn.get("kind", "said") == "said"]


def sampled_tokens(turn: Mapping[str, Any]) -> int:
    """What an encoded message cost: its completion tokens, and those that were sampled for it and thrown away."""
    return int(turn["completion_tokens"] + turn.get("discarded_tokens", 0))


def costs_of(record: Mapping[str, Any]) -> dict[str, float]:
    """What a discussion cost: "generations", "prompt_tokens", "completion_tokens" (discarded ones included), and "judge_tokens", what a
    language model took for scores that had a part in the answer."""
    turns = messages_of(record["turns"])
    judged = [turn["score"] for turn in turns if record.get("scored") and turn["score"]]
    return {
        "generations": float(len(turns)),
        "prompt_tokens": float(sum(turn["prompt_tokens"] for turn in turns)),
        "completion_tokens": float(sum(map(sampled_tokens, turns))),
        "judge_tokens": float(sum(score.get("judge_tokens", 0) for score in judged)),
    }


def checks_of(turn: Mapping[str, Any]) -> list[Check]:
    """What the response of an encoded turn was checked for, and what came of it; by the ground truth, if that says it."""
    found = [score["checks"] for score in (turn["truth"], turn["score"]) if score and "checks" in score]
    return [Check(*check) for check in found[0]] if found else []


def encode_score(score: Score) -> Record:
    """A whole score, ready for JSON."""
    return _score(score) | {"explanation": score.explanation}


def decode_score(encoded: Mapping[str, Any], checks: tuple[Check, ...] = (), **more: Any) -> Score:
    """The score again; `checks` are those of one that has none of its own, and `more` is what was left out of it."""
    own = encoded.get("checks")
    return Score(**{**encoded, **more, "checks": checks if own is None else tuple(Check(*check) for check in own)})


def _score(score: Score, known: tuple[Check, ...] = ()) -> Record:
    """A score without its explanation, and without its checks where they are those that are known."""
    said: Record = {"value": score.value, "correct": score.correct, "answer": score.answer, "status": score.status}
    if score.judge_tokens:
        said["judge_tokens"] = score.judge_tokens
    if score.measures:
        said["measures"] = dict(score.measures)
    if score.checks != known:
        said["checks"] = [list(check if check.explanation else check[:2]) for check in score.checks]
    return said


def write_records(path: str | Path, records: Iterable[Mapping[str, Any]], *, append: bool = False) -> None:
    """Write JSON lines, or add them to those that are there; the folder is made."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open(
        "a" if append else "w", encoding="utf-8", errors="backslashreplace"
    ) as file:  # JSON's escape of half a pair
        file.writelines(json.dumps(r, ensure_ascii=False, default=_number) + "\n" for r in records)


def _number(value: Any) -> Any:
    """numpy's numbers, which scores of one's own may hold, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise UserTypeError(f"a record holds a {type(value).__name__} ({value!r}), which JSON cannot hold.")


def read_records(path: str | Path, problems: list[str] | None = None) -> list[Record]:
    """The records of a file that may have been written by another version, or be half written.

    Args:
        path: A file of JSON lines; one that does not exist holds none.
        problems: Gets a line for everything that was left out: broken lines, other versions, second copies of a record.
    """
    file, notes = Path(path), [] if problems is None else problems
    return list(_valid(file, notes)) if file.exists() else []


def _whole(found: Record) -> bool:
    """Whether a record has everything that readers rely on."""
    if any(name not in found for name in _NEEDED) or not isinstance(found["team_correct"], int | float):
        return False
    return all(isinstance(turn, dict) and turn.keys() >= _TURN for turn in found["turns"] or [None])


def _valid(file: Path, notes: list[str]) -> Iterator[Record]:
    seen: set[tuple[Any, ...]] = set()
    unread: list[str] = []
    broken = copies = 0
    others: set[Any] = set()
    for _, row in read_jsonl(file, unread):
        if not isinstance(row, dict):
            broken += 1
            continue
        if row.get("version") != VERSION:
            others.add(row.get("version", "none"))
            continue
        if not _whole(row):
            broken += 1
            continue
        key = tuple(row[name] for name in _IDENTITY)
        if key in seen:
            copies += 1
            continue
        seen.add(key)
        yield row
    if broken := broken + len(unread):
        notes.append(f"{file}: {broken} broken line{'s' * (broken > 1)} left out (half written?)")
    if others:
        versions = ", ".join(sorted(map(str, others)))
        notes.append(f"{file}: records of version {versions} left out; this is version {VERSION}, evaluate again")
    if copies:
        notes.append(f"{file}: {copies} second cop{'ies' if copies > 1 else 'y'} of a record left out")

"""Discussions for the report's reader: an index of columns that filters need, and the texts in compressed pieces.

The page shows a list of all discussions and filters it by the index alone; a text is unpacked when somebody opens or searches it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from maporl.benchmarks.analysis.collaboration import Said, rounds_of, vote_correct
from maporl.benchmarks.report.packing import Packed, Pieces, finite
from maporl.envs.tasks.coding.pieces import pieces_of
from maporl.rollouts.records import checks_of

__all__ = ["FLAGS", "Discussions", "cuts", "encoded_turn"]

FLAGS = (
    "oracle",
    "overflow",
    "truncated",
    "no_answer",
    "unknown",
    "disagreement",
    "never",
    "always",
    "ablated",
    "greedy",
)
"""Bits of the index's column "flags", the lowest first; the page reads the names from the index."""

LONGEST_ANSWER = 80  # characters of an answer in the list; whole in the discussion


class Discussions:
    """Collects the discussions of all cells, in order.

    Attributes:
        problems: One line for each cell some of whose records had an unexpected form and were left out.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._questions: dict[tuple[str, str, str], int] = {}
        self._answers: dict[str | None, int] = {None: 0}
        self._columns: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        self._pieces = Pieces()

    def __len__(self) -> int:
        return len(self._columns["cell"])

    def add(self, cell: int, task: str, records: Sequence[Mapping[str, Any]], name: str) -> int:
        """Take the records of cell number `cell` (named `name` in problems); returns how many."""
        before, odd = len(self), 0
        for record in records:
            try:
                row, text = self._row(record), _text(record)
            except (TypeError, KeyError, AttributeError, ValueError):
                odd += 1
                continue
            key = (task, str(record["question_id"]), f"{record['question']}\x1f{record['gold']}")
            row["question"] = self._questions.setdefault(key, len(self._questions))
            row["cell"] = cell
            for column, value in row.items():
                self._columns[column].append(value)
            self._pieces.add(text)
        if odd:
            self.problems.append(f"{name}: {odd} record{'s' * (odd > 1)} of unexpected form left out; evaluate again")
        return len(self) - before

    def finish(self) -> Packed:
        """Index and texts, ready for the page."""
        tasks = list(dict.fromkeys(task for task, _, _ in self._questions))
        index = {
            "flag_names": FLAGS,
            "tasks": tasks,
            "questions": [[tasks.index(t), id, *about.rsplit("\x1f", 1)] for t, id, about in self._questions],
            "answers": [
                None if a is None else a[:LONGEST_ANSWER] + "…" * (len(a) > LONGEST_ANSWER) for a in self._answers
            ],
            **self._columns,
        }
        return self._pieces.finish(index)

    def _row(self, record: Mapping[str, Any]) -> dict[str, Any]:
        turns = record["turns"]
        rounds = rounds_of(turns)
        said = [message for members in rounds.values() for message in members.values()]
        correct = float(record["team_correct"])
        # Of a single round nothing can be fixed or broken, whatever rule chose the answer.
        first = vote_correct(rounds[min(rounds)].values()) if len(rounds) > 1 else correct
        last = [message.answer for message in rounds[max(rounds)].values()] if rounds else []
        answer = record["team_answer"]
        facts = {
            "oracle": bool(record.get("oracle")),
            "overflow": bool(record.get("overflow")),
            "truncated": any(message.truncated for message in said),
            "no_answer": any(message.answer is None for message in said),
            "unknown": any(not message.known for message in said),
            "disagreement": len(set(last)) > 1,
            "never": bool(said) and not any(message.right for message in said),
            "always": bool(said) and all(message.right for message in said),
            "ablated": bool(record.get("ablated")),
            "greedy": bool(record["greedy"]),
        }
        return {
            "sample": int(record["sample"]),
            "seat": record["seat"],
            "correct": round(correct, 4),
            "first": round(first, 4),
            "answer": self._answers.setdefault(None if answer is None else str(answer), len(self._answers)),
            "flags": sum(facts[flag] << bit for bit, flag in enumerate(FLAGS)),
            "length": sum(len(turn["text"]) for turn in turns),
            "tokens": sum(int(turn.get("completion_tokens") or 0) for turn in turns),
            "marks": "/".join(_marks(members, record["agents"]) for members in rounds.values()),
        }


_COLUMNS = ("cell", "question", "sample", "seat", "correct", "first", "answer", "flags", "length", "tokens", "marks")


def _marks(members: Mapping[str, Said], agents: Sequence[str]) -> str:
    """One character an agent: 1 right, 0 wrong, ? unknown, - silent."""
    return "".join("-" if a not in members else "?" if not members[a].known else "01"[members[a].right] for a in agents)


def _text(record: Mapping[str, Any]) -> str:
    """What a reader sees of one discussion, as JSON."""
    again = record.get("ablated")
    shown = {
        "agents": list(record["agents"]),
        "private": record.get("private") or {},
        "answer": record["team_answer"],
        "tied": record.get("tied"),
        "turns": [encoded_turn(turn) for turn in record["turns"]],
        "teams": [_team(score) for score in record.get("team_scores", ())],
        "asked": cuts(record["question"]),
        "ablated": {"correct": finite(again["team_correct"]), "turns": [encoded_turn(t) for t in again["turns"]]}
        if again
        else None,
    }
    return json.dumps(shown, separators=(",", ":"))


def encoded_turn(turn: Mapping[str, Any]) -> list[Any]:
    """A message as the page reads it (`TURN` in discussion.js)."""
    score, truth = _score(turn["score"]), _score(turn["truth"])
    return [
        turn["agent"],
        int(turn["round"]),
        str(turn["text"]),
        score,
        "same" if truth == score else truth,
        finite(turn.get("reward")),
        finite(turn.get("advantage")),
        int(turn.get("prompt_tokens") or 0),
        int(turn.get("completion_tokens") or 0),
        int(bool(turn["truncated"])),
        int(turn.get("kind") == "feedback"),
        checks_of(turn),
        cuts(str(turn["text"])),
    ]


def _team(score: Mapping[str, Any]) -> dict[str, Any]:
    """The verdict on a round of everybody's."""
    measures = {name: finite(value) for name, value in score.get("measures", {}).items()}
    return {
        "score": _score(score),
        "explanation": score["explanation"],
        "measures": measures,
        "checks": score.get("checks", []),
    }


def cuts(text: str) -> list[Any] | None:
    """Where the code is: kind and length of every piece, one after the other; None for prose. A script counts in UTF-16."""
    pieces = pieces_of(text)
    if all(piece.kind == "text" for piece in pieces):
        return None
    lengths = [len(piece.text.encode("utf-16-le", "surrogatepass")) // 2 for piece in pieces]
    return [part for piece, length in zip(pieces, lengths, strict=True) for part in (piece.kind, length)]


def _score(score: Mapping[str, Any] | None) -> list[Any] | None:
    return None if not score else [finite(score["value"]), score["correct"], score["answer"], score["status"]]

"""Small studies written as ``maporl benchmark`` writes them, with outcomes that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from maporl.algorithms.records import VERSION, write_records

__all__ = ["cell", "record", "records", "study", "turn"]


def turn(answer: str | None = "4", *, agent: str = "agent_0", round: int = 0, tokens: int = 5) -> dict[str, Any]:
    """A message of `tokens` tokens after a prompt of 20; None: no answer was found in it."""
    score = {"value": float(answer == "4"), "correct": answer == "4", "answer": answer, "status": "ok"}
    return {
        "agent": agent,
        "round": round,
        "text": f"Answer: {answer}",
        "score": score,
        "truth": score,
        "reward": None,
        "advantage": None,
        "prompt_tokens": 20,
        "completion_tokens": tokens,
        "truncated": False,
    }


def record(question: str, correct: float, **changes: Any) -> dict[str, Any]:
    """An answer that is right by `correct`."""
    return {
        "version": VERSION,
        "question_id": question,
        "question": "2 + 2?",
        "gold": "4",
        "private": {},
        "sample": 0,
        "seat": None,
        "greedy": False,
        "team_answer": "4",
        "team_correct": correct,
        "tied": 1,
        "oracle": False,
        "overflow": False,
        "agents": ["agent_0"],
        "num_rounds": 1,
        "turns": [turn()],
        "ablated": None,
        **changes,
    }


def records(outcomes: Mapping[str, float | Sequence[float]] | Sequence[float], **changes: Any) -> list[dict[str, Any]]:
    """One record a sample: by question, or of questions q0, q1, ..."""
    by_question = outcomes if isinstance(outcomes, Mapping) else {f"q{n}": value for n, value in enumerate(outcomes)}
    return [
        record(question, value, sample=n, **changes)
        for question, values in by_question.items()
        for n, value in enumerate(values if isinstance(values, Sequence) else [values])
    ]


def cell(
    method: str,
    answers: list[dict[str, Any]] | None,
    *,
    seed: int = 0,
    task: str = "sums",
    status: str = "complete",
    **about: Any,
) -> dict[str, Any]:
    """What `study` writes: entry of the plan, cell.json, and records.jsonl unless `answers` is None.

    Args:
        method, answers, seed, task: Of the cell.
        status: "complete", "failed", "running" (a folder without cell.json) or "waiting" (nothing at all).
        about: Other keys of cell.json.
    """
    folder = f"cells/{task.replace('/', '~')}/{method.replace('/', '~')}/seed_{seed}"
    known = {
        "version": VERSION,
        "task": task,
        "method": method,
        "label": method,
        "seed": seed,
        "folder": folder,
        "team": False,
        "trained": "/" in method,
        "oracle": False,
        "best_seat": False,
        "matched_to": [],
        "baseline": None if method == "single_agent" else "single_agent",
        **about,
    }
    known["matched_to"] = [{"method": team, "on": on} for team, on in known["matched_to"]]
    return {"known": known, "answers": answers, "status": status}


def study(folder: Path, cells: Iterable[dict[str, Any]]) -> Path:
    """Write a study of `cells`, in their order; returns its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "study.yaml").write_text("title: Sums\n", encoding="utf-8")
    plan = []
    for one in cells:
        known, place = one["known"], folder / one["known"]["folder"]
        plan.append({**known, "runs": known.get("runs", [])})
        if one["status"] == "waiting":
            continue
        place.mkdir(parents=True, exist_ok=True)
        if one["answers"] is not None:
            write_records(place / "records.jsonl", one["answers"])
        if one["status"] != "running":
            costs = {
                "questions": 1.0,
                "generations": 1.0,
                "prompt_tokens": 20.0,
                "completion_tokens": 5.0,
                "eval_s": 2.5,
            }
            written = {**known, "status": one["status"], "costs": costs if one["status"] == "complete" else {}}
            (place / "cell.json").write_text(json.dumps(written), encoding="utf-8")
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return folder

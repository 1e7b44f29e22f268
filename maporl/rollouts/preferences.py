"""Decisions as lines of JSON, and as the rows that TRL's trainers read: ``datasets.load_dataset("json", data_files=FILE)``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents.prompts import PromptTemplate
from maporl.errors import UserValueError
from maporl.printable import encodable
from maporl.rollouts.decisions import Candidate, Decision, Rule, pairs, positives
from maporl.rollouts.records import write_records
from maporl.text_files import read_jsonl
from maporl.types import Completion

__all__ = ["VERSION", "imitated", "preference_rows", "read_decisions", "sft_rows", "write_decisions"]

VERSION = 1
"""Version of the format of decisions; another one is refused."""

_FLAGS = ("truncated", "stopped", "reasoning", "discarded")
Row = dict[str, Any]


def write_decisions(path: str | Path, decisions: Iterable[Decision]) -> None:
    """A line for each decision, token ids and log-probs included; the folder is made."""
    write_records(path, map(_encoded, decisions))


def read_decisions(path: str | Path) -> list[Decision]:
    """What `write_decisions` wrote.

    Raises:
        ValueError: No such file, a line that is no decision (named), or one of another version.
    """
    if not Path(path).is_file():
        raise UserValueError(f"decisions {str(path)!r}: no such file; give one that write_decisions wrote.")
    return [_decoded(row, f"{path}, line {number}") for number, row in read_jsonl(path)]


def sft_rows(
    decisions: Iterable[Decision], prompts: PromptTemplate, *, paired: bool = False, rule: str | Rule = "threshold"
) -> list[Row]:
    """What is imitated, for TRL's ``SFTTrainer``: ``{"prompt": [messages], "completion": [message]}``.

    Args:
        decisions: With values.
        prompts: Of the agents who spoke.
        paired: Only what is the better message of a pair; else all that is worth more than .5.
        rule: Which makes the pairs.
    """
    return [
        {"prompt": _chat(prompts, d), "completion": _said(c)}
        for d in decisions
        for c in imitated(d, paired=paired, rule=rule)
    ]


def preference_rows(
    decisions: Iterable[Decision], prompts: PromptTemplate, rule: str | Rule = "threshold"
) -> list[Row]:
    """What is preferred, for TRL's ``DPOTrainer``: ``{"prompt": [messages], "chosen": [message], "rejected": [message]}``."""
    return [
        {"prompt": _chat(prompts, d), "chosen": _said(chosen), "rejected": _said(rejected)}
        for d in decisions
        for chosen, rejected in pairs(d, rule)
    ]


def imitated(decision: Decision, *, paired: bool = False, rule: str | Rule = "threshold") -> list[Candidate]:
    """The candidates of a decision that are imitated, each once: see `sft_rows`."""
    if not paired:
        return positives(decision)
    chosen = {id(better): better for better, _ in pairs(decision, rule)}
    return list(chosen.values())


def _chat(prompts: PromptTemplate, decision: Decision) -> list[dict[str, str]]:
    return [_message(**message) for message in prompts.messages(decision.observation)]


def _said(candidate: Candidate) -> list[dict[str, str]]:
    return [_message("assistant", candidate.completion.text)]


def _message(role: str, content: str) -> dict[str, str]:
    """One lone surrogate in a file, and `datasets` reads all of it by other rules, in which a list of one message is that message."""
    return {"role": role, "content": encodable(content)}


def _encoded(d: Decision) -> Row:
    prompt = d.candidates[0].completion.prompt_ids if d.candidates else np.zeros(0, np.int64)
    return {
        "version": VERSION,
        "id": d.id,
        "question_id": d.question_id,
        "agent": d.agent,
        "round": d.round,
        "observation": d.observation,
        "state": d.state,
        "prompt_ids": prompt.tolist(),
        "candidates": [
            {
                "id": c.id,
                "value": c.value,
                "text": c.completion.text,
                "completion_ids": c.completion.completion_ids.tolist(),
                "logprobs": [float(p) for p in c.completion.logprobs],
                **({} if c.completion.forced is None else {"forced": c.completion.forced.tolist()}),
                **{name: flag for name in _FLAGS if (flag := getattr(c.completion, name))},
            }
            for c in d.candidates
        ],
    }


def _decoded(row: Any, where: str) -> Decision:
    if not isinstance(row, Mapping) or row.get("version") != VERSION:
        found = row.get("version", "none") if isinstance(row, Mapping) else type(row).__name__
        raise UserValueError(f"{where}: a decision of version {VERSION} was expected, this is {found}; write it anew.")
    try:
        prompt = np.array(row["prompt_ids"], np.int64)
        return Decision(
            row["id"],
            row["question_id"],
            row["agent"],
            int(row["round"]),
            _view(row["observation"]),
            _view(row["state"]),
            tuple(_candidate(c, prompt) for c in row["candidates"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserValueError(f"{where}: no decision ({type(error).__name__}: {error}); write it anew.") from error


def _candidate(row: Mapping[str, Any], prompt: np.ndarray) -> Candidate:
    text, value, flags = row["text"], row["value"], {name: row[name] for name in _FLAGS if name in row}
    ids, logprobs = np.array(row["completion_ids"], np.int64), np.array(row["logprobs"], np.float32)
    forced = np.array(row["forced"], bool) if "forced" in row else None
    if not isinstance(text, str) or any(len(ids) != len(column) for column in (logprobs, forced) if column is not None):
        raise UserValueError(
            f"candidate {row['id']!r}: {len(ids)} token ids do not go with its text, log-probs or forced"
        )
    completion = Completion(text, prompt, ids, logprobs, forced=forced, **flags)
    return Candidate(row["id"], completion, None if value is None else float(value))


def _view(observation: Mapping[str, Any]) -> Any:
    """What JSON holds as a list is a tuple."""
    return {**observation, "transcript": tuple(observation["transcript"])}

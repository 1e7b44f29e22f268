"""Episodes on disk, token ids and log-probs included: written by runs, read back by trainers, resumed runs and reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from maporl.atomic_files import write_whole
from maporl.errors import UserValueError
from maporl.rollouts.records import Record, decode_score, encode_score, read_records, write_records
from maporl.types import Completion, Episode, Question, Transcript, Turn, Views

__all__ = ["EpisodeStore", "KeptTokens", "encode_whole"]

Place = tuple[int, int]
"""Number of a discussion, number of a turn in it."""


@dataclass(frozen=True)
class KeptTokens:
    """The tokens of a shard, without its discussions.

    Attributes:
        messages: Of each message that was sampled: its tokens, without text and flags.
        advantages: Of each message that something was learned from: [T] float32, of each of its tokens, NaN of forced ones.
        vocabulary: Agent -> {"texts": {token: text}, "special": [control tokens]}; {} where nobody wrote it down.
    """

    messages: dict[Place, Completion] = field(default_factory=dict)
    advantages: dict[Place, np.ndarray] = field(default_factory=dict)
    vocabulary: dict[str, Any] = field(default_factory=dict)


class EpisodeStore:
    """A folder of shards, each a file of records ``NAME.jsonl`` and, unless nothing in it was sampled, ``NAME.safetensors``.

    The tensors of a shard: ``turns`` [K, 3] int64 (number of the record, of the turn, of its message), ``prompt_lengths`` and
    ``completion_lengths`` [M] int64, and, one message after the other, ``prompt_ids``, ``completion_ids`` int64, ``logprobs`` float32;
    where a message has forced tokens, ``forced`` bool, and where advantages are known, ``advantages`` float32 (NaN: of no message that
    was learned from), too. What several discussions share, as those of a tree, is one message. What the tokens say is JSON in the file's
    metadata, ``vocabulary``.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @property
    def names(self) -> list[str]:
        """The names of all complete shards, sorted."""
        return sorted(file.stem for file in self.folder.glob("*.jsonl"))

    def write(
        self,
        name: str,
        episodes: Sequence[Episode],
        records: Sequence[Record],
        *,
        advantages: Mapping[Place, float | np.ndarray] | None = None,
        vocabulary: Mapping[str, Any] | None = None,
    ) -> None:
        """Write a shard, or replace it.

        Args:
            name: Of the shard.
            episodes: Finished discussions.
            records: Of each episode (`maporl.rollouts.records.record`).
            advantages: Of messages, or of each of their tokens (`maporl.algorithms.algorithm.Update`).
            vocabulary: What the tokens say (`maporl.agents.pieces.vocabulary`).
        """
        self.write_tokens(name, episodes, advantages=advantages, vocabulary=vocabulary)
        whole = [{**r, "whole": encode_whole(e)} for r, e in zip(records, episodes, strict=True)]
        write_whole(
            self.folder / f"{name}.jsonl", lambda part: write_records(part, whole)
        )  # last: it says that the shard is there

    def write_tokens(
        self,
        name: str,
        episodes: Sequence[Episode],
        *,
        advantages: Mapping[Place, float | np.ndarray] | None = None,
        vocabulary: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the tokens alone, of the first discussions of a file of records; the arguments of `write`."""
        numbers: dict[int, int] = {}
        places: list[tuple[int, int, int]] = []
        messages: list[Completion] = []
        for n, episode in enumerate(episodes):
            for i, turn in enumerate(episode.transcript.turns):
                if turn.completion is not None:
                    if (message := numbers.setdefault(id(turn.completion), len(numbers))) == len(messages):
                        messages.append(turn.completion)
                    places.append((n, i, message))
        self.folder.mkdir(parents=True, exist_ok=True)
        tokens = self.folder / f"{name}.safetensors"
        tokens.unlink(missing_ok=True)  # of an earlier shard of this name
        if messages:
            tensors: dict[str, np.ndarray] = {
                "turns": np.array(places, np.int64),
                "prompt_lengths": np.array([len(c.prompt_ids) for c in messages], np.int64),
                "completion_lengths": np.array([len(c.completion_ids) for c in messages], np.int64),
                "prompt_ids": np.concatenate([c.prompt_ids for c in messages]).astype(np.int64),
                "completion_ids": np.concatenate([c.completion_ids for c in messages]).astype(np.int64),
                "logprobs": np.concatenate([c.logprobs for c in messages]).astype(np.float32),
            }
            if any(c.forced is not None for c in messages):
                tensors["forced"] = np.concatenate(
                    [np.zeros(len(c.completion_ids), bool) if c.forced is None else c.forced for c in messages]
                )
            if advantages:
                credit = {message: advantages[n, i] for n, i, message in places if (n, i) in advantages}
                tensors["advantages"] = np.concatenate(
                    [np.broadcast_to(credit.get(m, np.nan), len(c.completion_ids)) for m, c in enumerate(messages)]
                ).astype(np.float32)
            about = {"vocabulary": json.dumps(vocabulary)} if vocabulary else None
            write_whole(tokens, lambda part: save_file(tensors, part, about))

    def read(self, name: str, views: Views | None = None) -> list[Episode]:
        """The discussions of a shard.

        Args:
            name: Of the shard.
            views: Computes the observations of what is read: an environment's `rules`. None: they cannot be asked for.

        Raises:
            ValueError: There is no such shard, it is of another form, or it was written without tokens.
        """
        problems: list[str] = []
        records = read_records(self.folder / f"{name}.jsonl", problems)
        if problems or not records or any("whole" not in r for r in records):
            why = problems[0] if problems else "it holds no whole discussions"
            raise UserValueError(f"{self.folder / name}: {why}; name a shard that this version of maporl wrote.")
        file = self.folder / f"{name}.safetensors"
        tokens = _completions(load_file(file)) if file.is_file() else {}
        said: dict[int, Completion] = {}
        return [_episode(r, n, tokens, said, views) for n, r in enumerate(records)]

    def tokens(self, name: str) -> KeptTokens:
        """The tokens of a shard; none where nothing in it was sampled, or its file is gone."""
        file = self.folder / f"{name}.safetensors"
        if not file.is_file():
            return KeptTokens()
        tensors = load_file(file)
        with safe_open(file, "np") as opened:
            about = (opened.metadata() or {}).get("vocabulary", "{}")
        messages, credit = _completions(tensors), tensors.get("advantages")
        advantages = {}
        if credit is not None:
            parts = np.split(credit, np.cumsum(tensors["completion_lengths"])[:-1])
            known = {place: parts[number] for place, (number, _) in messages.items()}
            advantages = {place: part for place, part in known.items() if not np.isnan(part).all()}
        return KeptTokens({place: said for place, (_, said) in messages.items()}, advantages, json.loads(about))


def encode_whole(episode: Episode) -> dict[str, Any]:
    """Everything of an episode that its record leaves out but tokens, ready for JSON."""
    t, q = episode.transcript, episode.transcript.question
    return {
        "metadata": json.loads(json.dumps(dict(q.metadata), default=str)),  # a task may keep anything in it
        "private": dict(q.private),
        "origin": q.origin,
        "team": dict(q.team),
        "verdict": None if t.verdict is None else encode_score(t.verdict),
        "ended": t.ended,
        "completed_rounds": t.completed_rounds,
        "rewards": list(episode.rewards),
        "learns": list(episode.learns),
        "given": episode.given,
        "contains_future": episode.contains_future,
        "group": episode.group,
        "branch": list(episode.branch),
        "heard": [turn.heard for turn in t.turns],
        "flags": [None if u.completion is None else _flags(u.completion) for u in t.turns],
        "explanations": [[None if s is None else s.explanation for s in (u.score, u.truth)] for u in t.turns],
    }


Tokens = dict[Place, tuple[int, Completion]]
"""Place -> number of its message, and its tokens; text and flags are the record's."""


def _completions(tensors: dict[str, np.ndarray]) -> Tokens:
    prompts = np.split(tensors["prompt_ids"], np.cumsum(tensors["prompt_lengths"])[:-1])
    ends = np.cumsum(tensors["completion_lengths"])[:-1]
    ids, logprobs = np.split(tensors["completion_ids"], ends), np.split(tensors["logprobs"], ends)
    forced = np.split(tensors["forced"], ends) if "forced" in tensors else [np.zeros(0, bool)] * len(ids)
    messages = [
        Completion("", prompt, completion, logprob, forced=put if put.any() else None)
        for prompt, completion, logprob, put in zip(prompts, ids, logprobs, forced, strict=True)
    ]
    return {(int(n), int(i)): (int(m), messages[m]) for n, i, m in tensors["turns"]}


def _episode(record: Record, number: int, tokens: Tokens, said: dict[int, Completion], views: Views | None) -> Episode:
    """An episode; a message that another one has had before, as `said` tells, is the same."""
    whole = record["whole"]
    question = Question(
        record["question"],
        record["gold"],
        record["question_id"],
        whole["private"],
        whole["metadata"],
        whole["origin"],
        whole["team"],
    )
    turns = [
        _turn(turn, tokens.get((number, i)), said, *more)
        for i, (turn, *more) in enumerate(
            zip(record["turns"], whole["flags"], whole["explanations"], whole["heard"], strict=True)
        )
    ]
    transcript = Transcript(
        question,
        tuple(record["agents"]),
        record["num_rounds"],
        tuple(turns),
        tuple(map(decode_score, record.get("team_scores", ()))),
        whole["ended"],
        whole["completed_rounds"],
        None if whole["verdict"] is None else decode_score(whole["verdict"]),
        len(turns),
    )
    return Episode(
        transcript,
        tuple(whole["rewards"]),
        tuple(whole["learns"]),
        whole["given"],
        whole["contains_future"],
        whole["group"],
        tuple(whole["branch"]),
        views,
    )


def _turn(
    turn: Record,
    tokens: tuple[int, Completion] | None,
    said: dict[int, Completion],
    flags: dict[str, Any] | None,
    explanations: Sequence[str | None],
    heard: int | None,
) -> Turn:
    told = [explanation or "" for explanation in explanations]
    score = None if turn["score"] is None else decode_score(turn["score"], explanation=told[0])
    known = () if score is None else score.checks
    truth = None if turn["truth"] is None else decode_score(turn["truth"], known, explanation=told[1])
    completion = None
    if tokens is not None and flags is not None:
        number, ids = tokens
        completion = said.setdefault(number, replace(ids, text=turn["text"], **flags))
    kind = turn.get("kind", "said")
    return Turn(turn["agent"], turn["round"], turn["text"], score, truth, completion, kind, heard)


def _flags(completion: Completion) -> dict[str, Any]:
    return {name: getattr(completion, name) for name in ("truncated", "overflow", "discarded", "stopped", "reasoning")}

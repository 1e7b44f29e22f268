"""A frozen agent whose answers are kept: what it has been asked once it is never asked again, in this run or the next."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from maporl import registry
from maporl.agents.agent import Agent, Learner
from maporl.agents.llm_agent import LLMAgent
from maporl.errors import UserTypeError, UserValueError
from maporl.types import Completion, Observation

__all__ = ["Cached", "record_of"]


class Cached(Agent):
    """Another agent, of which `samples` answers to everything that it is asked are kept; which of them it gives is drawn.

    An answer is a function of who the agent is (`record_of`), what it is shown, and the number of the sample: the same words in any
    batch, and another adapter's words under other keys. Sampled ones only; greedy ones are kept under the number -1.

    Args:
        agent: Who is asked: an agent, or its specification (a word, ``{"name": ..., **arguments}``, ``package.module:Class``).
        store: A file of JSON lines, which several runs may share one after the other; None keeps them in memory. A line that was cut short
            is left out, and its answer sampled again.
        samples: How many answers to one question are kept.

    Raises:
        TypeError: No agent.
        ValueError: `samples` below 1, or an agent that is trained.
    """

    def __init__(self, agent: Any, store: str | Path | None = None, samples: int = 1) -> None:
        if samples < 1:
            raise UserValueError(f"samples is {samples}; it must be at least 1.")
        self.agent = registry.build("agent", agent) if isinstance(agent, str | Mapping) else agent
        if not isinstance(self.agent, Agent):
            raise UserTypeError(f"cached: {agent!r} is no agent; give one, or its word.")
        if isinstance(self.agent, Learner) and self.agent.trainable:
            raise UserValueError(
                f"cached: adapter {self.agent.adapter!r} is trained, so that what it said before is not what it says now; freeze it."
            )
        self.samples, self.store = samples, None if store is None else Path(store)
        self.asked = 0
        self._record = record_of(self.agent)
        self._known: dict[str, Completion] = dict(_read(self.store)) if self.store and self.store.is_file() else {}

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """See `Agent`; of each stream one number is drawn, that of the sample."""
        numbers = [-1 if greedy else int(rng.integers(self.samples)) for rng in rngs]
        return self.answers(observations, numbers)

    def answers(self, observations: Sequence[Observation], numbers: Sequence[int]) -> list[Completion]:
        """The answers of these numbers, from 0 (-1: the greedy one); those that are new are asked for in one call, and kept.

        `asked` counts them.
        """
        keys = [self._key(o, number) for o, number in zip(observations, numbers, strict=True)]
        shown = dict(zip(keys, zip(observations, numbers, strict=True), strict=True))
        for greedy in (False, True):
            new = [key for key, (_, number) in shown.items() if key not in self._known and (number < 0) is greedy]
            if new:
                streams = [np.random.default_rng(int(key, 16)) for key in new]
                said = self.agent.act([shown[key][0] for key in new], streams, greedy=greedy)
                self._keep(dict(zip(new, said, strict=True)))
        return [self._known[key] for key in keys]

    def _key(self, observation: Observation, number: int) -> str:
        asked = json.dumps([self._record, observation, number], sort_keys=True, default=list)
        return hashlib.sha256(asked.encode("utf-8", "surrogatepass")).hexdigest()

    def _keep(self, said: Mapping[str, Completion]) -> None:
        self.asked += len(said)
        self._known.update(said)
        if self.store is None:
            return
        self.store.parent.mkdir(parents=True, exist_ok=True)
        with self.store.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                file.write(b"" if file.read(1) == b"\n" else b"\n")  # after a line that was cut short
            file.writelines((json.dumps({"key": key, **_written(c)}) + "\n").encode() for key, c in said.items())


def record_of(agent: Agent) -> dict[str, Any]:
    """What an agent's words depend on, beside what it is shown: its ``record`` if it has one; of a language model the checkpoint, the
    adapter's weights, prompts and sampling; else its class."""
    if isinstance(agent, LLMAgent):
        adapter = hashlib.sha256()
        for parameter in agent.policy.parameters(agent.adapter) if agent.adapter else ():
            adapter.update(parameter.detach().float().cpu().numpy().tobytes())
        base = str(agent.policy.tokenizer.name_or_path)
        how = {"prompts": repr(agent.prompts), "sampling": asdict(agent.sampling)}
        return {"base": base, "adapter": adapter.hexdigest(), **how}
    named = {"class": f"{type(agent).__module__}:{type(agent).__qualname__}"}
    return {**named, **dict(getattr(agent, "record", {}))}


def _written(completion: Completion) -> dict[str, Any]:
    told = {"text": completion.text, "reasoning": completion.reasoning, "truncated": completion.truncated}
    tokens = [int(i) for i in completion.completion_ids]
    cost = {"discarded": completion.discarded, "stopped": completion.stopped, "overflow": completion.overflow}
    return {**told, "completion_ids": tokens, "prompt_ids": [int(i) for i in completion.prompt_ids], **cost}


def _read(path: Path) -> list[tuple[str, Completion]]:
    """What is kept in a file; lines that are no record are left out."""
    known = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            told = json.loads(line)
            key, ids, prompt = told.pop("key"), told.pop("completion_ids"), told.pop("prompt_ids")
            ids, prompt = np.array(ids, np.int64), np.array(prompt, np.int64)
            known.append(
                (
                    key,
                    Completion(prompt_ids=prompt, completion_ids=ids, logprobs=np.zeros(len(ids), np.float32), **told),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return known

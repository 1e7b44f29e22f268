"""Answers that are kept: by whom, to what and the how manieth they are, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from discussion_toys import Digits
from toy_models import shake

from maporl.agents import LLMAgent, Policy, ScriptedAgent
from maporl.agents.partners.cached import Cached, record_of
from maporl.agents.sampling.settings import Sampling
from maporl.types import Observation


class Dice(ScriptedAgent):
    """Says a number, and counts how often it is asked."""

    def __init__(self, faces: int = 10**6) -> None:
        self.calls: list[int] = []
        super().__init__(lambda o, rng: f"{o['question']}: {rng.integers(faces)}")

    def act(self, observations, rngs, *, greedy=False):  # type: ignore[no-untyped-def]
        self.calls.append(len(observations))
        return super().act(observations, rngs, greedy=greedy)


def shown(number: int) -> list[Observation]:
    env = Digits(2, 1)
    rules = env.rules
    begun = rules.begin(env.questions("train")[:number])
    return [rules.observe(t, rules.due(t)[0]) for t in begun]


def texts(agent: Cached, observations: Sequence[Observation], numbers: Sequence[int]) -> list[str]:
    return [c.text for c in agent.answers(observations, numbers)]


def test_an_answer_does_not_depend_on_what_else_is_asked(tmp_path: Path) -> None:
    asked = shown(4)
    whole = texts(Cached(Dice(), samples=2), [*asked, *asked], [0] * 4 + [1] * 4)
    assert len(set(whole)) == 8
    dice = Dice()
    alone = Cached(dice, tmp_path / "kept" / "a.jsonl", samples=2)
    assert texts(alone, asked[2:3], [1]) + texts(alone, asked[::-1], [0] * 4) == [whole[6], *whole[3::-1]]
    assert texts(alone, asked[:1] * 3, [0] * 3) == whole[:1] * 3 and dice.calls == [1, 4] and alone.asked == 5
    again = Dice()
    later = Cached(again, tmp_path / "kept" / "a.jsonl", samples=2)
    assert texts(later, asked, [0] * 4) == whole[:4] and not again.calls, "another run asks nobody"
    streams = [np.random.default_rng(n) for n in range(40)]
    assert {c.text for c in later.act(asked[:1] * 40, streams)} == {whole[0], whole[4]}, "the number is drawn"
    assert texts(Cached(again, samples=2), asked[:1], [-1]) != whole[:1], "a greedy one has its own place"


def test_a_store_that_was_cut_short_is_asked_again_where_it_lacks(tmp_path: Path) -> None:
    asked, path = shown(3), tmp_path / "a.jsonl"
    whole = texts(Cached(Dice(), path), asked, [0] * 3)
    path.write_bytes(path.read_bytes()[:-20])
    dice = Dice()
    cut = Cached(dice, path)
    assert texts(cut, asked, [0] * 3) == whole and dice.calls == [1]
    assert texts(Cached(other := Dice(), path), asked, [0] * 3) == whole and not other.calls


def test_who_is_asked_is_part_of_the_key(policy: Policy, tmp_path: Path) -> None:
    """Another adapter, or other weights of it, and other sampling are other speakers."""
    asked = shown(2)

    def agent(adapter: str | None = "one", tokens: int = 5) -> LLMAgent:
        return LLMAgent(policy, adapter, sampling=Sampling(max_new_tokens=tokens), trainable=False)

    first = Cached(agent(), tmp_path / "a.jsonl")
    said = first.answers(asked, [0, 0])
    assert [len(c.completion_ids) for c in said] == [c.sampled_tokens for c in said] and said[0].sampled_tokens > 0
    assert (
        Cached(agent(), tmp_path / "a.jsonl").answers(asked, [0, 0])[1].completion_ids.tolist()
        == said[1].completion_ids.tolist()
    )
    records = [record_of(agent()), record_of(agent(None)), record_of(agent(tokens=6))]
    shake(policy, "one")
    records.append(record_of(agent()))
    assert all(a != b for n, a in enumerate(records) for b in records[:n])
    with pytest.raises(ValueError, match="adapter 'one' is trained"):
        Cached(LLMAgent(policy, "one"))


def test_what_is_refused() -> None:
    assert isinstance(Cached("simulated_human").agent, ScriptedAgent)
    with pytest.raises(TypeError, match="3 is no agent"):
        Cached(3)
    with pytest.raises(ValueError, match="samples is 0"):
        Cached(Dice(), samples=0)

"""A language model in a seat: the right prompt, the right random numbers, and what does not fit."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_models import completion_logits, observation

from maporl.agents.agent import ScriptedAgent
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.agents.sampling.sampler import Sampled
from maporl.agents.sampling.settings import Sampling
from maporl.rollouts.records import encode_turn
from maporl.types import Turn


def streams(*numbers: int) -> list[np.random.Generator]:
    return [np.random.default_rng(n) for n in numbers]


@pytest.fixture
def agent(policy: Policy) -> LLMAgent:
    return LLMAgent(policy, "one", sampling=Sampling(max_new_tokens=12, temperature=0.8))


def test_a_message_records_how_it_was_sampled(agent: LLMAgent) -> None:
    shown = [observation(question=q) for q in ("Short?", "A much longer question, is it not?")]
    said = agent.act(shown, streams(0, 1))
    for o, c in zip(shown, said, strict=True):
        assert c.prompt_ids.tolist() == PromptTemplate().encode(agent.policy.tokenizer, o)
        assert c.prompt_ids.dtype == c.completion_ids.dtype == np.int64 and c.logprobs.dtype == np.float32
        assert 1 <= len(c.completion_ids) == len(c.logprobs) <= 12
        assert c.text == agent.policy.tokenizer.decode(c.completion_ids, skip_special_tokens=True).strip()
        assert c.truncated == (int(c.completion_ids[-1]) not in agent.policy.eos_ids) and not c.overflow
    with torch.no_grad():
        logits = completion_logits(agent.policy, "one", [c.prompt_ids for c in said], [c.completion_ids for c in said])
    logprobs = (logits / 0.8).log_softmax(-1)
    for n, c in enumerate(said):
        assert np.allclose(logprobs[n, range(len(c.logprobs)), c.completion_ids], c.logprobs, atol=1e-4)


def test_what_is_said_ends_before_a_stop_string(agent: LLMAgent) -> None:
    shown, whole = [observation()] * 12, agent.policy.encode_chats.decode
    agent.sampling = Sampling(max_new_tokens=12, temperature=0.8, stop=("e", "a"))
    said = agent.act(shown, streams(*range(12)))
    assert {c.stopped for c in said} == {True, False}
    for c in said:
        kept = whole(c.completion_ids)  # the tokens that were sampled, up to and with the one that completes it
        assert c.stopped == ("e" in kept or "a" in kept) and not (c.stopped and c.truncated)
        first = min((kept.index(s) for s in "ea" if s in kept), default=len(kept))
        assert c.text == kept[:first].strip() and len(c.logprobs) == len(c.completion_ids)
        assert not c.stopped or not set("ea") & set(whole(c.completion_ids[:-1]))


def test_reasoning_is_learned_and_recorded_and_not_said(agent: LLMAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = np.array(agent.policy.tokenizer.encode("<think>\n2 + 2\n</think>\n\nFour.<|end|>"))
    sampled = Sampled(ids, np.zeros(len(ids), np.float32), truncated=False)
    monkeypatch.setattr(agent.policy, "sample", lambda requests: [sampled] * len(requests))
    [said] = agent.act([observation()], streams(0))
    assert (said.text, said.reasoning) == ("Four.", "2 + 2") and said.completion_ids.tolist() == ids.tolist()
    record = encode_turn(Turn("agent_0", 0, said.text, completion=said), reward=1.0)
    assert (record["text"], record["reasoning"]) == ("Four.", "2 + 2")


def test_a_message_depends_on_its_own_stream_alone(agent: LLMAgent) -> None:
    one, other = observation(), observation(question="Something else entirely, and longer?")
    alone = agent.act([one], streams(7))[0]
    assert np.array_equal(agent.act([other, one, other], streams(1, 7, 2))[1].completion_ids, alone.completion_ids)
    assert not np.array_equal(agent.act([one], streams(8))[0].completion_ids, alone.completion_ids)


def test_every_message_draws_equally_many_numbers(agent: LLMAgent) -> None:
    # Also an overflowing or a short one: what is drawn next from the same stream is then the same, whatever was said.
    agent.policy.eos_ids = frozenset(range(0, 300, 2))
    rngs = streams(3, 3, 3)
    agent.act([observation(), observation(question="1" * 600), observation(question="y")], rngs)
    expected = np.random.default_rng(3)
    expected.random(12, dtype=np.float32)
    assert len({rng.bit_generator.state["state"]["state"] for rng in [*rngs, expected]}) == 1


def test_greedy_uses_no_random_numbers(agent: LLMAgent) -> None:
    rngs = streams(0, 1)
    first = agent.act([observation()] * 2, rngs, greedy=True)
    assert np.array_equal(first[0].completion_ids, first[1].completion_ids)
    assert rngs[0].bit_generator.state == np.random.default_rng(0).bit_generator.state


def test_the_bare_base_speaks_too_and_is_never_trained(policy: Policy) -> None:
    base, one = LLMAgent(policy, None, trainable=True), LLMAgent(policy, "one", trainable=False)
    assert not base.trainable and not one.trainable and LLMAgent(policy, "one").trainable
    said = base.act([observation()], streams(0))[0]
    with torch.no_grad():
        logits = completion_logits(policy, None, [said.prompt_ids], [said.completion_ids])[0].log_softmax(-1)
    assert np.allclose(logits[range(len(said.logprobs)), said.completion_ids], said.logprobs, atol=1e-4)


def test_a_prompt_that_leaves_no_room_overflows_and_the_others_go_on(agent: LLMAgent) -> None:
    window = agent.policy.context_window
    assert window == 512
    shown = [observation(question="a"), observation(question="1" * 600), observation(question="c")]
    said = agent.act(shown, streams(0, 1, 2))
    assert [c.overflow for c in said] == [False, True, False]
    assert said[1].text == "" and len(said[1].completion_ids) == 0 and len(said[1].prompt_ids) > window
    assert np.array_equal(said[2].completion_ids, agent.act(shown[2:], streams(2))[0].completion_ids)
    calls = agent.policy.sampler_calls
    assert [c.overflow for c in agent.act(shown[1:2], streams(0), greedy=True)] == [True]
    assert agent.policy.sampler_calls == calls


def test_a_prompt_may_fill_the_window_exactly(agent: LLMAgent) -> None:
    length = len(agent.encode([observation(question="b")])[0])
    digits = 512 - 12 - length + 1  # a digit is one token
    fits, too_long = (observation(question="1" * n) for n in (digits, digits + 1))
    assert len(agent.encode([fits])[0]) == 500
    said = agent.act([fits, too_long], streams(0, 1))
    assert [c.overflow for c in said] == [False, True] and len(said[0].completion_ids) > 0


def test_nobody_to_answer(agent: LLMAgent) -> None:
    assert agent.act([], []) == []


def test_an_empty_message_is_a_message(agent: LLMAgent) -> None:
    agent.policy.eos_ids = frozenset(range(len(agent.policy.tokenizer)))
    agent.policy.tokenizer.all_special_ids  # noqa: B018 (read before ids are compared)
    said = agent.act([observation()], streams(0))[0]
    assert len(said.completion_ids) == 1 and not said.truncated and not said.overflow


def test_a_scripted_agent_is_a_function_of_observation_and_stream() -> None:
    agent = ScriptedAgent(lambda o, rng: f"{o['question']} {rng.integers(1000)}")
    said = agent.act([observation(question="a"), observation(question="b")], streams(4, 4))
    number = np.random.default_rng(4).integers(1000)
    assert [c.text for c in said] == [f"a {number}", f"b {number}"]
    assert all(len(c.completion_ids) == 0 and not c.overflow for c in said)


def test_an_exception_in_a_script_propagates() -> None:
    with pytest.raises(ZeroDivisionError):
        ScriptedAgent(lambda o, rng: str(1 / 0)).act([observation()], streams(0))


def test_a_template_that_changes_what_came_before_is_said_once(checkpoint: Callable[..., Path]) -> None:
    said = (("agent_0", 0, "1"), ("agent_1", 0, "2"))
    rngs = [np.random.default_rng(0)]

    def warned(template: str) -> list[str]:
        policy = Policy.from_pretrained(str(checkpoint()))
        policy.tokenizer.chat_template = template or policy.tokenizer.chat_template
        agent = LLMAgent(policy, None, sampling=Sampling(max_new_tokens=2))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            agent.act([observation()], rngs)
            assert not caught, "a first round has nothing to keep"
            for _ in range(2):
                agent.act([observation(round=1, said=said)], rngs)
        return [str(w.message) for w in caught]

    assert warned("") == []
    [message] = warned("{{ messages | length }}{% for m in messages %}{{ m['content'] }}{% endfor %}")
    assert "changes what comes before" in message and "sampling is slower" in message

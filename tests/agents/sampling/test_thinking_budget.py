"""A budget of reasoning tokens: what is put into a message, what it goes on with, and that nothing else changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from chat_templates import BEGINS, CHATML, QWEN_3, family_tokenizer
from toy_models import completion_logits, generate, logprobs_of, observation, random_ids, random_uniforms, shake
from toy_samplers import Recording

from maporl.agents import LLMAgent, Policy, Sampled, Sampler, Sampling
from maporl.agents.models.checkpoints import load_causal_lm
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.thinking import ThinkingBudget

BUDGET, LONGEST = 14, 30


@pytest.fixture
def thinker(checkpoint: Callable[..., Path]) -> Callable[..., Policy]:
    """thinker(template, sampler) -> a policy whose tokens 312 and 313 are <think> and </think>, with the adapter "one"."""

    def make(template: str = BEGINS, sampler: str | type[Sampler] = "in_process") -> Policy:
        model, _ = load_causal_lm(str(checkpoint(vocab_size=314, context=640)))
        policy = Policy(model, family_tokenizer(template), sampler=sampler)
        policy.eos_ids = frozenset(range(0, 300, 50))
        policy.add_adapter("one", seed=1)
        shake(policy, "one", 0.1)
        return policy

    return make


def both(policies: Sequence[Policy], prompts: list, sampling: Sampling, draws: np.ndarray) -> list[Sampled]:
    """What both samplers say, which is the same."""
    left, right = (generate(policy, "one", prompts, sampling, draws) for policy in policies)
    for a, b in zip(left, right, strict=True):
        assert a.ids.tolist() == b.ids.tolist() and (a.truncated, a.stopped) == (b.truncated, b.stopped)
        assert np.allclose(a.logprobs, b.logprobs, atol=2e-4)
        assert (a.forced is None) == (b.forced is None) and np.array_equal(a.forced, b.forced)
    return left


def test_reasoning_that_is_open_is_closed_and_every_other_message_is_what_it_was(thinker: Callable) -> None:
    policies = [thinker(sampler=word) for word in ("in_process", "reference")]
    text, closing = policies[0].encode_chats, list(policies[0].encode_chats.closing)
    assert text.decode(closing) == "\n</think>\n\n" and 313 in closing
    rng = np.random.default_rng(0)
    prompts, draws = random_ids(*rng.integers(1, 30, 160)), random_uniforms(160, LONGEST, 3)
    settings = {"temperature": 2.5}  # many different tokens, </think> among them
    without = both(policies, prompts, Sampling(LONGEST, **settings), draws)
    within = both(policies, prompts, Sampling(LONGEST, **settings, thinking_budget=BUDGET), draws)
    after, cut, counts = BUDGET + len(closing), [], dict.fromkeys(("ended", "closed"), 0)
    for n, (whole, s) in enumerate(zip(without, within, strict=True)):
        own = whole.ids[:BUDGET].tolist()
        if len(whole.ids) > BUDGET and 313 not in own:
            cut.append(n)
            assert s.ids[:after].tolist() == own + closing and s.forced is not None
            assert np.flatnonzero(s.forced).tolist() == list(range(BUDGET, after)) and len(s.forced) == len(s.ids)
            assert not s.logprobs[s.forced].any()
            assert np.allclose(s.logprobs[:BUDGET], whole.logprobs[:BUDGET], atol=1e-5)
        else:
            counts["ended" if len(whole.ids) <= BUDGET else "closed"] += 1
            assert s.ids.tolist() == whole.ids.tolist() and s.forced is None and s.truncated == whole.truncated
            assert np.allclose(s.logprobs, whole.logprobs, atol=1e-5)
    assert min(len(cut), *counts.values()) >= 3, (len(cut), counts)
    # Those go on as anything does that follows these tokens, with the random numbers that are left.
    begun = [np.r_[prompts[n], within[n].ids[:after]] for n in cut]
    rest = generate(policies[1], "one", begun, Sampling(LONGEST - after, **settings), draws[cut, after:])
    for n, said in zip(cut, rest, strict=True):
        assert within[n].ids[after:].tolist() == said.ids.tolist() and within[n].truncated == said.truncated
        assert np.allclose(within[n].logprobs[after:], said.logprobs, atol=2e-4)
    # The log-probs are those of the whole message as it stands.
    found = logprobs_of(policies[0], "one", prompts, [s.ids for s in within], temperature=2.5)
    for s, again in zip(within, found, strict=True):
        chosen = np.ones(len(s.ids), bool) if s.forced is None else ~s.forced
        assert np.allclose(s.logprobs[chosen], again[: len(s.ids)].detach().numpy()[chosen], atol=2e-4)


def test_a_message_that_does_not_reason_is_left_alone(thinker: Callable) -> None:
    """The template begins no block; the message may, by its first token."""
    policies = [thinker(CHATML, word) for word in ("in_process", "reference")]
    prompts, draws = random_ids(*range(3, 15)), random_uniforms(12, LONGEST, 1)
    odds = completion_logits(policies[0], "one", prompts, [np.zeros(1, np.int64)] * 12)[:, 0].softmax(-1)
    places = (odds.cumsum(-1) - odds / 2)[:, 312]  # the numbers that draw <think>
    draws[::2, 0] = places[::2].detach().numpy()
    without = both(policies, prompts, Sampling(LONGEST), draws)
    within = both(policies, prompts, Sampling(LONGEST, thinking_budget=1), draws)
    begun = [int(s.ids[0]) == 312 for s in without]
    assert begun == [True, False] * 6
    for whole, s, reasons in zip(without, within, begun, strict=True):
        assert (s.forced is not None) == reasons
        assert reasons or s.ids.tolist() == whole.ids.tolist()
        assert not reasons or s.ids[:5].tolist() == [312, *policies[0].encode_chats.closing]


def test_greedy_messages_and_stop_strings_that_the_closing_completes(thinker: Callable) -> None:
    policies = [thinker(sampler=word) for word in ("in_process", "reference")]
    prompts = random_ids(5, 9, 14)
    closing = list(policies[0].encode_chats.closing)
    for policy in policies:
        plain = generate(policy, "one", prompts, Sampling(6), None)
        cut = generate(policy, "one", prompts, Sampling(20, thinking_budget=6, stop=("k>\n",)), None)
        for own, s in zip(plain, cut, strict=True):
            if own.truncated:
                assert s.ids.tolist() == [*own.ids, *closing[:3]] and s.stopped and not s.truncated
                assert s.forced is not None and s.forced.tolist() == [False] * 6 + [True] * 3
        assert any(own.truncated for own in plain)


def test_what_an_agent_says_begins_after_the_closing(thinker: Callable) -> None:
    policy = thinker()
    policy.eos_ids = frozenset()
    agent = LLMAgent(policy, "one", sampling=Sampling(LONGEST, thinking_budget=BUDGET))
    asked = [observation(question=f"What is {n}?") for n in range(6)]
    said = agent.act(asked, [np.random.default_rng(n) for n in range(6)])
    for c in said:
        assert c.forced is not None and c.truncated
        ids = c.completion_ids
        assert c.reasoning == policy.encode_chats.decode(ids[:BUDGET]).strip().removeprefix("<think>").strip()
        assert c.text == policy.encode_chats.decode(ids[BUDGET + 4 :]).strip() and c.text


class Faithful(Recording):
    """Keeps a budget, by the reference's means."""

    keeps_thinking_budget = True


@pytest.mark.parametrize(
    ("template", "sampler", "settings", "message"),
    [
        (
            BEGINS,
            Recording,
            {"thinking_budget": 4},
            "thinking_budget is 4, but the sampler Recording keeps none .keeps_thinking_budget.; leave it out, or use",
        ),
        (
            BEGINS,
            "in_process",
            {"thinking_budget": 26},
            "thinking_budget is 26, and closing the reasoning takes 4 tokens: of max_new_tokens 30 none is left",
        ),
        (None, "in_process", {"thinking_budget": 4}, "neither chat template nor tokenizer of .* knows </think>"),
    ],
)
def test_a_budget_that_cannot_be_kept(
    checkpoint: Callable[..., Path], thinker: Callable, template: str | None, sampler: str, settings: dict, message: str
) -> None:
    policy = Policy.from_pretrained(str(checkpoint())) if template is None else thinker(template, sampler)
    sampling = Sampling(LONGEST, **settings)
    for ask in (
        lambda: LLMAgent(policy, None, sampling=sampling),
        lambda: policy.sample([Request(None, random_ids(4)[0], sampling, None)]),
    ):
        with pytest.raises(ValueError, match=message) as error:
            ask()
        assert "\n" not in str(error.value)


def test_a_sampler_of_ones_own_that_keeps_it_is_asked(thinker: Callable) -> None:
    (said,) = generate(thinker(QWEN_3, Faithful), None, random_ids(4), Sampling(LONGEST, thinking_budget=4), None)
    assert said.forced is None  # it did not begin to reason


def test_rows_are_closed_one_by_one() -> None:
    budget = ThinkingBudget(2, (7, 8), lambda ids: 9 not in ids)
    said = torch.tensor([[1, 2, 0, 0], [1, 9, 0, 0], [9, 9, 9, 9]])
    sampled, logprobs = torch.tensor([5, 5, 5]), torch.tensor([-1.0, -2.0, -3.0])
    for t, first in ((1, 5), (2, 7), (3, 8), (4, 5)):
        ids, chances = budget.enforced(said[:, :t], sampled, logprobs)
        assert ids.tolist() == [first, 5, 5] and chances.tolist() == [-1.0 if first == 5 else 0.0, -2.0, -3.0]
    assert budget.forced(np.array([1, 2, 7])).tolist() == [False, False, True]  # type: ignore[union-attr]
    assert budget.forced(np.array([1, 2])) is None and budget.forced(np.array([1, 9, 7, 8])) is None

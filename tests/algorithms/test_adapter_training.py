"""TRL's trainers on one adapter of a policy: right losses and gradients, by hand; and nothing else moves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maporl.agents import LoRA, Policy
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.settings import Sampling
from maporl.algorithms.adapter_training import AdapterSettings, dpo_adapter, sft_adapter, summed_logprobs
from maporl.types import Completion

LR = 1e-2


@pytest.fixture
def policy(tiny_model: str) -> Policy:
    """Three adapters that have all learned something; one is called as TRL expects its reference to be."""
    made = Policy.from_pretrained(tiny_model)
    for seed, name in enumerate(("default", "role", "other")):
        made.add_adapter(name, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in made.parameters(name):
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return made


def message(prompt: int, seed: int, length: int = 5) -> Completion:
    prompts, rng = np.random.default_rng(prompt), np.random.default_rng(seed)
    ids = rng.integers(5, 290, length)
    return Completion("words", prompts.integers(5, 290, 7 + prompt), ids, np.zeros(length, np.float32))


MESSAGES = [message(n // 2, n, 3 + n % 4) for n in range(8)]
PAIRS = [(MESSAGES[n], MESSAGES[n + 1]) for n in range(0, 8, 2)]


def by_hand(policy: Policy, c: Completion) -> Tensor:
    """log p of each token of a message, by the model's own forward pass."""
    ids = torch.as_tensor(np.concatenate([c.prompt_ids, c.completion_ids]))[None]
    with policy.using("role"):
        logits = policy.model(input_ids=ids).logits[0, len(c.prompt_ids) - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, torch.as_tensor(c.completion_ids)[:, None]).squeeze(1)


def stepped(policy: Policy, losses: Iterator[Any], steps: int) -> list[Tensor]:
    """The weights after AdamW as TRL takes it: a rate that falls linearly, gradients clipped to 1, no weight decay."""
    with policy.using("role"):
        weights = policy.parameters("role")
    optimizer = torch.optim.AdamW(weights, lr=LR, weight_decay=0.0)
    for step, loss in enumerate(losses):
        optimizer.param_groups[0]["lr"] = LR * (1 - step / steps)
        optimizer.zero_grad()
        loss().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
    return [w.detach().clone() for w in weights]


def start(policy: Policy) -> list[Tensor]:
    return [p.detach().clone() for p in policy.parameters("role")]


def reset(policy: Policy, weights: list[Tensor]) -> None:
    with torch.no_grad():
        for parameter, weight in zip(policy.parameters("role"), weights, strict=True):
            parameter.copy_(weight)


def assert_close(one: list[Tensor], other: list[Tensor], tolerance: float = 2e-5) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def test_sft_is_cross_entropy_over_all_tokens_of_the_batch(policy: Policy) -> None:
    before, number = start(policy), sum(len(c.completion_ids) for c in MESSAGES)
    settings = AdapterSettings(learning_rate=LR, batch_size=8, epochs=3)
    measured = sft_adapter(policy, "role", MESSAGES, settings)
    after = start(policy)
    reset(policy, before)
    losses: list[float] = []

    def loss() -> Tensor:
        value = -torch.cat([by_hand(policy, c) for c in MESSAGES]).sum() / number
        losses.append(float(value.detach()))
        return value

    assert_close(after, stepped(policy, iter([loss] * 3), 3))
    assert measured == {"loss": pytest.approx(losses[-1], abs=1e-5), "steps": 3.0}
    assert losses[-1] < losses[0]


def test_dpo_is_its_equation_with_the_roles_own_start_as_reference(policy: Policy) -> None:
    before = start(policy)
    measured = dpo_adapter(policy, "role", PAIRS, AdapterSettings(learning_rate=LR, batch_size=4, epochs=3, beta=0.2))
    after = start(policy)
    reset(policy, before)
    with torch.no_grad():
        reference = [[by_hand(policy, c).sum() for c in pair] for pair in PAIRS]
    losses: list[float] = []

    def loss() -> Tensor:
        total = torch.zeros(())
        for (chosen, rejected), (ref_chosen, ref_rejected) in zip(PAIRS, reference, strict=True):
            gain = by_hand(policy, chosen).sum() - ref_chosen - (by_hand(policy, rejected).sum() - ref_rejected)
            total = total - torch.nn.functional.logsigmoid(0.2 * gain) / len(PAIRS)
        losses.append(float(total.detach()))
        return total

    assert_close(after, stepped(policy, iter([loss] * 3), 3))
    assert losses[0] == pytest.approx(0.693147, abs=1e-5), (
        "the reference is where it starts, whatever another adapter is called"
    )
    assert measured["loss"] == pytest.approx(losses[-1], abs=1e-5) and losses[-1] < losses[0]
    assert measured["accuracy"] == 1.0 and measured["margin"] > 0


def test_the_size_of_a_microbatch_is_no_matter(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients: list[list[Tensor]] = []
    step = torch.optim.AdamW.step

    def seen(self: Any, *rest: Any) -> Any:
        gradients.append([p.grad.clone() for group in self.param_groups for p in group["params"]])
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", seen)
    before = start(policy)
    for tokens in (1, 10_000):
        settings = AdapterSettings(learning_rate=LR, microbatch_tokens=tokens, nll_coef=0.5)
        for train, given in ((sft_adapter, MESSAGES), (dpo_adapter, PAIRS)):
            reset(policy, before)
            train(policy, "role", given, settings)  # type: ignore[operator]
    assert len(gradients) == 4
    assert_close(gradients[0], gradients[2], 1e-6)
    assert_close(gradients[1], gradients[3], 1e-6)


def test_nothing_else_moves(policy: Policy) -> None:
    others = {n: p.detach().clone() for n, p in policy.model.named_parameters() if ".role." not in n}
    ask = Request("role", MESSAGES[0].prompt_ids, Sampling(4), None)
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    drawn = (random.random(), float(np.random.rand()), float(torch.rand(())))
    random.seed(3), np.random.seed(3), torch.manual_seed(3)
    own = dict(vars(policy.model)), policy.model.config.to_dict(), policy.tokenizer.pad_token, policy.model.training
    before = policy.sample([ask])[0]
    sft_adapter(policy, "role", MESSAGES, AdapterSettings(learning_rate=LR))
    dpo_adapter(policy, "role", PAIRS, AdapterSettings(learning_rate=LR))
    assert drawn == (random.random(), float(np.random.rand()), float(torch.rand(())))
    assert own[0].get("forward") == vars(policy.model).get("forward")
    assert own[1:] == (policy.model.config.to_dict(), policy.tokenizer.pad_token, policy.model.training)
    assert all(torch.equal(p, others[n]) for n, p in policy.model.named_parameters() if ".role." not in n)
    after = policy.sample([ask])[0]
    assert not np.array_equal(before.logprobs, after.logprobs), "what was learned is sampled from at once"
    summed = summed_logprobs(policy, "role", [Completion("", ask.prompt, after.ids, after.logprobs)])
    assert float(summed) == pytest.approx(float(after.logprobs.sum()), abs=1e-4)


def test_forced_tokens_are_read_and_not_learned(policy: Policy) -> None:
    forced = np.array([False, True, True, False, False])
    c = Completion(
        "words", MESSAGES[0].prompt_ids, np.array([9, 10, 11, 12, 13]), np.zeros(5, np.float32), forced=forced
    )
    expected = -float(by_hand(policy, c)[~torch.as_tensor(forced)].mean())
    assert sft_adapter(policy, "role", [c], AdapterSettings(learning_rate=LR))["loss"] == pytest.approx(
        expected, abs=1e-5
    )
    with pytest.raises(ValueError, match="leave thinking_budget out"):
        dpo_adapter(policy, "role", [(c, c)], AdapterSettings())


def test_what_cannot_be(policy: Policy, tiny_model: str) -> None:
    with pytest.raises(ValueError, match="nothing to train 'role' on"):
        sft_adapter(policy, "role", [], AdapterSettings())
    with pytest.raises(ValueError, match="has no tokens"):
        sft_adapter(policy, "role", [Completion("a script's words")], AdapterSettings())
    with pytest.raises(ValueError, match="different prompts"):
        dpo_adapter(policy, "role", [(MESSAGES[0], MESSAGES[2])], AdapterSettings())
    with pytest.raises(ValueError, match="beta is 0"):
        AdapterSettings(beta=0)
    ends = Policy.from_pretrained(tiny_model, lora=LoRA(target_modules=("lm_head",)))
    ends.add_adapter("role")
    with pytest.raises(ValueError, match="would never be trained"):
        sft_adapter(ends, "role", MESSAGES, AdapterSettings())


def test_a_pair_reads_its_prompt_once(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    assert policy.backbone.exact
    read: list[int] = []
    run = policy.backbone.run
    monkeypatch.setattr(policy.backbone, "run", lambda ids, *rest: read.append(ids.numel()) or run(ids, *rest))  # type: ignore[func-returns-value]
    long = Completion("", np.arange(5, 205), np.array([9, 10, 11]), np.zeros(3, np.float32))
    other = Completion("", np.arange(5, 205), np.array([9, 12, 13]), np.zeros(3, np.float32))
    dpo_adapter(policy, "role", [(long, other)], AdapterSettings(learning_rate=LR))
    assert read == [203, 203], "the reference's pass and one of the step: 200, the token in common, and one each"

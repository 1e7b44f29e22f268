"""V(context, completion[:t]) reads exactly that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from toy_models import random_ids, shake, values_of, weights

from maporl.agents.models.critic import Critic
from maporl.agents.models.policy import Policy
from maporl.agents.models.value_model import ValueModel


@pytest.fixture
def critic(policy: Policy) -> Critic:
    critic = Critic(policy, "critic", seed=3)
    shake(policy, "critic")
    torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
    torch.nn.init.constant_(critic.head.bias, 0.3)
    return critic


@torch.no_grad()
def values(critic: Critic, contexts: list, completions: list) -> torch.Tensor:
    return values_of(critic, contexts, completions)


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "gemma2"])
def test_a_new_critic_says_zero(checkpoint: Callable, family: str) -> None:
    critic = Critic(Policy.from_pretrained(str(checkpoint(family))), "critic")
    said = values(critic, random_ids(5, 9), random_ids(3, 7))
    assert said.shape == (2, 7) and said.dtype == torch.float32 and not said.any()


def test_a_value_has_read_the_tokens_before_and_never_the_one_it_judges(critic: Critic) -> None:
    [context], [completion] = random_ids(12), random_ids(6, seed=1)
    before = values(critic, [context], [completion])[0]
    assert before.unique().numel() == 6
    for t in range(6):
        changed = completion.copy()
        changed[t] = (changed[t] + 1) % 290
        after = values(critic, [context], [changed])[0]
        assert torch.equal(after[: t + 1], before[: t + 1])  # bit-equal: the token at t is not read by the value at t
        assert (after[t + 1 :] != before[t + 1 :]).all()
    context[0] = (context[0] + 1) % 290
    assert (values(critic, [context], [completion])[0] != before).all()


def test_padding_and_company_do_not_change_a_value(critic: Critic) -> None:
    contexts, completions = random_ids(30, 4, 11), random_ids(2, 9, 1, seed=1)
    together = values(critic, contexts, completions)
    for n in range(3):
        alone = values(critic, contexts[n : n + 1], completions[n : n + 1])[0]
        assert torch.allclose(together[n, : len(completions[n])], alone, atol=1e-4)


def test_critic_and_policy_share_no_parameter(critic: Critic) -> None:
    policy = critic.policy
    policy.add_adapter("critic_2")
    mine = {id(p) for p in critic.parameters()}
    assert len(mine) == 28 + 2
    assert not mine & {id(p) for n in ("one", "critic_2") for p in policy.parameters(n)}
    assert not mine & {id(p) for n, p in policy.model.named_parameters() if "lora" not in n}


def test_the_gradient_reaches_adapter_and_head_and_nothing_else(critic: Critic) -> None:
    values_of(critic, random_ids(5), random_ids(4)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in critic.parameters())
    mine = {id(p) for p in critic.parameters()}
    assert all(p.grad is None for p in critic.policy.model.parameters() if id(p) not in mine)


def test_its_state_comes_back(critic: Critic, checkpoint: Callable) -> None:
    arguments = random_ids(12), random_ids(6, seed=1)
    state, before = critic.state_dict(), values(critic, *arguments)
    with torch.no_grad():
        for p in critic.parameters():
            p.add_(1.0)
    assert not torch.equal(values(critic, *arguments), before)
    critic.load_state_dict(state)
    assert torch.equal(values(critic, *arguments), before)
    fresh = Critic(Policy.from_pretrained(str(checkpoint())), "another")
    fresh.load_state_dict(state)
    assert torch.equal(values(fresh, *arguments), before)


def test_it_works_on_a_16_bit_base(checkpoint: Callable) -> None:
    policy = Policy.from_pretrained(str(checkpoint()), dtype="bfloat16")
    critic = Critic(policy, "critic")
    torch.nn.init.normal_(critic.head.weight)
    said = values_of(critic, random_ids(5), random_ids(4))
    assert said.dtype == torch.float32 and said.requires_grad
    assert weights(policy, "critic").dtype == torch.float32


def test_a_value_model_without_bias_is_a_linear_head_on_the_adapted_states(policy: Policy) -> None:
    model = ValueModel(policy, "one", bias=False)
    assert len(model.parameters()) == 28 + 1 and not values_of(model, random_ids(5), random_ids(4)).any()
    torch.nn.init.constant_(model.head.weight, 0.5)
    [packed] = policy.pack(np.arange(1), random_ids(5), random_ids(4, seed=1), 4096)
    assert torch.allclose(model.values(packed), policy.hidden("one", packed).sum(-1) / 2, atol=1e-5)
    assert model.head(torch.ones(2, 3, policy.hidden_size, dtype=torch.bfloat16)).dtype == torch.float32


def test_its_name_must_be_free(policy: Policy) -> None:
    with pytest.raises(ValueError, match="adapter 'one' exists already"):
        Critic(policy, "one")
    assert np.array_equal(policy.adapters, ("one",))

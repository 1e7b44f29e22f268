"""A table of logits and a small network as policies: hand-computed probabilities, and messages of one token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from maporl.agents.models.critic import Critic
from maporl.agents.sampling.settings import Sampling
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.types import Observation

STATES = [np.array([0, 0]), np.array([1, 2]), np.array([0, 2])]
ACTIONS = [np.array([0]), np.array([1]), np.array([1])]


def policy(hidden_units: int | None = None) -> SmallPolicy:
    made = SmallPolicy((2, 3), (0.8, 0.2), hidden_units=hidden_units)
    made.add_adapter("one", seed=5)
    return made


def raise_logit(made: SmallPolicy, state: tuple[int, int], action: int, by: float) -> None:
    [weights] = made.parameters("one")  # [actions, states]
    with torch.no_grad():
        weights[action, state[0] * 3 + state[1]] += by


def observation(text: str) -> Observation:
    return Observation(agent="agent_0", round=0, question=text, private="", instruction="", role="", transcript=())


@pytest.mark.parametrize("hidden_units", [None, 4])
@pytest.mark.parametrize("adapter", [None, "one"])
def test_every_adapter_starts_exactly_at_the_base(hidden_units: int | None, adapter: str | None) -> None:
    table = policy(hidden_units).table(adapter)
    assert table.shape == (2, 3, 2)
    assert table == pytest.approx(np.broadcast_to([0.8, 0.2], (2, 3, 2)), abs=1e-7)


def test_logprobs_by_hand() -> None:
    made = policy()
    raise_logit(made, (1, 2), 1, math.log(4))  # 4 to 1 times 1 to 4: one half each
    [packed] = made.pack(np.arange(3), STATES, ACTIONS, 100)
    logprobs, entropies = made.logprobs("one", packed, 1.0, entropy=True)
    assert logprobs.tolist() == pytest.approx([math.log(0.8), math.log(0.5), math.log(0.2)], abs=1e-6)
    assert entropies is not None
    of_base = -0.8 * math.log(0.8) - 0.2 * math.log(0.2)
    assert entropies.tolist() == pytest.approx([of_base, math.log(2), of_base], abs=1e-6)
    hotter, none = made.logprobs("one", packed, 2.0)  # odds 4 to 1 become 2 to 1
    assert none is None and hotter.tolist() == pytest.approx(
        [math.log(2 / 3), math.log(0.5), math.log(1 / 3)], abs=1e-6
    )
    base, _ = made.logprobs(None, packed, 1.0)
    assert base.tolist() == pytest.approx([math.log(0.8), math.log(0.2), math.log(0.2)], abs=1e-6)


def test_only_the_state_that_is_played_learns() -> None:
    made = policy()
    [packed] = made.pack(np.array([1]), STATES, ACTIONS, 100)
    made.logprobs("one", packed, 1.0)[0].sum().backward()
    [weights] = made.parameters("one")
    assert weights.grad is not None
    gradient = weights.grad.reshape(2, 2, 3)
    assert gradient[:, 1, 2].tolist() == pytest.approx([-0.8, 0.8])  # of log p(1): 1 - p on action 1
    gradient[:, 1, 2] = 0
    assert not gradient.any()


def test_messages_in_passes() -> None:
    passes = policy().pack(np.array([2, 0, 1]), STATES, ACTIONS, 4)  # two states of two numbers
    assert [p.rows.tolist() for p in passes] == [[2, 0], [1]]
    assert passes[0].ids.tolist() == [[0, 2], [0, 0]] and passes[0].targets.tolist() == [1, 0]
    assert passes[0].before.tolist() == [1, 3]  # the last number of each state
    filled = torch.zeros(3, 1)
    for packed in passes:
        packed.spread(torch.tensor([float(row) for row in packed.rows]), filled)
    assert filled[:, 0].tolist() == [0, 1, 2]
    assert policy().pack(np.array([], np.int64), STATES, ACTIONS, 4) == []


def test_a_critic_is_a_table_of_values() -> None:
    made = policy()
    critic = Critic(made, "critic")
    [packed] = made.pack(np.arange(3), STATES, ACTIONS, 100)
    assert critic.values(packed).tolist() == [0, 0, 0]
    with torch.no_grad():
        critic.head.weight[0] = torch.arange(6.0)
    assert critic.values(packed).tolist() == [0, 5, 2]
    assert made.adapters == ("one", "critic")


def test_a_networks_features_are_its_own() -> None:
    made = policy(4)
    made.add_adapter("two", seed=6)
    made.add_adapter("one_again", seed=5)
    [packed] = made.pack(np.arange(3), STATES, ACTIONS, 100)
    assert made.hidden("one", packed).shape == (3, 4)
    assert torch.equal(made.hidden("one", packed), made.hidden("one_again", packed))
    assert not torch.equal(made.hidden("one", packed), made.hidden("two", packed))


class TestAgent:
    def test_a_message_is_an_action_and_records_how_it_was_sampled(self) -> None:
        agent = SmallAgent(policy(), "one", sampling=Sampling(max_new_tokens=1, temperature=2.0))
        said = agent.act([observation("1 2")] * 400, [np.random.default_rng(i) for i in range(400)])
        assert {c.text for c in said} == {"0", "1"}
        for c in said:
            assert c.prompt_ids.tolist() == [1, 2] and c.completion_ids.tolist() == [int(c.text)]
            assert c.logprobs.tolist() == pytest.approx([math.log((2 / 3, 1 / 3)[int(c.text)])], abs=1e-6)
        assert np.mean([c.text == "0" for c in said]) == pytest.approx(2 / 3, abs=0.08)  # over 3 standard errors

    def test_it_depends_on_its_own_stream_alone(self) -> None:
        agent = SmallAgent(policy(), None)
        seen, streams = [observation(f"0 {n % 3}") for n in range(30)], range(30)
        together = [c.text for c in agent.act(seen, [np.random.default_rng(i) for i in streams])]
        alone = [agent.act([o], [np.random.default_rng(i)])[0].text for o, i in zip(seen, streams, strict=True)]
        assert together == alone and len(set(together)) == 2

    def test_greedy_says_the_likeliest(self) -> None:
        made = policy()
        raise_logit(made, (1, 2), 1, 3.0)
        said = SmallAgent(made, "one").act([observation("0 0"), observation("1 2")], [], greedy=True)
        assert [c.text for c in said] == ["0", "1"]
        assert SmallAgent(made, "one").act([], []) == []

    def test_the_base_is_never_trained(self) -> None:
        made = policy()
        assert not SmallAgent(made, None).trainable and not SmallAgent(made, "one", trainable=False).trainable
        assert SmallAgent(made, "new").trainable and "new" in made.adapters

    @pytest.mark.parametrize("text", ["", "1", "1 2 3", "1 x", "-1 0"])
    def test_what_is_no_state(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no state; write 2 whole numbers"):
            SmallAgent(policy(), "one").encode([observation(text)])

    def test_a_state_outside(self) -> None:
        with pytest.raises(ValueError, match=r"outside of shape \(2, 3\)"):
            SmallAgent(policy(), "one").act([observation("2 0")], [np.random.default_rng(0)])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (((), (0.5, 0.5)), "shape is"),
        (((2, 0), (0.5, 0.5)), "shape is"),
        (((2,), (1.0, 0.0)), "probabilities are"),
        (((2,), (0.5, 0.6)), "probabilities are"),
        (((2,), (0.5, 0.5), 0), "hidden_units is 0"),
    ],
)
def test_bad_policies(arguments: tuple, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SmallPolicy(*arguments[:2], hidden_units=(*arguments, None)[2])


def test_bad_adapters_and_messages() -> None:
    made = policy()
    with pytest.raises(ValueError, match="'one' exists already"):
        made.add_adapter("one")
    with pytest.raises(ValueError, match=r"no adapter 'two'; there are \['one'\]"):
        made.parameters("two")
    with pytest.raises(ValueError, match="a message of 2 tokens"):
        made.pack(np.array([0]), STATES, [np.array([0, 1])], 100)


def test_a_log_linear_policy_is_a_sum_of_one_table_for_each_number() -> None:
    made = SmallPolicy((2, 3), (0.8, 0.2), log_linear=True)
    made.add_adapter("one")
    [weights] = made.parameters("one")
    assert weights.shape == (2, 5) and made.hidden_size == 5
    with torch.no_grad():
        weights[1, 1] += math.log(2)  # wherever the first number is 1
        weights[1, 2 + 2] += math.log(2)  # wherever the second is 2
    odds = made.table("one")[..., 1] / made.table("one")[..., 0]
    assert odds == pytest.approx(np.array([[1, 1, 2], [2, 2, 4]]) / 4, abs=1e-6)
    with pytest.raises(ValueError, match="log_linear with hidden_units 4 is neither"):
        SmallPolicy((2,), (0.5, 0.5), hidden_units=4, log_linear=True)

"""Gated proposals: what passes, what is said if nothing does, what it costs; and the advantages by which it is decided."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from discussion_toys import Digits

from maporl.agents import Agent, ScriptedAgent
from maporl.agents.partners.gated import Gated
from maporl.agents.partners.prefix_values import PrefixValues
from maporl.types import Completion, Observation


class Says(Agent):
    """Says these one after the other, each of as many tokens as it has letters, and keeps what it was shown."""

    def __init__(self, *texts: str, discarded: int = 0) -> None:
        self.texts, self.shown, self.discarded = iter(texts), [], discarded

    def act(self, observations, rngs, *, greedy=False):  # type: ignore[no-untyped-def]
        self.shown += observations
        said = [next(self.texts) for _ in observations]
        return [Completion(t, completion_ids=np.arange(len(t)), discarded=self.discarded) for t in said]


SCORES = {"one": 1.0, "two!": 2.0, "three": 3.0, "low": -1.0, "dunno": math.nan}


def score(observation: Observation, proposal: Completion) -> float:
    return SCORES[proposal.text]


def asked(gated: Gated, number: int = 1) -> list[Completion]:
    env = Digits(2, 1)
    env.reset(seed=0)
    return gated.act([env.observe("agent_0")] * number, [np.random.default_rng(n) for n in range(number)])


def test_the_first_that_passes_is_said_and_all_that_was_sampled_is_counted() -> None:
    agent = Says("low", "dunno", "two!", discarded=1)
    gated = Gated(agent, score, threshold=1.0)
    (said,) = asked(gated)
    assert said.text == "two!" and len(said.completion_ids) == 4 and said.sampled_tokens == 4 + 4 + 6 + 5 - 4 + 4 - 4
    assert gated.asked == 3
    before, first, second = (o["transcript"] for o in agent.shown)
    assert first[: len(before)] == before and [m["agent"] for m in second[len(before) :]] == ["critic", "critic"]
    assert [m["text"] for m in second[len(before) :]] == [
        "'low' scores -1; too low, raise it above 1.",
        "'dunno' is unknown to the critic; too low, raise it above 1.",
    ]


def test_the_threshold_must_be_exceeded_and_stays_as_it_is() -> None:
    assert asked(Gated(Says("one", "two!"), score, threshold=1.0))[0].text == "two!"
    gated = Gated(Says(*["one", "two!"] * 20), score, threshold={"agent_0": 1.5})
    assert {asked(gated)[0].text for _ in range(20)} == {"two!"}
    with pytest.raises(ValueError, match="no threshold for 'agent_0'; there are some for agent_1"):
        asked(Gated(Says("one"), score, threshold={"agent_1": 0.0}))


def test_what_is_said_if_none_passes() -> None:
    texts = ("one", "two!", "dunno", "low")
    best, last = (Gated(Says(*texts), score, threshold=9, budget=4, keep=keep) for keep in ("best", "last"))
    assert [asked(g)[0].text for g in (best, last)] == ["two!", "low"]
    (unknown,) = asked(Gated(Says("dunno", "dunno"), score, budget=2))
    assert (unknown.text, unknown.sampled_tokens) == ("WAIT", 10)


def test_those_who_were_rejected_are_asked_again_together() -> None:
    agent = Says("one", "low", "low", "low", "two!", "three")
    gated = Gated(agent, score)
    assert [c.text for c in asked(gated, 3)] == ["one", "three", "two!"]
    told = [sum(m["agent"] == "critic" for m in o["transcript"]) for o in agent.shown]
    assert told == [0, 0, 0, 1, 1, 2] and gated.asked == 6


def test_what_is_refused() -> None:
    with pytest.raises(ValueError, match="budget is 0"):
        Gated(Says(), score, budget=0)
    with pytest.raises(ValueError, match="unknown keep 'first'; one of: best, last"):
        Gated(Says(), score, keep="first")
    with pytest.raises(ValueError, match="threshold is nan"):
        Gated(Says(), score, threshold=math.nan)
    with pytest.raises(TypeError, match="3 is no agent"):
        Gated(3, score)
    with pytest.raises(TypeError, match="score 3 cannot be called"):
        Gated(ScriptedAgent(lambda o, rng: ""), 3)
    for gamma, steps, problem in ((2, [], "gamma is 2"), (0.5, [], "no trajectories")):
        with pytest.raises(ValueError, match=problem):
            PrefixValues().fit([steps], gamma)
    with pytest.raises(ValueError, match="a reward is nan"):
        PrefixValues().fit([[("s", ("a",), math.nan)]])
    with pytest.raises(ValueError, match="at least one action"):
        PrefixValues().advantage("s", ())


def test_the_advantages_of_the_papers_decomposition() -> None:
    """mu uniform, Q = [[4, 0], [1, 3]]: the first agent's choice is worth nothing by itself, and the sum is the joint advantage."""
    q = np.array([[4.0, 0.0], [1.0, 3.0]])
    critic = PrefixValues().fit([[("s", (str(a), str(b)), q[a, b])] for a, b in itertools.product((0, 1), repeat=2)])
    first = [critic.advantage("s", (a,)) for a in "01"]
    second = [[critic.advantage("s", (a, b)) for b in "01"] for a in "01"]
    assert critic.value("s") == 2 and [critic.value("s", (a,)) for a in "01"] == [2, 2]
    assert first == [0, 0] and second == [[2, -2], [-1, 1]]
    assert np.add(np.array(first)[:, None], second).tolist() == (q - 2).tolist()
    assert math.isnan(critic.advantage("s", ("2",))) and math.isnan(critic.value("elsewhere"))
    # The paper's eq. 26, Z = product of Z^i, is wrong here: Z^2 depends on the first action.
    own = np.exp(second).mean(axis=1)
    z = np.exp(q - 2).mean()
    assert z == pytest.approx(2.652638, abs=1e-6) and own == pytest.approx([3.762196, 1.543081], abs=1e-6)
    truly = np.exp(q - 2).sum(axis=1) / np.exp(q - 2).sum()
    assert truly[0] == pytest.approx(0.709142, abs=1e-6)
    assert np.exp(first[0]) / np.exp(first).sum() == 0.5, "what the product gives"


def test_returns_are_discounted_and_waiting_is_worth_nothing_in_the_last_step() -> None:
    critic = PrefixValues().fit([[("s", ("a",), 0.0), ("s", ("b",), 0.0), ("t", ("a",), 1.0)]], gamma=0.5)
    assert [critic.value("s", ("a",)), critic.value("s", ("b",)), critic.value("s")] == [0.25, 0.5, 0.375]
    joint = PrefixValues()
    joint.values = {("s", ("go", "go")): 1.8, ("s", ("wait", "wait")): 1.35}
    arguments = ("s", ("go", "go"), ("wait", "wait"), 0.9)
    assert joint.joint_advantage(*arguments) == pytest.approx(0.3)
    assert joint.joint_advantage(*arguments, last=True) == 1.8

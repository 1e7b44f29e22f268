"""Both sides are as many messages; and what is shared is read once, counted by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from discussion_toys import Digits

from bench.positions import counted
from bench.settings import Settings
from bench.trees import SHAPES, Grown, rows
from bench.workload import make_talkative
from maporl.agents import LLMAgent, Policy, Sampling, Team
from maporl.rollouts.play import rollout

QUICK = Settings(quick=True, repetitions=2)
NEW = 6


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return make_talkative(QUICK.policy(tmp_path))


def test_both_shapes_are_39_messages_a_question(policy: Policy) -> None:
    grown = Grown.build(policy, 2, 4)
    for branching in SHAPES.values():
        said = grown.messages(branching, 0)
        assert len(said) == 2 * 39 and {len(c.completion_ids) for c in said} == {4}
    tree, flat = (grown.prompts_read(branching) for branching in SHAPES.values())
    assert 0.5 < tree <= 1 and 0.5 < flat <= 1  # siblings' prompt once, what roles' prompts begin with not even that


def test_children_go_on_from_what_was_read_of_their_parents(policy: Policy) -> None:
    """One agent that hears itself: of a prompt only what is new is read, once for all siblings."""
    env = Digits(num_agents=1, num_rounds=3, protocol="round_robin")
    team = Team({("agent_0", 0): LLMAgent(policy, None, sampling=Sampling(max_new_tokens=NEW))})
    assert policy.backbone.exact
    with counted([policy.model]) as seen:
        leaves = rollout(env, team, env.questions("train")[10:13], seed=0, branching=(2, 3, 2))
    lengths = np.array([[len(c.prompt_ids) for c in e.completions] for e in leaves])
    assert (lengths == lengths[0]).all()  # nothing is padded
    first, second, third = (int(n) for n in lengths[0])
    # A message's last token was sampled, and not read.
    new = 3 * first + 3 * 2 * (second - first - NEW + 1) + 3 * 2 * 3 * (third - second - NEW + 1)
    assert seen.computed == new + 3 * (2 + 6 + 12) * (NEW - 1)


def test_the_ratio_is_of_rates_taken_together() -> None:
    *shares, tree, flat, ratio = rows(QUICK)
    assert [row.target for row in shares] == ["<= 1", None] and shares[0].reached
    assert (ratio.target, ratio.unit) == (">= 0.9", "x")
    assert tree.low / flat.high <= ratio.low <= ratio.value <= ratio.high <= tree.high / flat.low

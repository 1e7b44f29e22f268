"""MAGRPO in trees: what is sampled, what a message is worth, and with whom it is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from discussion_toys import Digits
from toy_discussions import completion, overflowing, paid, questions, readable_share
from toy_models import completion_logits

from maporl import RunConfig
from maporl.agents import ScriptedAgent, Team
from maporl.algorithms import MAGRPO
from maporl.algorithms.algorithm import Update
from maporl.algorithms.magrpo import MAREINFORCE, MAREMAX, MARLOO
from maporl.envs import DiscussionEnv
from maporl.envs.protocols import Debate, Protocol
from maporl.rollouts.play import rollout
from maporl.rollouts.trees import branching_by_round, nodes, shares, size_of
from maporl.training.loop import Collector
from maporl.types import Episode, Question, Score, Transcript, Turn

TREE: dict[str, Any] = {"group_size": 2, "rollouts": "tree"}
Branch = tuple[int, ...]
Advantages = dict[tuple[str, Branch], float]
"""Of an agent's message at a branch."""


class Random(DiscussionEnv):
    """Anything is paid by how readable it is: each message for itself."""

    metadata = {"name": "random"}
    default_verifier = staticmethod(lambda question, response: Score(readable_share(response), None))
    default_shaping = "own_score"

    def load(self, split: str) -> Iterable[Question]:
        return questions(60 if split == "train" else 4)


class Product(Random):
    """Paid together, by no sum of parts."""

    default_verifier = None
    default_shaping = "team_score"

    @staticmethod
    def default_team_verifier(question: Question, responses: Mapping[str, str]) -> Score:
        one, two = (readable_share(responses[f"agent_{n}"]) for n in range(2))
        return Score(one * two + 0.1 * one, None)


class Told(Debate):
    """What was said is commented on from outside."""

    def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        return [(Turn("ear", 0, f"heard {t.turns[-1].text}", kind="feedback"),) for t in transcripts]


def collected(algorithm: MAGRPO, env: DiscussionEnv, trees: int = 1) -> list[Episode]:
    """The experience of an iteration, of so many trees."""
    waves = env.rules.waves
    size = size_of(waves, branching_by_round(waves, algorithm.group_size), algorithm.joint)
    return Collector.of(algorithm, env, trees * size.discussions).collect(0)


def learned(algorithm: MAGRPO, episodes: Sequence[Episode], monkeypatch: pytest.MonkeyPatch) -> Advantages:
    """The advantages of the messages that the algorithm trains on, each once, by the branch that ends with them."""
    found: Advantages = {}

    def record(batch: Any, advantages: torch.Tensor, ref: object = None, rows: Any = None) -> Update:
        for row in rows:
            n, place = batch.places[row]
            wave = [place in dict(wave) for wave in episodes[n].waves].index(True)
            at = (batch.turns[row].agent, (episodes[n].group, *episodes[n].branch[: wave + 1]))
            assert at not in found
            found[at] = float(advantages[row])
        return Update({})

    monkeypatch.setattr(algorithm, "improve", record)
    algorithm.update(episodes)
    return found


# -- what is sampled -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "rounds", "joint", "messages", "leaves"),
    [
        (4, 2, "aligned", 20, 16),
        (8, 4, "aligned", 4680, 4096),
        (4, 2, "cross", 68, 256),  # of 16 joint actions of the first round four samples each
        (2, 3, "aligned", 14, 8),
        (4, 1, "cross", 4, 16),
    ],
)
def test_completions_of_each_of_two_agents(group: int, rounds: int, joint: str, messages: int, leaves: int) -> None:
    env = Digits(num_agents=2, num_rounds=rounds)
    waves = env.rules.waves
    branching = branching_by_round(waves, group)
    size = size_of(waves, branching, joint)
    assert (size.messages, size.leaves) == (2 * messages, leaves)
    if leaves < 1000:
        speaker = ScriptedAgent(lambda o, rng: str(rng.integers(2**60)))
        team = Team({(a, r): speaker for a in env.possible_agents for r in range(rounds)})
        episodes = rollout(env, team, env.questions("train")[:3], seed=0, branching=branching, joint=joint, first=2)
        said = {id(c): c.text for e in episodes for c in e.completions}
        assert len(said) == len(set(said.values())) == 3 * size.messages and len(episodes) == 3 * leaves


@pytest.mark.parametrize("protocol", ["round_robin", "pipeline", "mixture_of_agents", Told(2)])
def test_a_round_of_several_waves_branches_where_it_begins(make_team: Callable, protocol: Any) -> None:
    env = Random(num_agents=3, num_rounds=2, protocol=protocol)
    algorithm = MAGRPO(make_team(3, 2, tokens=3), group_size=3, rollouts="tree")
    if isinstance(protocol, str) and protocol == "pipeline":
        env = Random(protocol="pipeline", num_rounds=2)
        algorithm.team = Team(
            {(a, r): algorithm.team.member("agent_0", r) for a in env.possible_agents for r in (0, 1)}
        )
    episodes = collected(algorithm, env, trees=2)
    assert len(episodes) == 2 * 9
    for round, number in enumerate((3, 9)):
        for agent in env.possible_agents:
            said = {id(t.completion) for e in episodes for _, t in e.said if t.seat == (agent, round)}
            assert len(said) in (2 * number, 0 if env.protocol.name == "mixture_of_agents" else 2 * number)


# -- by hand -------------------------------------------------------------------------------------------------------------

EARNED = {  # agent -> of each child of the question its reward and those of its children
    "agent_0": {0: (1, {0: 2, 1: 6}), 1: (4, {0: 0, 1: 4})},
    "agent_1": {0: (0, {0: 1, 1: 1}), 1: (8, {0: 3, 1: 7})},
}


@pytest.fixture
def tree(make_team: Callable) -> tuple[Team, list[Episode]]:
    """Two agents, two rounds, two children of every joint action."""
    team, env = make_team(2, 2, tokens=3), Random(num_agents=2, num_rounds=2)
    episodes = collected(MAGRPO(team, **TREE), env)

    def reward(n: int, turn: Turn) -> float:
        first, second = episodes[n].branch
        own, children = EARNED[turn.agent][first]
        return float(children[second] if turn.round else own)

    return team, paid(episodes, reward)


def of(values: Mapping[str, Sequence[float]]) -> Advantages:
    """Of each agent: of its two first messages, then of the four second ones."""
    at = [(0, 0), (0, 1), (0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    return {(agent, b): v for agent, row in values.items() for b, v in zip(at, row, strict=True)}


def test_a_message_is_compared_with_the_children_of_its_node(tree: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    team, episodes = tree
    # Returns at gamma .5: agent_0 1 + .5 * 4 = 3 and 4 + .5 * 2 = 5; agent_1 0 + .5 * 1 = .5 and 8 + .5 * 5 = 10.5.
    half = learned(MAGRPO(team, gamma_round=0.5, **TREE), episodes, monkeypatch)
    assert half == of({"agent_0": [-1, 1, -2, 2, -2, 2], "agent_1": [-5, 5, 0, 0, -2, 2]})
    # At 1, the default, 5 and 6; 1 and 13. At 0 the rewards.
    for gamma in (1.0, None):
        whole = learned(MAGRPO(team, gamma_round=gamma, **TREE), episodes, monkeypatch)
        assert whole == of({"agent_0": [-0.5, 0.5, -2, 2, -2, 2], "agent_1": [-6, 6, 0, 0, -2, 2]})
    none = learned(MAGRPO(team, gamma_round=0.0, **TREE), episodes, monkeypatch)
    assert none == of({"agent_0": [-1.5, 1.5, -2, 2, -2, 2], "agent_1": [-4, 4, 0, 0, -2, 2]})


@pytest.mark.parametrize(
    ("variant", "zero", "one"),
    [
        (MARLOO, [-2, 2, -4, 4, -4, 4], [-10, 10, 0, 0, -4, 4]),  # R less the other's
        (MAREMAX, [-2, 0, -4, 0, -4, 0], [-10, 0, 0, 0, -4, 0]),
        (MAREINFORCE, [3, 5, 2, 6, 0, 4], [0.5, 10.5, 1, 1, 3, 7]),
    ],
)
def test_variants(
    tree: tuple, monkeypatch: pytest.MonkeyPatch, variant: type[MAGRPO], zero: list[float], one: list[float]
) -> None:
    team, episodes = tree
    found = learned(variant(team, gamma_round=0.5, **TREE), episodes, monkeypatch)
    assert found == of({"agent_0": zero, "agent_1": one})


def test_a_reward_that_contains_the_future_is_meant_over_the_leaves_below(
    tree: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    team, episodes = tree
    # What a first message earns depends on what followed: 1, 3 | 2, 8 in the four leaves: 2 and 5.
    earned = {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 2.0, (1, 1): 8.0}
    future = [
        replace(e, contains_future=True) for e in paid(episodes, lambda n, turn: earned[tuple(episodes[n].branch)])
    ]
    found = learned(MAGRPO(team, **TREE), future, monkeypatch)
    assert found == of(dict.fromkeys(("agent_0", "agent_1"), [-1.5, 1.5, -1, 1, -3, 3]))
    with pytest.raises(ValueError, match=r"gamma_round is 0\.5, but this shaping's rewards contain the future already"):
        MAGRPO(team, gamma_round=0.5, **TREE).update(future)


@pytest.mark.parametrize("microbatch_tokens", [4096, 40])
def test_the_gradient_is_that_of_every_message_once(tree: tuple, microbatch_tokens: int) -> None:
    team, episodes = tree
    policy = team.policies[0]
    by_hand = of({"agent_0": [-1, 1, -2, 2, -2, 2], "agent_1": [-5, 5, 0, 0, -2, 2]})
    algorithm = MAGRPO(
        team, gamma_round=0.5, max_grad_norm=None, learning_rate=1e-9, microbatch_tokens=microbatch_tokens, **TREE
    )
    for agent in team.agents:
        loss = torch.zeros(())
        for branch in [branch for who, branch in by_hand if who == agent]:
            e = next(e for e in episodes if (0, *e.branch)[: len(branch)] == branch)
            said = next(t.completion for _, t in e.said if t.seat == (agent, len(branch) - 2))
            logits = completion_logits(policy, agent, [said.prompt_ids], [said.completion_ids])[0]
            logprobs = logits.log_softmax(-1)[range(len(said.completion_ids)), torch.as_tensor(said.completion_ids)]
            loss = loss - by_hand[agent, branch] * logprobs.sum() / 6  # the mean over its six messages
        parameters, seen = policy.parameters(agent), []
        expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters)])

        def look(*_: object, parameters: list = parameters, seen: list = seen) -> None:
            seen.append(torch.cat([p.grad.flatten() for p in parameters]).clone())

        hook = algorithm.optimizers[agent].register_step_pre_hook(look)
        update = algorithm.update(episodes)
        hook.remove()
        assert expected.abs().max() > 1e-5 and (seen[0] - expected).abs().max() < 1e-4 * expected.abs().max()
    assert update.metrics["train/idle_messages"] == pytest.approx(2 / 12)


# -- against the definition ----------------------------------------------------------------------------------------------


def defined(episodes: Sequence[Episode], width: int, speakers: int, gamma: float) -> Advantages:
    """By recursion over the nodes, where each round is a wave: a joint action is worth its reward and gamma times the mean of its
    children's; a sample the mean over the joint actions that hold it."""
    crossed = len({e.branch[0] for e in episodes}) > width
    size = width**speakers if crossed else width
    found: Advantages = {}

    def worth(agent: str, branch: Branch) -> float:
        """Of an agent in a joint action, given by its path."""
        leaf = next(e for e in episodes if (e.group, *e.branch)[: len(branch)] == branch)
        reward = next(leaf.rewards[i] for i, t in leaf.said if t.seat == (agent, len(branch) - 2))
        below = [worth(agent, (*branch, k)) for k in range(size)] if len(leaf.branch) > len(branch) - 1 else [0.0]
        return reward + gamma * sum(below) / len(below)

    for node in {(e.group, *e.branch[:d]) for e in episodes for d in range(len(e.branch))}:
        for a in range(speakers):
            agent = f"agent_{a}"
            values = np.array([worth(agent, (*node, k)) for k in range(size)])
            if crossed:
                values = values.reshape([width] * speakers).mean(tuple(b for b in range(speakers) if b != a))
            step = (
                width ** (speakers - 1 - a) if crossed else 1
            )  # between the first joint actions that hold each sample
            found |= {(agent, (*node, g * step)): values[g] - values.mean() for g in range(width)}
    return found


@pytest.mark.parametrize("joint", ["aligned", "cross"])
@pytest.mark.parametrize("env", [Random, Product])
def test_advantages_are_the_definitions(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch, joint: str, env: type[DiscussionEnv]
) -> None:
    algorithm = MAGRPO(make_team(2, 2, tokens=3), joint=joint, gamma_round=0.5, **TREE)
    episodes = collected(algorithm, env(num_agents=2, num_rounds=2), trees=3)
    assert len(episodes) == 3 * (4 if joint == "aligned" else 16)
    found = learned(algorithm, episodes, monkeypatch)
    assert found == pytest.approx(defined(episodes, 2, 2, 0.5), abs=1e-6)
    assert len(found) == 3 * 2 * (2 + (4 if joint == "aligned" else 8))


def test_three_agents_cross(make_team: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    algorithm = MAGRPO(make_team(3, 2, tokens=3), joint="cross", **TREE)
    episodes = collected(algorithm, Random(num_agents=3, num_rounds=2))
    found = learned(algorithm, episodes, monkeypatch)
    assert len(episodes) == 64 and len(found) == 3 * (2 + 8 * 2)
    assert found == pytest.approx(defined(episodes, 2, 3, 1.0), abs=1e-6)


@pytest.mark.parametrize("protocol", ["round_robin", Told(2)])
def test_who_speaks_later_in_a_round_is_compared_at_the_rounds_node(
    make_team: Callable, monkeypatch: pytest.MonkeyPatch, protocol: str | Protocol
) -> None:
    algorithm = MAGRPO(make_team(2, 2, tokens=3), gamma_round=0.5, **TREE)
    episodes = collected(algorithm, Random(num_agents=2, num_rounds=2, protocol=protocol))
    found = learned(algorithm, episodes, monkeypatch)
    own = {(e.branch, t.seat): e.rewards[i] for e in episodes for i, t in e.said}
    leaves = [e.branch for e in episodes]  # two children of the first wave, each of which has two in the second round
    for agent in ("agent_0", "agent_1"):
        first = [[own[b, (agent, 0)] + 0.5 * own[b, (agent, 1)] for b in leaves[k : k + 2]] for k in (0, 2)]
        second = [[own[b, (agent, 1)] for b in leaves[k : k + 2]] for k in (0, 2)]
        means = [sum(pair) / 2 for pair in first]
        expected = [[m - sum(means) / 2 for m in means], [v - sum(pair) / 2 for pair in second for v in pair]]
        mine = sorted((len(branch), branch, v) for (who, branch), v in found.items() if who == agent)
        assert [v for *_, v in mine] == pytest.approx([v for row in expected for v in row], abs=1e-6)


# -- uneven trees --------------------------------------------------------------------------------------------------------


def test_a_discussion_that_ends_early_counts_as_one_child(make_team: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    """agent_0 alone: of two first messages one ends it; of the other's children one ends it, the other has two."""
    said = {branch: completion(10 + n) for n, branch in enumerate([(0,), (1,), (1, 0), (1, 1), (1, 0, 0), (1, 0, 1)])}
    earned = {(0,): 7.0, (1,): 0.0, (1, 0): 4.0, (1, 1): 2.0, (1, 0, 0): 0.0, (1, 0, 1): 8.0}
    leaves = []
    for branch in [(0,), (1, 0, 0), (1, 0, 1), (1, 1)]:
        path = [branch[: n + 1] for n in range(len(branch))]
        turns = tuple(Turn("agent_0", n, "x", completion=said[b], heard=n) for n, b in enumerate(path))
        transcript = Transcript(Question("q", "a"), ("agent_0",), 3, turns, ended=len(path) < 3)
        learns = (True,) * len(path)
        leaves.append(Episode(transcript, tuple(earned[b] for b in path), learns, branch=branch))
    assert shares(leaves) == [1, 1 / 4, 1 / 4, 1 / 2]
    assert nodes(leaves) == [[(0,)], *[[(0,), (0, 1), (0, 1, 0)]] * 2, [(0,), (0, 1)]]
    found = learned(MAGRPO(make_team(1, 3), **TREE), leaves, monkeypatch)
    # (1, 0): 4 + mean(0, 8) = 8; (1, 1): 2; (1,): mean(8, 2) = 5, where the mean over its leaves would be 6; (0,): 7.
    expected = {(0,): 1, (1,): -1, (1, 0): 3, (1, 1): -3, (1, 0, 0): -4, (1, 0, 1): 4}
    assert found == {("agent_0", (0, *branch)): value for branch, value in expected.items()}


def test_what_overflow_leaves_alone_at_a_node_moves_nothing(tree: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with its cousins is it compared; its parent is worth what is left."""
    team, episodes = tree
    spoiled = [overflowing(e) if e.branch in {(0, 0), (1, 1)} else e for e in episodes]
    found = learned(MAGRPO(team, gamma_round=0.5, **TREE), spoiled, monkeypatch)
    left = {"agent_0": [-0.0, 0.0], "agent_1": [-4.5, 4.5]}  # 1 + 3 and 4 + 0; 0 + .5 and 8 + 1.5
    assert found == {
        (agent, branch): value
        for agent, (zero, one) in left.items()
        for branch, value in {(0, 0): zero, (0, 1): one, (0, 0, 1): 0, (0, 1, 0): 0}.items()
    }


# -- settings ------------------------------------------------------------------------------------------------------------


def test_a_group_of_whole_discussions_is_the_default(make_team: Callable) -> None:
    algorithm = MAGRPO(make_team(2, 2), group_size=4)
    assert algorithm.rollouts == "linear"
    assert Collector.of(algorithm, Random(num_agents=2, num_rounds=2), 8).branching == (4,)


def test_trees_that_are_refused(make_team: Callable) -> None:
    team = make_team(2, 2)
    with pytest.raises(ValueError, match="rollouts is 'trees': use 'linear' or 'tree'"):
        MAGRPO(team, rollouts="trees")
    env = Random(num_agents=2, num_rounds=2)
    with pytest.raises(ValueError, match=r"is 8; the algorithm needs a multiple of its branching \[4, 4\], 16"):
        Collector.of(MAGRPO(team, group_size=4, rollouts="tree"), env, 8)
    crossed = MAGRPO(team, group_size=4, rollouts="tree", joint="cross")
    assert Collector.of(crossed, env, 64).trees == 1  # as many as each agent's last messages
    with pytest.raises(ValueError, match="a message that answers another cannot be recombined"):
        Collector.of(crossed, Random(num_agents=2, num_rounds=2, protocol="round_robin"), 64)
    deep = Random(num_agents=2, num_rounds=4)
    # (1 + 64 + 64^2 + 64^3) nodes, at each of which two agents say eight messages
    size = r"4,260,880 messages and 16,777,216 discussions of every question, more than 100,000; lower group_size"
    with pytest.raises(ValueError, match=rf"crossed branching \[8, 8, 8, 8\] makes {size}"):
        Collector.of(MAGRPO(make_team(2, 4), rollouts="tree", joint="cross"), deep, 64)


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({}, 64 * 2 * 2),
        ({"rollouts": "tree"}, 4 * 2 * 20),  # of four questions
        ({"rollouts": "tree", "joint": "cross"}, 2 * 68),  # of one
    ],
)
def test_a_plan_knows_how_many_messages_a_tree_has(arguments: dict[str, Any], messages: int) -> None:
    values = {"env": "run_toys:Letters", "algorithm": "magrpo", "num_rounds": 2, "num_agents": 2}
    config = RunConfig().merged(values | {"algorithm_args": {"group_size": 4, **arguments}})
    assert config.trainer.messages_of(config, config.build_env()) == messages

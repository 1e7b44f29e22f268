"""IPPO and MAPPO: what a critic reads, how credit is assigned, and that one agent makes them the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from toy_discussions import Views, paid, play, questions, readable_share
from toy_models import shake, values_of, weights

from maporl.agents.agent import ScriptedAgent
from maporl.agents.team import Team
from maporl.algorithms import IPPO, MAPPO
from maporl.algorithms.batch import TurnBatch
from maporl.algorithms.ppo import PPO
from maporl.envs import DiscussionEnv
from maporl.errors import UserValueError
from maporl.rollouts.play import rollout
from maporl.training.loop import Collector
from maporl.types import Completion, Episode, Observation, Question, Seat, Transcript

RATE = {"learning_rate": 0.01}


class Secrets(DiscussionEnv):
    """Everybody knows something; readable text is paid."""

    default_verifier = staticmethod(lambda question, response: readable_share(response))

    def load(self, split: str) -> Iterable[Question]:
        return questions(60 if split == "train" else 4, [f"agent_{n}" for n in range(3)])


# -- one agent -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("critics", "sharing", "credit"),
    [
        ("per_base", "per_agent", "token"),
        ("per_base", "per_agent", "turn"),
        ("per_agent", "per_agent", "token"),
        ("per_agent_round", "per_agent_round", "token"),
    ],
)
def test_with_one_agent_mappo_is_ippo_bit_for_bit(make_team: Callable, critics: str, sharing: str, credit: str) -> None:
    results = []
    for algorithm in (IPPO, partial(MAPPO, critics=critics)):
        team = make_team(1, 2, seed=3, sharing=sharing)
        learner = algorithm(team, seed=5, credit=credit, num_updates=4, **RATE)
        env = Secrets(num_agents=1, num_rounds=2)
        metrics = [
            learner.update(rollout(env, team, env.questions("train")[:6], seed=(1, k))).metrics for k in range(2)
        ]
        adapters = [weights(team.policies[0], name) for name in team.policies[0].adapters]
        heads = [tensor for critic in learner.critics.values() for tensor in critic.state_dict().values()]
        renamed = [{k.replace("critic_0", "critic_agent_0"): v for k, v in m.items()} for m in metrics]
        results.append(([*adapters, *heads], renamed))
        assert max(float(t.abs().max()) for t in heads[-2:]) > 0  # the critic's head has learned something
    (left, left_metrics), (right, right_metrics) = results
    assert len(left) == len(right) > 10 and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
    assert left_metrics == right_metrics


def test_group_size_says_how_many_discussions_a_question_has_and_nothing_else(make_team: Callable) -> None:
    metrics = []
    for apart in (False, True):
        team = make_team(2, 2, seed=3)
        algorithm = MAPPO(team, group_size=3, seed=5, **RATE)
        episodes = Collector.of(algorithm, Secrets(num_agents=2, num_rounds=2), 6, seed=1).collect(0)
        assert [e.group for e in episodes] == [0, 0, 0, 1, 1, 1]
        assert len({e.transcript.question.id for e in episodes}) == 2
        if apart:
            episodes = [replace(e, group=n) for n, e in enumerate(episodes)]
        metrics.append(algorithm.update(episodes).metrics)
    assert metrics[0] == metrics[1]
    with pytest.raises(UserValueError, match="group_size is 0: at least 1"):
        MAPPO(team, group_size=0)


def test_their_critics(make_team: Callable) -> None:
    assert list(IPPO(make_team(3)).critics) == ["critic_agent_0", "critic_agent_1", "critic_agent_2"]
    assert list(IPPO(make_team(3, sharing="shared")).critics) == ["critic_shared"]
    assert list(MAPPO(make_team(3)).critics) == ["critic_0"]
    frozen = make_team(3, frozen=["agent_1", "agent_2"])
    assert list(IPPO(frozen).critics) == ["critic_agent_0"] and frozen.policies[0].adapters[-1] == "critic_agent_0"


@pytest.mark.parametrize(
    ("critics", "expected"),
    [
        ("per_base", ["critic_0"]),
        ("per_agent", ["critic_agent_0", "critic_agent_1"]),
        ("per_agent_round", [f"critic_agent_{n}_round_{r}" for n in (0, 1) for r in (1, 2)]),
    ],
)
@pytest.mark.parametrize("sharing", ["shared", "per_agent_round"])
def test_which_central_critic_judges_which_turn(
    make_team: Callable, critics: str, expected: list[str], sharing: str
) -> None:
    team = make_team(2, 2, sharing=sharing)
    algorithm = MAPPO(team, critics=critics, **RATE)
    assert list(algorithm.critics) == expected
    env = Secrets(num_agents=2, num_rounds=2)
    episodes = rollout(env, team, env.questions("train")[:4], seed=0)
    named = {"per_base": "critic_0", "per_agent": "critic_{}", "per_agent_round": "critic_{}_round_{}"}[critics]
    for turn in (turn for e in episodes for _, turn in e.said):
        assert algorithm.critic_of(turn) == named.format(turn.agent, turn.round + 1)
    before = {name: weights(team.policies[0], name) for name in expected}
    algorithm.update(episodes)  # at first the heads are zero, which moves nothing below
    metrics = algorithm.update(episodes).metrics
    for name in expected:
        assert not torch.equal(weights(team.policies[0], name), before[name]), name
        assert metrics[f"train/grad_norm/{name}"] > 0


@pytest.mark.parametrize("critics", ["per_agent", "per_agent_round"])
def test_separate_central_critics_read_the_same_joint_state(make_team: Callable, critics: str) -> None:
    """Before anything is learned all critics say 0, so that the policy's first update is the same whoever judges."""
    found = []
    for choice in ("per_base", critics):
        team = make_team(2, 2, seed=3)
        algorithm = MAPPO(team, critics=choice, seed=5, **RATE)
        env = Secrets(num_agents=2, num_rounds=2)
        episodes = rollout(env, team, env.questions("train")[:4], seed=0)
        found.append(algorithm.contexts(episodes, [(n, i) for n, e in enumerate(episodes) for i, _ in e.said]))
        algorithm.update(episodes)
        found.append([weights(team.policies[0], name) for name in team.learners])  # type: ignore[arg-type]
    assert found[0].keys() == found[2].keys() and all(np.array_equal(found[0][p], found[2][p]) for p in found[0])
    assert all(torch.equal(a, b) for a, b in zip(found[1], found[3], strict=True))


def test_frozen_seats_have_no_central_critic(make_team: Callable) -> None:
    team = make_team(2, 2, frozen=["agent_1", "agent_0/round_1"])
    assert list(MAPPO(team, critics="per_agent_round").critics) == ["critic_agent_0_round_2"]


@pytest.mark.parametrize("critics", ["per_agent", "per_agent_round"])
def test_the_state_of_separate_critics_comes_back(make_team: Callable, critics: str) -> None:
    env = Secrets(num_agents=2, num_rounds=2)
    teams = [make_team(2, 2, seed=3) for _ in range(2)]
    first, second = (MAPPO(team, critics=critics, seed=5, **RATE) for team in teams)

    def step(team: Team, algorithm: MAPPO, k: int) -> dict[str, float]:
        return algorithm.update(rollout(env, team, env.questions("train")[:4], seed=(1, k))).metrics

    step(teams[0], first, 0)
    second.load_state_dict(first.state_dict())
    assert step(teams[0], first, 1) == step(teams[1], second, 1)
    for name, critic in first.critics.items():
        there = second.critics[name].state_dict()
        assert all(torch.equal(value, there[key]) for key, value in critic.state_dict().items())
    with pytest.raises(
        ValueError, match="the saved state is of .*critic_agent_1.*; use the run's own team and algorithm"
    ):
        MAPPO(make_team(2, 2), **RATE).load_state_dict(first.state_dict())


def test_an_unknown_choice_of_critics(make_team: Callable) -> None:
    with pytest.raises(ValueError, match=r"critics is 'per_seat': use one of \['per_base', 'per_agent', "):
        MAPPO(make_team(1), critics="per_seat")


def test_an_agent_on_two_bases_cannot_have_one_critic(make_team: Callable) -> None:
    early, late = make_team(1, 2, sharing={"agent_0": "early"}), make_team(1, 2, sharing={"agent_0": "late"})
    team = Team({("agent_0", 0): early.member("agent_0", 0), ("agent_0", 1): late.member("agent_0", 1)})
    with pytest.raises(
        ValueError, match="'agent_0' speaks with several base models.*use 'per_base' or 'per_agent_round'"
    ):
        MAPPO(team, critics="per_agent")


# -- what a critic reads ---------------------------------------------------------------------------------------------------


class Reading:
    """An algorithm with a critic that has opinions, and the discussion of scripted texts."""

    def __init__(self, make_team: Callable, algorithm: type[PPO], protocol: str) -> None:
        self.team = make_team(3, 2)
        self.algorithm = algorithm(self.team)
        for name, critic in self.algorithm.critics.items():
            shake(self.team.policies[0], name)
            torch.nn.init.normal_(critic.head.weight, generator=torch.Generator().manual_seed(0))
        self.env = Secrets(num_agents=3, num_rounds=2, protocol=protocol)

    def first_value(
        self, agent: str, round: int, said: dict[tuple[str, int], str], secrets: dict[str, str]
    ) -> torch.Tensor:
        """V before the first token of a message, in a discussion of these texts and private views."""
        script = ScriptedAgent(lambda o, rng: said.get((o["agent"], o["round"]), "nothing new"))
        speakers = Team({seat: script for seat in self.team.seats})
        question = Question("What?", "x", private={f"agent_{n}": f"secret {n}" for n in range(3)} | secrets)
        [episode] = rollout(self.env, speakers, [question], seed=0)
        [(index, turn)] = [(i, turn) for i, turn in episode.said if turn.seat == (agent, round)]
        # What the language model in that seat would have been shown, and any first token.
        prompt = self.team.member(agent, round).encode([episode.observation(index)])[0]  # type: ignore[attr-defined]
        turn = replace(turn, completion=Completion(turn.text, prompt, np.array([40, 41])))
        turns = tuple(turn if i == index else other for i, other in enumerate(episode.transcript.turns))
        judged = replace(episode, transcript=replace(episode.transcript, turns=turns))
        critic = self.algorithm.critics[self.algorithm.critic_of(turn)]
        [context] = self.algorithm.contexts([judged], [(0, index)]).values()
        with torch.no_grad():
            return values_of(critic, [context], [np.array([40, 41])])[0, 0]


@pytest.mark.parametrize("algorithm", [IPPO, MAPPO])
@pytest.mark.parametrize("protocol", ["debate", "round_robin"])
def test_a_critic_never_sees_what_it_judges(make_team: Callable, algorithm: type[PPO], protocol: str) -> None:
    reading = Reading(make_team, algorithm, protocol)
    order = [(agent, r) for r in (0, 1) for agent in ("agent_0", "agent_1", "agent_2")]
    for judged in order:
        before = reading.first_value(*judged, {}, {})
        for changed in order:
            after = reading.first_value(*judged, {changed: "12345"}, {})
            simultaneous = protocol == "debate" and changed[1] == judged[1]
            settled = order.index(changed) < order.index(judged) and not simultaneous
            assert torch.equal(after, before) != settled, (judged, changed)


@pytest.mark.parametrize(("algorithm", "reads_others"), [(IPPO, False), (MAPPO, True)])
def test_only_a_central_critic_knows_the_others_secrets(
    make_team: Callable, algorithm: type[PPO], reads_others: bool
) -> None:
    reading = Reading(make_team, algorithm, "debate")
    before = reading.first_value("agent_0", 0, {}, {})
    assert not torch.equal(reading.first_value("agent_0", 0, {}, {"agent_0": "changed"}), before)
    for other in ("agent_1", "agent_2"):
        assert torch.equal(reading.first_value("agent_0", 0, {}, {other: "changed"}), before) != reads_others


@pytest.mark.parametrize("algorithm", [IPPO, MAPPO])
def test_a_value_depends_on_the_tokens_before_it(make_team: Callable, algorithm: type[PPO]) -> None:
    reading = Reading(make_team, algorithm, "debate")
    learner, env = reading.algorithm, reading.env
    episodes = rollout(env, reading.team, env.questions("train")[:2], seed=0)
    batch = TurnBatch.collect(episodes, reading.team)
    read, judges = learner.contexts(episodes, batch.places), np.array([learner.critic_of(t) for t in batch.turns])
    contexts = [read[place] for place in batch.places]
    values, mask = learner.values(batch, contexts, judges)
    assert torch.equal(mask, batch.completion_mask) and not values[~mask].any() and values[mask].unique().numel() > 20
    learner.credit = "turn"
    first, mask = learner.values(batch, contexts, judges)
    assert first.shape == (len(batch), 1) and mask.all()
    assert torch.allclose(first[:, 0], values[:, 0], atol=1e-5)


# -- credit ----------------------------------------------------------------------------------------------------------------


def batch_of(team: Team, **changes: object) -> TurnBatch:
    episodes = play(team, questions(2), rounds=2)
    return replace(TurnBatch.collect(episodes, team), **changes)  # type: ignore[arg-type]


def test_the_reward_is_on_the_last_token_and_the_next_round_is_bootstrapped(make_team: Callable) -> None:
    team = make_team(1, 2)
    batch = batch_of(team)
    values = torch.rand(batch.old_logprobs.shape) * batch.completion_mask
    algorithm = IPPO(team, gamma_round=0.5, gae_lambda=0.0)
    advantages = algorithm.advantages(batch, values, None)
    for first, second in batch.chains:
        last = [int(batch.completion_mask[n].sum()) - 1 for n in (first, second)]
        assert batch.rounds[first] == 0 and batch.rounds[second] == 1
        reward, value = batch.rewards[first], values[first, last[0]]
        assert torch.isclose(advantages[first, last[0]], reward + 0.5 * values[second, 0] - value)
        # The last message is terminal, whether it ended or was cut.
        assert torch.isclose(advantages[second, last[1]], batch.rewards[second] - values[second, last[1]])
        inside = values[first, 1 : last[0] + 1] - values[first, : last[0]]
        assert torch.allclose(advantages[first, : last[0]], inside, atol=1e-6)


@pytest.mark.parametrize("credit", ["token", "turn"])
def test_rewards_that_contain_the_future_are_not_bootstrapped_over(make_team: Callable, credit: str) -> None:
    team = make_team(1, 2)
    algorithm = IPPO(team, credit=credit, gae_lambda=1.0)
    for future in (False, True):
        batch = batch_of(team, contains_future=future)
        mask = batch.completion_mask if credit == "token" else batch.completion_mask[:, :1]
        values = torch.zeros(mask.shape)
        advantages = algorithm.advantages(batch, values, None)[:, 0]
        for first, second in batch.chains:
            later = 0.0 if future else batch.rewards[second]
            assert torch.isclose(advantages[first], batch.rewards[first] + later)
            assert torch.isclose(advantages[second], batch.rewards[second])


@pytest.mark.parametrize("algorithm", [IPPO, MAPPO])
def test_a_discount_on_top_of_the_future_raises(make_team: Callable, algorithm: type[PPO]) -> None:
    team = make_team(2, 2)
    episodes = play(team, questions(2), rounds=2, contains_future=True)
    with pytest.raises(ValueError, match="gamma_round is 1.0, but this shaping's rewards contain the future already"):
        algorithm(team, gamma_round=1.0).update(episodes)
    algorithm(make_team(2, 2)).update(episodes)


def test_a_penalty_in_the_reward_by_hand(make_team: Callable) -> None:
    team = make_team(1, 2)
    batch = batch_of(team)
    reference = (batch.old_logprobs - 0.3) * batch.completion_mask  # every token .3 above the reference
    zero = torch.zeros_like(reference)
    tokens = IPPO(team, kl_coef=0.5, gamma_round=0.0, gae_lambda=1.0)
    free, paid = (tokens.advantages(batch, zero, r) for r in (None, reference))
    lengths = batch.completion_mask.sum(1)
    for n, size in enumerate(lengths.tolist()):
        expected = -0.5 * 0.3 * torch.arange(size, 0, -1)  # the penalties still to come
        assert torch.allclose((paid - free)[n, :size], expected.float(), atol=1e-5)
    turns = IPPO(make_team(1, 2), credit="turn", kl_coef=0.5, gamma_round=0.0)
    free, paid = (turns.advantages(batch, zero[:, :1], r) for r in (None, reference))
    assert torch.allclose((paid - free)[:, 0], -0.5 * 0.3 * lengths, atol=1e-5)
    in_loss = IPPO(make_team(1, 2), kl_coef=0.5, kl_in="loss")
    assert torch.equal(in_loss.advantages(batch, zero, reference), in_loss.advantages(batch, zero, None))


def test_the_kl_metric_is_the_distance_to_the_reference(make_team: Callable) -> None:
    team = make_team(2, 1)
    algorithm = IPPO(team, **RATE)
    assert algorithm.update(play(team, questions(4), rounds=1)).metrics["train/kl_to_reference"] == pytest.approx(
        0, abs=1e-4
    )
    shake(team.policies[0], "agent_0")
    assert algorithm.update(play(team, questions(4), rounds=1)).metrics["train/kl_to_reference"] > 0.1


# -- critics learn -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm, credit", [(IPPO, "token"), (MAPPO, "turn")])
def test_critics_learn_what_to_expect(make_team: Callable, algorithm: type[PPO], credit: str) -> None:
    # The reward depends on the question alone.
    asked = [Question(text, str(n % 2), id=str(n)) for n in range(6) for text in [("7777777", "What is it?")[n % 2]]]
    team = make_team(2, 1)
    settings = dict(critic_learning_rate=0.02, kl_coef=0.0, num_epochs=4, vf_clip_range=None, lr_schedule="constant")
    learner = algorithm(team, credit=credit, learning_rate=1e-6, **settings)
    metrics = []
    for k in range(8):
        episodes = play(team, asked, rounds=1, seed=k)
        answers = [float(e.transcript.question.answer) for e in episodes]
        metrics.append(learner.update(paid(episodes, lambda n, turn, answers=answers: answers[n])).metrics)
    assert metrics[-1]["train/value_loss"] < 0.3 * metrics[0]["train/value_loss"]
    assert metrics[-1]["train/explained_variance"] > 0.6 > metrics[0]["train/explained_variance"]


def test_a_policy_without_critic_rate_shares_the_learning_rate(make_team: Callable) -> None:
    learner = MAPPO(make_team(2), learning_rate=0.003)
    assert {o.param_groups[0]["lr"] for o in learner.optimizers.values()} == {0.003}


# -- what does not fit -------------------------------------------------------------------------------------------------------


def crowded(episodes: list[Episode], secret: str) -> list[Episode]:
    """The first discussion's joint states get a long secret, as if somebody else knew a lot."""

    class Crowded(Views):
        def state(self, transcript: Transcript, seat: Seat) -> Observation:
            return {**super().state(transcript, seat), "private": secret}

    return [replace(episodes[0], views=Crowded()), *episodes[1:]]


def test_a_joint_state_beyond_the_window_drops_the_discussion(make_team: Callable) -> None:
    for algorithm, dropped in ((MAPPO, 1), (IPPO, 0)):  # gpt2 has no position beyond its window at all
        team = make_team(2, 1, architecture="gpt2")
        episodes = crowded(play(team, questions(3), rounds=1), "1" * 1100)
        assert algorithm(team, **RATE).update(episodes).metrics["train/dropped_episodes"] == dropped


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"credit": "message"}, "credit is 'message': use 'token' or 'turn'"),
        ({"normalise_advantages": "agent"}, "normalise_advantages is 'agent'"),
        ({"gae_lambda": 1.5}, "gae_lambda is 1.5"),
        ({"gamma_token": -0.1}, "gamma_token is -0.1"),
        ({"gamma_round": 2.0}, "gamma_round is 2.0"),
        ({"vf_clip_range": 0.0}, "vf_clip_range is 0.0"),
        ({"num_epochs": 0}, "num_epochs is 0"),
    ],
)
def test_bad_settings(make_team: Callable, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        IPPO(make_team(1), **settings)
    assert "\n" not in str(error.value)

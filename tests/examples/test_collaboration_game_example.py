"""IPPO and MAPPO in the collaboration game: the same games as the environment's, the exact policy gradient, and what is learned."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples.collaboration_game.__main__ import main
from examples.collaboration_game.experiment import Experiment, Result, boundary, exact, run
from examples.collaboration_game.games import play_games
from examples.collaboration_game.report import basin_table, learning_table
from examples.collaboration_game.training import CO_TRAIN, TRAIN_ONE, Point, Training, make_algorithm, make_team, train
from maporl.agents import Agent, ScriptedAgent, Team
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.algorithms import IPPO, MAPPO
from maporl.algorithms.ppo import PPO
from maporl.envs import CollaborationGame
from maporl.envs.tasks.collaboration_game import GameRules
from maporl.envs.tasks.collaboration_oracles import policy_gradient
from maporl.types import Completion, Observation

SHORT = GameRules(num_rounds=3, threshold=3)
LONG = GameRules()


def small_policy(rules: GameRules, p0: float) -> SmallPolicy:
    return SmallPolicy((rules.num_rounds, rules.max_count + 1), (p0, 1 - p0))


def seated(*members: Agent) -> Team:
    return Team({(f"agent_{seat}", 0): member for seat, member in enumerate(members)})


def training(**changes: Any) -> Training:
    return replace(Training(LONG, "ippo", CO_TRAIN, 0.8, 0, num_iterations=3, num_games=8), **changes)


class TestGames:
    @pytest.mark.parametrize("effect", ["next_round", "same_round"])
    @pytest.mark.parametrize("num_agents", [2, 3])
    def test_they_are_the_environments(self, num_agents: int, effect: str) -> None:
        rules = GameRules(num_agents, 5, 6, effect=effect)
        agent = SmallAgent(small_policy(rules, 0.6), None)
        for episode in play_games(rules, seated(*[agent] * num_agents), 20, seed=(3,)):
            env = CollaborationGame(num_agents=num_agents, num_rounds=5, threshold=6, effect=effect).parallel()
            env.reset()
            turns = episode.transcript.turns
            assert not episode.contains_future and len(episode.said) == len(turns) == 5 * num_agents
            for r in range(5):
                places = range(r * num_agents, (r + 1) * num_agents)
                assert {episode.observation(i)["question"] for i in places} == {" ".join(map(str, env.state()))}
                assert all(turns[i].round == r and episode.state(i) == episode.observation(i) for i in places)
                _, rewards, *_ = env.step({turns[i].agent: int(turns[i].text) for i in places})
                assert {turns[i].agent: episode.rewards[i] for i in places} == rewards
            assert [t.text for t in turns] == [c.text for c in episode.completions]
            assert episode.transcript.is_complete

    def test_a_game_does_not_depend_on_the_others(self) -> None:
        team = make_team(training())

        def said(number: int) -> list[list[str]]:
            return [[t.text for t in e.transcript.turns] for e in play_games(LONG, team, number, seed=(1, 2))]

        assert said(6)[:4] == said(4) and said(6)[4] != said(6)[5]

    def test_bad_teams(self) -> None:
        agent = SmallAgent(small_policy(LONG, 0.5), None)
        with pytest.raises(ValueError, match="but 2 agents play"):
            play_games(LONG, seated(agent), 1, seed=(0,))
        talker = ScriptedAgent(lambda o, rng: "both")
        with pytest.raises(ValueError, match="'both' is no action"):
            play_games(LONG, seated(agent, talker), 1, seed=(0,))


class Forced(SmallAgent):
    """Plays given actions, round after round, as if it had sampled them."""

    def play(self, actions: np.ndarray) -> None:
        """[T, games]."""
        self.left = list(actions)

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        prompts, actions = self.encode(observations), self.left.pop(0)
        half = np.array([math.log(0.5)], np.float32)
        return [Completion(str(a), p, np.array([a]), half) for p, a in zip(prompts, actions, strict=True)]


def bare(algorithm: type[PPO], team: Team) -> PPO:
    """Its first gradient is that of the mean over messages of log p times the return that follows: values are zero at first."""
    plain: dict[str, Any] = {"num_epochs": 1, "num_minibatches": 1, "kl_coef": 0.0, "max_grad_norm": None}
    return algorithm(team, gae_lambda=1.0, normalise_advantages=None, **plain)


def gradients(algorithm: PPO, rules: GameRules) -> dict[str, np.ndarray]:
    """Filled by updates: each learner's gradient of its expected return by the logits of collaborating, [T, K+1]."""
    found: dict[str, np.ndarray] = {}
    for name, learner in algorithm.team.learners.items():
        [weights] = learner.policy.parameters(name)

        def keep(*_: Any, name: str = name, weights: Any = weights) -> None:
            of_mean = -weights.grad[0].numpy().reshape(rules.num_rounds, -1)
            found[name] = of_mean * rules.num_rounds  # a game is as many messages

        algorithm.optimizers[name].register_step_pre_hook(keep)
    return found


class TestPolicyGradient:
    @pytest.mark.parametrize("algorithm", [IPPO, MAPPO])
    def test_it_is_exact_when_every_game_is_played_once(self, algorithm: type[PPO]) -> None:
        # From one half each of the 64 games of three rounds is as likely, so that their mean is the expectation.
        games = np.array(list(itertools.product((0, 1), repeat=6))).T.reshape(3, 2, 64)
        policy = small_policy(SHORT, 0.5)
        one, two = Forced(policy, "agent_0"), Forced(policy, "agent_1")
        one.play(games[:, 0])
        two.play(games[:, 1])
        team = seated(one, two)
        learning = bare(algorithm, team)
        found = gradients(learning, SHORT)
        learning.update(play_games(SHORT, team, 64, seed=(0,)))
        expected = policy_gradient(SHORT, 0.5)
        assert np.abs(expected).max() > 0.01
        assert found["agent_0"] == pytest.approx(expected, abs=1e-6)
        assert found["agent_1"] == pytest.approx(expected, abs=1e-6)

    def test_it_is_the_exact_one_but_for_noise_beside_a_frozen_partner(self) -> None:
        rules = GameRules(num_rounds=3, threshold=3, r_syn=3.0)
        batches = []
        for batch in range(16):
            team = seated(SmallAgent(small_policy(rules, 0.8), "agent_0"), SmallAgent(small_policy(rules, 0.4), None))
            learning = bare(IPPO, team)
            found = gradients(learning, rules)
            learning.update(play_games(rules, team, 400, seed=(batch,)))
            batches.append(found["agent_0"])
        error = np.std(batches, axis=0, ddof=1) / 4
        expected = policy_gradient(rules, 0.8, 0.4)
        assert (np.abs(np.mean(batches, axis=0) - expected) <= 4 * error + 1e-6).all()
        assert np.abs(expected).max() > 8 * error.max()


class TestLearning:
    def test_co_training_from_above_and_below_the_boundary(self) -> None:
        start = training(learner="ippo_whitened", num_iterations=25, num_games=32)
        high, low = train(start), train(replace(start, start=0.3))
        assert high[0].early_collaboration == pytest.approx(0.8) and high[-1].early_collaboration > 0.95
        assert low[0].early_collaboration == pytest.approx(0.3) and low[-1].early_collaboration < 0.05
        assert [p.iteration for p in high] == list(range(26))
        assert high[-1].synergy > 0.95 and low[-1].synergy < 0.01 and low[-1].value == pytest.approx(5, abs=0.1)

    @pytest.mark.slow
    def test_one_agent_learns_to_collaborate_and_unlearns_it(self) -> None:
        points = train(training(learner="ippo_whitened", mode=TRAIN_ONE, num_iterations=300, num_games=64))
        assert max(p.early_collaboration for p in points[:100]) > 0.95 and points[-1].early_collaboration < 0.1
        assert points[-1].value > 4.9  # a best response to .8 earns 5

    @pytest.mark.parametrize("learner", ["ippo", "ippo_whitened", "ippo_network"])
    def test_it_is_a_function_of_its_settings(self, learner: str) -> None:
        assert train(training(learner=learner)) == train(training(learner=learner))
        assert train(training(learner=learner)) != train(training(learner=learner, seed=1))

    def test_with_one_learner_ippo_and_mappo_are_the_same(self) -> None:
        assert train(training(mode=TRAIN_ONE)) == train(training(mode=TRAIN_ONE, learner="mappo"))

    def test_with_one_policy_for_both_agents_ippo_and_mappo_are_the_same(self) -> None:
        tables = []
        for algorithm in (IPPO, MAPPO):
            policy = small_policy(LONG, 0.7)
            agent = SmallAgent(policy, "shared")
            team = seated(agent, agent)
            learning = algorithm(team, learning_rate=0.05, kl_coef=0.0)
            for iteration in range(3):
                learning.update(play_games(LONG, team, 8, seed=(iteration,)))
            tables.append(policy.table("shared"))
        assert (tables[0] == tables[1]).all() and np.abs(tables[0] - [0.7, 0.3]).max() > 0.05

    def test_with_two_learners_they_differ_by_the_shared_critic_alone(self) -> None:
        # While critics are zero it does not matter whose they are: the first update is the same, and later ones are not.
        one, two = train(training()), train(training(learner="mappo"))
        assert one[:2] == two[:2] and one[-1] != two[-1]

    @pytest.mark.parametrize("adapter", [None, "partner"])
    def test_a_frozen_partner_does_not_move(self, adapter: str | None) -> None:
        policy = small_policy(LONG, 0.6)
        partner = SmallAgent(policy, adapter, trainable=False)
        team = seated(SmallAgent(policy, "agent_0"), partner)
        assert list(team.learners) == ["agent_0"]
        learning = make_algorithm(training(mode=TRAIN_ONE), team)
        before = policy.table(adapter)
        learning.update(play_games(LONG, team, 8, seed=(0,)))
        assert (policy.table(adapter) == before).all() and (policy.table("agent_0") != before).any()

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"rules": GameRules(num_agents=3)}, "num_agents is 3"),
            ({"learner": "dqn"}, "learner 'dqn' is unknown; use one of: ippo, mappo"),
            ({"mode": "alone"}, "mode 'alone' is unknown; use one of: co-train, train-one"),
            ({"start": 1.0}, "start 1.0 must be strictly between 0 and 1"),
            ({"num_iterations": 0}, "num_iterations is 0"),
            ({"num_games": 0}, "num_games is 0"),
        ],
    )
    def test_bad_trainings(self, changes: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            training(**changes)


class TestExperiment:
    def test_what_is_compared(self) -> None:
        experiment = Experiment(starts=(0.3, 0.8), basin=(0.6,), seeds=(0, 1), learners=("ippo_network",))
        kinds = [(t.learner, t.mode, t.start, t.seed) for t in experiment.learning]
        assert len(kinds) == len(set(kinds)) == 3 * 2 * 2
        assert {(learner, mode) for learner, mode, *_ in kinds} == {
            ("ippo", CO_TRAIN),
            ("mappo", CO_TRAIN),
            ("ippo", TRAIN_ONE),
        }
        assert [(t.learner, t.start, t.seed) for t in experiment.of_basin] == [
            ("ippo_network", 0.6, seed) for seed in (0, 1)
        ]

    @pytest.mark.parametrize("name", ["starts", "basin", "seeds", "learners", "curves"])
    def test_nothing_to_do(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"{name} is empty"):
            Experiment(**{name: ()})

    def test_the_oracles_beside_it(self) -> None:
        found = exact(LONG, 0.8, 1500)  # the figures of docs/collaboration_game.md
        assert found.best_response.early_collaboration == 0 and found.best_response.value == pytest.approx(5)
        assert found.together[0] == (0, pytest.approx(0.8)) and found.together[-1] == (
            1500,
            pytest.approx(0.998, abs=1e-3),
        )
        assert found.alone[-1] == (1500, pytest.approx(0.988, abs=1e-3))
        assert found.alone_end.value == pytest.approx(4.42, abs=0.005)

    def test_boundary(self) -> None:
        assert boundary(LONG, resolution=0.04) == pytest.approx(0.687, abs=0.02)
        assert boundary(GameRules(num_rounds=2, threshold=4)) is None  # synergy would come when all is over

    @pytest.mark.slow
    def test_processes_change_nothing(self) -> None:
        trainings = [training(seed=seed) for seed in range(3)]
        assert run(trainings, num_workers=2) == run(trainings)


class TestReport:
    def results(self) -> list[Result]:
        ends = {0: [0.5, 0.9, 0.7], 1: [0.5, 0.4, 0.1]}
        return [
            Result(training(seed=seed, start=0.5), [Point(n, y, y / 2, y + 4) for n, y in enumerate(course)])
            for seed, course in ends.items()
        ]

    def test_every_seed_and_the_height_on_the_way(self) -> None:
        head, measured, together, alone, best = learning_table(self.results(), [exact(LONG, 0.5, 10)])
        assert len({len(row) for row in (head, measured, together, alone, best)}) == 1
        assert measured == ["0.5", "co-train, IPPO, table", "0.700, 0.100", "0.700", "0.200", "4.400"]
        assert best == ["0.5", "best response to a partner at p0", "0.000", "", "0.000", "5.000"]
        assert together[3] == "0.500"  # where it began

    def test_basin(self) -> None:
        assert basin_table(self.results()) == [["p0", "IPPO, table"], ["0.5", "0.700, 0.100"]]

    def test_the_command_writes_everything(self, tmp_path: Path) -> None:
        words = "--p0 .8 --basin .6 .8 --seeds 0 1 --learners ippo ippo_network --num_iterations 2 --basin_iterations 1"
        game = "--num_games 4 --exact_steps 20 --num_rounds 4 --threshold 5"
        assert main([str(tmp_path / "out"), *words.split(), *game.split()]) == 0
        names = ["basin.png", "basin.svg", "curves.csv", "learning.png", "learning.svg", "results.md", "trainings.csv"]
        assert sorted(f.name for f in (tmp_path / "out").iterdir()) == names
        page = (tmp_path / "out" / "results.md").read_text("utf-8")
        assert words in page and "num_rounds 4, threshold 5" in page and "| 0.8 | train-one, IPPO, table |" in page
        trainings = (tmp_path / "out" / "trainings.csv").read_text("utf-8").splitlines()
        assert len(trainings) == 1 + 3 * 2 + 2 * 2 * 2
        assert trainings[1].startswith("learning,ippo,co-train,0.8,0,2,0.")
        curves = (tmp_path / "out" / "curves.csv").read_text("utf-8").splitlines()
        assert len(curves) == 1 + 6 * 3 and curves[1].startswith("ippo,co-train,0.8,0,0,0.80000,")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--p0 1.5", "start 1.5 must be strictly between 0 and 1"),
            ("--r_col .6", "r_col 0.6 must be less than r_ind 0.5"),
            ("--num_workers 0", "num_workers is 0"),
            ("--exact_steps 0", "exact_steps is 0"),
            ("--learners sarsa", "invalid choice: 'sarsa'"),
        ],
    )
    def test_bad_words(self, words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            main([str(tmp_path), *words.split()])
        assert said in capsys.readouterr().err

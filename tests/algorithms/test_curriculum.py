"""The last round first: which round an iteration learns from, what moves, and what earlier messages still earn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from run_toys import SMALL
from toy_discussions import questions, readable_share
from toy_models import weights

from maporl import registry
from maporl.agents import ScriptedAgent
from maporl.agents.team import Team
from maporl.algorithms import MAPPO, LastRoundFirst
from maporl.algorithms.batch import TurnBatch
from maporl.envs import DiscussionEnv
from maporl.rollouts.play import rollout
from maporl.training.callbacks import Callback
from maporl.training.loop import Collector, learn, learning_from
from maporl.training.run import RunFolder, train
from maporl.types import Question, Score

LETTERS = "run_toys:Letters"


class Readable(DiscussionEnv):
    """Readable text is paid."""

    default_verifier = staticmethod(lambda question, response: readable_share(response))

    def load(self, split: str) -> Iterable[Question]:
        return questions(60 if split == "train" else 4, [f"agent_{n}" for n in range(2)])


def test_blocks_go_from_the_last_round_to_the_first_and_begin_again() -> None:
    curriculum = LastRoundFirst(rounds=(0, 1, 2), updates=2)
    assert [curriculum(k) for k in range(14)] == [2, 2, 1, 1, 0, 0, 2, 2, 1, 1, 0, 0, 2, 2]


def test_the_release_learns_forty_updates_from_a_round(make_team: Callable) -> None:
    curriculum = LastRoundFirst.of(make_team(2, 2), 2)
    assert [curriculum(k) for k in (0, 39, 40, 79, 80)] == [1, 1, 0, 0, 1]


def test_rounds_that_are_frozen_altogether_are_left_out(make_team: Callable) -> None:
    frozen = ["round_3", "agent_0/round_1"]  # somebody still learns from round 1
    assert LastRoundFirst.of(make_team(2, 3, frozen=frozen), 3, 1).rounds == (0, 1)
    scripted = Team({("agent_0", r): ScriptedAgent(lambda o, rng: "7") for r in range(2)})
    with pytest.raises(ValueError, match=r"rounds \[\] alone are trained: unfreeze others"):
        LastRoundFirst.of(scripted, 2)
    with pytest.raises(ValueError, match=r"rounds \[2\] alone are trained"):
        LastRoundFirst.of(make_team(2, 2, frozen=["round_1"]), 2)


def test_nothing_to_order(make_team: Callable) -> None:
    with pytest.raises(ValueError, match="num_rounds is 1: leave the curriculum out"):
        LastRoundFirst.of(make_team(2, 1), 1)
    with pytest.raises(ValueError, match="curriculum_updates is 0; it must be at least 1"):
        LastRoundFirst.of(make_team(2, 2), 2, 0)


@pytest.mark.parametrize("algorithm", ["mappo", "magrpo"])
def test_exactly_the_adapters_of_the_round_move(make_team: Callable, algorithm: str) -> None:
    team = make_team(2, 3, sharing="per_agent_round")
    [policy] = team.policies
    loaded = registry.load("algorithm", algorithm)
    group = {"group_size": 2} if algorithm == "magrpo" else {}
    learner = loaded(team, learning_rate=0.01, **group)
    env = Readable(num_agents=2, num_rounds=3)
    collector = Collector.of(learner, env, 8, curriculum=LastRoundFirst((0, 1, 2), updates=1))
    steps = learn(collector, learner, num_iterations=4)
    before = {name: weights(policy, name) for name in team.learners}
    for trained in (3, 2, 1, 3):
        metrics = next(steps)
        after = {name: weights(policy, name) for name in team.learners}
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert moved == {f"agent_{n}_round_{trained}" for n in range(2)}
        assert metrics["train/first_ratio_error"] < 1e-4 and "train/skipped_updates" not in metrics
        before = after
    # Every adapter's own learning-rate schedule counts the updates that moved it.
    counts = {name: learner.schedulers[name].last_epoch for name in team.learners}
    assert counts == {f"agent_{n}_round_{r}": 2 if r == 3 else 1 for n in range(2) for r in (1, 2, 3)}


def test_what_is_not_learned_from_is_still_earned(make_team: Callable) -> None:
    """A message's return holds its agent's later rewards; the later messages are as good as frozen."""
    team = make_team(2, 3)
    env = Readable(num_agents=2, num_rounds=3)
    episodes = rollout(env, team, env.questions("train")[:4], seed=0)
    batch = TurnBatch.collect(learning_from(episodes, 0), team, 0.5)
    assert (
        set(batch.rounds) == {0} and len(batch) == 8 and not batch.gaps.any() and all(len(c) == 1 for c in batch.chains)
    )
    for row, (number, index) in enumerate(batch.places):
        episode = episodes[number]
        agent = episode.transcript.turns[index].agent
        mine = [episode.rewards[i] for i, turn in episode.said if turn.agent == agent]
        assert float(batch.rewards[row]) == pytest.approx(mine[0] + 0.5 * mine[1] + 0.25 * mine[2])
    last = TurnBatch.collect(learning_from(episodes, 2), team, 0.5)
    assert set(last.rounds) == {2} and len(last) == 8
    assert [float(r) for r in last.rewards] == pytest.approx([episodes[n].rewards[i] for n, i in last.places])
    assert len(TurnBatch.collect(episodes, team)) == 24, "and then all of them again"


class Agreed(Readable):
    """Everybody is read to say the same, so that a discussion which stops at a consensus has one round."""

    default_verifier = staticmethod(lambda question, response: Score(readable_share(response), True, answer="7"))


def test_a_round_that_no_discussion_reached_teaches_nothing(make_team: Callable) -> None:
    env = Agreed(num_agents=2, num_rounds=2, protocol={"name": "debate", "stop": "consensus"})
    team = make_team(2, 2)
    learner = MAPPO(team, learning_rate=0.01)
    steps = learn(Collector.of(learner, env, 4, curriculum=LastRoundFirst((0, 1), 1)), learner, num_iterations=2)
    before = {name: weights(team.policies[0], name) for name in team.learners}
    with pytest.warns(UserWarning, match="no discussion of this iteration reached round 2"):
        assert next(steps)["train/skipped_updates"] == 1
    assert all(torch.equal(weights(team.policies[0], name), before[name]) for name in before)
    next(steps)
    assert not any(torch.equal(weights(team.policies[0], name), before[name]) for name in before)


def run(model: str, path: Path, **settings: Any) -> RunFolder:
    chosen = SMALL | {"team": "per_agent_round", "curriculum": "last_round_first", "curriculum_updates": 2} | settings
    return train(env=LETTERS, model=model, output_dir=path, **chosen)


def test_a_run_resumed_in_a_block_equals_an_uninterrupted_one(tiny_model: str, tmp_path: Path) -> None:
    settings = {"num_iterations": 5, "checkpoint_every": 3, "eval_every": 5}
    whole = run(tiny_model, tmp_path / "whole", **settings)
    moved = [
        {name.removeprefix("train/grad_norm/") for name in row if name.startswith("train/grad_norm/agent")}
        for row in whole.metrics
        if "evaluation" not in row
    ]
    late, early = ({f"agent_{n}_round_{r}" for n in range(2)} for r in (2, 1))
    assert moved == [late, late, early, early, late]

    class Stop(Callback):
        def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
            if iteration == 4:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tiny_model, tmp_path / "cut", callbacks=[Stop()], **settings)
    cut = train(resume=tmp_path / "cut")
    for name in (*late, *early):
        files = [f.path / "adapters" / name / "adapter_model.safetensors" for f in (whole, cut)]
        assert files[0].read_bytes() == files[1].read_bytes(), name


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"curriculum": "first"}, r"curriculum 'first' is unknown; use one of \['last_round_first'\]"),
        ({"curriculum_updates": 0}, "curriculum_updates is 0; it must be at least 1"),
        ({"num_rounds": 1}, "num_rounds is 1: leave the curriculum out"),
    ],
)
def test_slips(settings: dict, message: str, tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        run(tiny_model, tmp_path / "run", **settings)
    assert not (tmp_path / "run").exists()


def test_too_few_iterations_for_every_round_are_told_of(make_team: Callable) -> None:
    from maporl.training.config import RunConfig

    config = RunConfig(env="two_witnesses", num_rounds=3, curriculum="last_round_first", num_iterations=50)
    with pytest.warns(
        UserWarning, match=r"num_iterations is 50: with blocks of 40 .* the rounds \[1, 2, 3\] do not all"
    ):
        config.build_curriculum(config.build_env(), make_team(2, 3))

"""Equivalent configurations give one trajectory: the same messages, metrics and weights, bit for bit unless said otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from run_toys import SMALL
from toy_models import sharp_model, weights

from maporl import RunConfig
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.cli import main
from maporl.rollouts.play import rollout
from maporl.training.callbacks import Callback
from maporl.training.loop import Collector, learn
from maporl.training.run import RunFolder, train
from maporl.types import Episode

LETTERS = "run_toys:Letters"
Trained = tuple[list[str], list[dict[str, float]], list[torch.Tensor]]
"""All messages, the metrics of each iteration by name without adapters' names, the learners' weights."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With large embeddings: a layer this small cannot prefer any token clearly otherwise."""
    return str(sharp_model(tmp_path_factory.mktemp("sharp"), embedding=0.24, num_layers=1, context=1024))


def trained(
    model: str,
    *,
    curriculum: Callable[[int], int] | None = None,
    prepare: Callable[[Any], None] | None = None,
    **settings: Any,
) -> Trained:
    """Two iterations of four discussions of two rounds; `prepare` changes the team first."""
    small = SMALL | {"episodes_per_iteration": 4, "env": LETTERS, "model": model, "num_threads": 1}
    config = RunConfig().merged(small | settings)
    env = config.build_env()
    team = config.build_team(env)
    if prepare is not None:
        prepare(team)
    algorithm = config.build_algorithm(team)
    said: list[str] = []
    collector = Collector.of(algorithm, env, config.episodes_per_iteration, curriculum=curriculum)
    metrics = list(learn(collector, algorithm, num_iterations=2, callback=_Heard(said)))
    learners = list(team.learners)
    number = {name: f"adapter {n}" for n, name in enumerate([*learners, *getattr(algorithm, "critics", ())])}
    figures = [
        {"/".join(number.get(part, part) for part in k.split("/")): v for k, v in row.items() if "time/" not in k}
        for row in metrics
    ]
    moved = [weights(policy, name) for policy in team.policies for name in learners if name in policy.adapters]
    assert len(set(said)) > 4 and all(any(v > 0 for k, v in row.items() if "grad_norm" in k) for row in figures)
    return said, figures, moved


class _Heard(Callback):
    """Keeps every message of a training."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
        self.said.extend(t.text for e in episodes for t in e.transcript.turns)


def same(one: Trained, other: Trained) -> None:
    assert one[0] == other[0]
    assert one[1] == other[1]
    assert len(one[2]) == len(other[2])
    assert all(torch.equal(a, b) for a, b in zip(one[2], other[2], strict=True))


MAPPO = {"algorithm": "mappo"}
GROUPED = {"algorithm": "magrpo", "algorithm_args": {"group_size": 2}}
CROSSED = {"group_size": 2, "rollouts": "tree", "joint": "cross"}
TREES = {"algorithm": "magrpo", "algorithm_args": CROSSED, "episodes_per_iteration": 8}


# Who learns matters most where every learner has a critic; what is seen and paid has nothing to do with the algorithm.
@pytest.mark.parametrize(
    ("algorithm", "one", "other"),
    [
        (MAPPO, {"num_agents": 1, "team": "shared"}, {"num_agents": 1, "team": "per_agent"}),
        (MAPPO, {"team": "per_agent"}, {"team": {"agent_0": "left", "agent_1": ["right", "right"]}}),
        (MAPPO, {"team": "shared"}, {"team": {"agent_0": "we", "agent_1": "we"}}),
        (MAPPO, {"frozen": ["agent_1"]}, {"team": {"agent_0": "agent_0", "agent_1": "base"}}),
        (
            GROUPED,
            {"team": "per_agent_round", "frozen": ["round_1", "agent_1/round_2"]},
            {"team": {"agent_0": ["base", "late"], "agent_1": "base"}},
        ),
        (
            MAPPO,
            {"num_agents": 1, "env_args": {"protocol": "debate"}},
            {"num_agents": 1, "env_args": {"protocol": "round_robin"}},
        ),
        (
            GROUPED,
            {"env_args": {"shaping": "own_score"}},
            {"env_args": {"shaping": {"name": "discounted_own", "gamma": 0.0}}},
        ),
        (
            GROUPED,
            {"num_rounds": 1, "env_args": {"history": "all"}},
            {"num_rounds": 1, "env_args": {"history": "last_round"}},
        ),
        (
            GROUPED,
            {"num_rounds": 1, "env_args": {"protocol": "round_robin"}},
            {
                "num_rounds": 1,
                "env_args": {"protocol": "round_robin"},
                "algorithm_args": {"group_size": 2, "rollouts": "tree"},
            },
        ),
    ],
    ids=[
        "one agent shares with nobody",
        "a word and its mapping",
        "shared and its mapping",
        "frozen and base",
        "frozen round and base",
        "one agent debates with nobody",
        "no discount on the future",
        "one round has no history",
        "one round is no tree",
    ],
)  # fmt: skip
def test_two_ways_to_say_one_thing(algorithm: dict, one: dict, other: dict, model: str) -> None:
    same(trained(model, **{**algorithm, **one}), trained(model, **{**algorithm, **other}))


def test_what_is_not_the_same_shows(model: str) -> None:
    frozen, shared, plain = (trained(model, **s) for s in ({"frozen": ["agent_1"]}, {"team": "shared"}, {}))
    for other in (frozen, shared):
        assert other[1] != plain[1]
        with pytest.raises(AssertionError):
            same(other, plain)


def test_a_lone_agents_joint_actions_are_its_own(model: str) -> None:
    chosen = [GROUPED | {"algorithm_args": {"group_size": 2, "joint": joint}} for joint in ("aligned", "cross")]
    same(*(trained(model, num_agents=1, num_rounds=1, **settings) for settings in chosen))


def test_a_round_that_is_not_learned_from_is_as_good_as_frozen(model: str) -> None:
    """While its adapter has not moved it speaks as the base."""
    both = {"agent_0": ["early", "late"], "agent_1": "base"}
    late = {"agent_0": ["base", "late"], "agent_1": "base"}
    said, _, (early, learned) = trained(model, team=both, curriculum=lambda iteration: 1)
    expected_said, _, (expected,) = trained(model, team=late)
    assert said == expected_said and torch.equal(learned, expected) and not torch.equal(early, learned)


@pytest.mark.parametrize("algorithm", [MAPPO, GROUPED, TREES], ids=["mappo", "magrpo", "trees"])
def test_batches_of_any_size(algorithm: dict, model: str) -> None:
    """Of sampling: the very same messages; of updates: sums in another order, which Adam's first steps make larger."""
    large = trained(model, microbatch_tokens=100_000, max_batch_tokens=100_000, **algorithm)
    small = trained(model, microbatch_tokens=1, max_batch_tokens=1, **algorithm)
    assert large[0] == small[0]
    for a, b in zip(large[2], small[2], strict=True):
        assert (a - b).abs().max() < 1e-6


def _plain(team: Any) -> None:
    (policy,) = team.policies
    assert policy.backbone.exact
    policy.backbone.output = None


@pytest.mark.parametrize(("name", "sharing"), [("mappo", "per_agent"), ("ippo", "shared"), ("magrpo", "shared")])
def test_the_fast_path_is_the_plain_way(name: str, sharing: str, model: str) -> None:
    """Prefix trees, key-value cache and chunked output layer, and transformers' generate with one message after the other."""
    settings = {"algorithm": name, "team": sharing} | (GROUPED if name == "magrpo" else {})
    fast = trained(model, **settings)
    plain = trained(model, sampler="reference", prepare=_plain, **settings)
    assert fast[0] == plain[0]
    for one, other in zip(fast[1], plain[1], strict=True):
        for key in ("train/policy_loss", "train/entropy", *(k for k in one if k.startswith("train/grad_norm"))):
            assert one[key] == pytest.approx(other[key], rel=1e-4, abs=1e-6), key
    for a, b in zip(fast[2], plain[2], strict=True):
        assert (a - b).abs().max() < 1e-5


def test_groups_are_numbered_as_one_likes(model: str) -> None:
    """MAGRPO compares the discussions of a group, whatever its number."""
    config = RunConfig().merged(SMALL | GROUPED | {"env": LETTERS, "model": model, "num_threads": 1})
    env = config.build_env()
    asked = env.questions("train")[:3]
    results = []
    for numbers in ([0, 1, 2], [7, 0, 3]):
        team = config.build_team(env)
        algorithm = config.build_algorithm(team)
        rows = []
        for iteration in range(2):
            episodes = rollout(env, team, asked, seed=iteration, branching=(2,))
            rows.append(algorithm.update([_renumbered(e, numbers) for e in episodes]))
        results.append((rows, [weights(team.policies[0], name) for name in team.learners]))
    (first, one), (second, other) = results
    assert first == second and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def _renumbered(episode: Episode, numbers: list[int]) -> Episode:
    return replace(episode, group=numbers[episode.group])


class _StopAfter(Callback):
    """Interrupts the iteration after the given one, before its checkpoint."""

    def __init__(self, reached: int) -> None:
        self.reached = reached

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if iteration > self.reached:
            raise KeyboardInterrupt


@pytest.mark.parametrize("algorithm", [{}, TREES], ids=["default", "trees"])
def test_stopped_after_every_iteration_is_never_stopped(algorithm: dict, model: str, tmp_path: Path) -> None:
    settings = SMALL | {"env": LETTERS, "model": model, "num_iterations": 3, "checkpoint_every": 1, "num_threads": 1}
    settings |= {"num_eval_questions": 2} | algorithm
    whole = train(**settings, output_dir=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        train(**settings, output_dir=tmp_path / "cut", callbacks=[_StopAfter(1)])
    with pytest.raises(KeyboardInterrupt):
        train(resume=tmp_path / "cut", callbacks=[_StopAfter(2)])
    cut = train(resume=tmp_path / "cut")
    rows = [[{k: v for k, v in r.items() if not k.startswith("time/")} for r in run.metrics] for run in (whole, cut)]
    assert rows[0] == rows[1]
    for file in ("adapters/agent_0/adapter_model.safetensors", "adapters/agent_1/adapter_model.safetensors"):
        assert (whole.path / file).read_bytes() == (cut.path / file).read_bytes()


def test_a_studys_cell_is_what_evaluate_says_of_its_run(model: str, tmp_path: Path) -> None:
    values = SMALL | {"methods": ["mappo"], "tasks": [LETTERS], "model": model, "num_questions": 6, "num_threads": 1}
    run_study(Study().merged(values | {"ablate_messages": False, "output_dir": str(tmp_path)}))
    (cell,) = tmp_path.glob("cells/*/mappo/seed_0")
    (run,) = (f.parent for f in tmp_path.glob("runs/**/config.yaml"))
    assert main(["evaluate", str(run), "--num_eval_questions", "6", "--name", "again"]) == 0
    measured, evaluated = (
        [json.loads(line) for line in file.open()]
        for file in (cell / "records.jsonl", RunFolder(run).path / "evaluations" / "again.jsonl")
    )
    greedy = {r["question_id"]: r for r in measured if r["greedy"]}
    assert len(greedy) == len(evaluated) == 6
    for record in evaluated:
        assert greedy[record["question_id"]]["turns"] == record["turns"]
        assert greedy[record["question_id"]]["team_correct"] == record["team_correct"]

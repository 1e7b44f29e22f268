"""SWEET-RL as a run: its stages, what they leave, how it goes on after each of them, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import Letters, Stop

from maporl.agents import Policy
from maporl.envs.protocols import RoundRobin
from maporl.rollouts.decisions import Decision
from maporl.rollouts.preferences import read_decisions
from maporl.roster import Roster
from maporl.training.config import RunConfig
from maporl.training.run import RunFolder, train
from maporl.training.trainers import sweet_rl
from maporl.types import Question, Transcript


class Told(Letters):
    """Say letters, beside a partner who knows something."""

    def load(self, split: str) -> Iterator[Question]:
        for question in super().load(split):
            yield replace(question, id="", private={"agent_1": f"The word is {question.text.replace(' ', '')}."})


class Tells(RoundRobin):
    """A protocol that gives the partner's knowledge away in round 2."""

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        secret = transcript.question.private["agent_1"]
        return f"{instruction} {secret}" if transcript.completed_rounds == 1 else instruction


SWEET: dict[str, Any] = {
    "env": Told,
    "algorithm": "sweet_rl",
    "algorithm_args": {"trajectories": 4, "candidates": 4, "pairs": 2, "critic_epochs": 1, "batch_size": 4},
    "partners": {"agent_1": "run_toys:Parrot"},
    "num_agents": 2,
    "num_rounds": 2,
    "num_iterations": 2,
    "episodes_per_iteration": 8,
    "num_eval_questions": 4,
    "max_new_tokens": 40,
    "learning_rate": 1e-2,
    "num_threads": 1,
    "device": "cpu",
    "preflight": "off",
    "trackers": (),
}


@pytest.fixture
def config(tiny_model: str, tmp_path: Path) -> RunConfig:
    return RunConfig(**SWEET, model=tiny_model, output_dir=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def whole(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A complete run, not to be changed."""
    return train(RunConfig(**SWEET, model=tiny_model, output_dir=str(tmp_path_factory.mktemp("runs") / "run")))


def untimed(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


def test_what_a_run_leaves(whole: RunFolder, tiny_model: str) -> None:
    assert whole.status == "complete"
    (last,) = [row for row in whole.metrics if row["iteration"] == 2 and "evaluation" not in row]
    found = read_decisions(whole.path / "decisions" / "candidates.jsonl")
    assert last["candidates/decisions"] == len(found) == 2 * 8 * 2, "every message of agent_0 in 16 discussions"
    assert all(d.agent == "agent_0" and len(d.candidates) == 4 and np.isfinite(d.values).all() for d in found)
    assert "candidates/rank_accuracy" not in last, "this task does not know what a message is worth"
    assert 0 < last["critic/pairs"] <= 4 * 6 and 0 <= last["critic/skipped_tasks"] < 1 and last["critic/loss"] > 0
    assert 0 < last["dpo/pairs"] <= 2 * len(found) and last["dpo/steps"] == np.ceil(last["dpo/pairs"] / 4)
    roster = Roster.load(whole.path / "adapters")
    assert {s.adapter for s in roster.rounds("agent_0")} == {"agent_0"} and roster.rounds("agent_1")[0].partner
    policy = Policy.from_pretrained(tiny_model)
    for name, folder in {"actor": "adapters/agent_0", "critic": "critic"}.items():
        policy.add_adapter(name, path=whole.path / folder)
        assert any(p.abs().max() > 0 for p in policy.parameters(name)[1::2]), "its B is no longer zero"


def test_the_critic_reads_what_the_actor_does_not(whole: RunFolder) -> None:
    for d in read_decisions(whole.path / "decisions" / "candidates.jsonl"):
        assert "The word is train" in d.state["private"]
        shown = " ".join([d.observation["question"], d.observation["private"], d.observation["instruction"]])
        assert "The word" not in shown


def same(one: RunFolder, two: RunFolder) -> None:
    assert untimed(one) == untimed(two)
    for file in ("adapters/agent_0/adapter_model.safetensors", "critic/adapter_model.safetensors"):
        assert (one.path / file).read_bytes() == (two.path / file).read_bytes(), file


@pytest.mark.parametrize("stage", ["TurnCritic.update", "resample", "dpo_adapter"])
def test_a_run_that_died_in_a_stage_goes_on_with_it(
    stage: str, whole: RunFolder, config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was over before is not done again, and all is as if nothing had happened."""
    owner, _, name = stage.rpartition(".")

    def dies(*_: Any) -> Any:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(getattr(sweet_rl, owner) if owner else sweet_rl, name, dies)
        with pytest.raises(MemoryError):
            train(config)
    if stage == "dpo_adapter":  # neither the critic nor its candidates are asked for again
        monkeypatch.setattr(sweet_rl.TurnCritic, "update", dies)
        monkeypatch.setattr(sweet_rl, "resample", dies)
    same(train(resume=config.folder), whole)


def test_a_run_stopped_while_it_collects_goes_on(whole: RunFolder, config: RunConfig) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(config.merged({"checkpoint_every": 1}), callbacks=[Stop("iteration", 1)])
    same(train(resume=config.folder), whole)


def test_a_secret_in_the_actors_view_is_refused_before_the_run(config: RunConfig) -> None:
    with pytest.raises(
        ValueError, match=r"agent_0 is shown 'The word is train\d+.' in its private information, which agent_1"
    ):
        train(config.merged({"env_args": {"view": "all"}}))
    assert not config.folder.exists()


def test_a_secret_that_comes_later_is_refused_before_anything_is_learned(config: RunConfig) -> None:
    with pytest.raises(ValueError, match=r"agent_0 is shown 'The word is train\d+.' in its instruction"):
        train(config.merged({"env_args": {"protocol": Tells}}))
    assert not (config.folder / "critic").exists()


def test_a_secret_among_stored_candidates_is_refused(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A decision whose actor would read the joint state: the slip that this test is for."""
    kept = sweet_rl.write_decisions

    def leak(path: Path, found: list[Decision]) -> None:
        kept(path, [replace(d, observation=d.state) for d in found])

    monkeypatch.setattr(sweet_rl, "write_decisions", leak)
    with pytest.raises(ValueError, match="agent_0 is shown 'The word is .* in its private information"):
        train(config)


def test_equal_candidates_make_no_pair(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    equal = lambda self, found: [d.valued([0.5] * len(d.candidates)) for d in found]  # noqa: E731
    monkeypatch.setattr(sweet_rl.TurnCritic, "advantages", equal)
    with pytest.warns(UserWarning, match="at none of 32 messages did agent_0 say two things of different worth"):
        folder = train(config)
    (last,) = [row for row in folder.metrics if "dpo/pairs" in row]
    assert (last["candidates/equal"], last["dpo/pairs"]) == (1.0, 0.0)


def test_without_a_secret_there_is_no_privilege(config: RunConfig) -> None:
    with pytest.warns(UserWarning, match="nobody in .* knows what agent_0 does not, so the critic has no privilege"):
        train(config.merged({"env": Letters, "num_iterations": 0}))


def test_it_starts_from_an_adapter(config: RunConfig, tiny_model: str, tmp_path: Path) -> None:
    """Actor, critic and reference begin as the given adapter: at first every advantage is 0."""
    policy = Policy.from_pretrained(tiny_model)
    policy.add_adapter("start", seed=9)
    with torch.no_grad():
        for parameter in policy.parameters("start"):
            parameter.add_(0.05)
    policy.save_adapter("start", tmp_path / "start")
    folder = train(config.merged({"init_adapter": str(tmp_path / "start"), "learning_rate": 1e-30}))
    found = read_decisions(folder.path / "decisions" / "candidates.jsonl")
    assert np.abs([v for d in found for v in d.values]).max() < 1e-5
    assert folder.status == "complete"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partners": {}}, r"sweet_rl trains one agent.*this team trains \['agent_0', 'agent_1'\].*simulated_human"),
        ({"team": "per_agent_round"}, r"with adapters \['agent_0_round_1', 'agent_0_round_2'\]"),
        ({"team": "frozen"}, r"this team trains \[\]"),
        ({"episodes_per_iteration": 6}, "episodes_per_iteration is 6"),
        ({"curriculum": "last_round_first"}, "curriculum is 'last_round_first'; leave it out"),
        ({"thinking_budget": 5}, "thinking_budget|close"),
        ({"algorithm_args": {"candidats": 2}}, "no argument 'candidats'. Did you mean 'candidates'"),
        ({"algorithm_args": {"trajectories": 1}}, "trajectories is 1; it must be at least 2"),
        ({"algorithm_args": {"share": 0.0}}, "share is 0.0"),
        ({"algorithm_args": {"normalise": "mean"}}, "normalise 'mean' is unknown"),
        ({"algorithm_args": {"beta": 0.0}}, "beta is 0.0; it must be above 0"),
        ({"algorithm_args": {"nll_coef": -0.1}}, "nll_coef is -0.1"),
    ],
)
def test_slips_are_told_and_leave_no_folder(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(replace(config, **changes))
    assert not config.folder.exists()

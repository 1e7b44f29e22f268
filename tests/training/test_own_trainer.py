"""A trainer of one's own, for what is no policy gradient: a class named by ``module:Class``, on the same terms as the shipped ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import SMALL
from toy_models import weights

import maporl
from maporl.rollouts.play import rollout
from maporl.training.callbacks import Callback
from maporl.training.run_folder import RunFolder
from maporl.training.trainer import Run, Trainer

SETTINGS = SMALL | {
    "env": "run_toys:Letters", "algorithm": "test_own_trainer:HillClimbing", "learning_rate": 0.05, "num_iterations": 6,
    "eval_every": 6, "checkpoint_every": 2,
}  # fmt: skip


class HillClimbing(Trainer):
    """Takes a random step, and takes it back if it does not pay."""

    def __init__(self, run: Run) -> None:
        self.team = run.config.build_team(run.env)
        self.parameters = [p for name, one in self.team.learners.items() for p in one.policy.parameters(name)]
        self.best = -np.inf

    @torch.no_grad()
    def fit(self, run: Run, start: int = 0) -> None:
        questions = run.env.questions("train")[: run.config.episodes_per_iteration]
        for k in range(start, run.config.num_iterations):
            before, random = [p.clone() for p in self.parameters], torch.Generator().manual_seed(k)
            for p in self.parameters:
                p += run.config.learning_rate * torch.randn(p.shape, generator=random)
            reward = float(np.mean([e.rewards for e in rollout(run.env, self.team, questions, seed=run.config.seed)]))
            if reward <= self.best:
                for p, old in zip(self.parameters, before, strict=True):
                    p.copy_(old)
            self.best = max(reward, self.best)
            run.iteration(k + 1, {"train/reward": reward, "train/best": self.best})

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "weights": [p.detach().clone() for p in self.parameters]}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state["best"]
        for p, saved in zip(self.parameters, state["weights"], strict=True):
            p.copy_(saved)


class Stop(Callback):
    """Ctrl-C after iteration 5, of which no checkpoint knows."""

    def on_iteration(self, iteration: int, metrics: Mapping[str, float]) -> None:
        if iteration == 5:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def climbed(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return maporl.train(model=tiny_model, output_dir=tmp_path_factory.mktemp("runs") / "run", **SETTINGS)


def steps(run: RunFolder) -> list[tuple[float, float]]:
    """(reward, best) of every iteration."""
    return [(row["train/reward"], row["train/best"]) for row in run.metrics if "evaluation" not in row]


def test_it_has_a_whole_run(climbed: RunFolder) -> None:
    rewards = [reward for reward, _ in steps(climbed)]
    assert steps(climbed) == [(reward, max(rewards[: k + 1])) for k, reward in enumerate(rewards)]
    assert len(rewards) == 6 and rewards[0] < max(rewards), "some step has paid"
    assert [(row["iteration"], row["evaluation"]) for row in climbed.metrics if "evaluation" in row] == [
        (0, "iteration_0000"), (6, "iteration_0006"), (6, "test"),
    ]  # fmt: skip
    assert climbed.status == "complete"


def test_its_team_is_what_it_found_best(climbed: RunFolder) -> None:
    team, env = maporl.load_team(climbed.path), climbed.config.build_env()
    assert weights(team.policies[0], "agent_0").abs().sum() > 0
    questions = env.questions("train")[: SMALL["episodes_per_iteration"]]
    episodes = rollout(env, team, questions, seed=climbed.config.seed)
    assert np.mean([e.rewards for e in episodes]) == steps(climbed)[-1][1]


def test_resumed_from_its_own_state_it_goes_on_as_if_nothing_had_happened(
    climbed: RunFolder, tiny_model: str, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        maporl.train(model=tiny_model, output_dir=tmp_path / "run", callbacks=[Stop()], **SETTINGS)
    cut = RunFolder(tmp_path / "run")
    assert cut.status == "interrupted" and len(steps(cut)) == 5
    saved = torch.load(cut.path / "checkpoint.pt", weights_only=True)
    assert saved["iteration"] == 4 and saved["trainer"]["best"] == steps(climbed)[3][1]
    resumed = maporl.train(resume=cut.path)
    assert steps(resumed) == steps(climbed)
    for file in ("adapters/agent_0/adapter_model.safetensors", "evaluations/test.jsonl"):
        assert (resumed.path / file).read_bytes() == (climbed.path / file).read_bytes(), file


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"algorithm_args": {"step": 0.1}},
            r"algorithm 'test_own_trainer:HillClimbing' has no settings, but algorithm_args gives \['step'\]; leave them out",
        ),
        (
            {"algorithm": "run_toys:Letters"},
            "algorithm 'run_toys:Letters' is neither an Algorithm nor a Trainer; name a subclass of maporl.algorithms.Algorithm",
        ),
    ],
)
def test_slips(settings: dict[str, Any], message: str, tiny_model: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        maporl.train(model=tiny_model, output_dir=tmp_path / "run", **SETTINGS | settings)
    assert not (tmp_path / "run").exists()

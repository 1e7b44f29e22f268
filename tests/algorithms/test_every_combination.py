"""Every algorithm learns something in every task with every team map: nothing works only where it was tried."""

from __future__ import annotations

import inspect
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import torch
from toy_discussions import readable_share

from maporl import registry
from maporl.agents.policy import LoRA, Policy
from maporl.agents.sampling import Sampling
from maporl.agents.team import Team
from maporl.algorithms.training import learn
from maporl.envs import DiscussionEnv, Shaping
from maporl.types import Transcript

ALGORITHMS, TASKS = registry.names("algorithm"), registry.names("env")
TEAMS: dict[str, dict[str, Any]] = {
    "shared": {"sharing": "shared"},
    "per_agent": {"sharing": "per_agent"},
    "per_agent_round": {"sharing": "per_agent_round"},
    "round_1_frozen": {"sharing": "shared", "frozen": ["round_1"]},
    "train_one": {"sharing": "per_agent", "frozen": ["SECOND"]},
}
ROWS: dict[str, list[dict[str, Any]]] = {
    "gsm8k": [{"question": f"Ann has {n} pens and buys 2. How many?", "answer": f"#### {n + 2}"} for n in range(12)],
    "math": [{"problem": f"What is ${n}+1$?", "answer": str(n + 1)} for n in range(12)],
    "csqa": [
        {
            "id": str(n),
            "question": {"stem": f"Where is {n}?", "choices": [{"label": c, "text": f"{c}{n}"} for c in "AB"]},
            "answerKey": "A",
        }
        for n in range(12)
    ],
    "anli": [
        {"uid": str(n), "premise": f"It rains {n}.", "hypothesis": "It pours.", "label": n % 3} for n in range(12)
    ],
}


class Readable(Shaping):
    """Readable text is paid, with so much noise that no two texts of a group earn the same by chance."""

    def __call__(self, transcript: Transcript) -> tuple[float, ...]:
        return tuple(readable_share(t.text) + 0.1 * (crc32(t.text.encode()) % 1009) / 1009 for t in transcript.turns)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., DiscussionEnv]:
    made: dict[tuple, DiscussionEnv] = {}

    def make(name: str, **arguments: Any) -> DiscussionEnv:
        key = (name, *sorted(arguments.items()))
        if key not in made:
            data = {}
            if name in ROWS:
                file = tmp_path_factory.mktemp(name) / "train.jsonl"
                file.write_text("".join(json.dumps(row) + "\n" for row in ROWS[name]))
                data = {"data": str(file)}
            env = registry.load("env", name)(num_agents=2, num_rounds=2, shaping=Readable(), **data, **arguments)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # so few rows have no validation or test part
                env.questions("train")
            made[key] = env
        return made[key]

    return make


def trained(env: DiscussionEnv, name: str, team_map: dict[str, Any], folder: Path) -> None:
    """Two iterations of learning; every trained adapter's B matrices move, everything else stays bit for bit."""
    policy = Policy.from_pretrained(str(folder), lora=LoRA(r=2))
    policy.add_adapter("bystander", seed=3)
    frozen = [env.possible_agents[1] if word == "SECOND" else word for word in team_map.get("frozen", ())]
    arguments = {**team_map, "frozen": frozen, "sampling": Sampling(max_new_tokens=6)}
    team = Team.build(policy, env.possible_agents, env.num_rounds, **arguments)
    learners = list(team.learners)
    before = {n: p.clone() for n, p in policy.model.named_parameters()}
    algorithm_class = registry.load("algorithm", name)
    group = {"group_size": 2} if "group_size" in inspect.signature(algorithm_class).parameters else {}
    algorithm = algorithm_class(team, learning_rate=1e-3, num_epochs=1, num_minibatches=1, **group)

    metrics = list(learn(env, team, algorithm, num_iterations=2, episodes_per_iteration=4))

    for adapter in learners:
        b = [p for n, p in policy.model.named_parameters() if f".lora_B.{adapter}." in n]
        assert b and all(p.abs().max() > 0 for p in b)
        assert all(m[f"train/grad_norm/{adapter}"] > 0 for m in metrics)
    for n, p in policy.model.named_parameters():
        if n in before and not any(f".{adapter}." in n for adapter in learners):
            assert torch.equal(p, before[n]), n
    assert all(m["train/first_ratio_error"] < 1e-4 and m["train/skipped_steps"] == 0 for m in metrics)
    assert all(m["rollout/overflow"] == 0 and m["rollout/reward_mean"] > 0 for m in metrics)


@pytest.mark.parametrize("team_map", TEAMS)
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_in_every_task_with_every_team_map(
    task: Callable, checkpoint: Callable, algorithm: str, name: str, team_map: str
) -> None:
    trained(task(name), algorithm, TEAMS[team_map], checkpoint())


@pytest.mark.parametrize("protocol", registry.names("protocol"))
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_under_every_protocol(
    task: Callable, checkpoint: Callable, algorithm: str, protocol: str
) -> None:
    trained(task("two_witnesses", protocol=protocol), algorithm, TEAMS["per_agent"], checkpoint())


def test_nothing_registered_is_left_out() -> None:
    assert {"ippo", "mappo", "magrpo"} <= set(ALGORITHMS)
    assert set(ROWS) <= set(TASKS) and len(TASKS) >= 7

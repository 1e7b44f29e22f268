"""Whole runs of every kind of team: exactly the trained adapters move, and the team comes back from its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_toys import SMALL, Letters
from safetensors.torch import load_file
from toy_models import observation

from maporl.agents import LLMAgent
from maporl.agents.models.make_model import make_model
from maporl.agents.models.policy import Policy
from maporl.training.run import RunFolder, load_team, train

LETTERS = "run_toys:Letters"
ALGORITHMS = ["ippo", "mappo", "magrpo"]


@pytest.fixture(scope="module")
def two_bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A llama and a GPT-2 of other sizes and with other tokens."""
    folder = tmp_path_factory.mktemp("bases")
    make_model(folder / "a", hidden_size=32, num_layers=1, intermediate_size=64, vocab_size=300, context=512)
    make_model(
        folder / "b", architecture="gpt2", hidden_size=48, num_layers=2, intermediate_size=64, vocab_size=330, context=640
    )  # fmt: skip
    return {"agent_0": str(folder / "a"), "agent_1": str(folder / "b")}


def moved(folder: RunFolder) -> dict[str, bool]:
    """Adapter -> whether all its B matrices, which are zero at first, have moved."""
    found = {}
    for place in sorted(p for p in (folder.path / "adapters").iterdir() if p.is_dir()):
        b = [v for k, v in load_file(place / "adapter_model.safetensors").items() if "lora_B" in k]
        assert b and len({bool(v.any()) for v in b}) == 1, place.name
        found[place.name] = bool(b[0].any())
    return found


def run(path: Path, **settings: Any) -> RunFolder:
    return train(env=LETTERS, output_dir=path, **SMALL | {"num_iterations": 1} | settings)


@pytest.mark.parametrize(
    ("algorithm", "settings", "trained"),
    [
        ("mappo", {"team": "per_agent_round"}, {f"agent_{n}_round_{r}" for n in (0, 1) for r in (1, 2)}),
        ("magrpo", {"team": "per_agent_round", "frozen": ["round_1"]}, {"agent_0_round_2", "agent_1_round_2"}),
        ("ippo", {"team": "per_agent", "frozen": ["agent_1", "round_1"]}, {"agent_0"}),
    ],
)
def test_exactly_the_trained_adapters_are_there_and_have_moved(
    algorithm: str, settings: dict, trained: set[str], tiny_model: str, tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", model=tiny_model, algorithm=algorithm, **settings)
    assert moved(folder) == dict.fromkeys(trained, True)
    norms = {k.removeprefix("train/grad_norm/") for row in folder.metrics for k in row if "grad_norm" in k}
    assert {name for name in norms if not name.startswith("critic")} == trained


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_two_architectures_with_tokens_of_their_own_learn_in_one_team(
    algorithm: str, two_bases: dict[str, str], tmp_path: Path
) -> None:
    folder = run(tmp_path / "run", model=two_bases, algorithm=algorithm)
    assert moved(folder) == {"agent_0": True, "agent_1": True}
    assert len(load_team(folder.path).policies) == 2
    learned = [row for row in folder.metrics if "evaluation" not in row]
    assert all(row["train/first_ratio_error"] < 1e-4 and row["train/skipped_steps"] == 0 for row in learned)
    critics = {k.rpartition("/")[2] for k in learned[0] if "grad_norm/critic" in k}
    assert critics == {
        "ippo": {"critic_agent_0", "critic_agent_1"}, "mappo": {"critic_0", "critic_1"}, "magrpo": set(),
    }[algorithm]  # fmt: skip
    team = load_team(folder.path, env=Letters(num_agents=2, num_rounds=2))
    assert [policy.model.config.model_type for policy in team.policies] == ["llama", "gpt2"]
    for agent in two_bases:
        member = team.member(agent, 1)
        assert isinstance(member, LLMAgent) and member.policy.tokenizer.name_or_path == two_bases[agent]
        [said] = team.act([observation(agent)], [np.random.default_rng(0)])
        assert said.completion_ids.max() < len(member.policy.tokenizer)


def test_a_team_is_not_loaded_onto_another_base(two_bases: dict[str, str], tmp_path: Path) -> None:
    folder = run(tmp_path / "run", model=two_bases, algorithm="magrpo")
    swapped = folder.config.merged({"model": {"agent_0": two_bases["agent_1"], "agent_1": two_bases["agent_0"]}})
    with pytest.raises(ValueError, match="does not fit this base model.*model_type llama there, gpt2 here"):
        load_team(folder.path, config=swapped)


def test_a_shared_adapter_of_two_models_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'shared' would sit on different models .*--team per_agent, or one model"):
        run(tmp_path / "run", model={"agent_0": "a", "agent_1": "b"}, team="shared")
    assert not (tmp_path / "run").exists()


def test_an_adapter_of_other_tokens_starts_no_run(two_bases: dict[str, str], tmp_path: Path) -> None:
    policy = Policy.from_pretrained(two_bases["agent_0"])
    policy.add_adapter("start")
    policy.save_adapter("start", tmp_path / "start")
    with pytest.raises(ValueError, match="does not fit this base model, for it was trained on another"):
        run(tmp_path / "run", model=two_bases["agent_1"], init_adapter=tmp_path / "start")
    assert not (tmp_path / "run").exists()

"""MLPO as a run: peers that are asked once, what is dropped, what is imitated, and how it goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import Stop

from maporl.agents import ScriptedAgent
from maporl.algorithms.advantages import group_advantages
from maporl.envs import DiscussionEnv
from maporl.training.config import RunConfig
from maporl.training.run import RunFolder, train
from maporl.training.trainers import mlpo
from maporl.training.trainers.mlpo import easy
from maporl.types import Question, Score

ASKED: list[int] = []


class Sayer(ScriptedAgent):
    """Says whether it is right: always on easy questions, by turns on others."""

    def __init__(self) -> None:
        super().__init__(lambda o, rng: "right" if "easy" in o["question"] or rng.random() < 0.5 else "wrong")

    def act(self, observations, rngs, *, greedy=False):  # type: ignore[no-untyped-def]
        ASKED.append(len(observations))
        return super().act(observations, rngs, greedy=greedy)


def judged(question: Question, response: str) -> Score:
    """Peers by what they say, a random leader by the number of its letters."""
    if response in ("right", "wrong"):
        return Score(float(response == "right"), response == "right", response)
    letters = sum(c.isalpha() for c in response)
    return Score(letters % 2, letters % 2 == 1, response[:1] or None)


class Asked(DiscussionEnv):
    """Half of it is easy."""

    default_verifier = staticmethod(judged)
    default_num_rounds = 1

    def load(self, split: str) -> Iterator[Question]:
        for number in range(20):
            yield Question(f"{split} {number} {'easy' if number % 2 else 'hard'}", "right")


MLPO: dict[str, Any] = {
    "env": Asked,
    "algorithm": "mlpo",
    "algorithm_args": {"variants": 2, "group_size": 4, "sft_samples": 4, "sft_prompts": 6, "monologue": "right"},
    "partners": {"agent_1": Sayer, "agent_2": "test_mlpo:Sayer"},
    "num_agents": 3,
    "num_iterations": 2,
    "episodes_per_iteration": 8,
    "num_eval_questions": 4,
    "max_new_tokens": 24,
    "stop": ("e", "t"),  # a random model hardly ever ends its turn
    "learning_rate": 1e-2,
    "num_threads": 1,
    "device": "cpu",
    "preflight": "off",
    "trackers": (),
}


@pytest.fixture
def config(tiny_model: str, tmp_path: Any) -> RunConfig:
    return RunConfig(**MLPO, model=tiny_model, output_dir=str(tmp_path / "run"))


def rows(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if "time/" not in k and k != "mlpo/peers_asked"} for row in folder.metrics]


def test_a_group_is_compared_with_its_mean_and_nothing_else() -> None:
    """Dr. GRPO's advantage: neither the spread nor the length divides it."""
    ones, key = torch.tensor([1.0, 0.0, 0.0, 0.0]), np.zeros(4, int)
    found = group_advantages(ones, np.arange(4), key, "mean", False, np.ones(4))
    assert found.tolist() == [0.75, -0.25, -0.25, -0.25]


def test_what_is_easy() -> None:
    assert easy([True] * 9 + [False] * 3) and not easy([True] * 8 + [False] * 4)
    assert not easy([True] * 9 + [False] * 3, least=0.76)


def test_peers_are_asked_once_and_never_by_another_run(config: RunConfig, tmp_path: Any) -> None:
    ASKED.clear()
    stored = config.merged({"algorithm_args": {"store": str(tmp_path / "peers.jsonl")}, "num_eval_questions": 1})
    folder = train(stored)
    first = folder.metrics[1]
    known = len(folder_questions(config))
    assert first["mlpo/peers_asked"] == 2 * 2 * known and first["mlpo/easy"] >= 0.4
    assert first["mlpo/sft/sampled"] == 24 and 0 < first["mlpo/sft/messages"] <= 6
    live = sum(ASKED) - 2 * 2 * known  # evaluations ask them anew
    ASKED.clear()
    again = train(stored.merged({"output_dir": str(tmp_path / "again")}))
    assert sum(ASKED) == live and again.metrics[1]["mlpo/peers_asked"] == 0
    assert rows(again) == rows(folder)


def folder_questions(config: RunConfig) -> Sequence[Question]:
    return config.build_env().questions("train")


def test_only_hard_questions_and_only_the_leader_are_learned_from(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    update = mlpo.MAGRPO.update
    monkeypatch.setattr(mlpo.MAGRPO, "update", lambda self, episodes: seen.extend(episodes) or update(self, episodes))
    train(config)
    assert len(seen) == 16 and {e.given for e in seen} == {2}
    assert all("hard" in e.transcript.question.text for e in seen)
    for start in range(0, 16, 4):  # one prompt each group
        prompts = {e.transcript.turns[2].completion.prompt_ids.tobytes() for e in seen[start : start + 4]}
        assert len(prompts) == 1 and all(e.learns == (False, False, True) for e in seen[start : start + 4])


def test_a_run_that_was_cut_off_goes_on(config: RunConfig, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train(config.merged({"output_dir": str(tmp_path / "whole")}))
    with pytest.raises(KeyboardInterrupt):
        train(config.merged({"checkpoint_every": 1}), callbacks=[Stop("iteration", 1)])
    monkeypatch.setattr(mlpo, "sft_adapter", lambda *_: 1 / 0)  # not again
    resumed = train(resume=config.folder)
    file = "adapters/agent_0/adapter_model.safetensors"
    assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes()


def test_a_rewriting_is_imitated_if_it_is_right(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(mlpo, "sft_adapter", lambda policy, adapter, messages, settings: taken.extend(messages) or {})
    folder = train(config.merged({"algorithm_args": {"monologue": "rewrite", "sft_prompts": 12}, "num_iterations": 1}))
    assert folder.metrics[1]["mlpo/sft/messages"] == len(taken) > 0
    assert all(judged(Question("", ""), c.text).correct for c in taken)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"partners": {}},
            r"mlpo trains the leader alone, agent_0.*this team trains \['agent_0', 'agent_1', 'agent_2'\]",
        ),
        ({"partners": {"agent_0": Sayer}, "frozen": ("agent_1", "agent_2")}, r"this team trains \[\]"),
        ({"env_args": {"protocol": "debate"}}, "mlpo needs peers who answer at once and a leader after them"),
        ({"num_agents": 1, "partners": {}}, "needs at least 2 agents"),
        ({"algorithm_args": {"group_size": 1}}, "group_size is 1"),
        ({"algorithm_args": {"monologue": "both"}}, "monologue 'both' is unknown"),
        ({"algorithm_args": {"easy": 0}}, "easy is 0"),
        ({"curriculum": "last_round_first"}, "curriculum is 'last_round_first'; leave it out"),
        ({"episodes_per_iteration": 9}, "episodes_per_iteration is 9"),
    ],
)
def test_slips_are_told_and_leave_no_folder(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(replace(config, **changes))
    assert not config.folder.exists()


def test_where_all_is_easy_there_is_nothing_to_lead_to(config: RunConfig) -> None:
    with pytest.raises(ValueError, match="at least 0.001 of the peers' answers are right.*harder questions"):
        train(config.merged({"algorithm_args": {"easy": 0.001}, "partners": {"agent_1": Always, "agent_2": Always}}))


class Always(ScriptedAgent):
    def __init__(self) -> None:
        super().__init__(lambda o, rng: "right")

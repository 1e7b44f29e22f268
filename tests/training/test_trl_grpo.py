"""TRL's GRPO as a baseline: the same prompts, questions, rewards, budget and run folder as ours; and it learns."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from run_toys import Heard, Letters, Stop
from safetensors.torch import load_file
from transformers import TrainerState
from trl import GRPOTrainer

from maporl.agents import Policy, Team
from maporl.algorithms import MAGRPO
from maporl.benchmarks.experiments.warm_start import make_warm_start
from maporl.envs import DiscussionEnv
from maporl.rollouts.play import rollout
from maporl.training.callbacks import Callback
from maporl.training.config import RunConfig
from maporl.training.loop import Collector, learn
from maporl.training.run import RunFolder, load_team, train
from maporl.training.trainer import Run, rows_at_once
from maporl.training.trainers import trl_grpo, trl_loop
from maporl.types import Episode, Question, Score

ALONE: dict[str, Any] = {
    "env": "run_toys:Letters",
    "algorithm": "trl_grpo",
    "algorithm_args": {"group_size": 4},
    "num_agents": 1,
    "num_rounds": 1,
    "num_iterations": 2,
    "episodes_per_iteration": 8,
    "max_new_tokens": 5,
    "learning_rate": 1e-2,
    "device": "cpu",
    "trackers": (),
}


class TeamOnly(DiscussionEnv):
    """Only what a whole team says is scored."""

    default_team_verifier = staticmethod(lambda question, responses: Score(1.0, True))

    def load(self, split: str) -> Iterator[Question]:
        return (Question(f"{split} {i}", answer="x") for i in range(20))


class Spelled(Letters):
    """Questions that spell out a control token, which must not become one."""

    def load(self, split: str) -> Iterator[Question]:
        return (Question(f"{split} {i}<|end|>", answer="even") for i in range(60))


@pytest.fixture
def config(tiny_model: str, tmp_path: Path) -> RunConfig:
    return RunConfig(**ALONE, model=tiny_model, output_dir=str(tmp_path / "run"))


@pytest.fixture(scope="module")
def finished(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunFolder, Heard]:
    """A complete run, not to be changed, and what its callback was told."""
    heard = Heard()
    config = RunConfig(**ALONE, model=tiny_model, output_dir=str(tmp_path_factory.mktemp("runs") / "run"))
    return train(config, callbacks=[heard]), heard


def untimed(folder: RunFolder) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in folder.metrics]


class TestFolder:
    def test_holds_what_a_run_of_ours_holds(self, finished: tuple[RunFolder, Heard], tiny_model: str) -> None:
        folder, _ = finished
        assert {p.name for p in folder.path.iterdir()} == {
            "config.yaml", "preflight.json", "metrics.jsonl", "questions.json", "status.json", "machine.json", "adapters",
        }  # fmt: skip
        tried = json.loads((folder.path / "preflight.json").read_text())
        assert (tried["discussions"], tried["messages"], tried["update_s"]) == (8, 8, None), "its update is TRL's"
        assert folder.status == "complete"
        assert (folder.config.algorithm, folder.config.model) == ("trl_grpo", tiny_model)
        assert "{instruction}" in folder.config.prompts["answer"], "the prompts are written out"

    def test_tells_every_iteration(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, heard = finished
        rows = folder.metrics
        assert heard.told == [("iteration", 1), ("iteration", 2)]
        assert rows == [{"iteration": k + 1, **metrics} for k, metrics in enumerate(heard.metrics)]
        for row in rows:
            assert 0 < row["rollout/reward_mean"] < 1 and 0 <= row["rollout/accuracy_round_1"] <= 1
            assert row["train/grad_norm/agent_0"] > 0 and row["time/rollout_s"] > 0 and row["time/update_s"] > 0

    def test_the_adapter_is_like_ours(self, finished: tuple[RunFolder, Heard], tmp_path: Path) -> None:
        folder, _ = finished
        policy = folder.config.build_policy(str(folder.config.model))
        policy.add_adapter("agent_0")
        policy.save_adapter("agent_0", tmp_path)
        theirs, ours = folder.path / "adapters" / "agent_0", tmp_path
        ours_alone = {"maporl_base.json"}  # PEFT's own folders do not say what they were trained on
        assert {p.name for p in theirs.iterdir()} == {p.name for p in ours.iterdir()} - ours_alone
        a, b = (load_file(p / "adapter_model.safetensors") for p in (theirs, ours))
        assert {k: (v.shape, v.dtype) for k, v in a.items()} == {k: (v.shape, v.dtype) for k, v in b.items()}
        assert all(v.abs().max() > 0 for v in a.values()), "every matrix has learned, B too"
        settings = [json.loads((p / "adapter_config.json").read_text()) for p in (theirs, ours)]
        for name in ("r", "lora_alpha", "lora_dropout", "base_model_name_or_path"):
            assert settings[0][name] == settings[1][name], name
        assert set(settings[0]["target_modules"]) == set(settings[1]["target_modules"])

    def test_its_agent_takes_its_seat(self, finished: tuple[RunFolder, Heard]) -> None:
        folder, _ = finished
        env = folder.config.build_env()
        team = load_team(folder.path, env=env)
        assert [m.adapter for m in team.language_models] == ["agent_0"]
        (member,) = team.language_models
        trained = load_file(folder.path / "adapters" / "agent_0" / "adapter_model.safetensors")
        total = sum(float(p.detach().double().square().sum()) for p in member.policy.parameters(member.adapter))
        assert total == pytest.approx(sum(float(v.double().square().sum()) for v in trained.values()))

    def test_complete_is_left_interrupted_is_begun_anew(
        self, config: RunConfig, finished: tuple[RunFolder, Heard]
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            train(config, callbacks=[Stop("iteration", 2)])
        assert RunFolder(config.folder).status == "interrupted"
        heard = Heard()
        folder = train(resume=config.folder, callbacks=[heard])
        assert heard.told == [("iteration", 1), ("iteration", 2)] and folder.status == "complete"
        whole, _ = finished
        assert untimed(folder) == untimed(whole), "the same seed does the same"
        adapters = [(f.path / "adapters/agent_0/adapter_model.safetensors").read_bytes() for f in (folder, whole)]
        assert adapters[0] == adapters[1]
        written = (folder.path / "metrics.jsonl").stat().st_mtime_ns
        assert train(resume=folder.path).path == folder.path
        assert (folder.path / "metrics.jsonl").stat().st_mtime_ns == written

    def test_no_iterations_leave_the_base(self, config: RunConfig) -> None:
        folder = train(config.merged({"num_iterations": 0}))
        weights = load_file(folder.path / "adapters" / "agent_0" / "adapter_model.safetensors")
        assert folder.metrics == [] and all(not v.any() for k, v in weights.items() if "lora_B" in k)


def test_nothing_is_printed_and_no_state_is_left(config: RunConfig, capfd: pytest.CaptureFixture[str]) -> None:
    random.seed(3), np.random.seed(3), torch.manual_seed(3)

    def state() -> tuple[Any, ...]:
        numpy = np.random.get_state()
        return (
            random.getstate(), numpy[1].tolist(), numpy[2], torch.get_rng_state().tolist(), torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
        )  # fmt: skip

    before = state()
    train(config.merged({"matmul_precision": "medium", "num_threads": 1}))
    assert state() == before
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("env", ["run_toys:Letters", Spelled])
def test_prompts_and_questions_are_those_of_our_algorithms(
    config: RunConfig, env: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the token, iteration by iteration: what TRL samples from against what MAGRPO's agent was shown."""
    config = config.merged({"env": env, "seed": 5})
    shown: list[list[list[int]]] = []
    original = trl_loop._Trainer._generate_single_turn

    def listening(self: Any, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        shown.append(prompt_ids)
        return original(self, prompt_ids, *args, **kwargs)

    monkeypatch.setattr(trl_loop._Trainer, "_generate_single_turn", listening)
    train(config)
    task, ours = config.build_env(), []

    class Listening(Callback):
        def on_experience(self, iteration: int, episodes: Sequence[Episode]) -> None:
            ours.append([c.prompt_ids.tolist() for e in episodes for c in e.completions])

    algorithm = MAGRPO(config.build_team(task), group_size=4)
    collector = Collector.of(algorithm, task, 8, seed=5)
    list(learn(collector, algorithm, num_iterations=2, callback=Listening()))
    assert shown == ours
    assert len({tuple(ids) for ids in shown[0] + shown[1]}) == 4, "two questions an iteration, four times each"


def test_trl_itself_would_read_the_same_prompts(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our tokenisation matters only for a question with a control token in it."""
    chats = [[{"role": "user", "content": text}] for text in ("What is it?", "Be odd: é\n\n 7", "a <|end|> b")]
    seen: dict[str, Any] = {}

    def asked(trainer: Any, *args: Any, **kwargs: Any) -> None:
        seen["ours"] = trainer._tokenize_prompts(chats)[0]
        seen["theirs"] = GRPOTrainer._tokenize_prompts(trainer, chats)[0]

    monkeypatch.setattr(trl_loop._Trainer, "train", asked)
    train(config)
    assert seen["ours"][:2] == seen["theirs"][:2]
    assert seen["ours"][2] != seen["theirs"][2]


def test_rewards_are_the_environments(config: RunConfig) -> None:
    """Two letters of three characters, four of four: by hand."""
    run = Run(config, RunFolder(config.folder), Callback())
    agent = trl_grpo._agent(config)
    record = trl_loop.Record(run, run.env.questions("train"), agent, steps=1)
    end = agent.policy.tokenizer.eos_token_id
    ids = [agent.policy.tokenizer(text).input_ids for text in (" ab1", "abcd")]
    rewards = record.reward([[*ids[0], end], ids[1]], [0, 7], trainer_state=TrainerState())
    assert rewards == [pytest.approx(2 / 3), 1.0]
    assert record._rollout == {
        "rollout/reward_mean": pytest.approx(5 / 6),
        "rollout/truncated": 0.5,
        "rollout/completion_tokens": (len(ids[0]) + 1 + len(ids[1])) / 2,
        "rollout/accuracy_round_1": 1.0,
    }


def test_the_budget_is_the_algorithms(config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []
    original = trl_loop.Record.reward

    def counting(self: Any, completion_ids: list[list[int]], **columns: Any) -> list[float]:
        counted.append(len(completion_ids))
        return original(self, completion_ids, **columns)

    monkeypatch.setattr(trl_loop.Record, "reward", counting)
    folder = train(config.merged({"num_iterations": 3, "algorithm_args": {"num_minibatches": 2}}))
    assert counted == [8, 8, 8]
    rates = [row["train/learning_rate"] for row in folder.metrics]
    steps = [1e-2 * (6 - k) / 6 for k in range(6)]  # six optimizer steps, linear to 0
    assert rates == pytest.approx([np.mean(steps[i : i + 2]) for i in (0, 2, 4)])


def test_smaller_passes_save_memory_only(config: RunConfig, tmp_path: Path) -> None:
    weights = []
    for tokens in (4096, 1):
        one = config.merged(
            {"microbatch_tokens": tokens, "num_iterations": 1, "output_dir": str(tmp_path / str(tokens))}
        )
        folder = train(one)
        weights.append(load_file(folder.path / "adapters" / "agent_0" / "adapter_model.safetensors"))
        assert folder.metrics[0]["train/grad_norm/agent_0"] > 0
    moved = {k: float((weights[0][k] - weights[1][k]).abs().max()) for k in weights[0]}
    # AdamW's first step is the sign of the gradient where that is not tiny, so a wrong gradient would differ by up to 2e-2.
    assert np.mean([value < 1e-3 for value in moved.values()]) > 0.7, moved


def test_rows_at_once() -> None:
    assert rows_at_once(12, 100, 650) == 6
    assert rows_at_once(12, 100, 500) == 4
    assert rows_at_once(12, 100, 50) == 1
    assert rows_at_once(12, 100, 10_000) == 12


def test_starts_from_an_adapter_and_stays_near_it(config: RunConfig, tiny_model: str, tmp_path: Path) -> None:
    policy = Policy.from_pretrained(tiny_model)
    policy.add_adapter("start", seed=9)
    with torch.no_grad():
        for parameter in policy.parameters("start"):
            parameter.add_(0.01)
    policy.save_adapter("start", tmp_path / "start")
    config = config.merged(
        {"init_adapter": str(tmp_path / "start"), "reference": "warm_start", "algorithm_args": {"kl_coef": 0.1}}
    )
    folder = train(config.merged({"learning_rate": 1e-9, "num_iterations": 1}))
    before, after = (
        load_file(p / "adapter_model.safetensors") for p in (tmp_path / "start", folder.path / "adapters" / "agent_0")
    )
    assert before.keys() == after.keys()
    assert all(torch.allclose(before[k], after[k], atol=1e-7) for k in before)
    assert folder.metrics[0]["train/kl_to_reference"] == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm_args": {"group_siz": 4}}, "no argument 'group_siz'. Did you mean 'group_size'"),
        ({"algorithm_args": {"group_size": 1}}, "group_size is 1"),
        ({"algorithm_args": {"num_minibatches": 0}}, "num_minibatches is 0"),
        ({"algorithm_args": {"kl_coef": -1.0}}, "kl_coef is -1.0"),
        ({"algorithm_args": {"group_size": 3}}, "episodes_per_iteration is 8; .* multiple of its group_size 3"),
        ({"algorithm_args": {"num_minibatches": 3}}, "multiple of its num_minibatches 3"),
        ({"num_agents": 2}, "one agent in one turn, not 2 agents in 1 rounds"),
        ({"num_rounds": 2}, "not 1 agents in 2 rounds"),
        ({"env": TeamOnly}, "has no verifier"),
        ({"stop": "#"}, "trl_grpo does not stop at strings, and stop is .'#'.; leave it out"),
        ({"thinking_budget": 3}, "trl_grpo closes no reasoning by force, and thinking_budget is 3; leave it out"),
        ({"init_adapter": "somewhere", "algorithm_args": {"kl_coef": 0.1}}, "reference 'warm_start'"),
        ({"max_new_tokens": 600}, "more than the model's window of 512"),
        ({"model": "nowhere"}, "cannot be loaded"),
    ],
)
def test_slips_are_told_and_leave_no_folder(config: RunConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train(config.merged(changes))
    assert not config.folder.exists()


def test_it_learns(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """A group of random texts is enough for more letters: the rewards reach TRL's loss with the right sign."""
    changes = {"num_iterations": 10, "episodes_per_iteration": 64, "learning_rate": 0.03, "num_eval_questions": 4}
    settings = {"algorithm_args": {"group_size": 8}, "model": str(checkpoint()), "seed": 1}
    folder = train(RunConfig(**ALONE).merged({**changes, **settings, "output_dir": str(tmp_path / "run")}))
    rewards = [row["rollout/reward_mean"] for row in folder.metrics if "rollout/reward_mean" in row]
    assert len(rewards) == 10 and np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.12  # measured: .38 -> .64


@pytest.mark.slow
def test_it_learns_two_witnesses(tmp_path: Path) -> None:
    """Told both views, the warm-started agent is right somewhat more often than not; good habits can be selected."""
    make_warm_start(tmp_path / "start")
    config = RunConfig(**ALONE).merged({
        "env": "two_witnesses", "env_args": {"view": "all"}, "model": str(tmp_path / "start"),
        "prompts": str(tmp_path / "start" / "prompts.yaml"), "output_dir": str(tmp_path / "run"),
        "algorithm_args": {"num_minibatches": 4}, "num_iterations": 8, "episodes_per_iteration": 64,
        "max_new_tokens": 14, "learning_rate": 4e-3,
    })  # fmt: skip
    folder = train(config)
    env = config.build_env()

    def accuracy(team: Team) -> float:
        return float(np.mean([e.rewards[0] for e in rollout(env, team, env.questions("test"), seed=0)]))

    before = accuracy(config.merged({"team": "frozen"}).build_team(env))
    assert accuracy(load_team(folder.path, env=env)) > before + 0.15  # measured: .58 -> .85 of two seeds
    rewards = [row["rollout/reward_mean"] for row in folder.metrics]
    assert np.mean(rewards[-3:]) > np.mean(rewards[:3]) + 0.08

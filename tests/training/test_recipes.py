"""Recipes, and `maporl train --plan`: every recipe is a run that can be, and the plan says what that run does."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from maporl import RunConfig
from maporl.cli import main
from maporl.training.recipes import RECIPES
from maporl.training.run import RunFolder, train

WHAT = {  # recipe -> of its plan
    "two_witnesses": ("mappo on two_witnesses", "1,099 to learn from", "2 adapters"),
    "maporl_gsm8k": (
        "mappo on gsm8k",
        "2 agents x 3 rounds",
        "DiscountedTeam(gamma=0.3)",
        "8 optimizer steps an iteration",
        "460,800 new",
    ),
    "magrpo_writing": ("magrpo on tldr", "2 agents x 1 round", "128 messages", "trl-lib/tldr on the dataset hub"),
    "magrpo_coding": ("magrpo on coophumaneval", "2 agents x 2 rounds", "160 messages"),  # 4 trees of 2 x 4 + 2 x 16
    "gsm8k_24gb": ("magrpo on gsm8k", "Qwen2.5-1.5B-Instruct with adapter agent_1", "1 base in bfloat16", "of rank 16"),
    "gsm8k_80gb": ("magrpo on gsm8k", "Qwen2.5-7B-Instruct with adapter agent_1", "1 base in bfloat16", "of rank 16"),
    "heterogeneous_pair": ("agent_1 HuggingFaceTB/SmolLM2-1.7B-Instruct with adapter agent_1", "2 bases in bfloat16"),
    "self_play": ("agent_0 embedded with adapter shared", "agent_1 embedded with adapter shared", "1 adapter of"),
    "frozen_partner": ("agent_0 embedded with adapter agent_0", "agent_1 embedded, frozen", "1 adapter of"),
}


@pytest.mark.parametrize("word", RECIPES)
def test_a_recipe_says_what_it_would_do(word: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--config", word, "--plan"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert all(part in told for part in WHAT[word]), told
    header = RECIPES[word].read_text()
    assert f"maporl train --config {word}" in header and "in all at most" in told
    assert not Path(RunConfig.load(word).folder).exists()


def test_maporls_is_the_papers() -> None:
    config = RunConfig.load("maporl_gsm8k")
    assert (config.env, config.num_agents, config.num_rounds, config.algorithm) == ("gsm8k", 2, 3, "mappo")
    assert config.env_args["shaping"] == {"name": "discounted_team", "gamma": 0.3}
    assert (config.temperature, config.max_new_tokens, config.learning_rate) == (0.7, 300, 1e-5)
    assert (config.algorithm_args["num_epochs"], config.episodes_per_iteration, config.lora["r"]) == (4, 256, 8)


def test_the_plan_is_what_the_run_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["--model", tiny_model, "--num_iterations", "3", "--eval_every", "2", "--episodes_per_iteration", "4"]
    words += ["--num_eval_questions", "5", "--max_new_tokens", "3", "--trackers", "--preflight", "off"]
    assert main(["train", "--config", "frozen_partner", *words, "--algorithm_args.group_size", "2", "--plan"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    (evaluations, messages) = re.findall(r"evaluations (\d+) of at most 5 questions: (\d+) messages", told)[0]
    assert (
        "an iteration 16 messages, at most 48 new tokens updates 1 optimizer step an iteration for every adapter, 3 in all"
        in told
    )
    config = RunConfig.load("frozen_partner").merged({"model": tiny_model, "num_iterations": 3, "eval_every": 2})
    small = {
        "episodes_per_iteration": 4,
        "num_eval_questions": 5,
        "max_new_tokens": 3,
        "trackers": (),
        "preflight": "off",
    }
    folder = train(config, **small, algorithm_args={"group_size": 2})
    evaluated = [row for row in RunFolder(folder.path).metrics if "evaluation" in row]
    assert len(evaluated) == int(evaluations) and 5 * 4 * len(evaluated) == int(messages)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["--config", "self_pay"],
            "config 'self_pay': no such file. Did you mean 'self_play'? Shipped configurations: frozen_partner,",
        ),
        (
            ["--config", "self_play", "--algorithm_args.group_sise", "4"],
            "algorithm 'magrpo' has no argument 'group_sise'. Did you mean",
        ),
        (["--resume", "somewhere"], "leave --plan out"),
        (["--config", "self_play", "--env", "no_such"], "unknown env 'no_such'"),
        (["--config", "self_play", "--frozen", "agent_7"], "agent_7"),
    ],
)
def test_a_plan_of_what_cannot_be(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *words, "--plan"]) == 2
    assert told in capsys.readouterr().err


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "self_play").write_text("num_iterations: 4\n")
    monkeypatch.chdir(tmp_path)
    assert RunConfig.load("self_play") == RunConfig(num_iterations=4)


@pytest.mark.slow
def test_the_first_line_comes_at_once() -> None:
    """Before torch is imported: pytest -m slow tests/training/test_recipes.py"""
    code = "import sys; from maporl.cli import main; main(['train', '--config', 'maporl_gsm8k', '--plan'])"
    began = time.monotonic()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and "mappo on gsm8k" in process.stdout.readline()
        took = time.monotonic() - began
        process.stdout.read()
    assert process.returncode == 0 and took < 2, took

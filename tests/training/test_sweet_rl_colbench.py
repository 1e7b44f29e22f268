"""SWEET-RL on ColBench: a small model that asks or guesses, a person who quotes its code, and answers that are run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from maporl.agents.models.make_model import make_model
from maporl.agents.prompts import PromptTemplate
from maporl.algorithms.sft import SFTSettings, sft
from maporl.envs.tasks.coding.consulting.colbench import ColBench
from maporl.rollouts.preferences import read_decisions
from maporl.training.config import RunConfig
from maporl.training.run import train
from maporl.types import Seat, Turn

PIECES = {"system": "", "private": "{private}", "peers": "{messages}", "answer": "Speak.", "revise": "Speak."}
PROMPTS = PromptTemplate(**PIECES)
STEPS = (1, 2, 3)


def answer(step: int) -> str:
    return f"I WANT TO ANSWER: def f(x): return x + {step}"


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colbench")
    for split, names in {"train": "ABCDEFGHIJKLMNOPQRSTUVWX", "test": "YZ"}.items():
        lines = [
            {
                "problem_description": f"{name} wants f.",
                "ground_truth": f"def f(x):\n    return x + {STEPS[n % 3]}",
                "test_cases": {"test1": "f(1)", "test2": "f(0.5)"},
            }
            for n, name in enumerate(names)
        ]
        (folder / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def start(rows: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model that asks or guesses in the first round, and guesses in the second: right in one case of three."""
    env, chats = ColBench(data=rows, num_rounds=2), []
    for question in env.questions("train"):
        begun = env.rules.start(question)
        reply = "return x + 2"
        (asked,) = env.rules.extend([(begun, [Turn("agent_0", 0, "Which x?")])])
        (told,) = env.rules.extend([(asked, [Turn("agent_1", 0, reply)])])
        for transcript in (begun, begun, told):
            chat = PROMPTS.messages(env.rules.observe(transcript, Seat("agent_0", transcript.completed_rounds)))
            for step in STEPS:
                chats.append([*chat, {"role": "assistant", "content": answer(step)}])
        first = PROMPTS.messages(env.rules.observe(begun, Seat("agent_0", 0)))
        chats += [[*first, {"role": "assistant", "content": "Which x?"}]] * 6
    folder = tmp_path_factory.mktemp("models") / "start"
    texts = [message["content"] for chat in chats for message in chat]
    make_model(folder, hidden_size=64, num_layers=1, intermediate_size=128, vocab_size=320, context=256, texts=texts)
    how = SFTSettings(steps=60, batch_size=32, learning_rate=1e-2, warmup_steps=5, device="cpu")
    sft(folder, [{"messages": chat} for chat in chats], folder, how)
    return str(folder)


@pytest.fixture
def config(start: str, rows: Path, tmp_path: Path) -> RunConfig:
    arguments: dict[str, Any] = {"trajectories": 4, "candidates": 4, "pairs": 2, "critic_epochs": 2, "batch_size": 8}
    return RunConfig(
        env="colbench",
        data=str(rows),
        num_rounds=2,
        model=start,
        prompts=PIECES,
        algorithm="sweet_rl",
        algorithm_args=arguments,
        partners={"agent_1": "simulated_human"},
        num_iterations=2,
        episodes_per_iteration=32,
        num_eval_questions=2,
        max_new_tokens=24,
        learning_rate=3e-3,
        num_threads=1,
        device="cpu",
        preflight="off",
        trackers=(),
        output_dir=str(tmp_path / "run"),
    )


def test_a_run(config: RunConfig) -> None:
    folder = train(config)
    (last,) = [row for row in folder.metrics if row["iteration"] == 2 and "evaluation" not in row]
    assert folder.status == "complete" and last["critic/pairs"] > 0 and last["dpo/pairs"] > 0
    assert 0.1 < last["rollout/measure/all_passed"] < 0.9 and last["rollout/measure/answered"] > 0.5
    found = read_decisions(folder.path / "decisions" / "candidates.jsonl")
    assert any(d.round == 1 for d in found)
    for d in found:
        assert "def f(x):\n    return x + " in d.state["private"]
        assert d.observation["private"] == "" and "def f" not in d.observation["role"] + d.observation["question"]


def test_the_reference_in_the_actors_prompt_is_refused_before_the_run(config: RunConfig) -> None:
    with pytest.raises(
        ValueError, match=r"agent_0 is shown 'def f\(x\):\\n    return x \+ \d' in its private information"
    ):
        train(config.merged({"env_args": {"view": "all"}}))
    assert not config.folder.exists()

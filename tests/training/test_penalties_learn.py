"""A penalty does something: a team that learned to ramble stops it, and knows as much as before."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maporl import RunConfig
from maporl.algorithms.sft import SFTSettings, sft
from maporl.rollouts.play import rollout
from maporl.settings import EMBEDDED, model_path
from maporl.training.run import train
from maporl.training.trainers.good_discussions import chats

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rambling(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The embedded model, taught to give its answer once, twice or three times in a message: 4 tokens each, and EOS."""
    config = RunConfig(env="two_witnesses", model=EMBEDDED, max_new_tokens=14, team="frozen")
    env, draw = config.build_env(), random.Random(0)
    team = config.build_team(env)

    def again(text: str) -> str:
        return re.sub(r"Answer: \d", lambda match: " ".join([match.group()] * draw.randint(1, 3)), text)

    rows = [
        {
            "prompt": [{**message, "content": again(message["content"])} for message in row["prompt"]],
            "completion": again(row["completion"]),
        }
        for row in chats(rollout(env, team, env.questions("train")[:400], seed=0), team)
    ]
    folder = str(tmp_path_factory.mktemp("rambling"))
    settings = SFTSettings(steps=40, learning_rate=3e-3, batch_size=64, warmup_steps=5)
    sft(model_path(EMBEDDED), rows, folder, settings)
    return folder


def trained(model: str, folder: Path, *penalties: dict[str, Any]) -> tuple[float, float, float]:
    """Tokens of a message in the first iteration and in the last two, and the accuracy of the last five."""
    run = train(
        env="two_witnesses", model=model, prompts=f"{model_path(EMBEDDED)}/prompts.yaml", algorithm="magrpo",
        env_args={"shaping": ["outcome_credit", *penalties]}, num_iterations=10, learning_rate=2e-3, max_new_tokens=24,
        num_eval_questions=16, preflight="off", trackers=(), output_dir=str(folder),
    )  # fmt: skip
    rows = [row for row in run.metrics if "rollout/completion_tokens" in row]
    tokens = [row["rollout/completion_tokens"] for row in rows]
    return tokens[0], float(np.mean(tokens[-2:])), float(np.mean([r["rollout/accuracy_round_2"] for r in rows[-5:]]))


def test_penalties_shorten_what_is_said_and_cost_no_accuracy(rambling: str, tmp_path: Path) -> None:
    """With them 8.8 tokens become 6.0 in ten iterations; without they stay 8.5."""
    before, plain, accuracy = trained(rambling, tmp_path / "plain")
    assert plain > 0.9 * before > 7
    overlong = {"name": "overlong", "max_tokens": 14, "buffer": 10}
    for number, penalty in enumerate((overlong, {"name": "repetition", "ngram": 2})):
        _, short, still = trained(rambling, tmp_path / str(number), penalty)
        assert short < 0.75 * plain and still > accuracy - 0.06

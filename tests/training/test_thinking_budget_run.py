"""A run with a budget of reasoning tokens: what is sampled, learned from, counted and kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from chat_templates import BEGINS, family_tokenizer
from run_toys import SMALL

from maporl.agents.models.make_model import make_model
from maporl.cli import main
from maporl.rollouts.records import read_records
from maporl.rollouts.store import EpisodeStore
from maporl.training.run import RunFolder, train


@pytest.fixture(scope="module")
def thinker(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("thinker")
    make_model(folder, hidden_size=32, num_layers=1, intermediate_size=64, vocab_size=314, context=512)
    family_tokenizer(BEGINS).save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("algorithm", ["mappo", "magrpo"])
def test_a_run_learns_within_a_budget(thinker: str, tmp_path: Path, algorithm: str) -> None:
    settings = SMALL | {"max_new_tokens": 12, "thinking_budget": 3, "num_iterations": 1, "preflight": "warn"}
    settings["algorithm_args"] = {"group_size": 4, "kl_coef": 0.1}
    train(env="run_toys:Letters", model=thinker, algorithm=algorithm, output_dir=tmp_path / "run", **settings)
    run = RunFolder(tmp_path / "run")
    figures = {k: v for row in run.metrics for k, v in row.items()}
    assert figures["rollout/thinking_cut"] > 0.5 and figures["test/thinking_cut"] > 0.5 and figures["train/entropy"] > 3
    assert figures["train/first_ratio_error"] < 1e-4 and figures["train/grad_norm/agent_0"] > 0
    assert run.config.thinking_budget == 3
    store = EpisodeStore(run.path / "discussions")
    kept = store.read(store.names[0])
    forced = [c.forced for e in kept for c in e.completions]
    assert np.mean([f is not None for f in forced]) == figures["rollout/thinking_cut"]
    assert all(f.tolist() == ([False] * 3 + [True] * 4 + [False] * 5)[: len(f)] for f in forced if f is not None)
    records = read_records(store.folder / f"{store.names[0]}.jsonl")
    assert [t.get("thinking_cut", False) for r in records for t in r["turns"]] == [f is not None for f in forced]

    tokens = store.tokens(store.names[0])
    for (n, i), credit in tokens.advantages.items():
        said, turn = tokens.messages[n, i], records[n]["turns"][i]
        texts = tokens.vocabulary[turn["agent"]]["texts"]
        assert said.forced is None or "\n</think>\n\n" in "".join(texts[str(t)] for t in said.completion_ids.tolist())
        assert np.isnan(credit).tolist() == ([False] * len(credit) if said.forced is None else said.forced.tolist())
        assert np.nanmean(credit, dtype=np.float64) == pytest.approx(turn["advantage"], abs=1e-6)
    assert len(tokens.advantages) == len(forced)

    longer = ["--thinking_budget", "7", "--eval_temperature", "1", "--name", "longer", "--num_eval_questions", "4"]
    assert main(["evaluate", str(run.path), *longer]) == 0
    turns = [t for r in read_records(run.path / "evaluations" / "longer.jsonl") for t in r["turns"]]
    assert all(t["reasoning"] for t in turns if t.get("thinking_cut")) and any(t.get("thinking_cut") for t in turns)


def test_slips_are_told_and_leave_no_folder(tiny_model: str, thinker: str, tmp_path: Path) -> None:
    slips = [
        (thinker, 0, "thinking_budget is 0; it must be at least 1"),
        (thinker, 12, "thinking_budget is 12; it must be at least 1 and less than max_new_tokens .12."),
        (
            thinker,
            8,
            "thinking_budget is 8, and closing the reasoning takes 4 tokens: of max_new_tokens 12 none is left",
        ),
        (tiny_model, 3, "thinking_budget is 3, but neither chat template nor tokenizer of .* knows </think>"),
    ]
    for model, budget, message in slips:
        settings = SMALL | {"max_new_tokens": 12, "thinking_budget": budget, "output_dir": tmp_path / "run"}
        with pytest.raises(ValueError, match=message) as error:
            train(env="run_toys:Letters", model=model, **settings)
        assert "\n" not in str(error.value) and not (tmp_path / "run").exists()

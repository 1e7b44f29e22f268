"""MAPoRL's setting (the word maporl_setting) on the real rows, with small random-weight checkpoints of the same architectures."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from maporl.agents.models.make_model import make_model
from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.experiments import configuration
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.training.config import RunConfig
from maporl.training.loop import check_context

SETTING = configuration("maporl_setting")


@pytest.fixture(scope="module")
def setting() -> Study:
    return Study.load(SETTING)


def split(source: Path, folder: Path, train: int) -> str:
    """A folder with the first rows of a file as training rows and the others as test rows: the hub has the real training rows."""
    folder.mkdir()
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:train]), encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(lines[train:]), encoding="utf-8")
    return str(folder)


def folders(data_dir: Path, tmp_path: Path) -> dict[str, str]:
    """Task -> its real rows."""
    return {
        "gsm8k": str(data_dir / "gsm8k"),
        "csqa": str(data_dir / "csqa"),
        "math": split(data_dir / "math" / "math500_test.jsonl", tmp_path / "math", 400),
        "anli": split(data_dir / "anli" / "r1_dev.jsonl", tmp_path / "anli", 800),
    }


def small(folder: Path, architecture: str, **tokenizer: Any) -> str:
    """A model of that family with the window of the smallest of the setting's."""
    sizes = {"hidden_size": 32, "num_layers": 1, "intermediate_size": 64, "context": 4096}
    make_model(folder / architecture, architecture=architecture, **sizes, **tokenizer)
    return str(folder / architecture)


def task(setting: Study, name: str) -> Mapping[str, Any]:
    return setting.tasks[name]  # type: ignore[call-overload, no-any-return]


@pytest.mark.parametrize("name", ["gsm8k_phi3", "math_phi3", "csqa_phi3", "anli_phi3"])
def test_the_longest_discussion_fits_the_smallest_window(
    name: str, setting: Study, data_dir: Path, tmp_path: Path
) -> None:
    """Of every row, on the longest real question, at the real length of messages; with messages of 1000 it would not.

    A small vocabulary made of the questions cuts them into no fewer tokens than they have words, digits and marks, about what the
    models' own tokenizers make of them.
    """
    given = {**task(setting, name), "data": folders(data_dir, tmp_path)[task(setting, name)["env"]]}
    every = RunConfig(env=given["env"], data=given["data"]).build_env()
    asked = [*every.questions("train"), *every.questions("test")]
    given["model"] = small(tmp_path, "phi3", vocab_size=900, texts=[q.text for q in asked])
    given |= {"dtype": "float32", "device": "cpu", "num_threads": 1}
    study = replace(setting, tasks={name: given})
    longest = max(asked, key=lambda q: len(q.text)).text
    tokens = AutoTokenizer.from_pretrained(given["model"])(longest)["input_ids"]
    assert len(tokens) >= len(re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]", longest))
    assert given["max_new_tokens"] >= 200
    assert "reconcile" in {entry.word for entry in study.named} and len(study.named) > 3
    for entry in study.named:
        config = study.config(name, entry, 0)
        joint = entry.algorithm == "mappo"
        env = config.build_env()
        team = config.build_team(env)
        assert team.policies[0].context_window == 4096
        check_context(env, team, asked, joint=joint)
        if joint:
            with pytest.raises(ValueError, match="more than the model's window of 4096"):
                check_context(env, replace(config, max_new_tokens=1000).build_team(env), asked, joint=joint)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_cell_of_the_setting_runs(setting: Study, data_dir: Path, tmp_path: Path) -> None:
    data = folders(data_dir, tmp_path)
    models = {architecture: small(tmp_path, architecture) for architecture in ("qwen2", "phi3")}
    tasks = {}
    for name in ("gsm8k_qwen500m", "math_phi3", "csqa_qwen3b", "anli_phi3"):
        given = task(setting, name)
        model = models["phi3" if "Phi-3" in given["model"] else "qwen2"]
        tasks[name] = {**given, "data": data[given["env"]], "model": model, "max_new_tokens": 6}
    # On one of them random text scores too, and is long enough that some of it comes to its end: there is something to learn from.
    letters = {"name": "maporl.envs.verifiers:Function", "function": "run_toys:share_of_letters"}
    tasks["csqa_qwen3b"] |= {"max_new_tokens": 64, "env_args": {"verifier": letters, "ground_truth": "choice"}}
    values = {
        "seeds": [0], "num_questions": 4, "num_iterations": 1, "episodes_per_iteration": 8, "num_eval_questions": 2, "dtype": "float32",
        "preflight": "off", "device": "cpu", "num_threads": 1, "output_dir": str(tmp_path / "study"),
        "algorithms": {"sft": {"algorithm_args": {"keep": 1.0, "steps": 3}}},
    }  # fmt: skip
    study = replace(setting, tasks=tasks).merged(values)
    results = load_results([run_study(study)])
    failed = {(c.task, c.method): c.error for c in results.cells if c.status != "complete"}
    # Random weights say nothing right, and fine-tuning on good discussions says so instead of training on bad ones.
    assert set(failed) == {(name, "sft") for name in tasks if name != "csqa_qwen3b"}, failed
    assert all("ends with a score above 0" in str(error) for error in failed.values()), failed
    (run,) = next(c.runs for c in results.cells if (c.task, c.method) == ("csqa_qwen3b", "sft"))
    (learned,) = (row for row in map(json.loads, (run / "metrics.jsonl").open()) if "sft/kept" in row)
    assert learned["sft/kept"] > 0 and learned["sft/messages"] > 0 and learned["sft/steps"] == 3
    before, after = (load_file(Path(f) / "model.safetensors") for f in (models["qwen2"], run / "model"))
    assert any(not before[name].equal(after[name]) for name in before)
    rows = summarise(results)["rows"]
    assert {r["method"] for r in rows} >= {n.word for n in study.named}
    assert all(r["accuracy"] is not None for r in rows if (r["task"], r["method"]) not in failed)

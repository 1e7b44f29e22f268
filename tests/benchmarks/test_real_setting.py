"""MAPoRL's setting (examples/maporl_setting.yaml) on the real rows, with small random-weight checkpoints of the same architectures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from maporl.agents.make_model import make_model
from maporl.benchmarks.matrix import run_study
from maporl.benchmarks.results import load_results
from maporl.benchmarks.study import Study
from maporl.benchmarks.summary import summarise

SETTING = Path(__file__).resolve().parents[2] / "examples" / "maporl_setting.yaml"


def split(source: Path, folder: Path, train: int) -> str:
    """A folder with the first rows of a file as training rows and the others as test rows: the hub has the real training rows."""
    folder.mkdir()
    lines = source.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "train.jsonl").write_text("".join(lines[:train]), encoding="utf-8")
    (folder / "test.jsonl").write_text("".join(lines[train:]), encoding="utf-8")
    return str(folder)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_cell_of_the_setting_runs(data_dir: Path, tmp_path: Path) -> None:
    data = {
        "gsm8k": str(data_dir / "gsm8k"),
        "csqa": str(data_dir / "csqa"),
        "math": split(data_dir / "math" / "math500_test.jsonl", tmp_path / "math", 400),
        "anli": split(data_dir / "anli" / "r1_dev.jsonl", tmp_path / "anli", 800),
    }
    for architecture in ("qwen2", "phi3"):
        make_model(
            tmp_path / architecture,
            architecture=architecture,
            hidden_size=32,
            num_layers=1,
            intermediate_size=64,
            context=4096,
        )
    setting = Study.load(SETTING)
    chosen = ("gsm8k_qwen500m", "math_phi3", "csqa_qwen3b", "anli_phi3")
    tasks = {}
    for name in chosen:
        given = setting.tasks[name]  # type: ignore[call-overload]
        model = tmp_path / ("phi3" if "Phi-3" in given["model"] else "qwen2")
        tasks[name] = {**given, "data": data[given["env"]], "model": str(model), "max_new_tokens": 6}
    small = {
        "seeds": [0], "num_questions": 4, "num_iterations": 1, "episodes_per_iteration": 8, "num_eval_questions": 2, "dtype": "float32",
        "device": "cpu", "num_threads": 1, "output_dir": str(tmp_path / "study"), "algorithms": {"sft": {"algorithm_args": {"keep": 1.0}}},
    }  # fmt: skip
    study = replace(setting, tasks=tasks).merged(small)
    results = load_results([run_study(study)])
    failed = {(c.task, c.method): c.error for c in results.cells if c.status != "complete"}
    # Random weights say nothing right, and fine-tuning on good discussions says so instead of training on bad ones.
    assert {method for _, method in failed} <= {"sft"}, failed
    assert all("no good discussion" in str(error) or "score" in str(error) for error in failed.values()), failed
    rows = summarise(results)["rows"]
    assert {r["method"] for r in rows} >= {n.word for n in study.named} - {"sft"}
    assert all(r["accuracy"] is not None for r in rows if r["method"] != "sft")

"""On every procedural task a verifier on the embedded warm start tells right from wrong on questions that it has not seen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from maporl.benchmarks.experiments.warm_start import make_warm_start
from maporl.cli import main

COMMON = ["--learning_rate", "1e-3", "--dropout", "0", "--device", "cpu"]  # tiny models take more than the paper's 2e-4
SETTINGS = {
    "two_witnesses": ["--env_args.verifier_share", "0.3", "--k", "5", "--epochs", "15", "--max_new_tokens", "14"],
    "vault": ["--env_args.verifier_share", "0.5", "--k", "8", "--epochs", "20", "--max_new_tokens", "14"],
    "arithmetic": [
        *(
            "--env_args.max_operand",
            "30",
            "--env_args.verifier_share",
            "0.9",
            "--temperature",
            "1.3",
            "--num_rounds",
            "1",
        ),
        *("--k", "10", "--epochs", "15", "--max_new_tokens", "8"),
    ],
}
"""Which answers each task takes, as docs/learned_verifier.md has them."""


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("task", SETTINGS)
def test_auroc_of_nine_tenths(task: str, tmp_path: Path) -> None:
    warm, folder = tmp_path / "warm", tmp_path / "verifier"
    make_warm_start(warm, task)
    assert main(["verifier", "train", str(folder), "--env", task, "--model", str(warm), *SETTINGS[task], *COMMON]) == 0
    figures = json.loads((folder / "evaluation.json").read_text())["verifier"]
    assert figures["questions"] >= 50
    assert figures["auroc"] >= 0.9
    assert figures["low"] >= 0.85

"""Commands that only read start at once: nothing of theirs imports a library that takes seconds to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from study_on_disk import cell, records, study

SLOW = {"torch", "transformers", "peft", "matplotlib"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["envs"],
        ["show", "STUDY"],
        ["show", "STUDY", "--question", "first"],
        ["report", "STUDY"],
        ["evaluate", "--help"],
        ["benchmark", "--help"],
    ],
    ids=" ".join,
)
def test_no_slow_library_is_imported(words: list[str], tmp_path: Path) -> None:
    folder = study(tmp_path / "study", [cell("debate", records([1, 0]), team=True), cell("vote", records([1, 1]))])
    argv = [str(folder) if word == "STUDY" else word for word in words]
    code = f"import sys; from maporl.cli import main; code = main({argv!r}); print(*sys.modules); sys.exit(code)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SLOW & set(done.stdout.splitlines()[-1].split()) == set()

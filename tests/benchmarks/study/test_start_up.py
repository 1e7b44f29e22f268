"""Commands that only read start at once: nothing of theirs imports a library that takes seconds to load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from study_on_disk import cell, records, study

SLOW = {"torch", "transformers", "peft", "matplotlib"}


COMMANDS = (
    "--help",
    "envs",
    "show STUDY",
    "show STUDY --question first",
    "report STUDY",
    "evaluate --help",
    "benchmark --help",
)


def test_no_slow_library_is_imported(tmp_path: Path) -> None:
    """Of one fresh process, which is asked after every command."""
    folder = study(tmp_path / "study", [cell("debate", records([1, 0]), team=True), cell("vote", records([1, 1]))])
    code = (
        "import sys; from maporl.cli import main\n"
        "for words in sys.argv[2:]:\n"
        "    status = main([word.replace('STUDY', sys.argv[1]) for word in words.split()])\n"
        f"    print('after', words, status, *({SLOW!r} & sys.modules.keys()), sep='|')"
    )
    done = subprocess.run([sys.executable, "-c", code, str(folder), *COMMANDS], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("after|")] == [
        f"after|{words}|0" for words in COMMANDS
    ]

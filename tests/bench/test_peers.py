"""The comparison with published reward functions: what differs is explained, and what is wrong is counted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.peers.writing_rewards import TASKS, main

THEIRS = '''
"""A stand-in with their shape: it adds one half for texts of the right number of words, and nothing else."""
VERBOSE = True
def {name}(completions1, completions2):
    STOPWORDS = {{"the", "of"}}
    transition_words = {{"cause": ["so", "as a result"], "time": ["then"]}}
    fits = lambda text: {least} <= len(text.split()) <= {most}
    return [0.5 * (fits(a) and fits(b)) for a, b in zip(completions1, completions2)]
'''


def test_what_is_not_explained_is_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "rewards").mkdir()
    for form, path, name in TASKS.values():
        least, most = form.words
        (tmp_path / path).write_text(THEIRS.format(name=name, least=least, most=most))
    (tmp_path / "scitldr").mkdir()
    row = {
        "abstract": [
            "Some networks learn the shape of things, so they see.",
            "Then we measure them on images of bones and stones.",
        ]
    }
    (tmp_path / "scitldr" / "dev.jsonl").write_text(json.dumps(row) + "\n")
    main([str(tmp_path), "--data", str(tmp_path), "--number", "40"])
    for found in capsys.readouterr().out.split("arxiv "):
        result = json.loads(found.removeprefix("tldr "))
        assert result["pairs"] == 40 and 0 < result["equal, with their word lists"] < 40
        assert result["not explained"] == 40 - result["equal, with their word lists"], (
            "it stops after the first level; ours does not"
        )

"""docs/environments.md: its code runs, and its lists of names are the registry's."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from maporl import registry

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "environments.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_code_runs(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    page = types.ModuleType("environments_page")  # a real module, so that what a block defines can be pickled
    monkeypatch.setitem(sys.modules, page.__name__, page)
    exec(compile(BLOCKS[number], f"block {number} of docs/environments.md", "exec"), page.__dict__)


def test_the_page_has_code() -> None:
    assert len(BLOCKS) == 6


@pytest.mark.parametrize("kind", ["env", "protocol", "shaping", "verifier"])
def test_names(kind: str) -> None:
    label = {"env": "task"}.get(kind, kind)
    (row,) = re.findall(rf"^\| {label} \|.*?\|(.*)\|$", PAGE, re.MULTILINE)
    listed = set(re.findall(r"`(\w+)`", row))
    assert listed == set(registry.names(kind))

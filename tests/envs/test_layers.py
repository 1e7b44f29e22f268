"""The architecture, kept by a test: who may import whom, and that the environments start without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maporl

PACKAGE = Path(maporl.__file__).parent
LEARNING = {"torch", "transformers", "peft", "trl", "accelerate"}
FORBIDDEN = {  # layer -> what its files never import, at their top or inside a function
    "envs": LEARNING | {"maporl.agents", "maporl.algorithms", "maporl.learned_verifier", "maporl.benchmarks"},
    "agents": {"maporl.envs", "maporl.algorithms", "maporl.learned_verifier", "maporl.benchmarks"},
    "algorithms": {"maporl.learned_verifier", "maporl.benchmarks"},
    "learned_verifier": {"maporl.benchmarks"},
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, `from a import b` as both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("layer", FORBIDDEN)
def test_layers(layer: str) -> None:
    files = list((PACKAGE / layer).rglob("*.py"))
    assert files
    for path in files:
        for name in imports(path):
            wrong = [bad for bad in FORBIDDEN[layer] if name == bad or name.startswith(bad + ".")]
            # Benchmarks of the environments live in benchmarks; learned verifiers in learned_verifier.
            assert not wrong, f"{path.relative_to(PACKAGE)} imports {name}"


def test_types_need_the_standard_library_and_numpy_only() -> None:
    for name in imports(PACKAGE / "types.py"):
        assert name.split(".")[0] in sys.stdlib_module_names | {"numpy"}, name


def test_importing_the_environments_stays_light() -> None:
    heavy = LEARNING | {"sympy", "datasets", "pyarrow", "math_verify", "pandas"}
    code = f"import sys, maporl.envs; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "[]"

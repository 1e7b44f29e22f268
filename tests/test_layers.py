"""The architecture, kept by a test: who may import whom, and that the environments start without torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import maporl

PACKAGE = Path(maporl.__file__).parent
ROOT = PACKAGE.parent
LEARNING = {"torch", "transformers", "peft", "trl", "accelerate"}
BASE = {
    "types",
    "registry",
    "settings",
    "errors",
    "hub",
    "printable",
    "atomic_files",
    "text_files",
    "roster",
    "reasoning",
    "messages",
    "hooks",
    "typed",
    "output_folder",
    "patient_client",
}
LAYERS = {  # layer -> the layers below it, which it may import; nothing else of maporl, at a file's top or inside a function
    "sandbox": BASE,
    "envs": BASE | {"sandbox"},
    "agents": BASE,
    "rollouts": BASE | {"sandbox", "envs", "agents"},
    "algorithms": BASE | {"sandbox", "envs", "agents", "rollouts"},
    "training": BASE | {"sandbox", "envs", "agents", "rollouts", "algorithms"},
    "learned_verifier": BASE | {"sandbox", "envs", "agents", "rollouts", "algorithms", "training"},
    "judges": BASE | {"sandbox", "envs", "agents"},
    "benchmarks": BASE | {"sandbox", "envs", "agents", "rollouts", "algorithms", "training"},
    "cli": BASE | {"sandbox", "envs", "agents", "rollouts", "algorithms", "training", "learned_verifier", "benchmarks"},
}
WITHIN_ENVS = {  # parts of the environments that know nothing of each other
    "protocols": {"shaping", "tasks", "verifiers"},
    "shaping": {"tasks", "verifiers"},
    "verifiers": {"protocols", "shaping", "tasks"},
}


def imports(path: Path) -> set[str]:
    """Every module that a file imports, `from a import b` as both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the whole name"
            found |= {str(node.module)} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def layers_of(path: Path) -> set[str]:
    """The layers that a file imports; of `from maporl import x` the one that is x, or "" for the package itself."""
    return {name.split(".")[1] for name in imports(path) if name.startswith("maporl.")}


def test_every_folder_is_a_layer_and_every_file_beside_them_belongs_to_the_base() -> None:
    assert {p.parent.name for p in PACKAGE.glob("*/__init__.py")} == set(LAYERS)
    assert {p.stem for p in PACKAGE.glob("*.py")} - {"__init__"} <= BASE


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_imports_only_what_is_below_it(layer: str) -> None:
    files = list((PACKAGE / layer).rglob("*.py"))
    assert files
    for path in files:
        wrong = layers_of(path) - LAYERS[layer] - {layer}
        wrong -= (
            {"__version__", "RunConfig", "load_team", "train"} if layer in ("benchmarks", "cli") else {"__version__"}
        )
        assert not wrong, f"{path.relative_to(PACKAGE)} imports {sorted(wrong)}"


def test_the_base_knows_nothing_of_the_layers() -> None:
    for name in BASE - {"types"}:
        if (PACKAGE / f"{name}.py").exists():
            assert layers_of(PACKAGE / f"{name}.py") <= BASE | {"__version__"}, name
    for name in imports(PACKAGE / "types.py"):
        assert name.split(".")[0] in sys.stdlib_module_names | {"numpy"} or name.startswith("maporl.errors"), name


def test_the_environments_import_nothing_that_learns() -> None:
    for path in (PACKAGE / "envs").rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & LEARNING, path


@pytest.mark.parametrize("part", WITHIN_ENVS)
def test_parts_of_the_environments_are_apart(part: str) -> None:
    for path in (PACKAGE / "envs" / part).rglob("*.py"):
        parts = {name.split(".")[2] for name in imports(path) if name.startswith("maporl.envs.")}
        assert not parts & WITHIN_ENVS[part], f"{path.name} imports {sorted(parts & WITHIN_ENVS[part])}"


def test_the_package_imports_nothing_of_the_checkout_around_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert not {name.split(".")[0] for name in imports(path)} & {"bench", "examples", "tests"}, path


def test_no_folder_is_crowded() -> None:
    """At most 15 modules a folder, so that a reader sees what there is at a glance; commands are a file each, however many."""
    for folder in {path.parent for path in PACKAGE.rglob("*.py")} - {PACKAGE / "cli"}:
        modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(modules) <= 15, f"{folder.relative_to(ROOT)}: {len(modules)} modules"


LONG_FILES = {  # lines; they may only become shorter
    "envs/discussion.py": 440, "benchmarks/study/study.py": 375, "training/config.py": 420, "types.py": 390,
    "benchmarks/study/matrix.py": 365,
    "benchmarks/methods/method.py": 350, "benchmarks/analysis/statistics.py": 330,
    "envs/tasks/collaboration_oracles.py": 320, "benchmarks/study/measuring.py": 310,
}  # fmt: skip
LONG_FUNCTIONS = {("envs/discussion.py", "__init__"): 66, ("learned_verifier/server.py", "application"): 70}


def test_a_file_is_one_idea_and_a_function_fits_on_a_screen() -> None:
    for path in PACKAGE.rglob("*.py"):
        name, text = str(path.relative_to(PACKAGE)), path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONG_FILES.get(name, 300), f"{name}: {len(text.splitlines())} lines"
        for function in ast.walk(ast.parse(text)):
            if isinstance(function, ast.FunctionDef):
                lines = (function.end_lineno or 0) - function.lineno + 1
                assert lines <= LONG_FUNCTIONS.get((name, function.name), 60), (
                    f"{name}: {function.name} has {lines} lines"
                )


def test_importing_the_environments_stays_light() -> None:
    heavy = LEARNING | {"sympy", "datasets", "pyarrow", "math_verify", "pandas"}
    code = f"import sys, maporl.envs; print(sorted({heavy!r} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == "[]"

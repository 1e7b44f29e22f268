"""Names to classes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from run_toys import Letters

from maporl import registry


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in registry.BUILTINS for name in registry.names(kind)]
)
def test_every_name_loads(kind: str, name: str) -> None:
    loaded = registry.load(kind, name)
    assert isinstance(loaded, type)
    assert (loaded.__doc__ or "").strip(), f"{name} has no line to be listed with"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gsm9k", r"unknown env 'gsm9k'\. Did you mean 'gsm8k'\? Built in: .*; your own: 'package\.module:Class'\."),
        ("zzz", r"unknown env 'zzz'\. Built in"),
        ("no_such_module:X", "there is no module 'no_such_module'"),
        ("run_toys:Nothing", "module 'run_toys' has no 'Nothing'"),
        ("os:path", "is a module, not a class"),
    ],
)
def test_unknown(spec: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        registry.load("env", spec)


def test_a_missing_import_inside_the_users_module_shows_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_more.py").write_text("import not_installed_anywhere\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        registry.load("env", "needs_more:Task")


def test_a_module_in_the_working_directory_is_found(tmp_path: Path) -> None:
    """Also by the console script, whose path does not hold the working directory."""
    (tmp_path / "lying_here.py").write_text("class Task:\n    pass\n")
    code = "import sys; sys.path = [p for p in sys.path if p]; from maporl import registry; print(registry.load('env', 'lying_here:Task'))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert "lying_here.Task" in done.stdout, done.stderr


def test_build() -> None:
    assert isinstance(registry.build("env", Letters), Letters)
    env = registry.build("env", {"name": "run_toys:Letters", "num_agents": 3}, num_agents=2, num_rounds=4)
    assert (len(env.possible_agents), env.num_rounds) == (3, 4)
    assert registry.build("env", env) is env
    with pytest.raises(ValueError, match="has no 'name'"):
        registry.build("env", {"num_agents": 3})


def test_an_unknown_argument_is_told_with_its_nearest() -> None:
    with pytest.raises(ValueError, match=r"shaping 'discounted_team' has no argument 'gama'\. Did you mean 'gamma'\?"):
        registry.build("shaping", {"name": "discounted_team", "gama": 0.3})
    with pytest.raises(ValueError, match="env 'run_toys:Letters' has no argument 'agents'"):
        registry.build("env", "run_toys:Letters", agents=3)


def test_listing_names_imports_nothing_heavy() -> None:
    code = "import sys; from maporl import registry; registry.names('algorithm'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0

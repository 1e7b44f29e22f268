"""`maporl ask` on a team that writes code: examples become asserts, and the sandbox says what came of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_toys import SMALL

from maporl import RunConfig
from maporl.agents import ScriptedAgent, Team
from maporl.cli import main
from maporl.envs.tasks.coding.examples import asked_name, examples_as_asserts
from maporl.sandbox import SandboxUnavailable
from maporl.training import run as run_module

Run = Callable[..., tuple[int, str, str]]
QUESTION = "Write double(x).\n>>> double(2)\n4\n>>> print(double('a'))\naa\n>>> double([])\n[0]\n"
AUX, MAIN = "def aux(x):\n    return x", "```python\ndef double(x):\n    y = aux(x)\n    z = y + y\n    return z\n```"


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        (QUESTION, "assert (double(2)) == 4\nassert str(double('a')) == 'aa'\nassert (double([])) == [0]"),
        (">>> xs = [1]\n>>> f(xs)\n{1}", "xs = [1]\nassert (f(xs)) == {1}"),
        ('def f(x):\n    """Adds.\n\n    >>> f(1)\n    2\n    """\n', "assert (f(1)) == 2"),
        (">>> f(1)\n<a thing>", "assert repr(f(1)) == '<a thing>'"),
        (">>> f(0)\nTraceback (most recent call last):\n    ...\nValueError: no", ""),
        (">>> f(\n1", ""),
        ("no examples: 2 >> 1", ""),
        ("   >>> f(1)\n 2", ""),  # the lines do not line up
    ],
)
def test_examples_become_asserts(text: str, tests: str) -> None:
    assert examples_as_asserts(text) == tests


def test_the_function_that_is_asked_for() -> None:
    assert asked_name("def a(): pass\ndef b(x):\n    '''Asks.'''\n", "assert a()") == "b"
    assert asked_name("Write it.", "import math\nn = len([1])\nassert math.isclose(total(n), 1)") == "total"
    assert asked_name("Write it.", "assert 1") == ""


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """run(words, env_args=...): asks a scripted team, which notes what it was told, in `heard`."""
    config = RunConfig(env="humaneval", **{**SMALL, "num_rounds": 2})
    config.save(tmp_path / "config.yaml")
    heard: list[str] = []

    def scripted(*_: Any, env: Any, **__: Any) -> Team:
        def say(observation: Any, draws: np.random.Generator) -> str:
            heard.extend(m["text"] for m in observation["transcript"] if m["agent"] == "tests")
            return AUX if observation["agent"].startswith("helper") else MAIN

        return Team({(a, r): ScriptedAgent(say) for a in env.possible_agents for r in range(env.num_rounds)})

    monkeypatch.setattr(run_module, "load_team", scripted)

    def call(*words: str, **env_args: Any) -> tuple[int, str, str]:
        config.merged({"env_args": env_args}).save(tmp_path / "config.yaml")
        heard.clear()
        capfd.readouterr()
        code = main(["ask", str(tmp_path), *words])
        return code, *capfd.readouterr()

    call.heard = heard  # type: ignore[attr-defined]
    return call


def test_the_teams_code_is_run_on_the_examples_and_feedback_tells_of_them(run: Run) -> None:
    code, out, err = run(QUESTION)
    assert code == 0, err
    assert "In the sandbox (namespaces" in out and ": it loads; 2 of 3 asserts pass." in out
    assert "  passed   assert double(2) == 4\n" in out and "  passed   assert str(double('a')) == 'aa'\n" in out
    assert "  failed   assert double([]) == [0]: double([]) gave []\n" in out
    assert "1 of 1 visible asserts pass." in run.heard[0]  # type: ignore[attr-defined]
    assert "(right)" not in out and "(wrong)" not in out


def test_asserts_of_a_file_and_none_at_all(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("assert double(3) == 6\nassert double(1) == 3\n")
    code, out, _ = run("Write double(x).", "--tests", str(file), visible="all")  # of asserts that are the user's own
    assert code == 0 and "1 of 2 asserts pass." in out and "failed   assert double(1) == 3: double(1) gave 2\n" in out
    code, out, _ = run("Write double(x).")
    assert code == 0 and ": it loads.\n" in out and "No asserts: give some with --tests FILE" in out
    code, out, _ = run("Write double(x).", num_agents=1, protocol="debate")
    assert code == 0 and "def double(x):\n" in out and ": it loads.\n" in out
    for text, message in (("x = 1", "has no assert that asks anything"), ("assert (", "is no Python")):
        file.write_text(text)
        code, _, err = run("Write double(x).", "--tests", str(file))
        assert code == 2 and message in err and "Traceback" not in err
    code, _, err = run("Write double(x).", "--tests", str(tmp_path / "gone.py"))
    assert code == 2 and "cannot be read" in err


def test_without_a_sandbox_nothing_is_run_and_the_remedy_is_said(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*given: Any) -> Any:
        assert given[-1] is False, "not even where the run was trained with unsafe"
        raise SandboxUnavailable("nothing keeps programs apart here; allow namespaces.")

    monkeypatch.setattr("maporl.envs.tasks.coding.programs.shared_sandbox", refused)
    code, out, err = run(QUESTION, unsafe=True)
    assert code == 0 and "no code is run, and nothing told between rounds: nothing keeps programs apart here" in err
    assert "Team answer:\n" in out and "In the sandbox" not in out and run.heard == []  # type: ignore[attr-defined]


def test_tests_belong_to_teams_that_write_code(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    RunConfig(env="arithmetic", **SMALL).save(tmp_path / "other" / "config.yaml")
    assert main(["ask", str(tmp_path / "other"), "1 + 1?", "--tests", "x.py"]) == 2

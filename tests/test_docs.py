"""The pages of docs/: every block of Python runs, every YAML block is settings, every command is one (test_readme.py runs many)."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import shlex
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from run_toys import SMALL

from maporl import RunConfig, registry
from maporl.agents.prompts import PromptTemplate
from maporl.benchmarks.experiments import warm_start
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.cli import COMMANDS
from maporl.cli.flags import Parser
from maporl.training.run import train

ROOT = Path(__file__).resolve().parents[1]
PAGES = {
    page.relative_to(ROOT).as_posix(): page.read_text(encoding="utf-8")
    for page in [*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")]
}
BLOCKS = [
    (page, language, number, body)
    for page, text in sorted(PAGES.items())
    for number, (language, body) in enumerate(re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
]
NOT_BY_THEMSELVES = {
    "README.md": "its blocks are run by test_readme.py",
    "docs/tutorial.md": "its notebook is run by test_tutorial.py",
    "docs/benchmarks.md": "parts of examples/own_method.py and of a method, which test_readme.py compares and runs",
}


def of(*languages: str) -> list:
    return [pytest.param(page, body, id=f"{page}-{n}") for page, language, n, body in BLOCKS if language in languages]


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_model: str) -> Callable[[str], None]:
    """A working directory; called with a page it puts there what that one takes for granted."""
    monkeypatch.chdir(tmp_path)

    def prepare(page: str) -> None:
        if page == "docs/collaboration.md":
            train(env="run_toys:Letters", model=tiny_model, output_dir="runs/first", **SMALL | {"num_iterations": 0})
        if page == "docs/report.md":
            partners = {"agent_0": "run_toys:Parrot", "agent_1": "run_toys:Parrot"}
            asked = {"tasks": ["arithmetic"], "methods": ["debate"], "num_questions": 2, "partners": partners}
            run_study(Study().merged(asked | {"output_dir": "study"}))
        if page == "docs/tasks.md":  # a minute of training: test_warm_start.py runs it
            signature = inspect.signature(warm_start.make_warm_start)
            monkeypatch.setattr(warm_start, "make_warm_start", lambda *args, **given: signature.bind(*args, **given))

    return prepare


@pytest.mark.parametrize(("page", "body"), [p for p in of("python") if p.values[0] not in NOT_BY_THEMSELVES])
def test_code_runs(page: str, body: str, prepared: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("a_page")  # a real one, so that what a block defines can be pickled
    prepared(page)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    short = body.replace("range(40)", "range(2)")  # of training
    exec(compile(short, page, "exec"), vars(module))


@pytest.mark.parametrize(("page", "body"), of("yaml"))
def test_yaml_is_settings(page: str, body: str) -> None:
    values = yaml.safe_load(body)
    if "methods" in values:
        assert list(Study().merged(values).cells())
    elif "examples" in values:
        assert PromptTemplate.load(values).examples
    else:
        RunConfig(env="two_witnesses").merged(values if "env_args" in values else {"env_args": values}).build_env()


@pytest.mark.parametrize(("page", "body"), of("bash", "sh", "text", "console"))
def test_commands_are_commands(page: str, body: str) -> None:
    """With flags and values that their parsers take; of modules, that they are there."""
    for line in body.replace("\\\n", " ").splitlines():
        words = (
            shlex.split(line.removeprefix("$ "), comments=True) if line.startswith(("$ ", "maporl ", "python ")) else []
        )
        if words[:1] == ["maporl"]:
            module = importlib.import_module(COMMANDS[words[1]][0])
            parser = Parser(prog=f"maporl {words[1]}")
            module.add_arguments(parser)
            given = parser.parse_args(words[2:]).given
            if words[1] == "train":
                RunConfig().merged({name: value for name, value in given.items() if name != "config"})
        elif words:
            assert words[:2] == ["python", "-m"] and importlib.util.find_spec(words[2]) is not None, line


@pytest.mark.parametrize("kind", ["env", "protocol", "shaping", "verifier", "feedback"])
def test_the_page_of_environments_names_all_that_is_built_in(kind: str) -> None:
    label = {"env": "task"}.get(kind, kind)
    (row,) = re.findall(rf"^\| {label} \|.*?\|(.*)\|$", PAGES["docs/environments.md"], re.MULTILINE)
    assert set(re.findall(r"`(\w+)`", row)) == set(registry.names(kind))


def test_every_kind_of_block_is_tested() -> None:
    tested = {"python", "yaml", "bash", "sh", "text", "console"}
    assert {language for _, language, _, _ in BLOCKS} <= tested
    assert len(of("python")) >= 16 and len(of("bash")) >= 20 and len(of("yaml")) >= 4

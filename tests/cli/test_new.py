"""`maporl new`: what it writes works, is found by its word once it is installed, and names that cannot be are told."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maporl import RunConfig, registry
from maporl.cli import main
from maporl.cli.new import KINDS, TEMPLATES


def install(package: Path, site: Path) -> None:
    """What an editable installation leaves: the folder on the path, and the metadata with the entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name']}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n")
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{word} = {value}\n" for word, value in words.items()) for group, words in groups
    ]
    (info / "entry_points.txt").write_text("".join(lines))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory in which installed packages are found; what is imported from it is forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "plugins", registry.plugins.__wrapped__)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def own_tests(module: str) -> Iterator[tuple[Callable[..., None], tuple]]:
    """The tests of a module with their arguments."""
    for name, test in vars(importlib.import_module(module)).items():
        if name.startswith("test_"):
            marks = getattr(test, "pytestmark", [])
            yield from ((test, (value,)) for value in marks[0].args[1]) if marks else [(test, ())]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_passes_its_own_tests_and_is_found_by_its_word(
    kind: str, site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["new", kind, "two_doors"]) == 0
    shown = capsys.readouterr().out
    assert "wrote two_doors/: README.md, pyproject.toml, test_two_doors.py, two_doors.py" in shown
    assert "pip install -e" in shown and "my_" not in shown
    assert not [f for f in (site / "two_doors").iterdir() if f"my_{kind}" in f.name + f.read_text()]
    monkeypatch.syspath_prepend(site / "two_doors")
    tests = list(own_tests("test_two_doors"))
    assert len(tests) >= 2
    for test, arguments in tests:
        test(*arguments)
    with pytest.raises(ValueError, match="unknown"):
        registry.load(KINDS[kind], "two_doors")
    install(site / "two_doors", site)
    assert registry.load(KINDS[kind], "two_doors").__name__ == "TwoDoors"
    assert registry.package(KINDS[kind], "two_doors") == "two_doors"


def test_a_task_and_an_algorithm_of_packages_are_listed_and_used(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, name in (("task", "two_doors"), ("algorithm", "swift"), ("protocol", "chaired")):
        main(["new", kind, name])
        install(site / name, site)
        sys.path.insert(0, str(site / name))
    (site / "swift" / "swift.py").write_text("import no_such_thing\n")
    capsys.readouterr()
    assert main(["envs"]) == main(["algorithms"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "two_doors 2 agents x 2 rounds The larger number" in listed and "[two_doors]" in listed
    assert "swift: cannot be used: algorithm 'swift' of the package 'swift' cannot be imported" in listed
    assert main(["algorithms", "swift"]) == 2
    assert "No module named 'no_such_thing'" in capsys.readouterr().err
    env = RunConfig(env="two_doors", env_args={"protocol": "chaired"}).build_env()
    assert (type(env).__name__, type(env.protocol).__name__) == ("TwoDoors", "Chaired")


def test_the_page_shows_what_is_written(site: Path) -> None:
    main(["new", "task", "two_doors"])
    page = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
    assert f"```python\n{(site / 'two_doors' / 'two_doors.py').read_text()}```" in page
    assert all(f"| `maporl.{kind}s` |" in page for kind in registry.BUILTINS)


def offer(site: Path, package: str, word: str, value: str, kind: str = "env") -> None:
    info = site / f"{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[maporl.{kind}s]\n{word} = {value}\n")


def test_one_bad_package_does_not_hide_the_list(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    offer(site, "none", "no_task", "pathlib:Path")
    (site / "leaves.py").write_text("raise SystemExit(3)\n")
    offer(site, "gone", "leaves", "leaves:Task")
    assert main(["envs"]) == 0
    listed = " ".join(capsys.readouterr().out.split())
    assert "no_task cannot be used: env 'no_task' makes a PosixPath; name a subclass of" in listed
    assert "leaves cannot be used" in listed and "gsm8k 2 agents" in listed


def test_packages_that_contradict_one_another_or_maporl(site: Path) -> None:
    offer(site, "one", "doors", "run_toys:Letters")
    offer(site, "other", "doors", "run_toys:NoTest")
    offer(site, "third", "arithmetic", "run_toys:Letters")
    offer(site, "fourth", "broken", "run_toys:Nothing")
    with pytest.raises(
        ValueError, match="'run_toys:Letters' of the package 'one' and 'run_toys:NoTest' of the package 'other'"
    ):
        registry.load("env", "doors")
    with pytest.warns(UserWarning, match="'arithmetic' is maporl's own; the package 'third'"):
        assert registry.load("env", "arithmetic").__module__ == "maporl.envs.tasks.arithmetic"
    with pytest.raises(ValueError, match="env 'broken' of the package 'fourth': module 'run_toys' has no 'Nothing'"):
        registry.load("env", "broken")
    with pytest.raises(ValueError, match="Did you mean 'doors'.* Of packages: arithmetic, broken, doors"):
        registry.load("env", "dors")
    assert main(["envs"]) == 0


@pytest.mark.parametrize("kind", registry.BUILTINS)
def test_every_kind_has_plugins(kind: str, site: Path) -> None:
    offer(site, "more", "a_word", "run_toys:Letters", kind)
    assert registry.names(kind)[-1] == "a_word" and registry.load(kind, "a_word").__name__ == "Letters"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("env doors", "'env' cannot be started; one of: task, algorithm, protocol."),
        ("task Two-Doors", "small letters, digits and _, such as 'two_doors'."),
        ("task 2x", "begin with a small letter"),
        ("task ../x", "begin with a small letter"),
        ("task class", "a keyword of Python"),
        ("task gsm8k", "the word of a task already"),
        ("task numpy", "a module that can be imported here already"),
        ("task question", "makes the class Question, which means something else already"),
        ("task value_error", "makes the class ValueError"),
        ("task there", "'there' is there already"),
    ],
)
def test_names_that_cannot_be(words: str, told: str, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (site / "there").mkdir()
    assert main(["new", *words.split()]) == 2
    error = capsys.readouterr().err
    assert told in error and len(error.splitlines()) == 1
    assert [path.name for path in site.iterdir()] == ["there"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_pip_installs_it(kind: str, tmp_path: Path) -> None:
    """With hatchling at hand: pytest -m slow tests/cli/test_new.py"""
    if importlib.util.find_spec("hatchling") is None:
        pytest.skip("hatchling is not installed, and tests do not use the network")
    command = [sys.executable, "-c", "import sys; from maporl.cli import main; sys.exit(main())"]
    subprocess.run([*command, "new", kind, "two_doors"], cwd=tmp_path, check=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-build-isolation", "--no-deps", "--target", "site"]
    subprocess.run([*pip, "./two_doors"], cwd=tmp_path, check=True)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "two_doors"], cwd=tmp_path, check=True)
    code = f"import sys; sys.path.append('site'); from maporl import registry; print(registry.load({KINDS[kind]!r}, 'two_doors'))"
    found = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "two_doors.TwoDoors" in found.stdout
    assert {file.name for file in TEMPLATES.glob("*/*.toml")} == {"pyproject.toml"}

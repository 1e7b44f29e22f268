"""The README, the pages about runs, and the examples: every command and every block of code runs (at small sizes)."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from run_toys import SMALL

import maporl
from maporl import registry
from maporl.benchmarks.methods.trained import PartnerSwap
from maporl.cli import COMMANDS, main
from maporl.envs import check_env
from maporl.output_folder import sign
from maporl.training.run import RunFolder

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = ["README.md", "docs/command_line.md", "docs/benchmarks.md"]
QUICK = [
    "--num_iterations", "1", "--episodes_per_iteration", "8", "--max_new_tokens", "4", "--num_eval_questions", "2",
    "--device", "cpu", "--trackers", "--preflight", "off",
]  # fmt: skip


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def _written(text: str) -> list[str]:
    """What a class does, without its documentation."""
    (of_class,) = ast.parse(text).body
    return [ast.dump(part) for part in of_class.body if not isinstance(part, ast.Expr)]  # type: ignore[attr-defined]


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with what the pages take for granted: rows, chats, the examples within reach."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(ROOT / "examples"), *sys.path])
    rows = [{"question": f"What is {n} + 1?", "answer": f"It is one more. #### {n + 1}"} for n in range(60)]
    for name, part in (("train", rows[:50]), ("test", rows[50:])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    chats = [{"prompt": f"What is {n}?", "completion": f"Answer: {n}"} for n in range(8)]
    (tmp_path / "chats.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    return tmp_path


def at_small_size(words: list[str]) -> list[str]:
    """A documented command as a test can run it: no download, a small model, few and short discussions."""
    words = ["tiny" if word.startswith("Qwen/") else word for word in words]
    words = [str(ROOT / word) if word.startswith("examples/") else word for word in words]
    if words[0] == "train" and "--resume" not in words:
        hub = any("gsm8k" in word for word in words)
        words += ["--data", "train.jsonl"] if hub and "--data" not in words else []
        words += QUICK
    if words[0] == "benchmark":
        words += [*QUICK, "--num_questions", "2", "--num_workers", "1"]
        words += ["--seeds", "0"] if "--seeds" in words else []
        words += ["--algorithms.mappo.num_iterations", "1"] if "--config" in words else []
    if words[0] == "make-model":
        words += ["--hidden_size", "32", "--num_layers", "1"]
    if words[0] == "sft":
        words += ["--device", "cpu"]
    if words[0] == "import-model":
        words[1] = "tiny"
    return words


@pytest.mark.parametrize("page", PAGES)
def test_every_command_runs(page: str, bench: Path, capfd: pytest.CaptureFixture[str], tiny_model: str) -> None:
    shutil.copytree(tiny_model, bench / "tiny")
    sign(bench / "tiny", {"command": "make-model"})  # which may then make it anew
    lines = [line for block in blocks((ROOT / page).read_text(encoding="utf-8"), "bash") for line in block.splitlines()]
    commands = [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("maporl ")]
    assert len(commands) >= 4
    if page == "README.md":
        (bench / "my_task.py").write_text(next(block for block in blocks(README, "python") if "DiscussionEnv" in block))
    for words in commands:
        if words[0] == "demo":  # minutes: test_demo.py runs it, test_docs.py reads its flags
            continue
        assert main(at_small_size(words)) == 0, (words, capfd.readouterr().err)
    sys.modules.pop("my_task", None)
    assert not [line for line in lines if line and not line.startswith(("maporl ", "make ", "pip install "))]


def test_make_targets_exist(capfd: pytest.CaptureFixture[str]) -> None:
    makefile = (ROOT / "Makefile").read_text()
    lines = [line for block in blocks(README, "bash") for line in block.splitlines() if line.startswith("make ")]
    assert [line.split()[1] for line in lines] == ["demo", "test"]
    for target in ("demo", "test", "test-slow", "lint", "package", "docs"):
        assert re.search(rf"^{target}: \$\(READY\)$", makefile, re.MULTILINE), f"{target} does its own set-up"
    ci = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^(?:exec )?(make \S+)$", ci, re.MULTILINE) == [
        "make lint",
        "make docs",
        "make package",
        "make test",
    ]


def test_versions_are_pinned() -> None:
    """Every dependency of the project, and no build that only some machines have."""
    pins = re.findall(r"^([A-Za-z0-9_.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert not [version for _, version in pins if "+" in version]
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(
        r'"([A-Za-z][A-Za-z0-9_-]*)[><=\[]', project.partition("dependencies = [")[2].partition("wandb")[0]
    )
    pinned = {name.lower().replace("_", "-") for name, _ in pins}
    assert len(needed) > 15 and not {name.lower().replace("_", "-") for name in needed} - pinned


def test_python_block_runs(
    bench: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (block,) = [b for b in blocks(README, "python") if "maporl.train(" in b]
    shutil.copytree(tiny_model, bench / "tiny")
    real = maporl.train
    monkeypatch.setattr(maporl, "train", lambda **given: real(**{**given, **SMALL}))
    space: dict[str, Any] = {}
    exec(compile(block, "README.md", "exec"), space)
    assert 0 <= float(capsys.readouterr().out) <= 1
    assert space["team"].agents == ("agent_0", "agent_1")


def test_own_task_is_short_and_trains(bench: Path, tiny_model: str) -> None:
    (block,) = [b for b in blocks(README, "python") if "DiscussionEnv" in b]
    body = block[block.index("class ") :].strip().splitlines()
    assert len([line for line in body if line.strip()]) <= 13
    (bench / "my_task.py").write_text(block)
    module = importlib.import_module("my_task")
    check_env(module.BrokenCamera())
    env = module.BrokenCamera()
    env.reset(options={"question": env.questions("test")[0]})
    env.step(f"Answer: {env.transcript.question.answer}")
    assert env.transcript.turns[0].correct
    assert main(["train", "--env", "my_task:BrokenCamera", "--model", tiny_model, "--output_dir", "run", *QUICK]) == 0
    sys.modules.pop("my_task")


def test_own_algorithm_is_short_and_learns(bench: Path, tiny_model: str) -> None:
    (block,) = [b for b in blocks(README, "python") if "PolicyGradient" in b]
    (bench / "my_algorithms.py").write_text(block)
    words = [
        "train",
        "--env",
        "run_toys:Letters",
        "--model",
        tiny_model,
        "--learning_rate",
        "1e-3",
        "--output_dir",
        "run",
        *QUICK,
    ]
    assert main([*words, "--algorithm", "my_algorithms:Reinforce"]) == 0
    assert RunFolder("run").metrics[1]["train/grad_norm/agent_0"] > 0
    sys.modules.pop("my_algorithms")


class TestExamples:
    def test_own_method(self, bench: Path, tiny_model: str) -> None:
        page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
        block, hooks = blocks(page, "python")
        assert block in (ROOT / "examples" / "own_method.py").read_text(encoding="utf-8")
        assert _written(hooks) == _written(inspect.getsource(PartnerSwap))
        words = ["benchmark", "--methods", "own_method:Careful", "--tasks", "arithmetic", "--model", tiny_model]
        assert main([*words, "--num_questions", "3", "--output_dir", "s", *QUICK]) == 0
        cell = json.loads((bench / "s/cells/arithmetic/own_method~Careful@5/seed_0/cell.json").read_text())
        assert (cell["label"], cell["costs"]["generations"]) == ("careful vote", 5)

    def test_own_task(self, bench: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
        from own_task import Reverse  # type: ignore[import-not-found]

        check_env(Reverse())
        real = maporl.train
        monkeypatch.setattr(maporl, "train", lambda **given: real(**{**SMALL, **given}))
        monkeypatch.setattr(sys, "argv", ["own_task.py", tiny_model])
        runpy.run_path(str(ROOT / "examples" / "own_task.py"), run_name="__main__")
        assert RunFolder("runs/reverse").status == "complete"

    def test_own_algorithm(self, bench: Path, tiny_model: str) -> None:
        source = (ROOT / "examples" / "own_algorithm.py").read_text()
        assert len(source[source.index("class ") :].splitlines()) < 40
        words = [
            "--env",
            "run_toys:Letters",
            "--model",
            tiny_model,
            "--algorithm",
            "own_algorithm:Reinforce",
            "--output_dir",
            "run",
        ]
        assert main(["train", *words, *QUICK, "--num_iterations", "2"]) == 0
        learned = [row["train/baseline"] for row in RunFolder("run").metrics if "train/baseline" in row]
        assert len(learned) == 2 and learned[0] != learned[1]

    def test_own_verifiers(self, bench: Path, tiny_model: str) -> None:
        from own_verifier import Brief, near  # type: ignore[import-not-found]

        from maporl.types import Question

        question = Question("3 + 4?", "7")
        assert [near(question, f"Answer: {n}") for n in (7, 8, 6, 9)] == [1.0, 0.5, 0.5, 0.0]
        assert near(question, "no idea") == 0.0
        score = Brief(max_words=2)(question, "well now Answer: 7")
        assert score.correct and score.value == pytest.approx(0.81)
        for number, spec in enumerate(("own_verifier:near", "{name: own_verifier:Brief, max_words: 5}")):
            words = [
                "--env",
                "arithmetic",
                "--env_args.verifier",
                spec,
                "--model",
                tiny_model,
                "--output_dir",
                f"run{number}",
            ]
            assert main(["train", *words, *QUICK]) == 0


class TestReal:
    """MAPoRL's setting on the real rows of GSM8K, with the real verifier, from any checkpoint folder."""

    def gsm8k(self, data_dir: Path, model: str, output: Path, num_iterations: int = 2) -> RunFolder:
        words = [
            "train", "--env", "gsm8k", "--data", data_dir / "gsm8k" / "train.jsonl", "--model", model, "--algorithm", "mappo",
            "--episodes_per_iteration", "8", "--max_new_tokens", "32", "--num_eval_questions", "8", "--num_iterations", num_iterations,
            "--output_dir", output, "--device", "cpu",
        ]  # fmt: skip
        assert main([str(word) for word in words]) == 0
        return RunFolder(output)

    def check(self, folder: RunFolder, data_dir: Path) -> None:
        assert (folder.config.num_agents, folder.config.num_rounds) == (2, 3)
        assert sorted(p.name for p in (folder.path / "adapters").iterdir()) == ["agent_0", "agent_1", "team.json"]
        records = [json.loads(line) for line in (folder.path / "evaluations" / "test.jsonl").open()]
        real = {json.loads(line)["question"] for line in (data_dir / "gsm8k" / "test.jsonl").open()}
        assert len(records) == 8 and {r["question"] for r in records} <= real
        assert all(len(r["turns"]) == 6 and r["turns"][0]["truth"]["status"] in ("ok", "no_answer") for r in records)

    def test_runs_and_is_evaluated_on_real_test_rows(self, data_dir: Path, tmp_path: Path) -> None:
        from maporl.agents.models.make_model import make_model

        make_model(tmp_path / "narrow", hidden_size=32, num_layers=1, intermediate_size=64)
        self.check(self.gsm8k(data_dir, str(tmp_path / "narrow"), tmp_path / "run", 1), data_dir)

    @pytest.mark.slow
    def test_takes_under_45_seconds(self, data_dir: Path, tmp_path: Path) -> None:
        """Seconds of this process's own work (import included), so that a busy machine does not decide."""
        import subprocess
        import time

        assert main(["make-model", str(tmp_path / "m")]) == 0
        code = "import sys, test_readme as t; from pathlib import Path; t.TestReal().gsm8k(*map(Path, sys.argv[1:]))"
        import resource

        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(
            [sys.executable, "-c", code, str(data_dir.resolve()), str(tmp_path / "m"), str(tmp_path / "run")],
            cwd=ROOT / "tests", check=True,
        )  # fmt: skip
        after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - began
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        assert min(spent, wall) < 45, (spent, wall)
        self.check(RunFolder(tmp_path / "run"), data_dir)


class TestPages:
    def test_the_tree_shows_files_that_exist_and_misses_none_on_top(self) -> None:
        tree = next(
            b for b in blocks((ROOT / "docs" / "architecture.md").read_text("utf-8"), "text") if b.startswith("maporl/")
        )
        shown, folders = set(), [""]
        for line in tree.splitlines():
            depth = (len(line) - len(line.lstrip())) // 2
            names = re.split(r"\s{2,}", line.strip())
            listed = names if all(n.endswith("/") for n in names) else re.split(r", (?=\w+\.py)", names[0])
            for name in listed:
                path = "".join([*folders[1 : depth + 1], name])
                assert (ROOT / path).exists(), path
                shown.add(path)
            if names[0].endswith("/"):
                folders = [*folders[: depth + 1], names[0]]
        on_top = {f"maporl/{p.name}{'/' if p.is_dir() else ''}" for p in (ROOT / "maporl").iterdir()}
        assert on_top - shown <= {"maporl/__init__.py", "maporl/py.typed", "maporl/__pycache__/"}

    @pytest.mark.parametrize(
        "page", sorted(p.relative_to(ROOT).as_posix() for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
    )
    def test_links_lead_somewhere(self, page: str) -> None:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8")):
            if "://" not in target:
                assert ((ROOT / page).parent / target).exists(), target

    def test_every_page_is_linked_from_somewhere(self) -> None:
        texts = "".join(p.read_text(encoding="utf-8") for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
        pages = [p for p in ROOT.glob("docs/*.md") if p.name != "index.md"]  # the site's first page, which shows README
        assert all(f"{p.name})" in texts or f"{p.name}#" in texts for p in pages)

    def test_lists_are_complete(self) -> None:
        page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
        assert all(f"| `maporl {name}" in page for name in COMMANDS)
        training = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
        assert all(f"| `{name}` |" in training for name in registry.names("algorithm"))
        assert all(f"`{name}`" in README for name in registry.names("algorithm"))

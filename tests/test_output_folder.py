"""Folders that commands write: new, empty or their own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from peft import AutoPeftModelForCausalLM

from maporl.agents.models.policy import Policy
from maporl.cli import main
from maporl.output_folder import check_output, sign
from maporl.training.run_folder import RunFolder


def test_the_rule(tmp_path: Path) -> None:
    check_output(tmp_path / "new")
    (tmp_path / ".hidden").touch()
    check_output(tmp_path)
    for name in "abc":
        (tmp_path / name).touch()
    with pytest.raises(
        ValueError, match=r"^DIR '.*' holds 'a', 'b' and 1 more; choose a folder that is new or empty\.$"
    ):
        check_output(tmp_path, "DIR", own=("study.yaml",))
    check_output(tmp_path, own=("b",))
    sign(tmp_path, {"command": "export", "run": "x"})
    check_output(tmp_path, made={"command": "export", "run": "x"})
    with pytest.raises(ValueError, match="choose a folder"):
        check_output(tmp_path, made={"command": "export", "run": "y"})
    with pytest.raises(ValueError, match="output_dir '.*a' is a file; name a folder"):
        check_output(tmp_path / "a")


def test_the_folder_that_is_looked_at_is_the_one_that_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    literal = tmp_path / "~" / "runs"  # --output_dir=~/runs, which bash leaves as it is
    literal.mkdir(parents=True)
    (literal / "mine.txt").touch()
    with pytest.raises(ValueError, match="holds 'mine.txt'"):
        RunFolder("~/runs").check_free()


@pytest.mark.parametrize(
    "command",
    [
        "train --model tiny --output_dir used",
        "benchmark --model tiny --output_dir used",
        "demo --output_dir used",
        "make-model used",
        "import-model tiny used",
        "sft tiny rows.jsonl used",
        "verifier train used --model tiny --env two_witnesses --env_args.verifier_share 0.3 --max_new_tokens 4",
        "export run used",
        "report run --tables used",
        "report run --output used/mine.html",
    ],
)
def test_no_command_writes_among_files_of_others(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], trained_run: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").symlink_to(trained_run)
    (tmp_path / "tiny").symlink_to(trained_run.parent / "tiny")
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "mine.html").write_text("<html>mine</html>")
    assert main(command.split()) == 2
    assert "used" in capsys.readouterr().err.splitlines()[-1]
    assert os.listdir("used") == ["mine.html"] and Path("used/mine.html").read_text() == "<html>mine</html>"


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose model was named relative to the working directory."""
    place, before = tmp_path_factory.mktemp("folders"), Path.cwd()
    os.chdir(place)
    try:
        assert main(["make-model", "tiny", "--hidden_size", "32", "--num_layers", "1"]) == 0
        size = "--num_iterations 1 --episodes_per_iteration 8 --num_eval_questions 2 --max_new_tokens 2 --preflight off --trackers"
        assert main(f"train --model tiny --algorithm magrpo {size} --output_dir run".split()) == 0
    finally:
        os.chdir(before)
    return place / "run"


def test_an_adapter_finds_its_base_from_anywhere(
    trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained_run, moved)
    monkeypatch.chdir(tmp_path)
    settings = json.loads((moved / "adapters" / "agent_0" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(trained_run.parent / "tiny")
    assert AutoPeftModelForCausalLM.from_pretrained(moved / "adapters" / "agent_0").peft_config
    policy = Policy.from_pretrained(str(trained_run.parent / "tiny"))
    policy.model.name_or_path = policy.model.config.name_or_path = "somebody/model"
    policy.add_adapter("new")
    policy.save_adapter("new", tmp_path / "of_a_hub_id")
    written = json.loads((tmp_path / "of_a_hub_id" / "adapter_config.json").read_text())
    assert written["base_model_name_or_path"] == "somebody/model"


def test_an_export_replaces_its_own_and_no_other(
    trained_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert main(["export", str(trained_run), str(tmp_path / "plain")]) == 0
    shutil.copytree(trained_run, tmp_path / "other")
    assert main(["export", str(tmp_path / "other"), str(tmp_path / "plain")]) == 2
    assert "choose a folder that is new or empty" in capsys.readouterr().err

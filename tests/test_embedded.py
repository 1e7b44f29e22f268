"""The word "embedded" names the model of the package wherever a model is named, and stays a word in what is written."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from peft import AutoPeftModelForCausalLM
from run_toys import SMALL

import maporl
from maporl import RunConfig
from maporl.agents.models.policy import Policy
from maporl.agents.prompts import PromptTemplate
from maporl.cli import main
from maporl.settings import EMBEDDED, model_name, model_path

FOLDER = Path(maporl.__file__).parent / "embedded"
TRAINED = SMALL | {"env": "two_witnesses", "algorithm": "magrpo", "num_iterations": 1}


@pytest.fixture(autouse=True)
def beside_a_namesake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is called as the model is, and is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / EMBEDDED).mkdir()
    (tmp_path / EMBEDDED / "prompts.yaml").write_text("answer: Not these.\n")


def test_the_word_is_one_name_on_every_machine(tmp_path: Path) -> None:
    assert (model_name("embedded"), model_path("embedded")) == ("embedded", str(FOLDER))
    assert model_name("./embedded") == str(tmp_path / "embedded")
    assert (model_name("owner/name"), model_path("./embedded"), model_path("")) == ("owner/name", "./embedded", "")


def test_it_brings_its_prompts() -> None:
    own = PromptTemplate.load(FOLDER / "prompts.yaml")
    assert own.answer == "Report."
    assert RunConfig(model="embedded").build_prompts() == own
    assert RunConfig(model={"agent_0": "embedded", "agent_1": str(FOLDER)}).build_prompts() == own
    assert RunConfig(model="./embedded").build_prompts().answer == "Not these."


def test_a_run_keeps_the_word_and_is_used_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "run"
    maporl.train(**TRAINED, model="embedded", output_dir=str(run))
    assert yaml.safe_load((run / "config.yaml").read_text())["model"] == "embedded"
    team = json.loads((run / "adapters" / "team.json").read_text())
    assert {speaker["base"] for rounds in team.values() for speaker in rounds} == {"embedded"}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert [policy.tokenizer.name_or_path for policy in maporl.load_team(run).policies] == ["embedded"]
    views = ["--private.agent_0", "Clear view: 7.", "--private.agent_1", "Foggy view: 3."]
    assert main(["ask", str(run), "Which digit is on the gate?", *views]) == 0
    assert main(["evaluate", str(run), "--name", "again", "--num_eval_questions", "4"]) == 0
    assert main(["export", str(run), "plain"]) == 0
    assert Policy.from_pretrained("plain/agent_1").hidden_size == Policy.from_pretrained("embedded").hidden_size
    # PEFT knows no words: what it reads is a folder.
    assert AutoPeftModelForCausalLM.from_pretrained(run / "adapters" / "agent_0").get_base_model() is not None


def test_each_agent_may_name_it_and_it_is_loaded_once() -> None:
    both = {"agent_0": "embedded", "agent_1": "embedded"}
    config = RunConfig(model=both, **{name: value for name, value in TRAINED.items() if name != "trackers"})
    env = config.build_env()
    assert len(config.build_team(env).policies) == 1
    assert config.resolved(env).model == both


def test_a_verifier_on_it_keeps_the_word(tmp_path: Path) -> None:
    rows = [
        {"question": f"Which digit is {n}?", "gold": str(n), "response": f"Answer: {n + shift}", "correct": not shift}
        for n in range(8)
        for shift in (0, 1)
    ]
    Path("labelled.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ["verifier", "train", "v", "--model", "embedded", "--answers", "labelled.jsonl", "--device", "cpu"]
    assert main(words) == 0
    card = json.loads((tmp_path / "v" / "verifier.json").read_text())
    assert (card["base"], card["settings"]["dtype"]) == ("embedded", "float32")  # the usual one, written out

"""The demo: equal budgets, honest rows, and that co-training pays (slow)."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml

from maporl.benchmarks.analysis.results import load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.experiments import configuration
from maporl.benchmarks.experiments.warm_start import PROMPTS, make_warm_start
from maporl.benchmarks.study.keys import TrainingKey
from maporl.benchmarks.study.matrix import run_study
from maporl.benchmarks.study.study import Study
from maporl.cli.demo import before_and_after, demo, demo_study
from maporl.envs.tasks.two_witnesses import LONE_CEILING
from maporl.rollouts.records import read_records


def trainings(algorithm: str, folder: Path, **settings: object) -> dict[str, TrainingKey]:
    """By the folder of each run."""
    (folder / "start").mkdir()
    (folder / "start" / "prompts.yaml").write_text(
        yaml.safe_dump(asdict(PROMPTS))
    )  # all of a warm start that is looked at
    study = demo_study(settings.pop("task", "two_witnesses"), algorithm, folder / "start", folder, **settings)  # type: ignore[arg-type]
    found = [t for task in study.tasks for named in study.named for t in study.trainings(task, named, 0)]
    return {"/".join(t.folder.parts[2:-1]): t for t in found}


def test_every_run_has_the_same_budget(tmp_path: Path) -> None:
    runs = trainings("ippo", tmp_path)
    assert set(runs) == {
        "single_agent~ippo/agent_0", "single_agent~ippo/agent_1", "single_agent_told~ippo", "train_one~ippo/agent_0",
        "train_one~ippo/agent_1", "ippo",
    }  # fmt: skip
    own = ("frozen", "num_agents", "num_rounds", "env_args")  # what the rows are about
    shared = [{k: v for k, v in asdict(t.config).items() if k not in own} for t in runs.values()]
    for settings, training in zip(shared, runs.values(), strict=True):
        settings["prompts"] = training.config.build_prompts()  # a file or what it says
    assert all(s == shared[0] for s in shared)
    assert runs["train_one~ippo/agent_0"].config.frozen == ("agent_1",)
    assert runs["single_agent~ippo/agent_1"].config.env_args["view"] == "agent_1"
    assert runs["single_agent_told~ippo"].config.env_args["view"] == "all"


def test_a_vault_of_three_digits_has_three_seats(tmp_path: Path) -> None:
    runs = trainings("magrpo", tmp_path, task="vault", num_agents=3)
    alone = runs["single_agent~magrpo/agent_2"].config
    assert (alone.env_args["view"], alone.env_args["num_digits"], alone.num_agents) == ("agent_2", 3, 1)
    assert runs["train_one~magrpo/agent_1"].config.frozen == ("agent_0", "agent_2")


def test_a_foreign_folder_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"thesis\.txt"):
        demo(output_dir=tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_unknown_names_are_told_before_the_work(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'mappo'"):
        demo(algorithm="mapo", output_dir=tmp_path / "a")
    with pytest.raises(ValueError, match="no warm start for 'gsm8k'"):
        demo("gsm8k", output_dir=tmp_path / "b")


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("algorithm", ["mappo", "ippo", "magrpo"])
def test_co_training_pays(algorithm: str, tmp_path: Path) -> None:
    """Mean of three seeds: at least .95 sampled and .99 greedy, and 20 points over training one."""
    make_warm_start(tmp_path / "start")
    study = demo_study("two_witnesses", algorithm, tmp_path / "start", tmp_path / "s", seeds=(0, 1, 2), num_samples=4)
    study = study.merged({"methods": [algorithm, f"train_one/{algorithm}"]})
    rows = {r["method"]: r for r in summarise(load_results([run_study(study)]))["rows"]}
    together, one = rows[algorithm], rows[f"train_one/{algorithm}"]
    print(algorithm, together["seeds"], together["greedy"], one["seeds"])
    assert together["accuracy"] >= 0.95
    assert together["greedy"] >= 0.99
    assert together["accuracy"] - one["accuracy"] >= 0.20


def test_a_real_models_demo_is_the_shipped_configuration(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[tuple[Study, str]] = []

    def note(study: Study, watch: object, command: str, measure: bool) -> Path:
        ran.append((study, command))
        return Path(study.output_dir)

    monkeypatch.setattr("maporl.benchmarks.study.matrix.run_study", note)
    demo(model=tiny_model, output_dir=tmp_path / "demo", num_iterations=2, seed=3)
    ((study, command),) = ran
    words = ["single_agent", "discussion", "single_agent/magrpo", "train_one/magrpo", "magrpo"]
    more = {"methods": words, "algorithms": {"magrpo": {"num_iterations": 2}}, "model": str(study.settings.model)}
    shipped = Study.load(configuration("together"), configuration("real"), values=more)
    assert [entry.word for entry in study.named] == words
    for entry, same in zip(study.named, shipped.named, strict=True):  # so more seeds go into the same folder
        assert study.config("two_witnesses", entry, 3) == shipped.config("two_witnesses", same, 3)
    sizes = ("num_questions", "num_samples", "ablate_messages")
    assert [getattr(study, size) for size in sizes] == [getattr(shipped, size) for size in sizes] == [96, 2, True]
    assert study.seeds == (3,) and command.endswith("--algorithm magrpo --seed 3 --num_agents 2 --num_iterations 2")
    assert study.algorithms == shipped.algorithms
    start = Path(str(study.settings.model))
    assert start == tmp_path / "warm_starts" / f"{Path(tiny_model).name}_two_witnesses_2_3"
    assert (start / "model.safetensors").is_file() and (start / "prompts.yaml").is_file()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"task": "vault"}, "no start for 'vault' yet; there is one for: two_witnesses, shared_numbers"),
        ({"num_agents": 3}, "num_agents is 3; the demo of two_witnesses is about two"),
        ({"algorithm": "sft"}, "'sft' cannot train every row of the demo .* such as magrpo"),
        ({"model": "no/such"}, "model 'no/such' cannot be loaded"),
        ({"model": "embedded", "chat_template": "plain"}, "the embedded model has its own; leave it out"),
    ],
)
def test_a_demo_that_cannot_start_leaves_an_earlier_one(
    tiny_model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, object], message: str
) -> None:
    monkeypatch.setattr("maporl.agents.models.checkpoints.reachable", lambda url: False)
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "study.yaml").touch()
    with pytest.raises(ValueError, match="holds a study that no demo wrote"):  # which would be emptied
        demo(model=tiny_model, output_dir=tmp_path / "demo")
    (tmp_path / "demo" / "machine.json").write_text('{"command": "maporl demo"}')
    with pytest.raises(ValueError, match=message):
        demo(**{"model": tiny_model, "output_dir": tmp_path / "demo", **settings})  # type: ignore[arg-type]
    assert (tmp_path / "demo" / "study.yaml").is_file()


def test_a_demo_whose_team_could_not_be_trained_shows_no_discussions(tmp_path: Path) -> None:
    settings = {"num_eval_questions": 2, "num_iterations": 1, "episodes_per_iteration": 4, "max_new_tokens": 1}
    study = Study().merged(
        {"methods": ["discussion", "magrpo"], "model": "embedded", "output_dir": str(tmp_path / "s"), **settings}
        | {"num_questions": 2, "device": "cpu"}
    )
    run_study(study)  # nothing can be read of one token: the preflight stops the training
    cells = {cell.method: cell.status for cell in load_results([tmp_path / "s"]).cells}
    assert (cells["discussion"], cells["magrpo"]) == ("complete", "failed")
    assert before_and_after(tmp_path / "s") == []


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_whole_demo(tmp_path: Path) -> None:
    folder = demo(output_dir=tmp_path / "demo", algorithm="magrpo", num_iterations=3)
    rows = summarise(load_results([folder]))["rows"]
    lone = [
        r
        for r in rows
        if r["method"].startswith(("single_agent/", "self_consistency")) or r["method"] == "single_agent"
    ]
    assert len(lone) >= 4 and all(row["low"] <= LONE_CEILING for row in lone)
    for before, after in before_and_after(folder):
        assert before["question_id"] == after["question_id"] and before["team_correct"] < 1
    test = read_records(folder / "cells" / "two_witnesses" / "magrpo" / "seed_0" / "records.jsonl")
    assert np.mean([r["ablated"]["team_correct"] for r in test if not r["greedy"]]) >= 0
    assert (
        demo(output_dir=tmp_path / "demo", algorithm="magrpo", num_iterations=1) == folder
    )  # an earlier demo is replaced

"""MAPoRL's experiments: every shipped configuration is a sound study, and its rows are what its comments say."""

from __future__ import annotations

from pathlib import Path

import pytest

from maporl.benchmarks.experiments import EXPERIMENTS, configuration
from maporl.benchmarks.study import Study
from maporl.cli import main

WORDS = ("heterogeneous", "incentives", "teams", "transfer", "verifiers")


def test_the_words() -> None:
    assert tuple(EXPERIMENTS) == WORDS
    assert configuration("teams") == EXPERIMENTS["teams"]


def test_a_file_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "teams").write_text("seeds: [4]\n")
    monkeypatch.chdir(tmp_path)
    assert Study.load(configuration("teams")).seeds == (4,)


def test_neither_a_file_nor_a_word(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "--config", "incentive"]) == 2
    message = capsys.readouterr().err
    assert "config 'incentive' is no file" in message and "'incentives'" in message and "transfer" in message


@pytest.mark.parametrize("word", WORDS)
def test_a_configuration_is_maporls_setting(word: str) -> None:
    study = Study.load(configuration(word))
    assert len(study.seeds) >= 3
    for task in study.tasks:
        for entry in study.named:
            if entry.method.team and entry.method.samples == 1:
                config = study.config(task, entry, 0)
                assert (config.num_agents, config.num_rounds) == (2, 3), entry.word
                assert "discounted_team" in str(config.env_args["shaping"])
        sampled = {t.config.num_iterations * t.config.episodes_per_iteration for t in trainings(study, task)}
        assert len(sampled) == 1, "equal sample budget"


def trainings(study: Study, task: str) -> list:
    """Of all rows of a task with the first seed, but those of the learned verifier, which is not trained here."""
    trained = [e for e in study.named if e.algorithm is not None and e.word != "learned"]
    return [t for e in trained for t in study.trainings(task, e, 0)]


def test_one_incentive_at_a_time() -> None:
    study = Study.load(configuration("incentives"))
    rows = {e.word: e.settings["env_args"]["shaping"] for e in study.named if e.settings}
    assert len(rows) == 8
    for word, (reward, incentive) in rows.items():
        which, size = word.split("_")
        assert (reward, incentive) == ("discounted_team", {"name": "incentives", which: int(size)})


def test_on_a_real_model_by_two_flags() -> None:
    study = Study.load(configuration("teams")).merged({"model": "somewhere", "tasks": ["gsm8k"]})
    config = study.config("gsm8k", study.named[-1], 0)
    assert (config.model, config.env) == ("somewhere", "gsm8k")


def test_who_sits_beside_whom_and_what_is_shared() -> None:
    study = Study.load(configuration("teams"))
    rows = {e.word: e for e in study.named}
    folders = {s: study.trainings("two_witnesses", rows["mappo"], s)[0].folder for s in study.seeds}
    swapped = study.trainings("two_witnesses", rows["partner_swap/mappo"], 2)
    assert [t.folder for t in swapped] == [folders[2], folders[0]]
    assert swapped[0].config == study.trainings("two_witnesses", rows["mappo"], 2)[0].config


def test_transfer_shares_the_trainings_of_the_other_task() -> None:
    study = Study.load(configuration("transfer"))
    rows = {e.word: e for e in study.named}
    ordinary = study.trainings("two_witnesses", rows["mappo"], 1)
    assert study.trainings("vault", rows["mappo from two_witnesses"], 1) == ordinary
    cells = [(c.task, c.named.word) for c in study.cells() if c.named.trained_on and c.seed == 0]
    assert cells == [("two_witnesses", "mappo from vault"), ("vault", "mappo from two_witnesses")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"methods": ["partner_swap/mappo"], "seeds": [3]}, "agents of different runs; give at least two seeds"),
        ({"methods": [{"name": "mappo", "trained_on": "vaults"}]}, "trained_on 'vaults' is no task of the study"),
        ({"methods": [{"name": "debate", "trained_on": "vault"}]}, "what trained its agents, as in debate/mappo"),
        ({"methods": ["partner_swap"]}, "needs an algorithm"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study().merged({"tasks": ["two_witnesses", "vault"], "seeds": [0, 1], **changes})

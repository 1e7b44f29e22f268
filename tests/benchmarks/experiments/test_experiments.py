"""MAPoRL's experiments: every shipped configuration is a sound study, and its rows are what its comments say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from maporl.benchmarks.experiments import EXPERIMENTS, configuration
from maporl.benchmarks.experiments.warm_start import PROMPTS, make_warm_start
from maporl.benchmarks.study.study import Study
from maporl.cli import main
from maporl.settings import model_path

WORDS = (
    "coding", "heterogeneous", "incentives", "malt", "maporl_setting", "real", "teams", "together", "transfer", "two_witnesses_study",
    "verifiers",
)  # fmt: skip


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
    assert "config 'incentive': no such file" in message and "'incentives'" in message and "transfer" in message


@pytest.mark.parametrize(
    "word", sorted({*WORDS} - {"coding", "malt", "maporl_setting", "real", "together", "two_witnesses_study"})
)  # other papers', all methods, a model's settings, and two rounds
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
    """Of all rows of a task with the first seed, but those of the learned verifiers, which are not trained here."""
    trained = [e for e in study.named if e.algorithm is not None and not e.word.startswith("learned")]
    return [t for e in trained for t in study.trainings(task, e, 0)]


def test_one_incentive_at_a_time() -> None:
    study = Study.load(configuration("incentives"))
    rows = {e.word: e.settings["env_args"]["shaping"] for e in study.named if e.settings}
    assert len(rows) == 8
    for word, (reward, incentive) in rows.items():
        which, size = word.split("_")
        assert (reward, incentive) == ("discounted_team", {"name": "incentives", which: int(size)})


@pytest.mark.parametrize("word", ["teams", "incentives", "together"])
def test_the_question_and_what_a_real_model_takes(word: str) -> None:
    """Two files: rows, task and shaping of the first, rates and sizes of the second."""
    study, alone = Study.load(configuration(word), configuration("real")), Study.load(configuration(word))
    assert [e.word for e in study.named] == [e.word for e in alone.named] and study.title == alone.title
    config = study.config("two_witnesses", next(e for e in study.named if e.word == "mappo"), 0)
    assert config.algorithm_args == {"group_size": 4, "num_epochs": 1, "num_minibatches": 2, "kl_coef": 0.0}
    assert (config.learning_rate, config.num_iterations, config.num_rounds) == (1e-3, 12, 2)
    shaping = alone.settings.env_args.get("shaping")
    assert config.env_args.get("shaping") == shaping == (None if word == "together" else "discounted_team")


def test_the_demos_question_needs_no_start_of_its_own(tmp_path: Path) -> None:
    """`embedded` is the very start that the demo makes; the folder of the others is one of three rounds."""
    study = Study.load(configuration("together"))
    config = study.config("two_witnesses", study.named[-1], 0)
    assert config.model == "embedded" and config.build_prompts() == PROMPTS
    make_warm_start(tmp_path / "start", "two_witnesses", num_agents=2)
    made, shipped = (Path(folder) / "model.safetensors" for folder in (tmp_path / "start", model_path("embedded")))
    assert made.read_bytes() == shipped.read_bytes()


def test_two_who_split_the_code_and_one_sample_as_much() -> None:
    """One rate, as many discussions, and a team's two messages together no longer than a lone agent's one."""
    study = Study.load(configuration("coding"))
    assert len(study.seeds) == 3
    rows = {e.word: e for e in study.named}
    runs = {word: study.trainings("composed", rows[word], 0) for word in rows if rows[word].algorithm is not None}
    assert {word: len(made) for word, made in runs.items()} == {
        "single_agent/magrpo": 2,  # one for each seat
        "single_agent_told/magrpo": 1,
        "magrpo": 1,
    }
    configs = [training.config for made in runs.values() for training in made]
    budgets = {(c.learning_rate, c.num_iterations, c.episodes_per_iteration, c.max_new_tokens) for c in configs}
    assert len(budgets) == 1 and {c.num_rounds for c in configs} == {1}
    assert {c.env_args.get("view") for c in configs} == {"agent_0", "agent_1", "all", None}


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
        ({"methods": ["partner_swap/mappo"], "seeds": [3]}, "agents of different runs; give at least 2 seeds"),
        ({"methods": [{"name": "mappo", "trained_on": "vaults"}]}, "trained_on 'vaults' is no task of the study"),
        ({"methods": [{"name": "debate", "trained_on": "vault"}]}, "what trained its agents, as in debate/mappo"),
        ({"methods": ["partner_swap"]}, "needs an algorithm"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study().merged({"tasks": ["two_witnesses", "vault"], "seeds": [0, 1], **changes})


def names(study: Study, word: str) -> str:
    """The run folder of a row's first training."""
    entry = next(e for e in study.named if e.word == word)
    return study.trainings("two_witnesses", entry, 0)[0].folder.as_posix()


def test_rows_with_settings_of_their_own_lend_their_runs_to_nobody() -> None:
    frozen = {"name": "mappo", "settings": {"frozen": ["round_1"]}}
    study = Study().merged({"methods": [frozen, "partner_swap/mappo"], "seeds": [0, 1]})
    assert names(study, "mappo") != names(study, "partner_swap/mappo")
    both = {"name": "partner_swap/mappo", "settings": {"frozen": ["round_1"]}}
    study = Study().merged({"methods": [frozen, both], "seeds": [0, 1]})
    assert names(study, "mappo") == names(study, "partner_swap/mappo")


def test_two_meanings_of_one_run_are_refused(tmp_path: Path) -> None:
    from maporl.benchmarks.study.matrix import run_study

    three = {"name": "debate/mappo", "num_agents": 3}
    two = {"name": "debate/mappo", "label": "x", "num_agents": 2, "trained_on": "two_witnesses"}
    study = Study().merged({"methods": [three, two], "tasks": ["two_witnesses", "vault"], "output_dir": str(tmp_path)})
    with pytest.raises(ValueError, match="two rows would share the training .* give one of them a label"):
        run_study(study)


def test_a_team_is_compared_with_single_agents_of_its_own_model() -> None:
    study = Study.load(configuration("heterogeneous"))
    rows = {e.word: e for e in study.named}
    assert study.baseline(rows["qwen2_team"]).word == "single_agent_qwen2/mappo"
    assert study.baseline(rows["mappo"]).word == "single_agent/mappo"
    assert study.baseline(rows["heterogeneous_pair"]).word == "single_agent/mappo"
    assert study.baseline(rows["discussion"]).word == "single_agent"


def test_agents_trained_alone_have_one_base() -> None:
    pair = {"model": {"agent_0": "a", "agent_1": "b"}}
    study = Study().merged({"methods": [{"name": "alone_then_team/mappo", "settings": pair}], "seeds": [0]})
    with pytest.raises(ValueError, match="agents trained alone share one base"):
        study.trainings("two_witnesses", study.named[-1], 0)


def test_a_file_is_checked_together_with_its_flags(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("methods: [partner_swap/mappo]\n")
    with pytest.raises(ValueError, match="at least 2 seeds"):
        Study.load(file, values={})
    assert Study.load(file, values={"seeds": [0, 1]}).seeds == (0, 1)
    file.write_text("methods: [{name: mappo, trained_on: vault}]\n")
    assert set(Study.load(file, values={"tasks": ["two_witnesses", "vault"]}).tasks) == {"two_witnesses", "vault"}


def test_the_plan_lists_what_will_be_run() -> None:
    from maporl.benchmarks.study.expected import expected

    study = Study.load(configuration("transfer")).merged({"num_questions": 2})
    assert len(list(expected(study))) * len(study.seeds) == len(list(study.cells()))


def test_more_seeds_measure_a_swapped_cell_again_and_refuse_nothing(tmp_path: Path) -> None:
    from maporl.benchmarks.study.cell_folder import clash, describe, is_complete, write_cell
    from maporl.benchmarks.study.keys import CellKey
    from maporl.benchmarks.study.provenance import keep_settings, settings_of_cell

    few, more = (Study().merged({"methods": ["partner_swap/mappo"], "seeds": seeds}) for seeds in ([0, 1], [0, 1, 2]))
    for seed in (0, 1):
        key = CellKey("two_witnesses", few.named[-1], seed)
        keep_settings(tmp_path / key.folder, settings_of_cell(few, key))
        (tmp_path / key.folder / "records.jsonl").write_text("{}\n")
        write_cell(tmp_path, {**describe(few, key), "status": "complete"})
        assert is_complete(few, tmp_path, key)
    kept = {}
    for seed in (0, 1):
        key = CellKey("two_witnesses", more.named[-1], seed)
        assert clash(more, tmp_path, key) is None
        kept[seed] = is_complete(more, tmp_path, key)
    assert kept == {0: True, 1: False}, "seed 0 still sits beside 1, but 1 beside 2"


def test_prompts_of_a_model_with_personas_serve_a_lone_agent_too(tmp_path: Path) -> None:
    (tmp_path / "prompts.yaml").write_text("personas: {agent_0: Be kind., agent_1: Be harsh.}\n")
    study = Study().merged({"methods": ["single_agent"], "model": str(tmp_path)})
    config = study.config("two_witnesses", study.named[0], 0)
    assert dict(config.build_prompts().personas) == {"agent_0": "Be kind."}


def test_the_plan_of_malts_paper(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {
        "gsm8k": {"question": "What is 2 + 2?", "answer": "2 + 2 = 4\n#### 4"},
        "math": {
            "problem": "What is $2 + 2$?",
            "solution": r"It is $\boxed{4}$.",
            "level": "Level 1",
            "type": "Algebra",
        },
        "csqa": {
            "id": "0",
            "question": {"stem": "Where is money?", "choices": [{"label": x, "text": x * 3} for x in "ABCDE"]},
            "answerKey": "A",
        },
    }
    for task, row in rows.items():
        (tmp_path / task).mkdir()
        for split in ("train", "test"):
            file, numbered = tmp_path / task / f"{split}.jsonl", [dict(row), dict(row)]
            for n, copy in enumerate(numbered):
                copy["id"] = f"{split}{n}"
                for key in ("question", "problem"):
                    if isinstance(copy.get(key), str):
                        copy[key] = f"{split} {n}: {copy[key]}"
            file.write_text("".join(json.dumps(r) + "\n" for r in numbered), encoding="utf-8")
    study = Study.load(configuration("malt"))
    tasks = {task: {"data": str(tmp_path / task)} for task in study.tasks}
    file = tmp_path / "here.yaml"
    file.write_text(yaml.safe_dump({"tasks": tasks, "model": "embedded"}), encoding="utf-8")
    assert main(["benchmark", "--config", "malt", str(file), "--plan"]) == 0
    told = capsys.readouterr().out
    rows = [line.split() for line in told.splitlines()]
    trained = {row[1]: (int(row[2]), int(row[3].replace(",", ""))) for row in rows if row[0] == "gsm8k"}
    sampled = 50 * 8 * 39  # of the pipeline's two that sample alike, each of four seeds
    assert trained["pipeline@3/sft"] == (4, 4 * 50 * 104 * 3) == (4, 4 * sampled)
    assert trained["malt@3"] == (0, 0), "it shares the runs of malt"
    assert trained["malt"] == (4, 4 * (sampled + 3 * 100 * 3)), (
        "39 messages a tree, and three evaluations of 100 questions"
    )
    assert trained["without_refiner"] == (4, 4 * (50 * 24 * (3 + 9) + 3 * 100 * 2))

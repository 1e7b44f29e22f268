"""Studies: from YAML and back, slips, per-task and per-algorithm settings, and what a team is compared with."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from maporl.benchmarks.methods.method import SelfConsistency
from maporl.benchmarks.methods.naming import named
from maporl.benchmarks.study.keys import CellKey, file_name
from maporl.benchmarks.study.study import TOKENS, Study, matched_samples
from maporl.training.config import RunConfig

FULL: dict[str, Any] = {
    "methods": ["debate", {"name": "debate", "num_agents": 5, "label": "five"}, "mappo", "single_agent/mappo"],
    "tasks": {"arithmetic": {"num_rounds": 3}, "easy": {"env": "arithmetic", "env_args": {"history": "last_round"}}},
    "seeds": [0, 3],
    "algorithms": {"mappo": {"num_iterations": 7, "algorithm_args": {"clip": 0.1}}},
    "num_questions": 12,
    "num_samples": 2,
    "ablate_messages": False,
    "title": "Größe",
    "output_dir": "runs/full",
    "model": {"agent_0": "a", "agent_1": "b"},
    "num_agents": 2,
    "learning_rate": 1e-4,
}


@pytest.mark.parametrize(
    "values",
    [
        {},
        FULL,
        {"trackers": ["tensorboard"]},  # the default of a run, but not of a study
        {"trackers": []},
        {"methods": "debate", "tasks": "arithmetic", "seeds": 4},
        {"frozen": ["agent_1"], "num_agents": 2, "eval_temperature": 0.5},
    ],
)
def test_a_study_comes_back_from_its_file(values: dict[str, Any], tmp_path: Path) -> None:
    study = Study().merged(values)
    study.save(tmp_path / "study.yaml")
    assert Study.load(tmp_path / "study.yaml") == study
    assert pickle.loads(pickle.dumps(study)) == study  # as a worker gets it


def test_what_is_in_it() -> None:
    study = Study().merged(FULL)
    assert [n.word for n in study.named] == ["single_agent", "debate", "five", "mappo", "single_agent/mappo"]
    assert len(list(study.cells())) == 2 * 5 * 2
    words = {n.word: n for n in study.named}
    easy = study.config("easy", words["mappo"], 3)
    assert (easy.env, easy.env_args, easy.num_rounds) == ("arithmetic", {"history": "last_round"}, None)
    assert (easy.algorithm, easy.num_iterations, easy.algorithm_args) == ("mappo", 7, {"clip": 0.1})
    assert (easy.seed, easy.learning_rate, easy.output_dir, easy.trackers) == (3, 1e-4, None, ())
    five = study.config("arithmetic", words["five"], 0)
    assert (five.num_agents, five.num_rounds, five.num_iterations) == (5, 3, RunConfig().num_iterations)
    alone = study.config("arithmetic", words["single_agent"], 0)
    assert (alone.num_agents, alone.num_rounds) == (1, 1)


def test_settings_of_one_method() -> None:
    hot = {"name": "debate", "label": "hot", "settings": {"temperature": 1.5}}
    study = Study(methods=("debate", hot), algorithms={"mappo": {"temperature": 0.5}})
    assert [study.config("two_witnesses", n, 0).temperature for n in study.named] == [1.0, 1.0, 1.5]


def test_the_single_agent_is_always_there() -> None:
    words = [n.word for n in Study(methods=("debate", "single_agent/mappo")).named]
    assert words == ["single_agent", "debate", "single_agent/mappo"]
    assert [n.word for n in Study(methods=("debate", "single_agent")).named] == ["debate", "single_agent"]
    hot = {"name": "single_agent", "label": "hot", "settings": {"temperature": 2.0}}
    study = Study(methods=(hot, "debate"))  # another single agent is not the one that teams are compared with
    assert [n.word for n in study.named] == ["single_agent", "hot", "debate"]
    assert study.baseline(named("debate")).word == "single_agent"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": ["debate"]}, "unknown setting 'method'.* Did you mean 'methods'"),
        ({"num_agnets": 3}, "unknown setting 'num_agnets'.* Did you mean 'num_agents'"),
        ({"env": "arithmetic"}, "'env' is no setting of a whole study; use tasks"),
        ({"algorithm": "mappo"}, "use methods"),
        ({"seed": 3}, "use seeds"),
        ({"team_answer": "verifier"}, "use a method"),
        ({"seeds": []}, "seeds is empty"),
        ({"seeds": [0, 0]}, "different whole numbers"),
        ({"seeds": [-1]}, "different whole numbers"),
        ({"seeds": [1.5]}, "list of whole numbers"),
        ({"methods": []}, "methods is empty"),
        ({"tasks": []}, "tasks is empty"),
        ({"num_samples": 0}, "num_samples is 0"),
        ({"num_workers": 0}, "num_workers is 0"),
        ({"num_questions": 0}, "num_questions is 0"),
        ({"num_questions": "ten"}, "num_questions is 'ten'; it must be a whole number"),
        ({"ablate_messages": "maybe"}, "ablate_messages is 'maybe'"),
        ({"methods": ["debate", "debate"]}, "'debate' is there twice"),
        ({"methods": ["debate", {"name": "mappo", "label": "debate"}]}, "'debate' is there twice"),
        ({"methods": [{"name": "debate", "label": "single_agent"}]}, "'single_agent' is there twice"),
        ({"methods": ["debat"]}, "unknown method 'debat'"),
        ({"methods": [3]}, "method 3 has no 'name'"),
        ({"tasks": ["aritmetic"]}, "unknown env 'aritmetic'.* Did you mean 'arithmetic'"),
        ({"tasks": {"easy": {}}}, "unknown env 'easy'"),
        ({"tasks": {"arithmetic": {"num_round": 3}}}, "unknown setting 'num_round'"),
        ({"tasks": {"arithmetic": 3}}, "tasks: arithmetic is 3; it must be a mapping"),
        ({"tasks": {"arithmetic": {"seed": 3}}}, "tasks: arithmetic: 'seed' is not set there; use seeds"),
        ({"algorithms": {"mapo": {}}}, "unknown algorithm 'mapo'.* Did you mean 'mappo'"),
        ({"algorithms": {"mappo": 3}}, "algorithms: mappo is 3; it must be a mapping"),
        ({"methods": ["mappo"], "algorithms": {"mappo": {"num_iteration": 3}}}, "Did you mean 'num_iterations'"),
        ({"methods": [{"name": "debate", "settings": {"temprature": 1}}]}, "Did you mean 'temperature'"),
        ({"methods": [{"name": "debate", "settings": 3}]}, "settings is 3; it must be a mapping"),
        ({"methods": [{"name": "mappo", "settings": {"algorithm": "ippo"}}]}, "'algorithm' is not set there"),
        ({"methods": [{"name": "debate", "label": "a b"}, {"name": "debate", "label": "a/b"}]}, "share the folder"),
        (
            {"methods": ["self_consistency@2/mappo", {"name": "mappo", "label": "single_agent/mappo"}]},
            "'self_consistency@2/mappo' and 'single_agent/mappo' would share the trainings",
        ),
        ({"methods": [{"name": "debate", "num_agents": -1}]}, "num_agents is -1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
    ],
)
def test_slips(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Study().merged(values)


@pytest.mark.parametrize(
    ("text", "message"), [("a: [", "not YAML"), ("- debate", "holds a list"), ("seeds: [0, 0]", "different")]
)
def test_broken_files(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Study.load(tmp_path / "study.yaml")
    with pytest.raises(ValueError, match="no such file"):
        Study.load(tmp_path / "nowhere.yaml")


def test_an_empty_file_is_the_default(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("")
    assert Study.load(tmp_path / "study.yaml") == Study()


def test_flags_on_top_of_a_file() -> None:
    """Methods are replaced, settings of algorithms are merged part by part."""
    study = Study().merged(FULL).merged({"algorithms": {"mappo": {"num_iterations": 1}}, "methods": ["ippo"]})
    assert study.algorithms == {"mappo": {"num_iterations": 1, "algorithm_args": {"clip": 0.1}}}
    assert [n.word for n in study.named] == ["single_agent", "ippo"]
    assert study.merged({"tasks": ["vault"]}).tasks == {"vault": {}}


def test_tasks_in_all_their_forms() -> None:
    mixed = Study(tasks=("vault", {"easy": {"env": "arithmetic"}}, {"arithmetic": None}))
    assert mixed.tasks == {"vault": {}, "easy": {"env": "arithmetic"}, "arithmetic": {}}


# -- what a team is compared with ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("team", "single"),
    [
        ("debate", "single_agent"),
        ("mappo", "single_agent/ippo"),  # with one agent they are the same
        ("ippo", "single_agent/ippo"),
        ("magrpo", "single_agent/trl_grpo"),  # MAGRPO of one agent is GRPO
        ("marloo", "single_agent/trl_grpo"),
        ("sft", "single_agent/ippo"),  # any, where there is no kindred one
        ("train_one/ippo", "single_agent/ippo"),
    ],
)
def test_baselines(team: str, single: str) -> None:
    study = Study(methods=("single_agent/ippo", "single_agent/trl_grpo", team))
    assert study.baseline(named(team)).word == single
    assert Study(methods=(team,)).baseline(named(team)).word == "single_agent"


def test_the_same_algorithm_comes_first() -> None:
    study = Study(methods=("single_agent/ippo", "single_agent/mappo", "mappo"))
    assert study.baseline(named("mappo")).word == "single_agent/mappo"


@pytest.mark.parametrize(
    ("team", "single", "on", "k"),
    [
        ((100, 40), (20, 10), "completion", 4),
        ((100, 41), (20, 10), "completion", 5),  # rounded up
        ((100, 40.000000001), (20, 10), "completion", 4),  # but not for a rounding error
        ((100, 40), (20, 10), "all", 5),  # 140 / 30 = 4.67
        ((110, 40), (20, 10), "all", 5),  # 150 / 30
        ((111, 40), (20, 10), "all", 6),
        ((10, 4), (20, 10), "completion", 1),  # never less than one
        ((10, 4), (0, 0), "completion", 1),  # scripted agents cost nothing
        ((100, 40, 50), (20, 10), "all", 7),  # what a judge reads and writes is paid, too
        ((100, 40, 50), (20, 10), "completion", 4),
    ],
)
def test_how_many_samples_cost_as_much(team: tuple[float, ...], single: tuple[int, int], on: str, k: int) -> None:
    costs = [dict(zip(TOKENS, (*given, 0)[:3], strict=True)) for given in (team, single)]
    assert matched_samples(*costs, on) == k


def test_votes_are_of_the_single_agent_they_are_matched_with() -> None:
    mine = {"name": "self_consistency@3/ippo", "label": "mine"}
    study = Study(methods=("single_agent/ippo", "self_consistency@4/ippo", mine, "ippo"))
    single = {n.word: n for n in study.named}
    vote = study.vote_of(single["single_agent/ippo"], 4)
    assert vote is single["self_consistency@4/ippo"]
    made = study.vote_of(single["single_agent/ippo"], 6)
    assert (made.word, made.label, made.trained_as) == (
        "self_consistency@6/ippo",
        "vote of 6, trained by ippo",
        "single_agent/ippo",
    )
    assert isinstance(made.method, SelfConsistency) and made.method.samples == 6
    assert study.vote_of(single["single_agent"], 2).word == "self_consistency@2"


def test_votes_of_a_changed_single_agent_use_its_trainings() -> None:
    hot = {"name": "single_agent/ippo", "label": "hot", "settings": {"temperature": 2.0}}
    study = Study(methods=(hot, "self_consistency@4/ippo", "ippo"))
    assert (single := study.baseline(named("ippo"))).word == "hot"
    vote = study.vote_of(single, 4)
    assert (vote.word, vote.trained_as, vote.settings) == ("hot@4", single.trained_as, {"temperature": 2.0})
    runs = [t.folder for n in (single, vote) for t in study.trainings("two_witnesses", n, 0)]
    assert len(runs) == 4 and runs[:2] == runs[2:]  # a run for each seat


def test_a_row_that_is_only_called_like_a_matched_vote_is_none() -> None:
    for mine in (
        {"name": "self_consistency@4", "settings": {"temperature": 2.0}},
        {"name": "self_consistency@9", "label": "self_consistency@4"},
        {"name": "debate", "label": "self_consistency@4"},
    ):
        study = Study(methods=("single_agent", mine))
        vote = study.vote_of(study.named[0], 4)
        assert (vote.word, vote.settings, vote.method.samples) == ("single_agent@4", None, 4)


# -- folders and trainings -------------------------------------------------------------------------------------------------


def test_words_as_names_of_folders() -> None:
    assert file_name("package.module:Class") == "package.module~Class"
    assert file_name("self_consistency@4/mappo") == "self_consistency@4~mappo"
    assert file_name("a b/ü") == "a~b~ü"
    key = CellKey("my:Task", named("single_agent/mappo"), 3)
    assert key.folder == Path("cells/my~Task/single_agent~mappo/seed_3")


def test_trainings_of_each_row() -> None:
    study = Study(methods=("mappo", "single_agent/mappo", "self_consistency@2/mappo", "train_one/mappo", "debate"))
    folders = {n.word: [t.folder.as_posix() for t in study.trainings("two_witnesses", n, 1)] for n in study.named}
    seats = [
        "runs/two_witnesses/single_agent~mappo/agent_0/seed_1",
        "runs/two_witnesses/single_agent~mappo/agent_1/seed_1",
    ]
    assert folders == {
        "single_agent": [],
        "mappo": ["runs/two_witnesses/mappo/seed_1"],
        "single_agent/mappo": seats,
        "self_consistency@2/mappo": seats,
        "train_one/mappo": [s.replace("single_agent", "train_one") for s in seats],
        "debate": [],
    }


def test_a_team_that_is_shown_gold_scores_may_be_trained_for_it_is_labelled() -> None:
    shown = {"env_args": {"protocol": {"name": "debate", "show_scores": True}}}
    study = Study(methods=("mappo", {"name": "mappo", "label": "shown", "settings": shown}), tasks=("two_witnesses",))
    allowed = {n.word: study.trainings("two_witnesses", n, 0)[0].config.allow_oracle for n in study.named[1:]}
    assert allowed == {"mappo": False, "shown": True}


def test_rows_with_other_budgets_have_other_trainings() -> None:
    longer = {"name": "single_agent/mappo", "settings": {"num_iterations": 999}}
    study = Study(methods=(longer, "self_consistency@4/mappo", "alone_then_team/mappo"), tasks=("arithmetic",))
    runs = [study.trainings("arithmetic", n, 0)[0] for n in study.named[1:]]
    assert [r.config.num_iterations for r in runs] == [999, 50, 50]
    assert runs[0].folder != runs[1].folder == runs[2].folder


def test_a_team_that_is_told_everything_has_no_seats() -> None:
    """A lone agent is then told everything, too: it would else be compared with less than each of the team knows."""
    study = Study().merged({"methods": ["single_agent/mappo"], "env_args": {"view": "all"}})
    (training,) = study.trainings("two_witnesses", study.named[1], 0)
    assert training.seat == "" and training.config.env_args["view"] == "all"


def test_agents_are_those_of_the_method() -> None:
    study = Study().merged({"methods": ["train_one/mappo"], "tasks": {"arithmetic": {"num_agents": 3}}})
    assert [t.seat for t in study.trainings("arithmetic", study.named[1], 0)] == ["agent_0", "agent_1", "agent_2"]


def test_the_saved_file_is_for_people(tmp_path: Path) -> None:
    """Only what was set."""
    Study().merged({"methods": ["debate"], "max_new_tokens": 16}).save(tmp_path / "study.yaml")
    found = yaml.safe_load((tmp_path / "study.yaml").read_text())
    assert found["methods"] == ["debate"] and found["max_new_tokens"] == 16 and "learning_rate" not in found


def test_rows_of_a_file_are_picked_by_their_labels(tmp_path: Path) -> None:
    label = {"name": "mappo", "label": "paid", "settings": {"env_args": {"shaping": "team_mean"}}}
    (file := tmp_path / "rows.yaml").write_text(yaml.safe_dump({"methods": ["mappo", label, "discussion"]}))
    study = Study.load(file, values={"methods": ["paid", "discussion"]})
    assert [n.label for n in study.named][-2:] == ["paid", "untrained team"] and len(study.methods) == 2
    assert study.named[-2].settings == label["settings"]
    with pytest.raises(ValueError, match="unknown method 'payed'"):
        Study.load(file, values={"methods": ["payed"]})

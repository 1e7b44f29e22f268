"""The matrix: resumed cell by cell, whatever fails in between; matched votes; several processes."""

from __future__ import annotations

import gc
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import Queue
from typing import Any

import pytest
import study_toys
from run_toys import SMALL
from study_toys import SCRIPTED, Knows, Stops, Toy, seats

from maporl.agents import Policy
from maporl.benchmarks.analysis.results import Cell, load_results
from maporl.benchmarks.study import matrix, workers
from maporl.benchmarks.study.matrix import News, run_study
from maporl.benchmarks.study.study import Study
from maporl.training.config import RunConfig

TRAINED: dict[str, Any] = {
    **{k: v for k, v in SMALL.items() if k != "trackers"},
    "tasks": ["run_toys:Letters"],
    "num_agents": 2,
    "num_questions": 3,
    "num_iterations": 1,
    "num_eval_questions": 2,
    "algorithms": {"run_toys:Idle": {}},
}
"""Settings of a study whose algorithm learns nothing, in a second."""


def run(folder: Path, **values: Any) -> list[News]:
    """The news of a study."""
    told: list[News] = []
    run_study(Study().merged({**SCRIPTED, "output_dir": str(folder), **values}), told.append)
    return told


def cells(folder: Path) -> dict[tuple[str, str, int], Cell]:
    found = load_results([folder]).cells
    assert len({(c.task, c.method, c.seed) for c in found}) == len(found)
    return {(c.task, c.method, c.seed): c for c in found}


def statuses(folder: Path) -> dict[str, str]:
    return {c.method: c.status for c in cells(folder).values()}


def contents(folder: Path) -> dict[str, str]:
    """Every record of a study."""
    return {f.relative_to(folder).as_posix(): f.read_text() for f in sorted(folder.glob("cells/**/records.jsonl"))}


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    Stops.left, study_toys.Breaks.broken = 10**9, True
    yield
    Stops.left, study_toys.Breaks.broken = 10**9, True


@pytest.fixture(scope="module")
def _studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies")
    run(folder / "debate", methods=["debate"])
    run(folder / "two methods", methods=["debate", "self_refine"])
    return folder


@pytest.fixture
def debate(_studies: Path, tmp_path: Path) -> Path:
    """A complete study of a debate; a copy of the test's own."""
    return shutil.copytree(_studies / "debate", tmp_path / "debate")


# -- going on --------------------------------------------------------------------------------------------------------------


def test_what_is_complete_is_left_as_it_is(debate: Path) -> None:
    before = contents(debate)
    Toy.calls = 0
    told = run(debate, methods=["debate"])
    assert Toy.calls == 0 and contents(debate) == before
    assert (told[0].kind, told[0].done, told[0].total) == ("plan", 2, 2)
    assert not [n for n in told if n.kind == "cell"]


def test_an_interrupted_study_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    """Task one is whole, in the middle of task two comes Ctrl-C."""
    values = {"tasks": ["study_toys:Numbers", "study_toys:Doubled"], "partners": seats("Stops"), "methods": ["debate"]}
    run(tmp_path / "whole", **values)
    Stops.left = 12 * (2 + 10) + 30  # per question: two answers alone; four messages twice and two of them again
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", **values)
    assert {(t, m): c.status for (t, m, _), c in cells(tmp_path / "cut").items()} == {
        ("study_toys:Numbers", "single_agent"): "complete",
        ("study_toys:Numbers", "debate"): "complete",
        ("study_toys:Doubled", "single_agent"): "running",
        ("study_toys:Doubled", "debate"): "running",
    }
    Stops.left, Toy.calls = 10**9, 0
    run(tmp_path / "cut", **values)
    # Of task two everything; of both the votes of 4 and 6, of which one holds the other's samples.
    assert Toy.calls == 12 * (2 + 10) + 2 * 12 * 6
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_failed_cells_are_tried_again(tmp_path: Path) -> None:
    methods = ["study_toys:Breaks", "debate"]
    told = run(tmp_path, methods=methods)
    assert [(n.name, n.error) for n in told if n.error] == [
        ("study_toys:Numbers / study_toys:Breaks / seed 0", "ZeroDivisionError: a bug of the user's")
    ]
    found = cells(tmp_path)["study_toys:Numbers", "study_toys:Breaks", 0]
    assert (found.status, found.error, found.records()) == ("failed", "ZeroDivisionError: a bug of the user's", [])
    study_toys.Breaks.broken, Toy.calls = False, 0
    run(tmp_path, methods=methods)
    assert set(statuses(tmp_path).values()) == {"complete"} and Toy.calls == 2 * 12
    assert cells(tmp_path)["study_toys:Numbers", "study_toys:Breaks", 0].error is None


def test_methods_seeds_and_tasks_are_added(tmp_path: Path) -> None:
    run(tmp_path, methods=["self_refine"])
    first = contents(tmp_path)
    Toy.calls = 0
    run(tmp_path, methods=["self_refine", "self_consistency@2"])
    assert Toy.calls == 2 * 12
    run(tmp_path, methods=["self_refine", "self_consistency@2"], seeds=[0, 1])
    run(tmp_path, methods=["self_refine"], seeds=[0, 1], tasks=["study_toys:Numbers", "study_toys:Views"])
    assert {k: v for k, v in contents(tmp_path).items() if k in first} == first
    kept = 2  # votes of both seeds on the first task, which the last study did not ask for
    assert len(cells(tmp_path)) == 2 * 2 * 2 + kept and {c.status for c in cells(tmp_path).values()} == {"complete"}
    whole = Study.load(tmp_path / "study.yaml")
    assert set(whole.methods) == {"self_refine", "self_consistency@2"}
    assert set(whole.tasks) == {"study_toys:Numbers", "study_toys:Views"} and whole.seeds == (0, 1)
    with pytest.raises(
        ValueError, match="/ self_consistency@2 / seed 0 with temperature 1.0, not 2.0"
    ):  # it still means what it meant
        run(tmp_path, methods=[{"name": "self_consistency@2", "settings": {"temperature": 2.0}}], seeds=[0])


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"num_questions": 5}, "num_questions None, not 5"),
        ({"num_samples": 2}, "num_samples 1, not 2"),
        ({"ablate_messages": False}, "ablate_messages True, not False"),
        ({"max_new_tokens": 5}, "max_new_tokens 256, not 5"),
        ({"num_agents": 3}, "num_agents 2, not 3"),
        ({"tasks": {"study_toys:Numbers": {"num_rounds": 3}}}, "seed 0 with num_rounds None, not 3"),
        (
            {"methods": [{"name": "debate", "num_rounds": 3}, "self_refine"]},
            "/ debate / seed 0 with num_rounds None, not 3",
        ),
        (
            {"methods": ["debate", {"name": "self_refine", "settings": {"temperature": 2.0}}]},
            "/ self_refine / seed 0 with temperature 1.0, not",
        ),
        ({"methods": ["debate", {"name": "debate", "label": "self_refine"}]}, "/ self_refine / seed 0 with"),
    ],
)
def test_another_study_is_not_mixed_in(values: dict[str, Any], name: str, _studies: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(_studies / "two methods", tmp_path / "study")
    before = contents(folder)
    with pytest.raises(ValueError, match="holds .* with") as error:
        run(folder, **{"methods": ["debate", "self_refine"], **values})
    assert name in str(error.value) and contents(folder) == before


def test_what_means_the_same_may_be_written_otherwise(tmp_path: Path) -> None:
    run(tmp_path, methods=["debate", "self_consistency@5"])
    Toy.calls = 0
    run(tmp_path, methods=[{"name": "debate"}, "self_consistency"], num_workers=1, title="renamed")
    assert Toy.calls == 0


def test_what_failed_may_be_mended_and_what_is_there_may_not(tmp_path: Path) -> None:
    """The remedy that a failed cell names is another setting: it is taken, for its rows alone."""
    methods = ["debate_sparse", "study_toys:Breaks", "self_refine"]
    run(tmp_path, methods=methods)
    assert statuses(tmp_path)["debate_sparse"] == "failed"  # "needs at least 4 agents"
    assert statuses(tmp_path)["study_toys:Breaks"] == "failed"  # when it had begun
    before = contents(tmp_path)
    study_toys.Breaks.broken = False
    breaks = {"name": "study_toys:Breaks", "settings": {"temperature": 2.0}}
    mended = [{"name": "debate_sparse", "num_agents": 4}, breaks, "self_refine"]
    run(tmp_path, methods=mended)
    assert set(statuses(tmp_path).values()) == {"complete"}
    assert {k: v for k, v in contents(tmp_path).items() if k in before} == before
    with pytest.raises(
        ValueError, match="/ debate_sparse / seed 0 with num_agents 4, not 2; .* or delete .*debate_sparse"
    ):
        run(tmp_path, methods=methods)


def test_settings_of_what_was_not_asked_for_last_are_still_known(tmp_path: Path, tiny_model: str) -> None:
    """Trained with 1 iteration; not asked for with 2; asked for again with 2: refused, whether a cell or a training is left of it."""
    values = {**TRAINED, "model": tiny_model, "partners": {}}
    other = {"run_toys:Idle": {"num_iterations": 2}}
    run(tmp_path, **values, methods=["run_toys:Idle"])
    with pytest.raises(ValueError, match="seed 0 with num_iterations 1, not 2"):
        run(tmp_path, **{**values, "algorithms": other}, methods=["debate"])
    run(tmp_path, **values, methods=["debate"])
    shutil.rmtree(tmp_path / "cells" / "run_toys~Letters" / "run_toys~Idle")
    with pytest.raises(ValueError, match="holds runs/.*seed_0 with num_iterations 1, not 2; .* delete .*runs/"):
        run(tmp_path, **{**values, "algorithms": other}, methods=["run_toys:Idle"])
    assert (
        json.loads((tmp_path / "runs/run_toys~Letters/run_toys~Idle/seed_0/settings.json").read_text())[
            "num_iterations"
        ]
        == 1
    )


def test_a_training_that_failed_is_begun_anew_with_other_settings(tmp_path: Path, tiny_model: str) -> None:
    values = {**TRAINED, "model": tiny_model, "partners": {}}
    word = {"name": "study_toys:Fails", "label": "fails", "settings": {"num_iterations": 3}}
    run(tmp_path, **values | {"methods": [word], "algorithms": {}})
    place = tmp_path / "runs/run_toys~Letters/fails/seed_0"
    assert statuses(tmp_path)["fails"] == "failed" and (place / "config.yaml").is_file()
    mended = {"name": "study_toys:Fails", "label": "fails", "settings": {"num_iterations": 2}}
    run(tmp_path, **values | {"methods": [mended], "algorithms": {}})
    assert statuses(tmp_path)["fails"] == "complete"
    assert RunConfig.load(place / "config.yaml").num_iterations == 2


@pytest.mark.parametrize("left", [None, 0, 100])
def test_a_complete_cell_without_its_records_is_measured_again(left: int | None, debate: Path) -> None:
    before = contents(debate)
    file = debate / "cells/study_toys~Numbers/debate/seed_0/records.jsonl"
    file.unlink() if left is None else os.truncate(file, left)
    Toy.calls = 0
    run(debate, methods=["debate"])
    assert Toy.calls == 12 * 10 and contents(debate) == before


def test_cells_of_an_earlier_version_are_left_as_they_are(debate: Path) -> None:
    """They kept no settings, and not all that cells say now."""
    before = contents(debate)
    for file in debate.glob("cells/*/*/*/cell.json"):
        file.with_name("settings.json").unlink()
        old = {k: v for k, v in json.loads(file.read_text()).items() if k not in ("baseline", "seat_costs", "bytes")}
        file.write_text(json.dumps(old))
    Toy.calls = 0
    run(debate, methods=["debate"])
    assert Toy.calls == 0 and contents(debate) == before
    assert {c.method: c.status for c in cells(debate).values()} == dict.fromkeys(statuses(debate), "complete")


def test_somebody_elses_folder(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds 'thesis.txt'; choose a folder that is new or empty"):
        run(tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


# -- matched votes ---------------------------------------------------------------------------------------------------------


def test_every_team_has_votes_that_cost_as_much(tmp_path: Path) -> None:
    """Wordy says 7 words alone, then 3 or 4. Debate 2 x 2: completion 2 x (6 + 3) = 18 of 6 each -> 3; prompts by hand below."""
    run(tmp_path, methods=["debate", "self_refine"], partners=seats("Wordy"))
    found = {c.method: c for c in cells(tmp_path).values()}
    alone, debate = found["single_agent"].costs, found["debate"].costs
    assert (alone["prompt_tokens"], alone["completion_tokens"]) == (3, 7)
    assert (debate["prompt_tokens"], debate["completion_tokens"]) == (2 * 3 + 2 * (3 + 14), 2 * 7 + 2 * 3)
    # 20 / 7 -> 3 by completion; (40 + 20) / 10 -> 6 by all tokens
    assert {m: c.matched for m, c in found.items()} == {
        "single_agent": (),
        "debate": (),
        "self_refine": (),  # no team
        "self_consistency@3": (("debate", "completion"),),
        "self_consistency@6": (("debate", "all"),),
    }


def test_votes_are_described_again_when_teams_are_added(debate: Path) -> None:
    four = ("study_toys:Numbers", "self_consistency@4", 0)
    assert cells(debate)[four].matched == (("debate", "completion"),)
    Toy.calls = 0
    run(debate, methods=["debate", "study_toys:LastSpeaker"])
    assert cells(debate)[four].matched == (("debate", "completion"), ("study_toys:LastSpeaker", "completion"))
    assert Toy.calls == 12 * 10 and cells(debate)[four].status == "complete"  # only the new team spoke
    run(debate, methods=["study_toys:LastSpeaker"])
    assert cells(debate)[four].matched == (("study_toys:LastSpeaker", "completion"),)


def test_votes_that_do_not_match_any_more_are_no_comparisons(tmp_path: Path) -> None:
    """What an answer costs differs by seed, so the mean does, too: a debate has two votes, of every seed, whenever it is asked."""
    values = {"methods": ["debate"], "partners": seats("BySeed")}
    for seeds in ([0], [0, 1], [2]):
        run(tmp_path, **values, seeds=seeds)
        found = cells(tmp_path)
        matched = {(on, c.method, c.seed) for c in found.values() for _, on in c.matched}
        assert len({(on, method) for on, method, _ in matched}) == 2
        every = {c.seed for c in found.values() if c.method == "debate"}
        assert {on: {s for o, _, s in matched if o == on} for on in ("completion", "all")} == {
            "completion": every,
            "all": every,
        }
        assert all(c.matched for c in found.values() if "self_consistency" in c.method)


def test_a_vote_of_teams_is_a_team(tmp_path: Path) -> None:
    """It is measured with the others, so that it has votes of equal cost at once."""
    run(tmp_path, methods=["study_toys:VoteOfDebates"])
    matched = {pair for c in cells(tmp_path).values() for pair in c.matched}
    assert matched == {("study_toys:VoteOfDebates", "completion"), ("study_toys:VoteOfDebates", "all")}


def test_a_vote_of_pipelines_has_votes_that_cost_as_much(tmp_path: Path) -> None:
    """Every message of Wordy has 7 words in round 0: a pass of three has 21 and reads 3 + 10 + 17; three passes have 9 generations."""
    roles = {agent: "study_toys:Wordy" for agent in ("generator_0", "verifier_0", "refiner_0")}
    empty = {"label": "empty verification", "settings": {"partners": {"verifier_0": "maporl.agents:SilentAgent"}}}
    rows = ["pipeline", "pipeline@3", {"name": "pipeline", **empty}]
    run(tmp_path, methods=rows, partners={**seats("Wordy"), **roles}, num_agents=None)
    found = {c.method: c for c in cells(tmp_path).values()}
    costs = {
        m: tuple(c.costs[n] for n in ("generations", "prompt_tokens", "completion_tokens")) for m, c in found.items()
    }
    assert costs["pipeline"] == (3, 30, 21) and costs["pipeline@3"] == (9, 90, 63)
    assert costs["empty verification"] == (3, 3 + 10, 14)  # the silent agent is a seat without a word
    # By completion k times as many messages; by all tokens 51, 153 and 27 of 10 each.
    assert {m: set(c.matched) for m, c in found.items() if c.matched} == {
        "self_consistency@2": {("empty verification", "completion")},
        "self_consistency@3": {("pipeline", "completion"), ("empty verification", "all")},
        "self_consistency@6": {("pipeline", "all")},
        "self_consistency@9": {("pipeline@3", "completion")},
        "self_consistency@16": {("pipeline@3", "all")},
    }


def test_who_is_compared_with_whom_is_written_down(tmp_path: Path, tiny_model: str) -> None:
    """Whatever the rows are called; and again when a study knows better."""
    values = {**TRAINED, "model": tiny_model, "partners": {}}
    team = {"name": "run_toys:Idle", "label": "ours"}

    def compared() -> dict[str, str | None]:
        written = {f.parent.parent.name: json.loads(f.read_text()) for f in tmp_path.glob("cells/*/*/*/cell.json")}
        planned = {e["method"]: e["baseline"] for e in json.loads((tmp_path / "plan.json").read_text())}
        assert planned == {cell["method"]: cell["baseline"] for cell in written.values() if cell["method"] in planned}
        return {method: word for method, word in planned.items() if "self_consistency" not in method}

    run(tmp_path, **values, methods=[team, "self_refine"])
    assert compared() == {"single_agent": None, "ours": "single_agent", "self_refine": "single_agent"}
    alone = {"name": "single_agent/run_toys:Idle", "label": "alone"}
    run(tmp_path, **values, methods=[team, alone])
    assert compared() == {"single_agent": None, "ours": "alone", "alone": "single_agent", "self_refine": "single_agent"}
    run(tmp_path, **values, methods=[team])  # the folder still has it
    assert compared()["ours"] == "alone"


def test_a_team_of_which_one_seat_is_trained_costs_what_the_row_costs(tmp_path: Path, tiny_model: str) -> None:
    """Not the mean over the teams: the votes are as dear as the team that validation chose, here made dear by hand."""
    values = {**TRAINED, "model": tiny_model, "partners": {}, "methods": ["train_one/run_toys:Idle"]}
    run(tmp_path, **values)
    found = {c.method: c for c in cells(tmp_path).values()}
    one = found["train_one/run_toys:Idle"]
    written = json.loads((one.folder / "cell.json").read_text())
    assert set(written["seat_costs"]) == {"agent_0", "agent_1"}
    (each,) = (c.costs for m, c in found.items() if m == "single_agent")
    for seat, times in (("agent_0", 1), ("agent_1", 7)):
        written["seat_costs"][seat] |= {n: times * each[n] for n in ("prompt_tokens", "completion_tokens")}
        metrics = next(run for run in one.runs if seat in run.parts) / "metrics.jsonl"
        metrics.write_text(metrics.read_text() + json.dumps({"iteration": 1, "eval/accuracy": times / 10}) + "\n")
    (one.folder / "cell.json").write_text(json.dumps(written))
    run(tmp_path, **values)
    assert {m for m, c in {c.method: c for c in cells(tmp_path).values()}.items() if c.matched} == {
        "self_consistency@7"
    }


def test_a_vote_that_was_asked_for_is_the_matched_one(tmp_path: Path) -> None:
    run(tmp_path, methods=["debate", "self_consistency@4", "self_consistency@1"])
    found = {c.method: c.matched for c in cells(tmp_path).values()}
    assert found["self_consistency@4"] == (("debate", "completion"),) and found["self_consistency@1"] == ()


def test_a_team_as_cheap_as_one_agent(tmp_path: Path) -> None:
    """Silent agents cost nothing: the vote is one of one, and there once though it was asked for."""
    run(tmp_path, methods=["discussion", "self_consistency@1"], partners=seats("Coin"), num_agents=1, num_rounds=1)
    found = {c.method: c for c in cells(tmp_path).values()}
    assert found["self_consistency@1"].matched == (("discussion", "completion"), ("discussion", "all"))
    assert found["self_consistency@1"].status == "complete" and len(found) == 3


def test_a_failed_team_has_no_matched_vote(tmp_path: Path) -> None:
    run(tmp_path, methods=["debate_sparse"])  # which needs four agents
    assert statuses(tmp_path) == {"single_agent": "complete", "debate_sparse": "failed"}


# -- trainings -------------------------------------------------------------------------------------------------------------


def test_rows_share_trainings(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vote of trained agents, and the single agent: one run. The team has one of its own; the matched vote none."""
    trained: list[Path] = []
    train = matrix._train
    monkeypatch.setattr(matrix, "_train", lambda f, t, send: trained.append(t.folder) or train(f, t, send))
    words = ["run_toys:Idle", "single_agent/run_toys:Idle", "self_consistency@2/run_toys:Idle"]
    values = {**TRAINED, "model": tiny_model, "partners": {}, "methods": words}
    told = run(tmp_path, **values)
    assert [t.as_posix() for t in trained] == [
        "runs/run_toys~Letters/run_toys~Idle/seed_0",
        "runs/run_toys~Letters/single_agent~run_toys~Idle/seed_0",
    ]
    assert set(statuses(tmp_path).values()) == {"complete"}
    kinds = [n.kind for n in told if n.kind in ("training over", "training")]
    assert (
        kinds == ["training", "training", "training over"] * 2
    )  # the first says that it begins; told at once, not after all of them
    found = {c.method: c for c in cells(tmp_path).values()}
    assert all(c.trained == ("Idle" in m) for m, c in found.items())
    assert found[words[2]].runs == found[words[1]].runs == (tmp_path / trained[1],)
    votes = [c for c in found.values() if ("run_toys:Idle", "completion") in c.matched]
    assert len(votes) == 1 and votes[0].method.endswith("/run_toys:Idle")  # matched with the trained single agent
    trained.clear()
    run(tmp_path, **values)
    assert trained == []


def test_trained_rows_are_measured_when_their_seed_is_trained(
    tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with one worker, and all rows of a task and seed in one job."""
    jobs: list[str] = []
    train, measure = matrix._train, matrix._measure
    monkeypatch.setattr(matrix, "_train", lambda f, t, send: jobs.append(f"train {t.seed}") or train(f, t, send))
    monkeypatch.setattr(
        matrix,
        "_measure",
        lambda s, c, f, send: jobs.append(f"measure {[k.seed for k in c]}") or measure(s, c, f, send),
    )
    words = ["run_toys:Idle", "single_agent/run_toys:Idle"]
    run(tmp_path, **{**TRAINED, "model": tiny_model, "partners": {}, "methods": words, "seeds": [3, 1]})
    first, *rest = jobs
    assert first == "measure [3, 1]"  # the untrained single agent
    assert rest[:6] == ["train 3", "train 3", "measure [3, 3]", "train 1", "train 1", "measure [1, 1]"]
    assert set(statuses(tmp_path).values()) == {"complete"}


def test_one_model_at_a_time_is_in_memory(tmp_path: Path, tiny_model: str) -> None:
    """Nobody holds the policy of a job that is over; it is a cycle, which Python may be slow to find."""
    alive: list[int] = []

    def watch(news: News) -> None:
        if news.kind == "training" and news.done:
            alive.append(sum(isinstance(thing, Policy) for thing in gc.get_objects()))

    study = Study().merged(
        {
            **TRAINED,
            "methods": ["train_one/run_toys:Idle"],
            "model": tiny_model,
            "output_dir": str(tmp_path),
            "seeds": [0, 1],
        }
    )
    gc.collect()  # what other tests have left
    before = sum(isinstance(thing, Policy) for thing in gc.get_objects())
    gc.disable()
    try:
        run_study(study, watch)
    finally:
        gc.enable()
    assert len(alive) == 4 and max(alive) == before + 1


def test_a_failing_training_fails_what_needs_it(tmp_path: Path, tiny_model: str) -> None:
    """Its cells say so and name it; all the others are whole; and it is tried again."""
    words = ["run_toys:Idle", {"name": "run_toys:Idle", "label": "greedy budget", "settings": {"lora": {"r": -1}}}]
    values = {**TRAINED, "model": tiny_model, "partners": {}, "methods": [*words, "debate"]}
    told = run(tmp_path, **values)
    found = {c.method: c for c in cells(tmp_path).values()}
    failed = found["greedy budget"]
    assert failed.status == "failed"
    assert failed.error is not None and failed.error.startswith(
        "its training failed, runs/run_toys~Letters/greedy~budget"
    )
    assert [c.status for m, c in found.items() if m != "greedy budget"] == ["complete"] * (len(found) - 1)
    assert [n.kind for n in told if n.error] == ["training over", "cell"]
    assert (tmp_path / "runs/run_toys~Letters/greedy~budget/seed_0/traceback.txt").is_file()
    again = run(tmp_path, **values)
    assert [n.kind for n in again if n.error] == ["training over", "cell"]


def test_a_task_that_cannot_be_loaded_fails_its_cells_only(tmp_path: Path, tiny_model: str) -> None:
    """Trained rows too, whose trainings cannot even be planned."""
    tasks = {"run_toys:Letters": {}, "broken": {"env": "study_toys:Broken"}}
    values = {**TRAINED, "model": tiny_model, "partners": {}, "methods": ["run_toys:Idle"], "tasks": tasks}
    told = run(tmp_path, **values)
    found = cells(tmp_path)
    assert {(t, m): c.status for (t, m, _), c in found.items() if not c.matched} == {
        ("run_toys:Letters", "single_agent"): "complete",
        ("run_toys:Letters", "run_toys:Idle"): "complete",
        ("broken", "single_agent"): "failed",
        ("broken", "run_toys:Idle"): "failed",
    }
    assert found["broken", "run_toys:Idle", 0].error == "OSError: no such disk"
    assert len([n for n in told if n.error]) == 2


def test_an_interrupted_training_goes_on(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**TRAINED, "model": tiny_model, "partners": {}, "methods": ["run_toys:Idle"]}
    monkeypatch.setattr(study_toys.Impatient, "updates", 0)
    values |= {"methods": ["study_toys:Impatient"], "algorithms": {}, "num_iterations": 3, "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, **values)
    assert statuses(tmp_path) == {"single_agent": "complete", "study_toys:Impatient": "waiting"}
    run(tmp_path, **values)
    assert study_toys.Impatient.updates == 2 + 2  # one before Ctrl-C in the second; then the second and the third
    assert set(statuses(tmp_path).values()) == {"complete"}


def test_agents_trained_alone_make_a_team(tmp_path: Path, tiny_model: str) -> None:
    """Also where a single agent's adapter is called "shared"."""
    values = {**TRAINED, "model": tiny_model, "partners": {}, "team": "shared"}
    run(tmp_path, **values, methods=["alone_then_team/run_toys:Idle", "train_one/run_toys:Idle"])
    assert {m: s for m, s in statuses(tmp_path).items() if s != "complete"} == {}
    one = {c.method: c for c in cells(tmp_path).values()}["train_one/run_toys:Idle"]
    assert one.best_seat and {r["seat"] for r in one.records()} == {"agent_0", "agent_1"} and len(one.runs) == 2


def test_a_team_of_two_models_has_a_single_agent(tmp_path: Path, tiny_model: str) -> None:
    model = {"agent_0": tiny_model, "agent_1": tiny_model}
    run(tmp_path, **{**TRAINED, "model": model, "partners": {}, "methods": ["single_agent/run_toys:Idle", "reconcile"]})
    assert set(statuses(tmp_path).values()) == {"complete"}


# -- several processes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["one thread", pytest.param("two processes", marks=pytest.mark.slow)])
def test_workers_change_nothing(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"methods": ["debate", "study_toys:Breaks"], "tasks": ["study_toys:Numbers", "study_toys:Views"]}
    values |= {"partners": seats("Wordy")}
    run(tmp_path / "here", **values)
    if (
        where == "one thread"
    ):  # what passes between a study and its workers, without the half minute that two take to start
        monkeypatch.setattr(matrix, "workers", _thread)
    told = run(tmp_path / "there", **values, num_workers=2)
    assert contents(tmp_path / "there") == contents(tmp_path / "here") and len(contents(tmp_path / "here")) >= 6
    assert statuses(tmp_path / "there") == statuses(tmp_path / "here")
    assert {n.name for n in told if n.kind == "evaluation"} == {
        f"{task}, {cells} cells, seed 0" for task in values["tasks"] for cells in (3, 2)
    }
    assert len([n for n in told if n.error]) == 2


@pytest.mark.slow
def test_a_process_that_dies_is_told_in_a_line() -> None:
    with pytest.raises(MemoryError, match="fewer --num_workers"), workers.workers(2, lambda news: None) as mine:
        mine.submit(study_toys.dies).result()


@contextmanager
def _thread(number: int, watch: Callable[[News], None]) -> Iterator[workers.Workers]:
    with ThreadPoolExecutor(1) as pool:
        mine = workers.Workers(number, pool, Queue(), watch)
        yield mine
        mine.listen()


# -- cells at the edge -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("agent", "right"), [("Knows", 1.0), ("Wrong", 0.0), ("Mute", 0.0)])
def test_all_right_and_all_wrong(agent: str, right: float, tmp_path: Path) -> None:
    run(tmp_path, methods=["debate"], partners=seats(agent))
    for cell in cells(tmp_path).values():
        assert {r["team_correct"] for r in cell.records()} == {right}


def test_a_task_without_test_questions(tmp_path: Path) -> None:
    """Its validation questions stand in."""
    with pytest.warns(UserWarning, match="validation questions stand in"):
        run(tmp_path, methods=["debate"], tasks=["study_toys:NoTest"])
    assert set(statuses(tmp_path).values()) == {"complete"}


def test_what_was_run_is_written_down(tmp_path: Path) -> None:
    study = Study().merged({**SCRIPTED, "output_dir": str(tmp_path), "title": "Mine"})
    run_study(study, command="maporl benchmark --title Mine")
    machine = json.loads((tmp_path / "machine.json").read_text())
    assert machine["command"] == "maporl benchmark --title Mine" and machine["versions"]["maporl"]
    assert Study.load(tmp_path / "study.yaml") == study
    assert not list(tmp_path.rglob("*.part"))
    results = load_results([tmp_path])
    assert results.title == "Mine" and results.settings["command"] == machine["command"]
    assert Knows.calls > 0


def test_a_task_tested_on_its_training_questions_is_told_once(tmp_path: Path, tiny_model: str) -> None:
    study = {
        **TRAINED,
        "tasks": ["run_toys:Careless"],
        "methods": ["debate/run_toys:Idle"],
        "seeds": [0, 1],
        "model": tiny_model,
    }
    with pytest.warns(UserWarning, match="of the 200 test questions of careless are training questions") as told:
        run_study(Study().merged({**study, "output_dir": str(tmp_path)}))
    assert len([w for w in told if "careless" in str(w.message)]) == 1

"""Measuring: scripted answers with figures by hand, what rows share, what each of them costs, and what fails alone."""

from __future__ import annotations

import itertools
import json
import shutil
import time
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import study_toys
from run_toys import SMALL
from study_toys import SCRIPTED, Clocked, Knows, Toy, seats

from maporl.agents import Policy, Team
from maporl.benchmarks.analysis.outcomes import Measured
from maporl.benchmarks.analysis.results import Cell
from maporl.benchmarks.study import measuring
from maporl.benchmarks.study.measuring import STREAM, measure
from maporl.benchmarks.study.study import Study
from maporl.benchmarks.study.trainers import train
from maporl.envs.scoring import Verifiers
from maporl.rollouts.play import rollout
from maporl.rollouts.records import Record, read_records
from maporl.training.evaluation import evaluate, subset


def measured(folder: Path, **values: Any) -> dict[str, list[Record]]:
    """Records of every method of a study of one task and seed."""
    study = Study().merged({**SCRIPTED, **values})
    measure(study, list(study.cells()), folder)
    return {c.named.word: read_records(folder / c.folder / "records.jsonl") for c in study.cells()}


def cell(folder: Path, word: str) -> dict[str, Any]:
    (file,) = (f for f in folder.glob("cells/*/*/seed_0/cell.json") if json.loads(f.read_text())["method"] == word)
    return json.loads(file.read_text())


def sampled(records: Sequence[Record]) -> list[Record]:
    return [r for r in records if not r["greedy"]]


def accuracy(records: Sequence[Record]) -> float:
    return float(np.mean([r["team_correct"] for r in sampled(records)]))


def texts(record: Record) -> list[str]:
    return [t["text"] for t in record["turns"]]


# -- figures by hand -------------------------------------------------------------------------------------------------------


def test_answers_and_costs_of_scripted_agents(tmp_path: Path) -> None:
    """One knows, one is always wrong: a tie. A question is 3 tokens, an answer 2; a prompt holds the question and all messages."""
    partners = {"agent_0": "study_toys:Knows", "agent_1": "study_toys:Wrong"}
    found = measured(tmp_path, partners=partners, methods=["debate", "self_consistency@3", "self_refine"])
    assert {word: accuracy(records) for word, records in found.items()} == {
        "single_agent": 1.0,
        "debate": 0.5,
        "self_consistency@3": 1.0,
        "self_refine": 1.0,
    }
    costs = {
        w: [cell(tmp_path, w)["costs"][n] for n in ("generations", "prompt_tokens", "completion_tokens")] for w in found
    }
    assert costs == {
        "single_agent": [1, 3, 2],
        "debate": [4, 2 * 3 + 2 * (3 + 4), 8],
        "self_consistency@3": [3, 9, 6],
        "self_refine": [3, 3 + 5 + 7, 6],
    }
    assert all(cell(tmp_path, w)["costs"]["questions"] == 12 and not cell(tmp_path, w)["oracle"] for w in found)
    assert {r["tied"] for r in found["debate"]} == {2}


def test_a_judge_costs_where_its_scores_have_a_part_in_the_answer(tmp_path: Path) -> None:
    """Each verdict took 11 tokens: a plain vote reads none of them, the best of three reads three, a debate that shows scores all four."""
    partners = {f"agent_{i}": "study_toys:Knows" for i in range(2)}
    shown = {"name": "debate", "label": "shown", "show_scores": True}
    methods = ["self_consistency@3", "best_of_k@3", "debate", shown]
    judge = {"env_args": {"verifier": "study_toys:Judging", "ground_truth": "number"}}
    found = measured(tmp_path, partners=partners, methods=methods, **judge)
    costs = {word: cell(tmp_path, word)["costs"]["judge_tokens"] for word in found}
    assert costs == {"single_agent": 0, "self_consistency@3": 0, "best_of_k@3": 33, "debate": 0, "shown": 44}
    assert not any(cell(tmp_path, word)["oracle"] for word in found), "a judge that knows no gold answer is no oracle"


def test_discarded_tokens_cost_what_others_do(tmp_path: Path) -> None:
    """A message of two tokens for which five more were sampled: a lone answer costs 7, a debate of 2 agents and rounds 4 times that."""
    partners = {f"agent_{i}": "study_toys:Rejects" for i in range(2)}
    found = measured(tmp_path, partners=partners, methods=["debate"])
    assert {w: cell(tmp_path, w)["costs"]["completion_tokens"] for w in found} == {"single_agent": 7, "debate": 4 * 7}
    assert all(t["completion_tokens"] == 2 for records in found.values() for r in records for t in r["turns"])
    for file in tmp_path.glob("cells/*/*/seed_0/records.jsonl"):  # and as reports read it back
        written = json.loads((file.parent / "cell.json").read_text())
        word = written["method"]
        (run,) = Measured.of([Cell("numbers", word, word, 0, "complete", file.parent, file)]).runs
        assert run.costs["completion_tokens"] == written["costs"]["completion_tokens"]


def test_a_sampler_of_ones_own_serves_every_row(tmp_path: Path, tiny_model: str) -> None:
    values = {"model": tiny_model, "partners": {}, "max_new_tokens": 6, "num_questions": 3, "methods": ["debate"]}
    own = measured(tmp_path / "own", sampler="toy_samplers:Wasteful", **values)
    usual = measured(tmp_path / "usual", **values)
    assert {w: [texts(r) for r in records] for w, records in own.items()} == {
        w: [texts(r) for r in records] for w, records in usual.items()
    }
    for word, messages in (("single_agent", 1), ("debate", 4)):
        ours, theirs = (cell(tmp_path / name, word)["costs"]["completion_tokens"] for name in ("own", "usual"))
        assert ours == pytest.approx(theirs + 3 * messages)


@pytest.mark.parametrize(
    ("method", "agents", "rounds", "generations"),
    [
        ("single_agent", 3, 2, 1),
        ("self_consistency@7", 3, 2, 7),
        ("best_of_k@4", 3, 2, 4),
        ("debate", 3, 3, 9),
        ("debate_sparse", 4, 2, 8),
        ("debate_centralised", 3, 2, 6),
        ("mixture_of_agents", 3, 3, 3 * 2 + 1),
        ("reconcile", 3, 3, 3 * (1 + 2)),  # nobody agrees with a wrong one
        ("self_refine", 3, 2, 3),
        ("study_toys:VoteOfDebates", 2, 2, 2 * 4),
    ],
)
def test_generations(method: str, agents: int, rounds: int, generations: int, tmp_path: Path) -> None:
    partners = {**seats("Knows"), "agent_1": "study_toys:Wrong"}
    found = measured(tmp_path, methods=[method], num_agents=agents, num_rounds=rounds, partners=partners)
    said = [[t for t in r["turns"] if "kind" not in t] for r in found[method]]  # a tally is nobody's message
    assert {len(turns) for turns in said} == {generations}
    assert cell(tmp_path, method)["costs"]["generations"] == generations


def test_reconcile_ends_when_all_agree(tmp_path: Path) -> None:
    """After one round of three; then there is no last round to be spoken again."""
    records = measured(tmp_path, methods=["reconcile"], num_rounds=3, partners=seats("Knows"))["reconcile"]
    assert {len(r["turns"]) for r in records} == {2} and accuracy(records) == 1.0
    assert all(r["ablated"] is None for r in records)


def test_nobody_answers(tmp_path: Path) -> None:
    found = measured(tmp_path, partners=seats("Mute"), methods=["debate", "self_consistency@3", "best_of_k@2"])
    for records in found.values():
        assert {(r["team_answer"], r["team_correct"], r["tied"]) for r in records} == {(None, 0.0, 0)}


def test_oracles_are_labelled(tmp_path: Path) -> None:
    found = measured(tmp_path, methods=["best_of_k@8", "verifier_vote@8", "self_consistency@8"])
    assert [cell(tmp_path, w)["oracle"] for w in found] == [False, True, True, False]
    passed = [any(t["truth"]["correct"] for t in r["turns"]) for r in found["best_of_k@8"]]
    assert [r["team_correct"] for r in found["best_of_k@8"]] == passed  # pass@k


def test_scores_that_are_shown_or_end_a_discussion_label_its_row(tmp_path: Path) -> None:
    """With a verifier that knows nothing of the gold answer nothing is labelled."""
    methods = [
        "single_agent",
        {"name": "debate", "label": "plain"},
        {"name": "debate", "show_scores": True, "label": "shown"},
        {"name": "discussion", "label": "ended", "settings": {"env_args": {"protocol": ENDS}}},
    ]
    found = measured(tmp_path / "gold", methods=methods)
    assert {w: cell(tmp_path / "gold", w)["oracle"] for w in found} == {
        w: w.startswith(("shown", "ended")) for w in found
    }
    verifier = {"name": "regex", "pattern": "Answer", "uses_gold": False}
    honest = measured(tmp_path / "honest", methods=methods, env_args={"verifier": verifier})
    assert not any(cell(tmp_path / "honest", w)["oracle"] for w in honest)


ENDS = {"name": "debate", "stop": {"name": "consensus", "share": 0.6, "score": 0.5}}


# -- what rows share -------------------------------------------------------------------------------------------------------


def test_rows_share_samples(tmp_path: Path) -> None:
    """A vote of 3 holds the first three samples of a vote of 5, and the single agent's is the first of both."""
    words = ["self_consistency@3", "self_consistency@5", "best_of_k@4"]
    Toy.calls = 0
    found = measured(tmp_path, methods=words)
    of_five = {r["question_id"]: texts(r) for r in found["self_consistency@5"]}
    for word, k in (("self_consistency@3", 3), ("best_of_k@4", 4)):
        assert {r["question_id"]: texts(r) for r in found[word]} == {q: t[:k] for q, t in of_five.items()}
    assert {r["question_id"]: texts(r) for r in sampled(found["single_agent"])} == {
        q: t[:1] for q, t in of_five.items()
    }
    assert len({t[0] == t[1] for t in of_five.values()}) == 2  # they are different samples
    assert Toy.calls == 12 * (5 + 1)  # spoken once: five samples and a greedy answer
    assert found["self_consistency@3"][0]["agents"] == ["sample_0", "sample_1", "sample_2"]


def test_several_samples_and_one_greedy(tmp_path: Path) -> None:
    found = measured(tmp_path, methods=["debate", "self_consistency@2"], num_samples=3)
    for word in ("single_agent", "debate"):
        kinds = [(r["sample"], r["greedy"]) for r in found[word] if r["question"] == "What is 5?"]
        assert kinds == [(0, False), (1, False), (2, False), (0, True)]
        assert all(r["team_correct"] == 1.0 for r in found[word] if r["greedy"])  # a coin is right when it is greedy
    five = {r["sample"]: texts(r) for r in sampled(found["single_agent"]) if r["question"] == "What is 5?"}
    two = {r["sample"]: texts(r) for r in found["self_consistency@2"] if r["question"] == "What is 5?"}
    assert sorted(two) == [0, 1, 2] and not any(r["greedy"] for r in found["self_consistency@2"])
    assert two[0] == five[0] + five[1] and two[1][0] == five[2][0]
    assert cell(tmp_path, "self_consistency@2")["costs"]["generations"] == 2


def test_the_same_as_a_plain_rollout(tmp_path: Path) -> None:
    """And its greedy figure is that of `evaluate`."""
    records = measured(tmp_path, methods=["debate"])["debate"]
    study = Study().merged(SCRIPTED)
    env = study.budget("study_toys:Numbers", None).build_env()
    asked = subset(env.questions("test"), 99)
    team = Team({(agent, 0): study_toys.Coin() for agent in env.possible_agents})
    plain = rollout(env, team, asked, seed=(0, STREAM, 0))
    assert [texts(r) for r in sampled(records)] == [[t.text for t in e.transcript.turns] for e in plain]
    evaluation = evaluate(env, team, asked, greedy=True)
    greedy = [r for r in records if r["greedy"]]
    assert np.mean([r["team_correct"] for r in greedy]) == evaluation.metrics["eval/accuracy"] == 1.0
    assert [texts(r) for r in greedy] == [texts(r) for r in evaluation.records]


def test_pieces_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    methods = ["debate", "self_consistency@3", "study_toys:VoteOfDebates"]
    measured(tmp_path / "whole", methods=methods)
    progress: list[tuple[int, int]] = []
    monkeypatch.setattr(measuring, "AT_ONCE", 40)
    study = Study().merged({**SCRIPTED, "methods": methods})
    measure(study, list(study.cells()), tmp_path / "cut", lambda done, total: progress.append((done, total)))
    for key in study.cells():
        one, two = (tmp_path / name / key.folder / "records.jsonl" for name in ("whole", "cut"))
        assert one.read_bytes() == two.read_bytes()
        a, b = (cell(tmp_path / name, key.named.word)["costs"] for name in ("whole", "cut"))
        assert {**a, "eval_s": 0} == {**b, "eval_s": 0}
    assert len(progress) > 2 and progress[-1] == (12, 12)


# -- interruptions ---------------------------------------------------------------------------------------------------------


TWIN = {"name": "debate", "label": "twin"}
"""Says what a debate says."""


def test_an_interruption_loses_one_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four discussions of a question: of a piece of three 2 x (1 + 4) messages each and two once more; Ctrl-C is in the third."""
    monkeypatch.setattr(measuring, "AT_ONCE", 12)
    values = {"methods": ["debate", TWIN], "partners": seats("Stops")}
    measured(tmp_path / "whole", **values)
    a_question = 2 + 2 * 4 + 2  # the two teams say the same
    monkeypatch.setattr(study_toys.Stops, "left", 2 * 3 * a_question + 5)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "cut", **values)
    parts = list(tmp_path.glob("cut/cells/*/*/seed_0/records.jsonl.part"))
    assert [len(read_records(part)) for part in parts] == [6 * 2] * 3 and not list(tmp_path.glob("cut/**/cell.json"))
    with parts[0].open("a") as file:
        file.write('{"half": ')  # and the power fails
    monkeypatch.setattr(study_toys.Stops, "left", 10**9)
    Toy.calls = 0
    measured(tmp_path / "cut", **values)
    assert Toy.calls == 6 * a_question
    for file in (tmp_path / "whole").glob("cells/*/*/*/records.jsonl"):
        assert file.read_bytes() == (tmp_path / "cut" / file.relative_to(tmp_path / "whole")).read_bytes()
        one, two = (
            json.loads((tmp_path / n / file.relative_to(tmp_path / "whole")).with_name("cell.json").read_text())
            for n in ("whole", "cut")
        )
        assert {**one["costs"], "eval_s": 0} == {**two["costs"], "eval_s": 0} and one["bytes"] == two["bytes"]
    assert not list(tmp_path.rglob("*.part")) and not list(tmp_path.rglob("progress.json"))


def test_who_joins_later_shares_what_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six questions of a row are there; a row that is new begins at the first, and from the seventh on they are played together."""
    monkeypatch.setattr(measuring, "AT_ONCE", 12)
    measured(tmp_path / "whole", methods=["debate", TWIN], partners=seats("Stops"))
    monkeypatch.setattr(study_toys.Stops, "left", 6 * 12 + 5)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path / "cut", methods=["debate"], partners=seats("Stops"))
    monkeypatch.setattr(study_toys.Stops, "left", 10**9)
    Toy.calls = 0
    measured(tmp_path / "cut", methods=["debate", TWIN], partners=seats("Stops"))
    assert Toy.calls == 6 * 10 + 6 * 12
    for file in (tmp_path / "whole").glob("cells/*/*/*/records.jsonl"):
        assert file.read_bytes() == (tmp_path / "cut" / file.relative_to(tmp_path / "whole")).read_bytes()


@pytest.mark.parametrize("damage", ["progress.json", "records.jsonl.part"])
def test_what_was_begun_and_is_damaged_is_begun_anew(
    damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 8)
    monkeypatch.setattr(study_toys.Stops, "left", 6 * 12)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, methods=["debate"], partners=seats("Stops"))
    for file in tmp_path.rglob(damage):
        file.write_text('{"version": 1}')
    monkeypatch.setattr(study_toys.Stops, "left", 10**9)
    Toy.calls = 0
    found = measured(tmp_path, methods=["debate"], partners=seats("Stops"))
    assert Toy.calls == 12 * 12 and {len(records) for records in found.values()} == {24}


def test_what_was_begun_with_other_settings_is_begun_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 8)
    monkeypatch.setattr(study_toys.Stops, "left", 6 * 10)
    with pytest.raises(KeyboardInterrupt):
        measured(tmp_path, methods=["debate"], partners=seats("Stops"), num_samples=1)
    monkeypatch.setattr(study_toys.Stops, "left", 10**9)
    found = measured(tmp_path, methods=["debate"], partners=seats("Stops"), num_samples=2)
    assert {word: len(records) for word, records in found.items()} == {"single_agent": 36, "debate": 36}


def test_seeds_differ_and_greedy_answers_do_not(tmp_path: Path) -> None:
    study = Study().merged({**SCRIPTED, "methods": ["debate"], "seeds": [0, 1]})
    cells = list(study.cells())
    measure(study, cells, tmp_path)
    one, two = (read_records(tmp_path / c.folder / "records.jsonl") for c in cells if c.named.word == "debate")
    assert [texts(r) for r in sampled(one)] != [texts(r) for r in sampled(two)]
    assert [texts(r) for r in one if r["greedy"]] == [texts(r) for r in two if r["greedy"]]


def test_time_is_that_of_sampled_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A vote of three costs three answers' worth, whatever the rows share; greedy answers and ablations cost nobody anything."""
    unheard = measuring.unheard
    monkeypatch.setattr(measuring, "unheard", lambda played: time.sleep(0.5) or unheard(played))
    measured(tmp_path, methods=["self_consistency@3", "self_consistency@6", "debate"])
    costs = {
        w: cell(tmp_path, w)["costs"] for w in ("single_agent", "self_consistency@3", "self_consistency@6", "debate")
    }
    second = {w: c["eval_s"] / (c["prompt_tokens"] + c["completion_tokens"]) for w, c in costs.items()}
    assert list(second.values()) == pytest.approx([second["debate"]] * 4) and 0 < costs["debate"]["eval_s"] < 0.4


def test_time_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every reading of the clock is 10 s after the last. Played are 3 samples and a greedy answer: 2.5 s each."""
    clock = itertools.count(0.0, 10.0)
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    measured(tmp_path, methods=["self_consistency@3"], partners=seats("Knows"))
    assert [cell(tmp_path, w)["costs"]["eval_s"] for w in ("single_agent", "self_consistency@3")] == pytest.approx(
        [2.5, 7.5]
    )


def test_costs_of_every_seat(tmp_path: Path) -> None:
    """A lone agent's costs are the mean over its seats: 2 words in one, 4 in the other; the time likewise."""
    partners = {"agent_0": "study_toys:Knows"}
    found = measured(tmp_path, tasks=["study_toys:LongViews"], partners=partners, methods=["self_consistency@2"])
    assert {r["seat"] for r in found["single_agent"]} == {"agent_0", "agent_1"}
    for word, k in (("single_agent", 1), ("self_consistency@2", 2)):
        written = cell(tmp_path, word)
        assert [c["prompt_tokens"] for c in written["seat_costs"].values()] == [k * 3, k * 7]
        assert (written["costs"]["prompt_tokens"], written["costs"]["generations"]) == (k * 5, k)
        assert written["costs"]["eval_s"] == pytest.approx(
            np.mean([c["eval_s"] for c in written["seat_costs"].values()])
        )


def test_a_subset_is_always_the_same(tmp_path: Path) -> None:
    found = measured(tmp_path, methods=["debate", "self_consistency@2"], num_questions=4)
    ids = [{r["question_id"] for r in records} for records in found.values()]
    assert len(ids[0]) == 4 and all(i == ids[0] for i in ids)


def test_duplicate_questions_are_asked_once(tmp_path: Path) -> None:
    found = measured(tmp_path, methods=["debate"], tasks=["study_toys:Doubled"])
    assert len(sampled(found["debate"])) == 12 and cell(tmp_path, "debate")["costs"]["questions"] == 12


# -- private information ---------------------------------------------------------------------------------------------------


def test_a_lone_agent_is_measured_in_every_seat(tmp_path: Path) -> None:
    """Only the second seat knows: one half over both seats (and question 0, whose answer the ignorant say)."""
    found = measured(
        tmp_path,
        tasks=["study_toys:Views"],
        partners=seats("Witness"),
        methods=["debate", "self_consistency@3", "single_agent_told", "self_refine"],
    )
    for word in ("single_agent", "self_consistency@3", "self_refine"):
        by_seat = {s: [r for r in sampled(found[word]) if r["seat"] == s] for s in ("agent_0", "agent_1")}
        assert [accuracy(r) for r in by_seat.values()] == [1 / 12, 1.0]
        assert {tuple(r["private"].values()) for r in by_seat["agent_0"]} == {("nothing",)}
        assert sum(map(len, by_seat.values())) == len(sampled(found[word])) == 24
        assert cell(tmp_path, word)["costs"]["questions"] == 12
    assert cell(tmp_path, "self_consistency@3")["costs"]["generations"] == 3
    assert accuracy(found["debate"]) == pytest.approx((1 + 11 * 0.5) / 12)
    assert {r["seat"] for r in found["debate"] + found["single_agent_told"]} == {None}
    assert accuracy(found["single_agent_told"]) == 1.0
    ids = {word: {r["question_id"] for r in records} for word, records in found.items()}
    assert all(i == ids["debate"] for i in ids.values())


def test_a_team_told_everything_has_no_seats(tmp_path: Path) -> None:
    found = measured(
        tmp_path, tasks=["study_toys:Views"], partners=seats("Witness"), methods=["debate"], env_args={"view": "all"}
    )
    assert accuracy(found["single_agent"]) == accuracy(found["debate"]) == 1.0
    assert {r["seat"] for r in found["single_agent"]} == {None}


# -- message ablation ------------------------------------------------------------------------------------------------------


def test_who_copies_loses_everything_with_the_messages(tmp_path: Path) -> None:
    """The copier is right in round 2 thanks to its peer alone: 1 falls to a tie of 1/2."""
    partners = {"agent_0": "study_toys:Knows", "agent_1": "study_toys:Copies"}
    records = sampled(measured(tmp_path, methods=["debate"], partners=partners)["debate"])
    assert accuracy(records) == 1.0
    assert {r["ablated"]["team_correct"] for r in records} == {0.5}
    for record in records:
        knows, copies = record["ablated"]["turns"]
        assert (knows["round"], copies["round"]) == (1, 1)
        assert knows["text"] == record["turns"][2]["text"]
        assert (copies["text"], copies["truth"]["correct"], copies["completion_tokens"]) == ("Answer: 888", False, 2)


def test_who_ignores_peers_loses_nothing(tmp_path: Path) -> None:
    """To the letter: the random numbers are the same."""
    records = sampled(measured(tmp_path, methods=["debate"], num_rounds=3)["debate"])
    for record in records:
        assert [t["text"] for t in record["ablated"]["turns"]] == texts(record)[-2:]
        assert record["ablated"]["team_correct"] == record["team_correct"]


def test_what_is_not_ablated(tmp_path: Path) -> None:
    found = measured(
        tmp_path / "a", methods=["debate", "self_consistency@2", "self_refine", "study_toys:VoteOfDebates"]
    )
    assert all((r["ablated"] is None) == r["greedy"] for r in found["debate"])
    for word in ("single_agent", "self_consistency@2", "self_refine", "study_toys:VoteOfDebates"):
        assert all(r["ablated"] is None for r in found[word])
    off = measured(tmp_path / "b", methods=["debate"], ablate_messages=False)
    assert all(r["ablated"] is None for r in off["debate"])
    assert [texts(r) for r in off["debate"]] == [texts(r) for r in found["debate"]]
    rounds = measured(tmp_path / "c", methods=["debate"], num_rounds=1)
    assert all(r["ablated"] is None for r in rounds["debate"])
    in_turn = measured(tmp_path / "d", methods=["discussion"], env_args={"protocol": "round_robin"})
    assert all(r["ablated"] is None for r in in_turn["discussion"])


def test_the_aggregator_without_its_proposals(tmp_path: Path) -> None:
    partners = {"agent_0": "study_toys:Copies", "agent_1": "study_toys:Knows"}
    records = sampled(measured(tmp_path, methods=["mixture_of_agents"], partners=partners)["mixture_of_agents"])
    assert accuracy(records) == 1.0 and {len(r["turns"]) for r in records} == {3}
    assert {(r["ablated"]["team_correct"], len(r["ablated"]["turns"])) for r in records} == {(0.0, 1)}


def test_an_own_answer_is_made_of_the_ablated_messages_too(tmp_path: Path) -> None:
    partners = {"agent_0": "study_toys:Knows", "agent_1": "study_toys:Copies"}
    word = "study_toys:LastSpeaker"
    records = sampled(measured(tmp_path, methods=[word], partners=partners)[word])
    assert {(r["team_correct"], r["ablated"]["team_correct"]) for r in records} == {(1.0, 0.0)}


# -- failures --------------------------------------------------------------------------------------------------------------


def test_a_method_with_a_bug_fails_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 24)
    Toy.calls = 0
    words = ["study_toys:Breaks", "study_toys:Unwritable", "debate", "study_toys:BreaksTwice"]
    found = measured(tmp_path, methods=words)
    failed = cell(tmp_path, "study_toys:Breaks")
    assert (failed["status"], failed["error"]) == ("failed", "ZeroDivisionError: a bug of the user's")
    assert "study_toys.py" in next(tmp_path.glob("cells/*/*Breaks/seed_0/traceback.txt")).read_text()
    assert cell(tmp_path, "study_toys:Unwritable")["status"] == "failed"
    assert [cell(tmp_path, w)["status"] for w in ("single_agent", "debate")] == ["complete", "complete"]
    assert len(found["debate"]) == len(found["single_agent"]) == 24
    # A sample and a greedy answer alone, of a team, and its last round again: nobody who is sound speaks twice because of others.
    # Four questions go in one piece (24 discussions, 6 different ones of a question): the last one says nothing after the first.
    assert Toy.calls == 12 * (2 + 2 * 4 + 2) + 4 * 2 * 2
    monkeypatch.setattr(study_toys.Breaks, "broken", False)
    assert len(measured(tmp_path, methods=["study_toys:Breaks"])["study_toys:Breaks"]) == 24
    assert not list(tmp_path.glob("cells/*/*Breaks/seed_0/traceback.txt"))


def test_nothing_but_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "AT_ONCE", 2)
    study = Study().merged({**SCRIPTED, "methods": ["study_toys:Breaks", "study_toys:BreaksTwice"]})
    measure(study, [c for c in study.cells() if c.named.word != "single_agent"], tmp_path)
    assert {cell(tmp_path, w)["status"] for w in ("study_toys:Breaks", "study_toys:BreaksTwice")} == {"failed"}


def test_an_agent_with_a_bug_fails_its_rows_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It sits in the second seat: lone agents sit in the first."""
    monkeypatch.setattr(Knows, "speak", lambda *arguments: 1 / 0)
    partners = {"agent_0": "study_toys:Coin", "agent_1": "study_toys:Knows"}
    found = measured(tmp_path, methods=["debate", "self_consistency@2"], partners=partners)
    assert [cell(tmp_path, w)["status"] for w in found] == ["complete", "failed", "complete"]
    assert "ZeroDivisionError" in cell(tmp_path, "debate")["error"]
    assert len(found["self_consistency@2"]) == 12 and len(found["single_agent"]) == 24


def test_a_method_must_ask_what_the_task_asks(tmp_path: Path) -> None:
    measured(tmp_path, methods=["study_toys:AsksOthers"])
    assert "asks other questions than the task" in cell(tmp_path, "study_toys:AsksOthers")["error"]


def test_a_discussion_too_long_for_the_window(tmp_path: Path, tiny_model: str) -> None:
    """The window is 512; the debate's cell fails with the remedy, the single agent's is whole."""
    values = {"model": tiny_model, "partners": {}, "max_new_tokens": 200, "num_rounds": 4, "num_questions": 2}
    found = measured(tmp_path, methods=["debate"], **values)
    failed = cell(tmp_path, "debate")
    assert failed["status"] == "failed" and "max_new_tokens" in failed["error"] and "\n" not in failed["error"]
    assert len(found["single_agent"]) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"partners": {}, "methods": ["debate"]}, "no model"),
        ({"partners": {"agent_0": "study_toys:Knows"}, "methods": ["debate"]}, "no model"),
        ({"partners": {**seats("Knows"), "agent_1": "study_toys:NoMethod"}, "methods": ["debate"]}, "is no agent"),
        ({"methods": ["single_agent_told"]}, "no private information"),
        ({"methods": ["debate_sparse"]}, "needs at least 4 agents"),
        ({"methods": [{"name": "mixture_of_agents", "num_rounds": 1}]}, "needs 2"),
    ],
)
def test_slips_fail_their_cells(values: dict[str, Any], message: str, tmp_path: Path) -> None:
    words = list(measured(tmp_path, **values))
    assert cell(tmp_path, words[-1])["status"] == "failed"
    assert message in cell(tmp_path, words[-1])["error"]


def test_a_lockstep_that_failed_holds_nothing_when_its_rows_are_tried_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been too much for the memory."""
    held: list[weakref.ref[Any]] = []
    alive: list[bool] = []
    play = measuring.rollout_together

    def too_much(plays: Sequence[Any], *more: Any) -> Any:
        if not held:
            memory = Knows()
            held.append(weakref.ref(memory))
            raise MemoryError
        alive.append(held[0]() is not None)
        return play(plays, *more)

    monkeypatch.setattr(measuring, "rollout_together", too_much)
    found = measured(tmp_path, methods=["debate"])
    assert len(found["debate"]) == 24 and alive == [False, False]


# -- models ----------------------------------------------------------------------------------------------------------------


def test_a_model_is_loaded_once_and_shared(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of one model; what they say is what each says alone."""
    loaded: list[str] = []
    load = Policy.from_pretrained
    monkeypatch.setattr(Policy, "from_pretrained", lambda path, **more: loaded.append(path) or load(path, **more))
    values = {"model": tiny_model, "partners": {}, "max_new_tokens": 6, "num_questions": 3}
    together = measured(tmp_path / "all", methods=["debate", "self_consistency@2", "self_refine"], **values)
    assert loaded == [tiny_model]
    alone = measured(tmp_path / "one", methods=["debate"], **values)
    assert [texts(r) for r in alone["debate"]] == [texts(r) for r in together["debate"]]
    assert [texts(r)[0] for r in sampled(together["single_agent"])] == [
        texts(r)[0] for r in together["self_consistency@2"]
    ]
    costs = cell(tmp_path / "all", "single_agent")["costs"]
    tokens = [t["completion_tokens"] for r in sampled(together["single_agent"]) for t in r["turns"]]
    assert costs["completion_tokens"] == pytest.approx(np.mean(tokens)) and 1 <= np.mean(tokens) <= 6


def test_models_make_room_for_one_another(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows, two models, the second only when the first is gone; what each row says does not depend on the company."""
    other = shutil.copytree(tiny_model, tmp_path / "other")
    loaded: list[weakref.ref[Policy]] = []
    alive: list[int] = []
    load = Policy.from_pretrained

    def counted(path: str, **more: Any) -> Policy:
        alive.append(sum(policy() is not None for policy in loaded))
        policy = load(path, **more)
        loaded.append(weakref.ref(policy))
        return policy

    monkeypatch.setattr(Policy, "from_pretrained", counted)
    values = {"model": tiny_model, "partners": {}, "max_new_tokens": 4, "num_questions": 2}
    theirs = {"name": "debate", "label": "theirs", "settings": {"model": str(other)}}
    progress: list[tuple[int, int]] = []
    study = Study().merged({**SCRIPTED, **values, "methods": [theirs, "debate"]})
    measure(study, list(study.cells()), tmp_path / "s", lambda done, total: progress.append((done, total)))
    assert alive == [0, 0] and progress == sorted(progress) and {(2, 4), (4, 4)} < set(progress)
    one, two = (
        read_records(tmp_path / "s" / c.folder / "records.jsonl")
        for c in study.cells()
        if c.named.word != "single_agent"
    )
    assert [texts(r) for r in one] == [texts(r) for r in two]


def test_a_model_is_one_whatever_it_is_called(tmp_path: Path, tiny_model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run folder has its full path, the study a short one: trained and untrained rows share it all the same."""
    monkeypatch.chdir(Path(tiny_model).parent)
    values = {**SMALL, "model": Path(tiny_model).name, "partners": {}, "num_iterations": 0, "num_questions": 2}
    methods = ["single_agent/run_toys:Idle", "single_agent"]
    study = Study().merged({**SCRIPTED, **values, "tasks": ["run_toys:Letters"], "methods": methods})
    cells = list(study.cells())
    for training in (t for c in cells for t in study.trainings(c.task, c.named, 0)):
        train(training, tmp_path / training.folder)
    loaded: list[str] = []
    load = Policy.from_pretrained
    monkeypatch.setattr(Policy, "from_pretrained", lambda path, **more: loaded.append(path) or load(path, **more))
    measure(study, cells, tmp_path)
    assert len(loaded) == 1 and [cell(tmp_path, w)["status"] for w in methods] == ["complete"] * 2


def test_a_warm_temperature_is_the_evaluations(tmp_path: Path, tiny_model: str) -> None:
    """eval_temperature wins over temperature: next to 0 a sample is the greedy answer."""
    values = {"model": tiny_model, "partners": {}, "max_new_tokens": 6, "num_questions": 3}
    cold = measured(tmp_path, methods=["single_agent"], eval_temperature=1e-4, **values)["single_agent"]
    by_kind = {greedy: [texts(r) for r in cold if r["greedy"] is greedy] for greedy in (True, False)}
    assert by_kind[True] == by_kind[False]


# -- speed -----------------------------------------------------------------------------------------------------------------


def test_overhead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of speaking and scoring less than 5 % goes by where a message takes 2 ms, as with a small model.

    In processor time, so that a busy machine does not count; nobody really waits for the messages.
    """
    judged = [0.0]
    score = Verifiers.score

    def timed(verifiers: Verifiers, questions: Any, responses: Any) -> Any:
        began = time.process_time()
        try:
            return score(verifiers, questions, responses)
        finally:
            judged[0] += time.process_time() - began

    monkeypatch.setattr(Verifiers, "score", timed)
    values = {**SCRIPTED, "tasks": ["study_toys:Hundreds"], "partners": seats("Clocked"), "num_questions": 200}
    study = Study().merged({**values, "methods": ["debate", "self_consistency@3"]})
    shares = []
    for run in range(4):
        judged[0] = Clocked.busy = 0.0
        Toy.calls = 0
        began = time.process_time()
        measure(study, list(study.cells()), tmp_path)
        outside = time.process_time() - began - judged[0] - Clocked.busy
        if run:  # the first one loads
            shares.append(outside / (outside + 0.002 * Toy.calls))
    print(f"overhead {[f'{share:.2%}' for share in shares]} of {Toy.calls} messages")
    assert np.median(shares) < 0.08, "about .04 on a quiet machine, .05 beside other work"

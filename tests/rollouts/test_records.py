"""Records: what a line holds, and files that were cut off, doubled, or written by another version."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_discussions import completion

from maporl.envs.team_answer import TeamAnswer
from maporl.rollouts.records import VERSION, encode_turn, read_records, record, sampled_tokens, write_records
from maporl.types import Completion, Episode, Question, Score, Transcript, Turn

QUESTION = Question("What?", "7", id="q1", private={"agent_0": "a hint", "agent_1": ""})


def _episode(given: int = 0) -> Episode:
    """Two agents, two rounds; the first `given` messages were there before."""
    score, truth = Score(0.5, None, "7"), Score(1.0, True, "7")
    said = [completion(*range(i + 1), prompt=[1] * 10 * (i + 1)) for i in range(4)]
    turns = tuple(Turn(f"agent_{i % 2}", i // 2, f"message {i}", score, truth, c) for i, c in enumerate(said))
    return Episode(Transcript(QUESTION, ("agent_0", "agent_1"), 2, turns), (0.0, 1.0, 2.0, 3.0), given=given)


def test_what_a_record_holds() -> None:
    made = record(
        _episode(), TeamAnswer("7", 0.5, 2), greedy=True, sample=3, seat="agent_1", advantages=[1.0, None, -1.0, 0.0]
    )
    assert made["version"] == VERSION == 1
    assert (made["question_id"], made["question"], made["gold"]) == ("q1", "What?", "7")
    assert made["private"] == {"agent_0": "a hint"}  # who is told nothing is not listed
    assert (made["sample"], made["seat"], made["greedy"]) == (3, "agent_1", True)
    assert (made["team_answer"], made["team_correct"], made["tied"], made["oracle"]) == ("7", 0.5, 2, False)
    assert (made["agents"], made["num_rounds"], made["overflow"], made["ablated"]) == (
        ["agent_0", "agent_1"],
        2,
        False,
        None,
    )
    assert made["turns"][2] == {
        "agent": "agent_0",
        "round": 1,
        "text": "message 2",
        "score": {"value": 0.5, "correct": None, "answer": "7", "status": "ok"},
        "truth": {"value": 1.0, "correct": True, "answer": "7", "status": "ok"},
        "reward": 2.0,
        "advantage": -1.0,
        "prompt_tokens": 30,
        "completion_tokens": 3,
        "truncated": False,
    }
    assert [t["advantage"] for t in made["turns"]] == [1.0, None, -1.0, 0.0]
    assert json.loads(json.dumps(made)) == made


def test_given_messages_cost_and_earn_nothing() -> None:
    turns = record(_episode(given=2), TeamAnswer("7", 1.0), greedy=False)["turns"]
    assert [t["text"] for t in turns] == [f"message {i}" for i in range(4)]
    assert [t["reward"] for t in turns] == [None, None, 2.0, 3.0]
    assert [t["completion_tokens"] for t in turns] == [0, 0, 3, 4]


def test_discarded_tokens_are_kept_apart_and_count_as_cost() -> None:
    said = completion(1, 2, 3)
    turn, wasteful = (Turn("agent_0", 0, "Yes", completion=c) for c in (said, replace(said, discarded=4)))
    usual, encoded = encode_turn(turn, 0.0), encode_turn(wasteful, 0.0)
    assert encoded == {**usual, "discarded_tokens": 4} and encoded["completion_tokens"] == 3
    assert (sampled_tokens(usual), sampled_tokens(encoded), wasteful.completion.sampled_tokens) == (3, 7, 7)


def test_advantages_are_one_a_turn() -> None:
    with pytest.raises(ValueError):
        record(_episode(), TeamAnswer("7", 1.0), greedy=False, advantages=[1.0])


def test_a_message_that_nobody_scores() -> None:
    made = encode_turn(Turn("agent_0", 0, "hm"), None)
    assert (made["score"], made["truth"], made["reward"], made["prompt_tokens"]) == (None, None, None, 0)


def test_feedback_is_told_apart_and_earns_nothing() -> None:
    tests = Turn("tests", 0, "2 of 3 pass", kind="feedback")
    made = encode_turn(tests, 0.0)
    assert (made["agent"], made["kind"], made["text"]) == ("tests", "feedback", "2 of 3 pass")
    assert (made["score"], made["reward"], made["completion_tokens"]) == (None, None, 0)


def test_truncation_and_overflow_are_kept() -> None:
    said = [Completion("", truncated=t, overflow=not t) for t in (True, False)]
    turns = tuple(Turn(agent, 0, "", completion=c) for agent, c in zip("ab", said, strict=True))
    episode = Episode(Transcript(QUESTION, ("a", "b"), 1, turns), (0.0, 0.0))
    made = record(episode, TeamAnswer(None, 0.0, 0), greedy=False)
    assert made["overflow"] and [t["truncated"] for t in made["turns"]] == [True, False]


# -- files -----------------------------------------------------------------------------------------------------------------


def _line(**values: Any) -> dict[str, Any]:
    made = record(_episode(), TeamAnswer("7", 1.0), greedy=False)
    return {**made, **values}


def test_any_text_comes_back(tmp_path: Path) -> None:
    """Lines in texts, half a surrogate pair, white space that some take for a line's end."""
    texts = ["one\ntwo\r\nthree", "\ud83d", "\u2028\u0085\x0b", "ü", "", '"\\']
    lines = [_line(sample=i, question=text) for i, text in enumerate(texts)]
    write_records(tmp_path / "new" / "records.jsonl", lines)
    problems: list[str] = []
    assert read_records(tmp_path / "new" / "records.jsonl", problems) == lines and problems == []


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    """A verifier of one's own gives them."""
    write_records(
        tmp_path / "r.jsonl", [_line(team_correct=np.float32(0.5), overflow=np.bool_(True), tied=np.int64(2))]
    )
    (found,) = read_records(tmp_path / "r.jsonl")
    assert (found["team_correct"], found["overflow"], found["tied"]) == (0.5, True, 2)
    with pytest.raises(TypeError, match="a record holds a Question"):
        write_records(tmp_path / "s.jsonl", [_line(team_answer=QUESTION)])


@pytest.mark.parametrize("cut", [1, 20, 400])
def test_a_file_cut_anywhere(cut: int, tmp_path: Path) -> None:
    """Also in the middle of a character."""
    file = tmp_path / "r.jsonl"
    write_records(file, [_line(sample=i, question="ü" * 600) for i in range(3)])
    whole = file.read_bytes()
    place = whole.rindex("ü".encode()) + 1 - 2 * cut
    file.write_bytes(whole[:place])
    problems: list[str] = []
    assert [r["sample"] for r in read_records(file, problems)] == [0, 1]
    assert problems == [f"{file}: 1 broken line left out (half written?)"]


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    file = tmp_path / "r.jsonl"
    lines = [
        _line(),
        _line(team_answer="a second copy"),
        _line(sample=1),  # these four are other records
        _line(seat="agent_1"),
        _line(greedy=True),
        _line(question_id="q2"),
        _line(version=2, sample=9),
        {k: v for k, v in _line(sample=9).items() if k != "version"},
        {k: v for k, v in _line(sample=9).items() if k != "turns"},
    ]
    write_records(file, lines)
    file.write_text(file.read_text() + "\n[1, 2]\nnull\n{}x\n", encoding="utf-8")
    problems: list[str] = []
    found = read_records(file, problems)
    assert [(r["question_id"], r["sample"], r["seat"], r["greedy"]) for r in found] == [
        ("q1", 0, None, False),
        ("q1", 1, None, False),
        ("q1", 0, "agent_1", False),
        ("q1", 0, None, True),
        ("q2", 0, None, False),
    ]
    assert found[0]["team_answer"] == "7"  # the first copy
    assert problems == [
        f"{file}: 4 broken lines left out (half written?)",
        f"{file}: records of version 2, none left out; this is version 1, evaluate again",
        f"{file}: 1 second copy of a record left out",
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    problems: list[str] = []
    assert read_records(tmp_path / "nowhere.jsonl", problems) == [] == problems
    write_records(tmp_path / "empty.jsonl", [])
    assert read_records(tmp_path / "empty.jsonl") == []

"""Labelled answers: read, balanced per question, divided by question."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import pytest

from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.learned_verifier.answers import (
    LabelledAnswer,
    balanced,
    by_question,
    divided,
    read_answers,
    seen,
    write_answers,
)
from maporl.types import Question

ROW = {"question": "1 + 1?", "gold": "2", "response": "It is 2.", "correct": True}


def answers(question: str, right: int, wrong: int, same: bool = False) -> list[LabelledAnswer]:
    asked = Question(question, "2")
    return [LabelledAnswer(asked, "2" if same else f"2, says {n}", True) for n in range(right)] + [
        LabelledAnswer(asked, "3" if same else f"3, says {n}", False) for n in range(wrong)
    ]


def write(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


def test_reading_rows(tmp_path: Path) -> None:
    more = {**ROW, "model": "gpt", "round": 1, "private": {"agent_0": "It is even."}, "correct": False}
    plain, full = read_answers(write(tmp_path, json.dumps(ROW), "", json.dumps(more)))
    assert plain == LabelledAnswer(Question("1 + 1?", "2"), "It is 2.", True)
    assert (full.generator, full.round, full.question.private, full.correct) == ("gpt", 1, more["private"], False)
    write_answers(tmp_path / "again.jsonl", [plain, full])
    assert read_answers(tmp_path / "again.jsonl") == [plain, full]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: a list; a row is an object"),
        (json.dumps({**ROW, "question": 3}), "line 2: 'question' is 3; it must be str"),
        (json.dumps({**ROW, "correct": "yes"}), "line 2: 'correct' is 'yes'; it must be bool"),
        (json.dumps({**ROW, "round": True}), "line 2: 'round' is True; it must be int"),
        (json.dumps({k: v for k, v in ROW.items() if k != "response"}), "line 2: 'response' is None; it must be str"),
        (json.dumps({k: v for k, v in ROW.items() if k != "gold"}), "line 2: 'gold' is None"),
    ],
)
def test_malformed_rows_name_file_line_and_field(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"rows.jsonl, {message}"):
        read_answers(write(tmp_path, json.dumps(ROW), line))


def test_no_file_and_no_rows(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no such file"):
        read_answers(tmp_path / "nowhere.jsonl")
    with pytest.raises(ValueError, match="has no rows"):
        read_answers(write(tmp_path, ""))


def test_k_right_and_k_wrong_to_every_question_or_none_of_it() -> None:
    found = [*answers("a", 5, 2), *answers("b", 1, 7), *answers("c", 2, 2)]
    kept, balance = balanced(found, 2)
    assert {q: sum(a.correct for a in group) for q, group in by_question(kept).items()} == {
        Question("a", "2").hash: 2,
        Question("c", "2").hash: 2,
    }
    assert len(kept) == 8 and len({(a.question.text, a.response) for a in kept}) == 8
    assert (balance.questions, balance.dropped, balance.answers, balance.right_before) == (2, 1, 8, 8 / 19)
    assert balanced(found, 2) == (kept, balance)
    assert len(balanced(found, 1)[0]) == 6


def test_different_texts_come_first_and_again_only_where_they_are_short() -> None:
    asked = Question("a", "2")
    found = [LabelledAnswer(asked, text, True) for text in "xxxxxy"] + [LabelledAnswer(asked, "z", False)] * 3
    for seed in range(5):
        kept, _ = balanced(found, 2, seed=seed)
        assert sorted(a.response for a in kept) == ["x", "y", "z", "z"]
        kept, _ = balanced(found, 3, seed=seed)
        assert sorted(a.response for a in kept) == ["x", "x", "y", "z", "z", "z"]


def test_unbalanced_answers_warn_with_the_numbers() -> None:
    with pytest.warns(UserWarning, match="90% of 10 answers are right, and 0% of 1 questions .* Give k to balance"):
        kept, balance = balanced(answers("a", 9, 1), None)
    assert len(kept) == 10 and balance.k is None
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        balanced(answers("a", 5, 5), None)


def test_nothing_to_balance() -> None:
    with pytest.raises(ValueError, match="none of 2 questions has 3 right and 3 wrong answers; the most of both is 2"):
        balanced([*answers("a", 9, 2), *answers("b", 1, 9)], 3)
    with pytest.raises(ValueError, match="k is 0"):
        balanced(answers("a", 1, 1), 0)


def test_no_question_is_in_two_parts_whatever_the_order() -> None:
    found = [a for n in range(300) for a in answers(f"question {n}", 1, 2)]
    parts = divided(found)
    seen = {name: set(by_question(part)) for name, part in parts.items()}
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())) == 300
    assert [round(len(seen[n]) / 300, 1) for n in ("train", "calibration", "held_out")] == [0.7, 0.1, 0.2]
    again = divided(found[::-1])
    assert {n: set(by_question(p)) for n, p in again.items()} == seen


def test_too_few_questions_to_divide() -> None:
    with pytest.raises(ValueError, match="part of 1 questions has .* give more questions"):
        divided(answers("a", 2, 2))


def test_questions_that_are_only_right_or_only_wrong_are_told_of() -> None:
    found = [a for n in range(10) for a in answers(f"question {n}", *((2, 0) if n % 2 else (0, 2)))]
    with pytest.warns(UserWarning, match="50% of 20 answers are right, and 100% of 10 questions"):
        balanced(found, None)


def test_what_people_write_in_files(tmp_path: Path) -> None:
    odd = json.dumps({**ROW, "response": "one\u2028two\x85three"}, ensure_ascii=False)
    assert read_answers(write(tmp_path, odd))[0].response == "one\u2028two\x85three"
    with pytest.raises(ValueError, match="line 1: 'private' is .*; it must map agents to texts"):
        read_answers(write(tmp_path, json.dumps({**ROW, "private": {"a": 5}})))
    (tmp_path / "rows.jsonl").write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(ValueError, match="rows.jsonl, line 1: not UTF-8 .byte 14.; save the file as UTF-8"):
        read_answers(tmp_path / "rows.jsonl")


def test_a_question_is_known_however_it_is_spelt() -> None:
    one, other = Question("Anna has  3 apples.", "18"), Question(" anna has 3 apples.\n", "#### 18")
    assert one.hash != other.hash and one.asked == other.asked != Question("Anna has 4 apples.", "18").asked
    assert {one.hash, one.asked} == seen([LabelledAnswer(one, "x", True)])


def test_a_lone_agents_answers_keep_their_question(tmp_path: Path) -> None:
    whole = TwoWitnesses().questions("test")[0]
    for view in ("agent_0", "agent_1", "all"):
        question = TwoWitnesses(1, view=view).questions("test")[0]
        write_answers(tmp_path / "a.jsonl", [LabelledAnswer(question, "Answer: 1", False)])
        (again,) = read_answers(tmp_path / "a.jsonl")
        assert again.question.hash == question.hash == whole.hash and again.question.asked == question.asked

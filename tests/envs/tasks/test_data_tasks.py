"""The data tasks: rows by hand, bad rows, and every gold answer of the real files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.anli import ANLI
from maporl.envs.tasks.csqa import CSQA
from maporl.envs.tasks.gsm8k import GSM8K
from maporl.envs.tasks.math import Math
from maporl.envs.tasks.strategyqa import StrategyQA
from maporl.envs.verifiers import Exact, MathExpression
from maporl.types import Question

LOCAL_CSQA = {
    "id": "q1",
    "answerKey": "B",
    "question": {"stem": "Where?", "choices": [{"label": "A", "text": "bank"}, {"label": "B", "text": "library"}]},
}
HUB_CSQA = {
    "id": "q1",
    "question": "Where?",
    "choices": {"label": ["A", "B"], "text": ["bank", "library"]},
    "answerKey": "B",
}


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def only(env: DiscussionEnv) -> Question:
    (question,) = env.load("train")
    return question


def test_gsm8k_reads_the_number_after_the_last_marker(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"question": "How many?", "answer": "#### is it\n2 * 600 = 1,200\n#### 1,200"})
    question = only(GSM8K(data=path))
    assert (question.text, question.answer, question.id) == ("How many?", "1200", "a.jsonl:1")
    assert GSM8K().verifier(question, "So 2 * 600.\nThe answer is 1,200.").correct is True


@pytest.mark.parametrize(
    ("solution", "gold"),
    [
        ("Thus $\\boxed 5$.", "5"),
        ("Thus $\\boxed5$.", "5"),
        ("Thus $\\boxed{-\\frac12}$.", "-\\frac12"),
        ("First $\\boxed{3}$, in the end \\fbox{7}.", "7"),
        ("$\\boxed 5$, since $\\frac{1}{2}$ of 10 is 5.", "5"),
        ("$\\boxed\\pi$", "\\pi"),
        ("$\\boxed{\\left\\{x : x > 1\\right.}$", "\\left\\{x : x > 1\\right."),
    ],
)
def test_math_reads_every_form_of_a_box(tmp_path: Path, solution: str, gold: str) -> None:
    question = only(Math(data=write(tmp_path / "a.jsonl", {"problem": "?", "solution": solution})))
    assert question.answer == gold and Math().verifier(question, f"\\boxed{{{gold}}}").correct is True


@pytest.mark.parametrize(
    "form",
    [
        "\\[\n{}\n\\]",
        "$$\n{}\n$$",
        "The answer is {}.",
        "**Answer:** {}",
        "agent_0 got \\boxed{{0.123}}. I get \\boxed{{{}}}.",
    ],
)
def test_every_gold_answer_of_math_is_read_in_every_form(data_dir: Path, form: str) -> None:
    task = Math(data=data_dir / "math" / "math500_test.jsonl")
    questions = list(task.load("test"))
    scores = task.verifier.score_batch(questions, [form.format(question.answer) for question in questions])
    assert len(scores) == 500
    assert [q.answer for q, score in zip(questions, scores, strict=True) if score.correct is not True] == []


def test_a_whole_solution_of_math_is_a_gold_answer(data_dir: Path) -> None:
    rows = [json.loads(line) for line in (data_dir / "math" / "math500_test.jsonl").read_text("utf-8").splitlines()]
    boxes = [f"\\boxed{{{row['answer']}}}" for row in rows]
    scores = MathExpression().score_batch([Question("?", row["solution"]) for row in rows], boxes)
    assert all(score.correct is True for score in scores)


def test_math_reads_the_answer_or_the_box_of_the_solution(tmp_path: Path) -> None:
    first = {
        "problem": "Half of one?",
        "answer": "\\frac{1}{2}",
        "solution": "$\\boxed{9}$",
        "level": 2,
        "unique_id": "t/1",
    }
    question = only(Math(data=write(tmp_path / "a.jsonl", first)))
    assert (question.answer, question.id, dict(question.metadata)) == ("\\frac{1}{2}", "t/1", {"level": 2})
    second = {"problem": "Half of one?", "solution": "$\\boxed{1}$, no, $\\boxed{\\frac{1}{2}}$.", "type": "Algebra"}
    again = only(Math(data=write(tmp_path / "b.jsonl", second)))
    assert (again.answer, dict(again.metadata)) == ("\\frac{1}{2}", {"type": "Algebra"})
    assert Math().verifier(again, "It is \\boxed{0.5}.").correct is True


def test_csqa_reads_both_layouts(tmp_path: Path) -> None:
    questions = [only(CSQA(data=write(tmp_path / f"{n}.jsonl", row))) for n, row in enumerate((LOCAL_CSQA, HUB_CSQA))]
    assert questions[0] == questions[1]
    assert questions[0].text == "Where?\n(A) bank\n(B) library" and questions[0].answer == "B"
    verifier = CSQA().verifier
    assert verifier(questions[0], "The answer is (B).").correct is True
    assert verifier(questions[0], "The answer is library.").correct is True
    assert verifier(questions[0], "The answer is (E).").answer is None, "there is no E here"


@pytest.mark.parametrize("label", ["n", 1, "neutral"])
def test_anli_reads_letters_numbers_and_words(tmp_path: Path, label: object) -> None:
    row = {"uid": "u", "context": "It rains. ", "hypothesis": "It pours.", "label": label}
    question = only(ANLI(data=write(tmp_path / "a.jsonl", row)))
    assert (question.text, question.answer, question.id) == (
        "Context: It rains.\nHypothesis: It pours.",
        "neutral",
        "u",
    )
    assert ANLI().verifier(question, "The answer is neutral.").correct is True
    assert ANLI().verifier(question, "The answer is neither.").correct is True
    other = {"premise": "It rains.", "hypothesis": "It pours.", "label": label}
    assert only(ANLI(data=write(tmp_path / "b.jsonl", other))).text == question.text


@pytest.mark.parametrize(("said", "gold"), [(True, "yes"), (False, "no"), ("No ", "no")])
def test_strategyqa_reads_truth_values_and_words(tmp_path: Path, said: object, gold: str) -> None:
    row = {"qid": "q", "question": "Can a hen fly?", "answer": said, "facts": ["A hen has wings."]}
    question = only(StrategyQA(data=write(tmp_path / "a.jsonl", row)))
    assert (question.text, question.answer, question.id) == ("Can a hen fly?", gold, "q")
    verifier = StrategyQA().verifier
    assert verifier(question, f"It has wings.\nThe answer is {gold}.").correct is True
    assert verifier(question, f"**Answer:** {gold.capitalize()}").correct is True
    assert verifier(question, "The answer is yes or no.").status == "no_answer"


def test_anli_premises_are_without_markup_and_marks_of_direction(tmp_path: Path) -> None:
    row = {"uid": "u", "context": "One.<br><BR />Two\u200e \u200e.", "hypothesis": "A < b.<br>", "label": "e"}
    assert only(ANLI(data=write(tmp_path / "a.jsonl", row))).text == "Context: One. Two .\nHypothesis: A < b."


def test_anli_rounds_choose_the_hubs_splits() -> None:
    assert ANLI().hub.train[1] == ("train_r1", "train_r2", "train_r3")
    assert ANLI(anli_round=2, num_rounds=3).hub.test == ("facebook/anli", ("test_r2",))
    with pytest.raises(ValueError, match="anli_round=4; one of: 1, 2, 3"):
        ANLI(anli_round=4)


BAD: list[tuple[type[DiscussionEnv], dict[str, Any], str]] = [
    (GSM8K, {"question": "x"}, "no field 'answer' (there are: question)"),
    (GSM8K, {"question": 5, "answer": "#### 5"}, "field 'question' is '5', a int; need str"),
    (GSM8K, {"question": "x", "answer": "5"}, "the answer has no '#### <number>' at its end"),
    (Math, {"problem": "x"}, "no field 'solution'"),
    (Math, {"problem": "x", "solution": "\\boxed{1"}, "no field 'answer', and no \\boxed{} in 'solution'"),
    (Math, {"problem": "x", "solution": "1"}, "no field 'answer', and no \\boxed{} in 'solution'"),
    (CSQA, {**LOCAL_CSQA, "answerKey": "C"}, "answerKey 'C' is none of the choices A, B"),
    (CSQA, {**LOCAL_CSQA, "question": {"stem": "x"}}, "needs a stem and at least two choices"),
    (CSQA, {**LOCAL_CSQA, "question": {"choices": LOCAL_CSQA["question"]["choices"]}}, "needs a stem"),  # type: ignore[index]
    (CSQA, {**LOCAL_CSQA, "question": {"stem": "x", "choices": [{"label": "A", "text": "a"}] * 2}}, "needs a stem"),
    (CSQA, {**HUB_CSQA, "choices": {"label": ["A"], "text": ["a", "b"]}}, "'choices' needs the lists"),
    (CSQA, {**HUB_CSQA, "choices": {"text": ["a", "b"]}}, "'choices' needs the lists"),
    (CSQA, {**HUB_CSQA, "choices": ["a", "b"]}, "needs a stem and at least two choices"),
    (ANLI, {"context": "x", "hypothesis": "y", "label": "maybe"}, "label 'maybe'; one of e, n, c, or 0, 1, 2"),
    (ANLI, {"context": "x", "hypothesis": "y", "label": -1}, "label -1; one of"),
    (ANLI, {"hypothesis": "y", "label": "e"}, "no field 'premise'"),
    (StrategyQA, {"question": "x", "answer": "maybe"}, "answer 'maybe'; one of true, false"),
    (StrategyQA, {"question": "x", "answer": 1}, "field 'answer' is '1', a int; need bool or str"),
]


@pytest.mark.parametrize(("task", "row", "fault"), BAD, ids=[f"{task.__name__}-{fault[:30]}" for task, _, fault in BAD])
def test_a_bad_row_is_named_by_file_and_line(tmp_path: Path, task: Any, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=rf"bad\.jsonl, line 1: {re.escape(fault)}") as caught:
        task(data=write(tmp_path / "bad.jsonl", row)).questions("train")
    assert "\n" not in str(caught.value)


def test_a_gold_answer_that_the_verifier_cannot_read_names_the_question_and_the_remedy(tmp_path: Path) -> None:
    path = write(
        tmp_path / "bad.jsonl", {"question": "x", "answer": "#### 5"}, {"question": "y", "answer": "#### five"}
    )
    with pytest.raises(ValueError, match=r"question bad\.jsonl:2: gold answer 'five' is not a number; correct the row"):
        GSM8K(data=path).questions("train")
    assert len(GSM8K(data=path, verifier="exact", ground_truth="exact").questions("train")) == 2
    broken = write(tmp_path / "broken.jsonl", {"problem": "x", "answer": "\\frac{1"})
    with pytest.raises(ValueError, match=r"question broken\.jsonl:1: .* unbalanced braces"):
        Math(data=broken).questions("train")


@pytest.mark.parametrize("task", [GSM8K, Math, CSQA, ANLI, StrategyQA])
def test_offline_without_a_path_names_both_remedies(task: Any) -> None:
    with pytest.raises(ValueError, match=r"cannot load .*--data FILE, or go online once"):
        task().questions("train")


def test_verifier_and_instruction_can_be_replaced(tmp_path: Path) -> None:
    env = GSM8K(
        data=write(tmp_path / "a.jsonl", {"question": "x", "answer": "#### 5"}), verifier="exact", instruction="Go."
    )
    assert isinstance(env.verifier, Exact) and isinstance(env.ground_truth, Exact)
    env.reset(options={"question": only(env)})
    assert env.observe("agent_0")["instruction"] == "Go."


# Real files from here on.


def answer_to(env: DiscussionEnv) -> Callable[[str], str]:
    """A response in the form that the task's instruction asks for."""
    frame = (
        "\\boxed{...}"
        if isinstance(env, Math)
        else "The answer is (...)."
        if isinstance(env, CSQA)
        else "The answer is ...."
    )
    return lambda answer: f"Let me see: 3 apples and 14 pears.\n{frame.replace('...', answer, 1)}"


def questions_of(env: DiscussionEnv) -> list[Question]:
    return [*env.load("train"), *env.load("test")]


def one_of_each(questions: list[Question]) -> list[Question]:
    """One question for every gold answer, for verifiers that look at nothing else."""
    return list({question.answer: question for question in questions}.values())


def test_gsm8k_whole(data_dir: Path) -> None:
    env = GSM8K(data=data_dir / "gsm8k")
    assert [len(list(env.load(split))) for split in ("train", "test")] == [7473, 1319]
    parts = {split: {q.hash for q in env.questions(split)} for split in ("train", "validation", "test")}
    assert len(parts["train"] | parts["validation"]) == 7473 and not parts["train"] & parts["validation"]
    assert 0.04 < len(parts["validation"]) / 7473 < 0.06
    say = answer_to(env)
    golds = one_of_each(questions_of(env))
    assert len(golds) == 952
    for question in golds:
        gold = int(question.answer)
        assert env.verifier(question, say(f"{gold:,}")).correct is True
        assert env.verifier(question, say(f"${gold}.00")).correct is True
        assert env.verifier(question, say(str(gold + 1))).correct is False
        assert env.verifier(question, say(str(-gold))).correct is (gold == 0)


def test_the_solutions_that_gsm8k_itself_gives_are_right(data_dir: Path) -> None:
    verifier = GSM8K().verifier
    for name in ("train", "test"):
        for line in (data_dir / "gsm8k" / f"{name}.jsonl").read_text("utf-8").splitlines():
            row = json.loads(line)
            gold = row["answer"].rpartition("####")[2].strip().replace(",", "")
            assert verifier(Question(row["question"], gold), row["answer"]).correct is True


def test_math_500_whole(data_dir: Path) -> None:
    env = Math(data=data_dir / "math" / "math500_test.jsonl")
    say, verifier = answer_to(env), MathExpression()
    assert isinstance(env.verifier, MathExpression)
    questions = list(env.questions("test"))
    assert len(questions) == 500
    for question in questions:
        gold = question.answer
        assert verifier(question, say(gold)).correct is True
        if re.fullmatch(r"-?\d+", gold):
            assert verifier(question, say(str(int(gold) + 1))).correct is False
            assert verifier(question, say(str(-int(gold)))).correct is (gold == "0")
        elif "=" not in gold:
            assert verifier(question, say(f"-({gold})")).correct is False
            assert verifier(question, say(f"({gold}) + 1")).correct is False


def test_the_solutions_that_math_500_itself_gives_are_right(data_dir: Path) -> None:
    wrong = []
    for line in (data_dir / "math" / "math500_test.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if MathExpression()(Question("", row["answer"]), row["solution"]).correct is not True:
            wrong.append(row["unique_id"])
    assert wrong == []


def test_csqa_whole(data_dir: Path) -> None:
    """Every text of a gold choice is read; every letter where two choices have one text, and in every tenth question."""
    env = CSQA(data=data_dir / "csqa" / "train.jsonl")
    questions, say = questions_of(env), answer_to(env)
    assert len(questions) == 9741 + 1221
    twins = 0
    for number, question in enumerate(questions):
        choices = question.metadata["choices"]
        gold = choices[question.answer].casefold()
        right = {label for label, text in choices.items() if text.casefold() == gold}
        twins += len(right) > 1
        for label in choices if len(right) > 1 or number % 10 == 0 else ():
            score = env.verifier(question, say(label))
            assert score.correct is (label in right)
            assert label not in right or score.answer == min(right), "the votes of choices with one text are one"
        by_text = env.verifier(question, f"The answer is {choices[question.answer]}.").correct
        assert by_text is True or gold == "ground", "two choices of one question differ by an article only"
    assert twins == 42 + 6


@pytest.mark.parametrize(("name", "rows"), [("r1_dev", 1000), ("r2_dev", 1000), ("r3_dev", 1198)])
def test_anli_whole(data_dir: Path, name: str, rows: int) -> None:
    env = ANLI(data=data_dir / "anli" / f"{name}.jsonl")
    questions, say = list(env.load("test")), answer_to(env)
    assert len(questions) == rows
    assert not [q for q in questions if re.search("<br|nowiki|\u200e", q.text, re.IGNORECASE)]
    for question in one_of_each(questions):
        for label in ("entailment", "neutral", "contradiction"):
            assert env.verifier(question, say(label)).correct is (label == question.answer)


def test_strategyqa_whole(data_dir: Path) -> None:
    env = StrategyQA(data=data_dir / "strategyqa" / "dev.jsonl")
    questions, say = env.questions("test"), answer_to(env)
    assert len(questions) == 229 and {q.answer for q in questions} == {"yes", "no"}
    for question in questions:
        for label in ("yes", "no"):
            assert env.verifier(question, say(label)).correct is (label == question.answer)


def test_a_test_set_by_its_name_is_tested_whole_and_never_learned_from(tmp_path: Path) -> None:
    """Of a dev.jsonl alone 5 % were tested, and 95 % trained on."""
    rows = [{"question": f"Is {n} even?", "answer": n % 2 == 0} for n in range(40)]
    env = StrategyQA(data=write(tmp_path / "dev.jsonl", *rows))
    assert len(env.questions("test")) == 40
    for split in ("train", "validation"):
        with pytest.raises(
            ValueError, match=r"no training questions; .*--data.* never learned from: ask for the split 'test'"
        ):
            env.questions(split)
    write(tmp_path / "train.jsonl", {"question": "Is a hen a bird?", "answer": True})
    beside = StrategyQA(data=tmp_path / "dev.jsonl")
    assert [q.text for q in beside.questions("train")] == ["Is a hen a bird?"] and len(beside.questions("test")) == 40

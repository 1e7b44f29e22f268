"""Multiple choice: letters, texts of the choices, label words; and what is no answer."""

from __future__ import annotations

import pytest

from maporl.envs.verifiers import Choice, choice
from maporl.types import Question

TEXTS = {"A": "bank", "B": "library", "C": "department store", "D": "mall", "E": "new york"}
QUESTION = Question("Where?", "B", metadata={"choices": TEXTS})
NLI = Choice(["entailment", "neutral", "contradiction"])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "response",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "**B**",
        "B: library",
        "Answer: B",
        "answer is b",
        "the answer is b.",
        "The answer is (B), not (A).",
        "The answer is B, because A is wrong.",
        "The answer is B: A library is quiet.",
        "**Answer:** (B) library",
        "Answer:\nB",
        "#### B",
        "\\boxed{B}",
        "$\\boxed{\\text{B}}$",
        "Final answer: b)",
        "The correct option is B.",
        "I think option B is right.",
        "A quiet place is needed.\nB",
        "The answer is library.",
        "the answer is a library",
        "library",
        "(A) is tempting.\nThe answer is (A).\nNo: the answer is (B).",
    ],
)
def test_ways_to_choose(response: str) -> None:
    score = Choice()(QUESTION, response)
    assert (score.value, score.correct, score.answer) == (1.0, True, "B")


@pytest.mark.parametrize(
    "response",
    [
        "",
        "I do not know.",
        "A library is quiet.",
        "The answer is B or C.",
        "The answer is either (B) or (C).",
        "The answer is B, C",
        "Answer: B/C",
        "The answer is not B.",
        "not (B)",
        "(A) bank (B) library (C) department store (D) mall (E) new york",
        "A) bank\nB) library\nC) department store\nD) mall\nE) new york",
        "A. bank\nB. library",
        "A\nB\nC\nD\nE",
        "bank\nlibrary",
        "Answer: A) bank B) library C) department store",
        "Both (B) and (D) fit.",
    ],
)
def test_no_choice_and_several_choices_are_no_answer(response: str) -> None:
    score = Choice()(QUESTION, response)
    assert (score.value, score.correct, score.answer, score.status) == (0.0, False, None, "no_answer")


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("The answer is A bank", "A"),
        ("the answer is a bank", "A"),
        ("a", "A"),
        ("The answer is new york.", "E"),
        ("(D) library", "D"),
    ],
)
def test_another_choice_is_wrong(response: str, answer: str) -> None:
    score = Choice()(QUESTION, response)
    assert (score.value, score.correct, score.answer, score.status) == (0.0, False, answer, "ok")


def test_choices_with_one_text_are_one_choice() -> None:
    question = Question("?", "B", metadata={"choices": {"A": "red", "B": "Red", "C": "red car"}})
    for response in ("A", "B", "The answer is red"):
        score = Choice()(question, response)
        assert (score.correct, score.answer) == (True, "A"), "so that their votes are one"
    assert Choice()(question, "The answer is red car").answer == "C"


def test_labels_may_have_other_spellings() -> None:
    verifier = Choice({"yes": ["true", "Y"], "no": ["false", "N"]})
    assert (
        verifier(Question("?", "no"), "That is false.").answer == "no" and verifier(Question("?", "yes"), "Y").correct
    )


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("neutral", "neutral"),
        ("Answer: Neutral", "neutral"),
        ("\\boxed{\\text{neutral}}", "neutral"),
        ("The answer is neutral, not contradiction.", "neutral"),
        ("It is not entailment. So neutral.", "neutral"),
        ("The answer is not entailment but neutral.", "neutral"),
        ("So the relation is contradiction here.", "contradiction"),
        ("entailment, neutral, or contradiction", None),
        ("entailment\nneutral\ncontradiction", None),
        ("The answer is entailment or neutral.", None),
        ("This is not a contradiction.", None),
        ("neutrality", None),
    ],
)
def test_label_words(response: str, answer: str | None) -> None:
    assert NLI(Question("?", "neutral"), response).answer == answer


def test_without_a_questions_own_choices_the_labels_are_the_verifiers() -> None:
    assert Choice(("1", "2"))(Question("?", "2"), "The answer is 2.").correct is True
    assert Choice()(Question("?", "E"), "(E)").correct is True


def test_a_gold_answer_outside_the_choices_is_named() -> None:
    with pytest.raises(ValueError, match="question q1: gold answer 'F' is none of the choices A, B, C, D, E; correct"):
        Choice().check_gold(Question("?", "F", id="q1"))
    Choice().check_gold(QUESTION)


@pytest.mark.parametrize("labels", [(), ("A",), ("A", "a"), ("A", "")])
def test_bad_labels_are_named(labels: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="labels="):
        Choice(labels)


def test_what_leads_to_a_claim_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last sentence decides, so the time does not grow with the reasoning; where it says nothing, what is before it is read."""
    read: list[str] = []
    whole = choice.groups_in
    monkeypatch.setattr(choice, "groups_in", lambda text, *rest: read.append(text) or whole(text, *rest))
    question = Question("?", "B", metadata={"choices": {"A": "bank", "B": "library"}})
    reasons = "".join(f"A bank has {n} doors of glass, which lead into the street.\n" for n in range(200))
    assert Choice()(question, f"{reasons}So the answer for row {len(read)} is (B).").correct is True
    assert len(read) == 1
    assert Choice()(question, f"So it is (B).\n{reasons}").answer == "B"
    assert len(read) > 200

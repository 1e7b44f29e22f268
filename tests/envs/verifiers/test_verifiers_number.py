"""The number verifier: what is read as a number, where it is looked for, and what counts as equal."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maporl.envs.verifiers import Number
from maporl.envs.verifiers.number import canonical, parse_number
from maporl.types import Question

SPELLINGS = {
    "1,200": "1200",
    "1200.0": "1200",
    "$1200": "1200",
    "$1,200.00 dollars": "1200",
    "1200%": "1200",
    "1200\\%": "1200",
    "1{,}200": "1200",
    "1\\,200": "1200",
    "1\\!,200": "1200",
    "-5": "-5",
    "\u22125": "-5",
    "-$5": "-5",
    "$-5": "-5",
    "+5": "5",
    "72 degrees": "72",
    "100 m": "100",
    ".5": "0.5",
    "3/4": "0.75",
    "2/(-3)": "-2/3",
    "1 1/2": "1.5",
    "\\frac{1}{3}": "1/3",
    "\\dfrac{1}{2}": "0.5",
    "-\\frac{1}{2}": "-0.5",
    "\\frac12": "0.5",
    "918\\frac{1}{2}": "918.5",
    "1.2 \\times 10^{3}": "1200",
    "1.5e3": "1500",
}


@pytest.mark.parametrize(("spelling", "number"), SPELLINGS.items())
def test_spellings_of_one_number_are_one_answer(spelling: str, number: str) -> None:
    score = Number()(Question("?", number), f"The answer is {spelling}.")
    assert (score.value, score.correct, score.answer) == (1.0, True, number)
    assert Number()(Question("?", spelling), f"#### {number}").correct is True, "as gold answer"


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        ("9 eggs at $2 each.\n#### 18", "18"),
        ("18 is it: \\boxed{18}. There were 16 eggs.", "18"),
        ("The answer is 18, out of 20.", "18"),
        ("The final answer is: $\\boxed{18}$. I used 3 steps.", "18"),
        ("**Answer:** $18 per day, for 7 days", "18"),
        ("Answer: x = 18", "18"),
        ("The answer is 9 * 2 = 18 dollars. That is for 16 eggs.", "18"),
        ("The answer (in dollars) is 18. There are 7 days.", "18"),
        ("The answer to the question is 18 because of 3.", "18"),
        ("Answer:\n- 18 apples of 20", "18"),
        ("9 * 2 = 20\nA: 18\nbecause 16 - 7", "18"),
        ("The answer is 3. Wait: the answer is 18. It was 3 before.", "18"),
        ("The answer is unknown to me. There are 18.", "18"),
        ("16 - 3 - 4 = 9, and 9 * 2 is 18", "18"),
        ("```output\n18\n```\n18 eggs are left after 7 days.", "18"),
        ("\\boxed{72} or \\boxed{18}", "18"),
    ],
)
def test_the_last_marker_wins_and_else_the_last_number(response: str, answer: str) -> None:
    assert Number()(Question("?", "18"), response).answer == answer


@pytest.mark.parametrize(
    "response", ["\\boxed{2x + 18}", "The answer is 9 * 2", "\\boxed{\\sqrt{18}}", "\\boxed{18^{2}}"]
)
def test_an_expression_after_a_marker_is_no_number(response: str) -> None:
    score = Number()(Question("?", "18"), response)
    assert (score.value, score.correct, score.status) == (0.0, False, "no_answer")


@pytest.mark.parametrize("response", ["", "no idea", "18 and 5", "it is 20-2", "9" * 5000, "1/0", "\\boxed{}"])
def test_no_number_is_a_wrong_answer_of_its_own_status(response: str) -> None:
    score = Number()(Question("?", "12"), response)
    assert (score.value, score.correct, score.answer, score.status) == (0.0, False, None, "no_answer")


def test_the_three_places_to_look() -> None:
    question, text = Question("?", "18"), "The answer is 18. There were 16 eggs."
    assert [Number(extract)(question, text).answer for extract in ("answer", "marker", "last")] == ["18", "18", "16"]
    assert Number("marker")(question, "It is 18").status == "no_answer"


def test_tolerance_is_absolute_above_one_and_relative_below() -> None:
    def equal(gold: str, answer: str) -> bool | None:
        return Number()(Question("?", gold), f"#### {answer}").correct

    assert equal("1000", "1000.0009") and not equal("1000", "1000.0011")
    assert equal("0.5", "0.5004") and not equal("0.5", "0.501")
    assert not equal("0", "0.0001") and not equal("0.0012", "0.0019")
    assert Number(tolerance=0)(Question("?", "3"), "#### 3.0000001").correct is False


def test_votes_are_counted_by_value() -> None:
    assert Number().equivalent("1/3", "0.3333") and not Number().equivalent("5", "-5")
    assert Number().equivalent("x", "x") and not Number().equivalent("x", "5")


@pytest.mark.parametrize("gold", ["", "twelve", "x + 1", "1, 2", "12:00", "9" * 500])
def test_a_gold_answer_that_is_no_number_is_named(gold: str) -> None:
    question = Question("?", gold, id="train.jsonl:7")
    with pytest.raises(ValueError, match=r"question train.jsonl:7: gold answer .* is not a number; correct the row"):
        Number().check_gold(question)
    score = Number()(question, "#### 5")  # and a score of it is an error, never a wrong answer
    assert (score.value, score.correct, score.answer, score.status) == (0.0, None, "5", "error")


@pytest.mark.parametrize("arguments", [{"extract": "first"}, {"tolerance": -1}, {"tolerance": 1}])
def test_bad_arguments_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Number(**arguments)  # type: ignore[arg-type]


@given(st.fractions(min_value=-(10**9), max_value=10**9, max_denominator=10**6))
def test_the_canonical_spelling_reads_back_exactly(value: Fraction) -> None:
    assert parse_number(canonical(value)) == value


@given(st.integers(min_value=-(10**12), max_value=10**12))
def test_thousands_separators_and_decimals_change_nothing_and_the_sign_does(value: int) -> None:
    question = Question("?", str(value))
    for spelling in (f"{value:,}", f"{value}.0", f"{value:,}.00", f"{value} units"):
        assert Number()(question, f"The answer is {spelling}.").correct is True
    assert Number()(question, f"The answer is {value + 1}.").correct is False
    assert Number()(question, f"The answer is {-value}.").correct is (value == 0)


def test_a_result_before_many_numbers_takes_no_time() -> None:
    start = time.process_time()
    assert Number()(Question("", "5"), "x = 5 " + "for 5 " * 3200).correct
    assert time.process_time() - start < 1

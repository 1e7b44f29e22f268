"""The other verifiers, their composition, and what all of them promise: no text makes them raise."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl import registry
from maporl.envs.verifiers import (
    AnswerVerifier,
    Choice,
    Exact,
    Function,
    Gate,
    Number,
    Regex,
    TeamVerifier,
    Verifier,
    WeightedSum,
)
from maporl.types import Question, Score

QUESTION = Question("Capital?", "New York", metadata={"level": 3})
BRIEF = Regex(r"\A.{1,20}\Z", uses_gold=False)


@pytest.mark.parametrize(
    ("response", "right"),
    [
        ("New York", True),
        ("  new \n york ", True),
        ("I think so.\nThe answer is New York.", True),
        ("Answer: **New York**", True),
        ("\\boxed{\\text{New York}}", True),
        ("York", False),
        ("It is New York", False),
    ],
)
def test_exact_compares_the_answer_as_text(response: str, right: bool) -> None:
    assert Exact()(QUESTION, response).correct is right


def test_exact_can_be_strict_and_an_empty_response_is_no_answer() -> None:
    assert Exact(ignore_case=False)(QUESTION, "new york").correct is False
    assert Exact(ignore_space=False)(QUESTION, "New  York").correct is False
    assert Exact()(QUESTION, " \n").status == "no_answer"
    assert Exact()(Question("?", "Stop. Now."), "Stop. Now.").correct is True
    assert Exact().equivalent("New York", "new  york") and not Exact().equivalent("New York", "York")
    with pytest.raises(ValueError, match="question q: the gold answer is empty"):
        Exact().check_gold(Question("?", " ", id="q"))


def test_regex_compares_the_last_capture_with_the_gold_answer() -> None:
    verifier = Regex(r"<answer>(.*?)</answer>", ignore_case=True)
    assert verifier(QUESTION, "<answer>Rome</answer> no, <ANSWER>new york</ANSWER>").correct is True
    assert verifier(QUESTION, "<answer>Rome</answer>").correct is False
    assert verifier(QUESTION, "New York").status == "no_answer"
    assert verifier.equivalent("ROME", "rome") and not Regex("x").equivalent("ROME", "rome")


def test_regex_as_a_format_check_uses_no_gold() -> None:
    assert BRIEF.uses_gold is False and Regex("x").uses_gold is True
    assert BRIEF(QUESTION, "short").value == 1 and BRIEF(QUESTION, "long " * 9).value == 0
    BRIEF.check_gold(Question("?", ""))  # it does not read it
    with pytest.raises(ValueError, match="pattern='\\(' is no regular expression"):
        Regex("(")


@pytest.mark.parametrize(
    ("result", "value", "correct"),
    [
        (True, 1, True),
        (False, 0, False),
        (np.bool_(True), 1, True),
        (0.25, 0.25, None),
        (1, 1, None),
        (np.float32(0.5), 0.5, None),
    ],
)
def test_a_function_may_return_a_bool_or_a_number(result: Any, value: float, correct: bool | None) -> None:
    score = Function(lambda question, response: result)(QUESTION, "x")
    assert (score.value, score.correct) == (value, correct)


def test_a_function_may_return_a_score_or_use_a_threshold() -> None:
    mine = Score(0.3, True, "mine")
    assert Function(lambda question, response: mine)(QUESTION, "x") is mine
    verifier = Function(lambda question, response: len(response) / 10, uses_gold=False, threshold=0.5)
    assert verifier(QUESTION, "x" * 5).correct is True and verifier(QUESTION, "x").correct is False
    assert verifier.uses_gold is False and verifier.rule_based is True


@pytest.mark.parametrize("result", [None, "1.0", float("nan"), float("inf"), [1.0]])
def test_a_function_that_returns_something_else_is_named(result: Any) -> None:
    def judge(question: Question, response: str) -> Any:
        return result

    with pytest.raises(TypeError, match="judge returned .*; it must return a bool, a finite number or a Score"):
        Function(judge)(QUESTION, "x")


def test_what_a_function_raises_comes_through() -> None:
    def slip(question: Question) -> bool:
        return True

    with pytest.raises(TypeError, match="positional argument"):
        Function(slip)(QUESTION, "x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="cannot be called"):
        Function(5)  # type: ignore[arg-type]


def test_a_function_may_be_named_by_its_path() -> None:
    assert Function("operator:eq")(QUESTION, "x").correct is False


def test_a_weighted_sum_weighs_values_and_lets_gold_decide_the_truth() -> None:
    mix = WeightedSum([Exact(), BRIEF], [3, 1])  # type: ignore[arg-type]
    long = "Well. " * 9 + "\nThe answer is New York."
    assert [(s.value, s.correct) for s in mix.score_batch([QUESTION] * 3, ["New York", long, "Rome"])] == [
        (1.0, True),
        (0.75, True),  # the format costs a quarter, and changes nothing about the truth
        (0.25, False),
    ]
    assert mix(QUESTION, "New York").answer == "new york" and mix.equivalent("New York", "new york")
    assert mix.uses_gold and mix.rule_based


def test_a_weighted_sum_is_undecided_if_a_deciding_part_is() -> None:
    learned = Function(lambda question, response: 0.5, rule_based=False)
    mix = WeightedSum((Exact(), learned))
    assert mix(QUESTION, "New York") == Score(0.75, None, "new york")
    assert mix(QUESTION, "Rome").correct is False, "one says wrong"
    assert mix.rule_based is False
    late = Function(lambda question, response: Score(0.0, None, status="timeout"))
    assert WeightedSum((Exact(), late))(QUESTION, "New York").status == "timeout"
    free = WeightedSum((BRIEF, Function(lambda question, response: "x" in response, uses_gold=False)))
    assert free.uses_gold is False and free(QUESTION, "x").correct is True and free(QUESTION, "y").correct is False


def test_a_gate_lets_the_score_through_or_makes_it_wrong() -> None:
    gated = Gate(Exact(), BRIEF)
    assert gated(QUESTION, "New York") == Exact()(QUESTION, "New York")
    shut = gated(QUESTION, "Well. " * 9 + "\nThe answer is New York.")
    assert (shut.value, shut.correct, shut.answer) == (0.0, False, "new york")
    assert gated.uses_gold and gated.rule_based and gated.equivalent("A", "a")

    soft = Gate(Exact(), Function(lambda question, response: len(response) / 16, uses_gold=False), threshold=0.5)
    assert soft(QUESTION, "New York").correct is True
    assert soft(Question("?", "Rome"), "Rome").correct is False
    broken = Gate(Exact(), Function(lambda question, response: Score(1.0, None, status="timeout")))
    assert broken(QUESTION, "New York") == Score(0.0, None, "new york", "timeout", "gate: ")


def test_compositions_are_built_from_plain_settings() -> None:
    spec = {
        "name": "maporl.envs.verifiers:Gate",
        "verifier": {
            "name": "maporl.envs.verifiers:WeightedSum",
            "parts": ["number", lambda q, r: True],
            "weights": [1, 1],
        },
        "gate": {"name": "regex", "pattern": "answer", "uses_gold": False},
    }
    verifier = registry.build("verifier", spec)
    assert verifier(Question("?", "5"), "The answer is 5").value == 1
    assert verifier(Question("?", "5"), "The answer is 6").value == 0.5
    assert verifier(Question("?", "5"), "It is 5").value == 0
    with pytest.raises(ValueError, match="question q: gold answer 'x' is not a number"):
        verifier.check_gold(Question("?", "x", id="q"))


@pytest.mark.parametrize(("parts", "weights"), [((), ()), ((BRIEF,), (1, 2)), ((BRIEF,), (-1,)), ((BRIEF,), (0,))])
def test_weights_that_do_not_fit_are_named(parts: tuple[Any, ...], weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="one non-negative number per part"):
        WeightedSum(parts, weights)


def test_an_own_verifier_needs_one_method() -> None:
    class Shout(Verifier):
        uses_gold = False

        def __call__(self, question: Question, response: str) -> Score:
            return Score(float(response.isupper()), response.isupper(), response)

    verifier = Shout()
    assert [score.value for score in verifier.score_batch([QUESTION] * 2, ["A", "a"])] == [1, 0]
    assert verifier.equivalent("A", "A") and not verifier.equivalent("A", "a")
    verifier.check_gold(QUESTION)
    with pytest.raises(TypeError):
        TeamVerifier()  # type: ignore[abstract]


def test_an_own_verifier_of_answers_sees_no_reasoning_in_batches_neither() -> None:
    class Long(AnswerVerifier):
        uses_gold = False

        def judge(self, question: Question, text: str) -> Score:
            return Score(float(len(text)), None, text)

    texts = ["<think>a</think>yes", "<think>yes", "a</think>b<THINK>c</think>d", "<think></think>"]
    assert [(s.answer, s.status) for s in Long().score_batch([QUESTION] * 4, texts)] == [
        ("yes", "ok"),
        (None, "no_answer"),
        ("bd", "ok"),
        ("", "ok"),
    ]
    assert Gate(Long(), BRIEF)(QUESTION, texts[0]).answer == "yes", "made of others, it is they that read"


def test_a_format_is_one_of_the_whole_text() -> None:
    tags = Regex(r"\A<think>.*</think>", uses_gold=False)
    assert tags(QUESTION, "<think>x</think>Rome").correct is True and tags(QUESTION, "Rome").correct is False


ALL: list[Verifier] = [
    Number(),
    Number("last"),
    Choice(),
    Choice(("entailment", "neutral", "contradiction")),
    Exact(),
    Regex("answer (.*)"),
    WeightedSum((Number(), BRIEF)),
    Gate(Choice(), BRIEF),
]
PIECES = ["\\boxed{", "}", "####", "answer is ", "Answer:\n", "A: ", "(A)", "B or C", "1,"]
PIECES += [
    "<think>",
    "</think>",
    "<answer>",
    "not ",
    "seven ",
    "hundred ",
    "million",
    "\u2013",
    "\xbd",
    "1 234 567",
    "which is ",
]
PIECES += ["9e999", "^", "/0", "-", "\x00", "\ud800", "\u2212", "\\frac"]
TEXT = st.one_of(st.text(st.characters()), st.lists(st.sampled_from(PIECES)).map("".join))


@settings(max_examples=300, deadline=None)
@given(gold=TEXT, response=TEXT)
def test_no_text_makes_a_verifier_raise(gold: str, response: str) -> None:
    for verifier in ALL:
        score = verifier(Question("?", gold), response)
        assert 0 <= score.value <= 1 and score.correct in (True, False, None)
        assert score.status in ("ok", "no_answer", "error")
        if score.answer is not None:
            assert verifier.equivalent(score.answer, score.answer)


@pytest.mark.parametrize(
    "piece",
    [*PIECES, "1", " ", "\n", "A", "{", "answer to the ", "not (A) ", "1 1/", "neutral ", "5 ft 6 ", "(5 a ", "for 5 "],
)
def test_forty_kilobytes_take_no_time(piece: str) -> None:
    text = piece * (40_000 // len(piece))
    start = time.perf_counter()
    for verifier in ALL:
        verifier(Question("?", "5", metadata={"choices": {"A": "x", "B": "y"}}), text)
    assert time.perf_counter() - start < 5  # .2 s; anything quadratic takes many more


@pytest.mark.parametrize("verifier", ALL, ids=repr)
def test_verifiers_are_values(verifier: Verifier) -> None:
    again = pickle.loads(pickle.dumps(verifier))
    assert again == verifier and repr(again) == repr(verifier)


def test_importing_verifiers_imports_no_parser_and_no_torch() -> None:
    heavy = "{'torch', 'transformers', 'sympy', 'math_verify', 'datasets', 'pyarrow', 'trl'}"
    script = f"import sys, maporl.envs.verifiers, maporl.envs.data; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"

"""Mathematical equivalence: Math-Verify in a process that can be killed, and the shortcut around it."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from maporl.envs.verifiers import MathExpression
from maporl.envs.verifiers.math_spelling import spelled
from maporl.envs.verifiers.math_worker import MathWorker, shared_worker
from maporl.types import Question

ENDLESS = "The answer is $9^{9^{9^9}}$."


def correct(gold: str, response: str, **arguments: object) -> bool | None:
    return MathExpression(**arguments)(Question("?", gold), response).correct  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{\\sqrt{3}}{3}", "\\dfrac{1}{\\sqrt 3}"),
        ("x^2+2x+1", "(x+1)^2"),
        ("\\{1, 2, 3\\}", "\\{3, 2, 1\\}"),
        ("(-\\infty, 2]", "(-\\infty,2]"),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{bmatrix}1\\\\2\\end{bmatrix}"),
        ("0.5", "\\frac12"),
        ("1,2", "2,1"),
        ("\\$10", "10"),
        ("\\text{Evelyn}", "Evelyn"),
        ("x=5", "5"),
    ],
)
def test_equivalent_expressions_are_right(gold: str, answer: str) -> None:
    score = MathExpression()(Question("?", gold), f"So we get $\\boxed{{{answer}}}$.")
    assert (score.value, score.correct, score.status) == (1.0, True, "ok")
    assert score.answer


@pytest.mark.parametrize(
    ("gold", "answer"),
    [
        ("\\frac{1}{2}", "\\frac{1}{3}"),
        ("x+1", "x-1"),
        ("(1, 2)", "(2, 1)"),
        ("[0,1]", "(0,1]"),
        ("2", "-2"),
        ("a", "5a"),
    ],
)
def test_other_expressions_are_wrong(gold: str, answer: str) -> None:
    assert correct(gold, f"\\boxed{{{answer}}}") is False


def test_options_reach_math_verify() -> None:
    assert correct("$f(x)$", "$f(y)$") is False and correct("$f(x)$", "$f(y)$", strict=False) is True
    assert correct("$\\frac13$", "$0.33$") is False and correct("$\\frac13$", "$0.33$", precision=2) is True
    assert correct("$9$", "It is 9", match_types=["latex"]) is False and correct("$9$", "It is 9") is True
    assert correct("$(1,2)$", "$1 < x < 2$", allow_set_relation_comp=True) is True


def test_without_an_expression_there_is_no_answer() -> None:
    score = MathExpression()(Question("?", "x"), "I do not know.")
    assert (score.value, score.correct, score.answer, score.status) == (0.0, False, None, "no_answer")


def test_a_time_out_is_bounded_said_and_no_verdict() -> None:
    verifier = MathExpression(timeout=0.5)
    verifier(Question("?", "x"), "$y$")  # the worker is up
    start = time.monotonic()
    score = verifier(Question("?", "5"), ENDLESS)
    assert time.monotonic() - start < 3
    assert (score.value, score.correct, score.status) == (0.0, None, "timeout") and "0.5 s" in score.explanation
    assert correct("$x$", "$x$") is True, "a new worker serves the next request"


def test_a_worker_that_dies_is_an_error_and_then_replaced() -> None:
    worker = MathWorker()
    request = {"match_types": ["latex"], "precision": 6, "strict": True, "allow_set_relation_comp": False}
    assert worker.ask(5, gold="$x$", response="$x$", **request)["correct"] is True
    assert worker._process is not None
    os.kill(worker._process.pid, signal.SIGSTOP)  # stopped, so it is surely alive when asked, and cannot answer
    assert worker.ask(0.3, gold="$x$", response="$x$", **request)["status"] == "timeout"
    assert worker.ask(5, gold="$x$", response="$x$", **request)["correct"] is True
    worker._process.kill()
    worker._process.wait()
    assert worker.ask(5, gold="$x$", response="$x$", **request)["correct"] is True
    assert worker.ask(5, gold="$x$") == {"status": "error", "correct": None, "answer": None}, "a failure inside it"
    assert worker.ask(5, gold="$x$", response="$x$", **request)["correct"] is True
    worker.close()


def test_threads_share_the_worker() -> None:
    pairs = [(n, n if n % 3 else n + 1) for n in range(24)]
    with ThreadPoolExecutor(8) as pool:
        verdicts = list(pool.map(lambda pair: correct(f"${pair[0]}x$", f"${pair[1]}x$"), pairs))
    assert verdicts == [a == b for a, b in pairs]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_gets_a_worker_of_its_own() -> None:
    assert correct("$x+y$", "$y+x$") is True
    process = shared_worker()._process
    assert process is not None
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(correct, ("$x+y$", "$y+x$")) is True
        assert pool.apply(correct, ("$x+y$", "$y-x$")) is False
    assert correct("$x+y$", "$y-x$") is False
    assert shared_worker()._process is process and process.poll() is None, "the parent's worker was left alone"


def test_the_interpreter_exits_cleanly_and_takes_the_worker_along() -> None:
    script = """
        from maporl.envs.verifiers import MathExpression
        from maporl.envs.verifiers.math_worker import shared_worker
        from maporl.types import Question
        assert MathExpression()(Question("?", "$x$"), "$x$").correct
        print(shared_worker()._process.pid)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


NUMBERS = st.one_of(
    st.integers(-50, 50).map(str),
    st.decimals(-3, 3, places=2).map(str),
    st.builds("{}\\frac{{{}}}{{{}}}".format, st.sampled_from(["", "-"]), st.integers(0, 9), st.integers(1, 9)),
    st.builds("{}/{}".format, st.integers(-9, 9), st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gold=NUMBERS, answer=NUMBERS)
def test_the_shortcut_for_plain_numbers_agrees_with_math_verify(gold: str, answer: str) -> None:
    verifier, response = MathExpression(), f"The result is $\\boxed{{{answer}}}$."
    short = verifier._shortcut(gold, response)
    asked = verifier._ask(gold, response)
    assert short is not None and (short.correct, short.answer) == (asked.correct, asked.answer)


@settings(max_examples=60, deadline=None)
@given(one=NUMBERS, two=NUMBERS)
def test_equal_numbers_have_equal_answers(one: str, two: str) -> None:
    """And no others; a fraction of the strategy's is LaTeX or a/b."""
    a, b = (Fraction(re.sub(r"\\frac\{(\d)\}\{(\d)\}", r"\1/\2", text)) for text in (one, two))
    said = [MathExpression()(Question("?", "x"), f"\\boxed{{{text}}}").answer for text in (one, two)]
    assert (said[0] == said[1]) == (a == b) and Fraction(str(said[0])) == a


@pytest.mark.parametrize(
    ("spelling", "answers"),
    [
        (
            "0.5",
            [
                r"\frac{1}{2}",
                r"\dfrac12",
                r"\tfrac{2}4",
                "0.50",
                ".5",
                "1/2",
                "1 / 2",
                "$0.5$",
                r"\frac{1}{2}\text{ cm}^2",
            ],
        ),
        ("-0.5", [r"-\frac{1}{2}", r"\frac{-1}{2}", r"\frac{1}{-2}", "-.5", "\u22121/2", "- 0.5", "-3/6"]),
        (
            "1000",
            ["1,000", "1{,}000", r"1,\!000", r"\$1,000.00", "1000", r"\text{1000}", r"1000\,\text{dollars}", "+1000"],
        ),
        ("2", [r"\frac{10}{5}", "2.0", r"2\;", r"\displaystyle 2", " 2 "]),
        ("1/3", [r"\frac{1}{3}", r"\frac{2}{6}", "2/6"]),
        ("0", ["-0", "0.0", r"\frac{0}{7}"]),
        (r"50\%", [r"50\%", "50%", r"50.0\%"]),  # equal to 50 and to 0.5, which are not equal
    ],
)
def test_one_spelling_of_a_number(spelling: str, answers: list[str]) -> None:
    """Whether Math-Verify is asked or not; and it agrees that they are equal."""
    verifier = MathExpression()
    for answer in answers:
        assert spelled(answer) == spelling
        for gold in (answer, "7x"):
            assert verifier(Question("?", gold), f"\\boxed{{{answer}}}").answer == spelling
        assert verifier._ask(spelling, f"\\boxed{{{answer}}}").correct is True


@pytest.mark.parametrize(
    "answer",
    ["x", r"\sqrt{2}", r"1\frac{1}{2}", "1, 2", "1,2", "1,2,3", "12,34", "0,500", "1,000/3", "(1, 2)", "1/0", "5^\\circ", "x = 5",
     r"\text{Evelyn}", r"\text{five}", r"1\text{ or }2", r"5\text{ percent}", r"2\pi", "1e3", "1/2/3", "9" * 31, "1" * 300],
)  # fmt: skip
def test_everything_else_stays_as_it_is(answer: str) -> None:
    assert spelled(answer) == answer and spelled(f"  {answer}\n") == answer
    assert spelled("x  +\n1") == "x + 1"


@pytest.mark.parametrize(
    "response", ["\\boxed{1} \\boxed{2}", "The final answer is $3$, not \\boxed{2}", "\\boxed{2", "$2$", "\\boxed{x}"]
)
def test_the_shortcut_leaves_everything_else_to_math_verify(response: str) -> None:
    assert MathExpression()._shortcut("2", response) is None


def test_votes_are_counted_in_either_direction() -> None:
    verifier = MathExpression()
    assert (
        verifier.equivalent("\\frac{1}{2}", "0.5")
        and verifier.equivalent("5", "x=5")
        and verifier.equivalent("x=5", "5")
    )
    assert not verifier.equivalent("x+1", "x+2")


@pytest.mark.parametrize(
    ("gold", "fault"), [("", "is empty"), (" \n", "is empty"), ("\\frac{1}{2", "has unbalanced braces")]
)
def test_a_broken_gold_answer_is_named(gold: str, fault: str) -> None:
    with pytest.raises(ValueError, match=f"question q7: gold answer .* {fault}; correct or remove the row"):
        MathExpression().check_gold(Question("?", gold, id="q7"))


def test_sets_in_braces_are_fine_gold_answers() -> None:
    MathExpression().check_gold(Question("?", "\\{1, 2\\}"))
    MathExpression().check_gold(Question("?", "[0, 1)"))


@pytest.mark.parametrize("arguments", [{"match_types": ["string"]}, {"match_types": []}, {"timeout": 0}])
def test_bad_arguments_are_named(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(arguments))):
        MathExpression(**arguments)  # type: ignore[arg-type]


JUNK = st.one_of(
    st.text(st.characters(), max_size=200),  # lone surrogates and NULs among them
    st.lists(
        st.sampled_from(
            ["\\boxed{", "{", "}", "$", "\\frac", "9^", "\\sqrt", "\\[", "(", "1", "x", "=", "\x00", "\ud800"]
        )
    ).map("".join),
)


@settings(max_examples=60, deadline=None)
@given(gold=JUNK, response=JUNK)
def test_no_text_makes_it_raise(gold: str, response: str) -> None:
    score = MathExpression(timeout=2)(Question("?", gold), response)
    assert score.value == (score.correct is True) and score.status in ("ok", "no_answer", "timeout", "error")
    assert (score.correct is None) == (score.status in ("timeout", "error"))


@pytest.mark.parametrize(
    "response",
    [
        "$" + "(" * 5000 + "1" + ")" * 5000 + "$",
        "\\boxed{" * 15_000,
        "1+" * 50_000,
        "word 12. " * 11_000,
        "\\boxed{1000000000!}",
    ],
    ids=["nested", "open boxes", "long sum", "100 kB of prose", "factorial"],
)
def test_long_and_deep_texts_end_in_time(response: str) -> None:
    verifier = MathExpression(timeout=1)
    verifier(Question("?", "x"), "$y$")
    start = time.monotonic()
    score = verifier(Question("?", "\\sqrt{2}"), response)
    assert time.monotonic() - start < 5 and score.correct is not True
    assert score.answer is None or len(score.answer) <= 1000


def test_fraction_values_are_exact() -> None:
    assert correct("\\frac{1}{3}", f"\\boxed{{{Fraction(1, 3)}}}") is True
    assert correct("\\frac{1}{3}", "\\boxed{0.333}") is False and correct("\\frac{1}{3}", "\\boxed{0.333333}") is True

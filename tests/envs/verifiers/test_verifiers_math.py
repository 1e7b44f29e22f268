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
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.envs.verifiers import MathExpression
from maporl.envs.verifiers.mathematics import expression, shape
from maporl.envs.verifiers.mathematics.spelling import spelled
from maporl.envs.verifiers.mathematics.workers import MathWorker, MathWorkers, shared_workers
from maporl.types import Question


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
    verifier = MathExpression(timeout=1e-4)
    score = verifier(Question("?", "(x+1)(x-2)(x+3)"), "\\boxed{x^3+2x^2-5x-6}")
    assert (score.value, score.correct, score.status) == (0.0, None, "timeout") and "0.0001 s" in score.explanation
    assert correct("(x+1)(x-2)(x+3)", "\\boxed{x^3+2x^2-5x-6}") is True, "with more time it is asked again"


def test_the_time_outs_of_a_batch_share_a_budget() -> None:
    """Two get their time, the others a fiftieth of it; what is quick is judged all the same."""
    workers = MathWorkers(1)
    request = {"gold": "x", "precision": 6, "strict": True, "allow_set_relation_comp": False}
    assert workers.ask(60, **request, response="x")["correct"] is True  # it has started
    limits: list[float] = []

    def slow(timeout: float, **request: object) -> dict[str, object]:
        limits.append(timeout)
        return {"status": "timeout" if request["response"] != "x" else "ok", "correct": None, "answer": None}

    workers._workers[0].ask = slow  # type: ignore[method-assign]
    replies = workers.ask_all([{**request, "response": f"{n}"} for n in range(5)], 4.0, 7.0)
    assert [reply["status"] for reply in replies] == ["timeout"] * 5
    assert limits == pytest.approx([4.0, 3.0, 0.08, 0.08, 0.08])
    workers.close()


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        ("+".join(["a"] * (shape.LONGEST // 2 + 1)), "longer than"),
        ("(" * (shape.DEEPEST + 1) + "a" + ")" * (shape.DEEPEST + 1), "nested deeper"),
        ("a" + "-a" * (shape.MOST_OPERATIONS + 1), "operations"),
        (f"2^{{{shape.LARGEST_POWER + 1}}}", "a power"),
        (f"(a^{{{shape.LARGEST_POWER // 10 + 1}}})^{{10}}", "a power"),
        ("2^{3^{3^{1}}}", "a power"),
        (f"{shape.LARGEST_FACTORIAL + 1}!", "a factorial"),
        ("(2!)!", "a factorial"),
        ("\\binom{" + str(2 * shape.LARGEST_FACTORIAL + 1) + "}{2}", "a factorial"),
        ("+".join(["\\sin x"] * (shape.MOST_FUNCTIONS + 1)), "functions"),
        ("\\int x dx", "an integral"),
        (f"\\sum_{{k=1}}^{{{shape.LARGEST_SUM + 1}}} k", "a long sum"),
        ("\\sqrt{" + "1" * (shape.LONGEST_INTEGER // 3 + 1) + "}", "integer"),
    ],
)
def test_what_may_never_end_is_refused_by_its_shape(monkeypatch: pytest.MonkeyPatch, answer: str, fault: str) -> None:
    """Just above each limit; no parser is asked. Such an answer is right if it is the gold text, else nobody knows."""
    monkeypatch.setattr(expression, "shared_workers", lambda: pytest.fail("a parser was asked"))
    assert fault in str(shape.too_hard(spelled(answer)))
    score = MathExpression()(Question("?", "x+1"), f"\\boxed{{{answer}}}")
    assert (score.value, score.correct, score.status) == (0.0, None, "timeout") and fault in score.explanation
    assert correct(answer, f"\\boxed{{{answer}}}") is True


@pytest.mark.parametrize(
    "answer", ["2^{2009}-1", "x^8+x^7+x^6+1", "100!", "2^{3^4}", "\\frac{7!}{3! \\cdot 4!}", "(1+\\sqrt{5})^{10}"]
)
def test_what_people_write_is_not(answer: str) -> None:
    assert shape.too_hard(spelled(answer)) is None


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
    process = shared_workers()._workers[0]._process
    assert process is not None
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(correct, ("$x+y$", "$y+x$")) is True
        assert pool.apply(correct, ("$x+y$", "$y-x$")) is False
    assert correct("$x+y$", "$y-x$") is False
    assert shared_workers()._workers[0]._process is process and process.poll() is None, (
        "the parent's worker was left alone"
    )


def test_the_interpreter_exits_cleanly_and_takes_the_worker_along() -> None:
    script = """
        from maporl.envs.verifiers import MathExpression
        from maporl.envs.verifiers.mathematics.workers import shared_workers
        from maporl.types import Question
        assert MathExpression()(Question("?", "$2x$"), "$x+x$").correct
        print(shared_workers()._workers[0]._process.pid)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


OPTIONS = {"precision": 6, "strict": True, "allow_set_relation_comp": False}
NUMBERS = st.one_of(
    st.integers(-50, 50).map(str),
    st.decimals(-3, 3, places=2).map(str),
    st.builds("{}\\frac{{{}}}{{{}}}".format, st.sampled_from(["", "-"]), st.integers(0, 9), st.integers(1, 9)),
    st.builds("{}/{}".format, st.integers(-9, 9), st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None)
@given(gold=NUMBERS, answer=NUMBERS)
def test_numbers_are_compared_as_math_verify_compares_them(gold: str, answer: str) -> None:
    verifier = MathExpression()
    asked = shared_workers().ask(5.0, **verifier._request(gold, answer))
    assert verifier(Question("?", gold), f"\\boxed{{{answer}}}").correct is asked["correct"]


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
    """And Math-Verify agrees that they are equal."""
    verifier = MathExpression()
    for answer in answers:
        assert spelled(answer) == spelling
        assert verifier(Question("?", answer), f"\\boxed{{{answer}}}").answer == spelling
        raw = shared_workers().ask(
            5.0, gold=f"${spelling}$", response=f"\\boxed{{{answer}}}", match_types=["latex"], **OPTIONS
        )
        assert raw["correct"] is True


@pytest.mark.parametrize(
    ("answer", "spelling"),
    [
        ("1,2", "1, 2"),
        ("12,34", "12, 34"),
        ("1,000/3", "1000/3"),
        ("(1,2)", "(1, 2)"),
        ("x  +\n1", "x+1"),
        ("1\\text{ or }2", "1, 2"),
        ("x = 1 \\text{ or } x = -1", "1, -1"),
        ("x = 1, y = 2", "x=1, y=2"),
        ("\\text{Evelyn}", "Evelyn"),
        ("\\text{five}", "five"),
        ("5^\\circ", "5"),
        ("\\frac{1}{2}x^{2}", "\\frac{1}{2}x^2"),
        *(
            (same, same)
            for same in ["x", r"\sqrt{2}", "1/0", r"2\pi", "1e3", "1/2/3", "9" * 31, "1" * 300, "12:00", "y=2x+3"]
        ),
    ],
)
def test_one_spelling_of_everything_else(answer: str, spelling: str) -> None:
    assert spelled(answer) == spelling == spelled(spelling)


PLAIN = st.one_of(
    NUMBERS, st.sampled_from(["1/3", "0.333333", "0.3333334", "1,000", "1\\,000", "5 1/2", "0.0000002", "0.0000004"])
)
PERCENTS = st.builds(
    "{}{}".format, PLAIN, st.sampled_from(["", "\\%", " percent", " dollars", "\\text{ cm}", "^\\circ"])
)
EXPRESSIONS = st.sampled_from(
    ["\\sqrt{2}", "\\frac{2}{\\sqrt{2}}", "1.414214", "x+1", "1+x", "(x+1)^2", "x^2+2x+1", "y=x+1", "\\text{odd}", "odd", "no", "on"]
    + ["101_2", "101"]
)  # fmt: skip
# No "x = " before an expression in x: Math-Verify takes x = x + 1 for x = (x + 1)^2.
ONE = st.one_of(
    st.builds("{}{}".format, st.sampled_from(["", "", "x = ", "y="]), PERCENTS),
    st.builds("{}{}".format, st.sampled_from(["", "", "y="]), EXPRESSIONS),
)
MANY = st.builds(
    lambda form, members: form.format(", ".join(members)),
    st.sampled_from(["{}", "({})", "[{}]", "\\{{{}\\}}"]),
    st.lists(st.sampled_from(["1", "2", "0.5", "\\frac{1}{2}", "x"]), min_size=2, max_size=3),
)
ANSWERS = st.one_of(ONE, ONE, MANY)


@settings(max_examples=300, deadline=None)
@given(gold=ANSWERS, first=ANSWERS, second=ANSWERS)
def test_what_is_right_by_the_same_gold_is_one_vote(gold: str, first: str, second: str) -> None:
    """And equivalence is symmetric, of all; spelling a spelling changes nothing."""
    verifier = MathExpression(timeout=30)
    scores = [verifier(Question("?", gold), f"So it is \\boxed{{{said}}}.") for said in (first, second, gold)]
    a, b, same = (str(score.answer) for score in scores)
    assert scores[2].correct is True and [spelled(text) for text in (a, b, same)] == [a, b, same]
    for one, two, both in ((a, b, scores[:2]), (a, same, scores[::2]), (b, same, scores[1:])):
        assert verifier.equivalent(one, two) is verifier.equivalent(two, one)
        if all(score.correct for score in both):
            assert verifier.equivalent(one, two)


def test_votes_are_counted_in_either_direction() -> None:
    verifier = MathExpression()
    assert (
        verifier.equivalent("\\frac{1}{2}", "0.5")
        and verifier.equivalent("5", "x=5")
        and verifier.equivalent("x=5", "5")
    )
    assert not verifier.equivalent("x+1", "x+2")
    line = ("2x+3", "y=2x+3", "y-2x=3")  # all right where the gold answer is y = 2x + 3
    assert all(verifier(Question("", "y = 2x + 3"), f"\\boxed{{{one}}}").correct for one in line)
    assert all(verifier.equivalent(one, other) for one in line for other in line)
    assert not verifier.equivalent("2x+3", "y=2x+4") and not verifier.equivalent("2x", "y-3x=0")


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
        "<answer>" * 15_000,
        "\\[" * 50_000,
        "$ " * 50_000,
    ],
    ids=["nested", "open boxes", "long sum", "100 kB of prose", "open tags", "open delimiters", "dollar signs"],
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

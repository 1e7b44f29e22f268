"""A verifier that is wrong for a known share of the messages."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from discussion_toys import Contains, Digits, Told
from hypothesis import given
from hypothesis import strategies as st

from maporl.envs.scoring import build_verifiers
from maporl.envs.two_witnesses import TwoWitnesses
from maporl.envs.verifiers import Exact, Noisy, Number, Regex, Verifier
from maporl.types import Question, Score

ASKED = Question("Which digit?", "7")


class Fixed(Verifier):
    """The same score for everything; counts how often it is asked for a batch."""

    def __init__(self, score: Score) -> None:
        self.score, self.batches = score, 0

    def __call__(self, question: Question, response: str) -> Score:
        return self.score

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        self.batches += 1
        return super().score_batch(questions, responses)

    def seen_questions(self) -> frozenset[str]:
        return frozenset({"a hash"})


def texts(number: int) -> list[str]:
    return [f"message {n}" for n in range(number)]


@pytest.mark.parametrize("rate", [0.05, 0.1, 0.3, 0.5, 0.9])
def test_the_share_that_is_turned(rate: float) -> None:
    """Of 4,000 messages; five standard deviations of the binomial distribution are missed once in two million."""
    noisy = Noisy(Fixed(Score(1.0, True, "7")), rate)
    turned = sum(noisy(ASKED, text).value == 0.0 for text in texts(4000)) / 4000
    assert abs(turned - rate) < 5 * math.sqrt(rate * (1 - rate) / 4000)


def test_both_kinds_of_answers_are_turned_alike() -> None:
    """Half of the answers right: what is turned is independent of what was said about them."""
    noisy = Noisy("number", 0.2)
    right, wrong = ([noisy(ASKED, f"{n}. Answer: {a}").value for n in range(2000)] for a in (7, 8))
    assert abs(sum(right) / 2000 - 0.8) < 0.045 and abs(sum(wrong) / 2000 - 0.2) < 0.045


@given(st.floats(0, 1), st.text(max_size=5), st.integers())
def test_nothing_and_everything(value: float, response: str, seed: int) -> None:
    inner = Fixed(Score(value, None))
    assert Noisy(inner, 0, seed)(ASKED, response).value == value
    assert Noisy(inner, 1, seed)(ASKED, response).value == 1 - value


@given(st.text(max_size=20), st.integers(0, 5))
def test_a_message_always_gets_the_same_noise(response: str, seed: int) -> None:
    one, two = (Noisy("exact", 0.5, seed) for _ in range(2))
    assert one(ASKED, response) == two(ASKED, response) == one.score_batch([ASKED], [response])[0]


def test_the_noise_depends_on_seed_question_and_response() -> None:
    def flips(seed: int = 0, question: Question = ASKED) -> list[bool]:
        return [Noisy("exact", 0.5, seed).flips(question, text) for text in texts(64)]

    assert flips() == flips() and len({tuple(flips()), tuple(flips(1)), tuple(flips(0, Question("?", "7")))}) == 3
    assert 0 < sum(flips()) < 64
    lower, higher = ({t for t in texts(500) if Noisy("exact", rate).flips(ASKED, t)} for rate in (0.1, 0.3))
    assert (
        lower < higher
    )  # more noise turns more, and what less noise turns too: rates can be compared message by message


def test_another_process_gets_the_same_noise() -> None:
    code = (
        "from maporl.envs.verifiers import Noisy; from maporl.types import Question; q = Question('Which digit?', '7'); "
        "print([int(Noisy('exact', 0.5).flips(q, f'message {n}')) for n in range(32)])"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert answer.stdout.strip() == str([int(Noisy("exact", 0.5).flips(ASKED, text)) for text in texts(32)])


def test_what_it_says_is_no_fact_and_the_rest_stays() -> None:
    always = Noisy(Number(), 1.0)
    score = always(ASKED, "Answer: 7")
    assert (score.value, score.correct, score.answer, score.status) == (0.0, None, "7", "ok")
    assert always(ASKED, "nothing").status == "no_answer" and always(ASKED, "nothing").value == 1.0
    assert not always.rule_based and always.equivalent("7", "7.0") == Number().equivalent("7", "7.0")
    with pytest.raises(ValueError):
        always.check_gold(Question("?", "seven"))
    for gold in (True, False):
        assert Noisy({"name": "regex", "pattern": "7", "uses_gold": gold}).uses_gold is gold


@pytest.mark.parametrize("status", ["timeout", "error"])
def test_a_failure_is_no_verdict_that_could_be_turned(status: str) -> None:
    assert Noisy(Fixed(Score(0.0, None, status=status)), 1.0)(ASKED, "x").value == 0.0


def test_a_batch_is_one_batch_and_what_was_seen_is_passed_on() -> None:
    inner = Fixed(Score(1.0, True))
    noisy = Noisy(inner, 0.5)
    scores = noisy.score_batch([ASKED] * 8, texts(8))
    assert inner.batches == 1 and scores == [noisy(ASKED, text) for text in texts(8)]
    assert noisy.seen_questions() == {"a hash"}


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"verifier": "number", "flip_rate": -0.1}, "flip_rate is -0.1; give the share"),
        ({"verifier": "number", "flip_rate": 1.1}, "flip_rate is 1.1"),
        ({"verifier": "number", "flip_rate": float("nan")}, "flip_rate is nan"),
        ({"flip_rate": 0.1}, "disturbs another verifier; say which"),
    ],
)
def test_bad_rates(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Noisy(**arguments)


# In an environment.


@pytest.mark.parametrize("spec", ["noisy", {"name": "noisy", "flip_rate": 1.0}, Noisy])
def test_by_default_it_is_made_around_the_tasks_own(spec: Any) -> None:
    judges = build_verifiers(spec, None, None, {"name": "regex", "pattern": "a(.)"})
    assert judges.verifier.verifier == Regex("a(.)") and judges.ground_truth is judges.verifier.verifier


def test_the_truth_stays_the_tasks_own() -> None:
    """Also where the noise is around something else; and a learned verifier's noise leaves the task's truth, too."""
    judges = build_verifiers({"name": "noisy", "verifier": "exact"}, None, None, "number")
    assert judges.verifier.verifier == Exact() and judges.ground_truth == Number()
    assert isinstance(build_verifiers(Noisy(Told()), None, None, Contains).ground_truth, Contains)
    assert build_verifiers({"name": "noisy", "verifier": "exact"}, None, None, None).ground_truth is None
    with pytest.raises(ValueError, match="disturbs another verifier; say which"):
        build_verifiers("noisy", None, None, None)


def test_values_are_noisy_and_the_truth_is_not() -> None:
    env = TwoWitnesses(2, 1, verifier={"name": "noisy", "flip_rate": 1.0}, shaping="own_score")
    env.reset(seed=0)
    gold = env.transcript.question.answer
    env.step(f"Answer: {gold}")
    env.step("Answer: no")
    assert [(t.value, t.correct) for t in env.transcript.turns] == [(0.0, True), (1.0, False)]
    assert env.turn_rewards == (0.0, 1.0) and env.team_answer().correct == 1.0


def test_in_a_gate_around_the_tasks_own() -> None:
    """The rule holds for every verifier that is made around another."""
    gate = {"name": "maporl.envs.verifiers:Gate", "gate": {"name": "regex", "pattern": "^so", "uses_gold": False}}
    env = Digits(verifier=gate)
    env.reset(options={"question": Question("?", "<7>")})
    env.step("so <7>")
    env.step("<7>")
    assert [t.value for t in env.transcript.turns] == [1.0, 0.0]

"""ColBench: what a reference says of an answer, who speaks and when it is over, and rows that are wrong."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.agents.simulated_human import SimulatedHuman
from maporl.envs import check_env
from maporl.envs.tasks.coding.consulting.colbench import ColBench
from maporl.envs.tasks.coding.consulting.consultation import LONGEST_REPLY, final_answer
from maporl.rollouts.play import rollout
from maporl.rollouts.privilege import check_unseen, hidden_from
from maporl.types import Score, Transcript, Turn

FEE = """
EXPRESS = 2.5

def parcel_fee(weight, express):
    if weight <= 0:
        return None
    fee = 4 + 1.1 * weight
    return fee * EXPRESS if express else fee
"""
FEES = ["parcel_fee(3, True)", "parcel_fee(0.7, False)", "parcel_fee(0, True)", "parcel_fee(10, False)"]
LOOP = "def twice(n):\n    while n == 0:\n        pass\n    return 2 * n"


def row(code: str, calls: list[str], text: str = "Write parcel_fee(weight, express).") -> dict[str, Any]:
    return {
        "problem_description": text,
        "ground_truth": code,
        "test_cases": {f"test{n}": call for n, call in enumerate(calls, 1)},
    }


def task(tmp_path: Path, rows: list[Any], *given: int, **arguments: Any) -> ColBench:
    path = tmp_path / "train.jsonl"
    path.write_text("".join(f"{json.dumps(one)}\n" for one in rows))
    (tmp_path / "test.jsonl").write_text(
        f"{json.dumps(row(FEE, FEES, 'Write parcel_fee(weight, express), please.'))}\n"
    )
    return ColBench(*given, data=path, **arguments)


def asked(tmp_path: Path, code: str, calls: list[str], **arguments: Any) -> ColBench:
    return task(tmp_path, [row(code, calls)], 1, 1, **arguments)


def judged(env: ColBench, *messages: str) -> Score:
    """The verdict on a discussion in which a lone agent says so."""
    question = env.load("train").__iter__().__next__()
    turns = tuple(Turn("agent_0", n, text) for n, text in enumerate(messages))
    return env.team_verifier(Transcript(question, ("agent_0",), len(messages), turns))


def answering(code: str) -> str:
    return f"I WANT TO ANSWER:\n{code}"


@pytest.fixture
def fee(tmp_path: Path) -> ColBench:
    return asked(tmp_path, FEE, FEES)


# The checker.


@pytest.mark.parametrize(
    "code",
    [
        # What the release runs inside a function, where none of it is found.
        "import math\n\ndef parcel_fee(w, e):\n    fee = math.fsum([4, 1.1 * w])\n    return None if w <= 0 else fee * 2.5 if e else fee",
        "def price(w):\n    return 4 + w * 1.1\n\ndef parcel_fee(w, e):\n    return None if w <= 0 else price(w) * [1, 2.5][e]",
        "def parcel_fee(w, e, by=1):\n    if w <= 0:\n        return None\n    return parcel_fee(w, 0, 2.5) if e else by * (4 + 1.1 * w)",
        "from dataclasses import dataclass\nRATE = 1.1\n\n@dataclass\nclass Parcel:\n    w: float\n\n    def fee(self):\n"
        "        return 4 + RATE * self.w\n\ndef parcel_fee(w, e):\n    return Parcel(w).fee() * (2.5 if e else 1) if w > 0 else None",
        "parcel_fee = lambda w, e: None if w <= 0 else (10 + 2.75 * w if e else 4 + 1.1 * w)  # other last digits",
        "def parcel_fee(w, e):\n    print('os.write(', e)\n    return None if w <= 0 else (4 + 1.1 * w) * (2.5 if e else 1)",
    ],
)
def test_right_code_is_right_however_it_is_written(fee: ColBench, code: str) -> None:
    score = judged(fee, answering(code))
    assert (score.value, score.correct) == (1.0, True), score.explanation
    assert score.measures == {"passed": 1.0, "all_passed": 1.0, "visible_passed": 1.0, "answered": 1.0}


def test_all_calls_must_agree_and_none_is_a_value(fee: ColBench) -> None:
    almost = FEE.replace("return None", "return 0")
    score = judged(fee, answering(almost))
    assert (score.value, score.correct, score.measures["passed"]) == (0.0, False, 0.75)
    assert (
        score.explanation.startswith('after "I WANT TO ANSWER:": 3 of 4 asserts pass') and "gave 0" in score.explanation
    )
    assert judged(fee, answering("def parcel_fee(w, e):\n    return None")).measures["passed"] == 0.25
    assert judged(fee, answering("def other(w, e):\n    return 1")).measures["passed"] == 0.0


@pytest.mark.parametrize(
    ("code", "call", "right", "wrong"),
    [
        ("def f():\n    return float('nan')", "f()", "f = lambda: float('inf') - float('inf')", "f = lambda: 0.0"),
        (
            "def f(x):\n    return [x / 3, {'a': (x, None)}]",
            "f(1)",
            "f = lambda x: [x * (1 / 3), {'a': (x, None)}]",
            "f = lambda x: [x / 3, {'a': [x, None]}]",
        ),
        ("def f(x):\n    return {x, 2}", "f(1)", "f = lambda x: set([2, x])", "f = lambda x: [x, 2]"),
        ("def f(x):\n    return 1e-20 * x", "f(2)", "f = lambda x: 2e-20 / 2 * x", "f = lambda x: str(x)"),
        (
            "from collections import Counter\ndef f(s):\n    return Counter(s)",
            "f('aab')",
            "f = lambda s: {c: s.count(c) for c in s}",
            "f = lambda s: {c: 1 for c in s}",
        ),
        ("def f(xs):\n    xs.append(1)\n    return sum(xs)", "f([1])", "f = lambda xs: sum(xs) + 1", "f = lambda xs: sum(xs)"),
    ],
)  # fmt: skip
def test_values_are_compared_as_they_are_meant(tmp_path: Path, code: str, call: str, right: str, wrong: str) -> None:
    env = asked(tmp_path, code, [call])
    assert [judged(env, answering(answer)).correct for answer in (code, right, wrong)] == [True, True, False]


@pytest.mark.parametrize(
    "answer", ["", "import datetime\n", "from datetime import *\n", "from datetime import timedelta as datetime\n"]
)
def test_calls_that_need_what_the_reference_imports_find_it_for_every_answer(tmp_path: Path, answer: str) -> None:
    code = "from datetime import datetime, timedelta\n\ndef due(day, n):\n    return (day + timedelta(days=n)).day"
    env = asked(tmp_path, code, ["due(datetime(2020, 1, 30), 3)", "due(n=1, day=datetime(2020, 2, 28))"])
    rest = "import calendar\n\ndef due(day, n):\n    return (day.day + n - 1) % calendar.monthrange(day.year, day.month)[1] + 1"
    assert judged(env, answering(answer + rest)).correct is True
    assert judged(env, answering(answer + rest.replace("n - 1", "n"))).correct is False


def test_the_reference_is_not_to_be_found_from_an_answer(fee: ColBench) -> None:
    for code in (
        "import sys\n\ndef parcel_fee(w, e):\n    return sys.modules['reference'].parcel_fee(w, e)",
        "def parcel_fee(w, e):\n    return _reference.parcel_fee(w, e)",
        "class Any:\n    def __eq__(self, other):\n        return True\n\ndef parcel_fee(w, e):\n    return Any()",
        "def _same(a, b):\n    return True\n\ndef parcel_fee(w, e):\n    return 7",
    ):
        assert judged(fee, answering(code)).measures["passed"] == 0.0


def test_a_reference_does_not_find_the_answers_names(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="colbench, train: 1 of 2 calls are left out: the reference itself"):
        (question,) = asked(tmp_path, "def f(x):\n    return x if x else helper(x)", ["f(1)", "f(0)"]).questions(
            "train"
        )
    assert question.metadata["left_out"] == 1


# Calls that the reference does not pass.


def test_calls_that_no_answer_can_pass_are_left_out_and_counted(tmp_path: Path) -> None:
    code = (
        "import time\n\ndef f(x):\n    while x == 'late':\n        pass\n    if x == 'new':\n        return time.time_ns()\n"
        "    if x == 'object':\n        return object()\n    return 10 // x"
    )
    calls = ["f(5)", "f(0)", "f('late')", "f(2) +", "f('new')", "f('object')", "unknown(3)", "f(3)"]
    env = asked(tmp_path, code, calls, limits={"seconds": 0.3})
    with pytest.warns(UserWarning, match="colbench, train: 6 of 8 calls are left out"):
        (question,) = env.load("train")
    assert question.metadata["left_out"] == 6 and question.answer.count("assert") == 2
    score = judged(env, answering("def f(x):\n    return {5: 2, 3: 3}[x]"))
    assert (score.value, score.measures["passed"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (row("def f(x):\n    raise ValueError('no')", ["f(1)"]), r"train.jsonl, line 2: .* none of the 1 calls .*no\).*skip_broken"),
        (row("import numpy\ndef f(x):\n    return 1", ["f(1)"]), r"line 2: the reference .*numpy.*packages"),
        (row("def f(x):\n    return 1", ["f(1"]), r"line 2: the reference .*none of them is an expression"),
        (row("def f(x)", ["f(1)"]), r"line 2: field 'ground_truth' is no Python \(line 1"),
        (row("def f(x):\n    return 1", []), r"line 2: field 'test_cases' is '{}'; it must be an object of calls"),
        (row("f = 1", ["f"]) | {"test_cases": ["f"]}, r"line 2: field 'test_cases' .*need dict"),
        (row("f = 1", ["f"]) | {"test_cases": {"test1": 3}}, r"line 2: field 'test_cases' .*each a text"),
        ({"problem_description": "Write f."}, r"line 2: no field 'test_cases'"),
    ],
)  # fmt: skip
def test_rows_that_are_wrong_are_refused_by_name(tmp_path: Path, broken: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        task(tmp_path, [row(FEE, FEES), broken]).questions("train")
    assert "\n" not in str(caught.value)


def test_broken_rows_may_be_left_out(tmp_path: Path) -> None:
    rows = [row("def f():\n    return 1 / 0", ["f()"]), row(FEE, [*FEES, None], "Write it.")]  # type: ignore[list-item]
    with pytest.warns(UserWarning, match=r"0 of 5 calls are left out, and 1 whole rows \(.*train.jsonl, line 1 ...\)"):
        (question,) = task(tmp_path, rows, skip_broken=True).load("train")
    assert question.text == "Write it." and question.id == "train.jsonl:2"


# What counts as the answer.


@pytest.mark.parametrize(
    ("messages", "answered", "correct", "status"),
    [
        ((f"I have what I need.\n**I want to answer:**\n```python{FEE}```\nCall parcel_fee(1, True).",), 1.0, True, "ok"),
        (("How heavy?", f"I WANT TO ANSWER: Here it is.\n{FEE}\nI hope it helps."), 1.0, True, "ok"),
        ((f'I will say "I WANT TO ANSWER:" now. I WANT TO ANSWER:\n```{FEE}```',), 1.0, True, "ok"),  # twice in one message
        ((answering(FEE), answering("def parcel_fee(w, e):\n    return 1")), 1.0, True, "ok"),  # the first one ends it
        (("How heavy?", f"```python{FEE}```"), 0.0, True, "ok"),  # the last message, though it does not say so
        ((f"```python{FEE}```", "How heavy?"), 0.0, False, "no_answer"),  # code that is no answer
        (("How heavy?", "How far?"), 0.0, False, "no_answer"),
        (("I WANT TO ANSWER:",), 1.0, False, "no_answer"),
        (("I WANT TO ANSWER: def parcel_fee(w, e) return",), 1.0, False, "no_answer"),
        ((f"<think>I WANT TO ANSWER: x = 1</think>{answering(FEE)}",), 1.0, True, "ok"),
        ((f"<think>{answering(FEE)}",), 0.0, False, "no_answer"),  # reasoning that is not finished
        (("",), 0.0, False, "no_answer"),
    ],
)  # fmt: skip
def test_what_is_answered(
    fee: ColBench, messages: tuple[str, ...], answered: float, correct: bool, status: str
) -> None:
    score = judged(fee, *messages)
    assert (score.value, score.correct, score.status) == (float(correct), correct, status), score.explanation
    assert score.measures["answered"] == answered and score.measures["passed"] == float(correct)
    assert score.explanation.startswith('after "I WANT' if answered else 'in the last message, without "I WANT')
    assert (final_answer(messages[-1]) is None) == (not answered)


# Who speaks, and what is heard.


def team(messages: list[str], person: Any = None) -> Team:
    speaks = ScriptedAgent(lambda o, rng: messages[min(o["round"], len(messages) - 1)])
    return Team({("agent_0", 0): speaks, ("agent_1", 0): person or SimulatedHuman()})


def test_a_consultation_ends_with_the_answer_or_with_the_tenth_message(tmp_path: Path) -> None:
    env = task(tmp_path, [row(FEE, FEES)])
    questions = env.questions("test")
    (short,) = rollout(
        env, team(["What does express cost?", "Is a weight of 0 fine?", answering(FEE)]), questions, seed=0
    )
    turns = [(t.agent, t.round) for t in short.transcript.turns]
    assert turns == [("agent_0", 0), ("agent_1", 0), ("agent_0", 1), ("agent_1", 1), ("agent_0", 2)]
    assert short.transcript.ended and short.rewards == (1.0,) * 5 and env.team_answer(short.transcript).correct == 1.0
    assert "fee * EXPRESS if express" in short.transcript.turns[1].text
    (long,) = rollout(env, team(["And?"]), questions, seed=0)
    assert len(long.transcript.turns) == 19 and long.transcript.turns[-1].agent == "agent_0"
    assert not long.transcript.ended and set(long.rewards) == {0.0}
    assert env.team_answer(long.transcript).answer is None
    (person,) = rollout(env, team(["And?"], ScriptedAgent(lambda o, rng: answering(FEE))), questions, seed=0)
    assert len(person.transcript.turns) == 19 and person.transcript.verdict.value == 0.0, (
        "the person's words are no answer"
    )


def test_everybody_is_told_what_is_theirs(tmp_path: Path) -> None:
    env = task(tmp_path, [row(FEE, FEES)], num_rounds=4)
    wordy = ScriptedAgent(lambda o, rng: "word " * 200)
    (episode,) = rollout(env, team(["And?"], wordy), env.questions("test"), seed=0)
    writer, person = episode.observation(2), episode.observation(1)
    assert "personal" in writer["role"] and "4 times" in writer["role"] and "I WANT TO ANSWER:" in writer["instruction"]
    assert writer["private"] == "" and person["private"] == FEE.strip() and "two sentences" in person["instruction"]
    assert len(writer["transcript"][1]["text"]) == LONGEST_REPLY < len(episode.transcript.turns[1].text)
    for i, turn in episode.said:
        if turn.agent == "agent_0":
            check_unseen(episode.observation(i), hidden_from(episode.transcript, "agent_0"))
            assert FEE.strip() in episode.state(i)["private"]
    with pytest.raises(ValueError, match="num_agents is 3; in a consultation one asks and one answers"):
        ColBench(3)


def test_it_is_an_environment_like_any_other(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_env(task(tmp_path, [row(FEE, FEES)], num_rounds=2))
        check_env(task(tmp_path, [row(FEE, FEES)], 1, view="agent_1"))


def test_the_person_quotes_the_lines_that_it_is_asked_for() -> None:
    def told(question: str) -> str:
        observation: Any = {
            "agent": "agent_1",
            "private": FEE.strip(),
            "transcript": ({"agent": "agent_0", "round": 0, "text": question},),
        }
        (completion,) = SimulatedHuman().act([observation], [None])  # type: ignore[list-item]
        return completion.text

    assert told("And of what weight?") == "def parcel_fee(weight, express):\nif weight <= 0:\nfee = 4 + 1.1 * weight"
    assert told("Which FEE, if any?").splitlines()[-1] == "return fee * EXPRESS if express else fee"
    assert told("Is it blue?") == "I do not know."

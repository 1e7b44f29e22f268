"""Held-out questions that are training questions, and private information that reaches nobody: what is told, and what is not."""

from __future__ import annotations

import itertools
import json
import random
import re
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from maporl import registry
from maporl.cli.evaluation import unseen
from maporl.envs import DiscussionEnv, Protocol, check_env
from maporl.envs.splits import repeated
from maporl.envs.tasks.gsm8k import GSM8K
from maporl.training.config import RunConfig
from maporl.types import Question, Transcript

ANSWER = 'End with "Answer: " and a number.'


class Careless(DiscussionEnv):
    """Twice a number, of which the test asks the same, spaced and spelt otherwise."""

    metadata = {"name": "careless"}
    instruction = ANSWER
    default_verifier = "number"

    def load(self, split: str) -> Iterable[Question]:
        text = "What is twice {}?" if split == "train" else " what is  twice {}?"
        return [Question(text.format(n), str(2 * n)) for n in range(60)]


class OwnValidation(Careless):
    """Keeps its test apart, but validates on five training questions."""

    has_validation = True

    def load(self, split: str) -> Iterable[Question]:
        numbers = {"train": range(60), "validation": range(55, 70), "test": range(70, 90)}[split]
        return [Question(f"What is twice {n}?", str(2 * n)) for n in numbers]


class Clues(DiscussionEnv):
    """Every question has one clue for `key` and one for agent_1."""

    metadata = {"name": "clues"}
    instruction = ANSWER
    default_verifier = "number"

    def __init__(self, key: str, num_agents: int | None = None, **arguments: Any) -> None:
        super().__init__(num_agents, **arguments)
        self.key = key

    def load(self, split: str) -> Iterable[Question]:
        for n in range(60) if split == "train" else range(60, 80):
            yield Question("Sum?", str(n + 1), private={self.key: f"{n}", "agent_1": f"One, and no {n}."})


SUM = Question("What is 2 + 2?", "4")
SEEN = {
    "the same": (SUM, SUM, True),
    "another gold": (SUM, Question("What is 2 + 2?", "four"), True),
    "case and space": (SUM, Question("what is  2 + 2? ", "4"), True),
    "case matters": (Question("ASCII of a?", "97"), Question("ASCII of A?", "65"), False),
    "another text": (SUM, Question("What is 2+2?", "4"), False),
    "other views": (Question("?", "1", private={"agent_0": "a"}), Question("?", "1", private={"agent_0": "b"}), False),
    "other seats": (Question("?", "1", private={"agent_0": "a"}), Question("?", "1", private={"agent_1": "a"}), False),
    "another id": (Question("?", "1", "a"), Question("?", "1", "b"), True),
    "other choices": (Question("Pick.\n(A) hen", "A"), Question("Pick.\n(A) owl", "A"), False),
}


@pytest.mark.parametrize("known, asked, same", SEEN.values(), ids=SEEN)
def test_which_questions_are_the_same(known: Question, asked: Question, same: bool) -> None:
    assert repeated([known], [asked]) == ((asked,) if same else ())


def test_a_hidden_number_is_part_of_a_question_that_does_not_tell_it() -> None:
    known = [Question("Guess the number.", str(n)) for n in range(10)]
    asked = [Question("Guess the number.", str(n)) for n in range(8, 12)]
    assert [question.answer for question in repeated(known, asked)] == ["8", "9"]


def test_check_env_counts_training_questions_among_those_held_out() -> None:
    trained = len(Careless().questions("train"))
    assert trained == 57
    told = r"57 of the 60 test questions of careless are training questions, such as '\w+' \(' what is  twice 0\?'\)"
    with pytest.raises(AssertionError, match=told + ".* Let load.split. yield other questions for each split"):
        check_env(Careless())
    with pytest.raises(AssertionError, match="^5 of the 15 validation questions of careless are training questions"):
        check_env(OwnValidation())


def test_questions_that_a_task_draws_anew_are_compared_with_those_that_a_run_learned_from(
    capsys: pytest.CaptureFixture[str],
) -> None:
    trained = RunConfig(env="arithmetic")
    known = {question.text for question in trained.build_env().questions("train")}
    asked = trained.merged({"env_args": {"task_seed": 1}})
    questions = asked.build_env().questions("test")
    left = unseen(trained, asked, questions)
    assert left == [question for question in questions if question.text not in known] and len(left) < len(questions)
    assert f"{400 - len(left)} of the 400 questions of arithmetic are training questions" in capsys.readouterr().out
    assert unseen(trained, trained.merged({"num_rounds": 3, "env_args": {"history": "all"}}), questions) == list(
        questions
    )


def test_what_stands_in_for_a_split_does_not_leak() -> None:
    class Small(Careless):
        def load(self, split: str) -> Iterable[Question]:
            return list(super().load(split))[:1] if split == "train" else []

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert Small().questions("validation") == Small().questions("test") == Small().questions("train")
    assert not Small().leakage


@pytest.mark.parametrize(
    "task, num_agents", [("arithmetic", 2), ("two_witnesses", 3), ("shared_numbers", 3), ("tricks", 2), ("tricks", 1)]
)
def test_no_task_that_draws_its_questions_leaks(task: str, num_agents: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = registry.build("env", task, num_agents=num_agents)
        assert not env.leakage and env.leakage.sizes["test"] and env.leakage.sizes["validation"]


def test_real_rows(data_dir: Path, tmp_path: Path) -> None:
    """GSM8K is clean; with seven test rows in its training file, in capitals, it is not."""
    assert not GSM8K(data=data_dir / "gsm8k").leakage
    train, test = (
        [json.loads(line) for line in itertools.islice((data_dir / "gsm8k" / f"{split}.jsonl").open(), 100)]
        for split in ("train", "test")
    )
    train += [{**row, "question": row["question"].upper()} for row in test[:7]]
    for split, rows in (("train", train), ("test", test)):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)), "utf-8")
    leakage = GSM8K(data=tmp_path).leakage
    kept = {q.text.casefold() for q in GSM8K(data=tmp_path).questions("train")}
    assert len(leakage.leaked["test"]) == sum(row["question"].casefold() in kept for row in test[:7]) >= 6


def test_private_information_for_a_name_that_nobody_has() -> None:
    fault = "clues: the private information of 'agent0' in question '.*' reaches nobody: there is no such agent; did you mean 'agent_0'"
    for use in (check_env, lambda env: env.questions("train"), lambda env: env.reset(seed=0)):
        with pytest.raises(ValueError, match=fault):
            use(Clues("agent0", 2))
    with pytest.raises(ValueError, match="of 'generator' .* did you mean 'generator_0'"):
        Clues("generator", 3, protocol="pipeline").questions("test")
    with pytest.raises(
        ValueError, match="of 'scribe' .* the agents are agent_0, agent_1; use these names, or the seats"
    ):
        Clues("scribe", 2).questions("train")


def test_private_information_for_a_seat_of_a_larger_team() -> None:
    """A team that is too small loses it: an error for who checks the task, a warning for who measures just that."""
    fault = (
        "clues: the private information of 'agent_2' .* reaches nobody: there are 2 agents. Set num_agents to 3 or more"
    )
    with pytest.raises(AssertionError, match=fault):
        check_env(Clues("agent_2", 2))
    env = Clues("agent_2", 2)
    with pytest.warns(UserWarning, match=fault) as told:
        env.questions("train"), env.questions("test")
    assert len(told) == 1


@pytest.mark.parametrize(
    "key, arguments",
    [
        ("agent_2", {"num_agents": 3}),
        ("agent_2", {"num_agents": 1}),
        ("agent_2", {"num_agents": 1, "view": "agent_2"}),
        ("agent_2", {"num_agents": 2, "view": "all"}),
        ("agent_2", {"protocol": "pipeline"}),  # seats of generator_0, verifier_0, refiner_0
        ("refiner_0", {"protocol": "pipeline"}),
        ("refiner_0", {"num_agents": 1, "view": "refiner_0"}),
    ],
)
def test_what_reaches_somebody_is_no_fault(key: str, arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Clues(key, **arguments).questions("train") and Clues(key, **arguments).questions("test")


class Unseeded(Careless):
    def load(self, split: str) -> Iterable[Question]:
        numbers = random.sample(range(1000) if split == "train" else range(1000, 2000), 60)
        return [Question(f"What is twice {n}?", str(2 * n)) for n in numbers]


def verifier_of_gold(question: Question, response: str) -> bool:
    return question.answer in response


class HalfAnswered(Careless):
    default_verifier = staticmethod(verifier_of_gold)

    def load(self, split: str) -> Iterable[Question]:
        for n in range(60) if split == "train" else range(60, 70):
            yield Question(f"What is twice {n}?", str(2 * n) if n != 3 else " ")


def test_check_env_finds_questions_that_cannot_be_used() -> None:
    with pytest.raises(AssertionError, match="load.'train'. yields other questions when it is called again; draw them"):
        check_env(Unseeded())
    with pytest.raises(AssertionError, match="the answers of 1 of the 60 train questions are empty, such as"):
        check_env(HalfAnswered())
    for slip in (lambda: Question("2 + 2?", 4), lambda: Question("2 + 2?", None, "id")):  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"^answer of Question\('2 \+ 2\?'\) is (4|None); it must be a string"):
            slip()
    with pytest.raises(TypeError, match=r"^agent_0 of Question\('\?'\) is 7; it must be a string"):
        Question("?", "7", private={"agent_0": 7})  # type: ignore[dict-item]


class Endless(Protocol):
    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        return transcript.agents[:1]


class Twice(Protocol):
    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        return () if transcript.round(round) else ("agent_1", "agent_1")


class Stranger(Protocol):
    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        return () if transcript.round(round) else ("chair",)


@pytest.mark.parametrize(
    "protocol, fault",
    [
        (Endless, "somebody is still due after 1,000 messages; let due_in come to ()"),
        (Twice, "lets agent_1 speak twice in one wave"),
        (Stranger, "must return seats of agent_0, agent_1"),
    ],
)
def test_check_env_finds_a_protocol_that_cannot_be_played(protocol: type[Protocol], fault: str) -> None:
    with pytest.raises((AssertionError, TypeError), match=re.escape(fault)):
        check_env(OwnValidation(protocol=protocol(1)))

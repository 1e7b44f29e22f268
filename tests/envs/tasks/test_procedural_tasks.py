"""Two witnesses, vault and arithmetic: what they ask, who knows what, and what nobody can do alone."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable

import pytest

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.envs.tasks.combinations import ITEMS, TEST_SHARE, of_split
from maporl.envs.tasks.two_witnesses import LONE_CEILING, TwoWitnesses
from maporl.envs.tasks.vault import MAX_QUESTIONS, Vault, lone_ceiling
from maporl.types import Observation, Question


@pytest.mark.parametrize("task", [Arithmetic, TwoWitnesses, Vault])
def test_data_is_refused(task: type[DiscussionEnv]) -> None:
    with pytest.raises(
        ValueError, match=f"^{task.__name__} makes its questions itself, so data 'rows.jsonl' has no use"
    ):
        task(data="rows.jsonl")


def everything(env: DiscussionEnv) -> list[Question]:
    return [*env.questions("train"), *env.questions("validation"), *env.questions("test")]


def best_possible(questions: Iterable[Question], shown: Callable[[Question], object]) -> float:
    """The accuracy of the best policy there is: for everything that can be shown, the answer that is right most often."""
    answers: dict[object, Counter[str]] = defaultdict(Counter)
    for question in questions:
        answers[shown(question)][question.answer] += 1
    return sum(max(count.values()) for count in answers.values()) / sum(count.total() for count in answers.values())


def views(question: Question) -> list[tuple[str, str]]:
    """The (kind, digit) of each private view of two witnesses."""
    return [re.findall(r"(Clear|Foggy) view: (\d)\.", view)[0] for view in question.private.values()]


def played(env: DiscussionEnv, question: Question, speak: Callable[[Observation], str]) -> list[bool | None]:
    """Whether each agent is right in the last round."""
    env.reset(options={"question": question})
    while not env.transcript.is_complete:
        env.step(speak(env.observe(env.agent_selection)))
    return [turn.correct for turn in env.transcript.round(env.num_rounds - 1)]


# -- held-out combinations ----------------------------------------------------------------------------------------------


def test_a_fifth_of_every_group_is_held_out() -> None:
    pairs = [(group, member) for group in range(3) for member in range(10)]
    test = of_split(pairs, "test", group=lambda pair: pair[0])
    train = of_split(pairs, "train", group=lambda pair: pair[0])
    assert Counter(group for group, _ in test) == {0: 2, 1: 2, 2: 2}
    assert sorted(test + train) == pairs


def test_what_a_small_group_cannot_give_is_carried_over() -> None:
    triples = [(group, member) for group in range(10) for member in range(3)]  # .6 each: 0 1 1 0 1 | 0 1 1 0 1
    counts = Counter(group for group, _ in of_split(triples, "test", group=lambda pair: pair[0]))
    assert [counts[group] for group in range(10)] == [0, 1, 0, 1, 1, 0, 1, 0, 1, 1]
    assert sum(counts.values()) == TEST_SHARE * len(triples)


@pytest.mark.parametrize(
    ("env", "digest"),
    [
        (TwoWitnesses(), "43bef03a6bc6c17c"),
        (Vault(), "6ec648d34017f2f4"),
        (Vault(3), "5a4ef685a408b7b8"),
        (Arithmetic(), "a109c3abd88356ab"),
    ],
)
def test_the_held_out_questions_never_drift(env: DiscussionEnv, digest: str) -> None:
    """The same on every machine and in every version: figures on held-out questions would not be comparable otherwise."""
    ids = "".join(sorted(question.hash for question in env.questions("test")))
    assert hashlib.sha256(ids.encode()).hexdigest()[:16] == digest


# -- two witnesses ------------------------------------------------------------------------------------------------------


def test_every_combination_of_two_witnesses_occurs_once() -> None:
    env = TwoWitnesses()
    questions = everything(env)
    assert len(env.questions("test")) == 288
    assert len(questions) == 1440
    seen = set()
    for question in questions:
        first, second = views(question)
        assert {first[0], second[0]} == {"Clear", "Foggy"}
        clear, foggy = (first, second) if first[0] == "Clear" else (second, first)
        assert clear[1] == question.answer != foggy[1]
        assert question.text == f"Which digit is on the {question.metadata['item']}?"
        seen.add((question.metadata["item"], clear[1], foggy[1], first[0]))
    assert len(seen) == 1440


def test_held_out_pairs_of_digits_are_new_but_their_parts_are_not() -> None:
    env = TwoWitnesses()

    def pairs(split: str) -> set[tuple[str, str, str]]:
        found = set()
        for question in env.questions(split):
            kinds = dict(views(question))
            found.add((question.metadata["item"], kinds["Clear"], kinds["Foggy"]))
        return found

    train, test = pairs("train") | pairs("validation"), pairs("test")
    assert not train & test  # whichever seat is the clear one
    for place in (0, 1, 2):
        assert {pair[place] for pair in test} == {pair[place] for pair in train}
    assert {(pair[0], pair[1]) for pair in test} == {(pair[0], pair[1]) for pair in train}


@pytest.mark.parametrize("seat", [0, 1])
def test_no_lone_witness_can_pass_the_ceiling(seat: int) -> None:
    questions = everything(TwoWitnesses(1, view=f"agent_{seat}"))
    assert len(questions) == 1440
    assert Counter(views(question)[0][0] for question in questions) == {"Clear": 720, "Foggy": 720}
    assert best_possible(questions, lambda q: (q.text, q.private["agent_0"])) == pytest.approx(LONE_CEILING)
    assert pytest.approx(5 / 9) == LONE_CEILING


@pytest.mark.parametrize("seat", ["agent_0", "agent_1"])
def test_a_lone_witness_is_shown_its_own_view_only(seat: str) -> None:
    env = TwoWitnesses(1, 1, view=seat)
    for team, question in zip(TwoWitnesses().questions("test"), env.questions("test"), strict=True):
        env.reset(options={"question": question})
        assert env.observe("agent_0")["private"] == question.private["agent_0"] == team.private[seat]
        (other,) = {"agent_0", "agent_1"} - {seat}
        assert team.private[other] not in str(question)
        assert env.state() == env.observe("agent_0")


@pytest.mark.parametrize("num_agents", [1, 2])
def test_told_everything_one_is_always_right(num_agents: int) -> None:
    questions = everything(TwoWitnesses(num_agents, view="all"))
    assert best_possible(questions, lambda q: (q.text, q.private["agent_0"])) == 1
    assert all(len(re.findall(r"view: \d", q.private["agent_0"])) == 2 for q in questions)


def test_honest_and_sensible_witnesses_are_always_right() -> None:
    def speak(observation: Observation) -> str:
        kind, digit = observation["private"].split(" view: ")
        heard = [m["text"] for m in observation["transcript"] if m["agent"] != observation["agent"]]
        return heard[-1] if heard and kind == "Foggy" else f"Answer: {digit[0]}"

    env = TwoWitnesses()
    assert all(played(env, question, speak) == [True, True] for question in env.questions("test"))


def test_a_lone_agent_is_asked_a_larger_team_s_questions() -> None:
    """With its number of witnesses; of three, one sees the digit: 1/3 and a guess among nine, 1/3 + 2/3 * 1/9 = 11/27."""
    team = TwoWitnesses(3)
    for seat in range(3):
        alone = TwoWitnesses(1, view=f"agent_{seat}", num_witnesses=3)
        for asked, told in zip(team.questions("test"), alone.questions("test"), strict=True):
            assert told.id == asked.id and told.private == {"agent_0": asked.private[f"agent_{seat}"]}
    assert {q.id for q in TwoWitnesses(3, num_witnesses=2).questions("test")} == {
        q.id for q in TwoWitnesses().questions("test")
    }
    seen = [(q, v) for q in everything(team) for v in q.private.values()]
    best = sum(max(Counter(q.answer for q, other in seen if other == view).values()) for view in {v for _, v in seen})
    assert best / len(seen) == pytest.approx(11 / 27)
    for agents, witnesses in ((2, 3), (1, 1), (3, 0)):
        with pytest.raises(ValueError, match=f"num_witnesses is {witnesses} and there are {agents} agents"):
            TwoWitnesses(agents, num_witnesses=witnesses)


def test_three_witnesses_have_one_clear_view_and_different_fog() -> None:
    for question in TwoWitnesses(3).questions("test"):
        kinds = [kind for kind, _ in views(question)]
        digits = [digit for kind, digit in views(question) if kind == "Foggy"]
        assert sorted(kinds) == ["Clear", "Foggy", "Foggy"]
        assert len({*digits, question.answer}) == 3


@pytest.mark.parametrize(
    ("text", "correct", "status"),
    [
        ("Answer: 7", True, "ok"),
        ("I stay.\nAnswer:7.", True, "ok"),
        ("Answer: 3 - no. Answer: 7", True, "ok"),
        ("Answer: 77", False, "ok"),
        ("Answer: 8", False, "ok"),
        ("7", False, "no_answer"),
        ("", False, "no_answer"),
    ],
)
def test_witness_answers(text: str, correct: bool, status: str) -> None:
    score = TwoWitnesses().verifier(Question("?", "7"), text)
    assert (score.correct, score.value, score.status) == (correct, float(correct), status)


# -- vault --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("digits", "total"), [(2, 800), (3, MAX_QUESTIONS)])
def test_vault_questions(digits: int, total: int) -> None:
    env = Vault(digits)
    questions = everything(env)
    assert len({(q.metadata["item"], q.answer) for q in questions}) == len(questions) == total
    assert len(env.questions("test")) == total * TEST_SHARE
    for question in questions:
        held = [
            re.fullmatch(rf"Digit {place} is (\d)\.", view)
            for place, view in enumerate(question.private.values(), start=1)
        ]
        assert "".join(match[1] for match in held if match) == question.answer
    for split in ("train", "test"):
        assert {q.metadata["item"] for q in env.questions(split)} == set(ITEMS)
        for place in range(digits):
            assert {q.answer[place] for q in env.questions(split)} == set("0123456789")


@pytest.mark.parametrize("seat", [0, 1])
def test_no_lone_agent_can_open_the_vault(seat: int) -> None:
    questions = everything(Vault(1, view=f"agent_{seat}"))
    assert len(questions) == 800
    assert best_possible(questions, lambda q: (q.text, q.private["agent_0"])) == pytest.approx(lone_ceiling(2))
    assert lone_ceiling(3) == pytest.approx(0.01)


def test_told_all_digits_one_opens_it() -> None:
    questions = everything(Vault(1, view="all", num_digits=3))
    assert best_possible(questions, lambda q: (q.text, q.private["agent_0"])) == 1
    assert questions[0].private["agent_0"].count("Digit") == 3


@pytest.mark.parametrize("num_agents", [2, 3])
def test_agents_that_tell_and_combine_open_it(num_agents: int) -> None:
    def speak(observation: Observation) -> str:
        place, digit = re.findall(r"Digit (\d) is (\d)", observation["private"])[0]
        code = ["0"] * num_agents
        for message in observation["transcript"]:
            seat = int(message["agent"][-1])
            code[seat] = message["text"].removeprefix("Answer: ")[seat]
        code[int(place) - 1] = digit
        return f"Answer: {''.join(code)}"

    env = Vault(num_agents)
    assert all(played(env, question, speak) == [True] * num_agents for question in env.questions("test"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: TwoWitnesses(1, view="agent_2").reset(),
            "view 'agent_2' is no seat of two_witnesses; use one of agent_0, a",
        ),
        (
            lambda: Vault(1, view="agent_3", num_digits=3).questions("test"),
            "use one of agent_0, agent_1, agent_2, or 'all'",
        ),
        (lambda: Vault(2, num_digits=3), "num_digits 3 needs as many agents, or a lone one; there are 2"),
        (lambda: Vault(7), "num_digits 7 must be from 2 to 6"),
        (lambda: Arithmetic(max_operand=0), "max_operand 0 must be at least 1"),
        (lambda: Arithmetic(num_questions=4), "num_questions 4 at least 5"),
    ],
)
def test_bad_settings(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


# -- arithmetic ---------------------------------------------------------------------------------------------------------


def test_arithmetic_is_right_and_all_different() -> None:
    env = Arithmetic()
    questions = everything(env)
    assert len({q.text for q in questions}) == 2000
    assert len(env.questions("test")) == 400
    signs = Counter()
    for question in questions:
        a, sign, b = re.fullmatch(r"What is (\d+) ([+-]) (\d+)\?", question.text).groups()  # type: ignore[union-attr]
        assert int(question.answer) == (int(a) + int(b) if sign == "+" else int(a) - int(b))
        assert max(int(a), int(b)) <= 99
        signs[sign] += 1
    assert min(signs.values()) > 900


def test_arithmetic_gold_is_accepted_and_nothing_near_it() -> None:
    env = Arithmetic()
    for question in env.questions("test"):
        gold = int(question.answer)
        assert env.verifier(question, f"Answer: {gold}").correct
        assert not env.verifier(question, f"Answer: {gold + 1}").correct
        assert gold == 0 or not env.verifier(question, f"Answer: {-gold}").correct


def test_arithmetic_follows_its_settings() -> None:
    assert {q.text for q in everything(Arithmetic())} == {q.text for q in everything(Arithmetic())}
    assert {q.text for q in everything(Arithmetic(task_seed=1))} != {q.text for q in everything(Arithmetic())}
    small = everything(Arithmetic(max_operand=3))  # 2 signs x 4 x 4, however many were asked for
    assert len(small) == 32
    assert all(question.private == {} for question in small)

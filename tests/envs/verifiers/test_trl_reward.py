"""Reward functions written for TRL: called as its trainer calls them, and its own ones give the values that a hand computes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from maporl.agents.agent import Agent
from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers import Exact, Gate, Noisy, TRLReward, WeightedSum
from maporl.errors import UserError
from maporl.rollouts.play import rollout
from maporl.training.loop import rollout_metrics
from maporl.types import Completion, Observation, Question, Score

QUESTION = Question("Capital?", "New York", metadata={"level": 3})
THIRD = Question("One of three?", r"\frac{1}{3}")
PROSE = Question("Why?", "because it is so")
REWARDS = "trl.rewards:"


def message(text: str, *ids: int, **more: Any) -> Completion:
    return Completion(text, completion_ids=np.array(ids, np.int64), **more)


def values(verifier: Any, question: Question, *messages: Completion) -> list[float | None]:
    """The rewards; None where the function does not apply."""
    scores = verifier.score_completions([question] * len(messages), messages)
    return [None if score.status == "not_applicable" else score.value for score in scores]


RIGHT, WRONG = message(r"It is \boxed{\frac{1}{3}}", 7, 7), message(r"It is \boxed{\frac{1}{2}}", 7, 7)
SHIPPED: dict[str, tuple[Any, Question, list[Completion], list[float | None]]] = {
    "accuracy_reward": ("accuracy_reward", THIRD, [RIGHT, WRONG, message("a third")], [1.0, 0.0, 0.0]),
    "reasoning_accuracy_reward": (
        {"name": "reasoning_accuracy_reward"},
        THIRD,
        [
            message(r"<think>\boxed{\frac{1}{2}}?</think> \boxed{\frac{1}{3}}"),
            message(r"<think>\boxed{\frac{1}{3}}"),
            message(r"\boxed{\frac{1}{3}}", reasoning=r"\boxed{4}"),
        ],
        [1.0, 0.0, 1.0],
    ),
    # Half of max_len, so that cos is 0: the middle of 0.5 and 1, of -0.5 and -1; none of it, and more than it.
    "get_cosine_scaled_reward": (
        {"name": "get_cosine_scaled_reward", "max_len": 4},
        THIRD,
        [RIGHT, WRONG, message(RIGHT.text, *range(9)), message(WRONG.text, *range(9)), message("")],
        [0.75, -0.75, 0.5, -0.5, -1.0],
    ),
    "think_format_reward": (
        "think_format_reward",
        QUESTION,
        [
            message("<think>\nHm.\n</think>\nRome"),
            message("Rome"),
            message("Rome", reasoning="Hm."),
            message("", reasoning="Hm", truncated=True),
        ],
        [1.0, 0.0, 1.0, 0.0],
    ),
    # 3 pairs, all different; 4 pairs, one of them new; fewer tokens than a pair.
    "get_repetition_penalty_reward": (
        {"name": "get_repetition_penalty_reward", "ngram_size": 2},
        QUESTION,
        [message("a b c d", 1, 2, 3, 4), message("a a a a a", 5, 5, 5, 5, 5), message("a", 1), message("")],
        [0.0, -0.75, 0.0, 0.0],
    ),
    # Nothing up to 10 - 4 = 6 tokens, then a quarter for each, all of it from 10.
    "get_soft_overlong_punishment": (
        {"name": "get_soft_overlong_punishment", "max_completion_len": 10, "soft_punish_cache": 4},
        QUESTION,
        [message("x", *range(n)) for n in (6, 7, 8, 10, 11)],
        [0.0, -0.25, -0.5, -1.0, -1.0],
    ),
}


def shipped(name: str, **arguments: Any) -> TRLReward:
    made = SHIPPED[name][0]
    if isinstance(made, dict) and len(made) > 1:
        return TRLReward({**made, "name": REWARDS + made["name"]}, **arguments)
    return TRLReward(REWARDS + name, **arguments)


@pytest.mark.parametrize("conversational", [False, True])
@pytest.mark.parametrize("name", SHIPPED)
def test_every_function_that_trl_ships_works_unchanged(name: str, conversational: bool) -> None:
    _, question, messages, expected = SHIPPED[name]
    assert values(shipped(name, conversational=conversational), question, *messages) == pytest.approx(expected)


def test_these_are_all_that_trl_ships() -> None:
    from trl import rewards

    assert {name for names in rewards._import_structure.values() for name in names} == set(SHIPPED)


@pytest.mark.parametrize("name", ["accuracy_reward", "reasoning_accuracy_reward", "get_cosine_scaled_reward"])
def test_what_does_not_apply_stays_apart_from_zero(name: str) -> None:
    """Gold that is no mathematics: TRL's functions say None."""
    score = shipped(name, threshold=0.5).score_completions([PROSE], [message(f"</think>{RIGHT.text}", 1)])[0]
    assert (score.value, score.correct, score.status) == (0.0, None, "not_applicable")


@pytest.mark.parametrize("name", SHIPPED)
def test_weighted_sums_of_them_count_what_applies(name: str) -> None:
    _, question, messages, expected = SHIPPED[name]
    told = TRLReward(lambda completions: [1.0] * len(completions), uses_gold=False)
    never = TRLReward(lambda completions: [None] * len(completions))
    mixed = WeightedSum((shipped(name), told, never), (3, 1, 4))
    assert values(mixed, question, *messages) == pytest.approx([(3 * v + 1) / 4 for v in expected if v is not None])


def test_a_sum_of_nothing_that_applies_does_not_apply() -> None:
    accuracy, never = shipped("accuracy_reward", threshold=1), TRLReward(lambda completions: [None] * len(completions))
    assert values(WeightedSum((accuracy, never)), PROSE, RIGHT) == [None]
    assert values(WeightedSum((accuracy, never), (0, 1)), THIRD, RIGHT) == [None], "what applies has no weight"
    right, wrong = WeightedSum((never, accuracy)).score_completions([THIRD] * 2, [RIGHT, WRONG])
    assert (right.value, right.correct, right.status) == (1.0, True, "ok") and wrong.correct is False
    bonus = TRLReward(lambda completions: [0.5], uses_gold=False)
    mixed = WeightedSum((accuracy, bonus)).score_completions([PROSE], [RIGHT])[0]
    assert (mixed.value, mixed.correct, mixed.status) == (0.5, None, "ok"), (
        "only the bonus applies, which knows no truth"
    )
    assert values(Noisy(never, flip_rate=1), QUESTION, RIGHT) == [None]
    assert Gate(accuracy, never).score_completions([THIRD], [RIGHT])[0].correct is True
    assert values(Gate(never, accuracy), THIRD, WRONG) == [None]


def seen_by_trl(function: Any) -> dict[str, Any]:
    """What TRL's trainer itself calls a reward function with, on a row that has an answer."""
    from transformers import TrainerState
    from trl import GRPOTrainer

    trainer: Any = SimpleNamespace(
        accelerator=SimpleNamespace(device="cpu", is_main_process=False),
        args=SimpleNamespace(report_to=[]),
        reward_funcs=[function],
        reward_processing_classes=[None],
        reward_func_names=["mine"],
        state=TrainerState(),
        environments=None,
        _log_completion_extra=lambda column, found: None,
        _log_metric=lambda name, value: None,
    )
    GRPOTrainer._calculate_rewards(trainer, [{"prompt": "Capital?", "answer": "New York"}], ["Capital?"], ["x"], [[1]])
    found: dict[str, Any] = function.seen
    return found


class Spy:
    """Remembers what it was called with."""

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {}

    def __call__(self, **columns: Any) -> list[float]:
        self.seen = columns
        return [1.0] * len(columns["completions"])


def test_it_gives_what_trls_trainer_gives() -> None:
    theirs, ours = seen_by_trl(Spy()), Spy()
    TRLReward(ours).score_completions([QUESTION], [message("x", 1)])
    assert set(theirs) <= set(ours.seen)
    same = ("prompts", "completions", "completion_ids", "answer")
    assert {name: theirs[name] for name in same} == {name: ours.seen[name] for name in same}
    names = ("global_step", "max_steps", "epoch")
    assert all(hasattr(state["trainer_state"], name) for state in (theirs, ours.seen) for name in names)


def test_columns_are_whole_and_a_batch_is_one_call() -> None:
    spy = Spy()
    other = Question("And this?", "Rome", id="r", metadata={"level": 1, "only": "here", "solution": "Rome, of course"})
    TRLReward(spy).score_batch([QUESTION, other, other], ["New York", "x", "?"])
    assert spy.seen["level"] == [3, 1, 1] and spy.seen["id"] == [QUESTION.id, "r", "r"] and "only" not in spy.seen
    assert spy.seen["answer"] == ["New York", "Rome", "Rome"]
    assert spy.seen["solution"] == ["New York", "Rome, of course", "Rome, of course"], (
        "the data's own column comes first"
    )
    assert "completion_ids" not in spy.seen, "nobody knows them"
    assert TRLReward(spy).score_batch([], []) == [] and TRLReward(spy)(QUESTION, "x") == Score(1.0, None)


@pytest.mark.parametrize("name", ["answer", "solution", "ground_truth"])
@pytest.mark.parametrize("rest", ["", ", **rest"])
@pytest.mark.parametrize("before", ["prompts, completions, ", "completions, *, ", ""])
def test_a_function_is_given_the_gold_column_that_it_names(name: str, rest: str, before: str) -> None:
    scope: dict[str, Any] = {}
    exec(f"def reward({before}{name}{rest}): return [float(gold == 'New York') for gold in {name}]", scope)
    assert TRLReward(scope["reward"], threshold=1)(QUESTION, "x") == Score(1.0, True)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(TypeError, match=r"asks for level; there are answer, .*trainer_state") as caught:
        TRLReward(lambda completions, level: [0.0])(THIRD, "x")
    assert isinstance(caught.value, UserError)
    with pytest.raises(TypeError, match=r"of a function that makes reward functions write \{name"):
        TRLReward(REWARDS + "get_repetition_penalty_reward")(THIRD, "x")
    with pytest.raises(TypeError, match="asks for max_completion_len, soft_punish_cache"):
        TRLReward(REWARDS + "get_soft_overlong_punishment")(THIRD, "x")
    with pytest.raises(ValueError, match="gave 0 rewards for 1 completions"):
        TRLReward(lambda **columns: [])(QUESTION, "x")
    with pytest.raises(TypeError, match="returned 'x'"):
        TRLReward(lambda **columns: ["x"])(QUESTION, "x")


def test_where_nobody_knows_the_tokens_a_function_of_tokens_does_not_apply() -> None:
    overlong = shipped("get_soft_overlong_punishment")
    assert values(overlong, QUESTION, message("x", *range(11)), Completion("x"), message("x", 1)) == [-1.0, None, 0.0]
    assert overlong(QUESTION, "x").status == "not_applicable"


class Asynchronous:
    """A reward function that is an object, and waits."""

    async def __call__(self, completions: Sequence[str], **columns: Any) -> list[float | None]:
        await asyncio.sleep(0)
        return [None if text == "?" else float(len(text)) for text in completions]


async def waiting(completions: Sequence[str], share: float, **columns: Any) -> list[float]:
    await asyncio.sleep(0)
    return [share * len(text) for text in completions]


def test_async_functions_are_awaited() -> None:
    from functools import partial

    assert values(TRLReward(Asynchronous()), QUESTION, Completion("abc"), Completion("?")) == [3.0, None]
    halved = TRLReward(partial(waiting, share=0.5))
    assert values(halved, QUESTION, Completion("abc")) == [1.5]

    async def inside() -> list[float | None]:  # as in a notebook, whose loop is running
        return values(halved, QUESTION, Completion("ab"))

    with ThreadPoolExecutor(1) as thread:  # this one may have a running loop of its own, left by who knows what
        assert thread.submit(lambda: asyncio.run(inside())).result() == [1.0]
    loops = TRLReward(loop_of_this_call)
    assert values(loops, QUESTION, Completion("a")) == values(loops, QUESTION, Completion("a")), (
        "one loop for all calls"
    )


async def loop_of_this_call(completions: Sequence[str]) -> list[float]:
    return [float(id(asyncio.get_running_loop()) % 2**31)] * len(completions)


def test_what_an_async_function_raises_comes_through() -> None:
    async def broken(completions: Sequence[str]) -> list[float]:
        raise ZeroDivisionError("mine")

    with pytest.raises(ZeroDivisionError, match="mine"):
        TRLReward(broken)(QUESTION, "x")


def logging_reward(completions: Sequence[str], trainer_state: Any, log_extra: Any, log_metric: Any) -> list[float]:
    log_extra("length", [len(text) for text in completions])
    log_metric("longest", max(map(len, completions)))
    return [trainer_state.global_step / trainer_state.max_steps] * len(completions)


def test_logged_columns_explain_and_logged_metrics_are_metrics() -> None:
    mine = TRLReward(logging_reward)
    assert mine(QUESTION, "abc").value == 0.0, "outside of a training"
    whole = WeightedSum((mine, Exact()), (1, 0))
    whole.begin(3, 4)
    first, second = whole.score_batch([QUESTION] * 2, ["abc", "a"])
    whole(QUESTION, "a")
    assert (first.value, first.explanation, second.explanation) == (0.75, "length: 3", "length: 1")
    assert whole.metrics() == {"longest": 2.0}
    whole.begin(0, 4)
    assert whole.metrics() == {}
    told = shipped("accuracy_reward")(THIRD, RIGHT.text).explanation
    assert "answer_parsed: [1/3" in told and told.startswith(r"solution: \frac{1}{3}; gold_parsed: [")


class Says(Agent):
    """Says one thing, in three tokens."""

    def act(self, observations: Sequence[Observation], *arguments: Any, **more: Any) -> list[Completion]:
        return [message("x", 1, 1, 1) for _ in observations]


class Asked(DiscussionEnv):
    """One question."""

    metadata = {"name": "asked"}

    def load(self, split: str) -> list[Question]:
        return [QUESTION]


def test_in_a_discussion_the_sampled_tokens_are_read() -> None:
    def spread(completion_ids: Sequence[Sequence[int]], log_metric: Any) -> list[float]:
        log_metric("tokens", sum(map(len, completion_ids)))
        return [len(set(ids)) / len(ids) for ids in completion_ids]

    env = Asked(num_agents=2, num_rounds=1, verifier=TRLReward(spread, uses_gold=False))
    team = Team({(name, 0): Says() for name in env.possible_agents})
    episodes = rollout(env, team, [QUESTION], seed=0)
    assert [turn.value for turn in episodes[0].transcript.turns] == [pytest.approx(1 / 3)] * 2
    assert rollout_metrics(episodes, env)["verifier/tokens"] == 6


def reads_messages(completions: list[list[dict[str, str]]], **columns: Any) -> list[float]:
    return [float(len(completion[0]["content"])) for completion in completions]


def reads_texts(completions: list[str], **columns: Any) -> list[float]:
    return [float(len(completion.strip())) for completion in completions]


def reads_neither(completions: Any, **columns: Any) -> list[float]:
    raise TypeError("a bug of its own")


@pytest.mark.parametrize("text", ["abc", ""])
def test_the_wrong_form_of_completions_is_told_with_the_remedy(text: str) -> None:
    told = r"reads_messages was given texts, but reads lists of messages \(.*\); set conversational to True"
    with pytest.raises(UserError, match=told):
        TRLReward(reads_messages)(QUESTION, text)
    told = r"reads_texts was given lists of messages, but reads texts \(AttributeError: .*strip.*\); set conversational to False"
    with pytest.raises(UserError, match=told):
        TRLReward(reads_texts, conversational=True)(QUESTION, text)
    assert TRLReward(reads_messages, conversational=True)(QUESTION, text).value == len(text)
    assert TRLReward(reads_texts)(QUESTION, text).value == len(text)
    with pytest.raises(TypeError, match=r"^a bug of its own$"):
        TRLReward(reads_neither)(QUESTION, text)


def test_a_function_of_trls_is_given_messages_by_itself() -> None:
    from functools import partial

    from trl.rewards import accuracy_reward

    assert values(TRLReward(accuracy_reward), THIRD, RIGHT, WRONG) == [1.0, 0.0]
    assert values(TRLReward(partial(accuracy_reward, log_extra=None)), THIRD, RIGHT, WRONG) == [1.0, 0.0]

"""Questions for learned verifiers: kept apart by hash, and never those that a team is trained or measured on."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from discussion_toys import Contains, Digits

from maporl.envs import DiscussionEnv
from maporl.envs.verifiers import Gate, Verifier, WeightedSum
from maporl.types import Question, Score


class Fitted(Verifier):
    """A learned verifier that has seen some questions."""

    uses_gold, rule_based = False, False

    def __init__(self, *seen: str) -> None:
        self.seen = frozenset(seen)

    def __call__(self, question: Question, response: str) -> Score:
        return Score(0.5, None)

    def seen_questions(self) -> frozenset[str]:
        return self.seen


def hashes(env: DiscussionEnv, split: str) -> set[str]:
    return {question.hash for question in env.questions(split)}


def test_a_share_of_train_is_kept() -> None:
    before, after = Digits(), Digits(verifier_share=0.3)
    kept = hashes(after, "verifier")
    assert hashes(after, "train") | kept == hashes(before, "train")
    assert not hashes(after, "train") & kept
    assert 0.2 < len(kept) / len(before.questions("train")) < 0.4
    assert hashes(after, "validation") == hashes(before, "validation")
    assert hashes(after, "test") == hashes(before, "test")


def test_a_larger_share_holds_the_smaller_one() -> None:
    assert hashes(Digits(verifier_share=0.2), "verifier") < hashes(Digits(verifier_share=0.6), "verifier")


def test_without_a_share_there_are_none() -> None:
    with pytest.raises(ValueError, match="keeps no questions for a verifier; set verifier_share"):
        Digits().questions("verifier")


@pytest.mark.parametrize("share", [-0.1, 1, 1.5, float("nan"), True, "half"])
def test_bad_share(share: object) -> None:
    with pytest.raises(ValueError, match="verifier_share is"):
        Digits(verifier_share=share)  # type: ignore[arg-type]


class Two(Digits):
    """Too small to hold anything out."""

    def load(self, split: str) -> Iterable[Question]:
        return [Question(f"{n}?", "0") for n in range(2 if split == "train" else 0)]


def test_a_task_too_small_for_a_share() -> None:
    with pytest.raises(
        ValueError, match=r"verifier_share 0.001 of digits's 2 training questions leaves 2 for training and 0"
    ):
        Two(verifier_share=0.001).questions("train")


@pytest.mark.filterwarnings("ignore:.*stand in")
def test_stand_ins_are_not_the_verifiers() -> None:
    """A task too small to validate on anything else validates on its training questions: on those that are left."""
    share = next(
        s / 100
        for s in range(1, 100)
        if 0 < sum(int(q.hash[8:16], 16) / 2**32 < s / 100 for q in Two().load("train")) < 2
    )
    env = Two(verifier_share=share)
    assert len(env.questions("verifier")) == 1
    assert hashes(env, "validation") == hashes(env, "test") == hashes(env, "train") != hashes(env, "verifier")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("asked", ["train", "validation", "test"])
def test_seen_questions_are_refused(split: str, asked: str) -> None:
    """Whatever is asked for first: a run must not find out at its very end that the test questions are spoilt."""
    seen = [question.hash for question in Digits().questions(split)[:3]]
    total = len(Digits().questions(split))
    with pytest.raises(ValueError, match=f"fitted to 3 of the {total} {split} questions of digits"):
        Digits(verifier=Fitted(*seen), ground_truth=Contains).questions(asked)


def test_the_kept_questions_may_have_been_seen() -> None:
    seen = hashes(Digits(verifier_share=0.3), "verifier")
    env = Digits(verifier_share=0.3, verifier=Fitted(*seen), ground_truth=Contains)
    assert env.questions("train") and env.questions("validation") and env.questions("test")
    with pytest.raises(ValueError, match="train questions of digits"):
        Digits(verifier=Fitted(*seen), ground_truth=Contains).questions("test")


def test_what_a_lone_agent_is_shown_counts_as_the_teams_question() -> None:
    seen = [Digits().questions("train")[0].hash]
    with pytest.raises(ValueError, match="fitted to 1 of"):
        Digits(2, verifier=Fitted(*seen), ground_truth=Contains, view="all").questions("train")


def test_composites_have_seen_what_their_parts_have() -> None:
    assert WeightedSum((Fitted("a"), Fitted("b"), "number")).seen_questions() == {"a", "b"}
    assert Gate(Fitted("a"), Fitted("c")).seen_questions() == {"a", "c"}
    assert WeightedSum(("number",)).seen_questions() == frozenset()

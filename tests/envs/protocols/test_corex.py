"""Corex: two teams and a judge, reviewers of one draft, and a retriever who scores candidates."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import pytest
from discussion_toys import Digits

from maporl.envs import DiscussionEnv, check_env
from maporl.envs.protocols import Discuss
from maporl.envs.protocols.retrieve import faithfulness
from maporl.types import Observation, Question, Seat

READS = {"name": "regex", "pattern": r"Answer: (\d)"}


class Sevens(Digits):
    """Every answer is 7."""

    default_verifier = READS

    def load(self, split: str) -> Iterator[Question]:
        return (Question(f"{split} {n}", "7") for n in range(80 if split == "train" else 8))


def played(env: DiscussionEnv, say: Callable[[Observation], str], number: int = 0) -> DiscussionEnv:
    """The discussion of a question in which everybody says what it makes of what it reads."""
    env.reset(options={"question": env.questions("train")[number]})
    while not any(env.terminations.values()):
        env.step(say(env.observe(env.agent_selection)))
    return env


class TestDiscuss:
    AGENTS = tuple(f"agent_{n}" for n in range(5))

    def teams(self, env: DiscussionEnv, number: int = 0) -> tuple[tuple[str, ...], tuple[str, ...]]:
        assert isinstance(env.protocol, Discuss)
        return env.protocol.teams(env.questions("train")[number], self.AGENTS)

    def answering(self, green: str, blue: str, judge: str, rounds: int = 2) -> DiscussionEnv:
        env = Sevens(5, rounds, protocol="discuss")
        given = dict(zip(itertools.chain(*self.teams(env)), green + blue, strict=True)) | {"agent_0": judge}
        return played(env, lambda observation: f"Answer: {given[observation['agent']]}")

    @pytest.mark.parametrize(
        ("green", "blue", "answer", "turns"),
        [("77", "33", "5", 9), ("77", "73", "5", 9), ("73", "73", "5", 9), ("77", "77", "7", 4), ("77", "7x", "7", 4)],
    )
    def test_teams_that_agree_end_it_and_else_the_judge_decides(
        self, green: str, blue: str, answer: str, turns: int
    ) -> None:
        env = self.answering(green, blue, "5")
        assert env.team_answer().answer == answer and len(env.transcript.turns) == turns
        assert env.team_answer().correct == float(answer == "7")

    def test_teams_that_agree_in_the_last_round_need_no_judge(self) -> None:
        assert [turn.agent for turn in self.answering("77", "77", "5", rounds=1).transcript.turns] == [*self.AGENTS[1:]]

    def test_a_member_reads_its_team_alone_and_the_judge_reads_all(self) -> None:
        env = Sevens(5, 2, protocol="discuss")
        read: dict[tuple[str, int], set[str]] = {}

        def say(observation: Observation) -> str:
            read[observation["agent"], observation["round"]] = {m["agent"] for m in observation["transcript"]}
            assert all(
                m["round"] < observation["round"] or observation["agent"] == "agent_0"
                for m in observation["transcript"]
            )
            return f"Answer: {observation['agent'][-1]}"

        played(env, say)
        for team in self.teams(env):
            assert all(read[agent, 0] == set() and read[agent, 1] == {*team} for agent in team)
        assert read["agent_0", 1] == {*self.AGENTS[1:]} and ("agent_0", 0) not in read
        assert env.rules.waves == [[Seat(a, r) for a in self.AGENTS[1:]] for r in (0, 1)] + [[Seat("agent_0", 1)]]

    def test_the_questions_hash_splits_the_members_evenly_and_always_alike(self) -> None:
        env = Sevens(5, 2, protocol="discuss")
        splits = [self.teams(env, n) for n in range(64)]
        assert splits == [self.teams(Sevens(5, 2, protocol="discuss"), n) for n in range(64)]
        assert len(set(splits)) == 6 and all(len(green) == len(blue) == 2 for green, blue in splits)
        assert [len(team) for team in Discuss().teams(Question("?", "!"), self.AGENTS[:4])] == [2, 1]
        green, blue = splits[0]
        env.reset(options={"question": env.questions("train")[0]})
        assert (
            f"(green team: {', '.join(green)}; blue team: {', '.join(blue)}.)" in env.observe("agent_0")["instruction"]
        )


class TestReview:
    @staticmethod
    def versions(right: float, fixes: float, breaks: float, reviewers: int = 4) -> list[float]:
        """How often each version is right, exactly: all cases of who mends and who breaks, each by its probability.

        A case of a reviewer is the interval of [0, 1] into which its coin falls: it mends below `fixes`, breaks below `breaks`.
        """
        bounds = sorted({0.0, fixes, breaks, 1.0})
        coins = [(low, high - low) for low, high in itertools.pairwise(bounds)]
        env = Sevens(1 + reviewers, 1, protocol="review")
        found = [0.0] * (1 + reviewers)
        for first, *later in itertools.product([(True, right), (False, 1 - right)], *[coins] * reviewers):

            def say(observation: Observation, first: tuple[float, float] = first, later: list = later) -> str:
                if observation["agent"] == "primary_0":
                    return f"Answer: {7 if first[0] else 3}"
                coin = later[int(observation["agent"].removeprefix("reviewer_"))][0]
                was_right = observation["transcript"][-1]["text"] == "Answer: 7"
                return f"Answer: {7 if (coin >= breaks if was_right else coin < fixes) else 3}"

            weight = math.prod(share for _, share in [first, *later])
            turns = played(env, say).transcript.turns
            assert env.team_answer().correct == turns[-1].correct
            found = [total + weight * bool(turn.correct) for total, turn in zip(found, turns, strict=True)]
        return found

    def test_the_last_version_rises_to_its_limit_and_falls_where_reviewers_break_more(self) -> None:
        """a' = a (1 - b) + (1 - a) f, whose limit is f / (f + b)."""
        assert self.versions(0.5, fixes=0.3, breaks=0.1) == pytest.approx([0.5, 0.6, 0.66, 0.696, 0.7176])
        assert self.versions(0.75, 0.3, 0.1, reviewers=2) == pytest.approx([0.75] * 3)
        assert self.versions(0.9, 0.3, 0.1, reviewers=2) == pytest.approx([0.9, 0.84, 0.804])
        assert self.versions(0.5, fixes=0.1, breaks=0.3, reviewers=2) == pytest.approx([0.5, 0.4, 0.34])

    def test_all_are_scored_and_in_a_later_round_the_primary_agent_reviews(self) -> None:
        env = played(Sevens(3, 2, protocol="review"), lambda observation: "Answer: 7")
        assert env.turn_rewards == (1.0,) * 6
        first, later = (env.protocol.role("primary_0", r) for r in (0, 1))
        assert "primary" in first and later == env.protocol.role("reviewer_1", 0)


class TestRetrieve:
    NAMES = ("agent_1", "agent_2", "agent_3", "agent_4")

    @staticmethod
    def of(scores: Sequence[object]) -> str:
        return "\n".join(f"agent_{n}. Faithfulness: {score}" for n, score in enumerate(scores, 1))

    def judged(self, scores: str, answers: str = "1234") -> DiscussionEnv:
        def say(observation: Observation) -> str:
            seat = int(observation["agent"][-1])
            return f"Answer: {answers[seat - 1]}" if seat else scores

        return played(Sevens(5, 1, protocol="retrieve"), say)

    @pytest.mark.parametrize(
        ("scores", "answer", "unreadable"),
        [
            ((0.4, 0.9, 0.9, 0.1), "2", 0),
            (("none", 0.1, "high", "90%"), "4", 2),
            ((0, 0, 0, 0), "1", 0),
        ],
    )
    def test_the_highest_score_wins_and_of_equals_the_earlier(
        self, scores: Sequence[object], answer: str, unreadable: int
    ) -> None:
        found = self.judged(self.of(scores)).team_answer()
        assert (found.answer, found.tied) == (answer, 1)
        assert found.measures == {"unreadable": unreadable, "majority": 0.0}

    def test_without_any_readable_score_the_majority_answers_and_it_is_flagged(self) -> None:
        env = self.judged("They all look fine.", answers="3773")
        assert (env.team_answer().tied, env.team_answer().correct) == (2, 0.5)
        assert env.team_answer().measures == {"unreadable": 4.0, "majority": 1.0}
        assert env.turn_rewards == (0, 1, 1, 0, 0), "a retriever that nobody can read earns nothing"

    def test_the_retriever_earns_what_it_chose_also_when_a_discussion_is_resumed(self) -> None:
        env = self.judged(self.of((0, 0.2, 0.8, 0)), answers="3377")
        assert env.turn_rewards == (0, 0, 1, 1, 1)
        last = env.transcript.turns[-1]
        assert last.score is not None and last.score.answer == "7" and last.score.measures["unreadable"] == 0
        again = Sevens(5, 2, protocol="retrieve")
        bare = [turn.scored(None, None) for turn in env.transcript.turns]
        prefix = env.transcript.__class__(env.transcript.question, env.transcript.agents, 2, tuple(bare))
        again.reset(options={"transcript": prefix})
        assert [turn.score for turn in again.transcript.turns] == [turn.score for turn in env.transcript.turns]

    def test_what_is_said_last_of_a_name_counts(self) -> None:
        text = (
            "agent_1: is it faithful? agent_1: faithfulness is 0.2, no: Faithfulness: 30 %. agent_10. Faithfulness: 1"
        )
        assert faithfulness(text, ["agent_1", "agent_10", "agent_2"]) == {"agent_1": 0.3, "agent_10": 1.0}

    def test_candidates_are_shown_in_an_order_that_the_question_decides(self) -> None:
        env, orders = Sevens(5, 2, protocol="retrieve"), []

        def say(observation: Observation) -> str:
            if observation["agent"] == "agent_0":
                read = observation["transcript"]
                assert [m["round"] for m in read] == sorted(m["round"] for m in read)
                latest = tuple(m["agent"] for m in read if m["round"] == observation["round"])
                orders.append(latest)
                assert ", ".join(latest) in observation["instruction"]
            return "Answer: 7"

        for number in range(64):
            played(env, say, number)
        assert orders[0::2] == orders[1::2], "in every round"
        assert all({*order} == {*self.NAMES} for order in orders)
        firsts = [order[0] for order in orders[::2]]
        assert all(8 <= firsts.count(name) <= 24 for name in self.NAMES), "64 questions, 16 expected"

    def test_a_true_scorer_is_always_right_and_a_shuffled_one_picks_at_random(self) -> None:
        """One candidate of four is right, and its chain is marked; over all its places and all shifts of the scores."""

        def share(shifts: Sequence[int]) -> float:
            right = []
            for place, shift in itertools.product(range(4), shifts):

                def say(observation: Observation, place: int = place, shift: int = shift) -> str:
                    seat = int(observation["agent"][-1])
                    if seat:
                        return "It follows. Answer: 7" if seat - 1 == place else f"Somehow. Answer: {seat}"
                    marked = {m["agent"]: m["text"].startswith("It follows") for m in observation["transcript"]}
                    scores = [float(marked[name]) for name in self.NAMES]
                    return self.of(scores[shift:] + scores[:shift])

                right.append(played(Sevens(5, 1, protocol="retrieve"), say).team_answer().correct)
            return sum(right) / len(right)

        assert share([0]) == 1 and share(range(4)) == 0.25
        vote = [self.judged("", answers=answers).team_answer().correct for answers in ("7123", "7113")]
        assert vote == [0.25, 0]


@pytest.mark.parametrize(("protocol", "fewest"), [("discuss", 3), ("review", 3), ("retrieve", 2)])
def test_fewest_agents(protocol: str, fewest: int) -> None:
    check_env(Sevens(fewest, 2, protocol=protocol))
    with pytest.raises(ValueError, match=f"needs at least {fewest} agents and num_agents is {fewest - 1}"):
        Sevens(fewest - 1, 2, protocol=protocol)

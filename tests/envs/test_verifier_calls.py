"""How often judges are asked: a verifier may be a model or a server, so that one call of many costs little more than one of few."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from discussion_toys import Contains, Digits

from maporl.agents import ScriptedAgent, Team
from maporl.envs import DiscussionEnv
from maporl.envs.protocols import Debate
from maporl.rollouts.play import rollout
from maporl.training.evaluation import evaluate
from maporl.types import Question, Score, Transcript, Turn


class WholeRounds:
    """A team verifier that scores many rounds at once: pays the share of right answers."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def score_batch(self, questions: Sequence[Question], responses: Sequence[Mapping[str, str]]) -> list[Score]:
        self.batches.append(len(questions))
        return [both_right(question, said) for question, said in zip(questions, responses, strict=True)]


def both_right(question: Question, responses: Mapping[str, str]) -> Score:
    return Score(sum(question.answer in text for text in responses.values()) / len(responses), None)


def discussed(number: int = 8, group_size: int = 1, **arguments: object) -> tuple[DiscussionEnv, list]:
    """`number` discussions of two agents who know the answer half of the time."""
    env = Digits(**{"num_agents": 2, "num_rounds": 2, **arguments})  # type: ignore[arg-type]
    questions = asked(env, number)[::group_size]
    return env, rollout(env, team(env), questions, seed=0, branching=(group_size,))


def team(env: DiscussionEnv) -> Team:
    guess = ScriptedAgent(
        lambda o, rng: o["question"].replace("(", "<").replace(")", ">") if rng.random() < 0.5 else "?"
    )
    return Team({(agent, 0): guess for agent in env.possible_agents})


def asked(env: DiscussionEnv, number: int) -> list[Question]:
    return list(env.questions("train")[:number])


def test_messages_of_one_wave_are_scored_together() -> None:
    """Two agents of eight discussions speak at the same time, twice."""
    env, episodes = discussed()
    assert env.verifier.batches == [16, 16]
    assert len({turn.value for e in episodes for turn in e.transcript.turns}) == 2


@pytest.mark.parametrize(
    ("protocol", "expected"),
    [
        ("round_robin", [8] * 4),  # one agent after the other
        ({"name": "debate", "stop": "consensus"}, None),  # those that go on
        ("mixture_of_agents", [16, 8]),  # two propose, one aggregates
    ],
)
def test_a_protocol_decides_who_is_scored_together(protocol: object, expected: list[int] | None) -> None:
    env, episodes = discussed(protocol=protocol)
    going_on = sum(e.transcript.completed_rounds == 2 for e in episodes)
    assert env.verifier.batches == (expected or [16, 2 * going_on])
    assert expected or 0 < going_on < 8


def test_the_ground_truth_is_asked_as_often_as_the_verifier_and_not_twice_if_it_is_one() -> None:
    verifier, truth = Contains(), Contains()
    discussed(verifier=verifier, ground_truth=truth)
    assert verifier.batches == truth.batches == [16, 16]
    discussed(verifier=verifier, ground_truth=verifier)
    assert verifier.batches == [16, 16, 16, 16]


def test_an_evaluation_asks_as_a_rollout_does() -> None:
    env = Digits(num_agents=2, num_rounds=2)
    evaluate(env, team(env), asked(env, 8), greedy=True)
    assert env.verifier.batches == [16, 16]


def test_scores_that_a_resumed_discussion_has_are_not_asked_for_again() -> None:
    env, episodes = discussed()
    (earlier, *_), env.verifier.batches = episodes, []
    prefix = type(earlier.transcript)(
        earlier.transcript.question, earlier.transcript.agents, 2, earlier.transcript.turns[:2]
    )
    rollout(env, team(env), [prefix], seed=1)
    assert env.verifier.batches == [2]


# -- team verifiers ------------------------------------------------------------------------------------------------------------


def test_rounds_that_end_together_are_scored_together() -> None:
    judge = WholeRounds()
    _, episodes = discussed(team_verifier=judge, shaping="team_score")
    assert judge.batches == [8, 8]
    assert all(len(e.transcript.team_scores) == 2 for e in episodes)


def test_all_joint_actions_of_a_group_are_scored_together() -> None:
    judge = WholeRounds()
    env = Digits(2, 2, team_verifier=judge, shaping="team_score")
    joint = rollout(env, team(env), asked(env, 1), seed=0, branching=(4, 2), joint="cross")
    assert len(joint) == 16 * 4 and judge.batches == [16, 16 * 4]
    scores = [e.transcript.team_scores for e in joint]
    expected = [
        tuple(both_right(e.transcript.question, {t.agent: t.text for t in e.transcript.round(r)}) for r in range(2))
        for e in joint
    ]
    assert scores == expected


def test_a_function_of_one_round_is_called_for_every_round() -> None:
    calls: list[str] = []

    def judge(question: Question, responses: Mapping[str, str]) -> Score:
        calls.append(question.text)
        return both_right(question, responses)

    discussed(team_verifier=judge, shaping="team_score")
    assert len(calls) == 16 and {calls.count(text) for text in calls} == {2}


def test_joint_actions_begin_as_their_samples_did() -> None:
    """What opened a discussion is not asked for again, and no message is made of it."""

    class Taught(Debate):
        asked = 0

        def opening(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
            self.asked += 1
            return [(Turn("bank", 0, f"Lesson {n}.", kind="feedback"),) for n in range(len(transcripts))]

    env = Digits(2, 1, protocol=Taught(1))
    joint = rollout(env, team(env), asked(env, 1), seed=0, branching=(4,), joint="cross")
    assert env.protocol.asked == 1 and len(joint) == 16
    assert {tuple(t.kind for t in e.transcript.turns) for e in joint} == {("feedback", "said", "said")}
    assert [e.rewards[0] for e in joint] == [0.0] * 16

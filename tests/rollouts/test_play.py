"""Discussions in lockstep say and earn exactly what the environment would have given one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest
from toy_discussions import questions, readable_share

from maporl.agents.agent import ScriptedAgent
from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.settings import Sampling
from maporl.agents.team import Team
from maporl.envs import DiscussionEnv
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.envs.verifiers import VerifierFailed
from maporl.rollouts.play import Play, rollout, rollout_together
from maporl.types import Episode, Question, Score


class Readable:
    """A verifier that counts how it is called."""

    uses_gold = False
    rule_based = True

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, question: Question, response: str) -> Score:
        return Score(readable_share(response), bool(response), response[:1] or None)

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        self.batches.append(len(responses))
        return [self(q, r) for q, r in zip(questions, responses, strict=True)]


class Talk(DiscussionEnv):
    default_verifier = Readable

    def load(self, split: str) -> Iterable[Question]:
        return questions(60 if split == "train" else 4, [f"agent_{n}" for n in range(3)])


def same(left: Sequence[Episode], right: Sequence[Episode]) -> bool:
    return all(
        e.transcript == f.transcript
        and e.rewards == f.rewards
        and all(
            np.array_equal(c.completion_ids, d.completion_ids)
            for c, d in zip(e.completions, f.completions, strict=True)
        )
        for e, f in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("protocol", ["debate", "round_robin"])
@pytest.mark.parametrize("shaping", ["own_score", "team_mean", "outcome_credit"])
def test_playing_the_same_words_by_hand_gives_the_same_discussion(
    make_team: Callable, protocol: str, shaping: str
) -> None:
    env, team = Talk(num_agents=3, num_rounds=2, protocol=protocol, shaping=shaping), make_team(3, 2)
    asked = env.questions("train")[:4]
    for episode, question in zip(rollout(env, team, asked, seed=5), asked, strict=True):
        env.reset(options={"question": question})
        for index, turn in episode.said:
            assert (env.agent_selection, env.transcript.completed_rounds) == turn.seat
            assert env.observe(turn.agent) == episode.observation(index)
            assert env.state() == episode.state(index)
            env.step(turn.text)
        assert env.transcript == episode.transcript
        assert env.turn_rewards == episode.rewards and len(episode.completions) == 6
        assert episode.contains_future == (shaping == "outcome_credit")


@pytest.mark.parametrize("number", [1, 7, 40])
@pytest.mark.parametrize("sharing", ["shared", "per_agent", {"agent_0": "x", "agent_1": "x", "agent_2": "base"}])
def test_sampler_calls_do_not_grow_with_the_number_of_discussions(
    make_team: Callable, number: int, sharing: object
) -> None:
    team = make_team(3, 2, sharing=sharing, tokens=3)
    env = Talk(num_agents=3, num_rounds=2)
    rollout(env, team, env.questions("train")[:number], seed=0)
    assert team.policies[0].sampler_calls == 2  # one a wave, whatever the adapters
    assert env.verifier.batches == [3 * number] * 2  # and every verifier is called once a round


def test_a_discussion_does_not_depend_on_the_others(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=2), make_team(2, 2)
    pool = env.questions("train")
    together = rollout(env, team, pool[:5], seed=3)
    assert same(together, rollout(env, team, pool[:5], seed=3))
    assert same(together[:2], rollout(env, team, pool[:2], seed=3))  # fewer others
    assert same(together[:2], rollout(env, team, [*pool[:2], *pool[20:30]], seed=3)[:2])  # other others
    team.policies[0].sampler.max_batch_tokens = 1
    assert same(together, rollout(env, team, pool[:5], seed=3))
    assert not same(together, rollout(env, team, pool[:5], seed=4))


def test_streams_of_discussions_agents_rounds_and_iterations_differ(make_team: Callable) -> None:
    env = Talk(num_agents=2, num_rounds=2)
    question = env.questions("train")[0]
    numbers = ScriptedAgent(lambda o, rng: str(rng.integers(2**60)))
    team = Team({(a, r): numbers for a in env.possible_agents for r in range(2)})
    drawn = [
        turn.text
        for seed in (0, 1, (0, 0), (0, 1), (1, 0), np.int64(7))
        for e in rollout(env, team, [question] * 8, seed=seed)
        for turn in e.transcript.turns
    ]
    assert len(set(drawn)) == len(drawn) == 6 * 8 * 4


def test_greedy_discussions_are_the_same_for_every_seed(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=2), make_team(2, 2)
    pool = env.questions("train")[:3]
    assert same(*(rollout(env, team, pool, seed=s, greedy=True) for s in (0, 1)))


def test_groups_and_positions(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=1), make_team(2, 1, tokens=2)
    pool = env.questions("train")[:3]
    assert [e.group for e in rollout(env, team, pool, seed=0)] == [0, 1, 2]
    pair = rollout(env, team, pool[:2], seed=0, branching=(2,), first=4)
    assert [(e.group, e.branch) for e in pair] == [(4, (0,)), (4, (1,)), (5, (0,)), (5, (1,))]
    apart = rollout(env, team, [pool[0], pool[0], pool[1], pool[1]], seed=0, first=8)  # a group is so many discussions
    assert [said(e) for e in pair] == [said(e) for e in apart]
    assert rollout(env, team, [], seed=0) == []


def test_a_prefix_is_part_of_the_transcript_and_nobody_learns_from_it(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=3, shaping="last_round_team"), make_team(2, 3)
    [whole] = rollout(env, team, env.questions("train")[:1], seed=0)
    for length in (0, 1, 2, 3, 5):
        start = type(whole.transcript)(
            whole.transcript.question, whole.transcript.agents, 3, whole.transcript.turns[:length]
        )
        [rest] = rollout(env, team, [start], seed=0)
        assert rest.transcript.turns == whole.transcript.turns  # the same streams, so the same words
        assert [index for index, _ in rest.said] == list(range(length, 6)) and rest.given == length
        assert rest.learns == (False,) * length + (True,) * (6 - length)
        assert rest.rewards == whole.rewards


def test_the_environment_itself_is_not_played(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=2), make_team(2, 2, tokens=2)
    env.reset(seed=3)
    env.step("hello")
    before = env.transcript, dict(env.rewards), env.agent_selection
    rollout(env, team, env.questions("train")[:3], seed=0)
    assert (env.transcript, dict(env.rewards), env.agent_selection) == before


def test_a_pipeline_asks_the_verifier_about_its_last_role_only(make_team: Callable) -> None:
    env = Talk(num_agents=3, num_rounds=1, protocol="pipeline")
    talker = make_team(1, 1, tokens=3).language_models[0]
    team = Team({(a, 0): talker for a in env.possible_agents})
    episodes = rollout(env, team, env.questions("train")[:4], seed=0)
    assert env.verifier.batches == [4] and talker.policy.sampler_calls == 3
    for e in episodes:
        assert [t.score is not None for t in e.transcript.turns] == [False, False, True]
        assert [turn.agent for _, turn in e.said] == ["generator_0", "verifier_0", "refiner_0"]


def test_truncated_messages_are_marked(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=1), make_team(2, 1, tokens=5)
    team.policies[0].eos_ids = frozenset(range(0, 60))
    said = [c for e in rollout(env, team, env.questions("train")[:10], seed=0) for c in e.completions]
    assert {c.truncated for c in said} == {True, False}
    assert all(c.truncated == (int(c.completion_ids[-1]) >= 60) for c in said)


@pytest.mark.parametrize("slot", ["verifier", "team_verifier"])
def test_an_exception_in_a_users_reward_propagates(make_team: Callable, slot: str) -> None:
    def broken(question: Question, response: str) -> float:
        raise RuntimeError("my reward is broken")

    env = Talk(num_agents=2, num_rounds=1, **{slot: broken})
    with pytest.raises(VerifierFailed, match="RuntimeError: my reward is broken") as error:
        rollout(env, make_team(2, 1, tokens=2), env.questions("train")[:2], seed=0)
    assert error.value.verifier is getattr(env.verifiers, slot) and isinstance(error.value.__cause__, RuntimeError)


def test_a_team_without_a_seat_for_somebody(make_team: Callable) -> None:
    env = Talk(num_agents=3, num_rounds=1)
    with pytest.raises(ValueError, match="the team has no seat for 'agent_2'"):
        rollout(env, make_team(2, 1), env.questions("train")[:1], seed=0)


def test_cross_combines_what_is_sampled_and_scored_once(make_team: Callable) -> None:
    env, team = Talk(num_agents=2, num_rounds=1, shaping="team_mean"), make_team(2, 1)
    aligned = rollout(env, team, env.questions("train")[:2], seed=0, branching=(3,), first=7)
    before = team.policies[0].sampler_calls, list(env.verifier.batches)
    joint = rollout(env, team, env.questions("train")[:2], seed=0, branching=(3,), first=7, joint="cross")
    assert (team.policies[0].sampler_calls, env.verifier.batches) == (2 * before[0], 2 * before[1])
    assert [e.group for e in joint] == [7] * 9 + [8] * 9 and [e.branch for e in joint[:9]] == [(k,) for k in range(9)]
    for e in joint:
        one, other = (aligned[3 * (e.group - 7) + g] for g in divmod(e.branch[0], 3))  # whose samples it holds
        assert e.transcript.turns == (one.transcript.turns[0], other.transcript.turns[1])
        values = [t.score.value for t in e.transcript.turns]  # type: ignore[union-attr]
        assert e.rewards == pytest.approx([np.mean(values)] * 2) and e.learns == (True, True)
    assert len({id(c) for e in joint for c in e.completions}) == 12  # joint actions share them
    with pytest.raises(ValueError, match=r"joint is 'all': use one of \['aligned', 'cross'\]"):
        Play(env, team, (), 0, joint="all")


def test_a_frozen_and_a_trained_seat_of_one_adapter_group(make_team: Callable) -> None:
    env, team = Talk(num_agents=3, num_rounds=2), make_team(3, 2, frozen=["round_1"], tokens=3)
    sampler, batches = team.policies[0].sampler, []
    original = sampler.batch
    sampler.batch = lambda adapter, *rest: batches.append(adapter) or original(adapter, *rest)
    rollout(env, team, env.questions("train")[:5], seed=0)
    assert batches == [None, "agent_0", "agent_1", "agent_2"]  # the frozen seats of all agents are one batch
    assert all(isinstance(team.member(a, 0), LLMAgent) for a in team.agents)


class TestTogether:
    """Several teams and tasks in lockstep are what each of them is alone."""

    def test_plays_do_not_depend_on_one_another(self, tiny_model: str) -> None:
        policy = Policy.from_pretrained(tiny_model)
        speaker = LLMAgent(policy, None, sampling=Sampling(max_new_tokens=5))
        env, lone = Arithmetic(2, 2), Arithmetic(1, 1)
        team = Team({("agent_0", 0): speaker, ("agent_1", 0): speaker})
        single = Team({("agent_0", 0): speaker})
        questions = env.questions("test")[:3]
        plays = [
            Play(env, team, questions, seed=(1, 2)),
            Play(lone, single, questions[:2], seed=5, branching=(2, 2)),
            Play(lone, single, questions, seed=5, greedy=True),
        ]
        together = rollout_together(plays)
        for play, episodes in zip(plays, together, strict=True):
            alone = rollout_together([play])[0]
            assert [said(e) for e in episodes] == [said(e) for e in alone]
            assert [e.group for e in episodes] == [e.group for e in alone]
        assert [len(e) for e in together] == [3, 4, 3]

    def test_an_agent_of_two_teams_is_asked_once(self) -> None:
        calls: list[int] = []

        class Counting(ScriptedAgent):
            def act(self, observations, rngs, *, greedy=False):  # type: ignore[no-untyped-def]
                calls.append(len(observations))
                return super().act(observations, rngs, greedy=greedy)

        speaker = Counting(lambda observation, rng: "Answer: 1")
        env, lone = Arithmetic(3, 1), Arithmetic(1, 1)
        questions = env.questions("test")[:4]
        seats = {(f"agent_{i}", 0): speaker for i in range(3)}
        rollout_together(
            [
                Play(env, Team(seats), questions, seed=0),
                Play(lone, Team({("agent_0", 0): speaker}), questions, seed=0),
            ]
        )
        assert calls == [3 * 4 + 4]


def said(episode: Episode) -> list[str]:
    return [turn.text for turn in episode.transcript.turns]

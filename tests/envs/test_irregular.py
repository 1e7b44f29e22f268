"""Protocols of one's own in which not everybody speaks once a round, or in which something is said from outside.

What is expected is written out by hand: who speaks when, what is shown, what is paid, what is learned, and how often judges are asked.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from discussion_toys import Contains, Digits
from pettingzoo.test import api_test
from toy_discussions import completion, episode

from maporl.agents import LLMAgent, ScriptedAgent, Team
from maporl.agents.agent import Learner
from maporl.algorithms.advantages import chain_turns, returns_to_go
from maporl.algorithms.batch import TurnBatch
from maporl.algorithms.magrpo import _group_keys
from maporl.envs import DiscussionEnv, check_env
from maporl.envs.protocols import Debate, Protocol, RoundRobin
from maporl.envs.verifiers import TranscriptVerifier
from maporl.rollouts.play import rollout
from maporl.training.loop import Collector
from maporl.types import Completion, Episode, Observation, Question, Score, Transcript, Turn

LEADER, ONE, TWO = "agent_0", "agent_1", "agent_2"


class Led(Protocol):
    """In every round the peers answer simultaneously; then the leader, who has heard them, speaks twice."""

    name = "led"

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        leader, *peers = transcript.agents
        said = [turn.agent for turn in transcript.round(round)]
        waiting = tuple(agent for agent in peers if agent not in said)
        return waiting or ((leader,) if said.count(leader) < 2 else ())


class Sparse(Protocol):
    """Nobody speaks in the first and in the third round, agent_1 alone in the second, all but agent_1 in the last."""

    name = "sparse"
    everybody_speaks = False

    def speaking(self, agents: tuple[str, ...], round: int) -> tuple[str, ...]:
        return ((), (ONE,), (), (LEADER, TWO))[round]


class Checked(Debate):
    """After every round a test says how many are right; when all are, the discussion is over."""

    name = "checked"

    def __init__(self, num_rounds: int = 3, history: str = "all") -> None:
        super().__init__(num_rounds, history)
        self.asked: list[int] = []

    def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        self.asked.append(len(transcripts))
        return [(Turn("tests", t.completed_rounds - 1, counted(t), kind="feedback"),) for t in transcripts]

    def over(self, transcript: Transcript) -> bool:
        return transcript.turns[-1].text == f"{len(transcript.agents)} right"


def counted(transcript: Transcript) -> str:
    return f"{sum(turn.correct is True for turn in transcript.standing(transcript.completed_rounds - 1))} right"


class Judge(TranscriptVerifier):
    """A whole discussion is worth a tenth of its number of messages."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, transcript: Transcript) -> Score:
        return Score(len(transcript.spoken.turns) / 10, None)

    def score_batch(self, transcripts: Sequence[Transcript]) -> list[Score]:
        assert all(t.is_complete for t in transcripts)
        self.asked.append(len(transcripts))
        return super().score_batch(transcripts)


class Calls(ScriptedAgent):
    """Counts how many messages are asked for at once."""

    def __init__(self, speak: object) -> None:
        super().__init__(speak)  # type: ignore[arg-type]
        self.calls: list[int] = []

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        self.calls.append(len(observations))
        return super().act(observations, rngs, greedy=greedy)


class Trained(ScriptedAgent, Learner):
    """What algorithms take for a learner; it needs no model to speak."""

    adapter, trainable = "adapter", True

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        raise NotImplementedError


def team_of(env: DiscussionEnv, agent: object) -> Team:
    return Team({(name, r): agent for name in env.possible_agents for r in range(env.num_rounds)})  # type: ignore[misc]


def order(transcript: Transcript) -> list[tuple[str, int]]:
    return [(turn.agent, turn.round) for turn in transcript.turns]


def step_through(env: DiscussionEnv, played: Episode) -> None:
    """The same words in the environment: the same speakers, observations, states and rewards."""
    env.reset(options={"question": played.transcript.question})
    paid = dict.fromkeys(env.possible_agents, 0.0)
    for index, turn in played.said:
        assert (env.agent_selection, env.transcript.completed_rounds) == turn.seat
        assert env.observe(turn.agent) == played.observation(index)
        assert env.state() == played.state(index)
        env.step(turn.text)
        for agent, reward in env.rewards.items():
            paid[agent] += reward
    assert env.transcript == played.transcript and env.turn_rewards == played.rewards
    assert all(env.terminations.values()) and not any(env.truncations.values())
    for agent in env.possible_agents:
        mine = tuple(played.rewards[i] for i, turn in played.said if turn.agent == agent)
        assert env.infos[agent]["turn_rewards"] == mine and paid[agent] == pytest.approx(sum(mine))


def heard(observation: Observation) -> list[tuple[str, int]]:
    return [(message["agent"], message["round"]) for message in observation["transcript"]]


IRREGULAR = [Led(2), Sparse(4), Checked(3)]


@pytest.mark.parametrize("protocol", IRREGULAR, ids=lambda p: p.name)
def test_they_are_environments(protocol: Protocol) -> None:
    """PettingZoo's own test, and all that a discussion promises."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # observations are text on purpose
        api_test(Digits(3, protocol=copy.deepcopy(protocol)), num_cycles=50)
    check_env(Digits(3, protocol=copy.deepcopy(protocol)))


class TestALeaderWhoSpeaksTwice:
    ORDER = [(ONE, 0), (TWO, 0), (LEADER, 0), (LEADER, 0), (ONE, 1), (TWO, 1), (LEADER, 1), (LEADER, 1)]

    def test_waves(self) -> None:
        env = Digits(3, protocol=Led(2))
        speaker = Calls(lambda o, rng: "<1>")
        episodes = rollout(env, team_of(env, speaker), env.questions("train")[:5], seed=0)
        assert all(order(e.transcript) == self.ORDER for e in episodes)
        assert speaker.calls == env.verifier.batches == [10, 5, 5, 10, 5, 5]
        assert all(e.transcript.completed_rounds == 2 and not e.transcript.ended for e in episodes)

    def test_what_is_heard(self) -> None:
        env = Digits(3, protocol=Led(2))
        [played] = rollout(env, team_of(env, ScriptedAgent(lambda o, rng: "x")), env.questions("train")[:1], seed=0)
        shown = [heard(played.observation(i)) for i in range(8)]
        first, second = self.ORDER[:4], self.ORDER[4:]
        assert shown[:4] == [[], [], first[:2], first[:3]]
        own_first = [first[1], first[0], *first[2:]]  # of a wave one's own message comes before its peers'
        assert shown[4:] == [first, own_first, first + second[:2], first + second[:3]]
        step_through(env, played)

    def test_random_numbers(self) -> None:
        """The leader's first message has the stream of its seat, as everybody's; its second one has another."""
        env = Digits(3, protocol=Led(2))
        numbers = ScriptedAgent(lambda o, rng: str(rng.integers(2**60)))
        for number, played in enumerate(rollout(env, team_of(env, numbers), env.questions("train")[:2], seed=(7, 3))):
            streams = [[1, 0], [2, 0], [0, 0], [0, 0, 1], [1, 1], [2, 1], [0, 1], [0, 1, 1]]
            expected = [str(np.random.default_rng([7, 3, number, *s]).integers(2**60)) for s in streams]
            assert [turn.text for turn in played.transcript.turns] == expected and len({*expected}) == 8

    def test_a_prefix_may_end_between_its_two_messages(self) -> None:
        env = Digits(3, protocol=Led(2))
        team = team_of(env, ScriptedAgent(lambda o, rng: str(rng.integers(2**60))))
        [whole] = rollout(env, team, env.questions("train")[:1], seed=0)
        for length in range(8):
            prefix = replace(whole.transcript, turns=whole.transcript.turns[:length], completed_rounds=-1)
            [rest] = rollout(env, team, [prefix], seed=0)
            assert rest.transcript == whole.transcript and rest.given == length

    def test_its_last_message_of_a_round_is_what_stands(self) -> None:
        env = Digits(3, protocol=Led(1))
        env.reset(options={"question": Question("?", "<7>")})
        for text in ("<7>", "no", "<7>", "no"):
            env.step(text)
        assert [turn.text for turn in env.transcript.round(0)] == ["<7>", "no", "<7>", "no"]
        assert [turn.text for turn in env.transcript.standing(0)] == ["<7>", "no", "no"]
        assert env.turn_rewards == (1.0, 0.0, 1.0, 0.0)  # each message is paid for itself

    def test_it_has_one_vote(self) -> None:
        env = Digits(3, protocol=Led(1), verifier={"name": "regex", "pattern": "<(.)>"})
        env.reset(options={"question": Question("?", "7")})
        for text in ("<7>", "<8>", "<8>", "<7>"):
            env.step(text)
        answer = env.team_answer()
        assert (answer.answer, answer.correct, answer.tied) == ("7", 1.0, 1)  # two of three, not two of four

    def test_a_team_verifier_is_told_its_last_message(self) -> None:
        told: list[Mapping[str, str]] = []

        def judge(question: Question, responses: Mapping[str, str]) -> Score:
            told.append(dict(responses))
            return Score(0.5, None)

        env = Digits(3, protocol=Led(1), team_verifier=judge, shaping="team_score")
        env.reset(seed=0)
        for text in "abcd":
            env.step(text)
        assert told == [{ONE: "a", TWO: "b", LEADER: "d"}] and env.turn_rewards == (0.5,) * 4

    def test_it_learns_from_both(self) -> None:
        """Returns-to-go and generalised advantages run from its first message to its second, and on into the next round."""
        said = {
            seat: [completion(10 + 2 * n), completion(11 + 2 * n)] for n, seat in enumerate(dict.fromkeys(self.ORDER))
        }
        rewards = {ONE: [16.0, 32.0], LEADER: [1.0, 2.0, 4.0, 8.0]}
        left = {agent: iter(values) for agent, values in rewards.items()}
        turns = [(a, r, said[a, r].pop(0), next(left[a])) for a, r in self.ORDER if a != TWO]
        learner = LLMAgent(None, "adapter")  # type: ignore[arg-type]
        team = Team({(a, r): learner for a in (LEADER, ONE) for r in range(2)})
        played = [episode((LEADER, ONE), turns), episode((LEADER, ONE), turns)]
        batch = TurnBatch.collect(played, team)
        assert batch.chains == [[0, 1, 2, 3], [4, 5], [6, 7, 8, 9], [10, 11]]
        assert batch.places[:6] == [(0, 1), (0, 2), (0, 4), (0, 5), (0, 0), (0, 3)]
        assert batch.rounds.tolist()[:6] == [0, 0, 1, 1, 0, 1] and batch.times.tolist()[:6] == [0, 1, 0, 1, 0, 0]
        assert batch.gaps.tolist()[:6] == [1, 1, 1, 0, 1, 0]
        assert batch.rewards.tolist()[:6] == [1, 2, 4, 8, 16, 32]
        # Backwards: 8; 4 + 8/2; 2 + 8/2; 1 + 6/2. And 32; 16 + 32/2.
        returns = returns_to_go(batch.rewards, batch.chains, batch.gaps, 0.5)
        assert returns.tolist()[:6] == [4, 6, 8, 8, 32, 32]
        # With V = 2 everywhere, delta = r + 2/2 - 2 (r - 2 at the end): 0, 1, 3, 6; A = delta + A'/4.
        values = torch.full((12,), 2.0)
        advantages = chain_turns(batch.rewards, values, batch.chains, batch.gaps, gamma_round=0.5, gae_lambda=0.5)
        assert advantages.tolist()[:6] == [0.53125, 2.125, 4.5, 6, 22.5, 30]
        # A message is compared with the same one of the other discussion, never the first with the second.
        keys = _group_keys(batch, played)
        assert len({*keys[:6]}) == 6 and (keys[:6] == keys[6:]).all()

    def test_who_is_resumed_between_both_is_compared_with_second_messages(self) -> None:
        turns = [(LEADER, 0, completion(11), 1.0), (LEADER, 0, completion(12), 1.0)]
        whole = episode((LEADER,), turns)
        resumed = replace(whole, given=1, learns=(False, True))
        batch = TurnBatch.collect([whole, resumed], Team({(LEADER, 0): LLMAgent(None, "adapter")}))  # type: ignore[arg-type]
        assert batch.times.tolist() == [0, 1, 1]


class TestRoundsInWhichSomeAreSilent:
    ORDER = [(ONE, 1), (LEADER, 3), (TWO, 3)]

    def test_order_and_rewards(self) -> None:
        env = Digits(3, protocol=Sparse(4), shaping="team_mean")
        assert not env.metadata["is_parallelizable"]
        speaker = Calls(lambda o, rng: "<0>" if o["agent"] == TWO else "no")
        episodes = rollout(env, team_of(env, speaker), [Question("?", "<0>"), Question("!", "<0>")], seed=0)
        assert speaker.calls == [2, 2, 2]
        for played in episodes:
            assert order(played.transcript) == self.ORDER
            assert played.rewards == (0.0, 0.5, 0.5)  # the mean of those who spoke in the round
            assert played.transcript.completed_rounds == 4 and not played.transcript.ended
            assert [len(played.transcript.standing(r)) for r in range(4)] == [0, 1, 0, 2]
            step_through(env, played)

    def test_the_discussion_begins_in_the_first_round_in_which_somebody_speaks(self) -> None:
        env = Digits(3, protocol=Sparse(4))
        env.reset(seed=0)
        seen = []
        while not any(env.terminations.values()):
            seen.append(
                (env.agent_selection, env.observe(env.agent_selection)["round"], env.transcript.completed_rounds)
            )
            env.step("x")
        assert seen == [(ONE, 1, 1), (LEADER, 3, 3), (TWO, 3, 3)]

    def test_prefixes(self) -> None:
        env = Digits(3, protocol=Sparse(4))
        team = team_of(env, ScriptedAgent(lambda o, rng: str(rng.integers(2**60))))
        [whole] = rollout(env, team, env.questions("train")[:1], seed=0)
        for length in range(3):
            prefix = replace(whole.transcript, turns=whole.transcript.turns[:length], completed_rounds=-1)
            assert rollout(env, team, [prefix], seed=0)[0].transcript == whole.transcript


def answers(observation: Observation, rng: np.random.Generator) -> str:
    """agent_0 knows the answer; agent_1 finds it in the second round, if the question is even."""
    digit = int(observation["question"].strip("?"))
    knows = observation["agent"] == LEADER or (observation["round"] >= 1 and digit % 2 == 0)
    return f"<{digit}> {rng.integers(2**60)}" if knows else "no"


class Asked(DiscussionEnv):
    default_verifier = Contains
    instruction = "Name the digit."

    def load(self, split: str) -> Iterable[Question]:
        return [Question(f"{n}?", f"<{n}>") for n in range(4)] if split == "train" else []


ASKED = [Question(f"{n}?", f"<{n}>") for n in range(4)]
EVEN = [(LEADER, 0), (ONE, 0), ("tests", 0), (LEADER, 1), (ONE, 1), ("tests", 1)]
ODD = [*EVEN, (LEADER, 2), (ONE, 2)]


class TestFeedback:
    def test_it_comes_after_every_round_in_one_call_and_may_end_the_discussion(self) -> None:
        env = Asked(2, protocol=Checked(3))
        episodes = rollout(env, team_of(env, Trained(answers)), ASKED, seed=0)
        assert env.protocol.asked == [4, 4]  # nobody would hear what is said after the last round
        for number, played in enumerate(episodes):
            t, even = played.transcript, number % 2 == 0
            assert order(t) == (EVEN if even else ODD)
            assert [turn.text for turn in t.turns if not turn.said] == ["1 right", "2 right" if even else "1 right"]
            assert (t.completed_rounds, t.ended, t.is_complete) == ((2, True, True) if even else (3, False, True))

    def test_it_is_shown_and_neither_scored_paid_nor_learned_from(self) -> None:
        env = Asked(2, protocol=Checked(3))
        speaker = Trained(answers)
        played = rollout(env, team_of(env, speaker), ASKED, seed=0)[1]
        assert env.verifier.batches == [8, 8, 4]
        feedback = played.transcript.turns[2]
        assert (feedback.score, feedback.truth, feedback.completion) == (None, None, None)
        said = [True, True, False, True, True, False, True, True]
        assert list(played.learns) == [turn.said for turn in played.transcript.turns] == said
        assert played.rewards == (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0)
        assert len(played.said) == len(played.completions) == 6
        # Who is asked in round 2 has its own message, its peer's, and what the test said of both.
        assert heard(played.observation(4)) == [(ONE, 0), (LEADER, 0), ("tests", 0)]
        assert played.observation(4)["transcript"][-1]["text"] == "1 right"
        assert heard(played.state(4)) == [(ONE, 0), (LEADER, 0), ("tests", 0)]
        batch = TurnBatch.collect([with_tokens(played)], team_of(env, speaker))
        assert [played.transcript.turns[i].agent for _, i in batch.places] == [LEADER] * 3 + [ONE] * 3
        assert batch.gaps.tolist() == [1, 1, 0, 1, 1, 0]

    @pytest.mark.parametrize("number", [0, 1])
    def test_step_by_step_it_is_the_same(self, number: int) -> None:
        env = Asked(2, protocol=Checked(3))
        played = rollout(env, team_of(env, ScriptedAgent(answers)), ASKED, seed=0)[number]
        env.protocol.asked.clear()
        step_through(env, played)
        assert env.protocol.asked == [1, 1]
        assert [*env.agents] == [LEADER, ONE]
        env.step(None)
        env.step(None)
        assert env.agents == []

    def test_prefixes_with_and_without_it(self) -> None:
        env = Asked(2, protocol=Checked(3))
        team = team_of(env, Trained(answers))
        [whole] = rollout(env, team, [ASKED[1]], seed=0)
        for length, asked in {0: 2, 1: 2, 2: 2, 3: 1, 4: 1, 5: 1, 6: 0, 7: 0}.items():
            env.protocol.asked.clear()
            prefix = replace(whole.transcript, turns=whole.transcript.turns[:length], completed_rounds=-1)
            [rest] = rollout(env, team, [prefix], seed=0)
            assert rest.transcript == whole.transcript and rest.rewards == whole.rewards, length
            assert len(env.protocol.asked) == asked, length
            given = {2: 3, 5: 6}.get(length, length)  # what is said from outside is nobody's of this episode either
            assert rest.given == given and rest.learns == (*(False,) * given, *whole.learns[given:])

    def test_a_prefix_that_it_ends_has_nobody_left_to_speak(self) -> None:
        env = Asked(2, protocol=Checked(3))
        [whole] = rollout(env, team_of(env, ScriptedAgent(answers)), [ASKED[0]], seed=0)
        with pytest.raises(ValueError, match="nobody is left to speak"):
            env.rules.replayed(replace(whole.transcript, turns=whole.transcript.turns[:5], completed_rounds=-1))

    def test_the_latest_of_it_where_only_the_last_round_is_shown(self) -> None:
        env = Asked(2, protocol=Checked(3, history="last_round"))
        played = rollout(env, team_of(env, ScriptedAgent(answers)), ASKED, seed=0)[1]
        assert heard(played.observation(6)) == [(LEADER, 0), (LEADER, 1), (ONE, 1), ("tests", 1)]


def with_tokens(played: Episode) -> Episode:
    """The episode as if a language model had spoken."""
    turns = tuple(replace(t, completion=completion(9, 1)) if t.said else t for t in played.transcript.turns)
    return replace(played, transcript=replace(played.transcript, turns=turns))


class TestAVerdictOnTheWholeDiscussion:
    def test_it_is_asked_for_once_and_pays_everybody(self) -> None:
        env = Asked(2, 2, team_verifier=Judge(), shaping="discussion_score")
        episodes = rollout(env, team_of(env, ScriptedAgent(answers)), ASKED, seed=0)
        assert env.team_verifier.asked == [4]
        for played in episodes:
            assert played.transcript.verdict == Score(0.4, None) and not played.transcript.team_scores
            assert played.rewards == (0.4,) * 4 and played.contains_future

    def test_discussions_that_end_together_are_judged_together(self) -> None:
        env = Asked(2, protocol=Checked(3), team_verifier=Judge(), shaping="discussion_score")
        episodes = rollout(env, team_of(env, ScriptedAgent(answers)), ASKED, seed=0)
        assert env.team_verifier.asked == [2, 2]  # the even ones after the second round, which feedback ended
        assert [e.transcript.verdict.value for e in episodes] == [0.4, 0.6, 0.4, 0.6]  # type: ignore[union-attr]
        assert episodes[1].rewards == (0.6, 0.6, 0.0, 0.6, 0.6, 0.0, 0.6, 0.6)  # but nothing for the tests
        for played in episodes[:2]:
            step_through(env, played)

    def test_it_is_paid_with_the_last_message(self) -> None:
        env = Asked(2, 2, team_verifier=Judge(), shaping="discussion_score")
        env.reset(seed=0)
        paid = []
        for text in "abcd":
            env.step(text)
            paid.append(dict(env.rewards))
        assert paid == [{LEADER: 0.0, ONE: 0.0}] * 3 + [{LEADER: 0.8, ONE: 0.8}]
        assert env.team_verifier.asked == [1]

    def test_check_env(self) -> None:
        check_env(Asked(2, protocol=Checked(3), team_verifier=Judge(), shaping="discussion_score"))


class Twice(Debate):
    """A debate whose first agent answers once more in each round; nothing is said of what it hears."""

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        spoken = [turn.agent for turn in transcript.round(round)]
        left = tuple(agent for agent in transcript.agents if agent not in spoken)
        return left or transcript.agents[: spoken.count("agent_0") < 2]


class Pairs(RoundRobin):
    """A sequential protocol in which the first two speak at the same time."""

    def due_in(self, transcript: Transcript, round: int) -> tuple[str, ...]:
        left = super(RoundRobin, self).due_in(transcript, round)
        return transcript.agents[:2] if left == transcript.agents[:1] else left


class Taught(Debate):
    def opening(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        return [(Turn("bank", 0, f"Lesson of {len(transcripts)}.", kind="feedback"),) for _ in transcripts]


class TestWhatIsHeard:
    """Whatever is due together hears nothing of one another, and everything before; without a word of the protocol's."""

    @pytest.mark.parametrize(
        ("protocol", "heard"),
        [
            (Twice, {0: "", 1: "", 2: "a0 a1", 3: "a0 a1 a0", 4: "a1 a0 a0"}),  # 2 is agent_0's second message
            (Pairs, {0: "", 1: "", 2: "a0 a1"}),
        ],
    )
    def test_it_is_what_was_said_in_earlier_waves(self, protocol: type[Protocol], heard: dict[int, str]) -> None:
        env = Digits(3 if protocol is Pairs else 2, 2, protocol=protocol(2))
        team = Team({(a, 0): ScriptedAgent(lambda o, rng: f"{o['agent']}") for a in env.possible_agents})
        [episode] = rollout(env, team, env.questions("train")[:1], seed=0)
        env.reset(options={"question": episode.transcript.question})
        for index, turn in episode.said:
            shown, state = episode.observation(index), episode.state(index)
            assert env.rules.observe(env.transcript, turn.seat) == shown  # by steps, too
            assert shown["transcript"] == state["transcript"]
            if index in heard:
                assert " ".join(m["text"].replace("agent_", "a") for m in shown["transcript"]) == heard[index]
            env.step(turn.text)
        assert env.transcript == episode.transcript

    def test_lessons_are_heard_before_the_first_message(self) -> None:
        env = Digits(2, 1, protocol=Taught(1))
        team = Team({(a, 0): ScriptedAgent(lambda o, rng: o["transcript"][0]["text"]) for a in env.possible_agents})
        episodes = rollout(env, team, env.questions("train")[:3], seed=0)
        assert {turn.text for e in episodes for turn in e.transcript.turns} == {"Lesson of 3."}
        assert [e.rewards[0] for e in episodes] == [0.0] * 3 and [len(e.said) for e in episodes] == [2] * 3
        bare = replace(episodes[0].transcript, turns=episodes[0].transcript.turns[1:2])
        assert env.rules.replayed(bare).turns[0].text == "Lesson of 1."  # a prefix that lacks it


def test_feedback_is_held_to_its_kind() -> None:
    class Wrong(Debate):
        def __init__(self, turn: Turn) -> None:
            super().__init__(2)
            self.turn = turn

        def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
            return [(self.turn,)] * len(transcripts)

    for turn in (Turn("tests", 0, "two"), Turn("agent_0", 0, "two", kind="feedback")):
        env = Digits(2, 2, protocol=Wrong(turn))
        env.reset(seed=0)
        env.step("a")
        with pytest.raises(ValueError, match="its kind must be 'feedback', and its agent a name that no agent has"):
            env.step("b")


def test_what_compares_rounds_asks_for_one_message_each() -> None:
    assert Debate(2).once_a_round and not Twice(2).once_a_round
    assert not Digits(2, 2, protocol=Twice(2)).metadata["is_parallelizable"]
    with pytest.raises(ValueError, match="not everybody speaks in each"):
        Digits(3, 2, protocol=Twice(2), shaping={"name": "incentives", "alpha1": 1})
    env = Digits(2, 1, protocol=Twice(1))
    team = Team({(a, 0): ScriptedAgent(lambda o, rng: "x") for a in env.possible_agents})
    with pytest.raises(ValueError, match="cannot be recombined"):
        Collector(env, team, 2, branching=(2, 2), joint="cross")

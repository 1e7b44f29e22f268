"""What the nodes of a tree are worth, which candidates are compared, and new ones."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from discussion_toys import Digits
from toy_discussions import completion, overflowing

from maporl.agents.agent import ScriptedAgent
from maporl.agents.team import Team
from maporl.envs import DiscussionEnv
from maporl.envs.protocols import RoundRobin
from maporl.envs.verifiers import TranscriptVerifier
from maporl.rollouts.decisions import RULES, Candidate, Decision, decisions, leaf_value, pairs, positives
from maporl.rollouts.play import rollout
from maporl.rollouts.resampling import resample
from maporl.rollouts.trees import backed_up
from maporl.types import Completion, Episode, Observation, Question, Score, Transcript

NUMBERS = ScriptedAgent(lambda o, rng: str(rng.integers(2**60)))


def seated(env: DiscussionEnv, member: object = NUMBERS) -> Team:
    return Team({(a, 0): member for a in env.possible_agents})  # type: ignore[misc]


def tree(branching: Sequence[int] = (3, 3, 3), number: int = 1, **given: Any) -> list[Episode]:
    """Trees of three roles who say different numbers."""
    env = Digits(protocol="pipeline", num_rounds=1)
    return rollout(env, seated(env), env.questions("train")[:number], seed=0, branching=branching, **given)


def decision(*values: float | None, texts: Sequence[str] | None = None) -> Decision:
    said = [replace(completion(7, n), text=f"{n}" if texts is None else texts[n]) for n in range(len(values))]
    candidates = (Candidate(f"0.{n}", c, v) for n, (c, v) in enumerate(zip(said, values, strict=True)))
    shown = Observation(agent="agent_0", round=0, question="?", private="", instruction="", role="", transcript=())
    return Decision("0", "q", "agent_0", 0, shown, shown, tuple(candidates))


def places(decision: Decision, rule: Any, **given: Any) -> list[tuple[int, int]]:
    found = {id(c): n for n, c in enumerate(decision.candidates)}
    return [(found[id(a)], found[id(b)]) for a, b in pairs(decision, rule, **given)]


class TestValues:
    def test_a_majority_of_all_leaves_is_no_majority_of_majorities(self) -> None:
        """A generator's message is good from 5 of 9 right leaves on; the other reading differs in 54 of 512 trees."""
        different = 0
        for right in itertools.product((0.0, 1.0), repeat=9):
            values = backed_up({(0, *divmod(n, 3)): v for n, v in enumerate(right)})
            groups = [sum(right[3 * k : 3 * k + 3]) for k in range(3)]
            assert [values[0, k] for k in range(3)] == [g / 3 for g in groups]
            assert values[0,] == pytest.approx(sum(right) / 9) and (values[0,] > 0.5) == (sum(right) >= 5)
            different += (values[0,] > 0.5) != (sum(g >= 2 for g in groups) >= 2)
        assert different == 54

    def test_one_half_is_one_half_however_the_leaves_lie(self) -> None:
        rows = [3, 3, 3, 1, 3, 5]  # of six leaves each; the mean of these rounded means is above .5
        assert float(np.mean([row / 6 for row in rows])) > 0.5
        leaves = {(0, i, j): float(j < row) for i, row in enumerate(rows) for j in range(6)}
        assert backed_up(leaves)[0,] == 0.5

    def test_uneven_trees_and_leaves_of_which_nobody_knows(self) -> None:
        leaves = {(0,): 1.0, (1, 0): 0.25, (1, 1, 0): 1.0, (1, 1, 1): None, (2, 0): None}
        inner = {(1, 1): 1.0, (1,): 0.625, (2,): None}
        assert backed_up(leaves) == leaves | inner and backed_up({}) == {}

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_a_leaf_that_is_worth_no_number(self, value: float) -> None:
        with pytest.raises(ValueError, match=r"branch 0\.1 is worth (nan|inf); give a number, or None"):
            backed_up({(0, 0): 1.0, (0, 1): value})

    def test_a_discussion_is_worth_its_verdict_else_its_last_round_else_who_spoke_last(self) -> None:
        class Verdict(TranscriptVerifier):
            def __call__(self, transcript: Transcript) -> Score:
                return Score(0.25, None)

        def team_score(question: Question, responses: Any) -> Score:
            return Score(0.75, None)

        half = ScriptedAgent(lambda o, rng: f"<{o['question'][14:-1]}>" if o["agent"] == "agent_1" else "no")
        for given, worth in (
            ({"team_verifier": Verdict()}, 0.25),
            ({"team_verifier": team_score}, 0.75),
            ({"protocol": "debate"}, 0.5),  # two speak last
            ({"protocol": "round_robin"}, 1.0),  # agent_1 alone does
        ):
            env = Digits(num_agents=2, num_rounds=1, **given)
            [episode] = rollout(env, seated(env, half), env.questions("train")[:1], seed=0)
            assert leaf_value(episode) == worth, given

    def test_nobody_scored_who_spoke_last(self) -> None:
        class Opened(RoundRobin):
            def scored(self, agent: str, round: int) -> bool:
                return agent == "agent_0"

        with pytest.raises(ValueError, match="ends with verifier_0, whose message is not scored.*scored_turns 'last'"):
            decisions(tree(waves=2))
        env = Digits(num_agents=2, num_rounds=1, protocol=Opened(1))
        leaves = rollout(env, seated(env), env.questions("train")[:1], seed=0, branching=(2,))
        with pytest.raises(ValueError, match="ends with agent_1, whose message is not scored"):
            decisions(leaves)
        assert [d.values for d in decisions(leaves, lambda e: float(e.branch[0]))] == [[0, 1], [0.0], [1.0]]


class TestDecisions:
    def test_candidates_are_siblings(self, make_team: Callable) -> None:
        env = Digits(protocol="pipeline", num_rounds=1)
        team = seated(env, make_team(1, 1, tokens=4).language_models[0])
        leaves = rollout(env, team, env.questions("train")[:2], seed=0, branching=(3, 3, 3))
        found = decisions(leaves, lambda e: float(sum(e.branch) % 2))
        assert Counter(d.agent for d in found) == {"generator_0": 2, "verifier_0": 6, "refiner_0": 18}
        assert [d.id for d in found[:5]] == ["0", "0.0", "0.1", "0.2", "0.0.0"] and found[13].id == "1"
        prompts: dict[bytes, set[str]] = defaultdict(set)
        for d in found:
            assert [c.id for c in d.candidates] == [f"{d.id}.{k}" for k in range(3)]
            assert len({c.completion.prompt_ids.tobytes() for c in d.candidates}) == 1
            shown = env.possible_agents.index(d.agent)  # how many messages there are before it
            assert len(d.observation["transcript"]) == shown == d.id.count(".")
            [encoded] = team.member(*d.seat).encode([d.observation])  # type: ignore[attr-defined]
            assert np.array_equal(encoded, d.candidates[0].completion.prompt_ids)
            prompts[encoded.tobytes()].add(d.id)
        assert all(len({name.split(".")[0] for name in names}) == 1 for names in prompts.values())

    def test_candidates_of_two_prompts_are_no_decision(self) -> None:
        two = decision(1.0, 0.0)
        other = Candidate("1.0", completion(7, prompt=(5, 9)), 0.0)
        with pytest.raises(ValueError, match=r"candidate '1\.0' was sampled from another prompt than '0\.0'"):
            replace(two, candidates=(*two.candidates, other))

    def test_a_question_gives_18_6_and_2_pairs_at_most(self) -> None:
        leaves, draw = tree(), np.random.default_rng(0)
        most: Counter[str] = Counter()
        for share in (0.3, 0.5, 0.6) * 100:
            right = dict(zip([e.branch for e in leaves], map(float, draw.random(27) < share), strict=True))
            found: Counter[str] = Counter()
            for d in decisions(leaves, lambda e, right=right: right[e.branch]):  # type: ignore[misc]
                found[d.agent] += len(pairs(d))
                assert all(a.value > 0.5 >= b.value for a, b in pairs(d))  # type: ignore[operator]
            most |= found
        assert most == {"refiner_0": 18, "verifier_0": 6, "generator_0": 2}

    def test_a_discussion_without_room_has_no_part(self) -> None:
        leaves = tree((2, 1, 3))
        whole = decisions(leaves, lambda e: float(e.branch[2] == 1))
        assert [d.values for d in whole[:2]] == [pytest.approx([1 / 3, 1 / 3]), pytest.approx([1 / 3])]
        spoiled = [overflowing(e) if e.branch in {(0, 0, 0), (1, 0, 1)} else e for e in leaves]
        found = {d.id: d for d in decisions(spoiled, lambda e: float(e.branch[2] == 1))}
        assert found["0"].values == [0.5, 0.0]
        assert [c.id for c in found["0.0.0"].candidates] == ["0.0.0.1", "0.0.0.2"]
        assert decisions([overflowing(e) for e in leaves]) == []

    def test_leaves_of_two_plays_are_not_mixed_up(self) -> None:
        with pytest.raises(
            ValueError, match=r"tree 1 has two leaves '1\.0\.0\.0'; give the starts of each play numbers"
        ):
            decisions([*tree((2,)), *tree((2,), first=1), *tree((2,), first=1)])
        assert len(decisions([*tree((2,)), *tree((2,), first=1)])) == 2 * (1 + 2 + 2)

    def test_a_sample_of_several_joint_actions_is_one_candidate(self) -> None:
        env = Digits(num_agents=2, num_rounds=1)
        joint = rollout(env, seated(env), env.questions("train")[:1], seed=0, branching=(2,), joint="cross")
        found = decisions(joint, lambda e: [0.0, 1.0, 0.5, 0.25][e.branch[0]])  # a c, a d, b c, b d
        assert [(d.id, [c.id for c in d.candidates], d.values) for d in found] == [
            ("0:agent_0", ["0.0:agent_0", "0.2:agent_0"], [0.5, 0.375]),
            ("0:agent_1", ["0.0:agent_1", "0.1:agent_1"], [0.25, 0.625]),
        ]


class TestRules:
    @pytest.mark.parametrize(
        ("values", "rule", "expected"),
        [
            ((1, 0.5, 0.5, 0), "threshold", [(0, 1), (0, 2), (0, 3)]),  # .5 is not above .5
            ((1, 0.5, 0.5, 0), "halves", [(0, 2), (0, 3), (1, 3)]),  # {1, .5} and {.5, 0}; equal values make no pair
            ((0, 0.5, 1, 0.5), "halves", [(2, 3), (2, 0), (1, 0)]),
            ((0.1, 0.9, 0.4), "halves", [(1, 0)]),  # the middle of three is in neither
            ((0.2, 0.9, 0.9, 0.1), "best_worst", [(1, 3)]),
            ((0.9, 0.8, 0.7), "threshold", []),
            ((0.3,), "halves", []),
            ((0.5, 0.5), "best_worst", []),
            ((), "best_worst", []),
            ((1, 2, 3), lambda values: ([2], [0]), [(2, 0)]),
        ],
    )
    def test_who_is_preferred_to_whom(self, values: tuple, rule: Any, expected: list) -> None:
        assert places(decision(*values), rule) == expected

    def test_nothing_is_learned_from_equal_texts(self) -> None:
        """Though they were spelt by other tokens, and though chance gave what came after them other values."""
        assert places(decision(1, 0.9, 0, 0.2, texts=["a", "b", "a", "c"]), "threshold") == [(0, 3), (1, 2), (1, 3)]

    def test_only_so_many_each_once(self) -> None:
        d = decision(*[1.0] * 4, *[0.0] * 4)
        rng = np.random.default_rng(0)
        seen: Counter[tuple[int, int]] = Counter()
        for _ in range(400):
            drawn = places(d, "threshold", most=4, rng=rng)
            assert len(set(drawn)) == 4
            seen.update(drawn)
        assert len(seen) == 16 and all(100 - 40 < n < 100 + 40 for n in seen.values())  # 4.6 standard deviations
        assert len(places(d, "threshold", most=16)) == 16
        with pytest.raises(ValueError, match="most is 3 of 16 pairs, but there is no rng"):
            pairs(d, most=3)

    @pytest.mark.parametrize("bad", [None, float("nan")])
    @pytest.mark.parametrize("rule", RULES)
    def test_what_has_no_value_is_not_compared(self, bad: float | None, rule: str) -> None:
        d = decision(1.0, bad, 0.0)
        for compared in (lambda: pairs(d, rule), lambda: positives(d)):
            with pytest.raises(ValueError, match=r"candidate '0\.1' of agent_0 has the value (None|nan); give every"):
                compared()

    def test_what_is_imitated_and_what_is_no_rule(self) -> None:
        assert [c.value for c in positives(decision(0.5, 0.51, 1, 0))] == [0.51, 1]
        with pytest.raises(
            ValueError, match=r"rule 'best' is unknown; use one of \['threshold', 'halves', 'best_worst'\]"
        ):
            pairs(decision(1, 0), "best")


class TestResample:
    def test_only_one_speaks_again_at_each_of_its_messages(self, make_team: Callable) -> None:
        """In a debate, where others spoke at the same time."""
        env, team = Digits(num_agents=3, num_rounds=2), make_team(3, 2, tokens=4)
        held = rollout(env, team, env.questions("train")[:2], seed=0)
        policy, asked = team.policies[0], list(env.verifier.batches)
        calls, batches, original = policy.sampler_calls, [], policy.sampler.sample
        policy.sampler.sample = lambda requests: batches.append([r.adapter for r in requests]) or original(requests)
        found = resample(env, team, held, "agent_1", 3, seed=0)
        assert policy.sampler_calls == calls + 1 and batches == [["agent_1"] * 2 * 2 * 3]
        assert env.verifier.batches == asked  # nothing is scored
        assert not policy.sampler.forget()  # and nothing kept
        mine = [(e, place) for e in held for place, turn in e.said if turn.agent == "agent_1"]
        for n, (d, (e, place)) in enumerate(zip(found, mine, strict=True)):
            said = e.transcript.turns[place]
            assert (d.id, d.seat, d.question_id) == (str(n), said.seat, e.transcript.question.id)
            assert (d.observation, d.state) == (e.observation(place), e.state(place))
            assert [(c.id, c.value) for c in d.candidates] == [(f"{n}.{k}", None) for k in range(3)]
            for c in d.candidates:
                assert np.array_equal(c.completion.prompt_ids, said.completion.prompt_ids)  # type: ignore[union-attr]
        rest = resample(env, team, held[1:], "agent_1", 4, seed=0, first=2)
        assert ids(rest, 3) == ids(found[2:], 3)  # a function of seed and numbers
        assert ids(resample(env, team, held, "agent_1", 3, seed=1), 3) != ids(found, 3)
        with pytest.raises(ValueError, match="agent 'nobody' does not discuss here"):
            resample(env, team, held, "nobody", 3, seed=0)
        with pytest.raises(ValueError, match="n is 0; sample at least 1"):
            resample(env, team, held, "agent_1", 0, seed=0)

    def test_its_streams_are_no_rollouts(self) -> None:
        env = Digits(num_agents=3, num_rounds=2)
        held = rollout(env, seated(env), env.questions("train")[:6], seed=0)
        new = [c.completion.text for d in resample(env, seated(env), held, "agent_2", 4, seed=0) for c in d.candidates]
        said = {turn.text for e in held for turn in e.transcript.turns}
        assert len(set(new)) == len(new) == 12 * 4 and said.isdisjoint(new)

    def test_a_prompt_without_room_is_no_decision(self) -> None:
        class Full(ScriptedAgent):
            def act(self, observations, rngs, *, greedy=False):  # type: ignore[no-untyped-def]
                said = super().act(observations, rngs, greedy=greedy)
                return [
                    Completion("", overflow=True) if o["round"] else c for o, c in zip(observations, said, strict=True)
                ]

        env = Digits(num_agents=2, num_rounds=2)
        held = rollout(env, seated(env), env.questions("train")[:2], seed=0)
        found = resample(env, seated(env, Full(lambda o, rng: "x")), held, "agent_0", 2, seed=0)
        assert [(d.id, d.round) for d in found] == [("0", 0), ("2", 0)]


def ids(found: Sequence[Decision], n: int) -> list[list[list[int]]]:
    """The tokens of each decision's first n candidates."""
    return [[c.completion.completion_ids.tolist() for c in d.candidates[:n]] for d in found]

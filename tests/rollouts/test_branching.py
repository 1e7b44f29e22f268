"""Trees of discussions: what is sampled, by which random numbers, how often anybody is asked, and what leaves share."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from discussion_toys import Digits
from safetensors.numpy import load_file

from maporl.agents.agent import ScriptedAgent
from maporl.agents.team import Team
from maporl.envs import DiscussionEnv
from maporl.envs.protocols import Debate
from maporl.rollouts.decisions import decisions
from maporl.rollouts.play import rollout
from maporl.rollouts.records import sampled_records
from maporl.rollouts.store import EpisodeStore
from maporl.types import Episode, Transcript, Turn

NUMBERS = ScriptedAgent(lambda o, rng: str(rng.integers(2**60)))
LEAVES_333 = list(itertools.product(range(3), repeat=3))


def pipeline(num_rounds: int = 1) -> Digits:
    """Generator, verifier, refiner; the task's secrets are other agents' and shown to nobody."""
    return Digits(protocol="pipeline", num_rounds=num_rounds)


def seated(env: DiscussionEnv, member: object) -> Team:
    """Everybody is played by one."""
    return Team({(a, r): member for a in env.possible_agents for r in range(env.num_rounds)})  # type: ignore[misc]


@pytest.fixture
def models(make_team: Callable) -> Callable[[DiscussionEnv], Team]:
    """models(env) -> a team of one tiny language model in all its seats."""
    return lambda env: seated(env, make_team(1, 1, tokens=5).language_models[0])


def texts(episode: Episode) -> list[str]:
    return [turn.text for _, turn in episode.said]


def tokens(episodes: Sequence[Episode]) -> list[list[list[int]]]:
    return [[c.completion_ids.tolist() for c in e.completions] for e in episodes]


def distinct(episodes: Sequence[Episode]) -> int:
    return len({id(c) for e in episodes for c in e.completions})


def test_39_messages_and_27_leaves_of_every_question_in_three_calls(models: Callable) -> None:
    env = pipeline()
    team = models(env)
    leaves = rollout(env, team, env.questions("train")[:5], seed=0, branching=(3, 3, 3), first=2)
    assert team.policies[0].sampler_calls == 3 and env.verifier.batches == [27 * 5]  # refiners alone are scored
    assert [(e.group, e.branch) for e in leaves] == [(n, b) for n in range(2, 7) for b in LEAVES_333]
    assert distinct(leaves) == 39 * 5
    for one, other in itertools.combinations(leaves[:27], 2):
        shared = [a == b for a, b in zip(one.branch, other.branch, strict=True)].index(False)
        same = [a is b for a, b in zip(one.completions, other.completions, strict=True)]
        assert same == [True] * shared + [False] * (3 - shared)
    assert all(len(e.rewards) == len(e.said) == 3 and e.transcript.is_complete for e in leaves)


def test_a_message_is_a_function_of_seed_number_and_branch(models: Callable) -> None:
    env = pipeline()
    team, asked = models(env), env.questions("train")[:4]
    whole = rollout(env, team, asked, seed=(3, 1), branching=(2, 1, 3))
    assert [e.branch for e in whole[:6]] == [(a, 0, c) for a in range(2) for c in range(3)]
    parts = [
        rollout(env, team, asked[i:j], seed=(3, 1), branching=(2, 1, 3), first=i) for i, j in ((0, 1), (1, 3), (3, 4))
    ]
    assert tokens([e for part in parts for e in part]) == tokens(whole)
    assert tokens(rollout(env, team, asked, seed=(3, 2), branching=(2, 1, 3))) != tokens(whole)
    # The first inner branches are the group that would have been without them, and more candidates leave the first as they were.
    assert tokens([e for e in whole if not e.branch[2]]) == tokens(
        rollout(env, team, asked, seed=(3, 1), branching=(2,))
    )
    wider = rollout(env, team, asked, seed=(3, 1), branching=(2, 2, 4))
    assert tokens([e for e in wider if not e.branch[1] and e.branch[2] < 3]) == tokens(whole)


@pytest.mark.parametrize("branching", [(), (3,), (1, 3), (1, 1, 2), (2, 1, 3), (3, 3, 3, 3, 3, 2)])
def test_every_message_has_a_stream_of_its_own(branching: tuple[int, ...]) -> None:
    """Also where a role speaks again in a later round."""
    env = pipeline(num_rounds=2)
    leaves = rollout(env, seated(env, NUMBERS), env.questions("train")[:3], seed=0, branching=branching)
    widths = (*branching, *[1] * (6 - len(branching)))
    assert len(leaves) == 3 * np.prod(widths) and len({e.branch for e in leaves}) * 3 == len(leaves)
    said = {(e.group, e.branch[:n]): text for e in leaves for n, text in enumerate(texts(e), 1)}
    assert len(said) == 3 * sum(np.cumprod(widths)) == len(set(said.values())) == distinct(leaves)


def test_several_who_speak_at_once_are_joint_candidates() -> None:
    env = Digits(num_agents=2, num_rounds=2)
    team, asked = seated(env, NUMBERS), env.questions("train")[:2]
    leaves = rollout(env, team, asked, seed=0, branching=(2, 3))
    assert env.verifier.batches == [2 * 2 * 2, 2 * 2 * 6]  # once a wave
    assert distinct(leaves) == 2 * (2 * 2 + 2 * 6)
    found = decisions(leaves[:6])
    assert [(d.id, d.agent, d.round, len(d.candidates)) for d in found] == [
        ("0:agent_0", "agent_0", 0, 2),
        ("0:agent_1", "agent_1", 0, 2),
        *[(f"0.{k}:{agent}", agent, 1, 3) for k in range(2) for agent in ("agent_0", "agent_1")],
    ]
    assert [c.id for c in found[3].candidates] == ["0.0.0:agent_1", "0.0.1:agent_1", "0.0.2:agent_1"]
    for d in found:
        for c in d.candidates:  # a message and its joint action
            branch = tuple(map(int, c.id.partition(":")[0].split(".")[1:]))
            e = next(e for e in leaves[:6] if e.branch[: len(branch)] == branch)
            place = next(i for i, turn in e.said if turn.completion is c.completion)
            assert (e.observation(place), e.state(place)) == (d.observation, d.state)
            assert e.transcript.turns[place].seat == d.seat


class Told(Debate):
    """After a round, and before the first, somebody outside says something that depends on what was said; it is counted."""

    def __init__(self) -> None:
        super().__init__(num_rounds=2)
        self.asked: list[int] = []

    def opening(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        return [(Turn("bank", 0, "begin", kind="feedback"),) for _ in transcripts]

    def feedback(self, transcripts: Sequence[Transcript]) -> list[tuple[Turn, ...]]:
        self.asked.append(len(transcripts))
        return [
            (Turn("ear", t.completed_rounds - 1, f"heard {t.turns[-1].text}", kind="feedback"),) for t in transcripts
        ]


def test_feedback_is_no_level_of_the_tree() -> None:
    env = Digits(num_agents=2, num_rounds=2, protocol=Told())
    leaves = rollout(env, seated(env, NUMBERS), env.questions("train")[:2], seed=0, branching=(2, 2))
    assert env.protocol.asked == [
        2 * 2
    ]  # once, of the candidates of all first waves: their children hear it all the same
    for e in leaves:
        kinds = [turn.kind for turn in e.transcript.turns]
        assert kinds == ["feedback", "said", "said", "feedback", "said", "said"] and len(e.branch) == 2
        assert e.transcript.turns[3].text == f"heard {e.transcript.turns[2].text}"
        assert [[place for place, _ in wave] for wave in e.waves] == [[1, 2], [4, 5]]
    assert [len(d.candidates) for d in decisions(leaves)] == [2] * 2 * (2 + 4)


def test_discussions_that_end_early_are_leaves_of_an_uneven_tree() -> None:
    env = Digits(num_agents=2, num_rounds=3, protocol={"name": "debate", "stop": "consensus"})
    coin = ScriptedAgent(lambda o, rng: f"<{o['question'][14:-1]}>" if rng.random() < 0.6 else "no idea")
    leaves = rollout(env, seated(env, coin), env.questions("train")[:6], seed=1, branching=(2, 2, 2))
    assert {len(e.branch) for e in leaves} == {1, 2, 3}
    for tree in range(6):
        mine = {e.branch: np.mean([t.correct for _, t in e.waves[-1]]) for e in leaves if e.group == tree}

        def value(branch: tuple[int, ...], mine: dict = mine) -> float:
            return mine[branch] if branch in mine else float(np.mean([value((*branch, k)) for k in range(2)]))

        for d in decisions([e for e in leaves if e.group == tree]):
            for c, v in zip(d.candidates, d.values, strict=True):
                assert v == pytest.approx(value(tuple(map(int, c.id.partition(":")[0].split(".")[1:]))))


def test_some_waves_of_a_discussion_and_from_where_it_was(models: Callable) -> None:
    env = pipeline()
    team, asked = models(env), env.questions("train")[:2]
    opened = rollout(env, team, asked, seed=0, branching=(3,), waves=1)
    assert team.policies[0].sampler_calls == 1 and not any(e.transcript.is_complete for e in opened)
    assert [(e.branch, len(e.said)) for e in opened] == [((k,), 1) for k in range(3)] * 2
    went_on = rollout(env, team, [e.transcript for e in opened], seed=5, branching=(2, 2))
    assert [(e.group, e.branch, e.given) for e in went_on[:5]] == [
        (0, (0, 0), 1),
        (0, (0, 1), 1),
        (0, (1, 0), 1),
        (0, (1, 1), 1),
        (1, (0, 0), 1),
    ]
    assert distinct(went_on) == 6 * (2 + 4) and all(e.transcript.is_complete for e in went_on)
    assert [d.agent for d in decisions(went_on)[:3]] == ["verifier_0", "refiner_0", "refiner_0"]
    with pytest.raises(ValueError, match="nobody is left to speak; give a shorter one"):
        rollout(env, team, [went_on[0].transcript], seed=0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"branching": (3, 0)}, r"branching is \[3, 0\]; every wave needs at least 1 candidate"),
        ({"branching": (1, 2), "greedy": True}, "greedy candidates are all the same; sample them"),
    ],
)
def test_trees_that_cannot_be(given: dict[str, Any], message: str) -> None:
    env = pipeline()
    with pytest.raises(ValueError, match=message):
        rollout(env, seated(env, NUMBERS), env.questions("train")[:1], seed=0, **given)


def test_a_tree_larger_than_memory_is_the_same_tree(models: Callable) -> None:
    """Of one agent that hears itself, so that children go on from what is kept of their parents; in batches of a few messages, with
    nothing kept, and by pieces of the questions."""
    env = Digits(num_agents=1, num_rounds=3, protocol="round_robin")
    team, asked = models(env), env.questions("train")[:3]
    sampler, grow = team.policies[0].sampler, {"seed": 0, "branching": (2, 3, 2)}
    whole = rollout(env, team, asked, **grow)
    batches: list[int] = []
    original = sampler.batch
    sampler.batch = lambda adapter, prompts, *rest: batches.append(len(prompts)) or original(adapter, prompts, *rest)
    for most, kept in ((400, 2**31), (400, 0), (sampler.max_batch_tokens, 0), (1, 2**14)):
        sampler.max_batch_tokens, sampler.max_kept_bytes = most, kept
        batches.clear()
        assert tokens(rollout(env, team, asked, **grow)) == tokens(whole), (most, kept)
        assert sum(batches) == 3 * (2 + 6 + 12) and (len(batches) > 3) == (most < 10_000)
    parts = [rollout(env, team, [q], first=n, **grow) for n, q in enumerate(asked)]
    assert tokens([e for part in parts for e in part]) == tokens(whole)


def test_what_leaves_share_is_stored_once_and_read_back_shared(models: Callable, tmp_path: Path) -> None:
    env = pipeline()
    leaves = rollout(env, models(env), env.questions("train")[:2], seed=0, branching=(3, 2, 2))
    store = EpisodeStore(tmp_path)
    store.write("trees", leaves, sampled_records(env, leaves))
    again = store.read("trees", env.rules)
    assert again == leaves and [e.branch for e in again] == [e.branch for e in leaves]
    place = {id(c): n for n, c in enumerate(c for e in leaves for c in e.completions)}
    copies = {id(c): n for n, c in enumerate(c for e in again for c in e.completions)}
    assert list(place.values()) == list(copies.values())  # the same messages are one
    assert len(load_file(tmp_path / "trees.safetensors")["completion_lengths"]) == 2 * (3 + 6 + 12)
    assert [(d.id, d.values) for d in decisions(again)] == [(d.id, d.values) for d in decisions(leaves)]

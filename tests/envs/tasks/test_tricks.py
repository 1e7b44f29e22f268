"""Tricks: who knows what, what a program is worth, what a team reaches together, and that it learns to."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from maporl.agents import Agent, IsolatedAgent, ScriptedAgent, Team
from maporl.agents.small_policy import SmallAgent, SmallPolicy
from maporl.algorithms import MAGRPO
from maporl.envs.tasks.tricks import SPEEDUPS, WORDS, Tricks, said
from maporl.rollouts.play import rollout
from maporl.training.evaluation import evaluate
from maporl.training.loop import Collector, learn
from maporl.types import Completion, Observation, Question

QUESTION = Question("Make the sorter faster.", "", metadata={"tricks": {"tile": 1.2, "fuse": 1.5, "pack": 2.0}})


@pytest.mark.parametrize(
    "text, speedup, status",
    [
        ("Program: tile fuse pack", 3.6, "ok"),
        ("I think.\nProgram: pack, pack and\nProgram: fuse, pack.\nNow it is fast.", 3.0, "ok"),
        ("Program:", 1.0, "ok"),  # the original
        ("Program: tile fuse pack sort", 0.0, "ok"),  # a decoy
        ("Program: tile twist", 0.0, "no_answer"),
        ("tile fuse pack", 0.0, "no_answer"),
        ("", 0.0, "no_answer"),
        ("Program: " + "tile " * 200_000, 1.2, "ok"),
    ],
)
def test_what_a_program_is_worth(text: str, speedup: float, status: str) -> None:
    score = Tricks().verifier(QUESTION, text)
    assert score.measures["speedup"] == pytest.approx(speedup) and score.value == pytest.approx(speedup / 3.6)
    assert (score.status, score.correct) == (status, speedup > 0)
    assert (score.answer is None) is (status == "no_answer")


def test_each_agent_knows_one_trick_and_together_they_know_all() -> None:
    env = Tricks()
    parts = [env.questions(split) for split in ("train", "validation", "test")]
    assert len({q.id for part in parts for q in part}) == sum(map(len, parts)) == 720 * 3
    assert len(parts[2]) == 432 and not env.oracle and env.protocol.measure == "speedup"
    for question in parts[2]:
        known = [re.fullmatch(r"(\w+) makes it (.+) times as fast\.", view) for view in question.private.values()]
        assert {m[1]: float(m[2]) for m in known if m} == question.metadata["tricks"]
        assert sorted(question.metadata["tricks"].values()) == list(SPEEDUPS)
    seats = [float(q.private["agent_0"].split()[3]) for q in parts[2]]
    assert [seats.count(s) for s in SPEEDUPS] == [144] * 3
    lone = Tricks(1, view="agent_2").questions("test")[0]
    assert [*lone.private] == ["agent_0"] and lone.private["agent_0"] == parts[2][0].private["agent_2"]


def frank(observation: Observation, rng: np.random.Generator) -> str:
    return said(observation)


def figures(env: Tricks, agent: Agent | Mapping[str, Agent], number: int = 60) -> dict[str, float]:
    agents = agent if isinstance(agent, Mapping) else dict.fromkeys(env.possible_agents, agent)
    team = Team({(name, 0): one for name, one in agents.items()})
    return evaluate(env, team, env.questions("test")[:number], greedy=False).metrics


def test_a_team_that_tells_its_lessons_reaches_the_union_and_a_deaf_one_its_best_agent() -> None:
    env = Tricks()
    team = figures(env, ScriptedAgent(frank))
    assert team["eval/speedup_geometric"] == pytest.approx(3.6) and team["eval/accuracy"] == team["eval/speedup_2"] == 1
    assert (
        team["eval/accuracy_round_1"] == 1 and "eval/accuracy_round_2" not in team
    )  # lessons are neither right nor wrong
    deaf = figures(env, IsolatedAgent(ScriptedAgent(frank)))
    assert deaf["eval/speedup_geometric"] == deaf["eval/speedup_arithmetic"] == pytest.approx(2.0)
    lone = figures(Tricks(1), ScriptedAgent(frank))
    assert lone["eval/speedup_geometric"] == pytest.approx(math.prod(SPEEDUPS) ** (1 / 3)) and lone[
        "eval/speedup_2"
    ] == pytest.approx(1 / 3)
    told_all = figures(Tricks(1, 1, view="all"), ScriptedAgent(frank))
    assert told_all["eval/speedup_geometric"] == pytest.approx(3.6)
    failing = figures(env, ScriptedAgent(lambda o, rng: "Program: twist"))
    assert (failing["eval/speedup_geometric"], failing["eval/speedup_arithmetic"], failing["eval/accuracy"]) == (
        1,
        0,
        0,
    )


def test_the_answer_and_what_it_is_worth_are_recorded() -> None:
    env = Tricks()
    team = Team({(name, 0): ScriptedAgent(frank) for name in env.possible_agents})
    (record,) = evaluate(env, team, env.questions("test")[:1]).records
    assert record["team_measures"] == {"speedup": pytest.approx(3.6)} and record["team_answer"] == record["gold"]


class Choosing(SmallAgent):
    """Chooses between three ways to write (its own word; all that it knows; what breaks) and three to teach (its word, a wrong one,
    nothing), by the kind of round: before there are lessons, of lessons, after them."""

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        return [np.array([min(o["round"], 2)], np.int64) for o in observations]

    def act(self, observations: Sequence[Observation], *args: Any, **kwargs: Any) -> list[Completion]:
        chosen = super().act(observations, *args, **kwargs)
        return [
            Completion(self.says(o, int(c.text)), c.prompt_ids, c.completion_ids, c.logprobs)
            for o, c in zip(observations, chosen, strict=True)
        ]

    def says(self, observation: Observation, choice: int) -> str:
        own = observation["private"].split()[0]
        if observation["round"] % 2:
            return (
                observation["private"],
                f"{WORDS[WORDS.index(own) - 1]} makes it 9 times as fast.",
                "It is hard to say.",
            )[choice]
        return "Program: " + (own, said(observation).removeprefix("Program: "), f"{own} twist")[choice]


def test_a_team_learns_to_tell_and_to_listen() -> None:
    """From chance to nearly all that there is, in seconds; the same team, deaf, is left with its best agent's trick."""
    env = Tricks()
    policy = SmallPolicy((3,), [1 / 3] * 3)
    agents = {name: Choosing(policy, name) for name in env.possible_agents}
    team = Team({(name, 0): agent for name, agent in agents.items()})
    before = figures(env, agents)["eval/speedup_geometric"]
    algorithm = MAGRPO(team, learning_rate=0.3, group_size=8)
    for _ in learn(Collector.of(algorithm, env, 64), algorithm, num_iterations=12):
        pass
    after, deaf = figures(env, agents), figures(env, {name: IsolatedAgent(agent) for name, agent in agents.items()})
    assert before < 2.6 and after["eval/speedup_geometric"] > 3.0
    assert deaf["eval/speedup_geometric"] <= 2.0 + 1e-9


def test_what_a_prompt_shows_is_counted_before_it_is_said() -> None:
    """The lessons that are shown are blank where nobody has spoken, so that a context check counts each at its longest."""
    env = Tricks()
    *_, (transcript, seat) = env.rules.longest(env.questions("train")[0])
    shown = env.rules.observe(transcript, seat)["transcript"]
    assert [m["agent"].partition(" (")[0] for m in shown if not m["text"]] == ["agent_2", "agent_2", *["lesson"] * 3]


def test_rollouts_and_trees_of_it_are_equal_to_the_environment_stepped_by_hand() -> None:
    env = Tricks(num_rounds=4)
    team = Team({(name, 0): ScriptedAgent(frank) for name in env.possible_agents})
    (episode,) = rollout(env, team, env.questions("train")[:1], seed=0)
    env.reset(options={"question": episode.transcript.question})
    for _, turn in episode.said:
        env.step(turn.text)
    assert env.transcript == episode.transcript and env.turn_rewards == episode.rewards
    assert [len(wave) for wave in episode.waves] == [3, 3, 3, 3]

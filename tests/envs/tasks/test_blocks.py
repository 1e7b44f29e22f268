"""Blocks: what actions do, what is shown, and that a gate makes a poor planner a good one only with a critic that knows something."""

from __future__ import annotations

import numpy as np
import pytest

from maporl import registry
from maporl.agents import Team
from maporl.agents.partners.gated import Gated
from maporl.benchmarks.experiments.arms import ArmPlanner, BlocksCritic
from maporl.envs.tasks.related.blocks import Blocks, Scene, action_of, shown_scene
from maporl.training.evaluation import evaluate
from maporl.types import Completion, Question


def test_actions_and_steps() -> None:
    texts = ("Move  3, please", "I SWEEP", "wait", "", "MOVE 5", "MOVE 1 or MOVE 2", "remove 1", "MOVE 2. Yes: MOVE 2")
    assert [action_of(text) for text in texts] == ["MOVE 3", "SWEEP", "WAIT", "WAIT", "WAIT", "WAIT", "WAIT", "MOVE 2"]
    scene = Scene((1, 3), (3, 3))
    assert scene.after(("SWEEP", "SWEEP")) == Scene((1,), (3, 3))
    assert scene.after(("SWEEP", "WAIT")) == scene == Scene((1, 3), (3, 3)).after(("WAIT", "WAIT"))
    assert Scene((1, 3), (2, 2)).after(("SWEEP", "SWEEP")) == Scene((1, 3), (2, 2)), "no target"
    assert Scene((1, 3), (0, 0)).after(("SWEEP", "SWEEP")) == Scene((1, 3), (0, 0)), "home"
    assert scene.after(("MOVE 1", "SWEEP")) == Scene((1, 3), (1, 3)), "both act at once"


def test_a_discussion_ends_when_all_is_swept_and_pays_the_share() -> None:
    env = Blocks()
    question = Question("Targets: 1, 3, 4. agent_0 is at block 1, agent_1 is at home.", "1, 3, 4")
    env.reset(options={"question": question})
    assert shown_scene(env.observe("agent_0")) == (Scene((1, 3, 4), (1, 0)), ("agent_0", "agent_1"), {})
    for text in ("hm", "MOVE 1"):
        env.step(text)
    scene = env.observe("agent_0")["transcript"][-1]
    assert scene == {
        "agent": "scene",
        "round": 0,
        "text": "Targets: 1, 3, 4. agent_0 is at block 1, agent_1 is at block 1.",
    }
    env.step("SWEEP")
    shown = env.observe("agent_1")
    assert shown_scene(shown) == (Scene((1, 3, 4), (1, 1)), ("agent_0", "agent_1"), {"agent_0": "SWEEP"})
    for text in ("SWEEP", "MOVE 3", "MOVE 3", "SWEEP", "SWEEP", "MOVE 4", "MOVE 4", "SWEEP"):
        env.step(text)
    early = env.transcript
    env.step("SWEEP")
    assert env.transcript.is_complete and env.transcript.completed_rounds == 6
    assert env.team_answer().answer == "1, 3, 4" and env.team_answer().correct == 1 and max(env.turn_rewards) == 1
    assert env.team_answer(early).answer == "1, 3"


def test_the_questions() -> None:
    env = Blocks()
    parts = [env.questions(split) for split in ("train", "validation", "test")]
    assert sum(map(len, parts)) == 100 == len({q.text for part in parts for q in part}) and len(parts[2]) == 20
    assert {q.answer for q in parts[2]} == {q.answer for q in parts[0]} and len({q.answer for q in parts[0]}) == 4


def test_a_gate_needs_a_critic_that_knows_something() -> None:
    """ReAd's claim, S > 0 with a budget of 10; not with shuffled values, and not with one proposal."""
    env = Blocks()

    def success(agent: object) -> tuple[float, float]:
        team = Team({(name, step): agent for name in env.possible_agents for step in range(env.num_rounds)})
        found = evaluate(env, team, env.questions("train")[:16], greedy=False).episodes
        right = [episode.transcript.verdict.correct for episode in found]  # type: ignore[union-attr]
        return float(np.mean(right)), float(np.mean([e.transcript.completed_rounds for e in found]))

    critic = BlocksCritic()
    alone, _ = success(ArmPlanner())
    gated, steps = success(Gated(ArmPlanner(), critic))
    assert gated >= 0.95 and gated >= alone + 0.5 and steps < 8
    shuffled = BlocksCritic(number=1)
    shuffled.values = critic.values.shuffled()
    assert max(success(Gated(ArmPlanner(), shuffled))[0], success(Gated(ArmPlanner(), critic, budget=1))[0]) <= 0.15


def test_an_action_that_cannot_be_read_is_scored_as_waiting() -> None:
    critic = BlocksCritic(number=300)
    env = Blocks()
    env.reset(seed=0)
    shown = env.observe("agent_0")
    scores = {text: critic(shown, Completion(text)) for text in ("WAIT", "whatever", "<think>MOVE 1", "MOVE 1")}
    assert scores["WAIT"] == scores["whatever"] == scores["<think>MOVE 1"] != scores["MOVE 1"]
    assert np.isnan(critic({**shown, "agent": "agent_1"}, Completion("WAIT"))), "it has not heard the arm before"
    with pytest.raises(ValueError, match="number is 0"):
        BlocksCritic(number=0)


def test_the_words() -> None:
    specification = {"name": "gated", "agent": "arm_planner", "score": {"name": "blocks_critic", "number": 10}}
    gated = registry.build("agent", specification)
    assert isinstance(gated.agent, ArmPlanner) and isinstance(gated.score, BlocksCritic)

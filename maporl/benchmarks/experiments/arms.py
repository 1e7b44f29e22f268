"""Who plays the task ``blocks`` by script: a planner that is mostly at random, and the critic fitted on what it does."""

from __future__ import annotations

import math

import numpy as np

from maporl.agents.agent import ScriptedAgent
from maporl.agents.partners.prefix_values import PrefixValues, Trajectory
from maporl.envs.tasks.related.blocks import ACTIONS, Blocks, Scene, action_of, scene_of, shown_scene
from maporl.errors import UserValueError
from maporl.reasoning import spoken
from maporl.types import Completion, Observation

__all__ = ["ArmPlanner", "BlocksCritic", "planned", "trajectories"]

RANDOM = 0.7


def planned(scene: Scene, arm: int, rng: np.random.Generator, random: float = RANDOM) -> str:
    """Any action with probability `random`, else the expert's: to the lowest target left, wait there for the other arm, and sweep."""
    if rng.random() < random or not scene.left:
        return ACTIONS[rng.integers(len(ACTIONS))]
    target = scene.left[0]
    if scene.places[arm] != target:
        return f"MOVE {target}"
    return "SWEEP" if all(place == target for place in scene.places) else "WAIT"


class ArmPlanner(ScriptedAgent):
    """See `planned`. It does not look at what the other arm has chosen in this step, nor at a critic's messages.

    Args:
        random: How often it does anything.
    """

    def __init__(self, random: float = RANDOM) -> None:
        super().__init__(lambda observation, rng: self.speak_from(observation, rng, random))

    @staticmethod
    def speak_from(observation: Observation, rng: np.random.Generator, random: float) -> str:
        scene, arms, _ = shown_scene(observation)
        agent = observation["agent"]
        return planned(scene, arms.index(agent), rng, random) if agent in arms else "WAIT"


def trajectories(number: int, seed: int, random: float = RANDOM) -> list[Trajectory]:
    """What the planner does in so many discussions of training questions, with reward 1 for a target."""
    rng, env = np.random.default_rng(seed), Blocks()
    scenes = [scene_of(question.text, (), 0)[0] for question in env.questions("train")]
    found: list[Trajectory] = []
    for _ in range(number):
        scene = scenes[rng.integers(len(scenes))]
        steps: list[tuple[Scene, tuple[str, ...], float]] = []
        while scene.left and len(steps) < env.num_rounds:
            actions = tuple(planned(scene, arm, rng, random) for arm in range(len(scene.places)))
            after = scene.after(actions)
            steps.append((scene, actions, float(len(scene.left) - len(after.left))))
            scene = after
        found.append(steps)
    return found


class BlocksCritic:
    """A score for `Gated`: the advantage of an arm's action by `PrefixValues`, fitted when it is made (a few seconds).

    It reads the scene from the whole discussion, so it needs ``history`` "all"; where the arm before was not heard (a debate) it knows
    nothing.

    Args:
        number: Of trajectories of the planner.
        seed: Of these, and of the shuffling.
        gamma: Of the returns.
        random: The planner's.
        shuffled: The values stand under other actions and states: the control.

    Raises:
        ValueError: `number` below 1, or as `PrefixValues.fit`.
    """

    def __init__(
        self, number: int = 3000, seed: int = 0, gamma: float = 0.8, random: float = RANDOM, shuffled: bool = False
    ) -> None:
        if number < 1:
            raise UserValueError(f"number is {number}; it must be at least 1.")
        self.values = PrefixValues().fit(trajectories(number, seed, random), gamma)
        if shuffled:
            self.values = self.values.shuffled(seed)

    def __call__(self, observation: Observation, proposal: Completion) -> float:
        scene, arms, said = shown_scene(observation)
        if observation["agent"] not in arms:
            return math.nan
        before = arms[: arms.index(observation["agent"])]
        if any(arm not in said for arm in before):
            return math.nan
        action = action_of(spoken(proposal.text) or "")
        return self.values.advantage(scene, [*(said[arm] for arm in before), action])

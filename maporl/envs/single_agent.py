"""A discussion as a Gymnasium environment: one learner's seat, the partners fixed.

The reward of an action is everything the discussion paid the learner from that action up to its next one (or the end),
so the sum over an episode is the shaping's total for that seat. What was paid before the learner's first action, when a
partner speaks first, comes with that action.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.rendering import check_render_mode
from maporl.errors import UserTypeError, UserValueError
from maporl.registry import build
from maporl.types import Observation

__all__ = ["SingleAgentEnv", "tell_private_view"]

Partner = Callable[[Observation], str]


def tell_private_view(observation: Observation) -> str:
    """The default partner: says what it alone knows, and nothing else."""
    return observation["private"]


class SingleAgentEnv(gymnasium.Env[Observation, str]):
    """One learner discusses with fixed partners.

    Args:
        env: The task: a word, ``{"name": ..., **arguments}``, ``package.module:Class``, a class, or a `DiscussionEnv`.
        seat: The learner's agent; the first one by default.
        partners: Who speaks for the others, one for all of them or a mapping from agent to partner: a function from
            `Observation` to text, or anything with ``act([observation], [rng])`` returning one completion that has
            ``.text``. Default: `tell_private_view`.
        render_mode: "human" or "ansi", as in `DiscussionEnv`.
        **arguments: For the task, unless it is given as an environment.

    Raises:
        ValueError: Unknown seat, or a seat without a partner.
        TypeError: A partner that can neither be called nor act.
    """

    metadata: dict[str, Any] = {"render_modes": ["human", "ansi"], "render_fps": 1}

    def __init__(
        self,
        env: Any = "two_witnesses",
        seat: str | None = None,
        partners: Any = None,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        self.render_mode = check_render_mode(render_mode)
        self.discussion = _discussion(env, {**arguments, "render_mode": render_mode})
        agents = self.discussion.possible_agents
        self.seat = agents[0] if seat is None else seat
        if self.seat not in agents:
            raise UserValueError(f"unknown seat {seat!r}; one of: {', '.join(agents)}.")
        self.partners = _partners(partners, [agent for agent in agents if agent != self.seat])
        self.observation_space = self.discussion.observation_space(self.seat)
        self.action_space = self.discussion.action_space(self.seat)
        self._paid = 0.0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a discussion and let the partners speak up to the learner's first message. Options as in `DiscussionEnv`."""
        super().reset(seed=seed)
        self.discussion.reset(seed=seed, options=options)
        self._paid = 0.0
        self._let_partners_speak()
        return self.discussion.observe(self.seat), {}

    def step(self, action: str) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """The learner says `action`, then the partners speak up to its next message or the end.

        At the end, ``info["turn_rewards"]`` is the exact reward of each of the learner's messages.
        """
        self._say(action)
        self._let_partners_speak()
        paid, self._paid = self._paid, 0.0
        over = self.discussion.terminations[self.seat]
        return self.discussion.observe(self.seat), paid, over, False, dict(self.discussion.infos[self.seat])

    def _say(self, text: str) -> None:
        if self.discussion.terminations[self.seat]:
            raise RuntimeError("the discussion is over; call reset().")
        self.discussion.step(text)
        self._paid += float(self.discussion.rewards[self.seat])

    def _let_partners_speak(self) -> None:
        while not self.discussion.terminations[self.seat] and self.discussion.agent_selection != self.seat:
            agent = self.discussion.agent_selection
            self._say(_speak(self.partners[agent], self.discussion.observe(agent), self.np_random))

    def render(self) -> Any:
        return self.discussion.render()

    def close(self) -> None:
        self.discussion.close()


def _discussion(env: Any, arguments: Mapping[str, Any]) -> DiscussionEnv:
    if isinstance(env, DiscussionEnv):
        return env.remade(**{name: value for name, value in arguments.items() if value is not None})
    discussion = build("env", env, **arguments)
    if not isinstance(discussion, DiscussionEnv):
        raise UserTypeError(f"env {env!r} makes a {type(discussion).__name__}; it must make a DiscussionEnv.")
    return discussion


def _partners(partners: Any, seats: list[str]) -> dict[str, Any]:
    """Agent -> partner for every seat but the learner's."""
    if not isinstance(partners, Mapping):
        partners = dict.fromkeys(seats, tell_private_view if partners is None else partners)
    for seat in seats:
        if seat not in partners:
            raise UserValueError(
                f"no partner for {seat!r}; partners name {', '.join(map(repr, partners)) or 'nobody'}."
            )
        if not (callable(partners[seat]) or hasattr(partners[seat], "act")):
            raise UserTypeError(
                f"partner {partners[seat]!r} of {seat!r} can neither be called nor act; give a function."
            )
    return dict(partners)


def _speak(partner: Any, observation: Observation, rng: np.random.Generator) -> str:
    if hasattr(partner, "act"):
        return partner.act([observation], [rng])[0].text
    return partner(observation)

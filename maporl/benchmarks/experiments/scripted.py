"""Scripted discussions as training chats: every speaker's prompts are exactly those of a rollout, what it says is a function's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from maporl.agents.prompts import PromptTemplate
from maporl.envs.discussion import DiscussionEnv
from maporl.registry import load
from maporl.types import Observation, Turn

__all__ = ["Cast", "Chat", "Speaker", "cast", "discussion", "seats_of"]

Chat = list[dict[str, str]]
Cast = tuple[DiscussionEnv, list[DiscussionEnv], DiscussionEnv]
"""A task's team, a lone agent in every seat that knows something, and one that is told all."""
SEATS: Mapping[str, str] = {"vault": "num_digits", "two_witnesses": "num_witnesses"}

Speaker = Callable[[Observation, Mapping[str, Any]], str]
"""What is said, of an observation and the question's metadata."""


def cast(word: str, seats: int, num_rounds: int | None, protocol: str = "", **env_args: Any) -> Cast:
    """The environments of a task in which its model will be measured; the team's by `protocol`, "" the task's own."""
    task = load("env", word)
    own = dict(env_args) | ({} if num_rounds is None else {"num_rounds": num_rounds})
    team: DiscussionEnv = task(seats, **own, protocol=protocol or None)
    if not team.private_seats():  # nobody has a view
        return team, [task(1, **own)] * seats, task(1, **own)
    return team, [task(1, view=seat, **own) for seat in team.private_seats()], task(1, view="all", **own)


def seats_of(word: str, seats: int) -> dict[str, int]:
    """What tells a lone agent of a team's task how many know something there: arguments of the task."""
    return {SEATS[word]: seats} if word in SEATS else {}


def discussion(
    of: Cast, speak: Speaker, prompts: PromptTemplate, rng: np.random.Generator, *, teams: float = 10.0
) -> list[Chat]:
    """One discussion on a training question, as each of its speakers saw it: a chat each, or several where one does not go on with another.

    Args:
        of: Of `cast`.
        speak: The speakers.
        prompts: Of the model.
        rng: Chooses the setting and the question.
        teams: Chats of teams for each chat of a lone agent, and for each of one that is told all.
    """
    team, lone, told = of
    seats = len(lone)
    kind = rng.random() * (teams / seats + 2)  # a team's discussion gives `seats` chats
    alone = lone[int(rng.integers(seats))]
    env = alone if kind < 1 else told if kind < 2 else team
    questions, rules = env.questions("train"), env.rules if env.protocol.reads_scores else env.rules.unjudged
    transcript = rules.start(questions[int(rng.integers(len(questions)))])
    seen: dict[str, list[Chat]] = {}
    while due := rules.due(transcript):
        said = []
        for seat in due:
            observation = rules.observe(transcript, seat)
            text = speak(observation, transcript.question.metadata)
            chat, own = (
                [*prompts.messages(observation), {"role": "assistant", "content": text}],
                seen.setdefault(seat.agent, []),
            )
            if own and chat[: len(own[-1])] == own[-1]:
                own.pop()
            own.append(chat)
            said.append(Turn(*seat, text))
        (transcript,) = rules.extend([(transcript, said)])
    return [chat for own in seen.values() for chat in own]

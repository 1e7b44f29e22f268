"""What the scripted colleagues of a warm start say: functions of what they are shown and of their habits.

By habit:

| | honest round 1 | dishonest | sensible later | not sensible |
|---|---|---|---|---|
| two witnesses, clear view | the digit seen | one more | the digit seen | caves: repeats the other agent's |
| two witnesses, foggy view | the digit seen | one more | follows the other agent | stays with the digit seen |
| vault | own digit, rest guessed | one more, rest guessed | own digit and the others' | own digit, keeps its guesses |

Arithmetic has a warm start too, as a control in which everybody sees everything: its speakers have no habits, they slip. So have requests
(who asks asks for anything, and the customer answers it), experts (whose leader mostly repeats any peer), tricks (half of the time lessons
are told, and used) and composed (who knows the form of the code and no word, which is all that this start teaches).

The lie is always the same, so that a liar lies under greedy decoding too. A lone agent has nobody to follow: foggy and
sensible, it guesses another digit; clear and not sensible too. With all views it knows the answer: honest and sensible
give it, the opposites a wrong one. Those chats are part of the corpus at the same rates, so that single-agent rows start
from a model that understands their prompts.

In a pipeline, where each speaks once, "round 1" is the generator's: verifier and refiner are sensible or not.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from maporl.agents.partners import expert as peer
from maporl.agents.simulated_human import answer
from maporl.envs.tasks import tricks
from maporl.envs.tasks.combinations import ITEMS
from maporl.envs.tasks.composed import guessed
from maporl.envs.tasks.related.experts import COLOURS
from maporl.envs.tasks.requests import ATTRIBUTES
from maporl.types import Observation

__all__ = [
    "ENV_ARGS",
    "HONEST",
    "MIXED",
    "PURE",
    "SENSIBLE",
    "SLIPS",
    "SPEAKERS",
    "STEPS",
    "TEAMS",
    "Habits",
    "Habitual",
]

HONEST: Mapping[str, float] = dict(zip(ITEMS, (0.95, 0.90, 0.85, 0.75, 0.65, 0.40, 0.30, 0.20), strict=True))
SENSIBLE: Mapping[str, float] = dict(zip(ITEMS, (0.30, 0.90, 0.65, 0.20, 0.95, 0.75, 0.40, 0.85), strict=True))


@dataclass(frozen=True)
class Habits:
    """Item -> probability of an honest first message, and of a sensible later one."""

    honest: Mapping[str, float]
    sensible: Mapping[str, float]


MIXED = Habits(HONEST, SENSIBLE)
PURE = Habits(dict.fromkeys(ITEMS, 1.0), {item: float(rate > 0.5) for item, rate in SENSIBLE.items()})

Habitual = Callable[[Observation, str, Habits, np.random.Generator], str]


def _witness(observation: Observation, item: str, habits: Habits, rng: np.random.Generator) -> str:
    views = dict(re.findall(r"(Clear|Foggy) view: (\d)", observation["private"]))
    clear = "Clear" in views
    seen = views["Clear" if clear else "Foggy"]
    heard = [m["text"] for m in observation["transcript"] if m["agent"] != observation["agent"]]
    if not observation["transcript"]:
        said = seen if rng.random() < habits.honest[item] else _next(seen)
    elif clear == (rng.random() < habits.sensible[item]):
        said = seen  # clear and sensible, or foggy and stubborn
    elif heard:
        said = heard[-1].removeprefix("Answer: ")
    else:
        said = views["Foggy"] if clear and len(views) == 2 else _other(seen, rng)
    return f"Answer: {said}"


def _vault(observation: Observation, item: str, habits: Habits, rng: np.random.Generator) -> str:
    known = {int(place) - 1: digit for place, digit in re.findall(r"Digit (\d) is (\d)", observation["private"])}
    size = int(re.findall(r"(\d)-digit", observation["question"])[0])
    latest = {m["agent"]: m["text"].removeprefix("Answer: ") for m in observation["transcript"]}
    mine = latest.pop(observation["agent"], None)
    code = list(mine) if mine else [str(digit) for digit in rng.integers(10, size=size)]
    for place, digit in known.items():
        code[place] = digit
    good = rng.random() < (habits.honest if mine is None else habits.sensible)[item]
    if good and mine is not None:
        for agent, heard in latest.items():
            place = int(agent.removeprefix("agent_"))
            code[place] = heard[place]
    elif not good and (mine is None or len(known) == size):
        place = list(known)[int(rng.integers(len(known)))]
        code[place] = _next(code[place])
    return f"Answer: {''.join(code)}"


def _calculator(observation: Observation, item: str, habits: Habits, rng: np.random.Generator) -> str:
    """Often a little wrong at first, right when it revises what it said, whatever the others say: nobody knows what others do not."""
    (a, sign, b) = re.findall(r"(\d+) ([+-]) (\d+)", observation["question"])[0]
    right = int(a) + int(b) if sign == "+" else int(a) - int(b)
    spoken = any(m["agent"] == observation["agent"] for m in observation["transcript"])
    slip = not spoken and rng.random() < SLIPS
    return f"Answer: {right + int(rng.choice([-2, -1, 1, 2])) if slip else right}"


def _next(digit: str) -> str:
    """The lie: always one more, so that a liar lies greedily too (a random digit would hardly ever be the likeliest)."""
    return str((int(digit) + 1) % 10)


def _other(digit: str, rng: np.random.Generator) -> str:
    """Another digit, at random."""
    return str((int(digit) + int(rng.integers(1, 10))) % 10)


def _customer(observation: Observation, item: str, habits: Habits, rng: np.random.Generator) -> str:
    """Who asks has no idea what matters; the customer has, and answers."""
    if observation["agent"] == "agent_0":
        return f"Which {list(ATTRIBUTES)[int(rng.integers(len(ATTRIBUTES)))]}?"
    return answer(observation, rng)


FOLLOWS = 0.25
"""How often a leader of mixed habits follows the expert on purpose."""


def _expert(observation: Observation, item: str, habits: Habits, rng: np.random.Generator) -> str:
    """Peers who say what they know, and a leader who repeats one of them: by pure habits the colour's expert, by mixed ones often any."""
    if observation["private"]:
        return peer.said(observation, rng)
    heard = {m["agent"]: m["text"] for m in observation["transcript"] if m["agent"] != observation["agent"]}
    if not heard:
        return f"Answer: {rng.integers(10)}"
    expert = f"agent_{1 + COLOURS.index(item)}"
    if expert in heard and (habits is PURE or rng.random() < FOLLOWS):
        return heard[expert]
    return list(heard.values())[int(rng.integers(len(heard)))]


SPEAKERS: Mapping[str, Habitual] = {
    "two_witnesses": _witness,
    "vault": _vault,
    "arithmetic": _calculator,
    "requests": _customer,
    "experts": _expert,
    "tricks": lambda o, item, habits, rng: tricks.said(o, frank=habits is PURE or rng.random() < 0.5),
    "composed": lambda o, item, habits, rng: guessed(o, rng),
}
TEAMS: Mapping[str, float] = {"composed": 2.0}
"""Chats of teams for each of a lone agent, where ten are too many: a lone agent writes what two write, and must know the form as well."""
ENV_ARGS: Mapping[str, Mapping[str, Any]] = {"arithmetic": {"max_operand": 30}, "tricks": {"history": "last_round"}}
"""Of a task whose default questions are beyond a model of this size."""
SLIPS = 0.2
"""How often a calculator's first answer is wrong, beside what the model itself has not learned."""
STEPS: Mapping[str, Mapping[str, int]] = {
    "arithmetic": {"steps": 900, "pure_steps": 0},
    "tricks": {"steps": 700, "pure_steps": 450},
}
"""What a task without habits takes to be half learned, where the recipe's default is not enough."""

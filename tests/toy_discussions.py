"""Discussions without an environment: hand-made episodes, and a minimal simultaneous debate written a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from maporl.agents.team import Team
from maporl.types import Completion, Episode, Message, Observation, Question, Score, Step, Transcript, Turn

Reward = Callable[[str], float]


def digit_share(text: str) -> float:
    """Low on random text and easy to raise."""
    return sum(c.isdigit() for c in text) / max(len(text), 1)


def readable_share(text: str) -> float:
    """Varies on random text."""
    return sum(c.isascii() and c.isalnum() for c in text) / max(len(text), 1)


def view(
    question: Question, agents: Sequence[str], agent: str, round: int, said: Sequence[Turn], *, joint: bool
) -> Observation:
    """What `agent` is shown (or its critic, if `joint`) after the completed rounds `said`."""
    own_first = sorted(said, key=lambda t: (t.round, t.agent != agent))
    everything = len(agents) > 1 and joint
    private = (
        "\n".join(f"{a}: {question.private[a]}" for a in agents if a in question.private)
        if everything
        else question.private.get(agent, "")
    )
    return Observation(
        agent=agent,
        round=round,
        question=question.text,
        private=private,
        instruction="Write digits.",
        role="",
        transcript=tuple(Message(agent=t.agent, round=t.round, text=t.text) for t in own_first),
    )


def play(
    team: Team,
    questions: Sequence[Question],
    *,
    rounds: int,
    seed: int = 0,
    reward: Reward = readable_share,
    group_size: int = 1,
    contains_future: bool = False,
) -> list[Episode]:
    """`group_size` debates of every question; everybody is paid `reward` of the own message."""
    agents = team.agents
    numbered = [(g, q) for g, q in enumerate(questions) for _ in range(group_size)]
    said: list[list[Turn]] = [[] for _ in numbered]
    steps: list[list[Step]] = [[] for _ in numbered]
    for r in range(rounds):
        asked = [(i, a) for i in range(len(numbered)) for a in agents]
        shown = [view(numbered[i][1], agents, a, r, said[i], joint=False) for i, a in asked]
        states = [view(numbered[i][1], agents, a, r, said[i], joint=True) for i, a in asked]
        rngs = [np.random.default_rng([seed, i, agents.index(a), r]) for i, a in asked]
        for (i, a), o, s, c in zip(asked, shown, states, team.act(shown, rngs), strict=True):
            value = reward(c.text)
            said[i].append(Turn(a, r, c.text, Score(value, None), Score(value, None)))
            steps[i].append(Step(a, r, o, s, c, value))
    return [
        Episode(Transcript(q, agents, rounds, tuple(said[i])), tuple(steps[i]), contains_future, g)
        for i, (g, q) in enumerate(numbered)
    ]


def questions(number: int, agents: Sequence[str] = ("agent_0", "agent_1")) -> list[Question]:
    return [Question(f"What is {n}?", str(n), private={a: f"secret {n} of {a}" for a in agents}) for n in range(number)]


def completion(*ids: int, prompt: Sequence[int] = (5, 6), logprobs: Sequence[float] | None = None) -> Completion:
    """A message of these tokens."""
    values = np.full(len(ids), -1.0, np.float32) if logprobs is None else np.asarray(logprobs, np.float32)
    return Completion("text", np.asarray(prompt, np.int64), np.asarray(ids, np.int64), values)


def episode(
    agents: Sequence[str],
    turns: Sequence[tuple[str, int, Completion, float]],
    *,
    contains_future: bool = False,
    group: int = 0,
) -> Episode:
    """From (agent, round, completion, reward) in speaking order."""
    question = Question("q", "a")
    said = [Turn(a, r, c.text) for a, r, c, _ in turns]
    steps = []
    for a, r, c, value in turns:
        before = [t for t in said if t.round < r]
        shown, state = (view(question, agents, a, r, before, joint=joint) for joint in (False, True))
        steps.append(Step(a, r, shown, state, c, value))
    rounds = 1 + max(r for _, r, _, _ in turns)
    transcript = Transcript(question, tuple(agents), rounds, tuple(said))
    return Episode(transcript, tuple(steps), contains_future, group)

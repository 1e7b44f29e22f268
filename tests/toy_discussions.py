"""Discussions without an environment: hand-made episodes, and a minimal simultaneous debate written a second time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from maporl.agents.team import Team
from maporl.types import Completion, Episode, Message, Observation, Question, Score, Seat, Transcript, Turn

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
    for r in range(rounds):
        asked = [(i, a) for i in range(len(numbered)) for a in agents]
        shown = [view(numbered[i][1], agents, a, r, said[i], joint=False) for i, a in asked]
        rngs = [np.random.default_rng([seed, i, agents.index(a), r]) for i, a in asked]
        for (i, a), c in zip(asked, team.act(shown, rngs), strict=True):
            score = Score(reward(c.text), None)
            said[i].append(Turn(a, r, c.text, score, score, c))
    return [
        Episode(
            Transcript(q, agents, rounds, tuple(said[i])),
            tuple(turn.value for turn in said[i]),
            tuple(team.learner(*turn.seat) is not None for turn in said[i]),
            contains_future=contains_future,
            group=g,
            views=Views(),
        )
        for i, (g, q) in enumerate(numbered)
    ]


class Views:
    """What is shown in these debates."""

    def observe(self, transcript: Transcript, seat: Seat) -> Observation:
        return self._view(transcript, seat, joint=False)

    def state(self, transcript: Transcript, seat: Seat) -> Observation:
        return self._view(transcript, seat, joint=True)

    def _view(self, transcript: Transcript, seat: Seat, joint: bool) -> Observation:
        settled = [turn for turn in transcript.turns if turn.round < seat.round]
        return view(transcript.question, transcript.agents, *seat, settled, joint=joint)


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
    learns: Sequence[bool] | None = None,
) -> Episode:
    """From (agent, round, completion, reward) in speaking order."""
    rounds = 1 + max(r for _, r, _, _ in turns)
    said = tuple(Turn(a, r, c.text, completion=c) for a, r, c, _ in turns)
    transcript = Transcript(Question("q", "a"), tuple(agents), rounds, said)
    rewards = tuple(value for *_, value in turns)
    learns = (True,) * len(said) if learns is None else tuple(learns)
    return Episode(transcript, rewards, learns, contains_future=contains_future, group=group, views=Views())

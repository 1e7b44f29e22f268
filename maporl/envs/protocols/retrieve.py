"""Retrieve: candidates answer with their reasoning, and one who scores how well each answer follows from it chooses by these scores."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from maporl.envs.protocols.leader import Leader
from maporl.envs.protocols.roles import drawn
from maporl.envs.team_answer import TeamAnswer, stated, vote
from maporl.types import Message, Score, Transcript, Turn

__all__ = ["Retrieve", "faithfulness"]

_RETRIEVER = (
    "You are the retriever. Each of your colleagues has answered the question with its reasoning. Say of every one how faithfully its "
    "answer follows from its reasoning, from 0 to 1, a line for each. The answer of the highest score is the team's."
)
_CANDIDATE = (
    "Give your reasoning step by step before your answer: it is judged by how faithfully the answer follows from it."
)


class Retrieve(Leader):
    """All but one answer with reasoning; the retriever, agent_0, scores them, and the best answer is the team's (Corex, 2310.00280).

    Who speaks when, and what candidates read in later rounds, is as in `Leader`. The retriever reads the candidates of a round in an order
    that the question's hash decides, and writes "agent_2. Faithfulness: 0.8" about each; what it last says of one counts, and a candidate
    of whom it says nothing readable has 0. The highest score wins, of equal ones that of the earlier agent.

    The retriever's message is worth what the chosen one is worth, so it is trained like any other. If it has no readable score at all it is
    worth nothing, and the candidates' majority is the team's answer. Both are counted, as measures of the retriever's score and of the
    team's answer: "unreadable" (candidates without a readable score) and "majority" (1 where there was no score at all).

    Args:
        num_rounds, history, show_scores: As in `Leader`; the paper has one round.
    """

    name = "retrieve"

    def messages(self, transcript: Transcript, agent: str) -> tuple[Message, ...]:
        shown = super().messages(transcript, agent)
        if agent != transcript.agents[0]:
            return shown
        place = {name: n for n, name in enumerate(drawn(transcript.question, transcript.agents[1:]))}
        waiting = iter(sorted((m for m in shown if m["agent"] in place), key=lambda m: (m["round"], place[m["agent"]])))
        return tuple(next(waiting) if message["agent"] in place else message for message in shown)

    def instruction(self, transcript: Transcript, agent: str, instruction: str) -> str:
        if agent != transcript.agents[0]:
            return instruction
        names = drawn(transcript.question, transcript.agents[1:])
        return f'Write a line for each of {", ".join(names)}, in the form "{names[0]}. Faithfulness: 0.8".'

    def role(self, agent: str, round: int) -> str:
        return _RETRIEVER if agent == "agent_0" else _CANDIDATE

    def scored(self, agent: str, round: int) -> bool:
        return agent != "agent_0"

    def credited(self, transcript: Transcript, turn: Turn) -> Turn:
        candidates = transcript.round(turn.round)
        if turn.agent != transcript.agents[0] or not candidates:
            return turn
        chosen, counts = _choice(turn.text, candidates)

        def score(given: Score | None) -> Score | None:
            if given is None:
                return None
            own = Score(0.0, False, None, "no_answer") if chosen is None else replace(given, judge_tokens=0)
            return replace(own, measures={**own.measures, **counts})

        of = candidates[0] if chosen is None else chosen
        return turn.scored(score(of.score), score(of.truth))

    def team_answer(self, transcript: Transcript, equivalent: Callable[[str, str], bool] | None = None) -> TeamAnswer:
        said = transcript.standing(transcript.completed_rounds - 1)
        candidates = [turn for turn in said if turn.agent != transcript.agents[0]]
        retriever = next((turn for turn in said if turn.agent == transcript.agents[0]), None)
        chosen, counts = (None, {}) if retriever is None else _choice(retriever.text, candidates)
        counting = candidates if chosen is None else [chosen]
        answer = vote(counting, [1.0] * len(counting), equivalent)
        return replace(answer, measures={**answer.measures, **counts})


def faithfulness(text: str, names: Sequence[str]) -> dict[str, float]:
    """What a retriever says of each name, 0 to 1: what it last says after that name and before another; nothing unreadable is in it."""
    parts = re.split(rf"\b({'|'.join(map(re.escape, names))})\b", text)
    said = [(name, stated(words, "faithfulness")) for name, words in zip(parts[1::2], parts[2::2], strict=True)]
    return {name: value for name, value in said if value is not None}


def _choice(text: str, candidates: Sequence[Turn]) -> tuple[Turn | None, Mapping[str, float]]:
    """The candidate of the highest score, the first of equals, None if no score can be read; and what is counted."""
    scores = faithfulness(text, [turn.agent for turn in candidates])
    counts = {"unreadable": float(len(candidates) - len(scores)), "majority": float(not scores)}
    return max(candidates, key=lambda turn: scores.get(turn.agent, 0.0)) if scores else None, counts

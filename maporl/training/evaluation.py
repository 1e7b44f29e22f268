"""What a team gets right: whole discussions on held-out questions, with a record of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents.team import Team
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.protocols.lesson_bank import SPEEDUP, speedup_metrics
from maporl.envs.team_answer import TeamAnswer, best_of_history, by_confidence, by_score, last_speaker, majority
from maporl.errors import UserValueError
from maporl.rollouts.measures import mean_measures
from maporl.rollouts.play import rollout
from maporl.rollouts.records import record, write_records
from maporl.types import Episode, Question, Transcript

__all__ = ["TEAM_ANSWERS", "Evaluation", "check_oracle", "check_team_answer", "evaluate", "gold_reader", "subset"]


TEAM_ANSWERS: dict[str, Callable[[DiscussionEnv, Transcript], TeamAnswer]] = {
    "protocol": lambda env, transcript: env.team_answer(transcript),
    "majority": lambda env, transcript: majority(transcript, env.verifiers.equivalent),
    "last_speaker": lambda env, transcript: last_speaker(transcript),
    "confidence": lambda env, transcript: by_confidence(transcript, env.verifiers.equivalent),
    "verifier": lambda env, transcript: by_score(transcript, env.verifier, env.verifiers.equivalent),
    "best_of_history": lambda env, transcript: best_of_history(transcript, verifier=env.verifier),
}
"""Ways from a discussion to the team's one answer; "confidence" and "verifier" are votes weighted by what is stated and scored,
"best_of_history" is the message of all rounds whose score is greatest."""

ENDS = ("truncated", "thinking_cut", "stopped")
"""What may be so of a `Completion`, and is counted."""


@dataclass(frozen=True)
class Evaluation:
    """Metrics named ``eval/...``, one JSON-ready record a discussion, and the discussions themselves."""

    metrics: dict[str, float]
    records: list[dict[str, Any]]
    episodes: Sequence[Episode] = field(default=(), repr=False)

    def save(self, path: str | Path) -> None:
        """Write the records as JSON lines."""
        write_records(path, self.records)


def evaluate(
    env: DiscussionEnv,
    team: Team,
    questions: Sequence[Question],
    *,
    seed: int | Sequence[int] = 0,
    greedy: bool = True,
    team_answer: str = "protocol",
    allow_oracle: bool = False,
) -> Evaluation:
    """Discuss every question once.

    Args:
        env: The task.
        team: Who discusses.
        questions: All of them are asked.
        seed: Of the random streams when sampling.
        greedy: Decode greedily, else sample as in training.
        team_answer: How the discussion becomes one answer: a word of `TEAM_ANSWERS`; "protocol" is the protocol's own rule (majority
            vote of the last round with ties by expectation; the last speaker of a pipeline).
        allow_oracle: Let an answer stand in which a verifier that knows the gold answer had a part.

    Raises:
        ValueError: No questions, an unknown word, or an oracle answer that was not allowed.
    """
    check_team_answer(team_answer)
    check_oracle(env, allow_oracle)
    if not questions:
        raise UserValueError("there is no question to evaluate; give num_eval_questions >= 1.")
    episodes = rollout(env, team, questions, seed=seed, greedy=greedy)
    answers = [env.labelled(TEAM_ANSWERS[team_answer](env, e.transcript)) for e in episodes]
    if any(a.oracle for a in answers) and not allow_oracle:
        raise UserValueError(
            "the team's answer is chosen by a verifier that knows the gold answer: that is an oracle, not a result. Use a majority vote, "
            "or pass --allow_oracle to get a figure labelled oracle."
        )
    turns = [t for e in episodes for t in e.transcript.turns if t.truth is not None]
    last = [t for e in episodes for t in e.transcript.standing(env.num_rounds - 1) if t.truth is not None]
    oracle = "oracle_" if any(a.oracle for a in answers) else ""
    metrics = {
        f"eval/{oracle}accuracy": float(np.mean([a.correct for a in answers])),
        "eval/tied": float(np.mean([a.tied > 1 for a in answers])),
        "eval/questions": float(len(questions)),
        "eval/overflow": float(np.mean([e.overflow for e in episodes])),
        **_speedups(episodes, answers, f"eval/{oracle}"),
        **{f"eval/{how}": float(np.mean([getattr(c, how) for e in episodes for c in e.completions])) for how in ENDS},
        "eval/completion_tokens": float(np.mean([sum(c.sampled_tokens for c in e.completions) for e in episodes])),
        "eval/prompt_tokens": float(np.mean([sum(len(c.prompt_ids) for c in e.completions) for e in episodes])),
        "eval/reward_mean": float(np.mean([e.rewards[i] for e in episodes for i, _ in e.said])),
    }
    if turns:
        metrics["eval/parse_rate"] = float(np.mean([t.truth is not None and t.truth.answer is not None for t in turns]))
    if last:
        metrics["eval/agent_accuracy"] = float(np.mean([bool(t.correct) for t in last]))
    for r in range(env.num_rounds):
        judged = [bool(t.correct) for e in episodes for t in e.transcript.standing(r) if t.truth is not None]
        if judged:
            metrics[f"eval/accuracy_round_{r + 1}"] = float(np.mean(judged))
    metrics |= {f"eval/measure/{name}": value for name, value in mean_measures(e.transcript for e in episodes).items()}
    return Evaluation(metrics, [record(*both, greedy=greedy) for both in zip(episodes, answers, strict=True)], episodes)


def _speedups(episodes: Sequence[Episode], answers: Sequence[TeamAnswer], prefix: str) -> dict[str, float]:
    """What the answers' speed-ups come to; nothing where no message has one."""
    scores = [turn.score for episode in episodes for turn in episode.transcript.turns if turn.score is not None]
    if not any(SPEEDUP in score.measures for score in scores):
        return {}
    found = speedup_metrics([answer.measures.get(SPEEDUP, 0.0) if answer.correct else 0.0 for answer in answers])
    return {prefix + name: value for name, value in found.items()}


def check_team_answer(word: str) -> None:
    """Raise a ValueError if `word` is no way to a team's answer."""
    if word not in TEAM_ANSWERS:
        raise UserValueError(f"team_answer {word!r} is unknown; use one of {list(TEAM_ANSWERS)}.")


def check_oracle(env: DiscussionEnv, allow_oracle: bool) -> None:
    """Raise a ValueError if the gold answer has a part in this environment's discussions, unless that is allowed."""
    if env.oracle and not allow_oracle:
        raise UserValueError(
            f"{gold_reader(env)}: what the team then answers is an oracle's, not a result. {_HOW_NOT}, or pass --allow_oracle to get a "
            "figure labelled oracle."
        )


_HOW_NOT = "Use a learned verifier, leave show_scores and the score of stop out, or give feedback that does not read the gold answer"


def gold_reader(env: DiscussionEnv) -> str:
    """What of a discussion knows the gold answer."""
    if env.feedback.uses_gold:
        return f"feedback {env.feedback!r} looks at the gold answer (or does not say with uses_gold = False that it does not)"
    return f"{env.protocol!r} reads the scores of a verifier that knows the gold answer"


def subset(questions: Sequence[Question], number: int) -> list[Question]:
    """At most `number` of the questions, always the same ones and of every kind: those whose hashes come first."""
    return sorted(questions, key=lambda question: question.hash)[:number]

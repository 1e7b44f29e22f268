"""Before the first iteration: is there anything to learn from, how long will it take, and does it fit into memory?

A few discussions of training questions are sampled as an iteration samples them, from random streams of their own, and an update from
them is tried and undone: the training that follows is, to the bit, the one without. `_Tried.judged` says what is taken for hopeless.
"""

from __future__ import annotations

import copy
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.memory import peak_bytes
from maporl.algorithms.algorithm import Algorithm
from maporl.atomic_files import write_whole
from maporl.errors import UserValueError, warn
from maporl.training.display import clock
from maporl.training.loop import Collector
from maporl.types import Completion, Episode, Turn

if TYPE_CHECKING:
    from maporl.training.trainer import Run, Trainer

__all__ = ["Preflight", "checked", "preflight", "undone_update"]

DISCUSSIONS = 32
"""At most so many, whole groups of them, and no more than an iteration has."""
FEW = 3
"""Iterations: a team of which no other message is to be expected in so many has nothing to learn from."""


@dataclass(frozen=True)
class Preflight:
    """What a few discussions showed before the first iteration; ``preflight.json`` of a run.

    Attributes:
        discussions: How many.
        messages: Of those from which somebody learns.
        readable: Share of the scored ones in which the verifier found an answer; None where no message is scored.
        reward_mean, reward_std: Of the messages' rewards.
        groups_that_differ: Share of the groups within which rewards differ; None for an algorithm that compares no groups.
        truncated: Share of the sampled messages that were cut off at max_new_tokens.
        ended: Share of them that an EOS token ended.
        tokens_per_s: Sampled.
        sample_s: Seconds that the discussions took.
        update_s: Seconds of an update from them; None where none was tried, for there was nothing to learn.
        iteration_messages: Messages that an iteration samples, at most.
        iteration_s, run_s: Seconds that an iteration, and the run with its evaluations, can be expected to take: in proportion to the
            discussions; without the updates where none was tried.
        peak_memory: GB, of the GPU if there is one, else of this process.
        problem: What stands in the way of learning; "" if nothing does.
        hopeless: The problem is that nothing can be learned; else that perhaps nothing can.
    """

    discussions: int
    messages: int
    readable: float | None
    reward_mean: float
    reward_std: float
    groups_that_differ: float | None
    truncated: float | None
    ended: float | None
    tokens_per_s: float
    sample_s: float
    update_s: float | None
    iteration_messages: int
    iteration_s: float
    run_s: float
    peak_memory: float
    problem: str = ""
    hopeless: bool = False

    def save(self, path: Path) -> None:
        """Write as JSON."""
        write_whole(path, json.dumps(asdict(self), indent=1) + "\n")

    @property
    def lines(self) -> list[str]:
        """For people."""
        shares = {
            "with a readable answer": self.readable,
            "cut off at max_new_tokens": self.truncated,
            "ended by themselves": self.ended,
            "of the groups with different rewards": self.groups_that_differ,
        }
        found = [f"{share:.0%} {what}" for what, share in shares.items() if share is not None]
        what = (
            f"{'an' if self.update_s is not None else 'sampling an'} iteration of {self.iteration_messages:,} messages"
        )
        return [
            f"{self.discussions} discussions, {self.messages} messages: reward {self.reward_mean:.3f} (spread {self.reward_std:.3f})",
            ", ".join(found),
            f"{self.tokens_per_s:,.0f} tokens/s; {what} takes about {clock(self.iteration_s)}, the run {clock(self.run_s)}; "
            f"{self.peak_memory:.2f} GB at most so far",
        ]


def checked(run: Run, trainer: Trainer) -> Preflight | None:
    """The trainer's preflight, as the run's configuration wants it.

    Raises:
        ValueError: Nothing can be learned, and `preflight` is "stop".
    """
    mode = run.config.preflight
    found = trainer.preflight(run) if mode != "off" and run.config.num_iterations else None
    if found is None:
        return None
    run.callback.on_preflight(found)
    if found.hopeless and mode == "stop":
        raise UserValueError(f"preflight: {found.problem}; or train all the same with --preflight warn.")
    if found.problem:
        warn(f"preflight: {found.problem}.")
    return found


def preflight(trainer: Trainer, run: Run, collector: Collector, algorithm: Algorithm | None = None) -> Preflight | None:
    """Sample a few discussions, and try an update from them.

    Args:
        trainer: Whose.
        run: Its task and sizes.
        collector: Samples an iteration.
        algorithm: Updates from it; None: only sampling is tried.

    Returns:
        None if no message was said from which somebody could learn.
    """
    size, whole = collector.size.discussions, collector.episodes_per_iteration
    number = min(max(DISCUSSIONS // size, 1) * size, whole)
    began = time.perf_counter()
    episodes = collector.trying(number)
    sample_s = time.perf_counter() - began
    compared = size if algorithm is None or algorithm.compares_groups else 1
    tried = _Tried.of(episodes, collector, number, compared)
    if not tried.rewards:
        return None
    problem, hopeless = tried.judged(run)
    update_s = None if problem or algorithm is None else undone_update(algorithm, episodes)
    iteration_s = (sample_s + (update_s or 0.0)) * whole / number
    tokens = {id(c): c.sampled_tokens for episode in episodes for c in episode.completions}
    evaluated = trainer.evaluations_of(run.config) * run.config.num_eval_questions
    return Preflight(
        discussions=number,
        messages=len(tried.turns),
        readable=tried.readable,
        reward_mean=float(np.mean(tried.rewards)),
        reward_std=float(np.std(tried.rewards)),
        groups_that_differ=float(np.mean(tried.differ)) if compared > 1 else None,
        truncated=_share([c.truncated for c in tried.completions]),
        ended=_share(tried.ended),
        tokens_per_s=sum(tokens.values()) / sample_s,
        sample_s=sample_s,
        update_s=update_s,
        iteration_messages=collector.trees * collector.size.messages,
        iteration_s=iteration_s,
        run_s=iteration_s * run.config.num_iterations + evaluated * sample_s / number,
        peak_memory=peak_bytes(torch.device(run.config.resolved_device)) / 1e9,
        problem=problem,
        hopeless=hopeless,
    )


@dataclass(frozen=True)
class _Tried:
    """What was said and earned by those who learn (by everybody, if the team does not say who does).

    Attributes:
        collector: Sampled it.
        discussions: How many.
        compared: How many of one question are held against each other; 1: all are, whatever their question.
        turns: The messages, each once: joint actions share theirs.
        rewards: Of every message of every episode.
        differ: Of each group whether a reward in it differs from another of the same seat; of all as one group if there are none.
    """

    collector: Collector
    discussions: int
    compared: int
    turns: list[Turn]
    rewards: list[float]
    differ: list[bool]

    @classmethod
    def of(cls, episodes: Sequence[Episode], collector: Collector, discussions: int, compared: int) -> _Tried:
        everybody = not collector.team.learners
        said = [(e, i, t) for e in episodes if not e.overflow for i, t in e.said if e.learns[i] or everybody]
        earned: dict[int, dict[Any, set[float]]] = {}
        for e, i, turn in said:
            group, seat = (e.group, turn.seat) if compared > 1 else (0, None)
            earned.setdefault(group, {}).setdefault(seat, set()).add(e.rewards[i])
        return cls(
            collector,
            discussions,
            compared,
            turns=list({id(turn.completion or turn): turn for _, _, turn in said}.values()),
            rewards=[e.rewards[i] for e, i, _ in said],
            differ=[any(len(rewards) > 1 for rewards in seats.values()) for seats in earned.values()],
        )

    @property
    def completions(self) -> list[Completion]:
        """How they were sampled, where a model did."""
        return [t.completion for t in self.turns if t.completion is not None and len(t.completion.completion_ids)]

    @property
    def ended(self) -> list[bool]:
        """Of each of them whether its last token is an EOS token."""
        members = [(self.collector.team.member(*t.seat), t.completion) for t in self.turns]
        return [
            int(c.completion_ids[-1]) in m.policy.eos_ids
            for m, c in members
            if isinstance(m, LLMAgent) and c is not None and len(c.completion_ids)
        ]

    @property
    def readable(self) -> float | None:
        return _share([t.score.status == "ok" for t in self.turns if t.score is not None])

    def judged(self, run: Run) -> tuple[str, bool]:
        """What stands in the way of learning ("" if nothing does), and whether that is hopeless.

        Where rewards differ (for an algorithm that compares the discussions of a group: within one), something can be learned. Where none
        do, nothing can for as long as that lasts, and it is hopeless in two cases: no message holds an answer that the verifier can read;
        or the team says the same whenever it is asked, by its own log-probs, so that within `FEW` iterations not even another message is to
        be expected. Else a few discussions prove little: what succeeds once in 100 times shows in none of 32 three times out of four. Then
        the upper end of the rate's 95 % interval is named.
        """
        if any(self.differ):
            return "", False
        equal = len(set(self.rewards)) == 1
        same = f"no reward differs within a group of {self.compared} discussions"
        if equal:
            same = f"all {len(self.rewards)} rewards are {self.rewards[0]:g}"
        if self.readable == 0:
            return f"{self._unread(run)}, and {same}: nothing can be learned. {self._how_to_be_read(run)}", True
        others = float(np.mean([-np.expm1(float(c.logprobs.sum())) for c in self.completions] or [1.0])) * len(
            self.turns
        )
        if others * self.collector.episodes_per_iteration / self.discussions * FEW < 0.05:
            return (
                f"{same}, and the team always says the same (in {self.discussions} discussions {others:.0e} messages would be others): "
                "nothing can be learned. Raise --temperature, or start from another model"
            ), True
        tries, what = (self.discussions, "discussions") if equal else (len(self.differ), "groups")
        rate = 1 - 0.05 ** (1 / tries)
        return (
            f"{same} of {self.discussions} discussions: at most {rate:.0%} of all {what} will show another one (95 %), so "
            "there may be nothing to learn from for long. Easier or harder questions, a higher --temperature, another shaping, or more "
            "--episodes_per_iteration help"
        ), False

    def _unread(self, run: Run) -> str:
        verifier = run.env.verifier
        name = getattr(getattr(verifier, "function", None), "__name__", type(verifier).__name__)
        statuses = Counter(t.score.status for t in self.turns if t.score is not None)
        others = ", ".join(f"{n} {status}" for status, n in statuses.items() if status != "no_answer")
        return (
            f"0 of {statuses.total()} messages in {self.discussions} discussions hold an answer that the verifier {name} can read"
            f"{f' ({others})' if others else ''}"
        )

    def _how_to_be_read(self, run: Run) -> str:
        cut = _share([c.truncated for c in self.completions]) or 0.0
        longer = (
            f", raise --max_new_tokens ({cut:.0%} are cut off at {run.config.max_new_tokens})" if cut >= 0.5 else ""
        )
        failed = [t.score.explanation for t in self.turns if t.score is not None and t.score.status == "error"]
        if failed and failed[0]:
            return f"What failed first: {failed[0]}"
        return f"Ask for it in the prompt (--env_args.instruction, --prompts){longer}, or warm up on the format (maporl sft)"


def _share(found: Sequence[bool]) -> float | None:
    return float(np.mean(found)) if found else None


def undone_update(algorithm: Algorithm, episodes: Sequence[Episode]) -> float:
    """Seconds of an update, after which the algorithm is what it was: the state that it saves is all there is to go on from."""
    state, began = copy.deepcopy(algorithm.state_dict()), time.perf_counter()
    with torch.random.fork_rng():
        algorithm.update(episodes)
    seconds = time.perf_counter() - began
    algorithm.load_state_dict(state)
    return seconds

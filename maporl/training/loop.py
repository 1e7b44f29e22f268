"""The training loop: ask, discuss, learn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

from maporl.agents.llm_agent import LLMAgent
from maporl.agents.models.memory import trim
from maporl.agents.team import Team
from maporl.algorithms.algorithm import Algorithm, Update
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers.quality import auroc, ece
from maporl.errors import UserValueError, warn
from maporl.hooks import one
from maporl.rollouts.measures import mean_measures
from maporl.rollouts.play import rollout
from maporl.rollouts.trees import Size, branching_by_round, check_size, size_of
from maporl.training.callbacks import Callback
from maporl.types import Episode, Observation, Question, Transcript

__all__ = ["Collector", "check_context", "draw", "learn", "learning_from", "rollout_metrics"]

T = TypeVar("T")
TRAIN, EVALUATE, ASK, PREFLIGHT = range(4)  # random streams of one seed that never meet


@dataclass(frozen=True)
class Collector:
    """Where experience comes from: discussions of the training questions, a tree of them for each.

    Attributes:
        env: The task; questions come from its training split.
        team: Who discusses.
        episodes_per_iteration: Discussions sampled for one update, the leaves of all trees; a multiple of those of one. Where joint
            actions are crossed, those of the last wave count no more than the messages that they are made of.
        branching: Candidates of every wave of a tree (see `Play`); (8,) are groups of eight discussions of the same question.
        joint: "aligned", or "cross" for every combination of the candidates of a wave.
        seed: Of questions and sampling.
        curriculum: Iteration -> the round, from 0, whose messages are learned from (`LastRoundFirst`); None: all of them.
        stream: Which of the seed's random streams messages are sampled from.
        starts: What discussions begin from, in the place of the task's training questions.

    Raises:
        ValueError: episodes_per_iteration is no multiple of the leaves of a tree, a tree is too large, or rounds cannot be crossed.
    """

    env: DiscussionEnv
    team: Team
    episodes_per_iteration: int
    branching: Sequence[int] = ()
    joint: str = "aligned"
    seed: int = 0
    curriculum: Callable[[int], int] | None = None
    stream: int = TRAIN
    starts: Sequence[Question | Transcript] | None = None

    def __post_init__(self) -> None:
        widths, waves = list(self.branching), self.env.rules.waves
        if self.joint == "cross" and not len({wave[0].round for wave in waves}) == len(waves) <= len(widths):
            raise UserValueError(
                f"joint is 'cross' with {self.env.num_rounds} rounds of protocol {self.env.protocol.name!r} and branching {widths}: a "
                "message that answers another cannot be recombined. Use 'debate', with one round or a tree, or joint='aligned'."
            )
        number, size = self.episodes_per_iteration, self.size.discussions
        what = f"{'crossed ' * (self.joint == 'cross')}branching {widths}" if len(widths) > 1 else f"group_size {size}"
        check_size(self.size, what)
        if number < 1 or number % size:
            raise UserValueError(
                f"episodes_per_iteration is {number}; the algorithm needs a multiple of its {what}"
                f"{f', {size}' * (len(widths) > 1)}, and at least one."
            )

    @classmethod
    def of(cls, algorithm: Algorithm, env: DiscussionEnv, episodes_per_iteration: int, **settings: Any) -> Collector:
        """What an algorithm wants to see."""
        group = algorithm.group_size
        branching = branching_by_round(env.rules.waves, group) if algorithm.rollouts == "tree" else (group,)
        return cls(env, algorithm.team, episodes_per_iteration, branching=branching, joint=algorithm.joint, **settings)

    @cached_property
    def size(self) -> Size:
        """Of the tree of one question."""
        return size_of(self.env.rules.waves, self.branching, self.joint)

    @property
    def trees(self) -> int:
        """Questions of an iteration."""
        return self.episodes_per_iteration // self.size.discussions

    def collect(self, iteration: int) -> list[Episode]:
        """The experience of an iteration (from 0): a function of the seed, of `iteration` and of the team's weights alone."""
        pool = self.env.questions("train") if self.starts is None else self.starts
        questions = draw(pool, self.trees, self.seed, iteration)
        seed = (self.seed, self.stream, iteration)
        episodes = rollout(self.env, self.team, questions, seed=seed, branching=self.branching, joint=self.joint)
        return episodes if self.curriculum is None else learning_from(episodes, self.curriculum(iteration))

    def trying(self, episodes: int) -> list[Episode]:
        """So many discussions as an iteration samples them, from a random stream of their own: whole trees of them."""
        return replace(self, episodes_per_iteration=episodes, stream=PREFLIGHT).collect(0)


def learn(
    collector: Collector,
    algorithm: Algorithm,
    *,
    num_iterations: int,
    start: int = 0,
    callback: Callback | None = None,
) -> Iterator[dict[str, float]]:
    """Train, one iteration at each `next`; yields its metrics.

    Iteration k depends on the seed, on k and on the algorithm's state alone, so that a run resumed at k goes on as if nothing
    had happened.

    Args:
        collector: Where the experience comes from.
        algorithm: Learns from it.
        num_iterations: Last iteration + 1.
        start: First iteration.
        callback: Told of the experience and of each update.
    """
    listener = callback or Callback()
    for iteration in range(start, num_iterations):
        began = time.perf_counter()
        round = None if collector.curriculum is None else collector.curriculum(iteration)
        collector.env.verifiers.begin(iteration, num_iterations)
        episodes = collector.collect(iteration)
        listener.on_experience(iteration + 1, episodes)
        sampled = time.perf_counter()
        update = _update(algorithm, episodes, round)
        trim()
        ended = time.perf_counter()
        listener.on_update(iteration + 1, episodes, update)
        yield {
            **rollout_metrics(episodes, collector.env),
            **update.metrics,
            "time/rollout_s": sampled - began,
            "time/update_s": ended - sampled,
            "time/tokens_per_s": _tokens(episodes) / (ended - began),
        }


def learning_from(episodes: Sequence[Episode], round: int) -> list[Episode]:
    """The episodes, of which only messages of `round` (from 0) are learned from: the others are as good as frozen."""
    return [
        replace(e, learns=tuple(learns and e.transcript.turns[i].round == round for i, learns in enumerate(e.learns)))
        for e in episodes
    ]


def _update(algorithm: Algorithm, episodes: Sequence[Episode], round: int | None) -> Update:
    """An update from one round's messages, or from all; none if no discussion got that far, as in a team that agrees early."""
    fitting = [e for e in episodes if not e.overflow]
    if round is None or not fitting or any(any(e.learns) for e in fitting):
        return one(algorithm, "update", algorithm.update(episodes), Update)
    warn(
        f"no discussion of this iteration reached round {round + 1}, which the curriculum learns from now: its update is skipped."
    )
    return Update({"train/skipped_updates": 1.0})


def draw(pool: Sequence[T], number: int, seed: int, iteration: int) -> list[T]:
    """Questions `iteration * number` onwards of an endless series of shuffled passes over the pool: a function of its arguments."""
    places = [divmod(index, len(pool)) for index in range(iteration * number, (iteration + 1) * number)]
    orders = {lap: np.random.default_rng([seed, lap]).permutation(len(pool)) for lap in {lap for lap, _ in places}}
    return [pool[orders[lap][place]] for lap, place in places]


def rollout_metrics(episodes: Sequence[Episode], env: DiscussionEnv) -> dict[str, float]:
    """What the sampled discussions looked like: rewards, correctness by round, lengths."""
    earned = [[e.rewards[i] for i, _ in e.said] for e in episodes]
    sampled = [c for e in episodes for c in e.completions if len(c.completion_ids)]
    metrics = {
        "rollout/reward_mean": float(np.mean([reward for rewards in earned for reward in rewards])),
        "rollout/episode_reward_mean": float(np.mean([sum(rewards) for rewards in earned])),
        "rollout/overflow": float(np.mean([e.overflow for e in episodes])),
    }
    if sampled:
        metrics["rollout/truncated"] = float(np.mean([c.truncated for c in sampled]))
        metrics["rollout/thinking_cut"] = float(np.mean([c.thinking_cut for c in sampled]))
        metrics["rollout/stopped"] = float(np.mean([c.stopped for c in sampled]))
        metrics["rollout/eos"] = float(np.mean([not (c.truncated or c.stopped) for c in sampled]))
        metrics["rollout/tokens"] = float(_tokens(episodes))
        metrics["rollout/completion_tokens"] = float(np.mean([len(c.completion_ids) for c in sampled]))
    for r in range(env.num_rounds):
        judged = [t.correct for e in episodes for t in e.transcript.standing(r) if t.truth is not None]
        if judged:
            metrics[f"rollout/accuracy_round_{r + 1}"] = float(np.mean([bool(c) for c in judged]))
    if env.verifier is not None and env.ground_truth is not env.verifier:
        metrics |= _judged(episodes, env.num_rounds)
    counted = [env.shaping.metrics(e.transcript.spoken) for e in episodes]
    for name in sorted({name for c in counted for name in c}):
        metrics[f"rollout/{name}"] = float(np.mean([c.get(name, 0.0) for c in counted]))
    measured = mean_measures(e.transcript for e in episodes)
    return metrics | {f"rollout/measure/{name}": value for name, value in measured.items()} | env.verifiers.metrics()


def _judged(episodes: Sequence[Episode], num_rounds: int) -> dict[str, float]:
    """Mean score, gap to the truth, calibration error and AUROC of a verifier by round: a team may learn to please it."""
    metrics: dict[str, float] = {}
    for r in range(num_rounds):
        turns = [t for e in episodes for t in e.transcript.standing(r) if t.score is not None and t.correct is not None]
        if not turns:
            continue
        values, right = np.array([t.value for t in turns]), np.array([bool(t.correct) for t in turns])
        metrics[f"rollout/verifier_score_round_{r + 1}"] = float(values.mean())
        metrics[f"rollout/verifier_gap_round_{r + 1}"] = float(values.mean() - right.mean())
        if ((values >= 0) & (values <= 1)).all():  # a verifier of one's own may say anything
            metrics[f"rollout/verifier_ece_round_{r + 1}"] = ece(values, right)
            if right.any() and not right.all():
                metrics[f"rollout/verifier_auroc_round_{r + 1}"] = auroc(values, right)
    return metrics


def check_context(env: DiscussionEnv, team: Team, questions: Sequence[Question], *, joint: bool = False) -> None:
    """Make sure that the longest discussion fits the models' windows: the prompt of the last round, with every message that it
    shows at its longest.

    Args:
        env: The task.
        team: Whose windows.
        questions: The longest of them is checked.
        joint: A centralised critic reads the joint state, which always holds the full history: check that too.

    Raises:
        ValueError: It does not; the message says by how much and what helps.
    """
    question = max(questions, key=lambda q: len(q.text) + max((len(v) for v in q.private.values()), default=0))
    rules = env.rules
    last = {seat.agent: (transcript, seat) for transcript, seat in rules.longest(question)}
    for transcript, seat in last.values():
        member = team.member(*seat)
        if isinstance(member, LLMAgent):
            for view in (rules.observe, rules.state) if joint else (rules.observe,):
                _check_prompt(member, view(transcript, seat), question)


def _check_prompt(member: LLMAgent, empty: Observation, question: Question) -> None:
    # What is said is blank in it; what a protocol adds (a tally) has its text already.
    messages, longest = sum(not m["text"] for m in empty["transcript"]), member.sampling.max_new_tokens
    needed, window = len(member.encode([empty])[0]) + (messages + 1) * longest, member.policy.context_window
    if needed > window:
        raise UserValueError(
            f"the longest question ({question.id}) may need a prompt and answer of {needed} tokens in the last round ({messages} earlier "
            f"messages of {longest}), more than the model's window of {window}: lower --max_new_tokens or --num_rounds, or use "
            "--env_args.history last_round (a centralised critic reads the full history all the same: use ippo or magrpo then)."
        )


def _tokens(episodes: Sequence[Episode]) -> int:
    """What was sampled: a message that several discussions share, in a tree or in joint actions, is counted once."""
    distinct = {id(c): c for e in episodes for c in e.completions}
    return sum(c.sampled_tokens for c in distinct.values())

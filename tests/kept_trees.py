"""Runs that kept trees, grown by agents whose every message is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from pathlib import Path

from maporl.agents import ScriptedAgent, Team
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.rollouts.play import rollout
from maporl.rollouts.records import sampled_records
from maporl.rollouts.store import EpisodeStore
from maporl.training.config import RunConfig
from maporl.types import Question

__all__ = ["COUNTS", "LONG", "QUESTION", "RIGHT", "grown", "long_run", "small_run"]

QUESTION = Question("What is 3 + 4?", "7", "seven")

RIGHT = ("RRR", "RRW", "WWW", "RWW", "WWW", "WWW", "WWW", "WWW", "WWW")
"""Of the tree 3-3-3: whether the last role's messages are right, under each of the second role's. Backed up, the values of the second
role are 1, .67, 0 | .33, 0, 0 | 0, 0, 0 and those of the first .56, .11, 0."""

LONG = (4, 8, 12)


def grown(
    folder: Path,
    branching: Sequence[int],
    texts: Sequence[Sequence[str]],
    *,
    questions: Sequence[Question] = (QUESTION,),
    record: str = "episodes/iteration_0001",
    protocol: str = "pipeline",
    joint: str = "aligned",
) -> Path:
    """A run folder with a tree for each question, in which the n-th agent says `texts[n]`, in order and from the beginning again."""

    def says(lines: Iterator[str]) -> Callable[..., str]:
        return lambda observation, rng: next(lines)

    env = Arithmetic(len(texts), 1, protocol=protocol)
    speakers = zip(env.possible_agents, texts, strict=True)
    team = Team({(agent, 0): ScriptedAgent(says(cycle(lines))) for agent, lines in speakers})
    episodes = rollout(env, team, list(questions), seed=0, branching=branching, joint=joint)
    config = RunConfig(env="arithmetic", num_agents=len(texts), num_rounds=1, env_args={"protocol": protocol})
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder / "config.yaml")
    file = folder / f"{record}.jsonl"
    EpisodeStore(file.parent).write(file.stem, episodes, sampled_records(env, episodes))
    return folder


def small_run(folder: Path, **more: object) -> Path:
    """One tree 3-3-3 with the leaves of `RIGHT`: 39 messages, 27 discussions, 6 of them right."""
    first = [f"Draft {n}: three and four make {'seven' if n else 'about eight'}." for n in range(3)]
    second = [f"Check {n} of the draft." for n in range(9)]
    last = [f"Answer: {7 if mark == 'R' else 8}" for mark in "".join(RIGHT)]
    return grown(folder, (3, 3, 3), (first, second, last), **more)  # type: ignore[arg-type]


COUNTS = tuple((5 * p) % 13 if p < 16 else p % 2 if p < 24 else 0 for p in range(32))
"""Of the tree 4-8-12: how many of the twelve leaves under each of the second role's messages are right."""


def long_run(folder: Path, questions: int = 1) -> Path:
    """Trees 4-8-12: 420 messages, 384 discussions."""
    draft = (
        "First add the threes and the fours one by one, and then look at what remains of the sum when both are taken together. "
        * 2
    )
    first = [f"Draft {n}. {draft}" for n in range(4)]
    second = [f"Check {n}. {draft}" for n in range(32)]
    last = [f"{draft if n % 3 else ''}Answer: {7 if n < right else 8 + n % 4}" for right in COUNTS for n in range(12)]
    asked = [Question(f"What is 3 + {4} when {k} is not counted?", "7", f"q{k}") for k in range(questions)]
    return grown(folder, LONG, (first, second, last), questions=asked)

"""Two rounds of the yardstick: whole discussions against a tree, and CoMLRL's tree, at equally many sampled messages.

Ten discussions of two rounds are twenty messages of each agent, as is the tree in which groups of four branch in both. The team is paid
the yardstick's reward of every round. All sides start from the same checkpoint and get the same items, one an update.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from bench.our_step import prompt_text
from bench.rows import Row, of
from bench.settings import Settings
from bench.yardstick import TOKENS, VowelsAndDigits, make_characters, our_team, recipe_of, team_reward
from maporl.agents import Team
from maporl.algorithms.magrpo import MAGRPO
from maporl.training.loop import Collector

__all__ = ["SHAPES", "Learned", "ours", "rows", "theirs"]

SECTION = "rounds"
ROUNDS, ITEMS = 2, 60
SHAPES: Mapping[str, dict[str, Any]] = {
    "linear, 10 discussions": {"group_size": 10},
    "tree of groups of 4": {"group_size": 4, "rollouts": "tree"},
}
"""Both are 20 messages of each agent an item."""
SPANS = ((0, 10), (10, 20), (20, 30), (50, 60))


@dataclass
class Learned:
    """What came of a training.

    Attributes:
        rewards: Of every item, the mean over its rounds of the mean over their joint actions.
        tokens, seconds: Sampled, and in all, updates included. CoMLRL's count what it samples after a message's end.
    """

    rewards: list[float] = field(default_factory=list)
    tokens: int = 0
    seconds: float = 0.0


def ours(
    settings: Settings, checkpoint: str | Path, seed: int, shape: Mapping[str, Any], items: int = ITEMS
) -> Learned:
    """MAGRPO with a shape's settings, and the yardstick's recipe."""
    env = VowelsAndDigits(num_rounds=ROUNDS)
    team = our_team(settings, checkpoint, seed, env)
    algorithm = MAGRPO(team, **recipe_of(seed), **shape)
    size = algorithm.group_size ** (ROUNDS if algorithm.rollouts == "tree" else 1)
    collector, learned = Collector.of(algorithm, env, size, seed=seed), Learned()
    for item in range(items):
        began = time.perf_counter()
        episodes = collector.collect(item)
        algorithm.update(episodes)
        learned.seconds += time.perf_counter() - began
        learned.tokens += sum(c.sampled_tokens for c in {id(c): c for e in episodes for c in e.completions}.values())
        scores = [[score.value for score in e.transcript.team_scores] for e in episodes]
        learned.rewards.append(statistics.fmean(statistics.fmean(of_discussion) for of_discussion in scores))
    return learned


def theirs(settings: Settings, checkpoint: str | Path, seed: int, items: int = ITEMS, **arguments: Any) -> Learned:
    """CoMLRL's tree of groups of four, with the prompts that ours reads."""
    from bench.with_comlrl import CoMLRLStep

    env, group = VowelsAndDigits(num_rounds=ROUNDS), SHAPES["tree of groups of 4"]["group_size"]
    team: Team = our_team(settings, checkpoint, seed, env)
    members: Any = {agent: team.member(agent, 0) for agent in env.possible_agents}
    questions = env.questions("train")[:items]
    prompts = [[prompt_text(env, members[a], q, a) for a in env.possible_agents] for q in questions]
    asked = {texts[0]: question for texts, question in zip(prompts, questions, strict=True)}
    seen: list[float] = []

    def reward(vowels: Sequence[str], digits: Sequence[str]) -> list[float]:
        values = [team_reward(a, b) for a, b in zip(vowels, digits, strict=True)]
        seen.extend(values)
        return values

    def transition(prompt: str, agent_completions: Sequence[str], **more: object) -> list[str]:
        return [prompt_text(env, members[a], asked[prompt], a, agent_completions) for a in env.possible_agents]

    trainer = CoMLRLStep(
        settings,
        checkpoint,
        reward,
        new_tokens=TOKENS,
        num_rounds=ROUNDS,
        group_size=group,
        transition=transition,
        force_length=False,
        **{"buffer": 1, "learning_rate": 1e-3} | arguments,
    )
    torch.manual_seed(seed)
    measured = trainer(prompts)
    size = group + group**2  # the joint actions of an item, those of the first round before their children's
    of_items = [seen[i : i + size] for i in range(0, len(seen), size)]
    means = [(statistics.fmean(of_item[:group]) + statistics.fmean(of_item[group:])) / 2 for of_item in of_items]
    return Learned(means, int(measured["tokens"]), measured["seconds"])


def rows(settings: Settings) -> list[Row]:
    """Mean rewards over some of the items, and tokens a second of whole steps, of every side as the median over seeds."""
    seeds = range(settings.seed, settings.seed + (1 if settings.quick else 3))
    items = 3 if settings.quick else ITEMS
    learned: dict[str, list[Learned]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            path = Path(folder) / str(seed)
            make_characters(path, seed)
            for name, shape in SHAPES.items():
                learned.setdefault(f"ours, {name}", []).append(ours(settings, path, seed, shape, items))
            learned.setdefault("CoMLRL, its tree", []).append(theirs(settings, path, seed, items))
    found: list[Row] = []
    note = f"every row: {items} items x 20 messages of each agent, one item an update"
    for side, of_seeds in learned.items():
        spans = SPANS if items == ITEMS else ((0, items),)
        for first, last in spans:
            means = [statistics.fmean(one.rewards[first:last]) for one in of_seeds]
            found.append(
                of(SECTION, f"{side}, mean reward over items {first}-{last}", means, "of 2", note="" if found else note)
            )
        rates = [one.tokens / one.seconds for one in of_seeds]
        found.append(of(SECTION, f"{side}, rollout and update", rates, "tokens/s"))
    return found

"""The learning yardstick: agent 0 is to write vowels, agent 1 digits; the team is paid the sum of both shares, at most 2.

A tiny model of random weights with one token a character, so that nothing but the reward can teach it. Ours and CoMLRL's
MAGRPOTrainer start from the same checkpoint and get the same 100 items in the same order, 8 samples of each, one item a step.
Speed alone would be worth nothing if a sample taught less. CoMLRL appears with the yardstick's learning rate, 1e-3, and with
the one that was chosen for ours (on seed 0 alone).
"""

from __future__ import annotations

import math
import statistics
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from bench.our_step import STOCK, Knobs, prompt_text
from bench.rows import Row, of
from bench.settings import Settings, tiny_llama
from maporl.agents import LoRA, Policy, Sampling, Team
from maporl.agents.models.make_model import CHAT_TEMPLATE
from maporl.algorithms.magrpo import MAGRPO
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers import TeamVerifier
from maporl.rollouts.play import rollout
from maporl.types import Question, Score

__all__ = ["Recipe", "VowelsAndDigits", "make_characters", "our_team", "ours", "recipe_of", "rows", "theirs"]

SECTION = "yardstick"
ITEMS, GROUP, TOKENS = 100, 8, 32
SPANS = ((0, 10), (40, 50), (90, 100))
GOAL = 1.99
NEVER_REACHED = "inf: not within all items"
"""Items over which the reward is averaged."""


def share(text: str, wanted: str) -> float:
    """Of the characters of `text` those in `wanted`, between 0 and 1; 0 for no text."""
    text = text.strip()
    return sum(c in wanted for c in text) / max(len(text), 1)


def team_reward(vowels: str, digits: str) -> float:
    """Share of vowels in agent 0's text plus share of digits in agent 1's: 0 to 2."""
    return share(vowels, "aeiouAEIOU") + share(digits, "0123456789")


class _Shares(TeamVerifier):
    uses_gold = False

    def __call__(self, question: Question, responses: Mapping[str, str]) -> Score:
        return Score(team_reward(responses["agent_0"], responses["agent_1"]), None)


class VowelsAndDigits(DiscussionEnv):
    """The task: items without content, and an order for each agent."""

    metadata: dict[str, Any] = {"name": "vowels_and_digits"}
    reads_data: ClassVar[bool] = False
    default_num_rounds: ClassVar[int] = 1
    default_team_verifier: ClassVar[Any] = _Shares

    def load(self, split: str) -> Iterator[Question]:
        """The items, in order."""
        orders = {"agent_0": "Write vowels.", "agent_1": "Write digits."}
        for item in range(ITEMS + ITEMS // 5 if split == "train" else 0):  # some of them are for validation
            yield Question(f"Item {item}", "", private=orders)


def make_characters(path: str | Path, seed: int) -> None:
    """A checkpoint of the tiny geometry with random weights and a vocabulary of printable ASCII characters."""
    special = ["<|endoftext|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    vocabulary = {token: i for i, token in enumerate([*special, "\n", *map(chr, range(32, 127))])}
    raw = Tokenizer(models.WordLevel(vocabulary, unk_token=" "))
    raw.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    raw.decoder = decoders.Fuse()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=special[0],
        eos_token=special[1],
        additional_special_tokens=special[2:],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    sizes: dict[str, Any] = {"max_position_embeddings": 512, "bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
    tiny_llama(len(vocabulary), seed, torch.float32, **sizes).save_pretrained(path)
    tokenizer.save_pretrained(path)


EVERYWHERE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head")
"""The output layer too: the random one is so narrow (.02) that no hidden state, whose norm the last layer fixes, can make any
token likely through it. With the usual "all-linear" the reward ends at .4, whatever the learning rate."""


@dataclass(frozen=True)
class Recipe:
    """How ours learns it.

    Attributes:
        r, alpha, target_modules: Of the adapters.
        learning_rate: AdamW's, constant.
        standardise: Divide advantages by the group's deviation, as CoMLRL does by default.
        loss_agg, max_grad_norm: See `PolicyGradient`.
    """

    r: int = 32
    alpha: int = 64
    target_modules: tuple[str, ...] = EVERYWHERE
    learning_rate: float = 3e-3
    standardise: bool = True
    loss_agg: str = "sum"
    max_grad_norm: float | None = None


def our_team(
    settings: Settings, checkpoint: str | Path, seed: int, env: DiscussionEnv, recipe: Recipe | None = None
) -> Team:
    """Adapters of the checkpoint, one an agent."""
    recipe = recipe or Recipe()
    lora = LoRA(recipe.r, recipe.alpha, recipe.target_modules)
    policy = Policy.from_pretrained(str(checkpoint), dtype=settings.dtype, device=settings.device, lora=lora)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*tie_word_embeddings")  # nothing here is merged or exported
        sampling = Sampling(max_new_tokens=TOKENS)
        return Team.build(policy, env.possible_agents, env.num_rounds, sampling=sampling, seed=seed)


def recipe_of(seed: int, recipe: Recipe | None = None) -> dict[str, Any]:
    """The settings of MAGRPO."""
    recipe = recipe or Recipe()
    return {
        "learning_rate": recipe.learning_rate,
        "lr_schedule": "constant",
        "standardise": recipe.standardise,
        "loss_agg": recipe.loss_agg,
        "max_grad_norm": recipe.max_grad_norm,
        "seed": seed,
    }


def ours(
    settings: Settings, checkpoint: str | Path, seed: int, items: int = ITEMS, recipe: Recipe | None = None
) -> list[float]:
    """The mean reward of each item's 8 samples, in the order in which they were learned from, one item an update."""
    env = VowelsAndDigits()
    team = our_team(settings, checkpoint, seed, env, recipe)
    algorithm = MAGRPO(team, group_size=GROUP, **recipe_of(seed, recipe))
    rewards = []
    for item, question in enumerate(env.questions("train")[:items]):
        episodes = rollout(env, team, [question], seed=(seed, item), branching=(GROUP,))
        rewards.append(statistics.fmean(episode.rewards[0] for episode in episodes))
        algorithm.update(episodes)
    return rewards


def theirs(
    settings: Settings, checkpoint: str | Path, seed: int, items: int = ITEMS, knobs: Knobs = STOCK, **arguments: Any
) -> list[float]:
    """The same with CoMLRL's trainer, which trains whole models, at the yardstick's learning rate."""
    from bench.with_comlrl import CoMLRLStep

    env = VowelsAndDigits()
    policy = Policy.from_pretrained(str(checkpoint))
    team = Team.build(policy, env.possible_agents, 1)
    seen: list[float] = []

    def reward(vowels: Sequence[str], digits: Sequence[str]) -> list[float]:
        values = [team_reward(a, b) for a, b in zip(vowels, digits, strict=True)]
        seen.extend(values)
        return values

    trainer = CoMLRLStep(
        settings,
        checkpoint,
        reward,
        knobs,
        new_tokens=TOKENS,
        group_size=GROUP,
        force_length=False,
        **{"buffer": 1, "learning_rate": 1e-3} | arguments,
    )
    torch.manual_seed(seed)
    members = {agent: team.member(agent, 0) for agent in env.possible_agents}
    trainer(
        [
            [prompt_text(env, members[agent], question, agent) for agent in env.possible_agents]  # type: ignore[arg-type]
            for question in env.questions("train")[:items]
        ]
    )
    return [statistics.fmean(seen[i : i + GROUP]) for i in range(0, len(seen), GROUP)]


def rows(settings: Settings) -> list[Row]:
    """Mean reward over items 0-10, 40-50 and 90-100, of every seed and as the median over seeds."""
    seeds = range(settings.seed, settings.seed + (1 if settings.quick else 5))
    items = 10 if settings.quick else ITEMS
    curves: dict[str, list[list[float]]] = {"ours": [], "CoMLRL": [], "CoMLRL, our learning rate": []}
    with tempfile.TemporaryDirectory() as folder:
        for seed in seeds:
            path = Path(folder) / str(seed)
            make_characters(path, seed)
            curves["ours"].append(ours(settings, path, seed, items))
            curves["CoMLRL"].append(theirs(settings, path, seed, items))
            tuned = theirs(settings, path, seed, items, learning_rate=Recipe().learning_rate)
            curves["CoMLRL, our learning rate"].append(tuned)
    samples = f"{items} items x {GROUP} samples, one item an update"
    found = []
    for side, of_seeds in curves.items():
        for first, last in SPANS:
            means = [statistics.fmean(curve[first:last]) for curve in of_seeds if len(curve) >= last]
            if not means:
                continue
            name = f"{side}, mean reward over items {first}-{last}"
            found += [of(SECTION, f"{name}, seed {s}", mean, "of 2") for s, mean in zip(seeds, means, strict=True)]
            target = f">= {GOAL}" if side == "ours" and last == ITEMS else None
            found.append(of(SECTION, f"{name}, median", means, "of 2", target, samples))
        reached = [_samples_until(curve) for curve in of_seeds]
        name = f"{side}, samples until ten items have a mean of {GOAL}"
        found.append(of(SECTION, f"{name}, median", reached, "", note=NEVER_REACHED))
    return found


def _samples_until(curve: Sequence[float]) -> float:
    """Samples of each agent after which the last ten items have a mean of `GOAL`; infinity if never."""
    for items in range(10, len(curve) + 1):
        if statistics.fmean(curve[items - 10 : items]) >= GOAL:
            return items * GROUP
    return math.inf

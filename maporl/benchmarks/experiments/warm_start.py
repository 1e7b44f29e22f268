"""The demo's starting point: a tiny model that has learned to discuss from colleagues with mixed habits.

Reinforcement learning here selects and spreads behaviour; it does not discover how to copy a digit. So the model is first
fine-tuned on scripted discussions whose speakers are honest, and sensible when they revise, with a probability that depends
on the *item* asked about. The two lists are not aligned on purpose: for most items one of the two habits is bad, so neither
alone pays. (One probability for all items above one half would leave nothing to learn: greedy decoding would already be
right everywhere.) Only combinations of the training split are used.

What they say: `maporl.benchmarks.experiments.speakers`.

The corpus is a curriculum: first pure habits (everybody honest; sensible where that is likelier than not), then the real ones, which
overwrite the rates. Which digit to copy depends on item and view together: a model of this size notices it sooner when examples agree.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maporl.agents.models.make_model import ARCHITECTURES, make_model
from maporl.agents.prompts import PromptTemplate
from maporl.algorithms.sft import SFTSettings, sft
from maporl.benchmarks.experiments.scripted import Cast, Chat, cast, discussion, seats_of
from maporl.benchmarks.experiments.speakers import ENV_ARGS, MIXED, PURE, SPEAKERS, STEPS, TEAMS, Habits, Habitual
from maporl.errors import UserValueError
from maporl.settings import EMBEDDED, model_path
from maporl.text_files import read_json
from maporl.types import Observation

__all__ = ["PROMPTS", "Recipe", "chats", "corpus", "make_warm_start", "prompts_of"]

Row = dict[str, Chat]
SHIPPED = Path(model_path(EMBEDDED))
"""The embedded model: weights of the default recipe, so that the demo begins at once. A test cooks them again and compares what they do."""

PROMPTS = PromptTemplate(
    system="", private="{private}", peers="{messages}", answer="Report.", revise="Revise.", separator=" "
)
"""Few tokens: the model learns the rules of the task from its corpus, not from an instruction."""


@dataclass(frozen=True)
class Recipe:
    """Everything a warm start depends on. Same recipe, same machine: same weights.

    Attributes:
        task: A key of `SPEAKERS`.
        also: Other tasks that the same model learns, in equal parts.
        num_agents, num_rounds, protocol: Of the team that will discuss; rounds None and protocol "": the task's.
        seed: Of weights, corpus and order. Tiny models turn out differently: of seeds 0 to 3 all start near their colleagues' habits
            but the first, which is too good already (.70 greedy), and from 1 a team learned most.
        pure_steps: How many of the training steps are spent on pure habits.
        num_rows: Different chats in each part of the corpus.
        model: Arguments of `make_model`.
        training: Of `SFTSettings`.
    """

    task: str = "two_witnesses"
    also: tuple[str, ...] = ()
    num_agents: int = 2
    num_rounds: int | None = None
    protocol: str = ""
    seed: int = 1
    pure_steps: int = 110
    num_rows: int = 4_000
    model: Mapping[str, Any] = field(default_factory=lambda: {"vocab_size": 330, "context": 512})
    training: Mapping[str, Any] = field(
        default_factory=lambda: {
            "steps": 260,
            "batch_size": 64,
            "learning_rate": 3e-3,
            "betas": (0.9, 0.98),
            "warmup_steps": 30,
            "min_lr_rate": 0.05,
            "matmul_precision": "medium",
            "device": "cpu",
        }
    )

    def __post_init__(self) -> None:
        for task in self.tasks:
            if task not in SPEAKERS:
                raise UserValueError(f"there is no warm start for {task!r}; there is one for: {', '.join(SPEAKERS)}.")

    @property
    def tasks(self) -> tuple[str, ...]:
        return (self.task, *self.also)


def make_warm_start(
    path: str | Path,
    task: str | Sequence[str] = "two_witnesses",
    seed: int = 1,
    *,
    shipped: bool = True,
    **settings: Any,
) -> dict[str, float]:
    """Write the warm-started model of a task to the folder `path`, unless the same recipe has already been cooked there.

    The default recipe of two witnesses has been cooked already and is copied from the package; ``shipped=False`` cooks it again.

    Beside the model stand ``prompts.yaml`` (the prompts it has learned) and ``recipe.json``.
    Args:
        path: The folder.
        task: One of `SPEAKERS`; several are learned in equal parts, in as many steps as all of them take.
        seed: Of weights, corpus and order.
        shipped: Copy the package's weights if they come from this very recipe.
        **settings: Other fields of :class:`Recipe`.

    Returns:
        What `sft` measured; the same numbers again when nothing had to be done.

    Raises:
        ValueError: No warm start for this task.
    """
    first, *also = (task,) if isinstance(task, str) else task
    folder, recipe = Path(path), Recipe(task=first, also=tuple(also), seed=seed, **{**_sizes(first, *also), **settings})
    fingerprint = _fingerprint(recipe)
    if (measured := _measured(folder, fingerprint)) is not None:
        return measured
    record = folder / "recipe.json"
    record.unlink(missing_ok=True)  # from here on the folder is unfinished until the new record is written
    if shipped and (measured := _measured(SHIPPED, fingerprint)) is not None:
        shutil.copytree(SHIPPED, folder, dirs_exist_ok=True)
        return measured
    rows = corpus(recipe)
    words = [message["content"] for row in rows[:500] for message in row["messages"]]
    make_model(folder, seed=seed, texts=words, **recipe.model)
    measured = sft(folder, rows, folder, SFTSettings(seed=seed, shuffle=False, **recipe.training))
    (folder / "prompts.yaml").write_text(yaml.safe_dump(asdict(prompts_of(recipe)), sort_keys=False), encoding="utf-8")
    record.write_text(
        json.dumps({"fingerprint": fingerprint, "recipe": asdict(recipe), "measured": measured}, indent=2) + "\n",
        encoding="utf-8",
    )
    return measured


def _sizes(*tasks: str) -> dict[str, Any]:
    """What some tasks together take to be learned, where one of them takes more than the recipe's default, or they are several."""
    default = Recipe()
    usual = {"steps": default.training["steps"], "pure_steps": default.pure_steps}
    total = {name: sum(STEPS.get(task, usual)[name] for task in tasks) for name in usual}
    rows = 60_000 if set(tasks) & set(STEPS) else default.num_rows * len(tasks)
    return {
        "training": {**default.training, "steps": total["steps"]},
        "pure_steps": total["pure_steps"],
        "num_rows": rows,
    }


def _measured(folder: Path, fingerprint: str) -> dict[str, float] | None:
    """What was measured when the recipe with this fingerprint was cooked in `folder`, if it was."""
    record = folder / "recipe.json"
    known = read_json(record) if record.is_file() else {}
    if known.get("fingerprint") != fingerprint:
        return None
    return {name: float(value) for name, value in known["measured"].items()}


def corpus(recipe: Recipe) -> list[Row]:
    """The rows for `sft`, one for every place in every batch: pure habits first, then the mixed ones.

    Each of the two parts goes round and round its own `num_rows` chats.
    """
    size, steps = int(recipe.training["batch_size"]), int(recipe.training["steps"])
    first = min(recipe.pure_steps, steps) * size
    rng = np.random.default_rng(recipe.seed)
    parts = ((PURE, first), (MIXED, steps * size - first))
    rows: list[Row] = []
    for habits, places in parts:
        different = chats(recipe, habits, min(recipe.num_rows, places), rng)
        rows += list(itertools.islice(itertools.cycle(different), places))
    return rows


def chats(recipe: Recipe, habits: Habits, count: int, rng: np.random.Generator) -> list[Row]:
    """`count` chats of habit-driven discussions, each from one agent's point of view.

    Of twelve chats ten come from a team, one from a lone agent and one from a lone agent that is told all views.
    """
    casts, prompts = [_cast(task, recipe) for task in recipe.tasks], prompts_of(recipe)
    rows: list[Row] = []
    while len(rows) < count:
        which = int(rng.integers(len(casts))) if len(casts) > 1 else 0
        habitual = SPEAKERS[word := recipe.tasks[which]]

        def speak(observation: Observation, metadata: Mapping[str, Any], habitual: Habitual = habitual) -> str:
            return habitual(observation, str(metadata.get("item", "")), habits, rng)

        rows += [
            {"messages": chat} for chat in discussion(casts[which], speak, prompts, rng, teams=TEAMS.get(word, 10.0))
        ]
    return rows[:count]


def prompts_of(recipe: Recipe) -> PromptTemplate:
    """The prompts that it teaches. Where agents write parts, each reads its name: a helper and a lone agent in its seat know the same."""
    return replace(PROMPTS, answer="{agent}.") if "composed" in recipe.tasks else PROMPTS


def _cast(word: str, recipe: Recipe) -> Cast:
    arguments = {**ENV_ARGS.get(word, {}), **seats_of(word, recipe.num_agents)}
    return cast(word, recipe.num_agents, recipe.num_rounds, recipe.protocol, **arguments)


def _fingerprint(recipe: Recipe) -> str:
    """Of the recipe and of the first chats it gives: a change of task texts, prompts or habits shows in those."""
    sample = [chats(recipe, habits, 100, np.random.default_rng(recipe.seed)) for habits in (PURE, MIXED)]
    said = {name: value for name, value in asdict(recipe).items() if value != ""}  # what is not said adds nothing
    text = json.dumps([said, sample], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def main(argv: Sequence[str] | None = None) -> None:
    """``python -m maporl.benchmarks.experiments.warm_start FOLDER --task vault``."""
    parser = argparse.ArgumentParser(
        prog="python -m maporl.benchmarks.experiments.warm_start", description="Write a warm start."
    )
    parser.add_argument("folder")
    parser.add_argument("--task", nargs="+", default=["two_witnesses"], choices=list(SPEAKERS), help="one or several")
    parser.add_argument("--num_agents", type=int, default=2, help="of the team that will discuss (default: 2)")
    parser.add_argument("--num_rounds", type=int, help="of its discussions (default: the task's)")
    parser.add_argument("--protocol", default="", help="of its discussions (default: the task's)")
    parser.add_argument("--steps", type=int, help="of its training (default: what the task takes)")
    parser.add_argument("--architecture", default="llama", choices=list(ARCHITECTURES), help="of the model")
    parser.add_argument("--vocab_size", type=int, default=330, help="of its tokenizer, at most")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    args = parser.parse_args(argv)
    model = {**Recipe().model, "vocab_size": args.vocab_size}
    model |= {} if args.architecture == "llama" else {"architecture": args.architecture}
    team = {"num_agents": args.num_agents, "num_rounds": args.num_rounds, "protocol": args.protocol}
    settings: dict[str, Any] = {**team, "model": model}
    if args.steps is not None:
        settings["training"] = {**_sizes(*args.task)["training"], "steps": args.steps}
    print(args.folder, make_warm_start(args.folder, args.task, args.seed, **settings))


if __name__ == "__main__":
    main()

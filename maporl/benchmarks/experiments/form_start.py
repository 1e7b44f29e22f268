"""Where a team of pretrained models starts: they know the form of an answer, and nothing of what to answer.

Reinforcement learning needs messages that the verifier can read, and differences between them. A small pretrained model asked for
"Answer: " and a number writes essays; shown one example it answers in form, and always the same. So it is fine-tuned for some steps
on scripted discussions whose every answer is drawn at random: a number that stands in what the speaker reads (its own view, what the others
said, its own former answer), or, once in `NOISE`, any other. Nothing in that corpus is more often right than chance would have it: who
should be believed, and that a foggy view should not be, is left to be learned.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maporl.agents.models.lora import LoRA
from maporl.agents.prompts import PromptTemplate
from maporl.algorithms.sft import SFTSettings, sft
from maporl.atomic_files import mapping_of
from maporl.benchmarks.experiments.scripted import Chat, cast, discussion, seats_of
from maporl.errors import UserValueError
from maporl.types import Observation

__all__ = ["FORMS", "PROMPTS", "FormRecipe", "form_chats", "make_form_start"]

PROMPTS = PromptTemplate(
    system="Answer in one line.",
    private="{private}",
    peers="{messages}",
    peer="Other: {text}",
    answer="",
    revise="What is your answer?",
    separator=" ",
)
"""Short, for every token of a prompt is read for every message; the form of the answer is what the corpus teaches."""

RECORD = "recipe.json"

NOISE = 0.3
"""How often an answer is any number: without it nothing is ever said that nobody has said before."""

FORMS: Mapping[str, int] = {"two_witnesses": 10, "shared_numbers": 10}
"""Tasks whose answers are one number -> how many numbers there are, from 0."""


@dataclass(frozen=True)
class FormRecipe:
    """Everything that a start depends on, beside the base model.

    Attributes:
        task: Of `FORMS`.
        num_agents, num_rounds, protocol: Of the team that will discuss; rounds None and protocol "": the task's.
        seed: Of the corpus and of the adapter that is merged.
        steps, batch_size, learning_rate: Of the fine-tuning.
        rank: Of the adapter that is trained and merged.
        chat_template: "plain", a Jinja file, or None for the base model's own; the start brings it.
    """

    task: str = "two_witnesses"
    num_agents: int = 2
    num_rounds: int | None = 2
    protocol: str = ""
    seed: int = 0
    steps: int = 15
    batch_size: int = 16
    learning_rate: float = 1e-3
    rank: int = 16
    chat_template: str | None = None
    prompts: Mapping[str, Any] = field(default_factory=lambda: asdict(PROMPTS))

    def __post_init__(self) -> None:
        if self.task not in FORMS:
            raise UserValueError(f"there is no start for {self.task!r} yet; there is one for: {', '.join(FORMS)}.")


def make_form_start(path: str | Path, model: str | Path, recipe: FormRecipe) -> dict[str, float]:
    """Write `model` with the form of the task's answers as a plain folder, unless the same recipe has already been cooked there.

    Beside the weights stand ``prompts.yaml`` and ``recipe.json``. It is made beside its place and moved there when it is complete.

    Args:
        path: The folder to write; new, empty, or an earlier start, which is replaced.
        model: Base model: a folder, a GGUF file or a hub id.
        recipe: What it is taught, and how.

    Returns:
        What `sft` measured; the same numbers again when nothing had to be done.

    Raises:
        ValueError: A task without a start, a folder that holds something else, or a model that cannot be loaded.
    """
    folder = Path(path)
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UserValueError(f"{str(path)!r} is in use, and no start; give another folder, or delete it.")
    rows = [{"messages": chat} for chat in form_chats(recipe)]
    corpus = hashlib.sha256(json.dumps(rows).encode()).hexdigest()
    made = json.loads(json.dumps({"model": str(model), "recipe": asdict(recipe), "corpus": corpus}))
    if (known := mapping_of(folder / RECORD)).items() >= made.items():
        return dict(known["measured"])
    lora = LoRA(r=recipe.rank, alpha=2 * recipe.rank)
    settings = SFTSettings(
        seed=recipe.seed,
        steps=recipe.steps,
        batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        warmup_steps=3,
        lora=lora,
        chat_template=recipe.chat_template,
    )
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.absolute().parent) as place:
        new = Path(place) / "start"
        measured = sft(model, rows, new, settings)
        (new / "prompts.yaml").write_text(yaml.safe_dump(recipe.prompts, sort_keys=False), encoding="utf-8")
        (new / RECORD).write_text(json.dumps({**made, "measured": measured}, indent=2) + "\n", encoding="utf-8")
        if folder.is_dir():
            shutil.rmtree(folder)
        new.rename(folder)
    return measured


def form_chats(recipe: FormRecipe) -> list[Chat]:
    """The chats of the corpus, one for every place in every batch."""
    rng = np.random.default_rng(recipe.seed)
    of = cast(
        recipe.task, recipe.num_agents, recipe.num_rounds, recipe.protocol, **seats_of(recipe.task, recipe.num_agents)
    )
    speak, prompts = _random_number(FORMS[recipe.task], rng), PromptTemplate(**recipe.prompts)
    chats: list[Chat] = []
    while len(chats) < recipe.steps * recipe.batch_size:
        chats += discussion(of, speak, prompts, rng)
    return chats[: recipe.steps * recipe.batch_size]


def _random_number(count: int, rng: np.random.Generator) -> Callable[[Observation, Mapping[str, Any]], str]:
    def speak(observation: Observation, metadata: Mapping[str, Any]) -> str:
        texts = [observation["question"], observation["private"], *(m["text"] for m in observation["transcript"])]
        read = re.findall(r"\d+", " ".join(texts))
        if read and rng.random() >= NOISE:
            return f"Answer: {read[int(rng.integers(len(read)))]}"
        return f"Answer: {int(rng.integers(count))}"

    return speak

"""The network: a base, one LoRA adapter, and a head without bias. It reads one question and one response, never the debate."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.policy import Policy
from maporl.agents.models.value_model import ValueHead, ValueModel
from maporl.agents.prompts import PromptTemplate
from maporl.atomic_files import write_whole
from maporl.errors import UserValueError
from maporl.printable import encodable
from maporl.reasoning import spoken
from maporl.text_files import read_json
from maporl.types import Observation, Question

__all__ = ["READS", "Card", "Network", "Reading", "asked", "fingerprint", "rows_of", "save_head"]

READS = ("both", "question", "response")

ADAPTER = "verifier"
CARD, HEAD = "verifier.json", "head.safetensors"

Row = tuple[np.ndarray, np.ndarray]  # prompt ids [P], response ids [R]


@dataclass(frozen=True)
class Reading:
    """What a verifier reads of a question and a response.

    Attributes:
        reads: "both", or, as a control, the "question" or the "response" alone.
        prompts: Pieces of a `PromptTemplate`.
        instruction: How to answer, as the task says it; "" for none.

    Raises:
        ValueError: An unknown word or piece.
    """

    reads: str = "both"
    prompts: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""

    def __post_init__(self) -> None:
        if self.reads not in READS:
            raise UserValueError(f"reads {self.reads!r} is unknown; use one of {list(READS)}.")
        PromptTemplate.load(self.prompts)


@dataclass(frozen=True)
class Card:
    """What a verifier's folder says about it.

    Attributes:
        base: Checkpoint folder or hub id of the base model.
        base_fingerprint: Of its tokenizer and weights, see `fingerprint`.
        reading: What it reads, and how that is put.
        temperature: By which logits are divided (1: not calibrated).
        chat_template: As the base was loaded with.
        questions: Hashes of all questions that it was fitted to or calibrated on.
        settings: Of its training.
        measured: What was measured on held-out questions.
    """

    base: str
    base_fingerprint: str
    reading: Reading = Reading()
    temperature: float = 1.0
    chat_template: str | None = None
    questions: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: str | Path) -> Card:
        """From a verifier's folder.

        Raises:
            ValueError: It is none, or was written by another version.
        """
        file = Path(folder) / CARD
        if not file.is_file():
            raise UserValueError(
                f"verifier {str(folder)!r}: no {CARD} there; give a folder written by maporl verifier train."
            )
        try:
            found = read_json(file)
            return cls(**{**found, "questions": tuple(found["questions"]), "reading": Reading(**found["reading"])})
        except (ValueError, TypeError, KeyError) as error:
            raise UserValueError(
                f"verifier {str(folder)!r}: {CARD} cannot be read ({error}); train it again."
            ) from error

    def save(self, folder: str | Path) -> None:
        write_whole(Path(folder) / CARD, json.dumps(asdict(self), indent=1) + "\n")


class Network:
    """logit p(right | question, response so far), after every token of a response.

    Args:
        policy: The base; it gets the adapter.
        folder: A verifier's.
        card: What it says.
    """

    def __init__(self, policy: Policy, folder: str | Path, card: Card) -> None:
        self.policy, self.card = policy, card
        policy.add_adapter(ADAPTER, path=folder)
        self.value_model = ValueModel(policy, ADAPTER, bias=False)
        try:
            self.value_model.head.load_state_dict(load_file(Path(folder) / HEAD))
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = " ".join(str(error).split())[:200]
            raise UserValueError(
                f"verifier {str(folder)!r}: {HEAD} is missing, damaged or of another size ({reason}); train it again."
            ) from error

    @classmethod
    def load(
        cls, folder: str | Path, *, base: str | None = None, device: str = "cpu", dtype: str | None = None
    ) -> Network:
        """A verifier from its folder.

        Args:
            folder: The verifier's.
            base: Where its base is now, if not where it was.
            device, dtype: Of the base; dtype None is the one that it was trained in.

        Raises:
            ValueError: No verifier, no base, or a base that it was not trained on.
        """
        card = Card.load(folder)
        path, dtype = base or card.base, dtype or card.settings.get("dtype")
        try:
            policy = Policy.from_pretrained(path, device=device, dtype=dtype, chat_template=card.chat_template)
        except ValueError as error:
            raise UserValueError(
                f"verifier {str(folder)!r} needs its base model {path!r}; say where it is (base; --model on the command line). {error}"
            ) from error
        found = fingerprint(policy.model, policy.tokenizer)
        if found != card.base_fingerprint:
            raise UserValueError(
                f"verifier {str(folder)!r} was trained on {card.base!r}, and {path!r} is another model (tokenizer or weights differ); "
                "give the base that it was trained on, or train it again on this one."
            )
        return cls(policy, folder, card)

    @torch.inference_mode()
    def logits(self, rows: Sequence[Row], batch_tokens: int) -> list[Tensor]:
        """For every row [R] float32 on the CPU (or [1], for an empty response): the logit after each of its tokens, as calibrated.

        Responses to one question read it once.
        """
        policy = self.policy
        end = np.array([min(policy.eos_ids, default=policy.pad_id)])  # only what stands before it is looked at
        prompts = [prompt for prompt, _ in rows]
        closed = [np.concatenate([response, end]) for _, response in rows]
        found: dict[int, Tensor] = {}
        with policy.speaking(ADAPTER):
            for packed in policy.pack(np.arange(len(rows)), prompts, closed, batch_tokens):
                values = self.value_model.values(packed).cpu() / self.card.temperature
                for row, part in zip(packed.rows.tolist(), values.split(packed.lengths.tolist()), strict=True):
                    found[row] = part[1:] if len(part) > 1 else part
        return [found[row] for row in range(len(rows))]

    def probabilities(self, rows: Sequence[Row], batch_tokens: int) -> np.ndarray:
        """[N] float64: p(right) after the last token of every response."""
        return np.array([torch.sigmoid(row[-1].double()).item() for row in self.logits(rows, batch_tokens)])


def asked(question: Question, prompts: PromptTemplate, instruction: str) -> list[dict[str, str]]:
    """What a verifier is asked: what a lone agent is that knows everything that any agent knows, for it judges for the whole team."""
    told = " ".join(question.every_view)
    lone = Observation(
        agent="", round=0, question=question.text, private=told, instruction=instruction, role="", transcript=()
    )
    return [{**m, "content": encodable(m["content"])} for m in prompts.messages(lone)]


def rows_of(
    encode: ChatEncoder, reading: Reading, questions: Sequence[Question], responses: Sequence[str], longest: int
) -> list[Row]:
    """Token ids of what a verifier reads: the question as the user's message, the response as the assistant's.

    A row that is longer than `longest` tokens loses the beginning of its response: the answer stands at its end.

    Args:
        encode: Chats -> token ids, by the base's tokenizer.
        reading: What is read, and how it is put.
        questions, responses: Pair by pair.
        longest: Tokens of a row, at most.
    """
    prompts, instruction = PromptTemplate.load(reading.prompts), reading.instruction
    blank = [{"role": "user", "content": ""}]
    different = {q.hash: q for q in questions}
    chats = [blank if reading.reads == "response" else asked(q, prompts, instruction) for q in different.values()]
    ids = dict(zip(different, (np.asarray(chat, np.int64) for chat in encode(chats)), strict=True))
    none = reading.reads == "question"
    said = ["" if none else encodable((spoken(response) or "").strip()) for response in responses]
    # A response that spells out a control token must not be able to end itself and begin another message.
    read = encode.tokenizer(said, add_special_tokens=False, split_special_tokens=True)["input_ids"] if said else []
    rows = []
    for question, response in zip(questions, read, strict=True):
        prompt = ids[question.hash][-(longest - 2) :]
        rows.append((prompt, np.asarray(response[-max(longest - len(prompt) - 1, 1) :], np.int64)))
    return rows


def fingerprint(model: Any, tokenizer: Any) -> str:
    """Of a base model without adapters: its kind, its vocabulary, and a few entries of every matrix.

    Of all matrices, for fine-tuning often leaves the embeddings alone; rounded to bfloat16, so that one checkpoint loaded in float32
    and in bfloat16 is one base.
    """
    found = hashlib.sha256(repr([model.config.model_type, sorted(tokenizer.get_vocab().items())]).encode())
    for name, weight in sorted(model.named_parameters()):
        if weight.dim() > 1:
            flat = weight.detach().flatten()
            sample = flat[:: max(len(flat) // 64, 1)].to("cpu", torch.bfloat16)
            found.update(f"{name} {tuple(weight.shape)}".encode() + sample.view(torch.int16).numpy().tobytes())
    return found.hexdigest()[:32]


def save_head(head: ValueHead, folder: str | Path) -> None:
    """Beside the adapter."""
    save_file({"weight": head.weight.detach().float().cpu().contiguous()}, Path(folder) / HEAD)

"""What is tried with one checkpoint, each check a few words or a number of what came out: the columns of docs/compatibility.md."""

from __future__ import annotations

import contextlib
import json
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import get_peft_model
from torch import Tensor, nn
from toy_models import logprobs_of, shake, weights

from maporl.agents.chat import ChatEncoder
from maporl.agents.models.checkpoints import eos_ids, load_model, load_tokenizer, read_tokenizer
from maporl.agents.models.lora import LoRA
from maporl.agents.models.mixed import is_mixed
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.in_process import InProcessSampler
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.settings import Sampling
from maporl.errors import UserValueError

__all__ = ["CHECKS", "Checkpoint", "cells"]

SYSTEM, FIRST, ANSWER, SECOND = (
    {"role": role, "content": text}
    for role, text in (
        ("system", "You check the sums of others."),
        ("user", "What is 12 + 35?"),
        ("assistant", "It is 47."),
        ("user", "Another agent says 46. Who is right?"),
    )
)
CHATS = [[FIRST], [SYSTEM, FIRST], [FIRST, ANSWER, SECOND]]
NOT_TRIED = "-"


@dataclass(frozen=True)
class Checkpoint:
    """What is looked at.

    Attributes:
        name: Its row.
        folder: A model's folder.
        gguf: The same model as a GGUF file, if there is one.
    """

    name: str
    folder: Path
    gguf: Path | None = None

    @cached_property
    def has_template(self) -> bool:
        return bool(read_tokenizer(str(self.folder)).chat_template)

    @property
    def template(self) -> str | None:
        """What `--chat_template` is to say."""
        return None if self.has_template else "plain"

    def policy(self, dtype: str = "float32") -> Policy:
        """The base with an adapter "one" on all its linear layers, as if it had been trained a little."""
        policy = Policy.from_pretrained(str(self.folder), dtype=dtype, chat_template=self.template)
        policy.add_adapter("one", seed=1)
        shake(policy, "one", 0.03)
        return policy

    @cached_property
    def ids(self) -> Tensor:
        """A chat with an answer, [1, T]."""
        tokenizer = load_tokenizer(str(self.folder), self.template)
        return torch.tensor([ChatEncoder(tokenizer).answered([FIRST, ANSWER])])

    @torch.no_grad()
    def logits(self, model: nn.Module) -> Tensor:
        return model.eval()(input_ids=self.ids).logits.float()


# -- sampling and training ---------------------------------------------------------------------------------------------


def loads(checkpoint: Checkpoint) -> str:
    """The types in which it is loaded, mixed or not, and its logits are numbers."""
    found = []
    for dtype in ("float32", "bfloat16"):
        model = checkpoint.policy(dtype).model
        said = f"mixed {dtype}" if is_mixed(model) else dtype
        found.append(said if checkpoint.logits(model).isfinite().all() else f"{said}: not finite")
    return ", ".join(found)


def way(checkpoint: Checkpoint, dtype: str) -> str:
    """Which sampler is exact for the model, so that it is taken."""
    return "fast" if isinstance(checkpoint.policy(dtype).sampler, InProcessSampler) else "generate"


def mismatch(checkpoint: Checkpoint, dtype: str) -> str:
    """Mean |difference| of tokens' log-probs as sampled and as trained on, over two rounds."""
    policy, rng = checkpoint.policy(dtype), np.random.default_rng(0)
    prompts = [ids.astype(np.int64) for ids in policy.encode_chats(CHATS) for _ in range(2)]
    found = []
    for _ in range(2):
        sampling = Sampling(max_new_tokens=16)
        draws = rng.random((len(prompts), sampling.max_new_tokens), np.float32)
        said = policy.sample([Request("one", p, sampling, u) for p, u in zip(prompts, draws, strict=True)])
        with torch.no_grad():
            trained = logprobs_of(policy, "one", prompts, [s.ids for s in said])
        found += [np.abs(trained[n, : len(s.ids)].numpy() - s.logprobs) for n, s in enumerate(said)]
        prompts = [np.concatenate([p, s.ids, prompts[0]]) for p, s in zip(prompts, said, strict=True)]
    return number(float(np.concatenate(found).mean()))


def gguf(checkpoint: Checkpoint) -> str:
    """Largest |difference| of the logits of the GGUF file and of the folder, both in the folder's type."""
    if checkpoint.gguf is None:
        return NOT_TRIED
    files = (str(checkpoint.folder), str(checkpoint.gguf))
    stored = json.loads((checkpoint.folder / "config.json").read_text())["dtype"]
    there, here = (checkpoint.logits(load_model(file, dtype=stored)) for file in files)
    return number(float((there - here).abs().max()))


# -- adapters ----------------------------------------------------------------------------------------------------------


def new_adapter(checkpoint: Checkpoint) -> str:
    """It starts as the base, gets a gradient in all its matrices, and is the same once it is saved and loaded."""
    policy = Policy.from_pretrained(str(checkpoint.folder), chat_template=checkpoint.template)
    before = checkpoint.logits(policy.model)
    policy.add_adapter("one", seed=1)
    with policy.using("one"):
        if not torch.equal(checkpoint.logits(policy.model), before):
            return "does not start as the base"
    shake(policy, "one", 0.03)
    half = checkpoint.ids.shape[1] // 2
    prompt, said = checkpoint.ids[0, :half].numpy(), checkpoint.ids[0, half:].numpy()
    loss = logprobs_of(policy, "one", [prompt], [said]).sum()
    slopes = torch.autograd.grad(loss, policy.parameters("one"), allow_unused=True)
    moved = sum(g is not None and bool(g.isfinite().all()) and bool(g.any()) for g in slopes)
    with tempfile.TemporaryDirectory() as folder:
        policy.save_adapter("one", folder)
        policy.add_adapter("two", path=folder)
    if not torch.equal(weights(policy, "one"), weights(policy, "two")):
        return "saved and loaded it is another"
    return "yes" if moved == len(slopes) else f"a gradient in {moved} of {len(slopes)} matrices"


def adapter(checkpoint: Checkpoint, settings: Mapping[str, Any]) -> str:
    """Largest |difference| from PEFT's own logits, of an adapter that PEFT has made on a base of its own; the shared base is as it was."""
    theirs = load_model(str(checkpoint.folder), dtype="float32")
    try:
        theirs = get_peft_model(theirs, replace(LoRA(r=4, alpha=6).config(theirs), **settings))
    except (ValueError, AttributeError, TypeError) as error:
        return f"PEFT cannot make one: {error}"
    generator = torch.Generator().manual_seed(0)
    for name, parameter in theirs.named_parameters():
        if parameter.requires_grad and "magnitude" not in name:
            parameter.data += torch.randn(parameter.shape, generator=generator) * 0.03
    expected = checkpoint.logits(theirs)
    policy = checkpoint.policy()
    with tempfile.TemporaryDirectory() as folder, policy.using(None):
        before = checkpoint.logits(policy.model)
        theirs.save_pretrained(folder)
        del theirs
        policy.add_adapter("two", path=folder)
    with policy.using(None):
        if not torch.equal(checkpoint.logits(policy.model), before):
            return "moves the base"
    with policy.using("two"):
        found = checkpoint.logits(policy.model)
    if (found - before).abs().max() < 1e-3:
        return "does nothing"
    return number(float((found - expected).abs().max()))


def export(checkpoint: Checkpoint) -> str:
    """Largest |difference| of the logits of base and adapter, and of the plain folder with both in one."""
    policy = checkpoint.policy()
    with policy.using("one"):
        expected = checkpoint.logits(policy.model)
    with tempfile.TemporaryDirectory() as folder:
        policy.export("one", folder)
        del policy
        return number(float((checkpoint.logits(load_model(folder, dtype="float32")) - expected).abs().max()))


# -- chats -------------------------------------------------------------------------------------------------------------


def encoder(checkpoint: Checkpoint) -> ChatEncoder:
    return ChatEncoder(load_tokenizer(str(checkpoint.folder), checkpoint.template))


def template(checkpoint: Checkpoint) -> str:
    encoder(checkpoint)(CHATS)
    return "its own" if checkpoint.has_template else "has none: plain"


def text(checkpoint: Checkpoint) -> str:
    """Whether a text comes back from its tokens."""
    said = "Two words,  3.5 numbers:\n\n42 + 7 = 49? Ünï 🙂"
    chats = encoder(checkpoint)
    back = chats.decode(chats.plain(said))
    return "yes" if back == said else f"comes back as {code(back)}"


def bos(checkpoint: Checkpoint) -> str:
    """How often chats begin with BOS. A template may open every turn with it (SmolLM2): then it stands there for the first turn."""
    chats = encoder(checkpoint)
    token = chats.tokenizer.bos_token_id
    if token is None:
        return "has none"
    counts = {next(n for n, i in enumerate([*ids, None]) if i != token) for ids in chats(CHATS)}
    return " or ".join({0: "not added", 1: "once"}.get(n, f"{n} times") for n in sorted(counts))


def closing(checkpoint: Checkpoint) -> str:
    """The control token that the template ends an answer with."""
    chats = encoder(checkpoint)
    ends = sorted(chats.ends)
    if not ends:
        return "text alone"
    words = ", ".join(code(t) for t in chats.tokenizer.convert_ids_to_tokens(ends))
    written = chats.answered([FIRST, ANSWER])
    return words if set(written[-3:]) & set(ends) else f"{words}, which opens the next turn"


def stops(checkpoint: Checkpoint) -> str:
    """The tokens that end sampling."""
    chats = encoder(checkpoint)
    ends = sorted(eos_ids(load_model(str(checkpoint.folder), dtype="float32"), chats.tokenizer))
    return ", ".join(code(t) for t in chats.tokenizer.convert_ids_to_tokens(ends))


def system(checkpoint: Checkpoint) -> str:
    """Whether the template has a place for it."""
    chats = encoder(checkpoint)
    folded = {"role": "user", "content": f"{SYSTEM['content']}\n\n{FIRST['content']}"}
    told, put_before = chats([[SYSTEM, FIRST], [folded]])
    if SYSTEM["content"] not in chats.tokenizer.decode(told):
        return "lost"
    return "in the user's" if np.array_equal(told, put_before) else "kept"


def thinking(checkpoint: Checkpoint) -> str:
    """Whether `--thinking` makes a difference."""
    try:
        on, off = (
            ChatEncoder(load_tokenizer(str(checkpoint.folder), checkpoint.template, value))([[FIRST]])[0]
            for value in (True, False)
        )
    except UserValueError as error:
        if "takes no enable_thinking" in str(error):
            return "no switch"
        raise
    return "no difference" if np.array_equal(on, off) else "switch"


def rounds(checkpoint: Checkpoint) -> str:
    """Whether a longer chat begins with a shorter one, so that keys and values are kept."""
    return "kept" if encoder(checkpoint).prefix_stable else "read anew"


CHATTING: dict[str, Callable[[Checkpoint], str]] = {
    "template": template,
    "text comes back": text,
    "BOS": bos,
    "an answer ends with": closing,
    "sampling stops at": stops,
    "system message": system,
    "thinking": thinking,
    "earlier rounds": rounds,
}
CHECKS: dict[str, dict[str, Callable[[Checkpoint], str]]] = {
    "Sampling and training": {
        "loads as": loads,
        "float32: sampler": lambda c: way(c, "float32"),
        "float32: difference": lambda c: mismatch(c, "float32"),
        "bfloat16: sampler": lambda c: way(c, "bfloat16"),
        "bfloat16: difference": lambda c: mismatch(c, "bfloat16"),
        "GGUF": gguf,
    },
    "Adapters": {
        "new LoRA": new_adapter,
        "rsLoRA": lambda c: adapter(c, {"use_rslora": True}),
        "DoRA": lambda c: adapter(c, {"use_dora": True}),
        "PiSSA": lambda c: adapter(c, {"init_lora_weights": "pissa"}),
        "export": export,
    },
    "Chats": CHATTING,
}
"""Heading of a table -> name of a column -> check."""


def cells(checkpoint: Checkpoint, table: str) -> list[str]:
    """A row: what each check of a table found, or what went wrong instead."""
    with _quiet():
        return [_tried(check, checkpoint) for check in CHECKS[table].values()]


def _tried(check: Callable[[Checkpoint], str], checkpoint: Checkpoint) -> str:
    try:
        return check(checkpoint)
    except Exception as error:  # whatever a model's own code raises: that is what the table is for
        said = " ".join(str(error).replace(str(checkpoint.folder), checkpoint.name).split())
        said = re.sub(rf"{re.escape(tempfile.gettempdir())}/[\w-]+", "FOLDER", said)
        return f"{type(error).__name__}: {said[:120]}".replace("|", "\\|")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def number(value: float) -> str:
    """One figure: more would differ from machine to machine."""
    return "0" if value == 0 else f"{value:.3f}" if value >= 0.0005 else f"{value:.0e}".replace("e-0", "e-")


def code(text: str) -> str:
    """As code in a table."""
    return "`" + text.replace("|", "\\|") + "`"

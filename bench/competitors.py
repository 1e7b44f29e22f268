"""Ours beside CoMLRL's MAGRPOTrainer and TRL's GRPOTrainer: their public trainers, the same model, prompts, samples and tokens.

Everything runs in one process, one side after the other in every repetition. Each competitor appears as it comes ("stock")
and with our settings given to it ("equal": precision, attention, questions per optimizer step).
Messages cannot end early on any side, so every token counted is a real one. The learning rate moves nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from peft import LoraConfig

from bench.long_message import loss_and_gradient
from bench.our_step import EQUAL, STOCK, Knobs, OurStep, early_share, prompt_text
from bench.positions import counted
from bench.rows import Row, each, interleaved, of, ratio
from bench.settings import Settings
from bench.with_comlrl import CoMLRLStep
from bench.with_trl import TRLStep
from bench.workload import make_talkative
from maporl.types import Question

__all__ = ["rows"]

SECTION = "competitors"
OWN_MODELS = "ours: an adapter each on one base; theirs: a whole model each"


def rows(settings: Settings) -> list[Row]:
    """Every comparison of the section."""
    with tempfile.TemporaryDirectory() as folder:
        # Every side loads one checkpoint, which says text that comes back as the tokens it was: random bytes would come back as many
        # more, and second rounds would be about little else.
        make_talkative(settings.policy(folder)).model.save_pretrained(settings.checkpoint(folder))
        found = against_comlrl(settings, folder)
        found += against_comlrl(settings, folder, num_rounds=2)
        found += loss_rows(settings)
        found += against_trl(settings, folder)
    return found


def against_comlrl(settings: Settings, folder: str | Path, num_rounds: int = 1) -> list[Row]:
    """Tokens/s of whole training steps: 2 agents, 8 samples of a question, 32 tokens a message.

    With one round, ours takes 16 questions a step and, in a row of its own, one; theirs can take one only. With two rounds ours
    plays 8 whole discussions of a question, theirs every answer to every first-round joint action (a tree: 72 messages an
    agent against 16), so that tokens, not questions, are compared.
    """
    batch, tokens = (2, 4) if settings.quick else (16, 32)
    single = min(batch, 4)  # questions of a repetition with one a step: as long a time as the others'
    theirs = batch if num_rounds == 1 else 1
    sizes: dict[str, Any] = {"num_rounds": num_rounds, "new_tokens": tokens, "group_size": 2 if settings.quick else 8}
    ours = {
        side: OurStep(settings, folder, EQUAL, dtype=dtype, **sizes)
        for side, dtype in (("equal", None), ("16 bit", "bfloat16"))
    }
    one = ours["equal"]
    questions = one.questions[:batch]
    prompts = [_prompts(one, question) for question in questions]
    asked = {texts[0]: question for texts, question in zip(prompts, questions, strict=True)}

    def transition(prompt: str, agent_completions: Sequence[str], **more: object) -> list[str]:
        return _prompts(one, asked[prompt], agent_completions)

    path = settings.checkpoint(folder)
    rivals = {
        "stock": CoMLRLStep(settings, path, _reward, STOCK, transition=transition, **sizes),
        "equal": CoMLRLStep(settings, path, _reward, EQUAL, transition=transition, buffer=batch, **sizes),
        "equal, step": CoMLRLStep(settings, path, _reward, EQUAL, transition=transition, buffer=1, **sizes),
    }
    steps: dict[str, Callable[[], float]] = {
        "ours": lambda: _rate(ours["equal"](questions)),
        "ours, in bfloat16": lambda: _rate(ours["16 bit"](questions)),
        "ours, one question a step": lambda: _rate(*(ours["equal"]([q]) for q in questions[:single])),
        "CoMLRL stock": lambda: _rate(rivals["stock"](prompts[:theirs])),
        "CoMLRL equal settings": lambda: _rate(rivals["equal"](prompts[:theirs])),
        "CoMLRL equal settings, one question a step": lambda: _rate(rivals["equal, step"](prompts[:theirs])),
    }
    series = interleaved(steps, settings.repetitions)
    label = "" if num_rounds == 1 else ", 2 rounds"
    found = [of(SECTION, f"{name}{label}", rates, "tokens/s") for name, rates in series.items()]
    found += _positions(f"ours{label}", [one.member("agent_0").policy.model], lambda: one(questions))
    rival = rivals["stock"]
    found += _positions(f"CoMLRL stock{label}", rival.trainer.agents, lambda: rival(prompts[:theirs]))
    mine, alone = series["ours"], series["ours, one question a step"]
    if num_rounds == 1:
        pairs: list[tuple[str, list[float], str, str | None]] = [
            (f"{batch} questions a step / CoMLRL stock", mine, "CoMLRL stock", ">= 5"),
            (f"{batch} questions a step / CoMLRL equal settings", mine, "CoMLRL equal settings", ">= 3"),
            ("in bfloat16 / CoMLRL stock", series["ours, in bfloat16"], "CoMLRL stock", None),
            ("one question a step / CoMLRL stock", alone, "CoMLRL stock", ">= 2"),
            (
                "one question a step / CoMLRL equal settings",
                alone,
                "CoMLRL equal settings, one question a step",
                ">= 2",
            ),
        ]
    else:
        pairs = [
            ("2 rounds / CoMLRL stock", mine, "CoMLRL stock", ">= 6"),
            ("2 rounds / CoMLRL equal settings", mine, "CoMLRL equal settings", None),
            ("2 rounds, one question a step / CoMLRL stock", alone, "CoMLRL stock", None),
        ]
    return found + [ratio(SECTION, name, a, series[b], target, OWN_MODELS) for name, a, b, target in pairs]


def loss_rows(settings: Settings) -> list[Row]:
    """Forward, loss and gradient of two long messages at a large vocabulary."""
    vocabulary, length = (2_000, 16) if settings.quick else (151_936, 256)
    steps = loss_and_gradient(settings, vocabulary, length)
    # Theirs takes half a minute a time: three repetitions tell as much as seven.
    series = interleaved(steps, min(settings.repetitions, 3))
    what = f"loss and gradient, V={vocabulary:,}, T={length}"
    note = "forward, loss and adapters' gradient of two messages, the same model for both"
    return [
        *each(SECTION, what, series, "s"),
        *(
            ratio(SECTION, f"{what}: {name} / ours", seconds, series["ours"], ">= 15", note)
            for name, seconds in series.items()
            if name != "ours"
        ),
    ]


def against_trl(settings: Settings, folder: str | Path) -> list[Row]:
    """Seconds of a training step: one agent, one turn, 32 questions of 8 samples each, 32 tokens."""
    batch, tokens, group = (2, 4, 2) if settings.quick else (32, 32, 8)
    ours = OurStep(settings, folder, EQUAL, num_agents=1, new_tokens=tokens, group_size=group)
    questions = ours.questions[:batch]
    prompts = [_prompts(ours, question)[0] for question in questions]
    adapter = ours.member("agent_0").policy.lora
    lora = LoraConfig(r=adapter.r, lora_alpha=adapter.alpha, target_modules="all-linear", task_type="CAUSAL_LM")
    path = settings.checkpoint(folder)
    sizes: dict[str, Any] = {"new_tokens": tokens, "group_size": group}
    kinds: dict[str, tuple[Knobs | None, LoraConfig | None, str | None, str]] = {
        "TRL stock": (
            None,
            None,
            ">= 2",
            "TRL as it comes trains the whole model, with autocast and gradient checkpointing",
        ),
        "TRL stock, LoRA": (None, lora, None, "as it comes, with our adapters"),
        "TRL equal settings": (EQUAL, None, None, "without gradient checkpointing; the whole model"),
        "TRL equal settings, LoRA": (EQUAL, lora, ">= 1.2", "without gradient checkpointing, with our adapters"),
    }
    rivals = {
        name: TRLStep(settings, path, prompts, _text_reward, knobs, lora=adapters, **sizes)
        for name, (knobs, adapters, _, _) in kinds.items()
    }
    # Each repetition notes its tokens, which must be the same on both sides for seconds to be compared.
    steps: dict[str, Callable[[], float]] = {"ours": lambda: _seconds(ours(questions), batch * group * tokens)}
    steps |= {name: _timed(rival, batch * group * tokens) for name, rival in rivals.items()}
    series = interleaved(steps, settings.repetitions)
    what = f"step, 1 agent, {batch * group} messages"
    found = each(SECTION, what, series, "s")
    found += _positions(f"{what}: ours", [ours.member("agent_0").policy.model], lambda: ours(questions))
    trl = rivals["TRL stock"]
    found += _positions(f"{what}: TRL stock", [trl.trainer.model], trl)
    return found + [
        ratio(SECTION, f"{what}: {name} / ours", series[name], series["ours"], target, note)
        for name, (_, _, target, note) in kinds.items()
    ]


def _prompts(step: OurStep, question: Question, said: Sequence[str] | None = None) -> list[str]:
    return [prompt_text(step.env, step.member(a), question, a, said) for a in step.env.possible_agents]


def _reward(*texts: Sequence[str]) -> list[float]:
    return [sum(early_share(None, text) for text in joint) for joint in zip(*texts, strict=True)]


def _text_reward(text: str) -> float:
    return early_share(None, text)


def _positions(side: str, models: Sequence[Any], step: Callable[[], Mapping[str, float]]) -> list[Row]:
    """Positions of the model's body computed for each sampled token, and the share of padding among them, in one more step."""
    with counted(models) as positions:
        tokens = step()["tokens"]
    return [
        of(SECTION, f"{side}: positions computed per sampled token", positions.computed / tokens, ""),
        of(SECTION, f"{side}: padding among them", 1 - positions.real / positions.computed, "share"),
    ]


def _rate(*measured: Mapping[str, float]) -> float:
    return sum(m["tokens"] for m in measured) / sum(m["seconds"] for m in measured)


def _seconds(measured: Mapping[str, float], tokens: int) -> float:
    if measured["tokens"] != tokens:
        raise RuntimeError(
            f"{measured['tokens']:.0f} tokens were sampled instead of {tokens}: seconds cannot be compared."
        )
    return measured["seconds"]


def _timed(rival: TRLStep, tokens: int) -> Callable[[], float]:
    return lambda: _seconds(rival(), tokens)

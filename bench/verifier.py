"""The learned verifier against a plain batched forward of the same model, and what it adds to a training iteration.

The plain way is what one would write with `transformers`: the adapter merged into the weights, texts tokenised, sorted by length, padded on
the right in batches, the head on each last state. It is given the faster of several batch sizes. Every answer is new to the verifier, so
nothing is looked up. An iteration is MAPPO's on arithmetic, sampling and update, with messages that are all different: as many answers
to score as there can be.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from bench.rows import Row, interleaved, of, ratio
from bench.settings import Settings
from bench.workload import make_talkative
from maporl.agents import Policy, PromptTemplate, Sampling, Team
from maporl.agents.checkpoints import load_causal_lm
from maporl.algorithms.training import Collector, learn
from maporl.config import RunConfig
from maporl.learned_verifier import LearnedVerifier
from maporl.learned_verifier.answers import LabelledAnswer
from maporl.learned_verifier.model import asked
from maporl.learned_verifier.training import Settings as Training
from maporl.learned_verifier.training import fit
from maporl.types import Question

__all__ = ["PlainScorer", "answers", "iterations", "rows"]

SECTION = "verifier"
WORDS = [
    "price",
    "dozen",
    "eggs",
    "makes",
    "sells",
    "each",
    "day",
    "half",
    "twice",
    "as",
    "many",
    "total",
    "of",
    "per",
    "hour",
]
BATCHES = (16, 32, 64, 128)


def rows(settings: Settings) -> list[Row]:
    """Answers a second of both ways, their ratio, and that of an iteration with a learned verifier and with a rule."""
    with tempfile.TemporaryDirectory() as scratch:
        base = settings.checkpoint(scratch)
        folder = Path(scratch) / "verifier"
        few = answers(8, 2, seed=settings.seed)
        fit(few, base, folder, settings=Training(batch_size=8, dtype=settings.dtype, device=settings.device))
        found: list[Row] = []
        number = 32 if settings.quick else 256
        for per_question in (1, 8):
            found += _throughput(settings, base, folder, number // per_question, per_question)
        return found + _loop(settings, scratch, folder)


def answers(questions: int, per_question: int, seed: int) -> list[LabelledAnswer]:
    """Word problems of 20 to 60 words, each with answers of 10 to 80 words; every other one is right."""
    rng = np.random.default_rng(seed)

    def text(low: int, high: int) -> str:
        return " ".join(
            str(rng.integers(100)) if rng.random() < 0.2 else WORDS[rng.integers(len(WORDS))]
            for _ in range(rng.integers(low, high))
        )

    asked_of = [Question(text(20, 60), str(n)) for n in range(questions)]
    return [LabelledAnswer(q, text(10, 80), n % 2 == 0) for q in asked_of for n in range(per_question)]


class PlainScorer:
    """p(right) of texts by `transformers` alone.

    Args:
        folder: A verifier's.
        settings: Device and dtype.
    """

    def __init__(self, folder: Path, settings: Settings) -> None:
        verifier = LearnedVerifier(folder, device=settings.device, dtype=settings.dtype)
        with tempfile.TemporaryDirectory() as plain:
            verifier.network.policy.export("verifier", plain)
            model, self.tokenizer = load_causal_lm(plain, dtype=settings.dtype, device=settings.device)
        self.model = model.eval()
        self.head = verifier.network.value_model.head
        self.device, self.batch = settings.device, BATCHES[0]

    @torch.inference_mode()
    def __call__(self, questions: Sequence[Question], responses: Sequence[str]) -> np.ndarray:
        """[N] float64."""
        chats = [asked(question, PromptTemplate(), "") for question in questions]
        prompts = self.tokenizer.apply_chat_template(chats, tokenize=False, add_generation_prompt=True)
        texts = [prompt + response for prompt, response in zip(prompts, responses, strict=True)]
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        order = sorted(range(len(ids)), key=lambda n: len(ids[n]))
        values = np.empty(len(ids))
        for start in range(0, len(order), self.batch):
            mine = order[start : start + self.batch]
            width = len(ids[mine[-1]])
            tokens = torch.tensor([ids[n] + [0] * (width - len(ids[n])) for n in mine], device=self.device)
            lengths = torch.tensor([len(ids[n]) for n in mine], device=self.device)
            mask = (torch.arange(width, device=self.device) < lengths[:, None]).long()
            states = self.model.base_model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
            last = states[torch.arange(len(mine), device=self.device), lengths - 1]
            values[mine] = torch.sigmoid(self.head(last).double()).cpu().numpy()
        return values


def _throughput(settings: Settings, base: str, folder: Path, questions: int, per_question: int) -> list[Row]:
    """Answers a second with so many answers to each question."""
    verifier = LearnedVerifier(folder, device=settings.device, dtype=settings.dtype)
    plain = PlainScorer(folder, settings)
    some = answers(questions, per_question, settings.seed + 1)
    asked_of, said = [a.question for a in some], [a.response for a in some]
    batches = BATCHES[:1] if settings.quick else BATCHES
    plain.batch = min(batches, key=lambda size: _seconds_of(plain, size, asked_of, said, settings))

    def ours() -> float:
        verifier.forget()
        return len(some) / settings.timed(lambda: verifier.score_batch(asked_of, said))

    def theirs() -> float:
        return len(some) / settings.timed(lambda: plain(asked_of, said))

    series = interleaved({"ours": ours, "plain": theirs}, settings.repetitions)
    name = f"{questions} questions, {per_question} answer{'s' * (per_question > 1)} to each"
    note = f"{len(some)} new answers a call, texts in, probabilities out; the plain way in batches of {plain.batch}"
    return [
        of(SECTION, f"score_batch, {name}", series["ours"], "answers/s", note=note),
        of(SECTION, f"plain batched forward, {name}", series["plain"], "answers/s"),
        ratio(SECTION, f"score_batch over the plain forward, {name}", series["ours"], series["plain"], ">= 0.9"),
    ]


def _seconds_of(
    plain: PlainScorer, size: int, questions: Sequence[Question], responses: Sequence[str], settings: Settings
) -> float:
    plain.batch = size
    return statistics.median(settings.timed(lambda: plain(questions, responses)) for _ in range(3))


def _loop(settings: Settings, scratch: str, folder: Path) -> list[Row]:
    """Seconds of an iteration by what scores, and their ratio."""
    sides = {"learned": {"name": "learned", "path": str(folder), "device": settings.device}, "rule": "number"}
    runs = {name: iterations(settings, scratch, verifier) for name, verifier in sides.items()}
    series = interleaved({name: lambda run=run: next(run) for name, run in runs.items()}, settings.repetitions)  # type: ignore[misc]
    note = "MAPPO on arithmetic, a team and a verifier of the same model, all messages different"
    return [
        *(of(SECTION, f"an iteration, {name} verifier", series[name], "s", note=note) for name in sides),
        ratio(SECTION, "iteration, learned over rule", series["learned"], series["rule"], "<= 1.5"),
    ]


def iterations(settings: Settings, scratch: str, verifier: object) -> Iterator[float]:
    """Seconds of one training iteration after the other."""
    discussions, new = (4, 4) if settings.quick else (32, 32)
    config = RunConfig(
        env="arithmetic",
        env_args={"verifier": verifier},
        algorithm="mappo",
        num_rounds=2,
        episodes_per_iteration=discussions,
        num_iterations=settings.repetitions + 1,
        max_new_tokens=new,
        dtype=settings.dtype,
        device=settings.device,
        seed=settings.seed,
    )
    env = config.build_env()
    policy: Policy = make_talkative(settings.policy(scratch))
    sampling = Sampling(max_new_tokens=new)
    team = Team.build(policy, env.possible_agents, env.num_rounds, sampling=sampling, seed=settings.seed)
    algorithm = config.build_algorithm(team)
    collector = Collector.of(algorithm, env, discussions, seed=settings.seed)
    loop = learn(collector, algorithm, num_iterations=config.num_iterations)
    while True:
        yield settings.timed(lambda: next(loop))

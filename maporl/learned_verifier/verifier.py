"""A learned verifier in a discussion: batched, cached, in process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from maporl.envs.verifiers import Verifier
from maporl.envs.verifiers.remembered import Remembered
from maporl.errors import Diverged
from maporl.learned_verifier.model import Card, Network, rows_of
from maporl.types import Question, Score

__all__ = ["LearnedVerifier"]


class LearnedVerifier(Verifier):
    """p(right | question, response) of a folder that ``maporl verifier train`` wrote.

    Its base is loaded when the first answer is scored. An answer that was scored before is looked up, not scored again.

    Args:
        path: The verifier's folder.
        base: Where its base model is now, if not where it was.
        device: A torch device; None takes a GPU when there is one.
        dtype: Of the base; None is the one that it was trained in.
        batch_tokens: Tokens of one pass. None: 2,048 on a CPU, whose caches are small, else 16,384.
        remember: Answers whose scores are kept.

    Raises:
        ValueError: The folder is no verifier's. Once it is used: there is no such base, or another one than it was trained on.
    """

    uses_gold = False
    rule_based = False

    def __init__(
        self,
        path: str | Path,
        *,
        base: str | None = None,
        device: str | None = None,
        dtype: str | None = None,
        batch_tokens: int | None = None,
        remember: int = 100_000,
    ) -> None:
        self.path = Path(path).absolute()
        self.card = Card.load(self.path)
        self.loading: dict[str, Any] = {"base": base, "device": device, "dtype": dtype}
        self.batch_tokens = batch_tokens
        self.scored = 0  # answers that a forward pass was spent on
        self._known = Remembered(remember)

    @cached_property
    def network(self) -> Network:
        import torch

        from maporl.agents.models.make_model import without_progress_bars

        given = dict(self.loading)
        given["device"] = given["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
        with without_progress_bars():
            return Network.load(self.path, **given)

    def prepare(self) -> None:
        assert self.network is not None  # it is loaded by being looked at

    def seen_questions(self) -> frozenset[str]:
        return frozenset(self.card.questions)

    def __call__(self, question: Question, response: str) -> Score:
        return self.score_batch([question], [response])[0]

    def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
        if places := self._known.new(questions, responses):
            asked, said = [questions[n] for n in places], [responses[n] for n in places]
            values = self.network.probabilities(self._rows(asked, said), self.batch_tokens or self._fitting)
            if not np.isfinite(values).all():
                raise Diverged(
                    f"verifier {str(self.path)!r} gives scores that are no numbers: its training diverged, or a file of it is damaged; "
                    "train it again, with a lower learning rate."
                )
            self.scored += len(places)
            # The last bits depend on what else was in the batch: a resumed run would see others.
            rounded = np.round(values, 6).tolist()
            self._known.add(asked, said, (Score(p, None, explanation=f"p(right) = {p:.3f}") for p in rounded))
        return self._known.look_up(questions, responses)

    @property
    def _fitting(self) -> int:
        return 2_048 if self.network.policy.device.type == "cpu" else 16_384

    def forget(self) -> None:
        """Let every answer be new again."""
        self._known.forget()

    def _rows(self, questions: Sequence[Question], responses: Sequence[str]) -> Any:
        policy = self.network.policy
        return rows_of(policy.encode_chats, self.card.reading, questions, responses, policy.context_window)

    def __getstate__(self) -> dict[str, Any]:
        """Without the network: another process loads its own."""
        return {name: value for name, value in vars(self).items() if name != "network"}

    def __repr__(self) -> str:
        return f"LearnedVerifier({str(self.path)!r})"

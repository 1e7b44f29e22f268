"""A judge in this process: any policy. Its verdict is read off its probabilities, so that it cannot be nonsense."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maporl.errors import UserValueError
from maporl.judges.ballot import Ballot, Reply, answer_ballot
from maporl.judges.judge_model import JudgeModel
from maporl.types import Question

if TYPE_CHECKING:
    from maporl.agents.models.policy import Policy

__all__ = ["LocalModel"]


class LocalModel(JudgeModel):
    """A language model that is loaded when the first answer is judged.

    The object of JSON is written for it up to the verdict, and the shares of the verdicts are how likely it finds each of them there (so
    choose words of about the same length). A reason before it is the model's own text, the likeliest one.

    Args:
        model: Folder, GGUF file or hub id; or a `Policy`.
        adapter: Folder of a LoRA adapter that judges, or, of a `Policy`, its name; None is the base.
        reason_tokens: Longest reason, where one is asked for.
        chat_template, dtype, device: As `Policy.from_pretrained`; device None takes a GPU when there is one.
        batch_tokens: Tokens of one pass. None: 2,048 on a CPU, whose caches are small, else 16,384.
    """

    def __init__(
        self,
        model: Any,
        *,
        adapter: str | Path | None = None,
        reason_tokens: int = 128,
        chat_template: str | None = None,
        dtype: str | None = None,
        device: str | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if reason_tokens < 1:
            raise UserValueError(f"reason_tokens is {reason_tokens}; a reason needs at least 1.")
        if model is None:
            raise UserValueError("a judge needs a model: its folder, GGUF file or hub id.")
        self.model, self.adapter, self.reason_tokens = model, adapter, reason_tokens
        self.loading = {"chat_template": chat_template, "dtype": dtype, "device": device}
        self.batch_tokens = batch_tokens

    @cached_property
    def _speaker(self) -> tuple[Policy, str | None]:
        """The policy, and the name of the adapter that judges."""
        import torch

        from maporl.agents.models.make_model import without_progress_bars
        from maporl.agents.models.policy import Policy

        if isinstance(self.model, Policy):
            return self.model, None if self.adapter is None else str(self.adapter)
        given: dict[str, Any] = {
            **self.loading,
            "device": self.loading["device"] or ("cuda" if torch.cuda.is_available() else "cpu"),
        }
        with without_progress_bars():
            policy = Policy.from_pretrained(str(self.model), **given)
        if self.adapter is None:
            return policy, None
        policy.add_adapter("judge", path=self.adapter)
        return policy, "judge"

    def prepare(self) -> None:
        policy, _ = self._speaker  # it is loaded by being looked at
        least = len(
            policy.encode_chats([answer_ballot(Question("", ""), [""], rubric="?", choices=("yes", "no")).chat])[0]
        )
        if least >= policy.context_window:
            raise UserValueError(
                f"the judge {self.model!r} reads {policy.context_window} tokens, and even an empty question takes {least}; give a "
                "model with a larger window."
            )

    def ask(self, ballots: Sequence[Ballot]) -> list[Reply]:
        """See `JudgeModel`. A ballot that does not fit the model's window gets no verdict."""
        policy, _ = self._speaker
        prompts = [ids.astype(np.int64) for ids in policy.encode_chats([ballot.chat for ballot in ballots])]
        reasons = self._reasons(ballots, prompts)
        # Each choice as the whole reply: what comes before the verdict is the same in all, so only the verdicts differ in probability.
        replies = [
            [np.array(policy.encode_chats.plain(ballot.form(choice, reason)), np.int64) for choice in ballot.choices]
            for ballot, reason in zip(ballots, reasons, strict=True)
        ]
        lengths = [max(map(len, forms)) for forms in replies]
        room = policy.context_window
        fitting = [n for n, (p, longest) in enumerate(zip(prompts, lengths, strict=True)) if len(p) + longest <= room]
        found = dict(
            zip(fitting, self._shares([prompts[n] for n in fitting], [replies[n] for n in fitting]), strict=True)
        )
        return [
            Reply(dict(zip(ballot.choices, found[n], strict=True)), len(prompts[n]), lengths[n], reasons[n] or "")
            if n in found
            else Reply(None, 0, 0, f"{len(prompts[n]) + lengths[n]} tokens do not fit the judge's window of {room}")
            for n, ballot in enumerate(ballots)
        ]

    def _reasons(self, ballots: Sequence[Ballot], prompts: Sequence[np.ndarray]) -> list[str | None]:
        from maporl.agents.sampling.sampler import Request
        from maporl.agents.sampling.settings import Sampling

        policy, adapter = self._speaker
        reasons: list[str | None] = [None] * len(ballots)
        sampling = Sampling(max_new_tokens=self.reason_tokens, stop=('"', "\n"))
        asked = {}
        for n, (ballot, prompt) in enumerate(zip(ballots, prompts, strict=True)):
            if ballot.reasons:
                begun = policy.encode_chats.plain(ballot.form("", "").partition('"reason": "')[0] + '"reason": "')
                reasons[n] = ""
                if len(prompt) + len(begun) + self.reason_tokens <= policy.context_window:
                    asked[n] = Request(adapter, np.concatenate([prompt, np.array(begun, np.int64)]), sampling, None)
        for n, message in zip(asked, policy.sample(list(asked.values())) if asked else [], strict=True):
            text = policy.encode_chats.decode(message.ids)
            reasons[n] = text.partition('"')[0].partition("\n")[0].replace("\\", "").strip()
        return reasons

    def _shares(self, prompts: Sequence[np.ndarray], replies: Sequence[Sequence[np.ndarray]]) -> list[list[float]]:
        """For every prompt the probabilities of its replies among themselves."""
        import torch

        if not prompts:
            return []
        policy, adapter = self._speaker
        owners = [n for n, forms in enumerate(replies) for _ in forms]
        every = [form for forms in replies for form in forms]
        logprobs = torch.zeros(len(every), max(map(len, every)), dtype=torch.float64)
        budget = self.batch_tokens or (2_048 if policy.device.type == "cpu" else 16_384)
        with torch.inference_mode(), policy.speaking(adapter):
            for packed in policy.pack(np.arange(len(every)), [prompts[n] for n in owners], every, budget):
                packed.spread(policy.logprobs(adapter, packed, 1.0)[0], logprobs)
        parts = logprobs.sum(1).split([len(forms) for forms in replies])
        return [part.softmax(0).tolist() for part in parts]

    def __getstate__(self) -> dict[str, Any]:
        """Without the model: another process loads its own."""
        return {name: value for name, value in vars(self).items() if name != "_speaker"}

    def __repr__(self) -> str:
        return f"LocalModel({self.model!r})"

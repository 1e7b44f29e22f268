"""TRL's trainers on one adapter of a policy, in place: the base stays the one in memory, and so do the other adapters.

TRL is given the messages as the token ids that were read and sampled, so that what is learned is exactly what rollouts show; and the
base itself, adapters inside, not PEFT's wrapper: for a wrapped model `DPOTrainer` (TRL 1.16) takes a copy of the adapter *named* "default"
as reference, whichever is trained. Losses, optimizer and schedule are TRL's. The log-probs that it asks its model for are the policy's own,
in which what messages begin with in common is read once: the two messages of a pair share their prompt, and so do siblings. Those of the
reference are computed before, once.
"""

from __future__ import annotations

import contextlib
import copy
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maporl.agents.models.chat_rows import IGNORE
from maporl.agents.models.policy import Policy
from maporl.algorithms.hf_training import Silent, StepSettings, global_settings_kept, train
from maporl.errors import UserValueError
from maporl.types import Completion

__all__ = ["AdapterSettings", "dpo_adapter", "sft_adapter", "summed_logprobs"]

Pair = tuple[Completion, Completion]

PLAIN: Mapping[str, Any] = {"bf16": False, "gradient_checkpointing": False, "max_length": None, "optim": "adamw_torch"}
"""What TRL must not do: the policy rounds and recomputes as in rollouts, and nothing is cut off. The default optimizer is fused,
and torch's fused steps leave a tensor's version as it was, by which a sampler knows that weights have changed."""


@dataclass(frozen=True)
class AdapterSettings(StepSettings):
    """How an adapter is trained: AdamW with TRL's defaults, a learning rate that falls linearly to 0.

    Attributes:
        batch_size: Messages, or pairs, of one optimizer step; fewer if there are not so many.
        epochs: Passes over them.
        microbatch_tokens: Of one forward and backward pass; at least one message or pair. It saves memory only.
        beta: DPO's (Rafailov et al. 2305.18290): how dear it is to leave the reference.
        nll_coef: Of the chosen messages' negative log-likelihood, a mean over the batch's tokens, beside DPO's loss. TRL takes that mean in
            every microbatch alone, so with it a batch is one.
    """

    batch_size: int = 8
    epochs: int = 1
    microbatch_tokens: int = 4096
    beta: float = 0.2
    nll_coef: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("epochs", "microbatch_tokens", "beta")
        if not self.nll_coef >= 0:
            raise UserValueError(f"nll_coef is {self.nll_coef}; it must be at least 0.")

    def sizes(self, lengths: Sequence[int]) -> dict[str, Any]:
        """The Trainer's arguments for rows of these lengths."""
        batch = min(self.batch_size, len(lengths))
        fitting = max(1, self.microbatch_tokens // max(lengths))
        micro = batch if self.nll_coef else max(n for n in range(1, batch + 1) if batch % n == 0 and n <= fitting)
        steps = self.epochs * math.ceil(len(lengths) / batch)
        return self.arguments(steps, batch, micro)


class _MeanOverPairs(Silent):
    """A step's loss is the mean over its pairs; without this it is that of its microbatches' means, and the last one may be smaller."""

    def get_batch_samples(self, *args: Any) -> Any:
        samples, items = super().get_batch_samples(*args)  # type: ignore[misc]
        self._mean_size = sum(len(micro["input_ids"]) for micro in samples) / len(samples)
        return samples, items

    def compute_loss(self, model: Any, inputs: Any, *args: Any, **others: Any) -> Any:
        loss = super().compute_loss(model, inputs, *args, **others)  # type: ignore[misc]
        return loss * (len(inputs["input_ids"]) / self._mean_size)


def sft_adapter(
    policy: Policy, adapter: str, messages: Sequence[Completion], settings: AdapterSettings
) -> dict[str, float]:
    """Supervised fine-tuning on messages, each after its own prompt, by TRL's ``SFTTrainer``; the mean over all tokens of a batch.

    Args:
        policy: Whose adapter; its other weights stay as they are, to the bit.
        adapter: Which.
        messages: With their token ids; forced tokens are read, not learned.
        settings: Of the training.

    Returns:
        "loss" over the last tenth of the steps, "steps".

    Raises:
        ValueError: No messages, or one without tokens.
    """
    from datasets import Dataset  # seconds to import, and nothing else here needs them
    from trl import SFTConfig, SFTTrainer

    class Trainer(Silent, SFTTrainer): ...

    _check(adapter, messages)
    rows = {"input_ids": [_joined(c) for c in messages], "labels": [_labels(c) for c in messages]}
    sizes = settings.sizes([len(ids) for ids in rows["input_ids"]])
    with _lent(policy, adapter), tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            scratch,
            **sizes,
            **PLAIN,
            dataset_kwargs={"skip_prepare_dataset": True},  # they are token ids already
        )
        trainer = Trainer(
            policy.model, arguments, train_dataset=Dataset.from_dict(rows), processing_class=policy.tokenizer
        )
        policy.model.forward = _forward(policy, adapter, settings.microbatch_tokens)
        logged = train(trainer)
    return {"loss": float(logged["loss"]), "steps": float(sizes["max_steps"])}


def dpo_adapter(policy: Policy, adapter: str, pairs: Sequence[Pair], settings: AdapterSettings) -> dict[str, float]:
    """Direct preference optimisation by TRL's ``DPOTrainer``; the reference is the adapter as it is now.

        L = -log sigmoid(beta ((log pi(y+) - log ref(y+)) - (log pi(y-) - log ref(y-)))),   sums over a message's tokens

    Args:
        policy, adapter, settings: As in `sft_adapter`.
        pairs: (chosen, rejected), both sampled from one prompt.

    Returns:
        "loss", "accuracy" (pairs whose chosen message gained more than the rejected one) and "margin" (beta times by how much) over
        the last tenth of the steps, "steps".

    Raises:
        ValueError: As `sft_adapter`; two prompts in a pair; or forced tokens, which TRL would take for the speaker's choice.
    """
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Trainer(_MeanOverPairs, DPOTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any) -> Any:
            return dataset  # token ids already

        def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
            return dataset  # it has them

    rows = _preferences(policy, adapter, pairs, settings.microbatch_tokens)
    sizes = settings.sizes([len(a.prompt_ids) + len(a.completion_ids) + len(b.completion_ids) for a, b in pairs])
    with _lent(policy, adapter), tempfile.TemporaryDirectory() as scratch:
        arguments = DPOConfig(
            scratch,
            **sizes,
            **PLAIN,
            beta=settings.beta,
            loss_type=["sigmoid", "sft"] if settings.nll_coef else ["sigmoid"],
            loss_weights=[1.0, settings.nll_coef] if settings.nll_coef else None,
            precompute_ref_log_probs=True,
            disable_dropout=False,  # the policy has none
        )
        trainer = Trainer(
            policy.model,
            args=arguments,
            train_dataset=Dataset.from_dict(rows),
            processing_class=policy.tokenizer,
        )
        policy.model.forward = _forward(policy, adapter, settings.microbatch_tokens)
        logged = train(trainer)
    return {
        "loss": float(logged["loss"]),
        "accuracy": float(logged["rewards/accuracies"]),
        "margin": float(logged["rewards/margins"]),
        "steps": float(sizes["max_steps"]),
    }


def _preferences(policy: Policy, adapter: str, pairs: Sequence[Pair], token_budget: int) -> dict[str, list[Any]]:
    """Pairs as TRL's collator takes them, with what the adapter as it is now thinks of them."""
    messages = [c for pair in pairs for c in pair]
    _check(adapter, messages)
    for chosen, rejected in pairs:
        if not np.array_equal(chosen.prompt_ids, rejected.prompt_ids):
            raise UserValueError(
                "the two messages of a pair answer different prompts; pair candidates of one decision."
            )
        if chosen.forced is not None or rejected.forced is not None:
            raise UserValueError(
                "a message whose reasoning was closed by force cannot be preferred; leave thinking_budget out."
            )
    reference = summed_logprobs(policy, adapter, messages, token_budget)
    return {
        "prompt_ids": [chosen.prompt_ids.tolist() for chosen, _ in pairs],
        "chosen_ids": [chosen.completion_ids.tolist() for chosen, _ in pairs],
        "rejected_ids": [rejected.completion_ids.tolist() for _, rejected in pairs],
        "ref_chosen_logps": reference[0::2].tolist(),
        "ref_rejected_logps": reference[1::2].tolist(),
    }


@torch.no_grad()
def summed_logprobs(
    policy: Policy, adapter: str | None, messages: Sequence[Completion], token_budget: int = 4096
) -> Tensor:
    """log pi(message | prompt), [N] float32 on the CPU, at temperature 1. What messages have in common is read once."""
    prompts, completions = [c.prompt_ids for c in messages], [c.completion_ids for c in messages]
    table = torch.zeros(len(messages), max(map(len, completions), default=0))
    for packed in policy.pack(np.arange(len(messages)), prompts, completions, token_budget):
        packed.spread(policy.logprobs(adapter, packed, 1.0)[0], table)
    return table.sum(1)


def _forward(policy: Policy, adapter: str, token_budget: int) -> Callable[..., Any]:
    """What TRL's trainers call the model by: log-probs of the tokens that have a label, [B, L - 1], here by the policy's own passes."""
    from trl.trainer.utils import FusedCausalLMOutput

    plain = policy.model.forward

    def forward(*args: Any, fused_lm_head: bool = False, **asked: Any) -> Any:
        return logprobs_of(**asked) if fused_lm_head else plain(*args, **asked)

    def logprobs_of(input_ids: Tensor, labels: Tensor, attention_mask: Tensor | None = None, **others: Any) -> Any:
        sizes = [input_ids.shape[1]] * len(input_ids) if attention_mask is None else attention_mask.sum(1).tolist()
        mask = labels[:, 1:] != IGNORE
        starts = [int(row.int().argmax()) + 1 for row in mask]  # of what is learned; forced tokens may follow
        rows = [row[:size].cpu().numpy() for row, size in zip(input_ids, sizes, strict=True)]
        prompts = [row[:start] for row, start in zip(rows, starts, strict=True)]
        completions = [row[start:] for row, start in zip(rows, starts, strict=True)]
        logprobs = torch.zeros(mask.shape, device=input_ids.device)
        for packed in policy.pack(np.arange(len(rows)), prompts, completions, token_budget):
            flat, _ = policy.logprobs(adapter, packed, 1.0)
            owners, places = packed.columns
            at = packed.rows[owners]
            logprobs = logprobs.index_put(
                (torch.as_tensor(at), torch.as_tensor(places + np.array(starts)[at] - 1)), flat
            )
        logprobs = logprobs * mask
        policy.model.train()  # by which TRL tells its metrics of training from those of evaluations
        unknown = torch.zeros_like(mask)  # of what it shows and we do not: entropies, logits, ranks
        return FusedCausalLMOutput(
            loss=-logprobs.sum() / mask.sum(),
            log_probs=logprobs,
            entropy=unknown.float(),
            mean_logits=unknown.float(),
            is_top1=unknown,
            label_mask=mask,
        )

    return forward


def _check(adapter: str, messages: Sequence[Completion]) -> None:
    if not messages:
        raise UserValueError(f"there is nothing to train {adapter!r} on; give at least one message.")
    if any(not len(c.prompt_ids) or not len(c.completion_ids) for c in messages):
        raise UserValueError(
            f"a message to train {adapter!r} on has no tokens; give only what a language model has said."
        )


def _joined(c: Completion) -> list[int]:
    return [*c.prompt_ids.tolist(), *c.completion_ids.tolist()]


def _labels(c: Completion) -> list[int]:
    said = c.completion_ids if c.forced is None else np.where(c.forced, IGNORE, c.completion_ids)
    return [IGNORE] * len(c.prompt_ids) + [int(i) for i in said]


@contextlib.contextmanager
def _lent(policy: Policy, adapter: str) -> Iterator[None]:
    """Within the block the policy's model is the base with `adapter`, whose weights alone require a gradient; what TRL changes about the
    model is undone after it."""
    model = policy.model
    configs = (model.config, model.generation_config)
    before = [copy.deepcopy(vars(config)) for config in configs]
    tags, forward, pad = getattr(model, "model_tags", None), vars(model).get("forward"), policy.tokenizer.pad_token
    with global_settings_kept(), policy.using(adapter):
        try:
            yield
        finally:
            for config, kept in zip(configs, before, strict=True):
                vars(config).clear()
                vars(config).update(kept)
            policy.tokenizer.pad_token, model.model_tags = pad, tags
            if forward is None:
                vars(model).pop("forward", None)
            else:
                model.forward = forward
            for parameter in policy.parameters(adapter):
                parameter.grad = None
            model.eval()

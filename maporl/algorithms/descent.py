"""How weights move: optimizers with one schedule, minibatches in passes that fit into memory, and the metrics of that."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from maporl.agents.models.memory import out_of_memory, release
from maporl.agents.models.prefix_trees import Packed
from maporl.agents.team import Team
from maporl.agents.trainable import Trainable, put_weights, weights_of
from maporl.algorithms.algorithm import Algorithm, check
from maporl.errors import OutOfMemory, UserValueError, warn

__all__ = ["GradientDescent", "Tally"]

T = TypeVar("T")
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - 0.9 * done,
    "cosine": lambda done: 0.05 + 0.95 * 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""Factor on the learning rate when the share `done` of all updates is over; linear ends at .1 (MAPoRL), cosine at .05."""


class GradientDescent(Algorithm):
    """An algorithm that moves adapters, and critics, by gradients.

    Args:
        team: Its learners are trained.
        num_updates: Calls of `update` in the whole run, for the learning-rate schedule.
        lr_schedule: "constant", "linear" (to a tenth) or "cosine" (to a twentieth).
        max_grad_norm: Clips the gradient's norm per optimizer; None does not.
        microbatch_tokens: Tokens of one forward and backward pass, padding included; halved when memory runs out.
        seed: Of the division into minibatches.
    """

    def __init__(
        self,
        team: Team,
        num_updates: int,
        lr_schedule: str,
        max_grad_norm: float | None,
        microbatch_tokens: int,
        seed: int,
    ) -> None:
        super().__init__(team)
        check(lr_schedule in SCHEDULES, "lr_schedule", lr_schedule, f"use one of {list(SCHEDULES)}")
        for name, count in {"num_updates": num_updates, "microbatch_tokens": microbatch_tokens}.items():
            check(count >= 1, name, count, "at least 1")
        check(max_grad_norm is None or max_grad_norm > 0, "max_grad_norm", max_grad_norm, "above 0, or None")
        self.max_grad_norm, self.microbatch_tokens = max_grad_norm, microbatch_tokens
        self.rng = np.random.default_rng(seed)
        self._schedule = (num_updates, lr_schedule)
        self.optimizers: dict[str, torch.optim.Optimizer] = {}
        self.schedulers: dict[str, torch.optim.lr_scheduler.LRScheduler] = {}

    def add_optimizer(self, name: str, parameters: Iterable[nn.Parameter], learning_rate: float) -> None:
        """An AdamW of its own, on the run's learning-rate schedule, saved and loaded with the algorithm."""
        num_updates, shape = self._schedule
        optimizer = torch.optim.AdamW(list(parameters), lr=learning_rate, weight_decay=0.0)
        self.optimizers[name] = optimizer
        self.schedulers[name] = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda done: SCHEDULES[shape](min(done / max(num_updates, 1), 1.0))
        )

    def descend(
        self,
        name: str,
        packs: Callable[[int], Sequence[Packed]],
        loss: Callable[[Packed], tuple[Tensor, Mapping[str, Tensor]]],
        tally: Tally,
    ) -> None:
        """One optimizer step on a minibatch.

        Args:
            name: Whose optimizer.
            packs: The minibatch in passes of at most so many tokens.
            loss: A pass's part of the minibatch's loss, and of its metrics. It must activate one adapter only: with gradient
                checkpointing the backward pass recomputes under the active one.
            tally: Takes the metrics.
        """
        optimizer = self.optimizers[name]

        def backward(packed: Packed) -> Mapping[str, Tensor]:
            value, metrics = loss(packed)
            value.backward()
            return metrics

        optimizer.zero_grad(set_to_none=True)
        parts = self.in_passes(packs, backward, restart=optimizer.zero_grad)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:
            if parameter.grad is None:  # no message moves it: momentum still does
                parameter.grad = torch.zeros_like(parameter)
        norm = nn.utils.clip_grad_norm_(parameters, self.max_grad_norm or math.inf)
        if torch.isfinite(norm):
            optimizer.step()
        else:
            warn(f"{name}: the gradient is not finite; this step is skipped.")
        optimizer.zero_grad(set_to_none=True)
        tally.add(parts)
        tally.add([{"train/skipped_steps": ~torch.isfinite(norm), f"train/grad_norm/{name}": norm}])

    def in_passes(
        self,
        packs: Callable[[int], Sequence[Packed]],
        work: Callable[[Packed], T],
        restart: Callable[[], None] | None = None,
    ) -> list[T]:
        """`work` on every pass over some messages. When memory runs out, passes are halved and all of them are done again.

        Args:
            packs: The messages in passes of at most so many tokens.
            work: What is done with a pass.
            restart: Undoes what `work` has done so far.

        Raises:
            MemoryError: A single message does not fit.
        """
        while True:
            tokens, alone, results = self.microbatch_tokens, False, []
            try:
                for packed in packs(self.microbatch_tokens):
                    alone = len(packed.rows) == 1
                    tokens = packed.ids.size
                    results.append(work(packed))
                return results
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                room = self.team.forget()
                if alone and not room:
                    raise OutOfMemory(
                        f"a pass over one message of {tokens} tokens does not fit into memory; lower max_new_tokens, set "
                        "gradient_checkpointing, or use a smaller model or dtype."
                    ) from error
            # Outside of `except`, which holds on to what the failed pass has computed.
            if restart is not None:
                restart()
            for policy in self.team.policies:
                release(policy.device)
            if room:  # it may fit without what samplers had kept
                continue
            self.microbatch_tokens = max(min(tokens, self.microbatch_tokens) // 2, 1)
            warn(
                f"out of memory in a pass of {tokens} tokens: from now on at most {self.microbatch_tokens} (microbatch_tokens). The "
                "gradient stays the same."
            )

    # -- state ---------------------------------------------------------------------------------------------------------

    @property
    def _trained(self) -> dict[str, Trainable]:
        return {name: agent.policy for name, agent in self.team.learners.items()}

    def state_dict(self) -> dict[str, Any]:
        return {
            "adapters": weights_of(self._trained),
            # A copy, for an optimizer hands out its own tensors and changes them in place.
            "optimizers": {name: copy.deepcopy(o.state_dict()) for name, o in self.optimizers.items()},
            "schedulers": {name: s.state_dict() for name, s in self.schedulers.items()},
            "rng": self.rng.bit_generator.state,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if list(state["optimizers"]) != list(self.optimizers):
            raise UserValueError(
                f"the saved state is of {list(state['optimizers'])}, not of {list(self.optimizers)}; use the run's own team and algorithm."
            )
        put_weights(self._trained, state["adapters"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
            self.schedulers[name].load_state_dict(state["schedulers"][name])
        self.rng.bit_generator.state = state["rng"]


class Tally:
    """Metrics of an update: sums over a minibatch's parts, then means over minibatches; maxima of what is named an error."""

    def __init__(self) -> None:
        self._found: dict[str, list[float]] = {}

    def add(self, parts: Sequence[Mapping[str, Tensor]]) -> None:
        """The parts of one minibatch."""
        for name in parts[0] if parts else ():
            values = torch.stack([p[name].float() for p in parts])
            self._found.setdefault(name, []).append(float(values.max() if _is_maximum(name) else values.sum()))

    def means(self) -> dict[str, float]:
        return {name: max(v) if _is_maximum(name) else sum(v) / len(v) for name, v in self._found.items()}


def _is_maximum(name: str) -> bool:
    return name.endswith("_error")

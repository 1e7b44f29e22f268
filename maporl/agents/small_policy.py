"""Policies for games: a few actions in a few discrete states, one parameter table or a small network per adapter.

To algorithms they are what a language model is. The prompt is the state, one token for each of its numbers; the message is one token,
the action; the base is a fixed distribution over actions, from which every adapter starts exactly.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from maporl.agents.agent import Learner
from maporl.agents.models.prefix_trees import Packed
from maporl.agents.sampling.settings import Sampling, filter_logits, sample
from maporl.errors import UserValueError
from maporl.types import Completion, Observation

__all__ = ["SmallAgent", "SmallPolicy"]


class SmallPolicy:
    """Softmax over actions, with adapters by name: logits = log(base probabilities) + head(features of the state).

    The features are the adapter's own. Without hidden units they are one-hot, so that the head is a table of logits over (action, state);
    a critic's head is a table of values then. Log-linear ones are one-hot number by number: the logits are a sum of one table for each
    number of the state, which holds in states that were never met. Heads start at zero.

    Args:
        shape: How many values each number of a state takes, from 0: (T, K + 1) for (round, count).
        probabilities: Of each action under the base, the same in every state; all positive, their sum 1.
        hidden_units: Width of two tanh layers; None is the table.
        log_linear: A table for each number of the state, instead of one for all of them together.

    Raises:
        ValueError: No state, probabilities that are none, a width below 1, or hidden units of what is log-linear.
    """

    def __init__(
        self,
        shape: Sequence[int],
        probabilities: Sequence[float],
        *,
        hidden_units: int | None = None,
        log_linear: bool = False,
    ) -> None:
        if not shape or min(shape) < 1:
            raise UserValueError(
                f"shape is {tuple(shape)}; give how many values each number of a state takes, at least 1."
            )
        if not (min(probabilities) > 0 and math.isclose(sum(probabilities), 1, abs_tol=1e-6)):
            raise UserValueError(
                f"probabilities are {tuple(probabilities)}; they must be positive (a certain policy has no gradient) and sum to 1."
            )
        if hidden_units is not None and hidden_units < 1:
            raise UserValueError(f"hidden_units is {hidden_units}; at least 1, or None for a table.")
        if log_linear and hidden_units is not None:
            raise UserValueError(f"log_linear with hidden_units {hidden_units} is neither; leave one of them out.")
        self.shape, self.num_actions, self.hidden_units = tuple(shape), len(probabilities), hidden_units
        self.log_linear = log_linear
        self._base = torch.tensor(probabilities, dtype=torch.float64).log().float()
        self._adapters: dict[str, _Adapter] = {}

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._adapters)

    @property
    def device(self) -> torch.device:
        return self._base.device

    @property
    def hidden_size(self) -> int:
        return self.hidden_units or _one_hot(self.shape, self.log_linear)

    @property
    def context_window(self) -> int:
        """A state and an action."""
        return len(self.shape) + 1

    @property
    def rounds_alike(self) -> bool:
        return True

    def add_adapter(self, name: str, *, seed: int = 0) -> None:
        """Add an adapter that plays as the base does; `seed` is of its hidden layers.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._adapters:
            raise UserValueError(f"adapter {name!r} exists already; choose another name.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._adapters[name] = _Adapter(self.shape, self.num_actions, self.hidden_units, self.log_linear)

    def parameters(self, adapter: str) -> list[nn.Parameter]:
        return list(self._named(adapter).parameters())

    def logits(self, adapter: str | None, states: np.ndarray) -> Tensor:
        """[M, actions] float32 in the states [M, numbers]."""
        if adapter is None:
            return self._base.expand(len(states), -1)
        return self._base + self._named(adapter)(self._checked(states))

    @torch.no_grad()
    def table(self, adapter: str | None) -> np.ndarray:
        """`[*shape, actions]`, float64: the probability of every action in every state."""
        states = np.indices(self.shape).reshape(len(self.shape), -1).T
        return self.logits(adapter, states).double().softmax(-1).numpy().reshape(*self.shape, -1)

    def pack(
        self, rows: np.ndarray, prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray], token_budget: int
    ) -> list[Packed]:
        """Each message is a sequence of its own.

        Raises:
            ValueError: A message that is not one token.
        """
        width = len(self.shape)
        size = max(token_budget // width, 1)
        return [self._packed(rows[i : i + size], prompts, completions) for i in range(0, len(rows), size)]

    def _packed(self, rows: np.ndarray, prompts: Sequence[np.ndarray], completions: Sequence[np.ndarray]) -> Packed:
        mine = [completions[row] for row in rows]
        lengths = np.array([len(c) for c in mine], np.int64)
        if (lengths != 1).any():
            raise UserValueError(f"a message of {lengths.max()} tokens; a small policy's message is one action.")
        read = [prompts[row] for row in rows]
        ids = np.stack(read)
        width = ids.shape[1]
        return Packed(
            rows=np.asarray(rows, np.int64),
            ids=ids,
            positions=np.broadcast_to(np.arange(width), ids.shape),
            ends=np.full_like(ids, width),
            before=np.arange(len(ids)) * width + width - 1,
            targets=np.concatenate(mine),
            lengths=lengths,
            prompts=read,
            completions=mine,
        )

    def logprobs(
        self, adapter: str | None, packed: Packed, temperature: float, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs [M] of the actions, and the entropies [M] if asked for."""
        logprobs = (self.logits(adapter, packed.ids) / temperature).log_softmax(-1)
        taken = logprobs.gather(1, torch.as_tensor(packed.targets)[:, None])[:, 0]
        return taken, -(logprobs.exp() * logprobs).sum(-1) if entropy else None

    def hidden(self, adapter: str | None, packed: Packed) -> Tensor:
        """Features [M, H] of the states.

        Raises:
            ValueError: No such adapter; the base has no features.
        """
        return self._named(adapter).features(self._checked(packed.ids))

    def _named(self, adapter: str | None) -> _Adapter:
        if adapter not in self._adapters:
            raise UserValueError(f"there is no adapter {adapter!r}; there are {list(self.adapters)}.")
        return self._adapters[adapter]

    def _checked(self, states: np.ndarray) -> Tensor:
        if states.shape[1] != len(self.shape) or (states < 0).any() or (states >= self.shape).any():
            raise UserValueError(f"there is a state outside of shape {self.shape}; each of its numbers counts from 0.")
        return torch.as_tensor(states)


class _Adapter(nn.Module):
    """Features of a state, and a linear head that begins at zero."""

    def __init__(
        self, shape: Sequence[int], num_actions: int, hidden_units: int | None, log_linear: bool = False
    ) -> None:
        super().__init__()
        self.shape, self.log_linear = torch.tensor(shape), log_linear
        self.strides = torch.tensor([math.prod(shape[i + 1 :]) for i in range(len(shape))])
        self.body: nn.Module | None = None
        if hidden_units is not None:
            layers = (nn.Linear(len(shape), hidden_units), nn.Tanh(), nn.Linear(hidden_units, hidden_units), nn.Tanh())
            self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden_units or _one_hot(shape, log_linear), num_actions, bias=False)
        nn.init.zeros_(self.head.weight)

    def features(self, states: Tensor) -> Tensor:
        """[M, H] from states [M, numbers]."""
        if self.log_linear:
            numbers = zip(states.T, self.shape.tolist(), strict=True)
            return torch.cat([nn.functional.one_hot(number, size) for number, size in numbers], 1).float()
        if self.body is None:
            return nn.functional.one_hot((states * self.strides).sum(1), math.prod(self.shape.tolist())).float()
        return self.body(2 * states / (self.shape - 1).clamp(min=1) - 1)  # from -1 to 1

    def forward(self, states: Tensor) -> Tensor:
        return self.head(self.features(states))


def _one_hot(shape: Sequence[int], log_linear: bool) -> int:
    """How many features tell the numbers of a state apart."""
    return sum(shape) if log_linear else math.prod(shape)


class SmallAgent(Learner):
    """One adapter of a small policy (or its base) in a seat. It reads the state as numbers in the observation's ``question``, "3 5",
    and says an action's number.

    Args:
        policy: The base and its adapters.
        adapter: The adapter that acts, added if the policy has no such one; None is the base.
        sampling: Temperature; a message is one token whatever it says.
        trainable: Do algorithms update this adapter? The base itself is never trained.
        seed: Of an adapter that is added.
    """

    policy: SmallPolicy

    def __init__(
        self,
        policy: SmallPolicy,
        adapter: str | None,
        *,
        sampling: Sampling | None = None,
        trainable: bool = True,
        seed: int = 0,
    ) -> None:
        if adapter is not None and adapter not in policy.adapters:
            policy.add_adapter(adapter, seed=seed)
        self.policy, self.adapter = policy, adapter
        self.sampling = sampling or Sampling(max_new_tokens=1)
        self.trainable = trainable and adapter is not None
        self._read: dict[str, np.ndarray] = {}
        self._actions = [np.array([action], np.int64) for action in range(policy.num_actions)]

    def encode(self, observations: Sequence[Observation]) -> list[np.ndarray]:
        """Each state's numbers [P] int64.

        Raises:
            ValueError: The text is no such numbers.
        """
        return [self._state(o["question"]) for o in observations]

    def _state(self, text: str) -> np.ndarray:
        if text not in self._read:  # there are few of them, and they come again and again
            words = text.split()
            if len(words) != len(self.policy.shape) or not all(w.isdecimal() for w in words):
                raise UserValueError(
                    f"{text!r} is no state; write {len(self.policy.shape)} whole numbers, as in '3 5'."
                )
            self._read[text] = np.array(words, np.int64)
        return self._read[text]

    @torch.no_grad()
    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        if not observations:
            return []
        prompts = self.encode(observations)
        uniforms = None if greedy else torch.tensor([rng.random(dtype=np.float32) for rng in rngs])
        logits = self.policy.logits(self.adapter, np.stack(prompts)) / self.sampling.temperature
        actions, logprobs = sample(filter_logits(logits, self.sampling.top_k, self.sampling.top_p), uniforms)
        said = logprobs.numpy()
        return [
            Completion(str(action), prompts[i], self._actions[action], said[i : i + 1])
            for i, action in enumerate(actions.tolist())
        ]

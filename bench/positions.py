"""How many token positions a side's model computes, and how many of them are padding: counted where its body is called."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

__all__ = ["Positions", "counted"]


@dataclass
class Positions:
    """`computed` positions, of which `real` hold a token that something is done with."""

    computed: int = 0
    real: int = 0

    def see(self, module: Any, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        """A forward pre-hook of a model's body (its keyword arguments included)."""
        ids: Tensor = given["input_ids"] if given.get("input_ids") is not None else args[0]
        mask, positions = given.get("attention_mask"), given.get("position_ids")
        self.computed += ids.numel()
        if mask is not None and mask.dim() == 2:
            self.real += int(mask[:, -ids.shape[1] :].sum())
        elif positions is not None:  # padding stands at position 0, beside each row's first token
            self.real += min(int((positions > 0).sum()) + len(ids), ids.numel())
        else:
            self.real += ids.numel()


@contextmanager
def counted(models: Iterable[Any]) -> Iterator[Positions]:
    """Within the block every call of these causal LMs' bodies is counted."""
    found = Positions()
    hooks = [model.base_model.register_forward_pre_hook(found.see, with_kwargs=True) for model in models]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()

"""LoRA (Hu et al. 2106.09685): settings, one fused function for a layer of it, and adapters merged into the base for sampling."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig
from peft.tuners.lora.layer import Embedding, Linear, LoraLayer, ParamWrapper
from torch import Tensor, nn

from maporl.agents.models.memory import out_of_memory
from maporl.errors import UserValueError

__all__ = ["LoRA", "fuse", "layers_of", "mergeable", "merged", "merged_weights", "plain_name"]


@dataclass(frozen=True)
class LoRA:
    """Settings of an adapter (PEFT's `LoraConfig`).

    Raises:
        ValueError: `r` below 1, `alpha` not above 0, or target modules that are not names.
    """

    r: int = 8
    alpha: int = 16
    target_modules: str | tuple[str, ...] = "all-linear"

    def __post_init__(self) -> None:
        if self.r < 1:
            raise UserValueError(f"lora: r is {self.r}; it must be at least 1.")
        if not self.alpha > 0:
            raise UserValueError(f"lora: alpha is {self.alpha}; it must be above 0.")
        if not isinstance(self.target_modules, str) and not all(isinstance(m, str) for m in self.target_modules):
            raise UserValueError(
                f"lora: target_modules is {self.target_modules!r}; write 'all-linear' or names of layers."
            )

    def config(self, model: nn.Module, *, dropout: float = 0.0) -> LoraConfig:
        """For PEFT, to adapt this model. Policies have no dropout: it would make the first ratio of an update differ from 1.

        PEFT's "all-linear" would take routers of experts that are linear layers and give more than their product (Llama 4, PhiMoE).
        """
        named = self.target_modules
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            target_modules=named if isinstance(named, str) else list(named),
            exclude_modules=_routers(model) or None if named == "all-linear" else None,
            lora_dropout=dropout,
            task_type="CAUSAL_LM",
        )


def _routers(model: nn.Module) -> list[str]:
    """Names of the layers that are `nn.Linear` by class and "Router" by their class's name."""
    found = (n for n, m in model.named_modules() if isinstance(m, nn.Linear) and type(m).__name__.endswith("Router"))
    return sorted({name.rpartition(".")[-1] for name in found})


def fuse(model: nn.Module) -> None:
    """Let every plain LoRA layer of the model compute x W^T + s (x A^T) B^T as one function: an eighth of an update's time.

    The layers stay PEFT's own; only their `forward` is another. Layers that are more than that (DoRA, convolutions) are left.
    """
    head = getattr(model, "get_output_embeddings", lambda: None)()
    for module in model.modules():
        if type(module) is Linear and type(module.base_layer) is nn.Linear and "forward" not in vars(module):
            if module is head and module.base_layer.weight.dtype != torch.float32:
                continue  # its product is float32 whatever its weight is
            module.forward = types.MethodType(_forward, module)  # type: ignore[method-assign]


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if layer.disable_adapters and not layer.merged:
        return layer.base_layer(x)
    names = [name for name in layer.active_adapters if name in layer.lora_A]
    if layer.merged or not names or torch.is_autocast_enabled(x.device.type):  # somebody else's rules of rounding
        return type(layer).forward(layer, x, *args, **kwargs)
    name = names[0]
    plain = len(names) == 1 and name not in layer.lora_variant and not kwargs
    if not plain:
        return type(layer).forward(layer, x, *args, **kwargs)
    base, scale = layer.base_layer, layer.scaling[name]
    return _LoRALinear.apply(x, base.weight, base.bias, layer.lora_A[name].weight, layer.lora_B[name].weight, scale)  # type: ignore[no-untyped-call]


class _LoRALinear(torch.autograd.Function):
    """The base's product in the type of its weight, what the adapter adds in float32, the result in the type of the input.

    The input is kept in the weight's type, so that A's gradient is a product in it, too.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        x_ = x.to(weight.dtype)
        # No view of a flat result, for a model may go on in place (Llama 4), which autograd forbids on a function's view.
        out = nn.functional.linear(x_, weight, bias).to(a.dtype)
        # Products with few columns are several times faster on a CPU as products with few rows.
        low = (a @ x.reshape(-1, x.shape[-1]).to(a.dtype).T).T
        out.view(-1, out.shape[-1]).addmm_(low, b.T, alpha=scale)
        ctx.save_for_backward(x_.reshape(-1, x.shape[-1]), low, weight, a, b)
        ctx.scale, ctx.shape, ctx.dtype = scale, x.shape, x.dtype
        return out.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        rows, low, weight, a, b = ctx.saved_tensors
        full = gradients[0].reshape(-1, gradients[0].shape[-1]).to(a.dtype)
        out = full.to(rows.dtype)
        down = (b.T @ full.T).T.mul_(ctx.scale)
        x = None
        if ctx.needs_input_grad[0]:
            x = (out @ weight).to(a.dtype)
            x.addmm_(down, a)
            x = x.view(ctx.shape).to(ctx.dtype)
        first = (down.to(rows.dtype).T @ rows).to(a.dtype)
        return x, None, None, first, (low.T @ full).T.mul_(ctx.scale), None


def layers_of(model: nn.Module, adapter: str) -> dict[str, Any]:
    """The layers that `adapter` changes, by name."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}
    return {name: layer for name, layer in layers.items() if adapter in layer.scaling}


def plain_name(name: str) -> str:
    """Of a weight in the model without adapters (a layer with two weights may be wrapped twice)."""
    return re.sub(r"(\.base_layer)+\.", ".", name)


def mergeable(model: Any, adapter: str) -> dict[str, Any]:
    """The layers in which sampling may merge `adapter`: all but the model's ends and experts in one tensor, or none.

    A 16-bit base is left alone: rounding W + BA would drop what is smaller than W's last bit, so that the policy that samples would not
    be the policy that is trained. The output layer's weights are often the embedding's, too.
    """
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    layers = {name: layer for name, layer in layers_of(model, adapter).items() if isinstance(layer, Linear | Embedding)}
    found = {name: layer for name, layer in layers.items() if all(layer is not end for end in ends)}
    return found if all(layer.base_layer.weight.dtype == torch.float32 for layer in found.values()) else {}


@contextlib.contextmanager
def merged(layers: Mapping[str, Any], adapter: str) -> Iterator[None]:
    """Within the block the base's weights are those with `adapter` merged, and these layers add nothing to them.

    It costs a copy of the adapted layers, and products worth `r` tokens of forward pass, and saves three small products a layer in every
    step of sampling.
    """
    before: list[tuple[nn.Parameter, Tensor]] = []
    switches = {name: layer._disable_adapters for name, layer in layers.items()}

    def undo() -> None:
        for weight, data in before:
            weight.data = data
        before.clear()
        for name, layer in layers.items():
            layer._disable_adapters = switches[name]

    try:
        try:
            for _, weight, total in merged_weights(layers, adapter):
                before.append((weight, weight.data))
                weight.data = total
            for layer in layers.values():
                layer._disable_adapters = True  # PEFT's public switch would also change what has a gradient
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            undo()  # no room for a copy: it also works without
        yield
    finally:
        undo()


@torch.no_grad()
def merged_weights(layers: Mapping[str, Any], adapter: str) -> Iterator[tuple[str, nn.Parameter, Tensor]]:
    """Name of each layer's weight in the plain model, the base's, and what it is with the adapter in a tensor of its own: W + BA, which
    DoRA (Liu et al. 2402.09353) brings to its own norms, one for each output.
    """
    for name, layer in layers.items():
        # Experts in one tensor have other names; Conv1D and embeddings lie the other way round.
        kind = layer.parameter_name if isinstance(layer, ParamWrapper) else "weight"
        weight = getattr(layer.get_base_layer(), kind)
        total = weight.detach() + layer.get_delta_weight(adapter)
        if adapter in layer.lora_magnitude_vector:
            inputs = 1 if isinstance(layer.base_layer, nn.Linear) else 0
            wanted = layer.lora_magnitude_vector[adapter].weight.unsqueeze(inputs)
            total *= wanted / total.norm(dim=inputs, keepdim=True)
        yield plain_name(f"{name}.{kind}"), weight, total.to(weight.dtype)

"""A frozen language model with LoRA adapters by name: added, loaded, switched, saved, and merged for export."""

from __future__ import annotations

import contextlib
import copy
import re
import warnings
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.tuners.lora.layer import LoraLayer
from torch import nn
from transformers.pytorch_utils import Conv1D

from maporl.agents.models.adapter_folder import AdapterFolder, base_record, name_base, write_base
from maporl.agents.models.lora import LoRA, fuse, layers_of, mergeable, merged_weights, plain_name
from maporl.agents.models.mixed import mix
from maporl.errors import UserValueError

__all__ = ["LoRAModel"]


class LoRAModel:
    """A frozen causal LM, its tokenizer, and LoRA adapters by name. The adapter name None means the base itself.

    Args:
        model: Any `transformers` causal LM. Its weights are frozen and its dropout is switched off.
        tokenizer: Its tokenizer.
        lora: Settings of every adapter added; None takes the default ones.
    """

    def __init__(self, model: Any, tokenizer: Any, lora: LoRA | None = None) -> None:
        self.model, self.tokenizer, self.lora = model, tokenizer, lora or LoRA()
        self._peft: PeftModel | None = None
        self._active: str | None = None
        # Of every adapter; to look for them takes a while.
        self._mergeable: dict[str, dict[str, Any]] = {}
        self._parameters: dict[str, list[nn.Parameter]] = {}
        model.requires_grad_(False)
        mix(model)
        _disable_dropout(model)

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._peft.peft_config) if self._peft is not None else ()

    @cached_property
    def _base_record(self) -> dict[str, Any]:
        return base_record(self.model, self.tokenizer)

    def read_adapter(self, path: str | Path) -> AdapterFolder:
        """A PEFT folder for this base, which stays as it is.

        Raises:
            ValueError: No adapter there, it belongs to another base, or it is more than LoRA.
        """
        return AdapterFolder.read(path, self.model, self._base_record)

    def add_adapter(self, name: str, *, seed: int = 0, path: str | Path | None = None) -> None:
        """Add an adapter: new (B = 0, so it starts as the base) from `seed`, or loaded from a PEFT folder.

        The base and the other adapters stay as they are, to the bit, whether it succeeds or not.

        Raises:
            ValueError: The name is taken, the folder is not a LoRA adapter of this base, or `lora` names layers that it does not have.
        """
        if name in self.adapters:
            raise UserValueError(f"adapter {name!r} exists already; choose another name.")
        if not re.fullmatch(r"[\w-]+", name) or name in "lora_":  # which PEFT takes for its own parameters' names
            raise UserValueError(
                f"{name!r} cannot name an adapter; use letters, digits, '_' and '-' (and no part of 'lora_')."
            )
        folder = None if path is None else self.read_adapter(path)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            # PEFT's: of a name in transformers that it will have to change, of settings that fit the layers' type after all, and of
            # an adapter that is deleted.
            warnings.simplefilter("ignore")
            torch.manual_seed(seed)
            try:
                peft = self._inject(name, self.lora.config(self.model) if folder is None else folder.config)
                if folder is not None:
                    folder.fill(peft, name)
            except UserValueError:
                self._forget(name)
                raise
            except (ValueError, RuntimeError, TypeError, KeyError, re.error) as error:
                self._forget(name)
                reason = " ".join(str(error).split())[:120]
                raise (self._misfit(reason) if folder is None else folder.misfit(reason)) from error
        self._peft, self._active = peft, None
        fuse(self.model)
        self._mergeable, self._parameters = {n: mergeable(self.model, n) for n in self.adapters}, {}

    def _inject(self, name: str, config: LoraConfig) -> PeftModel:
        peft = self._peft
        if peft is None:
            peft = get_peft_model(self.model, config, adapter_name=name)
        else:
            peft.add_adapter(name, config)
        for layer_name, layer in layers_of(self.model, name).items():
            known = isinstance(layer.base_layer, nn.Linear | nn.Embedding | Conv1D)
            if name in layer.lora_magnitude_vector and not known:
                raise UserValueError(f"DoRA of {layer_name}, which is a {type(layer.base_layer).__name__}")
        return peft

    def _misfit(self, reason: str) -> UserValueError:
        found = (n.removesuffix(".base_layer") for n, m in self.model.named_modules() if isinstance(m, nn.Linear))
        linear = sorted({n.rpartition(".")[-1] for n in found if ".lora_" not in n})
        return UserValueError(
            f"lora: target_modules {self.lora.target_modules!r} does not fit this model; use 'all-linear', or a list of its "
            f"layers {linear}. ({reason})"
        )

    def _forget(self, name: str) -> None:
        """Take back all that a failed addition has left in the model, wherever it stopped."""
        layers = [(n, m) for n, m in self.model.named_modules() if isinstance(m, LoraLayer)]
        for layer_name, layer in reversed(layers):  # the inner one first
            if name in layer.scaling:
                layer.delete_adapter(name)
            if not layer.scaling:
                self.model.set_submodule(layer_name, layer.base_layer)
        self._active = None
        if self._peft is not None:
            self._peft.peft_config.pop(name, None)
        else:
            vars(self.model).pop("peft_config", None)  # which PEFT has put there

    def parameters(self, adapter: str) -> list[nn.Parameter]:
        """Exactly the parameters of one adapter (PEFT's own `requires_grad` flags move whenever another is activated)."""
        if adapter not in self._parameters:
            # An adapter may be called "0" or "mlp", as modules are.
            marker = re.compile(rf"\.lora_\w+\.{re.escape(adapter)}(\.|$)")
            self._parameters[adapter] = [p for n, p in self.model.named_parameters() if marker.search(n)]
        return self._parameters[adapter]

    def save_adapter(self, adapter: str, path: str | Path) -> None:
        """Write one adapter in PEFT's own format into the folder `path`."""
        if adapter not in self.adapters or self._peft is None:
            raise UserValueError(self._unknown(adapter))
        target = Path(path)
        # False: copies of the base's embeddings are no part of the adapter.
        self._peft.save_pretrained(str(target), selected_adapters=[adapter], save_embedding_layers=False)
        nested = target / adapter  # PEFT puts every adapter not called "default" into a subfolder
        if nested.is_dir():
            for file in nested.iterdir():
                file.replace(target / file.name)
            nested.rmdir()
        write_base(target, self._base_record)
        name_base(target)

    def export(self, adapter: str | None, path: str | Path) -> None:
        """Write a plain model folder with the adapter merged into the base (None: the base itself); this model stays as it is."""
        if adapter is not None and adapter not in self.adapters:
            raise UserValueError(self._unknown(adapter))
        if getattr(self.model, "is_quantized", False):
            raise UserValueError(
                "a quantised base cannot be merged with an adapter: load the base without quantization and the adapter from its folder, "
                "and export that (maporl export does)."
            )
        target = Path(path)
        layers = {} if adapter is None else layers_of(self.model, adapter)
        sums = {name: total for name, _, total in merged_weights(layers, adapter or "")}
        own = {plain_name(n): tensor for n, tensor in self.model.state_dict().items() if ".lora_" not in n}
        config = copy.deepcopy(self.model.config)
        ends = (self.model.get_input_embeddings(), self.model.get_output_embeddings())
        if any(layer is end for layer in layers.values() for end in ends):  # no longer one weight
            config.tie_word_embeddings = False
        plain = type(self.model)(config).to(self.model.dtype)
        plain.load_state_dict(own | sums)
        plain.generation_config = self.model.generation_config
        plain.save_pretrained(str(target))
        self.tokenizer.save_pretrained(str(target))

    @contextlib.contextmanager
    def using(self, adapter: str | None) -> Iterator[None]:
        """Within the block the model is the base with `adapter`; None is the base itself (LoRA disabled, exactly)."""
        if adapter is None:
            with contextlib.nullcontext() if self._peft is None else self._peft.disable_adapter():
                yield
            return
        if adapter not in self.adapters:
            raise UserValueError(self._unknown(adapter))
        if self._active != adapter and self._peft is not None:
            self._peft.set_adapter(adapter)
            self._active = adapter
        yield

    def _unknown(self, adapter: str) -> str:
        return f"there is no adapter {adapter!r}; there are {list(self.adapters)}."


def _disable_dropout(model: nn.Module) -> None:
    """Gradient checkpointing needs train mode, and dropout there would move the ratio of an update away from 1."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():  # rates that a module hands to the functional form
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)

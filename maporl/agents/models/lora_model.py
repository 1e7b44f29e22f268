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
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import load_peft_weights
from safetensors import SafetensorError
from torch import nn

from maporl.agents.models.base_record import base_record, check_base, write_base
from maporl.agents.models.lora import LoRA, fuse, mergeable, merged_weights, plain_layers
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

    def add_adapter(self, name: str, *, seed: int = 0, path: str | Path | None = None) -> None:
        """Add an adapter: new (B = 0, so it starts as the base) from `seed`, or loaded from a PEFT folder.

        Raises:
            ValueError: The name is taken, the folder is not an adapter of this base, or `lora` names layers that it does not have.
        """
        if name in self.adapters:
            raise UserValueError(f"adapter {name!r} exists already; choose another name.")
        if not re.fullmatch(r"[\w-]+", name) or name in "lora_":  # which PEFT takes for its own parameters' names
            raise UserValueError(
                f"{name!r} cannot name an adapter; use letters, digits, '_' and '-' (and no part of 'lora_')."
            )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # PEFT's, of a name in transformers that it will have to change
            torch.manual_seed(seed)
            if path is not None:
                self._load_adapter(name, Path(path))
            else:
                self._new_adapter(name)
        fuse(self.model)
        self._mergeable, self._parameters = {n: mergeable(self.model, n) for n in self.adapters}, {}
        _disable_dropout(self.model)  # an adapter from elsewhere may bring its own
        self._active = None

    def _new_adapter(self, name: str) -> None:
        try:
            if self._peft is None:
                self._peft = get_peft_model(self.model, self.lora.config(), adapter_name=name)
            else:
                self._peft.add_adapter(name, self.lora.config())
        except (ValueError, re.error) as error:
            self._forget(name)
            found = (n.removesuffix(".base_layer") for n, m in self.model.named_modules() if isinstance(m, nn.Linear))
            linear = sorted({n.rpartition(".")[-1] for n in found if ".lora_" not in n})
            raise UserValueError(
                f"lora: target_modules {self.lora.target_modules!r} does not fit this model; use 'all-linear', or a list of its "
                f"layers {linear}. ({' '.join(str(error).split())[:120]})"
            ) from error

    def _load_adapter(self, name: str, path: Path) -> None:
        if not (path / "adapter_config.json").is_file():
            raise UserValueError(f"adapter {str(path)!r}: no adapter_config.json there; give a folder written by PEFT.")
        check_base(path, self._base_record)
        try:
            if self._peft is None:
                loaded = PeftModel.from_pretrained(self.model, str(path), adapter_name=name, is_trainable=True)
            else:
                loaded = self._peft
                loaded.load_adapter(str(path), adapter_name=name, is_trainable=True)
            # PEFT drops layers that the base lacks, and leaves those that the file lacks at random, with a warning at most.
            found = get_peft_model_state_dict(loaded, adapter_name=name).keys()
            if load_peft_weights(str(path), "cpu").keys() != found:
                raise UserValueError("its file holds other layers")
        except (RuntimeError, ValueError, SafetensorError) as error:
            self._forget(name)
            raise UserValueError(
                f"adapter {str(path)!r} does not fit this base model (other layers or shapes); load the base it was trained on."
            ) from error
        self._peft = loaded

    def _forget(self, name: str) -> None:
        """Take back what a failed load has left in the model."""
        if name in self.adapters and self._peft is not None:
            self._peft.delete_adapter(name)

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
        self._peft.save_pretrained(str(target), selected_adapters=[adapter])
        nested = target / adapter  # PEFT puts every adapter not called "default" into a subfolder
        if nested.is_dir():
            for file in nested.iterdir():
                file.replace(target / file.name)
            nested.rmdir()
        write_base(target, self._base_record)

    def export(self, adapter: str | None, path: str | Path) -> None:
        """Write a plain model folder with the adapter merged into the base (None: the base itself); this model stays as it is."""
        if getattr(self.model, "is_quantized", False):
            raise UserValueError(
                "a quantised base cannot be merged with an adapter: load the base without quantization and the adapter from its folder, "
                "and export that (maporl export does)."
            )
        target = Path(path)
        with self.using(adapter):
            layers = {} if adapter is None else plain_layers(self.model, adapter)
            if layers is None:
                raise UserValueError(
                    f"adapter {adapter!r} is more than W + BA (DoRA, biases or embeddings) and cannot be merged into a plain model; "
                    "save_adapter writes it as it is."
                )
            sums = {f"{name}.weight": total for name, _, total in merged_weights(layers, adapter or "")}
        state = {}
        for name, tensor in self.model.state_dict().items():
            if ".lora_" in name:
                continue
            clean = name.replace(".base_layer.", ".")
            state[clean] = sums.get(clean, tensor)
        config = copy.deepcopy(self.model.config)
        if not sums.keys().isdisjoint({"lm_head.weight", "embed_out.weight"}):  # no longer what the embedding is
            config.tie_word_embeddings = False
        plain = type(self.model)(config).to(self.model.dtype)
        plain.load_state_dict(state)
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

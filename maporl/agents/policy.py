"""One frozen base model with named LoRA adapters: what a team's agents share, so that N agents cost one base plus N adapters."""

from __future__ import annotations

import contextlib
import copy
import inspect
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel, get_peft_model, get_peft_model_state_dict
from peft.utils import load_peft_weights
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM

from maporl.agents.backbone import Backbone
from maporl.agents.base_record import base_record, check_base, write_base
from maporl.agents.checkpoints import load_tokenizer, loading, local_only
from maporl.agents.in_process_sampler import InProcessSampler
from maporl.agents.lora import LoRA, fuse, mergeable, merged, merged_weights, plain_layers
from maporl.agents.output_layer import OutputLayer
from maporl.agents.prefix_trees import Packed, pack
from maporl.agents.prompts import ChatEncoder
from maporl.agents.quantised import check_quantization, quantization_config
from maporl.agents.reference_sampler import ReferenceSampler
from maporl.agents.sampler import Request, Sampled, Sampler, sampler_type

__all__ = ["LoRA", "Policy"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Policy:
    """A frozen causal LM, its tokenizer, and LoRA adapters by name. The adapter name None means the base itself.

    Args:
        model: Any `transformers` causal LM.
        tokenizer: Its tokenizer; a missing pad token is replaced by an EOS token (masks are explicit, so this is safe).
        lora: Settings of every adapter added.
        gradient_checkpointing: Recompute activations in the backward pass.
        autocast: Compute training passes in bfloat16; adapters and their gradients stay float32.
        sampler: "in_process" (fast), "reference" (transformers' generate), ``package.module:Class``, or a subclass of `Sampler`.
        max_batch_tokens: Tokens of one sampling batch.

    Raises:
        ValueError: The tokenizer has neither pad nor EOS token, the model no key-value cache, or there is no such sampler.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        autocast: bool = False,
        sampler: str | type[Sampler] = "in_process",
        max_batch_tokens: int = 131_072,
    ) -> None:
        self.sampler_type = sampler_type(sampler)
        if "past_key_values" not in inspect.signature(model.forward).parameters:
            raise ValueError(f"{type(model).__name__} keeps no key-value cache; use an attention model.")
        self.model, self.tokenizer, self.lora = model, tokenizer, lora or LoRA()
        self.max_batch_tokens = max_batch_tokens
        self.encode_chats = ChatEncoder(tokenizer)
        self.eos_ids = _eos_ids(model, tokenizer)
        if tokenizer.pad_token_id is None:
            if not self.eos_ids:
                raise ValueError(
                    f"the tokenizer of {tokenizer.name_or_path!r} has neither a pad nor an EOS token; set one and save it again."
                )
            tokenizer.pad_token_id = min(self.eos_ids)
        self.pad_id: int = tokenizer.pad_token_id
        self.sampler_calls, self._warned = 0, False
        self._published: dict[str, int] = {}  # adapter -> version
        self._peft: PeftModel | None = None
        self._active: str | None = None
        self._mergeable: dict[
            str, dict[str, Any]
        ] = {}  # of every adapter, as its parameters: to look for them takes a while
        self._parameters: dict[str, list[nn.Parameter]] = {}
        model.requires_grad_(False)
        _disable_dropout(model)
        _float32_logits(model)
        self.backbone = Backbone(model)
        self.autocast, self._gradient_checkpointing = autocast, gradient_checkpointing
        if gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.eval()

    @classmethod
    def from_pretrained(
        cls,
        path: str,
        *,
        dtype: str = "float32",
        device: str = "cpu",
        chat_template: str | None = None,
        attn_implementation: str | None = None,
        quantization: str | None = None,
        **settings: Any,
    ) -> Policy:
        """Load a checkpoint folder or hub id. `trust_remote_code` stays off.

        Args:
            path: Local folder or hub id.
            dtype: "float32", "bfloat16" or "float16", of the base; adapters are always float32.
            device: A torch device.
            chat_template: "plain", a Jinja file, or None for the tokenizer's own.
            attn_implementation: "sdpa" or "eager"; None is the model's own choice.
            quantization: "4bit" keeps the base's linear layers in four bits (NF4) and multiplies in `dtype`; None does not.
            **settings: Of the constructor.

        Raises:
            ValueError: Unknown dtype, no such model, no chat template, or no bitsandbytes or GPU to quantise with.
        """
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} is unknown; use one of {sorted(DTYPES)}.")
        check_quantization(quantization, device)
        # Quantised weights are made where they stay; others are moved.
        placed: dict[str, Any] = (
            {"quantization_config": quantization_config(DTYPES[dtype]), "device_map": {"": device}}
            if quantization
            else {}
        )
        tokenizer = load_tokenizer(path, chat_template)
        with loading(path):
            model: Any = AutoModelForCausalLM.from_pretrained(
                path,
                dtype=DTYPES[dtype],
                attn_implementation=attn_implementation,
                local_files_only=local_only(path),
                **placed,
            )
        if not placed:
            model.to(device)
        return cls(model, tokenizer, **settings)

    # -- adapters ----------------------------------------------------------------------------------------------------

    @property
    def adapters(self) -> tuple[str, ...]:
        return tuple(self._peft.peft_config) if self._peft is not None else ()

    @cached_property
    def _base_record(self) -> dict[str, Any]:
        return base_record(self.model, self.tokenizer)

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @property
    def hidden_size(self) -> int:
        return self.model.get_input_embeddings().weight.shape[1]

    @property
    def context_window(self) -> int:
        """Longest sequence the model was made for, in tokens.

        With LongRoPE (Phi-3) up to where its frequencies change: beyond, what a token means depends on the longest of its batch.
        """
        config = self.model.config.get_text_config()
        longest = int(getattr(config, "max_position_embeddings", None) or 2**31)
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") == "longrope":
            longest = min(longest, int(rope.get("original_max_position_embeddings") or longest))
        return longest

    def add_adapter(self, name: str, *, seed: int = 0, path: str | Path | None = None) -> None:
        """Add an adapter: new (B = 0, so it starts as the base) from `seed`, or loaded from a PEFT folder.

        Raises:
            ValueError: The name is taken, the folder is not an adapter of this base, or `lora` names layers that it does not have.
        """
        if name in self.adapters:
            raise ValueError(f"adapter {name!r} exists already; choose another name.")
        if (
            not re.fullmatch(r"[\w-]+", name) or name in "lora_"
        ):  # PEFT confuses the latter with its own parameter names
            raise ValueError(
                f"{name!r} cannot name an adapter; use letters, digits, '_' and '-' (and no part of 'lora_')."
            )
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", FutureWarning
            )  # PEFT's, about a name in transformers that it will have to change
            torch.manual_seed(seed)
            if path is not None:
                self._load_adapter(name, Path(path))
            else:
                self._new_adapter(name)
        fuse(self.model)
        self.backbone.output = OutputLayer.of(self.model)  # it may be adapted from now on
        if self.sampler_type is InProcessSampler:  # and this sampler no longer exact
            self.__dict__.pop("sampler", None)
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
            raise ValueError(
                f"lora: target_modules {self.lora.target_modules!r} does not fit this model; use 'all-linear', or a list of its "
                f"layers {linear}. ({' '.join(str(error).split())[:120]})"
            ) from error

    def _load_adapter(self, name: str, path: Path) -> None:
        if not (path / "adapter_config.json").is_file():
            raise ValueError(f"adapter {str(path)!r}: no adapter_config.json there; give a folder written by PEFT.")
        check_base(path, self._base_record)
        try:
            if self._peft is None:
                loaded = PeftModel.from_pretrained(self.model, str(path), adapter_name=name, is_trainable=True)
            else:
                loaded = self._peft
                loaded.load_adapter(str(path), adapter_name=name, is_trainable=True)
            # PEFT drops layers that the base lacks, and leaves those that the file lacks at random, with a warning at most.
            fits = (
                load_peft_weights(str(path), "cpu").keys()
                == get_peft_model_state_dict(loaded, adapter_name=name).keys()
            )
        except (RuntimeError, ValueError, SafetensorError) as error:
            self._forget(name)
            raise ValueError(_misfit(path)) from error
        if not fits:
            self._forget(name)
            raise ValueError(_misfit(path))
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
            raise ValueError(self._unknown(adapter))
        source = Path(path)
        self._peft.save_pretrained(str(source), selected_adapters=[adapter])
        nested = source / adapter  # PEFT puts every adapter not called "default" into a subfolder
        if nested.is_dir():
            for file in nested.iterdir():
                file.replace(source / file.name)
            nested.rmdir()
        write_base(source, self._base_record)

    def export(self, adapter: str | None, path: str | Path) -> None:
        """Write a plain model folder with the adapter merged into the base; this policy stays as it is."""
        if getattr(self.model, "is_quantized", False):
            raise ValueError(
                "a quantised base cannot be merged with an adapter: load the base without quantization and the adapter from its folder, "
                "and export that (maporl export does)."
            )
        target = Path(path)
        with self.using(adapter):
            layers = {} if adapter is None else plain_layers(self.model, adapter)
            if layers is None:
                raise ValueError(
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
            if self._peft is None:
                yield
            else:
                with self._peft.disable_adapter():
                    yield
            return
        if adapter not in self.adapters:
            raise ValueError(self._unknown(adapter))
        if self._active != adapter and self._peft is not None:
            self._peft.set_adapter(adapter)
            self._active = adapter
        yield

    def _unknown(self, adapter: str) -> str:
        return f"there is no adapter {adapter!r}; there are {list(self.adapters)}."

    # -- sampling and log-probs ----------------------------------------------------------------------------------------

    def sample(self, requests: Sequence[Request]) -> list[Sampled]:
        """A message for every request, in one call of the sampler, which is given the weights that have changed before.

        Raises:
            ValueError: A prompt without a token, or an unknown adapter.
            FloatingPointError: The model's logits are not numbers.
            MemoryError: A single message does not fit.
        """
        for row, request in enumerate(requests):
            if not len(request.prompt):
                raise ValueError(
                    f"prompt {row} has no token: there is nothing to go on from; begin it with any one token."
                )
        self.sampler_calls += 1
        if self.model.training:
            self.model.eval()
        for adapter in dict.fromkeys(r.adapter for r in requests if r.adapter is not None):
            self._publish(adapter)
        sampled = self.sampler.sample(requests)
        _check_numbers(requests, sampled)
        return sampled

    def _publish(self, adapter: str) -> None:
        """Tell the sampler of weights that it has not seen."""
        if adapter not in self.adapters:
            raise ValueError(self._unknown(adapter))
        version = self.version(adapter)
        if self._published.get(adapter) != version:
            # False: whether the base's embeddings belong to it is nothing to ask a hub now.
            weights = get_peft_model_state_dict(self._peft, adapter_name=adapter, save_embedding_layers=False)
            self.sampler.publish(adapter, version, weights)
            self._published[adapter] = version

    @cached_property
    def sampler(self) -> Sampler:
        """The sampler asked for; the reference if the fast one would not be exact for this model."""
        if self.sampler_type is InProcessSampler and not self.backbone.exact:
            warnings.warn(
                f"{type(self.model).__name__} does something of its own with masks, cache or logits: its messages are sampled by "
                "transformers' generate, which is slower, and no prompt is shared.",
                stacklevel=3,
            )
            return ReferenceSampler(self)
        return self.sampler_type(self)

    def say_if_rounds_are_read_anew(self) -> None:
        """Warn, once, of a chat template that makes every round cost as much as a first one."""
        if not (self._warned or self.encode_chats.prefix_stable):
            warnings.warn(
                f"the chat template of {self.tokenizer.name_or_path!r} changes what comes before when a chat grows, so no keys and values "
                "can be kept between rounds: each prompt is read from its beginning. Results are the same, sampling is slower.",
                stacklevel=4,
            )
        self._warned = True

    @contextlib.contextmanager
    def speaking(self, adapter: str | None) -> Iterator[None]:
        """Within the block the model is the base with `adapter`, merged into its weights where that is exact: nothing is trained here."""
        if adapter is not None and adapter not in self.adapters:
            raise ValueError(self._unknown(adapter))
        with (
            self.using(adapter),
            contextlib.nullcontext() if adapter is None else merged(self._mergeable[adapter], adapter),
        ):
            yield

    def version(self, adapter: str | None) -> int:
        """Grows whenever the adapter's weights change, for torch counts the changes of a tensor in place (those through `.data` it
        does not see); 0 for the base.
        """
        return 0 if adapter is None else sum(p._version for p in self.parameters(adapter))

    def pack(
        self,
        rows: np.ndarray,
        prompts: Sequence[np.ndarray],
        completions: Sequence[np.ndarray],
        token_budget: int,
    ) -> list[Packed]:
        """Messages as passes of at most `token_budget` tokens (see `prefix_trees.pack`)."""
        share = self.hidden_size if self.backbone.exact else None
        return pack(rows, prompts, completions, token_budget=token_budget, hidden_size=share)

    def logprobs(
        self, adapter: str | None, packed: Packed, temperature: float, *, entropy: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Log-probs [M] float32 of the completion tokens of one pass, and the entropies [M] if asked for.

        Call `backward` before another adapter is used: PEFT takes the gradient away from those that are not.
        """
        with self._training(adapter):
            return self.backbone.logprobs(packed, temperature, entropy=entropy)

    def hidden(self, adapter: str | None, packed: Packed) -> Tensor:
        """Last hidden states before each completion token, [M, H] float32: each has read the prompt and the completion before it."""
        with self._training(adapter):
            return self.backbone.before(packed).float()

    @contextlib.contextmanager
    def _training(self, adapter: str | None) -> Iterator[None]:
        wanted = self._gradient_checkpointing and torch.is_grad_enabled()
        if self.model.training != wanted:
            self.model.train(wanted)
        faster = torch.autocast(self.device.type, torch.bfloat16) if self.autocast else contextlib.nullcontext()
        with faster, self.using(adapter):
            yield

    def describe(self) -> Mapping[str, Any]:
        """What a run folder records about this policy."""
        return {"model": self.tokenizer.name_or_path, "adapters": list(self.adapters), "lora": asdict(self.lora)}


def _check_numbers(requests: Sequence[Request], sampled: Sequence[Sampled]) -> None:
    """Raise a FloatingPointError if a log-prob is no number."""
    broken = [r.adapter for r, s in zip(requests, sampled, strict=True) if not np.isfinite(s.logprobs).all()]
    if broken:
        adapter, asked = broken[0], [r.adapter for r in requests]
        raise FloatingPointError(
            f"{broken.count(adapter)} of {asked.count(adapter)} messages of {adapter or 'the base model'!r} were sampled from logits that "
            "are no numbers: its weights have diverged, or overflow in 16 bit. Go on from an earlier checkpoint with a lower "
            "learning_rate, or use --dtype bfloat16 or float32."
        )


def _misfit(path: Path) -> str:
    return (
        f"adapter {str(path)!r} does not fit this base model (other layers or shapes); load the base it was trained on."
    )


def _eos_ids(model: Any, tokenizer: Any) -> frozenset[int]:
    """Every id that ends a message: chat checkpoints name several, some in the generation config only."""
    found: set[int] = set()
    for value in (getattr(model.generation_config, "eos_token_id", None), tokenizer.eos_token_id):
        if value is not None:
            found.update(value if isinstance(value, list | tuple) else [value])
    return frozenset(found)


def _disable_dropout(model: nn.Module) -> None:
    """Gradient checkpointing needs train mode, and dropout there would move the ratio of an update away from 1."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():  # rates that a module hands to the functional form
            if "drop" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def _float32_logits(model: Any) -> None:
    """Compute the output layer in float32 under a 16-bit base: log-probs from bf16 logits are wrong by up to .06."""
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Linear) or head.weight.dtype == torch.float32:
        return

    def forward(hidden: Tensor) -> Tensor:
        with torch.autocast(hidden.device.type, enabled=False):
            bias = head.bias.float() if head.bias is not None else None
            return nn.functional.linear(hidden.float(), head.weight.float(), bias)

    head.forward = forward  # type: ignore[method-assign, assignment]

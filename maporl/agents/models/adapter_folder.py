"""An adapter's folder: which base it belongs to, and whether all that it does is LoRA, so that it can share that base with others.

PEFT writes much more into such folders than LoRA: initialisations that have changed the base (PiSSA), weights beside A and B, other
methods altogether. Loading them as PEFT does would change the base under every other agent, and leave untrained, unsaved or unmerged
what is no LoRA. So the settings are compared with a list of what is known to be LoRA, before anything touches the model, and PEFT is
given settings that never look at the base's weights.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from peft.tuners.lora.layer import ParamWrapper
from peft.utils import load_peft_weights
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from maporl.agents.models.lora import layers_of, plain_name
from maporl.errors import UserValueError
from maporl.settings import full_path
from maporl.text_files import read_json

__all__ = ["AdapterFolder", "base_record", "name_base", "write_base"]

RECORD, CONFIG = "maporl_base.json", "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")

_FIELDS = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")

KEPT = (
    "r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "use_dora", "fan_in_fan_out", "base_model_name_or_path",
    "target_modules", "target_parameters", "exclude_modules", "layers_to_transform", "layers_pattern",
)  # fmt: skip
"""Which layers an adapter has, of which rank and scale: what LoRA's formula needs."""
MEANINGLESS = {
    "peft_version", "auto_mapping", "task_type", "revision", "inference_mode", "lora_dropout", "init_lora_weights", "runtime_config",
    "loftq_config", "eva_config", "corda_config", "lora_ga_config", "qalora_group_size", "megatron_core",
}  # fmt: skip
"""Says nothing of a trained adapter's logits; how it was initialised is looked at by itself."""

BESIDE_THE_BASE = ("true", "false", "gaussian", "eva", "orthogonal", "mica")
"""Initialisations that leave the base as it is."""
RECOVERABLE = ("pissa", "olora")
"""Those that took a part out of the base which can be computed from it again."""

_AS_LORA = "train it as plain LoRA or DoRA, or (where PEFT's merge_and_unload can) merge it into its base and load that as the model"
_CONVERT = (
    "save it again with PEFT's path_initial_model_for_weight_conversion, or save the base as that training had it (PEFT's unload), load "
    f"it as the model, and set init_lora_weights to true in {CONFIG}"
)

_LORA = re.compile(r"\.lora_(A\.weight|B\.weight|embedding_A|embedding_B|magnitude_vector(\.weight)?)$")


@dataclass(frozen=True)
class AdapterFolder:
    """A folder that holds LoRA (DoRA's magnitudes among it) and nothing else.

    Attributes:
        path: The folder.
        config: For PEFT, of a plain LoRA.
        weights: By PEFT's names in its files.
        taken_out: The initialisation that took a part out of the base (one of `RECOVERABLE`), which is still missing in `weights`; "" if
            there is none.
    """

    path: Path
    config: LoraConfig
    weights: Mapping[str, Tensor]
    taken_out: str

    @classmethod
    def read(cls, path: str | Path, model: Any, record: Mapping[str, Any]) -> AdapterFolder:
        """Read and check a PEFT folder for a model, which stays as it is.

        Args:
            path: The folder.
            model: The base, with or without adapters.
            record: Its `base_record`.

        Raises:
            ValueError: No adapter there, it belongs to another base, or it is more than LoRA.
        """
        path = Path(path)
        if not (path / CONFIG).is_file():
            raise UserValueError(f"adapter {str(path)!r}: no {CONFIG} there; give a folder written by PEFT.")
        check_base(path, record)
        written = _json(path / CONFIG, "write it again with PEFT")
        _only_lora(path, written)
        if not any((path / name).is_file() for name in WEIGHTS):
            raise UserValueError(f"adapter {str(path)!r}: no {WEIGHTS[0]} there; give a folder written by PEFT.")
        settings = {name: written[name] for name in KEPT if name in written}
        taken_out = str(written.get("init_lora_weights", True)).lower()
        taken_out = taken_out if taken_out in RECOVERABLE else ""
        try:
            weights = load_peft_weights(str(path), "cpu", getattr(model, "_checkpoint_conversion_mapping", None))
            config = LoraConfig(**settings, task_type="CAUSAL_LM")
            if taken_out:
                _double_rank(config)
        except Exception as error:  # whatever a damaged file makes torch, safetensors or PEFT raise
            reason = " ".join(str(error).split())[:160]
            raise UserValueError(
                f"adapter {str(path)!r} cannot be read ({reason}); copy the folder again, or write it again with PEFT."
            ) from error
        return cls(path, config, _without_base(path, weights, model), taken_out)

    def fill(self, peft: PeftModel, name: str) -> None:
        """Give the adapter `name`, which was made from `config`, its weights.

        Raises:
            ValueError: The weights are of other layers or shapes than the model's, or cannot be expressed beside its base.
        """
        here = {n: w.shape for n, w in _state(peft, name).items()}
        if other := sorted(here.keys() ^ self.weights.keys()):
            raise self.misfit(f"{other[0]} is only {'here' if other[0] in here else 'there'}")
        weights = dict(self.weights)
        if self.taken_out:
            self._subtract_initial(weights, peft.get_base_model(), name)
        for n, shape in here.items():
            if weights[n].shape != shape:
                raise self.misfit(f"{n} is {list(weights[n].shape)} there, {list(shape)} here")
        set_peft_model_state_dict(peft, weights, adapter_name=name)

    def misfit(self, reason: str) -> UserValueError:
        named = self.config.base_model_name_or_path
        which = f"the base it was trained on, {str(named)!r}" if named else "the base it was trained on"
        return UserValueError(
            f"adapter {str(self.path)!r} does not fit this base model (other layers or shapes: {reason}); load {which}."
        )

    def _subtract_initial(self, weights: dict[str, Tensor], model: Any, adapter: str) -> None:
        """Put what was taken out of the base beside what was trained: W - s B0 A0 + s B A = W + s [B, -B0] [A; A0].

        PiSSA (Meng et al. 2404.02948) took the first r singular directions, OLoRA (Büyükakyüz 2406.01775) the first r of a QR
        decomposition.
        """
        embeddings = model.get_input_embeddings()
        tied = getattr(embeddings, "base_layer", embeddings).weight
        for name, layer in layers_of(model, adapter).items():
            base, (key_a, key_b) = layer.base_layer, (f"base_model.model.{name}.lora_{part}.weight" for part in "AB")
            exact = isinstance(base, nn.Linear) or (type(base) is Conv1D and self.taken_out == "pissa")
            exact = exact and base.weight.is_floating_point() and base.weight is not tied
            if not exact or isinstance(layer, ParamWrapper):
                raise UserValueError(
                    f"adapter {str(self.path)!r}: init_lora_weights is {self.taken_out!r}, and for {name} (quantised, tied or no linear "
                    f"layer) what it took out of the base cannot be computed again; {_CONVERT}."
                )
            weight, r = base.weight.detach().float(), weights[key_a].shape[0]
            if self.taken_out == "pissa":
                u, s, vh = torch.linalg.svd(weight.T if type(base) is Conv1D else weight, full_matrices=False)
                root = (s[:r] / layer.scaling[adapter]).sqrt()
                a, b = root[:, None] * vh[:r], u[:, :r] * root
            else:
                q, upper = torch.linalg.qr(weight)
                a, b = upper[:r], q[:, :r]
            weights[key_a] = torch.cat([weights[key_a].float(), a.cpu()])
            weights[key_b] = torch.cat([weights[key_b].float(), -b.cpu()], dim=1)


def _only_lora(path: Path, written: Mapping[str, Any]) -> None:
    """Refuse what is more than LoRA; a setting that is not known, by the installed PEFT or here, is refused unless it is empty."""
    kind = str(written.get("peft_type"))
    if kind != "LORA":
        raise UserValueError(
            f"adapter {str(path)!r}: peft_type is {kind!r}, and only 'LORA' can be trained here; {_AS_LORA}."
        )
    defaults = LoraConfig()
    for name in sorted(written.keys() - {"peft_type", *KEPT} - MEANINGLESS):
        value, default = written[name], getattr(defaults, name, None)
        if value != default and (value or default):
            raise UserValueError(
                f"adapter {str(path)!r}: {name} is {repr(value)[:80]}, which is more than LoRA's A and B and cannot be trained "
                f"here; {_AS_LORA}."
            )
    start = str(written.get("init_lora_weights", True))
    if start.lower() not in BESIDE_THE_BASE + RECOVERABLE:
        raise UserValueError(
            f"adapter {str(path)!r}: init_lora_weights is {start!r}, which changed the base before training, in a way that cannot be "
            f"computed again; {_CONVERT}."
        )


def _double_rank(config: LoraConfig) -> None:
    """Twice the rank at the same scale, which is alpha / r or, for rank-stabilised LoRA, alpha / sqrt(r)."""
    more = 2**0.5 if config.use_rslora else 2
    config.r, config.lora_alpha = 2 * config.r, more * config.lora_alpha  # type: ignore[assignment]
    config.rank_pattern = {name: 2 * r for name, r in (config.rank_pattern or {}).items()}
    config.alpha_pattern = {name: more * alpha for name, alpha in (config.alpha_pattern or {}).items()}


def _state(peft: PeftModel, name: str) -> dict[str, Tensor]:
    """An adapter's tensors as its file names them, without copies of the base's embeddings."""
    return get_peft_model_state_dict(peft, adapter_name=name, save_embedding_layers=False)


def _without_base(path: Path, weights: Mapping[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Leave out copies of the base's own embeddings, which PEFT adds where they are adapted; refuse others, for it would load them."""
    base: dict[str, Tensor] | None = None
    found = {}
    for name, tensor in weights.items():
        if _LORA.search(name):
            found[name] = tensor
            continue
        if base is None:
            base = {plain_name(n): w for n, w in model.state_dict().items()}
        plain = plain_name(name.removeprefix("base_model.model."))
        own = base.get(plain)
        if (
            own is None
            or own.shape != tensor.shape
            or not torch.equal(own.cpu().to(tensor.dtype), tensor.to(own.dtype).to(tensor.dtype))
        ):
            raise UserValueError(
                f"adapter {str(path)!r}: its file brings {plain}, which is no LoRA weight and not this base's own; load the base it was "
                f"trained on, or {_AS_LORA}."
            )
    return found


def _json(file: Path, remedy: str) -> dict[str, Any]:
    try:
        return dict(read_json(file))
    except (ValueError, TypeError) as error:
        raise UserValueError(
            f"adapter {str(file.parent)!r}: {file.name} cannot be read; copy the folder again, or {remedy}."
        ) from error


def base_record(model: Any, tokenizer: Any) -> dict[str, Any]:
    """What an adapter relies on without PEFT's noticing: the kind of model, and which token each id is.

    Layers of equal shapes take any adapter, whatever their tokens mean: it would load, and speak nonsense. The weights are not
    recorded, so that an adapter may move between checkpoints of one family, and to a quantised copy of its base.
    """
    config = model.config.get_text_config()
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda entry: entry[1])
    digest = hashlib.sha256(json.dumps(vocabulary).encode()).hexdigest()
    record = {field: getattr(config, field, None) for field in _FIELDS}
    return {**record, "num_tokens": len(vocabulary), "tokens_sha256": digest}


def write_base(folder: Path, record: Mapping[str, Any]) -> None:
    """Put a record beside an adapter."""
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def name_base(folder: Path) -> None:
    """Let the adapter name its base so that PEFT finds it from any working directory, and when the run's folder has moved: a folder by its
    full path. A hub id stays one.
    """
    written = _json(folder / CONFIG, "write it again with PEFT")
    written["base_model_name_or_path"] = full_path(str(written.get("base_model_name_or_path") or ""))
    (folder / CONFIG).write_text(json.dumps(written, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def check_base(folder: Path, record: Mapping[str, Any]) -> None:
    """Compare the base with that which an adapter's folder names; a folder without a record (PEFT's own) is not checked.

    Raises:
        ValueError: They differ, or the record cannot be read.
    """
    file = folder / RECORD
    if not file.is_file():
        return
    recorded = _json(file, "delete that file to load it unchecked")
    other = [name for name, value in record.items() if name in recorded and recorded[name] != value]
    if not other:
        return
    shapes = [f"{name} {recorded[name]} there, {record[name]} here" for name in other if name != "tokens_sha256"]
    what = "; ".join(shapes) or "the same number of tokens, but other tokens by the same ids"
    raise UserValueError(
        f"adapter {str(folder)!r} does not fit this base model, for it was trained on another ({what}); load that one."
    )

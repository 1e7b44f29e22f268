"""Which base model an adapter was trained on: recorded in its folder, and compared when it is loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maporl.errors import UserValueError

__all__ = ["base_record", "check_base", "write_base"]

FILE = "maporl_base.json"

_FIELDS = ("model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


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
    (folder / FILE).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def check_base(folder: Path, record: Mapping[str, Any]) -> None:
    """Compare the base with that which an adapter's folder names; a folder without a record (PEFT's own) is not checked.

    Raises:
        ValueError: They differ, or the record cannot be read.
    """
    file = folder / FILE
    if not file.is_file():
        return
    try:
        recorded = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise UserValueError(
            f"adapter {str(folder)!r}: {FILE} cannot be read; copy the folder again, or delete that file to load it unchecked."
        ) from error
    other = [name for name, value in record.items() if name in recorded and recorded[name] != value]
    if not other:
        return
    shapes = [f"{name} {recorded[name]} there, {record[name]} here" for name in other if name != "tokens_sha256"]
    what = "; ".join(shapes) or "the same number of tokens, but other tokens by the same ids"
    raise UserValueError(
        f"adapter {str(folder)!r} does not fit this base model, for it was trained on another ({what}); load that one."
    )

"""A GGUF file with the weights and tokenizer of a small Llama folder, as llama.cpp's converter would write it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

_LAYER = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip
_TOP = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}


def write_gguf(
    folder: Path,
    file: Path,
    *,
    kind: str = "F32",
    architecture: str = "llama",
    template: bool = True,
    bos: bool = False,
    pre: str = "smollm",
    leave_out: str | None = None,
    extra: dict[str, np.ndarray] | None = None,
) -> Path:
    """Write `file` from the Llama checkpoint `folder`; matrices as `kind` (F32, F16, Q8_0), vectors as F32."""
    import gguf

    config = json.loads((folder / "config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    file.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(file, architecture)
    writer.add_string("general.license", "apache-2.0")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])
    _add_tokenizer(writer, tokenizer, pre, bos, template)
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}
    for name, tensor in load_file(folder / "model.safetensors").items():
        renamed = _name(name)
        if renamed == leave_out:
            continue
        if heads_of := heads.get(renamed.split(".")[-2]):  # llama.cpp turns neighbouring pairs, transformers halves
            tensor = tensor.view(heads_of, 2, -1, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        values = tensor.to(torch.float32).numpy()
        if tensor.dim() < 2 or kind == "F32":
            writer.add_tensor(renamed, values)
        elif kind == "F16":
            writer.add_tensor(renamed, values.astype(np.float16))
        else:
            quantised = getattr(gguf.GGMLQuantizationType, kind)
            writer.add_tensor(renamed, gguf.quants.quantize(values, quantised), raw_dtype=quantised)
    for name, values in (extra or {}).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _name(name: str) -> str:
    if name in _TOP:
        return _TOP[name]
    _, _, block, *rest = name.split(".")
    return f"blk.{block}.{_LAYER['.'.join(rest[:-1])]}.{rest[-1]}"


def _add_tokenizer(writer: object, tokenizer: object, pre: str, bos: bool, template: bool) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())  # type: ignore[attr-defined]
    special = {token["content"] for token in state["added_tokens"]}
    tokens = sorted(state["model"]["vocab"], key=state["model"]["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in state["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges(merges)
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(bos)
    if bos:
        writer.add_bos_token_id(tokenizer.convert_tokens_to_ids("<|system|>"))
    if template:
        writer.add_chat_template(tokenizer.chat_template)

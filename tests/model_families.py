"""Small random models of the types that `transformers` knows and `maporl make-model` does not make: as configs, and as models."""

from __future__ import annotations

from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from maporl.agents.models.make_model import make_tokenizer

TOKENIZER = make_tokenizer(vocab_size=300)
SIZES = dict(
    vocab_size=len(TOKENIZER),
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=512,
    bos_token_id=None,
    eos_token_id=None,
    pad_token_id=0,
)
OLDER = dict(vocab_size=len(TOKENIZER), n_embd=32, n_layer=2, n_head=4, n_positions=512)
GROUPED = dict(num_key_value_heads=2)
WINDOW = dict(SIZES, sliding_window=8, **GROUPED)
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped heads": ("llama", dict(SIZES, **GROUPED)),
    "one head": ("llama", dict(SIZES, num_key_value_heads=1, tie_word_embeddings=True)),
    "windows in every second layer": (
        "cohere2",
        dict(WINDOW, head_dim=8, layer_types=["sliding_attention", "full_attention"]),
    ),
    "windows and two kinds of rotation": (
        "gemma3_text",
        dict(WINDOW, head_dim=8, layer_types=["sliding_attention", "full_attention"]),
    ),
    "windows and sinks": ("gpt_oss", dict(WINDOW, head_dim=8, num_local_experts=4, num_experts_per_tok=2)),
    "a window by config": ("starcoder2", WINDOW),
    "qwen's own windows": ("qwen2", dict(WINDOW, use_sliding_window=True, max_window_layers=1)),
    "experts": ("mixtral", dict(SIZES, sliding_window=8, num_local_experts=2, **GROUPED)),
    "routers that are linear layers": (
        "phimoe",
        dict(SIZES, num_local_experts=4, num_experts_per_tok=2, sliding_window=None, **GROUPED),
    ),
    "scaled logits": ("granite", dict(SIZES, logits_scaling=2.0, **GROUPED)),
    "latent attention": (
        "deepseek_v3",
        dict(
            SIZES,
            n_routed_experts=4,
            n_group=1,
            topk_group=1,
            num_experts_per_tok=2,
            moe_intermediate_size=16,
            first_k_dense_replace=1,
            q_lora_rank=16,
            kv_lora_rank=16,
            qk_rope_head_dim=8,
            qk_nope_head_dim=8,
            v_head_dim=8,
            num_key_value_heads=4,
        ),
    ),
    "learned positions": ("opt", dict(SIZES, ffn_dim=64, word_embed_proj_dim=32)),
    "part of a head rotated": ("gptj", dict(OLDER, rotary_dim=4)),
    "one key for all": ("gpt_bigcode", OLDER),
    "no positions in some layers": ("smollm3", dict(SIZES, no_rope_layers=[1, 0], **GROUPED)),
}
"""What it shows -> type and settings: those whose trees and cache are exact."""

ODD: dict[str, dict[str, Any]] = {
    "bloom": dict(hidden_size=32, n_layer=2, n_head=4, vocab_size=len(TOKENIZER)),
    "mpt": dict(d_model=32, n_layers=2, n_heads=4, vocab_size=len(TOKENIZER), max_seq_len=512, expansion_ratio=2),
    "falcon": dict(SIZES, alibi=True, new_decoder_architecture=False, multi_query=False),
    "gpt_neo": dict(
        vocab_size=len(TOKENIZER),
        hidden_size=32,
        num_layers=2,
        num_heads=4,
        attention_types=[[["global", "local"], 1]],
        window_size=24,  # longer than what exactness is measured on
        max_position_embeddings=512,
        intermediate_size=64,
    ),
    "llama4_text": dict(
        SIZES,
        attention_chunk_size=24,
        head_dim=8,
        num_local_experts=2,
        intermediate_size_mlp=64,
        no_rope_layers=[1, 0],
        **GROUPED,
    ),
    "recurrent_gemma": dict(
        SIZES, lru_width=32, attention_window_size=8, block_types=["recurrent", "attention"], head_dim=8
    ),
    "lfm2": dict(SIZES, layer_types=["conv", "full_attention"], conv_L_cache=3, **GROUPED),
}
"""Those that build masks of their own or have layers without attention."""


def random_model(kind: str, **settings: object) -> Any:
    """A causal LM of a type, untied, with weights far from their initial values, so that distributions are sharp."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **settings))
        sharpen(model)
    return model


def sharpen(model: Any) -> None:
    """Bring each matrix to a standard deviation of .16, embeddings to .08."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 and "A_log" not in name:
            parameter.data.mul_((0.08 if "emb" in name or "wte" in name else 0.16) / (parameter.std() + 1e-9))

#!/usr/bin/env bash
# A GGUF file that scales its rotary positions is read as a model that does not, without a word.
#
# Llama 3.1 and later turn slow frequencies slower; llama.cpp writes the divisors as a tensor, rope_freqs.weight, and linear or YaRN
# scaling as keys (llama.rope.scaling.type, .factor). One would expect transformers to apply them or to refuse the file. It reads neither
# (but for gpt-oss): the model built has plain positions, and gives the logits of another model. Here two files of one tiny random Llama,
# one with divisors of 30 and a linear factor of 8, give equal logits.
#
# Versions: transformers 5.23.0, gguf 0.19.0, accelerate 1.15.0, torch 2.13.0, Python 3.11. Seen on 2026-11-30. Output of that run:
#   rope: {'rope_theta': 10000.0, 'rope_type': 'default'}
#   the logits of the scaled and the plain file are equal: True
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
pip="$place/venv/bin/pip --quiet --disable-pip-version-check"
$pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0
"$place/venv/bin/python" - "$place" 2>/dev/null <<'PY' | tee "$place/output"
import sys

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM

SHAPES = {
    "token_embd": (100, 32), "output_norm": (32,), "blk.0.attn_norm": (32,), "blk.0.ffn_norm": (32,),
    "blk.0.attn_q": (32, 32), "blk.0.attn_k": (32, 32), "blk.0.attn_v": (32, 32), "blk.0.attn_output": (32, 32),
    "blk.0.ffn_gate": (64, 32), "blk.0.ffn_up": (64, 32), "blk.0.ffn_down": (32, 64),
}


def read(name: str, scaled: bool) -> torch.nn.Module:
    writer = gguf.GGUFWriter(f"{sys.argv[1]}/{name}", "llama")
    for key, value in {"context_length": 128, "embedding_length": 32, "block_count": 1, "feed_forward_length": 64,
                       "head_count": 2, "head_count_kv": 2, "rope_dimension_count": 16, "vocab_size": 100}.items():
        getattr(writer, f"add_{key}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    random = np.random.default_rng(0)
    for tensor, shape in SHAPES.items():
        writer.add_tensor(f"{tensor}.weight", random.normal(size=shape).astype(np.float32))
    if scaled:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(8.0)
        writer.add_tensor("rope_freqs.weight", np.full(8, 30, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return AutoModelForCausalLM.from_pretrained(sys.argv[1], gguf_file=name, dtype=torch.float32)


ids = torch.arange(60)[None]
plain, scaled = read("plain.gguf", False), read("scaled.gguf", True)
print("rope:", scaled.config.rope_parameters)
print("the logits of the scaled and the plain file are equal:", torch.equal(plain(ids).logits, scaled(ids).logits))
PY
diff "$place/output" - <<'SEEN'
rope: {'rope_theta': 10000.0, 'rope_type': 'default'}
the logits of the scaled and the plain file are equal: True
SEEN

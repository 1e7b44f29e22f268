#!/usr/bin/env bash
# TRL's think_format_reward pays in full for an empty reasoning block, and for one that is closed twice.
#
# The function rewards a completion of the form "reasoning in <think> tags, then an answer". One would expect an empty block to earn nothing, since no reasoning
# is there, and a second closing tag to break the form as a second opening tag does. Both earn 1.0: a policy can be paid for the format without reasoning at all, and
# text between the two closing tags is reasoning to a reader that splits at the last tag, and the answer to one that splits at the first.
#
# Versions: trl 1.16.0 (the one file, which needs nothing else), Python 3.11. Seen on 2026-11-30. Output of that run:
#   1.0 '<think>2 + 2 is 4</think>4'
#   1.0 '<think></think>4'
#   1.0 '<think> </think>'
#   1.0 '<think>2 + 2</think> is </think>4'
#   0.0 '<think>2 + 2<think> is </think>4'
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps trl==1.16.0
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import importlib.metadata
import runpy

(path,) = (p for p in importlib.metadata.files("trl") if str(p) == "trl/rewards/format_rewards.py")
reward = runpy.run_path(str(path.locate()))["think_format_reward"]
for text in (
    "<think>2 + 2 is 4</think>4",
    "<think></think>4",
    "<think> </think>",
    "<think>2 + 2</think> is </think>4",
    "<think>2 + 2<think> is </think>4",
):
    print(reward([[{"role": "assistant", "content": text}]])[0], repr(text))
PY
diff "$place/output" - <<'SEEN'
1.0 '<think>2 + 2 is 4</think>4'
1.0 '<think></think>4'
1.0 '<think> </think>'
1.0 '<think>2 + 2</think> is </think>4'
0.0 '<think>2 + 2<think> is </think>4'
SEEN

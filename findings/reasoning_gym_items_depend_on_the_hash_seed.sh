#!/usr/bin/env bash
# Four data sets of Reasoning Gym make other items in every process, whatever their seed.
#
# One would expect a data set with a seed to be the same data set wherever it is made. In isomorphic_strings and ransom_note
# questions, and in word_ladder and knight_swap answers, follow the order of a Python set of strings, which differs from process to
# process unless PYTHONHASHSEED is set. Two workers of one training, or a run and its evaluation a day later, ask different
# questions under the same seed, and the questions held out in one process are trained on in another.
#
# Versions: reasoning-gym 0.1.25, Python 3.11. Seen on 2026-12-01. Output of that run:
#   isomorphic_strings: different items in three processes
#   ransom_note: different items in three processes
#   word_ladder: different items in three processes
#   knight_swap: different items in three processes
#   leg_counting: the same items in three processes
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import os
import subprocess
import sys

code = "import sys, reasoning_gym; print([(x['question'], x['answer']) for x in reasoning_gym.create_dataset(sys.argv[1], seed=7, size=10)])"
for name in ("isomorphic_strings", "ransom_note", "word_ladder", "knight_swap", "leg_counting"):
    made = {
        subprocess.run([sys.executable, "-c", code, name], env={**os.environ, "PYTHONHASHSEED": h}, capture_output=True, check=True).stdout
        for h in "123"
    }
    print(f"{name}: {'the same' if len(made) == 1 else 'different'} items in three processes")
PY
diff "$place/output" - <<'SEEN'
isomorphic_strings: different items in three processes
ransom_note: different items in three processes
word_ladder: different items in three processes
knight_swap: different items in three processes
leg_counting: the same items in three processes
SEEN

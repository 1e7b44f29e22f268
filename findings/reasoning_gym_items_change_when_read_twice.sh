#!/usr/bin/env bash
# Items of a data set of Reasoning Gym change when they are read twice.
#
# A data set has a seed, and item i is documented as made from seed + i. One would expect item i to be the same whenever it is read.
# Of list_functions some items draw from the global generator of `random` as well: a second epoch asks other questions than the
# first, a resumed run others than the one it resumes, and an item that is read again to score its answer may be another one.
#
# Versions: reasoning-gym 0.1.25, Python 3.11. Seen on 2026-12-01. Output of that run:
#   list_functions: some of 100 questions changed when read again
#   leg_counting: none of 100 questions changed when read again
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import random

import reasoning_gym

for name in ("list_functions", "leg_counting"):
    items = reasoning_gym.create_dataset(name, seed=7, size=100)
    random.seed(0)
    first = [items[i]["question"] for i in range(100)]
    second = [items[i]["question"] for i in range(100)]
    print(f"{name}: {'some' if first != second else 'none'} of 100 questions changed when read again")
PY
diff "$place/output" - <<'SEEN'
list_functions: some of 100 questions changed when read again
leg_counting: none of 100 questions changed when read again
SEEN

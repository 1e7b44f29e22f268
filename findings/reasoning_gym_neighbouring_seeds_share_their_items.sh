#!/usr/bin/env bash
# Two data sets of Reasoning Gym with neighbouring seeds share all items but one.
#
# One would make a training set with seed 0 and a test set with seed 1. Item i is made from seed + i, so item i of the second is
# item i + 1 of the first: of 500 test questions 499 were trained on. Splits need seeds that are further apart than they are long,
# or parts of one data set. (acre and gsm_symbolic draw in another way.)
#
# Versions: reasoning-gym 0.1.25, Python 3.11. Seen on 2026-12-01. Output of that run:
#   leg_counting: 19 of 20 questions with seed 1 are asked with seed 0, too
#   chain_sum: 19 of 20 questions with seed 1 are asked with seed 0, too
#   sudoku: 19 of 20 questions with seed 1 are asked with seed 0, too
#   gsm_symbolic: 2 of 20 questions with seed 1 are asked with seed 0, too
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import reasoning_gym

for name in ("leg_counting", "chain_sum", "sudoku", "gsm_symbolic"):
    train, test = ({reasoning_gym.create_dataset(name, seed=seed, size=20)[i]["question"] for i in range(20)} for seed in (0, 1))
    print(f"{name}: {len(train & test)} of 20 questions with seed 1 are asked with seed 0, too")
PY
diff "$place/output" - <<'SEEN'
leg_counting: 19 of 20 questions with seed 1 are asked with seed 0, too
chain_sum: 19 of 20 questions with seed 1 are asked with seed 0, too
sudoku: 19 of 20 questions with seed 1 are asked with seed 0, too
gsm_symbolic: 2 of 20 questions with seed 1 are asked with seed 0, too
SEEN

#!/usr/bin/env bash
# Four data sets of Reasoning Gym give full marks to one and the same answer, to almost any question.
#
# A generator of puzzles comes with a score of answers, from which a model is rewarded. One would expect 1.0 for what is right. Of
# these four one constant answer earns 1.0 nearly always: any text at all (game_of_life_halting compares truth values of texts), 0
# (coin_flip counts how many digits agree, over the shorter of both texts), nan (complex_arithmetic takes the smaller of 1.0 and a
# distance that is no number), 1*2*3*4 (puzzle24 asks for four numbers in the range that make 24, not for those of the question).
# Reinforcement learning finds each of them.
#
# Versions: reasoning-gym 0.1.25, Python 3.11. Seen on 2026-12-01. Output of that run:
#   game_of_life_halting: the answer 'who knows' earns 1.0 for 50 of 50 questions with another answer
#   coin_flip: the answer '0' earns 1.0 for 47 of 50 questions with another answer
#   complex_arithmetic: the answer 'nan' earns 1.0 for 50 of 50 questions with another answer
#   puzzle24: the answer '1*2*3*4' earns 1.0 for 50 of 50 questions with another answer
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check reasoning-gym==0.1.25
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import reasoning_gym

for name, answer in [("game_of_life_halting", "who knows"), ("coin_flip", "0"), ("complex_arithmetic", "nan"), ("puzzle24", "1*2*3*4")]:
    items = reasoning_gym.create_dataset(name, seed=1, size=50)
    wrong = [item for item in items if item["answer"] != answer]
    paid = sum(items.score_answer(answer, item) == 1.0 for item in wrong)
    print(f"{name}: the answer {answer!r} earns 1.0 for {paid} of {len(wrong)} questions with another answer")
PY
diff "$place/output" - <<'SEEN'
game_of_life_halting: the answer 'who knows' earns 1.0 for 50 of 50 questions with another answer
coin_flip: the answer '0' earns 1.0 for 47 of 50 questions with another answer
complex_arithmetic: the answer 'nan' earns 1.0 for 50 of 50 questions with another answer
puzzle24: the answer '1*2*3*4' earns 1.0 for 50 of 50 questions with another answer
SEEN

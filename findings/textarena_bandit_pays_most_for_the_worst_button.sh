#!/usr/bin/env bash
# TextArena's Bandit pays nothing for the best button, and most for the worst.
#
# At the end of Bandit one names the best of five buttons, which should earn 1.0. The game compares the name with a dictionary, so
# no choice is ever right, and pays every choice as a wrong one: its regret, the best button's chance minus its own, as a reward.
# The best button earns 0, the worst one most. A learner of this game learns to name the worst.
#
# Versions: textarena 0.7.4, Python 3.11. Seen on 2026-12-01. Output of that run:
#   chance 0.12: reward 0.43, over: True
#   chance 0.14: reward 0.41, over: True
#   chance 0.30: reward 0.25, over: True
#   chance 0.38: reward 0.17, over: True
#   chance 0.55: reward 0.00, over: True
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check textarena==0.7.4
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import textarena

env = textarena.make("Bandit-v0")
env.reset(num_players=1, seed=1)
chances = dict(env.state.game_state["ground_truth"])
for button in sorted(chances, key=chances.get):
    env = textarena.make("Bandit-v0")
    env.reset(num_players=1, seed=1)
    for _ in range(20):
        env.step(f"[{button}]")
    done, _ = env.step(f"[{button}]")
    print(f"chance {chances[button]:.2f}: reward {env.state.rewards[0]:.2f}, over: {done}")
PY
diff "$place/output" - <<'SEEN'
chance 0.12: reward 0.43, over: True
chance 0.14: reward 0.41, over: True
chance 0.30: reward 0.25, over: True
chance 0.38: reward 0.17, over: True
chance 0.55: reward 0.00, over: True
SEEN

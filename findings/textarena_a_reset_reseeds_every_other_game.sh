#!/usr/bin/env bash
# In TextArena the reset of one game reseeds all others, and everything else that draws from `random`.
#
# A game is reset with a seed of its own. One would expect that to concern this game. The seed is given to the global generator,
# from which all games go on drawing: in a game of 2048 the next tiles depend on whether another game was reset in between, so games
# that are played side by side, as reinforcement learning plays them, are not those of their seeds; and each reset sets back the
# random numbers of the training itself.
#
# Versions: textarena 0.7.4, Python 3.11. Seen on 2026-12-01. Output of that run:
#   2048 with seed 1, twice alone: the same boards
#   alone, and beside another game: different boards
#   the program's own next number after a reset: another one
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check textarena==0.7.4
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import random

import textarena


def tiles(between: bool) -> str:
    game = textarena.make("2048-v0")
    game.reset(num_players=1, seed=1)
    for move in ("[up]", "[left]", "[down]", "[right]"):
        if between:
            textarena.make("GuessTheNumber-v0").reset(num_players=1, seed=5)
        game.step(move)
    return repr(game.state.game_state)


print(f"2048 with seed 1, twice alone: {'the same' if tiles(False) == tiles(False) else 'different'} boards")
print(f"alone, and beside another game: {'the same' if tiles(False) == tiles(True) else 'different'} boards")
random.seed(123)
before = random.random()
random.seed(123)
textarena.make("GuessTheNumber-v0").reset(num_players=1, seed=5)
print(f"the program's own next number after a reset: {'the same' if random.random() == before else 'another one'}")
PY
diff "$place/output" - <<'SEEN'
2048 with seed 1, twice alone: the same boards
alone, and beside another game: different boards
the program's own next number after a reset: another one
SEEN

#!/usr/bin/env bash
# Random streams named by lists of numbers are not always different streams: numpy drops trailing zeros of short lists.
#
# Simulators name a stream by what it is for: default_rng([seed, episode, agent]), and one more number for a second message of that
# agent. One would expect lists that differ to give streams that differ. Of lists of up to four words they do not where they differ by
# zeros at their end only (numpy's SeedSequence fills its pool of four words with zeros); longer lists are all told apart. So an index
# that is appended must begin at 1, or every list must have more than four words.
#
# Version: numpy 2.4.6, Python 3.11. Seen on 2026-11-30. Output of that run:
#   [7, 1] and [7, 1, 0]: the same stream
#   [7, 1] and [7, 1, 0, 0]: the same stream
#   [7, 1] and [7, 1, 1]: different streams
#   [7, 1, 2, 3, 4] and [7, 1, 2, 3, 4, 0]: different streams
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
import numpy as np

for a, b in [([7, 1], [7, 1, 0]), ([7, 1], [7, 1, 0, 0]), ([7, 1], [7, 1, 1]), ([7, 1, 2, 3, 4], [7, 1, 2, 3, 4, 0])]:
    same = np.array_equal(np.random.default_rng(a).random(8), np.random.default_rng(b).random(8))
    print(f"{a} and {b}: {'the same stream' if same else 'different streams'}")
PY
diff "$place/output" - <<'SEEN'
[7, 1] and [7, 1, 0]: the same stream
[7, 1] and [7, 1, 0, 0]: the same stream
[7, 1] and [7, 1, 1]: different streams
[7, 1, 2, 3, 4] and [7, 1, 2, 3, 4, 0]: different streams
SEEN

#!/usr/bin/env bash
# Math-Verify drops some variables from an answer, because they are units, too.
#
# An answer may be an expression: "2t", "3m". One would expect it to differ from the number before it. The letters t, m, s and others are
# taken for units of measurement behind a number and dropped, so the expression is the number, while 2x and 2y stay what they are: whether an answer in a
# variable can be told from a number depends on the letter that the problem chose. Where the unit rules are switched off, all of them can.
#
# Versions: math-verify 0.9.0, latex2sympy2_extended 1.11.0, sympy 1.14.0, Python 3.11. Seen on 2026-11-30. Output of that run:
#   2t is 2: True
#   2m is 2: True
#   2s is 2: True
#   2x is 2: False
#   2y is 2: False
#   without units, 2t is 2: False
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check math-verify==0.9.0 latex2sympy2_extended==1.11.0 sympy==1.14.0
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
from dataclasses import replace

from math_verify import LatexExtractionConfig, parse, verify

for letter in "tmsxy":
    print(f"2{letter} is 2: {verify(parse('$2$'), parse(f'$2{letter}$'))}")
usual = LatexExtractionConfig()
plain = replace(usual, normalization_config=replace(usual.normalization_config, units=False))
print(f"without units, 2t is 2: {verify(parse('$2$'), parse('$2t$', extraction_config=[plain]))}")
PY
diff "$place/output" - <<'SEEN'
2t is 2: True
2m is 2: True
2s is 2: True
2x is 2: False
2y is 2: False
without units, 2t is 2: False
SEEN

#!/usr/bin/env bash
# Math-Verify adds up the groups of a number that is written with thin spaces.
#
# LaTeX authors, and models that learned from them, group thousands by a thin space: 12\,345\,678. One would expect that number, or
# nothing. Read is the sum of the groups, so the right answer is wrong and another one is right; a last group of zeros makes a product
# of zero. A comma between the groups, also in braces, is read as the number. Who rewards a model by this verifier teaches it not to write thin spaces,
# and a vote that counts by it puts different numbers together. Our own verifier rewrites such numbers before it asks.
#
# Versions: math-verify 0.9.0, latex2sympy2_extended 1.11.0, sympy 1.14.0, Python 3.11. Seen on 2026-11-30. Output of that run:
#   12\,345\,678 is 12345678: False
#   12\,345\,678 is 1035: True
#   10\,000 is 10000: False
#   12{,}345{,}678 is 12345678: True
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check math-verify==0.9.0 latex2sympy2_extended==1.11.0 sympy==1.14.0
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
from math_verify import parse, verify

for text, number in [(r"12\,345\,678", "12345678"), (r"12\,345\,678", "1035"), (r"10\,000", "10000"), ("12{,}345{,}678", "12345678")]:
    gold, answer = (parse("\\boxed{" + inside + "}") for inside in (number, text))
    print(f"{text} is {number}: {verify(gold, answer)}")
PY
diff "$place/output" - <<'SEEN'
12\,345\,678 is 12345678: False
12\,345\,678 is 1035: True
10\,000 is 10000: False
12{,}345{,}678 is 12345678: True
SEEN

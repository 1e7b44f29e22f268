#!/usr/bin/env bash
# rouge-score gives 0 to a text compared with itself if its letters are not a to z, and reads an accented word in pieces.
#
# ROUGE counts shared words. One would expect any text to score 1 against itself, in any script, as it does in English. The package's default tokenizer replaces everything but
# a to z and digits by spaces before it counts: a summary in Cyrillic, Greek, Arabic or Chinese letters has no words at all and scores 0, silently, and what is left of an accented
# word are the pieces around the accent, so that two different words may share one. A reward made of it pays such a language nothing. A tokenizer of one's own can be passed.
#
# Versions: rouge-score 0.1.2 (nltk 3.9.2, numpy 2.2.6, absl-py 2.3.1), Python 3.11. Seen on 2026-11-30. Output of that run:
#   1.00 'the cat sat' 'the cat sat'
#   0.00 'кот сидел тут' 'кот сидел тут'
#   0.00 'γάτα' 'γάτα'
#   1.00 'кот 42' 'пёс 42'
#   0.67 'café' 'caf noir'
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check rouge-score==0.1.2 nltk==3.9.2 numpy==2.2.6 absl-py==2.3.1
"$place/venv/bin/python" - <<'PY' | tee "$place/output"
from rouge_score.rouge_scorer import RougeScorer

scorer = RougeScorer(["rouge1"])
for target, prediction in (
    ("the cat sat", "the cat sat"),
    ("кот сидел тут", "кот сидел тут"),
    ("γάτα", "γάτα"),
    ("кот 42", "пёс 42"),
    ("café", "caf noir"),
):
    print(f"{scorer.score(target, prediction)['rouge1'].fmeasure:.2f} {target!r} {prediction!r}")
PY
diff "$place/output" - <<'SEEN'
1.00 'the cat sat' 'the cat sat'
0.00 'кот сидел тут' 'кот сидел тут'
0.00 'γάτα' 'γάτα'
1.00 'кот 42' 'пёс 42'
0.67 'café' 'caf noir'
SEEN

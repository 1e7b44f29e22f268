"""What single tokens say: whole pieces with the white space in front of them, whatever kind of tokenizer it is."""

from __future__ import annotations

from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from maporl.agents.pieces import pieces

BYTES = {"<|end|>": 0, "A": 1, "\u0120A": 2, "\u010a": 3, "\u00e2\u0124": 4, "\u00ac": 5, "\u0120": 6}
MARKED = {"<|end|>": 0, "A": 1, "\u2581A": 2, "\u2581": 3}


def made(vocabulary: dict[str, int], decoder: Any, splitter: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.decoder, tokenizer.pre_tokenizer = decoder, splitter
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>")


@pytest.mark.parametrize(
    ("vocabulary", "decoder", "splitter", "texts"),
    [
        (
            BYTES,
            decoders.ByteLevel(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
            ["<|end|>", "A", " A", "\n", "\u00e2\u0124", "\u00ac", " "],
        ),
        (MARKED, decoders.Metaspace(), pre_tokenizers.Metaspace(), ["<|end|>", "A", " A", " "]),
    ],
    ids=["bytes", "SentencePiece"],
)
def test_every_token_by_itself(vocabulary: dict[str, int], decoder: Any, splitter: Any, texts: list[str]) -> None:
    found = pieces(made(vocabulary, decoder, splitter), [3, 2, 1, 0, *range(len(texts)), 2])
    assert found == dict(enumerate(texts))

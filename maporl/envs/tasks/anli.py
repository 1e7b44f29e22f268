"""ANLI: does a text entail a hypothesis? Written to mislead models, in three rounds (Nie et al. 1910.14599).

| specification | |
|---|---|
| question | the context, then the hypothesis, without the markup (``<br>``) and marks of direction that are left in some |
| answer | ``entailment``, ``neutral`` or ``contradiction`` |
| rows | ``context`` (or ``premise``), ``hypothesis``, ``label``: e, n, c; 0, 1, 2; or the word |
| hub | ``facebook/anli``: splits train_r1 ... test_r3; licence CC BY-NC 4.0, so for research only |
| verifier | `Choice` of the three words, and of what else they are called ("neither", "N") |
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from maporl.envs.data import HubSource, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.types import Question

__all__ = ["ANLI"]

LABELS = ("entailment", "neutral", "contradiction")
_NAMES: dict[Any, str] = {
    **dict(enumerate(LABELS)),
    **{label[0]: label for label in LABELS},
    **{label: label for label in LABELS},
}
SPELLINGS = {
    "entailment": ("entailed", "entails", "entail", "E"),
    "neutral": ("neither", "undetermined", "N"),
    "contradiction": ("contradicted", "contradicts", "contradict", "contradictory", "C"),
}
_LEFT_OVER = re.compile(r"\s*(?:</?(?:br|nowiki|ref)\s?/?>\s*)+|[\u200e\u200f]", re.IGNORECASE)
_HUB = "facebook/anli"


class ANLI(DiscussionEnv):
    """A team judges whether a hypothesis follows from a text.

    Args:
        anli_round: 1, 2, 3 or "all": which of the hub's three rounds to use. A local file has its own.
        **arguments: As for `DiscussionEnv`.
    """

    metadata = {"name": "anli"}
    instruction = (
        "Does the context entail the hypothesis, contradict it, or neither (neutral)? Reason step by step. "
        'End with one line: "The answer is <entailment, neutral or contradiction>."'
    )
    default_num_rounds = 3  # MAPoRL discusses in three rounds
    default_verifier = {"name": "choice", "labels": SPELLINGS}

    def __init__(self, *args: Any, anli_round: int | str = "all", **arguments: Any) -> None:
        if str(anli_round) not in ("1", "2", "3", "all"):
            raise UserValueError(f"anli_round={anli_round!r}; one of: 1, 2, 3, 'all'.")
        rounds = ("1", "2", "3") if anli_round == "all" else (str(anli_round),)
        self.hub = HubSource(
            train=(_HUB, tuple(f"train_r{n}" for n in rounds)),
            test=(_HUB, tuple(f"test_r{n}" for n in rounds)),
        )
        super().__init__(*args, **arguments)

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            label = row.get("label", (str, int))
            if label not in _NAMES:
                raise row.error(f"label {label!r}; one of e, n, c, or 0, 1, 2.")
            context = row.text("context" if "context" in row.fields else "premise")
            text = f"Context: {_clean(context)}\nHypothesis: {_clean(row.text('hypothesis'))}"
            yield Question(text, _NAMES[label], id=str(row.fields.get("uid") or row.id))


def _clean(text: str) -> str:
    return _LEFT_OVER.sub(lambda match: " " if "<" in match.group() else "", text).strip()

"""GSM8K: grade-school word problems with a whole number as their answer (Cobbe et al. 2110.14168).

| specification | |
|---|---|
| question | the word problem |
| answer | what follows the last ``####`` of the row's solution, without commas |
| rows | ``question``, ``answer`` |
| hub | ``openai/gsm8k``, configuration ``main``: 7,473 train, 1,319 test |
| verifier | `Number`: after the last explicit marker, else the last number |
"""

from __future__ import annotations

from collections.abc import Iterator

from maporl.envs.data import HubSource, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.types import Question

__all__ = ["GSM8K"]


class GSM8K(DiscussionEnv):
    """A team solves grade-school word problems."""

    metadata = {"name": "gsm8k"}
    instruction = 'Reason step by step. End with one line: "The answer is <number>."'
    default_num_rounds = 3  # MAPoRL discusses in three rounds
    default_verifier = "number"
    hub = HubSource(train=("openai/gsm8k", ("train",)), test=("openai/gsm8k", ("test",)), config="main")

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            _, marker, gold = row.text("answer").rpartition("####")
            if not marker or not gold.strip():
                raise row.error("the answer has no '#### <number>' at its end; GSM8K's gold number stands there.")
            yield Question(row.text("question"), gold.strip().replace(",", ""), id=row.id)

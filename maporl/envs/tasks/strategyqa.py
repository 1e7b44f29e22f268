"""StrategyQA: yes or no, by several steps that the question does not name (Geva et al. 2101.02235).

| specification | |
|---|---|
| question | the question |
| answer | ``yes`` or ``no`` |
| rows | ``question``, ``answer``: true or false, or the word; ``qid`` |
| hub | ``ChilleD/StrategyQA``: splits train and test, made of the original's training questions |
| verifier | `Choice` of the two words |
"""

from __future__ import annotations

from collections.abc import Iterator

from maporl.envs.data import HubSource, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.types import Question

__all__ = ["StrategyQA"]

LABELS = ("yes", "no")


class StrategyQA(DiscussionEnv):
    """A team answers yes or no to questions that take several steps of reasoning."""

    metadata = {"name": "strategyqa"}
    instruction = 'Reason step by step. End with one line: "The answer is <yes or no>."'
    default_num_rounds = 3  # MAPoRL discusses in three rounds
    default_verifier = {"name": "choice", "labels": LABELS}
    hub = HubSource(train=("ChilleD/StrategyQA", ("train",)), test=("ChilleD/StrategyQA", ("test",)))

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            answer = row.get("answer", (bool, str))
            gold = answer.strip().lower() if isinstance(answer, str) else LABELS[not answer]
            if gold not in LABELS:
                raise row.error(f"answer {answer!r}; one of true, false, 'yes', 'no'.")
            yield Question(row.text("question").strip(), gold, id=str(row.fields.get("qid") or row.id))

"""CommonsenseQA: questions with five choices (Talmor et al. 1811.00937).

| specification | |
|---|---|
| question | the question, then one line per choice: ``(A) bank`` |
| answer | the letter; some rows have a choice twice, and then either letter is right |
| rows | the original's ``question{stem, choices[{label, text}]}``, ``answerKey``, or the hub's ``question``, ``choices{label, text}`` |
| hub | ``tau/commonsense_qa``: 9,741 train; its validation rows are the test, since the test rows have no answers |
| verifier | `Choice` |
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.types import Question

__all__ = ["CSQA"]


class CSQA(DiscussionEnv):
    """A team answers commonsense questions."""

    metadata = {"name": "csqa"}
    instruction = 'Reason step by step. End with one line: "The answer is (<letter>)."'
    default_num_rounds = 3  # MAPoRL discusses in three rounds
    default_verifier = "choice"
    hub = HubSource(train=("tau/commonsense_qa", ("train",)), test=("tau/commonsense_qa", ("validation",)))

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            stem, choices = _stem_and_choices(row)
            lines = (f"({label}) {text}" for label, text in choices.items())
            text = "\n".join([stem, *lines])
            gold = row.text("answerKey").strip()
            if gold not in choices:
                raise row.error(f"answerKey {gold!r} is none of the choices {', '.join(choices)}.")
            yield Question(text, gold, id=str(row.fields.get("id") or row.id), metadata={"choices": choices})


def _stem_and_choices(row: Row) -> tuple[str, dict[str, str]]:
    question: Any = row.get("question", (str, dict))
    stem = question if isinstance(question, str) else question.get("stem")
    choices = row.get("choices", (dict, list)) if isinstance(question, str) else question.get("choices")
    if isinstance(choices, dict):  # the hub's columns
        choices = [
            dict(zip(("label", "text"), pair, strict=True)) for pair in zip(*_columns(row, choices), strict=True)
        ]
    try:
        named = {str(choice["label"]): str(choice["text"]) for choice in choices}
    except (TypeError, KeyError):
        named = {}
    if not isinstance(stem, str) or not stem.strip() or len(named) < 2 or len(named) != len(choices):
        raise row.error("needs a stem and at least two choices, each with a 'label' of its own and a 'text'.")
    return stem.strip(), named


def _columns(row: Row, choices: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    labels, texts = choices.get("label"), choices.get("text")
    if not isinstance(labels, list) or not isinstance(texts, list) or len(labels) != len(texts):
        raise row.error("'choices' needs the lists 'label' and 'text', of one length.")
    return labels, texts

"""ROUGE by hand: which words count, of which reference, and what it needs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from maporl.envs.verifiers import Rouge
from maporl.envs.verifiers.english.function_words import content_words
from maporl.envs.verifiers.rouge import LONGEST_WORD, _scorer
from maporl.types import Question

SHIPS = Question("What of the ships?", "The old ships sailed north.")


@pytest.mark.parametrize(
    ("arguments", "response", "value"),
    [
        ({}, "Ships were sailing westward", 2 * 2 / (3 + 4)),  # ship, sail, of old, ship, sail, north
        ({"measure": "precision"}, "An old ship", 1.0),
        ({"measure": "recall"}, "An old ship", 0.5),
        ({"measure": "recall", "function_words": True}, "The end", 0.2),  # the, of five
        ({"rouge": "rouge2"}, "old ships sailed south", 2 / 3),  # old ship, ship sail
        ({"rouge": "rougeL", "measure": "recall"}, "north old sailed", 0.5),  # old, sail, in this order
        ({}, "the of and to", 0.0),
        ({}, "", 0.0),
        ({}, "<think>The old ships sailed north.", 0.0),
        ({}, "<think>no</think>The old ships sailed north.", 1.0),
    ],
)
def test_by_hand(arguments: dict[str, Any], response: str, value: float) -> None:
    score = Rouge(**arguments)(SHIPS, response)
    assert score.value == pytest.approx(value, abs=1e-12)
    assert score.correct is None or (score.correct is False and score.status == "no_answer")


def test_other_scripts_and_long_words() -> None:
    """By rouge-score's own tokenizer the first is worth 0 against itself."""
    assert Rouge()(Question("?", "Старые корабли ушли на север."), "корабли ушли").value == pytest.approx(
        2 * 2 / (2 + 5)
    )
    assert Rouge()(Question("?", "été à Paris"), "Été").value == pytest.approx(2 * 1 / (1 + 3))
    longest = "a" * (LONGEST_WORD - 1) + "s"
    assert Rouge()(Question("?", longest), longest[:-1]).value == 1.0, "stemmed"
    assert Rouge()(Question("?", f"a{longest}"), f"a{longest[:-1]}").value == 0.0, "taken as it is"


def test_the_reference_most_like_it_and_the_question_where_there_is_none() -> None:
    several = Question("?", "Nothing here.\n\nThe old ships sailed north.\nOld.")
    assert Rouge()(several, "Old ships sailed north").value == 1.0
    bare = Rouge()(Question("The old ships sailed north.", " \n"), "Old ships sailed north")
    assert bare.value == 1.0 and "there is no reference" in bare.explanation


def test_the_function_words_are_no_content() -> None:
    assert content_words("It isn't what we've done: THE Results, however, don't converge_1!") == [
        "results",
        "converge_1",
    ]


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"rouge": "rouge0"}, "rouge 'rouge0' is unknown; use rouge1 to rouge9, or rougeL"),
        ({"measure": "f1"}, "measure 'f1' is unknown"),
    ],
)
def test_unknown_words(arguments: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Rouge(**arguments)


def test_without_the_library_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rouge_score.rouge_scorer", None)
    _scorer.cache_clear()
    with pytest.raises(ValueError, match=r"ROUGE needs the package rouge-score: pip install 'maporl\[writing\]'"):
        Rouge().prepare()

"""The published reward of two texts: every boundary by hand, words and not parts of words, and nothing that makes it raise."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maporl.envs.tasks.writing.form import ARXIV, MOST, TLDR, Band, Form, form_of
from maporl.envs.tasks.writing.transitions import TRANSITIONS, Transitions
from maporl.envs.verifiers.english.function_words import words


def text(count: int, different: int, length: int, prefix: str) -> str:
    """So many words, different words and characters; none is a function or a transition word."""
    said = [f"{prefix}{min(n, different - 1):03d}" for n in range(count)]
    said[0] += "z" * (length - len(" ".join(said)))
    made = " ".join(said)
    assert (len(made.split()), len(set(words(made))), len(made)) == (count, different, length)
    return made


NO_TRANSITIONS = 0.4 * 0.35


@pytest.mark.parametrize(
    ("length", "pays"),
    [(109, None), (110, 0.0), (135, 0.5), (159, 0.98), (160, 1.0), (320, 1.0), (410, 0.5), (500, 0.0), (501, None)],
)
def test_tldr_lengths(length: int, pays: float | None) -> None:
    """First of 100 characters; else all is the best, without transition or common words: .5 + level 2 + .5 + .14."""
    formed = form_of(TLDR, text(10, 10, 100, "a"), text(20, 20, length, "b"))
    assert formed.reward == pytest.approx(0.5 if pays is None else 0.5 + pays + 0.5 + NO_TRANSITIONS, abs=1e-12)
    assert formed.measures["length_ratio"] == length / 100 and bool(formed.stopped) == (pays is None)


@pytest.mark.parametrize(
    ("different", "pays"), [(12, None), (13, 0.0), (16, 0.5 * 3 / 7), (19, 0.5 * 6 / 7), (20, 0.5), (30, 0.5)]
)
def test_tldr_vocabulary(different: int, pays: float | None) -> None:
    formed = form_of(TLDR, text(10, 10, 100, "a"), text(30, different, 200, "b"))
    assert formed.reward == pytest.approx(1.5 if pays is None else 1.5 + pays + NO_TRANSITIONS, abs=1e-12)


@pytest.mark.parametrize(("count", "fits"), [(7, False), (8, True), (256, True), (257, False)])
@pytest.mark.parametrize("place", [0, 1])
def test_tldr_words(count: int, fits: bool, place: int) -> None:
    texts = [text(20, 20, 200, "a"), text(20, 20, 200, "b")]
    texts[place] = text(count, 5, 2000, "c")
    assert form_of(TLDR, *texts).reward == (0.5 if fits else 0.0), "a fitting text is ten times, or a tenth, as long"


@pytest.mark.parametrize(
    ("length", "pays"),
    [(799, None), (800, 0.0), (1050, 0.5), (1300, 1.0), (1600, 1.0), (1800, 0.5), (2000, 0.0), (2001, None)],
)
def test_arxiv_lengths(length: int, pays: float | None) -> None:
    formed = form_of(ARXIV, text(128, 100, 1000, "a"), text(128, 100, length, "b"))
    assert formed.reward == pytest.approx(0.5 if pays is None else 0.5 + pays + 0.5 + NO_TRANSITIONS, abs=1e-12)


@pytest.mark.parametrize(
    ("different", "pays"),
    [(49, None), (50, 0.0), (60, 0.25), (70, 0.5), (130, 0.5), (150, 0.25), (170, 0.0), (171, None)],
)
def test_arxiv_vocabulary(different: int, pays: float | None) -> None:
    formed = form_of(ARXIV, text(128, 100, 1000, "a"), text(200, different, 1500, "b"))
    assert formed.reward == pytest.approx(1.5 if pays is None else 1.5 + pays + NO_TRANSITIONS, abs=1e-12)


@pytest.mark.parametrize(("count", "fits"), [(127, False), (128, True), (256, True), (257, False)])
def test_arxiv_words(count: int, fits: bool) -> None:
    formed = form_of(ARXIV, text(count, 100, 2000, "a"), text(200, 100, 2600, "b"))
    assert formed.reward == pytest.approx(2.0 + NO_TRANSITIONS if fits else 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("form", "common", "jaccard"),
    [(TLDR, 1, 1 / 149), (TLDR, 20, 20 / 130), (ARXIV, 20, 20 / 130), (ARXIV, 40, 40 / 110)],
)
def test_common_words(form: Form, common: int, jaccard: float) -> None:
    """50 and 100 different content words (arXiv: 75 and 75), some of them the same."""
    sizes = (50, 100) if form is TLDR else (75, 75)
    first = " ".join(f"a{n:03d}" for n in range(sizes[0])) + " a000" * (150 - sizes[0])
    second = [f"b{n:03d}" for n in range(sizes[1])]
    second[:common] = [f"a{n:03d}" for n in range(common)]
    second += [second[0]] * (230 - sizes[1])
    formed = form_of(form, first, " ".join(second))
    assert formed.measures["jaccard"] == pytest.approx(jaccard, abs=1e-12)
    length = form.length(formed.measures["length_ratio"])
    assert length is not None
    share = min(jaccard / {TLDR: 0.03, ARXIV: 0.23}[form], 1)
    assert formed.reward == pytest.approx(0.5 + length + 0.5 + NO_TRANSITIONS + 0.6 * share, abs=1e-12)


ONE_OF_EACH = [phrases[-1] for phrases in TRANSITIONS.values()]


@pytest.mark.parametrize("number", range(13))
def test_transitions_pay_by_the_category(number: int) -> None:
    """1 -> .4 * .4, twelve -> .4 * .95; with common words that is the most there is."""
    assert len(TRANSITIONS) == 12
    first = "stone river " + text(10, 10, 100, "a")
    said = f"stone river {' '.join(ONE_OF_EACH[:number])} "
    second = said + text(24, 24, 340 - len(said), "b")
    formed = form_of(TLDR, first, second)
    assert formed.measures["transitions"] == number and formed.measures["jaccard"] >= 0.03
    assert formed.reward == pytest.approx(0.5 + 1 + 0.5 + 0.4 * (0.35 + 0.05 * number) + 0.6, abs=1e-12)
    assert number < 12 or formed.reward == pytest.approx(MOST, abs=1e-12)


def test_transitions_of_the_second_text_count_and_for_arxiv_those_of_both() -> None:
    whole = f"{text(128, 100, 1000, 'a')} however"
    assert form_of(ARXIV, whole, text(128, 100, 1400, "b")).measures["transitions"] == 1
    short = f"{text(9, 9, 80, 'a')} however"
    assert form_of(TLDR, short, text(30, 30, 200, "b")).measures["transitions"] == 0


@pytest.mark.parametrize(
    ("said", "categories"),
    [
        ("Some reasoning was also thenar.", {"addition"}),  # so, then, as
        ("Something butter: the yeti, iffy sincerely, whenever", set()),  # but, yet, if, since, when
        ("So it works.", {"cause"}),
        ("IN\nSHORT, ON  the other-hand; so", {"summary", "contrast", "cause"}),
        ("shortly, in a short", set()),
        ("in shorter terms, within short", set()),
        ("firsthand secondary nextdoor", set()),
        ("even if", {"condition"}),
        ("", set()),
    ],
)
def test_a_transition_is_a_word_and_no_part_of_one(said: str, categories: set[str]) -> None:
    assert Transitions()(words(said)) == categories


def test_no_phrase_holds_a_word_of_another_category_by_accident() -> None:
    """Every phrase is found in its own category, alone and within a sentence."""
    find = Transitions()
    for category, phrases in TRANSITIONS.items():
        for phrase in phrases:
            assert category in find(words(f"Stones {phrase}, rivers.")), phrase


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("", ""),
        (" \n ", "x"),
        ("- - - - - - - -", "- - - - - - - - - - -"),
        ("... " * 9, "!!! " * 12),
        ("\0 " * 10, "\0 " * 15),
        ("\ud800 " * 9, "\ud800 " * 13),
        ("the of a and or but it is", "the of a and or but it is are was were be an as"),
        ("a" * 1_000_000, "b " * 500_000),
        ("词语没有空格" * 20, "词语没有空格" * 40),
        ("Это краткое изложение статьи о методе обучения сетей.", "Здесь подробно изложен метод обучения больших сетей на данных."),
    ],
)  # fmt: skip
def test_whatever_the_texts_there_is_a_reward(first: str, second: str) -> None:
    for form in (TLDR, ARXIV):
        formed = form_of(form, first, second)
        assert 0 <= formed.reward <= MOST + 1e-12
        assert all(math.isfinite(value) for value in formed.measures.values())
        assert formed.reward > 0.5 or formed.stopped


def test_texts_of_other_scripts_have_words() -> None:
    first = "Это краткое изложение статьи о новом методе обучения сетей"
    second = "Здесь подробно изложен новый метод обучения больших нейронных сетей, затем его оценка, выводы, данные, код, ошибки, сравнение"
    formed = form_of(TLDR, first, second)
    assert formed.measures["jaccard"] == 2 / 24 and formed.measures["vocabulary_ratio"] == 17 / 9


_SAID = st.lists(
    st.sampled_from(["so", "some", "method", "Results", "in short,", "but", "the", "learns", "x", "-", "é", "\0"]),
    max_size=20,
)


@settings(deadline=None)
@given(_SAID, _SAID, st.sampled_from([1, 10]))
def test_a_reward_is_between_nothing_and_the_most(first: list[str], second: list[str], times: int) -> None:
    for form in (TLDR, ARXIV):
        assert 0 <= form_of(form, " ".join(first * times), " ".join(second * times)).reward <= MOST + 1e-12


@given(st.floats(0, 10))
def test_a_band_is_continuous(ratio: float) -> None:
    for band in (TLDR.length, TLDR.vocabulary, ARXIV.length, ARXIV.vocabulary, Band(1, 2, 3, 4)):
        value = band(ratio)
        assert (value is None) == (not band.least <= ratio <= band.most)
        assert value is None or 0 <= value <= 1

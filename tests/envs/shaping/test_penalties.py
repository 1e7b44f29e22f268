"""Penalties of messages: by hand, against TRL's own functions, on any text, and in a training."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from discussion_toys import Digits, discussion
from hypothesis import given
from hypothesis import strategies as st

from maporl.envs import shaping as sh
from maporl.envs.shaping.penalties import longest_repeat
from maporl.types import Completion, Transcript, Turn

WORDS = st.lists(st.sampled_from(["so", "it", "is", "4"]), max_size=30).map(" ".join)


def of_tokens(number: int, **more: Any) -> Completion:
    """A message of so many different tokens."""
    return Completion("said", completion_ids=np.arange(number), **more)


def paid(shaping: sh.Shaping, *messages: Completion) -> tuple[float, ...]:
    """What these messages of one round earn."""
    return shaping(held(*messages))


def held(*messages: Completion) -> Transcript:
    agents = tuple(f"agent_{n}" for n in range(len(messages)))
    turns = tuple(Turn(agent, 0, m.text, completion=m) for agent, m in zip(agents, messages, strict=True))
    return replace(discussion([(0.0, 0.0)]), agents=agents, turns=turns)


# By hand.


@pytest.mark.parametrize(
    "arguments, words, share",
    [
        ({"at_least": 4}, 3, 1.0),
        ({"at_least": 4}, 4, 0.0),
        ({"at_most": 4}, 5, 1.0),
        ({"at_least": 10, "margin": 4}, 9, 0.25),
        ({"at_least": 10, "margin": 4}, 6, 1.0),
        ({"at_least": 10, "margin": 4}, 0, 1.0),
        ({"at_least": 2, "at_most": 10, "margin": 8}, 12, 0.25),
        ({"at_least": 2, "at_most": 10, "margin": 8}, 10, 0.0),
        ({"at_most": 0, "margin": 2}, 1, 0.5),
    ],
)
def test_length(arguments: dict[str, int], words: int, share: float) -> None:
    assert sh.Length(**arguments).share(Completion(" word\n" * words)) == share
    assert sh.Length(**arguments, unit="tokens").share(of_tokens(words)) == (share if words else None)


@pytest.mark.parametrize(
    "tokens, share", [(0, 0.0), (192, 0.0), (193, 1 / 64), (224, 0.5), (256, 1.0), (257, 1.0), (9999, 1.0)]
)
def test_overlong_is_equation_13_of_dapo(tokens: int, share: float) -> None:
    message = of_tokens(tokens) if tokens else Completion("")
    assert paid(sh.Overlong(256, 64, weight=2), message) == (-2 * share,)


def test_what_counts_as_tokens() -> None:
    """All that was sampled, reasoning with its forced end; a message cut at max_new_tokens is longer than anybody knows."""
    rules = sh.Overlong(8, 4)
    thought = of_tokens(6, reasoning="a thought", forced=np.arange(6) > 4)
    assert rules.share(thought) == 0.5 and sh.Length(at_most=1).share(thought) == 0  # one word is said
    assert rules.share(of_tokens(3, truncated=True)) == 1.0
    assert rules.share(Completion("a person's message")) is None
    assert paid(rules, Completion("a person's message"), of_tokens(6)) == (0.0, -0.5)
    assert rules.metrics(held(Completion("a person's"), of_tokens(6))) == {
        "overlong_penalised": 1.0,
        "overlong_penalty": 0.5,
    }


@pytest.mark.parametrize(
    "text, ngram, share",
    [
        ("", 3, 0.0),
        ("a b", 3, 0.0),
        ("a b c a b c", 3, 1 / 4),  # abc bca cab abc
        ("no no no no no", 2, 3 / 4),
        ("a b a b", 1, 1 / 2),
        ("a  b\nc", 1, 0.0),
    ],
)
def test_repetition(text: str, ngram: int, share: float) -> None:
    assert sh.Repetition(ngram).share(Completion(text)) == share


@pytest.mark.parametrize(
    "text, phrase",
    [("", 0), ("a", 1), ("a b c", 1), ("no no no no", 4), ("a b a b a b", 3), ("x a b a b y", 2), ("1 2 3 1 2 3", 2)],
)
def test_longest_repeat(text: str, phrase: int) -> None:
    assert longest_repeat(text.split()) == phrase
    assert sh.Looping(3).share(Completion(text)) == (phrase > 3)


@given(WORDS)
def test_longest_repeat_is_the_longest_of_all_phrases(text: str) -> None:
    """Written again: of every phrase at every place, how often it stands there in a row."""
    words = text.split()
    found = 0
    for start in range(len(words)):
        for n in range(1, 11):
            times = 1
            while words[start + n * times : start + n * (times + 1)] == words[start : start + n]:
                times += 1
            found = max(found, times)
    assert longest_repeat(words) == found


@pytest.mark.parametrize(
    "scripts, text, share",
    [
        (("Latin",), "The answer is 4 — naïve, ½ + µ = 𝐱!", 0.0),  # signs, and letters that every script uses
        (("Latin",), "two 两个", 2 / 5),
        (("Latin",), "да no", 1 / 2),
        (("Han",), "答案是四", 0.0),
        (("Han", "Hiragana", "Katakana"), "答えはキー4です", 0.0),
        (("Han",), "答えは", 2 / 3),
        (("Arabic",), "الجواب 4", 0.0),
        (("Latin",), "42", 0.0),
        (("Latin",), "", 0.0),
    ],
)
def test_language(scripts: tuple[str, ...], text: str, share: float) -> None:
    assert sh.Language(scripts).share(Completion(text)) == pytest.approx(share)
    assert sh.Language(scripts).share(Completion("", reasoning=text)) == pytest.approx(share)


BOTH = "<think>\n2 + 2\n</think>\n<answer>\n4\n</answer>"


@pytest.mark.parametrize(
    "text, share, partial",
    [
        (BOTH, 0, 0),
        (BOTH.replace("\n", ""), 0, 0),
        (f"  {BOTH}\n", 0, 0),
        (f"Well: {BOTH}", 1, 0),
        (f"{BOTH} I hope that helps", 1, 0),
        ("<answer>4</answer><think>2 + 2</think>", 1, 0),  # the other way round
        ("<think>2 + 2 <answer>4</answer></think>", 1, 0),  # one inside the other
        ("<think>2 + 2</think> so <answer>4</answer>", 1, 0),
        ("<think></think><answer>4</answer>", 1, 0),  # nothing thought
        ("<think>2 + 2</think> 4", 1, 1 / 2),
        ("<think>2 + 2</think><answer>4", 1, 1 / 4),
        ("<think>2 + 2</think><answer>4</answer><answer>5</answer>", 1, 1 / 2),  # a second answer
        ("<think>a<think>b</think></think><answer>4</answer>", 1, 1 / 2),
        ("<Think>2 + 2</Think>", 1, 1),
        ("4", 1, 1),
        ("", 1, 1),
    ],
)
def test_tags(text: str, share: float, partial: float) -> None:
    assert sh.Tags().share(Completion(text)) == share
    assert sh.Tags(partial=True).share(Completion(text)) == partial


def test_reasoning_that_peers_do_not_read_is_a_tag() -> None:
    """Agents take the block out of what they say, whether its template or the model itself began it."""
    rules = sh.Tags(("think",), text_after=True)
    assert rules.share(Completion("4", reasoning="2 + 2")) == 0
    assert sh.Tags().share(Completion("<answer>4</answer>", reasoning="2 + 2")) == 0
    assert rules.share(Completion("", reasoning="2 +", truncated=True)) == 1  # cut while it thought
    assert rules.share(Completion("4")) == 1
    assert sh.Tags(("think",)).share(Completion("4", reasoning="2 + 2")) == 1  # text after it


# MAPoRL's gates.

BOX = r"\\boxed\{(?:[^{}]|\{[^{}]*\})*\}"  # as docs/environments.md has it: braces within the box, one level deep
ENOUGH = " ".join(f"word{n}" for n in range(49))
GATES = {
    "name": "worst",
    "weight": 10,
    "of": [
        {"name": "length", "at_least": 50},
        {"name": "looping", "max_repeats": 3},
        {"name": "pattern", "pattern": BOX, "text_after": False},
    ],
}


@pytest.mark.parametrize(
    "text, broken",
    [
        (f"{ENOUGH} \\boxed{{4}}", ()),  # 50 words
        (f"{ENOUGH} \\boxed{{\\frac{{1}}{{2}}}}.", ()),
        (f"{ENOUGH[:-7]} \\boxed{{4}}", ("length",)),
        (f"{ENOUGH} so it is 4", ("pattern",)),
        (f"{ENOUGH} \\boxed{{4", ("pattern",)),
        (f"{ENOUGH} \\boxed{{4}} I hope that helps", ("pattern",)),
        (f"{ENOUGH} \\boxed{{3}} no, \\boxed{{4}}", ()),  # after the last one
        (f"{ENOUGH} yes yes yes \\boxed{{4}}", ()),  # three in a row are not more than three
        (f"{ENOUGH} yes yes yes yes \\boxed{{4}}", ("looping",)),
        (f"{ENOUGH} {'it is so ' * 4}\\boxed{{4}}", ("looping",)),
        ("", ("length", "pattern")),
    ],
)
def test_the_gates_of_maporls_release(text: str, broken: tuple[str, ...]) -> None:
    """Fewer than 50, an n-gram more than three times in a row, no box; and the third hack that the paper saw, text after it. Whatever a
    message breaks, it pays once."""
    gates = sh.build_shaping(GATES)
    transcript = discussion([(1.0,)], texts=[(text,)])
    assert gates(transcript) == (-10.0 * bool(broken),)
    metrics = gates.metrics(transcript)
    assert {name for name in ("length", "looping", "pattern") if metrics[f"{name}_penalised"]} == set(broken)
    assert (metrics["worst_penalised"], metrics["worst_penalty"]) == (bool(broken), 10 * bool(broken))


def test_a_penalty_falls_on_its_own_message_alone() -> None:
    """The release puts -10 in place of the score before averaging, and one bad message poisons the team."""
    transcript = discussion([(1.0, 1.0), (1.0, 1.0)], texts=[("x", "one two three"), ("one two three", "y")])
    rules = sh.Length(3, weight=10)
    assert rules(transcript) == (-10, 0, 0, -10)
    assert (sh.DiscountedTeam() + rules)(transcript) == pytest.approx((-9, 1, 1, -9))
    assert (sh.DiscountedTeam() + 0.5 * rules)(transcript) == pytest.approx((-4, 1, 1, -4))


def test_what_penalties_took_is_a_metric_of_a_training() -> None:
    from maporl.training.loop import rollout_metrics
    from maporl.types import Episode

    twice = [{"name": "length", "at_least": 2}, {"name": "length", "at_least": 1, "weight": 4}]
    env = Digits(2, 1, shaping=["own_score", *twice])
    said = [discussion([(1.0, 0.0)], texts=[row]) for row in (("one", "two words"), ("one", ""))]
    metrics = rollout_metrics([Episode(t, (0.0, 0.0)) for t in said], env)
    assert metrics["rollout/length_penalised"] == metrics["rollout/length_penalty"] == 0.75
    assert (metrics["rollout/length_penalised_2"], metrics["rollout/length_penalty_2"]) == (0.25, 1.0)


# TRL's functions, which nobody here wrote.


def test_trl_takes_the_same() -> None:
    trl = pytest.importorskip("trl.rewards")
    draw = random.Random(13)
    for _ in range(300):
        longest, ngram, weight = draw.randint(1, 60), draw.randint(1, 5), draw.choice([0.5, 1.0, 3.0])
        buffer = draw.randint(0, longest)
        ids = [[draw.randrange(6) for _ in range(draw.randint(1, 80))] for _ in range(8)]
        messages = [Completion("said", completion_ids=np.array(row)) for row in ids]
        overlong = trl.get_soft_overlong_punishment(longest, buffer)
        assert paid(sh.Overlong(longest, buffer), *messages) == pytest.approx(overlong(ids))
        repeated = trl.get_repetition_penalty_reward(ngram, -weight)
        ours = paid(sh.Repetition(ngram, "tokens", weight=weight), *messages)
        assert ours == pytest.approx(repeated(ids))


@given(st.lists(st.sampled_from(["<think>", "</think>", "so", " ", "\n", "4"]), max_size=8).map("".join))
def test_trls_form_of_thinking(text: str) -> None:
    """The same but where TRL's takes blocks with nothing in them, blocks that are closed twice, and no space before them."""
    trl = pytest.importorskip("trl.rewards")
    theirs = trl.think_format_reward([[{"content": text.lstrip()}]])[0]
    lenient = text.count("</think>") > 1 or re.search(r"<think>\s*</think>", text)
    ours = 1 - sh.Tags(("think",), text_after=True).share(Completion(text))
    assert ours == theirs if not lenient else ours <= theirs


# Any text.

EVERY = [
    sh.Length(2, 5, 3),
    sh.Length(2, 5, 3, "tokens"),
    sh.Overlong(9, 4),
    sh.Repetition(),
    sh.Repetition(2, "tokens"),
    sh.Looping(),
    sh.Looping(2, "tokens"),
    sh.Language(("Latin",)),
    sh.Tags(),
    sh.Tags(partial=True),
    sh.Pattern("4", text_after=False),
    sh.Worst(({"name": "tags"}, {"name": "looping"})),
]
ANY = st.text(st.characters() | st.sampled_from("\0\ud800\u2028 <>a"))  # lone surrogates among them


@given(ANY, ANY, st.lists(st.integers(0, 3), max_size=30), st.booleans())
def test_no_text_is_too_strange(text: str, reasoning: str, ids: list[int], truncated: bool) -> None:
    message = Completion(text, completion_ids=np.array(ids, np.int64), reasoning=reasoning, truncated=truncated)
    for rules in EVERY:
        share = rules.share(message)
        assert share is None or 0 <= share <= 1
        assert rules.share(replace(message)) == share


@pytest.mark.parametrize("piece", ["a ", "<think>", "漢", "\0"])
def test_a_quarter_of_a_megabyte_is_read(piece: str) -> None:
    """In time that grows with its length: half a second for all of them together."""
    text = (piece * 250_000)[:250_000]
    message = Completion(text, reasoning=text, completion_ids=np.zeros(250_000, np.int64))
    assert all(0 <= (rules.share(message) or 0) <= 1 for rules in EVERY)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(1, 60), st.data())
def test_longer_costs_no_less(one: int, other: int, longest: int, data: st.DataObject) -> None:
    buffer = data.draw(st.integers(0, longest))
    rules = (sh.Overlong(longest, buffer), sh.Length(at_most=longest, margin=buffer, unit="tokens"))
    for rule in rules:
        shares = [rule.share(of_tokens(n)) or 0.0 for n in sorted((one, other))]
        assert shares[0] <= shares[1]


# Mistakes.


@pytest.mark.parametrize(
    "spec, message",
    [
        ({"name": "repetition", "weight": -1}, "weight is -1"),
        ({"name": "repetition", "weight": float("nan")}, "weight is nan"),
        ({"name": "repetition", "ngram": 0}, "ngram is 0; give at least 1"),
        ({"name": "repetition", "unit": "letters"}, "unit is 'letters'; give one of: words, tokens"),
        ({"name": "looping", "max_repeats": 0}, "max_repeats is 0"),
        ("length", "neither at_least nor at_most"),
        ({"name": "length", "at_least": 5, "at_most": 4}, "at_most is 4, below at_least = 5"),
        ({"name": "length", "at_least": 5, "margin": -1}, "margin is -1"),
        ({"name": "length", "at_least": -5}, "at_least is -5"),
        ({"name": "length", "at_least": "many"}, "at_least is 'many'; it must be a whole number"),
        ("overlong", "shaping 'overlong' needs 'max_tokens'; write {name: overlong, max_tokens: ...}"),
        ({"name": "overlong", "max_tokens": 0}, "max_tokens is 0"),
        ({"name": "overlong", "max_tokens": 4, "buffer": 5}, "buffer is 5; it lies between 0 and max_tokens = 4"),
        ({"name": "language", "scripts": ["English"]}, "'English' is none of Unicode's"),
        ({"name": "language", "scripts": ["Latin}"]}, "none of Unicode's"),
        ({"name": "language", "scripts": []}, "scripts is empty"),
        ({"name": "tags", "tags": ["<think>"]}, "'<think>' is no name of a tag"),
        ({"name": "tags", "tags": ["think", "think"]}, "each once"),
        ({"name": "tags", "tags": []}, "at least one"),
        ({"name": "pattern", "pattern": "("}, "no regular expression"),
        ({"name": "worst", "of": []}, "at least one"),
        ({"name": "worst", "of": ["own_score"]}, "no penalty of a message"),
    ],
)
def test_mistakes(spec: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        sh.build_shaping(spec)

"""What settings name: every word with arguments that are missing, unknown or of another type. One line each, never a traceback."""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pytest

import maporl
from maporl import registry
from maporl.envs.tasks.arithmetic import Arithmetic
from maporl.errors import UserError
from maporl.settings import parameters
from maporl.typed import is_plain, typed
from maporl.types import Question

WRONG = ("zzz", 7.5, ["x", 3], None)


def attempts(kind: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every word of a kind: alone, with an argument that it does not have, with each of its own as each of `WRONG`."""
    for word in registry.names(kind):
        what = registry.load(kind, word)
        given: list[dict[str, Any]] = [{}, {"numm": 3}]
        own = set(parameters(what)) - (set(parameters(registry.load("env", "arithmetic"))) if kind == "env" else set())
        given += [{name: wrong} for name in sorted(own) for wrong in WRONG]
        for arguments in given:
            yield f"{word} {arguments}", lambda word=word, arguments=arguments: make(kind, word, arguments)


def make(kind: str, word: str, arguments: dict[str, Any]) -> Any:
    if kind == "env":
        return maporl.RunConfig(env=word, env_args=arguments).build_env()
    if kind in ("protocol", "shaping", "verifier", "feedback"):
        return Arithmetic(**{kind: {"name": word, **arguments}})
    return registry.build(kind, {"name": word, **arguments})


@pytest.mark.parametrize(
    "kind", ["protocol", "shaping", "verifier", "feedback", "judge_model", "agent", "method", "env"]
)
def test_no_argument_makes_a_traceback(kind: str) -> None:
    told = 0
    for what, attempt in attempts(kind):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                attempt()
            except UserError as error:
                told += 1
                assert "\n" not in str(error), what
            except Exception as error:
                raise AssertionError(f"{kind} {what} ends in {type(error).__name__}: {error}") from error
    assert told >= len(registry.names(kind)), "at least the argument that no word has"


@pytest.mark.parametrize(
    ("kind", "word", "arguments", "message"),
    [
        ("verifier", "remote", {}, "verifier 'remote' needs 'url'; write {name: remote, url: ...}."),
        ("judge_model", "chat_server", {}, "needs 'url' and 'model'; write {name: chat_server, url: ..., model: ...}."),
        ("protocol", "debate", {"roles": ["x", 3]}, "protocol 'debate': roles is ['x', 3]; it must be a mapping of text to text"),
        ("verifier", "number", {"extract": ["last"]}, "extract is ['last']; it must be 'answer' or 'marker' or 'last'."),
        ("env", "humaneval", {"packages": 7}, "env 'humaneval': packages is 7; it must be a list of text."),
    ],
)  # fmt: skip
def test_what_is_said(kind: str, word: str, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        make(kind, word, arguments)


def test_values_against_annotations(tmp_path: Path) -> None:
    assert typed("x", [1, 2], tuple[float, ...]) == (1.0, 2.0)
    assert typed("x", "a", tuple[str, ...]) == ("a",)
    assert typed("x", {"a": [1]}, Mapping[str, Sequence[int]]) == {"a": [1]}
    assert typed("x", 3, int | str | None) == 3 and typed("x", None, int | None) is None
    assert typed("x", tmp_path, str | Path) == str(tmp_path)
    for value, hint in (
        ("a", Literal["b"]),
        ((1, "a"), tuple[int, int]),
        ([True], list[int]),
        ({1: "a"}, dict[str, str]),
    ):
        with pytest.raises(ValueError, match="^x is .*; it must be "):
            typed("x", value, hint)
    assert not is_plain(Any) and not is_plain(list[Question]) and is_plain(Callable[[str], int] | None)


def test_a_warning_points_at_the_line_of_who_called_the_package() -> None:
    class Few(Arithmetic):
        def load(self, split: str) -> list[Question]:
            return [Question(str(n), str(n)) for n in range(3)] if split == "train" else []

    with pytest.warns(UserWarning, match="no test questions") as found:
        Few().questions("test")
    assert [w.filename for w in found] == [__file__] * len(found)
    with warnings.catch_warnings(record=True) as caught, contextlib.suppress(StopIteration):
        warnings.simplefilter("always")
        Few(split="validation").parallel().reset(seed=0)  # through PettingZoo's wrappers
    assert [w.filename for w in caught if "too small" in str(w.message)] == [__file__]


def test_nobody_warns_in_another_way() -> None:
    package = Path(maporl.__file__).parent
    assert [f.name for f in package.rglob("*.py") if re.search(r"warnings\.warn|stacklevel", f.read_text("utf-8"))] == [
        "errors.py"
    ]

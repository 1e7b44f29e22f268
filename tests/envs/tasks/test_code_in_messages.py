"""The code in a message, and what its syntax tree says."""

from __future__ import annotations

import ast
import re

import pytest

from maporl.envs.tasks.coding import extraction
from maporl.envs.tasks.coding.extraction import LONGEST, code_of
from maporl.envs.tasks.coding.structure import (
    calls,
    defines,
    functions,
    ignores,
    is_more_than_a_wrapper,
    reached,
    returns,
)

PROMPT = '''from typing import List


def grow(xs: List[int]) -> List[int]:
    """ Add one to each.
    >>> grow([1])
    [2]
    """
'''
WHOLE = "def grow(xs):\n    return [x + 1 for x in xs]"
MODULE = f"import math\n\nSTEP = 1\n\n\ndef more(x):\n    return x + STEP\n\n\n{WHOLE}"


def run(source: str) -> object:
    namespace: dict[str, object] = {}
    exec(source, namespace)
    return namespace["grow"]([1, 2])  # type: ignore[operator]


@pytest.mark.parametrize(
    "message",
    [
        WHOLE,
        f"```python\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```",
        f"~~~py\n{WHOLE}\n~~~",
        f"````python\n{WHOLE}\n````",
        f"  ```python\n  {WHOLE.replace(chr(10), chr(10) + '  ')}\n  ```",
        f"```python\n{WHOLE}",  # cut before it ended
        f"Solution: ```python\n{WHOLE}```",
        f"I think of adding.\n\n{WHOLE}\n\nIt adds one to every number, as was asked for.",
        f"Sure\n{WHOLE}\nDone",
        f"Certainly! Here you are:\n\n{MODULE}\n\nExplanation: STEP is 1.",
        f"<think>def grow(xs): return None</think>\n{WHOLE}",
        f"```python\ndef grow(xs):\n    return xs\n```\nThat forgets to add. Better:\n```python\n{WHOLE}\n```",
        f"```python\n{WHOLE}\n```\nUse it so:\n```python\nprint(grow(missing))\n```\n```text\n[2]\n```",
        f"```bash\npip install nothing\n```\n```python\n{WHOLE}\n```",
        f"def grow(xs):\n    return xs\n\n{WHOLE}",
        f"{WHOLE}\n\nThe call ```grow([1])``` gives [2].",
        PROMPT + "    return [x + 1 for x in xs]",
        "    return [x + 1 for x in xs]",
        "    out = []\n    for x in xs:\n        out.append(x + 1)\n    return out\n",
        "out = []\n    for x in xs:\n        out.append(x + 1)\n    return out\n",
        "out = []\nfor x in xs:\n    out.append(x + 1)\nreturn out",
        "```python\n    return [x + 1 for x in xs]\n```",
        "    return [more(x) for x in xs]\n\n\ndef more(x):\n    return x + 1\n\n\nHere more adds one, of course.",
    ],
)
def test_it_is_found(message: str) -> None:
    code = code_of(message, "grow", PROMPT)
    assert code.tree is not None and defines(code.tree, "grow") and not code.fault
    assert run(code.source) == [2, 3]


def test_the_whole_module_is_kept() -> None:
    for message in (MODULE, f"```python\n{MODULE}\n```", f"Well.\n{MODULE}\nSo be it, said he."):
        tree = code_of(message, "grow").tree
        assert tree is not None and [type(node).__name__ for node in tree.body] == [
            "Import",
            "Assign",
            "FunctionDef",
            "FunctionDef",
        ]
    pieces = f"```python\nimport math\nSTEP = 1\n```\nand then\n```python\n{WHOLE}\n```"
    tree = code_of(pieces, "grow").tree
    assert tree is not None and len(tree.body) == 3
    later = f"```python\n{WHOLE}\n```\nwith\n```python\nSTEP: int = 1\n```\nUse it:\n```python\nys = grow([1])\n```"
    tree = code_of(later, "grow").tree
    assert tree is not None and ast.unparse(tree.body[-1]) == "STEP: int = 1"


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        ("", "no code"),
        ("I do not know how to do that.", "no code"),
        ("\x00", "no code"),
        ("def grow(xs):\n    return '\x00'", "no Python|line"),
        ("\ud800", "no code"),
        ("<think>def grow(xs): return xs", "reasoning that is not finished"),
        ("def grow(xs:\n    return xs", r"line 1: '\(' was never closed"),
        ("```python\ndef grow(xs)\n    return xs\n```", "line 1: expected ':'"),
        ("x" * (LONGEST + 1), "longer than 65,536 characters"),
        ("x" * 1_000_000, "longer than 65,536 characters"),
    ],
)
def test_there_is_none(message: str, fault: str) -> None:
    code = code_of(message, "grow", PROMPT)
    assert code.tree is None
    assert re.match(fault, code.fault), code.fault


def test_another_function_is_not_taken_for_the_rest_of_the_one_that_was_asked_for() -> None:
    code = code_of("def solve(xs):\n    return xs", "grow", PROMPT)
    assert code.tree is not None and not defines(code.tree, "grow") and "solve" in code.source


def test_what_is_too_long_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*given: object) -> None:
        raise AssertionError("parsed")

    monkeypatch.setattr(extraction.ast, "parse", never)
    assert code_of("y" * (LONGEST + 1), "grow", PROMPT).fault.startswith("longer than")
    assert extraction.parsed("y" * (LONGEST + 1)).fault.startswith("longer than")


def test_what_is_parsed_of_a_message_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that begin like code and are none, and such that only the end of them all says so."""
    lengths: list[int] = []
    real = extraction.parsed
    monkeypatch.setattr(extraction, "parsed", lambda text: lengths.append(len(text)) or real(text))
    for line in ("if so\n", "@a\n"):
        lengths.clear()
        code_of(line * (LONGEST // 4 // len(line)), "grow", PROMPT)
        assert sum(lengths) < 5 * extraction._BUDGET and len(lengths) > 1


# What a syntax tree says.


def function(body: str, name: str = "f", arguments: str = "x") -> tuple[ast.Module, object]:
    tree = ast.parse(f"def {name}({arguments}):\n" + "\n".join("    " + line for line in body.splitlines()))
    return tree, functions(tree)[name]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return x", True),
        ("yield x", True),
        ("if x:\n    return 1", True),
        ("try:\n    pass\nexcept ValueError:\n    return 1", True),
        ("match x:\n    case 1:\n        return 2", True),
        ("pass", False),
        ("return", False),
        ("print('return x')", False),
        ("# return x\npass", False),
        ("def inner():\n    return x", False),
        ("g = lambda: x", False),
        ("raise ValueError\nreturn x", False),
        ("if False:\n    return x", False),
        ("while 0:\n    return x", False),
    ],
)
def test_what_returns(body: str, expected: bool) -> None:
    assert returns(function(body)[1]) is expected  # type: ignore[arg-type]


def test_what_a_module_defines() -> None:
    tree = ast.parse(
        "if True:\n    def f(): pass\ng = lambda x: x\ntry:\n    import h\nexcept ImportError:\n    def h(): pass\n"
    )
    assert set(functions(tree)) == {"f", "g", "h"}
    assert not defines(ast.parse("def f(): return 1\nf = 3"), "f")
    assert not defines(ast.parse("class f: pass\nimport g\n# def f(): pass\n'def f(): pass'"), "f")
    assert not defines(ast.parse("def outer():\n    def f(): pass"), "f")
    chain = (
        "if x == 0:\n    pass\n"
        + "".join(f"elif x == {n}:\n    pass\n" for n in range(80))
        + "else:\n    def f(): return 1\n"
    )
    assert defines(ast.parse(chain), "f")


@pytest.mark.parametrize(
    ("body", "called", "ignored"),
    [
        ("return aux(x)", True, False),
        ("y = aux(x)\nreturn y", True, False),
        ("return [aux(v) for v in x]", True, False),
        ("return list(map(aux, x))", True, False),
        ("return sorted(x, key=aux)", True, False),
        ("def inner(v):\n    return aux(v)\nreturn inner(x)", True, False),
        ("x.n = aux(x)\nreturn x", True, False),
        ("x[0], rest = aux(x)\nreturn x", True, False),
        ("aux(x)\nreturn x", True, True),
        ("_ = aux(x)\nreturn x", True, True),
        ("y: int = aux(x)\nreturn x", True, True),
        ("y = z = aux(x)\nreturn z", True, False),
        ("for v in x:\n    aux(v)\nreturn x", True, True),
        ("if aux(x):\n    pass\nreturn x", True, True),
        ("if aux(x):\n    x = [1]\nreturn x", True, False),
        ("# aux(x)\nreturn x", False, False),
        ("'aux(x)'\nreturn x", False, False),
        ("return x\naux(x)", False, False),
        ("if 0:\n    return aux(x)\nreturn x", False, False),
        ("aux = len\nreturn aux(x)", False, False),
        ("def aux(v):\n    return v\nreturn aux(x)", False, False),
        ("return x.aux(1)", False, False),
        ("y = aux\nreturn x", False, False),
    ],
)
def test_what_is_called_and_what_is_ignored(body: str, called: bool, ignored: bool) -> None:
    _, f = function(body)
    assert calls(f, "aux") is called  # type: ignore[arg-type]
    assert (called and ignores(f, "aux")) is ignored  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("body", "more"),
    [
        ("return aux(x)", False),
        ("return aux(x)  # a comment\n", False),
        ("pass\npass\nreturn aux(x)", False),
        ('"""What it does."""\n...\n"and more"\nreturn aux(x)', False),
        ("y = aux(x)\nreturn y", False),
        ("y = aux(x)\nz = y\nw = z\nreturn w", False),
        ("import math\nimport re\nglobal q\nreturn aux(x)", False),
        ("return aux(x)\ny = 1\nz = 2\nw = 3", False),
        ("assert True\nif True:\n    return aux(x)\nreturn 1", False),
        ("return sum(aux(v) for v in x if v)", False),  # one statement; a line of code, as MAGRPO counts
        ("if not x:\n    return []\nreturn aux(x)", True),
        ("out = []\nfor v in x:\n    out.append(aux(v))\nreturn out", True),
    ],
)
def test_what_is_more_than_a_wrapper(body: str, more: bool) -> None:
    assert is_more_than_a_wrapper(function(body)[0], "f") is more


def test_the_main_part_may_have_functions_of_its_own() -> None:
    work = "def work(x):\n    out = []\n    for v in x:\n        out.append(aux(v))\n    return out\n\n"
    tree = ast.parse(f"{work}def idle(x):\n    return aux(x)\n\ndef f(x):\n    return work(x)\n")
    assert set(reached(tree, "f")) == {"f", "work"} and is_more_than_a_wrapper(tree, "f")
    passed_on = ast.parse(
        "def c(x): return aux(x)\ndef b(x): return c(x)\ndef a(x): return b(x)\ndef f(x): return a(x)"
    )
    assert len(reached(passed_on, "f")) == 4 and not is_more_than_a_wrapper(passed_on, "f")
    in_a_class = ast.parse(
        "class Base:\n    def go(self, x): return aux(x)\nclass Work(Base):\n    def __init__(self): self.n = 0\n"
        "def f(x): return Work().go(x)"
    )
    assert set(reached(in_a_class, "f")) == {"f", "Work.__init__", "Base.go"}
    assert any(calls(one, "aux") for one in reached(in_a_class, "f").values())
    named = ast.parse("def g(x): return aux(x)\nf: Callable = g")
    assert calls(reached(named, "f")["f"], "aux")


@pytest.mark.parametrize(
    "message",
    [
        f'```python title="grow.py"\n{WHOLE}\n```',
        f"```{{.python}}\n{WHOLE}\n```",
        f"\ufeff{WHOLE}",
        f"```python\n\ufeff{WHOLE}\n```",
        f"```python\n{WHOLE.replace('x + 1', 'more(x)')}\n```\n```python\ndef more(x):\n    return x + 1\n```\n"
        "```python\nprint(grow([1]))\n```",
        f"```python\nNOTE = '''a\n    \n  b\u2028c\x0cd'''\nassert NOTE == 'a\\n    \\n  b\\u2028c\\x0cd'\n{WHOLE}\n```",
        f"NOTE = 'b\u2028c\x85d'\n{WHOLE}",
    ],
)  # fmt: skip
def test_the_code_is_kept_as_it_is_written(message: str) -> None:
    code = code_of(message, "grow")
    assert code.tree is not None and run(code.source) == [2, 3], code
    assert "print" not in code.source


def test_a_function_may_have_another_name() -> None:
    source = "from typing import Callable\ndef g(x):\n    return x\nf = g\naux: Callable = lambda x: x + 1\nh = g\nh = 3\nlost: int"
    found = functions(ast.parse(source))
    assert (
        found["f"] is found["g"] and isinstance(found["aux"], ast.Lambda) and "h" not in found and "lost" not in found
    )

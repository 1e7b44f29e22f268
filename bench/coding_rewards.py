"""MAGRPO's published coding reward beside ours, on random team outputs: where they agree, and what the differences are.

python -m bench.coding_rewards CHECKOUT HumanEval.jsonl  with a checkout of a repository that has their ``rewards/code_rewards.py``, such as
OpenMLRL/LLM_Collab_Code_Generation. It has no licence: it is run where it lies, and nothing of it is here. It runs code in this process, so
what it is given is made here, of HumanEval's references.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import io
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maporl.envs.tasks.coding.humaneval import HumanEval
from maporl.envs.tasks.coding.structure import functions

__all__ = ["Output", "main", "outputs"]

Row = dict[str, Any]
IDENTITY = "def aux(x):\n    return x"


@dataclass(frozen=True)
class Output:
    """What a team said to a row, and in which forms."""

    row: Row
    helper: str
    main: str
    forms: tuple[str, str, str]


def _function(row: Row) -> ast.FunctionDef:
    """The reference, without its docstring."""
    found = functions(ast.parse(row["prompt"] + row["canonical_solution"]))[row["entry_point"]]
    assert isinstance(found, ast.FunctionDef)
    return ast.FunctionDef(found.name, found.args, found.body[1:] or found.body, [], None, None, lineno=1, col_offset=0)


def _plain(row: Row) -> str:
    return ast.unparse(_function(row))


def _first(row: Row) -> str:
    """The name of the first argument, "None" if there is none."""
    arguments = _function(row).args.args
    return arguments[0].arg if arguments else "None"


def _begun(row: Row, *lines: str) -> str:
    """The reference with lines before its body."""
    head, _, body = _plain(row).partition("\n")
    return "\n".join([head, *(f"    {line}" for line in lines), body])


def _wrapper(row: Row, *lines: str) -> str:
    """A main part that hands everything to aux, lines before that; with `return x` the last of them it does so itself."""
    head = _plain(row).partition("\n")[0]
    names = ", ".join(a.arg for a in _function(row).args.args)
    body = [line.format(names) for line in lines] or [f"return aux({names})"]
    return "\n".join([head, *(f"    {line}" for line in body)])


def _as_aux(row: Row) -> str:
    """The reference under the name aux."""
    tree = _function(row)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == row["entry_point"]:
            node.id = "aux"
    tree.name = "aux"
    return ast.unparse(tree)


HELPERS: dict[str, Callable[[Row], str]] = {
    "identity": lambda row: IDENTITY,
    "with a constant": lambda row: "STEP = 1\n\n\ndef aux(x):\n    return x if STEP else None",
    "with a function of its own": lambda row: "def same(x):\n    return x\n\n\ndef aux(x):\n    return same(x)",
    "returns nothing": lambda row: "def aux(x):\n    print('return x')",
    "another name": lambda row: "def helper(x):\n    return x",
    "words": lambda row: "I would check the input first.",
    "broken": lambda row: "def aux(x):\n    return (x",
}
MAINS: dict[str, Callable[[Row], str]] = {
    "uses aux": lambda row: _begun(row, f"{_first(row)} = aux({_first(row)})"),
    "does not call aux": _plain,
    "aux in a comment": lambda row: _begun(row, "# not aux(x)"),
    "aux in a string": lambda row: _begun(row, "note = 'aux(x)'"),
    "aux where nothing comes": lambda row: _plain(row) + "\n    aux(1)",
    "aux ignored": lambda row: _begun(row, f"aux({_first(row)})"),
    "aux ignored under a name": lambda row: _begun(row, f"unused = aux({_first(row)})"),
    "constant": lambda row: _plain(row).partition("\n")[0] + "\n    return None",
    "another name": lambda row: _plain(row).replace(row["entry_point"], "solution"),
    "with an import and a constant": lambda row: (
        f"import math\n\nLIMIT = 10\n\n\n{_begun(row, 'assert LIMIT == math.floor(10.5)')}"
    ),
    "with a function of its own": lambda row: (
        f"def own(x):\n    return x\n\n\n{_begun(row, f'{_first(row)} = own({_first(row)})')}"
    ),
    "broken": lambda row: _plain(row).replace("return", "return (", 1),
    "words": lambda row: "That cannot be done.",
}
WRAPPERS: dict[str, Callable[[Row], str]] = {
    "wrapper": _wrapper,
    "wrapper, two lines": lambda row: _wrapper(row, "y = aux({})", "return y"),
    "wrapper, a comment behind": lambda row: _wrapper(row, "y = aux({})  # the work", "return y  # done"),
    "wrapper, pass before": lambda row: _wrapper(row, "pass", "return aux({})"),
    "wrapper, a second name": lambda row: _wrapper(row, "y = aux({})", "z = y", "return z"),
}
SHAPES: dict[str, Callable[[str], str]] = {
    "plain": lambda code: code,
    "fenced": lambda code: f"```python\n{code}\n```",
    "in prose": lambda code: f"Here is my part:\n\n{code}\n\nIt does what was asked for.",
}


def outputs(rows: Sequence[Row], number: int, seed: int = 0) -> list[Output]:
    """Random team outputs: of a row, a form of the helper's part, one of the main part, and how both are written down."""
    draw = random.Random(seed)
    made = []
    for _ in range(number):
        row = draw.choice(rows)
        if draw.random() < 0.25:
            main_form, helper_form, helper = draw.choice(list(WRAPPERS)), "does all the work", _as_aux(row)
            main = WRAPPERS[main_form](row)
        else:
            main_form, helper_form = draw.choice(list(MAINS)), draw.choice(list(HELPERS))
            helper, main = HELPERS[helper_form](row), MAINS[main_form](row)
        shape = draw.choice(list(SHAPES))
        write = SHAPES[shape]
        said = (code if form == "words" else write(code) for form, code in ((helper_form, helper), (main_form, main)))
        made.append(Output(row, next(said), next(said), (helper_form, main_form, shape)))
    return made


NO_CALL = "a call that is none (comment, string, out of reach) is paid"
WRAPPED = "a wrapper with a comment, pass or a second name is paid as more"
IGNORED = "a result that is ignored is not charged"
NO_RETURN = "the word return in a string is a return"
LOST = "of a module only one function is kept: constants, imports and functions of its own are lost"
UNPARSED = "what does not parse counts as defined"
ROW = "its own reference is not passed or not parsed: functions in the prompt, nested ones, asserts over several lines"
_REASONS = {
    "aux in a comment": NO_CALL,
    "aux in a string": NO_CALL,
    "aux where nothing comes": NO_CALL,
    "aux ignored": IGNORED,
    "aux ignored under a name": IGNORED,
    "returns nothing": NO_RETURN,
    "with a constant": LOST,
    "with a function of its own": LOST,
    "with an import and a constant": LOST,
    "broken": UNPARSED,
    "wrapper, a comment behind": WRAPPED,
    "wrapper, pass before": WRAPPED,
    "wrapper, a second name": WRAPPED,
}
"""Form -> why theirs is wrong about it."""


def reasons(output: Output, lost: set[str]) -> tuple[str, ...]:
    """Why the rewards may differ; () if nothing is known against theirs.

    Args:
        output: What was said.
        lost: The rows of which theirs does not pass the reference.
    """
    known = [_REASONS[form] for form in output.forms[:2] if form in _REASONS]
    return tuple(dict.fromkeys([*known, *([ROW] if output.row["task_id"] in lost else [])]))


def _theirs(checkout: Path, said: Sequence[Output]) -> list[float]:
    sys.path.insert(0, str(checkout))
    reward = importlib.import_module("rewards.code_rewards").execution_reward_aux
    with contextlib.redirect_stdout(io.StringIO()):
        return [
            float(reward([o.helper], [o.main], [o.row["test"]], [o.row["entry_point"]], [o.row["prompt"]])[0])
            for o in said
        ]


def _tell(said: Sequence[Output], ours: Sequence[float], theirs: Sequence[float], lost: set[str]) -> None:
    """Print how often both agree, and the reasons where they do not."""
    known: dict[tuple[str, ...], list[tuple[float, float, str]]] = defaultdict(list)
    clear = equal = 0
    for o, a, b in zip(said, ours, theirs, strict=True):
        same, why = abs(a - b) < 1e-6, reasons(o, lost)
        equal, clear = equal + same, clear + (not why)
        if not same:
            known[why].append((a, b, f"{o.row['task_id']}: {', '.join(o.forms)}"))
    print(
        f"{equal} of {len(said)} rewards are equal, and {clear - len(known[()])} of the {clear} about which nothing is known against theirs"
    )
    for why, found in sorted(known.items(), key=lambda item: -len(item[1])):
        if found:
            a, b = (sum(float(pair[n]) for pair in found) / len(found) for n in (0, 1))
            print(
                f"{len(found):4}  {'; '.join(why) or 'UNEXPLAINED'}: ours {a:.2f}, theirs {b:.2f} (such as {found[0][2]})"
            )


def main(argv: Sequence[str] | None = None) -> int:
    """Compare; 0."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.coding_rewards", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("checkout", type=Path, help="folder that holds their rewards/code_rewards.py")
    parser.add_argument("data", type=Path, help="HumanEval.jsonl")
    parser.add_argument("--number", type=int, default=500, help="of random team outputs [500]")
    parser.add_argument("--seed", type=int, default=0, help="of them [0]")
    args = parser.parse_args(argv)
    rows = [json.loads(line) for line in args.data.read_text("utf-8").splitlines()]
    env = HumanEval(data=args.data, test_rows=len(rows))
    questions = {question.id: question for question in env.questions("test")}
    said = outputs(rows, args.number, args.seed)
    joint = [{"helper_0": o.helper, "main_0": o.main} for o in said]
    scores = env.team_verifier.score_batch([questions[o.row["task_id"]] for o in said], joint)
    ours, theirs = [score.measures["reward"] for score in scores], _theirs(args.checkout, said)
    references = [Output(row, "", _plain(row), ("", "", "")) for row in rows]
    got = _theirs(args.checkout, references)
    lost = {o.row["task_id"] for o, value in zip(references, got, strict=True) if abs(value - 2.1) > 1e-6}
    print(
        f"theirs gives {len(rows) - len(lost)} of {len(rows)} references all that they can have without aux, ours every one"
    )
    _tell(said, ours, theirs, lost)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How often do the verifiers agree with known labels? ``python -m bench.verifier_agreement --data FOLDER``.

FOLDER holds ``verifier_cases/`` (real solutions of GSM8K labelled right or wrong, and pairs of answers labelled equivalent or
not), ``math/math500_test.jsonl`` and ``csqa/dev.jsonl`` (gold answers, and one wrong answer to each question). One row of the
table is one of them under one extractor.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from maporl.envs.tasks.csqa import CSQA
from maporl.envs.tasks.math import Math
from maporl.envs.verifiers import Choice, MathExpression, Number
from maporl.envs.verifiers.mathematics.workers import shared_workers
from maporl.types import Question

__all__ = ["CONFLICTS", "EXTRACTORS", "Agreement", "agreement", "gold_cases", "read_cases"]

Case = Mapping[str, Any]
OPTIONS: dict[str, Any] = {
    "match_types": ("latex", "expr"),
    "precision": 6,
    "strict": True,
    "allow_set_relation_comp": False,
}

CONFLICTS: dict[str, str] = {
    "eq-001": "a bare list is a set to Math-Verify, in any order",
    "eq-008": "a bare list is a set to Math-Verify, in any order",
    "eq-050": "a division is carried out: 3245/5 is 649",
    "mv-0264": "1 - 1/e is not 1 + 1/e",
}
"""Cases of `PAIRS` on which `MathExpression` differs from the suite that they come from, and why."""


def read_cases(folder: Path, name: str) -> list[Case]:
    """The cases of ``folder/verifier_cases/name.jsonl`` as {id, question, response, label, row}.

    Raises:
        ValueError: There is no such file; the message names it and the remedy.
    """
    path = folder / "verifier_cases" / f"{name}.jsonl"
    if not path.is_file():
        raise ValueError(f"there is no file {str(path)!r}; give the folder that holds verifier_cases/ with --data.")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [
        {
            "id": row["id"],
            "question": Question("", str(row["gold"])),
            "response": row["response"] if "response" in row else str(row["pred"]),
            "label": row["correct"] if "correct" in row else row["expected"],
            "row": row,
        }
        for row in rows
    ]


def gold_cases(folder: Path, name: str) -> list[Case]:
    """The gold answers of a task, each once as it is (label True) and once as a wrong one (label False).

    Raises:
        ValueError: The file is missing or malformed.
    """
    cases: list[Case] = []
    task, path = (Math, "math/math500_test.jsonl") if name == "math500 gold" else (CSQA, "csqa/dev.jsonl")
    for question in task(data=folder / path).load("test"):
        gold = question.answer
        others = [f"{gold} + 1"] if task is Math else _others(question)
        for answer, label in ((gold, True), (others[0], False)):
            cases.append({"id": f"{question.id} {answer}", "question": question, "response": answer, "label": label})
    return cases


def _others(question: Question) -> list[str]:
    """The labels of the choices that say something else than the gold one; some questions have it twice."""
    choices = question.metadata["choices"]
    return [label for label, text in choices.items() if text.casefold() != choices[question.answer].casefold()]


def _number(extract: Any) -> Callable[[Case], bool]:
    verifier = Number(extract=extract)
    return lambda case: verifier(case["question"], case["response"]).correct is True


def _math_task(case: Case) -> bool:
    """As in the task `math`: the answer stands in a box."""
    return MathExpression()(case["question"], f"\\boxed{{{case['response']}}}").correct is True


def _library(options: Mapping[str, Any], case: Case) -> bool:
    """Math-Verify on the texts as they are, without what `MathExpression` adds."""
    reply = shared_workers().ask(5.0, gold=case["question"].answer, response=case["response"], **options)
    return reply["correct"] is True


def _row_options(case: Case) -> bool:
    row = case["row"]
    own = {name: row[name] for name in OPTIONS if row[name] is not None}
    return MathExpression(**{**OPTIONS, **own})(case["question"], case["response"]).correct is True


def _choice_task(case: Case) -> bool:
    return Choice()(case["question"], f"It is quiet there.\nThe answer is ({case['response']}).").correct is True


SOLUTIONS = ("gsm8k_tora_70b", "gsm8k_model_solutions")
PAIRS = ("math_verify_cases", "other_equivalence_cases")
GOLD = ("math500 gold", "csqa gold")

EXTRACTORS: dict[str, tuple[tuple[str, ...], Callable[[Case], bool]]] = {
    "last number": (SOLUTIONS, _number("last")),
    "marker, else last number": (SOLUTIONS, _number("answer")),
    "Math-Verify, default": ((*SOLUTIONS, *PAIRS), lambda case: _library(OPTIONS, case)),
    "Math-Verify, row's options": (("math_verify_cases",), _row_options),
    "MathExpression, in a box": (("other_equivalence_cases", "math500 gold"), _math_task),
    "Choice": (("csqa gold",), _choice_task),
}
"""Name -> (the files that it can read, case -> is the response right?)."""


@dataclass(frozen=True)
class Agreement:
    """How one extractor did on one file.

    Attributes:
        total: Cases.
        disagreements: Ids of the cases where verdict and label differ.
        seconds: Wall time.
    """

    total: int
    disagreements: tuple[str, ...]
    seconds: float

    @property
    def share(self) -> float:
        return 1 - len(self.disagreements) / self.total


def agreement(cases: Sequence[Case], verdict: Callable[[Case], bool]) -> Agreement:
    """Compare `verdict` with the labels of `cases`. A time-out counts as "wrong"."""
    start = time.perf_counter()
    differ = tuple(case["id"] for case in cases if verdict(case) is not case["label"])
    return Agreement(len(cases), differ, time.perf_counter() - start)


def main(arguments: Iterable[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.verifier_agreement", description=__doc__)
    default = os.environ.get("MAPORL_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(default), help="folder with verifier_cases/ (%(default)s)")
    parser.add_argument("--disagreements", action="store_true", help="list the ids on which verdict and label differ")
    options = parser.parse_args(None if arguments is None else list(arguments))
    shared_workers().ask(5.0, gold="$1$", response="$1$", **OPTIONS)  # its start is not the first file's time

    table = Table(title="Agreement with the labels")
    for header in ("cases", "extractor", "agree", "of", "share", "per second"):
        table.add_column(header, no_wrap=True)
    listed: list[str] = []
    for name in (*SOLUTIONS, *PAIRS, *GOLD):
        try:
            cases = (gold_cases if name in GOLD else read_cases)(options.data, name)
        except ValueError as error:
            parser.error(str(error))
        for extractor, (files, verdict) in EXTRACTORS.items():
            if name in files:
                result = agreement(cases, verdict)
                n, right = result.total, result.total - len(result.disagreements)
                table.add_row(name, extractor, str(right), str(n), f"{result.share:.4f}", f"{n / result.seconds:,.0f}")
                listed.append(f"{name}, {extractor}: {', '.join(map(_reason, result.disagreements)) or 'none'}")
        table.add_section()
    console = Console()
    console = console if console.is_terminal else Console(width=100)  # a pipe has no width of its own
    console.print(table)
    packages = ", ".join(f"{name} {version(name)}" for name in ("math-verify", "latex2sympy2_extended", "sympy"))
    console.print(
        f"{packages}, Python {platform.python_version()}; one process, one core.", highlight=False, soft_wrap=True
    )
    if options.disagreements:
        console.print("\n".join(["Disagreements", *listed]), highlight=False, soft_wrap=True)


def _reason(case_id: str) -> str:
    return f"{case_id} ({CONFLICTS[case_id]})" if case_id in CONFLICTS else case_id


if __name__ == "__main__":
    main()

"""``maporl show RUN --tree``: the trees that a run kept, as a list or one by one."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from maporl.errors import UserValueError
from maporl.settings import nearest

if TYPE_CHECKING:
    from maporl.benchmarks.analysis.trees import Tree

__all__ = ["show_trees"]

FOREIGN = ("only", "sample", "decoding", "task", "method", "seed")
"""Flags that choose among discussions, not among trees."""


def show_trees(args: argparse.Namespace) -> int:
    """Print a tree, what follows one of its messages, or a list of trees."""
    from rich.console import Console

    from maporl.cli.tree_text import print_tree

    if given := [name for name in FOREIGN if getattr(args, name) is not None]:
        raise UserValueError(f"--{given[0]} chooses among discussions; with --tree leave it out.")
    number, *top = _place(args.tree) if args.tree else (None,)
    trees = _chosen(_run_folder(Path(args.run)), args.record, args.question, args.run)
    if number is not None:
        trees = [tree for tree in trees if tree.number == number and (not top or tuple(top) in tree.nodes)]
        if not trees:
            raise UserValueError(
                f"--tree {args.tree}: no such tree or message; maporl show {args.run} --tree lists the trees."
            )
    if len(trees) == 1:
        print_tree(trees[0], Console(highlight=False), tuple(top), full=args.full)
    else:
        _list(trees, args.limit, args.page)
    return 0


def _place(asked: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})*", asked, re.ASCII):
        raise UserValueError(
            f"--tree {asked!r} is no place in a tree; write the number of a tree, as 7, or of a message, as 7.0.2."
        )
    return tuple(map(int, asked.split(".")))


def _run_folder(path: Path) -> Path:
    """The run that is meant: `path`, or the only one of a study."""
    if (path / "study.yaml").is_file():
        from maporl.benchmarks.analysis.results import load_results

        runs = list(dict.fromkeys(run for cell in load_results([path]).cells for run in cell.runs))
        if len(runs) == 1:
            return runs[0]
        some = ", ".join(map(str, runs[:4])) + (f" ... ({len(runs)})" if len(runs) > 4 else "")
        raise UserValueError(f"{str(path)!r} is a study; --tree shows one run: {some or 'it trains nothing'}.")
    if not (path / "config.yaml").is_file():
        raise UserValueError(
            f"{str(path)!r} is no run folder, and only those hold trees; name a folder that maporl train wrote."
        )
    return path


def _chosen(run: Path, record: str | None, question: str | None, given: str) -> list[Tree]:
    """The trees of one file of a run, or those of one question in it."""
    from maporl.benchmarks.analysis.trees import KeptTrees, kept_names
    from maporl.cli.showing import chosen_id

    names = kept_names(run)
    if record is None:
        name, trees = KeptTrees(run).newest()
        if others := [other for other in names if other != name]:
            some = ", ".join(others[:4]) + (f" ... ({len(others)})" if len(others) > 4 else "")
            print(f"maporl: note: these are trees of {name!r}; --record takes also: {some}", file=sys.stderr)
    elif record not in names:
        known = ", ".join(names) or "none"
        raise UserValueError(f"{given!r} has no trees {record!r}.{nearest(record, names)} It has: {known}.")
    elif not (trees := KeptTrees(run).read(record)):
        raise UserValueError(
            f"{record!r} of {given!r} holds no trees: no question of it was sampled more than once; name another."
        )
    if question is None:
        return trees
    ids = list(dict.fromkeys(tree.first["question_id"] for tree in trees))
    if (asked := chosen_id(question, ids)) is None:
        raise UserValueError(
            f"no tree of question {question!r}.{nearest(question, ids)} --tree without --question lists them."
        )
    return [tree for tree in trees if tree.first["question_id"] == asked]


def _list(trees: Sequence[Tree], limit: int, page: int) -> None:
    """One line a tree."""
    from maporl.cli.discussion_text import beginning
    from maporl.cli.tree_text import share_right
    from maporl.printable import printable
    from maporl.training.display import print_list

    pages = -(-len(trees) // limit)
    if page > pages:
        raise UserValueError(f"--page is {page}; there {'is' if pages == 1 else 'are'} {pages} of {limit} lines.")
    rows = [
        [
            str(tree.number),
            printable(tree.first["question_id"], sys.stdout.encoding),
            f"{tree.messages} messages",
            share_right(tree),
            f"{tree.paired} of {tree.compared} decisions",
            printable(beginning(tree.first["question"], 40), sys.stdout.encoding),
        ]
        for tree in trees[(page - 1) * limit : page * limit]
    ]
    print_list(("tree", "question", "size", "outcome", "chosen and rejected", "begins"), rows)
    if pages > 1:
        print(f"page {page} of {pages} ({len(trees)} trees): --page {page % pages + 1}, or a higher --limit")

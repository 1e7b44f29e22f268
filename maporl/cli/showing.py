"""Print discussions that were recorded, or list them.

RUN is a run folder, a benchmark study, any folder of .jsonl records, or one such file. Without --question the discussions are listed:
id, everybody's verdict by round (R right, W wrong, ? unknown), the team's, and how the question begins. --tree shows what a training
sampled as trees: what every message is worth, and what is chosen over what.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maporl.benchmarks.analysis.collaboration import rounds_of, vote_correct
from maporl.cli.flags import Parser
from maporl.errors import UserValueError
from maporl.settings import nearest

if TYPE_CHECKING:
    from maporl.benchmarks.analysis.results import Cell

__all__ = ["FILTERS", "add_arguments", "chosen_id", "is_kind", "matching", "run"]

MANY = 6
"""Discussions of one question that are still printed one after the other; more are listed."""

ANY = ("first", "random")
"""Words for one discussion of those that the other flags leave."""

FILTERS = ("right", "wrong", "fixed", "broken")
"""Kinds of discussions: the team is right in the end or not; not right by the vote of round 1 but in the end, or the reverse."""

CELL = ("task", "method", "seed")
"""What names a cell of a study, and chooses it on the command line."""

Found = list[tuple["Cell", dict[str, Any]]]


def add_arguments(parser: Parser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, study folder, or file of records")
    parser.add_argument(
        "--question", metavar="ID", help="id, or the beginning of one; 'first' or 'random': one discussion"
    )
    parser.add_argument(
        "--only", choices=FILTERS, help="team right | wrong in the end; fixed | broken since round 1's vote"
    )
    parser.add_argument("--sample", type=int, metavar="N", help="which of several discussions of a question, from 0")
    parser.add_argument("--decoding", choices=("greedy", "sampled"), help="only these discussions")
    parser.add_argument("--record", metavar="NAME", help="record file of a run: test, iteration_0010 ... [test]")
    parser.add_argument("--task", help="of a study: this task only")
    parser.add_argument("--method", help="of a study: this method only")
    parser.add_argument("--seed", type=int, metavar="N", help="of a study: this seed only")
    parser.add_argument(
        "--tree",
        nargs="?",
        const="",
        metavar="ID",
        help="of a run: its trees as a list, the tree of a number (7), or what follows a message of it (7.0.2)",
    )
    parser.add_argument("--full", action="store_true", help="of a tree: a line for every message, however many")
    parser.add_argument("--limit", type=int, default=20, metavar="N", help="lines of a list [20]")
    parser.add_argument("--page", type=int, default=1, metavar="N", help="of a list that is longer [1]")


def run(args: argparse.Namespace) -> int:
    """Print discussions or a list of them."""
    for name in ("limit", "page"):
        if getattr(args, name) < 1:
            raise UserValueError(f"--{name} is {getattr(args, name)}; it must be at least 1.")
    if args.tree is not None:
        from maporl.cli.showing_trees import show_trees

        return show_trees(args)
    if args.full:
        raise UserValueError("--full belongs to --tree; leave it out, a discussion is always printed whole.")
    path = Path(args.run)
    cells = _chosen(path, args)
    found = [(cell, record) for cell in cells for record in cell.records()]
    for problem in (problem for cell in cells for problem in cell.problems):
        print(f"maporl: note: {problem}", file=sys.stderr)
    if not found:
        raise UserValueError(
            f"{args.run!r} has no records{_why(cells)}; maporl evaluate and maporl benchmark write some."
        )
    wanted = [
        (cell, record)
        for cell, record in found
        if args.sample in (None, record["sample"])
        and (args.decoding is None or record["greedy"] == (args.decoding == "greedy"))
        and (args.only is None or is_kind(record, args.only))
    ]
    if args.question is None:
        _list(wanted, args)
        return 0
    question = _question_id(args.question, wanted, found)
    asked = [(cell, record) for cell, record in wanted if record["question_id"] == question]
    if args.question in ANY:  # no question is meant, so neither are all that was said to it
        asked = [asked[0] if args.question == "first" else random.choice(asked)]
    if len(asked) > MANY:
        print(
            f"{len(asked)} discussions of question {question}; choose by --task, --method, --seed, --sample, --decoding:"
        )
        _list(asked, args)
        return 0
    _print(asked)
    return 0


def is_kind(record: Mapping[str, Any], kind: str) -> bool:
    """Whether a discussion is of a kind of `FILTERS`. A tie that may go either way is not right."""
    right = record["team_correct"] > 0.999  # a share of tied answers: all of them are right
    if kind in ("right", "wrong"):
        return right == (kind == "right")
    rounds = list(rounds_of(record["turns"]).values())
    first = vote_correct(rounds[0].values()) > 0.999 if rounds else False
    return len(rounds) > 1 and first != right and right == (kind == "fixed")


def matching(asked: str, ids: Sequence[str]) -> str | None:
    """The id that is `asked` or begins with it, None if there is none.

    Raises:
        ValueError: Several begin with it.
    """
    found = [asked] if asked in ids else [i for i in ids if i.startswith(asked)]
    if len(found) > 1:
        some = ", ".join(found[:5]) + (", ..." if len(found) > 5 else "")
        raise UserValueError(f"--question {asked!r} is the beginning of {len(found)} ids ({some}); give more of it.")
    return found[0] if found else None


def chosen_id(asked: str, ids: Sequence[str]) -> str | None:
    """The id that a person means: 'first', 'random', or what `matching` finds."""
    return {"first": ids[0], "random": random.choice(ids)}.get(asked) or matching(asked, ids)


def _chosen(path: Path, args: argparse.Namespace) -> list[Cell]:
    """The record files that were asked for."""
    cells = _cells(path)
    if (path / "study.yaml").is_file():
        if args.record is not None:
            raise UserValueError(
                f"--record belongs to a run folder; {str(path)!r} is a study: use --task, --method, --seed."
            )
        for name in CELL:
            value, known = getattr(args, name), list(dict.fromkeys(str(getattr(cell, name)) for cell in cells))
            if value is not None and str(value) not in known:
                raise UserValueError(
                    f"--{name} {value} is not in this study.{nearest(str(value), known)} It has: {', '.join(known)}."
                )
            cells = [cell for cell in cells if value in (None, getattr(cell, name))]
        return cells
    for name in CELL:
        if getattr(args, name) is not None:
            raise UserValueError(f"--{name} belongs to a study folder, which {str(path)!r} is not; leave it out.")
    names = {_name(cell.records_file): cell for cell in cells}
    if args.record is not None:
        if args.record not in names:
            raise UserValueError(
                f"{str(path)!r} has no record {args.record!r}.{nearest(args.record, names)} It has: {', '.join(names)}."
            )
        return [names[args.record]]
    usual = [name for name in names if not name.startswith("discussions/")] or list(names)
    newest = max(usual, key=lambda name: _age(names[name].records_file))
    chosen = "test" if "test" in names else newest
    if others := [name for name in names if name != chosen]:
        some = ", ".join(others[:4]) + (f" ... ({len(others)})" if len(others) > 4 else "")
        print(f"maporl: note: this is the record {chosen!r}; --record takes also: {some}", file=sys.stderr)
    return [names[chosen]]


def _cells(path: Path) -> list[Cell]:
    from maporl.benchmarks.analysis.results import Cell, load_results

    if not path.exists():
        raise UserValueError(
            f"{str(path)!r}: there is no such file or folder; name a run, a study or a file of records."
        )
    if any((path / name).is_file() for name in ("study.yaml", "config.yaml")):
        cells = list(load_results([path]).cells)
        return cells if (path / "study.yaml").is_file() else [c for c in cells if c.records_file.is_file()] or cells
    files = (
        [path]
        if path.is_file()
        else sorted(f for d in ("", "evaluations", "discussions") for f in (path / d).glob("*.jsonl"))
    )
    if not files:
        raise UserValueError(f"{str(path)!r} holds no records (.jsonl); name a run, a study or a file of records.")
    return [Cell("", _name(file), _name(file), 0, "complete", file.parent, file) for file in files]


def _name(file: Path) -> str:
    """What --record calls a file: its name, with the folder for training discussions, which have names of evaluations."""
    return f"discussions/{file.stem}" if file.parent.name == "discussions" else file.stem


def _age(file: Path) -> float:
    return file.stat().st_mtime if file.exists() else 0.0


def _why(cells: Sequence[Cell]) -> str:
    """How the cells stand, unless they are complete."""
    states = dict.fromkeys(cell.status for cell in cells if cell.status != "complete")
    return f" yet ({', '.join(states)})" if states else ""


def _question_id(asked: str, wanted: Found, found: Found) -> str:
    """The one id that was meant.

    Raises:
        ValueError: None or several, or one whose discussions were filtered out.
    """
    ids = list(dict.fromkeys(record["question_id"] for _, record in wanted))
    if not ids:
        raise UserValueError(
            f"--only, --sample and --decoding leave none of {len(found)} discussions; leave a flag out."
        )
    if (chosen := chosen_id(asked, ids)) is not None:
        return chosen
    if any(record["question_id"].startswith(asked) for _, record in found):
        raise UserValueError(
            f"question {asked!r} has discussions, but none that --only, --sample and --decoding leave; leave a flag out."
        )
    raise UserValueError(f"no question {asked!r}.{nearest(asked, ids)} maporl show without --question lists them.")


def _list(wanted: Found, args: argparse.Namespace) -> None:
    """One line a discussion; those of one question together."""
    from maporl.cli.discussion_text import beginning, marks, team_verdict
    from maporl.printable import printable
    from maporl.training.display import print_list

    if not wanted:
        print("no such discussion")
        return
    place: dict[str, int] = {}
    for _, record in wanted:
        place.setdefault(record["question_id"], len(place))
    rows = sorted(wanted, key=lambda pair: place[pair[1]["question_id"]])
    pages = -(-len(rows) // args.limit)
    if args.page > pages:
        raise UserValueError(
            f"--page is {args.page}; there {'is' if pages == 1 else 'are'} {pages} of {args.limit} lines."
        )
    shown = rows[(args.page - 1) * args.limit : args.page * args.limit]
    differing = [name for name in CELL if len({getattr(cell, name) for cell, _ in rows}) > 1]
    which = differing or any(record["sample"] or record["seat"] for _, record in rows)
    which = which or len({record["greedy"] for _, record in rows}) > 1
    table = []
    for cell, record in shown:
        cells = [record["question_id"], marks(record), team_verdict(record), beginning(record["question"], 60)]
        if which:
            cells.insert(1, _which(cell, record, differing))
        table.append([printable(text, sys.stdout.encoding) for text in cells])
    print_list(("question", *(["discussion"] if which else []), "by round", "team", "begins"), table)
    if pages > 1:
        print(
            f"page {args.page} of {pages} ({len(rows)} discussions): --page {args.page % pages + 1}, or a higher --limit"
        )


def _which(cell: Cell, record: Mapping[str, Any], names: Sequence[str]) -> str:
    """What tells a discussion from the others of its question: these of `CELL`, and which of a cell's discussions it is."""
    words = [f"seed {cell.seed}" if name == "seed" else str(getattr(cell, name)) for name in names]
    words += [f"seat {record['seat']}"] if record["seat"] else []
    return ", ".join([*words, "greedy" if record["greedy"] else f"sample {record['sample']}"])


def _print(asked: Found) -> None:
    from rich.console import Console

    from maporl.cli.discussion_text import print_discussion

    console = Console(highlight=False)
    for number, (cell, record) in enumerate(asked):
        if number:
            console.print()
        which = _which(cell, record, CELL if cell.task else ("method",))
        print_discussion(record, f"Question {record['question_id']} ({which})", console)

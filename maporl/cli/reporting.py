"""Write the report of studies and runs: one HTML file with the figures and every discussion, that opens from disk.

RUN is a folder that maporl benchmark or maporl train wrote; both may still be going on, and the report says what is missing. A report
that exists is written anew.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from maporl.cli.flags import Parser

__all__ = ["add_arguments", "run"]


def add_arguments(parser: Parser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="study folder or run folder")
    parser.add_argument(
        "--output", metavar="FILE.html", help="where to write [report.html in the folder; of several, here]"
    )
    parser.add_argument("--title", help="of the page [the study's, or the folders' names]")


def run(args: argparse.Namespace) -> int:
    """Read the results, write the page, say what it holds and what it leaves out."""
    output = (
        Path(args.output) if args.output else (Path(args.runs[0]) if len(args.runs) == 1 else Path()) / "report.html"
    )
    if output.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--output {str(output)!r} is no HTML file; give it a name that ends in .html.")
    from maporl.benchmarks.report import collect, write_report
    from maporl.benchmarks.results import load_results
    from maporl.benchmarks.summary import summarise

    results = load_results(args.runs)
    payload = collect(results, summarise(results), title=args.title)
    write_report(payload, output)
    for note in payload.figures["notes"]:
        print(f"{note['kind']}: {note['text']}")
    size = output.stat().st_size / 1e6
    holds = f"{_many(payload.figures['discussions'], 'discussion')}, {_many(len(results.cells), 'cell')}"
    print(f"{output}: {holds}, {size:.1f} MB; open it in a browser")
    return 0


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

"""Write the report of studies and runs: one HTML file with the figures and every discussion, that opens from disk.

RUN is a folder that maporl benchmark or maporl train wrote; both may still be going on, and the report says what is missing. A report
that exists is written anew. With --live nothing is written: a page on this machine shows what is new by itself, until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from maporl.cli.flags import Parser
from maporl.cli.known import Line, number
from maporl.errors import UserValueError
from maporl.output_folder import check_output, sign

__all__ = ["add_arguments", "known", "run"]

TABLES = {"command": "report"}


def add_arguments(parser: Parser) -> None:
    parser.add_argument("runs", metavar="RUN", nargs="+", help="study folder or run folder")
    parser.add_argument(
        "--output", metavar="FILE.html", help="where to write [report.html in the folder; of several, here]"
    )
    parser.add_argument(
        "--tables", metavar="DIR", help="also write the tables (Markdown, CSV, LaTeX) and the plots (PNG, SVG) there"
    )
    parser.add_argument("--title", help="of the page [the study's, or the folders' names]")
    parser.add_argument(
        "--live", action="store_true", help="serve the page to this machine; it follows runs that go on"
    )
    parser.add_argument("--port", metavar="N", type=int, help=f"of --live; 0 takes a free one [{PORT}]")


def known(line: Line) -> str:
    """How much is read."""
    files = [file for run in line.args.runs for file in Path(run).rglob("*.jsonl")]
    return f"{number(len(files), 'file')} of records and metrics, {sum(f.stat().st_size for f in files) / 1e6:.1f} MB, to be read"


def run(args: argparse.Namespace) -> int:
    """Read the results, write the page, say what it holds and what it leaves out; or serve it."""
    for path in args.runs:
        if not Path(path).exists():
            raise UserValueError(
                f"{path!r}: there is no such folder (a run that has just been started makes its own after its preflight); name one "
                "that maporl benchmark or maporl train wrote."
            )
    if args.live:
        return _serve(args)
    if args.port is not None:
        raise UserValueError("--port belongs to --live; give both, or leave it out.")
    output = (
        Path(args.output) if args.output else (Path(args.runs[0]) if len(args.runs) == 1 else Path()) / "report.html"
    )
    if output.suffix.lower() not in (".html", ".htm"):
        raise UserValueError(f"--output {str(output)!r} is no HTML file; give it a name that ends in .html.")
    if args.tables:
        check_output(args.tables, "--tables", made=TABLES)
    from maporl.benchmarks.analysis.results import load_results
    from maporl.benchmarks.analysis.summary import summarise
    from maporl.benchmarks.report import collect, write_report

    results = load_results(args.runs)
    summary = summarise(results)
    payload = collect(results, summary, title=args.title)
    write_report(payload, output)
    if args.tables:
        from maporl.benchmarks.report.plots import write_plots
        from maporl.benchmarks.report.tables import write_tables

        write_tables(summary, Path(args.tables))
        write_plots(payload.plots, payload.looks, Path(args.tables) / "plots")
        sign(args.tables, TABLES)
    for note in payload.figures["notes"]:
        print(f"{note['kind']}: {note['text']}")
    size = output.stat().st_size / 1e6
    counts = {
        "discussion": payload.figures["discussions"],
        "tree": payload.figures["trees"],
        "cell": len(results.cells),
    }
    holds = ", ".join(_many(number, what) for what, number in counts.items() if number or what != "tree")
    print(f"{output}: {holds}, {size:.1f} MB; open it in a browser")
    if args.tables:
        print(f"{args.tables}: tables and plots")
    return 0


PORT = 6066
"""Of a live page, unless another is asked for."""


def _serve(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    for name in ("output", "tables"):
        if getattr(args, name) is not None:
            raise UserValueError(f"--{name} writes files, which --live does not; leave one of the two out.")
    from maporl.benchmarks.report.live import LiveReport, LiveServer

    report = LiveReport([Path(path) for path in args.runs], args.title)
    with contextlib.suppress(KeyboardInterrupt), LiveServer(report, PORT if args.port is None else args.port) as server:
        print(f"http://{server.name}/: open it in a browser on this machine; Ctrl-C ends it", flush=True)
        server.serve_forever(poll_interval=0.2)
    return 0


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"

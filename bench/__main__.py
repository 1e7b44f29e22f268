"""The command ``python -m bench``: sections in, a table and a JSON file out."""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from bench.rows import Row
from bench.settings import GEOMETRIES, Settings
from maporl.agents.models.make_model import without_progress_bars

__all__ = ["SECTIONS", "main"]

SECTIONS = {
    "competitors": "CoMLRL's MAGRPOTrainer and TRL's GRPOTrainer on the same model, prompts, samples and tokens",
    "yardstick": "the learning yardstick: vowels and digits, ours beside CoMLRL",
    "rounds": "two rounds of the yardstick: whole discussions, a tree, and CoMLRL's tree",
    "floor": "rollout and update against the same arithmetic in bare tensors",
    "against_generate": "rollout against `generate` with re-encoding",
    "trees": "trees of discussions against as many messages of discussions that do not branch",
    "scaling": "discussions, agents, rounds, group size, length, vocabulary",
    "memory": "peak memory of one agent against three",
    "preferences": "SFT and DPO of candidates: a step of each, and the peak memory of three roles",
    "profile": "products, attention and the rest, in an update and a rollout",
    "verifier": "a learned verifier against a plain forward pass, and what it adds to an iteration",
    "sandbox": "code checked in a second, and what an endless answer costs the others",
    "share": "what env, verifier and collector take of an iteration",
}
"""Name of a module here -> what it measures."""

OPTIONAL = ("comlrl", "wandb", "openai")
"""Packages that a section may need and that only the extra `bench` brings (the last two are CoMLRL's own)."""

VERSIONS = ("maporl", "torch", "transformers", "peft", "trl", "comlrl")


def main(argv: Sequence[str] | None = None) -> int:
    """Measure; 0 if every section that was asked for ran."""
    args = _parser().parse_args(argv)
    words = list(sys.argv[1:] if argv is None else argv)
    repetitions = args.repetitions or (1 if args.quick else 7)
    try:
        settings = Settings(
            args.device, args.dtype, args.geometry, repetitions, args.num_threads, args.seed, args.model, args.quick
        )
    except ValueError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    # In a file or a pipe every row gets its line; a terminal has its own width.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    about = environment(settings, words)
    console.print(_title(about), soft_wrap=True, markup=False)
    found: list[Row] = []
    seconds: dict[str, float] = {}
    failed = False
    for section in args.sections or SECTIONS:
        began = time.perf_counter()
        try:
            rows = measured(section, settings)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in OPTIONAL:
                raise
            print(
                f"bench: section {section!r} needs {package}, which is not installed; "
                "pip install -e '.[bench]', or name other sections.",
                file=sys.stderr,
            )
            failed = True
            continue
        seconds[section] = time.perf_counter() - began
        show(rows, console)
        found += rows
        if args.json:  # after every section: a long run that is broken off keeps what it has
            write(args.json, about | {"section_seconds": seconds}, found)
    return int(failed)


def measured(section: str, settings: Settings) -> list[Row]:
    """The rows of a section, measured with the run's threads; torch's settings are restored."""
    module = importlib.import_module(f"bench.{section}")
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        torch.set_num_threads(settings.num_threads)
        with without_progress_bars(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "all .* rewards")  # most sections are not there to learn anything
            rows: list[Row] = module.rows(settings)
            return rows
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def environment(settings: Settings, words: Sequence[str]) -> dict[str, Any]:
    """What a figure depends on: versions, machine, threads, seed and the command itself."""
    versions = {"python": platform.python_version()}
    for package in VERSIONS:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "command": " ".join(["python -m bench", *words]),
        "date": time.strftime("%Y-%m-%d %H:%M:%S"),
        "versions": versions,
        "machine": _machine(settings),
        "settings": asdict(settings),
    }


def _machine(settings: Settings) -> dict[str, Any]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    gpu = torch.cuda.get_device_name(settings.device) if settings.device.startswith("cuda") else None
    return {
        "system": platform.system(),
        "cpu": model or platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cores": os.cpu_count(),
        "gpu": gpu,
    }


def _title(about: dict[str, Any]) -> str:
    machine, settings = about["machine"], about["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    where = machine["gpu"] or f"{machine['cpu']} ({machine['cpu_capability']}, {machine['cores']} cores)"
    return (
        f"{where}; {settings['geometry']} model, {settings['dtype']}, {settings['num_threads']} thread(s), seed {settings['seed']}, "
        f"{settings['repetitions']} repetitions\n{versions}"
    )


def show(rows: Sequence[Row], console: Console) -> None:
    """A table of each section's rows, and their notes below: median, range, target."""
    for section in dict.fromkeys(row.section for row in rows):
        mine = [row for row in rows if row.section == section]
        table = Table(title=section, title_justify="left", title_style="bold")
        for name in ("", "median", "range", "unit", "target", "reached"):
            table.add_column(name, justify="left" if name in ("", "unit") else "right", no_wrap=name != "")
        for row in mine:
            spread = "" if row.low == row.high else f"{_number(row.low)} to {_number(row.high)}"
            reached = "" if row.reached is None else "yes" if row.reached else "NO"
            table.add_row(row.name, _number(row.value), spread, row.unit, row.target or "", reached)
        console.print(table)
        for note in dict.fromkeys(row.note for row in mine if row.note):
            names = "; ".join(row.name for row in mine if row.note == note)
            console.print(f"{names}: {note}", soft_wrap=True, markup=False)


def _number(value: float) -> str:
    """Three figures; thousands in full."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def write(path: str | Path, about: dict[str, Any], rows: Sequence[Row]) -> None:
    """Everything as one JSON object: `about`, and `rows` with the attributes of `Row`."""
    text = json.dumps(about | {"rows": [asdict(row) for row in rows]}, indent=2)
    Path(path).write_text(text + "\n", encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    lines = "\n".join(f"  {name:<17} {what}" for name, what in SECTIONS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure ours, other libraries and the floor in one run.\n\nsections:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sections", nargs="*", metavar="SECTION", type=_section, help="what to measure [everything]")
    parser.add_argument("--json", metavar="FILE", help="write the rows, versions, machine and settings there")
    parser.add_argument("--device", default="cpu", help="a torch device [cpu]")
    parser.add_argument("--dtype", default="float32", help="of the base model [float32]")
    parser.add_argument("--geometry", default="tiny", help=f"one of {', '.join(GEOMETRIES)} [tiny]")
    parser.add_argument("--model", metavar="FOLDER", help="one that section trees measures, too")
    parser.add_argument("--repetitions", type=int, help="of each measured step [7]")
    parser.add_argument("--num_threads", type=int, default=1, help="torch's threads [1]")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="small sizes, one repetition: only shows that it runs")
    return parser


def _section(word: str) -> str:
    if word not in SECTIONS:
        raise argparse.ArgumentTypeError(f"unknown section {word!r}; use some of {', '.join(SECTIONS)}")
    return word


if __name__ == "__main__":
    sys.exit(main())

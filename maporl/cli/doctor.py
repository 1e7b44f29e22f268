"""Look at this machine and this installation: versions, devices, memory, what works and what is missing, and a short self-test.

Exit code 0 if everything that is needed works, else 1. What it prints belongs into a bug report.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import maporl
from maporl.cli.flags import Parser

__all__ = ["EXTRAS", "Finding", "add_arguments", "run"]

PACKAGES = ("torch", "transformers", "peft", "trl", "accelerate", "pettingzoo", "gymnasium", "numpy")
EXTRAS = {  # extra -> the modules that it brings
    "gguf": ("gguf",),
    "writing": ("rouge_score",),
    "reasoning_gym": ("reasoning_gym",),
    "textarena": ("textarena",),
    "serve": ("fastapi", "uvicorn"),
    "wandb": ("wandb",),
    "trackio": ("trackio",),
    "quantised": ("bitsandbytes",),
}
LEAST_DISK = 1.0
"""GB free in the working directory: a run of a tiny team writes some MB, a model of 135 M parameters 300."""


@dataclass(frozen=True)
class Finding:
    """What was found out.

    Attributes:
        name: Of what.
        status: "ok", "note" (works without) or "failed".
        text: What is there, or what is wrong.
        remedy: What to do where something is wrong or missing.
    """

    name: str
    status: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        mark = {"ok": "", "note": "- ", "failed": "FAILED: "}[self.status]
        return f"{self.name:<14}{mark}{self.text}{f' -> {self.remedy}' if self.remedy else ''}"


def add_arguments(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def run(args: argparse.Namespace) -> int:
    """Print what is found as it is found."""
    findings = []
    for look in (_versions, _machine, _memory, _devices, _data, _sandbox, _extras, _self_test):
        for finding in _guarded(look):
            findings.append(finding)
            if not args.json:
                print(finding, flush=True)
    failed = [finding for finding in findings if finding.status == "failed"]
    if args.json:
        print(json.dumps({"ok": not failed, "findings": [asdict(finding) for finding in findings]}, indent=2))
        return int(bool(failed))
    print()
    print(f"{len(failed)} of {len(findings)} checks failed." if failed else "Everything that is needed works.")
    print(
        "A bug report needs: these lines, the command, what was expected and what came, and of a run its config.yaml and status.json."
    )
    return int(bool(failed))


def _guarded(look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds; if it breaks, that."""
    try:
        yield from look()
    except Exception as error:
        name = look.__name__.strip("_").replace("_", " ")
        yield Finding(name, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:300], "report it")


def _versions() -> Iterator[Finding]:
    yield Finding("maporl", "ok", f"{maporl.__version__}{_commit()}, in {Path(maporl.__file__).parent}")
    yield Finding("python", "ok", f"{platform.python_version()}, {sys.executable}")
    for name in PACKAGES:
        try:
            yield Finding(name, "ok", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, "failed", "not installed", f"pip install {name}")


def _commit() -> str:
    """Of a checkout, whether it has changes of its own; "" of an installed package."""
    root = Path(maporl.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        git = ["git", "-C", str(root)]
        asked = {"capture_output": True, "text": True, "timeout": 5, "check": True}
        commit = subprocess.run([*git, "rev-parse", "--short=12", "HEAD"], **asked).stdout.strip()  # type: ignore[call-overload]
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], **asked).stdout.strip()  # type: ignore[call-overload]
    except (OSError, subprocess.SubprocessError):
        return ", a checkout"
    return f", commit {commit}{' with changes' if changed else ''}"


def _machine() -> Iterator[Finding]:
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    processor = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).is_file():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        processor = models[0] if models else processor
    yield Finding("system", "ok", f"{platform.system()} {platform.release()}, {platform.machine()}")
    yield Finding("processor", "ok", f"{processor}, {os.cpu_count()} cores, {here} for this process")


def _memory() -> Iterator[Finding]:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9 if hasattr(os, "sysconf") else None
    free = None
    if (info := Path("/proc/meminfo")).is_file():
        sizes = dict(line.split(":") for line in info.read_text().splitlines() if ":" in line)
        free = int(sizes["MemAvailable"].split()[0]) * 1024 / 1e9
    known = [f"{gb:.1f} GB {what}" for gb, what in ((total, "in all"), (free, "available")) if gb is not None]
    yield Finding("memory", "ok", ", ".join(known) or "not known")
    disk = shutil.disk_usage(".").free / 1e9
    short = disk < LEAST_DISK
    text, remedy = (
        f"{disk:.1f} GB free in the working directory",
        "free some, or write runs to another disk: --output_dir",
    )
    yield Finding("disk", "failed" if short else "ok", text, remedy if short else "")


def _devices() -> Iterator[Finding]:
    import torch

    from maporl.agents.models.checkpoints import TINY, usual_dtype

    fast = usual_dtype(TINY + 1, "cpu") == "bfloat16"
    text = "the processor multiplies it" if fast else "the processor does not multiply it, so models are float32"
    yield Finding(
        "threads",
        "ok",
        f"{torch.get_num_threads()} of torch, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
    )
    yield Finding("bfloat16", "ok", text)
    if not torch.cuda.is_available():
        yield Finding("GPU", "note", "none that torch can use; everything runs on the processor")
    for n in range(torch.cuda.device_count()):
        found = torch.cuda.get_device_properties(n)
        yield Finding(f"GPU {n}", "ok", f"{found.name}, {found.total_memory / 1e9:.1f} GB, CUDA {torch.version.cuda}")


def _data() -> Iterator[Finding]:
    folder = os.environ.get("MAPORL_DATA")
    if folder is None:
        yield Finding("MAPORL_DATA", "note", "not set; tests and measurements on real rows are left out")
    elif Path(folder).is_dir():
        yield Finding("MAPORL_DATA", "ok", folder)
    else:
        yield Finding("MAPORL_DATA", "failed", f"{folder!r} is no folder", "unset it, or name the folder of the data")


def _sandbox() -> Iterator[Finding]:
    from maporl.sandbox import Sandbox, SandboxUnavailable

    box = Sandbox(workers=1)
    try:
        yield Finding("sandbox", "ok", box.isolation)
    except SandboxUnavailable as error:
        yield Finding("sandbox", "note", f"none, so no code that a model wrote is run: {' '.join(str(error).split())}")
    finally:
        box.close()


def _extras() -> Iterator[Finding]:
    for extra, modules in EXTRAS.items():
        install = f"pip install 'maporl[{extra}]'"
        try:
            for module in modules:
                importlib.import_module(module)  # what is installed may still not load
        except ModuleNotFoundError as error:
            own = error.name in modules
            yield Finding(extra, "note" if own else "failed", "not installed" if own else str(error), install)
        except Exception as error:
            yield Finding(extra, "failed", f"{type(error).__name__}: {' '.join(str(error).split())}"[:200], install)
        else:
            yield Finding(extra, "ok", ", ".join(modules))


def _self_test() -> Iterator[Finding]:
    from maporl.cli.self_test import sampling, training

    for name, test in (("sampling", sampling), ("training", training)):
        fine, text = test()
        remedy = "report it, with the versions above" if not fine else ""
        yield Finding(name, "ok" if fine else "failed", text, remedy)

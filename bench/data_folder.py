"""Where measurements on labelled data look for it: ``--data``, or the folder that the variable MAPORL_DATA names."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

__all__ = ["add_data", "data_of"]


def add_data(parser: argparse.ArgumentParser) -> None:
    """Add ``--data``."""
    folder = os.environ.get("MAPORL_DATA")
    parser.add_argument(
        "--data",
        type=Path,
        default=folder and Path(folder),
        help="folder of the evaluation data (verifier_cases/, gsm8k/ ...); default: what MAPORL_DATA names",
    )


def data_of(parser: argparse.ArgumentParser, given: argparse.Namespace, otherwise: str = "") -> Path:
    """The folder; without one the command ends with what to do, `otherwise` among it."""
    folder: Path | None = given.data
    if folder is None:
        other = f", or give {otherwise}" if otherwise else ""
        parser.error(f"no evaluation data: name its folder with --data or the variable MAPORL_DATA{other}")
    if not folder.is_dir():
        parser.error(f"there is no folder {str(folder)!r}; name that of the evaluation data with --data or MAPORL_DATA")
    return folder

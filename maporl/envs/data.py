"""Rows for the data tasks: from a jsonl, json or parquet file, a folder of such files, or a dataset hub.

Whatever is wrong with a row is said where it is: file and line. `datasets` and `pyarrow` are imported only when needed.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from maporl.errors import UserValueError
from maporl.hub import reachable
from maporl.text_files import read_json, read_jsonl

__all__ = ["HubSource", "Row", "read_rows", "resolve"]

SUFFIXES = (".jsonl", ".json", ".parquet")


@dataclass(frozen=True)
class Row:
    """One row, which knows where it came from.

    Attributes:
        fields: Column -> value.
        where: For messages: ``data/train.jsonl, line 12``.
        id: Stable within its source: ``train.jsonl:12``.
    """

    fields: Mapping[str, Any]
    where: str
    id: str

    def get(self, name: str, kind: type | tuple[type, ...] = str) -> Any:
        """The value of a field.

        Raises:
            ValueError: The field is missing or of another type; the message names the field, file and line.
        """
        if name not in self.fields:
            raise UserValueError(
                f"{self.where}: no field {name!r} (there are: {', '.join(map(str, self.fields)) or 'none'})."
            )
        value = self.fields[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (
            isinstance(value, bool) and bool not in kinds
        ):  # a bool is an int, in Python
            names = " or ".join(k.__name__ for k in kinds)
            raise UserValueError(
                f"{self.where}: field {name!r} is {str(value)[:60]!r}, a {type(value).__name__}; need {names}."
            )
        return value

    def text(self, name: str) -> str:
        """A field that must be a string with something in it."""
        value: str = self.get(name)
        if not value.strip():
            raise UserValueError(f"{self.where}: field {name!r} is empty.")
        return value

    def error(self, fault: str) -> ValueError:
        """What to raise for a row that cannot be used."""
        return UserValueError(f"{self.where}: {fault}")


@dataclass(frozen=True)
class HubSource:
    """Where a task's rows are on the dataset hub.

    Attributes:
        train: Dataset id and its splits of training rows.
        test: The same for test rows; None for a dataset without any.
        config: Name of the configuration, None for the only one.
        files: Split -> its file in the dataset's repository, where the hub does not know the splits by itself.
    """

    train: tuple[str, tuple[str, ...]]
    test: tuple[str, tuple[str, ...]] | None
    config: str | None = field(default=None)
    files: Mapping[str, str] | None = field(default=None, hash=False)


def read_rows(data: str | os.PathLike[str] | None, split: str, hub: HubSource) -> Iterator[Row]:
    """The rows of a split, in their order.

    Args:
        data: None: the hub. A file or a folder: as `resolve` finds it.
        split: "train" or "test".
        hub: Where the hub has them.

    Raises:
        ValueError: A path, file or row that cannot be read, or a hub that cannot be reached; one line with the remedy.
    """
    if data is None:
        yield from _read_hub(hub, split)
        return
    for path in resolve(data, split):
        yield from _read_file(path)


def resolve(data: str | os.PathLike[str], split: str) -> tuple[Path, ...]:
    """The files of a split, () if there are none.

    A file whose name holds the word "test", "dev", "val", "valid" or "validation", and not "train", is a test set: ``r1_dev.jsonl``, say.
    Any other file is the training data. The other split of a file is its siblings of the same suffix whose names start with "train", or
    with "test", else "dev", "valid". Of a folder both are searched for by these beginnings.

    Raises:
        ValueError: There is no such path, an unknown suffix, or a folder without any such file.
    """
    path = Path(data).expanduser()
    if path.is_dir():
        training, tests = (_named(path, _BEGINNINGS[part], SUFFIXES) for part in ("train", "test"))
        if not training and not tests:
            raise UserValueError(f"{path}: no file train*{'|'.join(SUFFIXES)} in this folder; give --data FILE.")
        return training if split == "train" else tests
    if not path.is_file():
        raise UserValueError(
            f"there is no file or folder {str(path)!r}; give --data FILE ({', '.join(SUFFIXES)}) or a folder."
        )
    if path.suffix not in SUFFIXES:
        raise UserValueError(
            f"{path}: cannot read {path.suffix or 'a file without suffix'}; use one of {', '.join(SUFFIXES)}."
        )
    if split == ("test" if _is_test_set(path) else "train"):
        return (path,)
    return _named(path.parent, _BEGINNINGS[split], (path.suffix,), but=path)


_BEGINNINGS = {"train": ("train",), "test": ("test", "dev", "valid")}


def _is_test_set(path: Path) -> bool:
    """Whether a file says by its name that nothing is to be learned from it."""
    words = re.findall(r"[a-z]+", path.stem.lower())
    return "train" not in words and not {"test", "dev", "val", "valid", "validation"}.isdisjoint(words)


def _named(
    folder: Path, beginnings: tuple[str, ...], suffixes: tuple[str, ...], but: Path | None = None
) -> tuple[Path, ...]:
    """The files with the first beginning that any has."""
    files = [p for p in sorted(folder.iterdir()) if p.is_file() and p.suffix in suffixes and p != but]
    for beginning in beginnings:
        if found := tuple(p for p in files if p.name.startswith(beginning)):
            return found
    return ()


def _read_file(path: Path) -> Iterator[Row]:
    readers = {".jsonl": read_jsonl, ".json": _json, ".parquet": _parquet}
    unit = "line" if path.suffix == ".jsonl" else "row"
    number = 0
    for number, value in readers[path.suffix](path):
        where = f"{path}, {unit} {number}"
        if not isinstance(value, dict):
            raise UserValueError(f"{where}: a {type(value).__name__}, not an object with fields.")
        yield Row(value, where, f"{path.name}:{number}")
    if number == 0:
        raise UserValueError(f"{path}: holds no rows.")


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise UserValueError(f"{path}: a {type(rows).__name__}, not a list of rows; one object per line is .jsonl.")
    yield from enumerate(rows, 1)


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UserValueError(f"{path}: reading parquet needs pyarrow; install it with: pip install pyarrow") from None
    number = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as table:
            for batch in table.iter_batches():
                for value in batch.to_pylist():
                    number += 1
                    yield number, value
    except (pyarrow.ArrowException, OSError) as error:
        raise UserValueError(f"{path}: not a readable parquet file ({_first_line(error)}).") from None


def _read_hub(hub: HubSource, split: str) -> Iterator[Row]:
    source = hub.train if split == "train" else hub.test
    if source is None:
        return
    name, parts = source
    remedy = "give a local file with --data FILE, or go online once so that it is cached"
    try:
        from datasets import load_dataset
    except ImportError:
        raise UserValueError(
            f"{name}: the package datasets is not installed; pip install datasets, or {remedy}."
        ) from None
    for part in parts:
        try:
            with _offline_if_unreachable():
                rows = load_dataset(name, hub.config, data_files=hub.files, split=part)
        except Exception as error:  # offline, unknown, gated ...: the hub's clients raise a dozen types
            raise UserValueError(
                f"cannot load {name} ({part}) from the dataset hub: {remedy}. ({_first_line(error)})"
            ) from None
        for number, fields in enumerate(rows, 1):
            yield Row(fields, f"{name}, {part}, row {number}", f"{part}:{number}")


@contextlib.contextmanager
def _offline_if_unreachable() -> Iterator[None]:
    """Without a network the hub's client retries for half a minute before it looks into its cache; tell it at once."""
    import datasets
    import huggingface_hub

    online = reachable(huggingface_hub.constants.ENDPOINT)
    switches: tuple[Any, ...] = () if online else (datasets.config, huggingface_hub.constants)
    before = [switch.HF_HUB_OFFLINE for switch in switches]
    try:
        for switch in switches:
            switch.HF_HUB_OFFLINE = True
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.HF_HUB_OFFLINE = value


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__

"""Reading rows: formats, which file is which split, and errors that name file and line."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from maporl.envs.data import HubSource, Row, read_rows, resolve

HUB = HubSource(train=("some/set", ("train",)), test=("some/set", ("test_a", "test_b")), config="main")
ROWS = [{"question": "one", "n": 1}, {"question": "zwei \u00fc", "n": 2}]


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def rows(data: Any, split: str = "train") -> list[Row]:
    return list(read_rows(data, split, HUB))


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet"])
def test_three_formats_give_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mine.{suffix}"
    if suffix == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        write(path, *(ROWS if suffix == "jsonl" else [ROWS]))
    assert [dict(row.fields) for row in rows(path)] == ROWS
    assert [row.id for row in rows(str(path))] == [f"mine.{suffix}:1", f"mine.{suffix}:2"]


def test_blank_lines_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"question": "x"}\r\n\r\n  \n{"question": "y"}')
    assert [(row.text("question"), row.id) for row in rows(path)] == [("x", "a.jsonl:1"), ("y", "a.jsonl:4")]


def test_which_file_is_which_split(tmp_path: Path) -> None:
    names = ["train.jsonl", "dev.jsonl", "train-2.jsonl", "test.json", "notes.txt", "other.jsonl"]
    for name in names:
        write(tmp_path / name, ROWS if name.endswith(".json") else ROWS[0])

    def found(data: Path, split: str) -> list[str]:
        return [path.name for path in resolve(data, split)]

    assert found(tmp_path / "train.jsonl", "train") == ["train.jsonl"]
    assert found(tmp_path / "train.jsonl", "test") == ["dev.jsonl"], "the sibling of the same suffix"
    assert found(tmp_path, "train") == ["train-2.jsonl", "train.jsonl"]
    assert found(tmp_path, "test") == ["test.json"], "test before dev"
    write(tmp_path / "test_1.jsonl", ROWS[0])
    assert found(tmp_path / "other.jsonl", "test") == ["test_1.jsonl"]
    for name in ("test_1", "dev", "r1_dev", "math500-test", "Validation"):
        file = write(tmp_path / f"{name}.jsonl", ROWS[0])
        assert found(file, "test") == [file.name], "a test set by its name, whatever lies beside it"
        assert found(file, "train") == ["train-2.jsonl", "train.jsonl"]
    for name in ("train_dev", "latest", "development", "test2train"):
        assert found(write(tmp_path / f"{name}.jsonl", ROWS[0]), "train") == [f"{name}.jsonl"]
    alone = tmp_path / "alone"
    alone.mkdir()
    assert found(write(alone / "x.jsonl", ROWS[0]), "test") == []
    assert found(write(alone / "dev.jsonl", ROWS[0]), "train") == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('{"question": "x"', "not JSON .*column 17.*; correct or remove it"),
        ("[1, 2]", "a list, not an object with fields"),
        ("null", "a NoneType, not an object"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(tmp_path: Path, line: str, fault: str) -> None:
    path = write(tmp_path / "bad.jsonl", ROWS[0], "", line)
    with pytest.raises(ValueError, match=rf"bad\.jsonl, line 3: {fault}") as caught:
        rows(path)
    assert "\n" not in str(caught.value)


def test_wrong_encoding_empty_files_and_other_json_are_named(tmp_path: Path) -> None:
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"question": "x"}\n{"question": "\u00fc"}\n'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.jsonl, line 2: not UTF-8 \(byte 14\)"):
        rows(latin)
    with pytest.raises(ValueError, match=r"empty\.jsonl: holds no rows"):
        rows(write(tmp_path / "empty.jsonl", "", " "))
    with pytest.raises(ValueError, match=r"empty\.json: holds no rows"):
        rows(write(tmp_path / "empty.json", []))
    with pytest.raises(ValueError, match=r"one\.json: a dict, not a list of rows; one object per line is \.jsonl"):
        rows(write(tmp_path / "one.json", ROWS[0]))
    with pytest.raises(ValueError, match=r"bad\.json: not JSON .*line 2"):
        rows(write(tmp_path / "bad.json", "[{},", "{]"))
    pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=r"bad\.parquet: not a readable parquet file"):
        rows(write(tmp_path / "bad.parquet", "x"))


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no file or folder .*nowhere\.jsonl'; give --data FILE"):
        rows(tmp_path / "nowhere.jsonl")
    with pytest.raises(ValueError, match=r"cannot read \.csv; use one of \.jsonl"):
        rows(write(tmp_path / "a.csv", "x"))
    with pytest.raises(ValueError, match=r"no file train\*.* in this folder; give --data FILE"):
        rows(tmp_path)


def test_a_row_checks_its_fields() -> None:
    row = Row({"question": "x", "label": True, "empty": " "}, "a.jsonl, line 3", "a.jsonl:3")
    assert row.text("question") == "x" and row.get("label", bool) is True
    for call, fault in [
        (lambda: row.get("answer"), r"no field 'answer' \(there are: question, label, empty\)"),
        (lambda: row.get("label"), "field 'label' is 'True', a bool; need str"),
        (lambda: row.get("label", (str, int)), "field 'label' is 'True', a bool; need str or int"),
        (lambda: row.text("empty"), "field 'empty' is empty"),
    ]:
        with pytest.raises(ValueError, match=f"a.jsonl, line 3: {fault}"):
            call()
    assert str(row.error("bad")) == "a.jsonl, line 3: bad"


def test_the_hub_is_asked_split_by_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None, str, Any]] = []

    def load_dataset(name: str, config: str | None, data_files: Any, split: str) -> list[dict[str, str]]:
        asked.append((name, config, split, data_files))
        return [{"question": split}]

    import datasets

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    assert [(row.text("question"), row.id) for row in rows(None, "test")] == [
        ("test_a", "test_a:1"),
        ("test_b", "test_b:1"),
    ]
    assert asked == [("some/set", "main", "test_a", None), ("some/set", "main", "test_b", None)]
    files = {"train": "part/train.jsonl"}
    assert list(read_rows(None, "train", HubSource(train=("some/set", ("train",)), test=None, files=files)))
    assert asked[2:] == [("some/set", None, "train", files)]
    assert list(read_rows(None, "test", HubSource(train=("some/set", ("train",)), test=None))) == []


def test_offline_the_error_names_both_remedies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import socket

    import datasets
    import huggingface_hub

    def unreachable(*arguments: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    before = datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE
    with pytest.raises(ValueError, match=r"cannot load some/set \(train\) .*--data FILE, or go online once") as caught:
        rows(None)
    assert "\n" not in str(caught.value)
    assert before == (datasets.config.HF_HUB_OFFLINE, huggingface_hub.constants.HF_HUB_OFFLINE)


def test_without_the_package_the_error_names_both_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", types.ModuleType("datasets"))  # holds nothing to import
    with pytest.raises(ValueError, match="pip install datasets, or give a local file with --data FILE"):
        rows(None)

"""One reader for everything that people write: a byte order mark, line ends and Unicode's line separators change nothing, and what is no
UTF-8 is said in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from maporl.agents.models.chat_rows import read_rows as read_chats
from maporl.agents.models.checkpoints import _read_chat_template
from maporl.agents.prompts import PromptTemplate
from maporl.atomic_files import mapping_of
from maporl.envs.data import HubSource, read_rows
from maporl.errors import UserValueError
from maporl.learned_verifier.answers import read_answers
from maporl.settings import read_settings
from maporl.text_files import read_json, read_jsonl, read_text
from maporl.training.run_folder import RunFolder

HUB = HubSource(train=("some/set", ("train",)), test=None)
MARK = b"\xef\xbb\xbf"


def data_rows(path: Path) -> list[str]:
    return [row.text("question") for row in read_rows(path, "train", HUB)]


def lines(row: Callable[[str], Any]) -> Callable[[list[str]], str]:
    return lambda texts: "".join(json.dumps(row(text), ensure_ascii=False) + "\n" for text in texts)


def chat(text: str) -> dict[str, str]:
    return {"prompt": text, "completion": "yes"}


def answer(text: str) -> dict[str, Any]:
    return {"question": text, "gold": "1", "response": "1", "correct": True}


Reader = tuple[str, Callable[[Path], list[str]], Callable[[list[str]], str]]
ROWS: dict[str, Reader] = {  # who reads -> the file's name, the texts in it, the file's text
    "data": ("train.jsonl", data_rows, lines(lambda text: {"question": text})),
    "data in one list": (
        "train.json",
        data_rows,
        lambda texts: json.dumps([{"question": t} for t in texts], ensure_ascii=False, indent=0),
    ),
    "sft": ("chats.jsonl", lambda path: [row["prompt"] for _, row in read_chats(path)], lines(chat)),
    "answers": ("answers.jsonl", lambda path: [a.question.text for a in read_answers(path)], lines(answer)),
    "metrics": (
        "metrics.jsonl",
        lambda path: [row["text"] for row in RunFolder(path.parent).metrics],
        lines(lambda text: {"text": text}),
    ),
}
SETTINGS: dict[str, Reader] = {
    "config": (
        "config.yaml",
        lambda path: [read_settings(path)["text"]],
        lambda texts: yaml.safe_dump({"text": texts[0]}, allow_unicode=True),
    ),
    "prompts": (
        "prompts.yaml",
        lambda path: [PromptTemplate.load(path).system],
        lambda texts: yaml.safe_dump({"system": texts[0]}, allow_unicode=True),
    ),
    "template": ("chat.jinja", lambda path: [_read_chat_template(str(path))], lambda texts: texts[0]),
}
STRICT = {name: reader for name, reader in (ROWS | SETTINGS).items() if name != "metrics"}
# U+2028, U+2029, U+0085, vertical tab, form feed and the separators are what str.splitlines also cuts at.
TEXTS = st.text(
    st.one_of(
        st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}"),
        st.sampled_from("\u2028\u2029\u0085\x0b\x0c\x1c\x1d\x1e\ufeffü"),
    ),
    min_size=1,
).filter(str.strip)
PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="{}\ufeff"), min_size=1)


@pytest.mark.parametrize("name", ROWS)
@given(texts=st.lists(TEXTS, min_size=1, max_size=3), marked=st.booleans(), returns=st.booleans())
def test_every_reader_of_rows_gives_every_text_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, texts: list[str], marked: bool, returns: bool
) -> None:
    file_name, read, written = ROWS[name]
    path = tmp_path_factory.mktemp("rows") / file_name
    data = written(texts).encode()
    path.write_bytes(MARK * marked + (data.replace(b"\n", b"\r\n\r\n") if returns else data))
    assert read(path) == texts


@pytest.mark.parametrize("name", SETTINGS)
@given(text=PLAIN, marked=st.booleans(), returns=st.booleans())
def test_every_reader_of_settings_gives_every_text_back(
    tmp_path_factory: pytest.TempPathFactory, name: str, text: str, marked: bool, returns: bool
) -> None:
    file_name, read, written = SETTINGS[name]
    path = tmp_path_factory.mktemp("settings") / file_name
    data = written([text + "\nand more"]).encode()
    path.write_bytes(MARK * marked + (data.replace(b"\n", b"\r\n") if returns else data))
    assert read(path) == [text + "\nand more"]


@pytest.mark.parametrize("name", STRICT)
@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "shift_jis"])
def test_other_encodings_end_in_one_line_with_file_and_line(tmp_path: Path, name: str, encoding: str) -> None:
    file_name, read, written = STRICT[name]
    path = tmp_path / file_name
    path.write_bytes(written(["ヌル" if encoding == "shift_jis" else "grün"]).encode(encoding))
    with pytest.raises(UserValueError) as caught:
        read(path)
    told = str(caught.value)
    assert told.startswith(f"{path}, line ") and told.endswith("); save the file as UTF-8.") and "\n" not in told


@pytest.mark.parametrize("read", [read_text, read_json, lambda path: list(read_jsonl(path)), read_settings, data_rows])
@given(junk=st.binary(max_size=40))
def test_no_bytes_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, read: Callable[[Path], Any], junk: bytes
) -> None:
    path = tmp_path_factory.mktemp("junk") / "train.jsonl"
    path.write_bytes(junk)
    try:
        read(path)
    except UserValueError as error:
        assert str(path) in str(error) and "\n" not in str(error)


def test_the_place_of_a_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def told(read: Callable[[Path], Any], data: bytes) -> str:
        path.write_bytes(data)
        with pytest.raises(UserValueError) as caught:
            read(path)
        return str(caught.value).removeprefix(str(path))

    def rows(path: Path) -> list[Any]:
        return list(read_jsonl(path))

    assert told(read_text, b"one\r\ntwo\nab\xfc") == ", line 3: not UTF-8 (byte 2); save the file as UTF-8."
    assert (
        told(read_text, MARK + b"a\0")
        == ", line 1: holds a NUL, as text in UTF-16 does (byte 4); save the file as UTF-8."
    )
    assert told(rows, b'{}\n\n{"a": "\xe2"}') == ", line 3: not UTF-8 (byte 7); save the file as UTF-8."
    assert told(rows, b"{}\r{}\n") == ", line 1: not JSON (Extra data, column 4); correct or remove it.", (
        "a lone return"
    )
    assert (
        told(read_json, b'{"a": 1,\r\n "b" 2}')
        == ": not JSON (Expecting ':' delimiter, line 2, column 6); correct or remove it."
    )
    assert "line 2: not readable JSON (Exceeds the limit" in told(rows, b"1\n" + b"9" * 5000)
    assert ", line 2: not YAML: " in told(read_settings, b"a: 1\nb: x: y\n")
    assert ", line 3: not YAML: " in told(read_settings, b"a: 1\nb: 2\nc: \x07\n")
    assert "not YAML: month must be in 1..12" in told(read_settings, b"a: 2024-13-01\n")


def test_lines_that_cannot_be_read_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(MARK + b'1\n{"a"\n\xff\n\0\n\n2')
    broken: list[str] = []
    assert list(read_jsonl(path, broken)) == [(1, 1), (6, 2)]
    assert [told.removeprefix(f"{path}, ").split(":")[0] for told in broken] == ["line 2", "line 3", "line 4"]
    (tmp_path / "b.json").write_bytes(MARK + b'{"a": 1}')
    assert mapping_of(tmp_path / "b.json") == {"a": 1} and mapping_of(path) == {}

"""The page as a file: self-contained, allowed to do nothing but what our own script does, whole or not there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from synthetic_results import METHODS, cell, record, results, turn

from maporl.benchmarks import report
from maporl.benchmarks.analysis.results import Results
from maporl.benchmarks.report import collect, page, write_report
from maporl.benchmarks.report.html import LIVE, SCRIPTS
from maporl.cli import main

HOSTILE = "</script><script>alert(1)</script><!--<script> ' \" & \u2028 \x00 \ud800 \u202e <title>"


class Page(HTMLParser):
    """Scripts and elements as a parser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._open = tag
        self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open][-1] += data


def built(study: Results, **more: str) -> str:
    return "".join(page(collect(study, {}, **more)))


def hostile(tmp_path: Path) -> Results:
    said = [turn("agent_0", 0, HOSTILE, HOSTILE, True)]
    one = record(0, question=HOSTILE, gold=HOSTILE, question_id=HOSTILE, team_answer=HOSTILE, turns=said)
    return Results(HOSTILE, (cell(tmp_path, METHODS[3], 0, [one]),), {HOSTILE: HOSTILE})


def test_the_policy_allows_exactly_our_script_and_style(tmp_path: Path) -> None:
    found = Page(built(results(tmp_path, questions=2)))
    policy = next(
        a["content"] for tag, a in found.elements if tag == "meta" and a.get("http-equiv") == "Content-Security-Policy"
    )
    assert (
        policy is not None
        and policy.startswith("default-src 'none';")
        and "unsafe" not in policy
        and "http" not in policy
    )
    scripts = [a for tag, a in found.elements if tag == "script"]
    assert [a.get("type") for a in scripts].count(None) == 1
    running = found.texts["script"][[a.get("type") for a in scripts].index(None)]
    for text in (running, found.texts["style"][0]):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_nothing_is_loaded_from_anywhere(tmp_path: Path) -> None:
    found = Page(built(results(tmp_path, questions=2)))
    loading = [
        (tag, a)
        for tag, a in found.elements
        if a.get("src") or (a.get("href") or "#")[0] != "#" or tag in ("link", "iframe", "object")
    ]
    assert loading == []


def test_hostile_text_makes_no_element(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    plain = Page(built(results(tmp_path / "plain", questions=1)))
    found = Page(built(hostile(tmp_path)))
    assert [tag for tag, _ in found.elements] == [tag for tag, _ in plain.elements]
    assert "alert(1)" in found.texts["title"][0] and "\x00" not in found.texts["title"][0]


def test_json_blocks_hold_no_markup_and_come_back_as_they_were(tmp_path: Path) -> None:
    text = built(hostile(tmp_path))
    block = re.search(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    assert block and not set("<>&\u2028") & set(block[1]) and block[1].isascii()
    assert json.loads(block[1])["title"] == HOSTILE


def test_a_title_that_looks_like_a_placeholder_stays_text(tmp_path: Path) -> None:
    found = Page(built(results(tmp_path, questions=1), title="{{script}} \\1"))
    assert found.texts["title"] == ["{{script}} \\1"]


def test_every_script_of_the_folder_is_on_the_page_and_none_parses_markup() -> None:
    folder = Path(str(report.__file__)).parent / "page"
    assert {file.name for file in folder.glob("*.js")} == {*SCRIPTS, LIVE}
    for name in (*SCRIPTS, LIVE):
        source = (folder / name).read_text(encoding="utf-8")
        if name == LIVE:  # asks its own server, and nobody else
            assert source.count("fetch(") == source.count("fetch(`/news?") == 1
            source = source.replace("fetch(", "")
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(|XMLHttp|https?://(?!www\.w3\.org/2000/svg)",
            source,
        ), name


def test_the_file_replaces_an_older_one_and_leaves_no_part(tmp_path: Path) -> None:
    payload = collect(results(tmp_path / "study", questions=1), {})
    target = tmp_path / "new" / "page.html"
    write_report(payload, target)
    first = target.stat().st_ino
    write_report(payload, target)
    assert target.stat().st_ino != first and [f.name for f in target.parent.iterdir()] == ["page.html"]


def test_a_place_that_cannot_be_written_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written .*name another file"):
        write_report(collect(Results("", ()), {}), tmp_path / "file" / "page.html")


class TestCommand:
    def run_folder(self, folder: Path) -> Path:
        folder.mkdir()
        (folder / "config.yaml").write_text("env: apples\nnum_agents: 2\nseed: 3\n")
        (folder / "metrics.jsonl").write_text('{"iteration": 1, "rollout/reward_mean": 0.5}\n{"iter')
        (folder / "discussions").mkdir()
        (folder / "discussions" / "iteration_0001.jsonl").write_text(
            json.dumps(record(0)) + "\n" + json.dumps(record(1))[:50]
        )
        return folder

    def test_a_run_that_goes_on(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        run = self.run_folder(tmp_path / "first")
        assert main(["report", str(run)]) == 0
        said = capsys.readouterr().out
        assert "running: apples, first, seed 3: " in said and "left out: " in said and "1 discussion, 2 cells," in said
        assert (run / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")

    def test_output_and_title(self, tmp_path: Path) -> None:
        runs = [str(self.run_folder(tmp_path / name)) for name in ("a", "b")]
        assert main(["report", *runs, "--output", str(tmp_path / "x.html"), "--title", "Both & more"]) == 0
        assert "<title>Both &amp; more</title>" in (tmp_path / "x.html").read_text(encoding="utf-8")

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--output", "results.yaml"], "is no HTML file; give it a name that ends in .html"),
            ([], "neither a study nor a run"),
            (["--live"], "neither a study nor a run"),
            (["--live", "--output", "x.html"], "--output writes files, which --live does not"),
            (["--port", "8000"], "--port belongs to --live"),
            (["nowhere"], "'nowhere': there is no such folder"),
        ],
    )
    def test_mistakes_are_one_line(
        self, words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["report", str(tmp_path), *words]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1

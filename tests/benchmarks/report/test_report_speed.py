"""Twenty thousand discussions: the report is built, opened, filtered and searched without a wait."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from report_pages import TEAM, TRAINED, Visit, built
from synthetic_results import results

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


@pytest.mark.slow
def test_twenty_thousand_discussions(visit: Visit, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Built in under 30 s, first table in under 2 s, no filter or search that stops the page; docs/report.md has the figures."""
    draw = random.Random(0)
    words = ["".join(draw.choices("aeioubdfgklmnprst", k=draw.randint(2, 9))) for _ in range(5000)]
    big = results(tmp_path, questions=5000, methods=(TEAM, TRAINED), words=45, vocabulary=words)
    start = time.perf_counter()
    file = built(big, tmp_path / "report.html")
    measured = {"built": time.perf_counter() - start, "megabytes": file.stat().st_size / 1e6}

    start = time.perf_counter()
    page = visit(file, wait="commit", watch_tasks=True)
    expect(page.locator("table.summary tbody tr").first).to_be_visible()
    measured["first table"] = time.perf_counter() - start
    page.locator("#to-discussions").click()
    expect(page.locator(".card").first).to_be_visible()
    measured["first discussion"] = time.perf_counter() - start

    def timed(name: str, act: Callable[[], Any], said: str) -> None:
        page.evaluate("window.longest = 0")
        begun = time.perf_counter()
        act()
        expect(page.locator("#count")).to_contain_text(said, timeout=30_000)
        measured[name] = time.perf_counter() - begun
        measured[f"{name}, longest task"] = page.evaluate("window.longest") / 1000

    timed("filter", lambda: page.get_by_label("Method", exact=True).select_option(""), "20\u202f000 discussions")
    timed("search", lambda: page.get_by_role("searchbox").fill("nowheretobefound"), "0 discussions with nowhere")
    timed("search often found", lambda: page.get_by_role("searchbox").fill("look once more"), "discussions with look")
    with capsys.disabled():
        print(json.dumps({name: round(value, 2) for name, value in measured.items()}, indent=1))
    assert measured["built"] < 30 and measured["first table"] < 2
    assert max(value for name, value in measured.items() if name.endswith("task")) < 0.3

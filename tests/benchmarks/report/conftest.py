"""A real browser for the report: one process for the session, one page a test, and a witness of whatever leaves the page."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report_pages import built
from synthetic_results import results

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"


LONGEST_TASK = """
window.longest = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) window.longest = Math.max(window.longest, one.duration);
}).observe({type: "longtask"});
"""


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Chromium of this machine, or a skip that says what is missing."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser tests: none of {', '.join(BROWSERS)} is installed")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=[*FLAGS.split(), "--disable-sync"])
        yield started
        started.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens a file in a page of its own. When the test ends, nothing but that file was asked for, and nothing went wrong."""
    contexts, wrong = [], []

    def opened(
        file: Path,
        place: str = "",
        *,
        width: int = 1280,
        height: int = 860,
        wait: str = "load",
        watch_tasks: bool = False,
        **settings: Any,
    ) -> Any:
        context = browser.new_context(viewport={"width": width, "height": height}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on(
            "request",
            lambda request: request.url.split("#")[0] == file.as_uri() or wrong.append(f"request {request.url[:200]}"),
        )
        page.on("websocket", lambda socket: wrong.append(f"socket {socket.url}"))
        page.on("popup", lambda popup: wrong.append(f"popup {popup.url}"))
        page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: wrong.append(f"error {error}"))
        page.on("console", lambda message: wrong.append(f"console {message.text}"))
        if watch_tasks:
            page.add_init_script(LONGEST_TASK)
        page.goto(file.as_uri() + place, wait_until=wait)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The synthetic study's report: 40 questions, 10 cells, 400 discussions."""
    folder = tmp_path_factory.mktemp("study")
    return built(results(folder, questions=40), folder / "report.html")

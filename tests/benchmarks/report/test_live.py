"""The report that is served while runs go on: to this machine alone, and without disturbing whoever reads."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from run_folders import evaluated, run_folder

from maporl.benchmarks.report import live
from maporl.benchmarks.report.live import LiveReport, LiveServer


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(live, "PATIENCE", 0)
    return run_folder(tmp_path / "mine")


@pytest.fixture
def server(run: Path) -> Iterator[LiveServer]:
    with LiveServer(LiveReport([run]), 0) as served:
        thread = threading.Thread(target=served.serve_forever, args=(0.02,))
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def ask(server: LiveServer, path: str, host: str | None = None) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), dict(answer.getheaders())


def test_news_are_what_changed_and_nothing_else(run: Path) -> None:
    report = LiveReport([run])
    known = report.news({})["versions"]
    assert set(known) == {"figures", "discussions", "trees", "tokens"} and report.news(known)["parts"] == {}
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"iteration": 3, "train/entropy": 0.125}\n')
    news = report.news(known)
    assert set(news["parts"]) == {"figures"} and news["parts"]["figures"]["runs"][0]["done"] == 3
    evaluated(run, "iteration_0003", "RRRR", 3)
    assert set(report.news(news["versions"])["parts"]) == {"figures", "discussions"}


def test_a_report_is_not_built_more_often_than_it_costs(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = LiveReport([run])
    known = report.news({})["versions"]
    (run / "status.json").write_text('{"status": "failed"}')
    monkeypatch.setattr(live, "PATIENCE", 1e9)
    assert report.news(known)["parts"] == {}
    monkeypatch.setattr(live, "PATIENCE", 0)
    assert set(report.news(known)["parts"]) == {"figures"}


def test_this_machine_is_answered_under_its_own_name_alone(server: LiveServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    port = server.server_port
    forwarded, left_out_by_browsers = "localhost:8080", "127.0.0.1"  # ssh -L 8080:127.0.0.1:6066; --port 80
    for host in (None, server.name, f"localhost:{port}", forwarded, left_out_by_browsers):
        assert ask(server, "/", host)[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "127.0.0.1:",
        f"127.0.0.1:{port}.evil.example",
        f"127.0.0.2:{port}",
        "",
    ):
        status, body, _ = ask(server, "/", host)
        assert status == 403 and "apples" not in body


@pytest.mark.parametrize(
    "path", ["/config.yaml", "/../config.yaml", "/%2e%2e/config.yaml", "//etc/passwd", "/news/..", "/report.html"]
)
def test_there_is_nothing_but_the_page_and_its_news(server: LiveServer, path: str) -> None:
    assert ask(server, path)[0] == 404


def test_the_page_may_ask_its_server_and_no_one_may_frame_it(server: LiveServer) -> None:
    _, page, headers = ask(server, "/")
    assert "default-src 'none'" in page and "connect-src 'self'" in page
    assert (
        headers["Content-Security-Policy"] == "frame-ancestors 'none'" and "Access-Control-Allow-Origin" not in headers
    )
    status, news, headers = ask(server, "/news")
    assert status == 200 and set(json.loads(news)["parts"]) == {"figures", "discussions", "trees", "tokens"}
    assert headers["Content-Type"].startswith("application/json") and headers["X-Content-Type-Options"] == "nosniff"


def test_a_port_that_is_taken_is_one_line(server: LiveServer) -> None:
    for port in (server.server_port, 70000):
        with pytest.raises(ValueError, match=f"--port {port} cannot be had .*; give another, or --port 0"):
            LiveServer(server.report, port)


def test_ctrl_c_ends_it_and_torch_was_never_needed(run: Path) -> None:
    program = (
        "import sys; from maporl.cli import main; code = main(['report', '--live', sys.argv[1], '--port', '0']); "
        "print('torch' in sys.modules); sys.exit(code)"
    )
    command = [sys.executable, "-c", program, str(run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        said, error = process.communicate(timeout=60)
    assert (process.returncode, said) == (0, "False\n")
    assert error.startswith("maporl: ") and error.endswith("to be read\n") and error.count("\n") == 1


def test_a_reader_stays_where_they_are(server: LiveServer, run: Path, browser: Any) -> None:
    from playwright.sync_api import expect

    context = browser.new_context(viewport={"width": 1280, "height": 500})
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    address = f"http://{server.name}/"
    page.add_init_script("globalThis.setTimeout = ((wait) => (work, ms) => wait(work, Math.min(ms, 100)))(setTimeout)")
    page.goto(address)
    expect(page.locator("#pulse")).to_have_text("live")
    page.get_by_text("1 setting at the default").click()
    page.evaluate("scrollTo(0, 400)")
    evaluated(run, "iteration_0003", "RRRR", 3)
    expect(page.locator("table.evaluations tbody tr")).to_have_count(4)
    assert page.evaluate("scrollY") == 400
    expect(page.locator("#results details[open]")).to_have_count(1)
    page.goto(address + "#discussions")
    rows = page.locator("#list [role=option]")
    rows.nth(2).click()
    chosen = page.locator("#reader .where").inner_text()
    evaluated(run, "iteration_0004", "RRRRR", 4)
    expect(page.locator("#viewer-method option")).to_have_count(7)
    expect(page.locator("#reader .where")).to_have_text(chosen)
    expect(page.locator("#list [aria-selected=true]")).to_have_attribute("aria-posinset", "3")
    assert wrong == []
    context.close()

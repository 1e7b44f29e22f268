"""A coding discussion in the report: code in colours, lines that changed, what came of every assert; and hostile text in all of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_pages import Visit, options, small
from synthetic_results import record, turn
from test_report_accessibility import CHECKS
from test_report_untrusted import ATTACKS

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect

FIRST = 'A try:\n```python\n@cache\ndef total(xs):\n    """Of\n    all."""\n    return sum(xs)  # 𝒳, or 1\n```\nDone.'
SECOND = FIRST.replace("sum(xs)", "sum(x * 2.5e1 for x in xs)")
PASSED, FAILED = ["assert total([]) == 0", "passed"], ["assert total([1]) == 25", "failed", "total([1]) gave 1"]


def said(round: int, text: str, checks: list[list[str]], **changes: Any) -> dict[str, Any]:
    right = all(status == "passed" for _, status, *_ in checks)
    made = turn("coder", round, text, "def total(xs):\n    ...", right, **changes)
    return {**made, "score": {**made["score"], "checks": checks}}


def discussion(*turns: dict[str, Any], **changes: Any) -> dict[str, Any]:
    code = {
        "agents": ["coder"],
        "gold": "assert total([]) == 0\nassert total([1]) == 25",
        "team_answer": "a = 1\nb = 2",
    }
    return record(0, turns=list(turns), **{**code, **changes})


def test_code_is_coloured_and_compared_and_every_assert_has_its_verdict(visit: Visit, tmp_path: Path) -> None:
    many = [[f"assert total([{n}]) == {n}", *(["passed"] if n % 2 else ["timeout", "too slow"])] for n in range(100)]
    team = {
        "value": 0.5,
        "correct": False,
        "answer": "x",
        "status": "ok",
        "explanation": "",
        "measures": {"aux_called": 0.5},
    }
    turns = [said(0, FIRST, [PASSED, FAILED]), said(1, SECOND, [PASSED, [FAILED[0], "passed"]])]
    teams = [{**team, "checks": many}, {**team, "correct": True, "checks": [PASSED]}]
    page = visit(small(tmp_path, discussion(*turns, team_scores=teams)), "#discussions")
    cards = page.locator(".cards > .card")
    code = cards.first.locator(".message .code")
    expect(cards.first.locator(".message .fence")).to_have_text(
        "```python"
    )  # the page is drawn: what follows does not wait
    kinds = ("decorator", "keyword", "defined", "string", "builtin", "comment")
    shown = {kind: code.locator(f".{kind}").all_inner_texts() for kind in kinds}
    assert shown == {
        "decorator": ["@cache"], "keyword": ["def", "return"], "defined": ["total"], "string": ['"""Of', '    all."""'],
        "builtin": ["sum"], "comment": ["# 𝒳, or 1"],
    }  # fmt: skip
    assert code.locator(".line").all_inner_texts() == FIRST.split("\n")[2:-2]
    expect(cards.first.locator(".answer")).to_have_text("1 of 2")
    expect(cards.first.locator(".checks li")).to_have_text(
        ["✓ passed assert total([]) == 0", "✗ failed assert total([1]) == 25total([1]) gave 1"]
    )
    # The second round: two lines of it differ from the first.
    expect(cards.nth(1).locator(".answer")).to_contain_text("2 of 2")
    expect(cards.nth(1).locator("del")).to_have_text("    return sum(xs)  # 𝒳, or 1")
    expect(cards.nth(1).locator("ins")).to_have_text("    return sum(x * 2.5e1 for x in xs)  # 𝒳, or 1")
    page.keyboard.press("c")
    expect(cards.nth(1).locator("ins, del")).to_have_count(0)
    # The team's: a hundred asserts wait until they are asked for.
    together = page.locator(".together")
    expect(together.first.locator("summary")).to_have_text("50 of 100 asserts pass: 50 timeout")
    expect(together.first).to_contain_text("aux_called 0.5")
    expect(together.first.locator(".checks")).not_to_be_visible()
    together.first.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(together.first.locator(".checks li")).to_have_count(100)
    assert together.first.locator(".checks").bounding_box()["height"] < 500
    page.get_by_role("searchbox").fill("sum(x")  # found across two colours
    expect(page.locator(".message mark")).to_have_text(["sum", "(x", "sum", "(x"])
    for details in page.locator("#reader details").all():
        details.evaluate("(node) => (node.open = true)")
    assert page.evaluate(f"{CHECKS}.namesAndOrder()") == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_timeout(200)
        assert page.evaluate(f"{CHECKS}.contrast()")[1] == []


def test_hostile_code_and_asserts_are_text(visit: Visit, tmp_path: Path) -> None:
    nasty = "\n".join(ATTACKS)
    code = f"```python\n{nasty}\n```"
    quoted = f"def f():\n    '''{nasty}"
    checks = [
        [attack, status, attack]
        for attack, status in zip(ATTACKS, ["failed", "error", "not_run", nasty] * 9, strict=False)
    ]
    turns = [
        said(0, code, checks),
        said(1, f"{code}\n~~~{quoted}", checks),
        said(2, quoted, checks),
        said(3, f"\x00{quoted}\nx", checks),
    ]
    team = {
        "value": 0.5,
        "correct": None,
        "answer": nasty,
        "status": nasty,
        "explanation": nasty,
        "measures": {nasty: 0.5},
    }
    teams = [{**team, "checks": checks}, team]
    changes = {"question": code, "gold": nasty, "team_answer": nasty, "team_scores": teams}
    page = visit(small(tmp_path, discussion(*turns, **changes)), "#discussions", width=500)
    options(page).first.click()
    expect(page.locator(".cards > .card")).to_have_count(4)
    for details in page.locator("#reader details:not(.beside)").all():
        details.evaluate("(node) => (node.open = true)")
    assert page.evaluate("[window.pwned ?? 0, document.querySelectorAll('script:not([type])').length]") == [0, 1]
    assert page.locator("#reader :is(img, iframe, script, link, svg)").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 500
    expect(page.locator(".why").nth(1)).to_have_text(ATTACKS[1])
    expect(page.locator(".message .line").nth(1)).to_have_text(ATTACKS[1])

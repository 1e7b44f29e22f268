"""What model text cannot do to the report, and results that are not as one would wish."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_pages import TEAM, TRAINED, Visit, built, options, small
from synthetic_results import cell, record, turn

from maporl.benchmarks.analysis.results import Results

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


ATTACKS = [
    "</script><script>window.pwned = 1; alert(1)</script>",
    '<img src=x onerror="window.pwned = 1; alert(2)">',
    "\"'><svg onload=alert(3)><iframe src='https://example.com'></iframe>",
    "<!--<script>",
    "]]>",
    "&lt;b&gt; &amp;",
    "javascript:alert(4)",
    "${alert(5)}",
    "{{script}}",
    "\u2028\u2029\x00\x07\x1b[31m\ufeff",
    "half \ud800 pair",
    "\u202e reversed \u2066",
    "x" * 3000,
    "<link rel=stylesheet href=//example.com/x.css>",
]


class TestUntrusted:
    def attacked(self, folder: Path) -> Path:
        """Every attack in every field that a model, a task or an error can fill."""
        everything = " ".join(ATTACKS)
        records = []
        for k, attack in enumerate([*ATTACKS, everything]):
            said = [turn(attack, r, f"{attack}\nAnswer: {attack} {r}", f"{attack} {r}", False) for r in range(2)]
            said[0]["score"]["status"] = attack
            records.append(
                record(
                    k,
                    question=attack,
                    question_id=f"{k} {attack}",
                    gold=attack,
                    private={attack: attack},
                    agents=[attack],
                    turns=said,
                    team_answer=attack,
                )
            )
        one = cell(folder, TEAM, 0, records, error=everything)
        hostile = [
            type(one)(
                **{
                    **vars(one),
                    "label": everything,
                    "method": f"m{k} {everything}",
                    "task": f"{everything}",
                    "status": s,
                }
            )
            for k, s in enumerate(("complete", "failed"))
        ]
        study = Results(everything, tuple(hostile), {everything: {everything: everything}}, (everything,))
        return built(study, folder / "report.html")

    def test_nothing_runs_and_everything_is_text(self, visit: Visit, tmp_path: Path) -> None:
        page = visit(self.attacked(tmp_path), "#discussions")
        page.get_by_label("Method", exact=True).select_option("")
        expect(page.locator("#count")).to_have_text(f"{2 * len([*ATTACKS, 0])} discussions")
        for _ in ATTACKS:
            expect(page.locator(".card")).to_have_count(2)
            page.keyboard.press("j")
        page.locator("details.beside summary").click()
        page.locator("details.beside input").first.check()
        expect(page.locator(".sides .one")).to_have_count(2)
        page.locator("#to-results").click()
        expect(page.locator("table.summary")).to_be_visible()
        for details in page.locator("#results details").all():
            details.evaluate("(node) => (node.open = true)")
        assert page.evaluate("[window.pwned ?? 0, document.querySelectorAll('script:not([type])').length]") == [0, 1]
        assert (
            page.locator("#reader :is(img, iframe, script, link), #results :is(img, iframe, script, link)").count() == 0
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280

    def test_text_is_shown_as_it_is_and_unseen_characters_are_named(self, visit: Visit, tmp_path: Path) -> None:
        text = "<b>bold</b> &amp; \u202e back \ud800 \x00 end"
        page = visit(small(tmp_path, record(0, turns=[turn("agent_0", 0, text, text, True)])), "#discussions")
        expect(page.locator(".message")).to_have_text("<b>bold</b> &amp; U+202E back U+D800 U+0000 end")

    def test_a_link_to_a_hostile_id_comes_back(self, visit: Visit, tmp_path: Path) -> None:
        file = small(tmp_path, record(0), record(1, question_id="a&b=c#\ud800 </script>"))
        page = visit(file, "#discussions")
        options(page).nth(1).click()
        expect(page.locator(".place")).to_have_text("2 of 2")
        again = visit(file, page.evaluate("location.hash"))
        expect(again.locator(".place")).to_have_text("2 of 2")

    def test_a_huge_message_is_cut_until_asked_for(self, visit: Visit, tmp_path: Path) -> None:
        huge = "word " * 20_000
        said = [turn("agent_0", r, huge + str(r), "4", True) for r in range(2)]
        page = visit(small(tmp_path, record(0, turns=said, question="y" * 50_000)), "#discussions")
        expect(page.locator(".card")).to_have_count(2)
        assert len(page.locator(".message").first.inner_text()) < 4100
        page.locator(".card .more").nth(1).click()
        expect(page.locator(".message").nth(1).locator("ins")).to_have_text("1")
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


class TestOddResults:
    def test_no_cells(self, visit: Visit, tmp_path: Path) -> None:
        page = visit(built(Results("Nothing", ()), tmp_path / "report.html"))
        expect(page.locator("#lead")).to_contain_text("These results hold nothing yet.")
        page.keyboard.press("d")
        expect(page.locator("#reader")).to_contain_text("There are no discussions in these results yet.")
        page.keyboard.press("j")
        page.keyboard.press("c")

    def test_failed_running_and_empty_cells(self, visit: Visit, tmp_path: Path) -> None:
        cells = (
            cell(tmp_path, TEAM, 0, None, status="failed", error="MemoryError: <no> memory"),
            cell(tmp_path, TEAM, 1, [record()], status="running"),
            cell(tmp_path, TRAINED, 0, None, status="waiting"),
        )
        page = visit(built(Results("Half", cells), tmp_path / "report.html"))
        expect(page.get_by_label("Failed")).to_contain_text("MemoryError: <no> memory")
        expect(page.get_by_label("Not finished")).to_contain_text("seed 1: still running")
        expect(page.locator("table.summary")).to_contain_text("seed 0 failed")
        expect(page.locator("table.summary")).to_contain_text("no answers yet")
        expect(page.locator("figure.plot", has_text="Learning curves")).to_have_count(0)

    @pytest.mark.parametrize("right", [True, False])
    def test_all_right_and_all_wrong(self, visit: Visit, tmp_path: Path, right: bool) -> None:
        said = [turn(f"agent_{k}", r, "4", "4", right) for r in range(2) for k in range(2)]
        page = visit(small(tmp_path, *[record(k, turns=said, team_correct=float(right)) for k in range(4)]))
        expect(page.locator("table.summary .accuracy strong")).to_have_text("100.0" if right else "0.0")
        assert "NaN" not in page.locator("#results").inner_html()

    def test_a_file_that_was_cut_off_says_so(self, visit: Visit, study: Path, tmp_path: Path) -> None:
        file = tmp_path / "cut.html"
        file.write_text(
            re.sub(r'(id="discussions-index">.{500})[^<]*', r"\1", study.read_text(encoding="utf-8")), encoding="utf-8"
        )
        page = visit(file, "#discussions")
        expect(page.locator("#count")).to_contain_text("cannot be read")

"""The report for everybody: names, contrast, keyboard, light and dark, phones, paper."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_pages import Visit, options

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


CHECKS = Path(__file__).with_name("accessibility.js").read_text(encoding="utf-8").rstrip().rstrip(";")


class TestEverybody:
    @pytest.mark.parametrize("place", ["#results", "#discussions"])
    def test_names_headings_and_captions(self, visit: Visit, study: Path, place: str) -> None:
        page = visit(study, place)
        expect(page.locator(".card, figure.plot svg").first).to_be_attached()
        if place == "#discussions":
            expect(page.locator(".card").first).to_be_visible()
        assert page.evaluate(f"{CHECKS}.namesAndOrder()") == []
        for landmark in ("banner", "navigation", "main"):
            expect(page.get_by_role(landmark)).to_have_count(1)

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("place", ["#results", "#discussions"])
    def test_contrast(self, visit: Visit, study: Path, scheme: str, place: str) -> None:
        page = visit(study, place, color_scheme=scheme)
        if place == "#discussions":
            expect(page.locator(".card").first).to_be_visible()
        checked, poor = page.evaluate(f"{CHECKS}.contrast()")
        assert checked > 50 and poor == []

    def test_the_theme_follows_the_system_until_told_otherwise(self, visit: Visit, study: Path) -> None:
        page = visit(study, color_scheme="dark")
        paper = lambda: page.evaluate("getComputedStyle(document.body).backgroundColor")  # noqa: E731
        dark = paper()
        for expected in ("dark", "light", "auto"):
            page.locator("#theme").click()
            expect(page.locator("#theme")).to_have_attribute("aria-label", f"Theme: {expected}")
            assert (paper() == dark) == (expected != "light")
        page.locator("#theme").click()
        page.locator("#theme").click()
        page.reload()
        assert paper() != dark  # kept

    @pytest.mark.parametrize("width", [360, 768])
    def test_a_phone_never_scrolls_sideways(self, visit: Visit, study: Path, width: int) -> None:
        page = visit(study, width=width, height=740)
        sideways = lambda: page.evaluate("document.documentElement.scrollWidth") - width  # noqa: E731
        expect(page.locator("table.summary")).to_be_attached()
        assert sideways() <= 0
        page.get_by_role("link", name="Discussions").first.click()
        options(page).nth(2).click()
        expect(page.locator(".card").first).to_be_visible()
        assert sideways() <= 0
        if width == 360:
            expect(page.locator("#list")).not_to_be_visible()
            page.get_by_role("button", name="List").click()
            expect(page.locator("#list")).to_be_focused()

    def test_controls_keep_the_focus_when_the_discussion_is_drawn_anew(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        focused = page.locator(":focus")
        page.get_by_role("button", name="Next").focus()
        for expected in (2, 3):
            page.keyboard.press("Enter")
            expect(page.locator(".place")).to_have_text(f"{expected} of 120")
            expect(focused).to_have_attribute("data-do", "next")
        expect(page.locator("#announcer")).to_contain_text("3 of 120: Team, MAPPO · seed 2")
        page.locator("details.beside summary").click()
        page.locator("details.beside input").nth(1).focus()
        page.keyboard.press("Space")
        expect(page.locator(".sides .one")).to_have_count(2)
        expect(focused).to_be_checked()
        page.keyboard.press("Escape")
        expect(page.locator("details.beside")).not_to_have_attribute("open", "")

    def test_counts_are_announced(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        assert page.locator("#count").get_attribute("aria-live") == "polite"
        expect(page.get_by_role("listbox", name="Discussions")).to_have_attribute("aria-activedescendant", "list-row-0")

    def test_print_shows_results_without_controls(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        page.emulate_media(media="print")
        expect(page.locator("table.summary")).to_be_visible()
        expect(page.locator(".bar")).not_to_be_visible()

    def test_every_control_is_reached_by_tab_and_shows_its_focus(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        expect(page.locator(".card").first).to_be_visible()
        reached = []
        for _ in range(11):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(f"{CHECKS}.focused()"))
        names = [name for name, _ in reached]
        assert [n for n in names if n in ("query", "method", "kind", "seed", "sort", "list")] == [
            "query",
            "method",
            "kind",
            "seed",
            "sort",
            "list",
        ]
        assert all(style != "none" for _, style in reached)

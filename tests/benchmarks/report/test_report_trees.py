"""Trees on the page: values, chosen against rejected, which leaf was right; with 39 messages and with 420."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from kept_trees import COUNTS, grown, long_run, small_run
from report_pages import TRAINED, Visit, built
from synthetic_results import cell, record
from test_report_accessibility import CHECKS
from test_report_untrusted import ATTACKS

from maporl.benchmarks.analysis.results import Results, load_results
from maporl.benchmarks.report import collect, trees
from maporl.cli import main
from maporl.types import Question

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


def page_of(run: Path) -> Path:
    return built(load_results([run]), run / "report.html")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(small_run(tmp_path_factory.mktemp("small") / "run"))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_of(long_run(tmp_path_factory.mktemp("large") / "run", questions=3))


def words(line: Any) -> str:
    return " ".join(line.inner_text().split())


class TestTree:
    def test_every_message_with_value_mark_and_verdict(self, visit: Visit, small: Path) -> None:
        page = visit(small)
        page.get_by_role("link", name="Trees").click()
        expect(page.locator(".grown")).to_have_text(
            "39 messages · 6 of 27 discussions right (22 %) · chosen and rejected at 4 of 13 decisions"
        )
        lines = [words(line) for line in page.get_by_role("treeitem").all()]
        assert lines[:7] == [
            "▾0.0 value 0.56 5/9 right ▲ chosen generator_0 Draft 0: three and four make about eight.",
            "▾0.0.0 value 1.00 3/3 right ▲ chosen verifier_0 Check 0 of the draft.",
            "0.0.0.0 ×3 value 1.00 ✓ right refiner_0 Answer: 7",
            "▾0.0.1 value 0.67 2/3 right ▲ chosen verifier_0 Check 1 of the draft.",
            "0.0.1.0 ×2 value 1.00 ✓ right ▲ chosen refiner_0 Answer: 7",
            "0.0.1.2 value 0.00 ✗ wrong ▼ rejected refiner_0 Answer: 8",
            "▾0.0.2 value 0.00 0/3 right ▼ rejected verifier_0 Check 2 of the draft.",
        ]
        blocks = page.locator(".block")
        expect(blocks).to_have_count(39)
        expect(page.locator(".block.right")).to_have_count(6)
        assert blocks.nth(0).locator("title").text_content() == "0.0, generator_0, value 0.56, chosen"

    def test_a_decision_shows_prompt_and_candidates_chosen_against_rejected(self, visit: Visit, small: Path) -> None:
        page = visit(small, "#trees")
        panel = page.get_by_role("region", name="The decision of the chosen message")
        expect(panel.get_by_role("heading", level=3)).to_have_text("generator_0 begins")
        page.get_by_role("treeitem", name="0.0.1.2").click()
        expect(panel.get_by_role("heading", level=3)).to_have_text("refiner_0 after 0.0.1")
        expect(panel.locator(".note")).to_have_text("3 candidates, 2 pairs")
        chosen, rejected = panel.locator(".column.chosen .card"), panel.locator(".column.rejected .card")
        expect(chosen).to_have_count(1)
        expect(chosen.get_by_role("button")).to_have_text(["0.0.1.0", "0.0.1.1"])
        expect(chosen).to_contain_text("Answer: 7")
        expect(rejected).to_have_class(re.compile("here"))
        boxes = chosen.bounding_box(), rejected.bounding_box()
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"] and boxes[0]["y"] == boxes[1]["y"]  # side by side
        panel.get_by_text(re.compile("^Prompt, ")).click()
        expect(panel.locator(".shown").last).to_contain_text("generator_0: Draft 0: three and four make about eight.")
        expect(panel.locator(".shown").last).to_contain_text("verifier_0: Check 1 of the draft.")

    def test_keys_links_and_folding(self, visit: Visit, small: Path) -> None:
        page = visit(small, "#trees")
        page.locator(".branch", has_text=re.compile(r"^▾0\.1\.0")).click()
        focused = page.locator(":focus")
        page.keyboard.press("ArrowRight")
        expect(focused).to_have_attribute("aria-level", "3")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowLeft")
        expect(focused).to_have_attribute("aria-expanded", "false")
        page.keyboard.press("ArrowUp")
        expect(focused).to_have_text(re.compile(r"^▾0\.1value 0\.11"))
        page.get_by_role("button", name="Fold all").click()
        expect(page.get_by_role("treeitem")).to_have_count(3)
        page.get_by_role("button", name="Open all").click()
        page.locator(".block").last.click()
        expect(page.locator(".card.here")).to_contain_text("0.2.2.2")
        again = visit(small, page.evaluate("location.hash"))
        expect(again.locator(".card.here")).to_contain_text("0.2.2.2")
        lost = visit(small, "#tree=9&of=x")
        expect(lost.locator("#tree-reader")).to_contain_text("The tree of this link is not in this file.")

    def test_420_messages_are_folded_and_drawn_at_once(self, visit: Visit, large: Path) -> None:
        page = visit(large, "#trees", watch_tasks=True)
        expect(page.locator(".grown")).to_contain_text(f"420 messages · {sum(COUNTS)} of 384 discussions right (25 %)")
        expect(page.locator(".block")).to_have_count(420)
        expect(page.get_by_role("treeitem")).to_have_count(4 + 32)
        second = page.locator(".branch[aria-level='2'] .outcome-of").all_inner_texts()
        assert [text.split()[0] for text in second] == [f"{n}/12" for n in COUNTS]
        page.locator(".branch", has_text="0.1.2").locator(".fold").click()
        opened = page.locator(".branch[aria-level='3']")
        assert [words(line)[:26] for line in opened.all()][:1] == ["0.1.2.0 ×4 value 1.00 ✓ ri"]
        page.get_by_role("button", name="Open all").click()
        assert page.get_by_role("treeitem").count() > 100
        assert page.evaluate("window.longest") < 1000
        page.keyboard.press("j")
        expect(page.locator("#tree-reader .place")).to_have_text("2 of 3")

    def test_those_who_speak_at_once(self, visit: Visit, tmp_path: Path) -> None:
        texts = [[f"Answer: {a}" for a in answers] for answers in ((7, 7, 8), (7, 8, 8))]
        page = visit(page_of(grown(tmp_path / "run", (3,), texts, protocol="debate")), "#trees")
        expect(page.locator(".decision h3")).to_have_text(["agent_0 begins", "agent_1 begins"])
        assert words(page.get_by_role("treeitem").nth(1)).startswith(
            "0.1 value 0.50 ≈ a tie, 50 % right ▼ rejected agent_0"
        )

    def test_filters_and_orders(self, visit: Visit, tmp_path: Path) -> None:
        run = small_run(tmp_path / "run")
        asked = [Question("What is 1 + 1?", "2", "two"), Question("What is 2 + 5?", "7", "also seven")]
        grown(run, (2, 1), [["a"], ["Answer: 7", "Answer: 7"]], questions=asked, record="episodes/iteration_0002")
        (run / "config.yaml").write_text((run / "config.yaml").read_text().replace("num_agents: 2", "num_agents: 3"))
        page = visit(page_of(run), "#trees")
        names = page.locator("#tree-list .ask")
        expect(names).to_have_text(["What is 3 + 4?", "What is 1 + 1?", "What is 2 + 5?"])
        page.get_by_role("combobox", name="Order").select_option("high")
        expect(names).to_have_text(["What is 2 + 5?", "What is 3 + 4?", "What is 1 + 1?"])
        page.get_by_role("combobox", name="Show").select_option("paired")
        expect(names).to_have_text(["What is 3 + 4?"])
        page.get_by_role("combobox", name="Kept in").select_option(label="episodes/iteration_0002")
        expect(page.locator("#tree-reader")).to_contain_text("No tree passes these filters.")


class TestEverybody:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_names_and_contrast(self, visit: Visit, small: Path, scheme: str) -> None:
        page = visit(small, "#trees", color_scheme=scheme)
        page.get_by_role("treeitem", name="0.0.1.2").click()
        expect(page.locator(".card.here")).to_be_visible()
        assert page.evaluate(f"{CHECKS}.namesAndOrder()") == []
        checked, poor = page.evaluate(f"{CHECKS}.contrast()")
        assert checked > 50 and poor == []

    @pytest.mark.parametrize("width", [360, 768, 1920])
    def test_no_width_scrolls_sideways(self, visit: Visit, large: Path, width: int) -> None:
        page = visit(large, "#trees", width=width, height=740)
        page.locator("#tree-list [role=option]").first.click()
        page.get_by_role("treeitem").nth(2).click()
        expect(page.locator(".decisions")).to_be_in_viewport()
        expect(page.get_by_role("treeitem").nth(2)).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        reader = page.locator("#tree-reader")
        assert reader.evaluate("(node) => node.scrollWidth - node.clientWidth") <= 0

    def test_hostile_texts_stay_texts(self, visit: Visit, tmp_path: Path) -> None:
        asked = [Question(attack, "7", f"{n} {attack}") for n, attack in enumerate(ATTACKS)]
        run = grown(
            tmp_path / "run",
            (2, 2),
            [ATTACKS, [f"{a} Answer: {n % 8}" for n, a in enumerate(ATTACKS)]],
            questions=asked,
        )
        page = visit(page_of(run), "#trees")
        for n in range(len(ATTACKS)):
            expect(page.locator("#tree-reader .place")).to_have_text(f"{n + 1} of {len(ATTACKS)}")
            page.get_by_role("treeitem").nth(1).click()
            page.locator(".decisions summary").click()
            page.keyboard.press("j")
        assert page.evaluate("[window.pwned ?? 0, document.querySelectorAll('script:not([type])').length]") == [0, 1]
        assert page.locator("#trees :is(img, iframe, script, link)").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 1280


class TestWhatIsThere:
    def test_results_without_trees_have_no_such_view(
        self, visit: Visit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        run = grown(tmp_path / "run", (), [["Answer: 7"]] * 3)
        assert main(["report", str(run)]) == 0 and ": 0 discussions, 1 cell, " in capsys.readouterr().out
        page = visit(run / "report.html", "#trees")
        expect(page.locator("#to-trees")).not_to_be_visible()
        expect(page.locator("#tree-reader")).to_have_text("There are no trees in these results.")
        page.keyboard.press("t")
        page.keyboard.press("j")

    def test_of_a_study_the_trees_of_its_runs(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of a file that cannot be read, and those that are too many, are named as left out."""
        one = cell(tmp_path, TRAINED, 3, [record()])
        small_run(one.runs[0])
        broken = one.runs[0] / "episodes" / "iteration_0002.jsonl"
        shutil.copy(one.runs[0] / "episodes" / "iteration_0001.jsonl", broken)
        broken.write_text(broken.read_text(encoding="utf-8") + '{"half', encoding="utf-8")
        asked = [Question("What is 1 + 1?", "2", name) for name in ("a", "b", "c")]
        grown(one.runs[0], (3, 3, 3), [["Answer: 2"]] * 3, questions=asked, record="episodes/iteration_0003")
        payload = collect(Results("Study", (one,)), {})
        left_out = [note["text"] for note in payload.figures["notes"]]
        name = f"{TRAINED.label}, seed 3"
        assert payload.figures["trees"] == 4 and len(left_out) == 1
        assert (
            left_out[0].startswith(f"{name}: trees of episodes/iteration_0002 cannot be read (")
            and "1 broken line" in left_out[0]
        )
        rest = f"; maporl show {one.runs[0]} --tree has them"
        for limit, value, shown, left in (
            ("MOST", 2, 2, "2 trees and all trees of 1 files"),  # the first file, the last, then what lies between
            ("PAGE", 1, 1, "all trees of 2 files"),
        ):
            monkeypatch.setattr(trees, limit, value)
            payload = collect(Results("Study", (one,)), {})
            assert payload.figures["trees"] == shown
            assert [note["text"] for note in payload.figures["notes"]] == [f"{name}: {left}{rest}"]

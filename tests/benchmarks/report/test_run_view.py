"""The report of a single run: in the order of time, with its curves, settings and tokens; never as a table of methods."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from report_pages import Visit, built, options
from run_folders import run_folder
from synthetic_results import METHODS, cell, record
from test_report_accessibility import CHECKS

from maporl.benchmarks.analysis.results import Results, load_results
from maporl.benchmarks.analysis.summary import summarise
from maporl.benchmarks.report import collect
from maporl.benchmarks.report.run_curves import curves_of

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_folder(tmp_path_factory.mktemp("runs") / "a_name_that_is_much_longer_than_a_phone_is_wide")


@pytest.fixture(scope="module")
def report(run: Path) -> Path:
    return built(load_results([run]), run / "report.html")


def figures(*paths: Path) -> dict[str, Any]:
    results = load_results(paths)
    return collect(results, summarise(results)).figures


class TestData:
    def test_evaluations_are_in_the_order_of_time_each_with_its_own_questions(self, run: Path) -> None:
        (view,) = figures(run)["runs"]
        shown = [(e["split"], e["iteration"], e["questions"], e["accuracy"]) for e in view["evaluations"]]
        assert shown == [("validation", 0, 4, 0.5), ("validation", 2, 4, 0.5), ("test", 2, 6, 0.5)]
        first, last, test = view["evaluations"]
        assert [r["accuracy"] for r in last["rounds"]] == [0.0, 1.0]  # of messages, which `record` makes
        assert (last["gain"]["difference"], first["gain"], test["gain"]) == (0.0, None, None)
        assert last["low"] < 0.5 < last["high"] and test["high"] - test["low"] < last["high"] - last["low"]
        assert [(s["iteration"], s["discussions"]) for s in view["samples"]] == [(1, 2)]

    def test_what_changed_settings_and_versions(self, run: Path) -> None:
        (view,) = figures(run)["runs"]
        change = view["changes"]
        assert [change[k] for k in ("wrong_right", "right_wrong", "right_right", "wrong_wrong")] == [1, 1, 1, 1]
        chosen, defaults = view["settings"]["chosen"], view["settings"]["defaults"]
        assert (chosen["learning_rate"], defaults["learning_rate"], chosen["num_iterations"]) == (0.25, 0.0005, 2)
        assert view["settings"]["usual"] == {"algorithm": "mappo"}
        assert view["machine"]["versions"] == {"maporl": "9.8.7"}
        assert (view["status"], view["done"], view["iterations"], view["seconds"]) == ("complete", 2, 2, 4.0)

    def test_several_runs_are_a_row_each_and_have_a_section_each(self, run: Path, tmp_path: Path) -> None:
        found = figures(run, run_folder(tmp_path / "other"))
        assert [(row["label"], row["accuracy"]) for row in found["summary"]] == [(run.name, 0.5), ("other", 0.5)]
        assert [view["name"] for view in found["runs"]] == [run.name, "other"]

    def test_curves_share_a_plot_by_kind_and_what_is_constant_has_none(self) -> None:
        points = [(k, k / 9) for k in range(4)]
        changing = (
            "train/grad_norm/a",
            "train/grad_norm/b",
            "rollout/measure/x",
            "eval/measure/x",
            "eval/tied",
            "odd/thing",
        )
        metrics = {
            **dict.fromkeys(changing, points),
            "train/lr": [(0, 1.0), (1, 1.0)],
            "train/nan": [(0, float("nan"))],
        }
        first, more = curves_of(metrics, [])
        assert {f.title: [(s.label, s.hollow) for s in f.series] for f in (*first, *more)} == {
            "Norm of the gradient": [("a", False), ("b", False)],
            "measure/x": [("measure/x", False), ("measure/x", True)],
            "tied": [("tied", True)],
            "odd/thing": [("odd/thing", False)],
        }

    def test_long_curves_are_drawn_with_a_mean_that_keeps_their_level(self) -> None:
        points = [(k, 2.0 + (-1) ** k) for k in range(100)]
        ((figure,), _) = curves_of({"train/entropy": points}, [])
        thin, bold = figure.series
        assert (thin.style, bold.style, len(bold.points)) == ("thin", "plain", 100)
        assert all(y == pytest.approx(2.0, abs=0.5) for _, y in bold.points)


class TestPage:
    def test_a_run_is_no_table_of_methods(self, visit: Visit, report: Path) -> None:
        page = visit(report)
        expect(page.get_by_role("link", name="Run", exact=True)).to_be_visible()
        expect(page.locator("table.evaluations tbody tr")).to_have_count(3)
        expect(page.locator("table.evaluations tbody tr").last).to_contain_text("test6")
        expect(page.locator("table.summary")).to_have_count(0)
        expect(page.locator(".ends dd strong")).to_have_text(["50.0 %", "50.0 %", "50.0 %"])
        expect(page.locator(".plots.small figure")).to_have_count(4)
        expect(page.locator(".settings").first).to_contain_text("learning_rate0.25default 0.0005")
        expect(page.locator("#results")).to_contain_text("9.8.7")
        assert page.evaluate(f"{CHECKS}.namesAndOrder()") == []

    def test_what_changed_leads_to_both_discussions_the_earlier_one_first(self, visit: Visit, report: Path) -> None:
        page = visit(report)
        page.get_by_role("link", name="not right before, right now").click()
        expect(page.locator("#count")).to_have_text("1 discussion")
        expect(page.locator(".one .outcome h3")).to_have_text(["validation at 0", "validation at 2"])
        expect(page.locator(".one").first).to_have_class(re.compile("wrong"))

    def test_prompt_and_tokens_on_demand(self, visit: Visit, report: Path) -> None:
        page = visit(report)
        page.get_by_role("link", name="Iteration 1", exact=True).click()
        button = page.get_by_role("button", name="Prompt and tokens")
        expect(button.nth(0)).to_be_visible()
        assert button.count() == 4  # of this discussion's messages; the other one has no tokens
        button.nth(0).click()
        expect(page.locator(".tokens").first).to_contain_text("Nothing was sampled")
        button.nth(1).click()
        panel = page.locator(".tokens").nth(1)
        expect(panel.locator(".stream").first).to_have_text("<|user|>What is↵ 4<|end|>", use_inner_text=False)
        expect(panel.locator(".stream").first.locator(".special")).to_have_text(["<|user|>", "<|end|>"])
        panel.get_by_label("What the model wrote").focus()
        page.keyboard.press("ArrowRight")
        expect(panel.locator(".fact")).to_have_text("␣4 (4) · log-prob −0.5 · probability 0.6065 · advantage +0.25")
        page.keyboard.press("End")
        expect(panel.locator(".fact")).to_contain_text("advantage −0.75")
        assert page.evaluate(f"{CHECKS}.namesAndOrder()") == []
        page.get_by_role("button", name="Next").click()
        expect(page.locator(".place")).to_have_text("2 of 2")
        expect(button).to_have_count(0)

    @pytest.mark.parametrize(("width", "scheme"), [(1280, "dark"), (390, "light")])
    def test_nothing_is_cut_off(self, visit: Visit, report: Path, width: int, scheme: str) -> None:
        page = visit(report, width=width, color_scheme=scheme)
        expect(page.locator("table.evaluations")).to_be_visible()
        sideways = lambda: page.evaluate("document.documentElement.scrollWidth") - width  # noqa: E731
        assert sideways() <= 0
        for badge in page.locator(".badge, .said").all():
            assert badge.evaluate("e => e.scrollWidth <= e.clientWidth + 1")
        assert page.evaluate(f"{CHECKS}.contrast()")[1] == []
        page.get_by_role("link", name="Discussions").click()
        row = options(page).first
        expect(row.locator(".who")).to_have_text("answer 4validation at 2")
        assert row.locator(".end, .from").evaluate_all("all => all.every((e) => e.scrollWidth <= e.clientWidth)")
        assert sideways() <= 0

    def test_beside_a_study_a_run_has_a_section_and_a_row(self, visit: Visit, run: Path, tmp_path: Path) -> None:
        study = cell(tmp_path, METHODS[3], 0, [record(0), record(1)])
        both = Results("Both", (study, *load_results([run]).cells))
        page = visit(built(both, tmp_path / "both.html"), width=390)
        expect(page.locator("table.summary tbody tr")).to_have_count(2)
        for badge in page.locator("table.summary .badge").all():  # whole within its cell, whatever the name is
            assert badge.evaluate(
                "e => e.getBoundingClientRect().right <= e.closest('th').getBoundingClientRect().right + 1"
            )
        expect(page.locator("section.run h2")).to_contain_text(run.name)

    def test_questions_that_begin_alike_are_told_apart_by_their_ends(self, visit: Visit, tmp_path: Path) -> None:
        long = "The following are questions that all begin with the same long sentence. "
        said = [record(k, question=f"{long}Number {k}?") for k in range(2)]
        page = visit(built(Results("x", (cell(tmp_path, METHODS[3], 0, said),)), tmp_path / "x.html"), "#discussions")
        expect(options(page).locator(".ask")).to_have_text(["… Number 0?", "… Number 1?"])

"""The report in a real browser: what a reader does with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from report_pages import TEAM, TRAINED, Visit, built, options, small
from synthetic_results import METHODS, cell, record, turn

from maporl.benchmarks.analysis.results import Results

sync_api = pytest.importorskip("playwright.sync_api", reason="no browser tests: Playwright is not installed")
expect = sync_api.expect


class TestResults:
    def test_the_table_says_what_a_reader_must_know(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        expect(page.get_by_role("heading", level=1)).to_have_text("Do apples need a team?")
        rows = page.locator("table.summary tbody tr")
        team = rows.filter(has_text="Team, MAPPO")
        expect(team.locator(".badge")).to_have_text(["team", "trained"])
        expect(team.locator(".seeds > span")).to_have_count(3)
        expect(team.locator("svg.strip .interval")).to_have_count(1)
        expect(page.locator("tbody.oracles")).to_contain_text("Best of 4 by the verifier")
        expect(page.locator("tbody:not(.oracles)")).not_to_contain_text(
            ["Best of 4"] * page.locator("tbody:not(.oracles)").count()
        )

    def test_all_accuracies_share_one_axis(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        strips = page.locator("table.summary th .strip, table.summary .accuracy .strip")
        edges = {(round(box["x"]), round(box["width"])) for box in (s.bounding_box() for s in strips.all())}
        assert strips.count() == 7 and len(edges) == 1

    def test_a_vote_stands_under_the_team_that_it_costs_as_much_as(self, visit: Visit, study: Path) -> None:
        names = visit(study).locator("table.summary tbody th[scope=row] a").all_inner_texts()
        assert names[names.index("Vote of 9") - 1] in ("Team, MAPPO", "Debate, untrained")

    def test_the_fair_comparison_comes_first(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        fair = page.locator("table.fair tbody tr")
        expect(fair).to_have_count(2)
        expect(fair.first).to_contain_text("against Vote of 9, same completion tokens")
        assert page.locator("table.fair").bounding_box()["y"] < page.locator("table.summary").bounding_box()["y"]

    def test_a_comparison_of_some_seeds_says_so(self, visit: Visit, tmp_path: Path) -> None:
        cells = [cell(tmp_path, TEAM, seed, [record(0), record(1)]) for seed in (0, 1)]
        cells.append(cell(tmp_path, METHODS[1], 1, [record(0, team_correct=0.0), record(1)]))
        cells.append(cell(tmp_path, METHODS[0], 2, [record(0), record(1)]))
        page = visit(built(Results("Seeds", tuple(cells)), tmp_path / "report.html"))
        expect(page.locator("table.fair .seeds-compared")).to_have_text("seed 0 left out, which only one of them has")
        page.get_by_text("All 2 paired comparisons").click()
        rows = page.get_by_role("table", name="Paired comparisons on apples").locator("tbody .seeds-compared")
        expect(rows.last).to_have_text("no seed in common, so all of both count")

    def test_sorting_by_a_column_and_back(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        names = lambda: page.locator("table.summary tbody:not(.oracles) th[scope=row] a").all_inner_texts()  # noqa: E731
        before, heading = names(), page.get_by_role("columnheader", name="Accuracy")

        def accuracy() -> list[float]:
            shown = page.locator("table.summary tbody:not(.oracles) .accuracy strong")
            return [float(text) for text in shown.all_inner_texts()]

        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "descending")
        assert accuracy() == sorted(accuracy(), reverse=True)
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "ascending")
        assert accuracy() == sorted(accuracy())
        heading.get_by_role("button").click()
        expect(heading).to_have_attribute("aria-sort", "none")
        assert names() == before

    def test_plots_have_names_and_the_same_numbers_as_tables(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        plots = page.locator("figure.plot")
        expect(plots).to_have_count(3)
        for k in range(3):
            plot = plots.nth(k)
            assert (
                plot.locator("svg[role=img] > title").text_content()
                and plot.locator("svg[role=img] > desc").text_content()
            )
            plot.get_by_text("The same as a table").click()
            expect(plot.locator("tbody tr").first).to_be_visible()
        expect(page.locator("figure.plot path.thin")).to_have_count(6)
        page.get_by_label("Metric").select_option("train/approx_kl")
        expect(page.locator("figure.plot", has_text="train/approx_kl")).to_be_visible()

    def test_flip_matrices_hold_the_counts(self, visit: Visit, tmp_path: Path) -> None:
        page = visit(small(tmp_path, record(0), record(1), record(2)))
        cells = page.locator("table.matrix tbody td strong")
        expect(cells).to_have_text(["0", "0", "6", "0"])
        expect(page.locator("table.matrix caption")).to_contain_text("Round 1 to 2")

    def test_a_method_leads_to_its_discussions(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        page.locator("table.summary").get_by_role("link", name="Debate, untrained").click()
        expect(page.locator("#count")).to_have_text("40 discussions")
        expect(page.get_by_label("Method", exact=True)).to_have_value("debate")


class TestDiscussions:
    def test_rounds_agents_answers_and_changes(self, visit: Visit, tmp_path: Path) -> None:
        turns = record()["turns"]
        turns[0]["advantage"], turns[2]["truncated"] = -0.25, True
        page = visit(small(tmp_path, record(0, turns=turns, private={"agent_1": "It is even."})), "#discussions")
        reader = page.locator("#reader")
        expect(reader.locator(".round h4")).to_have_text(["Round 1", "Round 2"])
        expect(reader.locator(".question")).to_have_text("What is 0 + 4 - 0?")
        expect(reader.locator(".gold")).to_contain_text("4")
        expect(reader.locator(".private")).to_contain_text("agent_1 knows")
        cards = reader.locator(".card")
        expect(cards.first).to_contain_text("advantage −0.25")
        expect(cards.first).to_contain_text("wrong")
        expect(cards.nth(2).locator(".answer")).to_have_text(re.compile("3.*→.*4"))
        expect(cards.nth(2).locator("ins").first).to_be_visible()
        expect(cards.nth(2)).to_contain_text("cut off")
        page.get_by_role("button", name="Changes").click()
        expect(reader.locator("ins")).to_have_count(0)
        boxes = [cards.nth(k).bounding_box() for k in (0, 1)]
        assert boxes[0]["y"] == boxes[1]["y"] and boxes[0]["x"] < boxes[1]["x"]

    def test_filters_by_hand(self, visit: Visit, tmp_path: Path) -> None:
        wrong = {"team_answer": "5", "team_correct": 0.0}
        never = [turn(f"agent_{k}", r, "5", "5", False) for r in range(2) for k in range(2)]
        right = [turn(f"agent_{k}", r, "4", "4", True) for r in range(2) for k in range(2)]
        broken = [*right[:2], *never[2:]]
        silent = [*right[:3], turn("agent_1", 1, "so", None, False, truncated=True)]
        said = [
            record(0),
            record(1, turns=never, **wrong),
            record(2, turns=right),
            record(3, turns=broken, **wrong),
            record(4, turns=silent),
        ]
        page = visit(small(tmp_path, *said), "#discussions")
        expected = {
            "right": 3,
            "wrong": 2,
            "tied": 0,
            "fixed": 1,
            "broken": 1,
            "never": 1,
            "always": 1,
            "no_answer": 1,
            "truncated": 1,
        }
        for kind, number in {**expected, "disagreement": 1, "oracle": 0, "ablated": 0, "": 5}.items():
            page.get_by_label("Show").select_option(kind)
            expect(page.locator("#count")).to_have_text(f"{number} discussion{'s' * (number != 1)}")
            expect(options(page)).to_have_count(number)
            assert f"({number})" in page.locator(f"[name=kind] option[value='{kind}']").inner_text()
        page.get_by_label("Show").select_option("broken")
        expect(page.locator("#reader .question")).to_have_text("What is 3 + 4 - 3?")

    def test_longest_first(self, visit: Visit, tmp_path: Path) -> None:
        said = [
            record(k, turns=[turn("agent_0", 0, "x " * length, "4", True)]) for k, length in enumerate((5, 500, 50))
        ]
        page = visit(small(tmp_path, *said), "#discussions")
        page.get_by_label("Order").select_option("longest")
        expect(options(page).locator(".ask")).to_have_text([f"What is {k} + 4 - {k}?" for k in (1, 2, 0)])

    def test_search_finds_in_questions_and_messages_and_marks_it(self, visit: Visit, tmp_path: Path) -> None:
        said = [record(k) for k in range(3)]
        said[1]["turns"][3]["text"] = "A (needle) in [hay]. Answer: 4"
        page = visit(small(tmp_path, *said), "#discussions")
        page.get_by_role("searchbox").fill("NEEDLE) hay")
        expect(page.locator("#count")).to_have_text("1 discussion with NEEDLE) hay")
        expect(page.locator("#reader mark")).to_have_text(["needle)", "hay"])
        page.get_by_role("searchbox").fill('"+ 4 - 2"')
        expect(page.locator("#count")).to_contain_text("1 discussion with")
        page.get_by_role("searchbox").fill("\\ ^$.*+?()[]{}|/-& (needle)")  # text, not a pattern
        expect(page.locator("#count")).to_contain_text("0 discussions with")
        page.get_by_role("searchbox").fill("[hay].")
        expect(page.locator("#reader mark")).to_have_text(["[hay]."])
        page.get_by_role("searchbox").fill("nowhere to be found")
        expect(page.locator("#reader")).to_contain_text("No discussion passes these filters.")
        page.get_by_role("searchbox").fill("")
        expect(page.locator("#count")).to_have_text("3 discussions")

    def test_methods_side_by_side_on_the_same_question(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        page.locator("details.beside summary").click()
        page.get_by_role("checkbox", name=re.compile("Debate, untrained")).check()
        page.get_by_role("checkbox", name=re.compile("Team, MAPPO.*seed 2")).check()
        sides = page.locator(".sides .one")
        expect(sides).to_have_count(3)
        expect(sides.locator(".outcome h3")).to_have_text(
            ["Team, MAPPO · seed 0", "Debate, untrained · seed 0", "Team, MAPPO · seed 2"]
        )
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        expect(sides).to_have_count(3)

    def test_where_two_methods_differ(self, visit: Visit, tmp_path: Path) -> None:
        wrong = {"team_correct": 0.0, "team_answer": "5"}
        ours = cell(tmp_path, TRAINED, 0, [record(0), record(1, **wrong), record(2), record(3)])
        theirs = cell(tmp_path, TEAM, 0, [record(0), record(1), record(2, **wrong)])
        page = visit(built(Results("Two", (ours, theirs)), tmp_path / "report.html"), "#discussions")
        page.get_by_label("Method", exact=True).select_option("mappo")
        page.get_by_text("Where two methods differ").click()
        page.get_by_label("The other method").select_option("debate")
        expect(options(page).locator(".ask")).to_have_text(["What is 1 + 4 - 1?", "What is 2 + 4 - 2?"])
        page.get_by_label("Which").select_option("better")
        expect(options(page).locator(".ask")).to_have_text(["What is 2 + 4 - 2?"])
        expect(page.locator(".sides .one")).to_have_count(2)

    def test_the_ablated_last_round_is_shown(self, visit: Visit, tmp_path: Path) -> None:
        again = {"team_correct": 0.0, "turns": [turn("agent_0", 1, "Alone I say 3.", "3", False)]}
        page = visit(small(tmp_path, record(0, ablated=again)), "#discussions")
        expect(page.locator(".ablated")).to_contain_text("peers' messages blanked")
        expect(page.locator(".ablated .card")).to_contain_text("Alone I say")

    def test_agents_that_are_silent_in_a_round_leave_their_place_free(self, visit: Visit, tmp_path: Path) -> None:
        said = [turn("a", 0, "4", "4", True), turn("b", 0, "4", "4", True), turn("b", 1, "4", "4", True)]
        page = visit(small(tmp_path, record(0, agents=["a", "b"], turns=said)), "#discussions")
        cards = page.locator(".card")
        expect(cards).to_have_count(3)
        assert cards.nth(1).bounding_box()["x"] == cards.nth(2).bounding_box()["x"]

    def test_only_the_rows_in_sight_exist(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        page.get_by_label("Method", exact=True).select_option("")
        expect(page.locator("#count")).to_have_text("400 discussions")
        assert options(page).count() < 40
        page.locator("#list").focus()
        page.keyboard.press("End")
        expect(page.locator("#list-row-399")).to_be_in_viewport()
        expect(page.locator("#list-row-399")).to_have_attribute("aria-posinset", "400")


def test_feedback_is_shown_below_the_messages_and_takes_no_part_in_the_vote(visit: Visit, tmp_path: Path) -> None:
    tally = {**turn("tally", 0, "One says 3, one 5.", None, None), "score": None, "truth": None, "kind": "feedback"}
    turns = record()["turns"]
    page = visit(small(tmp_path, record(turns=[*turns[:2], tally, *turns[2:]])), "#discussions")
    options(page).first.click()
    first = page.locator("section.round").first
    expect(first.locator(".card.feedback")).to_have_text("tallyfeedbackOne says 3, one 5.")
    expect(first.locator(".vote")).to_have_count(2)
    boxes = [card.bounding_box() for card in first.locator(".card").all()]
    assert len(boxes) == 3 and boxes[2]["y"] >= boxes[0]["y"] + boxes[0]["height"]
    assert boxes[2]["width"] == pytest.approx(boxes[1]["x"] + boxes[1]["width"] - boxes[0]["x"], abs=1)


def test_what_is_said_twice_in_a_round_stands_line_by_line(visit: Visit, tmp_path: Path) -> None:
    """agent_1, agent_0, agent_1 again: nothing lies under anything else, and lines are read in the order of speaking."""
    speakers = ("agent_1", "agent_0", "agent_1")
    turns = [turn(agent, 0, f"{n} said", str(n), False) for n, agent in enumerate(speakers)]
    page = visit(small(tmp_path, record(turns=turns)), "#discussions")
    options(page).first.click()
    cards = page.locator("section.round .card")
    expect(cards).to_have_count(3)
    first, second, third = (card.bounding_box() for card in cards.all())
    assert second["y"] >= first["y"] + first["height"] and third["y"] == second["y"]
    assert third["x"] == first["x"] > second["x"]


class TestLinks:
    def test_a_link_opens_its_discussion_and_those_beside_it(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#discussions")
        options(page).nth(3).click()
        page.locator("details.beside summary").click()
        page.get_by_role("checkbox", name=re.compile("Debate, untrained")).check()
        expect(page.locator(".sides .one")).to_have_count(2)
        question, place = page.locator("#reader .where").inner_text(), page.evaluate("location.hash")
        other = visit(study, place)
        expect(other.locator("#reader .where")).to_have_text(question)
        expect(other.locator(".sides .one")).to_have_count(2)

    def test_a_link_to_nowhere_is_said(self, visit: Visit, study: Path) -> None:
        page = visit(study, "#task=apples&method=gone&seed=0&question=q&sample=0")
        expect(page.locator("#reader")).to_contain_text("is not in this file")

    def test_seats_and_greedy_answers_have_links_of_their_own(self, visit: Visit, tmp_path: Path) -> None:
        said = [record(0, seat="agent_0"), record(0, seat="agent_1"), record(0, greedy=True), record(0, sample=1)]
        file = small(tmp_path, *said)
        page, seen = visit(file, "#discussions"), []
        for k in range(4):
            options(page).nth(k).click()
            expect(page.locator(".place")).to_have_text(f"{k + 1} of 4")
            seen.append(page.evaluate("location.hash"))
        assert len(set(seen)) == 4
        assert [visit(file, place).locator(".place").inner_text() for place in seen] == [
            f"{k + 1} of 4" for k in range(4)
        ]


class TestKeys:
    def test_next_previous_search_changes_and_help(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        page.keyboard.press("d")
        place = page.locator(".place")
        expect(place).to_have_text("1 of 120")
        for key, expected in (("j", 2), ("j", 3), ("k", 2), ("ArrowDown", 3), ("ArrowUp", 2)):
            page.keyboard.press(key)
            expect(place).to_have_text(f"{expected} of 120")
        page.keyboard.press("c")
        expect(page.locator("[data-do=changes]")).to_have_attribute("aria-pressed", "false")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).not_to_be_visible()
        page.keyboard.press("r")
        expect(page.locator("#results")).to_be_visible()
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.type("jk?")
        expect(page.get_by_role("searchbox")).to_have_value("jk?")

    def test_the_skip_link_goes_to_the_content(self, visit: Visit, study: Path) -> None:
        page = visit(study)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"

"""`maporl show RUN --tree`: the trees of a run in a terminal."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kept_trees import COUNTS, QUESTION, grown, long_run, small_run

from maporl.cli import main
from maporl.types import Question

Run = Callable[..., tuple[int, str, str]]

SMALL = """\
Question seven (episodes/iteration_0001, tree 0)
  What is 3 + 4?
Gold answer: 7
39 messages, 6 of 27 discussions right, chosen and rejected at 4 of 13 decisions (threshold)
message  value  right    pairs     who says what
0.0        .56  5/9      chosen    generator_0: Draft 0: three and four make about eight.
0.0.0     1.00  3/3      chosen      verifier_0: Check 0 of the draft.
0.0.0.0   1.00  right                  refiner_0 x3: Answer: 7
0.0.1      .67  2/3      chosen      verifier_0: Check 1 of the draft.
0.0.1.0   1.00  right    chosen        refiner_0 x2: Answer: 7
0.0.1.2    .00  wrong    rejected      refiner_0: Answer: 8
0.0.2      .00  0/3      rejected    verifier_0: Check 2 of the draft.
0.0.2.0    .00  wrong                  refiner_0 x3: Answer: 8
0.1        .11  1/9      rejected  generator_0: Draft 1: three and four make seven.
"""


@pytest.fixture
def show(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*words: Any) -> tuple[int, str, str]:
        code = main(["show", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def test_a_small_tree_is_shown_whole(show: Run, tmp_path: Path) -> None:
    code, out, err = show(small_run(tmp_path / "run"), "--tree")  # the only one: no list
    assert (code, err) == (0, "") and out.startswith(SMALL)
    assert sum(int(n or 1) for n in re.findall(r"refiner_0(?: x(\d))?:", out)) == 27
    assert show(tmp_path / "run", "--tree", 0, "--full")[1].count("refiner_0: ") == 27


def test_a_large_tree_fits_on_a_screen_and_its_parts_can_be_asked_for(show: Run, tmp_path: Path) -> None:
    run = long_run(tmp_path / "run", questions=2)
    listed = show(run, "--tree")[1].splitlines()
    assert len(listed) == 3 and f"420 messages  {sum(COUNTS)} of 384 discussions right" in listed[1]
    out = show(run, "--tree", 1)[1]
    assert out == show(run, "--tree", "--question", "q1")[1]
    lines = out.splitlines()
    assert len(lines) < 50 and max(map(len, lines)) <= 100
    rows = [line.split() for line in lines if re.match(r"1\.\d\.\d ", line)]
    assert [row[2] for row in rows] == [f"{n}/12" for n in COUNTS]
    assert lines[-1].startswith("384 messages of lower levels are left out: --full, or --tree")
    below = show(run, "--tree", "1.0.1")[1]
    assert "1.0.1  verifier_0  value .42  rejected  5/12\n  Check 1. First add" in below  # the path, whole
    rows = [line.split() for line in below.splitlines() if re.match(r"1\.0\.1\.\d+ ", line)]
    assert [r[2:4] for r in rows][:2] == [["right", "chosen"]] * 2 and rows[-1][2:4] == ["wrong", "rejected"]
    assert "left out" not in below and len(show(run, "--tree", 1, "--full")[1].splitlines()) == 5 + 420


def test_hostile_texts_are_shown_and_not_obeyed(show: Run, tmp_path: Path) -> None:
    evil = "[red]\x1b[31m\u202e\n\n\rnew\x07 " + "x" * 200
    run = grown(tmp_path / "run", (2, 2), [[evil], [evil, "Answer: 7"]], questions=[Question(evil, "7", "an id\x1b")])
    for words in (["--tree"], ["--tree", "0.1"]):
        out = show(run, *words)[1]
        assert not set("\x1b\x07\r\u202e") & set(out) and "[red]\\x1b[31m\\u202e" in out
    assert all(len(line) <= 100 for line in out.splitlines() if re.match(r"0\.1\.\d ", line))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--tree", "7"], "--tree 7: no such tree or message; maporl show .* --tree lists the trees"),
        (["--tree", "0.9"], "--tree 0.9: no such tree or message"),
        (
            ["--tree", "seven"],
            "'seven' is no place in a tree; write the number of a tree, as 7, or of a message, as 7.0.2",
        ),
        (["--tree", "--only", "right"], "--only chooses among discussions; with --tree leave it out"),
        (
            ["--tree", "--record", "test"],
            "has no trees 'test'.* It has: discussions/iteration_0001, episodes/iteration_0001",
        ),
        (
            ["--tree", "--record", "discussions/iteration_0001"],
            "holds no trees: no question of it was sampled more than once",
        ),
        (["--tree", "--question", "eight"], "no tree of question 'eight'"),
        (["--full"], "--full belongs to --tree"),
    ],
)
def test_mistakes_are_one_line(show: Run, tmp_path: Path, words: list[str], message: str) -> None:
    run = small_run(tmp_path / "run")
    grown(run, (), [["Answer: 7"]] * 3, questions=[QUESTION], record="discussions/iteration_0001")
    code, out, err = show(run, *words)
    assert (code, out) == (2, "") and re.search(message, err) and err.splitlines()[-1].startswith("maporl: error: ")
    assert len([line for line in err.splitlines() if not line.startswith("maporl: note: ")]) == 1


def test_a_run_without_trees_and_what_is_no_run_say_so_in_one_line(show: Run, tmp_path: Path) -> None:
    run = grown(tmp_path / "run", (), [["Answer: 7"]] * 3)
    for path, message in (
        (run, "holds no trees: trainings that sample a question more than once"),
        (tmp_path, "is no run folder"),
    ):
        code, out, err = show(path, "--tree")
        assert (code, out, err.count("\n")) == (2, "", 1) and message in err

"""`maporl show` and `maporl play`: what a person sees of a discussion, and a person in a seat."""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from run_toys import SMALL

from maporl.agents.human import HELP, HumanAgent, Left, everything, news
from maporl.cli import main
from maporl.cli.discussion_text import marks, print_discussion, team_verdict
from maporl.cli.showing import is_kind
from maporl.envs.rendering import print_any
from maporl.envs.tasks.two_witnesses import TwoWitnesses
from maporl.printable import printable
from maporl.rollouts.records import VERSION, read_records, write_records
from maporl.types import Message, Observation

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """run(*words, typed="") -> (exit code, standard output, standard error); `typed` is what a person types."""

    def call(*words: Any, typed: str = "") -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        capfd.readouterr()
        code = main([str(w) for w in words])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def verdict(answer: str | None, correct: bool | None) -> dict[str, Any]:
    return {"value": float(correct is True), "correct": correct, "answer": answer, "status": "ok"}


def turn(agent: str, round: int, text: str, answer: str | None, correct: bool | None, **more: Any) -> dict[str, Any]:
    return {
        "agent": agent, "round": round, "kind": "said", "text": text, "score": verdict(answer, correct), "truth": verdict(answer, correct),
        "reward": None, "advantage": None, "prompt_tokens": 9, "completion_tokens": 5, "truncated": False, **more,
    }  # fmt: skip


def record(question_id: str = "abc1", rounds: tuple[str, ...] = ("Rx", "RR"), **more: Any) -> dict[str, Any]:
    """A discussion of two agents; R is the right answer, "." none, "?" one that nobody can judge."""
    turns = []
    for t, word in enumerate(rounds):
        for i, letter in enumerate(word):
            answer = None if letter == "." else letter
            turns.append(turn(f"agent_{i}", t, f"I say {letter}.", answer, None if letter == "?" else letter == "R"))
    last = rounds[-1]
    return {
        "version": 1, "question_id": question_id, "question": f"Which letter is {question_id}?", "gold": "R", "private": {},
        "sample": 0, "seat": None, "greedy": True, "team_answer": last[0], "team_correct": last.count("R") / len(last),
        "tied": len(set(last)), "oracle": False, "overflow": False, "agents": ["agent_0", "agent_1"], "num_rounds": len(rounds),
        "turns": turns, "ablated": None, **more,
    }  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Four discussions: fixed, broken, right all along, never right."""
    kinds = {"abc1": ("xy", "RR"), "abd2": ("RR", "xy"), "bcd3": ("RR", "RR"), "cde4": ("xx", "xx")}
    write_records(tmp_path / "some.jsonl", [record(name, rounds) for name, rounds in kinds.items()])
    return tmp_path / "some.jsonl"


def shown(one: dict[str, Any], **console: Any) -> str:
    target = io.StringIO()
    print_discussion(one, "title", Console(file=target, highlight=False, **console))
    return target.getvalue()


class TestText:
    def test_a_discussion(self) -> None:
        one = record(private={"agent_0": "It is R."})
        one["turns"][0] |= {"reward": 0.5, "advantage": -0.25}
        one["turns"][1] |= {"truncated": True}
        one["turns"][2]["score"] = {**verdict("R", None), "value": 0.375}  # a learned verifier's
        assert shown(one) == (
            "title\n"
            "  Which letter is abc1?\n"
            "  agent_0 alone knows: It is R.\n"
            "Gold answer: R\n"
            "--- round 1\n"
            "agent_0  right  answer R  reward 0.50  advantage -0.25\n"
            "  I say R.\n"
            "agent_1  wrong  answer x  cut at 5 tokens\n"
            "  I say x.\n"
            "--- round 2\n"
            "agent_0  right  answer R  score 0.38  | word for word as before\n"
            "  I say R.\n"
            "agent_1  right  answer R  | x -> R, wrong -> right\n"
            "  I say R.\n"
            "--- the team\n"
            "Team answer: R  right\n"
        )

    def test_what_may_be_missing_or_special(self) -> None:
        one = record(rounds=("?.", "?x"), team_answer=None, team_correct=0.0, tied=0, oracle=True, overflow=True)
        one["turns"][2]["text"] = ""
        one["turns"][3]["truth"] = None
        one["turns"][0]["truth"]["status"] = "timeout"
        one["ablated"] = {"team_correct": 0.5, "turns": [turn("agent_0", 1, "I say R.", "R", True)]}
        text = shown(one)
        assert "agent_0  unknown  answer ?  timeout\n" in text and "agent_1  wrong  no answer\n" in text
        assert "agent_0  unknown  answer ?  | same answer\n  (said nothing)\n" in text
        assert "agent_1  not judged  answer x  | no answer -> x, wrong -> not judged" in text
        assert "The team gave no answer  wrong  ORACLE: " in text and "did not fit the model's window" in text
        assert "without the others' messages: agent_0 right (R); team 0.50" in text

    def test_tie_and_no_gold(self) -> None:
        assert "Team answer: R (the first spoken of 2 that tied)  tie .50\n" in shown(record(rounds=("Rx",)))
        assert team_verdict(record(gold="")) == "?" and "Gold" not in shown(record(gold=""))

    def test_marks(self) -> None:
        assert marks(record(rounds=("Rx", "?R", ".R"))) == "RW>?R>WR"

    def test_feedback_is_read_and_not_judged(self) -> None:
        one = record()
        tally = {**turn("tally", 0, "One says R, one x.", None, None), "score": None, "truth": None, "kind": "feedback"}
        one["turns"].insert(2, tally)
        assert "  I say x.\ntally  feedback\n  One says R, one x.\n--- round 2\n" in shown(one)
        assert marks(one) == marks(record())

    def test_code_and_what_came_of_its_asserts(self) -> None:
        checks = [
            ["assert f(1) == 1", "passed"],
            ["assert f(2) == 1", "failed", "f(2)\ngave 2"],
            ["assert f(3) == 1", "not_run"],
        ]
        code = "```python\ndef f(x):\n    return 1\n```"
        one = record(gold="assert f(1) == 1\nassert f(2) == 1", team_answer="def f(x):\n    return 1")
        for n, each in enumerate(one["turns"]):
            each["text"] = code.replace("1", "x") if n < 2 else code
            each["score"]["checks"] = checks if n < 2 else [check[:1] + ["passed"] for check in checks]
        many = [[f"assert f({n}) == {n}", "error" if n % 2 else "passed"] for n in range(100)]
        one["team_scores"] = [
            {**verdict(None, False), "explanation": "no", "checks": many},
            {**verdict(None, None), "explanation": "late"},
        ]
        text = shown(one)
        assert (
            "agent_0  right  1 of 3 asserts pass\n  ```python\n  def f(x):\n      return x\n  ```\n"
            "  passed   assert f(1) == 1\n  failed   assert f(2) == 1: f(2) gave 2\n  not run  assert f(3) == 1\n"
        ) in text
        assert (
            "agent_1  right  3 of 3 asserts pass  | 1 of 3 asserts pass -> 3 of 3 asserts pass, wrong -> right\n"
            in text
        )
        assert "together  wrong  50 of 100 asserts pass  score 0.00\n  error    assert f(1) == 1\n" in text
        assert text.count("  error  ") == 12 and "  others: 50 passed, 38 error\n--- round 2" in text
        assert "together  unknown  late  score 0.00\n--- the team\nTeam answer: 2 lines" in text
        assert "Gold answer: 2 lines\n  assert f(1) == 1\n  assert f(2) == 1\n" in text
        coloured = shown(one, force_terminal=True, width=100, color_system="standard")
        assert "\x1b[94mdef\x1b[0m" in coloured and "\x1b[32m  passed   \x1b[0massert f(1) == 1" in coloured
        assert "return\x1b[0m \x1b[1;94m1\x1b[0m" in coloured  # new since the agent's message before, and coloured

    @pytest.mark.parametrize("terminal", [True, False])
    @pytest.mark.parametrize(
        "nasty",
        [
            "[bold]x[/bold] [/] [link=http://a.b]",
            "\x1b[31mred\x1b[2J",
            "a\x07\x08\rb\x9b1m",
            "lone \ud800 surrogate 😀 \u202eabc",
        ],
    )
    def test_what_models_write_does_nothing(self, nasty: str, terminal: bool) -> None:
        one = record(gold=nasty, team_answer=nasty, private={"agent_0": nasty}, question=nasty, ablated=None)
        for each in one["turns"]:
            each["text"], each["truth"]["answer"] = nasty, nasty
        one["turns"][2]["text"] += " more"
        text = shown(one, force_terminal=terminal, width=200, color_system="standard" if terminal else None)
        visible = re.sub(r"\x1b\[[\d;]*m", "", text) if terminal else text
        assert (
            visible.count(printable(nasty)) == 3 + 4 * 2 + 1
        )  # question, private, gold; answer and text of each turn; the team's
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", visible)
        text.encode("utf-8")

    def test_an_old_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        raw = io.BytesIO()
        target = io.TextIOWrapper(raw, encoding="ascii")
        print_discussion(record(question="naïve 😀?"), "title", Console(file=target, highlight=False))
        monkeypatch.setattr(sys, "stdout", target)
        print_any("é\x1b[0m")
        target.flush()
        assert b"na\\xefve \\U0001f600?" in raw.getvalue() and b"\\xe9\\x1b[0m" in raw.getvalue()

    def test_printable_leaves_text_alone(self) -> None:
        text = "Ünïcode 漢字 👩\u200d🔬\n\tand indented code [0]"
        assert printable(text) == text and printable("a\r\n") == "a\\r\n"

    def test_on_a_terminal_new_words_stand_out(self) -> None:
        one = record()
        one["turns"][0]["text"], one["turns"][2]["text"] = "It is surely x.", "It is surely not x."
        text = shown(one, force_terminal=True, width=80, color_system="standard")
        assert "It is surely \x1b[1mnot \x1b[0mx." in text
        assert "\x1b[32mright\x1b[0m" in text and "\x1b[31mwrong\x1b[0m" in text

    def test_plain_lines_are_never_broken(self) -> None:
        assert "x " * 200 + "y" in shown(record(question="x " * 200 + "y"))


class TestKinds:
    @pytest.mark.parametrize(
        ("rounds", "kinds"),
        [
            (("xy", "RR"), {"right", "fixed"}),
            (("Rx", "RR"), {"right", "fixed"}),  # a tie was not right
            (("RR", "xy"), {"wrong", "broken"}),
            (("RR", "Rx"), {"wrong", "broken"}),  # and is not in the end
            (("RR", "xx", "RR"), {"right"}),
            (("xx", "xx"), {"wrong"}),
            (("RR",), {"right"}),
            (("xx",), {"wrong"}),
        ],
    )
    def test_kinds(self, rounds: tuple[str, ...], kinds: set[str]) -> None:
        assert {k for k in ("right", "wrong", "fixed", "broken") if is_kind(record(rounds=rounds), k)} == kinds


class TestShow:
    def test_list(self, file: Path, run: Run) -> None:
        assert run("show", file) == (
            0,
            "question  by round  team   begins\n"
            "abc1      WW>RR     right  Which letter is abc1?\n"
            "abd2      RR>WW     wrong  Which letter is abd2?\n"
            "bcd3      RR>RR     right  Which letter is bcd3?\n"
            "cde4      WW>WW     wrong  Which letter is cde4?\n",
            "",
        )

    @pytest.mark.parametrize(
        ("kind", "ids"),
        [("right", ["abc1", "bcd3"]), ("wrong", ["abd2", "cde4"]), ("fixed", ["abc1"]), ("broken", ["abd2"])],
    )
    def test_only(self, kind: str, ids: list[str], file: Path, run: Run) -> None:
        code, out, _ = run("show", file, "--only", kind)
        assert code == 0 and [line.split()[0] for line in out.splitlines()[1:]] == ids
        code, out, _ = run("show", file, "--only", kind, "--question", "first")
        assert code == 0 and out.startswith(f"Question {ids[0]} (some, greedy)\n")

    def test_pages(self, file: Path, run: Run) -> None:
        _, out, _ = run("show", file, "--limit", "3")
        assert (
            "bcd3" in out
            and "cde4" not in out
            and out.endswith("page 1 of 2 (4 discussions): --page 2, or a higher --limit\n")
        )
        _, out, _ = run("show", file, "--limit", "3", "--page", "2")
        assert "bcd3" not in out and "cde4" in out

    def test_question_by_prefix_first_and_random(self, file: Path, run: Run) -> None:
        assert run("show", file, "--question", "b")[1].startswith("Question bcd3")
        assert run("show", file, "--question", "abd2")[1].startswith("Question abd2")
        assert run("show", file, "--question", "first")[1].startswith("Question abc1")
        assert re.match(r"Question (abc1|abd2|bcd3|cde4) ", run("show", file, "--question", "random")[1])

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--question", "ab"], "is the beginning of 2 ids (abc1, abd2); give more of it."),
            (["--question", "abx1"], "no question 'abx1'. Did you mean 'abc1'?"),
            (["--question", "bcd3", "--only", "wrong"], "question 'bcd3' has discussions, but none that --only"),
            (["--question", "first", "--sample", "4"], "leave none of 4 discussions"),
            (["--limit", "0"], "--limit is 0; it must be at least 1."),
            (["--page", "2"], "--page is 2; there is 1 of 20 lines."),
            (["--only", "good"], "invalid choice: 'good'"),
            (["--method", "debate"], "--method belongs to a study folder"),
            (["--record", "sume"], "has no record 'sume'. Did you mean 'some'? It has: some."),
        ],
    )
    def test_mistakes(self, words: list[str], message: str, file: Path, run: Run) -> None:
        code, out, err = run("show", file, *words)
        assert (code, out) == (2, "") and message in err and err.count("\n") == 1

    def test_nothing_left_is_an_answer_for_a_list(self, file: Path, run: Run) -> None:
        assert run("show", file, "--sample", "4") == (0, "no such discussion\n", "")

    def test_no_records(self, tmp_path: Path, run: Run) -> None:
        (tmp_path / "empty.jsonl").write_text("")
        (tmp_path / "folder").mkdir()
        assert "has no records" in run("show", tmp_path / "empty.jsonl")[2]
        assert "holds no records" in run("show", tmp_path / "folder")[2]
        assert "no such file or folder" in run("show", tmp_path / "nowhere")[2]

    def test_half_written_and_other_versions_are_left_out_with_a_note(self, file: Path, run: Run) -> None:
        with file.open("a") as lines:
            lines.write(json.dumps(record("zzz9", version=7)) + "\n" + json.dumps(record("yyy8"))[:70])
        code, out, err = run("show", file)
        assert code == 0 and len(out.splitlines()) == 5
        assert "1 broken line left out" in err and "records of version 7 left out" in err
        write_records(file, [record(version=7)])
        code, _, err = run("show", file)
        assert code == 2 and "version 7" in err and "has no records" in err

    def test_samples(self, tmp_path: Path, run: Run) -> None:
        samples = [record("abc1", ("Rx",), sample=i, greedy=False) for i in range(3)]
        write_records(tmp_path / "s.jsonl", [*samples, record("abc1", ("RR",))])
        _, out, _ = run("show", tmp_path / "s.jsonl", "--question", "abc1")
        assert re.findall(r"^Question abc1 \((.*)\)$", out, re.M) == [
            "s, sample 0", "s, sample 1", "s, sample 2", "s, greedy",
        ]  # fmt: skip
        _, out, _ = run("show", tmp_path / "s.jsonl", "--question", "abc1", "--decoding", "sampled", "--sample", "2")
        assert re.findall(r"^Question abc1 \((.*)\)$", out, re.M) == ["s, sample 2"]
        _, out, _ = run("show", tmp_path / "s.jsonl", "--decoding", "greedy")
        assert len(out.splitlines()) == 2


class TestShowStudy:
    @pytest.fixture
    def study(self, tmp_path: Path) -> Path:
        plan = [
            {
                "version": VERSION,
                "task": task,
                "method": method,
                "label": method,
                "seed": seed,
                "folder": f"cells/{task}/{method}/seed_{seed}",
            }
            for task in ("vault", "witnesses")
            for method in ("debate", "single", "mappo")
            for seed in (0, 1)
        ]
        (tmp_path / "study.yaml").write_text("title: a study\n")
        (tmp_path / "plan.json").write_text(json.dumps(plan))
        for entry in plan:
            if entry["method"] != "mappo":  # which has not begun yet
                rounds = ("Rx", "RR") if entry["method"] == "debate" else ("RR",)
                write_records(tmp_path / entry["folder"] / "records.jsonl", [record(entry["task"][0] + "1", rounds)])
        return tmp_path

    def test_all_methods_one_after_the_other(self, study: Path, run: Run) -> None:
        code, out, _ = run("show", study, "--question", "v1")
        titles = re.findall(r"^Question v1 \((.*)\)$", out, re.M)
        assert code == 0 and titles == [f"vault, {m}, seed {s}, greedy" for m in ("debate", "single") for s in (0, 1)]

    def test_chosen(self, study: Path, run: Run) -> None:
        words = ["--task", "witnesses", "--method", "debate", "--seed", "1", "--question", "first"]
        _, out, _ = run("show", study, *words)
        assert re.findall(r"^Question (.*)$", out, re.M) == ["w1 (witnesses, debate, seed 1, greedy)"]

    def test_list_keeps_a_question_together(self, study: Path, run: Run) -> None:
        _, out, _ = run("show", study)
        assert [line.split()[0] for line in out.splitlines()[1:]] == ["v1"] * 4 + ["w1"] * 4
        assert "v1        vault, single, seed 1, greedy" in out
        _, out, _ = run("show", study, "--task", "vault", "--seed", "0")
        assert "v1        single, greedy" in out, "what is the same for all is not said again and again"

    def test_many_are_listed(self, study: Path, run: Run) -> None:
        more = [record("v1", ("Rx",), sample=i, greedy=False) for i in range(5)]
        write_records(study / "cells/vault/single/seed_0/records.jsonl", more)
        code, out, _ = run("show", study, "--question", "v1")
        assert code == 0 and out.startswith("8 discussions of question v1; choose by") and "--- round" not in out

    def test_mistakes(self, study: Path, run: Run) -> None:
        assert (
            "--method debat is not in this study. Did you mean 'debate'?" in run("show", study, "--method", "debat")[2]
        )
        assert "--seed 7 is not in this study" in run("show", study, "--seed", "7")[2]
        assert "use --task, --method, --seed" in run("show", study, "--record", "test")[2]
        assert "has no records yet (waiting)" in run("show", study, "--method", "mappo")[2]


@pytest.fixture(scope="module")
def trained(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder."""
    from maporl.training.run import train

    folder = tmp_path_factory.mktemp("show") / "run"
    return train(env="two_witnesses", model=tiny_model, algorithm="ippo", output_dir=str(folder), **SMALL).path


class TestShowRun:
    def test_a_run_folder(self, trained: Path, run: Run) -> None:
        code, out, err = run("show", trained)
        assert code == 0 and len(out.splitlines()) == 5 and "this is the record 'test'" in err
        ids = {r["question_id"] for r in read_records(trained / "evaluations" / "test.jsonl")}
        assert {line.split()[0] for line in out.splitlines()[1:]} == ids

    def test_another_record(self, trained: Path, run: Run) -> None:
        code, out, err = run("show", trained, "--record", "discussions/iteration_0001", "--question", "first")
        assert code == 0 and re.search(r"reward \d\.\d\d  advantage [+-]\d\.\d\d", out) and err == ""

    def test_play_beside_the_trained_team(self, trained: Path, run: Run, tmp_path: Path) -> None:
        words = ["--run", trained, "--seat", "agent_1", "--output", tmp_path / "p.jsonl", "--seed", "1"]
        code, _, err = run("play", *words, typed="Answer: 3\n\nAnswer: 4\n\n")
        assert code == 0, err
        (one,) = read_records(tmp_path / "p.jsonl")
        mine = [t["text"] for t in one["turns"] if t["agent"] == "agent_1"]
        partners = [t for t in one["turns"] if t["agent"] == "agent_0"]
        assert mine == ["Answer: 3", "Answer: 4"]
        assert all(t["prompt_tokens"] > 0 and 0 < t["completion_tokens"] <= 5 for t in partners), (
            "the run's own settings"
        )
        assert "leave --model out" in run("play", *words, "--model", "x")[2]


def seen(
    agent: str = "agent_1", round: int = 1, said: tuple[tuple[str, int, str], ...] = (), **more: str
) -> Observation:
    values: dict[str, Any] = {
        "question": "Which?",
        "private": "A secret.",
        "instruction": "Say it.",
        "role": "",
        **more,
    }
    return Observation(
        agent=agent, round=round, transcript=tuple(Message(agent=a, round=r, text=t) for a, r, t in said), **values
    )


def typed(text: str, *observations: Observation) -> tuple[list[str], str]:
    """(messages, what was shown) when a person types `text`."""
    target = io.StringIO()
    said = HumanAgent(io.StringIO(text), target).act(observations, [np.random.default_rng(0)] * len(observations))
    return [completion.text for completion in said], target.getvalue()


class TestHuman:
    def test_messages(self) -> None:
        texts, _ = typed("one\n\n\n\ntwo\n  lines\n\nlast", seen(), seen(), seen())
        assert texts == [
            "one",
            "two\n  lines",
            "last",
        ]  # empty lines before a message are nothing; the end of the input ends one

    def test_windows_line_ends(self) -> None:
        assert typed("one\r\ntwo\r\n\r\n", seen())[0] == ["one\ntwo"]

    def test_commands(self) -> None:
        texts, shown = typed(
            "/help\n/quite\n/again\na\n/quit\n\n", seen(said=(("agent_0", 0, "old"), ("agent_1", 0, "own")))
        )
        assert texts == ["a\n/quit"], "inside a message it is text"
        assert HELP in shown and "There is no command /quite" in shown and "agent_1 (you):\n  own" in shown
        assert typed("/path/to a file\n\n", seen())[0] == ["/path/to a file"]

    @pytest.mark.parametrize(("text", "ended"), [("/quit\n", False), ("", True), ("\n\n", True)])
    def test_leaving(self, text: str, ended: bool) -> None:
        with pytest.raises(Left) as left:
            typed(text, seen())
        assert left.value.ended is ended

    def test_shown_is_what_the_seat_may_see(self) -> None:
        said = (("agent_1", 0, "own"), ("agent_0", 0, "theirs\nlong"))
        assert everything(seen(said=said, role="You judge.")) == (
            "Question: Which?\nOnly you know this: A secret.\n[round 1] agent_1 (you):\n  own\n[round 1] agent_0:\n  theirs\n  long\n"
            "You judge.\nSay it."
        )
        assert "Only you" not in everything(seen(private=""))

    def test_news(self) -> None:
        first = news(seen(round=0))
        assert everything(seen(round=0)) in first and "round 1: you are agent_1" in first
        said = (("agent_0", 0, "older"), ("agent_1", 0, "own"), ("agent_0", 0, "new"), ("agent_2", 0, ""))
        assert news(seen(said=said)) == (
            "\n=== round 2: you are agent_1 ===\n[round 1] agent_0:\n  new\n[round 1] agent_2:\n  (nothing)\nSay it."
        )
        assert "Nobody else has said anything" in news(seen(said=said[:2]))

    def test_scores_where_they_are_shown(self) -> None:
        plain = seen(said=(("agent_1", 0, "own"), ("agent_0", 0, "new"), ("agent_2", 0, "")))
        scored = zip(plain["transcript"], (0.25, 1.0, None), strict=True)
        told = news({**plain, "transcript": tuple({**m, "score": s} for m, s in scored)})
        assert told == (
            "\n=== round 2: you are agent_1 ===\nThe verifier's score of your last message: 0.25\n"
            "[round 1] agent_0 (verifier's score: 1.00):\n  new\n[round 1] agent_2:\n  (nothing)\nSay it."
        )
        assert "score" not in news(plain)

    def test_nothing_that_is_shown_is_obeyed(self) -> None:
        _, shown = typed("a\n\n", seen(round=1, said=(("agent_0", 0, "\x1b[2J\ud800"),)))
        assert "\\x1b[2J\\ud800" in shown and "\x1b" not in shown

    def test_on_a_terminal_it_is_read_by_input(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Terminal(io.StringIO):
            def isatty(self) -> bool:
                return True

        lines = iter(["hello", "", EOFError])

        def read(prompt: str) -> str:
            line = next(lines)
            if line is EOFError:
                raise EOFError
            return str(line)

        screen = Terminal()
        monkeypatch.setattr(sys, "stdin", Terminal())
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setattr("builtins.input", read)
        monkeypatch.setenv("COLUMNS", "30")
        agent = HumanAgent()
        rng = [np.random.default_rng(0)]
        assert agent.act([seen(instruction="word " * 20)], rng)[0].text == "hello"
        assert max(map(len, screen.getvalue().splitlines())) <= 48 and "word\nword" in screen.getvalue()
        with pytest.raises(Left):
            agent.act([seen()], rng)


PLAY = ["play", "--env", "two_witnesses", "--seat", "agent_1", "--partners.agent_0", "run_toys:Parrot", "--seed", "3"]


class TestPlay:
    @pytest.fixture(autouse=True)
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)

    def test_a_discussion(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        from maporl.agents import Policy

        monkeypatch.setattr(Policy, "from_pretrained", None)  # nobody needs a model here
        code, out, err = run(*PLAY, "--question", "2", typed="Answer: 1\n\nI stay.\nAnswer: 2\n\n")
        assert (code, err) == (0, "")
        question = TwoWitnesses().questions("validation")[1]
        playing, after = out.split("as it went")
        assert question.private["agent_1"] in playing and question.private["agent_0"] not in playing, (
            "others' private text"
        )
        assert "[round 1] agent_0:\n  parrot" in playing and question.private["agent_0"] in after
        assert "agent_1 (a person)" in after and "Team answer: 2" in after
        assert (
            "The team was right in " in after
            and "1 discussion recorded: maporl show runs/play/two_witnesses.jsonl" in after
        )
        code, again, _ = run("show", "runs/play", "--question", "first")
        assert code == 0 and again.partition("\n")[2] in after

    def test_it_is_recorded_like_any_other(self, run: Run) -> None:
        """The record is the one of a rollout in which a script says what the person typed."""
        from run_toys import Parrot

        from maporl.agents import ScriptedAgent, Team
        from maporl.rollouts.play import rollout
        from maporl.rollouts.records import record as recorded

        lines = ["Answer: 1", "Answer: 2"]
        run(*PLAY, "--question", "5", typed="".join(f"{line}\n\n" for line in lines))
        (one,) = read_records("runs/play/two_witnesses.jsonl")
        env = TwoWitnesses()
        script = ScriptedAgent(lambda observation, rng: lines[observation["round"]])
        team = Team({("agent_0", 0): Parrot(), ("agent_1", 0): script})
        (episode,) = rollout(env, team, [env.questions("validation")[4]], seed=3, greedy=True)
        assert one.pop("person") == "agent_1"
        expected = recorded(episode, env.protocol.team_answer(episode.transcript), greedy=True)
        assert one == json.loads(json.dumps(expected))

    def test_several_and_never_overwritten(self, run: Run) -> None:
        code, out, _ = run(*PLAY, "--num_questions", "3", typed="Answer: 1\n\n" * 6)
        assert code == 0 and "3 discussions recorded" in out
        assert len({r["question_id"] for r in read_records("runs/play/two_witnesses.jsonl")}) == 3
        before = Path("runs/play/two_witnesses.jsonl").read_bytes()
        assert "maporl show runs/play/two_witnesses-2.jsonl" in run(*PLAY, typed="Answer: 1\n\n" * 2)[1]
        assert "maporl show runs/play/two_witnesses-3.jsonl" in run(*PLAY, typed="Answer: 1\n\n" * 2)[1]
        assert Path("runs/play/two_witnesses.jsonl").read_bytes() == before
        first, second = (read_records(f"runs/play/two_witnesses-{i}.jsonl") for i in (2, 3))
        assert first == second, "the same seed asks the same"

    def test_the_same_question_twice(self, run: Run) -> None:
        words = [*PLAY, "--env_args.num_rounds", "1", "--num_questions"]
        number = len(TwoWitnesses().questions("validation")) + 1
        code, _, err = run(*words, number, typed="Answer: 1\n\n" * number)
        assert code == 0, err
        records = read_records("runs/play/two_witnesses.jsonl")
        assert len(records) == number and [r["sample"] for r in records] == [0] * (number - 1) + [1]

    def test_without_a_seed_the_questions_differ(self, run: Run) -> None:
        for _ in range(6):
            run(*PLAY[:-2], typed="Answer: 1\n\n" * 2)
        assert len({f.read_text()[:60] for f in Path("runs/play").iterdir()}) > 1  # all alike once in 53^5

    @pytest.mark.parametrize(
        ("text", "code", "said"),
        [
            ("Answer: 1\n\n" * 3, 130, "maporl: interrupted; the input ended; 1 discussion recorded: maporl show"),
            ("Answer: 1\n\n" * 2 + "/quit\n", 0, "1 discussion recorded: maporl show"),
            ("", 130, "the input ended; no discussion was finished, so nothing was recorded"),
            ("/quit\n", 0, "no discussion was finished, so nothing was recorded"),
        ],
    )
    def test_leaving_keeps_what_was_finished(self, text: str, code: int, said: str, run: Run) -> None:
        found, out, err = run(*PLAY, "--num_questions", "4", typed=text)
        assert found == code and said in out + err
        assert len(read_records("runs/play/two_witnesses.jsonl")) == text.count("Answer") // 2

    def test_ctrl_c_keeps_what_was_finished(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        read = HumanAgent._read
        lines: list[str | None] = []

        def stops(self: HumanAgent, prompt: str) -> str | None:
            if len(lines) == 5:
                raise KeyboardInterrupt
            lines.append(read(self, prompt))
            return lines[-1]

        monkeypatch.setattr(HumanAgent, "_read", stops)
        code, _, err = run(*PLAY, "--num_questions", "2", typed="Answer: 1\n\n" * 4)
        assert code == 130 and err.startswith("maporl: interrupted; 1 discussion recorded: ")

    def test_a_model_that_nobody_trained(self, run: Run, tiny_model: str) -> None:
        words = [
            "play",
            "--env",
            "two_witnesses",
            "--model",
            tiny_model,
            "--seat",
            "agent_0",
            "--max_new_tokens",
            "4",
            "--seed",
            "1",
        ]
        assert run(*words, "--eval_temperature", "0.7", "--output", "mine/x.jsonl", typed="a\n\nb\n\n")[0] == 0
        (one,) = read_records("mine/x.jsonl")
        assert not one["greedy"] and [t["completion_tokens"] > 0 for t in one["turns"]] == [False, True, False, True]

    def test_alone_and_in_a_pipeline(self, run: Run) -> None:
        assert run("play", "--num_agents", "1", "--seat", "agent_0", typed="Answer: 1\n\n" * 2)[0] == 0
        roles = [
            "--env_args.protocol",
            "pipeline",
            "--num_agents",
            "2",
            "--num_rounds",
            "1",
            "--partners.generator_0",
            "run_toys:Parrot",
        ]
        code, out, err = run("play", *roles, "--seat", "refiner_0", typed="Answer: 1\n\n")
        assert code == 0 and "[round 1] generator_0:\n  parrot" in out and "You are the refiner" in out, err

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--seat", "agent_7"], "--seat 'agent_7' is nobody's; the agents are: agent_0, agent_1."),
            ([], "--seat is missing; the agents are: agent_0, agent_1."),
            (["--seat", "agent_0"], "nobody speaks for agent_1; give --run RUN, --model DIR, or --partners.agent_1"),
            (["--seat", "agent_0", "--partners.agent_0", "run_toys:Parrot"], "sits where you sit"),
            (
                ["--seat", "agent_0", "--partners.agent_1", "run_toys:Letters"],
                "is no agent but a Letters",
            ),
            (
                ["--seat", "agent_0", "--partners.bob", "run_toys:Parrot", "--partners.agent_1", "run_toys:Parrot"],
                "partners names",
            ),
            (["--seat", "agent_0", "--question", "nope"], "no question 'nope'"),
            (["--seat", "agent_0", "--num_questions", "0"], "--num_questions is 0"),
            (["--seat", "agent_0", "--run", "nowhere"], "'nowhere' is not a run folder"),
            (["--seat", "agent_0", "--output", "a_file/x.jsonl"], "cannot be made"),
        ],
    )
    def test_mistakes(self, words: list[str], message: str, run: Run) -> None:
        Path("a_file").write_text("")
        code, _, err = run("play", *words, typed="Answer: 1\n\n")
        assert code == 2 and message in err and err.count("\n") == 1


def test_the_documented_sitting(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of the page's console block, which the test of the page cannot type into."""
    page = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    commands = [shlex.split(line[2:])[1:] for line in page.splitlines() if line.startswith("$ maporl play")]
    assert commands
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    for words in commands:
        assert run(*words, typed="Answer: 1\n\n" * 20)[0] == 0

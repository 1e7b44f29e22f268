"""A recorded discussion as a person reads it in a terminal: coloured there, plain text elsewhere.

What models wrote is shown as it is: neither markup nor control characters in it do anything.
"""

from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from pygments.lexers.python import PythonLexer
from rich.console import Console
from rich.padding import Padding
from rich.rule import Rule
from rich.syntax import Syntax
from rich.text import Text

from maporl.benchmarks.analysis.collaboration import answer_of
from maporl.envs.tasks.coding.pieces import pieces_of
from maporl.printable import printable
from maporl.rollouts.records import checks_of, messages_of
from maporl.types import Check

__all__ = ["Page", "beginning", "marks", "print_discussion", "team_verdict"]

Record = Mapping[str, Any]

STYLES = {"right": "green", "wrong": "red", "unknown": "yellow", "not judged": "dim", "half right": "yellow"}
CHECKS = {"passed": "green", "failed": "red", "error": "red", "timeout": "yellow", "not_run": "dim"}

MOST_CHECKS = 12
"""Asserts that have a line each; of more than that, so many of those that do not pass, and the others are counted."""

LONGEST_LINE, LONGEST_CODE = 300, 65_536
"""Characters of an assert, or of what came of it; and of code that is coloured."""


def marks(record: Record) -> str:
    """Everybody's verdicts by round, such as ``RW>RR``: Right, Wrong, ? unknown."""
    rounds: dict[int, str] = {}
    for turn in messages_of(record["turns"]):
        rounds[turn["round"]] = rounds.get(turn["round"], "") + {"right": "R", "wrong": "W"}.get(_verdict(turn), "?")
    return ">".join(text for _, text in sorted(rounds.items()))


def team_verdict(record: Record) -> str:
    """ "right", "wrong", or "tie .50" when what is tied may be either; "?" for a question without a gold answer."""
    if not record["gold"]:
        return "?"
    return {1.0: "right", 0.0: "wrong"}.get(
        record["team_correct"], f"tie {record['team_correct']:.2f}".replace("0.", ".")
    )


def beginning(text: str, width: int) -> str:
    """The first words on one line."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."


def print_discussion(record: Record, title: str, console: Console) -> None:
    """Question, every message by round with its verdict and what changed, and the team's answer."""
    page = Page(console)
    page.opening(record, title)
    before: dict[str, Record] = {}
    teams = record.get("team_scores", [])
    for number, turns in groupby(record["turns"], key=lambda turn: turn["round"]):
        page.rule(f"round {number + 1}")
        for turn in turns:
            if turn.get("kind") == "feedback":
                page.feedback(turn)
                continue
            page.turn(turn, before.get(turn["agent"]), person=record.get("person") == turn["agent"])
            before[turn["agent"]] = turn
        if number < len(teams):
            page.together(teams[number])
    page.rule("the team")
    page.line(*_team_line(record))
    if _is_code(record["team_answer"]):
        page.body(record["team_answer"])
    if record["overflow"]:
        page.line(("A prompt did not fit the model's window: nothing was sampled there.", "yellow"))
    if record["ablated"]:
        page.line(*_ablated_line(record["ablated"]))


class Page:
    """Lines for one console. Everything goes through `_safe`, and never through rich's markup."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def _safe(self, text: str) -> str:
        return printable(text, self.console.encoding)

    def line(self, *pieces: tuple[str, str]) -> None:
        text = Text.assemble(*((self._safe(words), style) for words, style in pieces))
        self.console.print(text, soft_wrap=not self.console.is_terminal)

    def opening(self, record: Record, title: str) -> None:
        """What everybody is asked, what some know alone, and the gold answer."""
        self.line((title, "bold"))
        self.body(record["question"])
        for agent, told in record["private"].items():
            self.line((f"  {agent} alone knows: {told}", "italic"))
        if record["gold"]:
            self.line((f"Gold answer: {_in_a_line(record['gold'])}", "bold"))
        if _is_code(record["gold"]):
            self.body(record["gold"])

    def rule(self, title: str) -> None:
        if self.console.is_terminal:
            self.console.print(Rule(Text(title), align="left", style="dim"))
        else:
            self.console.print(f"--- {title}", markup=False)

    def body(self, words: str, before: str | None = None) -> None:
        """A text, indented; on a terminal the words that were not in `before` stand out, and Python is coloured."""
        safe = self._safe(words)
        if not self.console.is_terminal:
            lines = (f"  {line}".rstrip() for line in safe.split("\n"))
            self.console.print("\n".join(lines), markup=False, soft_wrap=True)
            return
        text, at = _coloured(safe), 0
        for piece, new in _compared(None if before is None else self._safe(before), safe):
            if new:
                text.stylize("bold", at, at + len(piece))
            at += len(piece)
        self.console.print(Padding(text, (0, 0, 0, 2)))

    def checks(self, checks: Sequence[Check]) -> None:
        """A line an assert: its verdict, itself, and what came of it."""
        some = [c for c in checks if c.status != "passed"][:MOST_CHECKS] if len(checks) > MOST_CHECKS else checks
        for source, status, explanation in some:
            told = f": {beginning(explanation, LONGEST_LINE)}" if explanation else ""
            verdict = (f"  {status.replace('_', ' '):<7}  ", CHECKS.get(status, ""))
            self.line(verdict, (beginning(source, LONGEST_LINE), ""), (told, ""))
        left = Counter(check.status for check in checks)
        left.subtract(check.status for check in some)
        if others := [f"{number} {status.replace('_', ' ')}" for status, number in left.items() if number]:
            self.line((f"  others: {', '.join(others)}", "dim"))

    def together(self, score: Record) -> None:
        """The verdict on a round of everybody's."""
        verdict = {True: "right", False: "wrong"}.get(score["correct"], "unknown")
        checks = [Check(*check) for check in score.get("checks", ())]
        said = f"  {_passed(checks)} asserts pass" if checks else f"  {beginning(score['explanation'], LONGEST_LINE)}"
        pieces = [("together", "bold cyan"), ("  ", ""), (verdict, STYLES[verdict]), (said.rstrip(), "")]
        self.line(*pieces, (f"  score {score['value']:.2f}", "dim"))
        self.checks(checks)

    def feedback(self, turn: Record) -> None:
        self.line((turn["agent"], "bold"), ("  feedback", "dim"))
        self.body(turn["text"])

    def turn(self, turn: Record, before: Record | None, *, person: bool) -> None:
        verdict = _verdict(turn)
        pieces = [
            (turn["agent"] + (" (a person)" if person else ""), "bold cyan"),
            ("  ", ""),
            (verdict, STYLES[verdict]),
        ]
        if turn["score"] or turn["truth"]:
            pieces.append((f"  {_outcome(turn)}", ""))
        if (
            turn["score"] and turn["truth"] and turn["score"]["value"] != turn["truth"]["value"]
        ):  # else the verdict says it
            pieces.append((f"  score {turn['score']['value']:.2f}", "dim"))
        pieces += [
            (f"  {name} {turn[name]:{form}}", "dim")
            for name, form in (("reward", ".2f"), ("advantage", "+.2f"))
            if turn[name] is not None
        ]
        status = (turn["truth"] or turn["score"] or {}).get("status", "ok")
        if status not in ("ok", "no_answer"):
            pieces.append((f"  {status}", "yellow"))
        if turn["truncated"]:
            pieces.append((f"  cut at {turn['completion_tokens']} tokens", "yellow"))
        if before is not None:
            pieces.append((f"  | {_change(before, turn)}", "magenta"))
        self.line(*pieces)
        self.body(turn["text"] or "(said nothing)", None if before is None else before["text"])
        self.checks(checks_of(turn))


def _verdict(turn: Record) -> str:
    if not turn["truth"]:
        return "not judged"
    return {True: "right", False: "wrong"}.get(turn["truth"]["correct"], "unknown")


def _is_code(answer: str | None) -> bool:
    return answer is not None and "\n" in answer.strip()


def _in_a_line(answer: str) -> str:
    """An answer; code, which has several lines, stands elsewhere."""
    return f"{len(answer.strip().splitlines())} lines" if _is_code(answer) else answer


def _passed(checks: Sequence[Check]) -> str:
    return f"{sum(check.status == 'passed' for check in checks)} of {len(checks)}"


def _outcome(turn: Record) -> str:
    """What a message comes to: of code how many of its asserts pass, else its answer."""
    if checks := checks_of(turn):
        return f"{_passed(checks)} asserts pass"
    answer = answer_of(turn)
    return "no answer" if answer is None else f"answer {_in_a_line(answer)}"


def _change(before: Record, turn: Record) -> str:
    """What is new since the agent's previous message."""
    if before["text"] == turn["text"]:
        return "word for word as before"
    if not (turn["score"] or turn["truth"]):
        return "another text"
    if checks_of(turn):
        old, new = _outcome(before), _outcome(turn)
        same = f"still {new}"
    else:
        old, new = (_outcome(one).removeprefix("answer ") for one in (before, turn))
        same = "still no answer" if answer_of(turn) is None else "same answer"
    was, now = _verdict(before), _verdict(turn)
    changed = same if answer_of(before) == answer_of(turn) or old == new else f"{old} -> {new}"
    return changed if was == now else f"{changed}, {was} -> {now}"


def _coloured(words: str) -> Text:
    """A text whose Python is coloured in the terminal's own colours."""
    text = Text()
    for kind, part in pieces_of(words):
        if kind == "python" and len(part) <= LONGEST_CODE:
            syntax = Syntax("", PythonLexer(stripnl=False, ensurenl=False), theme="ansi_dark", word_wrap=True)
            code = syntax.highlight(part)
            text.append_text(code if code.plain == part else Text(part))
        else:
            text.append(part, style="dim" if kind == "fence" else "")
    return text


def _compared(before: str | None, text: str) -> list[tuple[str, bool]]:
    """The words of `text`, and which of them were not in `before`; none of them if there is nothing to compare with."""
    words = re.findall(r"\S+\s*|\s+", text)
    if before is None:
        return [(text, False)]
    old = [word.strip() for word in re.findall(r"\S+\s*|\s+", before)]
    matcher = difflib.SequenceMatcher(None, old, [word.strip() for word in words])
    kept = {i for _, start, size in matcher.get_matching_blocks() for i in range(start, start + size)}
    return [(word, i not in kept) for i, word in enumerate(words)]


def _team_line(record: Record) -> list[tuple[str, str]]:
    answer = record["team_answer"]
    pieces = [("The team gave no answer" if answer is None else f"Team answer: {_in_a_line(answer)}", "bold")]
    if record["tied"] > 1:
        pieces.append((f" (the first spoken of {record['tied']} that tied)", ""))
    verdict = team_verdict(record)
    if verdict != "?":
        pieces += [("  ", ""), (verdict, STYLES.get(verdict, STYLES["half right"]))]
    if record["oracle"]:
        pieces.append(("  ORACLE: a verifier that knows the gold answer had a part in it", "yellow"))
    return pieces


def _ablated_line(ablated: Record) -> list[tuple[str, str]]:
    answers = ", ".join(
        f"{turn['agent']} {_verdict(turn)} ({_outcome(turn).removeprefix('answer ')})" for turn in ablated["turns"]
    )
    verdict = f"team {ablated['team_correct']:.2f}"
    return [(f"The last round again, without the others' messages: {answers}; {verdict}", "dim")]

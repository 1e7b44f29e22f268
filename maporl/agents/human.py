"""A person in a seat: shown what the seat's agent may see and nothing else, and asked for a message."""

from __future__ import annotations

import importlib.util
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from maporl.agents.agent import Agent
from maporl.printable import printable
from maporl.types import Completion, Message, Observation

__all__ = ["HumanAgent", "Left"]

HELP = """\
Type your message; it may have several lines. An empty line ends it, and so does Ctrl-D.
  /again   shows everything that you have been shown
  /quit    leaves the discussion
  /help    this text"""


class Left(Exception):
    """The person has left: ``/quit``, or (`ended`) there is nothing more to read."""

    def __init__(self, ended: bool) -> None:
        super().__init__("the input ended" if ended else "you left")
        self.ended = ended


class HumanAgent(Agent):
    """A person who reads and types text.

    Args:
        source: Where messages come from; standard input if None.
        target: Where the discussion is shown; standard output if None.
    """

    def __init__(self, source: TextIO | None = None, target: TextIO | None = None) -> None:
        self._source, self._target = source, target

    @property
    def source(self) -> TextIO:
        return sys.stdin if self._source is None else self._source

    @property
    def target(self) -> TextIO:
        return sys.stdout if self._target is None else self._target

    def act(
        self, observations: Sequence[Observation], rngs: Sequence[np.random.Generator], *, greedy: bool = False
    ) -> list[Completion]:
        """One message for every observation, typed one after the other.

        Raises:
            Left: The person does not go on.
        """
        return [Completion(self._ask(observation)) for observation in observations]

    def _ask(self, observation: Observation) -> str:
        self._show(news(observation))
        while True:
            lines: list[str] = []
            while (line := self._read("> " if not lines else ". ")) is not None and line.strip():
                if not lines and line.strip().startswith("/") and len(line.split()) == 1:
                    self._obey(line.strip(), observation)
                    continue
                lines.append(line)
            if lines:
                return "\n".join(lines)
            if line is None:
                raise Left(ended=True)

    def _obey(self, command: str, observation: Observation) -> None:
        if command == "/quit":
            raise Left(ended=False)
        if command == "/again":
            self._show(everything(observation))
        elif command == "/help":
            self._show(HELP)
        else:
            self._show(f"There is no command {command}; /help lists them. To say it, write something before it.")

    def _show(self, text: str) -> None:
        shown = printable(text, self.target.encoding)
        if self.target.isatty():
            width = shutil.get_terminal_size().columns
            shown = "\n".join(_wrapped(line, width) for line in shown.split("\n"))
        self.target.write(shown + "\n")
        self.target.flush()

    def _read(self, prompt: str) -> str | None:
        """The next line, None at the end of the input."""
        if self.source is sys.stdin and self.target is sys.stdout and sys.stdin.isatty():
            if importlib.util.find_spec("readline"):
                import readline  # noqa: F401  (gives `input` arrow keys and a history)
            try:
                return input(prompt)
            except EOFError:
                self._show("")
                return None
        self.target.write(prompt)
        self.target.flush()
        line = self.source.readline()
        self._show(line.rstrip("\n"))  # nobody's keys have shown it
        return line.rstrip("\r\n") if line else None


def _wrapped(line: str, width: int) -> str:
    """`line` broken between words, its parts as far from the left as it is."""
    indent = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, width, subsequent_indent=indent, replace_whitespace=False, drop_whitespace=bool(line.strip())
    )


def everything(observation: Observation) -> str:
    """All that the agent may see, in words for a person."""
    pieces = [f"Question: {observation['question']}"]
    if observation["private"]:
        pieces.append(f"Only you know this: {observation['private']}")
    pieces += [_said(m, observation["agent"]) for m in observation["transcript"]]
    return "\n".join([*pieces, _task(observation)])


def news(observation: Observation) -> str:
    """What the agent has not been shown in an earlier turn: `everything` at first, then what was said since its last message."""
    said = observation["transcript"]
    own = [i for i, message in enumerate(said) if message["agent"] == observation["agent"]]
    title = f"\n=== round {observation['round'] + 1}: you are {observation['agent']} ==="
    if not own:
        return f"{title}\n{everything(observation)}\n(/help tells what you can type)"
    new = [_said(m, observation["agent"]) for m in said[own[-1] + 1 :]]
    if (score := said[own[-1]].get("score")) is not None:
        new.insert(0, f"The verifier's score of your last message: {score:.2f}")
    return "\n".join([title, *(new or ["Nobody else has said anything that you may see."]), _task(observation)])


def _said(message: Message, me: str) -> str:
    who = f"{message['agent']} (you)" if message["agent"] == me else message["agent"]
    score = message.get("score")
    scored = "" if score is None else f" (verifier's score: {score:.2f})"
    lines = message["text"].split("\n") if message["text"] else ["(nothing)"]
    return "\n".join([f"[round {message['round'] + 1}] {who}{scored}:", *(f"  {line}" for line in lines)])


def _task(observation: Observation) -> str:
    return "\n".join(text for text in (observation["role"], observation["instruction"]) if text)

"""Strings that end a message, looked for in its text token by token."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["StopStrings", "before"]


class StopStrings:
    """Whether the text of a message holds one of some strings.

    A token can complete a string only if its own text holds the last character of one, so few messages are decoded at a step.

    Args:
        decode: From token ids to text.
        strings: What ends a message.
    """

    def __init__(self, decode: Callable[[list[int]], str], strings: Sequence[str]) -> None:
        self.decode, self.strings = decode, strings
        self._last = {string[-1] for string in strings}
        self._any = any(
            last.isspace() and last != "\n" for last in self._last
        )  # decoders drop spaces at a text's beginning
        self._may: dict[int, bool] = {}

    def completed(self, tokens: Tensor) -> Tensor:
        """Bool [B]: in which rows of `tokens` [B, n] the last one completes a string."""
        rows = [row for row, token in enumerate(tokens[:, -1].tolist()) if self._may_complete(token)]
        found = torch.zeros(len(tokens), dtype=torch.bool)
        found[[row for row in rows if self._holds(tokens[row].tolist())]] = True
        return found.to(tokens.device)

    def length(self, ids: Sequence[int]) -> int | None:
        """Tokens of `ids` up to the first with which their text holds a string; None if it holds none."""
        ends = (n for n, token in enumerate(ids, 1) if self._may_complete(token) and self._holds(ids[:n]))
        return next(ends, None)

    def _may_complete(self, token: int) -> bool:
        if token not in self._may:
            piece = self.decode([token])
            # Half a character of several bytes is shown as U+FFFD.
            self._may[token] = self._any or "\ufffd" in piece or not self._last.isdisjoint(piece)
        return self._may[token]

    def _holds(self, ids: Sequence[int]) -> bool:
        text = self.decode(list(ids))
        return any(string in text for string in self.strings)


def before(text: str, strings: Sequence[str]) -> str:
    """What stands before the first of the strings in `text`."""
    return text[: min((place for s in strings if (place := text.find(s)) >= 0), default=len(text))]

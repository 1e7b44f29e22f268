"""What a user did wrong: the exceptions whose message is written for people and names the remedy.

The command line prints the message of a `UserError` as one line, and any other exception with its traceback. Each is of a built-in
kind too, so that `except ValueError` catches it. Tasks, verifiers and algorithms of your own may raise them as well; anything else that
they raise is taken for a bug, whose traceback is what helps.
"""

from __future__ import annotations

__all__ = [
    "Diverged",
    "OutOfMemory",
    "ServerUnavailable",
    "Unwritten",
    "UserError",
    "UserTypeError",
    "UserValueError",
]


class UserError(Exception):
    """A mistake of the user's, or a limit of the user's machine, with its remedy."""


class UserValueError(UserError, ValueError):
    """A value that means nothing here."""


class UserTypeError(UserError, TypeError):
    """A value of a kind that cannot be used."""


class Unwritten(UserError, NotImplementedError):
    """A method that a class of one's own has to write."""


class OutOfMemory(UserError, MemoryError):
    """The smallest piece of work does not fit into memory."""


class Diverged(UserError, FloatingPointError):
    """Weights that have become no numbers."""


class ServerUnavailable(UserError, ConnectionError):
    """A server that has a part in a run cannot be reached, for now: the run may go on when it is there again."""

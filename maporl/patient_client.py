"""Requests to a server that may be away for a while: time-outs, retries, and never a failure that looks like an answer."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, TypeVar
from urllib.parse import urlsplit

from maporl.errors import ServerUnavailable, UserValueError, warn

__all__ = ["PatientClient", "Unusable", "chat_completion", "take_key"]

T = TypeVar("T")

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # seconds between two tries; doubled each time
LATER = (408, 425, 429)  # the only refusals that another try may change: too slow, too early, too many


class Unusable(Exception):
    """One try that failed, and may succeed later."""


class _Call:
    """What the requests of one call share: an outage is told of once, and all of them end when one has given up."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self._lock, self._told = threading.Lock(), False

    def tell(self, message: str) -> None:
        with self._lock:
            if not self._told:
                self._told = True
                # With the time, for Python shows the same warning once only: the next outage would be silent.
                warn(f"{time.strftime('%H:%M:%S')}: {message}")


class PatientClient:
    """Asks a server for JSON until it gives some.

    While the server is down, too slow, or answers garbage, it waits and tries again, with a warning.

    Args:
        url: Of the server, such as ``http://127.0.0.1:8000``.
        title: What it serves, for messages: "verifier".
        remedy: What to do when it stays away, for messages.
        timeout: Seconds to wait for one whole reply.
        patience: Seconds of failures in a row before giving up.
        connections: Requests at a time.
        headers: Sent with every request (authorisation, say).
        failure: What is raised when it stays away.

    Raises:
        ValueError: No http(s) URL, or a number out of range.
    """

    def __init__(
        self,
        url: str,
        *,
        title: str,
        remedy: str,
        timeout: float = 30.0,
        patience: float = 300.0,
        connections: int = 4,
        headers: Mapping[str, str] | None = None,
        failure: type[ServerUnavailable] = ServerUnavailable,
    ) -> None:
        if not _is_address(url):
            raise UserValueError(f"url {url!r} is no address of a {title}; write http://HOST:PORT.")
        for name, value in {"timeout": timeout, "connections": connections}.items():
            if not value > 0:
                raise UserValueError(f"{name} is {value}; it must be above 0.")
        if patience < 0:
            raise UserValueError(f"patience is {patience}; give seconds, 0 to give up at once.")
        self.url, self.title, self.remedy = url.rstrip("/"), title, remedy
        self.timeout, self.patience, self.connections = timeout, patience, connections
        self.headers, self.failure = dict(headers or {}), failure
        self.secret_headers: dict[str, str] = {}  # as `headers`, and never pickled

    @cached_property
    def _pool(self) -> Any:
        from urllib3 import PoolManager, Timeout

        # Retries are ours: they know what a sound reply is, and how long the user wants to wait.
        return PoolManager(
            maxsize=self.connections, retries=False, timeout=Timeout(connect=min(5.0, self.timeout), read=self.timeout)
        )

    def ask(self, method: str, path: str, body: Any, check: Callable[[Any], T]) -> T:
        """One checked reply.

        Args:
            method, path: Of the request.
            body: Sent as JSON; None sends nothing.
            check: JSON -> what is returned; raises `Unusable` for a reply that is none.

        Raises:
            ValueError: The server calls the request wrong.
            ServerUnavailable: No usable reply for `patience` seconds.
        """
        return self._until_there_is_one(method, path, body, check, _Call())

    def ask_all(self, path: str, bodies: Sequence[Any], check: Callable[[int, Any], T]) -> list[T]:
        """POST all `bodies`, `connections` at a time; `check` is given the number of a body and its reply. Raises as `ask`."""
        call = _Call()

        def ask(n: int) -> T:
            return self._until_there_is_one("POST", path, bodies[n], lambda reply: check(n, reply), call)

        if len(bodies) <= 1:
            return [ask(n) for n in range(len(bodies))]
        with ThreadPoolExecutor(self.connections) as threads:
            try:
                return list(threads.map(ask, range(len(bodies))))
            finally:
                call.over.set()  # after Ctrl-C, or a failure of one, nobody waits on

    def _until_there_is_one(self, method: str, path: str, body: Any, check: Callable[[Any], T], call: _Call) -> T:
        began, pause = time.monotonic(), FIRST_PAUSE
        while True:
            try:
                return check(self._reply(method, path, body))
            except Unusable as failure:
                reason = str(failure)
            left = self.patience - (time.monotonic() - began)
            if left > 0:
                call.tell(
                    f"the {self.title} at {self.url} does not answer: {reason}. Trying again for {self.patience:g} s."
                )
            if left <= 0 or call.over.wait(min(pause, left)):
                raise self.failure(
                    f"the {self.title} at {self.url} gave no usable reply for {self.patience:g} s: {reason}. {self.remedy}; a longer "
                    "patience waits longer."
                )
            pause = min(2 * pause, LONGEST_PAUSE)

    def _reply(self, method: str, path: str, body: Any) -> Any:
        from urllib3.exceptions import HTTPError

        sent = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **self.headers, **self.secret_headers}
        deadline = time.monotonic() + self.timeout
        try:
            reply = self._pool.request(method, self.url + path, body=sent, headers=headers, preload_content=False)
            text = self._whole(reply, deadline).decode("utf-8", "replace")
        except HTTPError as error:
            raise Unusable(" ".join(f"{type(error).__name__}: {error}".split())[:200]) from error
        if 400 <= reply.status < 500 and reply.status not in LATER:
            raise UserValueError(
                f"the {self.title} at {self.url} refuses {method} {path} ({reply.status}): {text[:300]}"
            )
        if reply.status != 200:
            raise Unusable(f"status {reply.status}: {text[:100]}")
        try:
            return json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Unusable(f"no JSON: {text[:80]!r}") from error

    def _whole(self, reply: Any, deadline: float) -> bytes:
        """The body of a reply; urllib3's own time-out is one for each piece, so that a dribble would go on for ever."""
        pieces = []
        while piece := reply.read1(2**16):
            pieces.append(piece)
            if time.monotonic() > deadline:
                reply.close()
                raise Unusable(f"no whole reply within {self.timeout:g} s")
        reply.release_conn()
        return b"".join(pieces)

    def __getstate__(self) -> dict[str, Any]:
        """Without connections: another process opens its own."""
        return {name: value for name, value in vars(self).items() if name != "_pool"} | {"secret_headers": {}}


def _is_address(url: Any) -> bool:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except (ValueError, AttributeError):  # a port out of range; no text at all
        return False
    return sound and not any(c.isspace() for c in url)


def take_key(client: PatientClient, variable: str | None) -> None:
    """Let a client show the key that an environment variable holds; None: it needs none.

    Raises:
        ValueError: The variable is empty.
    """
    if variable is None:
        return
    if not (key := os.environ.get(variable)):
        raise UserValueError(
            f"the {client.title}'s key is looked for in the environment variable {variable!r}, which is empty; export it."
        )
    client.secret_headers = {"Authorization": f"Bearer {key}"}


def chat_completion(reply: Any) -> tuple[str, tuple[int, int] | None, bool]:
    """What a model said in a reply of ``/chat/completions``, the tokens that it read and wrote if the server counts them, and whether it
    was cut off.

    Raises:
        Unusable: It is no such reply.
    """
    try:
        choice = reply["choices"][0]
        text, cut = choice["message"]["content"], choice.get("finish_reason") == "length"
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unusable(f"no chat completion: {str(reply)[:80]!r}") from error
    if text is None:
        text = ""  # a refusal, or reasoning that took all tokens: nothing to wait for
    if not isinstance(text, str):
        raise Unusable(f"no text in a chat completion: {str(text)[:80]!r}")
    usage = reply.get("usage")
    counted = usage if isinstance(usage, Mapping) else {}
    prompt, completion = counted.get("prompt_tokens"), counted.get("completion_tokens")
    return text, (prompt, completion) if isinstance(prompt, int) and isinstance(completion, int) else None, cut

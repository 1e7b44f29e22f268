"""Is a model or dataset hub within reach? Its clients retry for most of a minute before they say that it is not."""

from __future__ import annotations

import contextlib
import socket
import urllib.parse
import urllib.request

__all__ = ["reachable"]


def reachable(endpoint: str) -> bool:
    """Whether the name of `endpoint`'s host can be resolved; behind a proxy names are resolved elsewhere, so then yes."""
    if urllib.request.getproxies():
        return True
    with contextlib.suppress(OSError):
        return bool(socket.getaddrinfo(urllib.parse.urlsplit(endpoint).hostname, 443))
    return False

"""Assembles the page: one HTML file without any other file, safe against whatever a model wrote.

What a model wrote reaches the page as JSON in inert script elements, in which "<" never occurs; our scripts put it into text nodes only.
The policy in the page's head allows exactly our script and our style, by hash, and no request at all.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path

from maporl.atomic_files import write_whole
from maporl.benchmarks.report.data import Payload
from maporl.errors import UserValueError

__all__ = ["LIVE", "SCRIPTS", "page", "write_report"]

LIVE = "live.js"
"""Behind all others on a page that is served (`maporl.benchmarks.report.live`): it asks its server for what is new, and nobody else."""

SCRIPTS = (
    "dom.js",
    "format.js",
    "store.js",
    "charts.js",
    "comparisons.js",
    "summary.js",
    "plots.js",
    "collaboration.js",
    "run.js",
    "filters.js",
    "search.js",
    "list.js",
    "diff.js",
    "code.js",
    "checks.js",
    "tokens.js",
    "discussion.js",
    "reader.js",
    "controls.js",
    "viewer.js",
    "decision.js",
    "tree.js",
    "trees.js",
    "main.js",
)
"""In the order in which they are read: one scope, later files use earlier ones."""

MARK = b'name="generator" content="maporl"'


def write_report(payload: Payload, path: str | Path) -> Path:
    """Write the page to `path`; its folder is made.

    Raises:
        ValueError: It cannot be written there, or a page of others is there.
    """
    target = Path(path)
    if target.is_file() and MARK not in target.read_bytes()[:500]:
        raise UserValueError(f"--output {str(path)!r} is there already and no report of maporl; name another file.")

    def write(part: Path) -> None:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(page(payload))

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_whole(target, write)  # it may be reloaded while a run goes on
    except OSError as error:
        raise UserValueError(
            f"--output {str(path)!r} cannot be written ({error.strerror}); name another file."
        ) from error
    return target


def page(payload: Payload, versions: Mapping[str, str] | None = None) -> Iterator[str]:
    """The page in parts. What is shown at once comes first, so that a browser shows it while it still reads the discussions.

    Args:
        payload: What it holds.
        versions: Of its parts, of a page that is served and asks for newer ones; None: a file, which asks nobody.
    """
    style = _source("style.css")
    scripts = SCRIPTS if versions is None else (*SCRIPTS, LIVE)
    script = '(() => {\n"use strict";\n' + "\n".join(map(_source, scripts)) + "\n})();\n"
    parts = {
        "policy": _policy(script, style, "'none'" if versions is None else "'self'"),
        "title": _plain(str(payload.figures["title"])),
        "style": style,
        "figures": _inert(payload.figures if versions is None else {**payload.figures, "live": versions}),
        "script": script,
    }
    yield re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], _source("page.html"))
    for name, part in payload.packed.items():
        for number, piece in enumerate(part.pieces):
            yield _block(f"{name}-{number}", piece)
        # The index comes last: once it is there, so is everything that it speaks of.
        yield _block(f"{name}-index", part.index)
    yield "</body>\n</html>\n"


def _block(id: str, packed: str) -> str:
    return f'<script type="application/octet-stream" id="{id}">{packed}</script>\n'


def _source(name: str) -> str:
    return files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _policy(script: str, style: str, asked: str) -> str:
    """Our script and our style by hash, no network but whom it may ask, no frames, and text that no script can turn into markup."""
    return (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; connect-src {asked}; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"


def _plain(text: str) -> str:
    """`text` as HTML text in ASCII, without control characters."""
    shown = "".join(c for c in text if c.isprintable() or c == " ")
    return html.escape(shown).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _inert(value: object) -> str:
    """JSON in ASCII that nothing in HTML can take for markup."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")

"""The documentation site: `make docs` builds it, every warning an error. The pages are plain Markdown that also reads well without it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.util import inspect

import maporl

project, author, copyright = "maporl", "The maporl founders", "the maporl founders"
release = version = maporl.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_copybutton"]
smartquotes_action = "D"  # dashes only: "" and "all" are values

html_theme = "furo"
html_title = f"maporl {version}"
html_static_path = ["_static"]
html_css_files = ["maporl.css"]
html_copy_source = False
copybutton_prompt_text = "$ "
pygments_style, pygments_dark_style = "friendly", "monokai"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = (
    4  # a link such as training.md#teams means the same here and where the files are read as they are
)

maximum_signature_line_length = 100
toc_object_entries_show_parents = "hide"
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = {"README": "index", "CHANGELOG": "project/changelog", "CONTRIBUTING": "project/contributing"}


def page(app: object, docname: str, source: list[str]) -> None:
    """What only the site needs: pages from above docs/, links that lead to them, and a title for tables that have none."""
    text = source[0]
    for name, here in OUTSIDE.items():
        if docname == here:
            above = (ROOT / f"{name}.md").read_text(encoding="utf-8")
            text = re.sub(r"\]\((?!#|\w+:)", "](/../", above) + "\n" + text
    text = text.replace("](/../docs/", "](/")
    text = re.sub(rf"\]\((?:/|\.\./)*({'|'.join(OUTSIDE)})\.md", lambda found: f"](/{OUTSIDE[found[1]]}.md", text)
    if docname.startswith("results/") and not text.startswith("# "):
        text = f"# Tables: {' '.join(docname.split('/')[1:-1])}\n\n" + re.sub("^### ", "## ", text, flags=re.MULTILINE)
    source[0] = text


def markdown(app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings quote and tabulate as Markdown does; a class that has a place of its own becomes a link."""

    def quoted(found: re.Match[str]) -> str:
        return f":py:obj:`{found[1]}`" if re.fullmatch(r"maporl\.[\w.]+|[A-Z]\w+", found[1]) else f"``{found[1]}``"

    text = re.sub(r"(?<![`:])`([^`]+)`(?!`)", quoted, "\n".join(lines))
    text = re.sub(r"^ *\|.*\|\n *\|[-|]+\|\n", "", text, flags=re.MULTILINE)  # a table becomes a list: its head goes
    text = re.sub(r"^( *)\| (.*?) \| (.*) \|$", r"\1- **\2** – \3", text, flags=re.MULTILINE)
    # Types are in the signature; without this what precedes a colon would be taken for one.
    lines[:] = re.sub(r"^( *Returns:\n +)", r"\1: ", text, flags=re.MULTILINE).split("\n")


def signature(
    app: object, what: str, name: str, obj: Any, options: object, found: str | None, returned: str | None
) -> tuple[str, str | None] | None:
    """What a class is made with, also where its `__new__` takes everything."""
    if what != "class" or not (found or "").startswith("(*args"):
        return None
    made = inspect.signature(obj.__init__, bound_method=True)
    return inspect.stringify_signature(made, show_return_annotation=False, unqualified_typehints=True), returned


def skipped(app: object, what: str, name: str, obj: object, skip: bool, options: object) -> bool | None:
    """Python documents the fields of a named tuple by their number, which says nothing."""
    return True if str(getattr(obj, "__doc__", "")).startswith("Alias for field number") else None


def setup(app: object) -> None:
    app.connect("autodoc-process-signature", signature)  # type: ignore[attr-defined]
    app.connect("autodoc-skip-member", skipped)  # type: ignore[attr-defined]
    app.connect("source-read", page)  # type: ignore[attr-defined]
    app.connect("autodoc-process-docstring", markdown, priority=400)  # type: ignore[attr-defined]  # before napoleon's

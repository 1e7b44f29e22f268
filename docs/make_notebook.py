"""The tutorial as a notebook: ``python docs/make_notebook.py`` writes docs/tutorial.ipynb from docs/tutorial.md.

Prose stays prose; a block of Python is a cell, one that begins with a comment of a file's name writes that file; a command is a cell with
an exclamation mark; a block of text below a cell is what that cell printed.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("tutorial.md")


def notebook(page: str) -> dict[str, Any]:
    """The notebook of a page."""
    cells: list[dict[str, Any]] = []
    for n, part in enumerate(re.split(r"^```(python|bash|text)\n(.*?)^```\n", page, flags=re.DOTALL | re.MULTILINE)):
        kind = ("markdown", "language", "body")[n % 3]
        if kind == "language":
            language = part
        elif kind == "markdown" and part.strip():
            cells.append({"cell_type": "markdown", "metadata": {}, "source": lines(part.strip())})
        elif kind == "body" and language == "text":
            cells[-1]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": lines(part)}]
        elif kind == "body":
            cells.append(code(language, part.strip()))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def code(language: str, text: str) -> dict[str, Any]:
    """A cell of code."""
    file = re.match(r"# (\w+\.py)\n", text)
    if language == "bash":
        text = "\n".join(f"!{line}" for line in text.splitlines())
    elif file:
        text = f"%%writefile {file[1]}\n{text[file.end() :]}"
    return {"cell_type": "code", "metadata": {}, "execution_count": None, "source": lines(text), "outputs": []}


def lines(text: str) -> list[str]:
    """As the format wants them."""
    return text.splitlines(keepends=True)


def written(page: str) -> str:
    """The notebook of a page as a file holds it."""
    return json.dumps(notebook(page), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    PAGE.with_suffix(".ipynb").write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")

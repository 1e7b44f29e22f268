"""Start a package of your own: a task, an algorithm or a protocol that works, with its test, found by its word once it is installed.

maporl new task two_doors      writes two_doors/: pyproject.toml with the entry point, two_doors.py, test_two_doors.py, README.md
"""

from __future__ import annotations

import argparse
import ast
import builtins
import importlib.util
import keyword
import re
import sys
from pathlib import Path

from maporl import registry
from maporl.cli.flags import Parser
from maporl.errors import UserValueError
from maporl.text_files import read_text

__all__ = ["KINDS", "add_arguments", "run", "write_package"]

TEMPLATES = Path(__file__).parent / "templates"

KINDS = {"task": "env", "algorithm": "algorithm", "protocol": "protocol"}
"""What can be started -> the kind of its word in the registry. Its template is the package of the name ``my_KIND``."""


def add_arguments(parser: Parser) -> None:
    parser.add_argument("kind", metavar="KIND", help=f"what to start: {', '.join(KINDS)}")
    parser.add_argument(
        "name", metavar="NAME", help="of the package, its module and the word: small letters, digits and _"
    )


def run(args: argparse.Namespace) -> int:
    """Write the package, and say what comes next."""
    folder = Path(args.name)
    write_package(args.kind, args.name, folder)
    print(f"wrote {folder}/: {', '.join(sorted(file.name for file in folder.iterdir()))}")
    _, _, commands = read_text(folder / "README.md").partition("```bash\n")
    print("\n".join(f"  {line}" for line in commands.partition("```")[0].splitlines()))
    return 0


def write_package(kind: str, name: str, folder: Path) -> None:
    """Write the start of a package.

    Args:
        kind: Of `KINDS`.
        name: Of the package, its module and the word.
        folder: Where; made.

    Raises:
        ValueError: An unknown kind, a name that cannot be, or a folder that is there.
    """
    if kind not in KINDS:
        raise UserValueError(f"{kind!r} cannot be started; one of: {', '.join(KINDS)}.")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    mine, my_class = f"my_{kind}", f"My{kind.capitalize()}"
    files = {
        file.name: read_text(file)
        for file in sorted((TEMPLATES / kind).iterdir())
        if file.suffix in (".py", ".md", ".toml")
    }
    if folder.exists():
        raise UserValueError(f"{str(folder)!r} is there already; choose another name, or remove it.")
    _check_name(kind, name)
    used = set().union(*(_bound(text) for file, text in files.items() if file.endswith(".py"))) - {my_class}
    if class_name in used or hasattr(builtins, class_name):
        raise UserValueError(
            f"name {name!r} makes the class {class_name}, which means something else already; add a word."
        )
    try:
        folder.mkdir()
    except OSError as error:
        raise UserValueError(
            f"{str(folder)!r} cannot be made ({error.strerror}); start from a folder of yours."
        ) from error
    for file, text in files.items():
        written = text.replace(mine, name).replace(my_class, class_name)
        (folder / file.replace(mine, name)).write_text(written, encoding="utf-8")


def _check_name(kind: str, name: str) -> None:
    """That a package, a module and a word can be called so."""
    if not re.fullmatch(r"[a-z]([a-z0-9_]*[a-z0-9])?", name):
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_0123456789")
        hint = f", such as {plain!r}" if re.fullmatch(r"[a-z][a-z0-9_]+", plain) else ""
        raise UserValueError(
            f"name {name!r} cannot be a module's; begin with a small letter and go on with small letters, digits and _{hint}."
        )
    if keyword.iskeyword(name):
        raise UserValueError(f"name {name!r} is a keyword of Python; choose another.")
    if name in registry.names(KINDS[kind]):
        raise UserValueError(
            f"name {name!r} is the word of a {kind} already (maporl's own or an installed one); choose another."
        )
    if name in sys.stdlib_module_names or importlib.util.find_spec(name) is not None:
        raise UserValueError(f"name {name!r} is a module that can be imported here already; choose another.")


def _bound(code: str) -> set[str]:
    """Names that a module uses or imports."""
    nodes = list(ast.walk(ast.parse(code)))
    used = {node.id for node in nodes if isinstance(node, ast.Name)}
    return used | {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}

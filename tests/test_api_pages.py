"""The pages of docs/api/: every public name is on exactly one of them, and says what it is. Read, not imported."""

from __future__ import annotations

import ast
import re
from collections import Counter
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.name: page.read_text(encoding="utf-8") for page in sorted((ROOT / "docs" / "api").glob("*.md"))}
INNER = {"maporl.envs.tasks", "maporl.benchmarks.methods"}  # shown by module: their packages name but a part


@cache
def body_of(module: str) -> list[ast.stmt]:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return [inner for node in ast.parse(file.read_text(encoding="utf-8")).body for inner in (node, *of_typing(node))]


def of_typing(node: ast.stmt) -> list[ast.stmt]:
    """What stands below `if TYPE_CHECKING`, where names that load late are imported."""
    return node.body if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING" else []


def names_of(module: str) -> list[str]:
    for node in body_of(module):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def home(module: str, name: str) -> tuple[str, ast.stmt, ast.stmt | None]:
    """Where a name is made: the module, the statement, and the one after it."""
    body = body_of(module)
    for node, after in zip(body, [*body[1:], None], strict=True):
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if getattr(node, "name", "") == name or name in [getattr(target, "id", "") for target in targets]:
            return module, node, after
        if isinstance(node, ast.ImportFrom) and name in [alias.asname or alias.name for alias in node.names]:
            return home(str(node.module), name)
    raise AssertionError(f"{module} has {name} in __all__, and nobody makes it")


def shown() -> list[tuple[str, str]]:
    """(module, name) of everything on the pages, as often as it is there."""
    found = []
    for text in PAGES.values():
        for module, options in re.findall(r"automodule:: (\S+)\n((?:   :.*\n)*)", text):
            hidden = re.findall(r"\w+", options.partition(":exclude-members: ")[2].partition("\n")[0])
            assert set(hidden) <= set(names_of(module)), module
            found += [(module, name) for name in names_of(module) if name not in hidden]
        found += [tuple(path.rsplit(".", 1)) for path in re.findall(r"auto(?:class|function):: (\S+)", text)]
    return found


def test_every_name_on_them_is_documented() -> None:
    silent = []
    for module, name in shown():
        where, node, after = home(module, name)
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            said = ast.get_docstring(node)
        else:
            said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and str(after.value.value)
        if not said:
            silent.append(f"{where}.{name}")
    assert not silent, silent


def test_every_public_name_is_on_one_page_once() -> None:
    times = Counter((home(module, name)[0], name) for module, name in shown())
    assert not [name for name, count in times.items() if count > 1]
    packages = [".".join(p.parent.relative_to(ROOT).parts) for p in sorted((ROOT / "maporl").rglob("__init__.py"))]
    public = [p for p in packages if p.count(".") <= 2 and p not in INNER and not p.endswith((".cli", ".embedded"))]
    wanted = {home(module, name)[:1] + (name,) for module in public for name in names_of(module) if name[:2] != "__"}
    assert len(wanted) > 100 and not wanted - set(times)


def test_every_page_is_in_the_list() -> None:
    listed = re.findall(r"\]\((\w+\.md)\)", PAGES["index.md"])
    assert sorted(listed) == sorted(set(PAGES) - {"index.md"})

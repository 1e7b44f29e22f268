"""A tree of discussions as a person reads it in a terminal: a line a message, under the one that it answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console

from maporl.benchmarks.analysis.trees import RULE, Node, Tree
from maporl.cli.discussion_text import Page, beginning
from maporl.printable import printable
from maporl.rollouts.trees import Branch

__all__ = ["print_tree", "share_right"]

LINES, WIDTH = 60, 100
"""Lines of a tree that fit on a screen: of longer ones the lowest levels are left out. Columns where no terminal says how many."""

STYLES = {"chosen": "green", "rejected": "red", "right": "green", "wrong": "red"}


def share_right(tree: Tree) -> str:
    """ "6 of 27 discussions right"; without a gold answer nobody knows."""
    return (
        f"{tree.leaves} discussions" if tree.right is None else f"{tree.right:.3g} of {tree.leaves} discussions right"
    )


def print_tree(tree: Tree, console: Console, top: Branch = (), *, full: bool = False) -> None:
    """Question and figures, the messages of the path to `top` whole, and a line for each message below it.

    Args:
        tree: Which.
        console: Where to.
        top: Only what is said after this message.
        full: Every message has a line, whatever their number.
    """
    page = Page(console)
    page.opening(tree.first, f"Question {tree.first['question_id']} ({tree.record}, tree {tree.number})")
    page.line(
        (
            f"{tree.messages} messages, {share_right(tree)}, chosen and rejected at {tree.paired} of {tree.compared} decisions ({RULE})",
            "",
        )
    )
    for depth in range(1, len(top) + 1):
        node = tree.nodes[top[:depth]]
        for said, mark in zip(node.said, node.marks, strict=True):
            words = [said["agent"], f"value {_figure(node.value)}", mark, _outcome(node)]
            page.line((f"{tree.name(node.branch)}  {'  '.join(filter(None, words))}", "bold cyan"))
            page.body(said["text"] or "(said nothing)")
    deepest = len(top) + 1000 if full else _deepest(tree, top)
    rows = list(_rows(tree, top, deepest, full))
    if rows:
        page.line((f"{'message':<{_names(tree)}}  value  right    pairs     who says what", "dim"))
    for node, count in rows:
        _row(page, tree, node, count, len(node.branch) - len(top) - 1)
    below = sum(len(b) > deepest and b[: len(top)] == top for b in tree.nodes)
    if below:
        page.line(
            (f"{below} messages of lower levels are left out: --full, or --tree and the number of a message", "dim")
        )


def _deepest(tree: Tree, top: Branch) -> int:
    """The level down to which the rows fit on a screen, but one at least."""
    deepest = len(top) + 1
    while True:
        rows = list(_rows(tree, top, deepest + 1, False))
        if len(rows) > LINES:
            return deepest
        deepest += 1
        if all(len(node.branch) < deepest for node, _ in rows):
            return deepest


def _rows(tree: Tree, top: Branch, deepest: int, full: bool) -> Iterator[tuple[Node, int]]:
    """Nodes below `top` in order, each with the number of its equals among its siblings for which it stands."""
    if len(top) >= deepest:
        return
    beneath = tree.nodes[top].children if top else [b for b in tree.nodes if len(b) == 1]
    for alike in _alike([tree.nodes[b] for b in beneath], full):
        yield alike[0], len(alike)
        yield from _rows(tree, alike[0].branch, deepest, full)


def _alike(siblings: Sequence[Node], full: bool) -> list[list[Node]]:
    """Leaves that say the same and are worth the same are one."""
    groups: dict[object, list[Node]] = {}
    for node in siblings:
        same = (tuple(said["text"] for said in node.said), node.value, node.right, node.marks)
        groups.setdefault(node.branch if node.children or full else same, []).append(node)
    return list(groups.values())


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}".replace("0.", ".", 1) if 0 <= value < 0.995 else f"{value:.2f}"


def _outcome(node: Node) -> str:
    """ "right" or "wrong" of a leaf, "5/9" (right discussions below) of another message."""
    if node.right is None:
        return "" if node.leaves == 1 else f"?/{node.leaves}"
    if node.children:
        return f"{node.right:.3g}/{node.leaves}"
    return {1.0: "right", 0.0: "wrong"}.get(node.right, f"tie {_figure(node.right)}")


def _row(page: Page, tree: Tree, node: Node, count: int, depth: int) -> None:
    outcome, names = _outcome(node), _names(tree)
    width = page.console.width if page.console.is_terminal else WIDTH
    for said, mark in zip(node.said, node.marks, strict=True):
        pieces = [
            (f"{tree.name(node.branch):<{names}}  {_figure(node.value):>5}  ", ""),
            (f"{outcome:<7}  ", STYLES.get(outcome, "")),
            (f"{mark:<8}  ", STYLES.get(mark, "")),
        ]
        who = f"{'  ' * depth}{said['agent']}{f' x{count}' if count > 1 else ''}: "
        room = max(width - sum(len(words) for words, _ in pieces) - len(who), 16)
        text = beginning(printable(said["text"], page.console.encoding), room) or "(said nothing)"
        page.line(*pieces, (who, "cyan"), (text, ""))


def _names(tree: Tree) -> int:
    """Columns that the names of messages take."""
    return max(len("message"), *(len(tree.name(branch)) for branch in tree.nodes))

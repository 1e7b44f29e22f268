"""Trees that a run kept: what a person is told about every message."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from kept_trees import COUNTS, grown, long_run, small_run

from maporl.benchmarks.analysis.trees import KeptTrees, kept_names


def test_values_marks_and_right_leaves_of_a_known_tree(tmp_path: Path) -> None:
    name, (tree,) = KeptTrees(small_run(tmp_path / "run")).newest()
    assert (name, tree.messages, tree.leaves, tree.right) == ("episodes/iteration_0001", 39, 27, 6.0)
    assert (tree.compared, tree.paired, sum(tree.pairs)) == (13, 4, 2 + 2 + 2 + 2)
    assert list(tree.nodes) == sorted(tree.nodes)
    seen = {b: (node.value, node.right, node.leaves, *node.marks) for b, node in tree.nodes.items()}
    assert seen[0,] == (pytest.approx(5 / 9), 5, 9, "chosen")
    assert seen[1,] == (pytest.approx(1 / 9), 1, 9, "rejected")
    assert [seen[0, k] for k in range(3)] == [
        (1, 3, 3, "chosen"),
        (pytest.approx(2 / 3), 2, 3, "chosen"),
        (0, 0, 3, "rejected"),
    ]
    assert [seen[0, 1, k] for k in range(3)] == [(1, 1, 1, "chosen"), (1, 1, 1, "chosen"), (0, 0, 1, "rejected")]
    assert seen[1, 0] == (pytest.approx(1 / 3), 1, 3, "")  # the best of its decision, and yet not above .5
    assert tree.nodes[0, 1].children == ((0, 1, 0), (0, 1, 1), (0, 1, 2)) and tree.nodes[0, 1].answer is None
    assert tree.nodes[0, 1, 2].answer == "8" and tree.name((0, 1, 2)) == "0.0.1.2"


def test_a_large_tree_is_counted(tmp_path: Path) -> None:
    _, (tree,) = KeptTrees(long_run(tmp_path / "run")).newest()
    assert (tree.messages, tree.leaves, tree.right) == (4 + 32 + 384, 384, sum(COUNTS))
    assert [tree.nodes[p // 8, p % 8].right for p in range(32)] == list(COUNTS)


def test_of_those_who_speak_at_once_each_has_a_mark(tmp_path: Path) -> None:
    texts = [[f"Answer: {a}" for a in answers] for answers in ((7, 7, 8), (7, 8, 8))]
    run = grown(tmp_path / "run", (3,), texts, protocol="debate", record="discussions/iteration_0002")
    name, (tree,) = KeptTrees(run).newest()
    assert name == "discussions/iteration_0002"
    assert [(node.value, node.marks, node.right) for node in tree.nodes.values()] == [
        (1.0, ("chosen", "chosen"), 1.0),
        (0.5, ("", "rejected"), 0.5),  # agent_0 says there what it says in the chosen one: no pair of equal messages
        (0.0, ("rejected", "rejected"), 0.0),
    ]


def test_a_tree_that_nobody_scored_has_no_values(tmp_path: Path) -> None:
    run = small_run(tmp_path / "run")
    file = run / "episodes" / "iteration_0001.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record["turns"][-1]["score"] = None
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    _, (tree,) = KeptTrees(run).newest()
    assert {node.value for node in tree.nodes.values()} == {None} and (tree.right, tree.compared) == (6.0, 0)


def test_a_message_of_several_joint_actions_is_one_and_has_its_mark_in_each(tmp_path: Path) -> None:
    texts = [[f"Answer: {a}" for a in answers] for answers in ((7, 8), (7, 9))]
    run = grown(tmp_path / "run", (2,), texts, protocol="debate", joint="cross")
    _, (tree,) = KeptTrees(run).newest()
    assert (tree.messages, tree.leaves, len(tree.decisions)) == (4, 4, 2)
    # 7 is worth (1 + .5) / 2, its sibling (.5 + 0) / 2, of both agents.
    assert {node.branch[0]: (node.value, node.marks) for node in tree.nodes.values()} == {
        0: (1.0, ("chosen", "chosen")),
        1: (0.5, ("chosen", "rejected")),
        2: (0.5, ("rejected", "chosen")),
        3: (0.0, ("rejected", "rejected")),
    }


def test_discussions_that_share_nothing_are_no_trees(tmp_path: Path) -> None:
    run = grown(tmp_path / "run", (), [["Answer: 7"]] * 3)
    assert kept_names(run) == ["episodes/iteration_0001"]
    with pytest.raises(ValueError, match="holds no trees: .*keep theirs in episodes/ or discussions/"):
        KeptTrees(run).newest()

"""The comparison with the published coding reward: what it is given, and what it says of a reward that is not ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bench import coding_rewards
from bench.coding_rewards import HELPERS, MAINS, NO_CALL, ROW, UNPARSED, WRAPPERS, Output, outputs, reasons

ROWS = [
    {
        "task_id": f"HumanEval/{n}",
        "prompt": f'def plus_{n}(x):\n    """ Add {n}. """\n',
        "canonical_solution": f"    return x + {n}\n",
        "entry_point": f"plus_{n}",
        "test": f"def check(candidate):\n    assert candidate(1) == {n + 1}\n    assert candidate(2) == {n + 2}\n",
    }
    for n in range(5)
]
FAKE = '''
def execution_reward_aux(helper, main, tests, entry_points, prompts):
    """As if every output were the reference."""
    return [2.1 if "return x + 0" not in main[0] else 1.5]
'''


def test_outputs_are_random_and_the_same_again() -> None:
    made = outputs(ROWS, 200, seed=1)
    assert made == outputs(ROWS, 200, seed=1) != outputs(ROWS, 200, seed=2)
    assert {o.forms[1] for o in made} == {*MAINS, *WRAPPERS} and {o.forms[0] for o in made} > set(HELPERS)


def test_reasons() -> None:
    plain = Output(ROWS[0], "", "", ("identity", "uses aux", "plain"))
    assert reasons(plain, set()) == () and reasons(plain, {"HumanEval/0"}) == (ROW,)
    assert reasons(Output(ROWS[0], "", "", ("broken", "aux in a comment", "plain")), set()) == (UNPARSED, NO_CALL)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rewards").mkdir()
    (tmp_path / "rewards" / "code_rewards.py").write_text(FAKE)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert coding_rewards.main([str(tmp_path), str(tmp_path / "rows.jsonl"), "--number", "60"]) == 0
    out = capsys.readouterr().out
    assert "theirs gives 4 of 5 references all that they can have without aux, ours every one" in out
    assert "UNEXPLAINED" in out  # 4.0 for a main part that uses aux, say
    for name in [name for name in sys.modules if name.split(".")[0] == "rewards"]:
        del sys.modules[name]

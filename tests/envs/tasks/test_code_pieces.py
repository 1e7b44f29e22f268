"""What of a message is code: for those who read the answer, and for those who show it."""

from __future__ import annotations

import pytest

from maporl.envs.tasks.coding.pieces import pieces_of

CODE = "def f(x):\n    return x\n"


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("", []),
        ("Only words; import taxes, and a class of their own.", ["text"]),
        (f"So:\n```python\n{CODE}```\nThat is all.\n", ["text", "fence", "python", "fence", "text"]),
        (f"So: ```\n{CODE}", ["text", "fence", "python"]),  # words before a fence that nobody closes
        (f"```text\n{CODE}```\n~~~py\n{CODE}~~~", ["fence", "code", "fence", "fence", "python", "fence"]),
        ("```\n```", ["fence", "python", "fence"]),
        (
            '```python\ndef f(x):\n    """Such as\n    ```\n    f(1)\n    ```\n    """\n    return x\n```\nIt is `x`.',
            ["fence", "python", "fence", "text"],
        ),
        ("```python\nx = 1```", ["fence", "python", "fence"]),
        (f"Here it is.\nimport math\n\n@cache\n{CODE}Hm.", ["text", "python"]),
        (CODE, ["python"]),
        ("    y = x\n    return y", ["python"]),  # the rest of a function
        ("    an indented thought, no code", ["text"]),
        ("In `def f(x):` a ``` stands in a line.", ["text"]),
    ],
)
def test_pieces(text: str, pieces: list[str]) -> None:
    found = pieces_of(text)
    assert [piece.kind for piece in found] == pieces
    assert "".join(piece.text for piece in found) == text

"""Why verdict and label differ: a convention that the two do not share, or our miss."""

from __future__ import annotations

__all__ = ["MODES", "reason"]


def reason(verifier: str, case_id: str) -> str:
    """Why this verifier and the label of this case differ."""
    if verifier == "choice" and "phrasing" in case_id:
        return "our miss: the phrasing is not read"
    return _WHY.get((verifier, case_id)) or MODES.get(verifier, "not explained")


_LIST = "convention: a bare list is a set, in any order"
_DONE = "convention: a division is carried out"
_OPTIONS = "convention: the label holds under the row's options"

_WHY = {
    ("math", "eq-001"): _LIST,
    ("math", "eq-008"): _LIST,
    ("math", "eq-050"): _DONE,
    ("number", "eq-050"): _DONE,
    ("number", "eq-040"): "convention: equal within .001, as ToRA labels",
    ("math", "mv-0264"): "label: it calls 1 + 1/e equal to 1 - 1/e, for Math-Verify by itself reads 1 from both",
    (
        "math",
        "mv-0006",
    ): "convention: a bare gold answer 1,22 is a list; a label that reads plain numbers only takes the decimal comma",
    (
        "math, the row's options",
        "mv-0264",
    ): "label: it calls 1 + 1/e equal to 1 - 1/e, for Math-Verify by itself reads 1 from both",
    ("math", "mv-0031"): "convention: line feeds inside $ ... $ are read",
    ("math", "mv-0032"): "convention: line feeds inside \\( ... \\) are read",
    **{
        (
            "math, the row's options",
            f"mv-{number}",
        ): "time: sympy takes seconds for sums like these, on a busy machine too many"
        for number in ("0259", "0260")
    },
    **{("math", f"mv-{number}"): _OPTIONS for number in ("0133", "0139", "0186", "0254")},
}
MODES = {
    "number, extract: marker": "mode: without a marker, or with an answer beside it that is no plain number, there is no answer",
    "number, extract: last": "mode: the last number of the text, whatever it says",
    "exact": "mode: the text must be the gold text, letter by letter",
    "regex": "mode: the text must be the gold text, and stand where the pattern looks",
    "TRL accuracy_reward": "it does not read this as the label wants (formulas between delimiters or in a box only)",
    "Math-Verify": "it does not read or compare this as the label wants",
}
"""Verifiers that differ by what they are: modes of ours, and other libraries."""

"""MATH: competition problems with an expression as their answer (Hendrycks et al. 2103.03874).

| specification | |
|---|---|
| question | the problem |
| answer | LaTeX, without ``\\boxed`` |
| rows | ``problem``, ``answer`` (without it: the last ``\\boxed{}`` of ``solution``), ``level``, ``subject`` or ``type`` |
| hub | train: ``nlile/hendrycks-MATH-benchmark`` (12,000 rows); test: ``HuggingFaceH4/MATH-500`` |
| verifier | `MathExpression` |
"""

from __future__ import annotations

from collections.abc import Iterator

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.discussion import DiscussionEnv
from maporl.envs.verifiers.markers import BOX, box
from maporl.types import Question

__all__ = ["Math"]


class Math(DiscussionEnv):
    """A team solves competition problems."""

    metadata = {"name": "math"}
    instruction = "Reason step by step. End with the final answer in \\boxed{}."
    default_num_rounds = 3  # MAPoRL discusses in three rounds
    default_verifier = "math"
    hub = HubSource(
        # The 12,000 problems that MATH-500 is not part of (Lightman et al. 2305.20050), with the answers taken out.
        train=("nlile/hendrycks-MATH-benchmark", ("train",)),
        test=("HuggingFaceH4/MATH-500", ("test",)),
    )

    def load(self, split: str) -> Iterator[Question]:
        for row in read_rows(self.data, split, self.hub):
            kept = {name: row.fields[name] for name in ("level", "subject", "type") if name in row.fields}
            yield Question(
                row.text("problem"), _gold(row), id=str(row.fields.get("unique_id") or row.id), metadata=kept
            )


def _gold(row: Row) -> str:
    if "answer" in row.fields:
        return row.text("answer").strip()
    solution = row.text("solution")
    boxes = (box(solution, match.end()) for match in reversed([*BOX.finditer(solution)]))
    gold = next((inside[0].strip() for inside in boxes if inside is not None), "")
    if not gold:
        raise row.error("no field 'answer', and no \\boxed{} in 'solution' to read it from.")
    return gold

"""The base of coding tasks: a function is asked for, and asserts say whether an answer is right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from maporl.envs.discussion import DiscussionEnv
from maporl.envs.tasks.coding.feedback import TestFeedback
from maporl.envs.tasks.coding.programs import HELPER, MAIN, Runner, main_of, preamble_of
from maporl.envs.tasks.coding.scoring import PartsTests, PassedTests
from maporl.envs.team_answer import TeamAnswer, last_round
from maporl.errors import UserValueError
from maporl.sandbox import Limits
from maporl.sandbox.asserts import asserts_of
from maporl.settings import called
from maporl.types import Question, Score, Transcript

__all__ = ["PARTS", "PIPELINE", "CodingTask"]

PARTS: Mapping[str, Any] = {
    "name": "debate",
    "roles": {
        HELPER: "You are the helper. Write one function, aux, that does a part of the work; the main programmer, who writes the function "
        "that is asked for at the same time, may call it. Do not write that function yourself.",
        MAIN: "You are the main programmer. Write the function that is asked for. You may call aux, a function that the helper writes at "
        "the same time to do a part of the work; do not write aux yourself.",
    },
}
"""Two agents who write parts of one program at once (MAGRPO)."""

PIPELINE: Mapping[str, Any] = {
    "name": "pipeline",
    "roles": {
        "coder": "You are the coder: write the function that is asked for.",
        "tester": "You are the tester: read the code, say on which inputs it goes wrong and why. Do not write the function anew.",
        "fixer": "You are the fixer: correct the code where it is wrong, and answer with the whole function.",
    },
}
"""One writes, one tests, one corrects, whose code counts."""


def _form(protocol: Any, num_agents: int | None) -> Any:
    """What a coding task means by the word of a protocol."""
    if protocol is None:
        protocol = "parts" if num_agents in (None, 2) else "debate"
    if protocol == "parts":
        return PARTS
    if protocol == "pipeline" and num_agents in (None, 2, 3):
        roles = {role: told for role, told in PIPELINE["roles"].items() if num_agents != 2 or role != "tester"}
        return {**PIPELINE, "roles": roles}
    return protocol


class CodingTask(DiscussionEnv):
    """A team writes a function. A task of one's own yields `question(...)` from its `load`; see docs/coding.md.

    Args:
        num_agents, num_rounds: Of the discussion.
        protocol: "parts" (the default of two agents): a helper writes ``aux``, a main programmer the function, at once. "debate" (the
            default of any other number): everybody writes the whole function. "pipeline": a coder, a tester and a fixer (of two agents
            without the tester). Or as in `DiscussionEnv`; whoever has the role "main" writes the main part, the others what precedes it.
        visible: How many asserts feedback may tell: so many from the first, or, below 1, that share of them, of which at least one
            stays hidden; or "all", which makes every answer an oracle's.
        limits: Of a program, where they differ from `maporl.sandbox.Limits`, such as ``{"seconds": 2}``.
        packages: Installed packages that an answer may import beside the standard library.
        unsafe: Run answers also where nothing keeps them apart: with your rights, on your files.
        **arguments: Of `DiscussionEnv`.

    Raises:
        ValueError: A number of visible asserts that cannot be, or a limit that is none.
    """

    instruction = "Answer with Python code in one ```python block: whole functions with all that they import."
    default_feedback: ClassVar[Any] = "detailed"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        protocol: Any = None,
        visible: int | float | str = 1,
        limits: Mapping[str, Any] | None = None,
        packages: Sequence[str] = (),
        unsafe: bool = False,
        **arguments: Any,
    ) -> None:
        number = not isinstance(visible, str | bool) and visible >= 0 and (visible < 1 or visible == int(visible))
        if not (number or visible == "all"):
            raise UserValueError(
                f"visible is {visible!r}; give a number of asserts, a share of them below 1, or 'all'."
            )
        self.visible = visible
        self.runner = Runner(called("limits", "limits", Limits, limits or {}), tuple(packages), unsafe)
        super().__init__(num_agents, num_rounds, protocol=_form(protocol, num_agents), **arguments)
        if isinstance(self.feedback, TestFeedback):
            self.feedback = self.feedback.run_by(self.runner)

    def own_verifiers(self) -> tuple[Any, Any]:
        if main_of(self.possible_agents) is None:
            return PassedTests(self.runner), None
        return None, PartsTests(self.runner)

    def question(
        self,
        text: str,
        tests: str,
        entry_point: str,
        *,
        setup: str = "",
        prompt: str = "",
        id: str = "",
        **metadata: Any,
    ) -> Question:
        """A question for a function.

        Args:
            text: What is asked.
            tests: Python with asserts about the function, which is found in the answer by its name.
            entry_point: That name.
            setup: What the tests need: imports, helpers.
            prompt: Source that ends within the function, after its docstring, which an answer may go on with; "" if there is none. What
                it holds beside the function is there for every answer, and for the tests.
            id: As in `Question`.
            **metadata: Anything else the task wants to keep.

        Raises:
            ValueError: There is no assert that asks anything.
        """
        number = len(asserts_of(tests))
        if not number:
            raise UserValueError(
                f"the question for {entry_point} ({id or text[:40]!r}) has no assert that asks anything."
            )
        preamble = preamble_of(prompt, entry_point)
        kept = {
            "entry_point": entry_point,
            "setup": "\n".join(filter(None, (preamble, setup))),
            "prompt": prompt,
            "preamble": preamble,
            "visible": self._visible(number),
        }
        return Question(text, tests, id, metadata={**metadata, **kept})

    def _visible(self, number: int) -> int:
        """How many of so many asserts feedback may tell."""
        if isinstance(self.visible, str):
            return number
        return min(round(self.visible * number if self.visible < 1 else self.visible), number - 1)

    @property
    def oracle(self) -> bool:
        return super().oracle or (self.visible == "all" and isinstance(self.feedback, TestFeedback))

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """The code that counts. In parts: both together. Of several whole answers: of the last round the one that passes most visible
        asserts, the first of equals. In a pipeline: the last one."""
        said = self.transcript if transcript is None else transcript
        if main_of(said.agents) is not None:
            scores = list(said.team_scores[-1:])
        else:
            scores = [turn.truth for turn in last_round(said) if turn.truth is not None]
        best: Score | None = max(scores, key=lambda score: score.measures.get("visible_passed", 0.0), default=None)
        if best is None or best.answer is None:
            return self.labelled(TeamAnswer(None, 0.0, tied=0))
        return self.labelled(TeamAnswer(best.answer, float(bool(best.correct))))

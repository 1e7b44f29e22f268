"""ColBench's backend programming: a function for a person who alone knows what it must do (SWEET-RL, Zhou et al. 2503.15478).

| specification | |
|---|---|
| agents | agent_0, who asks and then writes the function, and agent_1, the person who wants it; 1: agent_0, who asks nobody |
| private | of agent_1: the reference code |
| question | ``problem_description`` |
| messages | in turn, ten of agent_0's at most; its "I WANT TO ANSWER:" ends the discussion; 400 characters of agent_1's are heard |
| answer | the code in what follows these words; without them, that in agent_0's last message |
| reward | 1 for everybody if each of the row's calls gives what the reference gives, else 0; ``passed`` is the share that do |
| rows | ``problem_description``, ``ground_truth`` (code) and ``test_cases`` (name -> a call such as ``"fee(3, 'air')"``) |
| hub | ``facebook/collaborative_agent_bench``, ``backend_tasks``: 10,000 rows train, 1,000 test |

Calls that the reference itself does not pass are left out: it raises, takes too long, gives another value each time, or one that is no
plain data. None is a value like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from maporl.envs.data import HubSource, Row, read_rows
from maporl.envs.tasks.coding.consulting.consultation import MARKER, Consultation, final_answer
from maporl.envs.tasks.coding.consulting.reference import Compared, compared
from maporl.envs.tasks.coding.extraction import parsed
from maporl.envs.tasks.coding.programs import Runner, asked_for, whole_program
from maporl.envs.tasks.coding.scoring import PassedTests
from maporl.envs.tasks.coding.task import CodingTask
from maporl.envs.team_answer import TeamAnswer
from maporl.envs.verifiers import TranscriptVerifier
from maporl.errors import warn
from maporl.sandbox import Report
from maporl.types import Question, Score, Transcript

__all__ = ["AnswerTests", "ColBench"]

_HUB = "facebook/collaborative_agent_bench"
_AT_ONCE = 256  # references that are run together
_NAMED = 3  # rows that a warning names


@dataclass
class AnswerTests(TranscriptVerifier):
    """Whether the answer that a discussion ends with passes all tests.

    `Score.measures` has those of `PassedTests`, and "answered": whether it said that it answers.

    Args:
        runner: Runs the tests.
    """

    runner: Runner = field(default_factory=Runner)

    def __call__(self, transcript: Transcript) -> Score:
        return self.score_batch([transcript])[0]

    def score_batch(self, transcripts: Sequence[Transcript]) -> list[Score]:
        answers = [_answer(transcript) for transcript in transcripts]
        scores = PassedTests(self.runner).score_batch([t.question for t in transcripts], [text for text, _ in answers])
        return [_verdict(score, said) for score, (_, said) in zip(scores, answers, strict=True)]

    def prepare(self) -> None:
        """See `Verifier.prepare`."""
        self.runner.prepare()


def _answer(transcript: Transcript) -> tuple[str, bool]:
    """What is answered, and whether it was said that it is an answer."""
    own = [turn.text for turn in transcript.turns if turn.said and turn.agent == transcript.agents[0]]
    answers = (answer for text in own if (answer := final_answer(text)) is not None)
    answer = next(answers, None)
    return (own[-1] if own else "", False) if answer is None else (answer, True)


def _verdict(score: Score, said: bool) -> Score:
    where = f'after "{MARKER}"' if said else f'in the last message, without "{MARKER}"'
    measures = {**score.measures, "answered": float(said)}
    return replace(
        score, value=float(score.correct is True), explanation=f"{where}: {score.explanation}", measures=measures
    )


class ColBench(CodingTask):
    """The task of the card above.

    Args:
        num_agents, num_rounds, protocol: As in `DiscussionEnv`; 2, 10 and `Consultation`.
        skip_broken: Leave out rows whose reference passes none of its own calls, in place of refusing them.
        **arguments: Of `CodingTask`: limits, packages that references import, and so on.
    """

    metadata: dict[str, Any] = {"name": "colbench"}
    hub: ClassVar[HubSource] = HubSource(
        train=(_HUB, ("train",)),
        test=(_HUB, ("test",)),
        files={"train": "backend_tasks/train.jsonl", "test": "backend_tasks/test.jsonl"},
    )
    instruction = (
        f'Ask one simple question, or say "{MARKER}" and then nothing but the code, all that it imports included.'
    )
    default_num_rounds: ClassVar[int] = 10
    default_feedback: ClassVar[Any] = None
    default_shaping: ClassVar[Any] = "discussion_score"

    def __init__(
        self,
        num_agents: int | None = None,
        num_rounds: int | None = None,
        *,
        protocol: Any = None,
        skip_broken: bool = False,
        **arguments: Any,
    ) -> None:
        super().__init__(num_agents, num_rounds, protocol=Consultation if protocol is None else protocol, **arguments)
        self.skip_broken = skip_broken

    def own_verifiers(self) -> tuple[Any, Any]:
        return None, AnswerTests(self.runner)

    def load(self, split: str) -> Iterator[Question]:
        """The questions of a split, their references run, many at once; what is left out is told in one warning."""
        rows = read_rows(self.data, split, self.hub)
        calls = left_out = 0
        broken: list[str] = []
        while batch := list(itertools.islice(rows, _AT_ONCE)):
            for row, question in self._asked(batch):
                calls += len(_calls(row))
                if question is None:
                    broken.append(row.where)
                    continue
                left_out += question.metadata["left_out"]
                yield question
        if left_out or broken:
            skipped = f", and {len(broken)} whole rows ({'; '.join(broken[:_NAMED])} ...)" if broken else ""
            warn(
                f"colbench, {split}: {left_out} of {calls} calls are left out{skipped}: the reference itself does not pass them."
            )

    def _asked(self, rows: Sequence[Row]) -> Iterator[tuple[Row, Question | None]]:
        """Each row with its question, of the calls that the reference passes; None if there is none, and that is to be skipped."""
        tests = [_compared(row) for row in rows]
        runnable = [n for n, test in enumerate(tests) if test.asserts]
        programs = [
            whole_program(asked_for(self._question(rows[n], tests[n], tests[n].asserts)), rows[n].text("ground_truth"))
            for n in runnable
        ]
        reports = dict(zip(runnable, self.runner(programs), strict=True))
        for n, (row, test) in enumerate(zip(rows, tests, strict=True)):
            report = reports.get(n, Report("ok", "none of them is an expression"))
            kept = [source for source, c in zip(test.asserts, report.asserts, strict=True) if c.passed]
            if kept:
                yield row, self._question(row, test, kept)
            elif self.skip_broken:
                yield row, None
            else:
                why = report.explanation or next((c.explanation for c in report.asserts if c.explanation), "")
                raise row.error(
                    f"the reference in 'ground_truth' passes none of the {len(_calls(row))} calls of 'test_cases' ({why}); correct the "
                    "row, name what it imports in packages, or leave such rows out: skip_broken=True."
                )

    def _question(self, row: Row, test: Compared, asserts: Sequence[str]) -> Question:
        left_out = len(_calls(row)) - len(asserts)
        question = self.question(
            row.text("problem_description"),
            "\n".join(asserts),
            test.entry_point,
            setup=test.setup,
            prompt=test.lent,
            id=row.id,
            left_out=left_out,
        )
        return replace(question, private={"agent_1": row.text("ground_truth").strip()})

    def team_answer(self, transcript: Transcript | None = None) -> TeamAnswer:
        """The code that was answered with."""
        said = self.transcript if transcript is None else transcript
        verdict = said.verdict if said.verdict is not None and self.team_verifier else AnswerTests(self.runner)(said)
        return self.labelled(TeamAnswer(verdict.answer, float(bool(verdict.correct)), int(verdict.answer is not None)))


def _calls(row: Row) -> list[str]:
    """The calls of a row; a hub that keeps rows in columns has None where a row has fewer than others."""
    cases: Mapping[str, Any] = row.get("test_cases", dict)
    calls = [call for call in cases.values() if call is not None]
    if not calls or not all(isinstance(call, str) for call in calls):
        raise row.error(f"field 'test_cases' is {str(cases)[:60]!r}; it must be an object of calls, each a text.")
    return calls


def _compared(row: Row) -> Compared:
    calls, reference = _calls(row), parsed(row.text("ground_truth"))
    if reference.tree is None:
        raise row.error(f"field 'ground_truth' is no Python ({reference.fault}).")
    return compared(reference.tree, calls)

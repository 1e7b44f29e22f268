"""``python -m bench.verifier_agreement``: verifiers against labels, as a table.

Without FILE every set of the shared data is measured, and the project's own cases; with FILE that one, by all verifiers that can read it or
by those named. A pairwise judge is asked which of two answers to one question is right, in both orders: it calls the first answer of such a
pair right or wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.data_folder import add_data, data_of
from bench.verifier_agreement.cases import Case, balanced, labelled_sets, read_cases
from bench.verifier_agreement.degenerate import degenerate
from bench.verifier_agreement.measure import measured
from bench.verifier_agreement.pairs import compared
from bench.verifier_agreement.report import Entry, environment, markdown, show, write
from bench.verifier_agreement.verifiers import PATTERN, SUBJECTS, Subject, named
from maporl.envs.verifiers.mathematics.workers import shared_workers
from maporl.errors import UserValueError
from maporl.judges import PairwiseJudge

NOTES = (
    "agree: of all n; 95 %: Wilson's interval; precision, recall: of the verdict right; read: texts in which it finds an answer.",
    "AUROC: of verifiers whose values are no facts, which call right what is worth at least .5.",
    "undecided: time-outs and failures, neither right nor wrong; n has no cases whose gold answer the verifier cannot read.",
    f"`regex` has the pattern `{PATTERN}`.",
)


def entries_of(
    name: str, every: Sequence[Case], subjects: Sequence[Subject], strict: bool, number: int | None = None
) -> list[Entry]:
    """The rows of one set, or of `number` cases drawn from it."""
    cases = every if number is None else balanced(every, number)
    found = [
        (
            subject,
            compared(subject.settings, every, number)
            if isinstance(subject.settings, PairwiseJudge)
            else measured(subject, cases, strict),
        )
        for subject in subjects
        if name not in subject.not_on
    ]
    return [Entry(name, subject.name, result) for subject, result in found if result is not None]


def main(arguments: Iterable[str] | None = None) -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.verifier_agreement",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="labelled cases (JSON lines) instead of the shared ones"
    )
    add_data(parser)
    words = ", ".join(subject.name for subject in SUBJECTS)
    parser.add_argument(
        "--verifier", nargs="+", metavar="NAME", help=f"only these ({words}; package.module:Class; {{name: WORD, ...}})"
    )
    parser.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="of each set N cases drawn at random (always the same), half of them right",
    )
    parser.add_argument("--disagreements", action="store_true", help="list the ids on which verdict and label differ")
    parser.add_argument(
        "--markdown", type=Path, metavar="PAGE", help="write the table and the disagreements into a page"
    )
    options = parser.parse_args(None if arguments is None else list(arguments))
    try:
        subjects = named(options.verifier) if options.verifier else SUBJECTS
        entries: list[Entry] = []
        notes = [*NOTES, environment()]
        shared_workers().ask(
            5.0, gold="1", response="1", precision=6, strict=True, allow_set_relation_comp=False
        )  # starts them
        sets = (
            ((path.stem, read_cases(path)) for path in options.files)
            if options.files
            else labelled_sets(data_of(parser, options, "FILE"))
        )
        for name, cases in sets:
            found = entries_of(name, cases, subjects, bool(options.files and options.verifier), options.sample)
            if not found and options.files:
                raise UserValueError(
                    f"{cases[0].where}: no verifier reads most gold answers, the first is {cases[0].question.answer[:80]!r}; "
                    "correct the rows, or name a verifier with --verifier."
                )
            entries += found
        if not options.files and any(subject.name == "math" for subject in subjects):
            notes.insert(-1, degenerate())
        if options.markdown:
            write(options.markdown, markdown(entries, notes))
    except (UserValueError, OSError) as error:
        parser.error(str(error))
    show(entries, notes, options.disagreements)


if __name__ == "__main__":
    main()

"""From labelled answers to a verifier that is calibrated and judged: the trainer ``learned_verifier``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from maporl.agents.team import Team
from maporl.errors import UserValueError, warn
from maporl.learned_verifier import training
from maporl.learned_verifier.answers import (
    LabelledAnswer,
    balanced,
    by_question,
    divided,
    read_answers,
    seen,
    write_answers,
)
from maporl.learned_verifier.evaluation import Report, evaluate, temperature_of, values_of
from maporl.learned_verifier.model import Card, Reading
from maporl.learned_verifier.sampling import answers_of, lacking, sample_waves
from maporl.learned_verifier.verifier import LearnedVerifier
from maporl.settings import called, full_path
from maporl.training.loop import check_context, rollout_metrics
from maporl.training.run import RunFolder, load_team
from maporl.training.threads import with_threads
from maporl.training.trainer import Run, Trainer

__all__ = ["SHARED", "Settings", "VerifierTraining", "report_of"]

HELD_OUT, TRAINED_ON, SAMPLED = "held_out.jsonl", "trained_on.jsonl", "sampled.jsonl"
"""Answers that are kept beside a verifier, so that it can be judged again, or another one be trained on them."""

SHARED = ("dtype", "device", "gradient_checkpointing", "num_threads", "seed")
"""Settings of the training that are the run's."""


@dataclass(frozen=True)
class Settings(training.Settings):
    """What ``algorithm_args`` may hold.

    Attributes:
        answers: A jsonl file of labelled answers, instead of sampling a task's.
        run: Sample from the team that this run trained.
        k: Right and wrong answers to each question; None is 10, or 1 with answers.
        unbalanced: Take all answers as they are.
        controls: Also train on the question and on the response alone, which takes as long again twice over.
        wave: Discussions of a question sampled at a time.
    """

    answers: str | None = None
    run: str | None = None
    k: int | None = None
    unbalanced: bool = False
    controls: bool = False
    wave: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_positive("wave", *(["k"] if self.k is not None else []))

    @property
    def wanted(self) -> int:
        """Right and wrong answers that a question shall have."""
        return self.k or (1 if self.answers else 10)


class VerifierTraining(Trainer):
    """A verifier that learns p(right | question, response) from labelled answers: balance, divide, train, calibrate, judge.

    The answers are a file's, or those of a team to the questions that the task keeps for verifiers: an iteration is a wave of
    discussions, kept whole in ``episodes/``, until there are enough or ``num_iterations`` are over. Seven tenths of the questions are
    learned from, one tenth gives the temperature, two tenths are judged on; which is which is decided by their hashes. The run's
    folder is the verifier's, on the base ``model``; it keeps the answers and the figures.
    """

    evaluated = False
    only_for = ("", "it trains a verifier, not a team; run maporl verifier train")
    Settings = Settings

    def __init__(self, run: Run) -> None:
        config = run.config
        if not config.model:
            raise UserValueError("no model; name the verifier's base: --model DIR or a hub id.")
        if not isinstance(config.model, str):
            raise UserValueError("a verifier has one base; give one --model.")
        place = run.folder.path
        if (place / "verifier.json").is_file() and not (place / "config.yaml").is_file():  # `fit` wrote it, not a run
            raise UserValueError(f"{str(place)!r} holds a verifier already; choose another folder, or delete it.")
        shared = {name: getattr(config, name) for name in SHARED}
        given = dict(config.algorithm_args)
        given |= {name: full_path(given[name]) for name in ("answers", "run") if given.get(name)}
        run.config = config = replace(config, algorithm_args=given)
        self.settings = called("algorithm", config.algorithm, Settings, shared | given)
        self.answers = read_answers(self.settings.answers) if self.settings.answers else None
        instruction = run.env.instruction if self.answers is None else ""
        self.reading = Reading(prompts=asdict(config.build_prompts()), instruction=instruction)
        if self.answers is None:
            self.questions = run.env.questions("verifier")
            self.team = _speakers(run, self.settings.run)
            run.config = with_threads(config, self.team)
            check_context(run.env, self.team, self.questions)

    def fit(self, run: Run, start: int = 0) -> None:
        answers, folder, settings = self.answers or self._sampled(run, start), run.folder.path, self.settings
        kept, balance = balanced(answers, None if settings.unbalanced else settings.wanted, seed=settings.seed)
        parts = divided(kept)
        write_answers(folder / HELD_OUT, parts["held_out"])
        write_answers(folder / TRAINED_ON, parts["train"])
        card = self._fitted(parts, run, folder, "both")
        for reads in ("question", "response") if settings.controls else ():
            self._fitted(parts, run, folder / "controls" / reads, reads)
        report = report_of(LearnedVerifier(folder, device=settings.device), parts["held_out"])
        report.save(folder)
        measured = {**card.measured, "balance": vars(balance), "auroc": report.verifier.auroc}
        replace(card, measured=measured).save(folder)

    def save(self, folder: Path) -> None:
        """There is no team; the verifier has been written."""

    def _sampled(self, run: Run, start: int) -> list[LabelledAnswer]:
        settings, total, env = self.settings, run.config.num_iterations, run.env
        before, generator = [run.kept(k) for k in range(start)], settings.run or str(run.config.model)
        answers = [answer for episodes in before for answer in answers_of(episodes, generator)]
        waves = sample_waves(
            env, self.team, self.questions, settings.wanted,
            before=before, wave=settings.wave, waves=total, seed=settings.seed,
        )  # fmt: skip
        for number, episodes in enumerate(waves, start + 1):
            run.callback.on_experience(number, episodes)
            run.keep(number, episodes)
            answers += answers_of(episodes, generator)
            enough = float(np.mean([not kinds for kinds in lacking(answers, self.questions, settings.wanted).values()]))
            run.iteration(number, {**rollout_metrics(episodes, env), "verifier/questions_with_enough": enough})
        answers = [answer for group in by_question(answers).values() for answer in group]
        write_answers(run.folder.path / SAMPLED, answers)
        return answers

    def _fitted(self, parts: Mapping[str, Sequence[LabelledAnswer]], run: Run, folder: Path, reads: str) -> Card:
        """Train on one part, calibrate on another; the card then knows the questions of both."""
        card = training.fit(
            parts["train"],
            str(run.config.model),
            folder,
            settings=self.settings,
            reading=replace(self.reading, reads=reads),
            chat_template=run.config.chat_template,
        )
        calibration = parts["calibration"]
        raw = values_of(LearnedVerifier(folder, device=self.settings.device), calibration)
        temperature = temperature_of(raw, [a.correct for a in calibration])
        if not 0.1 < temperature < 20:
            warn(
                f"the temperature is {temperature:.2f}: on {len(calibration)} answers the scores say next to nothing, or everything; "
                "look at the AUROC."
            )
        questions = sorted({*card.questions, *seen(calibration)})
        card = replace(card, temperature=temperature, questions=tuple(questions))
        card.save(folder)
        return card


def _speakers(run: Run, trained: str | None) -> Team:
    """Whose answers are sampled: the untrained base's, or a run's, which speaks with its own models whatever the verifier's base is."""
    if trained is None:
        return replace(run.config, team="frozen", frozen=()).build_team(run.env)
    config = replace(run.config, model=RunFolder(trained).config.model)
    return load_team(trained, env=run.env, config=config)


def report_of(verifier: LearnedVerifier, answers: Sequence[LabelledAnswer] | None = None) -> Report:
    """How good a trained verifier is beside its controls.

    Args:
        verifier: From its folder.
        answers: Labelled; None takes those that were held out.

    Raises:
        ValueError: Of `evaluate`, or no answers were held out.
    """
    folder, loading = verifier.path, verifier.loading
    places = sorted((folder / "controls").glob("*"))
    return evaluate(
        verifier,
        read_answers(folder / HELD_OUT) if answers is None else answers,
        temperature=verifier.card.temperature,
        controls={f"{place.name} only": LearnedVerifier(place, **loading) for place in places},
        learned_from=read_answers(folder / TRAINED_ON) if (folder / TRAINED_ON).is_file() else [],
    )

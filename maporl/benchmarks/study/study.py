"""A study: which methods, on which tasks, with which seeds. From a YAML file, flags or keyword arguments."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from maporl import registry
from maporl.benchmarks.methods.method import SingleAgent
from maporl.benchmarks.methods.naming import Named, named, trains
from maporl.benchmarks.study.keys import CellKey, TrainingKey, file_name
from maporl.envs.discussion import DiscussionEnv
from maporl.errors import UserValueError
from maporl.settings import deeply, importable, nearest, plain, read_settings
from maporl.training.config import RunConfig
from maporl.typed import typed

__all__ = ["TOKENS", "Study", "matched_samples", "seats_of"]

TOKENS = ("prompt_tokens", "completion_tokens", "judge_tokens")
"""The kinds of tokens whose numbers are the cost of an answer."""
DEFAULT_METHODS = ("single_agent", "self_consistency", "debate")
NOT_SHARED = {  # fields of a run that a study decides itself -> what to write instead
    "env": "tasks",
    "algorithm": "methods",
    "seed": "seeds",
    "output_dir": "output_dir",
    "team_answer": "a method",
    "allow_oracle": "a method (its rows are labelled)",
}


@dataclass(frozen=True)
class Study:
    """A matrix of methods, tasks and seeds. A field is a flag of ``maporl benchmark`` and a key of its YAML file.

    Attributes:
        methods: Words, or mappings {name, label, settings, ...arguments}; see `maporl.benchmarks.methods.naming.named`.
        tasks: Words or ``package.module:Class``, or {name: settings of its runs} with "env" among them if the name is not its word. A
            flag such as ``--tasks.gsm8k.data FILE`` changes a setting of a task that is there.
        seeds: One cell for each.
        algorithms: {algorithm: settings of its runs}: budget, learning rate, ``algorithm_args``.
        num_questions: Test questions, always the same ones; None asks all.
        num_samples: Sampled answers to each question, beside one decoded greedily.
        ablate_messages: Speak the last round of every discussion again with the peers' messages blanked.
        num_workers: Processes; more than one is for models that leave a processor idle.
        title: Of the report.
        output_dir: The study's folder.
        settings: What all runs share: the fields of `RunConfig`, written beside the others.
    """

    methods: tuple[Any, ...] = DEFAULT_METHODS
    tasks: tuple[Any, ...] | Mapping[str, Any] = ("two_witnesses",)
    seeds: tuple[int, ...] = (0,)
    algorithms: Mapping[str, Any] = field(default_factory=dict)
    num_questions: int | None = None
    num_samples: int = 1
    ablate_messages: bool = True
    num_workers: int = 1
    title: str = ""
    output_dir: str = "runs/benchmark"
    settings: RunConfig = field(default_factory=lambda: RunConfig(trackers=()))

    def __post_init__(self) -> None:
        for name in ("num_samples", "num_workers"):
            if getattr(self, name) < 1:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be at least 1.")
        if self.num_questions is not None and self.num_questions < 1:
            raise UserValueError(f"num_questions is {self.num_questions}; give at least 1 (leave it out to ask all).")
        for name in ("methods", "tasks", "seeds"):
            if not getattr(self, name):
                raise UserValueError(f"{name} is empty; a study needs at least one.")
        if len(set(self.seeds)) < len(self.seeds) or not all(isinstance(s, int) and s >= 0 for s in self.seeds):
            raise UserValueError(f"seeds is {list(self.seeds)}; write different whole numbers from 0.")
        for name in ("methods", "algorithms"):
            object.__setattr__(self, name, plain(name, getattr(self, name)))
        object.__setattr__(self, "tasks", plain("tasks", _tasks(self.tasks)))
        words = [entry.word for entry in self.named]
        if twice := sorted({word for word in words if words.count(word) > 1}):
            raise UserValueError(
                f"method {twice[0]!r} is there twice; give one of them another label: {{name: ..., label: ...}}."
            )
        self._check_settings()
        self._check_folders()
        for task in self.tasks:  # a slip in any of them is told before the first is run
            registry.load("env", self.budget(task, None).env)
            for entry in self.named:
                self.config(task, entry, self.seeds[0])

    def _check_settings(self) -> None:
        """What one task, algorithm or method changes is nothing that the study decides."""
        given = [(f"tasks: {name}", settings, {"env"}) for name, settings in self.tasks.items()]  # type: ignore[union-attr]
        given += [(f"algorithms: {name}", settings, set()) for name, settings in self.algorithms.items()]
        given += [(f"method {n.word!r}: settings", n.settings, set()) for n in self.named if n.settings is not None]
        for where, settings, allowed in given:
            if not isinstance(settings, Mapping):
                raise UserValueError(f"{where} is {settings!r}; it must be a mapping of settings.")
            for key in settings:
                if key in NOT_SHARED and key not in allowed:
                    raise UserValueError(f"{where}: {key!r} is not set there; use {NOT_SHARED[key]}.")
        for entry in self.named:
            if entry.trained_on is not None and entry.trained_on not in self.tasks:
                raise UserValueError(
                    f"method {entry.word!r}: trained_on {entry.trained_on!r} is no task of the study; its tasks: {', '.join(self.tasks)}."
                )
            if len(self.seeds) < (least := entry.method.least_seeds):
                raise UserValueError(
                    f"method {entry.word!r} seats agents of different runs; give at least {least} seeds."
                )
        for name in self.algorithms:
            if not trains(name):
                known = registry.names("algorithm")
                raise UserValueError(
                    f"algorithms: unknown algorithm {name!r}.{nearest(name, known)} One of: {', '.join(known)}."
                )

    def _check_folders(self) -> None:
        """Every word has a folder of its own."""
        for kind, words in (("tasks", list(self.tasks)), ("methods", [n.word for n in self.named])):
            names: dict[str, str] = {}
            for word in words:
                if (other := names.setdefault(file_name(word), word)) != word:
                    raise UserValueError(
                        f"{kind}: {other!r} and {word!r} would share the folder {file_name(word)!r}; rename one."
                    )
        trained: dict[str, Named] = {}
        for entry in self.named:
            other_row = trained.setdefault(file_name(entry.trained_as), entry)
            if other_row is not entry and not other_row.shares_with(entry):
                raise UserValueError(
                    f"methods: {other_row.word!r} and {entry.word!r} would share the trainings {entry.trained_as!r}; choose another label."
                )

    @classmethod
    def load(cls, *paths: str | Path, values: Mapping[str, Any] = MappingProxyType({})) -> Study:
        """From YAML files, each on top of those before it, and `values` on top of all; what they make together is checked.

        Among the methods of `values` a label of the files stands for its row.

        Raises:
            ValueError: Of `read_settings` or `merged`.
        """
        read: dict[str, Any] = {}
        for path in paths:
            read = deeply(read, read_settings(path))
        if isinstance(asked := values.get("methods"), list | tuple):
            rows = {row["label"]: row for row in read.get("methods", ()) if isinstance(row, Mapping) and "label" in row}
            values = {**values, "methods": [rows.get(m, m) if isinstance(m, str) else m for m in asked]}
        lists = ("methods", "seeds", "tasks")
        replaced = {k: v for k, v in values.items() if k in lists and not isinstance(v, Mapping)}
        return cls().merged({**read, **replaced}).merged(values)

    def merged(self, values: Mapping[str, Any]) -> Study:
        """With `values` in place of its own: fields of a study, and those of a run that all its runs share.

        Raises:
            ValueError: An unknown key (the message names the nearest), or one that a study decides itself.
        """
        own = {f.name: f.type for f in fields(self) if f.name != "settings"}
        shared = {f.name for f in fields(RunConfig)}
        own_changes: dict[str, Any] = {}
        run_changes: dict[str, Any] = {}
        for key, value in values.items():
            if key == "algorithms" and isinstance(value, Mapping):
                own_changes[key] = deeply(self.algorithms, value)
            elif key == "tasks" and isinstance(value, Mapping) and set(value) <= set(self.tasks):
                own_changes[key] = deeply(self.tasks, value)  # type: ignore[arg-type]  # a mapping, once it is there
            elif key in own:
                own_changes[key] = _typed(key, value)
            elif key in NOT_SHARED:
                raise UserValueError(f"{key!r} is no setting of a whole study; use {NOT_SHARED[key]}.")
            elif key in shared:
                run_changes[key] = value
            else:
                known = sorted({*own, *shared} - set(NOT_SHARED))
                raise UserValueError(
                    f"unknown setting {key!r}.{nearest(str(key), known)} The settings are: {', '.join(known)}."
                )
        return replace(self, **own_changes, settings=self.settings.merged(run_changes))

    def save(self, path: str | Path) -> None:
        """Write as YAML, such that `load` gives it back."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "settings"}
        default = Study().settings
        changed = {k: v for k, v in vars(self.settings).items() if v != getattr(default, k)}
        values = plain("study", {**own, **changed})
        Path(path).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")

    # -- what is in it -------------------------------------------------------------------------------------------------

    @cached_property
    def named(self) -> tuple[Named, ...]:
        """The methods asked for, and the single agent that every team is compared with.

        Raises:
            ValueError: Of `named`.
        """
        asked = [named(spec) for spec in self.methods]
        if not any(map(_is_the_single_agent, asked)):
            asked.insert(0, named("single_agent"))
        return tuple(asked)

    @cached_property
    def _seats(self) -> list[tuple[tuple[Any, ...], tuple[str, ...], str]]:
        """(task, its seats with private information, which of its splits leak), as they are asked for: a task's questions are read once
        for all its rows."""
        return []

    @property
    def leaks(self) -> tuple[str, ...]:
        """What is wrong with the splits of the tasks that agents are trained on, as far as trainings have been asked for."""
        return tuple(dict.fromkeys(leak for _, _, leak in self._seats if leak))

    def budget(self, task: str, algorithm: str | None) -> RunConfig:
        """The configuration of a task's own discussion, with the settings of an algorithm."""
        given = dict(self.tasks[task])  # type: ignore[call-overload]
        config = self.settings.merged({"env": given.pop("env", task), **given})
        if algorithm is None:
            return config
        return config.merged({"algorithm": algorithm, **self.algorithms.get(algorithm, {})})

    def config(self, task: str, entry: Named, seed: int) -> RunConfig:
        """The run of a cell: its discussion, and how its agents are trained, if they are."""
        config = entry.method.discussion(self.budget(task, entry.algorithm).merged(entry.settings or {}))
        return replace(config, seed=seed, output_dir=None)

    def trainings(self, task: str, entry: Named, seed: int) -> list[TrainingKey]:
        """What has to be trained for a cell, one for each seat where it has several, seed by seed where it needs several."""
        if entry.algorithm is None:
            return []
        task = entry.trained_on or task
        config = self.config(task, entry, seed)
        env = environment(config)
        if env.oracle:  # the row is labelled; its training has figures of its own, which then are too
            config = replace(config, allow_oracle=True)
        private = self._private_seats(self.budget(task, entry.algorithm).merged(entry.settings or {}))
        return [
            TrainingKey(task, entry.trained_as, seat, origin, run)
            for origin in entry.method.seeds(seed, self.seeds, env.possible_agents)
            for seat, run in entry.method.trainings(replace(config, seed=origin), env.possible_agents, private).items()
        ]

    def _private_seats(self, team: RunConfig) -> tuple[str, ...]:
        task = discussed(team)
        if (seats := next((seats for known, seats, _ in self._seats if known == task), None)) is None:
            env = environment(team)
            self._seats.append((task, seats := seats_of(env), str(env.leakage)))
        return seats

    def cells(self) -> Iterator[CellKey]:
        """All cells asked for; those of the matched votes come later, when it is known what the teams spend.

        On the task that its agents were trained on, a row of agents from elsewhere is the ordinary one, and left out where that is there.
        """
        ordinary = {entry.trained_as for entry in self.named if entry.trained_on is None}
        for task in self.tasks:
            for entry in self.named:
                if entry.trained_on == task and entry.trained_as in ordinary:
                    continue
                for seed in self.seeds:
                    yield CellKey(task, entry, seed)

    def baseline(self, team: Named) -> Named:
        """The single agent whose vote a team is compared with: of the team's own base model if a row has it; trained by the team's
        algorithm, else by a kindred one, else by any, if the team is trained and there is one; else untrained."""
        single = [n for n in self.named if n.method == SingleAgent()]
        own = [n for n in single if _model(n) == _model(team)] or single  # of its base model, where there is one
        untrained = next((n for n in own if n.algorithm is None), next(filter(_is_the_single_agent, single)))
        trained = [n for n in own if n.algorithm is not None]
        if team.algorithm is None or not trained:
            return untrained
        return min(trained, key=lambda n: (n.algorithm != team.algorithm, not _kindred(n.algorithm, team.algorithm)))

    def compared_with(self, entry: Named) -> str | None:
        """The word of the single agent that a row is held against; None for the untrained one itself."""
        if entry.method.team:
            return self.baseline(entry).word
        return None if _is_the_single_agent(entry) else "single_agent"

    def vote_of(self, single: Named, k: int) -> Named:
        """The vote of k answers of a single agent."""
        vote = named(f"self_consistency@{k}{'/' * bool(single.algorithm)}{single.algorithm or ''}")
        asked = next((n for n in self.named if n.word == vote.word), vote)
        if asked.method == vote.method and (asked.algorithm, asked.settings, single.settings) == (
            vote.algorithm,
            None,
            None,
        ):
            return asked
        return replace(vote, word=f"{single.word}@{k}", settings=single.settings, trained_as=single.trained_as)


def matched_samples(team: Mapping[str, float], single: Mapping[str, float], on: str) -> int:
    """How many answers of a single agent cost as much as one of a team (decision: rounded up).

    Args:
        team, single: Their costs per question, `TOKENS`.
        on: "completion" or "all" tokens.
    """
    names = ("completion_tokens",) if on == "completion" else TOKENS
    spent, each = (sum(costs[name] for name in names) for costs in (team, single))
    return max(math.ceil(spent / each - 1e-9), 1) if each else 1


def environment(config: RunConfig) -> DiscussionEnv:
    """The task of a cell."""
    return config.build_env()


def discussed(config: RunConfig) -> tuple[Any, ...]:
    """The fields of a configuration that decide its environment; those that are equal in them share one."""
    return config.env, config.env_args, config.data, config.num_agents, config.num_rounds


def seats_of(task: DiscussionEnv, split: str = "train") -> tuple[str, ...]:
    """The seats in which a lone agent knows something of its own: () also where everybody is told the same (``view``)."""
    return () if task.view is not None else task.private_seats(split)


def _is_the_single_agent(entry: Named) -> bool:
    """Whether a row is the plain single agent: nothing trained, nothing changed."""
    return entry.word == "single_agent" and entry.method == SingleAgent() and entry.settings is None


def _model(entry: Named) -> Any:
    """The base model that a row sets for itself, if it does."""
    return (entry.settings or {}).get("model")


def _kindred(one: str | None, other: str | None) -> bool:
    """Whether two algorithms are alike for a lone agent: MAPPO is IPPO there, and MAGRPO is GRPO."""
    families = ({"ippo", "mappo"}, {"magrpo", "trl_grpo", "marloo", "maremax", "mareinforce"})
    return any({one, other} <= family for family in families)


def _tasks(tasks: Any) -> dict[str, dict[str, Any]]:
    if isinstance(tasks, Mapping):
        return {str(name): {} if given is None else given for name, given in tasks.items()}
    settings: dict[str, dict[str, Any]] = {}
    for task in tasks:
        if isinstance(task, Mapping):
            settings |= _tasks(task)
        else:
            settings[str(importable("tasks", task))] = {}
    return settings


def _typed(name: str, value: Any) -> Any:
    """A field of a study from YAML or a flag."""
    if name == "tasks":
        return value if isinstance(value, Mapping) else typed(name, value, tuple[Any, ...])
    hints: dict[str, Any] = {
        "methods": tuple[Any, ...],
        "seeds": tuple[int, ...],
        "algorithms": Mapping[str, Any],
        "num_questions": int | None,
        "num_samples": int,
        "ablate_messages": bool,
        "num_workers": int,
        "title": str,
        "output_dir": str,
    }
    if name in ("methods", "seeds") and isinstance(value, str | int | Mapping):
        value = [value]
    return typed(name, value, hints[name])

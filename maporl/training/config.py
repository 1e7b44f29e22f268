"""The configuration of a run: one flat value from a YAML file, flags or keyword arguments, which builds the objects it names."""

from __future__ import annotations

import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from maporl import registry
from maporl.errors import UserValueError, warn
from maporl.roster import WARM_START, Roster
from maporl.settings import called, full_path, importable, model_name, nearest, parameters, plain, read_settings
from maporl.training.recipes import RECIPES
from maporl.training.said_once import beside, said_once
from maporl.typed import typed

if TYPE_CHECKING:
    from maporl.agents import Policy, PromptTemplate, Team, Voice
    from maporl.algorithms import Algorithm
    from maporl.envs import DiscussionEnv
    from maporl.training.trainer import Run, Trainer

__all__ = ["RunConfig"]

_LEAST: dict[str, float] = {
    "num_agents": 1,
    "num_rounds": 1,
    "num_iterations": 0,
    "episodes_per_iteration": 1,
    "max_new_tokens": 1,
    "num_eval_questions": 1,
    "eval_every": 1,
    "checkpoint_every": 1,
    "curriculum_updates": 1,
    "microbatch_tokens": 1,
    "max_batch_tokens": 1,
    "num_threads": 1,
    "seed": 0,
    "num_recorded_discussions": 0,
}
_POSITIVE = {  # name -> a remedy
    "temperature": "",
    "learning_rate": " (num_iterations 0 trains nothing)",
    "eval_temperature": " (leave it out to decode greedily)",
}
_WORDS: dict[str, tuple[str | None, ...]] = {
    "matmul_precision": ("highest", "high", "medium"),
    "curriculum": ("last_round_first", None),
    "reference": ("base", "warm_start"),
    "preflight": ("stop", "warn", "off"),
}


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a training run. A field is a flag of ``maporl train`` and a key of its YAML file.

    Attributes:
        env: Task: a word, or ``package.module:Class``.
        env_args: Further arguments of the task (protocol, history, shaping, verifier ...).
        data: Where a data task reads its rows: a file, a folder, or None for its dataset-hub id.
        model: Checkpoint folder, hub id, or "embedded", the small one that comes with the package; or {agent: model} for a
            heterogeneous team.
        algorithm: A word, or ``package.module:Class``.
        algorithm_args: Further arguments of the algorithm.
        num_agents, num_rounds: Of the discussion; None is the task's default.
        team: "shared", "per_agent", "per_agent_round", "frozen", or {agent: adapter | [adapter of each round]}.
        frozen: Agents ("agent_1"), rounds ("round_1") or seats ("agent_1/round_1") that stay at the base model, or at init_adapter.
        partners: {agent: word, ``package.module:Class`` or ``{"name": ..., **arguments}``} for seats taken by other agents.
        prompts: YAML file or mapping of prompt pieces (see `PromptTemplate`); None takes the model folder's own ``prompts.yaml`` if it has
            one, as warm starts do, else the defaults.
        chat_template: "plain", a Jinja file, or None for the tokenizer's own.
        thinking: Whether models reason before they answer, where the chat template takes ``enable_thinking``; None is its own choice.
        lora: {r, alpha, target_modules}.
        init_adapter: PEFT folder from which every adapter starts.
        reference: What the KL is measured to: "base", or "warm_start" (the adapter in init_adapter).
        num_iterations: Updates.
        preflight: What is done where a few discussions, tried before the first iteration, show that nothing can be learned: "stop",
            "warn" or "off" (nothing is tried). A resumed run tries none.
        curriculum: "last_round_first": blocks of iterations learn from the messages of one round each, of the last, of the one before,
            and so on, then again of the last. None: from all rounds at once.
        curriculum_updates: Iterations of a block.
        episodes_per_iteration: Discussions sampled for one update.
        max_new_tokens, temperature: Of a message.
        thinking_budget: Reasoning that is still open after so many tokens of a message is closed by force. None: it may take them all.
        stop: Strings that end a message, as "\\n" for models without an end of turn; a shell's \\n and \\t are a new line and a tab.
        learning_rate: Of adapters and critics.
        num_eval_questions: Of each evaluation; at most as many as there are.
        eval_every: Iterations between evaluations on the validation split.
        num_recorded_discussions: Training discussions that are kept with tokens and advantages, of the first iteration, of those that an
            evaluation follows, and of the last; and discussions of an evaluation that are kept with tokens.
        eval_temperature: None decodes greedily in evaluations, a number samples.
        team_answer: How a discussion becomes one answer in evaluations: "protocol", "majority", "last_speaker", "confidence",
            "verifier" (votes weighted by what is stated | scored) or "best_of_history" (of all rounds, what is scored highest).
        allow_oracle: Let an answer stand in which a verifier that knows the gold answer had a part: it chose, or its scores were shown.
        checkpoint_every: Iterations between checkpoints.
        dtype: Of the base model: "float32", "bfloat16" or "float16" (16-bit products; sums stay float32). None is bfloat16 for models above
            10M parameters on a processor that multiplies it, else float32.
        device: Of the base model; None takes a GPU when there is one.
        quantization: "4bit" keeps the base model's linear layers in four bits (NF4) and multiplies in dtype; needs a CUDA GPU and
            ``maporl[quantised]``.
        sampler: What samples: "in_process", "reference" (transformers' generate: slower, the same messages), or
            ``package.module:Class``, a `maporl.agents.Sampler`.
        max_batch_tokens: Prompt and new tokens of one sampling batch.
        gradient_checkpointing: Recompute activations in the backward pass.
        microbatch_tokens: Tokens of one forward and backward pass.
        matmul_precision: torch's float32 matmul precision: "highest", "high", "medium".
        num_threads: torch's threads; on a CPU None takes one for a tiny model, and measures what is fastest for others.
        trackers: Of "tensorboard", "wandb", "trackio"; through accelerate.
        output_dir: The run folder; None makes runs/ENV-ALGORITHM-SEED.
        seed: Of everything random.
    """

    env: str = "two_witnesses"
    env_args: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None
    model: str | Mapping[str, str] = ""
    algorithm: str = "mappo"
    algorithm_args: Mapping[str, Any] = field(default_factory=dict)
    num_agents: int | None = None
    num_rounds: int | None = None
    team: str | Mapping[str, Any] = "per_agent"
    frozen: tuple[str, ...] = ()
    partners: Mapping[str, Any] = field(default_factory=dict)
    prompts: str | Mapping[str, Any] | None = None
    chat_template: str | None = None
    thinking: bool | None = None
    lora: Mapping[str, Any] = field(default_factory=dict)
    init_adapter: str | None = None
    reference: str = "base"
    num_iterations: int = 50
    preflight: str = "stop"
    curriculum: str | None = None
    curriculum_updates: int = 40
    episodes_per_iteration: int = 64
    max_new_tokens: int = 256
    temperature: float = 1.0
    thinking_budget: int | None = None
    stop: tuple[str, ...] = ()
    learning_rate: float = 5e-4
    num_eval_questions: int = 100
    eval_every: int = 10
    num_recorded_discussions: int = 32
    eval_temperature: float | None = None
    team_answer: str = "protocol"
    allow_oracle: bool = False
    checkpoint_every: int = 10
    dtype: str | None = None
    device: str | None = None
    quantization: str | None = None
    sampler: str = "in_process"
    max_batch_tokens: int = 131_072
    gradient_checkpointing: bool = False
    microbatch_tokens: int = 4096
    matmul_precision: str = "highest"
    num_threads: int | None = None
    trackers: tuple[str, ...] = ("tensorboard",)
    output_dir: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in said_once(vars(self)).items():
            object.__setattr__(self, name, value)
        for f in fields(self):
            value = importable(f.name, getattr(self, f.name))
            if isinstance(value, Mapping | list | tuple):  # what they hold must come back from config.yaml too
                value = plain(f.name, value)
            value = typed(f.name, value, _HINTS[f.name])
            object.__setattr__(self, f.name, value)
        object.__setattr__(self, "stop", tuple(s.replace("\\n", "\n").replace("\\t", "\t") for s in self.stop))
        for name, least in _LEAST.items():
            if getattr(self, name) is not None and getattr(self, name) < least:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be at least {least}.")
        for name, remedy in _POSITIVE.items():
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise UserValueError(f"{name} is {getattr(self, name)}; it must be above 0 and finite{remedy}.")
        for name, words in _WORDS.items():
            if getattr(self, name) not in words:
                known, or_none = [word for word in words if word], ", or leave it out" if None in words else ""
                raise UserValueError(f"{name} {getattr(self, name)!r} is unknown; use one of {known}{or_none}.")
        if self.reference == "warm_start" and not self.init_adapter:
            raise UserValueError(
                "reference is 'warm_start', but there is no init_adapter; name its PEFT folder, or use 'base'."
            )

    @classmethod
    def load(cls, path: str | Path) -> RunConfig:
        """From a YAML file, or a recipe by its word."""
        return cls().merged(read_settings(path, RECIPES))

    def merged(self, values: Mapping[str, Any]) -> RunConfig:
        """With `values` in place of its own; mappings are merged key by key.

        Raises:
            ValueError: An unknown key; the message names the nearest.
        """
        names = {f.name for f in fields(self)}
        changes: dict[str, Any] = {}
        for key, value in said_once(values).items():
            if key not in names:
                raise UserValueError(
                    f"unknown setting {key!r}.{nearest(str(key), names)} The settings are: {', '.join(sorted(names))}."
                )
            own = getattr(self, key)
            changes[key] = {**own, **value} if isinstance(own, Mapping) and isinstance(value, Mapping) else value
        return replace(self, **changes)

    def save(self, path: str | Path) -> None:
        """Write as YAML, such that `load` gives it back."""
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}
        Path(path).write_text(yaml.safe_dump(values, sort_keys=False, allow_unicode=True), encoding="utf-8")

    @property
    def folder(self) -> Path:
        """Where the run is written."""
        return Path(self.output_dir or f"runs/{self.env}-{self.algorithm}-{self.seed}".replace(":", "."))

    # -- the objects it names ------------------------------------------------------------------------------------------

    def build_env(self, **overrides: Any) -> DiscussionEnv:
        """The task."""
        from maporl.envs import DiscussionEnv

        given = {"num_agents": self.num_agents, "num_rounds": self.num_rounds, "data": self.data}
        arguments = {k: v for k, v in given.items() if v is not None} | dict(self.env_args) | overrides
        env: DiscussionEnv = called("env", self.env, registry.load("env", self.env), arguments)
        if not isinstance(env, DiscussionEnv):
            raise UserValueError(
                f"env {self.env!r} makes a {type(env).__name__}; name a subclass of maporl.envs.DiscussionEnv."
            )
        if self.data is not None and not Path(self.data).expanduser().exists():
            raise UserValueError(
                f"data {self.data!r}: there is no such file or folder; give a path, or leave it out for the task's own."
            )
        return env

    def resolved(self, env: DiscussionEnv) -> RunConfig:
        """With what was left to the task or to files written out, so that a run folder says what was really used."""
        accepted = parameters(registry.load("env", self.env))
        sizes = {"num_agents": len(env.possible_agents), "num_rounds": env.num_rounds}
        changes: dict[str, Any] = {name: value for name, value in sizes.items() if name in accepted}
        # A run folder is used from anywhere, so it names files on this machine in full.
        model = self.model
        changes["model"] = model_name(model) if isinstance(model, str) else {a: model_name(m) for a, m in model.items()}
        files = {name: getattr(self, name) for name in ("data", "init_adapter", "chat_template")}
        changes |= {name: full_path(file) for name, file in files.items() if file not in (None, "plain")}
        return replace(self, **changes, output_dir=str(self.folder), prompts=asdict(self.build_prompts()))

    def build_prompts(self) -> PromptTemplate:
        """The prompts of all agents.

        Raises:
            ValueError: A malformed piece, or models that bring different prompts with them.
        """
        from maporl.agents import PromptTemplate

        if self.prompts is not None:
            return PromptTemplate.load(self.prompts)
        models = [self.model] if isinstance(self.model, str) else list(self.model.values())
        brought = [PromptTemplate.of_model(model) for model in models if model] or [PromptTemplate()]
        if any(template != brought[0] for template in brought):
            raise UserValueError(
                f"the models {models} bring different prompts.yaml with them; say which with --prompts FILE."
            )
        return brought[0]

    def roster(self, agents: Sequence[str], num_rounds: int) -> Roster:
        """Who speaks and who learns.

        Raises:
            ValueError: Of `Roster.of`.
        """
        return Roster.of(
            agents,
            num_rounds,
            self.model,
            team=self.team,
            frozen=self.frozen,
            partners=self.partners,
            init_adapter=self.init_adapter,
        )

    def voice(self) -> Voice:
        """How agents are loaded, prompted and sampled."""
        from maporl.agents import Sampling, Voice

        sampling = Sampling(self.max_new_tokens, self.temperature, stop=self.stop, thinking_budget=self.thinking_budget)
        return Voice(self._loading(), self.build_prompts(), sampling)

    def build_team(self, env: DiscussionEnv) -> Team:
        """Base models, adapters and seats for everybody in `env`.

        Raises:
            ValueError: A persona for nobody, or of `Roster.of` and `Loader.team`.
        """
        from maporl.agents import Loader

        strangers = sorted(set(self.build_prompts().personas) - set(env.possible_agents))
        if strangers:
            raise UserValueError(f"prompts: personas names {strangers}; the agents are {env.possible_agents}.")
        roster = self.roster(env.possible_agents, env.num_rounds)
        return Loader().team(roster, self.voice(), seed=self.seed)

    def build_policy(self, path: str) -> Policy:
        """A base model, loaded as the configuration says."""
        from maporl.agents import Policy

        return Policy.from_pretrained(path, **self._loading())

    def _loading(self) -> dict[str, Any]:
        from maporl.agents import LoRA

        same = (
            "dtype", "quantization", "chat_template", "thinking", "gradient_checkpointing", "sampler", "max_batch_tokens",
        )  # fmt: skip
        lora = called("lora", "lora", LoRA, dict(self.lora))
        return {name: getattr(self, name) for name in same} | {"device": self.resolved_device, "lora": lora}

    @property
    def trainer(self) -> type[Trainer]:
        """What trains: the class that `algorithm` names, or that of policy gradients."""
        from maporl.training.trainer import Trainer
        from maporl.training.trainers.on_policy import OnPolicy

        loaded = registry.load("algorithm", self.algorithm)
        return loaded if isinstance(loaded, type) and issubclass(loaded, Trainer) else OnPolicy

    def build_trainer(self, run: Run) -> Trainer:
        """An instance of its `trainer`.

        Raises:
            ValueError: `algorithm_args` for a trainer that has no `Settings`; and of its constructor.
        """
        found = self.trainer
        if self.algorithm_args and found.Settings is None and found is registry.load("algorithm", self.algorithm):
            raise UserValueError(
                f"algorithm {self.algorithm!r} has no settings, but algorithm_args gives {sorted(self.algorithm_args)}; leave them out, or "
                "declare them as its Settings."
            )
        return found(run)

    def build_algorithm(self, team: Team) -> Algorithm:
        """The algorithm, which adds what it needs (critics, a reference adapter) to the team's models.

        It is given those of team, num_updates, learning_rate, microbatch_tokens and seed that its constructor names, and
        `algorithm_args`.

        Raises:
            ValueError: A setting that cannot be, or something that is no algorithm.
        """
        from maporl.algorithms import Algorithm

        given: dict[str, Any] = {
            "team": team,
            "num_updates": max(self.num_iterations, 1),
            "learning_rate": self.learning_rate,
            "microbatch_tokens": self.microbatch_tokens,
            "seed": self.seed,
        }
        loaded = registry.load("algorithm", self.algorithm)
        accepted = parameters(loaded)
        if self.reference == "warm_start":
            given["reference"] = WARM_START
            for policy in team.policies:
                if WARM_START not in policy.adapters:  # a frozen seat may have brought it already
                    policy.add_adapter(WARM_START, path=self.init_adapter)
        given = {name: value for name, value in given.items() if name in accepted or name == "reference"}
        algorithm = called("algorithm", self.algorithm, loaded, beside(given, self.algorithm_args))
        if not isinstance(algorithm, Algorithm):
            raise UserValueError(
                f"algorithm {self.algorithm!r} is neither an Algorithm nor a Trainer; name a subclass of maporl.algorithms.Algorithm, "
                "which learns from discussions, or of maporl.training.trainer.Trainer, which has the whole run to itself."
            )
        return algorithm

    def build_curriculum(self, env: DiscussionEnv, team: Team) -> Callable[[int], int] | None:
        """Iteration -> the round it learns from, or None for all of them.

        Raises:
            ValueError: Of `LastRoundFirst.of`.
        """
        from maporl.algorithms.curriculum import LastRoundFirst

        if self.curriculum is None:
            return None
        curriculum = LastRoundFirst.of(team, env.num_rounds, self.curriculum_updates)
        if 0 < self.num_iterations < curriculum.updates * len(curriculum.rounds):
            warn(
                f"num_iterations is {self.num_iterations}: with blocks of {curriculum.updates} (curriculum_updates) the rounds "
                f"{[r + 1 for r in curriculum.rounds]} do not all get their turn; lower curriculum_updates, or train for longer."
            )
        return curriculum

    @property
    def resolved_device(self) -> str:
        """The torch device.

        Raises:
            ValueError: There is no such device here.
        """
        import torch

        if self.device is None:
            return "cuda" if torch.cuda.is_available() else "cpu"
        try:
            torch.empty(0, device=self.device)
        except (RuntimeError, AssertionError) as error:
            raise UserValueError(f"device {self.device!r} cannot be used here; leave it out, or use 'cpu'.") from error
        return self.device


_HINTS = typing.get_type_hints(RunConfig)  # once: a study makes hundreds of configurations

"""Names to classes: what is built in, and what installed packages add, by one word; anything else as ``package.module:Class``.

A package adds words by entry points of the group ``maporl.KINDs`` (``maporl.envs``, ``maporl.protocols``, ...). Modules are imported when
a name is resolved, so that listing names never imports torch, nor a plug-in.
"""

from __future__ import annotations

import functools
import importlib
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from maporl.errors import UserValueError, warn
from maporl.settings import called, nearest

__all__ = ["BUILTINS", "Plugin", "build", "load", "names", "package", "plugins"]

BUILTINS: dict[str, dict[str, str]] = {
    "env": {
        "gsm8k": "maporl.envs.tasks.gsm8k:GSM8K",
        "math": "maporl.envs.tasks.math:Math",
        "csqa": "maporl.envs.tasks.csqa:CSQA",
        "anli": "maporl.envs.tasks.anli:ANLI",
        "strategyqa": "maporl.envs.tasks.strategyqa:StrategyQA",
        "arithmetic": "maporl.envs.tasks.arithmetic:Arithmetic",
        "two_witnesses": "maporl.envs.tasks.two_witnesses:TwoWitnesses",
        "vault": "maporl.envs.tasks.vault:Vault",
        "shared_numbers": "maporl.envs.tasks.shared_numbers:SharedNumbers",
        "requests": "maporl.envs.tasks.requests:Requests",
        "tricks": "maporl.envs.tasks.tricks:Tricks",
        "experts": "maporl.envs.tasks.related.experts:Experts",
        "blocks": "maporl.envs.tasks.related.blocks:Blocks",
        "tldr": "maporl.envs.tasks.writing:TLDR",
        "arxiv": "maporl.envs.tasks.writing:ArXiv",
        "humaneval": "maporl.envs.tasks.coding.humaneval:HumanEval",
        "coophumaneval": "maporl.envs.tasks.coding.coophumaneval:CoopHumanEval",
        "mbpp": "maporl.envs.tasks.coding.mbpp:MBPP",
        "composed": "maporl.envs.tasks.composed:Composed",
        "faster_code": "maporl.envs.tasks.coding.speed.faster:FasterCode",
        "colbench": "maporl.envs.tasks.coding.consulting.colbench:ColBench",
        "reasoning_gym": "maporl.envs.tasks.bridges.reasoning_gym:ReasoningGym",
        "textarena": "maporl.envs.tasks.bridges.textarena:TextArena",
    },
    "protocol": {
        "debate": "maporl.envs.protocols:Debate",
        "round_robin": "maporl.envs.protocols:RoundRobin",
        "pipeline": "maporl.envs.protocols:Pipeline",
        "mixture_of_agents": "maporl.envs.protocols:MixtureOfAgents",
        "reconcile": "maporl.envs.protocols:ReConcile",
        "lessons": "maporl.envs.protocols:Lessons",
        "leader": "maporl.envs.protocols:Leader",
        "discuss": "maporl.envs.protocols:Discuss",
        "review": "maporl.envs.protocols:Review",
        "retrieve": "maporl.envs.protocols:Retrieve",
    },
    "shaping": {
        "own_score": "maporl.envs.shaping:OwnScore",
        "team_mean": "maporl.envs.shaping:TeamMean",
        "last_round_team": "maporl.envs.shaping:LastRoundTeam",
        "last_round_own": "maporl.envs.shaping:LastRoundOwn",
        "discounted_own": "maporl.envs.shaping:DiscountedOwn",
        "discounted_team": "maporl.envs.shaping:DiscountedTeam",
        "incentives": "maporl.envs.shaping:Incentives",
        "outcome_credit": "maporl.envs.shaping:OutcomeCredit",
        "team_score": "maporl.envs.shaping:TeamScore",
        "discussion_score": "maporl.envs.shaping:DiscussionScore",
        "length": "maporl.envs.shaping:Length",
        "overlong": "maporl.envs.shaping:Overlong",
        "repetition": "maporl.envs.shaping:Repetition",
        "looping": "maporl.envs.shaping:Looping",
        "language": "maporl.envs.shaping:Language",
        "tags": "maporl.envs.shaping:Tags",
        "pattern": "maporl.envs.shaping:Pattern",
        "worst": "maporl.envs.shaping:Worst",
    },
    "verifier": {
        "number": "maporl.envs.verifiers:Number",
        "math": "maporl.envs.verifiers:MathExpression",
        "choice": "maporl.envs.verifiers:Choice",
        "exact": "maporl.envs.verifiers:Exact",
        "regex": "maporl.envs.verifiers:Regex",
        "noisy": "maporl.envs.verifiers:Noisy",
        "learned": "maporl.learned_verifier:LearnedVerifier",
        "remote": "maporl.envs.verifiers:Remote",
        "rouge": "maporl.envs.verifiers:Rouge",
        "judge": "maporl.judges:Judge",
        "pairwise_judge": "maporl.judges:PairwiseJudge",
    },
    "feedback": {
        "none": "maporl.envs.feedback:Silent",
        "detailed": "maporl.envs.tasks.coding.feedback:Detailed",
        "passed_count": "maporl.envs.tasks.coding.feedback:PassedCount",
        "passed_or_not": "maporl.envs.tasks.coding.feedback:PassedOrNot",
    },
    "judge_model": {"local": "maporl.judges:LocalModel", "chat_server": "maporl.judges:ChatServer"},
    "agent": {
        "simulated_human": "maporl.agents.simulated_human:SimulatedHuman",
        "expert": "maporl.agents.partners.expert:Expert",
        "chat_partner": "maporl.agents.partners.chat_partner:ChatPartner",
        "cached": "maporl.agents.partners.cached:Cached",
        "gated": "maporl.agents.partners.gated:Gated",
        "arm_planner": "maporl.benchmarks.experiments.arms:ArmPlanner",
    },
    "score": {"blocks_critic": "maporl.benchmarks.experiments.arms:BlocksCritic"},
    "sampler": {
        "in_process": "maporl.agents.sampling.in_process:InProcessSampler",
        "reference": "maporl.agents.sampling.reference:ReferenceSampler",
    },
    "method": {
        "single_agent": "maporl.benchmarks.methods.method:SingleAgent",
        "single_agent_told": "maporl.benchmarks.methods.method:SingleAgentTold",
        "self_consistency": "maporl.benchmarks.methods.method:SelfConsistency",
        "best_of_k": "maporl.benchmarks.methods.method:BestOfK",
        "verifier_vote": "maporl.benchmarks.methods.method:VerifierVote",
        "self_refine": "maporl.benchmarks.methods.method:SelfRefine",
        "discussion": "maporl.benchmarks.methods.method:Discussion",
        "debate": "maporl.benchmarks.methods.method:DebateMethod",
        "debate_sparse": "maporl.benchmarks.methods.method:SparseDebate",
        "debate_centralised": "maporl.benchmarks.methods.method:CentralisedDebate",
        "mixture_of_agents": "maporl.benchmarks.methods.method:MixtureOfAgentsMethod",
        "reconcile": "maporl.benchmarks.methods.method:ReConcileMethod",
        "pipeline": "maporl.benchmarks.methods.pipeline:PipelineMethod",
        "train_one": "maporl.benchmarks.methods.trained:TrainOne",
        "alone_then_team": "maporl.benchmarks.methods.trained:AloneThenTeam",
        "partner_swap": "maporl.benchmarks.methods.trained:PartnerSwap",
    },
    "algorithm": {
        "ippo": "maporl.algorithms.ippo:IPPO",
        "mappo": "maporl.algorithms.mappo:MAPPO",
        "magrpo": "maporl.algorithms.magrpo:MAGRPO",
        "mareinforce": "maporl.algorithms.magrpo:MAREINFORCE",
        "marloo": "maporl.algorithms.magrpo:MARLOO",
        "maremax": "maporl.algorithms.magrpo:MAREMAX",
        "trl_grpo": "maporl.training.trainers.trl_grpo:TRLGRPO",
        "malt": "maporl.training.trainers.malt:MALT",
        "sweet_rl": "maporl.training.trainers.sweet_rl:SweetRL",
        "mlpo": "maporl.training.trainers.mlpo:MLPO",
        "sft": "maporl.training.trainers.good_discussions:GoodDiscussions",
        "learned_verifier": "maporl.learned_verifier.making:VerifierTraining",
    },
}


@dataclass(frozen=True, order=True)
class Plugin:
    """A word of an installed package.

    Attributes:
        package: Who adds it.
        path: ``package.module:Class``.
    """

    package: str
    path: str

    def __str__(self) -> str:
        return f"{self.path!r} of the package {self.package!r}"


@functools.cache
def plugins(kind: str) -> Mapping[str, tuple[Plugin, ...]]:
    """Word -> what installed packages offer under it: one class, unless packages contradict one another."""
    from importlib.metadata import entry_points

    found: dict[str, tuple[Plugin, ...]] = {}
    for point in entry_points(group=f"maporl.{kind}s"):
        package = "?" if point.dist is None else point.dist.name
        plugin = Plugin(package, point.value.partition("[")[0].strip())
        found[point.name] = tuple(sorted({*found.get(point.name, ()), plugin}))
    return dict(sorted(found.items()))


def names(kind: str) -> list[str]:
    """The words of a kind, one of the keys of `BUILTINS` ("env", "protocol", "verifier", ...): built in, then those of plug-ins."""
    return list(dict.fromkeys([*BUILTINS[kind], *plugins(kind)]))


def package(kind: str, word: str) -> str:
    """Whose word it is: the installed packages that add it, "" if it is built in."""
    return "" if word in BUILTINS[kind] else ", ".join(plugin.package for plugin in plugins(kind).get(word, ()))


def load(kind: str, spec: Any) -> Any:
    """The class that `spec` names: a word, ``package.module:Class``, or a class, which is returned as it is.

    Raises:
        ValueError: Unknown word, module or class (the message names the nearest word and the form accepted); a word of two packages, or
            of one that cannot be imported.
    """
    if not isinstance(spec, str):
        return spec
    path = BUILTINS[kind].get(spec, spec)
    offers = plugins(kind).get(spec, ())
    if path is not spec:
        for plugin in offers:
            warn(
                f"{kind} {spec!r} is maporl's own; the package {plugin.package!r} uses the same word for {plugin.path!r}: for it "
                "write that."
            )
        return _found(path, f"{kind} {spec!r}")
    if offers:
        return _of_plugin(kind, spec, offers)
    if ":" not in path:
        added = f" Of packages: {', '.join(plugins(kind))}." if plugins(kind) else ""
        raise UserValueError(
            f"unknown {kind} {spec!r}.{nearest(spec, names(kind))} Built in: {', '.join(BUILTINS[kind])};{added} "
            "your own: 'package.module:Class'."
        )
    # A console script does not have the working directory on its path, and that is where a researcher's own module lies.
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    return _found(path, f"{kind} {spec!r}")


def _of_plugin(kind: str, word: str, offers: tuple[Plugin, ...]) -> Any:
    """The class that a package calls by a word."""
    if len(offers) > 1:
        raise UserValueError(
            f"{kind} {word!r} is {' and '.join(map(str, offers))}: write the one you mean instead of the word, or uninstall one."
        )
    (plugin,) = offers
    try:
        return _found(plugin.path, f"{kind} {word!r} of the package {plugin.package!r}")
    except UserValueError:
        raise
    except Exception as error:  # whatever somebody else's module does while it is imported
        raise UserValueError(
            f"{kind} {word!r} of the package {plugin.package!r} cannot be imported ({type(error).__name__}: {error}); "
            "install what it needs, or another version of it."
        ) from error


def _found(path: str, asked: str) -> Any:
    """What ``package.module:Class`` names, for what was `asked`."""
    module_name, _, attribute = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        # Only the module that was asked for is the user's slip here; a missing import inside it must show as it is.
        if error.name is not None and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise UserValueError(
                f"{asked}: there is no module {error.name!r}. Start from the folder that holds it, or install it."
            ) from error
        raise
    if not hasattr(module, attribute):
        raise UserValueError(f"{asked}: module {module_name!r} has no {attribute!r}.{nearest(attribute, vars(module))}")
    loaded = getattr(module, attribute)
    if not callable(loaded):
        raise UserValueError(f"{asked} is a {type(loaded).__name__}, not a class.")
    return loaded


def build(kind: str, spec: Any, **defaults: Any) -> Any:
    """An instance from a word, ``package.module:Class``, ``{"name": ..., **arguments}``, a class, or an instance (returned as is).

    `defaults` are keyword arguments that the spec's own arguments override.
    """
    if isinstance(spec, Mapping):
        arguments = dict(spec)
        name = arguments.pop("name", None)
        if name is None:
            raise UserValueError(f"{kind} {dict(spec)!r} has no 'name'; write {{'name': WORD, ...arguments}}.")
        return called(kind, str(name), load(kind, name), {**defaults, **arguments})
    loaded = load(kind, spec)
    return called(kind, str(spec), loaded, defaults) if isinstance(loaded, type) else loaded

"""Who sits in a study: several trainings measured together on one base speak as each of them does alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from run_toys import SMALL, Letters

from maporl.agents import LLMAgent, Loader, Policy, Team
from maporl.algorithms.evaluation import subset
from maporl.algorithms.records import Record
from maporl.algorithms.rollout import rollout
from maporl.benchmarks.matrix import run_study
from maporl.benchmarks.measuring import STREAM
from maporl.benchmarks.methods import Method
from maporl.benchmarks.results import Cell, Results, load_results
from maporl.benchmarks.study import Study
from maporl.envs import DiscussionEnv
from maporl.roster import Roster, Speaker
from maporl.run import RunFolder, load_team
from maporl.types import Question

SEEDS = (0, 1)
AGENTS = ("agent_0", "agent_1")
STREAMS = ((0, False), (1, False), (0, True))  # (sample, greedy)
Texts = dict[tuple[str, int], str]  # question, number of the message -> what was said


class Secrets(Letters):
    """Say letters; each agent knows a word of its own, so that a lone agent is trained in every seat."""

    def load(self, split: str) -> Iterator[Question]:
        for number in range(40 if split == "train" else 6):
            private = {"agent_0": f"red {number}", "agent_1": f"blue {number}"}
            yield Question(f"{split} {number}", answer="even", private=private)


class Beginners(Method):
    """The co-trained team whose first round is spoken by the base model."""

    needs_training = True

    def trained_as(self, algorithm: str) -> str | None:
        return algorithm

    def seat(self, trained: Sequence[tuple[str, Roster]], agents: Sequence[str]) -> dict[str, Roster]:
        ((_, roster),) = trained
        base = {a: Speaker(roster.rounds(a)[0].base, run=roster.rounds(a)[0].run) for a in agents}
        return {"": Roster.joined({a: [base[a], *roster.rounds(a)[1:]] for a in agents})}


TASK = f"{__name__}:Secrets"
METHODS = ("single_agent", "alone_then_team", "train_one", "partner_swap", f"{__name__}:Beginners")


@pytest.fixture(scope="module")
def results(tiny_model: str, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Ten trainings whose adapters are all called "agent_0" or "agent_1", measured by one study."""
    study = Study().merged(
        {
            **{k: v for k, v in SMALL.items() if k != "trackers"},
            "tasks": [TASK],
            "methods": [*(f"{m}/ippo" for m in METHODS), "ippo"],
            "seeds": SEEDS,
            "model": tiny_model,
            "num_agents": 2,
            "num_iterations": 1,
            "num_eval_questions": 1,
            "num_samples": 2,
            "max_new_tokens": 8,
            "learning_rate": 0.1,  # large, so that what was learned shows
            "output_dir": str(tmp_path_factory.mktemp("studies") / "study"),
        }
    )
    loaded: list[str] = []
    load = Policy.from_pretrained
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Policy, "from_pretrained", lambda path, **more: loaded.append(path) or load(path, **more))
        found = load_results([run_study(study)])
    assert {c.status for c in found.cells} == {"complete"}, [c.error for c in found.cells]
    assert set(loaded) == {tiny_model} and len({run for c in found.cells for run in c.runs}) == 10
    return found


def cell(results: Results, method: str, seed: int) -> Cell:
    (found,) = (c for c in results.cells if (c.method, c.seed) == (method, seed))
    return found


def run_of(found: Cell, seat: str = "") -> Path:
    """The run folder of a cell, or that of its seat."""
    (run,) = (r for r in found.runs if not seat or r.parent.name == seat)
    return run


def recorded(found: Cell, sample: int, greedy: bool, seat: str | None = None) -> Texts:
    """What was said about each question."""
    chosen: list[Record] = [
        r for r in found.records() if (r["sample"], r["greedy"], r["seat"]) == (sample, greedy, seat)
    ]
    assert len({r["question_id"] for r in chosen}) == len(chosen) == 6
    return {(r["question_id"], n): t["text"] for r in chosen for n, t in enumerate(r["turns"])}


def spoken(env: DiscussionEnv, team: Team, seed: int, sample: int, greedy: bool) -> Texts:
    """The same, by a plain rollout of a team that nobody shares anything with."""
    ids = [q.id for q in subset(Secrets(2).questions("test"), 99)]
    asked = {q.id: q for q in env.questions("test")}
    episodes = rollout(
        env, team, [asked[i] for i in ids], seed=(0,) if greedy else (seed, STREAM, sample), greedy=greedy
    )
    return {(i, n): t.text for i, e in zip(ids, episodes, strict=True) for n, t in enumerate(e.transcript.turns)}


def environment(run: Path) -> DiscussionEnv:
    return RunFolder(run).config.build_env()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("method", "seat"),
    [("single_agent/ippo", a) for a in AGENTS] + [("train_one/ippo", a) for a in AGENTS] + [("ippo", None)],
)
def test_every_cell_speaks_as_its_run_does(method: str, seat: str | None, seed: int, results: Results) -> None:
    found = cell(results, method, seed)
    run = run_of(found, seat or "")
    env = environment(run)
    team = load_team(run, env=env)
    for sample, greedy in STREAMS:
        assert recorded(found, sample, greedy, seat) == spoken(env, team, seed, sample, greedy)


@pytest.mark.parametrize("seed", SEEDS)
def test_agents_trained_alone_are_seated_each_in_its_place(seed: int, results: Results) -> None:
    found = cell(results, "alone_then_team/ippo", seed)
    config = RunFolder(run_of(cell(results, "ippo", seed))).config
    env = config.build_env()
    start = {agent: str(run_of(found, agent) / "adapters" / "agent_0") for agent in AGENTS}
    speakers = {(agent, 0): Speaker(str(config.model), agent, start[agent]) for agent in AGENTS}
    team = Loader().team(Roster(speakers), config.voice())
    for sample, greedy in STREAMS:
        assert recorded(found, sample, greedy) == spoken(env, team, seed, sample, greedy)


@pytest.mark.parametrize("seed", SEEDS)
def test_partners_are_of_different_runs(seed: int, results: Results) -> None:
    config = RunFolder(run_of(cell(results, "ippo", seed))).config
    runs = {"agent_0": run_of(cell(results, "ippo", seed)), "agent_1": run_of(cell(results, "ippo", 1 - seed))}
    speakers = {(a, 0): Speaker(str(config.model), a, str(run / "adapters" / a)) for a, run in runs.items()}
    team = Loader().team(Roster(speakers), config.voice())
    found = cell(results, "partner_swap/ippo", seed)
    assert set(found.runs) == set(runs.values())
    for sample, greedy in STREAMS:
        assert recorded(found, sample, greedy) == spoken(config.build_env(), team, seed, sample, greedy)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_method_of_ones_own_seats_whom_it_likes(seed: int, results: Results) -> None:
    run = run_of(cell(results, "ippo", seed))
    env, trained = environment(run), load_team(run)
    bare = trained.member("agent_0", 0)
    assert isinstance(bare, LLMAgent)
    base = LLMAgent(bare.policy, None, prompts=bare.prompts, sampling=bare.sampling)
    team = Team({(a, r): trained.member(a, r) if r else base for a in AGENTS for r in (0, 1)})
    found = cell(results, f"{__name__}:Beginners/ippo", seed)
    assert found.runs == cell(results, "ippo", seed).runs
    for sample, greedy in STREAMS:
        assert recorded(found, sample, greedy) == spoken(env, team, seed, sample, greedy)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_the_first_round_they_speak_as_they_do_alone(seed: int, results: Results) -> None:
    """Greedily both; sampled the first: a lone agent is called agent_0, and has the random numbers of that name."""
    alone, team = cell(results, "single_agent/ippo", seed), cell(results, "alone_then_team/ippo", seed)
    assert alone.runs == team.runs
    for (sample, greedy), (number, seat) in itertools.product(STREAMS, enumerate(AGENTS)):
        if greedy or seat == "agent_0":
            first = {q: text for (q, n), text in recorded(team, sample, greedy).items() if n == number}
            assert first == {q: text for (q, _), text in recorded(alone, sample, greedy, seat).items()}


def test_adapters_of_one_name_differ(results: Results) -> None:
    """Or the tests above could not tell them apart: every two adapters answer the same prompt differently."""
    runs: Sequence[Path] = sorted({run for c in results.cells for run in c.runs})
    env = Secrets(1, 1, view="agent_0")
    said = {}
    for run, agent in itertools.product(runs, AGENTS):
        if (adapter := run / "adapters" / agent).is_dir():
            config = RunFolder(run).config
            roster = Roster({("agent_0", 0): Speaker(str(config.model), "agent_0", str(adapter))})
            team = Loader().team(roster, config.voice())
            said[adapter] = tuple(
                text for sample, greedy in STREAMS for text in spoken(env, team, 0, sample, greedy).values()
            )
    assert len(said) == len(SEEDS) * (2 + 2 + 2) and len(set(said.values())) == len(said)

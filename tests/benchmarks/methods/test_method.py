"""Methods: their words, what they ask for, and what they make of scripted answers, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from maporl.benchmarks.methods.method import (
    BestOfK,
    DebateMethod,
    Discussion,
    MixtureOfAgentsMethod,
    ReConcileMethod,
    SelfConsistency,
    SelfRefine,
    SingleAgent,
    SingleAgentTold,
    VerifierVote,
)
from maporl.benchmarks.methods.naming import named
from maporl.benchmarks.methods.pipeline import PipelineMethod
from maporl.benchmarks.methods.trained import TrainOne
from maporl.envs import DiscussionEnv
from maporl.envs.team_answer import TeamAnswer
from maporl.training.config import RunConfig
from maporl.types import Episode, Question, Score, Transcript, Turn

TASK = RunConfig(env="study_toys:Numbers", num_agents=3, num_rounds=2)


# -- words -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "word", "label", "kind", "algorithm"),
    [
        ("debate", "debate", "debate", DebateMethod, None),
        ("self_consistency@9", "self_consistency@9", "vote of 9", SelfConsistency, None),
        ("self_consistency", "self_consistency@5", "vote of 5", SelfConsistency, None),
        ("mappo", "mappo", "mappo-trained team", Discussion, "mappo"),
        ("sft", "sft", "sft-trained team", Discussion, "sft"),
        ("single_agent/mappo", "single_agent/mappo", "single agent, trained by mappo", SingleAgent, "mappo"),
        (
            "self_consistency@4/mappo",
            "self_consistency@4/mappo",
            "vote of 4, trained by mappo",
            SelfConsistency,
            "mappo",
        ),
        ("self_consistency/ippo", "self_consistency@5/ippo", "vote of 5, trained by ippo", SelfConsistency, "ippo"),
        (
            "single_agent/trl_grpo",
            "single_agent/trl_grpo",
            "single agent, trained by trl_grpo",
            SingleAgent,
            "trl_grpo",
        ),
        ("train_one/ippo", "train_one/ippo", "train-one, trained by ippo", TrainOne, "ippo"),
        ({"name": "debate", "num_agents": 5, "label": "five"}, "five", "five", DebateMethod, None),
        ({"name": "best_of_k", "k": 2}, "best_of_k@2", "best of 2 by the verifier", BestOfK, None),
        ("pipeline", "pipeline", "pipeline", PipelineMethod, None),
        ({"name": "pipeline", "k": 3}, "pipeline@3", "vote of 3 pipelines", PipelineMethod, None),
        ("pipeline/sft", "pipeline/sft", "pipeline, trained by sft", PipelineMethod, "sft"),
        (
            "pipeline@3/mappo",
            "pipeline@3/mappo",
            "vote of 3 pipelines, trained by mappo",
            PipelineMethod,
            "mappo",
        ),
        (
            "study_toys:InRoles",
            "study_toys:InRoles",
            "pipeline, trained by study_toys:InRoles",
            PipelineMethod,
            "study_toys:InRoles",
        ),
    ],
)
def test_words(spec: Any, word: str, label: str, kind: type, algorithm: str | None) -> None:
    found = named(spec)
    assert (found.word, found.label, found.algorithm) == (word, label, algorithm)
    assert type(found.method) is kind


def test_own_methods_and_algorithms() -> None:
    own = named("study_toys:LastSpeaker")
    assert (own.word, own.label, own.algorithm) == ("study_toys:LastSpeaker", "last speaker", None)
    trained = named("study_toys:LastSpeaker/run_toys:Idle")
    assert (trained.label, trained.algorithm) == ("last speaker, trained by run_toys:Idle", "run_toys:Idle")
    alone = named("run_toys:Idle")  # an algorithm alone: the task's discussion trained by it
    assert type(alone.method) is Discussion and alone.algorithm == "run_toys:Idle"
    assert named("single_agent/run_toys:Idle").trained_as == "single_agent/run_toys:Idle"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("debates", "unknown method 'debates'.* Did you mean 'debate'"),
        ("mapo", "unknown method 'mapo'.* Did you mean 'mappo'"),
        ("single_agent/mapo", "unknown algorithm 'mapo'.* Did you mean 'mappo'"),
        ("nothing/mappo", "unknown method 'nothing/mappo'"),
        ("single_agent/", "names no algorithm"),
        ("self_consistency@", "no number of samples"),
        ("self_consistency@two", "'two' is no number of samples; write self_consistency@5"),
        ("self_consistency@²", "no number of samples"),
        ("self_consistency@0", "k is 0"),
        ({"name": "self_consistency", "k": -1}, "k is -1"),
        ("debate@3", "no argument 'k'"),
        ({"name": "debate", "num_agent": 3}, "no argument 'num_agent'.* Did you mean 'num_agents'"),
        ({"num_agents": 3}, "no 'name'"),
        ("train_one", "needs an algorithm; write train_one/mappo"),
        ("alone_then_team", "needs an algorithm"),
        ("trl_grpo", "trains one agent in one turn"),
        ("debate/trl_grpo", "trains one agent in one turn"),
        ("self_refine/trl_grpo", "trains one agent in one turn"),
        ("single_agent/sft", "makes a team"),
        ("study_toys:NoMethod", "is a NoMethod; name a subclass"),
        ("study_toys:NoSamples", "samples is 0"),
        ("study_toys:Nowhere", "has no 'Nowhere'"),
        ("no_such_module:Nowhere", "no module 'no_such_module'"),
    ],
)
def test_slips(spec: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        named(spec)


@pytest.mark.parametrize(
    ("spec", "runs"),
    [
        ("single_agent/mappo", "single_agent/mappo"),
        ("self_consistency@4/mappo", "single_agent/mappo"),
        ("best_of_k@3/mappo", "single_agent/mappo"),
        ("alone_then_team/mappo", "single_agent/mappo"),
        ({"name": "single_agent/mappo", "label": "mine"}, "single_agent/mappo"),
        ("self_refine/mappo", "self_refine/mappo"),  # three turns are another training
        ("single_agent_told/mappo", "single_agent_told/mappo"),
        ("mappo", "mappo"),
        ("train_one/mappo", "train_one/mappo"),
        ("pipeline/sft", "pipeline/sft"),
        ("pipeline@3/sft", "pipeline/sft"),
        ("study_toys:InRoles", "pipeline/study_toys:InRoles"),  # its own word, and as a vote
        ({"name": "study_toys:InRoles", "k": 3}, "pipeline/study_toys:InRoles"),
        ({"name": "pipeline/sft", "num_agents": 2, "label": "two"}, "two"),  # other agents
    ],
)
def test_rows_of_the_same_agents_share_trainings(spec: Any, runs: str) -> None:
    assert named(spec).trained_as == runs


def test_agents_trained_with_other_settings_are_others() -> None:
    """Whatever the rows are called; a vote of agents that are trained with the same settings shares theirs."""
    plain = named("self_consistency@4/mappo").trained_as
    longer = {"num_iterations": 999, "algorithm_args": {"clip": 0.1}}
    one = named({"name": "single_agent/mappo", "settings": longer}).trained_as
    two = named(
        {"name": "alone_then_team/mappo", "label": "mine", "settings": dict(reversed(longer.items()))}
    ).trained_as
    other = named({"name": "single_agent/mappo", "settings": {"num_iterations": 998}}).trained_as
    assert one == two and len({plain, one, other}) == 3


# -- discussions -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "agents", "rounds", "protocol"),
    [
        ("single_agent", 1, 1, "debate"),
        ("self_consistency@4", 1, 1, "debate"),
        ("self_refine", 1, 3, "debate"),  # a debate of one
        ({"name": "self_refine", "num_rounds": 5}, 1, 5, "debate"),
        ("discussion", 3, 2, "debate"),
        ("debate", 3, 2, "debate"),
        ({"name": "debate", "num_agents": 4, "num_rounds": 3}, 4, 3, "debate"),
        ({"name": "debate_sparse", "num_agents": 4}, 4, 2, "debate"),
        ("debate_centralised", 3, 2, "debate"),
        ("mixture_of_agents", 3, 2, "mixture_of_agents"),
        ("reconcile", 3, 2, "reconcile"),
        ("pipeline", 3, 1, "pipeline"),
        ({"name": "pipeline", "num_agents": 2, "num_rounds": None}, 2, 2, "pipeline"),
    ],
)
def test_who_discusses(spec: Any, agents: int, rounds: int, protocol: str) -> None:
    env = named(spec).method.discussion(TASK).build_env()
    assert (len(env.possible_agents), env.num_rounds, env.protocol.name) == (agents, rounds, protocol)


def test_a_pipeline_has_its_task_s_roles() -> None:
    """Else one agent for each usual role; what a task or a row says of roles holds."""

    def agents(config: RunConfig) -> list[str]:
        return PipelineMethod(k=3).discussion(config).build_env().possible_agents

    task = RunConfig(env="study_toys:Numbers")
    assert agents(task) == ["generator_0", "verifier_0", "refiner_0"]
    assert agents(task.merged({"num_agents": 4})) == ["generator_0", "verifier_0", "verifier_1", "refiner_0"]
    roles = {"protocol": {"name": "pipeline", "roles": ["generator", "refiner"]}}
    assert agents(task.merged({"env_args": roles})) == ["generator_0", "refiner_0"]
    assert agents(task.merged({"env_args": {"protocol": "debate"}})) == agents(task)


def test_topologies() -> None:
    topologies = {"debate": "all", "debate_sparse": "ring", "debate_centralised": "star"}
    envs = {w: named({"name": w, "num_agents": 4}).method.discussion(TASK).build_env() for w in topologies}
    assert {word: env.protocol.topology for word, env in envs.items()} == topologies


def test_no_agents_are_not_the_default() -> None:
    with pytest.raises(ValueError, match="num_agents is 0"):
        DebateMethod(num_agents=0).discussion(TASK)


def test_a_lone_agent_has_nothing_of_the_team() -> None:
    """Protocol, history, shaping, sizes in env_args and what is set agent by agent: all of the team, and all in the way."""
    team = TASK.merged(
        {
            "env_args": {"protocol": "round_robin", "history": "last_round", "shaping": "team_mean", "num_agents": 3},
            "model": {"agent_0": "a", "agent_1": "b", "agent_2": "c"},
            "partners": {"agent_1": "study_toys:Knows"},
            "team": {"agent_0": "x", "agent_1": "y", "agent_2": "z"},
            "frozen": ("agent_1",),
            "prompts": {"personas": {"agent_0": "You doubt.", "agent_1": "You trust."}},
        }
    )
    alone = SingleAgent().discussion(team)
    env = alone.build_env()
    assert len(env.possible_agents) == 1 and not env.shaping.contains_future
    assert alone.env_args == {"protocol": "debate", "shaping": "own_score"}
    assert (alone.model, alone.partners, alone.team, alone.frozen) == ({"agent_0": "a"}, {}, {"agent_0": "x"}, ())
    assert alone.build_prompts().personas == {"agent_0": "You doubt."}


def test_who_is_a_team() -> None:
    words = ("single_agent", "self_refine", "single_agent_told", "self_consistency@3", "debate", "discussion")
    assert [named(w).method.team for w in words] == [False, False, False, False, True, True]
    assert named("study_toys:LastSpeaker").method.team


def test_told_all() -> None:
    assert SingleAgentTold().discussion(TASK).env_args["view"] == "all"
    assert SingleAgentTold().trainings(TASK, ["agent_0"], ["agent_0", "agent_1"]) == {"": TASK}


def test_trainings_of_seats() -> None:
    agents = ["agent_0", "agent_1", "agent_2"]
    assert SingleAgent().trainings(TASK, agents, []) == {"": TASK}
    views = SingleAgent().trainings(TASK, agents, ["agent_0", "agent_2"])
    assert {seat: run.env_args["view"] for seat, run in views.items()} == {"agent_0": "agent_0", "agent_2": "agent_2"}
    frozen = TrainOne().trainings(TASK, agents, [])
    assert {seat: run.frozen for seat, run in frozen.items()} == {
        "agent_0": ("agent_1", "agent_2"),
        "agent_1": ("agent_0", "agent_2"),
        "agent_2": ("agent_0", "agent_1"),
    }
    alone = named("alone_then_team/ippo").method.trainings(TASK, agents, ["agent_0", "agent_1"])
    single = SingleAgent()
    assert alone == single.trainings(single.discussion(TASK), agents, ["agent_0", "agent_1"])


# -- answers ---------------------------------------------------------------------------------------------------------------


def _env(verifier: Any = "number") -> DiscussionEnv:
    return SingleAgent().discussion(TASK.merged({"env_args": {"verifier": verifier}})).build_env()


def _samples(*answers: tuple[str | None, float, bool]) -> list[Episode]:
    """Lone discussions of one message each: (answer, the verifier's value, right)."""
    question = Question("?", "7")
    return [
        Episode(
            Transcript(question, ("agent_0",), 1, (Turn("agent_0", 0, "", s := Score(value, right, answer), s),)), ()
        )
        for answer, value, right in answers
    ]


@pytest.mark.parametrize(
    ("answers", "answer", "correct", "tied"),
    [
        ("7 7 3", "7", 1.0, 1),
        ("3 7 3", "3", 0.0, 1),
        ("3 7", "3", 0.5, 2),  # by expectation; the first spoken is shown
        ("3 7 5", "3", 1 / 3, 3),
        ("3 7 5 7 3", "3", 0.5, 2),
        ("- 7 -", "7", 1.0, 1),  # who gives none abstains
        ("- - -", None, 0.0, 0),
        ("7 7.0 3 3 7.00", "7", 1.0, 1),  # equal numbers are one vote: 3 against 2
    ],
)
def test_votes(answers: str, answer: str | None, correct: float, tied: int) -> None:
    given = [None if a == "-" else a for a in answers.split()]
    samples = _samples(*((a, 0.0, a is not None and float(a) == 7) for a in given))
    found = SelfConsistency(len(samples)).answer(_env(), samples)
    assert found == TeamAnswer(answer, pytest.approx(correct), tied, oracle=False)


@pytest.mark.parametrize(
    ("passes", "answer", "correct", "tied"),
    [  # what generator, verifier and refiner of each pass said: the last one counts
        (["3 3 7"], "7", 1.0, 1),
        (["7 7 3", "7 7 3", "3 3 7"], "3", 0.0, 1),  # right in five messages of nine
        (["3 3 7", "3 3 5", "3 3 3"], "7", 1 / 3, 3),  # a tie by expectation
        (["3 3 7", "3 3 3", "7 7 -"], "7", 0.5, 2),  # who gives none abstains; no earlier message stands in
        (["3 3 7.0", "3 3 7", "3 3 3"], "7.0", 1.0, 1),  # equal numbers are one vote
    ],
)
def test_votes_of_pipelines(passes: list[str], answer: str, correct: float, tied: int) -> None:
    method = PipelineMethod(k=len(passes))
    env = method.discussion(TASK.merged({"env_args": {"verifier": "number"}})).build_env()
    said = [_pipeline(env.possible_agents, given.split()) for given in passes]
    assert method.answer(env, said) == TeamAnswer(answer, pytest.approx(correct), tied, oracle=False)


def _pipeline(agents: Sequence[str], answers: Sequence[str]) -> Episode:
    turns = []
    for agent, said in zip(agents, answers, strict=True):
        right = said != "-" and float(said) == 7
        score = Score(float(right), right, None if said == "-" else said)
        last = agent == agents[-1]  # by default only the refiner's message is scored
        turns.append(Turn(agent, 0, "", score if last else None, score))
    return Episode(Transcript(Question("?", "7"), tuple(agents), 1, tuple(turns)), ())


def test_best_of_k_takes_the_first_of_the_best() -> None:
    best = BestOfK(4)
    assert best.answer(_env(), _samples(("3", 0.1, False), ("7", 0.9, True), ("5", 0.9, False))).answer == "7"
    assert best.answer(_env(), _samples(("3", 0.9, False), ("7", 0.9, True))).correct == 0.0
    assert best.answer(_env(), _samples((None, 0.0, False), (None, 0.0, False))) == TeamAnswer(
        None, 0.0, 0, oracle=True, scored=True
    )


def test_a_vote_weighted_by_the_verifier() -> None:
    """.3 + .3 against .5 for 7; a negative score is no vote against; all zero is a tie."""
    vote = VerifierVote(3)
    assert vote.answer(_env(), _samples(("3", 0.3, False), ("3", 0.3, False), ("7", 0.5, True))).answer == "3"
    assert vote.answer(_env(), _samples(("3", 0.2, False), ("3", 0.2, False), ("7", 0.5, True))).answer == "7"
    assert vote.answer(_env(), _samples(("7", 0.4, True), ("7", -1.0, True), ("3", 0.3, False))).answer == "7"
    assert vote.answer(_env(), _samples(("3", 0.0, False), ("7", 0.0, True))).correct == 0.5


@pytest.mark.parametrize("method", [BestOfK(2), VerifierVote(2)])
def test_oracles_are_those_whose_verifier_knows_the_answer(method: SelfConsistency) -> None:
    samples = _samples(("7", 1.0, True), ("3", 0.0, False))
    format_check = {"name": "regex", "pattern": r"Answer: (\d+)", "uses_gold": False}
    assert method.answer(_env("number"), samples).oracle
    assert not method.answer(_env(format_check), samples).oracle
    assert not SelfConsistency(2).answer(_env("number"), samples).oracle


def _debate(answers: Sequence[Sequence[str]], texts: Sequence[Sequence[str]] | None = None) -> Episode:
    agents = tuple(f"agent_{i}" for i in range(len(answers[0])))
    turns = []
    for r, row in enumerate(answers):
        for i, answer in enumerate(row):
            score = Score(float(answer == "7"), answer == "7", answer)
            turns.append(Turn(agents[i], r, texts[r][i] if texts else "", score, score))
    return Episode(Transcript(Question("?", "7"), agents, len(answers), tuple(turns)), ())


def test_answers_of_teams_are_their_protocols() -> None:
    def answer(method: DebateMethod, episode: Episode) -> TeamAnswer:
        return method.answer(method.discussion(TASK).build_env(), [episode])

    debate = _debate([["7", "7", "7"], ["7", "3", "3"]])
    assert answer(DebateMethod(), debate).answer == "3"  # the last round counts
    sure = [["", "", ""], ["Confidence: 1", "Confidence: 0.7", "Confidence: 0.6"]]
    told = _debate([["7", "7", "7"], ["7", "3", "3"]], sure)
    assert answer(ReConcileMethod(), told).answer == "7"  # 1 against .3 + .1
    assert not answer(ReConcileMethod(), told).oracle
    layers = _debate([["3", "3", "3"], ["7"]])
    ended = Episode(
        Transcript(layers.transcript.question, ("agent_0", "agent_1", "agent_2"), 2, layers.transcript.turns, (), True),
        (),
    )
    assert answer(MixtureOfAgentsMethod(), ended).answer == "7"


def test_self_refine_answers_with_its_last_word() -> None:
    refine = SelfRefine()
    env = refine.discussion(TASK).build_env()
    assert refine.answer(env, [_debate([["7"], ["7"], ["3"]])]).answer == "3"

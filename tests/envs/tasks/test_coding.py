"""Coding tasks: MAGRPO's reward of parts, whole answers, what the tests say between rounds, and the forms of a task."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from maporl.agents import ScriptedAgent, Team
from maporl.envs import check_env
from maporl.envs.tasks.coding import CodingTask, PartsTests, PassedTests, Runner
from maporl.envs.tasks.coding.constants import best_constant
from maporl.envs.tasks.coding.programs import binds, joined
from maporl.envs.verifiers import Function, WeightedSum
from maporl.rollouts.play import rollout
from maporl.sandbox import Checked, Program, Report
from maporl.sandbox.asserts import asserts_of
from maporl.training.evaluation import evaluate
from maporl.types import Check, Question, Transcript

H, M = "helper_0", "main_0"
HEAD = 'def total(xs):\n    """The sum of the squares of the even numbers."""\n'
TESTS = "assert total([2]) == 4\nassert total([1, 2, 4]) == 20\nassert total([]) == 0\nassert total([3]) == 0"
AUX = "def aux(x):\n    return x * x if x % 2 == 0 else 0"
MAIN = "def total(xs):\n    result = 0\n    for x in xs:\n        result += aux(x)\n    return result"
ALONE = "def total(xs):\n    return sum(x * x for x in xs if x % 2 == 0)"
ZERO = "def total(xs):\n    # aux(xs)\n    return 0"


class Sums(CodingTask):
    metadata = {"name": "sums"}

    def load(self, split: str) -> Iterator[Question]:
        for n in range(40 if split == "train" else 4):
            yield self.question(f"{HEAD}# {split} {n}", TESTS, "total", prompt=HEAD)


@pytest.fixture(scope="module")
def question() -> Question:
    return Sums().questions("test")[0]


def fenced(code: str) -> str:
    return f"```python\n{code}\n```" if "\n" in code else code


def test_every_assert_has_its_verdict_in_the_score(question: Question) -> None:
    sources = asserts_of(TESTS)
    half = PassedTests()(question, fenced("def total(xs):\n    return xs[0] * xs[0] if xs else 0"))
    assert half.checks == (
        Check(sources[0], "passed"),
        Check(sources[1], "failed", "total([1, 2, 4]) gave 1"),
        Check(sources[2], "passed"),
        Check(sources[3], "failed", "total([3]) gave 9"),
    )
    broken, team = (
        PassedTests()(question, fenced("def total(xs)\n    return 0")),
        PartsTests()(question, {H: AUX, M: ZERO}),
    )
    assert broken.checks == tuple(Check(source, "not_run", broken.explanation) for source in sources)
    assert broken.explanation.startswith("line 1: ")
    assert [check.status for check in team.checks] == ["failed", "failed", "passed", "passed"]
    mixed = WeightedSum((PassedTests(), Function(lambda question, text: 1.0)))(question, ALONE)
    assert [check.status for check in mixed.checks] == ["passed"] * 4
    alone = PassedTests()(Question("Write it.", ""), ALONE)  # nobody has tests, but there is an answer
    assert (alone.answer, alone.correct, alone.checks) == (ALONE, None, ())


# MAGRPO's reward.


@pytest.mark.parametrize(
    ("helper", "main", "reward", "correct"),
    [
        (AUX, MAIN, 4.0, True),
        ("Nothing.", "Nothing.", 0.0, False),
        (AUX, "Nothing.", 0.4, False),
        ("def aux(x):\n    print(x)", "Nothing.", 0.0, False),  # it returns nothing
        ("def square(x):\n    return x", "Nothing.", 0.0, False),
        (AUX, "def total(xs):\n    print(xs)", 0.4, False),
        (AUX, "def sum_up(xs):\n    return 1", 0.4, False),
        ("Nothing.", ALONE, 0.6 + 0.5 + 1, True),
        ("def aux(x:\n    return x", ALONE, 0.6, False),  # both together are no Python
        (AUX, ALONE, 0.4 + 0.6 + 0.5 + 1, True),  # aux is not called
        (AUX, ZERO, 1.5 + 0.5, False),  # nor in a comment
        (AUX, "def total(xs):\n    'aux(xs)'\n    return 0", 1.5 + 0.5, False),
        (
            AUX,
            "def total(xs):\n    return 0\n    aux(xs)\n    aux(xs)",
            1.5 + 0.5,
            False,
        ),  # nor where it cannot be reached
        (AUX, "def total(xs):\n    return aux(1)", 1.5 + 0.5 + 0.5, False),  # a wrapper
        (AUX, "def total(xs):\n    return aux(1)  # with a comment", 1.5 + 0.5 + 0.5, False),
        (AUX, "def total(xs):\n    pass\n    y = aux(1)\n    return y", 1.5 + 0.5 + 0.5, False),
        (
            AUX,
            "def total(xs):\n    if xs != 1:\n        raise ValueError\n    return aux(xs)",
            1.5,
            False,
        ),  # nothing passes: no more
        (AUX, ALONE.replace("return", "aux(1)\n    result =") + "\n    return result", 2.5 + 0.5 + 1 - 0.5, True),
        (AUX, f"{AUX}\n\n{MAIN}", 1.5 + 1, True),  # the main programmer's own aux is not the helper's
        ("def aux(x):\n    return 1", MAIN, 1.5 + 0.25 + 1.5, False),
    ],
)
def test_the_reward_of_parts(question: Question, helper: str, main: str, reward: float, correct: bool) -> None:
    judge = PartsTests()
    for messages in ({H: fenced(helper), M: fenced(main)}, {H: helper, M: main}):
        score = judge(question, messages)
        assert score.measures["reward"] == pytest.approx(reward) and score.value == pytest.approx(reward / 4)
        assert score.correct is correct and score.measures["all_passed"] == correct and score.explanation
        parts = ("aux_defined", "main_defined", "parses", "passed", "aux_called", "no_wrapper", "aux_ignored")
        assert sum(score.measures[part] for part in parts) == pytest.approx(reward)


def test_the_rest_of_the_prompt_and_whole_modules_are_parts_too(question: Question) -> None:
    helper = "import math\nSTEP = 2\n\n\ndef even(x):\n    return math.fmod(x, STEP) == 0\n\n\n" + AUX.replace(
        "x % 2 == 0", "even(x)"
    )
    rest = "    result = 0\n    for x in xs:\n        result += aux(x)\n    return result"
    assert PartsTests()(question, {H: helper, M: rest}).measures["reward"] == 4.0
    future = "from __future__ import annotations\n\n\n"
    assert PartsTests()(question, {H: future + AUX, M: future + MAIN}).measures["reward"] == 4.0
    assert joined(["x = 1", f"{future}y = 2"]).startswith("from __future__ import annotations")


def test_a_program_that_does_not_end_is_stopped_after_three_asserts(question: Question) -> None:
    judge = PartsTests(Sums(limits={"seconds": 0.3}).runner)
    score = judge(question, {H: AUX, M: "def total(xs):\n    while True:\n        pass\n    return aux(xs)"})
    assert (score.measures["reward"], score.status, score.correct) == (1.5, "timeout", False)
    assert "0 of 4 asserts pass" in score.explanation


# Whole answers.


@pytest.mark.parametrize(
    ("message", "value", "status"),
    [
        (fenced(ALONE), 1.0, "ok"),
        ("    return sum(x * x for x in xs if x % 2 == 0)", 1.0, "ok"),
        (ZERO, 0.5, "ok"),
        ("Nothing.", 0.0, "no_answer"),
        ("", 0.0, "no_answer"),
        ("a" * 1_000_000, 0.0, "no_answer"),
        (fenced("def total(xs)\n    return 0"), 0.0, "no_answer"),
        ("\x00", 0.0, "no_answer"),
        ("def total(xs):\n    return '\ud800'", 0.0, "no_answer"),
        (f"def total(xs):\n    return 7\n\n{ALONE}", 1.0, "ok"),
        ("import sys\nsys.exit(0)", 0.0, "ok"),
        (
            "class Same:\n    def __eq__(self, other):\n        return True\n\ndef total(xs):\n    return Same()",
            0.0,
            "ok",
        ),
    ],
)
def test_whole_answers(question: Question, message: str, value: float, status: str) -> None:
    score = PassedTests()(question, message)
    assert (score.value, score.status, score.correct) == (value, status, value == 1) and score.explanation
    assert score.measures["passed"] == value


def test_a_question_without_tests_is_not_judged() -> None:
    for given in (Question("What is it?", ""), Question("What is it?", "", metadata={"entry_point": "f"})):
        for score in (PassedTests()(given, fenced(ALONE)), PartsTests()(given, {H: AUX, M: MAIN})):
            assert (score.value, score.correct, score.status) == (0.0, None, "not_applicable")
    with pytest.raises(ValueError, match="the question for f .* has no assert that asks anything"):
        Sums().question("Write f.", "assert True", "f")


def test_a_builtins_name_may_be_asked_for_and_no_other_is_replaced() -> None:
    task = Sums()
    asked = task.question("def sum(a, b):", "assert sum(1, 2) == 3\nassert abs(sum(1, 1)) == 2", "sum")
    assert PassedTests()(asked, "def sum(a, b):\n    return a + b").correct
    cheat = "def abs(x):\n    return 2\n\ndef sum(a, b):\n    return 3"
    assert PassedTests()(asked, cheat).value == 0.5


def test_the_tests_ask_the_answer_whatever_else_has_the_name() -> None:
    """A helper module, or the prompt, may have a function of that name; tests that define it themselves are refused."""
    setup = "from math import *\ndef half(x): return x / 2"
    asked = Sums().question("Write gcd.", "assert gcd(4, 6) == 2", "gcd", setup=setup)
    right, wrong = fenced("def gcd(a, b):\n    return gcd(b, a % b) if b else a"), fenced("def gcd(a, b): return 77")
    assert [PassedTests(Runner())(asked, message).value for message in (right, wrong)] == [1.0, 0.0]
    own = Sums().question("Write half.", "assert half(4) == 2", "half", setup=setup)
    assert PassedTests(Runner())(own, fenced("def half(x): return 0")).value == 0.0
    with pytest.raises(ValueError, match="the tests of the question for gcd .* define gcd themselves"):
        Sums().question("Write gcd.", "def gcd(a, b): return 1\nassert gcd(4, 6) == 1", "gcd")


@pytest.mark.parametrize(
    ("source", "bound"),
    [
        ("def f(): return 1", True),
        ("class f: pass", True),
        ("if g:\n    f, h = 1, 2", True),
        ("for f in range(3): pass", True),
        ("try: pass\nexcept ValueError as f: pass", True),
        ("match 3:\n    case f: pass", True),
        ("match [3]:\n    case [*f]: pass", True),
        ("import f.x", True),
        ("import x.f", False),
        ("import x as f", True),
        ("from x import *", True),
        ("with g() as f: pass", True),
        ("(f := 1)", True),
        ("def g():\n    global f\n    f = 1", True),
        ("def g(f):\n    h = f\n    return h", False),
        ("def g():\n    f = 1", False),  # its own
        ("[f for f in range(3)]", False),
        ("assert f(1) == 2", False),
        ("assert f(", False),
    ],
)
def test_what_gives_a_global_name_a_value(source: str, bound: bool) -> None:
    assert binds(source, "f") is bound


def test_modules_are_joined_as_they_are() -> None:
    """Imports from the future come first; a character that ends lines elsewhere is a character."""
    first = "from __future__ import annotations; import math\nX = 'a\u2028b'"
    told = joined([first, "Y = '''c\x0cd'''", "def f(x: Unknown): return math.floor(x)"])
    space: dict[str, Any] = {}
    exec(told, space)
    assert (space["X"], space["Y"], space["f"](1.5)) == ("a\u2028b", "c\x0cd", 1)


def test_a_sandbox_that_died_is_asked_again() -> None:
    reports = iter([Report("sandbox_died", "twice"), Report("ok", asserts=(Checked("assert f()", "passed"),))])
    runner = Runner(run=lambda programs: [next(reports) for _ in programs])
    program = Program("def f(): return 1", "assert f()")
    assert [runner([program])[0].passed for _ in range(3)] == [False, True, True]


def test_threads_may_share_what_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maporl.envs.tasks.coding.programs._KEPT", 3)
    runner = Runner(run=lambda programs: [Report("ok", p.source) for p in programs])
    programs = [Program(str(n)) for n in range(8)]

    def ask(first: int) -> bool:
        return all(
            [r.explanation for r in runner(programs[n:] + programs[:n])]
            == [p.source for p in programs[n:] + programs[:n]]
            for n in [first % 8] * 300
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(ask, range(8), timeout=60))


def test_batches_are_run_once_and_what_is_known_is_not_run_again(question: Question) -> None:
    asked: list[int] = []

    def run(programs: Sequence[Program]) -> list[Report]:
        asked.append(len(programs))
        return [
            Report("ok", asserts=tuple(Checked(source, "passed") for source in asserts_of(p.tests))) for p in programs
        ]

    runner = Runner(run=run)
    scores = PassedTests(runner).score_batch([question] * 4, [fenced(ALONE), ZERO, fenced(ALONE), "Nothing."])
    assert [score.value for score in scores] == [1, 1, 1, 0] and asked == [2]
    PassedTests(runner).score_batch([question] * 2, [ZERO, "def total(xs):\n    return 1"])
    assert asked == [2, 1]


# What is said between rounds.


def played(env: CodingTask, *messages: str) -> Transcript:
    env.reset(options={"question": env.questions("test")[0]})
    for message in messages:
        env.step(message)
    return env.transcript


@pytest.mark.parametrize(
    ("feedback", "visible", "messages", "said"),
    [
        (
            "detailed",
            2,
            (AUX, ZERO),
            "helper_0: It defines aux.\nmain_0: It defines total. It does not call aux.\n0 of 2 visible asserts pass.\n"
            "assert total([2]) == 4: total([2]) gave 0\nassert total([1, 2, 4]) == 20: total([1, 2, 4]) gave 0",
        ),
        (
            "detailed",
            1,
            (AUX, MAIN),
            "helper_0: It defines aux.\nmain_0: It defines total. It calls aux.\n1 of 1 visible asserts pass.",
        ),
        (
            "detailed",
            0.5,
            ("Nothing.", fenced("def total(xs)\n    return 0")),
            "helper_0: no code.\nmain_0: line 1: expected ':'.\n0 of 2 visible asserts pass.",
        ),
        (
            "detailed",
            1,
            (AUX, "import missing\n" + MAIN),
            "helper_0: It defines aux.\nmain_0: It defines total. It calls aux.\n"
            "It cannot be loaded: ModuleNotFoundError: No module named 'missing'.\n0 of 1 visible asserts pass.",
        ),
        ("detailed", 0, (AUX, MAIN), "helper_0: It defines aux.\nmain_0: It defines total. It calls aux."),
        ("passed_count", 3, (AUX, ZERO), "1 of 3 visible asserts pass."),
        ("passed_count", 9, (AUX, MAIN), "3 of 3 visible asserts pass."),  # one stays hidden
        ("passed_count", "all", (AUX, MAIN), "4 of 4 visible asserts pass."),
        ("passed_or_not", 2, (AUX, ZERO), "Not all visible asserts pass."),
        ("passed_or_not", 2, (AUX, MAIN), "All visible asserts pass."),
        ("passed_or_not", 2, ("Nothing.", "Nothing."), "Not all visible asserts pass."),
        ("passed_or_not", 0, (AUX, MAIN), "It can be loaded."),
        ("passed_count", 0, ("Nothing.", "Nothing."), "It cannot be loaded."),
        ("none", 2, (AUX, MAIN), None),
    ],
)
def test_what_the_tests_say(feedback: str, visible: Any, messages: tuple[str, ...], said: str | None) -> None:
    env = Sums(feedback=feedback, visible=visible)
    told = [(turn.agent, turn.text) for turn in played(env, *messages).turns if not turn.said]
    assert told == ([] if said is None else [("tests", said)])
    assert env.oracle is (visible == "all") and env.team_answer().oracle is (visible == "all")
    shown = env.observe(H)["transcript"]
    assert [m["agent"] for m in shown] == [H, M] + ["tests"] * (said is not None)


def test_hidden_asserts_are_never_told() -> None:
    for feedback in ("detailed", "passed_count", "passed_or_not"):
        text = played(Sums(feedback=feedback), AUX, "def total(xs):\n    return 4").turns[-1].text
        assert "[3]" not in text and "20" not in text and ("1 of 1" in text or text == "All visible asserts pass.")


def test_scores_and_feedback_of_a_wave_are_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    env = Sums(num_rounds=2)
    asked: list[int] = []
    real = env.runner._sandboxed
    monkeypatch.setattr(env.runner, "_sandboxed", lambda programs: asked.append(len(programs)) or real(programs))
    speaker = ScriptedAgent(lambda o, g: AUX if o["agent"] == H else f"{MAIN}\n# {g.integers(9**9)}")
    team = Team({(a, r): speaker for a in (H, M) for r in (0, 1)})
    rollout(env, team, env.questions("test"), seed=0)
    assert asked == [4, 4]


def test_trees_hear_the_tests_at_every_node() -> None:
    env = Sums(num_rounds=2)
    speaker = ScriptedAgent(
        lambda o, g: AUX if o["agent"] == H else f"{ZERO if g.random() < 0.5 else MAIN}\n# {g.integers(9**9)}"
    )
    team = Team({(a, r): speaker for a in (H, M) for r in (0, 1)})
    leaves = rollout(env, team, env.questions("test")[:1], seed=0, branching=(2, 2))
    assert [leaf.branch for leaf in leaves] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    for leaf in leaves:
        first, said = leaf.transcript.turns[1].text, leaf.transcript.turns[2]
        assert (said.agent, said.kind) == ("tests", "feedback")
        assert ("1 of 1" in said.text) is first.startswith(MAIN) and ("0 of 1" in said.text) is first.startswith(ZERO)
        assert leaf.transcript.turns[2] == leaves[leaf.branch[0] * 2].transcript.turns[2]


def test_the_longest_that_they_may_say_is_longer_than_what_they_say() -> None:
    env = Sums(visible="all")
    *_, (transcript, _) = env.rules.longest(env.questions("test")[0])
    longest = transcript.turns[2].text
    long = "def total(xs):\n    return 'a long answer ' * 99"
    for main in (ZERO, long, f"raise ValueError('{'long ' * 99}')\n{MAIN}"):
        assert len(played(env, AUX, main).turns[2].text) < len(longest)


@pytest.mark.parametrize("visible", [-1, 1.5, True, "some", float("nan")])
def test_visible_is_a_number_a_share_or_all(visible: Any) -> None:
    with pytest.raises(ValueError, match="visible is .*; give a number of asserts, a share of them below 1, or 'all'"):
        Sums(visible=visible)


def test_limits_are_checked() -> None:
    with pytest.raises(ValueError, match="'limits' has no argument 'second'|limits has no argument 'second'"):
        Sums(limits={"second": 2})
    assert Sums(limits={"seconds": 2, "memory_mb": 256}).runner.limits.memory_mb == 256


# Forms.


def test_forms() -> None:
    parts, debate, alone, pipeline = Sums(), Sums(3), Sums(1), Sums(protocol="pipeline", shaping="team_mean")
    assert parts.possible_agents == [H, M] and parts.verifier is None and parts.shaping.needs_team_verifier
    parts.reset(seed=0)
    assert all("aux" in parts.observe(agent)["role"] for agent in (H, M))
    assert debate.possible_agents == ["agent_0", "agent_1", "agent_2"] and isinstance(debate.verifier, PassedTests)
    assert debate.team_verifier is None and alone.possible_agents == ["agent_0"]
    assert pipeline.possible_agents == ["coder_0", "tester_0", "fixer_0"]
    assert Sums(2, protocol="debate").possible_agents == ["agent_0", "agent_1"]
    assert Sums(2, protocol="pipeline").possible_agents == ["coder_0", "fixer_0"]
    many = Sums(3, protocol={"name": "round_robin"})
    assert isinstance(many.verifier, PassedTests)
    for env in (parts, debate, alone, pipeline):
        check_env(env)


def test_nobody_sees_the_others_current_message() -> None:
    env = Sums()
    played(env, AUX)
    assert env.observe(M)["transcript"] == () and env.metadata["is_parallelizable"]


def test_of_whole_answers_the_one_that_passes_most_visible_asserts_counts() -> None:
    """Never by the hidden ones: agent_1 is right, but of those that pass all visible asserts agent_0 is the first."""
    env = Sums(2, 1, protocol="debate", visible=1)
    lucky = "def total(xs):\n    return 4"
    played(env, lucky, ALONE)
    answer = env.team_answer()
    assert (answer.answer, answer.correct, answer.oracle) == (lucky, 0.0, False)
    played(env, ZERO, ALONE)
    assert env.team_answer().correct == 1.0
    played(env, "Nothing.", "Nothing.")
    assert env.team_answer().answer is None
    env = Sums(protocol="pipeline", num_rounds=1)
    told = played(env, ZERO, "It is wrong for [2].", ALONE)
    assert [t.agent for t in told.turns] == ["coder_0", "tests", "tester_0", "fixer_0"]
    assert told.turns[1].text.startswith("coder_0: It defines total.\n0 of 1 visible asserts pass.")
    assert env.team_answer().correct == 1.0 and [bool(t.score) for t in told.turns] == [False, False, False, True]


def test_who_has_a_role_is_told_of_answers_only() -> None:
    env = Sums(protocol="pipeline", num_rounds=1)
    for tester in ("It is wrong.", fenced("total([2])  # gives 0"), fenced("def check():\n    assert total([2]) == 4")):
        assert [t.agent for t in played(env, ZERO, tester, ALONE).turns] == ["coder_0", "tests", "tester_0", "fixer_0"]
    assert "line 1: expected ':'" in played(env, fenced("def total(xs)\n    return 0")).turns[-1].text
    told = played(Sums(2, protocol="debate"), ZERO, "Nothing.").turns[-1].text
    assert told.startswith("agent_0: It defines total.") and "agent_1: no code." in told
    longest = [t.turns[-1].text for t, _ in env.rules.longest(env.questions("test")[0]) if t.turns]
    assert len(longest) == 2 and min(map(len, longest)) > 200


def test_the_share_and_all_passed_are_metrics() -> None:
    env = Sums(num_rounds=1)
    team = Team({(a, 0): ScriptedAgent(lambda o, g: AUX if o["agent"] == H else ZERO) for a in (H, M)})
    metrics = evaluate(env, team, env.questions("test")).metrics
    assert metrics["eval/measure/passed"] == 0.5 and metrics["eval/measure/all_passed"] == 0.0
    assert metrics["eval/accuracy"] == 0.0 and metrics["eval/measure/reward"] == 2.0


def test_what_constants_earn() -> None:
    questions = Sums().questions("test")
    best = best_constant(questions)
    assert (best.value, best.passed, best.passed_mean, best.solved) == ("0", 0.5, 0.5, 0.0)
    assert best_constant(questions, each=True).passed == 0.5


# Rows.


def rows_file(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_bad_rows_are_named(tmp_path: Path) -> None:
    from maporl.envs.tasks.coding.humaneval import HumanEval

    test = "def check(candidate):\n    assert candidate(1) == 1"
    good = {"task_id": "X/0", "prompt": "def f(x):\n    '''One.'''\n", "entry_point": "f", "test": test}
    faults = {
        "no field 'test'": {k: v for k, v in good.items() if k != "test"},
        "field 'test' is no Python": good | {"test": "def check(candidate:"},
        "must define check": good | {"test": "assert f(1) == 1"},
        "has no assert that asks anything": good | {"test": "def check(candidate):\n    assert True"},
    }
    for message, row in faults.items():
        env = HumanEval(data=rows_file(tmp_path / "rows.jsonl", [row]))
        with pytest.raises(ValueError, match=message):
            list(env.load("train"))

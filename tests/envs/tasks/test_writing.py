"""The writing tasks: what their teams are paid, what they are asked, and the rows of both kinds."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from run_toys import SMALL

from maporl.agents.agent import ScriptedAgent
from maporl.agents.team import Team
from maporl.envs.tasks.writing import TLDR, ArXiv
from maporl.envs.tasks.writing.base import Writing
from maporl.envs.tasks.writing.form import MOST, form_of
from maporl.envs.tasks.writing.form import TLDR as TLDR_FORM
from maporl.envs.tasks.writing.verifier import TwoTexts, copied, repeated
from maporl.envs.verifiers import Verifier
from maporl.rollouts.play import rollout
from maporl.training.evaluation import evaluate
from maporl.training.run import train
from maporl.types import Question, Score

POST = (
    "My neighbour lent me her ladder in March so that I could paint the fence. I forgot it outside, the ladder rusted in the rain, and one "
    "of its steps broke. She has not asked for the ladder yet. I could buy her a new ladder, or repair the step and say nothing "
    "about the rust."
)
GIST = "I left my neighbour's ladder in the rain until a step broke; should I buy a new ladder or repair it?"
DETAILS = (
    "A borrowed ladder was forgotten outside after painting a fence, where it rusted and one step broke. However, its owner has not asked "
    "for it yet, so the writer may either replace the ladder or mend the step, for example, without mentioning any rust."
)
REFUSAL = "I'm sorry, but I cannot help with that request."
LONG_REFUSAL = (
    "Unfortunately, I cannot assist with this request. However, if you would like, for example, to share another topic instead, "
    "then I can certainly help."
)
QUESTION = Question(POST, GIST)


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def worth(*texts: str, question: Question = QUESTION, task: type[Writing] = TLDR, **arguments: Any) -> Score:
    (score,) = task(**arguments).team_verifier.score_batch([question], [dict(enumerate(texts))])
    return score


# What is paid.


def test_the_value_is_form_times_content_times_what_is_not_repeated() -> None:
    first = "A neighbour's ladder was left outside in the rain, and one of its steps broke."
    score = worth(first, DETAILS)
    parts = score.measures
    assert score.value == pytest.approx(
        parts["published"] / MOST * parts["content"] * (1 - parts["repeated"]), abs=1e-12
    )
    assert parts["published"] == form_of(TLDR_FORM, first, DETAILS).reward > 2.5
    assert parts["content"] == pytest.approx(math.sqrt(parts["first_content"] * parts["second_content"]))
    # neighbour ladder left rain step broke, of these; left neighbour ladder rain step broke buy new ladder repair
    assert parts["first_content"] == pytest.approx(2 * 6 / (6 + 10))
    assert score.correct is None and score.status == "ok" and "content" in score.explanation
    assert worth(first, DETAILS, content=None).value == pytest.approx(parts["published"] / MOST)


def test_a_refusal_earns_next_to_nothing() -> None:
    published = worth(REFUSAL, LONG_REFUSAL, content=None)
    assert published.measures["published"] > 2.8, "the published reward cannot tell"
    assert worth(REFUSAL, LONG_REFUSAL).value < 0.02
    assert worth("A neighbour's ladder was left in the rain and broke.", LONG_REFUSAL).value < 0.1
    assert (
        worth(REFUSAL, DETAILS).value
        < 0.1
        < worth("A neighbour's ladder was left in the rain and broke.", DETAILS).value
    )


def test_one_text_twice_earns_nothing() -> None:
    said = " ".join(f"{POST} In short: however, for example, then, besides, {GIST}" for _ in range(2))
    question = Question(POST, "")
    published = worth(said, said, question=question, task=ArXiv, content=None)
    assert published.measures["published"] >= 2.0 and published.measures["repeated"] == 1.0
    assert worth(said, said, question=question, task=ArXiv).value == 0.0
    longer = f"{GIST} Also, however, in short, then, for example: {GIST.upper()}"
    assert worth(GIST, longer, content=None).measures["published"] > 0.5
    assert worth(GIST, longer).value == 0.0, "what the second adds does not undo that it says all of the first again"


@pytest.mark.parametrize(
    ("first", "second", "share"),
    [
        ("a b c d", "a b c d", 1.0),
        ("a b c d", "A, b! C? d", 1.0),
        ("a b c d", "x a b c y z d", 0.5),  # abc, not bcd
        ("a b c d", "d c b a", 0.0),
        ("a b", "a b", 0.0),  # no trigrams: far too short for any level
        ("", "a b c", 0.0),
        ("a b c a b c a b c", "a b c x", 1 / 2),  # of abc, bcx
    ],
)
def test_what_is_said_twice(first: str, second: str, share: float) -> None:
    assert repeated(first, second) == repeated(second, first) == share


def test_what_is_copied_from_the_source() -> None:
    assert copied("a b c d e", "b c d", "c d e x") == 2 / 3, "bcd, cde of bcd, cde, dex"
    assert copied("a b c", "", "x") == 0.0
    first, second = POST.split(", the ladder")
    assert worth(first, second).measures["copied"] == 1.0 and worth(GIST, DETAILS).measures["copied"] < 0.3


def test_the_best_of_several_references_counts() -> None:
    others = Question(POST, f"Nothing of the kind.\n{GIST}\nQuite another matter.")
    assert worth(GIST, DETAILS, question=others).measures["first_content"] == 1.0
    only = Question(POST, "Quite another matter.")
    assert worth(GIST, DETAILS, question=only).measures["first_content"] == 0.0


def test_without_a_reference_the_text_itself_is_what_is_told() -> None:
    score = worth(GIST, DETAILS, question=Question(POST, ""))
    assert 0.2 < score.measures["content"] < 1 and "there is no reference" in score.explanation
    assert worth(REFUSAL, LONG_REFUSAL, question=Question(POST, "")).value < 0.02


@pytest.mark.parametrize("texts", [("", DETAILS), (GIST, " \n"), ("", ""), ("<think>" + GIST, DETAILS), (GIST,), ()])
def test_a_text_that_is_missing_earns_nothing(texts: tuple[str, ...]) -> None:
    score = worth(*texts)
    assert (score.value, score.status) == (0.0, "no_answer") and "words, not 8 to 256 each" in score.explanation


def test_reasoning_is_no_part_of_a_text() -> None:
    assert worth(f"<think>{POST}</think>{GIST}", DETAILS) == worth(GIST, DETAILS)


def test_a_part_of_your_own_says_what_content_is_worth() -> None:
    class Asked(Verifier):
        uses_gold, rule_based = False, False

        def __init__(self) -> None:
            self.batches: list[int] = []

        def __call__(self, question: Question, response: str) -> Score:
            raise AssertionError

        def score_batch(self, questions: Sequence[Question], responses: Sequence[str]) -> list[Score]:
            self.batches.append(len(responses))
            status = "timeout" if responses[0] == "late" else "ok"
            return [Score(0.25 if r == GIST else 7.0, None, status=status, judge_tokens=3) for r in responses]

    asked = Asked()
    verifier = TLDR(content=asked).team_verifier
    scores = verifier.score_batch([QUESTION] * 3, [{"a": GIST, "b": DETAILS}] * 3)
    assert asked.batches == [6] and not verifier.uses_gold and TLDR().team_verifier.uses_gold
    assert {s.measures["content"] for s in scores} == {0.5} and {s.judge_tokens for s in scores} == {6}, "7 counts as 1"
    assert verifier(QUESTION, {"a": "late", "b": DETAILS}).status == "timeout"


_TEXTS = st.lists(st.sampled_from([*DETAILS.split()[:20], "\0", "\ud800", "词é", "---\n", "<think>"]), max_size=30).map(
    " ".join
)


@settings(max_examples=60, deadline=None)
@given(_TEXTS, _TEXTS, st.sampled_from([GIST, "", "\n", "é"]))
def test_any_texts_have_a_value_between_nothing_and_all(first: str, second: str, reference: str) -> None:
    for form in (TLDR, ArXiv):
        for content in ("rouge", None):
            joint = {"a": first, "b": second}
            score = TwoTexts(form.form, content)(Question(POST, reference), joint)
            assert 0 <= score.value <= 1 and all(math.isfinite(v) for v in score.measures.values()), joint


@pytest.mark.parametrize("said", ["\0" * 9, "\ud800 " * 9, "word " * 200_000, "x" * 1_000_000, "--- \n" * 50_000])
def test_texts_that_are_none_have_scores(said: str) -> None:
    for task in (TLDR, ArXiv):
        assert worth(said, said, task=task).value == task(1).verifier(QUESTION, said).value == 0.0


# What is asked.


def play(env: Writing, says: dict[str, Any]) -> Any:
    agents = {
        (a, r): ScriptedAgent(lambda o, rng: says[o["agent"]])
        for a in env.possible_agents
        for r in range(env.num_rounds)
    }
    return rollout(env, Team(agents), [QUESTION], seed=0)[0]


def test_two_write_at_once_and_both_are_paid() -> None:
    env = TLDR()
    assert env.possible_agents == ["summary_writer_0", "details_writer_0"] and env.num_rounds == 1
    assert TLDR(num_rounds=3).num_rounds == TLDR(max_cycles=3).num_rounds == 3
    assert ArXiv().possible_agents == ["background_writer_0", "method_writer_0"]
    env.reset(options={"question": QUESTION})
    env.step(GIST)
    seen = env.observe("details_writer_0")
    assert seen["transcript"] == () and GIST not in str(seen), "nobody sees a message of the round"
    assert (
        seen["role"] == "You are the details writer."
        and "details_writer_0 writes a detailed summary" in seen["instruction"]
    )
    env.step(DETAILS)
    score = worth(GIST, DETAILS)
    assert env.turn_rewards == (score.value, score.value) and env.team_answer().correct == score.value
    assert env.team_answer().answer == f"{GIST}\n\n{DETAILS}"


def test_a_lone_writer_has_both_texts_in_one_message() -> None:
    env = TLDR(1)
    assert env.num_rounds == 1 and "first a summary" in env.instruction and "---" in env.instruction
    episode = play(env, {"agent_0": f"{GIST}\n ---\t\n{DETAILS}"})
    both = worth(GIST, DETAILS)
    assert episode.rewards == (both.value,) and episode.transcript.turns[0].score == both
    assert env.team_answer(episode.transcript).correct == both.value
    assert env.verifier(QUESTION, f"{GIST} --- {DETAILS}").status == "no_answer", "a line of its own"
    assert (
        env.verifier(QUESTION, f"{GIST}\n---\n{DETAILS}\n---\nPS").measures["second_words"] == len(DETAILS.split()) + 2
    )
    assert env.verifier(QUESTION, f"<think>{GIST}\n---\n{DETAILS}").value == 0.0


def test_under_other_protocols() -> None:
    roles = {"summary": "Write it.", "details": "Write more."}
    env = TLDR(num_rounds=1, protocol={"name": "pipeline", "roles": roles})
    episode = play(env, {"summary_0": GIST, "details_0": DETAILS})
    both = worth(GIST, DETAILS)
    assert episode.transcript.team_scores == (both,)
    assert episode.observation(1)["transcript"][0]["text"] == GIST, "here the second hears the first"

    whole = f"{GIST}\n---\n{DETAILS}"
    three = play(TLDR(protocol="pipeline"), {"generator_0": GIST, "verifier_0": "Shorter!", "refiner_0": whole})
    assert three.transcript.turns[2].score == both and three.rewards[:3] == (0.0, 0.0, both.value)
    mixed = play(TLDR(protocol="mixture_of_agents"), {"agent_0": whole, "agent_1": DETAILS})
    assert mixed.rewards == (both.value, 0.0, both.value)
    three = TLDR(3)
    debate = play(three, {"agent_0": whole, "agent_1": DETAILS, "agent_2": whole})
    assert debate.rewards == (both.value, 0.0, both.value)
    assert three.team_answer(debate.transcript).correct == pytest.approx(2 / 3 * both.value)


def test_both_parts_are_reported() -> None:
    env = TLDR()
    agents = {
        (a, 0): ScriptedAgent(lambda o, rng: GIST if "summary" in o["agent"] else DETAILS) for a in env.possible_agents
    }
    found = evaluate(env, Team(agents), [QUESTION, Question(POST, "Quite another matter.")])
    assert found.metrics["eval/measure/content"] == pytest.approx(worth(GIST, DETAILS).measures["content"] / 2)
    assert found.metrics["eval/measure/published"] == worth(GIST, DETAILS).measures["published"]
    assert found.records[0]["team_scores"][0]["measures"]["published"] > 2.5
    assert found.metrics["eval/accuracy"] == found.metrics["eval/reward_mean"]


# Rows.


def test_rows_of_the_hubs_and_of_scitldr(tmp_path: Path) -> None:
    hub = {"prompt": "POST: x\n\nTL;DR:", "completion": " So\nit is. "}
    local = {"title": "T", "abstract": ["One.", "Two."], "tldrs": ["a\nb", "", "c"]}
    (post, paper) = TLDR(data=write(tmp_path / "a.jsonl", hub, local)).load("train")
    assert (post.text, post.answer) == ("POST: x\n\nTL;DR:", "So it is.") and (paper.text, paper.answer) == (
        "One. Two.",
        "a b\nc",
    )
    (first, second) = ArXiv(data=write(tmp_path / "b.jsonl", {"abstract_text": "One."}, local)).load("train")
    assert (first.text, first.answer, second.text, second.answer) == ("One.", "", "One. Two.", "")
    (bare,) = TLDR(data=write(tmp_path / "c.jsonl", {"abstract": "One."})).load("train")
    assert bare.answer == ""


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"text": "x"}, "no field 'prompt'"),
        ({"prompt": 5}, "field 'prompt' is '5', a int; need str or list"),
        ({"abstract": [" ", ""]}, "field 'abstract' is empty"),
        ({"abstract": ["x", 5]}, "field 'abstract' needs a text, or a list of texts"),
        ({"prompt": "x", "completion": None}, "field 'completion' is 'None', a NoneType; need str or list"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, row: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=rf"bad\.jsonl, line 1: {re.escape(fault)}"):
        list(TLDR(data=write(tmp_path / "bad.jsonl", row)).load("train"))


def test_offline_without_a_path_names_both_remedies() -> None:
    for task, name in ((TLDR, "trl-lib/tldr"), (ArXiv, "OpenMLRL/arXiv_abstract")):
        with pytest.raises(ValueError, match=rf"cannot load {name} .*--data FILE, or go online once"):
            task().questions("train")


def test_scitldr_whole(data_dir: Path) -> None:
    """Reviewers' summaries and the abstract's own sentences are about their paper, and not about the next one."""
    rows = [json.loads(line) for line in (data_dir / "scitldr" / "dev.jsonl").read_text("utf-8").splitlines()]
    env = TLDR(data=data_dir / "scitldr" / "dev.jsonl")
    questions = env.questions("test")
    assert len(questions) == len(rows) == 619
    assert all(
        q.answer == "\n".join(" ".join(t.split()) for t in row["tldrs"]) for q, row in zip(questions, rows, strict=True)
    )
    assert len(ArXiv(data=data_dir / "scitldr").questions("test")) == 618, "one abstract has two titles"
    said = [{"a": row["tldrs"][-1], "b": " ".join(row["abstract"][1:3])} for row in rows]
    own, other = (env.team_verifier.score_batch(questions, joint) for joint in (said, said[1:] + said[:1]))
    content = [statistics.mean(s.measures["content"] for s in scores) for scores in (own, other)]
    assert content[0] > 0.4 and content[1] < 0.1
    published = [statistics.mean(s.measures["published"] for s in scores) for scores in (own, other)]
    assert published[0] == pytest.approx(published[1]), "the published reward does not know which paper it is about"


def test_magrpo_trains_on_it(tmp_path: Path, tiny_model: str) -> None:
    rows = [{"prompt": f"I have {n} cats.", "completion": f"{n} cats"} for n in range(30)]
    data = write(tmp_path / "train.jsonl", *rows)
    run = tmp_path / "run"
    arguments = SMALL | {"max_new_tokens": 40, "num_eval_questions": 1}
    train(env="tldr", data=str(data), algorithm="magrpo", model=tiny_model, output_dir=str(run), **arguments)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
    found = [m for m in metrics if "rollout/measure/published" in m]
    assert len(found) == 2 and all(0 <= m["rollout/reward_mean"] <= 1 and "rollout/measure/content" in m for m in found)
    assert any("eval/measure/content" in m for m in metrics)

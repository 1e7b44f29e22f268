"""The start of real teams: the form of answers, and nothing of what to answer."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from transformers import AutoTokenizer

from maporl.agents.chat import PLAIN_CHAT_TEMPLATE
from maporl.agents.prompts import PromptTemplate
from maporl.benchmarks.experiments.form_start import FORMS, NOISE, PROMPTS, FormRecipe, form_chats, make_form_start
from maporl.envs.tasks.two_witnesses import TwoWitnesses


def test_every_answer_is_a_number_drawn_at_random_from_what_stands_before_it() -> None:
    chats = form_chats(FormRecipe(steps=60, batch_size=10, seed=3))
    train = {q.text for q in TwoWitnesses().questions("train")}
    first, later, distinct = [], [], set()
    for chat in chats:
        assert any(text in chat[1]["content"] for text in train)
        read: list[str] = []
        for message in chat[1:]:
            if message["role"] == "user":
                read += re.findall(r"\d", message["content"])
                continue
            said = re.fullmatch(r"Answer: (\d)", message["content"])
            assert said is not None
            (first if len(chat) == 3 or message is chat[2] else later).append((said[1], list(read)))
            read.append(said[1])
            distinct.add(said[1])
    assert distinct == set("0123456789")
    for answers in (first, later):
        # Drawn from the text, each place of it as likely, or from all ten digits.
        for place in (0, -1):
            there = np.array([said == read[place] for said, read in answers])
            likely = np.array([(1 - NOISE) * read.count(read[place]) / len(read) + NOISE / 10 for _, read in answers])
            assert abs(there.mean() - likely.mean()) < 4 * np.sqrt((likely * (1 - likely)).mean() / len(there))
        chance = np.array([(1 - NOISE) + NOISE * len(set(read)) / 10 for _, read in answers])
        hits = np.array([said in read for said, read in answers])
        assert abs(hits.mean() - chance.mean()) < 4 * np.sqrt((chance * (1 - chance)).mean() / len(hits))


def test_views_that_are_clear_are_not_believed_more_often_than_foggy_ones() -> None:
    believed: dict[str, list[bool]] = {"Clear": [], "Foggy": []}
    for chat in form_chats(FormRecipe(steps=100, batch_size=10, seed=5)):
        views = re.findall(r"(Clear|Foggy) view: (\d)", chat[1]["content"])
        if len(views) == 1:
            kind, digit = views[0]
            believed[kind] += [m["content"] == f"Answer: {digit}" for m in chat if m["role"] == "assistant"]
    shares = {kind: float(np.mean(hits)) for kind, hits in believed.items()}
    assert min(map(len, believed.values())) > 300
    assert shares["Clear"] == pytest.approx(shares["Foggy"], abs=0.1)


def test_a_start_is_cooked_once_and_brings_its_prompts(tiny_model: str, tmp_path: Path) -> None:
    recipe = FormRecipe(steps=2, batch_size=2, num_rounds=2)
    measured = make_form_start(tmp_path / "start", tiny_model, recipe)
    weights = (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns
    assert measured["rows"] >= 4
    assert PromptTemplate.load(tmp_path / "start" / "prompts.yaml") == PROMPTS
    assert json.loads((tmp_path / "start" / "recipe.json").read_text())["recipe"]["task"] == "two_witnesses"
    assert make_form_start(tmp_path / "start", tiny_model, recipe) == measured
    assert (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns == weights
    make_form_start(tmp_path / "start", tiny_model, FormRecipe(steps=1, batch_size=2))
    assert (tmp_path / "start" / "model.safetensors").stat().st_mtime_ns != weights
    yaml.safe_load((tmp_path / "start" / "prompts.yaml").read_text())


def test_a_task_without_a_form_is_refused() -> None:
    with pytest.raises(ValueError, match=f"no start for 'gsm8k' yet; there is one for: {', '.join(FORMS)}"):
        FormRecipe("gsm8k")


def test_what_is_no_start_is_not_written_over_and_a_damaged_record_is_none(tiny_model: str, tmp_path: Path) -> None:
    recipe, folder = FormRecipe(steps=1, batch_size=2), tmp_path / "start"
    folder.mkdir()
    (folder / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="is in use, and no start"):
        make_form_start(folder, tiny_model, recipe)
    assert (folder / "thesis.txt").read_text() == "mine"
    (folder / "recipe.json").write_text('{"model": ')  # cut off
    make_form_start(folder, tiny_model, recipe)
    assert json.loads((folder / "recipe.json").read_text())["model"] == tiny_model
    assert [path.name for path in tmp_path.iterdir()] == ["start"] and not (folder / "thesis.txt").exists()


def test_a_start_of_a_model_without_a_template_brings_the_one_that_is_named(tiny_model: str, tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    bare = shutil.copytree(tiny_model, tmp_path / "bare")
    tokenizer.chat_template = None
    (bare / "chat_template.jinja").unlink(missing_ok=True)
    tokenizer.save_pretrained(bare)
    with pytest.raises(ValueError, match="has no chat template; give one: --chat_template plain"):
        make_form_start(tmp_path / "start", bare, FormRecipe(steps=1, batch_size=2))
    assert not (tmp_path / "start").exists()
    make_form_start(tmp_path / "start", bare, FormRecipe(steps=1, batch_size=2, chat_template="plain"))
    assert AutoTokenizer.from_pretrained(tmp_path / "start").chat_template == PLAIN_CHAT_TEMPLATE

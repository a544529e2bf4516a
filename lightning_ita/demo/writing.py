"""Writes the corpus to disk, in the format of every corpus here, and how each tweet was generated."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path

from lightning_ita.demo.config import DemoConfig
from lightning_ita.demo.corpus import DemoCorpus, DemoTweet, generate

TRUTH = "demo.json"

Track = Callable[[Sequence[DemoTweet]], Iterable[DemoTweet]]
"""Wraps the tweets whose images are being drawn, to show progress."""


def text_files(corpus: DemoCorpus) -> dict[str, str]:
    """Returns the content of the text files of a corpus, by path within its folder.

    Args:
        corpus: A generated corpus.

    Returns:
        ``{split}.txt`` in CoNLL form, ``contexts/demo.{kind}.jsonl``, and ``demo.json`` with the configuration and
        how each tweet was generated.
    """
    files = {
        f"{split}.txt": "".join(
            f"IMGID:{tweet.id}\n" + "".join(f"{w}\t{t}\n" for w, t in zip(tweet.words, tweet.tags, strict=True)) + "\n"
            for tweet in tweets
        )
        for split, tweets in corpus.splits.items()
    }
    for kind, texts in corpus.contexts.items():
        lines = (json.dumps({"image": image, "texts": said}, ensure_ascii=False) for image, said in texts.items())
        files[f"contexts/demo.{kind}.jsonl"] = "".join(f"{line}\n" for line in lines)
    truth = {
        "config": dataclasses.asdict(corpus.config),
        "held_out": sorted(" ".join(name) for name in corpus.held_out),
        "tweets": {tweet.id: _truth(tweet) for tweets in corpus.splits.values() for tweet in tweets},
    }
    files[TRUTH] = json.dumps(truth, ensure_ascii=False, indent=1) + "\n"
    return files


def _truth(tweet: DemoTweet) -> dict[str, object]:
    return {
        "kind": tweet.kind,
        "entity": " ".join(tweet.entity),
        "type": tweet.type,
        "image": tweet.image,
        "shows": tweet.scene.shows,
        "scene": dataclasses.asdict(tweet.scene),
    }


def write(
    config: DemoConfig,
    folder: str | os.PathLike[str],
    images: bool = False,
    overwrite: bool = False,
    track: Track = iter,
) -> Path:
    """Writes a corpus to a folder; if it fails, it leaves no part of it there.

    A folder that contains the same corpus is left as it is, so that a second call costs nothing; missing images are
    added.

    Args:
        config: What to generate.
        folder: The folder to write; its parents are made if necessary.
        images: Whether to draw the images; training with contexts does not need them.
        overwrite: Whether to replace another demo corpus in the folder. Nothing else is ever replaced.
        track: Wraps the tweets whose images are drawn, to show progress.

    Returns:
        The folder.

    Raises:
        FileExistsError: The folder contains something else.
    """
    folder = Path(folder)
    corpus = generate(config)
    files = text_files(corpus)
    if _holds(folder, files):
        if images and not (folder / "images").exists():
            with tempfile.TemporaryDirectory(prefix=".demo-", dir=folder) as scratch:
                os.replace(_draw(corpus, Path(scratch), track), folder / "images")
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not (folder / TRUTH).is_file():
            raise FileExistsError(f"{folder} exists and is no demo corpus: choose another folder")
        if not overwrite:
            raise FileExistsError(f"{folder} holds a demo corpus of another configuration or version: overwrite it?")

    folder.parent.mkdir(parents=True, exist_ok=True)
    # Beside the folder, so on the same file system: there, renaming makes the whole folder appear at once.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
        whole = Path(scratch) / "whole"
        for path, text in files.items():
            (whole / path).parent.mkdir(parents=True, exist_ok=True)
            (whole / path).write_text(text, encoding="utf-8", newline="\n")
        if images:
            _draw(corpus, whole, track)
        if overwrite and folder.exists():
            os.replace(folder, Path(scratch) / "replaced")
        try:
            os.replace(whole, folder)
        except OSError:
            if not _holds(folder, files):  # Unless another process has just written the same corpus.
                raise
            if images and not (folder / "images").exists():
                os.replace(whole / "images", folder / "images")
    return folder


def _holds(folder: Path, files: dict[str, str]) -> bool:
    return all(
        (folder / path).is_file() and (folder / path).read_bytes() == text.encode() for path, text in files.items()
    )


def _draw(corpus: DemoCorpus, folder: Path, track: Track) -> Path:
    """Draws the images into ``folder/images``; truncates the unreadable ones, and leaves out the missing ones."""
    from lightning_ita.demo.painting import render

    images = folder / "images"
    images.mkdir()
    tweets = [tweet for split in corpus.splits.values() for tweet in split if tweet.image != "missing"]
    for tweet in track(tweets):
        png = BytesIO()
        render(tweet.scene).save(png, format="PNG")
        content = png.getvalue()
        (images / f"{tweet.id}.png").write_bytes(content if tweet.image == "ok" else content[: len(content) // 3])
    return images

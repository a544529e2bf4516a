from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.store import ContextStore, Entry, StoredEngine
from lightning_ita.data.corpus import Corpus, image_ids
from lightning_ita.data.custom import Custom
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.errors import UserError
from lightning_ita.images.files import ImageError
from tests.conftest import write_corpus
from tests.images.scenes import noise


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus of three tweets, with the pictures of two of them beside it."""
    folder = write_corpus(tmp_path / "corpus")
    (folder / "images").mkdir()
    for image in ("train0", "valid1"):
        noise(len(image)).save(folder / "images" / f"{image}.jpg")
    return folder


def read(folder: Path, *parts: str, **source: object) -> Corpus:
    place = Source(data_dir=str(folder), **source)  # type: ignore[arg-type]
    dataset = Custom()
    return dataset.with_pictures(dataset.read(place), place, parts)


def test_pictures_beside_the_data_are_found_and_missing_ones_named(folder: Path) -> None:
    corpus = read(folder, "images")
    assert list(corpus.pictures) == ["train0", "valid1"]
    assert corpus.boxes is None
    assert corpus.warnings[-1] == "custom: 1 pictures are missing: test2"
    assert corpus.pictures["train0"].open().size == (40, 30)
    assert "images" in corpus.digests
    assert "boxes" not in corpus.digests


def test_a_corpus_whose_pictures_nobody_wants_has_none(folder: Path) -> None:
    corpus = read(folder)
    assert not corpus.pictures
    assert "images" not in corpus.digests


def test_the_digest_is_of_the_content_not_of_the_place(folder: Path, tmp_path: Path) -> None:
    digest = read(folder, "images").digests["images"]
    moved = tmp_path / "elsewhere" / "custom"
    moved.parent.mkdir()
    (folder / "images").rename(moved)
    assert read(folder, "images", image_dir=str(moved)).digests["images"] == digest
    assert read(folder, "images", image_dir=str(moved.parent)).digests["images"] == digest
    assert read(folder, "images", image_dir=str(moved.parent / "{dataset}")).digests["images"] == digest
    noise(99).save(moved / "train0.jpg")
    assert read(folder, "images", image_dir=str(moved)).digests["images"] != digest


def test_no_folder_of_pictures_is_an_error_with_the_remedy(folder: Path) -> None:
    (folder / "images").rename(folder / "pictures")
    with pytest.raises(UserError, match=r"no pictures of custom: looked for .*images.*--images DIR"):
        read(folder, "images")


def stored(path: Path, *engines: str) -> str:
    with ContextStore(path) as store:
        for name in engines:
            boxes = ((1.0, 2.0, 20.0, 25.0), (3.0, 3.0, 9.0, 9.0))
            reading = Reading(("dog", "ball"), (0.9, 0.8), () if name == "words" else boxes)
            store.write(StoredEngine("tag", name, "m", "1"), [Entry("train0", None, reading)])
    return str(path)


def test_boxes_of_a_detector_in_the_store_are_taken(folder: Path, tmp_path: Path) -> None:
    store = stored(tmp_path / "store.db", "detr")
    corpus = read(folder, "images", "boxes", context_store=store)
    assert corpus.boxes == {"train0": ((1.0, 2.0, 20.0, 25.0), (3.0, 3.0, 9.0, 9.0))}
    assert "boxes" in corpus.digests
    assert "1 pictures were not read by detr:m" in corpus.warnings[-1]
    assert "valid1" in corpus.warnings[-1]
    assert read(folder, "images", context_store=store).boxes is None


def test_without_boxes_in_the_store_there_are_none(folder: Path, tmp_path: Path) -> None:
    for name in ("words", "open_clip"):
        store = stored(tmp_path / f"{name}.db", name)
        assert read(folder, "images", "boxes", context_store=store).boxes is None


def test_of_two_detectors_one_is_chosen(folder: Path, tmp_path: Path) -> None:
    store = stored(tmp_path / "store.db", "detr", "yolo")
    with pytest.raises(UserError, match="several engines; choose one"):
        read(folder, "images", "boxes", context_store=store)
    assert read(folder, "images", "boxes", context_store=store, context_engines={"tag": "yolo"}).boxes


def test_the_demo_corpus_draws_what_it_would_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DemoConfig(train=12, valid=6, test=6, rate_missing=0.2, rate_unreadable=0.2)
    monkeypatch.setattr("lightning_ita.data.demo.DemoConfig", lambda: config)
    monkeypatch.setattr("lightning_ita.data.pictures.DemoConfig", lambda: config)
    drawn = Demo().with_pictures(Demo().read(Source()), Source(), ("images",))
    place = Source(data_dir=str(write(config, tmp_path / "demo", images=True)))
    on_disk = Demo().with_pictures(Demo().read(place), place, ("images",))
    assert 0 < len(drawn.pictures) < len(image_ids(drawn.splits))
    assert drawn.pictures.keys() == on_disk.pictures.keys()
    for name, picture in drawn.pictures.items():
        try:
            pixels = picture.open().tobytes()
        except ImageError:
            with pytest.raises(ImageError, match="damaged"):
                on_disk.pictures[name].open()
        else:
            assert on_disk.pictures[name].open().tobytes() == pixels
    assert replace(drawn, pictures={}).digests["images"] == drawn.digests["images"]

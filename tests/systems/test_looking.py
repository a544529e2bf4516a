"""A system that looks at pictures is planned, run, kept and asked, with frozen features and with trained ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lightning_ita.commands import ablate, sweep, train, work
from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, write
from lightning_ita.errors import UserError
from lightning_ita.images import features
from lightning_ita.images.vision import Vision
from lightning_ita.models import MODELS
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import from_values, to_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.riva import RIVAOptions
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.umt import UMTOptions
from lightning_ita.studies.cell import Cell
from tests.conftest import SHARED
from tests.images.scenes import noise
from tests.systems.looking import Looking, LookingOptions

pytest.importorskip("timm")
TYPES = ("PER", "LOC", "ORG", "MISC")


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODELS.add("looking", "tests.systems.looking:LookingOptions")
    yield
    del MODELS.entries["looking"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo corpus with its pictures; some are missing, some damaged."""
    config = DemoConfig(train=24, valid=12, test=12, rate_missing=0.1, rate_unreadable=0.1)
    return write(config, tmp_path_factory.mktemp("data") / "demo", images=True)


@pytest.fixture
def command(data: Path, tiny_encoder: str, tiny_vision: str) -> list[str]:
    options = [f"--data-dir={data}", f"--encoder={tiny_encoder}", "--preset=small", "--recipe.epochs=1"]
    return [*options, f"--vision.model={tiny_vision}", "--vision.crops=2"]


def model(tiny_encoder: str, tiny_vision: str, **vision: object) -> Looking:
    torch.manual_seed(0)
    options = LookingOptions(vision=Vision(tiny_vision, **{"crops": 2, **vision}))  # type: ignore[arg-type]
    return Looking(TYPES, options, Recipe(), tiny_encoder).eval()


def test_a_study_looks_once_and_says_what_it_could_not_see(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    study = [*command, "--systems=bert-crf,looking", "--cva=off,token", "--seeds=1", "--jobs=1", f"--out={out}"]
    assert ablate.main([*study, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "demo Looking+CVA (token), seed 1" in said
    assert "before them, one pass over the pictures: " in said
    assert not out.exists()
    looks: list[int] = []
    make = features.make_net
    monkeypatch.setattr(features, "make_net", lambda vision: (looks.append(1), make(vision))[1])
    assert ablate.main([*study, "--plan"]) == 0
    assert work.main([str(out)]) == 0
    assert len(looks) == 1
    said = capsys.readouterr().out
    assert "pictures cannot be read" in said
    assert ablate.main(study) == 0
    assert "Looking+CVA (token)" in (out / "table.md").read_text(encoding="utf-8")
    folder = next((out / "cells").glob("demo-looking-off*"))
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    counts = metrics["splits"]["train"]
    assert 0 < counts["without_picture"] < 24
    assert counts["without_crops"] == counts["without_picture"]
    warnings = " ".join(metrics["warnings"])
    assert "pictures are missing: " in warnings
    assert "pictures cannot be read: " in warnings
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    assert "images: " in config
    assert "vision: " in config
    without = next((out / "cells").glob("demo-bert-crf*")) / "config.yaml"
    assert "images: " not in without.read_text(encoding="utf-8")


def test_a_kept_model_takes_its_vision_model_along(
    command: list[str], tmp_path: Path, tiny_vision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--system=looking", "--keep-models=best", f"--out={tmp_path / 'runs'}"]
    assert train.main([*command, *options]) == 0
    place = capsys.readouterr().out.rpartition("model: ")[2].strip()
    moved = tmp_path / "moved"
    Path(place).rename(moved)
    config = json.loads((moved / "config.json").read_text(encoding="utf-8"))
    assert config["vision"]["model"] == config["options"]["vision"]["model"] == "timm:vision"
    assert str(Path(tiny_vision.partition(":")[2])) not in (moved / "config.json").read_text(encoding="utf-8")
    tagger = Tagger.from_pretrained(moved)
    noise(1).save(tmp_path / "a.png")
    shown, alone = tagger.predict(["Jordan in Chicago"] * 2, images=[tmp_path / "a.png", None])
    assert (shown.view, alone.view) == ("I+T", "T")
    tagger.save_pretrained(tmp_path / "again")
    assert Tagger.from_pretrained(tmp_path / "again").predict(["Jordan"], images=[noise(1)])[0].view == "I+T"
    (moved / "vision" / "config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(UserError, match="vision model 'timm:vision' of SHA-256"):
        Tagger.from_pretrained(moved)


@pytest.mark.parametrize("finetune", [False, True])
def test_views_differ_by_the_picture_alone(data: Path, tiny_encoder: str, tiny_vision: str, finetune: bool) -> None:
    tagger = model(tiny_encoder, tiny_vision, finetune=finetune)
    source = Source(data_dir=str(data))
    corpus = Demo().with_pictures(Demo().read(source), source, ("images", "boxes"))
    reads = tagger.inputs.read(corpus.splits["train"], corpus)
    batch = tagger.inputs.collate(reads)
    with torch.no_grad():
        together = tagger.states(batch, ("T", "I+T")).chunk(2)
        alone = [tagger.states(tagger.inputs.collate([read]), ("I+T",))[0] for read in reads]
    present = batch.visual.present  # type: ignore[attr-defined]
    assert 0 < int(present.sum()) < len(present)
    for row, state in enumerate(alone):
        words = batch.mask[row]
        torch.testing.assert_close(together[1][row][words], state[: int(words.sum())], rtol=1e-4, atol=1e-5)
        assert torch.equal(together[0][row][words], together[1][row][words]) == (not present[row])


def test_frozen_and_trained_features_start_the_same(data: Path, tiny_encoder: str, tiny_vision: str) -> None:
    source = Source(data_dir=str(data))
    corpus = Demo().with_pictures(Demo().read(source), source, ("images",))
    seen = []
    for finetune in (False, True):
        tagger = model(tiny_encoder, tiny_vision, finetune=finetune)
        batch = tagger.inputs.collate(tagger.inputs.read(corpus.splits["test"], corpus))
        with torch.no_grad():
            seen.append(tagger.vision(batch.visual))  # type: ignore[attr-defined]
    torch.testing.assert_close(seen[0].regions, seen[1].regions, rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(seen[0].crops, seen[1].crops, rtol=2e-3, atol=2e-3)
    assert torch.equal(seen[0].crop_mask, seen[1].crop_mask)
    assert torch.equal(seen[0].present, seen[1].present)


def test_a_trained_vision_model_learns_at_the_encoders_rate_and_is_kept(
    command: list[str], tmp_path: Path, tiny_encoder: str, tiny_vision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tagger = model(tiny_encoder, tiny_vision, finetune=True)
    groups = tagger.parameter_groups()
    own = {id(parameter) for parameter in tagger.vision.parameters()}
    assert own
    assert own <= {id(parameter) for parameter in groups["encoder"]}
    options = ["--system=looking", "--keep-models=best", "--vision.finetune", f"--out={tmp_path / 'runs'}"]
    assert train.main([*command, *options]) == 0
    place = capsys.readouterr().out.rpartition("model: ")[2].strip()
    trained = Tagger.from_pretrained(place)
    before = dict(tagger.vision.named_parameters())
    moved = [not torch.equal(value, before[name]) for name, value in trained.vision.named_parameters()]  # type: ignore[union-attr, operator]
    assert all(moved)
    assert trained.predict(["Jordan"], images=[noise(2)])[0].view == "I+T"


def test_predict_reads_files_bytes_and_images_alike(tiny_encoder: str, tiny_vision: str, tmp_path: Path) -> None:
    tagger = model(tiny_encoder, tiny_vision)
    noise(3).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    results = tagger.predict(["Jordan in Chicago"] * 3, images=[str(tmp_path / "a.png"), data, noise(3)])
    first = results[0].to_dict()
    assert first["view"] == "I+T"
    assert all(result.to_dict() == first for result in results)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("nowhere.png", "post 1: its picture cannot be read: No such file"),
        (b"<html>", "post 1: its picture cannot be read: not an image but an HTML page"),
        (3, "post 1: its picture is a int: expected a file"),
    ],
)
def test_a_picture_that_cannot_be_read_is_an_error(
    tiny_encoder: str, tiny_vision: str, image: object, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        model(tiny_encoder, tiny_vision).predict(["a", "b"], images=[noise(1), image])  # type: ignore[list-item]


def test_a_damaged_file_is_an_error_or_told(tiny_encoder: str, tiny_vision: str, tmp_path: Path) -> None:
    from lightning_ita.models.predicting import predict

    tagger, bad = model(tiny_encoder, tiny_vision), tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8\xff\xe0 damaged")
    with pytest.raises(UserError, match="post 0: its picture cannot be read"):
        tagger.predict(["Jordan"], images=[bad])
    told: dict[int, str] = {}
    images = [bad, noise(1), tmp_path / "no.jpg"]
    tagged = predict(tagger, ["Jordan"] * 3, images=images, unreadable=told.__setitem__)
    assert told.keys() == {0, 2}
    assert [each.view for each in tagged] == ["T", "I+T", "T"]


def test_a_system_that_looks_at_nothing_takes_no_pictures(tiny_encoder: str) -> None:
    tagger = Tagger.create("bert-crf", TYPES, encoder=tiny_encoder)
    with pytest.raises(UserError, match="BERT-CRF does not look at pictures"):
        tagger.predict(["a"], images=[noise(1)])


def test_options_are_values_and_back(tiny_vision: str) -> None:
    options = LookingOptions(cva="token", vision=Vision(tiny_vision, 3, True))
    assert from_values(to_values(options)) == options
    assert from_values({"system": "looking", "vision": {"crops": 1}}).vision == Vision(crops=1)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"unknown option of vision 'crop'.*crops"):
        from_values({"system": "looking", "vision": {"crop": 1}})


def test_what_is_published_of_options_names_no_folder(tiny_vision: str, tmp_path: Path) -> None:
    folder = Path(tiny_vision.partition(":")[2])
    options = RIVAOptions(vision=Vision(tiny_vision, crops=2), relations=str(tmp_path / "data.csv"))
    vision = Vision(f"timm:{folder.name}", crops=2)
    assert options.without_folders() == replace(options, vision=vision, relations="data.csv")
    for named in (UMTOptions(vision=Vision("timm:resnet18")), ITAOptions(contexts=("cap",)), RIVAOptions()):
        assert named.without_folders() == named


def test_an_identity_is_of_pictures_and_vision_model(tiny_vision: str) -> None:
    digests = {"train": "1", "valid": "2", "test": "3", "images": "4", "boxes": "5"}

    def identity(vision: Vision, **changed: str) -> str:
        return Cell(options=LookingOptions(vision=vision)).resolve({**digests, **changed}).identity

    whole, parts = Vision(tiny_vision), Vision(tiny_vision, crops=2)
    assert identity(whole) == identity(whole, boxes="6") != identity(whole, images="7")
    assert identity(parts) != identity(parts, boxes="6")
    assert len({identity(whole), identity(parts), identity(Vision(tiny_vision, finetune=True))}) == 3
    text = Cell().resolve({**digests, "cap": "8", "tag": "9"})
    assert not {"images", "boxes", "vision"} & text.data.keys()


def test_options_of_one_system_go_before_those_of_all(command: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    study = [*command, "--systems=looking", "--cva=off", "--seeds=1", f"--out={out}", "--looking.vision.crops=1"]
    assert ablate.main([*study, "--plan"]) == 0
    (line,) = (out / "plan.jsonl").read_text(encoding="utf-8").splitlines()
    vision = json.loads(line)["config"]["looking"]["vision"]
    assert vision["crops"] == 1
    assert vision["model"].startswith("timm:/")
    assert vision["finetune"] is False


def test_crops_are_searched(command: list[str], tmp_path: Path) -> None:
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {looking.vision.crops: {values: [0, 1]}}", encoding="utf-8")
    options = ["--system=looking", f"--space={space}", "--trials=2", "--top=0", "--jobs=1"]
    assert sweep.main([*command, *options, f"--out={tmp_path / 'sweep'}"]) == 0
    assert "looking.vision.crops" in (tmp_path / "sweep" / "sweep.md").read_text(encoding="utf-8")


@pytest.mark.skipif(not (SHARED / "tweets-with-images").is_dir(), reason="needs the tweets with images")
def test_real_tweets_with_their_images(tiny_encoder: str, tiny_vision: str, tmp_path: Path) -> None:
    options = [f"--encoder={tiny_encoder}", f"--vision.model={tiny_vision}", "--preset=small", "--recipe.epochs=1"]
    place = ["--dataset=custom", f"--data-dir={SHARED / 'tweets-with-images'}", f"--out={tmp_path}"]
    assert train.main([*place, *options, "--system=looking"]) == 0
    metrics = json.loads(next(tmp_path.glob("*/metrics.json")).read_text(encoding="utf-8"))
    assert {split: counts["without_picture"] for split, counts in metrics["splits"].items()} == {
        "train": 0,
        "valid": 0,
        "test": 0,
    }

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lightning_ita.errors import UserError
from lightning_ita.images import features as module
from lightning_ita.images.crops import parts_of
from lightning_ita.images.features import Features, Request
from lightning_ita.images.nets import make_net
from lightning_ita.images.pictures import PictureFile, PictureImage, pictures_in, read_picture
from lightning_ita.images.vision import Vision
from tests.images.scenes import noise, saved

pytest.importorskip("timm")


@pytest.fixture(scope="module")
def requests(tmp_path_factory: pytest.TempPathFactory) -> list[Request]:
    """Five pictures with two crops each; the fourth is damaged."""
    folder = tmp_path_factory.mktemp("pictures")
    pictures = [saved(folder, seed) for seed in range(5)]
    pictures[3].path.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    pictures[3] = read_picture("3", pictures[3].path)
    return [Request(picture, tuple(parts_of(2, None))) for picture in pictures]


def test_features_are_the_models_in_half_precision(tiny_vision: str, requests: list[Request]) -> None:
    vision = Vision(tiny_vision, crops=2)
    features, net = Features(vision), make_net(vision)
    rows = features.rows(requests)
    assert rows[3] is None
    assert list(features.failed) == ["3"]
    assert features.warnings() == [f"1 pictures cannot be read: 3 ({features.failed['3']})"]
    assert features.cannot_read(requests[3])
    assert not features.cannot_read(requests[0])
    whole, *crops = rows[0] or []
    assert whole.dtype == torch.float16
    assert whole.shape == (features.regions, features.channels)
    parts = [torch.tensor(part)[None] for _, part in Features(vision)._open(requests[0])]
    with torch.no_grad():
        grids = [net(part)[0] for part in parts]
    torch.testing.assert_close(whole.float(), grids[0], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(crops[1].float(), grids[2].mean(0), rtol=2e-3, atol=2e-3)


def test_a_second_pass_makes_nothing_and_reads_the_same(
    tiny_vision: str, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision, told = Vision(tiny_vision, crops=2), []
    first = Features(vision, tmp_path)
    first.prepare(requests, lambda *progress: told.append(progress))
    assert told == [(5, 5)]
    rows = first.rows(requests)
    monkeypatch.setattr(module, "make_net", lambda vision: pytest.fail("looked again"))
    again = Features(vision, tmp_path)
    again.prepare(requests)
    for one, two in zip(rows, again.rows(requests), strict=True):
        assert (one is None) == (two is None)
        assert all(torch.equal(a, b) for a, b in zip(one or (), two or (), strict=True))
    fewer = Features(Vision(tiny_vision, crops=0), tmp_path)
    assert fewer.missing([Request(requests[0].picture)]) == []


def test_looking_leaves_what_is_drawn_next_as_it_is(tiny_vision: str, requests: list[Request]) -> None:
    state = torch.get_rng_state()
    Features(Vision(tiny_vision)).prepare(requests)
    assert torch.equal(torch.get_rng_state(), state)  # or a system would begin otherwise where features are kept


def test_what_decides_features_has_a_folder_of_its_own(tiny_vision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setups = {Features(Vision(tiny_vision)).setup, Features(Vision(tiny_vision, finetune=True)).setup}
    assert Features(Vision(tiny_vision, crops=3)).setup in setups
    monkeypatch.setattr(module, "PREPROCESSING", 99)
    setups.add(Features(Vision(tiny_vision)).setup)
    monkeypatch.setattr(module, "version", lambda package: "0")
    setups.add(Features(Vision(tiny_vision)).setup)
    monkeypatch.setattr(module, "version", lambda package: "1" if package == "timm" else "0")
    setups.add(Features(Vision(tiny_vision)).setup)
    assert len(setups) == 5


def test_a_picture_that_cannot_be_read_is_told_apart_from_another_of_its_name(
    tiny_vision: str, requests: list[Request], tmp_path: Path
) -> None:
    (tmp_path / "page.png").write_bytes(b"<html>")
    pages = [Request(read_picture(name, tmp_path / "page.png")) for name in ("3", "5")]
    features = Features(Vision(tiny_vision))
    assert features.rows([requests[3], *pages]) == [None] * 3
    first, *others = (features.reason(each) for each in (requests[3], *pages, requests[0]))
    assert first.startswith("damaged: ")
    assert others == [*["not an image but an HTML page, as a failed download leaves it"] * 2, ""]


def test_numbers_do_not_depend_on_what_else_is_missing(
    tiny_vision: str, requests: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Features(Vision(tiny_vision, crops=2)).rows(requests)
    for request, expected in zip(requests, together, strict=True):
        alone = Features(Vision(tiny_vision, crops=2)).rows([request])[0]
        assert all(torch.equal(a, b) for a, b in zip(alone or (), expected or (), strict=True))


def test_a_pass_that_was_stopped_goes_on(
    tiny_vision: str, requests: list[Request], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PICTURES_PER_FILE", 2)
    features = Features(Vision(tiny_vision, crops=2), tmp_path)

    def stop(done: int, total: int) -> None:
        if done >= 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        features.prepare(requests, stop)
    assert features.folder is not None
    (features.folder / ".part-left").write_bytes(b"half")
    again = Features(Vision(tiny_vision, crops=2), tmp_path)
    assert [request.picture.name for request in again.missing(requests)] == ["2", "3", "4"]
    again.prepare(requests)
    assert sorted(path.suffix for path in again.folder.iterdir()) == [
        "",
        ".safetensors",
        ".safetensors",
        ".safetensors",
    ]
    whole = Features(Vision(tiny_vision, crops=2)).rows(requests)
    for one, two in zip(again.rows(requests), whole, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one or (), two or (), strict=True))


def test_a_file_damaged_from_outside_is_made_again(tiny_vision: str, requests: list[Request], tmp_path: Path) -> None:
    features = Features(Vision(tiny_vision), tmp_path)
    features.prepare(requests[:1])
    assert features.folder is not None
    (file,) = features.folder.glob("*.safetensors")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    again = Features(Vision(tiny_vision), tmp_path)
    again.prepare(requests[:1])
    assert file.read_bytes() == whole


SCRIPT = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from lightning_ita.images.crops import parts_of
from lightning_ita.images.features import Features, Request
from lightning_ita.images.pictures import pictures_in
from lightning_ita.images.vision import Vision
import lightning_ita.images.features as module
module.PICTURES_PER_FILE = 2
model, folder, cache = sys.argv[1:]
found, _ = pictures_in(Path(folder), [str(n) for n in range(5)])
Features(Vision(model, 2), Path(cache)).prepare([Request(p, tuple(parts_of(2, None))) for p in found.values()])
"""


def test_several_processes_share_one_pass(tiny_vision: str, requests: list[Request], tmp_path: Path) -> None:
    picture = requests[0].picture
    assert isinstance(picture, PictureFile)
    command = [sys.executable, "-c", SCRIPT, tiny_vision, str(picture.path.parent), str(tmp_path)]
    workers = [subprocess.Popen(command, cwd=Path(__file__).parents[2]) for _ in range(2)]
    assert [worker.wait() for worker in workers] == [0, 0]
    features = Features(Vision(tiny_vision, crops=2), tmp_path)
    assert [request.picture.name for request in features.missing(requests)] == ["3"]
    assert features.folder is not None
    assert len(list(features.folder.glob("*.safetensors"))) == 3  # five pictures, two per file, one damaged: none twice


def test_pixels_are_kept_where_the_model_is_trained(tiny_vision: str, requests: list[Request]) -> None:
    features = Features(Vision(tiny_vision, crops=1, finetune=True))
    whole, crop = features.rows([Request(requests[0].picture, tuple(parts_of(1, None)))])[0] or []
    assert whole.dtype == crop.dtype == torch.uint8
    assert whole.shape == crop.shape == (3, features.size, features.size)
    assert features.flop == 0


def test_they_pickle_without_the_model(tiny_vision: str, requests: list[Request], tmp_path: Path) -> None:
    features = Features(Vision(tiny_vision), tmp_path)
    rows = features.rows([Request(requests[0].picture)])[0] or []
    state = pickle.dumps(features)
    assert len(state) < 5000
    again = pickle.loads(state).rows([Request(requests[0].picture)])[0]
    assert torch.equal(rows[0], again[0])


def test_a_stream_does_not_fill_memory(tiny_vision: str) -> None:
    features = Features(Vision(tiny_vision))
    for seed in range(4):
        features.rows([Request(PictureImage(f"post {seed}", noise(seed)))])
    assert not features._rows
    assert len(features._recent) == 1


def test_threads_may_ask_at_once(tiny_vision: str, requests: list[Request]) -> None:
    features, found = Features(Vision(tiny_vision, crops=2)), []
    good = [request for request in requests if request.picture.name != "3"]
    threads = [threading.Thread(target=lambda: found.append(features.rows(good))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(row is not None for rows in found for row in rows)


def test_a_picture_that_changes_is_noticed(tmp_path: Path, tiny_vision: str) -> None:
    picture = saved(tmp_path, 1)
    noise(2).save(picture.path)
    with pytest.raises(UserError, match="was changed while it was in use"):
        Features(Vision(tiny_vision)).rows([Request(picture)])


class TestFolder:
    def test_pictures_are_found_by_id_and_the_rest_is_told_apart(self, tmp_path: Path) -> None:
        (tmp_path / "below").mkdir()
        saved(tmp_path, 1, "one")
        saved(tmp_path / "below", 2, "two")
        (tmp_path / "empty.jpg").touch()
        os.symlink(tmp_path / "nothing", tmp_path / "gone.png")
        found, failed = pictures_in(tmp_path, ["one", "two", "empty", "gone", "never"])
        assert found.keys() == {"one", "two", "empty"}  # that it is empty is seen when it is opened
        assert failed.keys() == {"gone"}

    def test_two_different_pictures_of_one_id_are_refused(self, tmp_path: Path) -> None:
        saved(tmp_path, 1, "one")
        noise(1).save(tmp_path / "one.bmp")
        with pytest.raises(UserError, match="two different pictures have the id 'one'"):
            pictures_in(tmp_path, ["one"])

    def test_the_folder_of_another_corpus_is_noticed(self, tmp_path: Path) -> None:
        saved(tmp_path, 1, "one")
        with pytest.raises(UserError, match="none of its 1 pictures is a tweet's: it has 'one', tweets have '17_06'"):
            pictures_in(tmp_path, ["17_06"])

"""Studies go to a store and come from there: a folder, memory, and a server that speaks S3, where moto is installed."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.commands import sync as command
from lightning_ita.errors import UserError
from lightning_ita.studies import syncing
from lightning_ita.studies.plan import read_plan
from lightning_ita.studies.study import claim, collect
from lightning_ita.studies.syncing import MANIFEST, sync
from tests.studies.studies import write_cells, write_study


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a bucket on a server of this machine."""
    for name in ("s3fs", "moto.server"):
        pytest.importorskip(name)
    moto, s3fs = importlib.import_module("moto.server"), importlib.import_module("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().mkdir("bucket")
    yield "s3://bucket/studies/one"
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def files(out: Path) -> dict[str, bytes]:
    paths = [path for path in (out / "cells").rglob("*") if path.is_file() and path.name != MANIFEST]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


def test_two_machines_share_a_study(tmp_path: Path) -> None:
    share(tmp_path, str(tmp_path / "store"))


def test_two_machines_share_a_study_by_s3(server: str, tmp_path: Path) -> None:
    share(tmp_path, server)


def share(place: Path, url: str) -> None:
    """One machine has all cells but two, another has none; each gets what the other has."""
    one, other = place / "one", place / "other"
    cells = write_study(one, seeds=(1, 2), missing=(("token", 1), ("token", 2)))
    write_study(other, seeds=(3,))
    (other / "study.json").write_bytes((one / "study.json").read_bytes())
    copied = sync(one, url)
    assert (len(copied.sent), copied.fetched, copied.there) == (4, (), 0)
    copied = sync(other, url)
    assert (len(copied.sent), len(copied.fetched), copied.there) == (3, 4, 0)
    assert (len(sync(one, url).fetched), sync(one, url)) == (3, syncing.Copied((), (), 7))
    assert files(one) == files(other)
    assert {cell.name for cell in read_plan(one)} == {cell.name for cell in read_plan(other)}
    assert {cell.name for cell in cells} < {cell.name for cell in read_plan(other)}

    new = place / "new"
    assert command.main([str(new), url, "--only=fetch"]) == 0
    assert files(new) == files(one)
    assert [result.left for result in collect(read_plan(new), new)].count(True) == 2


def test_what_came_damaged_is_not_put_in_place(tmp_path: Path) -> None:
    cells = write_study(tmp_path / "one", seeds=(1,))
    sync(tmp_path / "one", str(tmp_path / "store"))
    path = tmp_path / "store" / "cells" / cells[0].name / "predictions.test.jsonl"
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(UserError, match=r"predictions.test.jsonl: SHA-256 expected .*, found .*; delete .* there"):
        sync(tmp_path / "new", str(tmp_path / "store"))
    assert not (tmp_path / "new" / "cells" / cells[0].name).exists()


def rewrite(folder: Path, name: str, **values: Any) -> None:
    content = json.loads((folder / name).read_text(encoding="utf-8"))
    (folder / name).write_text(json.dumps({**content, **values}), encoding="utf-8")


def test_cells_with_other_results_on_both_sides_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, store = tmp_path / "one", tmp_path / "store"
    names = [cell.name for cell in write_study(one, seeds=(1,))]
    sync(one, str(store))
    rewrite(one / "cells" / names[0], "metrics.json", seconds=7.0)  # run elsewhere, with the same result
    rewrite(one / "cells" / names[1], "metrics.json", test={})
    assert sync(one, str(store)) == syncing.Copied((), (), 3, (names[1],))
    assert command.main([str(one), str(store)]) == 0
    assert f"{names[1]} has other results here than there; remove" in capsys.readouterr().out


def test_nothing_is_replaced_whatever_code_it_was_measured_with(tmp_path: Path) -> None:
    one, two, store = tmp_path / "one", tmp_path / "two", tmp_path / "store"
    name = write_study(one, seeds=(1,))[0].name
    sync(one, str(store))
    sync(two, str(store))
    rewrite(two / "cells" / name, "environment.json", code="0" * 64)
    rewrite(two / "cells" / name, "metrics.json", test={})
    before = files(store)
    for folder in (one, two):
        assert not sync(folder, str(store)).sent
    assert sync(two, str(store)).different == (name,)
    assert files(store) == before


def test_a_study_that_cannot_be_written_is_sent(tmp_path: Path) -> None:
    out = tmp_path / "study"
    write_study(out, seeds=(1,))
    (out / "locks" / "plan.lock").mkdir(parents=True)  # cannot be locked, whoever asks
    assert len(sync(out, str(tmp_path / "store"), fetch=False).sent) == 3


def test_a_cell_without_its_manifest_is_sent_again(tmp_path: Path) -> None:
    cells = write_study(tmp_path / "one", seeds=(1,))
    sync(tmp_path / "one", str(tmp_path / "store"))
    (tmp_path / "store" / "cells" / cells[0].name / MANIFEST).unlink()
    assert len(sync(tmp_path / "new", str(tmp_path / "store")).fetched) == len(cells) - 1
    assert sync(tmp_path / "one", str(tmp_path / "store")).sent == (cells[0].name,)


@pytest.mark.parametrize("name", ["../../evil", "/evil"])
def test_a_manifest_does_not_lead_elsewhere(name: str, tmp_path: Path) -> None:
    cells = write_study(tmp_path / "one", seeds=(1,))
    sync(tmp_path / "one", str(tmp_path / "store"))
    manifest = tmp_path / "store" / "cells" / cells[0].name / MANIFEST
    manifest.write_text(json.dumps({"sha256": {name: "0" * 64}}), encoding="utf-8")
    with pytest.raises(UserError, match="names files outside of its cell"):
        sync(tmp_path / "new", str(tmp_path / "store"))


def test_a_cell_that_another_process_runs_is_left_to_it(tmp_path: Path) -> None:
    cells = write_study(tmp_path / "one", seeds=(1,))
    sync(tmp_path / "one", str(tmp_path / "store"))
    (tmp_path / "new" / "locks").mkdir(parents=True)
    with claim(cells[0].name, tmp_path / "new"):
        assert cells[0].name not in sync(tmp_path / "new", str(tmp_path / "store")).fetched


def test_a_study_that_grew_on_both_sides_is_united(tmp_path: Path) -> None:
    one, other, store = tmp_path / "one", tmp_path / "other", tmp_path / "store"
    write_study(one, seeds=(1,), kinds=("cap",))
    sync(one, str(store))
    sync(other, str(store))
    shutil.rmtree(one)
    shutil.rmtree(other)
    write_study(one, seeds=(1,), kinds=("cap", "tag"))
    write_study(other, seeds=(1,), kinds=("cap", "ocr"), datasets=("twitter15", "twitter17"))
    sync(one, str(store))
    before = (store / "study.json").read_bytes()
    sync(other, str(store), send=False)
    assert (store / "study.json").read_bytes() == before
    sync(other, str(store))
    sync(one, str(store))
    assert files(one) == files(other) == files(store)
    data = json.loads((one / "study.json").read_text(encoding="utf-8"))["data"]
    assert {name: set(digests) - {"train", "valid", "test"} for name, digests in data.items()} == {
        "twitter15": {"cap", "tag", "ocr"},
        "twitter17": {"cap", "ocr"},
    }
    for place in (other, store):
        assert json.loads((place / "study.json").read_text(encoding="utf-8"))["data"] == data
    assert {cell.name for cell in read_plan(one)} == {cell.name for cell in read_plan(other)}


@pytest.mark.parametrize("what", ["data sets", "cap", "batch_size"])
def test_another_study_is_refused(what: str, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    write_study(one, seeds=(1,))
    write_study(other, datasets=("twitter17" if what == "data sets" else "twitter15",), seeds=(1,))
    study = json.loads((other / "study.json").read_text(encoding="utf-8"))
    if what == "cap":
        study["data"]["twitter15"]["cap"] = "0" * 64
    elif what == "batch_size":
        study["settings"]["batch_size"] = 7
    (other / "study.json").write_text(json.dumps(study), encoding="utf-8")
    sync(one, str(tmp_path / "store"))
    expected = {
        "data sets": r"data sets \(twitter15 there, twitter17 here\)",
        "cap": r"twitter15's cap \(SHA-256 capcapca… there, 00000000… here\)",
        "batch_size": r"batch_size \(16 there, 7 here\)",
    }
    with pytest.raises(UserError, match=rf"store holds another study than .*other: it differs in {expected[what]}. Ch"):
        sync(other, str(tmp_path / "store"))


def test_a_study_with_another_encoder_of_the_same_name_is_refused(tmp_path: Path) -> None:
    url, one, other = str(tmp_path / "store"), tmp_path / "one", tmp_path / "other"
    for out, digest in ((one, "a" * 64), (other, "b" * 64)):
        cells = [
            replace(cell, encoder="mine", data={**cell.data, "encoder": digest})
            for cell in write_study(tmp_path / f"cells-{out.name}", seeds=(1,))
        ]
        write_cells(out, cells, {"twitter15": {out.name: digest}})
    sync(one, url)
    before = (other / "study.json").read_bytes()
    with pytest.raises(UserError, match=r"differs in the content of the encoder 'mine' \(SHA-256 a+… there, b+… now"):
        sync(other, url)
    assert {cell.data["encoder"] for cell in read_plan(other)} == {"b" * 64}
    assert (other / "study.json").read_bytes() == before


def test_cells_of_a_system_that_is_not_installed_here_are_copied(tmp_path: Path) -> None:
    one, other, store = tmp_path / "one", tmp_path / "other", tmp_path / "store"
    write_study(one, seeds=(1,))
    plan = (one / "plan.jsonl").read_text(encoding="utf-8")
    (one / "plan.jsonl").write_text(plan.replace('"ita"', '"elsewhere"'), encoding="utf-8")
    sync(one, str(store))
    sync(other, str(store))
    assert files(one) == files(other) == files(store)


def test_there_is_no_study(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no study, neither in"):
        sync(tmp_path / "none", str(tmp_path / "store"))
    with pytest.raises(UserError, match="--only up: expected send or fetch"):
        command.main(["study", "store", "--only=up"])


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(UserError, match=r"s3fs.*lightning-ita\[s3\]"):
        sync(tmp_path, "s3://bucket/study")
    with pytest.raises(UserError, match="nowhere://"):
        sync(tmp_path, "nowhere://bucket/study")

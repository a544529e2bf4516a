"""The real command over a small study with a tiny encoder."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from lightning_ita.commands import ablate, train, work
from lightning_ita.commands.cli import guard
from lightning_ita.demo import DemoConfig, write
from lightning_ita.errors import UserError
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import to_values
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import scoring
from lightning_ita.studies.published import counterpart, published
from lightning_ita.studies.study import part_of
from lightning_ita.studies.tables.ablation import STALE_MARK
from tests.studies.studies import write_study


@pytest.fixture
def arguments(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    out = tmp_path / "out"
    options = {"data-dir": corpus, "encoder": tiny_encoder, "out": out, "preset": "small", "recipe.epochs": 1}
    return [f"--{name}={value}" for name, value in options.items()]


@pytest.fixture
def study(arguments: list[str]) -> list[str]:
    """Arguments of a study that runs in this process, so that tests can reach into it."""
    return [*arguments, "--jobs=1"]


def cells(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "cells").iterdir())


def test_a_study_is_planned_run_and_never_run_again(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*study, "--contexts=tag,cap,ocr", "--cva=off,joint,token,sequence", "--seeds=1"]
    assert ablate.main(command) == 0
    first = capsys.readouterr().out
    assert len(cells(tmp_path)) == 1 + 4 * 4
    with (tmp_path / "out" / "table.csv").open(encoding="utf-8") as file:
        systems = list(dict.fromkeys(line["system"] for line in csv.DictReader(file)))
    modes = ["", ", joint", "+CVA (token)", "+CVA (sequence)"]
    rows = [f"ITA-{name}{mode}" for name in ("OCR", "Cap", "Tag", "All") for mode in modes]
    assert systems == ["BERT-CRF", *rows]
    assert all(row in first for row in rows)

    tables = {name: (tmp_path / "out" / name).read_bytes() for name in ("table.md", "table.csv", "cells.csv")}
    monkeypatch.setattr(Tagger, "training_step", lambda *_: pytest.fail("a finished cell was trained again"))
    assert ablate.main(command) == 0
    again = capsys.readouterr().out
    assert again[again.index("demo") :] in first
    assert tables == {name: (tmp_path / "out" / name).read_bytes() for name in tables}


def test_a_killed_study_goes_on_and_ends_with_the_same_table(
    study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [*study, "--contexts=cap", "--seeds=1"]
    undisturbed = [*command, f"--out={tmp_path / 'undisturbed'}"]
    assert ablate.main(undisturbed) == 0

    score = scoring.score
    calls = []

    def killed(*args: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return score(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        ablate.main(command)
    assert any(folder.name.endswith(".part") for folder in cells(tmp_path))
    assert ablate.main(command) == 0
    assert not any(folder.name.endswith(".part") for folder in cells(tmp_path))
    for name in ("table.md", "table.csv"):
        assert (tmp_path / "out" / name).read_text() == (tmp_path / "undisturbed" / name).read_text()
    predictions = [sorted((tmp_path / o / "cells").glob("*/predictions.test.jsonl")) for o in ("out", "undisturbed")]
    assert [path.read_text() for path in predictions[0]] == [path.read_text() for path in predictions[1]]


def test_two_processes_run_each_cell_once(arguments: list[str], tmp_path: Path) -> None:
    command = [*arguments, "--contexts=cap", "--cva=off", "--seeds=1,2,3"]
    assert ablate.main([*command, "--jobs=1", f"--out={tmp_path / 'alone'}"]) == 0
    assert ablate.main([*command, "--jobs=2"]) == 0
    assert len(cells(tmp_path)) == 6
    assert (tmp_path / "out" / "table.md").read_text() == (tmp_path / "alone" / "table.md").read_text()


def test_a_dry_run_runs_nothing(study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ablate.main([*study, "--contexts=tag,cap", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "14 cells, " in shown
    assert not (tmp_path / "out").exists()


def test_contexts_that_nothing_reads_are_told(
    study: list[str], tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = next(corpus.rglob("*.cap.*jsonl"))
    assert ablate.main([*study, "--contexts=cap", "--dry-run", "--context-files", f"cpa1={path}"]) == 0
    assert f"note: --context-files cpa1={path} is not read: the contexts here are cap" in capsys.readouterr().out


def test_options_that_nothing_follows_are_told(
    arguments: list[str], study: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--ita.teacher=average", "--umgf.width=8", "--vision.crops=2", "--types=PER,LOC"]
    assert ablate.main([*study, "--contexts=cap", "--cva=token", "--dry-run", *options]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: --")] == [
        "note: --types is not read: it is for a corpus of your own, --dataset custom",
        "note: --umgf.width is not read by bert-crf, ita",
        "note: --vision.crops is not read by bert-crf, ita",
    ]
    data = ["--images=DIR", "--context-store=STORE", "--context-engines", "tag=x", "cap=y"]
    assert ablate.main([*study, "--systems=bert-crf", "--contexts=ocr", "--cva=joint", "--dry-run", *data]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: --")] == [
        "note: --context-engines tag=x is not read: no contexts are read here",
        "note: --context-engines cap=y is not read: no contexts are read here",
        "note: --context-store STORE is not read: no contexts are read here",
        "note: --images DIR is not read: no system here looks at pictures",
        "note: --contexts ocr is read by no system here",
        "note: --cva joint is followed by no system here",
    ]
    with pytest.raises(UserError, match="options of umt and umgf: choose one of them with --system"):
        train.main([*arguments, "--umt.dropout=0.2", "--umgf.width=8"])


def test_a_worker_fails_no_cell_for_data_that_are_not_there(
    study: list[str], tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, away = tmp_path / "mine.jsonl", tmp_path / "away.jsonl"
    shutil.copy(next(corpus.rglob("*.cap.*jsonl")), mine)
    monkeypatch.chdir(tmp_path)
    options = ["--systems=ita", "--contexts=cap", "--cva=off", "--seeds=1"]
    assert ablate.main([*study, *options, "--context-files=cap=mine.jsonl", "--plan"]) == 0
    monkeypatch.chdir(corpus)  # the plan names its files from any folder, and --data-dir leaves contexts as they are
    mine.rename(away)
    with pytest.raises(UserError, match=r"cap=.*mine.jsonl: no such file"):
        work.main([str(tmp_path / "out"), f"--data-dir={corpus}"])
    assert not list((tmp_path / "out" / "failed").iterdir())
    away.rename(mine)
    assert work.main([str(tmp_path / "out"), f"--data-dir={corpus}"]) == 0
    assert len(cells(tmp_path)) == 1


def test_work_on_a_finished_study_needs_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_study(tmp_path, seeds=(1,))
    assert not (tmp_path / "source.json").exists()
    assert work.main([str(tmp_path)]) == 0
    assert "ITA-Cap+CVA (token)" in capsys.readouterr().out
    assert (tmp_path / "table.md").exists()


def test_a_dry_run_tells_what_is_finished(study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*study, "--contexts=cap", "--cva=off"]
    assert ablate.main([*command, "--seeds=1"]) == 0
    capsys.readouterr()
    assert ablate.main([*command, "--seeds=1,2", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "4 cells, 2 finished, " in shown
    last = [line.split()[-1] for line in shown.splitlines() if ", seed " in line]
    assert [column == "finished" for column in last] == [True, True, False, False]
    assert len(cells(tmp_path)) == 2


def test_a_study_may_grow_but_not_change(
    study: list[str], tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ablate.main([*study, "--contexts=cap", "--cva=off", "--seeds=1"])
    finished = cells(tmp_path)
    assert ablate.main([*study, "--contexts=cap,tag", "--cva=off", "--seeds=1,2"]) == 0
    assert set(finished) < set(cells(tmp_path))
    assert len(cells(tmp_path)) == 8
    with pytest.raises(SystemExit):
        fail(["ablate", *study, "--contexts=cap", "--recipe.batch_size=8"])
    assert "holds another study: it differs in batch_size (16 there, 8 now)" in capsys.readouterr().err
    other = tmp_path / "data" / "demo"
    write(DemoConfig(train=24, valid=12, test=12, seed=5), other)
    with pytest.raises(SystemExit):
        fail(["ablate", *study, "--contexts=cap", f"--data-dir={other}"])
    assert "differs in demo's train (SHA-256" in capsys.readouterr().err


def fail(argv: list[str]) -> None:
    guard(lambda _: {"ablate": ablate.main, "train": train.main}[argv[0]](argv[1:]))


def test_a_cell_whose_loss_is_no_number_leaves_a_gap(
    study: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = Tagger.loss

    def diverges(self: Tagger, losses: object) -> object:
        return loss(self, losses) * (float("nan") if self.options.training == "token" else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(Tagger, "loss", diverges)
    assert ablate.main([*study, "--contexts=cap", "--seeds=1"]) == 1
    shown = capsys.readouterr().out
    assert "failed: demo ITA-Cap+CVA (token), seed 1: the loss became nan in epoch 1, step 1" in shown
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "| ITA-Cap+CVA (token) | – | – | – | – | 0/1 (1 failed) |" in table
    (log,) = (tmp_path / "out" / "failed").iterdir()
    assert "NonFiniteLossError" in log.read_text(encoding="utf-8")
    assert str(log) in shown

    monkeypatch.setattr(Tagger, "loss", loss)
    assert ablate.main([*study, "--contexts=cap", "--seeds=1"]) == 1
    assert "1 cell failed; --retry-failed runs failed cells again" in capsys.readouterr().out
    assert ablate.main([*study, "--contexts=cap", "--seeds=1", "--retry-failed"]) == 0
    assert not list((tmp_path / "out" / "failed").iterdir())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--contexts=tag,tag"], "named twice"),
        (["--contexts=tags"], "unknown context 'tags'. Did you mean 'tag'?"),
        (["--dataset=demoo"], "unknown dataset 'demoo'. Did you mean 'demo'?"),
        (["--cva=of"], "unknown cva 'of'. Did you mean 'off'?"),
        (["--seeds=1,1"], "seeds must name at least one, each once"),
        (["--seeds=one"], "expected whole numbers"),
        (["--jobs=0"], "expected 1 or more"),
        (["--recipe.epoch=3"], "unknown option --recipe.epoch. Did you mean --recipe.epochs?"),
        (["--recipe.epochs=few"], "--recipe.epochs few: expected a whole number"),
        (["--recipe.temperature=0"], "temperature must be greater than 0"),
        (["--preset=papper"], "unknown preset 'papper'. Did you mean 'paper'?"),
        (["--context-files", "cap"], "expected KIND=VALUE, for example cap=captions.jsonl"),
        (["--context-files", "cpa=x"], "unknown context 'cpa'"),
        (["--encoder=./nowhere"], "does not exist"),
        (["--data-dir=/nowhere"], "looked for /nowhere/demo/{train.txt"),
    ],
)
def test_bad_study_end_with_a_message(
    study: list[str], tmp_path: Path, options: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        fail(["ablate", *study, *options])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert expected in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_left_alone(study: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(SystemExit):
        fail(["ablate", *study])
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["letter.txt"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written(study: list[str], tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(SystemExit):
        fail(["ablate", *study])


def test_out_below_a_file_is_an_error(study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit):
        fail(["ablate", *study, f"--out={tmp_path / 'file' / 'out'}"])
    assert "cannot write to" in capsys.readouterr().err


def test_one_run_and_its_config_are_the_same_run(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*arguments, "--contexts=tag,ocr", "--cva=sequence"]
    assert train.main(command) == 0
    (folder,) = (tmp_path / "out").iterdir()
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert config["system"] == "ita"
    assert {"system": "ita", **config["ita"]} == to_values(ITAOptions(cva="sequence", contexts=("tag", "ocr")))
    assert config["recipe"]["epochs"] == 1
    assert {path.name for path in folder.iterdir()} == {
        "config.yaml",
        "environment.json",
        "metrics.json",
        "predictions.test.jsonl",
        "predictions.valid.jsonl",
    }
    data_dir = next(a for a in arguments if a.startswith("--data-dir"))
    command, again = [f"--config={folder / 'config.yaml'}", data_dir], tmp_path / "again" / folder.name
    part_of(again).mkdir(parents=True)
    with (
        FileLock(part_of(again) / "train.lock"),
        pytest.raises(UserError, match=f"another process is training {re.escape(str(again))} just now; wait for it"),
    ):
        train.main([*command, f"--out={tmp_path / 'again'}"])
    assert train.main([*command, f"--out={tmp_path / 'again'}"]) == 0
    assert list((tmp_path / "again").iterdir()) == [again]
    name = "predictions.test.jsonl"
    assert (again / name).read_text(encoding="utf-8") == (folder / name).read_text(encoding="utf-8")

    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        train.main([f"--config={folder / 'config.yaml'}", "--print_config"])
    assert ended.value.code == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert {key: printed[key] for key in config} == config


def test_a_finished_run_that_is_not_what_was_asked_for_is_told(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*arguments, "--contexts=none", "--cva=off"]
    assert train.main(command) == 0
    (folder,) = (tmp_path / "out").iterdir()
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    assert "note: this run was finished" not in capsys.readouterr().out
    (folder / "environment.json").write_text(json.dumps({**environment, "code": "0" * 64}), encoding="utf-8")
    assert train.main([*command, "--keep-checkpoint"]) == 0
    shown = capsys.readouterr().out
    assert f"finished with another version of the code; delete {folder} to run it again" in shown
    assert f"finished without --keep-checkpoint; delete {folder} to run it again" in shown
    assert STALE_MARK in shown


def test_predictions_name_every_tweet_in_both_views(
    arguments: list[str], tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*arguments, "--contexts=cap", "--recipe.max_length=12"]
    assert train.main(command) == 0
    (folder,) = (tmp_path / "out").iterdir()
    lines = [json.loads(line) for line in (folder / "predictions.test.jsonl").read_text(encoding="utf-8").splitlines()]
    truth = (corpus / "test.txt").read_text(encoding="utf-8")
    assert [f"IMGID:{line['tweet']}" for line in lines] == [x for x in truth.split("\n") if x.startswith("IMGID:")]
    assert all(len(line["gold"]) == len(line["T"]) == len(line["I+T"]) for line in lines)
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    cut = metrics["splits"]["test"]["words_cut"]
    assert cut > 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"up to {cut} tweets of test were cut to 12 sub-tokens, and their other words are tagged O" in said
    assert metrics["splits"]["test"]["mentions"] == sum(tag[0] == "B" for line in lines for tag in line["gold"])


def test_published_numbers_carry_their_source() -> None:
    for dataset in ("twitter15", "twitter17", "snap"):
        rows = published(dataset)
        assert rows
        assert all(row.source and 60 < float(row.f1) < 95 for row in rows)
    found = counterpart("twitter15", "ITA-All+CVA", "minilm")
    assert found is not None
    assert (found.f1, found.encoder) == ("76.01", "BERT")
    large = counterpart("twitter17", "ITA-All+CVA", "xlm-roberta-large")
    assert large is not None
    assert large.f1 == "89.75"
    assert counterpart("twitter15", "ITA-Cap", "minilm") is None
    assert published("demo") == []


def test_cells_of_other_code_are_marked_and_run_again_on_demand(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*study, "--contexts=cap", "--cva=off", "--seeds=1"]
    assert ablate.main(command) == 0
    tables = {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in ("table.md", "table.csv")}
    assert STALE_MARK not in tables["table.md"]
    (folder,) = (tmp_path / "out" / "cells").glob("*-ita-cap-*")
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    (folder / "environment.json").write_text(json.dumps({**environment, "code": "0" * 64}), encoding="utf-8")

    capsys.readouterr()
    assert ablate.main(command) == 0
    shown = capsys.readouterr().out
    assert "stale: demo ITA-Cap, seed 1" in shown
    assert "stale cells: 1, measured with another version of the code; --rerun-stale runs them again" in shown
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "1/1† |" in table
    assert "† some of these cells were measured with another version of the code" in table

    assert ablate.main([*command, "--rerun-stale"]) == 0
    assert "stale" not in capsys.readouterr().out
    assert tables == {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in tables}
    (aside,) = (tmp_path / "out" / "stale").iterdir()
    assert aside.name == f"{folder.name}-00000000"
    assert json.loads((aside / "environment.json").read_text(encoding="utf-8"))["code"] == "0" * 64
    assert len(cells(tmp_path)) == 2


def test_versions_that_differ_within_a_table_are_named(study: list[str], tmp_path: Path) -> None:
    command = [*study, "--contexts=cap", "--cva=off", "--seeds=1"]
    assert ablate.main(command) == 0
    (folder,) = (tmp_path / "out" / "cells").glob("*-ita-cap-*")
    environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
    environment["packages"]["torch"] = "1.0"
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    assert ablate.main(command) == 0
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert "cells were measured with different versions of torch 1.0, " in table


def test_checkpoints_that_nobody_needs_are_removed_and_others_reported(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*study, "--contexts=none", "--seeds=1"]
    assert ablate.main(command) == 0
    (finished,) = cells(tmp_path)
    left, other = (finished.with_name(f".{name}.part") for name in (finished.name, "demo-bert-crf-seed9-0123"))
    for part in (left, other):
        part.mkdir()
        (part / "state.ckpt").touch()
    capsys.readouterr()
    assert ablate.main(command) == 0
    assert f"{other.name} holds a stopped run of a cell that is not in this plan" in capsys.readouterr().out.replace(
        "\n", ""
    )
    assert cells(tmp_path) == [other, finished]


def test_a_study_killed_at_its_very_start_is_still_one(study: list[str], tmp_path: Path) -> None:
    for name in ("cells", "failed"):
        (tmp_path / "out" / name).mkdir(parents=True)
    (tmp_path / "out" / ".study.json.abc123").touch()
    assert ablate.main([*study, "--contexts=none", "--seeds=1"]) == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("file systems cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_ends_a_study_with_a_message_and_loses_nothing(
    study: list[str], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", *study, "--contexts=cap", "--cva=off", "--seeds=1", f"--out={small_disk / 'out'}"]
    assert ablate.main([*command[1:], "--contexts=none"]) == 0
    (finished,) = (small_disk / "out" / "cells").iterdir()
    results = {path.name: path.read_bytes() for path in finished.iterdir()}
    ballast = small_disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - 2**15)  # room for text, not for weights
    with pytest.raises(SystemExit) as ended:
        fail(command)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "No space left on device; free some space: the same command goes on where it stopped" in error
    assert "Traceback" not in error
    assert {path.name: path.read_bytes() for path in finished.iterdir()} == results
    ballast.unlink()
    assert ablate.main(command[1:]) == 0


def test_a_read_only_folder_ends_a_study_with_a_message_and_loses_nothing(
    study: list[str], small_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["ablate", *study, "--contexts=cap", "--cva=off", "--seeds=1", f"--out={small_disk / 'out'}"]
    assert ablate.main([*command[1:], "--contexts=none"]) == 0
    remount = ["mount", "-o", "remount,{}", str(small_disk)]
    subprocess.run([word.format("ro") for word in remount], check=True)
    with pytest.raises(SystemExit) as ended:
        fail(command)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "Read-only file system" in error
    assert "Traceback" not in error
    subprocess.run([word.format("rw") for word in remount], check=True)
    assert ablate.main(command[1:]) == 0
    assert len(list((small_disk / "out" / "cells").iterdir())) == 2

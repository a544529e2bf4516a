"""Systems of another package are planned, run, resumed and reported with no line of this one touched."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytorch_lightning as pl

from lightning_ita.commands import ablate, report, sweep, train, work
from lightning_ita.errors import UserError
from lightning_ita.models import MODELS
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import scoring
from tests.systems import outside


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    MODELS.add("bilstm", "tests.systems.outside:BiLSTMOptions")
    MODELS.add("captioned", "tests.systems.outside:CaptionOptions")
    yield
    for name in ("bilstm", "captioned"):
        del MODELS.entries[name]


@pytest.fixture
def study(corpus: Path, tiny_encoder: str, tmp_path: Path) -> list[str]:
    systems = "--systems=bert-crf,bilstm,captioned"
    return [systems, f"--data-dir={corpus}", f"--encoder={tiny_encoder}", "--preset=small", "--recipe.epochs=1"]


def test_their_source_is_short() -> None:
    lines = Path(outside.__file__).read_text(encoding="utf-8").split("\n")
    code = [line for line in lines if line.strip() and not line.startswith(("from ", "import ", '"""'))]
    assert len(code) < 60


def test_they_replace_no_system_of_this_package() -> None:
    with pytest.raises(UserError, match="system 'ita' is one of this project; choose another name"):
        MODELS.add("ita", "tests.systems.outside:BiLSTMOptions")


def test_options_of_any_kind_are_offered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODELS.entries, "sized", "tests.systems.outside:SizedOptions")
    with pytest.raises(SystemExit):
        train.main(["--help"])
    assert "Default: 4,2." in capsys.readouterr().out


def test_they_are_planned_run_and_reported(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [*study, f"--out={out}", "--seeds=1,2", "--jobs=1", "--bilstm.width=6"]
    assert ablate.main([*command, "--dry-run"]) == 0
    assert "demo BiLSTM-CRF, seed 1" in capsys.readouterr().out
    assert ablate.main([*command, "--plan"]) == 0
    assert len((out / "plan.jsonl").read_text(encoding="utf-8").splitlines()) == 6

    score, calls = scoring.score, []

    def killed(*args: object) -> dict[str, float]:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return score(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(scoring, "score", killed)
    with pytest.raises(KeyboardInterrupt):
        work.main([str(out)])
    monkeypatch.undo()
    assert work.main([str(out)]) == 0
    assert ablate.main(command) == 0
    assert "BiLSTM-CRF" in capsys.readouterr().out

    with (out / "cells.csv").open(encoding="utf-8") as file:
        cells = {(line["system"], line["seed"]): line for line in csv.DictReader(file)}
    assert cells.keys() == {(name, seed) for name in ("BERT-CRF", "BiLSTM-CRF", "Captioned") for seed in "12"}
    assert cells["BiLSTM-CRF", "1"]["test/T/f1"]
    assert (cells["Captioned", "1"]["test/T/f1"], bool(cells["Captioned", "1"]["test/I+T/f1"])) == ("", True)
    config = next((out / "cells").glob("demo-bilstm*seed1*")) / "config.yaml"
    assert "bilstm:\n  width: 6" in config.read_text(encoding="utf-8")

    assert report.main([str(out), "--resamples=100"]) == 0
    assert "BiLSTM-CRF" in (out / "report" / "tables.tex").read_text(encoding="utf-8")
    assert "Captioned" in (out / "report" / "report.md").read_text(encoding="utf-8")


def test_one_is_trained_alone_and_its_width_is_searched(
    study: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    single = [option for option in study if not option.startswith("--systems")]
    assert train.main([*single, "--system=bilstm", "--bilstm.width=4", f"--out={tmp_path / 'one'}"]) == 0
    space = tmp_path / "space.yaml"
    space.write_text("parameters: {bilstm.width: {values: [2, 4]}}", encoding="utf-8")
    options = ["--system=bilstm", f"--space={space}", "--trials=2", "--top=1", "--seeds=1", "--jobs=1"]
    assert sweep.main([*single, *options, f"--out={tmp_path / 'sweep'}"]) == 0
    assert "bilstm.width" in (tmp_path / "sweep" / "sweep.md").read_text(encoding="utf-8")


def test_an_identity_is_of_its_options_and_of_no_encoder() -> None:
    from lightning_ita.studies.cell import Cell

    cells = [Cell(options=outside.BiLSTMOptions(width), encoder=name) for width in (6, 8) for name in ("minilm", "x")]
    first, other_encoder, wider, _ = (cell.identity for cell in cells)
    assert first == other_encoder != wider
    assert json.dumps(cells[0].to_config()["bilstm"]) == '{"width": 6}'


@pytest.mark.filterwarnings("ignore")  # those of Lightning, which `run_cell` silences
def test_a_checkpoint_of_ones_own_trainer_is_loaded(corpus: Path, tmp_path: Path) -> None:
    from lightning_ita.data.datamodule import DemoDataModule

    model = Tagger.create("bilstm", types=("PER", "LOC", "ORG", "MISC"), width=4)
    data = DemoDataModule(str(corpus))
    trainer = pl.Trainer(max_epochs=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(model, data)
    scores = trainer.test(model, data, verbose=False)[0]
    trainer.save_checkpoint(tmp_path / "own.ckpt")
    loaded = Tagger.load_from_checkpoint(tmp_path / "own.ckpt")
    assert isinstance(loaded, outside.BiLSTM)
    assert trainer.test(loaded, data, verbose=False)[0] == scores
    assert trainer.validate(loaded, data, verbose=False)[0]["valid/f1"] >= 0
    ids, tags = trainer.predict(loaded, data)[0]  # type: ignore[index, misc]
    assert tags["T"].shape[0] == len(ids)

"""A run that several processes share: the same scores from the same weights, and the gradient of all their tweets."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from lightning_ita.commands import ablate, train
from lightning_ita.data import batching
from lightning_ita.data.source import Source
from lightning_ita.errors import NonFiniteLossError, Terminated, UserError
from lightning_ita.models.recipes import Recipe
from lightning_ita.studies import ranks, resume
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.run import run_cell
from lightning_ita.studies.study import part_of

# Dropout differs between processes: without it a run of two can be compared with a run of one.
RECIPE = Recipe(batch_size=5, epochs=2, word_dropout=0.0, learning_rate=1e-3, devices=2)

pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="torch was built without distributed")


@pytest.fixture(scope="module")
def cell(corpus: Path, tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    encoder = tmp_path_factory.mktemp("encoder") / "no-dropout"
    encoder.mkdir()
    for path in Path(tiny_encoder).iterdir():
        (encoder / path.name).write_bytes(path.read_bytes())
    config = json.loads((encoder / "config.json").read_text())
    config |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (encoder / "config.json").write_text(json.dumps(config))
    return Cell("demo", short_form("cap", "token"), str(encoder), recipe=RECIPE)


@pytest.fixture(scope="module")
def source(corpus: Path) -> Source:
    return Source(str(corpus))


@pytest.fixture(scope="module")
def shared(cell: Cell, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that two processes share."""
    folder = tmp_path_factory.mktemp("run") / "shared"
    run_cell(cell, folder, source, keep_checkpoint=True)
    return folder


def metrics_of(folder: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return metrics


def test_a_step_of_two_processes_is_one_of_twice_the_tweets(
    cell: Cell, source: Source, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = batching.LengthBatchSampler._batches

    def doubled(sampler: batching.LengthBatchSampler) -> list[list[int]]:
        batches = draw(sampler)
        return [batches[i] + batches[(i + 1) % len(batches)] for i in range(0, len(batches), 2)]

    monkeypatch.setattr(batching.LengthBatchSampler, "_batches", doubled)
    alone = replace(cell, recipe=replace(RECIPE, devices=1))
    one, two = run_cell(alone, tmp_path / "one", source), metrics_of(shared)
    assert len(one["history"]) == len(two["history"]) == 2
    for epoch, other in zip(one["history"], two["history"], strict=True):
        assert epoch.keys() == other.keys()
        for name in epoch:
            assert other[name] == pytest.approx(epoch[name], rel=1e-4, abs=1e-4), name


def test_the_scores_are_those_of_one_process_with_the_same_weights(
    cell: Cell, source: Source, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies.process import quiet
    from lightning_ita.studies.resume import read_checkpoint
    from lightning_ita.studies.run import make_datamodule, make_trainer
    from lightning_ita.studies.scoring import evaluate

    alone = replace(cell, recipe=replace(RECIPE, devices=1))
    corpus = alone.read(source)
    datamodule = make_datamodule(alone, corpus)
    datamodule.setup()
    model = alone.options.make_tagger(corpus.types, alone.recipe, alone.encoder)
    model.load_state_dict(read_checkpoint(shared / "best.ckpt")["state_dict"])
    with quiet():
        trainer = make_trainer(alone, [])
        for split in ("valid", "test"):
            scores = evaluate(trainer, model, datamodule, split, tmp_path)
            assert scores == metrics_of(shared)[split]
            name = f"predictions.{split}.jsonl"
            assert (tmp_path / name).read_bytes() == (shared / name).read_bytes()
    # The best epoch was chosen by the same scores.
    best = metrics_of(shared)["history"][metrics_of(shared)["best_epoch"] - 1]
    for view, score in metrics_of(shared)["valid"].items():
        assert best[f"valid/{view}/f1"] == pytest.approx(score["f1"], abs=1e-3)


@pytest.mark.parametrize("world", [1, 5, 12])
def test_every_process_has_a_share_of_a_split_and_no_tweet_is_in_two(
    world: int, cell: Cell, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies.run import make_datamodule

    datamodule = make_datamodule(cell, cell.read(source))
    datamodule.setup()
    shares = []
    for rank in range(world):
        monkeypatch.setattr("lightning_ita.data.datamodule.processes", lambda rank=rank: (rank, world))
        shares.append([tweet for batch in datamodule.eval_dataloader("valid") for tweet in batch.ids])
    assert all(shares)  # 12 tweets, which are one batch: a process without any would leave the others waiting
    assert sorted(tweet for share in shares for tweet in share) == sorted(
        tweet.id for tweet in datamodule.corpus.splits["valid"]
    )


def test_processes_share_a_split_though_their_devices_hold_different_batches(
    cell: Cell, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightning_ita.studies.run import make_datamodule

    datamodule = make_datamodule(cell, cell.read(source))
    datamodule.setup()
    budgets, shared = [200, 60], list[str]()

    def gathered(numbers: list[Any], number: int) -> None:
        numbers[:] = budgets

    monkeypatch.setattr(torch.distributed, "all_gather_object", gathered)
    for rank, budget in enumerate(budgets):
        for module in ("batching", "datamodule"):
            monkeypatch.setattr(f"lightning_ita.data.{module}.processes", lambda rank=rank: (rank, 2))
        monkeypatch.setattr(datamodule.inputs, "evaluation_budget", budget)
        shared += [tweet for batch in datamodule.eval_dataloader("valid") for tweet in batch.ids]
    assert sorted(shared) == sorted(tweet.id for tweet in datamodule.corpus.splits["valid"])


def test_one_process_writes_and_leaves_nothing_of_the_others(shared: Path) -> None:
    assert not part_of(shared).exists()
    assert {path.name for path in shared.iterdir()} == {
        "best.ckpt",
        "config.yaml",
        "environment.json",
        "metrics.json",
        "predictions.test.jsonl",
        "predictions.valid.jsonl",
    }
    (trained_on,) = json.loads((shared / "environment.json").read_text())["trained_on"]
    assert trained_on["device"].startswith("2 devices: ")
    assert not torch.distributed.is_initialized()


class Stop(Callback):
    """Sends SIGTERM to this process, rank 0, at a step."""

    def __init__(self, step: int):
        self.step = step

    def on_train_batch_start(self, trainer: pl.Trainer, *_: Any) -> None:
        if trainer.global_step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.usefixtures("terminable")
def test_all_processes_save_at_the_same_step_and_go_on(
    cell: Cell, source: Source, shared: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    with pytest.raises(Terminated):
        run_cell(cell, folder, source, callbacks=[Stop(4)])
    assert (part_of(folder) / resume.STATE).is_file()
    assert not list(part_of(folder).glob("ranks*"))
    again = run_cell(cell, folder, source)
    expected = metrics_of(shared)
    assert [part["step"] for part in json.loads((folder / "environment.json").read_text())["trained_on"]] == [0, 5]
    assert again["test"] == expected["test"]
    for epoch, other in zip(again["history"], expected["history"], strict=True):
        assert epoch == pytest.approx(other, rel=1e-5)


def test_what_another_process_raises_is_told(
    cell: Cell, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    diverging = replace(cell, recipe=replace(RECIPE, learning_rate=1e30))
    with pytest.raises((NonFiniteLossError, UserError), match="the loss became"):
        run_cell(diverging, tmp_path / "run", source)
    assert not torch.distributed.is_initialized()


def test_a_process_that_cannot_start_ends_the_run(
    cell: Cell, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranks.sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match=r"process 1 of the run ended \(exit status 1\)"):
        run_cell(cell, tmp_path / "run", source)


def test_fewer_gpus_than_devices_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    ranks.check_devices(2)
    with pytest.raises(UserError, match="devices 4: this process sees 2 GPUs; give fewer --devices"):
        ranks.check_devices(4)


def test_one_device_changes_no_identity_and_two_make_another() -> None:
    cell = Cell("demo", short_form("cap", "token"), "minilm")
    one, two = (replace(cell, recipe=Recipe(devices=devices)) for devices in (1, 2))
    assert one.identity == cell.identity
    assert "devices" not in one.recipe.recorded()
    assert two.identity != cell.identity
    assert Cell.from_config(two.to_config()) == two


def test_the_commands_take_devices(capsys: pytest.CaptureFixture[str]) -> None:
    for command in (train, ablate):
        with pytest.raises(SystemExit):
            command.main(["--devices=3", "--strategy=ddp", "--print_config"])
        assert "\n  devices: 3\n" in capsys.readouterr().out

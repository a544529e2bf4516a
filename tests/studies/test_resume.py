"""A run that is stopped anywhere goes on, and ends as if it had never stopped."""

from __future__ import annotations

import errno
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from lightning_ita.data.source import Source
from lightning_ita.errors import Terminated, UserError
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import provenance, resume
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.run import run_cell
from lightning_ita.studies.study import part_of

RECIPE = Recipe(batch_size=8, epochs=3, warmup=0.1)  # 24 tweets: three steps an epoch


class StoppedError(Exception):
    pass


class Stop(Callback):
    """Stops a run, as a kill would, when a hook has been called so often."""

    def __init__(self, hook: str, calls: int):
        self.calls = calls
        setattr(self, hook, self.count)

    def count(self, *_: object) -> None:
        self.calls -= 1
        if self.calls == 0:
            raise StoppedError


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes a checkpoint whenever one may be written."""
    monkeypatch.setattr(resume, "SECONDS_APART", 0.0)
    monkeypatch.setattr(resume, "COSTS_APART", 0.0)


@pytest.fixture(scope="module")
def cell(corpus: Path, tiny_encoder: str) -> Cell:
    return Cell("demo", short_form("cap", "token"), tiny_encoder, recipe=RECIPE)


@pytest.fixture(scope="module")
def source(corpus: Path) -> Source:
    return Source(str(corpus))


@pytest.fixture(scope="module")
def undisturbed(cell: Cell, source: Source, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "undisturbed"
    run_cell(cell, folder, source)
    return folder


def assert_same_result(folder: Path, undisturbed: Path) -> None:
    assert {path.name for path in folder.iterdir()} == {path.name for path in undisturbed.iterdir()}
    for name in ("config.yaml", "predictions.valid.jsonl", "predictions.test.jsonl"):
        assert (folder / name).read_bytes() == (undisturbed / name).read_bytes()
    metrics, expected = (json.loads((place / "metrics.json").read_text()) for place in (folder, undisturbed))
    for name in ("seconds", "training_seconds"):
        assert metrics.pop(name) > 0
        expected.pop(name)
    assert metrics == expected


def devices(folder: Path) -> list[int]:
    environment = json.loads((folder / "environment.json").read_text())
    return [part["step"] for part in environment["trained_on"]]


@pytest.mark.parametrize(
    ("hook", "calls", "step"),
    [
        ("on_train_batch_start", 2, 1),  # in the first epoch
        ("on_train_batch_start", 6, 5),  # in a later one
        ("on_train_batch_end", 6, 5),  # after an epoch's last step
        ("on_validation_batch_end", 1, 2),
        ("on_train_epoch_start", 2, 3),
        ("on_predict_batch_end", 1, None),  # in evaluation: training is over
    ],
)
@pytest.mark.usefixtures("always")
def test_a_stopped_run_goes_on_where_it_was(
    hook: str, calls: int, step: int | None, cell: Cell, source: Source, undisturbed: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "stopped"
    with pytest.raises(StoppedError):
        run_cell(cell, folder, source, callbacks=[Stop(hook, calls)])
    assert not folder.exists()
    torch.rand(7)  # another process has another history
    run_cell(cell, folder, source)
    assert_same_result(folder, undisturbed)
    assert devices(folder) == ([0] if step is None else [0, step])
    assert not part_of(folder).exists()


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.usefixtures("always")
def test_an_averaged_teacher_goes_on_where_it_was(cell: Cell, source: Source, tmp_path: Path, accumulate: int) -> None:
    recipe = replace(RECIPE, epochs=1, batch_size=4, accumulate=accumulate)
    options = ITAOptions(cva="token", contexts=("cap",), teacher="average")
    averaged = replace(cell, options=options, recipe=recipe)
    run_cell(averaged, tmp_path / "undisturbed", source)
    with pytest.raises(StoppedError):
        run_cell(averaged, tmp_path / "stopped", source, callbacks=[Stop("on_train_batch_start", 5)])
    run_cell(averaged, tmp_path / "stopped", source)
    assert_same_result(tmp_path / "stopped", tmp_path / "undisturbed")
    assert devices(tmp_path / "stopped")[1] in (2, 4)


def stop_half_way(cell: Cell, source: Source, folder: Path) -> Path:
    """Leaves a run that was stopped in its second epoch; returns its last checkpoint."""
    with pytest.raises(StoppedError):
        run_cell(cell, folder, source, callbacks=[Stop("on_train_batch_start", 6)])
    return part_of(folder) / "state.ckpt"


class Stranger:
    """What a stranger may have put into a file to have it run."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("a checkpoint was unpickled",)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def replace_by_strangers(path: Path) -> None:
    torch.save({"callbacks": Stranger()}, path)


def lose_best_weights(path: Path) -> None:
    (weights,) = path.parent.glob("epoch-*.ckpt")
    weights.unlink()


@pytest.mark.parametrize("damage", [cut, flip, replace_by_strangers, lose_best_weights])
@pytest.mark.usefixtures("always")
def test_a_damaged_checkpoint_is_not_used(
    damage: Callable[[Path], None],
    cell: Cell,
    source: Source,
    undisturbed: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = stop_half_way(cell, source, tmp_path / "stopped")
    damage(state)
    run_cell(cell, tmp_path / "stopped", source)
    assert f"{state} is damaged" in caplog.text
    assert "the run starts again from its first step" in caplog.text
    assert devices(tmp_path / "stopped") == [0]
    assert_same_result(tmp_path / "stopped", undisturbed)


@pytest.mark.usefixtures("always")
def test_a_checkpoint_of_other_code_is_not_used(
    cell: Cell,
    source: Source,
    undisturbed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_digest", lambda *_: "other")
        stop_half_way(cell, source, tmp_path / "stopped")
    run_cell(cell, tmp_path / "stopped", source)
    assert "was made with other code or packages; the run starts again from its first step" in caplog.text
    assert devices(tmp_path / "stopped") == [0]
    assert_same_result(tmp_path / "stopped", undisturbed)


@pytest.mark.usefixtures("always")
def test_a_checkpoint_of_another_cell_is_not_used(
    cell: Cell, source: Source, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stop_half_way(replace(cell, seed=2), source, tmp_path / "mine")
    run_cell(cell, tmp_path / "mine", source)
    assert "is of a run with other settings, seed or data; the run starts again from its first step" in caplog.text
    assert_same_result(tmp_path / "mine", undisturbed)
    with pytest.raises(UserError, match="mine is there already"):
        run_cell(replace(cell, seed=2), tmp_path / "mine", source)


@pytest.mark.usefixtures("always")
def test_a_full_disk_leaves_the_last_checkpoint(
    cell: Cell, source: Source, undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, calls = torch.save, []

    def full(checkpoint: object, file: Any) -> None:
        calls.append(1)
        if len(calls) < 7:
            save(checkpoint, file)
            return
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        finally:
            raise RuntimeError("unexpected pos 704 vs 598")  # as torch does

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(OSError, match=r"No space left on device.*stopped\.part") as raised:
            run_cell(cell, tmp_path / "stopped", source)
    assert raised.value.errno == errno.ENOSPC
    assert not list(part_of(tmp_path / "stopped").glob("*.part"))
    run_cell(cell, tmp_path / "stopped", source)
    assert devices(tmp_path / "stopped")[1] > 0
    assert_same_result(tmp_path / "stopped", undisturbed)


def test_checkpoints_cost_little(cell: Cell, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Each step takes 12 seconds, each checkpoint 0.9: after 36 seconds the first, then every 48.
    now = 0.0
    saved = []
    write = resume.WholeFiles.save_checkpoint

    def save_checkpoint(
        self: resume.WholeFiles, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        nonlocal now
        if Path(path).name == "state.ckpt":
            now += 0.9
            saved.append(checkpoint["global_step"])
        write(self, checkpoint, path, storage_options)

    class Clock(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            nonlocal now
            now += 12.0

    monkeypatch.setattr(resume.WholeFiles, "save_checkpoint", save_checkpoint)
    monkeypatch.setattr(resume.time, "monotonic", lambda: now)
    run_cell(replace(cell, recipe=replace(RECIPE, epochs=4)), tmp_path / "run", source, callbacks=[Clock()])
    assert saved == [3, 7, 11]


def test_only_the_weights_that_are_needed_stay(tmp_path: Path) -> None:
    checkpoints = resume.Checkpoints(tmp_path, {}, "here", "cell")
    for epoch in range(5):
        (tmp_path / f"epoch-{epoch}.ckpt").touch()
    checkpoints.load_state_dict({**checkpoints.state_dict(), "best_epoch": 1})
    checkpoints.best_epoch = 4
    checkpoints._remove_weights()
    assert {path.name for path in tmp_path.iterdir()} == {"epoch-1.ckpt", "epoch-4.ckpt"}


@pytest.mark.usefixtures("always")
def test_the_best_weights_stay_if_asked_for(cell: Cell, source: Source, undisturbed: Path, tmp_path: Path) -> None:
    run_cell(cell, tmp_path / "kept", source, keep_checkpoint=True)
    assert "state_dict" in torch.load(tmp_path / "kept" / "best.ckpt", weights_only=True)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Has SIGINT raise KeyboardInterrupt: a process that a shell starts in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_keyboard_interrupts_come_through(cell: Cell, source: Source, tmp_path: Path) -> None:
    class Interrupt(Callback):
        def on_train_batch_start(self, *_: object) -> None:
            signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run_cell(cell, tmp_path / "stopped", source, callbacks=[Interrupt()])
    assert signal.getsignal(signal.SIGINT) is handler


@pytest.fixture
def without_handler() -> Iterator[None]:
    """Has SIGTERM end this process at once, as in a process that set no handler."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


class Terminate(Stop):
    """Sends SIGTERM to this process when a hook has been called so often."""

    def count(self, *_: object) -> None:
        self.calls -= 1
        if self.calls == 0:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("hook", "calls", "saved", "started"),
    [
        ("on_train_batch_start", 2, True, [0, 2]),  # in the middle of an epoch: the step in hand is done
        ("on_train_batch_start", 3, True, [0, 3]),  # in an epoch's last step: validation, too, else the epoch is lost
        ("on_validation_batch_end", 1, True, [0, 3]),
        ("on_train_batch_start", 9, True, [0]),  # in the last step of all: nothing is left to train
        ("on_train_start", 1, True, [0, 1]),
        ("on_predict_batch_end", 1, False, [0]),  # in evaluation: at once
    ],
)
@pytest.mark.usefixtures("terminable")
def test_sigterm_saves_the_step_in_hand(
    hook: str,
    calls: int,
    saved: bool,
    started: list[int],
    cell: Cell,
    source: Source,
    undisturbed: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "stopped"
    with pytest.raises(Terminated):
        run_cell(cell, folder, source, callbacks=[Terminate(hook, calls)])
    assert (part_of(folder) / "state.ckpt").exists() == saved
    run_cell(cell, folder, source)
    assert devices(folder) == started
    assert_same_result(folder, undisturbed)


@pytest.mark.usefixtures("without_handler")
def test_sigterm_ends_evaluation_where_the_process_has_no_handler(cell: Cell, source: Source, tmp_path: Path) -> None:
    with pytest.raises(Terminated):
        run_cell(cell, tmp_path / "stopped", source, callbacks=[Terminate("on_predict_batch_end", 1)])


@pytest.mark.usefixtures("always")
def test_the_best_epoch_may_lie_before_the_stop(
    cell: Cell, source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    f1 = [50.0, 90.0, 10.0]
    monkeypatch.setattr(Tagger, "on_validation_epoch_end", lambda self: self.log("valid/f1", f1[self.current_epoch]))
    with pytest.raises(StoppedError):
        run_cell(cell, tmp_path / "stopped", source, callbacks=[Stop("on_train_batch_start", 8)])
    run_cell(cell, tmp_path / "stopped", source)
    run_cell(cell, tmp_path / "undisturbed", source)
    assert json.loads((tmp_path / "stopped" / "metrics.json").read_text(encoding="utf-8"))["best_epoch"] == 2
    assert devices(tmp_path / "stopped") == [0, 7]
    assert_same_result(tmp_path / "stopped", tmp_path / "undisturbed")


@pytest.mark.parametrize(
    ("settings", "step"),
    [({"batch_size": 4, "accumulate": 2}, 5), ({"token_budget": 400, "gradient_checkpointing": True}, None)],
)
@pytest.mark.usefixtures("always")
def test_however_batches_are_made(
    settings: dict[str, Any], step: int | None, cell: Cell, source: Source, tmp_path: Path
) -> None:
    cell = replace(cell, recipe=replace(RECIPE, **settings))
    with pytest.raises(StoppedError):
        run_cell(cell, tmp_path / "stopped", source, callbacks=[Stop("on_train_batch_start", 12)])
    run_cell(cell, tmp_path / "stopped", source)
    run_cell(cell, tmp_path / "undisturbed", source)
    assert len(devices(tmp_path / "stopped")) == 2
    assert step in (None, devices(tmp_path / "stopped")[1])  # in optimiser steps: the eleventh batch waits for another
    assert_same_result(tmp_path / "stopped", tmp_path / "undisturbed")

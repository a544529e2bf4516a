"""Training and tagging on a GPU: every system computes what it computes on the CPU, and a step does not wait."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.callbacks import Callback

from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch
from lightning_ita.data.source import Source
from lightning_ita.data.views import View
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.encoders.loading import CPU_EVALUATION_BUDGET, evaluation_budget
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.options import CROSS_MODAL, TEXT, Options
from lightning_ita.models.packing import has_flash_attention, use_packed_attention, word_states
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies import resume
from lightning_ita.studies.cell import Cell, short_form
from lightning_ita.studies.run import run_cell
from tests.gpu.test_crf_on_gpu import never_waiting
from tests.models.test_packing import ENCODERS, one_by_one
from tests.systems.fusion_cases import CASES, batch_of, make

TYPES = ("PER", "LOC")
OPTIONS: dict[str, Options] = {
    "bert-crf": BertCRFOptions(),
    "off": ITAOptions(cva="off", contexts=("cap",)),
    "token": ITAOptions(cva="token", contexts=("cap",)),
    "sequence": ITAOptions(cva="sequence", contexts=("cap",)),
}


def batch(vocabulary: int = 60, tweets: int = 12) -> TwoViewBatch:
    """Tweets of different lengths, with contexts of different lengths."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for number in range(tweets):
        words = int(torch.randint(1, 30, (), generator=generator))
        ids = torch.randint(5, vocabulary, (words + 2 + number,), generator=generator).tolist()
        first = tuple(range(1, words + 1))
        text = View(str(number), tuple(ids[: words + 2]), first)
        tags = tuple(torch.randint(5, (words,), generator=generator).tolist())
        made.append(EncodedTweet(text, View(str(number), tuple(ids), first), tags))
    return Collate(0)(made)


def tagger(encoder: str, name: str, **recipe: Any) -> EncoderTagger:
    torch.manual_seed(0)
    options = OPTIONS[name]
    values = {"tag_scheme": "BIO", "temperature": 2.0, "word_dropout": 0.0, **recipe}
    return options.make_tagger(TYPES, Recipe(**values), encoder)  # type: ignore[return-value]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("family", ENCODERS)
def test_packed_views_are_read_as_each_view_alone(family: str, precision: str) -> None:
    torch.manual_seed(0)
    model = ENCODERS[family]().double().eval()
    views = batch(50)
    expected = one_by_one(model, [views.text, views.cross_modal])
    model.float().cuda()
    use_packed_attention(model)
    on_gpu = views.to("cuda")
    half = precision == "bfloat16"
    with torch.autocast("cuda", torch.bfloat16, enabled=half):
        assert has_flash_attention(model, on_gpu.text.input_ids.device) is half
        states = word_states(model, [on_gpu.text, on_gpu.cross_modal])
    tolerance = {"rtol": 0.05, "atol": 0.1} if half else {"rtol": 1e-3, "atol": 1e-4}
    for row, state in enumerate(expected):
        torch.testing.assert_close(states[row, : len(state)].double().cpu(), state, **tolerance)


def test_gradients_in_bfloat16_are_near_those_of_float32(tiny_encoder: str) -> None:
    results = []
    for half in (False, True):
        model = tagger(tiny_encoder, "token").eval().cuda()
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            loss = model.loss(model.losses(batch().to("cuda")))
        loss.backward()
        gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
        results.append((loss.detach(), torch.cat(gradients)))
    (loss, gradient), (found_loss, found) = results
    torch.testing.assert_close(found_loss, loss, rtol=0.02, atol=0.02)
    assert torch.nn.functional.cosine_similarity(found, gradient, dim=0) > 0.99


@pytest.mark.parametrize("name", OPTIONS)
def test_losses_gradients_and_tags_are_those_of_the_cpu(tiny_encoder: str, name: str) -> None:
    results = []
    for device in ("cpu", "cuda"):
        model = tagger(tiny_encoder, name).eval().to(device)
        given = batch().to(device)
        loss = model.loss(model.losses(given))
        loss.backward()
        gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
        norm = torch.stack([gradient.norm().cpu() for gradient in gradients]).norm()
        with torch.no_grad():
            tags = {view: rows.cpu() for view, rows in model.decode(given).items()}
        results.append((loss.detach().cpu(), norm, tags))
    (loss, norm, tags), (found_loss, found_norm, found_tags) = results
    torch.testing.assert_close(found_loss, loss, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found_norm, norm, rtol=1e-3, atol=1e-4)
    assert tags.keys() == found_tags.keys()
    assert all(torch.equal(tags[view], found_tags[view]) for view in tags)


@pytest.mark.parametrize("name", CASES)
def test_systems_with_pictures_compute_what_they_do_on_the_cpu(tiny_encoder: str, name: str) -> None:
    case = CASES[name]
    results = []
    for device in ("cpu", "cuda"):
        model: Tagger = make(case, tiny_encoder).to(device)
        given = batch_of(model).to(device)
        with torch.no_grad():
            chains = model(given, (TEXT, CROSS_MODAL))
            values = torch.cat([chain.log_prob(given.tags) for chain in chains.values()]).cpu()
            tags = torch.cat([chain.argmax() for chain in chains.values()]).cpu()
        results.append((values, tags))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-4, atol=1e-4)
    assert torch.equal(results[1][1], results[0][1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", OPTIONS)
def test_a_step_learns_and_never_waits_for_the_device(tiny_encoder: str, name: str, precision: str) -> None:
    model = tagger(tiny_encoder, name, learning_rate=3e-3, head_lr_factor=3.0, crf_lr_factor=3.0).cuda().train()
    optimizer = model.make_optimizer()
    given = batch().to("cuda")
    values = []
    for number in range(30):
        optimizer.zero_grad()

        def step() -> torch.Tensor:
            with torch.autocast("cuda", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = model.loss(model.losses(given))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss.detach()

        if number == 2:  # kernels are loaded by then
            with never_waiting():
                loss = step()
        else:
            loss = step()
        values.append(loss.item())
    assert values[-1] < 0.85 * values[0]
    assert all(parameter.isfinite().all() for parameter in model.parameters())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what torch's compiler imports
def test_a_compiled_encoder_computes_the_same(tiny_encoder: str) -> None:
    given = batch().to("cuda")
    results = []
    for compiled in (False, True):
        model = tagger(tiny_encoder, "token", compile=compiled).cuda().eval()
        loss = model.loss(model.losses(given))
        loss.backward()
        results.append([loss.detach(), *(each.grad for each in model.parameters() if each.grad is not None)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)


def test_gradient_checkpointing_changes_nothing(tiny_encoder: str) -> None:
    given = batch().to("cuda")
    results = []
    for checkpointing in (False, True):
        model = tagger(tiny_encoder, "token", gradient_checkpointing=checkpointing).cuda().train()
        torch.manual_seed(1)
        loss = model.loss(model.losses(given))
        loss.backward()
        results.append([loss.detach(), *(each.grad for each in model.parameters() if each.grad is not None)])
    torch.testing.assert_close(results[1], results[0], rtol=1e-3, atol=1e-4)


class StoppedError(Exception):
    pass


class Stop(Callback):
    """Stops a run in the middle of its second epoch."""

    def on_train_batch_start(self, trainer: Any, *_: object) -> None:
        if trainer.global_step == 5:
            raise StoppedError


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_run_is_stopped_and_goes_on(
    corpus: Path, tiny_encoder: str, tmp_path: Path, precision: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resume, "SECONDS_APART", 0.0)
    monkeypatch.setattr(resume, "COSTS_APART", 0.0)
    recipe = Recipe(batch_size=8, epochs=3, precision=precision)
    cell = Cell("demo", short_form("cap", "token"), tiny_encoder, recipe=recipe)
    run_cell(cell, tmp_path / "whole", Source(str(corpus)))
    with pytest.raises(StoppedError):
        run_cell(cell, tmp_path / "stopped", Source(str(corpus)), callbacks=[Stop()])
    run_cell(cell, tmp_path / "stopped", Source(str(corpus)))
    whole, stopped = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "stopped"))
    # Sums of gradients that many words share are not ordered on a GPU: equal within rounding, not bit by bit.
    for left, right in zip(whole["history"], stopped["history"], strict=True):
        assert left.keys() == right.keys()
        for name, value in left.items():
            if name.startswith("train/"):
                assert right[name] == pytest.approx(value, rel=0.05, abs=0.02), name
    environment = json.loads((tmp_path / "stopped" / "environment.json").read_text())
    assert environment["accelerator"] == torch.cuda.get_device_name()


def test_scores_of_a_run_are_those_of_the_cpu(corpus: Path, tiny_encoder: str, tmp_path: Path) -> None:
    """What a GPU has trained is tagged by the CPU, with the same mentions but for ties."""
    cell = Cell("demo", short_form("cap", "token"), tiny_encoder, recipe=Recipe(batch_size=8, epochs=2))
    run_cell(cell, tmp_path / "cell", Source(str(corpus)), keep_model=True)
    model = Tagger.from_pretrained(tmp_path / "cell" / "model")
    lines = [json.loads(line) for line in (tmp_path / "cell" / "predictions.test.jsonl").read_text().splitlines()]
    words = [line["words"] for line in lines]
    tags = []
    for device in ("cuda", "cpu"):
        said = model.to(device).predict(words, view="T")
        tags.append([[(each.first_word, each.end_word, each.type) for each in post.mentions] for post in said])
    assert tags[0] == tags[1]


def test_evaluation_takes_what_the_memory_holds(tiny_encoder: str) -> None:
    budget = evaluation_budget(encoder_shape(tiny_encoder))
    assert CPU_EVALUATION_BUDGET <= budget <= 131072
    shape = replace(encoder_shape(tiny_encoder), hidden=1024, feed_forward=4096)
    assert evaluation_budget(shape) >= 8 * CPU_EVALUATION_BUDGET

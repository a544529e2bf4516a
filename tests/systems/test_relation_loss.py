"""The losses that RIVA, RpBERT and BGA-MNER have beside that of the tags."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log
from pathlib import Path
from typing import Any

import pytest
import torch

from lightning_ita.data import relations
from lightning_ita.demo import DemoConfig
from lightning_ita.errors import UserError
from lightning_ita.models.blocks.generation import Generator, KeptAttention
from lightning_ita.models.blocks.relation import relation_loss
from lightning_ita.models.blocks.sampler import Sampler
from lightning_ita.models.tagger import Tagger
from lightning_ita.studies.cell import Cell
from tests.data.test_relations import row, write
from tests.systems.fusion_cases import CASES, batch_of, make, total_loss

WITH_RELATIONS = ["riva", "rpbert"]


def test_the_relation_loss_is_that_of_hand_computation() -> None:
    found = relation_loss(torch.tensor([0.0, 2.0, 2.0, -1.0]), torch.tensor([True, True, False, False]))
    expected = [log(2), log(1 + exp(-2)), log(1 + exp(2)), log(1 + exp(-1))]
    assert found.tolist() == pytest.approx(expected)
    # The same as a softmax over two scores, as RpBERT's official code has it.
    two = torch.randn(5, 2)
    adds = torch.tensor([True, False, True, True, False])
    pairs = torch.nn.functional.cross_entropy(two, adds.long(), reduction="none")
    torch.testing.assert_close(relation_loss(two[:, 1] - two[:, 0], adds), pairs)


@pytest.mark.parametrize("name", WITH_RELATIONS)
def test_it_is_added_in_the_same_step(tiny_encoder: str, name: str) -> None:
    tagger: Any = make(CASES[name], tiny_encoder, relation_weight=0.25)
    batch = batch_of(tagger)
    sample, adds = tagger.relation_sample()
    expected = tagger.loss(tagger.losses(batch)) + 0.25 * relation_loss(tagger.relation_scores(sample), adds).mean()
    torch.testing.assert_close(total_loss(tagger, batch), expected)
    without: Any = make(CASES[name], tiny_encoder, relation_weight=0.0)
    assert without.auxiliary(batch) == {}


@pytest.mark.parametrize("name", WITH_RELATIONS)
def test_the_gate_learns_from_tags_too(tiny_encoder: str, name: str) -> None:
    tagger: Any = make(CASES[name], tiny_encoder, relation_weight=0.0).train()
    total_loss(tagger, batch_of(tagger)).backward()
    assert all(parameter.grad.abs().max() > 0 for parameter in tagger.relation.parameters())


@pytest.mark.parametrize("name", WITH_RELATIONS)
def test_the_gate_is_tested_on_relation_data_held_out(
    tiny_encoder: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = relations.made(DemoConfig(seed=5, train=12, valid=1, test=80))
    monkeypatch.setattr(relations, "relations", lambda file: few)
    tagger: Any = make(CASES[name], tiny_encoder)
    inputs = tagger.inputs
    reads, adds = inputs.held_out
    assert [read.id for read in reads] == [tweet.id for tweet in few.splits["test"]]
    assert len(reads) > 32  # more than a batch
    monkeypatch.setattr(type(inputs), "collate", lambda self, reads: Named([read.id for read in reads]))
    right = {read.id for index, read in enumerate(reads) if index % 4}  # the gate is wrong in every fourth

    def scores(batch: Any) -> torch.Tensor:
        return torch.tensor([0.5 if few.adds[name] == (name in right) else -0.5 for name in batch.ids])

    tagger.relation_scores = scores
    found = tagger.further_scores(inputs)
    share = sum(adds) / len(adds)
    assert found["relation/accuracy"] == pytest.approx(100 * len(right) / len(reads))
    assert found["relation/majority"] == pytest.approx(100 * max(share, 1 - share))
    without: Any = make(CASES[name], tiny_encoder, relation_weight=0.0)
    assert without.further_scores(without.inputs) == {}


class Named:
    """A batch that has names alone."""

    def __init__(self, ids: list[str]):
        self.ids = ids

    def to(self, device: Any) -> Named:
        return self


def test_relation_data_are_drawn_again_in_each_step(tiny_encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        relations, "relations", lambda file: relations.made(DemoConfig(seed=5, train=12, valid=1, test=4))
    )
    tagger: Any = make(CASES["riva"], tiny_encoder, relation_batch=5)
    del tagger.relation_sample  # that of the other tests
    reads, adds = tagger.inputs.relations
    data = tagger.options.relation_data()
    assert [read.id for read in reads] == [tweet.id for tweet in data.splits["train"]]
    assert adds == [data.adds[read.id] for read in reads]
    monkeypatch.setattr(type(tagger.inputs), "seen", lambda self, reads: batch_of(tagger).visual)
    torch.manual_seed(1)
    batch, answers = tagger.relation_sample()
    other, _ = tagger.relation_sample()
    assert len(set(batch.ids)) == 5 == len(answers)
    assert answers.tolist() == [data.adds[name] for name in batch.ids]
    assert batch.ids != other.ids
    torch.manual_seed(1)
    assert tagger.relation_sample()[0].ids == batch.ids


def test_relation_data_are_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    options = CASES["rpbert"].options
    small = DemoConfig(seed=5, train=12, valid=1, test=4)
    monkeypatch.setattr(relations, "relations", lambda file: relations.made(small))
    digests = dict.fromkeys(("train", "valid", "test", "images"), "0")
    first = Cell(options=options).resolve(digests)
    assert first.data["relations"] == relations.made(small).sha256
    monkeypatch.setattr(relations, "relations", lambda file: relations.made(replace(small, seed=6)))
    assert Cell(options=options).resolve(digests).identity != first.identity
    unused = replace(options, relation_weight=0.0)
    assert "relations" not in Cell(options=unused).resolve(digests).data


@pytest.mark.parametrize("name", WITH_RELATIONS)
def test_a_kept_model_learns_on_from_the_relations_that_are_named(tiny_encoder: str, name: str, tmp_path: Path) -> None:
    file = write(tmp_path, *(row(number, f"word {number}", str(number % 2)) for number in range(10)))
    make(CASES[name], tiny_encoder, relations=str(file)).save_pretrained(tmp_path / "model")
    unnamed: Any = Tagger.from_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match=rf"'textimage-data.csv', which is no file: .* --{name}\.relations FILE"):
        _ = unnamed.inputs.relations
    tagger: Any = Tagger.from_pretrained(tmp_path / "model", relations=file)
    assert len(tagger.inputs.relations[0]) == 8
    tagger.save_pretrained(tmp_path / "again")
    assert str(tmp_path) not in (tmp_path / "again" / "config.json").read_text(encoding="utf-8")


def test_relations_that_no_gate_learns_from_are_refused(tiny_encoder: str, tmp_path: Path) -> None:
    make(CASES["umt"], tiny_encoder).save_pretrained(tmp_path / "model")
    with pytest.raises(UserError, match="is 'umt', which learns from no relations"):
        Tagger.from_pretrained(tmp_path / "model", relations="textimage-data.csv")


def test_titles_say_where_the_supervision_comes_from() -> None:
    riva, rpbert = CASES["riva"].options, CASES["rpbert"].options
    assert riva.title == "RIVA (no pre-training, relations made)"
    assert (riva.published_name, rpbert.published_name) == ("RIVA", "RpBERT-base")
    assert rpbert.title == "RpBERT (relations made)"
    assert replace(rpbert, relations="textimage-data.csv").title == "RpBERT"
    assert replace(rpbert, relation_weight=0.0).title == "RpBERT (no relation loss)"
    assert replace(riva, relations="textimage-data.csv").title == "RIVA (no pre-training)"
    bga = CASES["bga-mner"].options
    assert (bga.label, bga.published_name, bga.slug) == ("BGA-MNER (no picture at test)", "BGA-MNER", "bga-mner")
    assert (bga.trained_views, bga.tested_views) == (("I+T",), ("T", "I+T"))
    # A path is no part of an identity.
    one, other = (Cell(options=replace(riva, relations=name)).identity for name in ("a.csv", "b.csv"))
    assert one == other != Cell(options=riva).identity


def drop_all_but(sampler: Sampler, kept: float) -> None:
    """Makes a sampler keep everything, or nothing, at test."""
    last: Any = sampler.decide[-1]
    last.weight.data.zero_()
    last.bias.data.copy_(torch.tensor([kept, -kept]))


def test_samplers_keep_the_class_token_and_what_was_kept_before() -> None:
    sampler = Sampler(8).eval()
    states, keep = torch.randn(2, 4, 8), torch.tensor([[1.0, 1, 0, 1], [1, 0, 0, 0]])
    drop_all_but(sampler, 1.0)
    assert torch.equal(sampler(states, keep), keep)
    drop_all_but(sampler, -1.0)
    assert torch.equal(sampler(states, keep), torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 0]]))
    drop_all_but(sampler.train(), 0.0)
    drawn = torch.stack([sampler(states, torch.ones(2, 4)) for _ in range(200)])
    torch.testing.assert_close(drawn, drawn.round())
    assert (drawn[:, :, 0] == 1).all()
    assert 0.4 < drawn[:, :, 1:].mean() < 0.6


def test_dropped_keys_have_no_weight_and_still_a_gradient() -> None:
    attention = KeptAttention(8, 2, 0.0).double()
    queries, keys = torch.randn(1, 3, 8).double(), torch.randn(1, 4, 8).double()
    keep = torch.tensor([[1.0, 0, 1, 0]]).double().requires_grad_()
    found = attention(queries, keys, keep)
    torch.testing.assert_close(found, attention(queries, keys[:, [0, 2]], torch.ones(1, 2).double()))
    found.square().sum().backward()
    assert keep.grad is not None
    assert (keep.grad.abs() > 1e-6).all()
    assert torch.autograd.gradcheck(
        lambda k: attention(queries, keys, k), (torch.rand(1, 4).double().requires_grad_(),)
    )


def test_generated_states_do_not_depend_on_padding() -> None:
    generator = Generator(8, 2, 16, queries=6).eval()
    memory = torch.randn(1, 3, 8)
    short, long = torch.ones(1, 2, dtype=torch.bool), torch.tensor([[True, True, False, False, False]])
    expected = generator(generator.ready(short), memory, torch.ones(1, 3))
    padded = torch.cat([memory, torch.full((1, 2, 8), 9.0)], 1)
    found = generator(generator.ready(long), padded, torch.tensor([[1.0, 1, 1, 0, 0]]))
    torch.testing.assert_close(found[:, :2], expected)


def test_pictures_teach_bga_mner_and_are_not_looked_at_when_it_is_tested(tiny_encoder: str) -> None:
    tagger: Any = make(CASES["bga-mner"], tiny_encoder).train()
    batch, other = batch_of(tagger), batch_of(tagger)
    other.visual.regions += 1.0
    losses = []
    for each in (batch, other):
        torch.manual_seed(2)
        tagger.losses(each)
        losses.append(tagger.auxiliary(each))
    for name in ("generation", "cycle"):
        assert losses[0][name].shape == (len(batch.ids),)
        assert (losses[0][name] == 0).tolist() == (~batch.visual.present).tolist()
        shown = batch.visual.present
        assert (losses[0][name] - losses[1][name])[shown].abs().min() > 1e-6
    assert tagger._text is None
    tagger.eval()
    states = [tagger.states(each, ("T", "I+T")) for each in (batch, other)]
    assert torch.equal(states[0], states[1])
    assert torch.equal(*states[0].chunk(2))

"""ITA with parameters of one view: token types and an emission layer; without them it is the paper's model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import DistilBertConfig, DistilBertModel

from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch
from lightning_ita.data.views import ViewBuilder
from lightning_ita.errors import UserError
from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.encoders import load_tokenizer
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.ita_tagger import ITATagger
from lightning_ita.models.options import CROSS_MODAL, TEXT, VIEWS, from_values, to_values
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.tagger import Tagger

RECIPE = Recipe(word_dropout=0.0)
TWEETS = (("kobe is here", "a man plays"), ("hi kobe bryant !", "ball"), ("ok", ""))
ALL = ("segment", "view", "emission")


@pytest.fixture(scope="module")
def batch(tiny_encoder: str) -> TwoViewBatch:
    builder = ViewBuilder(load_tokenizer(tiny_encoder), 64)
    text = [builder.text_view(str(index), words.split()) for index, (words, _) in enumerate(TWEETS)]
    pairs = zip(text, TWEETS, strict=True)
    tweets = [EncodedTweet(v, builder.cross_modal_view(v, c.split()), (1,) * len(w.split())) for v, (w, c) in pairs]
    return Collate(pad_token_id=0)(tweets)


def model(encoder: str, *own: str, kind: type[EncoderTagger] = ITATagger) -> EncoderTagger:
    torch.manual_seed(0)
    options = ITAOptions(cva="token", contexts=("cap",), view_parameters=own)
    return kind(("PER",), options, RECIPE, encoder).eval()


def scores(tagger: Tagger, batch: TwoViewBatch, *views: str) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        found = tagger.emissions(tagger.states(batch, views), batch, views).chunk(len(views))
    return {view: each[batch.mask] for view, each in zip(views, found, strict=True)}


def test_by_default_the_views_share_all_parameters(tiny_encoder: str, batch: TwoViewBatch) -> None:
    plain, paper = model(tiny_encoder), model(tiny_encoder, kind=EncoderTagger)
    assert plain.state_dict().keys() == paper.state_dict().keys()
    for view in VIEWS:
        assert torch.equal(scores(plain, batch, *VIEWS)[view], scores(paper, batch, *VIEWS)[view])


def test_a_new_token_type_begins_as_that_of_the_tweet(tiny_encoder: str, batch: TwoViewBatch) -> None:
    plain, own = model(tiny_encoder), model(tiny_encoder, "view")
    known = own.encoder.embeddings.token_type_embeddings
    assert known.weight.shape[0] == known.num_embeddings == own.encoder.config.type_vocab_size == 3
    assert torch.equal(known.weight[2], known.weight[0])
    assert torch.equal(scores(plain, batch, CROSS_MODAL)[CROSS_MODAL], scores(own, batch, CROSS_MODAL)[CROSS_MODAL])


@pytest.mark.parametrize(("own", "type_"), [("segment", 1), ("view", 2)])
def test_a_token_type_is_read_in_one_view_alone(tiny_encoder: str, batch: TwoViewBatch, own: str, type_: int) -> None:
    tagger = model(tiny_encoder, own)
    before = scores(tagger, batch, *VIEWS)
    with torch.no_grad():
        tagger.encoder.embeddings.token_type_embeddings.weight[type_, 0] += 1.0
    after = scores(tagger, batch, *VIEWS)
    assert torch.equal(before[TEXT], after[TEXT])
    assert not torch.allclose(before[CROSS_MODAL], after[CROSS_MODAL])


def test_types_are_those_of_tweet_and_context(tiny_encoder: str, batch: TwoViewBatch) -> None:
    tagger = model(tiny_encoder, "segment", "view")
    types = tagger._typed(batch.cross_modal, batch.text).token_types  # type: ignore[operator]
    for row, (text, whole) in enumerate(
        zip(batch.text.attention_mask.sum(1), batch.cross_modal.attention_mask.sum(1), strict=True)
    ):
        assert types[row, :text].tolist() == [2 if whole > text else 0] * text
        assert types[row, text:whole].tolist() == [1] * (whole - text)
    assert tagger._typed(batch.text, batch.text).token_types.eq(0).all()  # type: ignore[operator]


def test_an_emission_layer_is_that_of_its_view_alone(tiny_encoder: str, batch: TwoViewBatch) -> None:
    tagger = model(tiny_encoder, "emission")
    before = scores(tagger, batch, *VIEWS)
    with torch.no_grad():
        tagger.cross_modal_emission.bias += torch.arange(5.0)  # type: ignore[union-attr, operator]
    after = scores(tagger, batch, *VIEWS)
    assert torch.equal(before[TEXT], after[TEXT])
    assert not torch.allclose(before[CROSS_MODAL], after[CROSS_MODAL])
    for view in VIEWS:  # alone, as predictions are made, as well as together
        torch.testing.assert_close(scores(tagger, batch, view)[view], after[view])
    groups = tagger.parameter_groups()
    assert len(groups["head"]) == 4
    assert sum(map(len, groups.values())) == len(list(tagger.parameters()))


def test_a_tweet_without_context_is_the_same_in_both_views(tiny_encoder: str, batch: TwoViewBatch) -> None:
    tagger = model(tiny_encoder, *ALL)
    with torch.no_grad():
        tagger.encoder.embeddings.token_type_embeddings.weight[1:, 0] += 1.0
        tagger.cross_modal_emission.bias += torch.arange(5.0)  # type: ignore[union-attr, operator]
        both = tagger.emissions(tagger.states(batch, VIEWS), batch, VIEWS).chunk(2)
    same = [torch.allclose(*(view[row][batch.mask[row]] for view in both)) for row in range(len(TWEETS))]
    assert same == [not context for _, context in TWEETS]


def test_all_of_them_are_trained_and_kept(tiny_encoder: str, batch: TwoViewBatch, tmp_path: Path) -> None:
    tagger = model(tiny_encoder, *ALL).train()
    tagger.loss(tagger.losses(batch)).backward()
    types = tagger.encoder.embeddings.token_type_embeddings.weight.grad
    assert types.abs().sum(1).gt(0).tolist() == [True, True, True]
    assert tagger.cross_modal_emission.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    with torch.no_grad():
        tagger.encoder.embeddings.token_type_embeddings.weight[2, 0] += 0.5
    tagger.eval().save_pretrained(tmp_path / "model")
    again = Tagger.from_pretrained(tmp_path / "model")
    assert again.options == tagger.options
    for view, found in scores(again, batch, *VIEWS).items():
        torch.testing.assert_close(found, scores(tagger, batch, *VIEWS)[view])
    assert again.predict(["kobe is here"], [{"cap": "a man plays"}])[0].view == CROSS_MODAL


def test_options_say_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'emission'"):
        ITAOptions(cva="joint", view_parameters=("emision",))
    with pytest.raises(UserError, match=r"ita\.view_parameters has no effect with cva 'off'"):
        ITAOptions(cva="off", view_parameters=("view",))
    with pytest.raises(UserError, match=r"ita\.teacher has no effect with cva 'joint'"):
        ITAOptions(cva="joint", teacher="average")
    with pytest.raises(UserError, match=r"ita\.teacher has no effect with cva off, joint"):
        ITAOptions.rows({"teacher": "average"}, ("cap",), ("off", "joint"))
    with pytest.raises(UserError, match="there is no I\\+T view to have them"):
        ITAOptions(cva="token", teacher="frozen", text_only=True, view_parameters=("view",))
    with pytest.raises(UserError, match="expected several names"):
        ITAOptions(cva="token", view_parameters="view")  # type: ignore[arg-type]
    distil = DistilBertModel(DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16, vocab_size=50))
    with pytest.raises(UserError, match="no embeddings of token types"):
        ITATagger(("PER",), ITAOptions(cva="joint", view_parameters=("segment",)), RECIPE, distil)


def test_names_and_identity_parts() -> None:
    own = ITAOptions(cva="token", contexts=("know",), view_parameters=("emission", "segment"), teacher="frozen")
    assert own.label == "ITA-Know (I+T's own segment, emission)+CVA (token), frozen teacher"
    assert own.published_name is None
    assert own.slug == "ita-know-segment-emission-token-frozen"
    assert from_values(to_values(own)) == own
    plain = ITAOptions(cva="token", contexts=("know",))
    assert plain.deciding() == {"contexts": ["know"], "cva": "token"}  # as before there were such options
    assert own.deciding() == {**plain.deciding(), "teacher": "frozen", "view_parameters": ["segment", "emission"]}
    assert own.in_mode("off") == ITAOptions(cva="off", contexts=("know",))
    assert own.in_mode("joint") == ITAOptions(cva="joint", contexts=("know",), view_parameters=own.view_parameters)
    rows = ITAOptions.rows({"teacher": "frozen", "view_parameters": ("view",)}, ("know",), ("off", "joint", "token"))
    assert [row.label for row in rows] == [
        "ITA-Know",
        "ITA-Know (I+T's own view), joint",
        "ITA-Know (I+T's own view)+CVA (token), frozen teacher",
    ]

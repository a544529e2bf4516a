"""Each system against its equations (``docs/systems/``), written out slowly: emissions in both views, and losses."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.models.packing import word_states
from lightning_ita.models.tagger import Tagger
from lightning_ita.tags import TagSet
from tests.systems.fusion_cases import CASES, POSTS, RECIPE, TYPES, batch_of, emissions, make, total_loss
from tests.systems.slow import Weights, negative_log_likelihood

HEADS = 2
relu = torch.relu


def encoded(tagger: Tagger, batch: Any) -> list[Tensor]:
    """The encoder's word states of each tweet, which other tests are about."""
    with torch.no_grad():
        states = word_states(tagger.encoder, [batch.text]).double()  # type: ignore[arg-type]
    return [row[mask] for row, mask in zip(states, batch.mask, strict=True)]


def umt(weights: Weights, h: Tensor, regions: Tensor) -> tuple[Tensor, Tensor]:
    """Emissions, and those of the span head."""
    u, s = weights.at("span_layer").layer(h, h, HEADS), weights.at("text_layer").layer(h, h, HEADS)
    v, v2 = weights.linear("region_keys", regions), weights.linear("region_queries", regions)
    a = weights.at("words_read_regions").layer(s, v, HEADS)
    p = weights.at("regions_read_words").layer(v2, s, HEADS) if len(regions) else v2
    b = weights.at("words_read_back").layer(s, p, HEADS)
    g = torch.sigmoid(weights.linear("gate.score", torch.cat([b, a], 1)))
    out = torch.cat([b, g * a if len(regions) else torch.zeros_like(a)], 1)
    spans = weights.linear("emission.spans", u)
    conversion = torch.zeros(3, 5, dtype=torch.float64)  # O, B, I to O, B-PER, I-PER, B-LOC, I-LOC
    conversion[0, 0] = 1
    conversion[1, [1, 3]] = conversion[2, [2, 4]] = 1 / 2
    return 0.5 * weights.linear("emission.tags", out) + 0.5 * spans @ conversion, spans


def umgf(weights: Weights, h: Tensor, crops: Tensor) -> Tensor:
    x = weights.linear("words_in", h)
    o = relu(weights.linear("crops_in.3", relu(weights.linear("crops_in.0", crops))))
    for number in range(2):
        layer = weights.at(f"layers.{number}")
        x1 = layer.norm("words_attended.norm", x + layer.at("words_attend").attention(x, x, HEADS), 1e-5)
        o1 = o + layer.at("objects_attend").attention(o, o, HEADS, project=False)
        o1 = layer.norm("objects_attended.norm", o1, 1e-5)
        x2 = layer.norm("words_joined.norm", x1 + pairs(layer.at("objects_to_words"), x1, o1), 1e-5)
        x = layer.norm("words_fed.norm", x2 + layer.at("words_feed").feed_forward(x2, relu), 1e-5)
        if number == 0:  # nothing reads the objects after the last layer
            o2 = layer.norm("objects_joined.norm", o1 + pairs(layer.at("words_to_objects"), o1, x1), 1e-5)
            o = layer.norm("objects_fed.norm", o2 + layer.at("objects_feed").feed_forward(o2, relu), 1e-5)
    return weights.linear("emission", torch.cat([h, x], 1))


def pairs(weights: Weights, receivers: Tensor, givers: Tensor) -> Tensor:
    """Σ_j σ(W [x_i; y_j] + b) ∘ y_j, pair by pair."""
    weight = torch.cat([weights["receiver.weight"], weights["giver.weight"]], 1)
    found = torch.zeros_like(receivers)
    for i, receiver in enumerate(receivers):
        for giver in givers:
            found[i] += torch.sigmoid(weight @ torch.cat([receiver, giver]) + weights["receiver.bias"]) * giver
    return found


def ocsga(weights: Weights, t: Tensor, labels: Tensor) -> Tensor:
    centred = labels - labels.mean(1, keepdim=True)
    y = weights.linear("labels_in", centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt())
    y1 = weights.at("labels_attend").layer(y, y, HEADS, relu, 1e-6, feed=False) if len(labels) else y
    t1 = weights.at("words_attend").layer(t, t, HEADS, relu, 1e-6)
    v = weights.at("words_read_labels").layer(t1, y1, HEADS, relu, 1e-6, residual=False)
    f = weights.norm("norm", t + v if len(labels) else t, 1e-6)
    return weights.linear("emission", f)


def label_vectors(tagger: Any, batch: Any, row: int) -> Tensor:
    """The mean embedding of each label's sub-tokens."""
    table = tagger.embeddings.weight.detach().double()
    ids, there = batch.visual.ids[row], batch.visual.subtokens[row]
    means = [table[each[inside]].mean(0) for each, inside in zip(ids, there, strict=True) if inside.any()]
    return torch.stack(means) if means else table[:0]


def lstm_states(tagger: Any, weights: Weights, batch: Any) -> list[Tensor]:
    """The text side of the paper, with torch's LSTMs over one word, and over one tweet."""
    side, found = tagger.text_side.double(), []
    table = tagger.embeddings.weight.detach().double()
    for row, post in enumerate(POSTS):
        ids = batch.text.input_ids[row]
        starts = [
            *batch.text.first_subtokens[row][batch.mask[row]].tolist(),
            int(batch.text.attention_mask[row].sum()) - 1,
        ]
        words = []
        for index, word in enumerate(post.words.split()):
            vector = table[ids[starts[index] : starts[index + 1]]].mean(0)
            letters = torch.tensor([ord(letter) - 0x21 + 2 for letter in word])
            states = side.character_lstm.lstm(side.characters(letters)[None])[0][0]
            words.append(torch.cat([vector, states[-1, :25], states[0, 25:]]))
        found.append(side.word_lstm.lstm(torch.stack(words)[None])[0][0].detach())
    side.float()
    return found


def reference(name: str, tagger: Tagger, batch: Any, view: str) -> list[Tensor]:
    weights = Weights(tagger)
    states = lstm_states(tagger, weights, batch) if name == "ocsga-lstm" else encoded(tagger, batch)
    found = []
    for row, h in enumerate(states):
        if name.startswith("ocsga"):
            labels = label_vectors(tagger, batch, row)
            found.append(ocsga(weights, h, labels if view == CROSS_MODAL else labels[:0]))
            continue
        visual = batch.visual
        shown = view == CROSS_MODAL and bool(visual.present[row])
        if name == "umt":
            found.append(
                umt(weights, h, visual.regions[row].double() if shown else visual.regions[row, :0].double())[0]
            )
        else:
            found.append(umgf(weights, h, visual.crops[row][visual.crop_mask[row] & shown].double()))
    return found


@pytest.mark.parametrize("view", [TEXT, CROSS_MODAL])
@pytest.mark.parametrize("name", ["ocsga", "ocsga-lstm", "umt", "umgf"])
def test_emissions_are_those_of_the_equations(tiny_encoder: str, name: str, view: str) -> None:
    tagger = make(CASES[name], tiny_encoder)
    batch = batch_of(tagger)
    for found, expected in zip(emissions(tagger, batch, view), reference(name, tagger, batch, view), strict=True):
        assert found.shape == (len(expected), 2 * len(TYPES) + 1)
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["ocsga", "umt", "umgf"])
def test_losses_are_those_of_the_equations(tiny_encoder: str, name: str) -> None:
    tagger = make(CASES[name], tiny_encoder, cva="joint")
    batch = batch_of(tagger)
    weights = Weights(tagger)
    expected = torch.zeros(len(POSTS))
    for view, weight in ((TEXT, 1.0), (CROSS_MODAL, RECIPE.cross_modal_weight)):
        for row, scores in enumerate(reference(name, tagger, batch, view)):
            tags = batch.tags[row, : len(scores)].tolist()
            expected[row] += weight * negative_log_likelihood(scores, weights.at("crf"), tags)
    if name == "umt":
        for row, h in enumerate(encoded(tagger, batch)):
            spans = umt(weights, h, torch.zeros(0, tagger.channels, dtype=torch.float64))[1]  # type: ignore[call-overload]
            tags = [" BI".index(tag[0]) if tag[0] != "O" else 0 for tag in POSTS[row].tags.split()]
            expected[row] += 0.5 * negative_log_likelihood(spans, weights.at("span_crf"), tags)
        tagger.training = True  # keeps the span states; dropout is 0
    assert total_loss(tagger, batch).item() == pytest.approx(expected.mean().item(), rel=1e-4)


@pytest.mark.parametrize("scheme", ["BIO", "BIOES"])
def test_the_span_head_speaks_for_every_type_alike(scheme: Any) -> None:
    from lightning_ita.models.umt_tagger import SpanEmission

    tags = TagSet(("PER", "LOC", "ORG", "MISC"), scheme)
    head = SpanEmission(torch.nn.Linear(8, len(tags)), 4, tags, 0.5)
    assert head.span_tags == list({"BIO": "OBI", "BIOES": "OBIES"}[scheme])
    for row, span in enumerate(head.span_tags):
        for column, tag in enumerate(tags.tags):
            same = tag[0] == span
            assert head.conversion[row, column].item() == (0 if not same else 1 if tag == "O" else 0.25)
    assert [head.span_tags[index] for index in head.span_ids] == [tag[0] for tag in tags.tags]

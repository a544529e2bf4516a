"""RIVA, RpBERT and BGA-MNER against their equations (``docs/systems/``), written out slowly: one tweet at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import BertModel

from lightning_ita.models.bga_mner_tagger import BGAMNER
from lightning_ita.models.options import CROSS_MODAL, TEXT
from lightning_ita.models.tagger import Tagger
from tests.systems.fusion_cases import CASES, POSTS, batch_of, emissions, make
from tests.systems.slow import Weights
from tests.systems.test_references import encoded

HEADS = 2


def lstm(weights: Weights, x: Tensor, layers: int) -> Tensor:
    """A bidirectional LSTM, step by step."""
    for layer in range(layers):
        directions = []
        for suffix, order in (("", 1), ("_reverse", -1)):
            into, over, b1, b2 = (
                weights[f"{kind}_l{layer}{suffix}"] for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            )
            h = c = torch.zeros(over.shape[1], dtype=x.dtype)
            states = []
            for step in range(len(x))[::order]:
                i, f, g, o = (into @ x[step] + b1 + over @ h + b2).chunk(4)
                c = f.sigmoid() * c + i.sigmoid() * g.tanh()
                h = o.sigmoid() * c.tanh()
                states.append(h)
            directions.append(torch.stack(states[::order]))
        x = torch.cat(directions, 1)
    return x


def riva(weights: Weights, h: Tensor, regions: Tensor) -> Tensor:
    q = h.mean(0)
    c = weights.at("attention").attention(q[None], weights.linear("regions_in", regions), 1)[0]
    s = torch.zeros((), dtype=h.dtype)
    if len(regions):
        gate = weights.at("relation")
        met = torch.relu(gate.linear("text", q) * gate.linear("visual", regions.mean(0)))
        s = gate.linear("out", met)[0].sigmoid()
    joined = torch.cat([h, (s * c).expand_as(h)], 1)
    return weights.linear("emission", lstm(weights.at("lstm.lstm"), joined, 1))


@pytest.mark.parametrize("view", [TEXT, CROSS_MODAL])
def test_riva(tiny_encoder: str, view: str) -> None:
    tagger = make(CASES["riva"], tiny_encoder)
    batch = batch_of(tagger)
    weights, found = Weights(tagger), emissions(tagger, batch, view)
    for row, h in enumerate(encoded(tagger, batch)):
        shown = view == CROSS_MODAL and bool(batch.visual.present[row])
        regions = batch.visual.regions[row][: None if shown else 0].double()
        torch.testing.assert_close(found[row].double(), riva(weights, h, regions), rtol=1e-4, atol=1e-4)


class SlowRpBERT:
    """RpBERT with a BERT of transformers, tweet by tweet, without any padding."""

    def __init__(self, tagger: Tagger, encoder: str):
        self.weights, self.gate = Weights(tagger), tagger.options.gate  # type: ignore[attr-defined]
        self.bert = BertModel.from_pretrained(encoder, attn_implementation="eager", add_pooling_layer=False).double()
        self.bert.load_state_dict(tagger.encoder.state_dict())  # type: ignore[union-attr]
        self.bert.eval()

    def read(self, ids: Tensor, regions: Tensor, gate: Tensor | None) -> Tensor:
        """Encodes sub-tokens and regions; a gate is multiplied into the regions, or into the weights of attention."""
        embedded = torch.cat([self.bert.get_input_embeddings()(ids), regions])
        n, r = len(embedded), len(regions)
        bias = torch.zeros(1, 1, n, n, dtype=torch.float64)
        if gate is not None and self.gate == "input":
            embedded[n - r :] *= gate
        elif gate is not None:
            bias[..., n - r :] = gate.log()
        types = torch.tensor([0] * (n - r) + [1] * r)
        output = self.bert(inputs_embeds=embedded[None], token_type_ids=types[None], attention_mask=bias)
        return output.last_hidden_state[0]

    def relation(self, ids: Tensor, regions: Tensor) -> Tensor:
        return self.weights.linear("relation", self.read(ids, regions, None)[0])[0]

    def emissions(self, ids: Tensor, first: Tensor, regions: Tensor) -> Tensor:
        gate = self.relation(ids, regions).sigmoid() if len(regions) else None
        states = self.read(ids, regions, gate)[first]
        return self.weights.linear("emission", lstm(self.weights.at("lstm.lstm"), states, 1))


@pytest.mark.parametrize("gate", ["attention", "input"])
def test_rpbert(tiny_encoder: str, gate: str) -> None:
    tagger: Any = make(CASES["rpbert"], tiny_encoder, gate=gate)
    batch = batch_of(tagger)
    slow = SlowRpBERT(tagger, tiny_encoder)
    with torch.no_grad():
        scores = tagger.relation_scores(batch)
        for view in (TEXT, CROSS_MODAL):
            found = emissions(tagger, batch, view)
            for row in range(len(POSTS)):
                ids = batch.text.input_ids[row][batch.text.attention_mask[row] == 1]
                first = batch.text.first_subtokens[row][batch.mask[row]]
                shown = view == CROSS_MODAL and bool(batch.visual.present[row])
                regions = slow.weights.linear("regions_in", batch.visual.regions[row].double())
                expected = slow.emissions(ids, first, regions[: None if shown else 0])
                torch.testing.assert_close(found[row].double(), expected, rtol=1e-4, atol=1e-4)
                if shown:
                    torch.testing.assert_close(scores[row].double(), slow.relation(ids, regions), rtol=1e-4, atol=1e-4)


def test_a_gate_that_is_shut_is_no_picture_and_one_that_is_open_no_gate(tiny_encoder: str) -> None:
    tagger: Any = make(CASES["rpbert"], tiny_encoder)
    batch = batch_of(tagger)
    tagger.relation.weight.data.zero_()
    shut: list[Tensor] = []
    open_: list[Tensor] = []
    for bias, into in ((-60.0, shut), (60.0, open_)):
        tagger.relation.bias.data.fill_(bias)
        into += emissions(tagger, batch, CROSS_MODAL)
    for row, text in enumerate(emissions(tagger, batch, TEXT)):
        torch.testing.assert_close(shut[row], text)
    ungated = torch.cat(open_)
    tagger.options = CASES["rpbert"].options.__class__(gate="input", lstm_layers=1, lstm_width=6)
    torch.testing.assert_close(torch.cat(emissions(tagger, batch, CROSS_MODAL)), ungated)
    tagger.relation.bias.data.fill_(-60.0)
    left = torch.cat(emissions(tagger, batch, CROSS_MODAL)) - torch.cat(emissions(tagger, batch, TEXT))
    assert left.abs().max() > 1e-3  # as published, regions are still there where the gate is shut


# States, what is kept of them, and what is generated from those, by level.
Levels = tuple[list[Tensor], list[list[int]], list[Tensor]]


class SlowBGA:
    """BGA-MNER for one tweet, head by head; what is dropped is taken out."""

    def __init__(self, tagger: Any):
        self.weights, self.depth = Weights(tagger), len(tagger.layers)

    def sampled(self, sampler: Weights, states: Tensor, kept: list[int]) -> list[int]:
        x = F.gelu(sampler.linear("embed.1", sampler.norm("embed.0", states, 1e-5)))
        half = x.shape[1] // 2
        shared = x[kept][:, half:].mean(0)
        found = []
        for index in kept:
            y = torch.cat([x[index, :half], shared])
            y = F.gelu(sampler.linear("decide.2", F.gelu(sampler.linear("decide.0", y))))
            keep, drop = sampler.linear("decide.4", y)
            if index == 0 or keep >= drop:
                found.append(index)
        return found

    def generated(self, name: str, count: int, memory: Tensor) -> Tensor:
        w = self.weights.at(name)
        q = w["queries"][:count]
        x = w.norm("after_among.norm", q + w.at("among").attention(q, q, HEADS), 1e-5)
        x = w.norm("after_reading.norm", x + w.at("reading").attention(x, memory, HEADS), 1e-5)
        return w.norm("fed.norm", x + w.at("feed_forward").feed_forward(x, torch.relu), 1e-5)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, extra: Tensor) -> Tensor:
        size = q.shape[1] // HEADS
        parts = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            keys, values = (torch.cat([own[:, part], extra[:, part]]) for own in (k, v))
            parts.append((q[:, part] @ keys.T / size**0.5).softmax(1) @ values)
        return torch.cat(parts, 1)

    def text_layer(self, level: int, x: Tensor, extra: Tensor) -> Tensor:
        w = self.weights.at(f"encoder.encoder.layer.{level - 1}")
        q, k, v = (w.linear(f"attention.self.{name}", x) for name in ("query", "key", "value"))
        x = w.norm(
            "attention.output.LayerNorm", x + w.linear("attention.output.dense", self.attend(q, k, v, extra)), 1e-12
        )
        return w.norm(
            "output.LayerNorm", x + w.linear("output.dense", F.gelu(w.linear("intermediate.dense", x))), 1e-12
        )

    def picture_layer(self, level: int, x: Tensor, extra: Tensor) -> Tensor:
        w = self.weights.at(f"layers.{level - 1}")
        y = w.norm("before_attention", x, 1e-5)
        q, k, v = (w.linear(name, y) for name in ("query", "key", "value"))
        x = x + w.linear("output", self.attend(q, k, v, extra))
        return x + w.at("feed_forward").feed_forward(w.norm("before_feed_forward", x, 1e-5), F.gelu)

    def tower(self, x: Tensor, layer: Any, samplers: str, to: str, count: int) -> Levels:
        states: list[Tensor] = []
        generated: list[Tensor] = []
        kept = [list(range(len(x)))]
        for level in range(self.depth + 1):
            if level:
                x = layer(level, x, generated[-1])
            states.append(x)
            kept.append(self.sampled(self.weights.at(f"{samplers}.{level}"), x, kept[-1]))
            generated.append(self.generated(to, count, x[kept[-1]]))
        return states, kept[1:], generated

    def text(self, ids: Tensor, regions: int) -> Levels:
        w = self.weights.at("encoder.embeddings")
        x = w["word_embeddings.weight"][ids] + w["position_embeddings.weight"][: len(ids)]
        x = w.norm("LayerNorm", x + w["token_type_embeddings.weight"][0], 1e-12)
        return self.tower(x, self.text_layer, "text_samplers", "to_picture", regions + 1)

    def picture(self, regions: Tensor, words: int) -> Levels:
        x = torch.cat([self.weights["class_token"][0], self.weights.linear("regions_in", regions)])
        return self.tower(x + self.weights["places"][0], self.picture_layer, "picture_samplers", "to_text", words)


def divergence(real: Tensor, generated: Tensor, kept: list[int]) -> Tensor:
    """6 · KL(softmax(real / 6) ‖ softmax(generated / 6)), averaged over those that are kept."""
    found = []
    for index in kept:
        p, q = (real[index] / 6).softmax(0), (generated[index] / 6).softmax(0)
        found.append(6 * (p * (p / q).log()).sum())
    return torch.stack(found).mean()


def test_bga_mner(tiny_encoder: str) -> None:
    tagger = make(CASES["bga-mner"], tiny_encoder)
    assert isinstance(tagger, BGAMNER)
    batch, slow = batch_of(tagger), SlowBGA(tagger)
    found = {view: emissions(tagger, batch, view) for view in (TEXT, CROSS_MODAL)}
    mask = batch.text.attention_mask.bool()
    with torch.no_grad():
        text = tagger.text_tower(batch.text.input_ids, mask, whole=True)
        picture = tagger.picture_tower(batch.visual.regions, mask)
        once, twice = tagger.generation_losses(text, picture)
    dropped = 0
    for row in range(len(POSTS)):
        ids, regions = batch.text.input_ids[row][mask[row]], batch.visual.regions[row].double()
        t, t_kept, v_new = slow.text(ids, len(regions))
        v, v_kept, t_new = slow.picture(regions, len(ids))
        dropped += len(t[-1]) - len(t_kept[-1]) + len(v[-1]) - len(v_kept[-1])
        first = batch.text.first_subtokens[row][batch.mask[row]]
        expected = slow.weights.linear("emission", t[-1][first])
        for view in (TEXT, CROSS_MODAL):
            torch.testing.assert_close(found[view][row].double(), expected, rtol=1e-4, atol=1e-4)
        losses = torch.zeros(2, dtype=torch.float64)
        for level in range(len(t)):
            losses[0] += divergence(t[level], t_new[level], t_kept[level])
            losses[0] += divergence(v[level], v_new[level], v_kept[level])
            losses[1] += divergence(t[level], slow.generated("to_text", len(ids), v_new[level]), t_kept[level])
            again = slow.generated("to_picture", len(regions) + 1, t_new[level])
            losses[1] += divergence(v[level], again, v_kept[level])
        expected = losses / len(t)
        torch.testing.assert_close(torch.stack([once[row], twice[row]]).double(), expected, rtol=1e-3, atol=1e-5)
    assert dropped > 0  # what is dropped plays a part in this test

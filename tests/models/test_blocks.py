"""Blocks that systems share, against what torch has and against sums written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lightning_ita.errors import UserError
from lightning_ita.models.blocks.bilstm import BiLSTM
from lightning_ita.models.blocks.cross_layer import Attention, CrossLayer, mean_over
from lightning_ita.models.blocks.gates import PairGate, ScalarGate, VectorGate

MASK = torch.tensor([[True, True, False], [True, False, False], [False, False, False]])


def tensors(*lengths: int, width: int = 8) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(3, length, width, generator=generator) for length in lengths]


def as_torch(attention: Attention) -> nn.MultiheadAttention:
    """Returns torch's module with the same weights."""
    width = attention.query.in_features
    theirs = nn.MultiheadAttention(width, attention.heads, batch_first=True)
    parts = (attention.query, attention.key, attention.value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))  # type: ignore[arg-type]
        bias = [torch.zeros(width) if part.bias is None else part.bias for part in parts]
        theirs.in_proj_bias.copy_(torch.cat(bias))  # type: ignore[arg-type]
        theirs.out_proj.load_state_dict(attention.output.state_dict())
    return theirs


def test_attention_is_torchs_where_there_are_keys_and_nothing_elsewhere() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2)
    queries, keys = tensors(4, 3)
    ours = attention(queries, keys, MASK)
    theirs = as_torch(attention)(queries, keys, keys, key_padding_mask=~MASK)[0]
    torch.testing.assert_close(ours[:2], theirs[:2])
    assert ours[2].eq(0).all()
    assert theirs[2].isnan().all()  # why torch's own is not used


def test_no_gradient_of_an_empty_row_is_nan() -> None:
    attention = Attention(8, 2)
    queries, keys = (each.requires_grad_() for each in tensors(4, 3))
    attention(queries, keys, MASK).square().sum().backward()
    assert all(
        each.grad is not None and each.grad.isfinite().all() for each in (queries, keys, *attention.parameters())
    )
    assert queries.grad is not None
    assert queries.grad[2].eq(0).all()


def test_attention_without_projections_averages_the_keys_themselves() -> None:
    torch.manual_seed(0)
    attention = Attention(8, 2, project_values=False)
    queries, keys = tensors(4, 3)
    assert {name for name, _ in attention.named_parameters()} == {"query.weight", "query.bias", "key.weight"}
    torch.testing.assert_close(attention(queries, keys, MASK)[1], keys[1, :1].expand(4, -1))


def test_heads_must_divide_the_width() -> None:
    with pytest.raises(UserError, match="3 attention heads do not divide a width of 8"):
        Attention(8, 3)


def test_a_cross_layer_over_itself_is_torchs_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = CrossLayer(8, 2, 16, "relu", dropout=0.0)
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    theirs.self_attn = as_torch(ours.attention)
    theirs.linear1, theirs.linear2 = ours.feed_forward[0], ours.feed_forward[3]  # type: ignore[index]
    theirs.norm1, theirs.norm2 = ours.attended.norm, ours.fed.norm  # type: ignore[union-attr]
    (states,) = tensors(3)
    mask = MASK[:2]
    found, expected = ours(states[:2], states[:2], mask), theirs.train()(states[:2], src_key_padding_mask=~mask)
    torch.testing.assert_close(found[mask], expected[mask])


def test_residual_connections_and_the_feed_forward_part_can_be_left_out() -> None:
    torch.manual_seed(0)
    queries, keys = tensors(4, 3)
    alone = CrossLayer(8, 2, 0, dropout=0.0, residual=False)
    expected = alone.attended.norm(alone.attention(queries, keys, MASK))
    torch.testing.assert_close(alone(queries, keys, MASK), expected)
    fed = CrossLayer(8, 2, 16, dropout=0.0, residual=False)
    states = fed.attended.norm(fed.attention(queries, keys, MASK))
    assert fed.feed_forward is not None
    torch.testing.assert_close(fed(queries, keys, MASK), fed.fed.norm(fed.feed_forward(states)))  # type: ignore[union-attr]


def test_the_factored_pair_gate_is_the_one_over_concatenated_pairs() -> None:
    torch.manual_seed(0)
    gate = PairGate(8)
    receivers, givers = tensors(4, 3)
    weight, bias = torch.cat([gate.receiver.weight, gate.giver.weight], 1), gate.receiver.bias
    found = gate(receivers, givers, MASK)
    for row in range(3):
        for i in range(4):
            expected = torch.zeros(8)
            for j in range(3):
                if MASK[row, j]:
                    pair = torch.cat([receivers[row, i], givers[row, j]])
                    expected += torch.sigmoid(weight @ pair + bias) * givers[row, j]
            torch.testing.assert_close(found[row, i], expected)
    assert found[2].eq(0).all()


def test_other_gates_are_as_written() -> None:
    torch.manual_seed(0)
    by, gated = (each[:, 0] for each in tensors(1, 1))
    vector = VectorGate(8)
    expected = torch.sigmoid(torch.cat([by, gated], 1) @ vector.score.weight.T + vector.score.bias) * gated
    torch.testing.assert_close(vector(by, gated), expected)
    scalar = ScalarGate(8, 8, 5)
    score = scalar.out(torch.relu(scalar.text(by) * scalar.visual(gated))).flatten()
    torch.testing.assert_close(scalar(by, gated), score)


def test_a_mean_over_nothing_is_0() -> None:
    (states,) = tensors(3)
    found = mean_over(states, MASK)
    torch.testing.assert_close(found[0], states[0, :2].mean(0))
    assert found[2].eq(0).all()


def test_an_lstm_stops_where_a_row_ends() -> None:
    torch.manual_seed(0)
    lstm = BiLSTM(8, 4, layers=2)
    (inputs,) = tensors(3)
    mask = MASK[:2]
    states, ends = lstm(inputs[:2], mask), lstm.ends(inputs[:2], mask)
    assert states.shape == (2, 3, 8)
    assert states[~mask].eq(0).all()
    for row, length in enumerate(mask.sum(1).tolist()):
        alone, _ = lstm.lstm(inputs[row : row + 1, :length])
        torch.testing.assert_close(states[row, :length], alone[0])
        torch.testing.assert_close(ends[row], torch.cat([alone[0, -1, :4], alone[0, 0, 4:]]))

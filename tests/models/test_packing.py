from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from transformers import (
    BertConfig,
    BertModel,
    ElectraConfig,
    ElectraModel,
    XLMRobertaConfig,
    XLMRobertaModel,
    XLMRobertaXLConfig,
    XLMRobertaXLModel,
)

from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch, ViewBatch
from lightning_ita.data.views import View
from lightning_ita.models import packing
from lightning_ita.models.encoders import checkpoint_activations
from lightning_ita.models.packing import (
    PACKED_ATTENTION,
    VariableLengthLayout,
    pack,
    position_offset,
    use_packed_attention,
    word_states,
)

SIZES = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "pad_token_id": 1,
}
ENCODERS = {
    "bert": lambda: BertModel(BertConfig(**SIZES)),
    "electra": lambda: ElectraModel(ElectraConfig(**SIZES, embedding_size=16)),
    "xlm-roberta": lambda: XLMRobertaModel(XLMRobertaConfig(**SIZES)),
    "xlm-roberta-xl": lambda: XLMRobertaXLModel(XLMRobertaXLConfig(**SIZES)),
}


def tweet(name: str, words: int, context: int) -> EncodedTweet:
    first = tuple(range(1, words + 1))
    text = View(name, (2, *range(10, 10 + words), 3), first)
    return EncodedTweet(text, View(name, (*text.input_ids, *range(30, 30 + context), 3), first), (1,) * words)


@pytest.fixture
def batch() -> TwoViewBatch:
    return Collate(pad_token_id=1)([tweet("a", 3, 9), tweet("b", 7, 1), tweet("c", 1, 4)])


def encoder(family: str) -> nn.Module:
    torch.manual_seed(0)
    return ENCODERS[family]().double().eval()


def one_by_one(model: nn.Module, views: Sequence[ViewBatch]) -> list[torch.Tensor]:
    """The state of each word, from a pass over each view of each tweet alone, without any padding."""
    states = []
    for view in views:
        for row in range(len(view.input_ids)):
            length = int(view.attention_mask[row].sum())
            hidden = model(view.input_ids[row : row + 1, :length]).last_hidden_state[0]
            words = view.first_subtokens[row]
            states.append(hidden[words[words > 0]])
    return states


@pytest.mark.parametrize("family", ENCODERS)
@pytest.mark.parametrize("grad", [True, False])
def test_one_pass_over_both_views_equals_a_pass_over_each_alone(family: str, grad: bool, batch: TwoViewBatch) -> None:
    model = encoder(family)
    views = [batch.text, batch.cross_modal]
    with torch.set_grad_enabled(grad):
        expected = one_by_one(model, views)
        use_packed_attention(model)
        assert model.config._attn_implementation == PACKED_ATTENTION
        packed = pack(views, position_offset(model), padding=True)
        hidden = model(attention_mask=None, **packed._asdict()).last_hidden_state[0].unflatten(0, (6, 7))
    assert len(packed.input_ids[0]) == 3 * 9 + 3 * 15
    for row, states in enumerate(expected):
        torch.testing.assert_close(hidden[row, : len(states)], states)


def test_gradients_agree_in_both_layouts(batch: TwoViewBatch) -> None:
    gradients = []
    for packed in (False, True):
        model = encoder("bert")
        if packed:
            use_packed_attention(model)
        states = word_states(model, [batch.text, batch.cross_modal])
        (states * batch.mask.repeat(2, 1)[..., None]).square().sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    for left, right in zip(*gradients, strict=True):
        torch.testing.assert_close(left, right)


def test_without_padding_only_sub_tokens_are_left(batch: TwoViewBatch) -> None:
    packed = pack([batch.text, batch.cross_modal], offset=2, padding=False)
    layout = packed.layout
    assert isinstance(layout, VariableLengthLayout)
    assert layout.offsets.dtype == torch.int32
    assert layout.offsets.tolist() == [0, 5, 14, 17, 32, 43, 51]
    assert layout.longest == 15
    assert len(packed.input_ids[0]) == 17 + 34
    rows = [slice(*ends) for ends in zip(layout.offsets[:-1], layout.offsets[1:], strict=True)]
    for row, where in enumerate(rows):
        view = (batch.text, batch.cross_modal)[row // 3]
        length = int(view.attention_mask[row % 3].sum())
        assert packed.input_ids[0, where].tolist() == view.input_ids[row % 3, :length].tolist()
        assert packed.position_ids[0, where].tolist() == list(range(2, 2 + length))
        words = packed.first_subtokens.unflatten(0, (6, -1))[row][batch.mask[row % 3]]
        assert (words - layout.offsets[row]).tolist() == view.first_subtokens[row % 3][batch.mask[row % 3]].tolist()


def test_other_encoders_read_the_views_apart(batch: TwoViewBatch) -> None:
    model = encoder("bert")
    expected = word_states(model, [batch.text, batch.cross_modal])
    model.config.model_type = "deberta-v2"
    use_packed_attention(model)
    assert model.config._attn_implementation != PACKED_ATTENTION
    torch.testing.assert_close(word_states(model, [batch.text, batch.cross_modal]), expected)


def test_gradient_checkpointing_changes_nothing(batch: TwoViewBatch) -> None:
    states = []
    for checkpointing in (False, True):
        model = encoder("bert").train()
        use_packed_attention(model)
        if checkpointing:
            checkpoint_activations(model)
        torch.manual_seed(1)
        state = word_states(model, [batch.text, batch.cross_modal])
        state.sum().backward()
        states.append((state, model.encoder.layer[0].intermediate.dense.weight.grad))
    torch.testing.assert_close(states[0], states[1], rtol=0, atol=0)


@pytest.mark.parametrize("family", ENCODERS)
def test_tweets_in_the_order_of_their_lengths_lose_most_of_their_padding(family: str) -> None:
    model = encoder(family)
    tweets = [tweet(str(words), words, words) for words in range(1, 18)]
    batch = Collate(pad_token_id=1)(tweets)
    views = [batch.text, batch.cross_modal]
    expected = one_by_one(model, views)
    use_packed_attention(model)
    read = []
    model.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"]), with_kwargs=True)
    with torch.no_grad():
        cut = word_states(model, views)
    whole = word_states(model, views)
    (short, long), padded = (ids.numel() for ids in read), sum(view.input_ids.numel() for view in views)
    assert long == padded
    assert sum(len(view.subtokens) for view in views) < short < 0.8 * padded
    words = [row for view in views for row in view.first_subtokens]
    for states in (cut, whole):
        for row, first, wanted in zip(states, words, expected, strict=True):
            torch.testing.assert_close(row[first > 0], wanted)


@pytest.mark.parametrize("family", ENCODERS)
def test_in_bfloat16_few_sizes_occur_and_the_filling_changes_nothing(
    family: str, batch: TwoViewBatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = encoder(family)
    use_packed_attention(model)
    sizes: list[int] = []
    model.get_submodule("encoder.layer")[0].register_forward_pre_hook(lambda _, args: sizes.append(args[0].shape[1]))
    found = []
    for digits in (64, 2):  # of 64 digits, no number of sub-tokens is rounded
        monkeypatch.setattr(packing, "DIGITS", digits)
        model.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            states = word_states(model, [batch.text, batch.cross_modal])
        # Not the squares, whose sum a layer norm makes constant.
        (states * torch.linspace(-1, 1, states.shape[-1])).sum().backward()
        found.append([states.detach(), *(weight.grad for weight in model.parameters() if weight.grad is not None)])
    assert sizes[1] > sizes[0]
    assert f"{sizes[1]:b}".rstrip("0") in ("1", "11")
    # Some gradients are 0 but for rounding: those of the keys' biases, which the softmax ignores.
    rounding = 1e-3 * max(float(each.abs().max()) for each in found[0])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0.02, atol=0.02 * float(one.abs().max()) + rounding)

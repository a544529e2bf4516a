from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lightning_ita.errors import UserError
from lightning_ita.models.encoders import load_encoder
from lightning_ita.models.encoders.checking import check_reading
from lightning_ita.models.encoders.locating import EncoderShape
from tests.models.encoders.conftest import Edit

FIRST = "encoder.layer.0.output.dense.weight"


def with_tensors(tiny_encoder: str, folder: Path, change: dict[str, Tensor | None]) -> str:
    """Copies an encoder with other tensors; ``None`` removes one."""
    shutil.copytree(tiny_encoder, folder, dirs_exist_ok=True)
    tensors = load_file(folder / "model.safetensors") | change
    kept = {key: tensor for key, tensor in tensors.items() if tensor is not None}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    return str(folder)


def test_a_missing_tensor_is_named(tiny_encoder: str, tmp_path: Path) -> None:
    folder = with_tensors(tiny_encoder, tmp_path, {FIRST: None})
    with pytest.raises(UserError, match=rf"are not those that its config.json describes \(missing: {FIRST}\)"):
        load_encoder(folder)


def test_tensors_under_other_names_are_missing(tiny_encoder: str, tmp_path: Path) -> None:
    tensors = load_file(Path(tiny_encoder) / "model.safetensors")
    renamed = {f"backbone.{key}": tensor for key, tensor in tensors.items()}
    folder = with_tensors(tiny_encoder, tmp_path, dict.fromkeys(tensors) | renamed)
    with pytest.raises(UserError, match=r"missing: embeddings.LayerNorm.bias, .* and 32 more\)"):
        load_encoder(folder)


def test_a_tensor_of_another_shape_is_named(tiny_encoder: str, tmp_path: Path) -> None:
    folder = with_tensors(tiny_encoder, tmp_path, {FIRST: torch.zeros(32, 63)})
    with pytest.raises(UserError, match=rf"\(of another shape: {FIRST} \[32, 63\], not \[32, 64\]\)"):
        load_encoder(folder)


def test_layers_that_the_configuration_does_not_have_are_named(edited: Edit) -> None:
    with pytest.raises(UserError, match=r"\(not of this encoder: encoder.layer.1.attention.output.LayerNorm.bias, "):
        load_encoder(edited(num_hidden_layers=1))


def test_constants_and_heads_are_left_out(tiny_encoder: str, tmp_path: Path) -> None:
    extra = {
        "embeddings.position_ids": torch.zeros(1, 5),
        "classifier.weight": torch.zeros(9, 32),
        "bias": torch.ones(1),
    }
    load_encoder(with_tensors(tiny_encoder, tmp_path, extra))


def test_weights_of_another_family_are_refused(edited: Edit) -> None:
    with pytest.raises(
        UserError, match=r"model_type is 'roberta', but BertModel in architectures is of the family 'bert'"
    ):
        load_encoder(edited(model_type="roberta"))


def test_weights_of_a_family_with_the_same_forward_are_read(edited: Edit) -> None:
    load_encoder(edited(model_type="roberta", architectures=["XLMRobertaModel"], pad_token_id=1))


def test_weights_that_are_not_finite_are_refused(tiny_encoder: str, tmp_path: Path) -> None:
    folder = with_tensors(tiny_encoder, tmp_path, {FIRST: torch.full((32, 64), torch.nan)})
    with pytest.raises(UserError, match="returns states that are not finite"):
        load_encoder(folder)


def test_an_encoder_that_reads_from_left_to_right_is_refused(edited: Edit) -> None:
    with pytest.raises(UserError, match="it reads from left to right only, so that a tweet's words do not see"):
        load_encoder(edited(is_decoder=True))


class Reader(nn.Module):
    """An encoder that mixes all sub-tokens it is told of, as far as `limit` allows."""

    def __init__(self, limit: int = 100, mixes: float = 1, masks: bool = True):
        super().__init__()
        self.config = SimpleNamespace(model_type="reader", pad_token_id=0)
        self.embedding = nn.Embedding(50, 4)
        self.layers = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
        self.limit, self.mixes, self.masks = limit, mixes, masks

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SimpleNamespace:
        if input_ids.shape[1] > self.limit:
            raise IndexError("index out of range in self")
        states = self.embedding(input_ids)
        weights = attention_mask if self.masks else torch.ones_like(attention_mask)
        states = states + self.mixes * (states * weights[..., None]).sum(1, keepdim=True)
        for layer in self.layers:
            states = layer(states)
        return SimpleNamespace(last_hidden_state=states)


SHAPE = EncoderShape(layers=2, hidden=4, feed_forward=4, vocabulary=50, max_length=100)


def test_a_reader_passes_and_its_later_layers_do_not_read_the_longest_view() -> None:
    reader, lengths = Reader(), []
    reader.layers[1].register_forward_hook(lambda _, args, __: lengths.append(args[0].shape[1]))
    check_reading("reader", reader, SHAPE, 100)
    assert reader.training
    assert max(lengths) < 100


def test_views_beyond_any_tweets_are_not_tried() -> None:
    check_reading("reader", Reader(limit=8192), SHAPE, 10**6)


@pytest.mark.parametrize("limit", [8, 9, 57, 99])
def test_the_length_that_works_is_said(limit: int) -> None:
    message = rf"does not take views of 100 sub-tokens.*IndexError.*give --recipe.max_length {limit}$"
    with pytest.raises(UserError, match=message):
        check_reading("reader", Reader(limit), SHAPE, 100)
    check_reading("reader", Reader(limit), SHAPE, limit)


def test_an_encoder_without_attention_is_refused() -> None:
    with pytest.raises(UserError, match="of the family 'reader' cannot be used: it reads without attention"):
        check_reading("reader", Reader(mixes=0), SHAPE, 100)


def test_an_encoder_of_another_width_is_refused() -> None:
    shape = EncoderShape(layers=2, hidden=5, feed_forward=4, vocabulary=50, max_length=100)
    with pytest.raises(UserError, match=r"returns states of shape \[8, 4\], not 8 states of width 5"):
        check_reading("reader", Reader(), shape, 100)


def test_an_encoder_that_wants_more_than_subtokens_is_refused() -> None:
    reader = Reader()
    reader.register_forward_pre_hook(lambda *_: exec('raise ValueError("You have to specify bbox")'))
    with pytest.raises(UserError, match="mask alone, it fails with ValueError: You have to specify bbox"):
        check_reading("reader", reader, SHAPE, 100)


def test_states_that_depend_on_padding_are_told() -> None:
    with pytest.warns(UserWarning, match="the states of a tweet depend on the padding behind it"):
        check_reading("reader", Reader(masks=False), SHAPE, 100)

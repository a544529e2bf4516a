"""The model of OCSGA; `lightning_ita.models.ocsga` has its options, ``docs/systems/ocsga.md`` its equations."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_ita.data.batching import ViewBatch
from lightning_ita.models.blocks.bilstm import BiLSTM
from lightning_ita.models.blocks.cross_layer import CrossLayer, mean_over
from lightning_ita.models.dropout import Dropout
from lightning_ita.models.fusion import FusionTagger
from lightning_ita.models.label_inputs import CHARACTERS, LabelBatch, Labels
from lightning_ita.models.ocsga import CHARACTER, CHARACTER_LSTM, WORD_LSTM

# Of the paper's text side.
TEXT_DROPOUT = 0.5


class OCSGA(FusionTagger):
    """Words that attend to the names of the objects in the picture.

    Args: see `lightning_ita.models.encoder_tagger.EncoderTagger`.
    """

    def add_parts(self, width: int) -> int:
        """Adds the co-attention, and in the variant ``lstm`` the text side in the place of the encoder's layers."""
        options: Any = self.options
        self.embedding_width = width
        self.text_side: TextSide | None = None
        if options.variant == "lstm":
            # Nothing but its word embeddings is used, trained and kept.
            self.encoder = self.encoder.get_input_embeddings()  # type: ignore[operator]
            self.text_side = TextSide(width)
            width = 2 * WORD_LSTM
        rate = options.dropout
        layer = partial(CrossLayer, width, options.heads, activation="relu", dropout=rate, inner_dropout=rate, eps=1e-6)
        self.labels_in = nn.Linear(self.embedding_width, width)
        self.words_attend = layer(4 * width)
        self.labels_attend = layer(0)
        self.words_read_labels = layer(4 * width, residual=False)
        self.norm = nn.LayerNorm(width, 1e-6)
        return width

    @property
    def embeddings(self) -> nn.Embedding:
        """The encoder's word embeddings."""
        encoder: Any = self.encoder
        found: nn.Embedding = encoder if self.text_side is not None else encoder.get_input_embeddings()
        return found

    def words(self, batch: LabelBatch) -> Tensor:
        """Returns the states of the words, by the encoder or by the text side of the paper."""
        if self.text_side is None:
            return super().words(batch)
        return self.text_side(word_vectors(self.embeddings, batch.text, batch.mask), batch.characters, batch.mask)

    def fuse(self, words: Tensor, mask: Tensor, visual: Labels) -> Tensor:
        """Adds to each word what it read in the labels; see `FusionTagger.fuse`."""
        # Frozen, as the paper's: the gradient of the whole table, for a few labels, would take longer than all else.
        vectors = mean_over(self.embeddings(visual.ids.flatten(0, 1)).detach(), visual.subtokens.flatten(0, 1))
        # Embeddings of BERT are small, and differ less than biases do; GloVe's vectors are larger.
        vectors = F.layer_norm(vectors, vectors.shape[1:])
        labels = self.labels_in(vectors.unflatten(0, visual.mask.shape))
        labels = self.labels_attend(labels, labels, visual.mask)
        read = self.words_read_labels(self.words_attend(words, words, mask), labels, visual.mask)
        # Without labels V would be a constant of the layer's biases: nothing that was seen.
        fused: Tensor = self.norm(words + read.masked_fill(~visual.mask.any(1)[:, None, None], 0.0))
        return fused


class TextSide(nn.Module):
    """The paper's text side: LSTMs over the characters of each word, and over words.

    Args:
        width: Width of the word vectors.
    """

    def __init__(self, width: int):
        super().__init__()
        self.dropout = Dropout(TEXT_DROPOUT)
        self.characters = nn.Embedding(CHARACTERS, CHARACTER, padding_idx=0)
        self.character_lstm = BiLSTM(CHARACTER, CHARACTER_LSTM)
        self.word_lstm = BiLSTM(width + 2 * CHARACTER_LSTM, WORD_LSTM)

    def forward(self, vectors: Tensor, characters: Tensor, mask: Tensor) -> Tensor:
        """Returns the states of words.

        Args:
            vectors: (batch, words, width)
            characters: int64 (batch, words, characters), 0 at padding.
            mask: bool (batch, words), True where there is a word.

        Returns:
            (batch, words, 2 · `WORD_LSTM`)
        """
        real = characters[mask]
        ends = self.character_lstm.ends(self.dropout(self.characters(real)), real > 0)
        spelled = vectors.new_zeros(*mask.shape, ends.shape[1])
        spelled[mask] = ends.to(spelled.dtype)
        states: Tensor = self.word_lstm(self.dropout(torch.cat([vectors, spelled], -1)), mask)
        return self.dropout(states)


def word_vectors(embeddings: nn.Embedding, text: ViewBatch, mask: Tensor) -> Tensor:
    """Returns a vector per word: the mean of the embeddings of its sub-tokens.

    Args:
        embeddings: One vector per sub-token.
        text: The tweets, [CLS] before and [SEP] behind.
        mask: bool (batch, words), True where there is a word.

    Returns:
        (batch, words, width), 0 at padding.
    """
    length = text.input_ids.shape[1]
    # Each word goes on to the first sub-token of the next one; the last to [SEP].
    ends = text.attention_mask.sum(1, keepdim=True) - 1
    starts = text.first_subtokens.masked_fill(~mask, length)
    stops = torch.minimum(torch.cat([starts[:, 1:], ends], 1), ends)
    positions = torch.arange(length, device=mask.device)
    # (batch, words, subtokens)
    inside = (positions >= starts[..., None]) & (positions < stops[..., None])
    weights = inside / inside.sum(2, keepdim=True).clamp_min(1)
    return torch.einsum("bws,bsd->bwd", weights, embeddings(text.input_ids))

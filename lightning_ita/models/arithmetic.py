"""What a pass through each system takes, in floating-point operations, before there is a model. Imports no torch.

Matrix products are counted, two operations per multiplication, and no other operations. `Options.arithmetic` names the
function of each system; those here are called with the system's options, and return the operations of a forward pass.
Nothing here decides a result.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from lightning_ita.models.encoders.locating import EncoderShape
from lightning_ita.models.ocsga import CHARACTER, CHARACTER_LSTM, WORD_LSTM
from lightning_ita.models.options import CROSS_MODAL, TEXT

# Characters per word of a tweet, about.
CHARACTERS = 5


@dataclass(frozen=True)
class Sizes:
    """What one tweet, the mean of many, gives a system to read.

    Attributes:
        encoder: The encoder's sizes; ``None`` for a system without one.
        words: Words.
        text: Sub-tokens of its text view.
        cross_modal: Sub-tokens of its cross-modal view; those of the text view where the picture is no text.
        regions: Regions of its picture.
        channels: Width of what is seen of regions and crops.
        crops: Crops of its picture.
        batch_size: Tweets per step.
    """

    encoder: EncoderShape | None
    words: float
    text: float
    cross_modal: float
    regions: int = 0
    channels: int = 0
    crops: int = 0
    batch_size: int = 1

    @property
    def width(self) -> int:
        """Width of the encoder's states."""
        assert self.encoder is not None
        return self.encoder.hidden

    @property
    def depth(self) -> int:
        """Layers of the encoder."""
        assert self.encoder is not None
        return self.encoder.layers


def encoded(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """Systems that read all they read as text: the encoder once per view; without one, an operation per sub-token.

    Args:
        options: The system's options.
        sizes: What it reads.
        views: The views of the pass.
        training: Whether it is a training step, with further losses.

    Returns:
        Floating-point operations of the forward pass of one tweet.
    """
    lengths = {TEXT: sizes.text, CROSS_MODAL: sizes.cross_modal}
    return sum(encoder(sizes, lengths[view]) for view in views)


def ocsga(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """OCSGA: the text side, and the co-attention of words and labels per view."""
    n, objects, width = sizes.words, options.objects, sizes.width
    text = encoder(sizes, sizes.text)
    if options.variant == "lstm":
        vectors = 2.0 * n * sizes.text * width
        spelled = lstm(CHARACTERS * n, CHARACTER, CHARACTER_LSTM)
        text = vectors + spelled + lstm(n, width + 2 * CHARACTER_LSTM, WORD_LSTM)
        width = 2 * WORD_LSTM
    labels = linear(objects, sizes.width, width) + attention(objects, objects, width)
    attend = cross_layer(n, n, width, 4 * width) + cross_layer(n, objects, width, 4 * width)
    return text + len(views) * (labels + attend)


def umt(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """UMT: the encoder and two layers over words, and per view three layers between words and regions, and the gate."""
    n, r, width = sizes.words, sizes.regions, sizes.width
    once = encoder(sizes, sizes.text) + 2 * cross_layer(n, n, width, 4 * width)
    regions = 2 * linear(r, sizes.channels, width)
    layers = 2 * cross_layer(n, r, width, 4 * width) + cross_layer(r, n, width, 4 * width)
    return once + len(views) * (regions + layers + linear(n, 2 * width, width))


def umgf(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """UMGF: the encoder, and per view the layers of words and crops; in the last one, crops are read and not told."""
    n, k, width, inner = sizes.words, sizes.crops, options.width, options.feed_forward
    into = linear(n, sizes.width, width) + linear(k, sizes.channels, width, width)
    gate = linear(n + k, width, width)
    of_words = attention(n, n, width) + gate + linear(n, width, inner, width)
    of_crops = gate + linear(k, width, inner, width)
    read = linear(k, width, width) * 2 + 4.0 * k * k * width
    fusion = into + options.layers * (of_words + read) + (options.layers - 1) * of_crops
    return encoder(sizes, sizes.text) + len(views) * fusion


def riva(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """RIVA: the encoder, per view gate, attention and BiLSTM; in training encoder and gate on relation data, too."""
    width, gate = sizes.width, options.gate_width
    text = encoder(sizes, sizes.text)
    relation = linear(1, width, gate) + linear(1, sizes.channels, gate) + linear(1, gate, 1)
    read = linear(sizes.regions, sizes.channels, width) + attention(1, sizes.regions, width)
    fusion = relation + read + lstm(sizes.words, 2 * width, options.lstm_width)
    return text + len(views) * fusion + relation_share(options, sizes, training) * (text + relation)


def rpbert(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """RpBERT: one pass over the tweet for T, two over tweet and regions for I+T, one on relation data in training."""
    joint = linear(sizes.regions, sizes.channels, sizes.width) + encoder(sizes, sizes.text + sizes.regions)
    passes = {TEXT: encoder(sizes, sizes.text), CROSS_MODAL: 2 * joint}
    tagging = sum(passes[view] for view in views)
    if options.lstm_layers:
        tagging += len(views) * lstm(sizes.words, sizes.width, options.lstm_width, options.lstm_layers)
    return tagging + relation_share(options, sizes, training) * joint


def bga_mner(options: Any, sizes: Sizes, views: Sequence[str], training: bool) -> float:
    """BGA-MNER: the text tower once for all views; in training the picture tower, and what is compared, too."""
    m, r, width, depth = sizes.text, sizes.regions + 1, sizes.width, sizes.depth
    inner = options.feed_forward or 2 * width

    def sampler(own: float) -> float:
        return linear(own, width, width) + linear(own, width, width // 2, width // 4, 2)

    def ready(made: float) -> float:  # queries are projected once per batch before they attend to each other
        return linear(2 * made, width, width) + 4.0 * made * made * width

    def generator(made: float, read: float) -> float:
        return linear(made + 2 * read, width, width) + 4.0 * made * read * width + linear(made, width, inner, width)

    # The other modality's generated states are further keys.
    text = encoder(sizes, m) + depth * 4.0 * m * r * width + ready(r)
    if not training:
        return text + depth * (sampler(m) + generator(r, m))
    layer = cross_layer(r, r, width, 4 * width) + 4.0 * r * m * width
    picture = linear(r - 1, sizes.channels, width) + depth * layer + ready(m)
    # What is generated from a tower's states, and once more from what the other tower generated.
    generated = sampler(m) + sampler(r) + 2 * (generator(r, m) + generator(m, r))
    return text + picture + (depth + 1) * generated


def relation_share(options: Any, sizes: Sizes, training: bool) -> float:
    """Returns the tweets of relation data per tweet that is trained on; they are taken to be as long."""
    return options.relation_batch / sizes.batch_size if training and options.relation_weight > 0 else 0.0


def encoder(sizes: Sizes, length: float) -> float:
    """Returns the operations of the encoder on one input of so many sub-tokens."""
    return length if sizes.encoder is None else sizes.encoder.forward_flop(length, length)


def linear(rows: float, *widths: int) -> float:
    """Returns the operations of linear layers, one behind the other.

    Args:
        rows: Vectors that they are applied to.
        *widths: Of the input, and of the result of each layer.
    """
    return 2.0 * rows * sum(left * right for left, right in pairwise(widths))


def attention(queries: float, keys: float, width: int) -> float:
    """Returns the operations of attention with its four projections."""
    return linear(2 * queries + 2 * keys, width, width) + 4.0 * queries * keys * width


def cross_layer(queries: float, keys: float, width: int, feed_forward: int) -> float:
    """Returns the operations of a Transformer layer whose queries read keys."""
    return attention(queries, keys, width) + linear(queries, width, feed_forward, width)


def lstm(rows: float, width: int, hidden: int, layers: int = 1) -> float:
    """Returns the operations of a bidirectional LSTM over so many elements."""
    widths = [width, *[2 * hidden] * (layers - 1)]
    return sum(2 * linear(rows, each + hidden, 4 * hidden) for each in widths)

"""Small systems that join pictures to word states, and batches with made-up pictures for their tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import torch
from torch import Tensor

from lightning_ita.contexts.jsonl import Contexts
from lightning_ita.data.batching import Collate, EncodedTweet
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.views import ViewBuilder
from lightning_ita.images.visual import Visual
from lightning_ita.models.bga_mner import BGAMNEROptions
from lightning_ita.models.bga_mner_tagger import BGAMNER
from lightning_ita.models.blocks.relation import RelationLoss
from lightning_ita.models.encoders import load_tokenizer
from lightning_ita.models.ocsga import OCSGAOptions
from lightning_ita.models.options import CVA, Options, TwoViewOptions
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.riva import RIVAOptions
from lightning_ita.models.rpbert import RpBERTOptions
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.umgf import UMGFOptions
from lightning_ita.models.umt import UMTOptions
from lightning_ita.models.visual_inputs import VisualBatch
from lightning_ita.models.visual_options import PictureOptions

TYPES = ("PER", "LOC")
RECIPE = Recipe(tag_scheme="BIO", temperature=2.0, word_dropout=0.0)
REGIONS, CROPS = 4, 3


@dataclass(frozen=True)
class Case:
    """A system under test.

    Attributes:
        options: Its options, small and without dropout.
        unordered: What of a picture may be permuted without any effect: fields of `Visual` or of `Labels`.
        sees: Whether it looks at the picture when it is tested.
        gain: How large its weights are in tests; too large ones make samplers so sure that no gradient is left.
    """

    options: Any
    unordered: tuple[str, ...]
    sees: bool = True
    gain: float = 1.5

    @property
    def modes(self) -> tuple[str, ...]:
        """Its training modes."""
        return get_args(CVA) if isinstance(self.options, TwoViewOptions) else ("off",)


# A system joins all tests of `test_fusion.py` by one line here.
CASES = {
    "ocsga": Case(OCSGAOptions(dropout=0.0, objects=3), ("ids", "subtokens")),
    "ocsga-lstm": Case(OCSGAOptions(variant="lstm", dropout=0.0, objects=3), ("ids", "subtokens")),
    "umt": Case(UMTOptions(dropout=0.0), ("regions",)),
    "umgf": Case(UMGFOptions(layers=2, width=16, heads=2, feed_forward=8, dropout=0.0), ("crops", "crop_mask")),
    "riva": Case(RIVAOptions(gate_width=6, lstm_width=5), ("regions",)),
    "rpbert": Case(RpBERTOptions(lstm_layers=1, lstm_width=6), ()),
    "bga-mner": Case(BGAMNEROptions(generation_weight=1.0, cycle_weight=1.0), (), sees=False, gain=0.7),
}


@dataclass(frozen=True)
class Post:
    """A tweet with the number of its picture; pictures of one number are the same."""

    words: str
    tags: str
    picture: int | None


POSTS = (
    Post("kobe is here", "B-PER O O", 1),
    Post("hi kobe bryant !", "O B-PER I-PER O", 2),
    Post("ok", "O", None),
    Post("so is spain", "O O B-LOC", 3),
)
LABELS = {1: ["ball", "tennis racket"], 2: ["dog", "sky", "cat"], 3: ["tree"]}


def make(case: Case, encoder: str, recipe: Recipe = RECIPE, **options: Any) -> Tagger:
    """Makes a system with random weights, in evaluation mode."""
    torch.manual_seed(0)
    tagger = replace(case.options, **options).make_tagger(TYPES, recipe, encoder)
    if isinstance(tagger, RelationLoss):  # without looking at the pictures of relation data
        tagger.relation_sample = lambda: (batch_of(tagger), torch.tensor([True, False, False, True]))  # type: ignore[method-assign]
    for parameter in tagger.parameters():  # larger than at the start of training, so that everything has an effect
        if parameter.dim() == 1:
            torch.nn.init.normal_(parameter, 0.5, 0.2)
        else:
            torch.nn.init.xavier_normal_(parameter, case.gain)
    return tagger.eval()


def batch_of(tagger: Tagger, posts: Sequence[Post] = POSTS) -> Any:
    """Makes a batch as the system's inputs would."""
    options: Options = tagger.options
    tweets = [
        Tweet(str(row), tuple(post.words.split()), tuple(post.tags.split()), None if post.picture is None else str(row))
        for row, post in enumerate(posts)
    ]
    if not isinstance(options, PictureOptions):
        named = {str(row): tuple(LABELS[post.picture]) for row, post in enumerate(posts) if post.picture is not None}
        corpus = Corpus("posts", TYPES, {}, {"tag": Contexts("tag", "made up", named, "")}, {})
        inputs = options.make_inputs(TYPES, tagger.recipe, tagger.encoder_name)
        return inputs.collate(inputs.read(tweets, corpus))
    builder = ViewBuilder(load_tokenizer(tagger.encoder_name), 64)
    views = [builder.text_view(tweet.id, tweet.words) for tweet in tweets]
    tags = [tuple(tagger.tag_set.encode(tweet.tags)) for tweet in tweets]
    texts = Collate(0)([EncodedTweet(view, view, ids) for view, ids in zip(views, tags, strict=True)])
    channels: int = tagger.channels  # type: ignore[assignment]
    regions: int = tagger.regions if isinstance(tagger, BGAMNER) else REGIONS
    return VisualBatch(texts.ids, texts.tags, texts.mask, texts.text, pictures(posts, channels, regions))


def pictures(posts: Sequence[Post], channels: int, regions: int = REGIONS) -> Visual:
    """Makes up features: the same for pictures of the same number; the second picture has one crop less."""

    def features(number: int | None, rows: int) -> Tensor:
        if number is None:
            return torch.zeros(rows, channels)
        return torch.randn(rows, channels, generator=torch.Generator().manual_seed(number))

    crop_mask = torch.tensor(
        [[p.picture is not None and (p.picture, crop) != (2, 2) for crop in range(CROPS)] for p in posts]
    )
    return Visual(
        regions=torch.stack([features(post.picture, regions) for post in posts]),
        crops=torch.stack([features(post.picture, REGIONS)[:CROPS] for post in posts]) * crop_mask[..., None],
        crop_mask=crop_mask,
        present=torch.tensor([post.picture is not None for post in posts]),
    )


def emissions(tagger: Tagger, batch: Any, view: str) -> list[Tensor]:
    """Returns the emissions of each tweet's words, (words, tags), in one view."""
    with torch.no_grad():
        found = tagger.emissions(tagger.states(batch, (view,)), batch, (view,))
    return [row[mask] for row, mask in zip(found, batch.mask, strict=True)]


def total_loss(tagger: Tagger, batch: Any) -> Tensor:
    """Returns the loss as `Tagger.training_step` sums it."""
    return tagger.loss(tagger.losses(batch)) + sum(term.mean() for term in tagger.auxiliary(batch).values())

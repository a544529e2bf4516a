"""Inputs of systems that read text alone: the tweet, and the contexts behind it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

from lightning_ita.data.batching import Collate, EncodedTweet, TwoViewBatch, pair_views
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.views import View, ViewBuilder, context_words
from lightning_ita.errors import UserError
from lightning_ita.models.encoders.loading import evaluation_budget, load_tokenizer
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.models.options import Options
from lightning_ita.models.recipes import Recipe
from lightning_ita.tags import TagSet

# Below this a view has no room for a tweet.
SHORTEST_VIEW = 8


class TwoViewInputs:
    """Makes tweets the text view T and the cross-modal view I+T; see `lightning_ita.data.inputs.Inputs`.

    Args:
        types: Entity types.
        options: The system's options; the cross-modal view has the contexts of its `kinds`.
        recipe: Hyper-parameters: the tag scheme, the longest view, whether URLs are read as one sub-token.
        encoder: The encoder whose tokenizer is used: ``minilm``, a folder, or a Hub id.
        cache_dir: Folder that keeps the sub-tokens of words from run to run.
    """

    def __init__(
        self, types: Sequence[str], options: Options, recipe: Recipe, encoder: str, cache_dir: str | None = None
    ):
        self.tag_set = TagSet(tuple(types), recipe.tag_scheme)
        self.kinds = options.kinds
        self.recipe = recipe
        self.encoder = encoder
        self.cache_dir = cache_dir

    @cached_property
    def tokenizer(self) -> Any:
        """The encoder's tokenizer."""
        return load_tokenizer(self.encoder)

    @cached_property
    def builder(self) -> ViewBuilder:
        """Builds the views.

        Raises:
            UserError: The recipe's longest view is not one that the encoder takes.
        """
        limit = encoder_shape(self.encoder).max_length
        length = limit if self.recipe.max_length is None else self.recipe.max_length
        if not SHORTEST_VIEW <= length <= limit:
            raise UserError(f"max_length {length}: encoder {self.encoder!r} takes {SHORTEST_VIEW} to {limit}")
        cache = None if self.cache_dir is None else Path(self.cache_dir)
        return ViewBuilder(self.tokenizer, length, self.recipe.normalise_urls, cache)

    @cached_property
    def evaluation_budget(self) -> int:
        """Sub-tokens per batch in validation and test."""
        return evaluation_budget(encoder_shape(self.encoder))

    def read(self, tweets: Sequence[Tweet], corpus: Corpus) -> list[EncodedTweet]:
        """Builds both views of each tweet; a tweet whose image has no context has its text view as both."""
        builder = self.builder
        contexts = [self._context(corpus.texts(tweet)) for tweet in tweets]
        builder.learn(chain.from_iterable([*(tweet.words for tweet in tweets), *contexts]))
        text = [builder.text_view(tweet.id, tweet.words) for tweet in tweets]
        cross_modal = [builder.cross_modal_view(*pair) for pair in zip(text, contexts, strict=True)]
        tags = [self.tags_of(tweet, view) for tweet, view in zip(tweets, text, strict=True)]
        return pair_views(text, cross_modal, tags)

    def tags_of(self, tweet: Tweet, view: View) -> tuple[int, ...]:
        """Returns the tag ids of a tweet's words, as far as its view has them."""
        return tuple(self.tag_set.encode(tweet.tags)[: len(view.first_subtokens)])

    def _context(self, texts: Mapping[str, Sequence[str]]) -> list[str]:
        return context_words({kind: texts[kind] for kind in self.kinds if kind in texts})

    def lengths(self, read: EncodedTweet) -> tuple[int, ...]:
        """Returns the sub-tokens of the text view and of the cross-modal view."""
        return read.lengths

    def collate(self, reads: Sequence[EncodedTweet]) -> TwoViewBatch:
        """Pads tweets to a batch; each view is as long as its own longest member."""
        return Collate(self.tokenizer.pad_token_id)(reads)

    def counts(self, reads: Sequence[EncodedTweet]) -> dict[str, int]:
        """Counts sub-tokens by view, tweets without context, and tweets whose context did not fit whole."""
        return {
            "text_subtokens": sum(len(read.text.input_ids) for read in reads),
            "cross_modal_subtokens": sum(len(read.cross_modal.input_ids) for read in reads),
            "without_context": sum(read.cross_modal is read.text for read in reads),
            "context_cut": sum(read.cross_modal.context_cut > 0 for read in reads),
        }

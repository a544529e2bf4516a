"""Inputs of systems with a relation gate: they read relation data, too."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from lightning_ita.data.relations import TEST, TRAIN
from lightning_ita.data.views import ViewBuilder
from lightning_ita.errors import UserError
from lightning_ita.images.features import Request
from lightning_ita.models.encoders.locating import encoder_shape
from lightning_ita.models.inputs import SHORTEST_VIEW
from lightning_ita.models.recipes import Recipe
from lightning_ita.models.relation_options import RelationOptions
from lightning_ita.models.visual_inputs import SeenTweet, VisualInputs


class RelationInputs(VisualInputs):
    """As `VisualInputs`, with relation data; arguments as there."""

    def __init__(
        self, types: Sequence[str], options: RelationOptions, recipe: Recipe, encoder: str, cache_dir: str | None = None
    ):
        super().__init__(types, options, recipe, encoder, cache_dir)
        self.options = options

    @cached_property
    def relations(self) -> tuple[list[SeenTweet], list[bool]]:
        """The relation data that is trained on, as the system reads it, and whether each picture adds to its tweet.

        Raises:
            UserError: The file of relations or its pictures cannot be used.
        """
        return self._relations(TRAIN)

    @cached_property
    def held_out(self) -> tuple[list[SeenTweet], list[bool]]:
        """The relation data that the gate is tested on; see `relations`."""
        return self._relations(TEST)

    def _relations(self, split: str) -> tuple[list[SeenTweet], list[bool]]:
        data = self.options.relation_data()
        tweets = data.splits[split]
        return self.read(tweets, data.corpus(self.tag_set.types)), [data.adds[tweet.id] for tweet in tweets]

    def requests(self, reads: Sequence[SeenTweet]) -> list[Request]:
        """Returns the pictures of the tweets, and those of the relation data."""
        further = [*self.relations[0], *self.held_out[0]] if self.options.relation_weight else []
        return super().requests([*reads, *further])

    def warnings(self) -> list[str]:
        """Returns what a reader of results should know of the pictures, and of rows of the relation data left out."""
        notes = self.options.relation_data().notes if self.options.relation_weight else ()
        return [*super().warnings(), *notes]


class RpBERTInputs(RelationInputs):
    """As `RelationInputs`, but tweets leave room for all regions of a picture within the encoder's longest input."""

    @cached_property
    def builder(self) -> ViewBuilder:
        """Builds the tweets' text views.

        Raises:
            UserError: The recipe's longest view is not one that the encoder takes, or regions leave no room.
        """
        longest = encoder_shape(self.encoder).max_length
        room = longest - self.features.regions
        if room < SHORTEST_VIEW:
            raise UserError(
                f"encoder {self.encoder!r} takes {longest} sub-tokens, which {self.features.regions} regions of a "
                f"picture leave no room in for a tweet: give another --encoder or --vision.model"
            )
        builder = super().builder
        builder.max_length = min(builder.max_length, room)
        return builder

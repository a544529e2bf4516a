"""Systems that encode the tweet alone, and join the picture to its word states."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from lightning_ita.models.encoder_tagger import EncoderTagger
from lightning_ita.models.options import TEXT
from lightning_ita.models.packing import word_states


class Seen(Protocol):
    """What a batch has of its pictures: `lightning_ita.images.visual.Visual`, or a system's own."""

    def absent(self) -> Self:
        """Returns the same without any picture: the text view."""
        ...

    def without(self, hidden: Tensor) -> Self:
        """Returns the same without some of the pictures: hidden is bool (batch,), True for those."""
        ...


class FusionTagger(EncoderTagger):
    """An encoder that reads the tweet, and parts behind it that join what is seen in the picture to the word states.

    The text is encoded once. The text view is the same model with no picture in the batch: attention finds no visual
    key, and what would be added is 0, exactly as for a tweet whose picture is missing. So nothing but the picture can
    make the views differ.

    A subclass writes `add_parts` and `fuse`, and may write `words` and `see`.
    """

    @abstractmethod
    def fuse(self, words: Tensor, mask: Tensor, visual: Any) -> Tensor:
        """Joins the picture to the words.

        Args:
            words: (batch, words, width), from `words`; finite at padding.
            mask: bool (batch, words), True where there is a word.
            visual: What is seen of the pictures, from `see`; in the text view with all pictures absent.

        Returns:
            (batch, words, width), as wide as `add_parts` says; what stands at padding means nothing.
        """

    def words(self, batch: Any) -> Tensor:
        """Returns the states of the words, (batch, words, width), before anything of a picture is known."""
        return word_states(self.encoder, [batch.text])

    def see(self, batch: Any) -> Any:
        """Returns what is seen of the pictures of a batch: a `Seen`."""
        return batch.visual

    def states(self, batch: Any, views: tuple[str, ...]) -> Tensor:
        """Encodes the tweets once, and joins their pictures to them once per view; see `Tagger.states`."""
        words, visual = self.words(batch), self.see(batch)
        return torch.cat([self.fuse(words, batch.mask, self._in_view(view, visual, words)) for view in views])

    def _in_view(self, view: str, visual: Any, words: Tensor) -> Any:
        if view == TEXT:
            return visual.absent()
        return hide_some(visual, words, self.options.image_dropout if self.training else 0.0)  # type: ignore[attr-defined]


def hide_some(visual: Any, tweets: Tensor, rate: float) -> Any:
    """Returns what is seen without some of the pictures.

    Args:
        visual: A `Seen`.
        tweets: (batch, ...), anything of the same tweets, on their device.
        rate: Probability with which the picture of a tweet is hidden.
    """
    return visual.without(torch.rand(len(tweets), device=tweets.device) < rate) if rate > 0 else visual

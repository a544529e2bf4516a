"""Controls: tweets get another tweet's image, or none, to measure how much of a score comes from the right image."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Literal

from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import SPLITS, Corpus
from lightning_ita.errors import UserError, unknown

KINDS = ("other-image", "no-image")
AT_TEST = "-at-test"
NAMES = tuple(kind + when for kind in KINDS for when in ("", AT_TEST))


@dataclass(frozen=True)
class Control:
    """What happens to the images of tweets, and so to all contexts and pictures that a system reads.

    Attributes:
        kind: ``other-image``: a tweet is given the image of another tweet of its split. ``no-image``: it loses its own.
        at_test: Whether this happens in the test split alone: the model is then trained, and its best epoch chosen, on
            the right images.
        share: The share of tweets with an image to which it happens, above 0 and up to 1.

    Raises:
        UserError: The kind is unknown, or the share is out of its range.
    """

    kind: Literal["other-image", "no-image"]
    at_test: bool = False
    share: float = 1.0

    def __post_init__(self) -> None:
        """Checks the values."""
        if self.kind not in KINDS:
            raise unknown("control", self.kind, KINDS)
        if not 0 < self.share <= 1:
            name = self.kind + AT_TEST * self.at_test
            raise UserError(f"control {name}: a share of {self.share}; expected more than 0 and at most 1")

    @classmethod
    def parse(cls, text: str) -> Control:
        """Reads a control: ``other-image``, ``other-image-at-test``, ``no-image-at-test:0.5`` ...

        Raises:
            UserError: It is unknown, or its share is no number of its range.
        """
        name, colon, share = text.partition(":")
        if name == "none":
            raise UserError(f"control {text!r}: none takes no share, since it leaves all images as they are")
        if name not in NAMES:
            raise unknown("control", name, ("none", *NAMES))
        if colon and not re.fullmatch(r"[0-9]*\.?[0-9]+", share):
            raise UserError(f"control {text!r}: expected a share after the colon, for example {name}:0.5")
        kind = name.removesuffix(AT_TEST)
        return cls(kind, name.endswith(AT_TEST), float(share) if colon else 1.0)  # type: ignore[arg-type]

    @property
    def name(self) -> str:
        """What `parse` reads: ``no-image-at-test:0.5``."""
        share = "" if self.share == 1 else f":{Decimal(repr(self.share)):f}"
        return f"{self.kind}{AT_TEST if self.at_test else ''}{share}"

    @property
    def label(self) -> str:
        """How rows say it: ``no image at test (50 %)``."""
        when, share = " at test" if self.at_test else "", "" if self.share == 1 else f" ({100 * self.share:g} %)"
        return f"{self.kind.replace('-', ' ')}{when}{share}"

    def apply(self, corpus: Corpus, seed: int) -> Corpus:
        """Returns a corpus whose tweets have the images that the control gives them.

        Which tweets are chosen, and whose image each is given, depends on the split, its tweets and the seed alone; the
        tweets of a smaller share are among those of a larger one. An image never takes its own place, and tweets that
        share an image are given the same other one.

        Args:
            corpus: The corpus, with the right images.
            seed: The run's seed.

        Raises:
            UserError: A split has no second image to give, or too few for the share.
        """
        splits: dict[str, Sequence[Tweet]] = dict(corpus.splits)
        for split in SPLITS[-1:] if self.at_test else SPLITS:
            splits[split] = self._changed(corpus.splits[split], f"{seed} {split}", corpus.name)
        return replace(corpus, splits=splits)

    def _changed(self, tweets: Sequence[Tweet], salt: str, corpus: str) -> list[Tweet]:
        with_image = _shuffled([tweet.id for tweet in tweets if tweet.image is not None], f"{salt} tweet")
        chosen = set(with_image[: round(self.share * len(with_image))])
        if with_image and not chosen:
            raise UserError(
                f"control {self.name}: {corpus} has a split with {len(with_image)} tweets with an image, of which this "
                f"share is none; {Decimal(repr(round(1 / len(with_image), 6))):f} is one of them"
            )
        others = self._others(tweets, salt, corpus)
        return [
            replace(tweet, image=others[tweet.image]) if tweet.image is not None and tweet.id in chosen else tweet
            for tweet in tweets
        ]

    def _others(self, tweets: Sequence[Tweet], salt: str, corpus: str) -> Mapping[str, str | None]:
        """Returns what takes the place of each image."""
        images = _shuffled({tweet.image for tweet in tweets if tweet.image is not None}, f"{salt} image")
        if self.kind == "no-image":
            return dict.fromkeys(images)
        if len(images) == 1:
            raise UserError(f"control {self.name}: {corpus} has a split with a single image; there is no other to give")
        return dict(zip(images, images[1:] + images[:1], strict=True))


def _shuffled(names: set[str] | list[str], salt: str) -> list[str]:
    """Returns names in an order that depends on them and the salt alone, on any machine and in any version."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{salt} {name}".encode()).digest())


def name_of(control: Control | None) -> str:
    """Returns the name of a control; ``none`` for the right images."""
    return "none" if control is None else control.name


def parse_controls(text: str) -> tuple[Control | None, ...]:
    """Reads controls separated by commas; ``none`` stands for the right images.

    Raises:
        UserError: One is unknown, or there is none.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--control names no control; none stands for the right images")
    return tuple(None if name == "none" else Control.parse(name) for name in names)

"""Settings of the demo corpus: its sizes, its rates and its noise."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

TYPES = ("PER", "LOC", "ORG", "MISC")
"""The entity types, in the order in which the vocabulary tables write their weights."""

SPLITS = ("train", "valid", "test")

KINDS = ("resolvable", "ambiguous", "misleading", "unrelated")
"""How a tweet and its image are related; see `DemoConfig`."""


@dataclass(frozen=True)
class DemoConfig:
    """Sizes, rates and noise of a demo corpus. Equal configurations give equal corpora.

    Every tweet is of one kind. The first three rates are the shares of three kinds; all other tweets are *resolvable*:

    * *resolvable*: the words tell the type, and the image shows the same type.
    * *ambiguous*: the words name something that could be of several types; only the image tells which.
    * *misleading*: the words tell the type, and the image shows something of another type.
    * *unrelated*: the words tell the type, and the image (food, a cat, a meme) has nothing to do with it.

    Attributes:
        seed: Any integer.
        train: Tweets in the training split.
        valid: Tweets in the validation split.
        test: Tweets in the test split.
        rate_ambiguous: Share of tweets of the kind *ambiguous*.
        rate_misleading: Share of tweets of the kind *misleading*.
        rate_unrelated: Share of tweets of the kind *unrelated*.
        rate_no_entity: Share of tweets without any entity among the *resolvable* and *unrelated* ones.
        rate_afterthought: Share of tweets with an entity that name a second one at the end ("w/ Emma Cole").
        preference: How strongly the names and the phrases of *ambiguous* tweets prefer one type: the exponent of the
            weights in the vocabulary tables. With 0, all types that a name can have are equally likely.
        rate_held_out: Share of the ambiguous names that never occur in training, so that validation and test
            measure whether a model reads the contexts or remembers the name.
        rate_text_in_image: Share of images with text in them. In some of these, only the text tells the type.
        rate_missing: Share of tweets whose image file does not exist.
        rate_unreadable: Share of tweets whose image file is truncated.
        tag_dropped: Probability that an object has no tag.
        tag_spurious: Probability that there is a tag for an object that is not in the image.
        caption_vague: Probability that a caption contains nothing useful ("a picture of something on a wall").
        caption_wrong: Probability that a caption describes another scene.
        ocr_line_dropped: Probability that a line of text in the image is missing from the OCR text.
        ocr_character: Probability that a character is read as a similar one (O as 0, E as F).
        rate_lowercase: Share of tweets written without capitals.
        rate_typo: Probability that two neighbouring letters are swapped in a word of five letters or more.

    Raises:
        ValueError: A size is not positive, a rate is outside 0 to 1, shares exceed 1 in sum, `preference` is
            negative, or no ambiguous name is left for training.
    """

    seed: int = 0
    train: int = 1050
    valid: int = 120
    test: int = 400
    rate_ambiguous: float = 0.65
    rate_misleading: float = 0.05
    rate_unrelated: float = 0.08
    rate_no_entity: float = 0.25
    rate_afterthought: float = 0.25
    preference: float = 6.0
    rate_held_out: float = 0.1
    rate_text_in_image: float = 0.25
    rate_missing: float = 0.02
    rate_unreadable: float = 0.01
    tag_dropped: float = 0.05
    tag_spurious: float = 0.1
    caption_vague: float = 0.05
    caption_wrong: float = 0.02
    ocr_line_dropped: float = 0.1
    ocr_character: float = 0.03
    rate_lowercase: float = 0.15
    rate_typo: float = 0.02

    def __post_init__(self) -> None:
        for split in SPLITS:
            if self.size(split) < 1:
                raise ValueError(f"{split}={self.size(split)}: a split needs at least one tweet")
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name.startswith(("rate_", "tag_", "caption_", "ocr_")) and not 0 <= value <= 1:
                raise ValueError(f"{field.name}={value}: a rate lies between 0 and 1")
        if not self.preference >= 0:
            raise ValueError(f"preference={self.preference}: an exponent of at least 0 is needed")
        if self.rate_held_out == 1:
            raise ValueError("rate_held_out=1: training needs some ambiguous names")
        for names in (
            ("rate_ambiguous", "rate_misleading", "rate_unrelated"),
            ("rate_missing", "rate_unreadable"),
            ("caption_vague", "caption_wrong"),
        ):
            total = sum(getattr(self, name) for name in names)
            if total > 1 + 1e-9:
                raise ValueError(f"{' + '.join(names)} = {total:g}: the shares exceed 1 in sum")

    def size(self, split: str) -> int:
        """Returns the number of tweets of one split."""
        return int(getattr(self, split))

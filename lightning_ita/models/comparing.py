"""One post read in several ways: the mentions of each reading, and how probable each mention is in all others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_ita.models.mentions import Tagged
from lightning_ita.models.options import CROSS_MODAL
from lightning_ita.models.predicting import GivenContexts, GivenImage, ViewChoice, probabilities

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger


@dataclass(frozen=True, slots=True)
class ComparedMention:
    """A mention that at least one reading found.

    Attributes:
        text: What the post says.
        type: Its entity type.
        start: Where it begins in the post, in characters.
        probabilities: That exactly this span with this type is in the tag sequence, in each reading.
        found: Whether each reading found it.
    """

    text: str
    type: str
    start: int
    probabilities: tuple[float, ...]
    found: tuple[bool, ...]

    @property
    def differs(self) -> bool:
        """Whether some readings found it and others did not."""
        return len(set(self.found)) > 1

    @property
    def spread(self) -> float:
        """How far its probabilities lie apart."""
        return max(self.probabilities) - min(self.probabilities)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A post in several readings.

    Attributes:
        readings: The post as each reading tags it, by the reading's name.
        mentions: All mentions that were found, in the order of the text.
    """

    readings: Mapping[str, Tagged]
    mentions: tuple[ComparedMention, ...]


def compare(
    tagger: Tagger,
    post: str | Sequence[str],
    readings: Mapping[str, tuple[ViewChoice, GivenContexts]],
    image: GivenImage = None,
) -> Comparison:
    """Tags a post in several ways and compares what is found.

    Args:
        tagger: The model.
        post: A text, or a sequence of words.
        readings: View and contexts of each reading, by its name.
        image: Its picture, which every reading in the I+T view looks at; for a model that looks at pictures.

    Raises:
        UserError: The post, a context or the picture cannot be read, or the model has no such view or context.
    """
    shown = {name: image if view == CROSS_MODAL else None for name, (view, _) in readings.items()}
    tagged = {
        name: tagger.predict([post], [contexts], view, None if shown[name] is None else [shown[name]])[0]
        for name, (view, contexts) in readings.items()
    }
    found = {name: {(m.first_word, m.end_word, m.type): m for m in each.mentions} for name, each in tagged.items()}
    places = {span: mention for of_reading in found.values() for span, mention in of_reading.items()}
    spans = sorted(places)
    columns = [probabilities(tagger, each, spans, shown[name]) for name, each in tagged.items()]
    mentions = tuple(
        ComparedMention(
            places[span].text,
            span[2],
            places[span].start,
            tuple(column[row] for column in columns),
            tuple(span in of_reading for of_reading in found.values()),
        )
        for row, span in enumerate(spans)
    )
    return Comparison(tagged, mentions)

"""What an engine is: a model or program that reads images and returns text, and what it returns for one image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from lightning_ita.text import quoted

if TYPE_CHECKING:
    from PIL.Image import Image

# Most characters of all texts of one image: more is a fault, and would not fit into a line of a context file.
MAX_CHARACTERS = 2**20
# Scores and edges of boxes are smaller by far; NaN is not, and whole numbers may not fit into a float.
GREATEST = 1e100


@dataclass(frozen=True)
class Reading:
    """What an engine read in one image.

    Attributes:
        texts: Object tags, captions or lines of text, the best or first first; empty where it found nothing.
        scores: The confidence in each text, between 0 and 1; empty where the engine gives none.
        boxes: The place of each text: left, top, right, bottom in pixels of the upright image; empty where the engine
            looks at the whole image.

    Raises:
        ValueError: A text is not Unicode or all are longer than `MAX_CHARACTERS`, a score or a box is not made of
            finite numbers, or there is not one for each text.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()

    def __post_init__(self) -> None:
        for text in self.texts:
            if not isinstance(text, str):
                raise ValueError(f"expected a text, found {quoted(text)}")
        together = "".join(self.texts)
        if len(together) > MAX_CHARACTERS:
            raise ValueError(f"{len(together):,} characters of text for one image; at most {MAX_CHARACTERS:,} are kept")
        try:
            together.encode()
        except UnicodeEncodeError:
            raise ValueError(f"a text has half a character (a lone surrogate): {quoted(together)}") from None
        for name, values in (("scores", self.scores), ("boxes", self.boxes)):
            if len(values) not in (0, len(self.texts)):
                raise ValueError(f"{len(values)} {name} for {len(self.texts)} texts")
        if not all(map(_is_finite, self.scores)):
            raise ValueError(f"scores are not finite numbers: {quoted(self.scores)}")
        if not all(len(box) == 4 and all(map(_is_finite, box)) for box in self.boxes):
            raise ValueError(f"boxes are not four finite numbers each: {quoted(self.boxes)}")


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and -GREATEST < value < GREATEST


class Engine(Protocol):
    """Reads images: turns each into one kind of visual context.

    Images are prepared one by one, in worker processes, and read in batches, in the process that has the model.

    Attributes:
        kind: ``tag``, ``cap`` or ``ocr``.
        name: Its name in the registry of its kind.
        model: The model it runs: a Hub name, a folder, or the engine's own.
        version: Versions of the packages, and digests of local files, that decide what it returns.
        parameters: Everything else that decides what it returns, as JSON values.
        batch_size: Images it reads at once by default.
        prepare: Turns an upright RGB image into the model's input. Runs in worker processes: pickles without the model.
    """

    kind: str
    name: str
    model: str
    version: str
    parameters: Mapping[str, Any]
    batch_size: int
    prepare: Callable[[Image], Any]

    def read(self, prepared: Sequence[Any]) -> list[Reading]:
        """Reads a batch of prepared images; returns one reading per image, in their order."""
        ...

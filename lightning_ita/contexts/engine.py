"""What an engine is: it looks at images and says something of each, as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from PIL.Image import Image


@dataclass(frozen=True)
class Reading:
    """What an engine said of one image.

    Attributes:
        texts: Object tags, captions or lines of text, the best or first first; empty where it found nothing.
        scores: How sure it is of each text, between 0 and 1; empty where it does not say.
        boxes: Where each text was seen: left, top, right, bottom in pixels of the upright image; empty where the
            engine looks at the whole image.
    """

    texts: tuple[str, ...]
    scores: tuple[float, ...] = ()
    boxes: tuple[tuple[float, float, float, float], ...] = ()


class Engine(Protocol):
    """Turns images into one kind of visual context.

    Images are prepared one by one, in worker processes, and read in batches, where the model is.

    Attributes:
        kind: ``tag``, ``cap`` or ``ocr``.
        name: Its name in the registry of its kind.
        model: The model it runs: a Hub name, a folder, or the engine's own.
        version: Versions of the packages, and digests of local files, that decide what it says.
        parameters: Everything else that decides what it says, as JSON values.
        batch_size: Images it reads at once by default.
        prepare: Makes an upright RGB image the model's input. Runs in worker processes: pickles without the model.
    """

    kind: str
    name: str
    model: str
    version: str
    parameters: Mapping[str, Any]
    batch_size: int
    prepare: Callable[[Image], Any]

    def read(self, prepared: Sequence[Any]) -> list[Reading]:
        """Reads a batch of prepared images; one reading an image, in their order."""
        ...

"""The kinds of visual context, and how their combinations are named."""

from __future__ import annotations

from collections.abc import Iterable

from lightning_ita.errors import UserError, unknown

# In the order in which they follow the tweet: captions, tags, OCR.
KINDS = {"cap": "Cap", "tag": "Tag", "ocr": "OCR"}
# In the order in which a system's name lists them.
NAMED_ORDER = ("tag", "cap", "ocr")


def parse_contexts(text: str | Iterable[str]) -> tuple[str, ...]:
    """Reads a combination of contexts, for example ``tag,cap``; ``none`` or nothing is no context.

    Returns:
        The kinds in the order in which they follow the tweet.

    Raises:
        UserError: A kind is unknown (the nearest is suggested) or named twice.
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    names = [name.strip().lower() for name in names if name.strip()]
    if names == ["none"]:
        return ()
    for name in names:
        if name not in KINDS:
            raise unknown("context", name, [*KINDS, "none"])
        if names.count(name) > 1:
            raise UserError(f"context {name!r} is named twice in {','.join(names)!r}; name each kind once")
    return tuple(kind for kind in KINDS if kind in names)


def system_name(contexts: Iterable[str]) -> str:
    """Returns the name of a system by its contexts, as in the paper: ``BERT-CRF``, ``ITA-Cap``, ``ITA-All`` ..."""
    kinds = [kind for kind in NAMED_ORDER if kind in set(contexts)]
    if not kinds:
        return "BERT-CRF"
    return "ITA-" + ("All" if len(kinds) == len(KINDS) else "+".join(KINDS[kind] for kind in kinds))

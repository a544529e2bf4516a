"""The kinds of context, and how their combinations are named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from lightning_ita.errors import UserError, unknown
from lightning_ita.text import quoted

# The paper's, in the order in which they follow the tweet: captions, tags, OCR. Any other kind follows them.
KINDS = {"cap": "Cap", "tag": "Tag", "ocr": "OCR"}
# In the order in which a system's name lists them.
NAMED_ORDER = ("tag", "cap", "ocr")
# What any other kind may be called: it is a part of file names and of identities, where these names stand for others.
KIND = re.compile(r"[a-z][a-z0-9]{0,15}")
RESERVED = frozenset({"none", "all", "ita"}) | {
    "train", "valid", "dev", "test", "labels", "encoder", "images", "boxes", "vision", "relations"
}  # fmt: skip
# A name that resembles a known kind this much is taken for a misspelling of it.
MISSPELT = 0.65


def check_kind(name: str) -> None:
    """Checks that a kind of context may have this name: one of `KINDS`, or a short name of the user's own.

    Raises:
        UserError: It may not, or it looks like a misspelt kind (the nearest is suggested).
    """
    if name in KINDS:
        return
    if name in RESERVED:
        raise UserError(f"context {quoted(name)}: this name is reserved; give the kind another name")
    if not KIND.fullmatch(name):
        plus = "; separate kinds by commas" if "+" in name else ""
        raise UserError(
            f"context {quoted(name)}: a kind is named by a small letter and at most 15 small letters and digits{plus}"
        )
    if get_close_matches(name, KINDS, n=1, cutoff=MISSPELT):
        hint = "; a kind of your own is a short name in small letters that resembles none of these"
        raise UserError(f"{unknown('context', name, [*KINDS, 'none'])}".rstrip(".") + hint)


def parse_contexts(text: str | Iterable[str]) -> tuple[str, ...]:
    """Reads a combination of contexts, for example ``tag,cap``; ``none`` or nothing is no context.

    Returns:
        The kinds in the order in which they follow the tweet: the paper's, then others as they are named.

    Raises:
        UserError: A kind cannot be one (the nearest is suggested), or is named twice.

    Example:
        >>> parse_contexts("know,tag,cap")
        ('cap', 'tag', 'know')
    """
    names = text.split(",") if isinstance(text, str) else list(text)
    names = [name.strip().lower() for name in names if name.strip()]
    if names == ["none"]:
        return ()
    if "none" in names:
        raise UserError(f"context {','.join(names)!r}: none stands alone, without other kinds")
    for name in names:
        check_kind(name)
        if names.count(name) > 1:
            raise UserError(f"context {name!r} is named twice in {','.join(names)!r}; name each kind once")
    return (*(kind for kind in KINDS if kind in names), *(name for name in names if name not in KINDS))


def kind_title(kind: str) -> str:
    """Returns a kind as tables write it: ``Cap``, ``OCR``, ``Know`` ..."""
    return KINDS.get(kind, kind.capitalize())


def system_name(contexts: Iterable[str]) -> str:
    """Returns the name of a system by its contexts, as in the paper: ``BERT-CRF``, ``ITA-Cap``, ``ITA-All`` ...

    ``All`` means the paper's three, whatever others there are.

    Example:
        >>> system_name(("cap", "tag", "know"))
        'ITA-Tag+Cap+Know'
    """
    kinds = list(contexts)
    if not kinds:
        return "BERT-CRF"
    if set(kinds) == set(KINDS):
        return "ITA-All"
    ordered = [kind for kind in NAMED_ORDER if kind in kinds] + [kind for kind in kinds if kind not in KINDS]
    return "ITA-" + "+".join(map(kind_title, ordered))


def check_read(option: str, kinds: Iterable[str], reads: Sequence[str], reader: str) -> None:
    """Checks that a model reads the kinds of context that an option names.

    Args:
        option: The option, for the error.
        kinds: The kinds that it names.
        reads: The kinds that the model reads.
        reader: The model, for the error.

    Raises:
        UserError: It does not read one of them.
    """
    for kind in kinds:
        if kind not in reads:
            known = f"it reads {', '.join(reads)}" if reads else "it reads the post alone"
            raise UserError(f"{option} {kind}: not read by {reader}; {known}")

"""Sub-tokens of words, kept on disk: the cells of a study tokenise a corpus once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lightning_ita.data.subtokens import tokenizer_digest
from lightning_ita.files import write_text


class WordCache:
    """A file of words and their sub-tokens, named by a digest of the tokenizer's whole state.

    What a word becomes depends on nothing else, so that a cached word is never out of date. A damaged file is
    written anew.

    Args:
        folder: Where the file lies.
        tokenizer: A Hugging Face tokenizer; slow ones, which cannot be written as text, are not cached.
    """

    def __init__(self, folder: Path, tokenizer: Any):
        digest = tokenizer_digest(tokenizer)
        self.path = None if digest is None else folder / f"subtokens-{digest[:16]}.json"

    def read(self) -> dict[str, list[int]]:
        """Returns what is known so far."""
        if self.path is None:
            return {}
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return known if isinstance(known, dict) else {}

    def write(self, subtokens: dict[str, list[int]]) -> None:
        """Adds words. Two processes that write at once lose at most what the other one can tokenise again."""
        if self.path is not None:
            write_text(self.path, json.dumps(self.read() | subtokens, ensure_ascii=False, separators=(",", ":")))

"""Sub-tokens of words, kept on disk: the cells of a study tokenise a corpus once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from lightning_ita.data.subtokens import tokenizer_digest
from lightning_ita.errors import DataError
from lightning_ita.files import parse_json, read_text, write_text


class WordCache:
    """A file of words and their sub-tokens, for one state of one tokenizer.

    What a word becomes depends on nothing else, so that a cached word is never out of date. The file holds a digest of
    its content: one that is damaged, is another tokenizer's, or has ids outside the vocabulary is written again.

    Args:
        folder: Where the file lies.
        tokenizer: A Hugging Face tokenizer; slow ones, which cannot be written as text, are not cached.
    """

    def __init__(self, folder: Path, tokenizer: Any):
        self.digest = tokenizer_digest(tokenizer)
        self.path = None if self.digest is None else folder / f"subtokens-{self.digest[:16]}.json"
        self.vocabulary = len(tokenizer)

    def read(self) -> dict[str, list[int]]:
        """Returns what is known so far: nothing, where the file is not there or cannot be trusted."""
        if self.path is None:
            return {}
        try:
            seal, _, content = read_text(self.path).partition("\n")
            if seal != self._seal(content):
                return {}
            words = parse_json(content)
        except (DataError, ValueError):
            return {}
        return words if isinstance(words, dict) and all(map(self._subtokens, words.values())) else {}

    def write(self, subtokens: dict[str, list[int]]) -> None:
        """Adds words. Two processes that write at once lose at most what the other one can tokenise again."""
        if self.path is not None:
            content = json.dumps(self.read() | subtokens, ensure_ascii=False, separators=(",", ":"))
            write_text(self.path, f"{self._seal(content)}\n{content}")

    def _seal(self, content: str) -> str:
        """Returns the first line of the file: a digest of the tokenizer's state and of the content below it."""
        return hashlib.sha256(f"{self.digest}\n{content}".encode()).hexdigest()

    def _subtokens(self, value: object) -> bool:
        """Tells whether a value is what a word can become: one id of the vocabulary or more."""
        if not isinstance(value, list) or not value:
            return False
        return all(type(each) is int and 0 <= each < self.vocabulary for each in value)

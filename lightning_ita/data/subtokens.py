"""Splits words into sub-tokens; a word that looks like a special token, such as ``[SEP]``, is read as text."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

# Raise it where `subtokens_of` begins to return something else for the same tokenizer: caches are named by it.
_BEHAVIOUR = 2


def subtokens_of(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    """Cuts words into sub-tokens, one list of ids per word.

    A word like ``[SEP]`` or ``</s>`` is read as its characters, not as the special token. Most tokenizers do so if they
    are loaded with ``split_special_tokens=True``; SentencePiece models know special tokens as words, too, and get such
    a word in parts.

    Args:
        tokenizer: A Hugging Face tokenizer.
        words: Words as a corpus or a context has them.

    Returns:
        At least one id per word: a word without any sub-token (U+FE0F and the like) is the unknown token, so that it
        has an emission. The unknown token is the only special one among the ids.
    """
    unknown = tokenizer.unk_token_id
    special = set(tokenizer.all_special_ids) - {unknown}
    ids = _encode(tokenizer, words)
    for index, word in enumerate(words):
        if not special.isdisjoint(ids[index]) or (tokenizer.unk_token in word and unknown in ids[index]):
            parts = _encode(tokenizer, _split_special(word, tokenizer.all_special_tokens))
            ids[index] = [unknown if each in special else each for part in parts for each in part]
    return [each or [unknown] for each in ids]


def _encode(tokenizer: Any, words: Sequence[str]) -> list[list[int]]:
    encoded = tokenizer([[word] for word in words], is_split_into_words=True, add_special_tokens=False)
    return list(encoded["input_ids"])


def _split_special(word: str, tokens: Sequence[str]) -> list[str]:
    """Cuts a word after the first character of every special token in it, so that no part spells one."""
    pattern = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    cuts = [match.start() + 1 for match in re.finditer(pattern, word, re.IGNORECASE)]
    return [word[start:end] for start, end in zip([0, *cuts], [*cuts, len(word)], strict=True) if word[start:end]]


def tokenizer_digest(tokenizer: Any) -> str | None:
    """Digests all that decides what `subtokens_of` returns.

    Returns:
        A SHA-256 in hexadecimal; ``None`` for tokenizers written in Python, whose state cannot be written as text.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        return None
    special = f"{_BEHAVIOUR} {tokenizer.split_special_tokens} {tokenizer.all_special_tokens}"
    return hashlib.sha256(f"{special}\n{backend.to_str()}".encode()).hexdigest()

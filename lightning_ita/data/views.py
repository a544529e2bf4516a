"""Turns tweets and contexts into views: the sub-tokens an encoder reads, and where each tweet word begins.

The text view is ``[CLS] tweet [SEP]``; the cross-modal view ``[CLS] tweet [SEP] context [SEP]``, with captions, tags
and OCR in this order (ITA, arXiv 2112.06482, §3.1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning_ita.data.subtokens import subtokens_of
from lightning_ita.data.word_cache import WordCache

_URL = re.compile(r"https?://\S*|www\.\S+", re.IGNORECASE)
# Most words whose sub-tokens are kept in memory: a stream of posts has no end of new ones.
MOST_WORDS = 2**18
# What a normalised URL is read as: its first sub-token.
_URL_WORD = "http"


@dataclass(frozen=True, slots=True)
class View:
    """One view of one tweet.

    Attributes:
        tweet_id: Whose view it is.
        input_ids: Sub-token ids, special tokens included.
        first_subtokens: Position of each tweet word's first sub-token; words beyond the encoder's length have none.
        context_cut: Context sub-tokens that did not fit.
    """

    tweet_id: str
    input_ids: tuple[int, ...]
    first_subtokens: tuple[int, ...]
    context_cut: int = 0


def context_words(contexts: Mapping[str, Sequence[str]]) -> list[str]:
    """Writes the contexts of one tweet as words: texts of a kind are separated by commas, kinds end with a full stop.

    Args:
        contexts: Texts by kind, in the order in which they follow the tweet; a kind may be empty.

    Example:
        >>> " ".join(context_words({"cap": ["a man on a court"], "tag": ["ball", "red shirt"], "ocr": []}))
        'a man on a court . ball , red shirt .'
    """
    words: list[str] = []
    for said in contexts.values():
        texts = [text.split() for text in said if text.split()]
        for index, text in enumerate(texts):
            words += [",", *text] if index else text
        if texts:
            words.append(".")
    return words


class ViewBuilder:
    """Builds views with one encoder's tokenizer; every distinct word is tokenised once.

    Args:
        tokenizer: A Hugging Face tokenizer with cls, sep, unk and pad tokens.
        max_length: Longest view in sub-tokens, special tokens included.
        normalise_urls: Whether every URL is read as one and the same sub-token, the first of ``http``.
        cache: Folder that keeps the sub-tokens of words for later builders with the same tokenizer.
    """

    def __init__(self, tokenizer: Any, max_length: int, normalise_urls: bool = False, cache: Path | None = None):
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.normalise_urls = normalise_urls
        self.cache = WordCache(cache, tokenizer) if cache else None
        self._subtokens: dict[str, list[int]] = self.cache.read() if self.cache else {}

    def learn(self, words: Iterable[str]) -> None:
        """Tokenises words not seen before, in one call: call it for a whole corpus before building its views."""
        words = {*words, _URL_WORD}
        new = sorted(word for word in words if word not in self._subtokens)
        if not new:
            return
        if len(self._subtokens) > MOST_WORDS:
            self._subtokens.clear()  # other views learn their own words again
            new = sorted(words)
        self._subtokens.update(zip(new, subtokens_of(self.tokenizer, new), strict=True))
        if self.cache:
            self.cache.write(self._subtokens)

    def subtokens(self, word: str) -> list[int]:
        """Returns the sub-tokens of a word, at least one; call `learn` first."""
        if self.normalise_urls and _URL.fullmatch(word):
            return self._subtokens[_URL_WORD][:1]
        return self._subtokens[word]

    def text_view(self, tweet_id: str, words: Sequence[str]) -> View:
        """Builds ``[CLS] words [SEP]``; words that do not fit are left out from the end."""
        self.learn(words)
        ids = [self.tokenizer.cls_token_id]
        first: list[int] = []
        for word in words:
            subtokens = self.subtokens(word)
            if not first:
                subtokens = subtokens[: self.max_length - 2]  # a tweet keeps at least its first word
            if len(ids) + len(subtokens) >= self.max_length:
                break
            first.append(len(ids))
            ids += subtokens
        return View(tweet_id, (*ids, self.tokenizer.sep_token_id), tuple(first))

    def cross_modal_view(self, text: View, context: Sequence[str]) -> View:
        """Extends a text view by the words of its image's context; what does not fit is cut from the end.

        Returns:
            The cross-modal view, or the text view itself where the image has no context.
        """
        if not context:
            return text
        self.learn(context)
        subtokens = [subtoken for word in context for subtoken in self.subtokens(word)]
        room = max(self.max_length - len(text.input_ids) - 1, 0)
        if room == 0:
            return View(text.tweet_id, text.input_ids, text.first_subtokens, context_cut=len(subtokens))
        ids = (*text.input_ids, *subtokens[:room], self.tokenizer.sep_token_id)
        return View(text.tweet_id, ids, text.first_subtokens, context_cut=max(len(subtokens) - room, 0))

"""Tagging posts with a trained model: text in, mentions with offsets and exact probabilities out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from lightning_ita.contexts.jsonl import Contexts
from lightning_ita.crf import ChainDistribution, ForbiddenTransitions, NonFiniteScoresError
from lightning_ita.data.batching import batches_of_like_length
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import Corpus
from lightning_ita.data.inputs import Input
from lightning_ita.data.words import Word, cut, join
from lightning_ita.devices import available_precision
from lightning_ita.errors import UserError, unknown
from lightning_ita.files import user_path
from lightning_ita.images.crops import Box
from lightning_ita.images.files import ImageError, decode
from lightning_ita.images.pictures import Picture, PictureImage, read_picture
from lightning_ita.metrics.entity_f1 import find_mentions
from lightning_ita.models.converted import converted
from lightning_ita.models.mentions import Mention, Tagged
from lightning_ita.models.options import CROSS_MODAL, TEXT, VIEWS
from lightning_ita.models.tagging import forbidden_transitions, to_bio
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

# auto: I+T where the post has context and the model reads any, else T.
ViewChoice = Literal["auto", "T", "I+T"]
GivenContexts = Mapping[str, Sequence[str] | str] | None
# A picture: its file, the bytes of one, an image of Pillow, or none.
GivenImage = str | os.PathLike[str] | bytes | Image.Image | Picture | None
# A fast tokenizer fails where two threads use it at once; tagging itself runs side by side.
_READING = threading.Lock()


@dataclass(frozen=True, slots=True)
class _Post:
    text: str
    words: list[Word]
    contexts: dict[str, tuple[str, ...]]
    view: str
    picture: Picture | None = None
    boxes: tuple[Box, ...] | None = None


def predict(
    tagger: Tagger,
    posts: Sequence[str | Sequence[str]],
    contexts: Sequence[GivenContexts] | None = None,
    view: ViewChoice = "auto",
    images: Sequence[GivenImage] | None = None,
    unreadable: Callable[[int, str], None] | None = None,
    boxes: Sequence[Sequence[Box]] | None = None,
) -> list[Tagged]:
    """Tags posts; see `lightning_ita.models.tagger.Tagger.predict`.

    Args:
        tagger: The model.
        posts: The posts.
        contexts: What is known of their pictures.
        view: The view.
        images: Their pictures.
        unreadable: Told the number of a post whose picture cannot be read, and why; the post is then read as one
            without a picture. If not given, such a picture is an error.
        boxes: Places of objects in their pictures, in pixels, the most certain first, of which crops are made; if not
            given, crops are parts of a grid. See `lightning_ita.images.crops.parts_of`.
    """
    if isinstance(posts, str):
        raise UserError("expected a sequence of posts, got one text; write predict([text])")
    if view not in get_args(ViewChoice):
        raise unknown("view", str(view), get_args(ViewChoice))
    if images is not None and "images" not in tagger.options.needs:
        raise UserError(f"{tagger.options.label} does not look at pictures: leave images out")
    for what, given_ones in (("contexts", contexts), ("images", images)):
        if given_ones is not None and len(given_ones) != len(posts):
            raise UserError(
                f"{len(posts)} posts and {what} of {len(given_ones)}: give one for each post, None for none"
            )
    shown = images or [None] * len(posts)
    handles = tagger.handles or "whole"
    given = contexts or [None] * len(posts)
    ready = [
        _prepare(tagger, index, post, texts, image, view, handles, unreadable)
        for index, (post, texts, image) in enumerate(zip(posts, given, shown, strict=True))
    ]
    if boxes is not None:
        ready = [replace(post, boxes=tuple(places)) for post, places in zip(ready, boxes, strict=True)]
    if tagger.training:
        tagger.eval()
    found: dict[int, Tagged] = {}
    for name in tagger.tested_views:
        rows = [index for index, post in enumerate(ready) if post.view == name and post.words]
        for index, tagged in _tag(tagger, name, {index: ready[index] for index in rows}, unreadable):
            found[index] = tagged
    return [found.get(index) or Tagged(post.text, (), (), post.view, post.contexts) for index, post in enumerate(ready)]


def _prepare(
    tagger: Tagger,
    index: int,
    post: str | Sequence[str],
    given: GivenContexts,
    image: GivenImage,
    view: ViewChoice,
    handles: str,
    unreadable: Callable[[int, str], None] | None,
) -> _Post:
    """Cuts a post into words, and decides in which view it is read."""
    try:
        if not isinstance(post, Sequence) and not hasattr(post, "__array__"):
            raise UserError(f"expected a text or a sequence of words, got {quoted(post)}")
        text, words = (post, cut(post, handles)) if isinstance(post, str) else join(post)
        texts = {} if view == TEXT else _contexts(tagger, given)
        picture = None if view == TEXT else _picture(index, image)
    except UserError as error:
        raise UserError(f"post {index}: {error}") from None
    except ImageError as error:
        if unreadable is None:
            raise UserError(f"post {index}: its picture cannot be read: {error}") from None
        unreadable(index, str(error))
        picture = None
    views = tagger.tested_views
    if view == "auto":
        chosen = CROSS_MODAL if CROSS_MODAL in views and (texts or picture or TEXT not in views) else TEXT
    else:
        chosen = view
    if chosen not in views:
        raise UserError(f"{tagger.options.label} has no view {chosen}: it was trained for {', '.join(views)}")
    return _Post(text, words, texts if chosen == CROSS_MODAL else {}, chosen, picture)


def _picture(index: int, given: GivenImage) -> Picture | None:
    """Returns a post's picture; whether it can be decoded is seen when it is looked at.

    Raises:
        ImageError: There is no such file, or it cannot be read.
        UserError: It is something else than a picture.
    """
    name = f"post {index}"
    if isinstance(given, str | os.PathLike):
        return read_picture(name, user_path(given))
    if isinstance(given, bytes):
        return PictureImage(name, decode(given))
    if isinstance(given, Image.Image):
        return PictureImage(name, ImageOps.exif_transpose(given))
    if given is None or (hasattr(given, "sha256") and hasattr(given, "open")):
        return given
    raise UserError(f"its picture is a {type(given).__name__}: expected a file, bytes, an image of Pillow, or None")


def _contexts(tagger: Tagger, given: GivenContexts) -> dict[str, tuple[str, ...]]:
    kinds = tagger.inputs.kinds
    texts: dict[str, tuple[str, ...]] = {}
    for kind, said in (given or {}).items():
        if kind not in kinds:
            reads = f"it reads {', '.join(kinds)}" if kinds else "it reads no context"
            raise UserError(f"contexts of the kind {quoted(kind)}, but {tagger.options.label}: {reads}")
        said = (said,) if isinstance(said, str) else tuple(said)
        for text in said:
            if not isinstance(text, str) or text != text.encode(errors="replace").decode():
                raise UserError(f"a {kind} context is not a text, or has half a character: {quoted(text)}")
        if any(text.strip() for text in said):
            texts[kind] = said
    return texts


def _tag(
    tagger: Tagger, view: str, posts: Mapping[int, _Post], unreadable: Callable[[int, str], None] | None
) -> Iterator[tuple[int, Tagged]]:
    """Tags posts in one view, in batches of like length."""
    if not posts:
        return
    with _READING:
        inputs = tagger.inputs
        reads = _read(tagger, posts)
        lengths = np.array([inputs.lengths(read) for read in reads])
    if lengths.shape[1] == len(VIEWS):
        lengths = lengths[:, [VIEWS.index(view)]]  # one view is computed
    for batch in batches_of_like_length(lengths, None, inputs.evaluation_budget):
        # In the order of their lengths, where the encoder can do without most of the padding.
        members = [reads[row] for row in batch[lengths[batch].sum(1).argsort(kind="stable")]]
        failed = _unreadable(tagger, members)
        for index, reason in failed.items():
            if unreadable is None:
                raise UserError(f"post {index}: its picture cannot be read: {reason}")
            unreadable(index, reason)
        for read, mentions in zip(members, _mentions(tagger, view, members), strict=True):
            post, index = posts[int(read.id)], int(read.id)
            words_cut = len(post.words) - len(read.tags)
            found = tuple(_located(post, *mention) for mention in mentions)
            # Without its picture it was read as the text view reads it.
            seen = TEXT if index in failed and TEXT in tagger.tested_views else view
            yield index, Tagged(post.text, tuple(post.words), found, seen, post.contexts, words_cut)


def _unreadable(tagger: Tagger, reads: Sequence[Input]) -> dict[int, str]:
    """Returns why pictures of posts cannot be read, by the number of the post; looks at them for that."""
    if "images" not in tagger.options.needs or not hasattr(tagger.inputs, "unreadable"):
        return {}
    return {int(each): reason for each, reason in tagger.inputs.unreadable(reads).items()}


def _read(tagger: Tagger, posts: Mapping[int, _Post]) -> list[Input]:
    types = tagger.tag_set.types
    tweets = [
        Tweet(str(index), tuple(word.text for word in post.words), ("O",) * len(post.words), str(index))
        for index, post in posts.items()
    ]
    contexts = {
        kind: Contexts(kind, "given", {str(i): p.contexts[kind] for i, p in posts.items() if kind in p.contexts}, "")
        for kind in tagger.inputs.kinds
    }
    pictures = {str(index): post.picture for index, post in posts.items() if post.picture is not None}
    boxes = {str(index): post.boxes for index, post in posts.items() if post.boxes is not None}
    return tagger.inputs.read(tweets, Corpus("posts", types, {}, contexts, {}, pictures=pictures, boxes=boxes or None))


def probabilities(
    tagger: Tagger, tagged: Tagged, spans: Sequence[tuple[int, int, str]], image: GivenImage = None
) -> list[float]:
    """Returns the probability of mentions of any kind in a post, whether or not they were found in it.

    Args:
        tagger: The model.
        tagged: The post as the model tagged it: it is read again in the same view, with the same contexts.
        spans: First word, word behind the last one, and type of each mention.
        image: Its picture, where it was given one.

    Returns:
        Exactly, by the model's distribution over tag sequences; 0 for a mention in words that were cut.
    """
    post = _Post(tagged.text, list(tagged.words), dict(tagged.contexts), tagged.view, _picture(0, image))
    read_words = len(tagged.words) - tagged.words_cut
    asked = [(0, first, end, tagger.tag_set.types.index(type_)) for first, end, type_ in spans if end <= read_words]
    if not asked:
        return [0.0] * len(spans)
    with _READING:
        reads = _read(tagger, {0: post})
    with torch.inference_mode():
        found = iter(span_probabilities(tagger, _chain(tagger, tagged.view, reads), asked))
    return [next(found) if end <= read_words else 0.0 for _, end, _ in spans]


def _chain(tagger: Tagger, view: str, reads: Sequence[Input]) -> ChainDistribution:
    """Returns the distribution over the tag sequences of a batch; to be called in inference mode."""
    batch = tagger.inputs.collate(reads).to(tagger.device)
    fast = tagger.recipe.precision == "bfloat16" and _fast_precision() == "bfloat16"
    with torch.autocast(tagger.device.type, torch.bfloat16, enabled=fast):
        chain: ChainDistribution = (converted(tagger) if fast else tagger)(batch, (view,))[view]
    return chain


# Asking again and again whether there is a GPU takes longer than tagging a word.
_fast_precision = cache(partial(available_precision, "auto"))
_forbidden = cache(forbidden_transitions)


def _mentions(tagger: Tagger, view: str, reads: Sequence[Input]) -> list[list[tuple[int, int, str, float]]]:
    """Returns the mentions of a batch: first word, end, type and probability of each, by post."""
    with torch.inference_mode():
        chain = _chain(tagger, view, reads)
        forbidden = _forbidden(tagger.tag_set, tagger.device)
        try:
            bio = to_bio(tagger.tag_set, chain.argmax(ForbiddenTransitions(*forbidden)))
        except NonFiniteScoresError as error:
            post = "" if error.row is None else f"post {reads[error.row].id}, "
            raise NonFiniteScoresError(f"{post}view {view}: {error}", error.row) from None
        starts, ends, types = find_mentions(bio)
        rows, firsts = starts.nonzero(as_tuple=True)
        spans = [
            (row, first, end, type_)
            for row, first, end, type_ in zip(
                rows.tolist(), firsts.tolist(), ends[rows, firsts].tolist(), types[rows, firsts].tolist(), strict=True
            )
        ]
        found: list[list[tuple[int, int, str, float]]] = [[] for _ in reads]
        for (row, first, end, type_), probability in zip(spans, span_probabilities(tagger, chain, spans), strict=True):
            found[row].append((first, end, tagger.tag_set.types[type_], probability))
    return found


def span_probabilities(
    tagger: Tagger, chain: ChainDistribution, spans: Sequence[tuple[int, int, int, int]]
) -> list[float]:
    """Returns the probability that mentions are in the tag sequence.

    Args:
        tagger: The model, for its tags.
        chain: Its distribution over the tag sequences of a batch.
        spans: Row, first word, end and index of the type of each mention.
    """
    if not spans:
        return []
    device = chain.mask.device
    wanted = [tagger.tag_set.mention(type_, end - first) for _, first, end, type_ in spans]
    longest = max(len(tags) for tags, _ in wanted)
    tags = torch.tensor([tags + [-1] * (longest - len(tags)) for tags, _ in wanted], device=device)

    def column(values: list[int]) -> Tensor:
        return torch.tensor(values, device=device)

    log_probs = chain.segment_log_prob(
        column([row for row, *_ in spans]),
        column([first for _, first, *_ in spans]),
        tags,
        column([after for _, after in wanted]),
    )
    # Rounding may make it a little more than 1.
    return [min(value, 1.0) for value in log_probs.exp().tolist()]


def _located(post: _Post, first: int, end: int, type_: str, probability: float) -> Mention:
    start, stop = post.words[first].start, post.words[end - 1].end
    return Mention(post.text[start:stop], type_, start, stop, first, end, probability)

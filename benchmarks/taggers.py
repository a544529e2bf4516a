"""What `benchmarks.predict` compares, each in a process of its own: ``python -m benchmarks.taggers NAME FOLDER``.

FOLDER is what `benchmarks.predict` writes: posts, a kept model, and the plain loop's copy of it. The result is a line
of JSON. Peers need neither this project nor its environment: the interpreter that runs them decides which packages
they find.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

# Posts that are tagged before anything is timed; other posts than those timed, whose words are not known yet.
WARM_UP = 64
# Posts that are tagged one by one.
SINGLE = 200
Post = dict[str, Any]  # words, contexts by kind, picture
Tag = Callable[[Sequence[Post]], Any]


def text(folder: Path) -> Tag:
    """This project, the text view, posts as words."""
    tagger = _tagger(folder)
    return lambda posts: tagger.predict([post["words"] for post in posts], view="T")


def raw_text(folder: Path) -> Tag:
    """This project, the text view, posts as raw text, which is cut into words first."""
    tagger = _tagger(folder)
    return lambda posts: tagger.predict([" ".join(post["words"]) for post in posts], view="T")


def contexts(folder: Path) -> Tag:
    """This project, the cross-modal view, with contexts at hand."""
    tagger = _tagger(folder)
    return lambda posts: tagger.predict([p["words"] for p in posts], [p["contexts"] for p in posts], view="I+T")


def pictures(folder: Path) -> Tag:
    """This project, the cross-modal view, with the text that OCR reads in the picture; nothing is read twice."""
    from tempfile import TemporaryDirectory

    from lightning_ita.contexts.engines import make_engine
    from lightning_ita.contexts.store import ContextStore
    from lightning_ita.posts.pictures import Pictures
    from lightning_ita.posts.records import Record

    tagger, engine = _tagger(folder), make_engine("ocr", "rapidocr")

    def tag(posts: Sequence[Post]) -> Any:
        records = [Record(number, number, str(number), image=post["picture"]) for number, post in enumerate(posts)]
        with TemporaryDirectory() as scratch, ContextStore(Path(scratch) / "store.db") as store:
            found, _ = Pictures(store, Path("/"), [engine], {}).contexts(records)
        return tagger.predict([p["words"] for p in posts], [found.get(n, {}) for n in range(len(posts))])

    return tag


def plain(folder: Path) -> Tag:
    """A plain loop: transformers and pytorch-crf in float32, batches in the order of the posts, best tags alone."""
    import torch
    from safetensors.torch import load_model
    from transformers import AutoTokenizer

    from benchmarks import naive
    from lightning_ita.data.batching import EncodedTweet
    from lightning_ita.data.views import View
    from lightning_ita.models.recipes import Recipe

    names = _read(folder)["tags"]
    tagger = naive.NaiveTagger(str(folder / "plain"), len(names), Recipe(), alignment=False)
    load_model(tagger, folder / "plain.safetensors")
    tokenizer = AutoTokenizer.from_pretrained(folder / "plain")

    def tag(posts: Sequence[Post]) -> Any:
        encoded = tokenizer([post["words"] for post in posts], is_split_into_words=True, truncation=True)
        tweets = []
        for row, ids in enumerate(encoded["input_ids"]):
            words = encoded.word_ids(row)
            first = [at for at, word in enumerate(words) if word is not None and word != words[at - 1]]
            view = View(str(row), ids, tuple(first))
            tweets.append(EncodedTweet(view, view, (0,) * len(first)))
        with torch.inference_mode():
            paths = tagger.tag(naive.collate(tweets, tokenizer.pad_token_id, text=True, cross_modal=False))
        return [[names[tag] for tag in path] for path in paths]

    return tag


def spacy(folder: Path) -> Tag:
    """The convolutional NER of spaCy, as in en_core_web_sm, untrained: weights play no part in its speed."""
    import spacy
    from spacy.tokens import Doc

    nlp = spacy.blank("en")
    recogniser: Any = nlp.add_pipe("ner")
    for label in ("PER", "LOC", "ORG", "MISC"):
        recogniser.add_label(label)
    nlp.initialize()

    def tag(posts: Sequence[Post]) -> Any:
        docs = [Doc(nlp.vocab, post["words"]) for post in posts]
        return [[(span.start, span.end, span.label_) for span in doc.ents] for doc in nlp.pipe(docs)]

    return tag


def span_marker(folder: Path) -> Tag:
    """SpanMarker with the same encoder, its head untrained; in batches as its `predict` makes them."""
    from span_marker import SpanMarkerModel
    from span_marker.tokenizer import SpanMarkerTokenizer

    encoder = str(folder / "plain")
    labels = ["O", *(f"{prefix}-{type_}" for type_ in ("PER", "LOC", "ORG", "MISC") for prefix in "BI")]
    model = SpanMarkerModel.from_pretrained(encoder, labels=labels, model_max_length=128, entity_max_length=8)
    model.set_tokenizer(SpanMarkerTokenizer.from_pretrained(encoder, config=model.config))
    model = model.eval()

    def tag(posts: Sequence[Post]) -> Any:
        # It fails at words without a sub-token, such as U+FE0F.
        words = [[word if word.isascii() else "x" for word in post["words"]] for post in posts]
        return model.predict(words, batch_size=len(posts))

    return tag


def _read(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "posts.json").read_text(encoding="utf-8"))
    return content


def _tagger(folder: Path) -> Any:
    from lightning_ita import Tagger

    return Tagger.from_pretrained(folder / "model")


TAGGERS = {each.__name__: each for each in (text, raw_text, contexts, pictures, plain, spacy, span_marker)}


def measure(make: Callable[[Path], Tag], folder: Path, sizes: Sequence[int], started: float) -> dict[str, Any]:
    """Loads a tagger and times it.

    Args:
        make: Loads it.
        folder: Of posts and model.
        sizes: Posts that are given at once; 1 gives the latency.
        started: When the process was started.

    Returns:
        ``ready``: seconds from the start of the process to the first tagged post; ``rate``: posts per second by size;
        ``p50`` and ``p95``: milliseconds per post given alone.
    """
    posts = _read(folder)["posts"]
    if make is pictures:
        posts = [post for post in posts if post["picture"]]
        warm_up = 2
    else:
        warm_up = WARM_UP
    tag = make(folder)
    tag(posts[:1])
    ready = time.time() - started
    tag(posts[:warm_up])
    posts = posts[warm_up:]
    result: dict[str, Any] = {"ready": ready, "rate": {}}
    for size in sizes:
        if size == 1:
            tag(posts[:1])
            times = sorted(_seconds(tag, [post]) for post in posts[:SINGLE])
            result["p50"], result["p95"] = (1000 * times[int(share * len(times))] for share in (0.5, 0.95))
            result["rate"][size] = len(times) / sum(times)
        else:
            tag(posts[:size])
            rest = posts[size:] or posts
            seconds = sum(_seconds(tag, rest[at : at + size]) for at in range(0, len(rest), size))
            result["rate"][size] = len(rest) / seconds
    return result


def _seconds(tag: Tag, posts: Sequence[Post]) -> float:
    started = time.perf_counter()
    tag(posts)
    return time.perf_counter() - started


def main(arguments: list[str] | None = None) -> None:
    """Measures one tagger and prints the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.taggers", description=__doc__)
    parser.add_argument("name", choices=TAGGERS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 32, 512])
    parser.add_argument("--started", type=float, default=time.time())
    options = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    print(json.dumps(measure(TAGGERS[options.name], options.folder, options.sizes, options.started)))


if __name__ == "__main__":
    main()

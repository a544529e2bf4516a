"""How much of the text in images the OCR engines find: ``python -m benchmarks.ocr``.

Method. The demo corpus draws words into images of 320 × 240 pixels, on signs, shirts, paper and screens, so the text of
each image is known. Word recall is the share of the drawn words that an engine returns. A word is a run of letters and
digits; it is compared without regard to case and position, as often as it was drawn in that image, and only as a whole:
"FLYTO" is neither "FLY" nor "TO". Precision is the share of the returned words that were drawn. Images without words
show how often an engine finds text where there is none. Unreadable and missing images are left out.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import Counter
from collections.abc import Iterable, Sequence

from rich.progress import track

from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines import ENGINES, make_engine
from lightning_ita.demo import SPLITS, DemoConfig, DemoTweet, generate
from lightning_ita.demo.painting import lettering, render
from lightning_ita.errors import UserError


def words(texts: Iterable[str]) -> Counter[str]:
    """Counts the words of texts, in lower case."""
    return Counter(word for text in texts for word in re.findall(r"[^\W_]+", text.casefold()))


def compare(drawn: Counter[str], said: Counter[str]) -> tuple[int, int, int]:
    """Returns how many words were drawn and returned, drawn, and returned."""
    return (drawn & said).total(), drawn.total(), said.total()


def read(engine: Engine, tweets: Sequence[DemoTweet]) -> Counter[str]:
    """Reads the images of tweets.

    Returns:
        Counts: ``pictures``; ``drawn`` words, words that the engine ``said``, and words ``found``, which are both;
        ``blank`` pictures (without words), and the words ``imagined`` in them; for each kind of scene, the words that
        were missed, as ``missed KIND``.
    """
    counts: Counter[str] = Counter()
    batches = range(0, len(tweets), engine.batch_size)
    for start in track(batches, description=engine.name, transient=True):
        batch = tweets[start : start + engine.batch_size]
        readings = engine.read([engine.prepare(render(tweet.scene)) for tweet in batch])
        for tweet, reading in zip(batch, readings, strict=True):
            found, drawn, said = compare(words(line for line, _ in lettering(tweet.scene)), words(reading.texts))
            if drawn:
                counts.update({"pictures": 1, "found": found, "drawn": drawn, "said": said})
                counts[f"missed {tweet.scene.kind.partition('-')[0]}"] += drawn - found
            else:
                counts.update({"blank": 1, "imagined": said})
    return counts


def main(arguments: list[str] | None = None) -> None:
    """Reads the images with each engine and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ocr", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--engines", nargs="+", default=list(ENGINES["ocr"]), help="default: %(default)s")
    parser.add_argument("--splits", nargs="+", choices=SPLITS, default=list(SPLITS), help="default: all")
    parser.add_argument("--limit", type=int, help="read only this many images, spread evenly")
    parser.add_argument("--only-words", action="store_true", help="leave out images without words")
    options = parser.parse_args(arguments)
    corpus = generate(DemoConfig())
    tweets = [tweet for split in options.splits for tweet in corpus.splits[split] if tweet.image == "ok"]
    if options.only_words:
        tweets = [tweet for tweet in tweets if tweet.scene.words]
    if options.limit:
        tweets = tweets[:: max(1, len(tweets) // options.limit)][: options.limit]
    print("| engine | pictures with words | words | recall | precision | words seen in pictures without | s/picture |")
    print("|---|---|---|---|---|---|---|")
    for choice in options.engines:
        try:
            engine = make_engine("ocr", choice)
        except UserError as error:
            print(f"| {choice} | {error} |")
            continue
        begin = time.perf_counter()
        counts = read(engine, tweets)
        seconds = (time.perf_counter() - begin) / len(tweets)
        recall, precision = counts["found"] / max(counts["drawn"], 1), counts["found"] / max(counts["said"], 1)
        engine_name = f"{choice} ({engine.version.partition(',')[0]})"
        blank = f"{counts['imagined']} in {counts['blank']}"
        cells = [engine_name, counts["pictures"], counts["drawn"], f"{recall:.1%}", f"{precision:.1%}", blank]
        print("| " + " | ".join(map(str, [*cells, f"{seconds:.2f}"])) + " |")
        missed = {name: count for name, count in counts.most_common() if name.startswith("missed ") and count}
        print(f"\n{choice} {', '.join(f'{name} {count}' for name, count in missed.items()) or 'missed nothing'}\n")


if __name__ == "__main__":
    main()

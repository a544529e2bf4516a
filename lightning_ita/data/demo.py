"""The demo corpus as a data set: generated in memory, the same for everyone."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from lightning_ita.contexts.jsonl import Contexts
from lightning_ita.data.conll import Tweet
from lightning_ita.data.corpus import SPLITS, Corpus, contexts_of, corpus_warnings
from lightning_ita.data.dataset import Dataset, picture_function
from lightning_ita.data.source import Source
from lightning_ita.demo import CONTEXTS, DemoConfig, generate
from lightning_ita.demo.writing import text_files
from lightning_ita.errors import UserError
from lightning_ita.invocation import spelled
from lightning_ita.tags import LabelConvention


class Demo(Dataset):
    """The demo corpus with its default sizes and rates; with a data folder, one that was written to disk.

    `lightning-ita corpus --out DIR` writes one, on request with other rates and with its images.
    """

    name = "demo"
    how_to_get = f"`{spelled('corpus', '--out', 'DIR')}` writes it; without --data-dir it is generated."

    def read(self, source: Source, kinds: Sequence[str] = (), labels: LabelConvention = "repair") -> Corpus:
        """Generates the corpus, or reads it from its folder; contexts come from the files or the store named."""
        if source.data_dir is not None:
            return super().read(source, kinds, labels)
        named = [kind for kind in kinds if kind in source.context_files or source.context_store is not None]
        for kind in kinds:
            if kind not in CONTEXTS and kind not in named:
                raise UserError(
                    f"the demo corpus has {', '.join(CONTEXTS)} contexts, and no {kind}; name a file of them with "
                    f"--context-files {kind}=FILE"
                )
        corpus = generated(DemoConfig(), tuple(kind for kind in kinds if kind in CONTEXTS))
        if not named:
            return corpus
        read = {kind: contexts_of(self.name, kind, Path(), source, corpus.splits) for kind in named}
        contexts = {**corpus.contexts, **read}
        digests = {**corpus.digests, **{kind: found.sha256 for kind, found in read.items()}}
        warnings = tuple(corpus_warnings("demo", corpus.splits, contexts, digests))
        return replace(corpus, contexts=contexts, digests=digests, warnings=warnings)

    def with_pictures(self, corpus: Corpus, source: Source, parts: Collection[str]) -> Corpus:
        """Returns a corpus with its pictures: drawn where it was generated and no folder of pictures is named."""
        if not parts or source.data_dir is not None or source.image_dir is not None:
            return super().with_pictures(corpus, source, parts)
        return picture_function("with_drawings")(corpus, source, parts)


def generated(config: DemoConfig, kinds: tuple[str, ...]) -> Corpus:
    """Generates a demo corpus, equal to what would be read after writing it to disk.

    Args:
        config: Its sizes, rates and seed.
        kinds: Kinds of context wanted.
    """
    demo = generate(config)
    files = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in text_files(demo).items()}
    digests = {split: files[f"{split}.txt"] for split in SPLITS}
    digests |= {kind: files[f"contexts/demo.{kind}.jsonl"] for kind in kinds}
    return Corpus(
        name="demo",
        types=Demo.types,
        splits={split: [Tweet(t.id, t.words, t.tags, t.id) for t in tweets] for split, tweets in demo.splits.items()},
        contexts={
            kind: Contexts(
                kind, "generated", {image: tuple(t) for image, t in demo.contexts[kind].items()}, digests[kind]
            )
            for kind in kinds
        },
        digests=digests,
    )

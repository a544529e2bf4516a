from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lightning_ita.data import DATASETS
from lightning_ita.data.corpus import SPLITS
from lightning_ita.data.custom import Custom
from lightning_ita.data.datamodule import CustomDataModule, MNERDataModule
from lightning_ita.data.demo import Demo, generated
from lightning_ita.data.releases import KNOWN_SPLITS
from lightning_ita.data.snap import SNAP
from lightning_ita.data.source import Source
from lightning_ita.data.twitter15 import Twitter15
from lightning_ita.data.twitter17 import Twitter17
from lightning_ita.demo import DemoConfig, write
from lightning_ita.errors import UserError
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.ita import ITAOptions
from lightning_ita.models.recipes import Recipe
from tests.conftest import SHARED, write_corpus

needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="development data is not beside the checkout")


def contexts_file(folder: Path, name: str, texts: dict[str, list[str]]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"image": image, "texts": said}) for image, said in texts.items()]
    path = folder / name
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@needs_shared
@pytest.mark.parametrize(
    ("labels", "mentions"), [("repair", (6352, 1594, 5207)), ("strict", None)], ids=["repair", "strict"]
)
def test_twitter15_counts_as_the_field_does(labels: str, mentions: tuple[int, ...] | None) -> None:
    corpus = Twitter15().read(Source(str(SHARED)), labels=labels)  # type: ignore[arg-type]
    assert [len(corpus.splits[split]) for split in SPLITS] == [4000, 1000, 3257]
    starts = tuple(sum(t[0] == "B" for tweet in corpus.splits[s] for t in tweet.tags) for s in SPLITS)
    if mentions:
        assert starts == mentions
        assert corpus.release == "UMT"
    else:
        assert starts[2] == 5072
    overlap = [warning for warning in corpus.warnings if "stand in both" in warning]
    assert overlap == [
        "twitter15: 2 tweets stand in both train and valid",
        "twitter15: 4 tweets stand in both train and test",
        "twitter15: 3 tweets stand in both valid and test",
    ]


@needs_shared
def test_twitter17_is_recognised_and_its_broken_captions_are_reported() -> None:
    corpus = Twitter17().read(Source(str(SHARED)), ["cap"])
    assert corpus.release == "UMT"
    starts = [sum(t[0] == "B" for tweet in corpus.splits[s] for t in tweet.tags) for s in SPLITS]
    assert starts == [6049, 1324, 1351]
    assert any("358 images share the cap context 'a man is standing on a skateboard" in w for w in corpus.warnings)
    assert corpus.contexts["cap"].source == "blip2"


def test_known_splits_are_three_a_corpus() -> None:
    for dataset in ("twitter15", "twitter17"):
        assert sorted(split for name, split, _ in KNOWN_SPLITS.values() if name == dataset) == sorted(SPLITS)


def test_equal_and_unknown_splits_are_reported(tmp_path: Path) -> None:
    same = "IMGID:1\nKobe\tB-PER\n"
    folder = write_corpus(tmp_path / "twitter17", valid=same, test=same)
    warnings = Twitter17().read(Source(str(folder))).warnings
    assert any("valid and test are the same file" in warning for warning in warnings)
    assert any("not a release known here" in warning for warning in warnings)
    assert any("1/1/1 tweets" in warning and "3373/723/723" in warning for warning in warnings)


def test_snap_reads_files_of_the_format_and_says_what_it_expected(tmp_path: Path) -> None:
    write_corpus(tmp_path / "snap")
    assert any("4290/1432/1459" in warning for warning in SNAP().read(Source(str(tmp_path))).warnings)


def test_a_corpus_of_ones_own_brings_its_name_types_and_columns(tmp_path: Path) -> None:
    row = "IMGID:1\nacme\tx\tB-brand\nok\tx\tO\nRome\tx\tB-place\n"
    write_corpus(tmp_path / "shops", train=row, valid=row, test=row)
    module = CustomDataModule(str(tmp_path), "shops", contexts=(), columns=(0, 2))
    assert (module.corpus.name, module.types) == ("shops", ("brand", "place"))
    options: dict[str, Any] = {"columns": (0, 2), "types": ["place", "brand"]}
    assert CustomDataModule(str(tmp_path), "shops", contexts=(), **options).types == ("place", "brand")


def test_tweets_of_one_image_and_without_an_image_become_views(tmp_path: Path, tiny_encoder: str) -> None:
    folder = write_corpus(tmp_path, train="IMGID:1\na\tB-PER\n\nIMGID:1\nb\tO\n\nc\tB-LOC\n\nd\tO\n")
    contexts_file(folder, "custom.cap.x.jsonl", {"1": ["a man"]})
    inputs = ITAOptions(contexts=("cap",)).make_inputs(("LOC", "PER"), Recipe(max_length=64), tiny_encoder)
    module = CustomDataModule(str(folder), inputs=inputs)
    module.setup()
    assert [tweet.id for tweet in module.encoded["train"]] == ["1", "1#2", "#3", "#4"]
    assert [tweet.text is tweet.cross_modal for tweet in module.encoded["train"]] == [False, False, True, True]
    summary = module.summary("train")
    assert (summary.tweets, summary.mentions, summary.counts["without_context"]) == (4, 2, 2)


def test_missing_data_says_what_was_looked_for_and_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"needs --data-dir.*github.com/jefferyYu/UMT"):
        _ = Twitter15().read(Source())
    with pytest.raises(UserError, match=r"does not exist.*nowhere/twitter15/.*UMT"):
        _ = Twitter15().read(Source(str(tmp_path / "nowhere")))
    folder = write_corpus(tmp_path / "twitter15")
    (folder / "valid.txt").unlink()
    with pytest.raises(UserError, match=r"has train.txt but not valid.txt"):
        _ = Twitter15().read(Source(str(tmp_path)))


def test_contexts_are_found_by_name_or_given(tmp_path: Path) -> None:
    folder = write_corpus(tmp_path / "custom")
    with pytest.raises(
        UserError, match=r"no cap contexts for custom: looked for .*name it with --context-files cap=FILE, or a store"
    ):
        _ = Custom().read(Source(str(tmp_path)), ["cap"])
    found = contexts_file(tmp_path / "contexts", "custom.cap.blip2.jsonl", {"train0.jpg": ["a man"]})
    corpus = Custom().read(Source(str(folder)), ["cap"])
    assert corpus.contexts["cap"].source == "blip2"
    assert corpus.texts(corpus.splits["train"][0]) == {"cap": ("a man",)}
    contexts_file(tmp_path / "contexts", "custom.cap.other.jsonl", {"train0": ["a dog"]})
    with pytest.raises(UserError, match=r"several files of cap contexts"):
        _ = Custom().read(Source(str(tmp_path)), ["cap"])
    given = Custom().read(Source(str(tmp_path), {"cap": str(found).replace("custom", "{dataset}")}), ["cap"])
    assert given.digests["cap"] == corpus.digests["cap"]
    with pytest.raises(UserError, match="no such file"):
        _ = Custom().read(Source(str(tmp_path), {"cap": "nowhere.jsonl"}), ["cap"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"image": "x", "texts": ["a"]}\n', r"none of its 1 image ids is that of a tweet: it has 'x'"),
        ('{"image": "train0", "texts": "a"}\n', r'line 1: expected {"image": id, "texts": \[text, ...\]}'),
        ('\n{"image": \n', r"line 2: not JSON"),
        ('{"image": "train0", "texts": []}\n' * 2, r"line 2: image 'train0' occurs twice"),
    ],
)
def test_malformed_contexts_are_errors(tmp_path: Path, content: str, expected: str) -> None:
    write_corpus(tmp_path / "custom")
    (tmp_path / "custom" / "custom.ocr.x.jsonl").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=expected):
        _ = Custom().read(Source(str(tmp_path)), ["ocr"])


@pytest.mark.parametrize("dataset", list(DATASETS))
def test_every_dataset_makes_batches(tmp_path: Path, tiny_encoder: str, dataset: str) -> None:
    write_corpus(tmp_path / dataset)
    contexts_file(tmp_path / "contexts", f"{dataset}.cap.x.jsonl", {"train0": ["a man"], "valid1": ["a city"]})
    types = DATASETS[dataset]().read(Source(str(tmp_path))).types
    inputs = ITAOptions(contexts=("cap",)).make_inputs(types, Recipe(max_length=64), tiny_encoder)
    module = MNERDataModule(dataset, str(tmp_path), inputs=inputs)
    module.setup()
    batch = next(iter(module.train_dataloader()))
    assert batch.ids == ["train0"]
    assert batch.cross_modal.input_ids.shape[1] > batch.text.input_ids.shape[1]
    assert module.summary("test").counts["without_context"] == 1
    assert module.summary("train").mentions == 2


@pytest.mark.parametrize("length", [3, 4096])
def test_a_length_the_encoder_cannot_take_is_an_error(tmp_path: Path, tiny_encoder: str, length: int) -> None:
    inputs = BertCRFOptions().make_inputs(("LOC", "PER"), Recipe(max_length=length), tiny_encoder)
    module = CustomDataModule(str(write_corpus(tmp_path)), inputs=inputs)
    with pytest.raises(UserError, match=rf"max_length {length}: .* takes 8 to 128"):
        module.setup()


def test_labels_are_read_as_the_model_counts_them(tmp_path: Path, tiny_encoder: str) -> None:
    inputs = BertCRFOptions().make_inputs(("LOC", "PER"), Recipe(labels="strict"), tiny_encoder)
    folder = str(write_corpus(tmp_path))
    with pytest.raises(UserError, match="labels 'strict', the data module 'repair'; make it with labels='strict'"):
        CustomDataModule(folder, inputs=inputs).setup()
    CustomDataModule(folder, inputs=inputs, labels="strict").setup()


def test_the_generated_demo_equals_the_written_one(tmp_path: Path) -> None:
    config = DemoConfig(train=12, valid=6, test=6)
    write(config, tmp_path / "demo")
    memory = generated(config, ("cap", "tag", "ocr"))
    disk = Demo().read(Source(str(tmp_path)), ["tag", "cap", "ocr"])
    assert memory.digests == disk.digests
    assert {split: list(tweets) for split, tweets in memory.splits.items()} == disk.splits
    for kind, contexts in memory.contexts.items():
        assert dict(contexts.texts) == dict(disk.contexts[kind].texts)


def test_a_kind_of_ones_own_is_read_by_its_file(tmp_path: Path, tiny_encoder: str) -> None:
    folder = write_corpus(tmp_path / "custom")
    with pytest.raises(UserError, match=r"no know contexts for custom: looked for"):
        Custom().read(Source(str(tmp_path)), ["know"])
    contexts_file(tmp_path / "contexts", "custom.know.x.jsonl", {"train0": ["Kobe is a player"]})
    contexts_file(tmp_path / "contexts", "custom.cap.x.jsonl", {"train0": ["a man"]})
    options = ITAOptions(contexts=("know", "cap"))
    assert (options.title, options.kinds) == ("ITA-Cap+Know", ("cap", "know"))
    corpus = Custom().read(Source(str(folder)), options.kinds)
    inputs = options.make_inputs(corpus.types, Recipe(), tiny_encoder)
    first = inputs.read(corpus.splits["train"], corpus)[0]
    pieces = inputs.tokenizer.convert_ids_to_tokens(first.cross_modal.input_ids[len(first.text.input_ids) :])
    assert "".join(pieces).replace("##", "") == "aman.kobeisaplayer.[SEP]"
    with pytest.raises(UserError, match=r"the demo corpus has .* contexts, and no know"):
        Demo().read(Source(), ["know"])

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lightning_ita.data.subtokens import subtokens_of, tokenizer_digest
from lightning_ita.data.views import ViewBuilder
from lightning_ita.models.encoders import load_tokenizer

CHARACTERS = string.ascii_letters + string.digits + string.punctuation
BERT = ("[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]")
ROBERTA = ("<s>", "</s>", "<unk>", "<pad>", "<mask>")


def wordpiece() -> tuple[Tokenizer, tuple[str, ...]]:
    pieces = [*BERT, *CHARACTERS, *(f"##{each}" for each in CHARACTERS)]
    tokenizer = Tokenizer(models.WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return tokenizer, BERT


def unigram() -> tuple[Tokenizer, tuple[str, ...]]:
    """As XLM-R's: the special tokens are also words of the model, with the best scores of all."""
    pieces = [*((each, 0.0) for each in ROBERTA), ("▁", -2.0), *((each, -5.0) for each in CHARACTERS)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    return tokenizer, ROBERTA


def byte_level() -> tuple[Tokenizer, tuple[str, ...]]:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {piece: index for index, piece in enumerate([*ROBERTA, *alphabet])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, ROBERTA


KINDS = {"WordPiece": wordpiece, "SentencePiece": unigram, "byte-level BPE": byte_level}


@pytest.fixture(params=KINDS)
def tokenizer(request: pytest.FixtureRequest, tiny_encoder: str, tmp_path: Path) -> Any:
    folder = tmp_path
    config = json.loads((Path(tiny_encoder) / "config.json").read_text()) | {"vocab_size": 1000}
    (folder / "config.json").write_text(json.dumps(config))
    backend, names = KINDS[request.param]()
    special = dict(zip(("cls_token", "sep_token", "unk_token", "pad_token", "mask_token"), names, strict=True))
    PreTrainedTokenizerFast(tokenizer_object=backend, **special).save_pretrained(folder)
    return load_tokenizer(str(folder))


@pytest.mark.parametrize("spelled", [*BERT, *ROBERTA, "x</s>y", "[SEP][SEP]", "<s>>", "[sep]", "<MASK>"])
def test_special_tokens_in_a_text_are_read_as_text(tokenizer: Any, spelled: str) -> None:
    (ids,) = subtokens_of(tokenizer, [spelled])
    assert not set(ids) & set(tokenizer.all_special_ids)
    text = "".join(tokenizer.convert_ids_to_tokens(ids)).replace("##", "").replace("▁", "").replace("Ġ", "")
    assert text == spelled


def test_ordinary_words_are_cut_as_the_tokenizer_alone_cuts_them(tokenizer: Any) -> None:
    words = ["Kobe", "don't", "<3", "[link]", "#MNER", "a/b", "é", "s>", "http://t.co/x"]
    plain = tokenizer(
        [[word] for word in words], is_split_into_words=True, add_special_tokens=False, split_special_tokens=False
    )
    assert subtokens_of(tokenizer, words) == [ids or [tokenizer.unk_token_id] for ids in plain["input_ids"]]


def test_a_word_without_subtoken_is_the_unknown_token(tiny_encoder: str) -> None:
    tokenizer = load_tokenizer(tiny_encoder)
    assert subtokens_of(tokenizer, ["\ufe0f", "a"])[0] == [tokenizer.unk_token_id]
    assert subtokens_of(tokenizer, []) == []


def test_a_view_has_no_special_tokens_but_its_own(tiny_encoder: str) -> None:
    tokenizer = load_tokenizer(tiny_encoder)
    builder = ViewBuilder(tokenizer, 64)
    text = builder.text_view("7", ["a", "[SEP]", "b"])
    view = builder.cross_modal_view(text, ["stop", "[SEP]", "[CLS]"])
    special = [id for id in view.input_ids if id in tokenizer.all_special_ids]
    assert tokenizer.convert_ids_to_tokens(special) == ["[CLS]", "[SEP]", "[SEP]"]


def test_a_digest_tells_tokenizers_apart(tiny_encoder: str) -> None:
    first, second = load_tokenizer(tiny_encoder), load_tokenizer(tiny_encoder)
    assert tokenizer_digest(first) == tokenizer_digest(second)
    second.split_special_tokens = False
    assert tokenizer_digest(first) != tokenizer_digest(second)
    second = load_tokenizer(tiny_encoder)
    second.add_tokens(["kobe"])
    assert tokenizer_digest(first) != tokenizer_digest(second)
    assert tokenizer_digest(object()) is None

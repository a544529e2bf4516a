"""Files of contexts as anyone may write them: read right, or an error with file and line."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lightning_ita.contexts.jsonl import Contexts, jsonl_of, read_contexts
from lightning_ita.errors import DataError
from lightning_ita.images.ids import image_id
from tests.conftest import SHARED

# The full test: CASES=10000 python -m pytest tests/contexts -k any_
CASES = int(os.environ.get("CASES", "300"))


def write(path: Path, *lines: str | bytes | dict[str, Any]) -> Path:
    raw = [json.dumps(line) if isinstance(line, dict) else line for line in lines]
    path.write_bytes(b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in raw))
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "twitter15.cap.blip2.jsonl"


def test_a_file_is_read_as_it_is_written(path: Path) -> None:
    write(path, {"image": "1.jpg", "texts": ["a “dog”", " "]}, "", {"image": "2", "texts": [], "score": 0.5}, "\t\r")
    contexts = read_contexts(path, "cap")
    assert contexts.texts == {"1": ("a “dog”",), "2": ()}
    assert (contexts.kind, contexts.source) == ("cap", "blip2")
    assert contexts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert jsonl_of(contexts.texts) == '{"image": "1", "texts": ["a “dog”"]}\n{"image": "2", "texts": []}\n'


def test_ids_are_compared_in_one_form(path: Path) -> None:
    write(path, {"image": "images/1.JPEG", "texts": ["x"]}, {"image": "e\u0301.png ", "texts": []})
    contexts = read_contexts(path, "cap")
    assert set(contexts.texts) == {"1", "é"}
    stored = Contexts("cap", "", contexts.texts, "", provenance={"engine": "x"})
    assert stored.unread(["1.jpg", "e\u0301", "3.jpg"]) == 1
    write(path, {"image": "1.jpg", "texts": ["x"]}, "", {"image": "1", "texts": ["y"]})
    with pytest.raises(DataError, match=r"blip2\.jsonl, line 3: image '1' occurs twice, first in line 1"):
        read_contexts(path, "cap")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "not JSON: "),
        ("[" * 100_000, "nested too deeply"),
        ('{"image": "b", "texts": [], "n": ' + "9" * 10_000 + "}", "a number has too many digits"),
        (r'{"image": "\ud800", "texts": []}', "half a character"),
        (r'{"image": "b", "texts": ["\udfff"]}', "half a character"),
        ('{"image": "b", "image": "c", "texts": []}', "a key occurs twice"),
        ('{"image": "b", "texts": [], "n": NaN}', "NaN is not JSON"),
        (b'{"image": "\xff", "texts": []}', "not UTF-8"),
        ('{"image": "b"}', re.escape('expected {"image": id, "texts": [text, ...]}, found \'{"image": "b"}\'')),
        ('{"image": " ", "texts": []}', "expected"),
        ('{"image": 1, "texts": []}', "expected"),
        ('{"image": "b", "texts": "text"}', "expected"),
        ('{"image": "b", "texts": [1]}', "expected"),
        ('{"image": "b", "texts": [null' + ", null" * 10_000 + "]}", r"expected .* found '.{79}…'$"),
        ("[]", "expected"),
        ('{"image": "b", "texts": ["' + "x" * 2**20 + '"]}', "longer than 1 MiB"),
        ("\x1b[2J", "not JSON"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_line_of_another_form_is_named(path: Path, line: str | bytes, reason: str) -> None:
    write(path, {"image": "a", "texts": []}, line)
    with pytest.raises(DataError, match=rf"blip2\.jsonl, line 2: {reason}") as error:
        read_contexts(path, "cap")
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


def test_pipes_and_devices_are_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "zero.jsonl").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        with pytest.raises(DataError, match=rf"{name}\.jsonl: not a regular file"):
            read_contexts(tmp_path / f"{name}.jsonl", "ocr")


def test_a_long_context_is_read_and_only_its_start_is_shown(path: Path) -> None:
    words = "word " * 100_000
    write(path, *({"image": str(number), "texts": [words]} for number in range(20)))
    contexts = read_contexts(path, "cap")
    assert contexts.texts["3"] == (words,)
    repeated = contexts.repeated()
    assert repeated is not None
    assert (len(repeated[0]), repeated[1]) == (80, 20)


@pytest.mark.parametrize(
    ("kind", "told"), [("cap", True), ("know", True), ("ret", True), ("tag", False), ("ocr", False)]
)
def test_a_text_that_many_images_share_is_told_of_kinds_whose_texts_differ(kind: str, told: bool, path: Path) -> None:
    refused = "I'm sorry, but I can't help with that."
    write(path, *({"image": str(n), "texts": [refused if n % 2 else f"number {n}"]} for n in range(40)))
    assert read_contexts(path, kind).repeated() == ((refused, 20) if told else None)
    write(path, *({"image": str(n), "texts": [f"number {n}" if n % 5 else "no names"]} for n in range(80)))
    assert (read_contexts(path, kind).repeated() is not None) == (kind == "cap")


@pytest.mark.skipif(not SHARED.is_dir(), reason="the real data are not here")
def test_real_files_are_read_as_plainly_as_can_be() -> None:
    files = sorted((SHARED / "contexts").glob("*.jsonl"))
    assert files
    for file in files:
        contexts = read_contexts(file, "cap")
        entries = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
        assert contexts.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
        assert dict(contexts.texts) == {
            entry["image"]: tuple(text for text in entry["texts"] if text.strip()) for entry in entries
        }


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
IMAGE = st.sampled_from(["1", "1.jpg", "2.PNG", "e\u0301", "é", "a/3.gif", " ", "", "\u2028", "\0"]) | st.text(
    st.characters(), max_size=4
)
ENTRY = st.fixed_dictionaries({"image": IMAGE, "texts": st.lists(st.text(st.characters(), max_size=8), max_size=3)})
LINE = st.one_of(
    ENTRY.map(lambda entry: json.dumps(entry).encode()),
    ENTRY.map(lambda entry: json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass")),
    st.dictionaries(st.sampled_from(["image", "texts", "more"]), VALUE).map(lambda entry: json.dumps(entry).encode()),
    VALUE.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=10),
    st.tuples(ENTRY, st.integers(0, 60), st.binary(max_size=3)).map(
        lambda drawn: (raw := json.dumps(drawn[0]).encode())[: drawn[1]] + drawn[2] + raw[drawn[1] :]
    ),
)
FILE = st.tuples(st.lists(LINE, max_size=5), st.sampled_from([b"\n", b"\r\n", b"\n\n", b"\r"])).map(
    lambda drawn: drawn[1].join(drawn[0])
)


@settings(max_examples=CASES)
@given(raw=FILE)
@example(raw=b"\xef\xbb\xbf" + b'{"image": "1", "texts": []}')
def test_any_file_is_read_right_or_refused(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "x.ocr.any.jsonl"
    path.write_bytes(raw)
    refused, texts = None, {}
    try:
        texts = dict(read_contexts(path, "ocr").texts)
    except DataError as error:
        refused = str(error)
    if refused is not None:
        assert re.match(rf"{re.escape(str(path))}, line [1-9]\d*: ", refused)
        assert refused.isprintable()
        assert len(refused) < 500
        return
    # Read plainly: whatever was not refused is what the lines say.
    lines = [line for line in raw.decode("utf-8-sig").split("\n") if line.strip()]
    entries = [json.loads(line) for line in lines]
    assert len(entries) == len(texts)
    for entry in entries:
        assert texts[image_id(entry["image"])] == tuple(text for text in entry["texts"] if text.strip())
    path.write_text(jsonl_of(texts), encoding="utf-8")
    assert read_contexts(path, "ocr").texts == texts

"""Every format that posts are read from, and what is wrong with some of them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lightning_ita.errors import UserError
from lightning_ita.posts.reading import Columns, format_of, read_posts
from lightning_ita.posts.records import Record

COLUMNS = Columns("text", "picture", "id")


def read(path: Path | str, format_: str, columns: Columns = COLUMNS, encoding: str = "utf-8") -> list[Record]:
    return list(read_posts(str(path), format_, columns, encoding))


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_csv(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", '\ufeffid,text,picture\n7,"Kobe, ""x""\nSpain",p.jpg\n8,short\n9,\0 nul,\n10,,\n')
    records = read(path, "csv")
    assert [(r.number, r.id, r.post, r.image) for r in records if r.error is None] == [
        (1, "7", 'Kobe, "x"\nSpain', "p.jpg"),
        (3, "9", "\0 nul", None),
        (4, "10", "", None),
    ]
    assert (records[1].error, records[1].line) == ("2 columns, the header has 3", 4)


def test_tsv_quotes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tsv", 'text\tid\tpicture\n"so it begins\t1\t\nend"\t2\t\n')
    assert [record.post for record in read(path, "tsv")] == ['"so it begins', 'end"']


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("text,id\nKobe,1\n", "utf-8", "unknown column 'picture'"),
        ("txt,id,picture\n", "utf-8", "unknown column 'text'. Did you mean 'txt'"),
        ("", "utf-8", "empty: the first line names the columns"),
        ("text,text,id,picture\n", "utf-8", "two columns are called 'text'"),
        ("text,id,picture\ncaf\u00e9,1,\n".encode("cp1252"), "utf-8", r"not utf-8 \(byte 0xe9\).*--encoding cp1252"),
        ("text,id,picture\n".encode("utf-16"), "utf-8", "not utf-8"),
        ("text,id,picture\n", "utf-9", "--encoding 'utf-9': not one that is known"),
        ('text,id,picture\n"a"b,1,\n', "utf-8", "not CSV"),
    ],
)
def test_a_wrong_table_is_an_error(tmp_path: Path, content: str | bytes, encoding: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(write(tmp_path / "a.csv", content), "csv", encoding=encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "UTF-8", "utf8", "utf_8_sig", "U16"])
@pytest.mark.parametrize(
    ("format_", "content"), [("csv", "text,id,picture\nKobe,12,\n"), ("conll", "IMGID:12\nKobe\tO\n")]
)
def test_a_byte_order_mark_is_no_text(tmp_path: Path, encoding: str, format_: str, content: str) -> None:
    path = write(tmp_path / "a", content.encode("utf-16" if encoding == "U16" else "utf-8-sig"))
    assert [(each.id, each.error) for each in read(path, format_, encoding=encoding)] == [("12", None)]


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "utf-8"])
def test_other_encodings_are_read_when_named(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.csv", "text,id,picture\ncaf\u00e9,1,\n".encode(encoding))
    assert [record.post for record in read(path, "csv", encoding=encoding)] == ["caf\u00e9"]
    path = write(tmp_path / "a.txt", "caf\u00e9\nthe\u010a \n".replace("\u010a", "\u00e9").encode(encoding))
    assert [record.post for record in read(path, "lines", encoding=encoding)] == ["caf\u00e9", "the\u00e9 "]


@pytest.mark.parametrize("format_", ["csv", "tsv", "jsonl", "lines", "conll"])
@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-16", "utf-32", "utf-7", "cp1252", "shift_jis", "idna", "undefined", "zlib", "", "\0", "x" * 999],
)
def test_any_bytes_in_any_encoding_are_records_or_an_error(tmp_path: Path, format_: str, encoding: str) -> None:
    contents = ["text,id,picture\nKobe \u00e9,1,\n".encode(), "text\nKobe \u00e9\n".encode("utf-16"), b"", b"\0" * 50]
    contents += [b"text\n" + bytes(range(256)), b"\xed\xa0\x80text\n\xed\xa0\x80\n", b"\xff\xfe\x00\xd8\n"]
    for content in contents:
        try:
            records = read(write(tmp_path / "a", content), format_, Columns(), encoding)
        except UserError:
            continue
        for record in records:
            words = [record.post] if isinstance(record.post, str) else record.post
            assert record.error or all(word == word.encode(errors="replace").decode() for word in words)


def test_jsonl(tmp_path: Path) -> None:
    lines: list[Any] = [
        {"text": "Kobe", "id": 5, "picture": "p.jpg", "contexts": {"cap": "a man", "ocr": ["x", "y"]}},
        {"text": ["Kobe", "in"], "tags": ["I-PER", "O"]},
        {"text": None},
    ]
    bad = ['{"text": 1}', "[]", "{", '{"txt": "a"}', '{"text": "\\ud800"}', '{"text": "a", "contexts": {"cap": 1}}']
    bad += ['{"text": ["a"], "tags": ["O", "O"]}', '{"text": ["a"], "tags": ["PER"]}', '{"text": ["a", ""]}']
    content = "\n".join([*map(json.dumps, lines), "", *bad]).encode() + b'\n{"text": "\xff"}\n'
    records = read(write(tmp_path / "a.jsonl", content), "jsonl")
    assert len(records) == 3 + len(bad) + 1
    assert records[0].contexts == {"cap": ("a man",), "ocr": ("x", "y")}
    assert (records[0].id, records[0].image) == ("5", "p.jpg")
    assert (records[1].post, records[1].gold, records[2].post) == (("Kobe", "in"), ("I-PER", "O"), "")
    assert all(record.error for record in records[3:])
    assert [record.number for record in records] == list(range(1, 14))
    assert records[3].line == 5


def test_lines(tmp_path: Path) -> None:
    content = b"Kobe\r\n\nin \xe2\x80\xa8 Spain\n\xff\n" + b"a" * (2**20 + 5) + b"\nlast"
    records = read(write(tmp_path / "a.txt", content), "lines")
    assert [record.post for record in records] == ["Kobe", "", "in \u2028 Spain", "", "", "last"]
    assert [bool(record.error) for record in records] == [False, False, False, True, True, False]
    for content in ("IMGID:1\nKobe\tO\n", "Kobe\tO\n", "Kobe\tNN\tB-PER\n"):
        with pytest.raises(UserError, match=r"b\.txt, line 1: .*; give --format conll"):
            read(write(tmp_path / "b.txt", content), "lines")
    for content in ("Kobe", "Kobe is\tO", "Kobe\tin Spain", "\t", "Kobe\t"):
        assert [record.post for record in read(write(tmp_path / "b.txt", content), "lines")] == [content]


def test_conll(tmp_path: Path) -> None:
    content = (
        "IMGID:12\nKobe\tB-PER\nin\tO\n\nno\ntags\n\nKobe S-PER\n-DOCSTART- O\n\nIMGID:13\n\nx\tPER\n\n\tO\nz\tO\n"
    )
    records = read(write(tmp_path / "a.conll", content), "conll")
    assert [(r.id, r.post, r.gold) for r in records if r.error is None] == [
        ("12", ("Kobe", "in"), ("B-PER", "O")),
        ("2", ("no", "tags"), None),
        ("3", ("Kobe",), ("B-PER",)),
    ]
    assert [(record.line, record.error) for record in records[3:]] == [
        (11, "no words"),
        (13, "'PER' is not a tag: expected O, B-TYPE or I-TYPE"),
        (15, "line 15: no word before the tag"),
    ]


def test_conll_has_the_columns_that_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conll", "1\tKobe\tB-PER\tx\n2\tin\tO \tx\n\n1\tNew\tB- LOC\tx\n\n1\tx\n")
    records = read(path, "conll", Columns(numbers=(1, 2)))
    assert [(r.post, r.gold) for r in records[:2]] == [(("Kobe", "in"), ("B-PER", "O")), (("New",), ("B-LOC",))]
    assert records[2].error == "line 6: 2 columns, --columns needs 3"


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pyarrow.table({"text": ["Kobe", None], "picture": ["p.jpg", None], "id": [3, 4], "other": [1, 2]})
    parquet.write_table(table, tmp_path / "a.parquet")
    records = read(tmp_path / "a.parquet", "parquet")
    assert [(r.id, r.post, r.image) for r in records] == [("3", "Kobe", "p.jpg"), ("4", "", None)]
    with pytest.raises(UserError, match="unknown column 'post'"):
        read(tmp_path / "a.parquet", "parquet", Columns("post"))
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read(write(tmp_path / "b.parquet", "PAR1"), "parquet")


def test_kinds_of_context_may_differ_from_row_to_row(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    given = [{"cap": ["a man"]}, {"ocr": ["NBA"], "cap": []}, None]
    rows = [{"text": "Kobe", "picture": None, "id": 1, "contexts": each} for each in given]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    records = read(tmp_path / "a.parquet", "parquet")
    assert [record.contexts for record in records] == [{"cap": ("a man",)}, {"cap": (), "ocr": ("NBA",)}, {}]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"Kobe\nin Spain\n")))
    assert [record.post for record in read("-", "lines")] == ["Kobe", "in Spain"]
    with pytest.raises(UserError, match="Parquet cannot be read from standard input"):
        read("-", "parquet")


def test_formats_are_told_by_endings() -> None:
    assert [format_of(name, None) for name in ("a.CSV", "b.ndjson", "-")] == ["csv", "jsonl", "lines"]
    for name, given, message in [("a.xlsx", None, "does not tell the format"), ("a.csv", "cvs", "Did you mean 'csv'")]:
        with pytest.raises(UserError, match=message):
            format_of(name, given)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read(tmp_path / "none.csv", "csv")
    with pytest.raises(UserError, match="not a regular file"):
        read(tmp_path, "csv")

"""Files are read as what they are, or refused: never waited for, never without end."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from lightning_ita import files
from lightning_ita.errors import DataError, UserError
from lightning_ita.files import Lines, check_output, parse_json, read_text, user_path, write_text


@pytest.fixture(params=["pipe", "device", "folder", "missing"])
def no_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "x"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    return path


def test_what_is_no_regular_file_is_refused_and_not_waited_for(no_file: Path) -> None:
    reason = "not a regular file but a folder, a pipe or a device" if no_file.exists() else "No such file"
    for read in (read_text, lambda path: list(Lines(path))):
        with pytest.raises(DataError, match=f"{no_file}: {reason}"):
            read(no_file)
    with pytest.raises(OSError, match=reason):
        files.sha256_of(no_file)


def test_nothing_but_a_regular_file_is_replaced(no_file: Path) -> None:
    if not no_file.exists():
        check_output(no_file)
        write_text(no_file, "é\n")
        write_text(no_file, "ê\n")
        assert no_file.read_bytes() == "ê\n".encode()
        return
    with pytest.raises(UserError, match=r"not a regular file .* name another file to write"):
        write_text(no_file, "text")
    assert list(no_file.parent.iterdir()) == [no_file]


def test_lines_end_at_line_feeds_alone_and_have_a_digest(tmp_path: Path) -> None:
    raw = "\ufeffa\r\nb\u2028c\x85d\n\nlast".encode()
    (tmp_path / "x").write_bytes(raw)
    lines = Lines(tmp_path / "x")
    assert list(lines) == [(1, "a"), (2, "b\u2028c\x85d"), (3, ""), (4, "last")]
    assert lines.sha256 == hashlib.sha256(raw).hexdigest()


def test_a_line_or_file_without_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_LINE_BYTES", 2**20)
    (tmp_path / "x").write_bytes(b"a\n" + b"b" * 2**20 + b"\n")
    with pytest.raises(DataError, match="x, line 2: longer than 1 MiB"):
        list(Lines(tmp_path / "x"))
    monkeypatch.setattr(files, "MAX_TEXT_BYTES", 2**20)
    with pytest.raises(DataError, match="x: larger than 1 MiB"):
        read_text(tmp_path / "x")
    (tmp_path / "x").write_bytes(b"a\nb\xff\n")
    for read in (read_text, lambda path: list(Lines(path))):
        with pytest.raises(DataError, match=r"x, line 2: not UTF-8 \(byte 0xff\)"):
            read(tmp_path / "x")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", r"not JSON: .*column 2"),
        ("", "not JSON"),
        ("[" * 100_000 + "]" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("9" * 10_000, "a number has too many digits"),
        (r'["\ud800"]', "half a character"),
        (r'{"\udc00": 1}', "half a character"),
        ('{"a": 1, "a": 2}', "a key occurs twice"),
        ("[NaN]", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
    ],
    ids=str,
)
def test_json_that_cannot_be_read_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(text)


def test_json_is_read_as_it_is() -> None:
    assert parse_json(r'{"a": ["\ud83d\ude00", "\u0000", 1.5, null, true, {"b": -3}]}') == {
        "a": ["😀", "\0", 1.5, None, True, {"b": -3}]
    }


def test_a_path_is_read_as_a_shell_would(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    assert user_path("~/a.db") == Path("/home/me/a.db")
    assert user_path("b~.db") == Path("b~.db")
    for name, reason in (("~no-such-user/a", "there is no home folder of this name"), ("a\0b", "no null character")):
        with pytest.raises(UserError, match=reason):
            user_path(name)


def test_a_file_is_digested_again_when_it_was_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "weights"
    path.write_bytes(b"one")
    first = files.sha256_once(path)
    assert first == hashlib.sha256(b"one").hexdigest()
    with monkeypatch.context() as patch:
        patch.setattr(files, "sha256_of", lambda path: pytest.fail("read again"))
        assert files.sha256_once(path) == first
    path.write_bytes(b"another")
    assert files.sha256_once(path) == hashlib.sha256(b"another").hexdigest()

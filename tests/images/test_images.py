"""Images as strangers make them: each works, or is refused with its reason."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from lightning_ita.errors import UserError
from lightning_ita.images.files import MAX_PIXELS, ImageError, decode, find_images, read_file
from tests.contexts.fakes import draw

ORIENTATION = 0x0112


def encoded(image: Image.Image, format: str = "PNG", **save: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **save)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = decode(data)
    assert image.mode == "RGB"
    return image


def bomb(side: int) -> bytes:
    """A PNG of `side` × `side` black pixels in a few hundred kilobytes."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side + 1) * side))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_every_format_opens_whatever_its_name(format: str) -> None:
    image = opened(encoded(Image.new("RGB", (9, 7), (200, 30, 60)), format))
    assert image.size == (9, 7)
    assert numpy.abs(numpy.asarray(image).astype(int) - (200, 30, 60)).max() < 12


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    format = "JPEG" if mode in ("CMYK", "YCbCr") else "PNG"
    image = opened(encoded(Image.new("RGB", (8, 8), "white").convert(mode), format))
    assert numpy.asarray(image).min() > 250


def test_sixteen_bits_keep_their_shades() -> None:
    shades = (numpy.arange(256, dtype=numpy.uint16) * 257).reshape(16, 16)
    for format in ("PNG", "TIFF"):
        image = opened(encoded(Image.fromarray(shades), format))
        assert numpy.asarray(image)[..., 0].tolist() == (shades >> 8).tolist()


def test_floating_point_is_refused() -> None:
    with pytest.raises(ImageError, match="floating-point"):
        decode(encoded(Image.new("F", (4, 4)), "TIFF"))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_is_white(mode: str) -> None:
    clear = Image.new("RGBA", (6, 6), (0, 0, 0, 0))
    data = encoded(clear.convert(mode)) if mode != "P" else encoded(Image.new("P", (6, 6), 0), transparency=0)
    assert numpy.asarray(opened(data)).min() == 255


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "WEBP"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], duration=50)
        assert opened(data).getpixel((2, 2))[0] > 200  # type: ignore[index]


def test_exif_turns_an_image_upright() -> None:
    upright = Image.new("RGB", (40, 20), "white")
    upright.paste("black", (0, 0, 20, 10))
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    for orientation, transposition in undo.items():
        stored = upright if transposition is None else upright.transpose(transposition)
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        image = opened(encoded(stored, "JPEG", exif=exif, quality=95))
        assert image.size == (40, 20), orientation
        assert numpy.abs(numpy.asarray(image).astype(int) - numpy.asarray(upright)).mean() < 5, orientation


def test_damaged_metadata_does_not_cost_a_sound_image() -> None:
    data = encoded(Image.new("RGB", (8, 8), "red"), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert opened(data).size == (8, 8)


def test_the_smallest_image_opens() -> None:
    assert opened(encoded(Image.new("RGB", (1, 1)))).size == (1, 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<!DOCTYPE html><title>404</title>", "HTML page"),
        (b"\n <html>", "HTML page"),
        (b"<svg xmlns='x'/>", "SVG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image of a format read here"),
        (b"\xff\xd8\xff\xe0 nothing more", "not an image|damaged"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "damaged: .*truncated"),
        (encoded(Image.effect_noise((64, 64), 90), "PNG")[:900], "damaged: "),
        (encoded(Image.effect_noise((64, 64), 90), "WEBP")[:900], "damaged: |not an image"),
        (bomb(12000), "12000 × 12000: more than 67 megapixels, perhaps a decompression bomb"),
        (bomb(20), ""),
    ],
    ids=["empty", "html", "html-space", "svg", "eps", "header", "jpeg-cut", "png-cut", "webp-cut", "bomb", "no-bomb"],
)
def test_what_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    if not reason:
        assert opened(data).size == (20, 20)
        return
    with pytest.raises(ImageError, match=reason):
        decode(data)


def test_a_bomb_beyond_pillows_own_limit_is_named_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MAX_PIXELS < 12000**2
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match="decompression bomb"):
        decode(bomb(20))


def test_files_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    reasons = {
        "loop": "symbolic links",
        "gone": "No such file",
        "missing": "No such file",
        "folder": "directory|regular",
        "pipe": "regular",
    }
    for name, reason in reasons.items():
        with pytest.raises(ImageError, match=reason):
            read_file(tmp_path / f"{name}.jpg")
    with (tmp_path / "huge.jpg").open("wb") as file:
        file.truncate(2**28 + 1)
    with pytest.raises(ImageError, match="256 MiB"):
        read_file(tmp_path / "huge.jpg")


def test_images_are_found_by_id(tmp_path: Path) -> None:
    for name in ("b/17_06_4705.JPG", "a.b.png", "é東京 1.jpg", "e\u0301t\u00e9.jpg", "123.jpg", "sub/123.png"):
        draw(tmp_path / name)
    (tmp_path / "._123.jpg").write_bytes(b"left by an archive")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    (tmp_path / "self.jpg").symlink_to("self.jpg")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.jpg")).touch()
    found = find_images(tmp_path)
    assert list(found) == sorted(["17_06_4705", "a.b", "é東京 1", "été", "123", "self", "bad\\xff"])
    assert [path.relative_to(tmp_path).as_posix() for path in found["123"]] == ["123.jpg", "sub/123.png"]
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "b")
    assert list(find_images(linked)) == ["17_06_4705"]


def test_a_folder_without_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no image there; looked for names ending in \.bmp"):
        find_images(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        find_images(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="not a folder"):
        find_images(tmp_path / "file")

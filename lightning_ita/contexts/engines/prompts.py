"""What language models are asked: templates of prompts, filled with a tweet, a caption and, if wanted, the picture."""

from __future__ import annotations

import base64
import hashlib
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from lightning_ita.contexts.tweets import Post
from lightning_ita.errors import DataError, unknown
from lightning_ita.files import read_text, user_path

SHIPPED = Path(__file__).parents[1] / "prompts"
FIELDS = ("tweet", "caption")
# Longest side of a picture that is sent, in pixels, and its JPEG quality: what vision models look at, and no more.
LONGEST, QUALITY = 768, 85


@dataclass(frozen=True)
class Template:
    """A prompt.

    Attributes:
        instructions: The system message; empty for none.
        question: The user's message.
        version: The file's name and digest.
    """

    instructions: str
    question: str
    version: str

    def fill(self, tweet: str, caption: str) -> str:
        """Returns the question about a tweet; lines with ``{caption}`` are left out where there is none."""
        lines = [line for line in self.question.splitlines() if caption or "{caption}" not in line]
        values = {"tweet": tweet, "caption": caption}
        return re.sub(r"\{(tweet|caption)\}", lambda match: values[match[1]], "\n".join(lines))


def read_template(name: str) -> Template:
    """Reads a template.

    Args:
        name: One that is shipped, or a UTF-8 file. Lines that start with ``#`` at its top are comments; a line ``---``
            divides instructions from the question, which has ``{tweet}`` in it, and ``{caption}`` if it is wanted, in
            another line.

    Raises:
        UserError: There is no such file, it has no ``{tweet}``, both in one line, or another name in braces.
    """
    path = user_path(name)
    if not path.is_file():
        path = SHIPPED / f"{name}.txt"
        if not path.is_file():
            raise unknown("prompt (or file)", name, sorted(file.stem for file in SHIPPED.glob("*.txt")))
    text = read_text(path)
    lines = "".join(f"{line}\n" for line in text.splitlines())  # whatever ends them in the file
    body = re.sub(r"\A(?:#.*\n)+", "", lines)
    *before, question = re.split(r"^---[ \t]*\n", body, maxsplit=1, flags=re.MULTILINE)
    instructions = "".join(before)
    fields = re.findall(r"\{(\w+)\}", body)
    for field_ in fields:
        if field_ not in FIELDS:
            raise DataError(str(unknown("name in braces", field_, FIELDS)), path)
    if "{tweet}" not in question:
        raise DataError("the question has no {tweet}, where the tweet's words go", path)
    if any("{tweet}" in line and "{caption}" in line for line in question.splitlines()):
        raise DataError("{tweet} and {caption} are in one line, which is left out where there is no caption", path)
    if re.search(r"\{\w+\}", instructions):
        raise DataError("{tweet} and {caption} belong below the line ---", path)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return Template(instructions.strip(), question.strip(), f"{path.name} sha256:{digest}")


@dataclass(frozen=True)
class Messages:
    """Makes the messages for a tweet, in the form of the chat completions protocol. Pickles without the client.

    Attributes:
        template: The prompt.
        captions: Captions by image id.
    """

    template: Template
    captions: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, *seen: Any) -> list[dict[str, Any]]:
        """Returns the messages for a post, or for a picture and its post."""
        *pictures, post = seen
        assert isinstance(post, Post)
        question = self.template.fill(post.text, self.captions.get(post.image, ""))
        content: Any = question
        if pictures:
            picture = {"type": "image_url", "image_url": {"url": data_address(pictures[0])}}
            content = [{"type": "text", "text": question}, picture]
        system = [{"role": "system", "content": self.template.instructions}] if self.template.instructions else []
        return [*system, {"role": "user", "content": content}]


def data_address(picture: Image.Image) -> str:
    """Returns a picture as a data address, reduced to at most `LONGEST` pixels a side."""
    small = picture.copy()
    small.thumbnail((LONGEST, LONGEST), Image.Resampling.BICUBIC)
    jpeg = io.BytesIO()
    small.save(jpeg, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg.getvalue()).decode()}"

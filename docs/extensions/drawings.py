"""Puts drawings into the pages themselves, so that they have the colours of the page, light or dark."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from docs.extensions.flowchart import svg

STYLE = re.compile(r"<style>.*?</style>\n?", re.DOTALL)


class Drawings(SphinxTransform):
    """Replaces flow charts in Mermaid's language, and our own SVG files, by what they show."""

    default_priority = 10  # before code is coloured and images are collected

    def apply(self, **_: Any) -> None:
        """Replaces them in one page."""
        for number, chart in enumerate(list(self.document.findall(nodes.literal_block))):
            if chart.get("language") == "mermaid":
                chart.replace_self(_figure(svg(chart.astext(), f"chart-{number}")))
        for image in list(self.document.findall(nodes.image)):
            if image["uri"].endswith(".svg"):
                path = Path(self.env.relfn2path(image["uri"])[1])  # those of notebooks may begin with a slash
                self.env.note_dependency(str(path))
                # Its own style is for readers of the file; in the page the site's is used.
                image.replace_self(_figure(STYLE.sub("", path.read_text(encoding="utf-8"))))


def _figure(content: str) -> nodes.raw:
    # On a telephone a drawing is made smaller as far as it can be read, and scrolls from there on.
    least = min(int(re.findall(r' width="(\d+)"', content)[0]), 540)
    content = content.replace("<svg ", f'<svg style="min-width: {least}px" ', 1)
    return nodes.raw("", f'<div class="drawing-frame">{content}</div>', format="html")


def setup(app: Sphinx) -> dict[str, bool]:
    """Adds the transform."""
    app.add_transform(Drawings)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

"""Writes equations as MathML, which browsers show by themselves: no script, no fonts from elsewhere."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx

# TeX sets a little space behind the name of a function, unless a bracket follows.
FUNCTION = re.compile(r"(<mi>(?:log|exp)</mi>)(?!<mo)")


def mathml(equation: str, display: str) -> str:
    """Returns an equation in LaTeX as MathML.

    Args:
        equation: LaTeX.
        display: ``inline`` or ``block``.
    """
    return FUNCTION.sub(r'\1<mspace width="0.17em"/>', convert(equation, display=display))


def inline(self: Any, node: nodes.math) -> None:
    """Writes an equation within a line."""
    self.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def block(self: Any, node: nodes.math_block) -> None:
    """Writes an equation of its own; parts with wide space (qquad) between them wrap on narrow pages."""
    parts = "".join(f"<div>{mathml(part, 'block')}</div>" for part in node.astext().split(r"\qquad"))
    self.body.append(f'<div class="equation">{parts}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    """Makes this the renderer of equations."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}

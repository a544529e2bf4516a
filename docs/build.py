"""Builds the documentation site: ``python -m docs.build [FOLDER]``, by default ``build/site``; needs no network."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.cmd.build import main

ROOT = Path(__file__).resolve().parents[1]
FRONT = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=docs/index.html">'


def build(folder: Path) -> int:
    """Builds the site into a folder; warnings are errors.

    Args:
        folder: Where the pages are written.

    Returns:
        The exit status: 0 if nothing was amiss.
    """
    options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(ROOT / "docs"), "-d", str(folder / ".doctrees")]
    status = main([*options, str(ROOT), str(folder)])
    if not status:
        (folder / "index.html").write_text(FRONT, encoding="utf-8")
    return status


if __name__ == "__main__":
    place = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "site"
    code = build(place)
    if not code:
        print(f"{place / 'index.html'}: open it in a browser")
    sys.exit(code)

"""Builds the documentation site, or checks the addresses of other sites that it names: ``python -m docs.build``."""

from __future__ import annotations

import argparse
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
    status = _sphinx("html", folder)
    if not status:
        (folder / "index.html").write_text(FRONT, encoding="utf-8")
    return status


def check_links(folder: Path) -> int:
    """Asks for every address that the pages name, over the network, and prints those that do not answer.

    Args:
        folder: Where the list of answers is written, ``output.txt``.

    Returns:
        The exit status: 0 if all answered.
    """
    return _sphinx("linkcheck", folder)


def _sphinx(builder: str, folder: Path) -> int:
    options = ["-q", "-W", "--keep-going", "-b", builder, "-c", str(ROOT / "docs"), "-d", str(folder / ".doctrees")]
    return main([*options, str(ROOT), str(folder)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m docs.build", description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, help="default: build/site, or build/links")
    parser.add_argument("--links", action="store_true", help="check the addresses of other sites; needs a network")
    given = parser.parse_args()
    place = given.folder or ROOT / "build" / ("links" if given.links else "site")
    code = check_links(place) if given.links else build(place)
    if not code and not given.links:
        print(f"{place / 'index.html'}: open it in a browser")
    sys.exit(code)

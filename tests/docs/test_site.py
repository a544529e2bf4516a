"""The documentation site: built as users build it, warnings being errors, then read as a browser would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from lightning_ita.commands import COMMANDS
from lightning_ita.studies.published import FILE

ROOT = Path(__file__).parents[2]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# What a page loads by itself, by element.
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data"}


class Page(HTMLParser):
    """The ids, links and text of a page, and what it loads."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.words: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag in LOADED and LOADED[tag] in values:
            self.loaded.append(values[LOADED[tag]])

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # No proxy answers here: what asks for the network fails.
    offline = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    command = [sys.executable, "-m", "docs.build", str(folder)]
    built = subprocess.run(
        command, cwd=ROOT, env=os.environ | offline, capture_output=True, text=True, check=False, timeout=900
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in site.rglob("*.html")}


def test_every_page_is_there(pages: dict[Path, Page], site: Path) -> None:
    written = {path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    notebooks = {path.relative_to(ROOT).with_suffix(".html") for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert len(notebooks) == 5
    assert {site / path for path in written | notebooks} <= set(pages)
    # A notebook's outputs come with it.
    tour = (site / "notebooks" / "1-tour.html").read_text(encoding="utf-8")
    assert re.search(r'<img alt="[^"]*" src="\.\./_images/', tour)


def test_links_lead_to_something(pages: dict[Path, Page], site: Path) -> None:
    broken = []
    for path, page in pages.items():
        for link in page.links + page.loaded:
            parts = urlsplit(link)
            if parts.scheme:  # to the outside
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file() or (anchor and target in pages and anchor not in pages[target].ids):
                broken.append(f"{path.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(pages: dict[Path, Page], site: Path) -> None:
    assert [link for page in pages.values() for link in page.loaded if urlsplit(link).scheme not in ("", "data")] == []
    for style in site.rglob("*.css"):
        text = style.read_text(encoding="utf-8")
        assert re.findall(r"url\(['\"]?(?:https?:)?//[^)]*\)|@import[^;]*", text) == [], style


def test_drawings_are_found_below_the_folder_of_the_pages(tmp_path: Path) -> None:
    # So notebooks name theirs where the site is built inside this repository, which is the default.
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "a.svg").write_text('<svg width="9"><desc>lattice</desc></svg>', encoding="utf-8")
    (tmp_path / "conf.py").write_text('extensions = ["docs.extensions.drawings"]\n', encoding="utf-8")
    (tmp_path / "index.rst").write_text("Title\n=====\n\n.. image:: /build/a.svg\n", encoding="utf-8")
    command = [sys.executable, "-m", "sphinx", "-q", "-W", str(tmp_path), str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "<desc>lattice</desc>" in (tmp_path / "site" / "index.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("command", list(COMMANDS))
def test_every_option_of_a_command_is_explained(
    command: str, pages: dict[Path, Page], site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        COMMANDS[command](["--help"])
    usage = capsys.readouterr().out
    # Each option begins a line; groups of options can also be given as a file, under the group's name.
    options = set(re.findall(r"^  (--[\w.-]+)", usage, flags=re.MULTILINE)) - {"--config", "--print_config"}
    options = {option for option in options if not any(other.startswith(f"{option}.") for other in options)}
    text = pages[site / "docs" / "reference" / "commands.html"].text
    assert options
    assert [option for option in sorted(options) if option not in text] == []


def test_every_module_is_described(pages: dict[Path, Page], site: Path) -> None:
    text = " ".join(page.text for path, page in pages.items() if path.parent == site / "docs" / "reference" / "api")
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "lightning_ita").rglob("*.py")
    }
    others = {name for name in modules if name.startswith("lightning_ita.commands")}
    assert [name for name in sorted(modules - others) if f"{name} " not in text] == []
    assert "class Tagger (" in text
    assert "Σ_t KL(softmax(a_self,t / τ)" in text


def test_published_numbers_have_their_sources(pages: dict[Path, Page], site: Path) -> None:
    text = pages[site / "docs" / "reference" / "published.html"].text
    lines = FILE.read_text(encoding="utf-8").splitlines()[1:]
    assert lines
    for line in lines:
        assert line.split(",")[0] in text
        assert next(number for number in re.findall(r"\d\d\.\d\d", line)) in text


def test_equations_and_drawings_are_in_the_page(site: Path) -> None:
    text = (site / "docs" / "explanation" / "views.html").read_text(encoding="utf-8")
    assert text.count("<math ") > 10
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert text.count(' class="drawing"') == 1
    chart = (site / "docs" / "systems" / "umt.html").read_text(encoding="utf-8")
    assert chart.count(' class="drawing"') == 1
    assert "flowchart" not in chart


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "docs" / "systems").glob("*.md")))
def test_the_equations_of_a_system_are_typeset(name: str, site: Path) -> None:
    text = (site / "docs" / "systems" / f"{name}.html").read_text(encoding="utf-8")
    assert text.count('<div class="equation">') >= 5
    # What the converter does not know stands in the page as it was written.
    assert re.findall(r"[\\$&]", "".join(re.findall(r"<m\w+[^>]*>([^<]*)", text)).replace("&#x", "")) == []
    assert "$" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


@pytest.fixture
def asked(site: Path) -> Iterator[tuple[object, list[str]]]:
    """A page in a browser, and every address that it asks for."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        page = browser.new_page(viewport={"width": 400, "height": 800})
        addresses: list[str] = []
        page.on("request", lambda request: addresses.append(request.url))
        page.set_default_timeout(60_000)  # machines may have other work
        yield page, addresses
        browser.close()


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
def test_search_works_from_files_alone(asked, site: Path) -> None:
    page, addresses = asked
    page.goto((site / "search.html").as_uri() + "?q=forward-backward")
    page.wait_for_selector("#search-results li a")
    found = page.locator("#search-results li a").evaluate_all("links => links.map(link => link.href)")
    assert any("explanation/crf.html" in link for link in found)
    assert [address for address in addresses if not address.startswith(("file:", "data:"))] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
@pytest.mark.parametrize("name", ["index", "explanation/views", "systems/bga-mner", "reference/commands"])
def test_a_page_is_no_wider_than_a_telephone(name: str, asked, site: Path) -> None:
    page, addresses = asked
    page.goto((site / "docs" / f"{name}.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
    assert [address for address in addresses if not address.startswith(("file:", "data:"))] == []

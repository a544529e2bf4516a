"""The page in a real browser: headless Chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image, ImageDraw, ImageFont

from lightning_ita.posts.web.answering import AS_EDITED, AS_READ, PICTURE_NAME, TEXT_NAME
from tests.models.test_comparing import sensitive

ROOT = Path(__file__).parents[3]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
playwright = pytest.importorskip("playwright.sync_api")
for package in ("gradio", "nltk", "rapidocr", "onnxruntime"):
    pytest.importorskip(package)
playwright.expect.set_options(timeout=30_000)  # machines may have other work
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser is installed")
# Chromium as root, and without what it asks of its maker's servers.
ARGUMENTS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
EVIL = "<script>document.title = 'run'</script> ${1+1} {{7*7}}"
POST = "Jordan dunks in Chicago"


@pytest.fixture(scope="module")
def address(tiny_encoder: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The real command with a model that reads text in pictures, whose scores are random and large."""
    folder = tmp_path_factory.mktemp("demo")
    sensitive(tiny_encoder, "ocr").save_pretrained(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "experiments.demo", f"--model={folder / 'model'}", f"--port={port}"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "GRADIO_TEMP_DIR": str(folder / "uploads")}
    log = folder / "log.txt"
    with log.open("w") as out, subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=out) as server:
        try:
            while "the page is at" not in log.read_text():
                assert server.poll() is None, log.read_text()
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield browser
        browser.close()


@pytest.fixture
def page(address: str, browser: Any) -> Iterator[Any]:
    """A page of its own for each test, which must ask no other server for anything."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    page.locator("#post textarea").wait_for()
    yield page
    context.close()
    hosts = {urlsplit(url).hostname for url in asked if url.startswith(("http", "ws"))}
    assert hosts == {"127.0.0.1"}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.new("RGB", (640, 160), "white")
    ImageDraw.Draw(image).text((30, 50), "CHICAGO", "black", font=ImageFont.load_default(60))
    image.save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def remove(page: Any) -> None:
    """Takes the picture off the page."""
    page.locator("#picture button[aria-label='Remove Image']").click()


def readings(page: Any, *names: str) -> None:
    """Waits until exactly these readings are shown, in this order."""
    playwright.expect(page.locator("#found h3")).to_have_text(list(names))


def test_a_post_is_typed_and_its_mentions_are_read(page: Any) -> None:
    page.locator("#post textarea").press_sequentially(POST)
    readings(page, TEXT_NAME)
    playwright.expect(page.locator("#found mark").first).to_be_visible()
    playwright.expect(page.locator("#found .ita-post")).to_contain_text("Chicago")
    assert page.locator("#found tbody tr").count() == page.locator("#found mark").count()


def test_a_picture_is_read_and_what_it_says_can_be_edited(page: Any, picture: Path) -> None:
    page.locator("#post textarea").fill(POST)
    page.locator("#picture input[type=file]").set_input_files(picture)
    box = page.locator("#context-ocr textarea")
    playwright.expect(box).to_have_value("CHICAGO")
    playwright.expect(page.locator("#seen")).to_contain_text("rapidocr")
    readings(page, TEXT_NAME, PICTURE_NAME)
    box.fill("Golden Gate Bridge")
    readings(page, TEXT_NAME, AS_READ, AS_EDITED)
    box.fill("CHICAGO")
    readings(page, TEXT_NAME, PICTURE_NAME)
    remove(page)
    playwright.expect(box).to_have_value("")
    readings(page, TEXT_NAME)


def test_bad_input_is_a_message_on_the_page(page: Any, tmp_path: Path) -> None:
    error = page.locator("#found .ita-error")
    page.locator("#find").click()
    playwright.expect(error).to_have_text("Write a post first.")
    page.locator("#post textarea").fill(f"Kobe \0 {EVIL}")
    playwright.expect(page.locator("#found")).to_contain_text("control characters")
    shown = "(post) => [...post.childNodes].map(each => each.firstChild?.textContent ?? each.textContent).join('')"
    assert page.locator("#found .ita-post").evaluate(shown) == f"Kobe ␀ {EVIL}"
    assert page.title() != "run"
    page.locator("#post textarea").fill("Kobe " * 10_000)
    playwright.expect(page.locator("#found")).to_contain_text("of 10000 words were not read")
    for name, content in {"text.png": b"<html>no picture</html>", "empty.jpg": b""}.items():
        (tmp_path / name).write_bytes(content)
        page.locator("#picture input[type=file]").set_input_files(tmp_path / name)
        playwright.expect(page.locator("#seen .ita-error")).to_contain_text("The picture cannot be read")
        remove(page)
        playwright.expect(page.locator("#seen .ita-error")).to_have_count(0)
    page.locator("#post textarea").fill(POST)
    readings(page, TEXT_NAME)


def test_it_fits_on_a_phone(page: Any, picture: Path) -> None:
    page.set_viewport_size({"width": 375, "height": 800})
    page.locator("#post textarea").fill(POST)
    page.locator("#picture input[type=file]").set_input_files(picture)
    readings(page, TEXT_NAME, PICTURE_NAME)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.locator("#found .ita-table").bounding_box()["width"] <= 375


def test_the_page_names_no_other_server(page: Any) -> None:
    answer = page.request.get(page.url)
    assert "frame-src" not in answer.headers["content-security-policy"]
    foreign = page.evaluate(
        "[...document.querySelectorAll('link[href], script[src], img[src]')]"
        ".map(each => each.href || each.src).filter(each => !each.startsWith(location.origin))"
    )
    assert [each for each in foreign if each.startswith("http")] == []

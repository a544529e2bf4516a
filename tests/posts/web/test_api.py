"""The endpoints of the page, as its page for programs lists them."""

from __future__ import annotations

import gc
from typing import Any

import pytest

pytest.importorskip("gradio")

from lightning_ita.posts.web.page import make_page
from lightning_ita.posts.web.reading import PictureReader
from tests.models.test_comparing import sensitive

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def endpoints(encoder: str) -> dict[str, Any]:
    """Returns what the page tells programs of its endpoints, by name."""
    page: Any = make_page(sensitive(encoder, "ocr"), PictureReader((), {}))
    told: dict[str, Any] = page.get_api_info()["named_endpoints"]
    return told


def test_endpoints_and_their_arguments_have_names(tiny_encoder: str) -> None:
    found = endpoints(tiny_encoder)
    gc.collect()  # Gradio leaves an event loop open, which would warn in a later test
    names = {name: [each["parameter_name"] for each in told["parameters"]] for name, told in found.items()}
    assert names == {"/find": ["post", "picture", "context_ocr"], "/read": ["picture"]}
    assert found["/find"]["description"].startswith("Finds the mentions of a post")

"""The endpoints of the page, as its page for programs lists them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("gradio")

from lightning_ita.posts.web.page import make_page
from lightning_ita.posts.web.reading import PictureReader
from tests.models.test_comparing import sensitive

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")


def test_endpoints_and_their_arguments_have_names(tiny_encoder: str) -> None:
    page: Any = make_page(sensitive(tiny_encoder, "ocr"), PictureReader((), {}))
    endpoints = page.get_api_info()["named_endpoints"]
    names = {name: [each["parameter_name"] for each in told["parameters"]] for name, told in endpoints.items()}
    assert names == {"/find": ["post", "picture", "context_ocr"], "/read": ["picture"]}
    assert endpoints["/find"]["description"].startswith("Finds the mentions of a post")

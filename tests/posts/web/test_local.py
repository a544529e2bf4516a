"""The page loads nothing from elsewhere."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from lightning_ita.posts.web.local import POLICY, Local, without_foreign

PAGE = b"""<html><head>
<link rel="preconnect" href="https://fonts.googleapis.com" />
<link rel="stylesheet" href="./theme.css?v=1" />
<link
    rel="preconnect"
    href="https://fonts.gstatic.com"
    crossorigin="anonymous"
/>
<script type="module" src="./assets/index.js"></script>
<script src="//cdnjs.cloudflare.com/iframeResizer.min.js" async></script>
<script>window.x = "https://example.org";</script>
</head><body><a href="https://example.org">elsewhere</a></body></html>"""


def answered(kind: bytes, parts: list[bytes]) -> tuple[dict[bytes, bytes], bytes]:
    """Returns headers and body of an answer behind the middleware."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        size = str(sum(map(len, parts))).encode()
        headers = [(b"content-type", kind), (b"content-length", size)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for index, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": index + 1 < len(parts)})

    async def send(event: Any) -> None:
        sent.append(event)

    asyncio.run(Local(app)({"type": "http"}, None, send))
    return dict(sent[0]["headers"]), b"".join(event["body"] for event in sent[1:])


def test_foreign_scripts_and_fonts_are_taken_out() -> None:
    page = without_foreign(PAGE)
    for gone in (b"googleapis", b"gstatic", b"cdnjs"):
        assert gone not in page
    for stays in (b"./theme.css?v=1", b"./assets/index.js", b'window.x = "https://example.org"', b"elsewhere</a>"):
        assert stays in page
    assert page.count(b"</script>") == 2


@pytest.mark.parametrize("cut", [1, 40, len(PAGE)])
def test_pages_are_changed_and_the_rest_is_not(cut: int) -> None:
    parts = [PAGE[start : start + cut] for start in range(0, len(PAGE), cut)]
    headers, body = answered(b"text/html; charset=utf-8", parts)
    assert body == without_foreign(PAGE)
    assert headers[b"content-length"] == str(len(body)).encode()
    assert headers[b"content-security-policy"] == POLICY.encode()
    headers, body = answered(b"application/json", parts)
    assert body == PAGE
    assert headers[b"content-security-policy"] == POLICY.encode()

"""Keeps a page on this machine: the browser is told to fetch nothing from elsewhere, and given no reason to."""

from __future__ import annotations

import re
from typing import Any

# Scripts and styles stand within Gradio's page, so they are allowed there; what they load must come from this server.
POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'self'; form-action 'self'"
)
# Tags by which a page has the browser fetch, or connect to, another server.
_ELSEWHERE = re.compile(rb"""<(?:link|script)\b[^>]*?\b(?:href|src)\s*=\s*["']?(?:https?:)?//[^>]*>(?:\s*</script>)?""")


class Local:
    """ASGI middleware that adds the policy to every answer, and takes foreign scripts and fonts out of pages.

    Args:
        app: The application behind it.
    """

    def __init__(self, app: Any):
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Passes a request on; only pages of HTML are held back until they are whole."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: dict[str, Any] = {}

        async def changed(event: Any) -> None:
            if event["type"] == "http.response.start":
                headers = [pair for pair in event["headers"] if pair[0].lower() != b"content-security-policy"]
                event = {**event, "headers": [*headers, (b"content-security-policy", POLICY.encode())]}
                kinds = [value for name, value in headers if name.lower() == b"content-type"]
                encoded = any(name.lower() == b"content-encoding" for name, _ in headers)
                if kinds and kinds[0].startswith(b"text/html") and not encoded:
                    held.update(start=event, body=b"")
                    return
            elif event["type"] == "http.response.body" and held:
                held["body"] += event.get("body", b"")
                if event.get("more_body"):
                    return
                body = without_foreign(held["body"])
                start = held["start"]
                headers = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
                length = (b"content-length", str(len(body)).encode())
                await send({**start, "headers": [*headers, length]})
                event = {"type": "http.response.body", "body": body}
            await send(event)

        await self.app(scope, receive, changed)


def without_foreign(page: bytes) -> bytes:
    """Returns a page of HTML without tags that load scripts, styles or fonts from another server."""
    return _ELSEWHERE.sub(b"", page)

"""A server on this machine that speaks the chat completions protocol, and remembers what it was asked."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class ChatServer:
    """What the server is to do, and what it has done.

    Attributes:
        seconds: How long it thinks about each answer.
        statuses: Answered to the next requests, in this order, before it answers properly; 0 closes the connection, and
            a text is answered with status 200.
        refused: A question with this in it is refused, as too long.
        thinks: Written before the answer, as models that think do.
        counts: Whether it counts tokens.
        body: Answered, with status 200, in place of its own answers: an object, or the text of any page.
        requests: Path, headers (their names in small letters) and body of each request.
        most: Most requests that were being answered at a time.
    """

    seconds: float = 0.0
    statuses: list[int | str] = field(default_factory=list)
    refused: str = "\0"
    thinks: str = ""
    counts: bool = True
    body: Any = None
    requests: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    most: int = 0
    url: str = ""
    _now: int = 0
    _lock: Any = field(default_factory=threading.Lock)

    def questions(self) -> list[str]:
        """The users' messages of all requests."""
        return [body["messages"][-1]["content"] for _, _, body in self.requests]

    def answer(self, path: str, headers: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        question = body["messages"][-1]["content"]
        text = question if isinstance(question, str) else question[0]["text"]
        refused = self.refused in text
        with self._lock:
            self.requests.append((path, headers, body))
            status = self.statuses.pop(0) if self.statuses and not refused else 200
            self._now += 1
            self.most = max(self.most, self._now)
        time.sleep(self.seconds)
        with self._lock:
            self._now -= 1
        if refused:
            return 400, {"error": {"message": "longer than the model's context"}}
        if isinstance(status, str):
            return 200, status
        if status != 200:
            return status, {"error": {"message": f"no, {headers.get('authorization')} will not do"}}
        if self.body is not None:
            return 200, self.body
        said = f"{self.thinks}Names: {next(line for line in text.splitlines() if line.startswith('Post: '))}\n"
        usage = {"prompt_tokens": len(text.split()), "completion_tokens": 3, "total_tokens": 0}
        return 200, completion(said, usage=usage if self.counts else None)


def completion(content: Any, end: str = "stop", usage: Any = None, **message: Any) -> dict[str, Any]:
    """Returns an answer in the form of the protocol."""
    choice = {"index": 0, "finish_reason": end, "message": {"role": "assistant", "content": content, **message}}
    answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "tiny", "choices": [choice]}
    return answer | ({} if usage is None else {"usage": usage})


@contextmanager
def serving(**settings: Any) -> Iterator[ChatServer]:
    """Runs a server as long as the context lasts."""
    chat = ChatServer(**settings)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, answer = chat.answer(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            if not status:
                self.close_connection = True
                return
            text = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            if 300 <= status < 400:
                self.send_header("Location", f"{chat.url}/elsewhere")
            self.send_header("Content-Type", "text/html" if text.startswith(b"<") else "application/json")
            self.send_header("Retry-After", "0.01")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()

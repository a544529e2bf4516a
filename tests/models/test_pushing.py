"""Uploading to a stand-in for the Hub on this machine; nothing leaves it."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch

from lightning_ita.errors import UserError
from lightning_ita.models.tagger import Tagger


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub as an upload needs; every file comes within the commit."""

    files: dict[str, bytes]
    asked: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append(self.path)
        address = f"http://{self.headers['Host']}"
        if self.path == "/api/repos/create":
            name = json.loads(body)["name"]
            if name == "taken":
                return self.answer(400, {"error": "not a name"})
            return self.answer(200, {"url": f"{address}/someone/{name}", "id": "1"})
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": files})
        if "/commit/" in self.path:
            for line in map(json.loads, body.decode().splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            commit = {"commitUrl": f"{address}/someone/model/commit/0", "commitOid": "0" * 40, "hookOutput": ""}
            return self.answer(200, commit)
        return self.answer(200, {"errors": [], "warnings": []})  # of the card's metadata

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.answer(200, {"id": "someone/model", "sha": "0" * 40, "siblings": []})

    def answer(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Hub]]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    Hub.files, Hub.asked = {}, []
    yield Hub
    server.shutdown()
    server.server_close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_model_is_uploaded_whole(hub: type[Hub], tiny_encoder: str, tmp_path: Path) -> None:
    model = Tagger.create("bert-crf", ("PER",), encoder=tiny_encoder)
    assert model.push_to_hub("someone/model", token="hf_token").endswith("/someone/model/commit/0")
    for name, content in hub.files.items():
        path = tmp_path / "fetched" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    loaded = Tagger.from_pretrained(tmp_path / "fetched")
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in loaded.state_dict().items())


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_refusal_is_an_error_of_one_line(hub: type[Hub], tiny_encoder: str) -> None:
    model = Tagger.create("bert-crf", ("PER",), encoder=tiny_encoder)
    with pytest.raises(UserError, match="cannot upload to 'someone/taken'"):
        model.push_to_hub("someone/taken", token="hf_token")
    assert not hub.files


def test_offline_it_is_an_error(tiny_encoder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    model = Tagger.create("bert-crf", ("PER",), encoder=tiny_encoder)
    with pytest.raises(UserError, match="cannot upload to 'someone/model'"):
        model.push_to_hub("someone/model", token="hf_token")

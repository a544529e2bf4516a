"""Frozen features of pictures, made once and kept in files that several processes read and add to.

A feature is found by its content: the digest of the picture, the part of it, and everything that decides the numbers
(the vision model, how pictures are prepared, the packages that compute). Files of features are written whole or not at
all and never changed, and are mapped into memory, so that reading one is no more than a copy.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from lightning_ita.devices import choose_device
from lightning_ita.files import disk_errors, written_whole
from lightning_ita.images.crops import WHOLE, Part, cut
from lightning_ita.images.files import ImageError
from lightning_ita.images.locating import model_digest
from lightning_ita.images.nets import VisionNet, make_net, net_shape
from lightning_ita.images.pictures import Picture, listed
from lightning_ita.images.vision import PREPROCESSING, Vision

# Parts that the model looks at together. Always as many, if need be blank ones: so a feature does not depend on which
# others were missing, and a pass that was stopped gives the same numbers as one that was not.
BATCH = 8
# Pictures per file: what a killed process loses at most.
PICTURES_PER_FILE = 64
# The decoders, the resizing and the convolutions decide the last bits.
PACKAGES = ("pillow", "torch")

Watch = Callable[[int, int], None]


@dataclass(frozen=True)
class Request:
    """A picture, and the crops of it that are wanted beside the whole.

    Attributes:
        picture: The picture.
        crops: Its crops.
    """

    picture: Picture
    crops: tuple[Part, ...] = ()

    @cached_property
    def parts(self) -> dict[str, Part]:
        """The whole picture and its crops, by the key under which their features are kept."""
        sha256 = self.picture.sha256
        return {
            f"{'whole' if part is WHOLE else 'part'}-{_digest([sha256, *part])[:40]}": part
            for part in (WHOLE, *self.crops)
        }


class Features:
    """Features of pictures by one vision model, or with `finetune` their pixels in its size.

    Args:
        vision: The vision model.
        folder: Where features are kept; only in memory if not given.

    Attributes:
        size: Height and width of a part as the model sees it.
        regions: Regions of the whole picture.
        channels: Width of the features.
        flop: Floating-point operations per part.
        setup: What decides the features, digested: the name of their folder.
        failed: Why pictures cannot be read, by name.
    """

    def __init__(self, vision: Vision, folder: Path | None = None):
        self.vision = vision
        self.size, self.regions, self.channels, flop = net_shape(vision)
        self.flop = 0.0 if vision.finetune else flop
        self.failed: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}  # why, by digest: in a stream another picture may have the same name
        self._rows: dict[str, Tensor] = {}
        self._recent: dict[str, Tensor] = {}  # of the last pictures that were not prepared
        self._files: set[str] = set()
        self._net: VisionNet | None = None
        self._lock = threading.Lock()
        setup = {
            "model": model_digest(vision) or vision.model,
            "preprocessing": PREPROCESSING,
            "pixels": vision.finetune and self.size,
            "packages": [version(package) for package in (*PACKAGES, vision.package) if package],
        }
        self.setup = _digest(setup)[:16]
        self.folder = None if folder is None else folder / "pictures" / self.setup

    def __getstate__(self) -> dict[str, object]:
        """Leaves out what is read or made again: the model, and rows that lie in files."""
        state = dict(self.__dict__, _net=None, _lock=None)
        return state if self.folder is None else state | {"_rows": {}, "_files": set()}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def missing(self, requests: Iterable[Request]) -> list[Request]:
        """Returns what no feature is known for yet, each picture once, with all its crops."""
        self._read_files()
        wanted: dict[str, Request] = {}
        for request in requests:
            sha256 = request.picture.sha256
            if sha256 not in self._unreadable and not request.parts.keys() <= self._rows.keys():
                crops = (*(wanted[sha256].crops if sha256 in wanted else ()), *request.crops)
                wanted[sha256] = Request(request.picture, tuple(dict.fromkeys(crops)))
        return list(wanted.values())

    def prepare(self, requests: Sequence[Request], watch: Watch = lambda done, total: None) -> None:
        """Makes the features that are missing; where another process is at it, waits and takes its features.

        Args:
            requests: What will be asked for.
            watch: Told how many pictures of how many are done.

        Raises:
            UserError: The vision model cannot be read, or a picture's file was changed meanwhile.
            OSError: The folder cannot be written.
        """
        with self._lock:
            self._rows |= self._make(requests, watch)

    def rows(self, requests: Sequence[Request]) -> list[list[Tensor] | None]:
        """Returns the features of pictures: of the whole, (r, channels), and of each crop, (channels,), float16.

        Pixels where the vision model is trained: uint8 (3, size, size) each. ``None`` where a picture cannot be read.
        What was not prepared is made now; without a folder it is not kept for long: a stream of posts has no end.
        """
        found: Mapping[str, Tensor] = {**self._recent, **self._rows} if self._recent else self._rows
        if not all(request.parts.keys() <= found.keys() or self.cannot_read(request) for request in requests):
            with self._lock:
                made = self._make(requests)
            if self.folder is None:
                self._recent = made
            else:
                self._rows |= made
            found = {**self._rows, **made}
        return [
            [found[key] for key in request.parts] if request.parts.keys() <= found.keys() else None
            for request in requests
        ]

    def cannot_read(self, request: Request) -> bool:
        """Tells whether a picture was looked at in vain."""
        return request.picture.sha256 in self._unreadable

    def reason(self, request: Request) -> str:
        """Returns why a picture cannot be read; nothing where it can."""
        return self._unreadable.get(request.picture.sha256, "")

    def warnings(self) -> list[str]:
        """Returns what a reader of results should know: which pictures could not be read."""
        if not self.failed:
            return []
        return [listed("pictures cannot be read", (f"{name} ({why})" for name, why in self.failed.items()))]

    def _read_files(self) -> None:
        if self.folder is None or not self.folder.is_dir():
            return
        for path in sorted(self.folder.glob("*.safetensors")):
            if path.name not in self._files:
                self._files.add(path.name)
                try:
                    with safe_open(path, "pt") as file:
                        self._rows |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118, no mapping
                except (SafetensorError, OSError):
                    continue  # damaged from outside: its features are made again

    def _make(self, requests: Sequence[Request], watch: Watch = lambda done, total: None) -> dict[str, Tensor]:
        """Makes what is missing, and returns it by key."""
        missing = self.missing(requests)
        if not missing or self.folder is None:
            return self._pass(missing, watch)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / "lock"):
            for left in self.folder.glob(".part-*"):  # of a process that was killed
                left.unlink(missing_ok=True)
            return self._pass(self.missing(requests), watch)  # another process may have made it meanwhile

    def _pass(self, requests: Sequence[Request], watch: Watch) -> dict[str, Tensor]:
        rows: dict[str, Tensor] = {}
        chunks = [requests[start : start + PICTURES_PER_FILE] for start in range(0, len(requests), PICTURES_PER_FILE)]
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            waiting = [pool.map(self._open, chunk) for chunk in chunks[:1]]
            for done in range(1, len(chunks) + 1):
                opened = list(waiting.pop())
                # The next ones are opened while the model looks at these.
                waiting += [pool.map(self._open, following) for following in chunks[done : done + 1]]
                made = self._look([part for parts in opened for part in parts])
                self._write(made)
                rows |= made
                watch(min(done * PICTURES_PER_FILE, len(requests)), len(requests))
        return rows

    def _open(self, request: Request) -> list[tuple[str, np.ndarray]]:
        """Returns the parts of a picture that are not known, by key, as uint8 (3, size, size)."""
        try:
            image = request.picture.open()
        except ImageError as error:
            self.failed[request.picture.name] = str(error)
            self._unreadable[request.picture.sha256] = str(error)
            return []
        return [
            (key, np.asarray(cut(image, part, self.size)).transpose(2, 0, 1))
            for key, part in request.parts.items()
            if key not in self._rows
        ]

    def _look(self, opened: Sequence[tuple[str, np.ndarray]]) -> dict[str, Tensor]:
        if self.vision.finetune:
            return {key: torch.from_numpy(pixels.copy()) for key, pixels in opened}
        if self._net is None and opened:
            # The weights that a model is made with are drawn before its own are read. What else is drawn, such as the
            # parameters of the system that is made next, must not depend on whether features were kept already.
            with torch.random.fork_rng(devices=[]):
                self._net = make_net(self.vision).requires_grad_(False).to(choose_device(None))
            # Convolutions on CPUs take a third less time in this layout.
            self._net.to(memory_format=torch.channels_last)
        found, device = {}, choose_device(None)
        for start in range(0, len(opened), BATCH):
            chunk = opened[start : start + BATCH]
            pixels = torch.zeros(BATCH, 3, self.size, self.size, dtype=torch.uint8)
            pixels[: len(chunk)] = torch.from_numpy(np.stack([each for _, each in chunk]))
            assert self._net is not None
            with torch.inference_mode():
                features = self._net(pixels.to(device, memory_format=torch.channels_last)).float()
            for (key, _), grid in zip(chunk, features, strict=False):
                found[key] = _half(grid if key.startswith("whole") else grid.mean(0))
        return found

    def _write(self, rows: dict[str, Tensor]) -> None:
        if self.folder is None or not rows:
            return
        place = self.folder / f"{_digest(sorted(rows))[:32]}.safetensors"
        with written_whole(place, prefix=".part-") as part, disk_errors():
            save_file(rows, part)


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _half(features: Tensor) -> Tensor:
    """Returns features in float16, of which none is infinite."""
    most = torch.finfo(torch.float16).max
    return features.clamp(-most, most).half().cpu().clone()

"""Object tags by YOLOX detectors as ONNX files: classes of objects, how many there are of each, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.loading import as_json, digest, package_versions
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import Box
from lightning_ita.contexts.engines.vocabulary import read_vocabulary
from lightning_ita.contexts.engines.zero_shot import MOST_TAGS
from lightning_ita.devices import choose_device
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.registry import require
from lightning_ita.text import printable, quoted

# What YOLOX was trained with: pixels that fill up the sheet, the strides of its three grids.
PADDING = 114
STRIDES = (8, 16, 32)
# Boxes of one class that overlap by more than this (intersection over union) are one object; YOLOX's own value.
OVERLAP = 0.45


@dataclass(frozen=True)
class Sheet:
    """An image scaled into the upper left corner of the detector's input.

    Attributes:
        pixels: Unsigned bytes, shape (3, height, width): blue, green, red.
        scale: Its pixels per pixel of the upright image.
        size: Width and height of the upright image.
    """

    pixels: np.ndarray
    scale: float
    size: tuple[int, int]


@dataclass(frozen=True)
class Letterbox:
    """Scales an image, with its proportions kept, to the detector's input size, and fills up the rest with grey.

    Attributes:
        width: Width of the input in pixels.
        height: Its height.
    """

    width: int
    height: int

    def __call__(self, image: Image.Image) -> Sheet:
        """Returns the input."""
        scale = min(self.width / image.width, self.height / image.height)
        width, height = max(1, int(image.width * scale)), max(1, int(image.height * scale))
        sheet = Image.new("RGB", (self.width, self.height), (PADDING,) * 3)
        sheet.paste(image.resize((width, height), Image.Resampling.BILINEAR))
        return Sheet(np.ascontiguousarray(np.asarray(sheet)[:, :, ::-1].transpose(2, 0, 1)), scale, image.size)


class Yolox:
    """Engine ``tag=yolox``: the classes of objects that a YOLOX detector finds, each with their number.

    A class with one object is a tag of its name (``dog``), one with several has their number (``person ×3``); the box
    is that of the surest object. Classes come by their best score.

    Args:
        model: The ONNX file, as YOLOX exports it: input (1, 3, height, width), output (1, anchors, 5 + classes) before
            decoding.
        names: ``coco`` (shipped: the 80 classes of COCO) or a file with the names of the classes, one per line.
        counts: Whether objects are counted by class. If not, each object is a tag of its own, with its box: for
            systems that look at crops.
        top_k: Tags per image, at most.
        threshold: Smallest score of an object, which is its class's probability times that of there being an object.
        batch_size: Images per batch; each is read by itself.
        device: A device; an accelerator is used where ONNX Runtime was built for it.

    Raises:
        UserError: The package or the file is missing, the file is no such model, or a value is out of its range.
    """

    kind = "tag"
    name = "yolox"

    def __init__(
        self,
        model: str | None = None,
        *,
        names: str = "coco",
        counts: bool = True,
        top_k: int = 10,
        threshold: float = 0.3,
        batch_size: int = 8,
        device: str | None = None,
    ):
        runtime = require("onnxruntime", extra="align")
        self.counts = counts
        self.top_k, self.threshold = check_count("top_k", top_k, MOST_TAGS), check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        if model is None:
            raise UserError("tag=yolox needs a model: tag=yolox:FILE.onnx, as YOLOX exports it")
        path = user_path(model)
        if not path.is_file():
            raise UserError(f"tag=yolox:{model}: no such file; expected a detector as ONNX")
        self.model = path.name  # its content is in the version: it may lie anywhere
        words = read_vocabulary(names)
        self.classes = words.entries
        cuda = choose_device(device).type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers()
        settings = runtime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        try:
            self._session = runtime.InferenceSession(
                str(path), settings, providers=["CUDAExecutionProvider"] * cuda + ["CPUExecutionProvider"]
            )
        except Exception as error:  # those of ONNX Runtime have no common base
            raise UserError(f"{path} is no model that ONNX Runtime reads: {printable(error)}") from error
        height, width = self._size()
        self._grid, self._stride = _anchors(height, width)
        self._check_output()
        self.prepare = Letterbox(width, height)
        self.version = f"{package_versions('onnxruntime')}, {digest(path)}"
        self.parameters = as_json(
            {"names": words.version, "counts": counts, "top_k": top_k, "threshold": threshold, "overlap": OVERLAP}
        )

    def _size(self) -> tuple[int, int]:
        """Returns height and width of the detector's input."""
        inputs = self._session.get_inputs()
        shape: list[Any] = inputs[0].shape
        whole = len(inputs) == 1 and len(shape) == 4 and all(isinstance(each, int) for each in shape[1:])
        if not whole or shape[1] != 3 or any(side < 1 or side % STRIDES[-1] for side in shape[2:]):
            raise UserError(
                f"tag=yolox:{self.model}: expected one input of shape (1, 3, height, width), multiples of "
                f"{STRIDES[-1]}, found {quoted([each.shape for each in inputs])}; export it with a fixed size"
            )
        return shape[2], shape[3]

    def _check_output(self) -> None:
        """Runs the model on an empty sheet, and checks that it answers as YOLOX does before decoding."""
        _, _, height, width = self._session.get_inputs()[0].shape
        found = self._run(np.full((1, 3, height, width), PADDING, np.float32))
        expected = (1, len(self._grid), 5 + len(self.classes))
        if found.shape != expected:
            raise UserError(
                f"tag=yolox:{self.model}: expected an output of shape {expected} for {len(self.classes)} classes, "
                f"found {found.shape}; tag.names=FILE names other classes than those of COCO"
            )
        if np.abs(found[..., :2]).max() > max(height, width) / 2:  # pixels, where offsets from a cell are expected
            raise UserError(f"tag=yolox:{self.model}: boxes are decoded already: export without decode_in_inference")

    def _run(self, pixels: np.ndarray) -> np.ndarray:
        outputs = self._session.run(None, {self._session.get_inputs()[0].name: pixels})
        return np.asarray(outputs[0])

    def read(self, prepared: Sequence[Sheet]) -> list[Reading]:
        """Detects objects in a batch of prepared images."""
        return [self._read(sheet) for sheet in prepared]

    def _read(self, sheet: Sheet) -> Reading:
        (raw,) = self._run(sheet.pixels[None].astype(np.float32))  # (anchors, 5 + classes)
        scores = raw[:, 4:5] * raw[:, 5:]  # (anchors, classes)
        boxes = self._boxes(raw[:, :4], sheet)
        found: list[tuple[float, int, int]] = []  # score, class, anchor
        for number in np.flatnonzero(scores.max(0) >= self.threshold).tolist():
            anchors = np.flatnonzero(scores[:, number] >= self.threshold)
            kept = suppressed(boxes[anchors], scores[anchors, number])
            found += [(float(scores[anchor, number]), number, anchor) for anchor in anchors[kept].tolist()]
        found.sort(key=lambda each: (-each[0], each[1:]))
        tags: dict[object, tuple[str, float, int]] = {}
        for score, number, anchor in found:
            tags.setdefault(number if self.counts else anchor, (self.classes[number], score, anchor))
        best = list(tags.items())[: self.top_k]
        several = {number: sum(each[1] == number for each in found) for number, _ in best} if self.counts else {}
        return Reading(
            tuple(f"{name} ×{several[key]}" if several.get(key, 1) > 1 else name for key, (name, _, _) in best),
            tuple(score for _, (_, score, _) in best),
            tuple(_box(boxes[anchor]) for _, (_, _, anchor) in best),
        )

    def _boxes(self, raw: np.ndarray, sheet: Sheet) -> np.ndarray:
        """Decodes boxes: left, top, right, bottom in pixels of the upright image, shape (anchors, 4)."""
        centre = (raw[:, :2] + self._grid) * self._stride
        half = np.exp(raw[:, 2:].clip(max=20)) * self._stride / 2
        boxes = np.concatenate([centre - half, centre + half], axis=1) / sheet.scale
        return boxes.clip(0, np.array([*sheet.size, *sheet.size], np.float32))


def _anchors(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns column and row of each anchor in its grid, shape (anchors, 2), and its stride, shape (anchors, 1)."""
    cells, strides = [], []
    for stride in STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), stride))
    return np.concatenate(cells).astype(np.float32), np.concatenate(strides).astype(np.float32)


def suppressed(boxes: np.ndarray, scores: np.ndarray) -> list[int]:
    """Returns the boxes that are left if of those that overlap only the best is kept, best score first.

    Args:
        boxes: Left, top, right, bottom; shape (n, 4).
        scores: Shape (n,).
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left = np.argsort(-scores, kind="stable")
    kept = []
    while left.size:
        best, left = left[0], left[1:]
        kept.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[left, :2]), np.minimum(boxes[best, 2:], boxes[left, 2:])
        shared = (high - low).clip(0).prod(1)
        left = left[shared <= OVERLAP * (areas[best] + areas[left] - shared)]
    return kept


def _box(row: np.ndarray) -> Box:
    left, top, right, bottom = row.tolist()
    return left, top, right, bottom

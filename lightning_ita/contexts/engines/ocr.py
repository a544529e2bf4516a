"""OCR engines: what they share, and RapidOCR, whose Python package includes its models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from lightning_ita.contexts.engine import Reading
from lightning_ita.contexts.engines.loading import as_json, digest, load, package_versions
from lightning_ita.contexts.engines.options import check_count, check_share
from lightning_ita.contexts.engines.regions import Box
from lightning_ita.devices import choose_device
from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.registry import require
from lightning_ita.text import printable

# Boxes that overlap vertically by this share of the smaller height belong to one line of the page.
SAME_LINE = 0.5
# PaddleOCR's recognisers, trained on Chinese first, read "ME ON" as "MEON": between such words, a space has probability
# 0.05 to 0.4, less than no character has; within words it has less than 0.001. From this value on, it is a space.
SPACE = 0.03
# Larger images fill the memory.
LONGEST_SIDE = 8192


@dataclass(frozen=True)
class Page:
    """An image prepared for OCR.

    Attributes:
        pixels: Unsigned bytes, shape (height, width, 3).
        scale: Its pixels per pixel of the upright image, along each side.
        size: Width and height of the upright image.
    """

    pixels: np.ndarray
    scale: float
    size: tuple[int, int]

    def box(self, left: float, top: float, right: float, bottom: float) -> Box:
        """Returns a box of the page in pixels of the upright image."""
        (width, height), scale = self.size, self.scale
        return (
            min(max(left / scale, 0.0), width),
            min(max(top / scale, 0.0), height),
            min(max(right / scale, 0.0), width),
            min(max(bottom / scale, 0.0), height),
        )


@dataclass(frozen=True)
class PageMaker:
    """Scales an image so that letters are large enough to read, and pads a very narrow one with white.

    Attributes:
        shortest: The shorter side is enlarged to this length, in pixels ...
        most: ... but at most by this factor.
        longest: A longer side is reduced to this length, in pixels.
    """

    shortest: int
    most: float
    longest: int

    def __call__(self, image: Image.Image) -> Page:
        """Returns the page."""
        scale = min(max(1.0, min(self.shortest / min(image.size), self.most)), self.longest / max(image.size))
        width, height = (max(1, round(side * scale)) for side in image.size)
        resized = image if scale == 1 else image.resize((width, height), Image.Resampling.BICUBIC)
        least = max(32, max(width, height) // 8)
        if min(width, height) < least:
            sheet = Image.new("RGB", (max(width, least), max(height, least)), "white")
            sheet.paste(resized)
            resized = sheet
        return Page(np.asarray(resized.convert("RGB")), scale, image.size)


def text_lines(boxes: Sequence[Box]) -> list[list[int]]:
    """Groups boxes into lines in reading order: from top to bottom, each from left to right.

    A box belongs to the line above if it overlaps that line's first box by half of the smaller height. Columns are
    not recognised: boxes side by side are one line.

    Returns:
        Indices into `boxes`, line by line.
    """
    lines: list[list[int]] = []
    for i in sorted(range(len(boxes)), key=lambda i: boxes[i][1] + boxes[i][3]):
        top, bottom = boxes[i][1], boxes[i][3]
        if lines:
            first = boxes[lines[-1][0]]
            overlap = min(bottom, first[3]) - max(top, first[1])
            if overlap >= SAME_LINE * min(bottom - top, first[3] - first[1]):
                lines[-1].append(i)
                continue
        lines.append([i])
    return [sorted(line, key=lambda i: boxes[i][0]) for line in lines]


def in_reading_order(texts: Sequence[str], scores: Sequence[float], boxes: Sequence[Box]) -> Reading:
    """Returns texts in reading order; white space within them becomes single spaces."""
    order = [i for line in text_lines(boxes) for i in line]
    return Reading(
        tuple(" ".join(texts[i].split()) for i in order),
        tuple(min(max(float(scores[i]), 0.0), 1.0) for i in order),
        tuple(boxes[i] for i in order),
    )


class WithSpaces:
    """Decodes the output of a RapidOCR recogniser, with spaces where it hesitates between a space and no character.

    Args:
        decode: The package's decoding.
    """

    def __init__(self, decode: Any):
        self.decode = decode
        self.space = decode.character.index(" ") if " " in decode.character else None

    def __call__(self, probabilities: np.ndarray, *more: Any, **options: Any) -> Any:
        """Decodes lines from probabilities of shape (lines, columns, characters); character 0 is no character."""
        if self.space is not None:
            lines, columns = np.nonzero(
                (probabilities[:, :, self.space] >= SPACE) & (probabilities.argmax(axis=2) == 0)
            )
            # The confidence of the line is a mean over its characters; these values leave it unchanged.
            best = probabilities[lines, columns, 0]
            probabilities[lines, columns, 0] = 0
            probabilities[lines, columns, self.space] = best
        return self.decode(probabilities, *more, **options)


class RapidOcr:
    """Engine ``ocr=rapidocr``: PaddleOCR's models in ONNX Runtime; those for English and Chinese come with the package.

    Args:
        model: A folder with ONNX models whose names contain ``_det_`` (finds text), ``_rec_`` (reads it) and, if texts
            may be upside down, ``_cls_``; and ``*.txt`` with the characters, for a recogniser that does not include
            them. By default the package's own models.
        threshold: Smallest confidence of a line of text.
        detection_side: Images are enlarged until their shorter side has this many pixels before text is looked for: a
            greater value finds smaller letters and takes longer.
        batch_size: Images per batch; each is read by itself.
        device: A device; an accelerator is used where ONNX Runtime was built for it.

    Raises:
        UserError: The package or a model is missing, or a value is out of its range.
    """

    kind = "ocr"
    name = "rapidocr"

    def __init__(
        self,
        model: str | None = None,
        *,
        threshold: float = 0.5,
        detection_side: int = 736,
        batch_size: int = 16,
        device: str | None = None,
    ):
        rapidocr, runtime = require("rapidocr", extra="align"), require("onnxruntime", extra="align")
        self.model = model or "bundled"
        self.threshold = check_share("threshold", threshold)
        self.batch_size = check_count("batch_size", batch_size)
        folder = user_path(model) if model else Path(rapidocr.__file__).parent / "models"
        if not folder.is_dir():
            raise UserError(f"ocr={self.name}:{model}: no such folder; expected one with models as ONNX")
        cuda = choose_device(device).type == "cuda" and "CUDAExecutionProvider" in runtime.get_available_providers()
        settings: dict[str, Any] = {
            "Global.log_level": "critical",
            "Global.text_score": self.threshold,
            "Det.limit_side_len": check_count("detection_side", detection_side, LONGEST_SIDE),
            "EngineConfig.onnxruntime.intra_op_num_threads": torch.get_num_threads(),
            "EngineConfig.onnxruntime.use_cuda": cuda,
        }
        files = self._files(folder)
        settings |= {f"{part}.model_path": str(path) for part, path in files.items() if part != "keys"}
        if "keys" in files:
            settings["Rec.rec_keys_path"] = str(files["keys"])
        if model:
            self._check(runtime, files)
        settings["Global.use_cls"] = "Cls" in files

        self._reader = load(
            f"ocr={self.name}:{self.model}",
            lambda: rapidocr.RapidOCR(params=settings),
            folder,
            may_download=False,
            needs="models as ONNX",
        )
        recogniser = self._reader.text_rec or self._reader._load_rec_model()
        recogniser.postprocess_op = WithSpaces(recogniser.postprocess_op)
        # The package resizes in the same way, but in the process that runs the model.
        self.prepare = PageMaker(shortest=30, most=30.0, longest=2000)
        digests = ", ".join(f"{path.name} {digest(path)}" for path in files.values())
        self.version = f"{package_versions('rapidocr', 'onnxruntime')}, {digests}"
        self.parameters = as_json({"threshold": self.threshold, "detection_side": detection_side, "space": SPACE})

    @staticmethod
    def _files(folder: Path) -> dict[str, Path]:
        """Finds the models in a folder: the detector, the recogniser, and optional files."""
        patterns = {"Det": "*_det_*.onnx", "Rec": "*_rec_*.onnx", "Cls": "*_cls_*.onnx", "keys": "*.txt"}
        found = {part: sorted(folder.glob(pattern)) for part, pattern in patterns.items()}
        for part in ("Det", "Rec"):
            if len(found[part]) != 1:
                names = ", ".join(path.name for path in found[part]) or "none"
                raise UserError(f"{folder}: expected one file {patterns[part]}, found {names}")
        return {part: paths[0] for part, paths in found.items() if len(paths) == 1}

    @staticmethod
    def _check(runtime: Any, files: dict[str, Path]) -> None:
        """Opens the models of a user's folder: the package would do so only later, and download what is missing."""
        for part in ("Det", "Rec", "Cls"):
            if part not in files:
                continue
            try:
                session = runtime.InferenceSession(str(files[part]), providers=["CPUExecutionProvider"])
            except Exception as error:  # those of ONNX Runtime have no common base
                raise UserError(f"{files[part]} is no model that ONNX Runtime reads: {printable(error)}") from error
            known = session.get_modelmeta().custom_metadata_map
            if part == "Rec" and "keys" not in files and "character" not in known:
                raise UserError(f"{files[part]} has no list of characters: put one beside it as characters.txt")

    def read(self, prepared: Sequence[Page]) -> list[Reading]:
        """Reads a batch of prepared images."""
        return [self._read(page) for page in prepared]

    def _read(self, page: Page) -> Reading:
        # The package expects blue, green, red.
        result = self._reader(np.ascontiguousarray(page.pixels[:, :, ::-1]))
        if result.txts is None or result.boxes is None:
            return Reading(())
        boxes = [page.box(*corners.min(axis=0).tolist(), *corners.max(axis=0).tolist()) for corners in result.boxes]
        return in_reading_order(result.txts, result.scores, boxes)

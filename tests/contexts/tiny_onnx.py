"""A detector that answers as YOLOX does, as an ONNX file: what it finds, and where, is written into it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save


def write_yolox(path: Path, objects: Sequence[tuple[int, int, float]], classes: int = 3, size: int = 64) -> Path:
    """Writes a detector of objects of 16 × 16 pixels, in a square input of `size`.

    Args:
        path: The file.
        objects: Column, row (in cells of 8 pixels, of which they fill two) and objectness of each.
        classes: How many classes it has. The first three have as probability the mean of the channels blue, green, red.
        size: Height and width of its input.
    """
    anchors = sum((size // stride) ** 2 for stride in (8, 16, 32))
    raw = np.zeros((1, anchors, 5 + classes), np.float32)
    for column, row, objectness in objects:
        raw[0, row * (size // 8) + column, :5] = (1.0, 1.0, np.log(2), np.log(2), objectness)
    colours = np.zeros((3, 5 + classes), np.float32)
    colours[:, 5:8] = np.eye(3) / 255
    constants = {"raw": raw, "colours": colours}
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["means"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["means", "colours"], ["classes"]),
        helper.make_node("Add", ["raw", "classes"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "yolox",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, (1, 3, size, size))],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, raw.shape)],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    # Old enough for the oldest ONNX Runtime that the library takes.
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    return path

"""Speed of turning images into text, compared with a plain loop: ``python -m benchmarks.align``.

Method. Images of the demo corpus, enlarged to 1200 × 900 pixels with added noise, as JPEG files: about the size of an
image in a tweet. Two engines are measured:

* ``open_clip``: ViT-B-32 with random weights (speed does not depend on them), whole images, nouns without attributes.
  The loop follows the library's documentation: `Image.open`, its preprocessing, `encode_image` of one image, softmax
  over the embedded nouns, the ten best; in float32, as the library computes. On processors with bfloat16 the engine
  computes in bfloat16, so the loop is measured in bfloat16 (autocast) too: that second ratio is without the gain from
  bfloat16.
* ``rapidocr``: its own models and default settings. The loop is ``RapidOCR()(path)``, image by image.

This project's side is `align` with a new store each time: worker processes, batches, everything written. Engines and
models are made before the time starts; worker processes start after it, so the time includes their start of some
seconds. In each round every contender runs once on the same images, in random order; the next round has the opposite
order. The tables show the median of images per second, and the median over rounds of the ratio within a round.

Memory is that of the process (resident set) and of all processes together (proportional sets, which count shared pages
once), while the same images under 5,000 names are read by a small CLIP.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from rapidocr import RapidOCR
from safetensors.torch import save_file

from lightning_ita.commands.align_steps import default_workers
from lightning_ita.contexts.alignment import Progress, align
from lightning_ita.contexts.engine import Engine
from lightning_ita.contexts.engines import make_engine
from lightning_ita.contexts.engines.loading import package_versions
from lightning_ita.contexts.store import ContextStore
from lightning_ita.demo import DemoConfig, generate
from lightning_ita.demo.painting import render
from lightning_ita.images.files import find_images
from lightning_ita.registry import require
from lightning_ita.studies.environment import processor

open_clip = require("open_clip", extra="align")
PACKAGES = ("torch", "open_clip_torch", "rapidocr", "onnxruntime", "pillow")
# Enough for a top ten; embedding them is no part of an image's time.
NOUNS = ("person", "dog", "cat", "car", "bus", "tree", "house", "street", "flag", "ball", "phone", "book")
# For the memory: a tower that keeps up with opening the images.
SMALL = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 224, "layers": 2, "width": 128, "head_width": 32, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}


def draw(folder: Path, count: int) -> Path:
    """Draws the images and writes them as JPEG files."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    scenes = [tweet.scene for tweet in generate(DemoConfig(train=count, valid=1, test=1)).splits["train"]]
    for number, scene in enumerate(scenes):
        picture = np.asarray(render(scene).convert("RGB").resize((1200, 900), Image.Resampling.BICUBIC))
        grain = noise.normal(0, 6, picture.shape)
        Image.fromarray((picture + grain).clip(0, 255).astype(np.uint8)).save(folder / f"{number:04}.jpg", quality=85)
    return folder


def save_clip(folder: Path, config: dict[str, Any]) -> str:
    """Saves a CLIP with random weights in the format of open_clip's models."""
    folder.mkdir()
    preprocess = {"mean": open_clip.OPENAI_DATASET_MEAN, "std": open_clip.OPENAI_DATASET_STD}
    content = json.dumps({"model_cfg": config, "preprocess_cfg": preprocess})
    (folder / "open_clip_config.json").write_text(content, encoding="utf-8")
    torch.manual_seed(0)
    logging.disable(logging.WARNING)  # open_clip warns that the weights are random, as they should be here
    net = open_clip.create_model(f"local-dir:{folder}", load_weights=False)
    logging.disable(logging.NOTSET)
    for parameter in net.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.5 * parameter.shape[-1] ** -0.5)
    save_file(net.state_dict(), folder / "open_clip_model.safetensors")
    return str(folder)


def tagger(model: str, place: Path) -> Engine:
    """Returns the engine that tags whole images with a few nouns and no attributes."""
    nouns = place / "nouns.txt"
    nouns.write_text("\n".join(NOUNS) + "\n", encoding="utf-8")
    return make_engine("tag", f"open_clip:{model}", grids=(1,), attributes=None, nouns=str(nouns))


def clip_loop(model: str, paths: Sequence[Path], bfloat16: bool) -> Callable[[], object]:
    """Returns the loop over images with open_clip as its documentation shows it."""
    net, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{model}")
    net.eval()
    words = torch.nn.functional.normalize(torch.randn(len(NOUNS), net.visual.output_dim), dim=-1)

    def loop() -> None:
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            for path in paths:
                features = net.encode_image(preprocess(Image.open(path)).unsqueeze(0)).float()
                features /= features.norm(dim=-1, keepdim=True)
                (100.0 * features @ words.T).softmax(dim=-1).topk(10)

    return loop


def ocr_loop(paths: Sequence[Path]) -> Callable[[], object]:
    """Returns the loop over images with RapidOCR as its documentation shows it."""
    read = RapidOCR(params={"Global.log_level": "critical"})

    def loop() -> None:
        for path in paths:
            read(str(path))

    return loop


def ours(engine: Engine, images: Mapping[str, Sequence[Path]], workers: int, stores: Path) -> Callable[[], object]:
    """Returns a function that reads all images into a new store."""

    def run() -> None:
        path = stores / f"{time.monotonic_ns()}.db"
        with ContextStore(path) as store:
            progress = align(engine, images, store, workers)
        assert progress.done == len(images), progress
        assert not progress.errors, progress

    return run


def measure(contenders: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Returns the times of every contender in seconds, one per round."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    order, shuffle = list(contenders), random.Random(0).shuffle
    for count in range(rounds):
        if count % 2:
            order.reverse()
        else:
            shuffle(order)
        for name in order:
            begin = time.perf_counter()
            contenders[name]()
            times[name].append(time.perf_counter() - begin)
    return times


def table(measured: Mapping[str, tuple[int, Mapping[str, Sequence[float]]]]) -> str:
    """Returns the table of speeds in Markdown; in each case the last contender is ours."""
    lines = [
        "| engine | contender | images/s (median) | align is faster by | range over rounds |",
        "|---|---|---|---|---|",
    ]
    for engine, (images, times) in measured.items():
        *_, mine = times
        for name, seconds in times.items():
            ratios = [one / other for one, other in zip(seconds, times[mine], strict=True)]
            speed = f"{images / statistics.median(seconds):.2f}"
            gain = "" if name == mine else f"{statistics.median(ratios):.2f} × | {min(ratios):.2f} – {max(ratios):.2f}"
            lines.append(f"| {engine} | {name} | {speed} | {gain or '– | –'} |")
    return "\n".join(lines)


def mebibytes(pid: str, measure: str) -> float:
    """Returns a process's memory in MiB: ``Rss``, its resident set, or ``Pss``, its share of pages used by several."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in lines if line.startswith(f"{measure}:")).split()[1]) / 1024


def memory(pictures: Path, model: str, names: int, workers: int, folder: Path) -> str:
    """Reads the images under many names; returns the table of memory in Markdown."""
    folder.mkdir()
    originals = sorted(pictures.iterdir())
    for number in range(names):
        os.link(originals[number % len(originals)], folder / f"{number:05}.jpg")
    engine = tagger(model, folder.parent)
    lines = ["| images | this process, RSS in MiB | with its workers, PSS in MiB |", "|---|---|---|"]
    step = max(names // 10, 1)
    following = step

    def watch(progress: Progress) -> None:
        nonlocal following
        if progress.done >= following:
            following = (progress.done // step + 1) * step
            pid = os.getpid()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()
            processes: list[str] = [str(pid), *children]
            total = sum((mebibytes(process, "Pss") for process in processes), 0.0)
            lines.append(f"| {progress.done} | {mebibytes(str(pid), 'Rss'):.0f} | {total:.0f} |")

    with ContextStore(folder.parent / "memory.db") as store:
        align(engine, find_images(folder), store, workers, watch=watch)
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Draws the images, measures, and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.align", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="rounds (default: %(default)s)")
    parser.add_argument(
        "--clip-images", type=int, default=320, help="images per round for open_clip (default: %(default)s)"
    )
    parser.add_argument(
        "--ocr-images", type=int, default=48, help="images per round for rapidocr (default: %(default)s)"
    )
    parser.add_argument("--names", type=int, default=5000, help="images to measure memory with (default: %(default)s)")
    parser.add_argument(
        "--workers", type=int, default=default_workers(5000), help="worker processes (default: %(default)s)"
    )
    parser.add_argument("--parts", nargs="+", default=["open_clip", "rapidocr", "memory"], help="what to measure")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    options = parser.parse_args(arguments)
    lines = [f"{processor()}, {torch.get_num_threads()} threads, {options.workers} workers; "]
    lines[0] += f"{package_versions(*PACKAGES)}; {options.rounds} rounds."
    with TemporaryDirectory() as scratch:
        place = Path(scratch)
        pictures = draw(place / "pictures", max(options.clip_images, options.ocr_images))
        paths = sorted(pictures.iterdir())
        images = {path.stem: (path,) for path in paths}
        measured: dict[str, tuple[int, Mapping[str, Sequence[float]]]] = {}
        if "open_clip" in options.parts:
            config = open_clip.get_model_config("ViT-B-32")
            model = save_clip(place / "clip", {key: config[key] for key in ("embed_dim", "vision_cfg", "text_cfg")})
            engine = tagger(model, place)
            precision = str(engine.parameters["precision"])
            loops = {"loop, float32": clip_loop(model, paths[: options.clip_images], False)}
            if precision == "bfloat16":
                loops["loop, bfloat16"] = clip_loop(model, paths[: options.clip_images], True)
            chosen = {image: images[image] for image in list(images)[: options.clip_images]}
            loops[f"align, {precision}"] = ours(engine, chosen, options.workers, place)
            measured["open_clip ViT-B-32"] = (options.clip_images, measure(loops, options.rounds))
        if "rapidocr" in options.parts:
            chosen = {image: images[image] for image in list(images)[: options.ocr_images]}
            contenders = {
                "loop": ocr_loop(paths[: options.ocr_images]),
                "align": ours(make_engine("ocr", "rapidocr"), chosen, options.workers, place),
            }
            measured["rapidocr"] = (options.ocr_images, measure(contenders, options.rounds))
        if measured:
            lines += ["", table(measured)]
        if "memory" in options.parts:
            small = save_clip(place / "small", SMALL)
            lines += ["", memory(pictures, small, options.names, options.workers, place / "names")]
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

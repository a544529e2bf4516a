"""Whether another runtime tags posts faster: ``uv run --with onnxscript --with openvino -m benchmarks.backends MODEL``.

Method. MODEL is a kept model whose encoder reads the text view, such as BERT-CRF's. Its encoder is exported to ONNX
and run by ONNX Runtime, in float32 and with weights in 8-bit integers (dynamic quantisation of matrix products), and by
OpenVINO, which chooses its arithmetic itself, and with 8-bit weights; torch runs it in float32 and in bfloat16, where
this machine is fast at it. Emission layer and CRF are the same for all. Posts are those of the test split, in lists of
the given sizes, sorted by length as `Tagger.predict` sorts them. Each contender runs once per round, in random order.
What is timed is a forward pass from padded ids to best tags, without tokenising. F1 is that of the text view on the
whole split. A backend pays if it is at least 1.5 times as fast as torch at its best, with F1 unharmed.
"""

from __future__ import annotations

import argparse
import copy
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from lightning_ita.data import DATASETS
from lightning_ita.data.batching import TwoViewBatch
from lightning_ita.data.source import Source
from lightning_ita.devices import available_precision
from lightning_ita.models.converted import converted
from lightning_ita.models.options import TEXT
from lightning_ita.models.packing import PACKED_ATTENTION
from lightning_ita.models.tagger import Tagger
from lightning_ita.models.tagging import to_bio
from lightning_ita.studies.scoring import score

SIZES = (1, 32)
WARM_UP = 8

# Returns the last hidden states, (batch, sub-tokens, hidden), of padded ids and their mask.
Encode = Callable[[Tensor, Tensor], Tensor]


class Exported(nn.Module):
    """An encoder as a function of ids and mask alone."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Returns the last hidden states."""
        states: Tensor = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return states


def export(tagger: Any, path: Path) -> None:
    """Writes the encoder as ONNX, for batches of any size and length."""
    config = copy.deepcopy(tagger.encoder.config)
    config._attn_implementation = "eager"
    encoder = type(tagger.encoder)(config)
    missing, unexpected = encoder.load_state_dict(tagger.encoder.state_dict(), strict=False)
    if unexpected or not all(name.startswith("pooler.") for name in missing):
        raise AssertionError(f"an encoder without {unexpected}, with {missing} that were not trained")
    ids = torch.ones(2, 7, dtype=torch.long)
    rows, length = torch.export.Dim("rows", min=1, max=512), torch.export.Dim("length", min=2, max=512)
    dynamic = {0: rows, 1: length}
    torch.onnx.export(
        Exported(encoder).eval(),
        (ids, ids.clone()),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["states"],
        dynamic_shapes=(dynamic, dynamic),
        dynamo=True,
        verbose=False,
    )


def onnx_runtime(path: Path, threads: int) -> Encode:
    """Returns ONNX Runtime's encoder."""
    import onnxruntime as runtime

    settings = runtime.SessionOptions()
    settings.intra_op_num_threads = threads
    session = runtime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])

    def encode(ids: Tensor, mask: Tensor) -> Tensor:
        (states,) = session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})
        return torch.from_numpy(states)

    return encode


def quantised(path: Path) -> Path:
    """Writes a copy of an ONNX model whose matrix products have 8-bit weights, and returns where."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    written = path.with_suffix(".int8.onnx")
    quantize_dynamic(path, written, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm"])
    return written


def open_vino(path: Path, threads: int) -> Encode:
    """Returns OpenVINO's encoder."""
    import openvino

    core = openvino.Core()
    compiled = core.compile_model(str(path), "CPU", {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"})

    def encode(ids: Tensor, mask: Tensor) -> Tensor:
        return torch.from_numpy(np.array(compiled([ids.numpy(), mask.numpy()])[0]))

    return encode


def contenders(tagger: Any, folder: Path, threads: int) -> dict[str, Callable[[TwoViewBatch], Tensor]]:
    """Returns what is compared by name: each returns BIO tags of the text view, (batch, words)."""

    def tags(states: Tensor, batch: TwoViewBatch) -> Tensor:
        chain = tagger.crf(tagger.emissions(states, batch, (TEXT,)), batch.mask)
        return to_bio(tagger.tag_set, chain.argmax(tagger._forbidden))

    def torch_in(precision: str) -> Callable[[TwoViewBatch], Tensor]:
        half = precision == "bfloat16"
        model = converted(tagger) if half else tagger

        def run(batch: TwoViewBatch) -> Tensor:
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                return tags(model.states(batch, (TEXT,)), batch)

        return run

    def other(encode: Encode) -> Callable[[TwoViewBatch], Tensor]:
        def run(batch: TwoViewBatch) -> Tensor:
            states = encode(batch.text.input_ids, batch.text.attention_mask)
            words = batch.text.first_subtokens[..., None].expand(-1, -1, states.shape[-1])
            return tags(states.gather(1, words), batch)

        return run

    assert tagger.encoder.config._attn_implementation == PACKED_ATTENTION
    made = {"torch, float32": torch_in("float32")}
    if available_precision("auto") == "bfloat16":
        made["torch, bfloat16"] = torch_in("bfloat16")
    path = folder / "encoder.onnx"
    export(tagger, path)
    made["ONNX Runtime, float32"] = other(onnx_runtime(path, threads))
    eight = quantised(path)
    made["ONNX Runtime, 8-bit weights"] = other(onnx_runtime(eight, threads))
    try:
        made["OpenVINO"] = other(open_vino(path, threads))
        made["OpenVINO, 8-bit weights"] = other(open_vino(eight, threads))
    except ImportError:
        Console(stderr=True).print("OpenVINO is not installed and is left out")
    return made


def batches(tagger: Any, tweets: Sequence[Any], corpus: Any, size: int) -> list[TwoViewBatch]:
    """Returns the tweets in lists of a size, each sorted by length."""
    reads = tagger.inputs.read(tweets, corpus)
    lists = [reads[start : start + size] for start in range(0, len(reads), size)]
    return [tagger.inputs.collate(sorted(each, key=lambda read: len(read.text.input_ids))) for each in lists]


def f1(tagger: Any, tag: Callable[[TwoViewBatch], Tensor], given: Sequence[TwoViewBatch]) -> float:
    """Returns F1 of the text view over batches, in percent."""
    predicted: list[list[int]] = []
    gold: list[list[int]] = []
    for batch in given:
        for rows, tags in ((predicted, tag(batch)), (gold, to_bio(tagger.tag_set, batch.tags))):
            rows += [row[mask].tolist() for row, mask in zip(tags, batch.mask, strict=True)]
    return score(predicted, gold, tagger.tag_set.types, tagger.recipe.labels)["f1"]


def main(arguments: list[str] | None = None) -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backends", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", help="a kept model")
    parser.add_argument("--dataset", default="twitter17", help="default: %(default)s")
    parser.add_argument("--data-dir", help="its folder")
    parser.add_argument("--rounds", type=int, default=7, help="default: %(default)s")
    parser.add_argument("--lists", type=int, default=20, help="lists timed per round and size (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="default: %(default)s")
    parser.add_argument("--output", type=Path, help="write the table to this file too")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    tagger = Tagger.from_pretrained(options.model).eval()
    corpus = DATASETS[options.dataset]().read(Source(options.data_dir), tagger.inputs.kinds)
    draw = random.Random(0)
    with tempfile.TemporaryDirectory() as scratch, torch.inference_mode():
        made = contenders(tagger, Path(scratch), options.threads)
        whole = batches(tagger, corpus.splits["test"], corpus, 32)
        scores = {name: f1(tagger, tag, whole) for name, tag in made.items()}
        rates: dict[tuple[str, int], list[float]] = {}
        for _ in track(range(options.rounds), "rounds", console=Console(stderr=True)):
            for size in SIZES:
                tweets = draw.sample(list(corpus.splits["test"]), size * (options.lists + WARM_UP))
                given = batches(tagger, tweets, corpus, size)
                for name in draw.sample(list(made), len(made)):
                    for batch in given[:WARM_UP]:
                        made[name](batch)
                    started = time.perf_counter()
                    for batch in given[WARM_UP:]:
                        made[name](batch)
                    rates.setdefault((name, size), []).append(size * options.lists / (time.perf_counter() - started))
    best = {size: max(statistics.median(rates[name, size]) for name in made if "torch" in name) for size in SIZES}
    lines = [
        f"{tagger.options.label}, {options.dataset}, {options.threads} threads, medians of {options.rounds} rounds.",
        "",
        "| | F1, T | " + " | ".join(f"posts/s, {size} | × torch" for size in SIZES) + " |",
        "|" + "---|" * (2 + 2 * len(SIZES)),
    ]
    for name in made:
        medians = [(statistics.median(rates[name, size]), size) for size in SIZES]
        cells = [f"{rate:.0f} | {rate / best[size]:.2f}" for rate, size in medians]
        lines.append(f"| {name} | {scores[name]:.2f} | " + " | ".join(cells) + " |")
    table = "\n".join(lines)
    print(table)
    if options.output:
        options.output.write_text(table + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

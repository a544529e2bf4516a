"""The benchmarks of prediction: calibration on made-up mentions, and both sides of the speed comparison."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from tokenizers.processors import BertProcessing
from transformers import AutoTokenizer

from benchmarks import predict, taggers
from benchmarks.calibration import Judged, diagram, gold_spans


def judged(share: float, says: float, count: int = 4000) -> Judged:
    """Mentions that are right as often as `share`, and of which the model says `says`."""
    draw = np.random.default_rng(0)
    return Judged(np.arange(count) // 2, np.full(count, says), draw.random(count) < share)


def test_calibrated_mentions_are_told_from_others() -> None:
    calibrated, sure = judged(0.8, 0.8), judged(0.7, 0.8)
    assert calibrated.ece < calibrated.ece_if_calibrated() < 0.03
    assert sure.ece == pytest.approx(abs(0.8 - sure.right.mean()), abs=1e-6)
    assert sure.ece > sure.ece_if_calibrated()
    above, low, high = sure.excess()
    assert 0.05 < low < above < high < 0.15
    assert above == pytest.approx(0.8 - sure.right.mean())
    assert calibrated.excess()[1] < 0 < calibrated.excess()[2]
    certain = Judged(np.arange(3), np.array([1.0, 0.95, 0.05]), np.array([True, True, False]))
    assert certain.bins.tolist() == [9, 9, 0]
    assert len(diagram([("a", {"found": certain, "possible": sure})]).axes) == 2


def test_gold_spans() -> None:
    tags = ["B-PER", "I-PER", "B-LOC", "O", "I-LOC"]
    assert gold_spans(tags, ("PER", "LOC"), "repair") == {(0, 2, "PER"), (2, 3, "LOC"), (4, 5, "LOC")}
    assert gold_spans(tags, ("PER", "LOC"), "strict") == {(0, 2, "PER"), (2, 3, "LOC")}


def test_every_side_of_the_comparison_runs(tiny_encoder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(taggers, "WARM_UP", 4)
    monkeypatch.setattr(taggers, "SINGLE", 3)
    monkeypatch.setattr(predict, "PICTURES", 3)
    encoder = shutil.copytree(tiny_encoder, tmp_path / "encoder")
    tokenizer = AutoTokenizer.from_pretrained(encoder)
    ends = [(token, tokenizer.convert_tokens_to_ids(token)) for token in ("[SEP]", "[CLS]")]
    tokenizer.backend_tokenizer.post_processor = BertProcessing(*ends)  # the plain loop relies on it
    tokenizer.save_pretrained(encoder)
    predict.prepare(tmp_path, None, None, str(encoder))  # checks that both sides find the same tags
    content = json.loads((tmp_path / "posts.json").read_text(encoding="utf-8"))
    content["posts"] = content["posts"][:40]
    (tmp_path / "posts.json").write_text(json.dumps(content), encoding="utf-8")
    results = {
        name: taggers.measure(taggers.TAGGERS[name], tmp_path, (1, 32), time.time())
        for name in ("text", "contexts", "plain")
    }
    for result in results.values():
        assert set(result) == {"ready", "rate", "p50", "p95"}
        assert min(result["p50"], *result["rate"].values()) > 0
    monkeypatch.setattr(predict, "SIZES", (1, 32))
    turns: dict[str, predict.Turn | str] = {name: predict.Turn(**result) for name, result in results.items()}
    lines = predict.table([{**turns, "spacy": "No module named 'spacy'"}], [1.0])
    assert sum("not measured" in line for line in lines) == 4
    ratio = results["text"]["rate"][32] / results["plain"]["rate"][32]
    assert any(line.startswith("| T × plain loop, lists of 32") and f"| {ratio:.2f} |" in line for line in lines)
    assert len({line.count("|") for line in lines[: len(predict.NAMES) + 2]}) == 1

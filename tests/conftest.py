from __future__ import annotations

import string
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, settings
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, set_seed

from lightning_ita.demo import DemoConfig, write

# The same examples every time, however slow the machine.
settings.register_profile(
    "suite",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("suite")

# Files whose tests take half a minute and more.
LONG = {
    "test_ablate.py",
    "test_faults.py",
    "test_notebooks.py",
    "test_report.py",
    "test_round_trip.py",
    "test_terminated.py",
}
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begins with what takes longest under pytest-xdist (with --no-loadscope-reorder), which would else come last."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.path.name not in LONG)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a two-layer BERT of random weights, whose tokenizer knows letters and digits."""
    return write_tiny_encoder(tmp_path_factory.mktemp("tiny-bert"))


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small demo corpus on disk."""
    folder = tmp_path_factory.mktemp("data") / "demo"
    write(DemoConfig(train=24, valid=12, test=12), folder)
    return folder


@pytest.fixture(scope="session")
def tiny_vision(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a vision model of random weights, in a folder as timm writes it: 32 × 32 pixels, 4 regions."""
    timm = pytest.importorskip("timm")
    folder = tmp_path_factory.mktemp("tiny-vision")
    set_seed(0)
    net = timm.create_model("test_resnet", pretrained=False, num_classes=3)
    for module in net.modules():  # as after training: random statistics, and no block whose last scale is zero
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
    net.pretrained_cfg = {**net.pretrained_cfg, "input_size": (3, 64, 64)}
    timm.models.save_for_hf(net, str(folder), safe_serialization=True)
    return f"timm:{folder}"


def write_tiny_encoder(folder: Path, hidden: int = 32, layers: int = 2) -> str:
    symbols = string.ascii_lowercase + string.digits + string.punctuation
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *symbols, *(f"##{symbol}" for symbol in symbols)]
    model = WordPiece({piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    ).save_pretrained(folder)
    set_seed(0)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * hidden,
        max_position_embeddings=128,
        pad_token_id=0,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


def write_corpus(folder: Path, **splits: str) -> Path:
    """Writes the splits of a corpus; those not given hold one small tweet."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, split in enumerate(("train", "valid", "test")):
        text = splits.get(split, f"IMGID:{split}{index}\nKobe\tB-PER\nin\tO\nSpain\tB-LOC\n\n")
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")
    return folder

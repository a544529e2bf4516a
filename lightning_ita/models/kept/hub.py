"""Kept models on the Hugging Face Hub: fetching and uploading."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from lightning_ita.errors import UserError
from lightning_ita.files import user_path
from lightning_ita.models.kept.config import CARD, CONFIG, ENCODER, WEIGHTS
from lightning_ita.models.kept.saving import save
from lightning_ita.models.kept.vision import VISION
from lightning_ita.text import quoted

if TYPE_CHECKING:
    from lightning_ita.models.tagger import Tagger

# What is fetched from the Hub, and no other file.
FETCHED = (
    *(CONFIG, WEIGHTS, CARD, f"{ENCODER}/*.json", f"{ENCODER}/*.txt", f"{ENCODER}/*.model"),
    *(f"{VISION}/*.json", f"{VISION}/*.safetensors"),
)


def locate(name: str | os.PathLike[str], revision: str | None, token: str | bool | None) -> Path:
    """Returns the folder of a kept model, fetched from the Hub if need be.

    Raises:
        UserError: There is no such folder, and no such model on the Hub, or the Hub cannot be reached.
    """
    path = user_path(name)
    if path.is_dir():
        return path
    text = str(name)
    if path.exists():
        raise UserError(f"{text} is a file; a kept model is a folder with {CONFIG} and {WEIGHTS}")
    if path.is_absolute() or text.startswith((".", "~")) or text.count("/") != 1:
        raise UserError(f"model {quoted(text)}: no such folder, and not an id on the Hub, as in name/model")
    from huggingface_hub import errors, snapshot_download

    try:
        return Path(snapshot_download(text, revision=revision, token=token, allow_patterns=list(FETCHED)))
    except errors.LocalEntryNotFoundError:
        raise UserError(
            f"model {quoted(text)} is neither a folder nor in the Hub's cache, and the Hub cannot be reached"
        ) from None
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        raise UserError(f"model {quoted(text)}: {str(error).strip().splitlines()[0]}") from None


def push(
    tagger: Tagger,
    repo_id: str,
    private: bool | None = None,
    token: str | bool | None = None,
    message: str = "Model, tokenizer and card",
) -> str:
    """Uploads a model to the Hugging Face Hub, in a repository that is made if it does not exist.

    Args:
        tagger: The model.
        repo_id: ``name/model``.
        private: Whether a new repository is private; what the account says if not given.
        token: Of the account; that of ``hf auth login`` if not given.
        message: Of the commit.

    Returns:
        The address of the commit.

    Raises:
        UserError: The Hub refuses, or cannot be reached.
    """
    from huggingface_hub import HfApi, errors

    api = HfApi(token=token)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        save(tagger, folder)
        try:
            name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
            commit = api.upload_folder(repo_id=name, folder_path=folder, commit_message=message)
        except (errors.HfHubHTTPError, errors.HFValidationError, errors.OfflineModeIsEnabled, OSError) as error:
            raise UserError(f"cannot upload to {quoted(repo_id)}: {str(error).strip().splitlines()[0]}") from None
    return str(commit.commit_url)

"""Names that commands, studies and sweeps share, and that can be checked without heavy imports."""

from __future__ import annotations

from importlib import import_module

from lightning_ita.errors import UserError, unknown

# What the best epoch is chosen by, and what a sweep must name: mean F1 over the trained views on the valid split.
OBJECTIVE = "valid/f1"
# Loggers that can record a run; see `lightning_ita.studies.loggers`.
LOGGERS = ("none", "wandb", "tensorboard", "csv", "mlflow")
# Which trained models stay on disk: none, of each row the best seed's by F1 on valid, or all.
KEEPS = ("none", "best", "all")
# What each logger needs, and what brings it.
PACKAGES = {
    "wandb": ("wandb", "lightning-ita[sweeps]"),
    "tensorboard": ("tensorboard", "tensorboard"),
    "mlflow": ("mlflow", "mlflow"),
}


def check_keep(name: str) -> None:
    """Checks a choice of models to keep.

    Raises:
        UserError: It is not one of `KEEPS`.
    """
    if name not in KEEPS:
        raise unknown("models to keep", name, KEEPS)


def check_logger(name: str) -> None:
    """Checks that there is a logger of this name, and that its package is installed.

    Raises:
        UserError: There is none, or it is not; says how to get it.
    """
    if name not in LOGGERS:
        raise unknown("logger", name, LOGGERS)
    package, wanted = PACKAGES.get(name, (None, None))
    if package is None:
        return
    try:
        import_module(package)
    except ImportError as error:
        raise UserError(
            f"--logger {name} needs the package {package}, which cannot be imported ({error}); "
            f"`pip install {wanted}` brings it"
        ) from None

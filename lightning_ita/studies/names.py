"""Names that commands, studies and sweeps share, and that need no import to be known."""

# What the best epoch is chosen by, and what a sweep must name: mean F1 over the trained views on the valid split.
OBJECTIVE = "valid/f1"
# Where a run can be told as it goes; see `lightning_ita.studies.loggers`.
LOGGERS = ("none", "wandb", "tensorboard", "csv", "mlflow")

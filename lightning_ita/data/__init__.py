"""Tweets on disk to batches of views."""

from lightning_ita.registry import Registry

# The entries are subclasses of `lightning_ita.data.dataset.Dataset`.
DATASETS = Registry(
    "dataset",
    {
        "demo": "lightning_ita.data.demo:Demo",
        "twitter15": "lightning_ita.data.twitter15:Twitter15",
        "twitter17": "lightning_ita.data.twitter17:Twitter17",
        "snap": "lightning_ita.data.snap:SNAP",
        "custom": "lightning_ita.data.custom:Custom",
    },
    group="lightning_ita.data",
)

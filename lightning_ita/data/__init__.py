"""Tweets on disk to two-view batches."""

from lightning_ita.registry import Registry

DATASETS = Registry(
    "dataset",
    {
        "demo": "lightning_ita.data.demo:DemoDataModule",
        "twitter15": "lightning_ita.data.twitter15:Twitter15DataModule",
        "twitter17": "lightning_ita.data.twitter17:Twitter17DataModule",
        "snap": "lightning_ita.data.snap:SNAPDataModule",
        "custom": "lightning_ita.data.custom:CustomDataModule",
    },
)

"""SNAP, the Snapchat captions of Lu et al., ACL 2018."""

from __future__ import annotations

from lightning_ita.data.dataset import Dataset


class SNAP(Dataset):
    """SNAP: 4290/1432/1459 tweets, not openly released; files in the format of the other corpora are read."""

    name = "snap"
    expected_sizes = (4290, 1432, 1459)
    how_to_get = "It is not openly released; ask the authors of Lu et al., ACL 2018, and convert it to IMGID files."

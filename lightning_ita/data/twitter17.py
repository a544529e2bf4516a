"""Twitter-17 (Lu et al., ACL 2018), in the release of UMT (Yu et al., ACL 2020)."""

from __future__ import annotations

from lightning_ita.data.dataset import Dataset


class Twitter17(Dataset):
    """Twitter-17: 3373/723/723 tweets."""

    name = "twitter17"
    expected_sizes = (3373, 723, 723)
    how_to_get = "UMT's authors release it: github.com/jefferyYu/UMT; put train.txt, valid.txt and test.txt there."

"""Twitter-15 (Zhang et al., AAAI 2018), in the release of UMT (Yu et al., ACL 2020)."""

from __future__ import annotations

from lightning_ita.data.dataset import Dataset


class Twitter15(Dataset):
    """Twitter-15: 4000/1000/3257 tweets. Its stray ``I-`` tags count as ``B-`` unless `labels` is ``strict``."""

    name = "twitter15"
    types = ("PER", "LOC", "ORG", "OTHER")
    expected_sizes = (4000, 1000, 3257)
    how_to_get = "UMT's authors release it: github.com/jefferyYu/UMT; put train.txt, valid.txt and test.txt there."

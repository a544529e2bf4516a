"""Which release of a corpus a file is: several circulate under one name, and their scores do not compare."""

from __future__ import annotations

from collections.abc import Mapping

# SHA-256 of each split's file as released with UMT (github.com/jefferyYu/UMT; Yu et al., ACL 2020).
KNOWN_SPLITS = {
    "a6246e37aa1c8acd738747fa8257e01775f2a1cc0d4f36f82f9d41d6246ad6fa": ("twitter15", "train", "UMT"),
    "9dcc7f9df7331de3c9cdf67a3450e041c41c6254b5e43925c576e2dfaaabe2ad": ("twitter15", "valid", "UMT"),
    "edb2665b89bfe58bca06a2c10b9b31cbfa95456135b6a4cbf55c872e48d9b8f9": ("twitter15", "test", "UMT"),
    "801e149e8635b19d66b4ec1212c329be340ada501b35c5fa55455fb6f53633be": ("twitter17", "train", "UMT"),
    "41b5db90cb32059c14c2c3ccd50845fb77f1e3d3e4f7d0c210a61bc507d8a73e": ("twitter17", "valid", "UMT"),
    "a7d9e172ae85bd3e35276eb2b01ce223321bdc92a47b234e24305d72e7a05243": ("twitter17", "test", "UMT"),
}


def release_of(dataset: str, digests: Mapping[str, str]) -> str:
    """Names the release that splits belong to.

    Args:
        dataset: The data set they were given as.
        digests: SHA-256 by split.

    Returns:
        The release's name where every split is known to be that split of it, else ``unknown``.
    """
    found = {KNOWN_SPLITS.get(digest) for digest in digests.values()}
    names = {known[2] for known in found if known is not None}
    expected = {(dataset, split, name) for split in digests for name in names}
    return names.pop() if len(names) == 1 and found == expected else "unknown"


def split_warnings(dataset: str, digests: Mapping[str, str]) -> list[str]:
    """Returns what a reader of results should know about the splits: unknown release, wrong place, equal splits.

    Args:
        dataset: The data set they were given as.
        digests: SHA-256 by split.
    """
    warnings = []
    splits = list(digests)
    for index, split in enumerate(splits):
        for other in splits[index + 1 :]:
            if digests[split] == digests[other]:
                warnings.append(f"{dataset}: {split} and {other} are the same file; scores on {other} mean nothing")
        known = KNOWN_SPLITS.get(digests[split])
        if known is not None and known[:2] != (dataset, split):
            warnings.append(f"{dataset}: {split} is the {known[1]} split of {known[0]} ({known[2]} release)")
    if any(known[0] == dataset for known in KNOWN_SPLITS.values()) and release_of(dataset, digests) == "unknown":
        warnings.append(
            f"{dataset}: not a release known here; other releases circulate under this name, compare scores with care"
        )
    return warnings

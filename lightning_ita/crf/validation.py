"""What a chain's arguments must look like. Shapes and dtypes cost nothing to check; contents cost a look."""

import torch
from torch import Tensor


def check_structure(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> None:
    """Checks shapes and dtypes.

    Raises:
        ValueError: Saying what was expected and what came.
    """
    if emissions.dim() != 3 or not emissions.is_floating_point() or 0 in emissions.shape:
        raise ValueError(f"expected floating-point emissions of shape (batch, length, tags), got {_form(emissions)}")
    if mask.dtype != torch.bool or mask.shape != emissions.shape[:2]:
        raise ValueError(f"expected a bool mask of shape {tuple(emissions.shape[:2])}, got {_form(mask)}")
    tags = emissions.shape[2]
    for name, scores, shape in (
        ("start_transitions", start, (tags,)),
        ("transitions", transitions, (tags, tags)),
        ("end_transitions", end, (tags,)),
    ):
        if scores.shape != shape or not scores.is_floating_point():
            raise ValueError(f"expected floating-point {name} of shape {shape}, got {_form(scores)}")


def check_contents(mask: Tensor) -> None:
    """Checks that a mask is a prefix mask with something in every row.

    Raises:
        ValueError: Saying which row is wrong.
    """
    lengths = mask.sum(1)
    prefix = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
    if not torch.equal(prefix, mask):
        row = int((prefix != mask).any(1).nonzero()[0])
        raise ValueError(f"expected a mask whose True come first in every row, got {mask[row].tolist()} in row {row}")
    if not mask[:, 0].all():
        row = int(mask[:, 0].logical_not().nonzero()[0])
        raise ValueError(f"expected at least one True in every row of the mask, got none in row {row}")


def check_tags(tags: Tensor, mask: Tensor, num_tags: int, contents: bool) -> None:
    """Checks tag sequences.

    Raises:
        ValueError: Saying what was expected and what came.
    """
    if tags.dtype != torch.int64 or tags.shape != mask.shape:
        raise ValueError(f"expected int64 tags of shape {tuple(mask.shape)}, got {_form(tags)}")
    if contents:
        wrong = (tags.clamp(0, num_tags - 1) != tags) & mask
        if wrong.any():
            raise ValueError(f"expected tags in 0 … {num_tags - 1}, got {tags[wrong][0].item()}")


def check_forbidden(start: Tensor, transition: Tensor, end: Tensor, num_tags: int) -> None:
    """Checks the shapes and dtypes of what is forbidden.

    Raises:
        ValueError: Saying what was expected and what came.
    """
    for name, forbidden, shape in (
        ("start", start, (num_tags,)),
        ("transition", transition, (num_tags, num_tags)),
        ("end", end, (num_tags,)),
    ):
        if forbidden.shape != shape or forbidden.dtype != torch.bool:
            raise ValueError(f"expected a bool forbidden {name} of shape {shape}, got {_form(forbidden)}")


def check_other(emissions: Tensor, mask: Tensor, other_emissions: Tensor, other_mask: Tensor, contents: bool) -> None:
    """Checks that two distributions are over the same sequences.

    Raises:
        ValueError: Saying what was expected and what came.
    """
    if emissions.shape != other_emissions.shape:
        raise ValueError(
            "expected two distributions over the same sequences, got (batch, length, tags) of "
            f"{tuple(emissions.shape)} and {tuple(other_emissions.shape)}"
        )
    if contents and not torch.equal(mask, other_mask):
        raise ValueError("expected two distributions over the same sequences, got two masks that differ")


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} of shape {tuple(tensor.shape)}".removeprefix("torch.")

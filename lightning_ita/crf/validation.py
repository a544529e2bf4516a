"""Checks of the arguments of a distribution.

Shapes and dtypes can be checked for free. On an accelerator, a check of contents has to wait for the device.
"""

import math

import torch
from torch import Tensor
from torch.autograd import forward_ad

from lightning_ita.errors import NonFiniteLossError


class NonFiniteScoresError(NonFiniteLossError, ValueError):
    """Scores cannot be decoded, because they are NaN or infinite: no tag sequence is the best one.

    It is a `NonFiniteLossError` because the cause is the same: the model has diverged. A sweep gives up such a trial.

    Args:
        message: Which scores, with the remedy.
        row: The row of the batch with the scores; ``None`` where transitions are wrong, which all rows share.
    """

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row


def check_no_transforms(*scores: Tensor) -> None:
    """Checks that no transform of ``torch.func`` is active, and that scores are not used in forward-mode autograd.

    The algorithms keep results in attributes and compute partly in NumPy, neither of which a transform can trace.

    Raises:
        NotImplementedError: Naming what to use instead.
    """
    # torch has no public name for this; autograd.Function asks the same way.
    if torch._C._are_functorch_transforms_active():
        raise NotImplementedError(
            "ChainDistribution does not support the transforms of torch.func (grad, vmap, jvp, ...): use "
            "torch.autograd.grad for gradients, and one large batch in place of vmap"
        )
    if any(forward_ad.unpack_dual(each).tangent is not None for each in scores):
        raise NotImplementedError("ChainDistribution does not support forward-mode differentiation; use backward()")


def check_structure(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> None:
    """Checks shapes and dtypes.

    Raises:
        ValueError: Naming the expected and the given form.
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
    """Checks that each row of a mask is True at its first positions, at least at one, and False at all others.

    Raises:
        ValueError: Naming the first wrong row.
    """
    lengths = mask.sum(1)
    prefix = torch.arange(mask.shape[1], device=mask.device) < lengths[:, None]
    if not torch.equal(prefix, mask):
        row = int((prefix != mask).any(1).nonzero()[0])
        found = mask[row].tolist()
        raise ValueError(f"expected a mask whose True values come first in every row, got {found} in row {row}")
    if not mask[:, 0].all():
        row = int(mask[:, 0].logical_not().nonzero()[0])
        raise ValueError(f"expected at least one True in every row of the mask, got none in row {row}")


def check_tags(tags: Tensor, mask: Tensor, num_tags: int, contents: bool) -> None:
    """Checks tag sequences.

    Raises:
        ValueError: Naming the expected and the given form.
    """
    if tags.dtype != torch.int64 or tags.shape != mask.shape:
        raise ValueError(f"expected int64 tags of shape {tuple(mask.shape)}, got {_form(tags)}")
    if contents:
        wrong = (tags.clamp(0, num_tags - 1) != tags) & mask
        if wrong.any():
            raise ValueError(f"expected tags in 0 … {num_tags - 1}, got {tags[wrong][0].item()}")


def check_forbidden(start: Tensor, transition: Tensor, end: Tensor, num_tags: int) -> None:
    """Checks the shapes and dtypes of forbidden transitions.

    Raises:
        ValueError: Naming the expected and the given form.
    """
    for name, forbidden, shape in (
        ("start", start, (num_tags,)),
        ("transition", transition, (num_tags, num_tags)),
        ("end", end, (num_tags,)),
    ):
        if forbidden.shape != shape or forbidden.dtype != torch.bool:
            raise ValueError(f"expected a bool forbidden {name} of shape {shape}, got {_form(forbidden)}")


def check_segments(
    mask: Tensor,
    num_tags: int,
    rows: Tensor,
    starts: Tensor,
    tags: Tensor,
    not_followed_by: Tensor | None,
    contents: bool,
) -> None:
    """Checks segments of tag sequences; see `ChainDistribution.segment_log_prob`.

    Raises:
        ValueError: Naming the expected and the given form, or the first segment that is not inside its row.
    """
    others = {"rows": rows, "starts": starts} | (
        {} if not_followed_by is None else {"not_followed_by": not_followed_by}
    )
    if tags.dim() != 2 or tags.shape[1] == 0 or tags.dtype != torch.int64:
        raise ValueError(f"expected int64 tags of shape (segments, longest), got {_form(tags)}")
    for name, values in others.items():
        if values.shape != tags.shape[:1] or values.dtype != torch.int64:
            raise ValueError(f"expected int64 {name} of shape ({len(tags)},), got {_form(values)}")
    if not contents:
        return
    lengths = (tags >= 0).sum(1)
    first = torch.arange(tags.shape[1], device=tags.device) < lengths[:, None]
    wrong = (lengths == 0) | ((tags >= 0) != first).any(1) | (tags >= num_tags).any(1)
    wrong |= (rows < 0) | (rows >= len(mask)) | (starts < 0)
    wrong |= starts + lengths > mask.sum(1)[rows.clamp(0, len(mask) - 1)]
    if not_followed_by is not None:
        wrong |= not_followed_by >= num_tags
    if wrong.any():
        index = int(wrong.nonzero()[0])
        raise ValueError(
            f"segment {index} (tags {tags[index].tolist()} at position {int(starts[index])} of row {int(rows[index])}) "
            f"is not inside its row, or has tags beyond {num_tags} or behind padding"
        )


def check_decodable(mask: Tensor, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> None:
    """Checks that scores can be decoded: no NaN, no +inf, and no position at which the score of every tag is −inf.

    Otherwise each comparison of the Viterbi algorithm would choose the first tag, usually O, without any sign that
    something is wrong. On an accelerator the check waits for the device, once.

    Args:
        mask: Prefix mask, (batch, length).
        emissions: (batch, length, tags), zero at padding.
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).

    Raises:
        NonFiniteScoresError: Naming the first wrong row and position.
    """
    if emissions.is_meta or emissions.numel() == 0:  # there are no values
        return
    # A maximum is NaN where one of its values is NaN.
    # shape: (batch, length)
    peaks = emissions.amax(2)
    moves = (transitions.amax() < math.inf) & start.amax().isfinite() & end.amax().isfinite()
    if peaks.isfinite().all() & moves:
        return
    remedy = "the model has diverged or its numbers overflowed; a smaller learning rate or float32 usually helps"
    wrong = (~peaks.isfinite()).nonzero().tolist()
    if not wrong:
        raise NonFiniteScoresError(f"transition scores are NaN or infinite, so no tags can be decoded: {remedy}")
    row, position = wrong[0]
    raise NonFiniteScoresError(
        f"row {row} cannot be decoded ({len({each for each, _ in wrong})} of {len(mask)} rows cannot): its largest "
        f"emission score at position {position} is {peaks[row, position].item()}; {remedy}",
        row,
    )


def check_other(emissions: Tensor, mask: Tensor, other_emissions: Tensor, other_mask: Tensor, contents: bool) -> None:
    """Checks that two distributions are over the same sequences.

    Raises:
        ValueError: Naming the expected and the given form.
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

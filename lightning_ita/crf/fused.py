# mypy: allow-untyped-defs
# ruff: noqa: N803
"""The recursions of the CRF as Triton kernels: one program per row and direction goes along the whole chain.

The state of a recursion, one number per tag, stays in registers, and transitions are loaded once. What
:mod:`lightning_ita.crf.tree` computes in many kernels takes one here. Only scores of the real positions are read,
so the time of a row is that of its own length.

Importing this module needs Triton, which PyTorch brings along on Linux.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

# A program holds a matrix (tags, tags) in registers, and once in shared memory: with more tags they would not suffice.
MOST_TAGS = 64
# Numbers of that matrix per warp: with fewer warps, a thread computes more, but waits less for others.
WARP_SHARE = 256


def forward_backward(
    emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Runs both recursions in log space.

    Messages are shifted on the way so that they do not grow with the length; only log Z needs the sum of the shifts,
    which is kept in float64. So float32 is exact enough for α and β, too.

    Args:
        emissions: (batch, length, tags).
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).
        dtype: The dtype to compute in, float32 or float64.

    Returns:
        Emissions minus their maximum at each position, log α (with the position's emission) and log β (without), each
        (batch, length, tags), zero at padding, in `dtype`, the messages up to one constant per position; and log Z in
        the dtype of the emissions, (batch,).
    """
    batch, length, tags = emissions.shape
    # shape: (3, batch, length, tags)
    results = emissions.new_zeros((3, *emissions.shape), dtype=dtype)
    log_partition = emissions.new_empty(batch)
    scores = (each.contiguous() for each in (emissions, start, transitions, end))
    _launch(_messages, (batch, 2), tags, mask.sum(1), *scores, results, log_partition, batch, length)
    centred, alpha, beta = results
    return centred, alpha, beta, log_partition


def adjoints(
    alpha: Tensor, onward: Tensor, mask: Tensor, transitions: Tensor, alpha_grad: Tensor, beta_grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Goes back through both recursions: u_t = gradient_t + M_t u_{t+1}, where M_t are conditional probabilities.

    Args:
        alpha: Log α, (batch, length, tags).
        onward: Log β plus emissions, (batch, length, tags).
        mask: Prefix mask, (batch, length).
        transitions: (tags, tags).
        alpha_grad: Gradient of log α, (batch, length, tags).
        beta_grad: Gradient of log β, (batch, length, tags).

    Returns:
        Gradients of log α and log β with what later steps of their recursions add, each (batch, length, tags), zero at
        padding; and the gradient of the transitions, (tags, tags). All in the dtype of `alpha`.
    """
    batch, length, tags = alpha.shape
    # shape: (2, batch, length, tags)
    messages, grads = torch.stack([alpha, onward]), torch.stack([alpha_grad, beta_grad])
    solved = torch.zeros_like(messages)
    # shape: (2, batch, tags, tags)
    counts = messages.new_empty(2, batch, tags, tags)
    steps = transitions.contiguous()
    _launch(_adjoints, (batch, 2), tags, mask.sum(1), messages, steps, grads, solved, counts, batch, length)
    return solved[0], solved[1], counts.sum((0, 1))


def viterbi(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
    """Returns the highest-scoring tag sequences, int64, (batch, length), −1 at padding; see :mod:`.viterbi`."""
    batch, length, tags = emissions.shape
    path = torch.empty_like(mask, dtype=torch.int64)
    # The best predecessor of each tag at each position
    # shape: (batch, length, tags)
    pointers = torch.empty_like(emissions, dtype=torch.int32, memory_format=torch.contiguous_format)
    lengths = mask.sum(1)
    scores = (each.contiguous() for each in (emissions, start, transitions, end))
    _launch(_best, (batch,), tags, lengths, *scores, pointers, path, length)
    # A kernel of its own: threads of one program would have to wait for each other's pointers.
    _launch(_trace, (batch,), tags, lengths, pointers, path, length)
    return torch.where(mask, path, -1)


def _launch(kernel: Any, grid: tuple[int, ...], tags: int, *arguments: Any) -> None:
    """Starts a kernel on the device of its first argument; tags are padded to a power of two, 16 at least."""
    block = max(16, triton.next_power_of_2(tags))
    with torch.cuda.device_of(arguments[0]):
        kernel[grid](*arguments, TAGS=tags, BLOCK=block, num_warps=max(1, min(16, block * block // WARP_SHARE)))


@triton.jit
def _finite(peak):
    """Returns what to subtract before exponentials: the maximum, or 0 where that is infinite, for ∞ − ∞ is NaN."""
    return tl.where(tl.abs(peak) == float("inf"), 0.0, peak)


@triton.jit
def _centre(scores):
    """Returns scores minus their maximum, and the maximum."""
    peak = _finite(tl.max(scores, 0))
    return scores - peak, peak


@triton.jit
def _log_sum_exp(scores):
    """Sums over the first dimension."""
    peaks = _finite(tl.max(scores, 0))
    return tl.log(tl.sum(tl.exp(scores - peaks), 0)) + peaks


@triton.jit
def _steps(transitions, tag, TAGS: tl.constexpr, backward):
    """Loads transitions; the first dimension is the tag that the program comes from, in its direction."""
    inside = (tag < TAGS)[:, None] & (tag < TAGS)[None, :]
    steps = tl.load(transitions + TAGS * tag[:, None] + tag[None, :], inside, -float("inf"))
    return tl.where(backward == 1, tl.trans(steps), steps)


@triton.jit(do_not_specialize=["batch", "positions"])
def _messages(
    lengths,
    emissions,
    start,
    transitions,
    end,
    results,
    log_partition,
    batch,
    positions,
    TAGS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Computes α (backward = 0) or β (backward = 1) of a row; α and log Z come with the centred emissions."""
    row, backward = tl.program_id(0).to(tl.int64), tl.program_id(1)
    dtype = results.dtype.element_ty
    tag = tl.arange(0, BLOCK)
    real = tag < TAGS
    steps = _steps(transitions, tag, TAGS, backward).to(dtype)
    first = tl.load(start + tag, real, -float("inf")).to(dtype)
    last = tl.load(end + tag, real, -float("inf")).to(dtype)

    length = tl.maximum(tl.load(lengths + row), 1).to(tl.int32)
    stride = TAGS * (1 - 2 * backward)
    origin = row * positions * TAGS + backward * (length - 1) * TAGS + tag
    size = batch.to(tl.int64) * positions * TAGS  # of one of the results
    message = tl.where(backward == 1, last, first)
    scores, shift = _centre(tl.load(emissions + origin, real, -float("inf")).to(dtype))
    state = message + scores
    total = shift.to(tl.float64)
    if backward == 0:
        tl.store(results + origin, scores, real)
    tl.store(results + (1 + backward) * size + origin, tl.where(backward == 1, message, state), real)
    # Loaded one step ahead, so that the memory's latency passes during the computation
    coming = tl.load(emissions + origin + stride * tl.minimum(1, length - 1), real, -float("inf"))
    for step in range(1, length):
        scores, shift = _centre(coming.to(dtype))
        coming = tl.load(emissions + origin + stride * tl.minimum(step + 1, length - 1), real, -float("inf"))
        peak = _finite(tl.max(state, 0))
        message = _log_sum_exp(state[:, None] + steps) - peak
        state = message + scores
        total += shift.to(tl.float64) + peak.to(tl.float64)
        here = origin + stride * step
        if backward == 0:
            tl.store(results + here, scores, real)
        tl.store(results + (1 + backward) * size + here, tl.where(backward == 1, message, state), real)
    if backward == 0:
        tl.store(log_partition + row, _log_sum_exp(state + last).to(tl.float64) + total)


@triton.jit(do_not_specialize=["batch", "positions"])
def _adjoints(
    lengths,
    messages,
    transitions,
    grads,
    solved,
    counts,
    batch,
    positions,
    TAGS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Goes back along the messages of a row: from its end along α (backward = 0), from its start along β."""
    row, backward = tl.program_id(0).to(tl.int64), tl.program_id(1)
    program = backward * batch.to(tl.int64) + row
    dtype = solved.dtype.element_ty
    tag = tl.arange(0, BLOCK)
    real = tag < TAGS
    steps = _steps(transitions, tag, TAGS, backward).to(dtype)

    length = tl.maximum(tl.load(lengths + row), 1).to(tl.int32)
    stride = TAGS * (2 * backward - 1)
    origin = program * positions * TAGS + (1 - backward) * (length - 1) * TAGS + tag
    adjoint = tl.load(grads + origin, real, 0.0).to(dtype)
    tl.store(solved + origin, adjoint, real)
    total = tl.zeros((BLOCK, BLOCK), dtype)
    coming = origin + stride * tl.minimum(1, length - 1)
    message, grad = tl.load(messages + coming, real, -float("inf")), tl.load(grads + coming, real, 0.0)
    for step in range(1, length):
        arriving, direct = message[:, None] + steps, grad.to(dtype)
        coming = origin + stride * tl.minimum(step + 1, length - 1)
        message, grad = tl.load(messages + coming, real, -float("inf")), tl.load(grads + coming, real, 0.0)
        # The probability of the tag that the message comes from, given where it arrives; 0 if all are impossible
        weights = tl.exp(arriving - _finite(tl.max(arriving, 0)))
        sums = tl.sum(weights, 0)
        flow = weights * (adjoint / tl.where(sums == 0, 1.0, sums))
        total += flow
        adjoint = direct + tl.sum(flow, 1)
        tl.store(solved + origin + stride * step, adjoint, real)
    total = tl.where(backward == 1, tl.trans(total), total)
    moves = TAGS * tag[:, None] + tag[None, :]
    tl.store(counts + program * TAGS * TAGS + moves, total, real[:, None] & real[None, :])


@triton.jit(do_not_specialize=["positions"])
def _best(
    lengths,
    emissions,
    start,
    transitions,
    end,
    pointers,
    path,
    positions,
    TAGS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Finds the best predecessors of all tags, and the best last tag. Of equal scores, the lowest tag is taken."""
    row = tl.program_id(0).to(tl.int64)
    tag = tl.arange(0, BLOCK)
    real = tag < TAGS
    steps = _steps(transitions, tag, TAGS, 0)

    length = tl.maximum(tl.load(lengths + row), 1).to(tl.int32)
    origin = row * positions * TAGS + tag
    state = tl.load(start + tag, real, -float("inf")) + tl.load(emissions + origin, real, -float("inf"))
    coming = tl.load(emissions + origin + TAGS * tl.minimum(1, length - 1), real, -float("inf"))
    for step in range(1, length):
        scores = coming
        coming = tl.load(emissions + origin + TAGS * tl.minimum(step + 1, length - 1), real, -float("inf"))
        best, predecessors = tl.max(state[:, None] + steps, 0, return_indices=True)
        tl.store(pointers + origin + TAGS * step, predecessors, real)
        state = best + scores
    final = tl.argmax(state + tl.load(end + tag, real, -float("inf")), 0)
    tl.store(path + row * positions + length - 1, final)


@triton.jit(do_not_specialize=["positions"])
def _trace(lengths, pointers, path, positions, TAGS: tl.constexpr, BLOCK: tl.constexpr):
    """Follows the pointers back from the last tag."""
    row = tl.program_id(0).to(tl.int64)
    length = tl.maximum(tl.load(lengths + row), 1).to(tl.int32)
    here = row * positions + length - 1
    tag = tl.load(path + here)
    for _ in range(1, length):
        tag = tl.load(pointers + here * TAGS + tag).to(tl.int64)
        here -= 1
        tl.store(path + here, tag)

"""The forward–backward algorithm: the interface of its results, and the choice of an implementation."""

from typing import Protocol

from torch import Tensor

from lightning_ita.crf import log_space, scaled


class Trellis(Protocol):
    """The results of one forward–backward for a batch of chains; autograd records nothing here."""

    @property
    def last(self) -> Tensor:
        """Index of the last position of each row, shape (batch,)."""

    @property
    def log_partition(self) -> Tensor:
        """Log Z, shape (batch,)."""

    @property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""

    @property
    def transition_counts(self) -> Tensor:
        """Σ_t p(y_{t-1} = i, y_t = j), shape (batch, tags, tags)."""

    def log_marginals(self) -> Tensor:
        """Log p(y_t = j), shape (batch, length, tags), zero at padding."""

    def log_messages(self) -> tuple[Tensor, Tensor]:
        """Log α (with the position's emission) and log β (without), each (batch, length, tags).

        Each is known up to one constant per position, which cancels in marginals and in their gradients.
        """

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes gradients of emissions, start, transitions and end from those of log α and log β."""

    def __getitem__(self, rows: slice) -> "Trellis":
        """Returns some rows of the batch."""


def forward_backward(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Trellis:
    """Computes both recursions: in a tree on accelerators; on the CPU scaled, or in log space if that is not exact.

    Args:
        emissions: (batch, length, tags), zero at padding.
        mask: Prefix mask, (batch, length).
        start: (tags,).
        transitions: (tags, tags).
        end: (tags,).
    """
    if emissions.device.type != "cpu":
        return log_space.forward_backward(emissions, mask, start, transitions, end, log_depth=True)
    trellis = scaled.forward_backward(emissions, mask, start, transitions, end)
    if trellis is None:
        return log_space.forward_backward(emissions, mask, start, transitions, end, log_depth=False)
    return trellis

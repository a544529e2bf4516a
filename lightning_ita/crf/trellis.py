"""The forward–backward algorithm: which way to run it, and what every way has to say."""

from typing import Protocol

from torch import Tensor

from lightning_ita.crf import log_space, scaled


class Trellis(Protocol):
    """What one forward–backward says about a batch of chains; no gradient is recorded here."""

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

        A constant may be missing at each position: it cancels from everything that is said about a position.
        """

    def vjp(self, alpha_grad: Tensor, beta_grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Pulls gradients with respect to log α and log β back to emissions, start, transitions and end."""

    def __getitem__(self, rows: slice) -> "Trellis":
        """Some rows of the batch."""


def forward_backward(emissions: Tensor, mask: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Trellis:
    """Runs both recursions: through a tree on accelerators; on the CPU scaled, or in log space where scaling fails.

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

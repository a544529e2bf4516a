"""A batch of linear-chain CRFs as a ``torch.distributions`` object."""

import itertools
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl

from lightning_ita.crf.gradients import LogMarginals, LogMessages, LogPartition, LogProb, Marginals
from lightning_ita.crf.trellis import Trellis, forward_backward
from lightning_ita.crf.validation import check_contents, check_forbidden, check_other, check_structure, check_tags
from lightning_ita.crf.viterbi import ForbiddenTransitions, viterbi


class ChainDistribution(Distribution):
    """p(y) ∝ exp(start[y₁] + Σ e_t[y_t] + Σ A[y_{t-1}, y_t] + end[y_n]), one distribution a row.

    Everything is computed when first asked for, in at least float32: log Z, marginals, entropies and divergences share
    one forward–backward. All of it can be differentiated once, with respect to emissions and transitions.

    Args:
        emissions: Scores of each tag at each position, shape (batch, length, tags). What padding holds is ignored.
        mask: True at real positions, which come first in every row; bool, shape (batch, length).
        start_transitions: Scores of the first tag, shape (tags,).
        transitions: ``transitions[i, j]`` is the score of going from tag i to tag j, shape (tags, tags).
        end_transitions: Scores of the last tag, shape (tags,).
        validate_args: Whether to look into the mask and into tags for mistakes, besides shapes and dtypes, which are
            always checked. By default it is done, as everywhere in ``torch.distributions``, save on accelerators,
            where a look costs a synchronisation.

    Raises:
        ValueError: If shapes or dtypes do not fit, or the mask is no prefix mask.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012

    def __init__(
        self,
        emissions: Tensor,
        mask: Tensor,
        start_transitions: Tensor,
        transitions: Tensor,
        end_transitions: Tensor,
        validate_args: bool | None = None,
    ) -> None:
        check_structure(emissions, mask, start_transitions, transitions, end_transitions)
        super().__init__(emissions.shape[:1], emissions.shape[1:2], validate_args=False)
        if validate_args is None:
            validate_args = Distribution._validate_args and emissions.device.type == "cpu"
        self._validate_args = validate_args
        if validate_args:
            check_contents(mask)
        dtype = torch.promote_types(torch.promote_types(emissions.dtype, transitions.dtype), torch.float32)
        self.mask = mask
        self.emissions = torch.where(mask[..., None], emissions.to(dtype), 0)
        self.start_transitions = start_transitions.to(dtype)
        self.transitions = transitions.to(dtype)
        self.end_transitions = end_transitions.to(dtype)
        # Of which distribution these are which rows: there the forward–backward is to be found.
        self._source: tuple[ChainDistribution, slice] | None = None

    def __getitem__(self, rows: slice) -> "ChainDistribution":
        """Some rows of the batch, say one of two views; they share this batch's forward–backward."""
        if not isinstance(rows, slice):
            raise TypeError(f"expected a slice of the batch, got {type(rows).__name__}")
        return self._derive(rows, self.emissions[rows], *self._potentials[1:])

    def split(self, sizes: int | list[int]) -> tuple["ChainDistribution", ...]:
        """Consecutive parts of the batch, as :func:`torch.split`; they share this batch's forward–backward."""
        ends = list(itertools.accumulate(len(part) for part in self.mask.split(sizes)))
        return tuple(self[start:end] for start, end in itertools.pairwise([0, *ends]))

    def detach(self) -> "ChainDistribution":
        """The same distribution, forward–backward and all; no gradient reaches its emissions and transitions."""
        return self._derive(slice(None), *(scores.detach() for scores in self._potentials))

    def _derive(
        self, rows: slice, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor
    ) -> "ChainDistribution":
        part = ChainDistribution.__new__(ChainDistribution)
        Distribution.__init__(part, emissions.shape[:1], self.event_shape, validate_args=False)
        part._validate_args = self._validate_args
        part._source = (self, rows)
        part.mask, part.emissions = self.mask[rows], emissions
        part.start_transitions, part.transitions, part.end_transitions = start, transitions, end
        return part

    @property
    def _potentials(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.emissions, self.start_transitions, self.transitions, self.end_transitions

    @cached_property
    def _trellis(self) -> Trellis:
        if self._source is not None:
            distribution, rows = self._source
            return distribution._trellis if rows == slice(None) else distribution._trellis[rows]
        with torch.no_grad():
            return forward_backward(self.emissions, self.mask, *self._potentials[1:])

    @property
    def log_partition(self) -> Tensor:
        """Log Z = log Σ_y exp(score(y)), shape (batch,)."""
        return LogPartition.apply(self._trellis, *self._potentials)

    @property
    def marginals(self) -> Tensor:
        """p(y_t = j), shape (batch, length, tags), zero at padding."""
        return Marginals.apply(self._trellis, *self._potentials)

    @property
    def log_marginals(self) -> Tensor:
        """Log p(y_t = j), shape (batch, length, tags), zero at padding."""
        return LogMarginals.apply(self._trellis, *self._potentials)

    @property
    def pair_marginals(self) -> Tensor:
        """p(y_{t-1} = i, y_t = j) for t = 1 … length − 1, shape (batch, length − 1, tags, tags), zero at padding."""
        alpha, beta = LogMessages.apply(self._trellis, *self._potentials)
        # shape: (batch, length - 1, tags, tags)
        scores = alpha[:, :-1, :, None] + self.transitions + (self.emissions + beta)[:, 1:, None, :]
        pairs = scores.flatten(2).softmax(2).view(scores.shape)
        return torch.where(self.mask[:, 1:, None, None], pairs, 0)

    @property
    def transition_counts(self) -> Tensor:
        """Expected count of each transition, Σ_t p(y_{t-1} = i, y_t = j), shape (batch, tags, tags)."""
        if torch.is_grad_enabled() and any(scores.requires_grad for scores in self._potentials):
            return self.pair_marginals.sum(1)
        return self._trellis.transition_counts.clone()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-probability of tag sequences.

        Args:
            value: Tags, int64, shape (batch, length). What padding holds is ignored.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the shape or dtype does not fit, or a tag is out of range.
        """
        check_tags(value, self.mask, self.transitions.shape[0], contents=self._validate_args)
        tags = value.masked_fill(~self.mask, 0)
        return LogProb.apply(self._trellis, tags, self.mask, *self._potentials)

    def argmax(self, forbidden: ForbiddenTransitions | None = None) -> Tensor:
        """The most probable tag sequence (Viterbi).

        Args:
            forbidden: Moves that the sequence may not make.

        Returns:
            Tags, int64, shape (batch, length), −1 at padding. Where every sequence is forbidden, any.

        Raises:
            ValueError: If what is forbidden has a wrong shape or dtype.
        """
        start, transitions, end = self.start_transitions, self.transitions, self.end_transitions
        if forbidden is not None:
            check_forbidden(*forbidden, num_tags=transitions.shape[0])
            start = start.masked_fill(forbidden.start, -torch.inf)
            transitions = transitions.masked_fill(forbidden.transition, -torch.inf)
            end = end.masked_fill(forbidden.end, -torch.inf)
        with torch.no_grad():
            return viterbi(self.emissions, self.mask, start, transitions, end, self.mask.device.type != "cpu")

    def _expected(self, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
        """Expected score of a sequence drawn from this distribution under other potentials, shape (batch,)."""
        marginals = self.marginals
        last = marginals[torch.arange(len(marginals), device=marginals.device), self._trellis.last]
        return (
            _weigh(marginals, emissions).sum((1, 2))
            + _weigh(self.transition_counts, transitions).sum((1, 2))
            + _weigh(marginals[:, 0], start).sum(1)
            + _weigh(last, end).sum(1)
        )

    def entropy(self) -> Tensor:
        """−Σ_y p(y) log p(y) in nats, exactly, shape (batch,)."""
        return self.cross_entropy(self)

    def cross_entropy(self, other: "ChainDistribution") -> Tensor:
        """−Σ_y p_self(y) log p_other(y) in nats, exactly (CVA as ITA writes it, arXiv 2112.06482).

        Args:
            other: Distributions over the same sequences, the student where this is the teacher.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the two differ in shape or, where contents are checked, in mask.
        """
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        return other.log_partition - self._expected(*other._potentials)

    def kl(self, other: "ChainDistribution") -> Tensor:
        """KL(self ‖ other) in nats, exactly, shape (batch,).

        Args:
            other: Distributions over the same sequences.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the two differ in shape or, where contents are checked, in mask.
        """
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        # Of the differences, so that the divergence of equal chains is 0 and not what rounding leaves.
        scores = (ours - theirs for ours, theirs in zip(self._potentials, other._potentials, strict=True))
        return other.log_partition - self.log_partition + self._expected(*scores)

    def token_kl(self, other: "ChainDistribution", temperature: float = 1.0) -> Tensor:
        """Σ_t KL(softmax(a_self,t / τ) ‖ softmax(a_other,t / τ)) · τ², with a = α + β (the token form of CVA).

        Args:
            other: Distributions over the same sequences, the student where this is the teacher.
            temperature: τ > 0.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the temperature is not positive, or the two differ in shape or, where contents are checked,
                in mask.
        """
        if not temperature > 0:
            raise ValueError(f"expected a temperature > 0, got {temperature}")
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        # a less its log-sum is the log-marginals, and a softmax does not see the difference.
        # shape: (batch, length, tags)
        ours, theirs = ((chain.log_marginals / temperature).log_softmax(2) for chain in (self, other))
        return _weigh(ours.exp(), ours - theirs).sum((1, 2)) * temperature**2


@register_kl(ChainDistribution, ChainDistribution)
def _kl_divergence(p: ChainDistribution, q: ChainDistribution) -> Tensor:
    return p.kl(q)


def _weigh(probability: Tensor, score: Tensor) -> Tensor:
    """Their product, where 0 · −inf is 0: what cannot happen costs nothing."""
    return probability * torch.where(probability > 0, score, 0)

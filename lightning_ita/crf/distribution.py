"""A batch of linear-chain CRFs as a ``torch.distributions`` object."""

import itertools
import math
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, register_kl

from lightning_ita.crf.gradients import LogMarginals, LogMessages, LogPartition, LogProb, Marginals
from lightning_ita.crf.segments import segment_log_prob
from lightning_ita.crf.trellis import Trellis, forward_backward
from lightning_ita.crf.validation import (
    check_contents,
    check_decodable,
    check_forbidden,
    check_no_transforms,
    check_other,
    check_segments,
    check_structure,
    check_tags,
)
from lightning_ita.crf.viterbi import ForbiddenTransitions, viterbi


class ChainDistribution(Distribution):
    """A linear-chain CRF for each row: p(y) ∝ exp(start[y₁] + Σ e_t[y_t] + Σ A[y_{t-1}, y_t] + end[y_n]).

    Values are computed on first use, in float32 at least; log Z, marginals, entropies and divergences share one
    forward–backward. All of them can be differentiated once, with respect to emissions and transitions; to
    differentiate twice (``create_graph=True``), forward-mode differentiation and the transforms of ``torch.func`` are
    errors. The arguments are copied: changing parameters in place later does not change the distribution.

    Scores may be −inf: such a tag or transition has probability 0. A row in which every tag sequence is impossible has
    log Z = −inf and no distribution: its other values are NaN. So are all values of a row with a NaN or +inf score.

    Args:
        emissions: Scores of each tag at each position, shape (batch, length, tags). Values at padding are ignored.
        mask: True at real positions, which come first in every row; bool, shape (batch, length).
        start_transitions: Scores of the first tag, shape (tags,).
        transitions: ``transitions[i, j]`` is the score of going from tag i to tag j, shape (tags, tags).
        end_transitions: Scores of the last tag, shape (tags,).
        validate_args: Whether to check the contents of the mask and of tags. Shapes and dtypes are always checked. By
            default contents are checked as everywhere in ``torch.distributions``, but not on accelerators, where the
            check would have to wait for the device.

    Raises:
        ValueError: If shapes or dtypes do not fit, or the mask is no prefix mask.
        NotImplementedError: Inside a transform of ``torch.func``, or with forward-mode differentiation.
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
        check_no_transforms(emissions, start_transitions, transitions, end_transitions)
        check_structure(emissions, mask, start_transitions, transitions, end_transitions)
        super().__init__(emissions.shape[:1], emissions.shape[1:2], validate_args=False)
        if validate_args is None:
            validate_args = Distribution._validate_args and emissions.device.type == "cpu"
        self._validate_args = validate_args
        if validate_args:
            check_contents(mask)
        dtype = torch.promote_types(torch.promote_types(emissions.dtype, transitions.dtype), torch.float32)
        # Copies, for values are computed later: an optimiser's step in between must not mix old and new parameters.
        self.mask = mask.clone()
        self.emissions = torch.where(mask[..., None], emissions.to(dtype), 0)
        self.start_transitions = start_transitions.to(dtype, copy=True)
        self.transitions = transitions.to(dtype, copy=True)
        self.end_transitions = end_transitions.to(dtype, copy=True)
        # The distribution of which these are some rows, and which; the forward–backward is run there.
        self._source: tuple[ChainDistribution, slice] | None = None

    def __getitem__(self, rows: slice) -> "ChainDistribution":
        """Returns some rows of the batch, for example one of two views; they share this batch's forward–backward."""
        if not isinstance(rows, slice):
            raise TypeError(f"expected a slice of the batch, got {type(rows).__name__}")
        return self._derive(rows, self.emissions[rows], *self._potentials[1:])

    def split(self, sizes: int | list[int]) -> tuple["ChainDistribution", ...]:
        """Splits the batch as :func:`torch.split` does; the parts share this batch's forward–backward."""
        ends = list(itertools.accumulate(len(part) for part in self.mask.split(sizes)))
        return tuple(self[start:end] for start, end in itertools.pairwise([0, *ends]))

    def detach(self) -> "ChainDistribution":
        """Returns the same distribution without gradients; it shares this batch's forward–backward."""
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

    @property
    def _trellis(self) -> Trellis:
        check_no_transforms()
        return self._computed

    @cached_property
    def _computed(self) -> Trellis:
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
        inside = self.mask[:, 1:, None, None]
        # shape: (batch, length - 1, tags, tags)
        scores = alpha[:, :-1, :, None] + self.transitions + (self.emissions + beta)[:, 1:, None, :]
        # Masked before the softmax, too: its gradient would be NaN where all transitions into padding are −inf.
        scores = torch.where(inside, scores, 0)
        pairs = scores.flatten(2).softmax(2).view(scores.shape)
        return torch.where(inside, pairs, 0)

    @property
    def transition_counts(self) -> Tensor:
        """Expected count of each transition, Σ_t p(y_{t-1} = i, y_t = j), shape (batch, tags, tags)."""
        if torch.is_grad_enabled() and any(scores.requires_grad for scores in self._potentials):
            return self.pair_marginals.sum(1)
        return self._trellis.transition_counts.clone()

    def log_prob(self, value: Tensor) -> Tensor:
        """Returns the log-probability of tag sequences.

        Args:
            value: Tags, int64, shape (batch, length). Values at padding are ignored.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the shape or dtype does not fit, or a tag is out of range.
        """
        trellis = self._trellis
        check_tags(value, self.mask, self.transitions.shape[0], contents=self._validate_args)
        tags = value.masked_fill(~self.mask, 0)
        return LogProb.apply(trellis, tags, self.mask, *self._potentials)

    def segment_log_prob(
        self, rows: Tensor, starts: Tensor, tags: Tensor, not_followed_by: Tensor | None = None
    ) -> Tensor:
        """Returns the log-probability that tag sequences have given tags at given positions; exact, as `log_prob` is.

        It sums over all tag sequences, also over those that decoding forbids: what `argmax` must not contain is no part
        of the distribution.

        Args:
            rows: The row of each segment, int64, shape (segments,).
            starts: Its first position, int64, shape (segments,).
            tags: Its tags, int64, shape (segments, longest); −1 behind those of shorter segments.
            not_followed_by: The tag that must not stand at the position behind the segment, int64, shape (segments,);
                −1 where any may. With BIO tags the ``I-`` of a mention's type, with which the mention would be longer.

        Returns:
            Shape (segments,).

        Raises:
            ValueError: If shapes or dtypes do not fit, or, where contents are checked, a segment is not inside its row.
        """
        check_segments(self.mask, self.transitions.shape[0], rows, starts, tags, not_followed_by, self._validate_args)
        _, beta = LogMessages.apply(self._trellis, *self._potentials)
        onward = self.emissions + beta
        return segment_log_prob(
            self.log_marginals, onward, self.transitions, self.mask, rows, starts, tags, not_followed_by
        )

    def argmax(self, forbidden: ForbiddenTransitions | None = None) -> Tensor:
        """Returns the most probable tag sequence (Viterbi algorithm).

        The scores are checked for NaN and infinity whatever `validate_args` is, since no later step could notice: the
        tags would look ordinary. On an accelerator each call waits for the device once.

        Args:
            forbidden: Transitions that the sequence must not contain.

        Returns:
            Tags, int64, shape (batch, length), −1 at padding. Where every sequence is forbidden, any of them.

        Raises:
            NonFiniteScoresError: If a score is NaN or +inf, or all scores of a position are −inf; it names the row.
            ValueError: If a tensor in `forbidden` has a wrong shape or dtype.
        """
        check_no_transforms()
        check_decodable(self.mask, *self._potentials)
        start, transitions, end = self.start_transitions, self.transitions, self.end_transitions
        if forbidden is not None:
            check_forbidden(*forbidden, num_tags=transitions.shape[0])
            start = start.masked_fill(forbidden.start, -torch.inf)
            transitions = transitions.masked_fill(forbidden.transition, -torch.inf)
            end = end.masked_fill(forbidden.end, -torch.inf)
        with torch.no_grad():
            return viterbi(self.emissions, self.mask, start, transitions, end, self.mask.device.type != "cpu")

    def _expected(self, emissions: Tensor, start: Tensor, transitions: Tensor, end: Tensor) -> Tensor:
        """Returns Σ_y p(y) score(y), where other potentials give the score, shape (batch,)."""
        marginals = self.marginals
        last = marginals[torch.arange(len(marginals), device=marginals.device), self._trellis.last]
        return (
            _weigh(marginals, emissions).sum((1, 2))
            + _weigh(self.transition_counts, transitions).sum((1, 2))
            + _weigh(marginals[:, 0], start).sum(1)
            + _weigh(last, end).sum(1)
        )

    def entropy(self) -> Tensor:
        """Returns −Σ_y p(y) log p(y) in nats, computed exactly, shape (batch,)."""
        return self.cross_entropy(self)

    def cross_entropy(self, other: "ChainDistribution") -> Tensor:
        """Returns −Σ_y p_self(y) log p_other(y) in nats, computed exactly: CVA as the ITA paper writes it.

        Wang et al., NAACL 2022 (arXiv 2112.06482), the equation for L_CVA.

        Args:
            other: Distributions over the same sequences: the student, if this is the teacher.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the two differ in shape or, where contents are checked, in mask.
        """
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        return other.log_partition - self._expected(*other._potentials)

    def kl(self, other: "ChainDistribution") -> Tensor:
        """Returns KL(self ‖ other) in nats, computed exactly, shape (batch,).

        Args:
            other: Distributions over the same sequences.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the two differ in shape or, where contents are checked, in mask.
        """
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        # From the differences of scores, so that the divergence of equal chains is exactly 0, without rounding errors.
        scores = (ours - theirs for ours, theirs in zip(self._potentials, other._potentials, strict=True))
        return other.log_partition - self.log_partition + self._expected(*scores)

    def token_kl(self, other: "ChainDistribution", temperature: float = 1.0) -> Tensor:
        """Returns Σ_t KL(softmax(a_self,t / τ) ‖ softmax(a_other,t / τ)) · τ², with a = α + β: the token form of CVA.

        Args:
            other: Distributions over the same sequences: the student, if this is the teacher.
            temperature: τ > 0, finite.

        Returns:
            Shape (batch,).

        Raises:
            ValueError: If the temperature is not positive and finite, or the two differ in shape or, where contents
                are checked, in mask.
        """
        if not 0 < temperature < math.inf:
            raise ValueError(f"expected a finite temperature > 0, got {temperature}")
        check_other(self.emissions, self.mask, other.emissions, other.mask, contents=self._validate_args)
        # The log-marginals are a minus its log-sum-exp, a constant per position, which does not change the softmax.
        # shape: (batch, length, tags)
        ours, theirs = ((chain.log_marginals / temperature).log_softmax(2) for chain in (self, other))
        return _weigh(ours.exp(), ours - theirs).sum((1, 2)) * temperature**2


@register_kl(ChainDistribution, ChainDistribution)
def _kl_divergence(p: ChainDistribution, q: ChainDistribution) -> Tensor:
    return p.kl(q)


def _weigh(probability: Tensor, score: Tensor) -> Tensor:
    """Returns probability · score, with 0 · −inf = 0: an impossible event adds nothing to an expectation."""
    return probability * torch.where(probability > 0, score, 0)

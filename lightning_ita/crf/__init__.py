"""The linear-chain CRF as a distribution over tag sequences."""

from lightning_ita.crf.distribution import ChainDistribution
from lightning_ita.crf.layer import LinearChainCRF
from lightning_ita.crf.validation import NonFiniteScoresError
from lightning_ita.crf.viterbi import ForbiddenTransitions

__all__ = ["ChainDistribution", "ForbiddenTransitions", "LinearChainCRF", "NonFiniteScoresError"]

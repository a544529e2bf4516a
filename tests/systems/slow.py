"""Parts of systems as their papers write them: float64, one tweet, one head, one pair at a time, nothing masked.

Where there is no key, nothing is read: the functions are given the keys that there are, and no others.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

from lightning_ita.models.tagger import Tagger


class Weights:
    """The weights of a model by name, in float64; a call computes a linear layer."""

    def __init__(self, tagger: Tagger, prefix: str = ""):
        self.all = {name: value.double() for name, value in tagger.state_dict().items()}
        self.prefix = prefix

    def at(self, name: str) -> Weights:
        found = object.__new__(Weights)
        found.all, found.prefix = self.all, f"{self.prefix}{name}."
        return found

    def __getitem__(self, name: str) -> Tensor:
        return self.all[self.prefix + name]

    def linear(self, name: str, x: Tensor) -> Tensor:
        bias = self.all.get(f"{self.prefix}{name}.bias")
        return x @ self[f"{name}.weight"].T + (0.0 if bias is None else bias)

    def norm(self, name: str, x: Tensor, eps: float) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.square().mean(-1, keepdim=True)
        return centred / (variance + eps).sqrt() * self[f"{name}.weight"] + self[f"{name}.bias"]

    def attention(self, queries: Tensor, keys: Tensor, heads: int, project: bool = True) -> Tensor:
        """MHA(q; kv) = W_o [heads], each softmax(q kᵀ / √d) v; 0 where there are no keys."""
        if len(keys) == 0:
            return torch.zeros_like(queries)
        q, k = self.linear("query", queries), self.linear("key", keys)
        v = self.linear("value", keys) if project else keys
        size, parts = q.shape[1] // heads, []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            rows = []
            for query in q[:, part]:
                weights = torch.stack([query @ key / size**0.5 for key in k[:, part]]).exp()
                rows.append((weights[:, None] * v[:, part]).sum(0) / weights.sum())
            parts.append(torch.stack(rows))
        joined = torch.cat(parts, 1)
        return self.linear("output", joined) if project else joined

    def feed_forward(self, x: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
        return self.linear("3", activation(self.linear("0", x)))

    def layer(
        self,
        queries: Tensor,
        keys: Tensor,
        heads: int,
        activation: Callable[[Tensor], Tensor] = F.gelu,
        eps: float = 1e-12,
        residual: bool = True,
        feed: bool = True,
    ) -> Tensor:
        """A = LN(q + MHA(q; kv)), then LN(A + FFN(A)); without the sums if not residual."""
        read = self.at("attention").attention(queries, keys, heads)
        a = self.norm("attended.norm", queries + read if residual else read, eps)
        if not feed:
            return a
        fed = self.at("feed_forward").feed_forward(a, activation)
        return self.norm("fed.norm", a + fed if residual else fed, eps)


def negative_log_likelihood(emissions: Tensor, weights: Weights, tags: list[int]) -> float:
    """−log p(tags) of a linear-chain CRF, by all tag sequences."""

    def score(sequence: tuple[int, ...]) -> Tensor:
        total = weights["start_transitions"][sequence[0]] + weights["end_transitions"][sequence[-1]]
        for i, tag in enumerate(sequence):
            total = total + emissions[i, tag]
            if i:
                total = total + weights["transitions"][sequence[i - 1], tag]
        return total

    scores = torch.stack([score(each) for each in product(range(emissions.shape[1]), repeat=len(emissions))])
    return float(scores.logsumexp(0) - score(tuple(tags)))

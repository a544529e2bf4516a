"""Whether a vision model sees what the demo's pictures show: ``python -m benchmarks.seeing``.

Method. The pooled features of the pictures of training tweets (the mean over the regions of the whole picture, frozen)
are standardised, and a linear classifier (multinomial logistic regression) learns from them which entity type a picture
suggests: a type of the corpus, or none. It is tested on pictures of test tweets. Chance is the share of the most
frequent type among these. No tweet is read: what a system makes of the pictures is another question.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from lightning_ita.data.demo import Demo
from lightning_ita.data.source import Source
from lightning_ita.demo import DemoConfig, generate
from lightning_ita.demo.scene_kinds import SCENE_KINDS
from lightning_ita.images.features import Features, Request
from lightning_ita.images.vision import DEFAULT, Vision

# Weight of the squared weights in the loss of the classifier.
PENALTY = 5e-3


def shown(split: str, number: int) -> tuple[list[Request], list[str]]:
    """Returns readable pictures of the demo corpus, and the entity type that each suggests."""
    corpus = Demo().with_pictures(Demo().read(Source()), Source(), ("images",))
    tweets = [tweet for tweet in generate(DemoConfig()).splits[split] if tweet.image == "ok"][:number]
    return [Request(corpus.pictures[t.id]) for t in tweets], [SCENE_KINDS[t.scene.kind].shows for t in tweets]


def probe(features: Features, train: int, test: int) -> tuple[float, float]:
    """Returns the accuracy of a linear classifier on frozen features, and chance.

    Args:
        features: The vision model's.
        train: Pictures to learn from.
        test: Pictures to classify.
    """
    (known, types), (asked, truth) = shown("train", train), shown("test", test)
    names = sorted(set(types))
    gold, wanted = (torch.tensor([names.index(name) for name in each]) for each in (types, truth))
    left, right = (_pooled(features, requests) for requests in (known, asked))
    mean, scale = left.mean(0), left.std(0) + 1e-6
    left, right = (left - mean) / scale, (right - mean) / scale
    weights = torch.zeros(left.shape[1] + 1, len(names), requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=500, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = cross_entropy(left @ weights[:-1] + weights[-1], gold) + PENALTY * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    predicted = (right @ weights[:-1] + weights[-1]).argmax(1)
    return (predicted == wanted).float().mean().item(), wanted.bincount().max().item() / len(wanted)


def _pooled(features: Features, requests: Sequence[Request]) -> Tensor:
    rows = features.rows(requests)
    return torch.stack([row[0].float().mean(0) for row in rows if row is not None])


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=DEFAULT, help="Vision model, as for --vision.model.")
    parser.add_argument("--train", type=int, default=420, help="Pictures to learn from.")
    parser.add_argument("--test", type=int, default=200, help="Pictures to classify.")
    arguments = parser.parse_args()
    accuracy, chance = probe(Features(Vision(arguments.model)), arguments.train, arguments.test)
    print(f"{arguments.model}: {100 * accuracy:.1f} % of {arguments.test} pictures, chance {100 * chance:.1f} %")


if __name__ == "__main__":
    main()

"""Speed of the linear-chain CRF, compared with pytorch-crf: ``python -m benchmarks.crf``.

Method. Each case is a batch of random sequences of different lengths: the first has the full length, the others are
uniform from half to all of it; emissions have a standard deviation of 3, transitions of 1. Before anything is timed,
the numbers must agree in float64: log-likelihoods, gradients and paths with those of pytorch-crf, marginals and
sequence CVA with a recursion written in automatic differentiation. Then, in float32, every operation of a case runs
once per round, in random order, and in the opposite order in the next round, so that other work on the machine and the
state of the caches affect all operations alike. Ratios are taken within a round; the tables show their median over
rounds, and the minimum and median of the times. A goal is judged by the median of these ratios over its cases. Times
include the forward pass and the backward pass to emissions and parameters. Decoding runs without gradients; pytorch-crf
returns lists, ours a tensor.

Before measuring, 16 MB are allocated and freed, as any encoder does. Until this has happened, the C library returns
every large array to the system, and operations with few large arrays would have more page faults than those with many
small ones. With ``--device cuda`` an operation ends when the device has finished it.

Columns: ``nll`` is −log p(y) of the gold tags; ``plain nll`` is the same by the recursion in this file, one log-sum-exp
per step in automatic differentiation; ``marginals`` are the marginals, log Z and its gradient; ``marginals ∇`` is a
loss on the marginals and its gradient, which needs a second pass over the sequence; ``sequence CVA`` and ``token CVA``
are the alignment of two stacked views with the teacher detached; ``CVA step`` is the nll of both views and the sequence
CVA, as in training.
"""

import argparse
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torchcrf
from torch import Tensor

from lightning_ita.crf import LinearChainCRF

SIZES = [(4, 24), (16, 32), (32, 64), (32, 128)]
TAGS = [9, 17]

# Operation, what it is compared with, whether the ratio is a speed-up (else a cost), bound, sizes.
Goal = tuple[str, str, bool, float, list[tuple[int, int]]]
GOALS: list[Goal] = [
    ("nll", "pytorch-crf nll", True, 4.0, SIZES),
    ("nll", "pytorch-crf nll", True, 6.0, [(32, 128)]),
    ("decode", "pytorch-crf decode", True, 3.0, SIZES),
    ("marginals", "nll", False, 1.3, SIZES),
    ("marginals ∇", "nll", False, 1.3, SIZES),
    ("sequence CVA", "nll", False, 2.5, SIZES),
]
# On a GPU, where the tree of products takes the place of the recursion.
GPU_GOALS: list[Goal] = [("nll", "pytorch-crf nll", True, 10.0, [(32, 128)])]


class Case:
    """One batch, and the operations on it by name."""

    def __init__(
        self, batch: int, length: int, tags: int, dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        generator = torch.Generator().manual_seed(batch * length * tags)
        lengths = torch.randint(length // 2, length + 1, (batch,), generator=generator)
        lengths[0] = length
        self.size = (batch, length)
        self.mask = (torch.arange(length) < lengths[:, None]).to(device)
        self.gold = torch.randint(tags, (batch, length), generator=generator).to(device)
        # Two views of the same sentences.
        self.text, self.image = (
            (3 * torch.randn(batch, length, tags, generator=generator)).to(device, dtype).requires_grad_()
            for _ in range(2)
        )
        self.reference = torchcrf.CRF(tags, batch_first=True)
        for scores in self.reference.parameters():
            torch.nn.init.normal_(scores, generator=generator)
        self.reference.to(device, dtype)
        self.crf = LinearChainCRF(tags).to(device, dtype)
        self.crf.load_state_dict(self.reference.state_dict())
        self.weights = torch.randn(batch, length, tags, generator=generator).to(device, dtype)
        self.operations: dict[str, Callable[[], object]] = {
            "pytorch-crf nll": lambda: self._backward(-self.reference(self.text, self.gold, self.mask, "sum")),
            "plain nll": lambda: self._backward(-plain_log_prob(self.crf, self.text, self.gold, self.mask).sum()),
            "nll": lambda: self._backward(-self.crf(self.text, self.mask).log_prob(self.gold).sum()),
            "marginals": self._marginals,
            "marginals ∇": lambda: self._backward((self.crf(self.text, self.mask).marginals * self.weights).sum()),
            "sequence CVA": lambda: self._backward(self._cva("sequence")),
            "token CVA": lambda: self._backward(self._cva("token")),
            "CVA step": lambda: self._backward(self._cva("step")),
            "pytorch-crf decode": lambda: self.reference.decode(self.text, self.mask),
            "decode": lambda: self.crf(self.text, self.mask).argmax(),
        }

    def _backward(self, loss: Tensor) -> Tensor:
        for scores in (self.text, self.image, *self.crf.parameters(), *self.reference.parameters()):
            scores.grad = None
        loss.backward()
        return loss.detach()

    def _marginals(self) -> Tensor:
        chain = self.crf(self.text, self.mask)
        self._backward(chain.log_partition.sum())
        return chain.detach().marginals

    def _cva(self, form: str) -> Tensor:
        views = self.crf(torch.cat([self.text, self.image]), torch.cat([self.mask, self.mask]))
        student, teacher = views.split(len(self.mask))
        if form == "token":
            return teacher.detach().token_kl(student, 4.0).sum()
        cva = teacher.detach().cross_entropy(student).sum()
        return cva - views.log_prob(torch.cat([self.gold, self.gold])).sum() if form == "step" else cva

    def check(self) -> None:
        """Raises AssertionError if the numbers to be compared differ."""
        results = []
        for name, layer in (("pytorch-crf nll", self.reference), ("nll", self.crf), ("plain nll", self.crf)):
            loss = self.operations[name]()
            results.append([loss, *(scores.grad for scores in (self.text, *layer.parameters()))])
        for result in results[1:]:
            for ours, theirs in zip(result, results[0], strict=True):
                torch.testing.assert_close(ours, theirs)
        log_partition = plain_log_partition(self.crf, self.text, self.mask)
        (expected,) = torch.autograd.grad(log_partition.sum(), self.text)
        torch.testing.assert_close(self._marginals(), expected)
        paths = self.reference.decode(self.text, self.mask)
        if [path[path >= 0].tolist() for path in self.crf(self.text, self.mask).argmax()] != paths:
            raise AssertionError("expected the paths of pytorch-crf, got others")
        # Σ_y p(y) score(y) is the directional derivative of log Z_p along the other chain's potentials.
        step = self.text.new_zeros((), requires_grad=True)
        tilted = plain_log_partition(self.crf, self.image + step * self.text, self.mask, 1 + step)
        (expected_score,) = torch.autograd.grad(tilted.sum(), step)
        torch.testing.assert_close(self._cva("sequence"), log_partition.sum() - expected_score)


def plain_log_partition(crf: LinearChainCRF, emissions: Tensor, mask: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Returns log Z, (batch,), by one log-sum-exp per step in automatic differentiation; scales all transitions."""
    transitions = crf.transitions * scale
    alpha = crf.start_transitions * scale + emissions[:, 0]
    for t in range(1, emissions.shape[1]):
        arriving = torch.logsumexp(alpha[:, :, None] + transitions, dim=1) + emissions[:, t]
        alpha = torch.where(mask[:, t, None], arriving, alpha)
    return torch.logsumexp(alpha + crf.end_transitions * scale, dim=1)


def plain_log_prob(crf: LinearChainCRF, emissions: Tensor, gold: Tensor, mask: Tensor) -> Tensor:
    """Returns log p(y), (batch,), in automatic differentiation."""
    last = gold.gather(1, mask.sum(1, keepdim=True) - 1)[:, 0]
    emitted = (emissions.gather(2, gold[..., None])[..., 0] * mask).sum(1)
    moved = (crf.transitions[gold[:, :-1], gold[:, 1:]] * mask[:, 1:]).sum(1)
    score = emitted + moved + crf.start_transitions[gold[:, 0]] + crf.end_transitions[last]
    return score - plain_log_partition(crf, emissions, mask)


def measure(case: Case, rounds: int) -> dict[str, list[float]]:
    """Returns the times of every operation in seconds, one per round."""
    times: dict[str, list[float]] = {name: [] for name in case.operations}
    shuffle, order = random.Random(0).shuffle, list(case.operations)
    for count in range(-2, rounds):  # the rounds before 0 warm up
        if count % 2:
            order.reverse()
        else:
            shuffle(order)
        for name in order:
            begin = time.perf_counter()
            case.operations[name]()
            if case.mask.is_cuda:
                torch.cuda.synchronize()
            if count >= 0:
                times[name].append(time.perf_counter() - begin)
    return times


def ratio(times: dict[str, list[float]], numerator: str, denominator: str) -> float:
    """Returns the median over rounds of the ratio within a round."""
    return statistics.median(one / other for one, other in zip(times[numerator], times[denominator], strict=True))


def report(measured: dict[tuple[int, int, int, int], dict[str, list[float]]], goals: list[Goal]) -> str:
    """Returns the tables in Markdown; keys are threads, batch, length, tags."""
    names = list(next(iter(measured.values())))
    lines = ["Minimum / median in milliseconds.", ""]
    lines += ["| threads | batch × length | tags | " + " | ".join(names) + " |", "|" + "---|" * (len(names) + 3)]
    for (threads, batch, length, tags), times in measured.items():
        cells = [f"{min(times[name]) * 1e3:.2f} / {statistics.median(times[name]) * 1e3:.2f}" for name in names]
        lines.append(f"| {threads} | {batch} × {length} | {tags} | " + " | ".join(cells) + " |")
    lines += ["", "| threads | goal | over | median of ratios | range | |", "|" + "---|" * 6]
    for threads in sorted({key[0] for key in measured}):
        for name, against, faster, bound, sizes in goals:
            pair = (against, name) if faster else (name, against)
            ratios = [ratio(times, *pair) for key, times in measured.items() if key[0] == threads and key[1:3] in sizes]
            if not ratios:
                continue
            middle = statistics.median(ratios)
            met = middle >= bound if faster else middle <= bound
            goal = f"{name} {'≥' if faster else '≤'} {bound} × {against}"
            over = "all sizes" if sizes is SIZES else ", ".join(f"{batch} × {length}" for batch, length in sizes)
            spread = f"{min(ratios):.2f} – {max(ratios):.2f}"
            lines.append(
                f"| {threads} | {goal} | {over} | {middle:.2f} | {spread} | {'met' if met else '**missed**'} |"
            )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Checks that the numbers agree, measures, and prints the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.crf", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=30, help="rounds per case (default: %(default)s)")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="PyTorch's threads (default: 1 2)")
    parser.add_argument("--device", default="cpu", help="cpu, cuda ... (default: %(default)s)")
    parser.add_argument("--quick", action="store_true", help="the two smaller sizes, 5 rounds, 1 thread")
    parser.add_argument("--output", type=Path, help="write the tables to this file too")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.threads = 5, [1]
    on_gpu = options.device != "cpu"
    if on_gpu:
        options.threads = [1]
    torch.ones(2**22)
    measured = {}
    for threads in options.threads:
        torch.set_num_threads(threads)
        for batch, length in SIZES[:2] if options.quick else SIZES:
            for tags in TAGS:
                Case(batch, length, tags, torch.float64, options.device).check()
                case = Case(batch, length, tags, device=options.device)
                measured[threads, batch, length, tags] = measure(case, options.rounds)
    tables = report(measured, GPU_GOALS if on_gpu else GOALS)
    if on_gpu:
        tables = f"{torch.cuda.get_device_name()}, torch {torch.__version__}. {tables}"
    print(tables)
    if options.output:
        options.output.write_text(tables + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Initial weights on eight problems: torch's and orthogonal ones, the same runs otherwise.

    python benchmarks/initialisation.py                 every problem, LSTM and GRU, three seeds
    python benchmarks/initialisation.py --only tagger   problems whose name holds this

Fresh examples at every step, Adam at 0.002; the figure is the mean loss of the last fifth of the
steps. A row gives it for every scheme, mean and spread over the seeds, and the ratio to torch's.
The text needs `democracy` under $PLAIT_DATA.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait import GRU, LSTM, Chebyshev, Dense, Graph, Recurrent
from plait.data import read_text
from plait.nn import recurrent

B, H = 32, 64
Batch = tuple[Tensor, Tensor]

SCHEMES: dict[str, tuple[str, float, float]] = {
    "torch": ("torch", 0, 0),
    "orthogonal 2, 4": ("orthogonal", 2, 4),
    "orthogonal 1, 2": ("orthogonal", 1, 2),
    "orthogonal 1, 1": ("orthogonal", 1, 1),
    "orthogonal 0.5, 1": ("orthogonal", 0.5, 1),
}
"""The scheme, and the standard deviation of pre-activations of the first layer and of others."""


class Problem:
    """Examples, and the model around a recurrent layer."""

    outputs: int
    inputs: int
    steps = 300
    layers = 1
    operator: Any = Dense()
    graph: Graph | None = None
    symbols = 0
    """Where x are numbers of symbols: how many there are; they are embedded."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def batch(self) -> Batch:
        """Return x `[T, B, (N,) F]`, or numbers `[T, B]`, and the target."""
        raise NotImplementedError

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        """Return the loss of outputs `[T, B, (N,) outputs]`."""
        return F.cross_entropy(y.flatten(0, -2), target.flatten())

    def normal(self, *shape: int) -> Tensor:
        """Draw numbers of variance 1."""
        return torch.from_numpy(self.random.standard_normal(shape).astype(np.float32))


class Text(Problem):
    """The next character of a text, embedded as in `nn.Embedding`."""

    layers = 2

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        text = read_text("democracy").characters
        letters, numbers = np.unique(list(text[:400_000]), return_inverse=True)
        self.numbers = torch.from_numpy(numbers)
        self.symbols = self.outputs = len(letters)
        self.inputs = H

    def batch(self) -> Batch:
        begins = torch.from_numpy(self.random.integers(0, len(self.numbers) - 31, B))
        windows = self.numbers[begins + torch.arange(31)[:, None]]  # [T + 1, B]
        return windows[:-1], windows[1:]


class OneHotText(Text):
    """The same characters as vectors of one 1."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.inputs, self.symbols = self.outputs, 0

    def batch(self) -> Batch:
        x, target = super().batch()
        return F.one_hot(x, self.inputs).float(), target


class Tagger(Problem):
    """The sum, modulo 5, of a word's number and the one's before, from dense word vectors."""

    inputs, outputs = 32, 5

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.vectors = self.normal(50, 32)

    def batch(self) -> Batch:
        words = torch.from_numpy(self.random.integers(0, 50, (20, B)))
        before = torch.cat([torch.zeros_like(words[:1]), words[:-1]])
        return self.vectors[words], (words + before) % 5


class Forecast(Problem):
    """The next values of eight noisy sums of waves, each of variance 1."""

    inputs = outputs = 8

    def batch(self) -> Batch:
        t = np.arange(25)[:, None, None]
        total: Any = 0
        for period in (5, 9, 17):
            phase = self.random.uniform(0, 2 * np.pi, (B, 8))
            total = total + np.sin(2 * np.pi * t / period + phase) * np.sqrt(2 / 3)
        values = torch.from_numpy(total.astype(np.float32)) * 0.95 + 0.3 * self.normal(25, B, 8)
        return values[:-1], values[1:]

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(y, target)


class Adding(Problem):
    """The sum of the two numbers that are marked (Hochreiter & Schmidhuber 1997), at the end."""

    inputs, outputs, steps = 2, 1, 600

    def batch(self) -> Batch:
        x = np.zeros((30, B, 2), np.float32)
        x[..., 0] = self.random.uniform(0, 1, (30, B))
        first, second = self.random.integers(0, 15, B), self.random.integers(15, 30, B)
        for rows in (first, second):
            x[rows, np.arange(B), 1] = 1
        return torch.from_numpy(x), torch.from_numpy((x[..., 0] * x[..., 1]).sum(0))

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(y[-1, :, 0], target)


class Recall(Problem):
    """The first symbol of ten, after the others."""

    inputs, outputs, steps = 10, 10, 600

    def batch(self) -> Batch:
        numbers = torch.from_numpy(self.random.integers(0, 10, (10, B)))
        return F.one_hot(numbers, 10).float(), numbers[0]

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(y[-1], target)


class Digits(Problem):
    """Handwritten digits of 8 × 8 grey values 0 … 1, read row by row."""

    inputs, outputs = 8, 10

    def __init__(self, seed: int) -> None:
        from sklearn.datasets import load_digits

        super().__init__(seed)
        found: Any = load_digits()
        self.images = torch.from_numpy(found.images.astype(np.float32) / 16)
        self.labels = torch.from_numpy(found.target)

    def batch(self) -> Batch:
        chosen = torch.from_numpy(self.random.integers(0, len(self.images), B))
        return self.images[chosen].transpose(0, 1), self.labels[chosen]

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(y[-1], target)


class Waves(Problem):
    """The next value at every node of a ring, where waves pass from neighbour to neighbour."""

    inputs = outputs = 1
    operator = Chebyshev(3)

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        nodes = torch.arange(20)
        self.graph = Graph(torch.stack([nodes, (nodes + 1) % 20]), num_nodes=20).to_undirected()

    def batch(self) -> Batch:
        values = [self.normal(B, 20), self.normal(B, 20)]
        for _ in range(18):
            arrived = (values[-1].roll(1, -1) + values[-2].roll(-1, -1)) / 2
            values.append(1.3 * arrived + 0.3 * self.normal(B, 20))
        x = torch.stack(values)[..., None]
        return x[:-1], x[1:]

    def loss(self, y: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(y, target)


PROBLEMS: dict[str, type[Problem]] = {
    "text, embedded": Text,
    "text, one-hot": OneHotText,
    "tagger, dense inputs": Tagger,
    "forecast": Forecast,
    "adding": Adding,
    "recall": Recall,
    "digits by rows": Digits,
    "waves on a graph": Waves,
}


def losses(problem: Problem, cell: Any, scheme: str, seed: int) -> Iterator[float]:
    """Train, and yield the loss of every step."""
    torch.manual_seed(seed)
    name, recurrent.INPUT_GAIN, recurrent.STATE_GAIN = SCHEMES[scheme]
    init: Any = name
    embedding = nn.Embedding(problem.symbols, problem.inputs) if problem.symbols else nn.Identity()
    output = nn.Linear(H, problem.outputs)
    layer = Recurrent(
        cell, problem.inputs, H, operator=problem.operator, layers=problem.layers, init=init
    )
    model = nn.ModuleList([embedding, layer, output])
    optimizer = torch.optim.Adam(model.parameters(), 0.002)
    for _ in range(problem.steps):
        x, target = problem.batch()
        y, _ = layer(embedding(x), graph=problem.graph)
        loss = problem.loss(output(y), target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        yield loss.item()


def score(make: Callable[[int], Problem], cell: Any, scheme: str, seed: int) -> float:
    """Return the mean loss of the last fifth of the steps."""
    found = list(losses(make(seed), cell, scheme, seed))
    return statistics.mean(found[-len(found) // 5 :])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| problem | cell | " + " | ".join(SCHEMES) + " |")
    print("|---|---|" + "---|" * len(SCHEMES), flush=True)
    for name, make in PROBLEMS.items():
        if options.only not in name:
            continue
        for cell in (LSTM(), GRU()):
            found = {
                scheme: [score(make, cell, scheme, seed) for seed in range(options.seeds)]
                for scheme in SCHEMES
            }
            base = statistics.mean(found["torch"])
            texts = []
            for values in found.values():
                mean = statistics.mean(values)
                spread = statistics.stdev(values) if len(values) > 1 else 0.0
                texts.append(f"{mean:.4f} ± {spread:.4f} ({mean / base:.2f})")
            print(f"| {name} | {type(cell).__name__} | " + " | ".join(texts) + " |", flush=True)


if __name__ == "__main__":
    main()

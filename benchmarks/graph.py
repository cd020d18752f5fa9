"""One layer over a large graph beside PyTorch Geometric: time and memory of a training step.

    python benchmarks/graph.py            all of it, about three minutes
    python benchmarks/graph.py --threads 1

100,000 nodes, 1,000,000 edges drawn at random, float32; a step is forward and backward, the
features' gradient too. Times: both layers in one process, in turn. Memory: each in a process of
its own, the highest resident size of two steps (the first normalises) above that before them.
"""

import argparse
import warnings
from collections.abc import Callable

import torch
from measure import beside, memory

NODES, EDGES = 100_000, 1_000_000
CASES = {
    "gcn": ("GCN 128 → 64", 128),
    "attention": ("attention 8 × 8, 128 → 64", 128),
    "attention 2": ("attention version 2, 8 × 8, 128 → 64", 128),
}


def step(case: str, whose: str) -> Callable[[], None]:
    """Make one training step of a layer."""
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(NODES, (2, EDGES), generator=generator)
    index = torch.unique(index, dim=1)
    _, inputs = CASES[case]
    x = torch.randn(NODES, inputs, generator=generator).requires_grad_()
    weighting = torch.randn(NODES, 64, generator=generator)
    if whose == "plait":
        import plait

        operators = {
            "gcn": plait.GCN(),
            "attention": plait.Attention(8),
            "attention 2": plait.Attention(8, version=2),
        }
        layer, graph = plait.GraphConv(operators[case], inputs, 64), plait.Graph(index)
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_geometric import nn
        graph = index
        if case == "gcn":
            layer = nn.GCNConv(inputs, 64, cached=True)
        else:
            layer = (nn.GATConv if case == "attention" else nn.GATv2Conv)(inputs, 8, heads=8)

    def run() -> None:
        x.grad = None
        layer.zero_grad()
        (layer(x, graph) * weighting).sum().backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--memory", nargs=2, metavar=("CASE", "WHOSE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.memory:
        print(memory(step(*options.memory)))
        return
    print(f"torch {torch.__version__}, {options.threads} threads, median (fastest … slowest)")
    for case, (name, _) in CASES.items():
        sides = ("plait", "PyG")
        asked = [["--threads", str(options.threads), "--memory", case, of] for of in sides]
        beside(name, {whose: step(case, whose) for whose in sides}, options.rounds, asked)


if __name__ == "__main__":
    main()

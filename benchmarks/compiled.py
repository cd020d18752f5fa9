"""Every cell × operator, eager, compiled and under autocast: how far apart, and how long.

    python benchmarks/compiled.py [--threads 1]

Prints a table: the largest difference of outputs and gradients from the layer in float64, of each
tensor's largest entry, and the time of a training step over that of the eager step, the fastest of
several. The compiled program is that of inductor.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plait import GRU, LSTM, RNN, Attention, Chebyshev, Dense, Diffusion, Graph, MinGRU, Recurrent

T, B, N, H = 32, 16, 24, 64
CELLS = [RNN(), LSTM(), LSTM(peephole=True), GRU(), GRU("before"), MinGRU()]
OPERATORS = [Dense(), Chebyshev(3), Diffusion(2), Attention(4)]


def step(call: Callable[..., Any], layer: Recurrent, x: Tensor, graph: Any) -> list[Tensor]:
    y, _ = call(x, graph=graph)
    return [y, *torch.autograd.grad(y.double().square().mean(), list(layer.parameters()))]


def difference(found: list[Tensor], right: list[Tensor]) -> float:
    return max(
        float((a.double() - b).abs().max() / b.abs().max())
        for a, b in zip(found, right, strict=True)
    )


def fastest(run: Callable[[], Any], seconds: float = 0.3) -> float:
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - began)
    return best


def measure(cell: Any, operator: Any) -> str:
    torch.manual_seed(0)
    torch._dynamo.reset()
    layer = Recurrent(cell, H, H, operator=operator, layers=2, init="torch")
    graph = None
    x = torch.randn(T, B * N, H) if isinstance(operator, Dense) else torch.randn(T, B, N, H)
    if not isinstance(operator, Dense):
        pairs = [(k, (k + j) % N) for k in range(N) for j in (1, 2)]
        graph = Graph.from_edges(pairs).to_undirected()
    oracle = copy.deepcopy(layer).double()
    right = step(oracle, oracle, x.double(), graph)
    compiled = torch.compile(layer, fullgraph=True)

    def lowered() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            return step(layer, layer, x, graph)

    ways = [
        lambda: step(layer, layer, x, graph), lambda: step(compiled, layer, x, graph), lowered,
    ]  # fmt: skip
    found = [difference(way(), right) for way in ways]
    times = [fastest(way) for way in ways]
    kernel = layer.kernel().split(" - ")[0]
    cells = [f"{d:.0e}" for d in found] + [f"{t / times[0]:.2f}" for t in times[1:]]
    return (
        " | ".join([f"| {cell!r} × {operator!r}", kernel, f"{times[0] * 1e3:.1f}", *cells]) + " |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    torch.set_num_threads(parser.parse_args().threads)
    warnings.filterwarnings("ignore")
    print(
        "| pair | eager kernel | ms | eager | compile | autocast | compile, time | autocast, time |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for cell in CELLS:
        for operator in OPERATORS:
            print(measure(cell, operator), flush=True)


if __name__ == "__main__":
    main()

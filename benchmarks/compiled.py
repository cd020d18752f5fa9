"""Every cell × operator, eager, compiled, under autocast and exported: how far apart, how long.

    python benchmarks/compiled.py [--threads 1] [--only export]

Prints a table: the largest difference of outputs and gradients from the layer in float64, of each
tensor's largest entry, and the time of a training step over that of the eager step, the fastest of
several. The compiled program is that of inductor. Exported is the layer's outputs from an ONNX file
in ONNX Runtime, and the time of these over that of the eager forward pass.
"""

import argparse
import copy
import time
import warnings
from collections.abc import Callable
from typing import Any

import onnxruntime
import torch
from torch import Tensor

from plait import GRU, LSTM, RNN, Attention, Chebyshev, Dense, Diffusion, Graph, MinGRU, Recurrent
from plait.export_formats.layers import layer_form
from plait.export_formats.onnx_file import onnx_file

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
    # on one thread, the time of the processor: other programs do not count
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    run()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = clock()
        run()
        best = min(best, clock() - began)
    return best


def make(cell: Any, operator: Any) -> tuple[Recurrent, Tensor, Graph | None]:
    torch.manual_seed(0)
    torch._dynamo.reset()
    layer = Recurrent(cell, H, H, operator=operator, layers=2, init="torch")
    graph = None
    x = torch.randn(T, B * N, H) if isinstance(operator, Dense) else torch.randn(T, B, N, H)
    if not isinstance(operator, Dense):
        pairs = [(k, (k + j) % N) for k in range(N) for j in (1, 2)]
        graph = Graph.from_edges(pairs).to_undirected()
    return layer, x, graph


def exported(cell: Any, operator: Any) -> list[str]:
    layer, x, graph = make(cell, operator)
    content, _ = onnx_file(layer_form(layer, graph), {})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    zeros = torch.zeros(2, *x.shape[1:-1], H).numpy()
    given = {i.name: zeros for i in session.get_inputs()} | {"x": x.numpy()}
    right, _ = copy.deepcopy(layer).double()(x.double(), graph=graph)

    def eager() -> Any:
        with torch.no_grad():
            return layer(x, graph=graph)[0]

    def runtime() -> Any:
        return session.run(["y"], given)[0]

    apart = difference([torch.from_numpy(runtime())], [right])
    return [f"{apart:.0e}", f"{fastest(runtime) / fastest(eager):.2f}"]


def measure(cell: Any, operator: Any) -> list[str]:
    layer, x, graph = make(cell, operator)
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
    return [kernel, f"{times[0] * 1e3:.1f}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["export"])
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    warnings.filterwarnings("ignore")
    columns = ["export", "export, time"]
    if asked.only is None:
        columns = ["eager kernel", "ms", "eager", "compile", "autocast", "compile, time",
                   "autocast, time", *columns]  # fmt: skip
    print("| pair | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for cell in CELLS:
        for operator in OPERATORS:
            row = [] if asked.only else measure(cell, operator)
            row += exported(cell, operator)
            print(f"| {cell!r} × {operator!r} | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()

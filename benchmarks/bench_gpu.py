"""Plait on a GPU beside its peers, forward and backward: writes RESULTS-gpu.md.

Runs on any CUDA machine with the packages that are there; what is missing is said in the table.
Peers are measured in the same process, one after the other, medians of several calls.
"""

import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from plait import GCN, GRU, LSTM, RNN, Attention, Chebyshev, Diffusion, Graph, GraphConv, Recurrent
from plait.kernels.reference import Reference

SECONDS = 500
"""No row is begun after so many."""

Row = tuple[str, str, str, str]


def milliseconds(call: Callable[[], Any], times: int = 15) -> float:
    """Return the median time of a call, after three that warm up."""
    found = []
    for k in range(times + 3):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        if k >= 3:
            found.append(first.elapsed_time(last))
    return sorted(found)[len(found) // 2]


def trained(module: nn.Module, *args: Any, **options: Any) -> Callable[[], None]:
    """Make a call forward and backward."""

    def call() -> None:
        y = module(*args, **options)
        y = y[0] if isinstance(y, tuple) else y
        y.backward(torch.ones_like(y))
        module.zero_grad()

    return call


def on_reference(layer: Recurrent) -> Recurrent:
    """Return the same layer in plain torch."""
    layer.kernels = [Reference()]
    return layer


def sequences() -> list[Callable[[], Row]]:
    """List rows of dense layers: ours, torch's, an eager loop."""
    rows: list[Callable[[], Row]] = []
    peers = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN": nn.RNN}
    for T, B, H, layers in ((30, 64, 128, 2), (200, 64, 128, 1), (100, 64, 512, 1)):
        x = torch.randn(T, B, H, device="cuda", requires_grad=True)
        for cell, peer in (
            (LSTM(), "LSTM"), (GRU(), "GRU"), (RNN(), "RNN"), (LSTM(True), "LSTM"),
            (GRU("before"), "GRU"),
        ):  # fmt: skip

            def row(cell=cell, peer=peer, x=x, T=T, B=B, H=H, layers=layers) -> Row:
                ours = Recurrent(cell, H, H, layers=layers).cuda()
                kernel = ours.kernel().split(" ")[0]
                mine = milliseconds(trained(ours, x))
                theirs = milliseconds(trained(peers[peer](H, H, layers).cuda(), x))
                eager = milliseconds(trained(on_reference(ours), x), 3) if T <= 100 else None
                work = f"{cell!r}, T {T} B {B} H {H}, {layers} layers"
                loop = "–" if eager is None else f"{eager:.2f}"
                return work, f"{mine:.2f} ({kernel})", f"nn.{peer} {theirs:.2f}", f"loop {loop}"

            rows.append(row)
    return rows


def sequences_over_graphs() -> list[Callable[[], Row]]:
    """List rows of a sensor network's size: ours and an eager loop."""
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(207, (2, 850), generator=generator)
    graph = Graph(edges[:, edges[0] != edges[1]].unique(dim=1), num_nodes=207)
    rows: list[Callable[[], Row]] = []
    for cell, operator in ((LSTM(True), Chebyshev(3)), (GRU("before"), Diffusion(2))):

        def row(cell=cell, operator=operator) -> Row:
            net = graph.to_undirected().to("cuda")
            x = torch.randn(12, 64, 207, 2, device="cuda")
            ours = Recurrent(cell, 2, 64, operator=operator).cuda()
            kernel = ours.kernel().split(" ")[0]
            mine = milliseconds(trained(ours, x, graph=net))
            eager = milliseconds(trained(on_reference(ours), x, graph=net), 3)
            work = f"{cell!r} × {operator!r}, T 12 B 64 N 207 H 64"
            return work, f"{mine:.2f} ({kernel})", "–", f"loop {eager:.2f}"

        rows.append(row)
    return rows


def convolutions() -> list[Callable[[], Row]]:
    """List rows of one convolution over many edges: ours and PyTorch Geometric's."""
    rows: list[Callable[[], Row]] = []
    for edges, nodes in ((1_000_000, 100_000), (10_000_000, 1_000_000)):
        for name, operator in (
            ("GCN", GCN()), ("GAT", Attention(8)), ("GATv2", Attention(8, version=2)),
        ):  # fmt: skip

            def row(name=name, operator=operator, edges=edges, nodes=nodes) -> Row:
                index = torch.randint(nodes, (2, edges), device="cuda")
                x = torch.randn(nodes, 128, device="cuda", requires_grad=True)
                ours = GraphConv(operator, 128, 64).cuda()
                graph = Graph(index.unique(dim=1), num_nodes=nodes)
                mine = memory(trained(ours, x, graph))
                return f"{name} 128→64, {edges:,} edges", mine, peer(name, x, graph), "–"

            rows.append(row)
    return rows


def peer(name: str, x: Tensor, graph: Graph) -> str:
    """Measure PyTorch Geometric's layer."""
    if find_spec("torch_geometric") is None:
        return "torch_geometric is not installed"
    from torch_geometric import nn as pyg

    made = {
        "GCN": lambda: pyg.GCNConv(128, 64),
        "GAT": lambda: pyg.GATConv(128, 8, 8),
        "GATv2": lambda: pyg.GATv2Conv(128, 8, 8),
    }[name]()
    return f"PyG {memory(trained(made.cuda(), x, graph.edge_index))}"


def memory(call: Callable[[], None]) -> str:
    """Return the time of a call, and the memory that it takes at most beyond what is there."""
    call()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    peak = (torch.cuda.max_memory_allocated() - before) / 2**20
    return f"{milliseconds(call, 7):.2f}, {peak:,.0f} MiB"


def limits() -> list[Row]:
    """Measure the card's own limits: a copy, and products in each precision."""
    a = torch.empty(2**28, device="cuda")
    copied = milliseconds(lambda: a.clone())
    rows = [("copy of 1 GiB", f"{2 * a.nbytes / copied / 1e9:.2f} TB/s", "–", "–")]
    for kind, allowed in (("float32", False), ("TF32", True), ("bfloat16", False)):
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        x = torch.randn(8192, 8192, device="cuda", dtype=dtype)
        torch.backends.cuda.matmul.allow_tf32 = allowed
        took = milliseconds(lambda x=x: x @ x, 5)
        torch.backends.cuda.matmul.allow_tf32 = False
        rows.append((f"product in {kind}", f"{2 * 8192**3 / took / 1e9:.0f} TFLOP/s", "–", "–"))
    return rows


def main() -> int:
    """Measure, and write the table."""
    if not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing is measured")
        return 1
    begun, rows = time.monotonic(), limits()
    for row in (*sequences(), *sequences_over_graphs(), *convolutions()):
        if time.monotonic() - begun > SECONDS:
            rows.append(("what follows", "left out: no time", "–", "–"))
            break
        try:
            rows.append(row())
        except (RuntimeError, ImportError) as error:  # a card too small, a package that is broken
            rows.append((row.__qualname__.split(".")[0], str(error).splitlines()[0], "–", "–"))
        print(" | ".join(rows[-1]), flush=True)
    missing = [n for n in ("triton", "torch_geometric") if find_spec(n) is None]
    said = f"Not installed: {', '.join(missing)}.\n\n" if missing else ""
    text = (
        f"# On a GPU\n\n{torch.cuda.get_device_name()}, torch {torch.__version__}. Forward and "
        f"backward in ms, float32, ordinary calls; medians.\n\n{said}| work | Plait | peer | "
        "eager |\n|---|---|---|---|\n"
    )
    text += "".join(f"| {' | '.join(row)} |\n" for row in rows)
    Path(__file__).with_name("RESULTS-gpu.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Plait on a GPU next to its peers: writes RESULTS-gpu.md.

Runs on any CUDA machine with the packages that are there, without a network, in under nine minutes.
What is missing, fails or takes too long is said in the table, and the rest goes on: every part is a
process of its own. Peers run in the same process as what they are compared with, one after the
other; times are medians. Columns: `ordinary` calls, as users make them; `launched`, the same with
`PLAIT_CUDA_GRAPHS=0`; `captured`, the whole step replayed as one CUDA graph by this script, near
the device's own time; `forward`, without the gradient; `loop`, the layer in plain torch.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from plait import (
    GCN,
    GRU,
    LSTM,
    RNN,
    Adaptive,
    Attention,
    Cell,
    Chebyshev,
    Diffusion,
    Graph,
    GraphConv,
    Recurrent,
)  # fmt: skip
from plait.kernels.gpu.persistent import TritonLoops
from plait.kernels.gpu.sparse import SparseRows
from plait.kernels.reference import Reference
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

SECONDS = 500
"""All parts together; a part that is not done then is ended."""

DEVICE = "cuda"
Row = dict[str, str]
Call = Callable[[], Any]


def milliseconds(call: Call, times: int = 15, warm: int = 4) -> float:
    """Return the median time of a call, after some that warm up and are recorded."""
    found = []
    for k in range(times + warm):
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        first.record()
        call()
        last.record()
        torch.cuda.synchronize()
        if k >= warm:
            found.append(first.elapsed_time(last))
    return sorted(found)[len(found) // 2]


def captured(call: Call) -> Call:
    """Return the replay of a call as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        call()
    return graph.replay


def drawn(*shape: int) -> Tensor:
    """Draw normal numbers; on the CPU, since a capture that fails may break a GPU's generator."""
    return torch.randn(shape).to(DEVICE)


def trained(module: nn.Module, x: Tensor, **options: Any) -> Call:
    """Make a call forward and backward."""
    wanted = [*([x] if x.requires_grad else []), *module.parameters()]
    grad: Tensor | None = None

    def call() -> None:
        nonlocal grad
        y = module(x, **options)
        y = y[0] if isinstance(y, tuple) else y
        grad = torch.ones_like(y) if grad is None else grad
        torch.autograd.grad(y, wanted, grad)

    return call


def without_gradient(module: nn.Module, x: Tensor) -> Call:
    """Make a call forward alone."""

    def call() -> None:
        with torch.no_grad():
            module(x)

    return call


def tried(measure: Callable[[], str]) -> str:
    """Return what was measured, or why it could not be."""
    try:
        return measure()
    except Exception as error:  # a card too small, a package that is broken; the rest goes on
        torch.cuda.empty_cache()
        return f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0][:60]}"


def timed(call: Call, times: int = 15) -> str:
    return tried(lambda: f"{milliseconds(call, times):.2f}")


def timed_captured(call: Call) -> str:
    return tried(lambda: f"{milliseconds(captured(call)):.2f}")


@contextmanager
def launched() -> Iterator[None]:
    """Let Plait record nothing."""
    os.environ["PLAIT_CUDA_GRAPHS"] = "0"
    try:
        yield
    finally:
        del os.environ["PLAIT_CUDA_GRAPHS"]


@contextmanager
def products(kind: str) -> Iterator[None]:
    """Let products be made in float32, exactly or as torch's default has it, TF32 or bfloat16."""
    _switch(kind)
    with torch.autocast(DEVICE, torch.bfloat16, enabled=kind == "bfloat16"):
        yield
    _switch("float32")


def _switch(kind: str) -> None:
    switches: tuple[Any, ...] = torch.backends.cuda.matmul, torch.backends.cudnn
    for switch in switches:
        switch.allow_tf32 = kind == "TF32"
    if kind == "float32":
        torch.backends.cuda.matmul.fp32_precision = "none"


def limits() -> Iterator[Row]:
    """Measure the card's own limits: a copy, and products in each precision."""
    a = torch.empty(2**28, device=DEVICE)
    yield {"limit": "copy of 1 GiB", "reached": tried(
        lambda: f"{2 * a.nbytes / milliseconds(a.clone) / 1e9:.2f} TB/s"
    )}  # fmt: skip
    x = drawn(8192, 8192)
    for kind in ("float32", "TF32", "bfloat16"):

        def measure() -> str:
            return f"{2 * len(x) ** 3 / milliseconds(lambda: x @ x, 5) / 1e9:.0f} TFLOP/s"

        with products(kind):
            yield {"limit": f"product in {kind}", "reached": tried(measure)}


class Minimal(Cell):
    """A user's cell, a minimal gated unit: h' = (1 − f) h + f tanh(x_n + U (f h))."""

    gates = "fn"
    states = ("h",)

    def step(self, x_gates: Tensor, recurrent: Any, state: Any, vectors: Any) -> Any:
        """Return the next state."""
        (h,) = state
        x_f, x_n = x_gates.chunk(2, -1)
        f = torch.sigmoid(x_f + recurrent(h, "f"))
        return ((1 - f) * h + f * torch.tanh(x_n + recurrent(f * h, "n")),)


CELLS = {
    "LSTM": (LSTM(), nn.LSTM), "GRU": (GRU(), nn.GRU), "RNN": (RNN(), nn.RNN),
    "peephole LSTM": (LSTM(True), nn.LSTM), "GRU-before": (GRU("before"), nn.GRU),
    "a user's cell": (Minimal(), nn.GRU),
}  # fmt: skip
PLAIN, OURS = ("LSTM", "GRU"), ("peephole LSTM", "GRU-before")

DENSE: tuple[tuple[str, tuple[int, int, int, int], Sequence[str]], ...] = (
    ("float32", (30, 64, 128, 2), tuple(CELLS)), ("float32", (200, 64, 128, 1), (*PLAIN, *OURS)),
    ("float32", (200, 64, 256, 1), (*PLAIN, *OURS)),
    ("float32", (100, 64, 512, 1), (*PLAIN, *OURS)), ("float32", (100, 128, 512, 1), OURS),
    ("float32", (1000, 64, 128, 1), OURS),
    ("TF32", (200, 64, 128, 1), ("LSTM", *OURS)), ("TF32", (200, 64, 256, 1), (*PLAIN, *OURS)),
    ("TF32", (100, 64, 512, 1), (*PLAIN, *OURS)), ("exact float32", (200, 64, 256, 1), OURS),
    ("bfloat16", (200, 64, 128, 1), OURS), ("bfloat16", (100, 64, 512, 1), OURS),
)  # fmt: skip
"""Precision, (T, B, H, layers), cells: what the most is asked of comes first."""


def sequences(works: Any = DENSE) -> Iterator[Row]:
    """Measure dense layers: ours, torch's on cuDNN, an eager loop."""
    for kind, (T, B, H, layers), names in works:
        for name in names:
            cell, peer = CELLS[name]
            x = drawn(T, B, H).requires_grad_()
            ours = Recurrent(cell, H, H, layers=layers).to(DEVICE)
            theirs = peer(H, H, layers).to(DEVICE)
            with products(kind):
                row = {
                    "work": f"{name}, T {T} B {B} H {H}, layers {layers}, {kind}",
                    "kernel": ours.kernel().split(" ")[0],
                    "ordinary": timed(trained(ours, x)),
                }
                with launched():
                    row["launched"] = timed(trained(ours, x))
                row["captured"] = timed_captured(trained(ours, x))
                row["forward"] = timed(without_gradient(ours, x))
                if row["kernel"] == "cuDNN":  # would ours be faster?
                    ours.kernels = [TritonLoops(), *Recurrent.kernels]
                    used = ours.kernel().split(" ")[0]
                    row["plait-gpu"] = timed(trained(ours, x)) if used == "plait-gpu" else "–"
                row["torch.nn"] = timed(trained(theirs, x))
                row["torch.nn captured"] = timed_captured(trained(theirs, x))
                row["torch.nn forward"] = timed(without_gradient(theirs, x))
                if H == 128 and T <= 200 and kind == "float32":
                    ours.kernels = [Reference()]
                    row["loop"] = timed(trained(ours, x), 3)
                    row["loop captured"] = timed_captured(trained(ours, x))
            yield row


class EightConvolutions(nn.Module):
    """GConvLSTM of eight layers of PyTorch Geometric, as torch_geometric_temporal has it."""

    def __init__(self, inputs: int, hidden: int, k: int, graph: Graph) -> None:
        super().__init__()
        from torch_geometric.nn import ChebConv

        self.x = nn.ModuleList(ChebConv(inputs, hidden, k) for _ in range(4))
        self.h = nn.ModuleList(ChebConv(hidden, hidden, k) for _ in range(4))
        self.hidden, self.edges = hidden, graph.edge_index

    def forward(self, x: Tensor) -> Tensor:
        h = c = x.new_zeros(*x.shape[1:-1], self.hidden)
        outputs = []
        for x_t in x:
            i, f, g, o = (
                a(x_t, self.edges) + b(h, self.edges) for a, b in zip(self.x, self.h, strict=True)
            )
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            outputs.append(h)
        return torch.stack(outputs)


WORKS = (
    ("GConvLSTM", LSTM(), Chebyshev(3)), ("DCRNN", GRU("before"), Diffusion(2)),
    ("GRU × GCN", GRU(), GCN()), ("GRU × attention", GRU(), Attention(4)),
    ("GRU × attention, version 2", GRU(), Attention(4, version=2)),
    ("GRU × attention, dropout", GRU(), Attention(4, dropout=0.1)),
    ("a user's cell × GCN", Minimal(), GCN()),
)  # fmt: skip
"""Name, cell, operator; of a graph that is learnt, with its nodes, in `sequences_over_graphs`."""


def sequences_over_graphs(
    T: int = 12, H: int = 64, sizes: Sequence[tuple[int, int, Sequence[str]]] = (
        (207, 64, ("float32", "exact float32", "TF32")), (207, 1, ("float32",)),
        (2000, 8, ("float32",)),
    ),
) -> Iterator[Row]:  # fmt: skip
    """Measure layers of a sensor network's size, and of one whose shifts are sparse."""
    for nodes, B, kinds in sizes:
        edges = torch.randint(nodes, (2, 4 * nodes), generator=torch.Generator().manual_seed(0))
        graph = Graph(edges[:, edges[0] != edges[1]].unique(dim=1), num_nodes=nodes)
        graph = graph.to_undirected().to(DEVICE)
        for kind in kinds:
            learnt = ("GRU × a graph that is learnt", GRU(), Adaptive(nodes))
            for name, cell, operator in (*WORKS, learnt):
                if kind != "float32" and name not in ("GConvLSTM", "DCRNN"):
                    continue
                x = drawn(T, B, nodes, 2)
                ours = Recurrent(cell, 2, H, operator=operator).to(DEVICE)
                with products(kind):
                    row = {
                        "work": f"{name}, T {T} B {B} N {nodes} H {H}, {kind}",
                        "kernel": ours.kernel().split(" ")[0],
                        "ordinary": timed(trained(ours, x, graph=graph), 7),
                    }
                    with launched():
                        row["launched"] = timed(trained(ours, x, graph=graph), 7)
                    if getattr(operator, "dropout", 0):
                        row["captured"] = "cannot be: it draws"  # a failure may break the generator
                    else:
                        row["captured"] = timed_captured(trained(ours, x, graph=graph))
                    if kind == "float32":
                        if name == "GConvLSTM":
                            row["PyG"] = of_pyg(2, H, graph, x)
                        ours.kernels = [Reference()]
                        row["loop"] = timed(trained(ours, x, graph=graph), 3)
                yield row


def of_pyg(inputs: int, hidden: int, graph: Graph, x: Tensor) -> str:
    """Measure eight convolutions a step, where PyTorch Geometric is."""
    if not installed("torch_geometric"):
        return "not installed"
    return tried(
        lambda: timed(trained(EightConvolutions(inputs, hidden, 3, graph).to(DEVICE), x), 3)
    )


def shifts(
    sizes: Sequence[tuple[int, int, int]] = ((2000, 16_000, 512), (100_000, 1_000_000, 64)),
) -> Iterator[Row]:
    """Measure a sparse product with features: ours, which recordings use, and cuSPARSE's."""
    for nodes, entries, width in sizes:
        places = torch.randint(nodes, (2, entries)).unique(dim=1).to(DEVICE)
        values = torch.ones(places.shape[1], device=DEVICE)
        matrix = torch.sparse_coo_tensor(places, values, (nodes, nodes)).to_sparse_csr()
        rows, x = SparseRows.of(matrix), drawn(nodes, width)
        yield {
            "work": f"S x, {nodes:,} nodes, {entries:,} entries, {width} columns",
            "ours": timed(lambda rows=rows, x=x: rows.multiply(x[None])),
            "cuSPARSE": timed(lambda matrix=matrix, x=x: matrix @ x),
        }


def convolutions(
    sizes: Sequence[tuple[int, int, int]] = (
        (1_000_000, 100_000, 0), (1_000_000, 100_000, 40_000), (10_000_000, 1_000_000, 0),
    ),
) -> Iterator[Row]:  # fmt: skip
    """Measure one convolution over many edges: ours, PyTorch Geometric's, and that compiled."""
    for edges, nodes, hub in sizes:
        index = torch.randint(nodes, (2, edges)).to(DEVICE)
        index[1, :hub] = 0
        graph = Graph(index.unique(dim=1), num_nodes=nodes)
        x = drawn(nodes, 128).requires_grad_()
        for name, operator in (
            ("GCN", GCN()), ("GAT", Attention(8)), ("GATv2", Attention(8, version=2)),
        ):  # fmt: skip
            ours = GraphConv(operator, 128, 64).to(DEVICE)
            text = f"{name} 128→64, {edges:,} edges" + (f", a hub of {hub:,}" if hub else "")
            row = {"work": text, "ordinary": memory(trained(ours, x, graph=graph))}
            row["captured"] = timed_captured(trained(ours, x, graph=graph))
            if not installed("torch_geometric"):
                yield row | {"PyG": "not installed"}
                continue
            theirs = layer_of_pyg(name)
            row["PyG"] = memory(trained(theirs, x, edge_index=graph.edge_index))
            if edges <= 1_000_000 and not hub:
                fast: Any = torch.compile(theirs)
                row["PyG compiled"] = memory(trained(fast, x, edge_index=graph.edge_index))
            yield row


def layer_of_pyg(name: str) -> nn.Module:
    """Make PyTorch Geometric's layer."""
    from torch_geometric import nn as pyg

    made = {
        "GCN": lambda: pyg.GCNConv(128, 64), "GAT": lambda: pyg.GATConv(128, 8, 8),
        "GATv2": lambda: pyg.GATv2Conv(128, 8, 8),
    }  # fmt: skip
    return made[name]().to(DEVICE)


def memory(call: Call) -> str:
    """Return the time of a call, and the memory that it takes at most beyond what is there."""

    def measure() -> str:
        call()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        return f"{milliseconds(call, 7):.2f}, {peak:,.0f} MiB"

    return tried(measure)


def texts(symbols: str = "abcdefghijklmnopqrstuvwxyz .,\n", H: int = 128) -> Iterator[Row]:
    """Measure a step of a text's training, and generation, each next to a bare loop of torch."""
    T, B, V = 50, 64, len(symbols)
    numbers = torch.randint(V, (T + 1, B)).to(DEVICE)
    model = TextModel(Characters.of(symbols), TextConfig(hidden_size=H)).to(DEVICE)
    bare = Bare(V, model.embedding.weight.shape[1], H).to(DEVICE)
    row = {"work": f"a training step, LSTM, T {T} B {B} H {H}"}
    for name, one in (("Plait", model), ("torch.nn", bare)):
        optimizer = torch.optim.AdamW(one.parameters())

        def step(one=one, optimizer=optimizer) -> None:
            logits, _ = one(numbers[:-1])
            loss = F.cross_entropy(logits.flatten(0, 1), numbers[1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        row[name] = timed(step)
    yield row
    for cell in ("lstm", "gru-before"):
        config = TextConfig(hidden_size=H, cell=cell)
        model = TextModel(Characters.of(symbols), config).to(DEVICE)
        write = lambda model=model: model.generate("the ", 300)  # noqa: E731
        row = {"work": f"a text of 300 characters, {cell}, H {H}", "Plait": timed(write, 3)}
        with launched():
            row["step by step"] = timed(write, 3)
        if cell == "lstm":
            row["torch.nn"] = timed(lambda: bare.generate(numbers[:4, :1], 300), 3)
        yield row


class Bare(nn.Module):
    """Embedding, nn.LSTM, output."""

    def __init__(self, symbols: int, width: int, hidden: int) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(symbols, width), nn.Linear(hidden, symbols)
        self.recurrent = nn.LSTM(width, hidden)

    def forward(self, numbers: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        h, state = self.recurrent(self.embedding(numbers), state)
        return self.output(h), state

    @torch.no_grad()
    def generate(self, prompt: Tensor, length: int) -> list[int]:
        """Draw symbols one by one after `prompt [n, 1]`."""
        logits, state = self(prompt)
        found = []
        for _ in range(length):
            found.append(torch.multinomial(logits[-1].softmax(-1), 1))
            logits, state = self(found[-1], state)
        return torch.cat(found).flatten().tolist()


PARTS: dict[str, Callable[[], Iterator[Row]]] = {
    "limits": limits, "sequences": sequences, "texts": texts,
    "sequences over graphs": sequences_over_graphs, "shifts": shifts,
    "convolutions": convolutions,
}  # fmt: skip


def installed(name: str) -> bool:
    return find_spec(name) is not None


def run_part(name: str) -> None:
    """Measure one part, and print a line of JSON for every row."""
    for row in PARTS[name]():
        print(json.dumps(row), flush=True)


def rows_of(name: str, seconds: float) -> tuple[list[Row], str]:
    """Run one part in a process of its own; return its rows, and what ended it early."""
    command = [sys.executable, __file__, name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            out, err = process.communicate(timeout=seconds)
            ended = ""
            if process.returncode:
                last = (err.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
                ended = f"ended by an error: {last}"
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            ended = f"ended after {seconds:.0f} s"
    return [json.loads(line) for line in out.decode().splitlines() if line[:1] == "{"], ended


def table(rows: Sequence[Row]) -> str:
    """Write rows as a table whose columns are all that occur."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[row.get(name, "–").replace("|", "/") for name in columns] for row in rows]
    lines = [columns, ["---"] * len(columns), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def main() -> int:
    """Measure, and write the tables."""
    if len(sys.argv) > 1:
        run_part(sys.argv[1])
        return 0
    if not torch.cuda.is_available():
        print("torch finds no CUDA device here: nothing is measured")
        return 1
    begun, text = time.monotonic(), str(__doc__).split("\n\n", 1)[1]
    missing = [n for n in ("triton", "torch_geometric") if not installed(n)]
    said = f"Not installed: {', '.join(missing)}.\n\n" if missing else ""
    text = (
        f"# On a GPU\n\n{torch.cuda.get_device_name()}, torch {torch.__version__}. Forward and "
        f"backward in ms, unless something else is said.\n\n{text}\n{said}"
    )
    for k, name in enumerate(PARTS):
        left = SECONDS - (time.monotonic() - begun)
        print(f"{name}: at most {left:.0f} s left", flush=True)
        if left < 20:
            part = "Left out: no time.\n"
        else:  # no part takes all of the time from those after it
            rows, ended = rows_of(name, left if k == len(PARTS) - 1 else 0.6 * left)
            part = table(rows) + (f"\nThis part was {ended}.\n" if ended else "")
        text += f"## {name.capitalize()}\n\n{part}\n"
        print(part, flush=True)
        Path(__file__).with_name("RESULTS-gpu.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

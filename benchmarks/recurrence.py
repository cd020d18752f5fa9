"""Recurrences and generation beside their peers, and the machine's limits in the same run.

    python benchmarks/recurrence.py                 every row, a few minutes
    python benchmarks/recurrence.py --only gru      rows whose name holds this
    python benchmarks/recurrence.py --threads 1

A step is forward and backward. Both sides run in turn in one process; the figure is the median of
the ratios of each turn, with its quartiles. Writes benchmarks/RESULTS.md and recurrence.json.
"""

import argparse
import json
import platform
import statistics
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
from measure import seconds
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import plait
from plait import GRU, LSTM, RNN, Chebyshev, Diffusion, Graph, Recurrent
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

T, B, H, LAYERS = 30, 64, 128, 2
NODES, NEIGHBOURS, GRAPH_T, GRAPH_H = 207, 8, 12, 64


@dataclass
class Row:
    """A question: our side, the peer's, and the least ratio that is wanted."""

    name: str
    peer: str
    least: float
    make: Callable[[], tuple[Callable[[], Any], Callable[[], Any]]]


class Loop(nn.Module):
    """Layers written as a loop over time in torch, for cells that torch.nn does not have."""

    def __init__(self, cell: str, inputs: int) -> None:
        super().__init__()
        self.cell, gates = cell, 4 if cell == "lstm" else 3
        widths = [inputs] + [H] * (LAYERS - 1)
        self.inputs = nn.ModuleList(nn.Linear(width, gates * H) for width in widths)
        self.hidden = nn.ModuleList(nn.Linear(H, gates * H, bias=False) for _ in widths)
        self.peepholes = nn.Parameter(torch.zeros(LAYERS, 3, H))

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        for k, (inputs, hidden) in enumerate(zip(self.inputs, self.hidden, strict=True)):
            h = c = x.new_zeros(x.shape[1], H)
            steps = []
            for x_t in inputs(x):
                if self.cell == "lstm":
                    p_i, p_f, p_o = self.peepholes[k]
                    i, f, g, o = (x_t + hidden(h)).chunk(4, -1)
                    i, f = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c)
                    c = f * c + i * torch.tanh(g)
                    h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
                else:
                    x_r, x_z, x_n = x_t.chunk(3, -1)
                    u_r, u_z, u_n = hidden.weight.chunk(3)
                    r = torch.sigmoid(x_r + F.linear(h, u_r))
                    z = torch.sigmoid(x_z + F.linear(h, u_z))
                    h = z * h + (1 - z) * torch.tanh(x_n + F.linear(r * h, u_n))
                steps.append(h)
            x = torch.stack(steps)
        return x


class GConvLSTM(nn.Module):
    """GCRN's LSTM as PyTorch Geometric Temporal writes it: eight `ChebConv` a step."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torch_geometric.nn import ChebConv
        self.x = nn.ModuleList(ChebConv(inputs, GRAPH_H, 3) for _ in range(4))
        self.h = nn.ModuleList(ChebConv(GRAPH_H, GRAPH_H, 3) for _ in range(4))
        self.peepholes = nn.Parameter(torch.zeros(3, GRAPH_H))

    def forward(self, x: Tensor, graph: Graph) -> Tensor:  # noqa: D102
        edges, weight = graph.edge_index, graph.edge_weight
        h = c = x.new_zeros(*x.shape[1:-1], GRAPH_H)
        p_i, p_f, p_o = self.peepholes
        steps = []
        for x_t in x:
            i, f, g, o = (
                by_x(x_t, edges, weight) + by_h(h, edges, weight)
                for by_x, by_h in zip(self.x, self.h, strict=True)
            )
            i, f = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c)
            c = f * c + i * torch.tanh(g)
            h = torch.sigmoid(o + p_o * c) * torch.tanh(c)
            steps.append(h)
        return torch.stack(steps)


class DCRNN(nn.Module):
    """DCRNN's layer by its authors' formula: the batch folded, supports sparse, terms stacked."""

    def __init__(self, inputs: int, graph: Graph) -> None:
        super().__init__()
        A = torch.zeros(NODES, NODES)
        A[tuple(graph.edge_index)] = graph.edge_weight
        self.supports = [
            (m / m.sum(1, keepdim=True).clamp(min=1e-9)).T.to_sparse_csr() for m in (A, A.T)
        ]
        self.gates = nn.Linear(5 * (inputs + GRAPH_H), 2 * GRAPH_H)
        self.candidate = nn.Linear(5 * (inputs + GRAPH_H), GRAPH_H)

    def terms(self, x: Tensor) -> Tensor:
        """Give x and its diffusion along and against the edges `[batch, nodes, 5 · width]`."""
        batch, nodes, width = x.shape
        x0 = x.permute(1, 2, 0).reshape(nodes, -1)
        found = [x0]
        for S in self.supports:
            x1 = S @ x0
            found += [x1, 2 * (S @ x1) - x0]
        stacked = torch.stack(found).view(5, nodes, width, batch)
        return stacked.permute(3, 1, 2, 0).reshape(batch, nodes, -1)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        h = x.new_zeros(*x.shape[1:-1], GRAPH_H)
        steps = []
        for x_t in x:
            r, z = torch.sigmoid(self.gates(self.terms(torch.cat([x_t, h], -1)))).chunk(2, -1)
            n = torch.tanh(self.candidate(self.terms(torch.cat([x_t, r * h], -1))))
            h = z * h + (1 - z) * n
            steps.append(h)
        return torch.stack(steps)


def training(module: nn.Module, call: Callable[[], Tensor]) -> Callable[[], None]:
    def step() -> None:
        module.zero_grad()
        call().sum().backward()

    return step


def beside_torch(cell: Any, peer: Any, **options: Any) -> tuple[Callable, Callable]:
    x = torch.randn(T, B, H)
    theirs = peer(H, H, LAYERS, **options)
    ours = Recurrent.from_torch(theirs)
    return training(ours, lambda: ours(x)[0]), training(theirs, lambda: theirs(x)[0])


def beside_loop(cell: Any, name: str) -> tuple[Callable, Callable]:
    x = torch.randn(T, B, H)
    ours, theirs = Recurrent(cell, H, H, layers=LAYERS), Loop(name, H)
    return training(ours, lambda: ours(x)[0]), training(theirs, lambda: theirs(x))


def beside_packed(kind: Any, steps: int) -> tuple[Callable, Callable]:
    x, lengths = torch.randn(steps, B, H), torch.randint(1, steps + 1, (B,))
    theirs = kind(H, H, LAYERS)
    ours = Recurrent.from_torch(theirs)

    def packed() -> Tensor:
        parts = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(theirs(parts)[0], total_length=steps)[0]

    return training(ours, lambda: ours(x, lengths=lengths)[0]), training(theirs, packed)


def sensors() -> Graph:
    return Graph.from_points(
        torch.rand(NODES, 2, generator=torch.Generator().manual_seed(0)), NEIGHBOURS
    )


def beside_gconv(batch: int) -> tuple[Callable, Callable]:
    graph, x = sensors(), torch.randn(GRAPH_T, batch, NODES, 2)
    ours = Recurrent(LSTM(peephole=True), 2, GRAPH_H, operator=Chebyshev(3))
    theirs = GConvLSTM(2)
    return (
        training(ours, lambda: ours(x, graph=graph)[0]),
        training(theirs, lambda: theirs(x, graph)),
    )


def beside_dcrnn(batch: int) -> tuple[Callable, Callable]:
    graph, x = sensors(), torch.randn(GRAPH_T, batch, NODES, 2)
    ours, theirs = Recurrent(GRU("before"), 2, GRAPH_H, operator=Diffusion(2)), DCRNN(2, graph)
    return training(ours, lambda: ours(x, graph=graph)[0]), training(theirs, lambda: theirs(x))


def generation(hidden: int, count: int, length: int) -> tuple[Callable, Callable]:
    symbols = Characters.of("".join(chr(33 + k) for k in range(80)))
    config = TextConfig(hidden_size=hidden, embedding_size=hidden, layers=LAYERS)
    model = TextModel(symbols, config).eval()
    lstm = model.recurrent.to_torch().eval()

    @torch.inference_mode()
    def loop() -> None:
        last, state = torch.zeros(1, count, dtype=torch.long), None
        for _ in range(length):
            h, state = lstm(model.embedding(last), state)
            last = torch.multinomial(model.output(h[0]).softmax(-1), 1).T

    return lambda: model.generate("!", length, count=count), loop


ROWS = [
    Row("LSTM, training step", "nn.LSTM", 1.0, lambda: beside_torch(LSTM(), nn.LSTM)),
    Row("GRU, training step", "nn.GRU", 1.6, lambda: beside_torch(GRU(), nn.GRU)),
    Row("RNN, training step", "nn.RNN", 2.5, lambda: beside_torch(RNN(), nn.RNN)),
    Row("LSTM with peepholes", "a loop in torch", 5, lambda: beside_loop(LSTM(True), "lstm")),
    Row("GRU, reset before", "a loop in torch", 5, lambda: beside_loop(GRU("before"), "gru")),
    Row("LSTM, lengths 1 … 30", "packed nn.LSTM", 1.3, lambda: beside_packed(nn.LSTM, 30)),
    Row("LSTM, lengths 1 … 200", "packed nn.LSTM", 3.5, lambda: beside_packed(nn.LSTM, 200)),
    Row("GRU, lengths 1 … 200", "packed nn.GRU", 3.5, lambda: beside_packed(nn.GRU, 200)),
    Row("generation 2 × 128, one text", "a loop in torch", 15, lambda: generation(128, 1, 200)),
    Row("generation 2 × 512, one text", "a loop in torch", 6, lambda: generation(512, 1, 100)),
    Row("generation 2 × 512, 64 texts", "a loop in torch", 2, lambda: generation(512, 64, 20)),
    Row("GConvLSTM step, batch 1", "eight ChebConv of PyG", 8, lambda: beside_gconv(1)),
    Row("GConvLSTM step, batch 64", "eight ChebConv of PyG", 4, lambda: beside_gconv(64)),
    Row("DCRNN step, batch 64", "its formula in torch", 3, lambda: beside_dcrnn(64)),
]


def limits() -> dict[str, float]:
    """Measure the fastest product and copy of several."""
    a, big = torch.randn(2048, 2048), torch.randn(2**26)
    other = torch.empty_like(big)
    product = min(seconds(lambda: a @ a) for _ in range(8))
    copy = min(seconds(lambda: other.copy_(big)) for _ in range(8))
    return {
        "product, GFLOP/s": 2 * 2048**3 / product / 1e9,
        "copy, GB/s": 2 * 4 * 2**26 / copy / 1e9,
    }


def measure(row: Row, rounds: int) -> dict[str, Any]:
    torch.manual_seed(0)
    ours, theirs = row.make()
    for run in (ours, theirs):
        run()
        run()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    low, middle, high = statistics.quantiles([t / o for o, t in pairs], n=4)
    mine, peers = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
    return {
        "work": row.name, "peer": row.peer, "wanted": row.least, "ours, ms": mine,
        "peer, ms": peers, "times as fast": middle, "quartiles": [low, high],
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    facts = {
        "date": date.today().isoformat(), "processor": processor(), "threads": options.threads,
        "torch": torch.__version__, "plait": plait.__version__, "python": platform.python_version(),
        **limits(),
    }  # fmt: skip
    print(
        ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in facts.items())
    )
    rows = []
    for row in ROWS:
        if options.only.lower() in row.name.lower():
            rows.append(measure(row, options.rounds))
            print(line(rows[-1]), flush=True)
    if not options.only:
        folder = Path(__file__).parent
        text = json.dumps({"facts": facts, "rows": rows}, indent=1)
        Path(folder, "recurrence.json").write_text(text + "\n")
        Path(folder, "RESULTS.md").write_text(report(facts, rows))


def processor() -> str:
    """Name the processor as the system does."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def line(row: dict[str, Any]) -> str:
    low, high = row["quartiles"]
    return (
        f"| {row['work']} | {row['ours, ms']:.2f} | {row['peer']} | {row['peer, ms']:.2f} | "
        f"{row['times as fast']:.2f} ({low:.2f} … {high:.2f}) | {row['wanted']} |"
    )


def report(facts: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    said = [f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in facts.items()]
    return "\n".join(
        [
            "# Speed of recurrences", "",
            "Written by `make bench`. " + "; ".join(said) + ".", "",
            f"T = {T}, batch {B}, {LAYERS} layers of {H} channels; graphs of {NODES} nodes with "
            f"{NEIGHBOURS} neighbours, T = {GRAPH_T}, {GRAPH_H} channels. The ratio is the median "
            "of turns taken in one process, with quartiles.", "",
            "| work | ours, ms | peer | peer, ms | times as fast | wanted |",
            "|---|---|---|---|---|---|",
            *map(line, rows), "",
        ]
    )  # fmt: skip


if __name__ == "__main__":
    main()

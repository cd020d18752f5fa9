"""Recurrences and generation against their peers: a step is forward and backward.

Run by `python benchmarks/bench.py --only gru` and the like.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from measure import Row, Sides
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plait import GRU, LSTM, RNN, Chebyshev, Diffusion, Graph, MinGRU, Recurrent
from plait.tasks.text.config import TextConfig
from plait.tasks.text.model import TextModel
from plait.tasks.text.vocabulary import Characters

T, B, H, LAYERS = 30, 64, 128, 2
NODES, NEIGHBOURS, GRAPH_T, GRAPH_H = 207, 8, 12, 64


class Loop(nn.Module):
    """Layers written as a loop over time in torch, for cells that torch.nn does not have."""

    def __init__(self, cell: str, inputs: int) -> None:
        super().__init__()
        self.cell, gates = cell, 4 if cell == "lstm" else 3
        widths = [inputs] + [H] * (LAYERS - 1)
        self.inputs = nn.ModuleList(nn.Linear(width, gates * H) for width in widths)
        self.hidden = nn.ModuleList(nn.Linear(H, gates * H, bias=False) for _ in widths)
        self.peepholes = nn.Parameter(torch.zeros(LAYERS, 3, H))

    def forward(self, x: Tensor) -> Tensor:
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

    def forward(self, x: Tensor, graph: Graph) -> Tensor:
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
        """Return x and its diffusion along and against the edges `[batch, nodes, 5 · width]`."""
        batch, nodes, width = x.shape
        x0 = x.permute(1, 2, 0).reshape(nodes, -1)
        found = [x0]
        for S in self.supports:
            x1 = S @ x0
            found += [x1, 2 * (S @ x1) - x0]
        stacked = torch.stack(found).view(5, nodes, width, batch)
        return stacked.permute(3, 1, 2, 0).reshape(batch, nodes, -1)

    def forward(self, x: Tensor) -> Tensor:
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


def beside_torch(cell: Any, peer: Any, **options: Any) -> Sides:
    x = torch.randn(T, B, H)
    theirs = peer(H, H, LAYERS, **options)
    ours = Recurrent.from_torch(theirs)
    return training(ours, lambda: ours(x)[0]), training(theirs, lambda: theirs(x)[0])


def forward_beside_torch(peer: Any, batch: int) -> Sides:
    x = torch.randn(T, batch, H)
    theirs = peer(H, H, LAYERS)
    ours = Recurrent.from_torch(theirs)
    return torch.no_grad()(lambda: ours(x)), torch.no_grad()(lambda: theirs(x))


def min_gru(width: int, steps: int) -> Sides:
    x = torch.randn(steps, B, width)
    ours, theirs = Recurrent(MinGRU(), width, width), nn.GRU(width, width)
    return training(ours, lambda: ours(x)[0]), training(theirs, lambda: theirs(x)[0])


def beside_loop(cell: Any, name: str) -> Sides:
    x = torch.randn(T, B, H)
    ours, theirs = Recurrent(cell, H, H, layers=LAYERS), Loop(name, H)
    return training(ours, lambda: ours(x)[0]), training(theirs, lambda: theirs(x))


def beside_packed(kind: Any, steps: int) -> Sides:
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


def beside_gconv(batch: int) -> Sides:
    graph, x = sensors(), torch.randn(GRAPH_T, batch, NODES, 2)
    ours = Recurrent(LSTM(peephole=True), 2, GRAPH_H, operator=Chebyshev(3))
    theirs = GConvLSTM(2)
    return (
        training(ours, lambda: ours(x, graph=graph)[0]),
        training(theirs, lambda: theirs(x, graph)),
    )


def beside_dcrnn(batch: int) -> Sides:
    graph, x = sensors(), torch.randn(GRAPH_T, batch, NODES, 2)
    ours, theirs = Recurrent(GRU("before"), 2, GRAPH_H, operator=Diffusion(2)), DCRNN(2, graph)
    return training(ours, lambda: ours(x, graph=graph)[0]), training(theirs, lambda: theirs(x))


def writing(hidden: int, count: int, length: int, peer: str, weights: Any) -> Sides:
    symbols = Characters.of("".join(chr(33 + k) for k in range(80)))
    config = TextConfig(hidden_size=hidden, embedding_size=hidden, layers=LAYERS)
    model = TextModel(symbols, config).eval()
    loop = {"torch": torch_loop, "onnx": onnx_loop}[peer](model, count, length)
    ours = model.with_weights(weights)
    return lambda: ours.generate("!", length, count=count), loop


def torch_loop(model: TextModel, count: int, length: int) -> Callable[[], None]:
    lstm = model.recurrent.to_torch().eval()

    @torch.inference_mode()
    def loop() -> None:
        last, state = torch.zeros(1, count, dtype=torch.long), None
        for _ in range(length):
            h, state = lstm(model.embedding(last), state)
            last = torch.multinomial(model.output(h[0]).softmax(-1), 1).T

    return loop


def onnx_loop(model: TextModel, count: int, length: int) -> Callable[[], None]:
    """Write by ONNX Runtime: a step of the model a call, the draw in NumPy."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(exported(model), options, ["CPUExecutionProvider"])
    shape = (model.recurrent.layers, count, model.recurrent.hidden_size)
    last, random = torch.zeros(count, dtype=torch.long), np.random.default_rng(0)
    fed = {"last": last.numpy(), "h": np.zeros(shape, "f"), "c": np.zeros(shape, "f")}
    with torch.inference_mode():
        expected, _ = model(last[None])
    np.testing.assert_allclose(session.run(None, fed)[0], expected[0], atol=1e-4)

    def loop() -> None:
        for _ in range(length):
            logits, fed["h"], fed["c"] = session.run(None, fed)
            chances = np.exp(logits - logits.max(1, keepdims=True)).cumsum(1)
            drawn = random.random((count, 1)) * chances[:, -1:] < chances
            fed["last"] = drawn.argmax(1)

    return loop


def exported(model: TextModel) -> bytes:
    """Write one step of an LSTM as an ONNX graph: last symbols and states to logits and states."""
    from onnx import TensorProto, helper, numpy_helper

    nodes, held = [], []

    def constant(name: str, value: Tensor) -> str:
        held.append(numpy_helper.from_array(value.detach().numpy().copy(), name))
        return name

    def node(kind: str, *inputs: str, to: list[str], **attributes: Any) -> None:
        nodes.append(helper.make_node(kind, inputs, to, **attributes))

    def reordered(weight: Tensor) -> Tensor:  # i, f, g, o are i, o, f, c there
        i, f, g, o = weight.chunk(4)
        return torch.cat([i, o, f, g])[None]

    lstm = model.recurrent.to_torch()
    layers, H = lstm.num_layers, lstm.hidden_size
    first = constant("axis", torch.tensor([0]))
    node("Gather", constant("E", model.embedding.weight), "last", to=["e"])
    node("Unsqueeze", "e", first, to=["x0"])  # [1, B, E]
    for state in "hc":
        node("Split", state, to=[f"{state}{k}" for k in range(layers)], num_outputs=layers)
    for k in range(layers):
        W, R, *biases = (
            reordered(getattr(lstm, f"{name}_l{k}").detach())
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        names = [
            constant(f"{n}{k}", w) for n, w in (("W", W), ("R", R), ("b", torch.cat(biases, 1)))
        ]
        node("LSTM", f"x{k}", *names, "", f"h{k}", f"c{k}",
             to=[f"y{k}", f"new_h{k}", f"new_c{k}"], hidden_size=H)  # fmt: skip
        node("Squeeze", f"y{k}", constant(f"second{k}", torch.tensor([1])), to=[f"x{k + 1}"])
    for state in "hc":
        node("Concat", *(f"new_{state}{k}" for k in range(layers)), to=[f"new_{state}"], axis=0)
    node("Squeeze", f"x{layers}", first, to=["top"])
    node("Gemm", "top", constant("V", model.output.weight), constant("b", model.output.bias),
         to=["logits"], transB=1)  # fmt: skip
    real, shape = TensorProto.FLOAT, [layers, "B", H]
    states = [helper.make_tensor_value_info(name, real, shape) for name in ("h", "c")]
    new = [helper.make_tensor_value_info(name, real, shape) for name in ("new_h", "new_c")]
    last = helper.make_tensor_value_info("last", TensorProto.INT64, ["B"])
    logits = helper.make_tensor_value_info("logits", real, ["B", len(model.output.weight)])
    graph = helper.make_graph(nodes, "step", [last, *states], [logits, *new], held)
    opset = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()


def recurrent_operations(
    gates: int, rows: int, *, layers: int = LAYERS, width: int = H, terms: int = 1,
    inputs: int | None = None,
) -> float:  # fmt: skip
    """Count a step's products: three of each side, but for the gradient of the input itself.

    `inputs`: the features of the first layer's input; as many as channels if not given.
    """
    recurrent = 2 * rows * terms * width * gates * width
    first = 2 * rows * terms * (width if inputs is None else inputs) * gates * width
    return 3 * (layers * recurrent + (layers - 1) * recurrent + first) - first


def torch_row(name: str, peer: Any, least: float, gates: int, cell: Any, **options: Any) -> Row:
    make = partial(beside_torch, cell, peer, **options)
    return Row(name, f"nn.{peer.__name__}", least, make, recurrent_operations(gates, T * B))


def forward_row(peer: Any, gates: int, batch: int) -> Row:
    name, rows = f"{peer.__name__}, forward, batch {batch}", T * batch
    make = partial(forward_beside_torch, peer, batch)
    return Row(name, f"nn.{peer.__name__}", 1, make, 4 * LAYERS * rows * gates * H * H)


def min_gru_row(width: int, steps: int) -> Row:
    products = 2 * 2 * (2 * steps * B * width * width)  # two gates; forward and the weights'
    make = partial(min_gru, width, steps)
    return Row(f"MinGRU, H = {width}, T = {steps}", "nn.GRU", 1, make, products)


def loop_row(name: str, cell: Any, kind: str, gates: int) -> Row:
    count = recurrent_operations(gates, T * B)
    return Row(name, "a loop in torch", 5, lambda: beside_loop(cell, kind), count)


def length_row(peer: Any, gates: int, steps: int, least: float) -> Row:
    kind, count = peer.__name__, recurrent_operations(gates, (steps + 1) * B // 2)
    name = f"{kind}, lengths 1 … {steps}"
    return Row(name, f"packed nn.{kind}", least, lambda: beside_packed(peer, steps), count)


def graph_row(name: str, peer: str, least: float, gates: int, terms: int, batch: int) -> Row:
    make = {"GConvLSTM": beside_gconv, "DCRNN": beside_dcrnn}[name]
    rows = GRAPH_T * batch * NODES
    count = recurrent_operations(gates, rows, layers=1, width=GRAPH_H, terms=terms, inputs=2)
    return Row(
        f"{name} step, batch {batch}", peer, least, lambda: make(batch), count, name == "GConvLSTM"
    )


def writing_row(
    hidden: int, count: int, length: int, least: float, peer: str = "torch",
    weights: str = "float32",
) -> Row:  # fmt: skip
    texts = "one text" if count == 1 else f"{count} texts"
    name = f"generation 2 × {hidden}, {texts}, {length} characters"
    name += "" if weights == "float32" else f", in {weights}"
    of = {"torch": "a loop in torch", "onnx": "ONNX Runtime, a step a call"}[peer]
    return Row(name, of, least, partial(writing, hidden, count, length, peer, weights))


FORWARD = ((nn.RNN, 1), (nn.LSTM, 4), (nn.GRU, 3))
CHEBYSHEV, FORMULA = "eight ChebConv of PyG", "its formula in torch"
ROWS = [
    torch_row("LSTM, training step", nn.LSTM, 1.0, 4, LSTM()),
    torch_row("GRU, training step", nn.GRU, 1.6, 3, GRU()),
    torch_row("RNN, training step", nn.RNN, 2.5, 1, RNN()),
    loop_row("LSTM with peepholes", LSTM(True), "lstm", 4),
    loop_row("GRU, reset before", GRU("before"), "gru", 3),
    *(forward_row(*of, batch) for of in FORWARD for batch in (1, 8)),
    min_gru_row(100, 1000),
    length_row(nn.LSTM, 4, 30, 1.3),
    length_row(nn.LSTM, 4, 200, 3.5),
    length_row(nn.GRU, 3, 200, 3.5),
    writing_row(128, 1, 1000, 15),
    writing_row(128, 1, 1000, 3, "onnx"),
    writing_row(512, 1, 300, 6),
    writing_row(512, 1, 1000, 1.1, "onnx"),
    writing_row(512, 1, 1000, 1.1, "onnx", "bfloat16"),
    writing_row(512, 1, 1000, 3, "onnx", "int8"),
    writing_row(512, 64, 20, 2),
    graph_row("GConvLSTM", CHEBYSHEV, 8, 4, 3, 1),
    graph_row("GConvLSTM", CHEBYSHEV, 4, 4, 3, 64),
    graph_row("DCRNN", FORMULA, 3, 3, 5, 64),
]

"""Steps in Triton against plain torch in float64: on a GPU, or in Triton's interpreter."""

import subprocess
import sys
from functools import partial

import compared as passes
import pytest
import torch

from plait import (
    GCN,
    GRU,
    LSTM,
    RNN,
    Adaptive,
    Attention,
    Cell,
    Chebyshev,
    Dense,
    Diffusion,
    Graph,
    LayerNormLSTM,
    MinGRU,
    PerNode,
    Recurrent,
)
from plait.kernels.gpu import products, steps
from plait.kernels.gpu.autograd import run_pass
from plait.kernels.gpu.steps import TritonSteps
from plait.kernels.reference import Reference
from plait.testing import check_kernel

pytest.importorskip("triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
STEPS = TritonSteps(DEVICE)
NET = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 4), (4, 1)]).to_undirected()
DIRECTED = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 4)], weights=[1.0, 2.0, 0.5, 3.0])


class Own(Cell):
    """Min, max, where, abs, and a state that no product reads."""

    gates = "an"
    states = ("h", "m")
    vectors = ("p",)

    def step(self, x_gates, recurrent, state, vectors):
        h, m = state
        x_a, x_n = x_gates.chunk(2, -1)
        a = torch.sigmoid(x_a + recurrent(h, "a"))
        n = torch.where(x_n > 0, torch.tanh(x_n), 0.5 * x_n) + recurrent(a * h, "n")
        m = torch.maximum(0.9 * m, n.abs().clamp(max=2.0) * vectors["p"])
        return a * h + (1 - a) * torch.tanh(n) + 0.1 * torch.tanh(m), m


compared = partial(passes.compared, STEPS, device=DEVICE)


CELLS = [RNN(), LSTM(True), GRU(), GRU("before"), LayerNormLSTM(), MinGRU(), Own()]


@pytest.mark.parametrize(
    ("cell", "operator"),
    [
        *((cell, Dense()) for cell in CELLS), *((cell, Chebyshev(3)) for cell in CELLS),
        (LSTM(True), Attention(1)), (GRU("before"), Attention(5, version=2)),
        (LSTM(), GCN()), (GRU("before"), Diffusion(2)),
    ], ids=repr,
)  # fmt: skip
def test_values_and_gradients_are_the_references(cell, operator, assert_near):
    """H 5 is no power of two; lengths, one of them 0; start states."""
    graph = None if isinstance(operator, Dense) else NET
    layer = Recurrent(cell, 3, 5, operator=operator)
    assert_near(*compared(layer, 2, 3, graph=graph, lengths=torch.tensor([2, 0, 1])), 1e-5)


def test_layers_and_both_directions():
    assert check_kernel(STEPS, RNN(), operator=GCN(), graph=NET, device=DEVICE)


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELLS, ids=repr)
@pytest.mark.parametrize(
    "operator",
    [Dense(), GCN(), Chebyshev(3), Diffusion(2), Attention(1), Attention(1, version=2)],
    ids=repr,
)
def test_layers_and_both_directions_of_all(cell, operator):
    graph = None if isinstance(operator, Dense) else NET
    assert check_kernel(STEPS, cell, operator=operator, graph=graph, device=DEVICE)


@pytest.mark.parametrize("directed", [False, True])
def test_sparse_shifts(directed, monkeypatch, assert_near):
    """Of more orders than one, of one shift and of two."""
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "DENSE", 2.0)
    operator = Diffusion(2) if directed else Chebyshev(4)
    layer = Recurrent(GRU("before") if directed else RNN(), 3, 4, operator=operator)
    graph = DIRECTED if directed else NET
    assert_near(*compared(layer, 2, 1, graph=graph), 1e-5)
    monkeypatch.setattr(steps, "WIDEST", 0)
    assert_near(*compared(layer, 1, 1, graph=graph), 1e-5)


@pytest.mark.parametrize("given", [None, Attention(1)], ids=repr)
def test_what_an_operator_learns_itself_has_its_gradient(given, assert_near):
    """A graph that is learnt, and weights of each node, next to an operator in torch."""
    operator = Adaptive(5, size=2) if given is None else PerNode(given, 5, 2)
    layer = Recurrent(GRU("before"), 3, 4, operator=operator, layers=2)
    assert_near(*compared(layer, 2, 2, graph=given and NET), 1e-5)


@pytest.mark.parametrize(("T", "B"), [(1, 2), (3, 0), (2, 1)], ids=repr)
@pytest.mark.parametrize("graph", [None, NET], ids=["dense", "graph"])
def test_one_step_one_sequence_and_none(T, B, graph, assert_near):
    operator = Chebyshev(2) if graph else Dense()
    layer = Recurrent(GRU("before"), 3, 6, operator=operator)
    assert_near(*compared(layer, T, B, graph=graph), 1e-5)


def test_more_rows_and_channels_than_a_tile(assert_near):
    layer = Recurrent(LSTM(True), 3, 130)
    assert_near(*compared(layer, 2, 5, lengths=torch.tensor([2] * 4 + [1])), 1e-5)


@pytest.mark.parametrize("H", [5, 34])
def test_more_nodes_and_channels_than_a_tile_of_gates(H, assert_near):
    """Of 70 rows; 34 channels are two tiles forward, and on the way back one of 64."""
    layer = Recurrent(LSTM(True), 3, H, operator=Chebyshev(2))
    assert_near(*compared(layer, 1, 14, graph=NET), 1e-5)


def test_wide_layers_leave_the_gates_of_a_graph_to_the_library(monkeypatch, assert_near):
    monkeypatch.setattr(steps, "WIDEST", 0)
    layer = Recurrent(GRU("before"), 3, 4, operator=Chebyshev(3))
    assert_near(*compared(layer, 2, 2, graph=NET), 1e-5)


def test_a_graph_that_changes_from_step_to_step(assert_near):
    layer = Recurrent(GRU("before"), 3, 4, operator=GCN())
    other = Graph.from_edges([(0, 1), (3, 4)], num_nodes=5).to_undirected()
    graphs = [NET.to(DEVICE), other.to(DEVICE)]
    assert_near(*compared(layer, 2, 2, graph=graphs), 1e-5)


def test_recurrent_dropout_drops_what_plain_torch_drops(assert_near):
    layer = Recurrent(GRU("before"), 3, 6, recurrent_dropout=0.5)
    assert_near(*compared(layer, 2, 3, precise=False), 1e-5)
    layer = Recurrent(LSTM(), 3, 6, operator=GCN(), recurrent_dropout=0.5)
    assert_near(*compared(layer, 2, 3, graph=NET, precise=False), 1e-5)


@pytest.mark.parametrize("operator", [Dense(), Chebyshev(2)], ids=repr)
def test_autocast_multiplies_in_bfloat16_and_computes_the_rest_in_float32(operator):
    graph = None if isinstance(operator, Dense) else NET.to(DEVICE)
    layer = Recurrent(GRU("before"), 3, 6, operator=operator).to(DEVICE)
    x = torch.randn(3, 3, *[5] * bool(graph), 3, device=DEVICE, requires_grad=True)
    found = []
    for kernel, autocast in ((STEPS, True), (Reference(), False)):
        layer.kernels = [kernel]
        with torch.autocast(DEVICE, torch.bfloat16, enabled=autocast):
            y, _ = layer(x, graph=graph)
        assert y.dtype == torch.float32
        found.append((y, *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])))
    (y, *grads), (right, *right_grads) = found
    assert not torch.equal(y, right)
    torch.testing.assert_close(y, right, rtol=0, atol=0.02)
    for change, wanted in zip(grads, right_grads, strict=True):
        atol = 0.05 * float(wanted.abs().max())
        torch.testing.assert_close(change, wanted, rtol=0, atol=atol)


@pytest.mark.skipif(DEVICE == "cpu", reason="no CUDA device here")
@pytest.mark.parametrize("nodes", [207, 2000])
@pytest.mark.parametrize(
    ("cell", "operator"),
    [(LSTM(True), Chebyshev(3)), (GRU("before"), Diffusion(2)), (LSTM(), GCN()), (GRU(), GCN())],
    ids=repr,
)
@pytest.mark.parametrize("switch", ["none", "ieee", "tf32"])
def test_on_a_gpu_products_are_as_exact_as_torchs_switch_says(
    cell, operator, nodes, switch, assert_near
):
    """Of a sensor network's size, and with sparse shifts; bounds as the prototypes had them."""
    edges = torch.randint(nodes, (2, 4 * nodes)).unique(dim=1)
    graph = Graph(edges, num_nodes=nodes).to_undirected()
    layer = Recurrent(cell, 3, 64, operator=operator)
    lengths = torch.tensor([4, 0, 2])
    torch.backends.cuda.matmul.allow_tf32 = switch == "tf32"
    if switch == "none":
        torch.backends.cuda.matmul.fp32_precision = "none"
    try:
        found, right = compared(layer, 4, 3, graph=graph, lengths=lengths)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cuda.matmul.fp32_precision = "none"
    assert_near(found, right, 5e-3 if switch == "tf32" else 1e-5)


def test_triton_is_not_imported_before_it_is_wanted():
    code = "import sys, plait; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_gradient_can_be_differentiated():
    layer = Recurrent(GRU(), 2, 3).to(DEVICE)
    slopes = []
    for kernel in (STEPS, Reference()):
        layer.kernels = [kernel]
        x = torch.ones(3, 1, 2, device=DEVICE, requires_grad=True)
        (g,) = torch.autograd.grad(layer(x)[0].square().sum(), x, create_graph=True)
        slopes.append(torch.autograd.grad(g.square().sum(), x)[0])
    torch.testing.assert_close(slopes[0], slopes[1], rtol=0, atol=1e-5)


@pytest.mark.parametrize("changing", [False, True])
def test_a_gradient_that_can_be_differentiated_drops_the_same(changing):
    layer = Recurrent(RNN(), 2, 3, operator=Attention(1, dropout=0.5)).to(DEVICE)
    layer.kernels = [STEPS]
    graph = Graph.from_edges([(0, 1), (1, 2), (2, 3)]).to_undirected().to(DEVICE)
    start, x = torch.randn(1, 1, 4, 3), torch.randn(2, 1, 4, 2, device=DEVICE)
    start = start.to(DEVICE).requires_grad_()
    loss = layer(x, start, graph=[graph, graph] if changing else graph)[0].square().sum()
    (first,) = torch.autograd.grad(loss, start, retain_graph=True)
    (second,) = torch.autograd.grad(loss, start, create_graph=True)
    torch.testing.assert_close(first, second.detach(), rtol=0, atol=1e-5)


def test_tensors_of_another_type_are_refused():
    program = Recurrent(RNN(), 2, 3).directions[0].program(dropped=False)
    with pytest.raises(ValueError, match="convert all weights, inputs and states with"):
        run_pass(program, [torch.ones(1).double(), torch.ones(1)], lambda: ())


def test_explain_shows_the_source_and_says_why_it_does_not_run():
    layer = Recurrent(GRU("before"), 2, 3)
    assert "plait-gpu-steps: x lies on cpu" in " ".join(
        f"{name}: {reason}"
        for name, reason in layer.double().choice(0, torch.ones(1, 1, 2).double()).passed_over
    )
    layer.kernels = [STEPS]
    text = layer.float().to(DEVICE).explain(source=True)
    assert text.startswith("layer 0: plait-gpu-steps - steps of GRU(reset='before') in Triton")
    assert "def backward_1(t, rows, lengths" in text

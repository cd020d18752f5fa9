"""Steps in Triton against plain torch in float64: on a GPU, or in Triton's interpreter."""

import copy
import subprocess
import sys

import pytest
import torch

from plait import (
    GCN,
    GRU,
    LSTM,
    RNN,
    Attention,
    Cell,
    Chebyshev,
    Dense,
    Diffusion,
    Graph,
    LayerNormLSTM,
    MinGRU,
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


@pytest.mark.parametrize(
    "cell", [RNN(), LSTM(True), GRU(), GRU("before"), LayerNormLSTM(), MinGRU(), Own()], ids=repr
)
@pytest.mark.parametrize(
    ("operator", "graph"), [(Dense(), None), (Chebyshev(3), NET), (Attention(1), NET)], ids=repr
)
def test_values_and_gradients_are_the_references(cell, operator, graph):
    """With lengths, one of them 0, two layers and both directions; H 5 is no power of two."""
    assert check_kernel(STEPS, cell, operator=operator, graph=graph, device=DEVICE)


@pytest.mark.parametrize("operator", [GCN(), Diffusion(2)], ids=repr)
def test_terms_of_other_filters(operator):
    assert check_kernel(STEPS, LSTM(), operator=operator, graph=NET, device=DEVICE)
    if isinstance(operator, Diffusion):
        assert check_kernel(STEPS, GRU("before"), operator=operator, graph=DIRECTED, device=DEVICE)


def test_sparse_shifts_give_what_dense_ones_do(monkeypatch):
    monkeypatch.setattr(products, "SMALL", 0)
    monkeypatch.setattr(products, "DENSE", 2.0)
    edges = [(k, (k + 1) % 16) for k in range(16)]
    ring = Graph.from_edges(edges).to_undirected()
    assert check_kernel(STEPS, GRU("before"), operator=Chebyshev(4), graph=ring, device=DEVICE)
    assert check_kernel(
        STEPS, GRU(), operator=Diffusion(3), graph=Graph.from_edges(edges), device=DEVICE
    )


def compared(layer, x, **options):
    """Return outputs, and the gradient of their squares, of a kernel and of plain torch."""
    found = []
    if isinstance(options.get("graph"), Graph):
        options["graph"] = options["graph"].to(DEVICE)
    for kernel in (STEPS, Reference()):
        one = copy.deepcopy(layer).to(DEVICE)
        one.kernels = [kernel]
        torch.manual_seed(3)
        given = x.to(DEVICE, copy=True).requires_grad_()
        y, _ = one(given, **options)
        grads = torch.autograd.grad(y.square().sum(), [given, *one.parameters()])
        found.append((y, *grads))
    return found


@pytest.mark.parametrize("shape", [(1, 2, 3), (3, 0, 3), (2, 1, 3)], ids=repr)
def test_one_step_one_sequence_and_none(shape, assert_near):
    ours, right = compared(Recurrent(GRU("before"), 3, 6), torch.randn(shape))
    assert_near(ours, right, 1e-5)


def test_more_rows_and_channels_than_a_tile(assert_near):
    layer = Recurrent(LSTM(True), 3, 130)
    ours, right = compared(layer, torch.randn(2, 9, 3), lengths=torch.tensor([2] * 8 + [1]))
    assert_near(ours, right, 1e-5)


def test_more_nodes_and_channels_than_a_tile_of_gates(assert_near):
    layer = Recurrent(RNN(), 3, 34, operator=Chebyshev(2))
    ours, right = compared(layer, torch.randn(2, 14, 5, 3), graph=NET)
    assert_near(ours, right, 1e-5)


def test_wide_layers_leave_the_gates_of_a_graph_to_the_library(monkeypatch, assert_near):
    monkeypatch.setattr(steps, "WIDEST", 0)
    layer = Recurrent(GRU("before"), 3, 4, operator=Chebyshev(3))
    ours, right = compared(layer, torch.randn(2, 2, 5, 3), graph=NET)
    assert_near(ours, right, 1e-5)


def test_a_graph_that_changes_from_step_to_step(assert_near):
    layer = Recurrent(GRU("before"), 3, 4, operator=GCN())
    other = Graph.from_edges([(0, 1), (3, 4)], num_nodes=5).to_undirected()
    graphs = [NET.to(DEVICE), other.to(DEVICE)]
    ours, right = compared(layer, torch.randn(2, 2, 5, 3), graph=graphs)
    assert_near(ours, right, 1e-5)


def test_recurrent_dropout_drops_what_plain_torch_drops(assert_near):
    layer = Recurrent(GRU("before"), 3, 6, recurrent_dropout=0.5)
    ours, right = compared(layer, torch.randn(4, 3, 3))
    assert_near(ours, right, 1e-5)
    layer = Recurrent(LSTM(), 3, 6, operator=GCN(), recurrent_dropout=0.5)
    ours, right = compared(layer, torch.randn(4, 3, 5, 3), graph=NET)
    assert_near(ours, right, 1e-5)


@pytest.mark.parametrize("operator", [Dense(), Chebyshev(2)], ids=repr)
def test_autocast_multiplies_in_bfloat16_and_computes_the_rest_in_float32(operator):
    graph = None if isinstance(operator, Dense) else NET
    layer = Recurrent(GRU("before"), 3, 6, operator=operator)
    x = torch.randn(4, 5, 5, 3) if graph else torch.randn(4, 5, 3)
    right, *right_grads = compared(layer, x, graph=graph)[1]
    layer.to(DEVICE).kernels = [STEPS]
    given = x.to(DEVICE, copy=True).requires_grad_()
    graph = graph.to(DEVICE) if graph else None
    with torch.autocast(DEVICE, torch.bfloat16):
        y, _ = layer(given, graph=graph)
    assert y.dtype == torch.float32
    assert not torch.equal(y, right)
    torch.testing.assert_close(y, right, rtol=0, atol=0.02)
    grads = torch.autograd.grad(y.square().sum(), [given, *layer.parameters()])
    for found, wanted in zip(grads, right_grads, strict=True):
        atol = 0.05 * float(wanted.abs().max())
        torch.testing.assert_close(found, wanted, rtol=0, atol=atol)


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

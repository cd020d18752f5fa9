"""The compiled loops against the recurrence in torch operations, in float64."""

import os
import threading
import warnings

import pytest
import torch
from torch import Tensor

from plait import GCN, GRU, LSTM, RNN, Cell, Chebyshev, Dense, Diffusion, Graph, Recurrent
from plait.kernels.cpu import jit
from plait.kernels.cpu.kernel import filters_of


class GatesApart(Cell):
    """A product for gates that do not stand one behind the other, and a second one for a gate."""

    gates = "abc"
    recurrent_bias_gates = "b"

    def step(self, x_gates, recurrent, state, vectors):
        (h,) = state
        x_a, x_b, x_c = x_gates.chunk(3, -1)
        u_a, u_c = recurrent(h, "ac").chunk(2, -1)
        a, b = torch.sigmoid(x_a + u_a), torch.tanh(x_b + recurrent(h * h, "b"))
        return (a * h + (1 - a) * torch.tanh(x_c + u_c + recurrent(b, "c")),)


CELLS = {
    "rnn": RNN(),
    "rnn-relu": RNN("relu"),
    "lstm": LSTM(),
    "lstm-peephole": LSTM(peephole=True),
    "gru": GRU(),
    "gru-before": GRU("before"),
    "gates apart": GatesApart(),
}
OPERATORS = {
    "dense": Dense(),
    "gcn": GCN(),
    "chebyshev 1": Chebyshev(1),
    "chebyshev 4": Chebyshev(4),
    "diffusion": Diffusion(2),
}
every_cell = pytest.mark.parametrize("cell", CELLS)
T, F, H = 6, 3, 5


@pytest.fixture
def layer_of(make_layer):
    """Make a layer in float32 that runs by the loops."""

    def make(cell: str, *sizes: int, **options) -> Recurrent:
        layer = make_layer(CELLS[cell], *(sizes or (F, H)), **options).float()
        with torch.no_grad():
            for p in layer.parameters():  # so that rounding does not grow over time
                p *= min(1.0, (p[0].numel() or 1) ** -0.5)
        if cell != "lstm" or not layer.input_size or options.get("operator", Dense()) != Dense():
            assert layer.explain().startswith("layer 0: plait-cpu")
        else:  # oneDNN's, but with lengths
            assert "with lengths: plait-cpu" in layer.explain()
        return layer

    return make


@pytest.fixture
def in_double(on_reference):
    """Make the same layer on the reference path, in float64."""
    return lambda layer: on_reference(layer).double()


def start_of(layer: Recurrent, *batch: int) -> tuple[Tensor, ...]:
    shape = (len(layer.directions), *batch, layer.hidden_size)
    return tuple(torch.randn(shape) for _ in layer.cell.states)


@every_cell
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("lengths", [None, [6, 0, 4, 1]], ids=["full", "lengths"])
def test_values_and_gradients_are_the_references(
    cell, operator, lengths, layer_of, in_double, answers, assert_near
):
    net = Graph.from_edges([(0, 1), (1, 2), (2, 0), (3, 4), (4, 1)]).to_undirected()
    options = {} if operator == "dense" else {"graph": net}
    nodes = () if operator == "dense" else (net.num_nodes,)
    layer = layer_of(cell, operator=OPERATORS[operator], layers=2, bidirectional=True)
    x, start = torch.randn(T, 4, *nodes, F), start_of(layer, 4, *nodes)
    values, gradients = answers(layer, x, start, lengths=lengths, **options)
    options = {} if operator == "dense" else {"graph": net.to(torch.float64)}
    expected, expected_gradients = answers(
        in_double(layer), x.double(), tuple(s.double() for s in start), lengths=lengths, **options
    )
    assert_near(values, tuple(e.float() for e in expected), 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name].float(), 1e-5)


@pytest.mark.parametrize("cell", ["lstm-peephole", "gru-before"])
@pytest.mark.parametrize("operator", ["gcn", "chebyshev 4", "diffusion"])
@pytest.mark.parametrize("nodes", [4, 5, 9])
def test_where_nearly_all_are_joined_the_whole_matrix_is_used(
    cell, operator, nodes, layer_of, in_double, answers, assert_near
):
    """Nodes that fill no four, and channels that fill one vector and a bit."""
    weights = torch.rand(nodes, nodes) + 0.1
    net = Graph.from_adjacency(weights + weights.T)
    layer = layer_of(cell, F, 19, operator=OPERATORS[operator])
    assert any(
        filters_of(one, torch.zeros(T, 3, nodes, F), net).basis.dense for one in layer.directions
    )
    x, start = torch.randn(T, 3, nodes, F), start_of(layer, 3, nodes)
    values, gradients = answers(layer, x, start, graph=net)
    expected, expected_gradients = answers(
        in_double(layer), x.double(), tuple(s.double() for s in start), graph=net.to(torch.float64)
    )
    assert_near(values, tuple(e.float() for e in expected), 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name].float(), 1e-5)


@every_cell
@pytest.mark.parametrize("sizes", [(0, 1, 1), (7, 33, 19), (40, 64, 70)], ids=str)
def test_any_width_and_batch(cell, sizes, layer_of, in_double, answers, assert_near):
    """Channels that fill no vector, several, and rows that fill no tile; more than one block."""
    F, H, B = sizes
    layer = layer_of(cell, F, H)
    lengths = torch.arange(B) % (T + 1)
    x, start = torch.randn(T, B, F), start_of(layer, B)
    values, gradients = answers(layer, x, start, lengths=lengths)
    expected, expected_gradients = answers(
        in_double(layer), x.double(), tuple(s.double() for s in start), lengths=lengths
    )
    assert_near(values, tuple(e.float() for e in expected), 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name].float(), 1e-5)


@pytest.mark.parametrize("operator", ["dense", "gcn", "diffusion"])
@pytest.mark.parametrize("batch", [0, 2])
def test_without_input_and_without_sequences(
    operator, batch, layer_of, in_double, answers, assert_near
):
    net = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    layer = layer_of("gru-before", 0, H, operator=OPERATORS[operator])
    x, start = torch.randn(T, batch, 3, 0), start_of(layer, batch, 3)
    values, gradients = answers(layer, x, start, graph=net)
    expected, expected_gradients = answers(
        in_double(layer), x.double(), (start[0].double(),), graph=net.to(torch.float64)
    )
    assert_near(values, tuple(e.float() for e in expected), 1e-6)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name].float(), 1e-5)


@pytest.mark.parametrize("operator", ["dense", "diffusion"])
@every_cell
def test_recurrent_dropout_is_the_references(cell, operator, layer_of, on_reference, answers,
                                             assert_near):  # fmt: skip
    net = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    layer = layer_of(cell, operator=OPERATORS[operator], layers=2, dropout=0.2)
    expected = on_reference(layer)
    for one in (layer, expected):
        one.dropout, one.recurrent_dropout = 0.2, 0.4
    assert layer.explain().startswith("layer 0: plait-cpu")
    x, start = torch.randn(T, 4, 3, F), start_of(layer, 4, 3)
    found = []
    for one in (layer, expected):
        torch.manual_seed(2)
        found.append(answers(one, x, start, lengths=[6, 0, 4, 5], graph=net))
    (values, gradients), (expected_values, expected_gradients) = found
    assert_near(values, expected_values, 1e-5)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name], 1e-5)


@every_cell
def test_nodes_without_a_graph_are_so_many_sequences(cell, layer_of, assert_near):
    layer, x = layer_of(cell), torch.randn(T, 3, 4, F)
    lengths = torch.tensor([6, 2, 4])
    y, _ = layer(x, lengths=lengths)
    flat, _ = layer(x.flatten(1, 2), lengths=lengths.repeat_interleave(4))
    assert_near(y.flatten(1, 2), flat, 1e-6)


@pytest.mark.parametrize("operator", ["dense", "chebyshev 4"])
@every_cell
def test_the_gradients_own_gradient(cell, operator, layer_of, in_double, assert_near):
    net = Graph.from_edges([(0, 1), (1, 2)]).to_undirected()
    layer = layer_of(cell, operator=OPERATORS[operator])
    lengths = torch.tensor([6, 3])
    x = torch.randn(T, 2, 3, F)

    def second(layer: Recurrent, x: Tensor, net: Graph) -> tuple[Tensor, ...]:
        x = x.clone().requires_grad_()
        y, _ = layer(x, graph=net, lengths=lengths)
        (gradient,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), [x, *layer.parameters()])

    got = second(layer, x, net)
    expected = second(in_double(layer), x.double(), net.to(torch.float64))
    assert_near(got, tuple(e.float() for e in expected), 1e-5)


@every_cell
def test_what_is_kept_for_the_gradient_serves_twice(cell, layer_of):
    layer, x = layer_of(cell), torch.randn(T, 3, F)
    y, _ = layer(x, lengths=torch.tensor([6, 0, 4]))
    weights = list(layer.parameters())
    first, again = (torch.autograd.grad(y.sum(), weights, retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, again))


@every_cell
def test_what_is_no_number_stays_visible(cell, layer_of):
    layer, x = layer_of(cell), torch.randn(T, 2, F)
    x[2, 0, 0] = torch.nan
    y, _ = layer(x, lengths=torch.tensor([T, T]))
    assert y[:2].isfinite().all()
    assert y[2:, 0].isnan().any(-1).all()
    assert y[:, 1].isfinite().all()


@pytest.mark.parametrize("cell", ["gru", "lstm-peephole"])
def test_outputs_do_not_depend_on_the_number_of_threads(
    cell, layer_of, answers, assert_near, monkeypatch
):
    layer, x = layer_of(cell), torch.randn(T, 50, F)
    start, lengths = start_of(layer, 50), torch.arange(50) % (T + 1)
    values, gradients = answers(layer, x, start, lengths=lengths)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    on_three, gradients_on_three = answers(layer, x, start, lengths=lengths)
    assert all(map(torch.equal, values, on_three))
    for name, gradient in gradients_on_three.items():
        assert_near(gradient, gradients[name], 1e-6)


def test_any_number_of_python_threads_may_call(layer_of, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    layer, x, found = layer_of("gru"), torch.randn(T, 40, F), []
    expected, _ = layer(x)

    def call() -> None:
        found.extend(torch.equal(layer(x)[0], expected) for _ in range(20))

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 100


def test_a_child_after_fork_can_call(layer_of, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    layer, x = layer_of("gru"), torch.randn(T, 40, F)
    expected, _ = layer(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn that there are threads
        child = os.fork()
    if child == 0:
        os._exit(0 if torch.equal(layer(x)[0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_kernel_works_where_nothing_can_be_kept(monkeypatch):
    from numba.core.caching import CacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert jit.compiled(lambda a: a + 1)(2) == 3


def test_an_error_in_a_thread_is_raised(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)

    def call(number: int) -> None:
        if number == 5:
            raise ValueError("the fifth")

    with pytest.raises(ValueError, match="the fifth"):
        jit.parallel_for(call, range(9))


def test_explain_says_where_the_loops_do_not_run(layer_of):
    layer = layer_of("gru-before")

    def reported(reason: str) -> str:
        return (
            "layer 0: reference - plain torch, step by step\n"
            "  not oneDNN, ATen: torch has no GRU(reset='before') × Dense()\n"
            "  not cuDNN, plait-gpu, plait-gpu-steps: x lies on cpu\n"
            f"  not plait-cpu, plait-cpu-steps: {reason}"
        )

    layer.double()
    assert layer.explain() == reported("float64 on cpu, not float32 on cpu")
    layer.to("meta")
    assert layer.explain().endswith(
        "not plait-cpu, plait-cpu-steps: float64 on meta, not float32 on cpu\n"
        "  not ATen: torch has no GRU(reset='before') × Dense()"
    )


@pytest.mark.filterwarnings("ignore")  # of torch's own compiler
@pytest.mark.parametrize("cell", ["gru", "gru-before"])
def test_function_transforms_and_compilation_get_the_reference(cell, layer_of, assert_near):
    layer, x = layer_of(cell), torch.randn(T, 2, F)
    y = layer(x)[0]
    expected = torch.autograd.grad(y.sum(), list(layer.parameters()))
    weights = dict(layer.named_parameters())
    got = torch.func.grad(lambda w: torch.func.functional_call(layer, w, (x,))[0].sum())(weights)
    assert_near(tuple(got.values()), expected, 1e-5)
    assert_near(torch.compile(layer, backend="eager")(x)[0], y, 1e-6)

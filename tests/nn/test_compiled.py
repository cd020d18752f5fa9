"""`torch.compile` without a graph break: every pair, and models that hold layers."""

import copy
import gc

import pytest
import torch
from torch import Tensor, nn

from plait import (
    GCN,
    GIN,
    GINE,
    GRU,
    LSTM,
    RGCN,
    RNN,
    SAGE,
    Adaptive,
    Attention,
    Cell,
    Chebyshev,
    Dense,
    Diffusion,
    Graph,
    GraphConv,
    MinGRU,
    PerNode,
    Propagation,
    Recurrent,
    SAGEMax,
)  # fmt: skip
from plait.errors import InputError
from plait.kernels.handles import held_by

T, B, N, F, H = 4, 3, 6, 3, 4
OPERATORS = [Dense(), GCN(), Chebyshev(3), Diffusion(2), Attention(2), Attention(2, version=2)]
OTHERS = [
    GIN(), SAGE(), SAGEMax(), RGCN(1), Propagation(2), GINE(2), Attention(2, edge_size=2),
    Attention(2, version=2, edge_size=2), Adaptive(N), Adaptive(N, largest=2),
    Adaptive(N, given=GCN()), Adaptive(N, given=Attention(2, edge_size=2)), PerNode(GCN(), N, 3),
    PerNode(Chebyshev(2), N, 3), PerNode(Attention(2), N, 3),
]  # fmt: skip
CELLS = [RNN(), LSTM(), LSTM(peephole=True), GRU(), GRU("before"), MinGRU()]
pytestmark = pytest.mark.filterwarnings("ignore")  # of torch's own compiler


@pytest.fixture(autouse=True)
def _anew():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def ring(nodes: int = N) -> Graph:
    edges = torch.arange(nodes)
    edges = torch.stack([edges, (edges + 1) % nodes])
    features = torch.linspace(-1, 1, 4 * nodes).view(-1, 2)
    return Graph(torch.cat([edges, edges.flip(0)], 1), edge_features=features)


def compiled(module, backend: str = "aot_eager", **options):
    return torch.compile(module, backend=backend, fullgraph=True, **options)


def input_for(operator) -> tuple[Tensor, Graph | None]:
    if type(operator) is Dense:
        return torch.randn(T, B, F), None
    return torch.randn(T, B, N, F), ring()


def results(call, module, x, **options):
    """Outputs, final states, and the gradients of a sum of squares by x and the weights."""
    x = x.clone().requires_grad_()
    y, state = call(x, **options)
    values = (y, *(state if isinstance(state, tuple) else (state,)))
    loss = sum(v.double().square().sum() for v in values)
    return values, torch.autograd.grad(loss, [x, *module.parameters()])


def assert_same(found, expected, tolerance: float) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        allowed = tolerance * float(theirs.detach().abs().max())
        assert float((ours.double() - theirs).detach().abs().max()) <= allowed


def check_pair(
    cell, operator, lengths: Tensor | None, *, together: bool = False, **options
) -> None:
    """Compare with float64: gradients one by one, or, where some are 0 but for rounding, as one."""
    layer = Recurrent(cell, F, H, operator=operator, **options)
    x, graph = input_for(operator)
    oracle = copy.deepcopy(layer).double()
    exact = None if graph is None else graph.to(torch.float64)
    values, grads = results(compiled(layer), layer, x, graph=graph, lengths=lengths)
    right, right_grads = results(oracle, oracle, x.double(), graph=exact, lengths=lengths)
    assert_same(values, right, 1e-5)
    if together:
        grads, right_grads = ([torch.cat([g.flatten() for g in of])] for of in (grads, right_grads))
    assert_same(grads, right_grads, 5e-5)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
@pytest.mark.parametrize("cell", [LSTM(), GRU("before")], ids=str)
def test_a_pair_compiled_is_the_pair_in_float64(cell, operator):
    check_pair(cell, operator, torch.tensor([4, 0, 2]))


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS + OTHERS, ids=str)
@pytest.mark.parametrize("cell", CELLS, ids=str)
def test_every_pair_compiled_is_the_pair_in_float64(cell, operator):
    for lengths in (None, torch.tensor([4, 0, 2])):
        cancel = isinstance(operator, Attention) or operator in OTHERS  # in sums over a softmax
        check_pair(cell, operator, lengths, together=cancel, layers=2, bidirectional=True)


@pytest.mark.parametrize("operator", OPERATORS, ids=str)
def test_kernels_run_in_compiled_programs(operator, monkeypatch):
    """The program calls our operator, once for each layer and direction."""
    called: list[str] = []

    def backend(graph, inputs):
        called.extend(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return graph.forward

    layer = Recurrent(GRU(), F, H, operator=operator, bidirectional=True)
    x, graph = input_for(operator)
    torch.compile(layer, backend=backend, fullgraph=True)(x, graph=graph)
    assert sum("plait.recurrence" in name for name in called) == 2


@pytest.mark.parametrize(
    ("operator", "dtype"),
    [*((o, d) for o in OPERATORS[1:] for d in (torch.float32, torch.float64)),
     *((o, torch.float32) for o in OTHERS)],
    ids=str,
)  # fmt: skip
def test_a_graph_layer_compiles_before_it_ever_ran(operator, dtype, assert_near):
    layer, x = GraphConv(operator, 5, H).to(dtype), torch.randn(2, N, 5, dtype=dtype)
    graph = ring().to(dtype)
    found = compiled(layer)(x, graph)
    grads = torch.autograd.grad(found.square().sum(), list(layer.parameters()))
    expected = layer(x, ring().to(dtype))
    assert_near(found, expected, 1e-6)
    right = torch.autograd.grad(expected.square().sum(), list(layer.parameters()))
    assert_near(grads, right, 1e-5)


@pytest.mark.parametrize("operator", [Chebyshev(3), Attention(2)], ids=str)
def test_graphs_that_change_over_time(operator, assert_near):
    layer, x = Recurrent(LSTM(), F, H, operator=operator), torch.randn(3, B, N, F)
    graphs = [ring(), ring(), Graph.join([ring(3), ring(3)])]
    found, grads = results(compiled(layer), layer, x, graph=graphs)
    expected, right = results(layer, layer, x, graph=graphs)
    assert_near(found, expected, 1e-6)
    assert_near(grads, right, 1e-5)


def test_another_graph_needs_no_other_program():
    """And each lives until its gradient is computed, then no longer."""
    layer = Recurrent(GRU(), F, H, operator=Chebyshev(3))
    call = compiled(layer)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for _ in range(10):
            graph = ring()
            y, _ = call(torch.randn(T, B, N, F), graph=graph)
            handle = graph.handle.clone()
            del graph
            held_by(handle)
            y.sum().backward()
            del y
            gc.collect()
            with pytest.raises(RuntimeError, match="a graph that is gone"):
                held_by(handle)


@pytest.mark.parametrize("operator", [Dense(), Chebyshev(3), Attention(2)], ids=str)
def test_sizes_change_without_another_program(operator):
    layer = Recurrent(LSTM(), F, H, operator=operator, bidirectional=True)
    call = compiled(layer, dynamic=True)
    dense = type(operator) is Dense

    def once(n: int) -> None:
        x = torch.randn(n, n - 2, F) if dense else torch.randn(n, n - 2, n + 1, F)
        options = {
            "lengths": torch.randint(0, n, (n - 2,)),
            "graph": None if dense else ring(n + 1),
        }
        values, grads = results(call, layer, x, **options)
        right, right_grads = results(layer, layer, x, **options)
        assert_same(values, [v.double() for v in right], 1e-5)
        assert_same(grads, [g.double() for g in right_grads], 1e-4)

    once(9)
    with torch._dynamo.config.patch(error_on_recompile=True):
        for n in (11, 14):
            once(n)


def test_dynamic_dimensions_are_taken():
    layer = Recurrent(LSTM(), F, H, layers=2)
    call = compiled(layer)
    x = torch.randn(5, 4, F)
    for axis in (0, 1):
        torch._dynamo.mark_dynamic(x, axis)
    call(x)[0].sum().backward()
    with torch._dynamo.config.patch(error_on_recompile=True):
        call(torch.randn(9, 7, F))[0].sum().backward()


def test_dropout_is_drawn_as_the_seed_says_and_is_off_in_evaluation(assert_near):
    layer = Recurrent(
        LSTM(), F, H, operator=Attention(2, dropout=0.5), layers=2, dropout=0.3,
        recurrent_dropout=0.3,
    )  # fmt: skip
    call, x, graph = compiled(layer), torch.randn(T, B, N, F), ring()

    def drawn(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return call(x, graph=graph)[0]

    assert torch.equal(drawn(x), drawn(x))
    assert not torch.equal(drawn(x), call(x, graph=graph)[0])
    # the gradient draws what the outputs drew: it is the slope along a line
    given = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(drawn(given).sum(), given)
    way = torch.randn_like(x) * 1e-2
    rise = float(drawn(x + way).sum() - drawn(x - way).sum())
    assert abs(float(2 * (grad * way).sum()) - rise) < 0.03 * abs(rise) + 1e-4
    layer.eval()
    assert_near(call(x, graph=graph)[0], layer(x, graph=graph)[0], 1e-5)


class Ring:
    """An operator of a user's own."""

    def weight_shapes(self, inputs, outputs):
        return {"weight": (outputs, 2 * inputs)}

    def apply(self, x, weights, graph):
        return nn.functional.linear(torch.cat([x, x.roll(1, dims=-2)], -1), weights["weight"])


class Scaled(nn.Module):
    """An operator that learns a number itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.7))

    def weight_shapes(self, inputs, outputs):
        return GCN().weight_shapes(inputs, outputs)

    def apply(self, x, weights, graph):
        return self.scale * GCN().apply(x, weights, graph)


class Sorted(Cell):
    """A cell that cannot be traced."""

    gates = "h"

    def step(self, x_gates, recurrent, state, vectors):
        return (torch.tanh(x_gates + recurrent(state[0])).sort(-1).values,)


@pytest.mark.parametrize(
    ("layer", "graph"),
    [
        (lambda: Recurrent(GRU(), F, H, operator=Ring()), None),
        (lambda: Recurrent(GRU(), F, H, operator=Scaled()), ring()),
        (lambda: Recurrent(Sorted(), F, H, operator=GCN()), ring()),
        (lambda: Recurrent(LSTM(), F, H, operator=Attention(2)).double(), ring()),
    ],
    ids=["own-operator", "operator-with-weights", "untraceable", "float64"],
)
def test_what_a_user_wrote_compiles_too(layer, graph):
    layer = layer()
    x = torch.randn(3, B, N, F, dtype=next(layer.parameters()).dtype)
    found, grads = results(compiled(layer), layer, x, graph=graph)
    right, right_grads = results(layer, layer, x, graph=graph)
    assert_same(found, [v.double() for v in right], 1e-6)
    assert_same(grads, [g.double() for g in right_grads], 1e-5)


def test_an_operator_with_weights_learns_on_every_path():
    layer = Recurrent(GRU(), F, H, operator=Scaled())
    x, graph = torch.randn(T, B, N, F), ring()
    oracle = copy.deepcopy(layer).double()
    _, grads = results(layer, layer, x, graph=graph)
    _, right = results(oracle, oracle, x.double(), graph=graph)
    assert "plait-cpu-steps" in layer.explain()
    assert_same(grads, right, 1e-5)


def test_lengths_and_graphs_are_checked_as_the_program_runs():
    call = compiled(Recurrent(LSTM(), F, H))
    with pytest.raises(ValueError, match=r"lengths must lie within 0 … T = 4; got \[5, 1, 1\]"):
        call(torch.randn(T, B, F), lengths=torch.tensor([5, 1, 1]))
    call = compiled(Recurrent(LSTM(), F, H, operator=Chebyshev(2)))
    with pytest.raises(InputError, match="undirected graph, and edge 0 → 1 has no reverse"):
        call(torch.randn(T, B, 3, F), graph=Graph([[0, 1], [1, 2]]))


def test_explain_says_what_compiles():
    text = Recurrent(LSTM(), F, H).explain()
    assert "under torch.compile: compiled loops for LSTM" in text
    text = Recurrent(LSTM(), F, H).double().explain()
    assert "under torch.compile: plain torch, step by step" in text
    assert "torch.compile" not in Recurrent(GRU(), F, H).explain()


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, F)
        self.recurrent = Recurrent(LSTM(), F, H, layers=2, bidirectional=True, batch_first=True)
        self.out = nn.Linear(2 * H, 5)

    def forward(self, tokens, lengths):
        y, _ = self.recurrent(self.embed(tokens), lengths=lengths)
        return self.out(y)


class Forecaster(nn.Module):
    """An encoder and a decoder that reads its own outputs."""

    def __init__(self):
        super().__init__()
        self.encode = Recurrent(GRU(), 1, H, operator=Diffusion(2))
        self.decode = Recurrent(GRU(), 1, H, operator=Diffusion(2))
        self.out = nn.Linear(H, 1)

    def forward(self, x, graph):
        _, state = self.encode(x, graph=graph)
        step, found = x[-1:], []
        for _ in range(3):
            y, state = self.decode(step, state, graph=graph)
            step = self.out(y)
            found.append(step)
        return torch.cat(found)


class Readout(nn.Module):
    """A graph layer in front, normalised, a mean over nodes behind."""

    def __init__(self):
        super().__init__()
        self.conv = GraphConv(Attention(2), F, H)
        self.norm = nn.LayerNorm(H)
        self.recurrent = Recurrent(MinGRU(), H, H, operator=GCN())
        self.out = nn.Linear(H, 2)

    def forward(self, x, graph):
        h = self.norm(torch.relu(self.conv(x, graph)))
        y, _ = self.recurrent(h, graph=graph)
        return self.out(y.mean(-2))


MODELS = [
    (Tagger, lambda: (torch.randint(0, 11, (B, T)), torch.tensor([4, 2, 1]))),
    (Forecaster, lambda: (torch.randn(T, B, N, 1), ring())),
    (Readout, lambda: (torch.randn(T, B, N, F), ring())),
]


def check_model(kind, given, backend: str) -> None:
    model, arguments = kind(), given()
    found = compiled(model, backend)(*arguments)
    grads = torch.autograd.grad(found.square().sum(), list(model.parameters()))
    expected = model(*arguments)
    right = torch.autograd.grad(expected.square().sum(), list(model.parameters()))
    assert_same([found], [expected.double()], 1e-5)
    assert_same(grads, [g.double() for g in right], 1e-4)


@pytest.mark.parametrize(("kind", "given"), MODELS, ids=lambda m: getattr(m, "__name__", ""))
def test_models_of_users_compile_whole(kind, given):
    check_model(kind, given, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "given"), MODELS, ids=lambda m: getattr(m, "__name__", ""))
def test_models_of_users_compile_whole_by_inductor(kind, given):
    check_model(kind, given, "inductor")

"""Papers by name, against PyTorch Geometric Temporal's layers and the papers' formulas."""

import sys
import warnings
from types import ModuleType

import pytest
import torch
from torch import nn

from plait import Graph
from plait.zoo import STID, GraphWaveNet, agcrn, dcrnn, gconv_gru, gcrn, gcrn_m1, rgnn, tgcn

T, B, N, F, H, K = 6, 3, 11, 3, 4, 3


@pytest.fixture(scope="module")
def temporal() -> ModuleType:
    """PyTorch Geometric Temporal's recurrent layers.

    Its package imports two compiled ones, which those layers do not use: empty modules stand in.
    """
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("torch_sparse", "torch_scatter"):
            empty = ModuleType(name)
            empty.__dict__.update(SparseTensor=None, scatter=None)
            patch.setitem(sys.modules, name, empty)
        return pytest.importorskip("torch_geometric_temporal.nn.recurrent")


@pytest.fixture(scope="module")
def net() -> Graph:
    generator = torch.Generator().manual_seed(0)
    pairs = torch.combinations(torch.arange(N)).T
    index = pairs[:, torch.randperm(pairs.shape[1], generator=generator)[:18]]
    weight = 0.5 + torch.rand(18, generator=generator, dtype=torch.float64)
    return Graph(index, weight, N).to_undirected()


def drawn(module: nn.Module) -> nn.Module:
    """The same in float64, every weight drawn anew."""
    module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.4 * torch.randn(p.shape).double())
    return module


@torch.no_grad()
def carry_over(theirs: nn.Module, gates: str, ours) -> None:
    """Put the weights of their gates, one convolution each and side, into our one direction."""
    (direction,) = ours.directions
    for side, weight in (("x", direction.inputs["weight"]), ("h", direction.recurrent["weight"])):
        convolutions = [getattr(theirs, f"conv_{side}_{gate}") for gate in gates]
        terms = [torch.stack([lin.weight for lin in c.lins], 1) for c in convolutions]
        weight.copy_(torch.cat(terms))  # [G·H, K, F]
    biases = [
        getattr(theirs, f"conv_x_{gate}").bias + getattr(theirs, f"conv_h_{gate}").bias
        for gate in gates
    ]
    direction.bias.copy_(torch.cat(biases))


def over_time(theirs: nn.Module, x: torch.Tensor, net: Graph, state: tuple) -> list[torch.Tensor]:
    """Their layer goes one step at a time and takes one graph without a batch."""
    outputs = []
    for x_t in x:
        found = theirs(x_t, net.edge_index, net.edge_weight, *state)
        state = found if isinstance(found, tuple) else (found,)
        outputs.append(state[0])
    return outputs


@pytest.mark.parametrize("steps", [1, T])
def test_gcrn_is_their_gconv_lstm(temporal, net, steps, assert_near):
    theirs = drawn(temporal.GConvLSTM(F, H, K))
    ours = gcrn(F, H, K).double()
    carry_over(theirs, "ifco", ours)
    (direction,) = ours.directions
    with torch.no_grad():
        direction.bias.add_(torch.cat([getattr(theirs, f"b_{g}")[0] for g in "ifco"]))
        for g in "ifo":
            direction.vectors[f"p_{g}"].copy_(getattr(theirs, f"w_c_{g}")[0])
    x = torch.randn(steps, B, N, F).double()
    h, c = torch.randn(2, B, N, H).double()
    y, (last_h, _) = ours(x, (h[None], c[None]), graph=net)
    for b in range(B):
        expected = over_time(theirs, x[:, b], net, (h[b], c[b]))
        assert_near(y[:, b], torch.stack(expected))
    assert_near(last_h[0], y[-1])
    weighting = torch.randn(steps, N, H).double()
    expected = torch.stack(over_time(theirs, x[:, 0], net, (h[0], c[0])))
    (their_gradient,) = torch.autograd.grad((expected * weighting).sum(), theirs.w_c_o)
    (our_gradient,) = torch.autograd.grad((y[:, 0] * weighting).sum(), direction.vectors["p_o"])
    assert_near(our_gradient, their_gradient[0], 1e-11)


@pytest.mark.parametrize("steps", [1, T])
def test_the_graph_gru_is_their_gconv_gru(temporal, net, steps, assert_near):
    theirs = drawn(temporal.GConvGRU(F, H, K))
    ours = gconv_gru(F, H, K).double()
    carry_over(theirs, "rzh", ours)
    x, h = torch.randn(steps, B, N, F).double(), torch.randn(B, N, H).double()
    y, _ = ours(x, h[None], graph=net)
    for b in range(B):
        assert_near(y[:, b], torch.stack(over_time(theirs, x[:, b], net, (h[b],))))


def test_model_1_filters_and_then_forgets_the_graph(net, assert_near):
    """By the formula, with dense matrices."""
    model = drawn(gcrn_m1(F, H, N, K))
    A = torch.zeros(N, N).double()
    A[tuple(net.edge_index)] = net.edge_weight
    root = A.sum(1).clamp(min=1e-300).sqrt()
    shift = -A / root[:, None] / root  # 2 L / 2 − I
    terms = [torch.eye(N).double(), shift, 2 * shift @ shift - torch.eye(N).double()]
    x = torch.randn(T, B, N, F).double()
    weight = model.filter.weights["weight"]  # [F, K, F]
    filtered = sum(M @ x @ weight[:, k].T for k, M in enumerate(terms)) + model.filter.bias
    (direction,) = model.recurrent.directions
    W, U = direction.inputs["weight"], direction.recurrent["weight"]
    p = direction.vectors
    h = c = torch.zeros(B, H).double()
    for x_t in filtered.flatten(-2):
        i, f, g, o = (x_t @ W.T + h @ U.T + direction.bias).chunk(4, -1)
        i, f = torch.sigmoid(i + p["p_i"] * c), torch.sigmoid(f + p["p_f"] * c)
        c = f * c + i * g.tanh()
        h = torch.sigmoid(o + p["p_o"] * c) * c.tanh()
    y, (last_h, last_c) = model(x, graph=net)
    assert_near(y[-1], h)
    assert_near((last_h[0], last_c[0]), (h, c))


def by_gates(ours, gates: str) -> tuple[dict, dict, dict]:
    (direction,) = ours.directions
    sides = (direction.inputs["weight"], direction.recurrent["weight"], direction.bias)
    return tuple(dict(zip(gates, side.chunk(len(gates)), strict=True)) for side in sides)


def walked(net: Graph, k: int) -> list[torch.Tensor]:
    """x, then T_1 … T_k of the walks along the edges and against them, each from x itself."""
    A = torch.zeros(N, N).double()
    A[tuple(net.edge_index)] = net.edge_weight
    terms = [torch.eye(N).double()]
    for M in (A, A.T):
        degree = M.sum(1, keepdim=True)
        S = torch.where(degree > 0, M / degree, 0.0).T
        before, last = torch.eye(N).double(), S
        for _ in range(k):
            terms.append(last)
            before, last = last, 2 * S @ last - before
    return terms


def test_dcrnn_by_its_formula(net, assert_near):
    directed = Graph(net.edge_index[:, ::2], net.edge_weight[::2], N)
    ours = drawn(dcrnn(F, H, k=2))
    W, U, b = by_gates(ours, "rzn")
    terms = walked(directed, 2)

    def g(x, h, gate):  # what the code stacks, [x, h], is two sums here
        return sum(
            M @ x @ W[gate][:, m].T + M @ h @ U[gate][:, m].T for m, M in enumerate(terms)
        ) + b[gate]  # fmt: skip

    x, h = torch.randn(T, B, N, F).double(), torch.zeros(B, N, H).double()
    y, _ = ours(x, graph=directed)
    for t, x_t in enumerate(x):
        r, u = torch.sigmoid(g(x_t, h, "r")), torch.sigmoid(g(x_t, h, "z"))
        h = u * h + (1 - u) * torch.tanh(g(x_t, r * h, "n"))
        assert_near(y[t], h)


def test_tgcn_by_its_formula(net, assert_near):
    ours = drawn(tgcn(F, H))
    W, U, b = by_gates(ours, "rzn")
    A = torch.zeros(N, N).double()
    A[tuple(net.edge_index)] = net.edge_weight
    A += torch.eye(N).double()
    root = A.sum(1).sqrt()
    A = A / root[:, None] / root

    def gate(x, h, name):
        joint = torch.cat([W[name], U[name]], 1)  # [H, F + H]
        return A @ torch.cat([x, h], -1) @ joint.T + b[name]

    x, h = torch.randn(T, B, N, F).double(), torch.zeros(B, N, H).double()
    y, _ = ours(x, graph=net)
    for t, x_t in enumerate(x):
        r, u = torch.sigmoid(gate(x_t, h, "r")), torch.sigmoid(gate(x_t, h, "z"))
        h = u * h + (1 - u) * torch.tanh(gate(x_t, r * h, "n"))
        assert_near(y[t], h)


@pytest.mark.parametrize("layer", [dcrnn(2, 8), tgcn(2, 8)], ids=["dcrnn", "tgcn"])
def test_the_gates_of_dcrnn_and_tgcn_begin_open(layer):
    (direction,) = layer.directions
    assert direction.bias[:16].tolist() == [1.0] * 16
    assert direction.bias[16:].abs().max() <= 8**-0.5


def rgnn_batch(generator: torch.Generator):
    """Three patients of up to four periods, asked four times; graphs of other sizes each."""
    sizes = (3, 5, 2, 4)
    x = (torch.rand(4, 3, 7, generator=generator) < 0.4).double()
    asked = torch.tensor([[0, 2, 3, 1], [0, 0, 1, 2]])
    nodes = torch.randint(8, (sum(sizes),), generator=generator)
    lags = torch.randint(2, (sum(sizes),), generator=generator)
    graphs = []
    for _ in range(2):
        parts = []
        for n in sizes:
            upper = torch.rand(n, n, generator=generator).triu(1) > 0.4
            parts.append(Graph(upper.nonzero().T, num_nodes=n).to_undirected())
        graphs.append(Graph.join(parts))
    return sizes, x, asked, nodes, lags, graphs


@torch.no_grad()
def test_rgnn_is_its_formula():
    """s_t, h_t by torch's GRU; v_l by dense matrices, graph by graph; both joined."""
    sizes, x, asked, nodes, lags, graphs = rgnn_batch(torch.Generator().manual_seed(0))
    model = drawn(rgnn(7, 5, 6, periods=2))
    h, _ = model.recurrent.to_torch()(x @ model.codes.weight[:7])
    first = h[asked[0], asked[1]]
    seconds, start = [], 0
    for n in sizes:
        own = slice(start, start + n)
        v = model.codes.weight[nodes[own]] + model.lags.weight[lags[own]]
        for dense, convs in zip(model.own, model.relations, strict=True):
            reported = v @ dense.weight.T + dense.bias
            for conv, graph in zip(convs, graphs, strict=True):
                A = torch.zeros(graph.num_nodes, graph.num_nodes).double()
                A[graph.edge_index[1], graph.edge_index[0]] = 1
                A = A[own, own]
                root = torch.nan_to_num(A.sum(1) ** -0.5, posinf=0.0)
                scaled = -root[:, None] * A * root  # L~ for λmax = 2
                theta = conv.weights["weight"]
                reported += v @ theta[:, 0].T + scaled @ v @ theta[:, 1].T
            v = reported.relu()
        seconds.append(v.sum(0))
        start += n
    joined = torch.cat([first, torch.stack(seconds)], -1)
    expected = joined @ model.output.weight.T + model.output.bias
    expected += model.stays * x[asked[0], asked[1], :5]
    torch.testing.assert_close(
        model(x, asked, nodes, lags, graphs), expected, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("view", ["sequence", "graph"])
def test_a_view_of_rgnn_alone_does_not_look_at_the_other(view):
    _, x, asked, nodes, lags, graphs = rgnn_batch(torch.Generator().manual_seed(1))
    model = drawn(rgnn(7, 5, 6, periods=2, view=view))
    y = model(x, asked, nodes, lags, graphs)
    moved = torch.zeros_like(nodes)
    other_graph = model(x, asked, moved, lags, graphs)
    before = torch.cat([x[:, :, :5], 1 - x[:, :, 5:]], -1)  # what is no label
    other_sequence = model(before, asked, nodes, lags, graphs)
    assert torch.equal(y, other_graph) == (view == "sequence")
    assert torch.equal(y, other_sequence) == (view == "graph")
    y.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_rgnn_loads_the_names_of_version_0_1_0():
    torch.manual_seed(0)
    model, other = rgnn(7, 5, 6), rgnn(7, 5, 6)
    old = {name.replace("relations.", "heard."): w for name, w in model.state_dict().items()}
    assert sum(name.startswith("heard.") for name in old) == 4
    other.load_state_dict(old)
    for name, weight in other.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name])


def test_agcrn_by_its_formula(assert_near):
    """With the weights of each node drawn from its vector, as in the paper, and gradients."""
    layer, size = drawn(agcrn(F, H, N, size=2, k=2)), 2
    (direction,) = layer.directions
    E = layer.operator.vectors
    assert E is layer.operator.operator.sources
    S = torch.softmax(torch.relu(E @ E.T), -1)
    powers = torch.stack([torch.eye(N).double(), S, S @ S])

    def convolved(x, side, gates):
        weight = side["weight"].view(3, H, size, 3, -1)  # gate, output, d, power, input
        own = torch.einsum("nd,godki->gnoki", E, weight)
        y = torch.einsum("kmn,bni,gmoki->gbmo", powers, x, own)
        y = y + torch.einsum("nd,god->gno", E, side["node_bias"].view(3, H, size))[:, None]
        return [y[gate] for gate in gates]

    x, h = torch.randn(T, B, N, F).double(), torch.randn(B, N, H).double()
    y, _ = layer(x, h[None])
    bias = direction.bias.view(3, H)
    for x_t in x:
        r, z, n = convolved(x_t, direction.inputs, (0, 1, 2))
        own_r, own_z = convolved(h, direction.recurrent, (0, 1))
        r, z = torch.sigmoid(r + own_r + bias[0]), torch.sigmoid(z + own_z + bias[1])
        n = torch.tanh(n + convolved(r * h, direction.recurrent, (2,))[0] + bias[2])
        h = z * h + (1 - z) * n
    assert_near(y[-1], h)
    weighting = torch.randn(B, N, H).double()
    (ours,) = torch.autograd.grad((y[-1] * weighting).sum(), E, retain_graph=True)
    (expected,) = torch.autograd.grad((h * weighting).sum(), E)
    assert_near(ours, expected, 1e-11)


def test_stid_by_its_formula(assert_near):
    model = drawn(
        STID(F, num_nodes=N, history=T, horizon=2, steps_a_day=5, size=3, layers=2)
    ).eval()
    x, place, day = (
        torch.randn(T, B, N, F).double(),
        torch.tensor([4, 0, 2]),
        torch.tensor([6, 0, 1]),
    )
    y = model(x, place, day)
    W, b = model.series.weight.view(3, T, F), model.series.bias
    for batch in range(B):
        for n in range(N):
            series = torch.einsum("stf,tf->s", W, x[:, batch, n]) + b
            own = model.nodes[n], model.places[place[batch]], model.weekdays[day[batch]]
            z = torch.cat([series, *own])
            for inner, outer in zip(model.inner, model.outer, strict=True):
                hidden = (inner.weight @ z + inner.bias).clamp(min=0)
                z = z + outer.weight @ hidden + outer.bias
            assert_near(y[:, batch, n], model.output.weight @ z + model.output.bias)


@pytest.mark.parametrize("steps", [3, 7])
def test_graph_wavenet_by_its_formula(net, steps, assert_near):
    """With torch's dilated convolutions over time, dense graphs, and batch norm in training."""
    sizes = {"channels": 4, "skip": 5, "end": 3, "size": 2, "k": 2, "dropout": 0.0}
    model = drawn(GraphWaveNet(F, num_nodes=N, horizon=2, dilations=(1, 2), **sizes))
    x = torch.randn(steps, B, N, F).double()
    own = model.graphs[0].operator
    learnt = torch.softmax(torch.relu(own.targets @ own.sources.T), -1)
    given, shifts = walked(net, 2), [learnt, learnt @ learnt]
    z = model.input(torch.cat([torch.zeros(max(0, 4 - steps), B, N, F).double(), x]))
    z, skip = z.permute(1, 3, 2, 0), 0.0  # [B, C, N, T], as in the authors' code
    for i, d in enumerate((1, 2)):
        weight, bias = model.gates[i].weight, model.gates[i].bias
        kernel = torch.stack([weight[:, :4], weight[:, 4:]], -1)[:, :, None]  # [2C, C, 1, 2]
        a, b = nn.functional.conv2d(z, kernel, bias, dilation=(1, d)).chunk(2, 1)
        g = a.tanh() * b.sigmoid()
        skip = skip + model.skips[i](g[..., -1].transpose(1, 2))
        conv = model.graphs[i]
        W, V = conv.weights["weight"], conv.weights["learnt"]
        terms = [(M, W[:, j]) for j, M in enumerate(given)]
        terms += [(M, V[:, j]) for j, M in enumerate(shifts)]
        over = sum(torch.einsum("mn,bcnt,oc->bomt", M, g, U) for M, U in terms)
        z = over + conv.bias[:, None, None] + z[..., d:]
        mean, variance = z.mean((0, 2, 3)), z.var((0, 2, 3), correction=0)
        norm = model.norms[i]
        z = (z - mean[:, None, None]) / (variance + norm.eps).sqrt()[:, None, None]
        z = z * norm.weight[:, None, None] + norm.bias[:, None, None]
    expected = model.output(model.end(skip.relu()).relu()).permute(2, 0, 1)
    assert_near(model(x, net), expected, 1e-11)

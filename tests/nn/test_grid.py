"""Every cell × every operator over a graph: 25 networks, one code path."""

import pytest
import torch
from torch import nn

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
    InputError,
    Recurrent,
)
from plait.diagnostics import count_parameters

CELLS = {
    "rnn": RNN(),
    "lstm": LSTM(),
    "lstm-peephole": LSTM(peephole=True),
    "gru": GRU(),
    "gru-before": GRU("before"),
}
OPERATORS = {
    "dense": Dense(),
    "gcn": GCN(),
    "chebyshev": Chebyshev(3),
    "diffusion": Diffusion(2),
    "attention": Attention(2),
    "attention 2": Attention(2, version=2),
}
every_cell = pytest.mark.parametrize("cell", CELLS)
every_operator = pytest.mark.parametrize("operator", OPERATORS)
T, B, N, F, H = 4, 3, 9, 3, 4


@pytest.fixture
def net(make_graph) -> Graph:
    return make_graph(N, 6, loops=1)


def start_of(layer: Recurrent, *batch: int) -> tuple[torch.Tensor, ...]:
    shape = (len(layer.directions), *batch, layer.hidden_size)
    return tuple(torch.randn(shape).double() for _ in layer.cell.states)


def state_argument(states: tuple[torch.Tensor, ...]):
    return states if len(states) > 1 else states[0]


def as_tuple(state) -> tuple[torch.Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


@every_cell
@every_operator
@pytest.mark.parametrize("inputs", [F, 0, 20], ids=["narrow", "without input", "wide"])
def test_a_layer_is_its_cell_with_the_operators_formula(
    cell, operator, inputs, net, make_layer, by_formula, assert_near
):
    cell, operator = CELLS[cell], OPERATORS[operator]
    layer = make_layer(cell, inputs, H, operator=operator)
    (direction,) = layer.directions
    x = torch.randn(T, B, N, inputs).double().requires_grad_()
    start = start_of(layer, B, N)
    y, final = layer(x, state_argument(start), graph=net)

    def rows(gates):  # of each gate's weights, whatever their first axis is
        def pick(weight):
            by_gate = dict(zip(cell.gates, weight.chunk(len(cell.gates)), strict=True))
            return torch.cat([by_gate[g] for g in gates])

        return {name: pick(weight) for name, weight in direction.recurrent.items()}

    def recurrent(tensor, gates=cell.gates):
        side = by_formula(operator, tensor, rows(gates), net)
        if "n" in gates and direction.recurrent_bias is not None:  # GRU, reset after
            side = side + nn.functional.pad(direction.recurrent_bias, (2 * H, 0))
        return side

    state, outputs = tuple(s[0] for s in start), []
    for x_t in x:
        side = direction.bias.expand(B, N, -1)
        if inputs:
            side = side + by_formula(operator, x_t, dict(direction.inputs), net)
        state = cell.step(side, recurrent, state, dict(direction.vectors))
        outputs.append(state[0])
    expected = torch.stack(outputs)
    assert_near(y, expected)
    assert_near(as_tuple(final), tuple(s[None] for s in state))
    weighting = torch.randn(y.shape).double()
    of = [x, *layer.parameters()]
    grads, expected_grads = (
        torch.autograd.grad((v * weighting).sum(), of, materialize_grads=True)
        for v in (y, expected)
    )
    assert_near(grads, expected_grads, 1e-11)


@every_cell
@every_operator
def test_members_of_a_batch_know_nothing_of_each_other(
    cell, operator, net, make_layer, assert_near
):
    layer = make_layer(
        CELLS[cell], F, H, operator=OPERATORS[operator], layers=2, bidirectional=True
    )
    x, start, lengths = torch.randn(T, B, N, F).double(), start_of(layer, B, N), [4, 0, 2]
    y, final = layer(x, state_argument(start), graph=net, lengths=lengths)
    for b in range(B):
        one = tuple(s[:, b : b + 1] for s in start)
        length = lengths[b : b + 1]
        expected, expected_final = layer(
            x[:, b : b + 1], state_argument(one), graph=net, lengths=length
        )
        assert_near(y[:, b : b + 1], expected)
        assert_near(tuple(s[:, b : b + 1] for s in as_tuple(final)), as_tuple(expected_final))


@every_cell
@every_operator
def test_streaming_one_step_at_a_time_is_the_whole(cell, operator, net, make_layer, assert_near):
    layer = make_layer(CELLS[cell], F, H, operator=OPERATORS[operator], layers=2)
    x, state, steps = torch.randn(T, B, N, F).double(), None, []
    expected, expected_final = layer(x, graph=net)
    for x_t in x:
        y, state = layer(x_t[None], state, graph=net)
        steps.append(y)
    assert_near(torch.cat(steps), expected)
    assert_near(as_tuple(state), as_tuple(expected_final))


@every_cell
@every_operator
def test_renaming_the_nodes_renames_the_answer(
    cell, operator, net, make_layer, permuted, assert_near
):
    layer = make_layer(CELLS[cell], F, H, operator=OPERATORS[operator], bidirectional=True)
    place = torch.randperm(N)
    x, start = torch.randn(T, B, N, F).double(), start_of(layer, B, N)
    y, final = layer(x, state_argument(start), graph=net)
    there, moved = torch.empty_like(x), tuple(torch.empty_like(s) for s in start)
    there[:, :, place] = x
    for new, old in zip(moved, start, strict=True):
        new[:, :, place] = old
    y_moved, final_moved = layer(there, state_argument(moved), graph=permuted(net, place))
    assert_near(y_moved[:, :, place], y)
    assert_near(tuple(s[:, :, place] for s in as_tuple(final_moved)), as_tuple(final))


@every_cell
@every_operator
def test_gradients_are_the_numerical_ones(cell, operator, make_graph, make_layer):
    net = make_graph(4, 2)
    layer = make_layer(CELLS[cell], 2, 2, operator=OPERATORS[operator])
    x = torch.randn(2, 1, 4, 2).double().requires_grad_()
    start = tuple(s.requires_grad_() for s in start_of(layer, 1, 4))
    names, weights = zip(*layer.named_parameters(), strict=True)

    def answer(x, *rest):
        state, weights = rest[: len(start)], dict(zip(names, rest[len(start) :], strict=True))
        options = {"graph": net}
        y, final = torch.func.functional_call(layer, weights, (x, state_argument(state)), options)
        return (y, *as_tuple(final))

    assert torch.autograd.gradcheck(answer, (x, *start, *weights))


class MyGRU(Cell):
    gates = "rzn"

    def step(self, x_gates, recurrent, state, vectors):
        (h,) = state
        x_r, x_z, x_n = x_gates.chunk(3, -1)
        r, z = torch.sigmoid(torch.stack([x_r, x_z]) + torch.stack(recurrent(h, "rz").chunk(2, -1)))
        return (z * h + (1 - z) * torch.tanh(x_n + recurrent(r * h, "n")),)


@every_operator
def test_an_own_cell_works_with_every_operator(operator, net, make_layer, answers, assert_near):
    options = {"operator": OPERATORS[operator], "layers": 2}
    mine, built_in = (
        make_layer(MyGRU(), F, H, **options),
        make_layer(GRU("before"), F, H, **options),
    )
    x, start = torch.randn(T, B, N, F).double(), start_of(mine, B, N)
    values, gradients = answers(mine, x, start, graph=net)
    expected, expected_gradients = answers(built_in, x, start, graph=net)
    assert_near(values, expected)
    for name, gradient in gradients.items():
        assert_near(gradient, expected_gradients[name])


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "chebyshev"])
def test_messages_follow_the_direction_of_edges(operator, make_layer):
    """0 → 1 → 2: after one step 2 has not read 0, after the next it has."""
    layer = make_layer(GRU(), F, H, operator=OPERATORS[operator])
    x = torch.randn(2, 1, 3, F).double().requires_grad_()
    y, _ = layer(x, graph=Graph([[0, 1], [1, 2]]))

    def reads(t: int, node: int) -> list[list[int]]:
        """The (time, node) pairs that reach an output."""
        (gradient,) = torch.autograd.grad(y[t, 0, node].sum(), x, retain_graph=True)
        return gradient[:, 0].abs().sum(-1).nonzero().tolist()

    assert [0, 0] in reads(0, 0)
    assert [0, 2] in reads(0, 2)
    if operator in ("gcn", "attention", "attention 2"):
        assert reads(0, 2) == [[0, 1], [0, 2]]
        assert reads(1, 2) == [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2]]
        assert reads(1, 0) == [[0, 0], [1, 0]]
    if operator == "dense":
        assert reads(1, 2) == [[0, 2], [1, 2]]
    if operator == "diffusion":  # k = 2, both ways
        assert reads(0, 0) == [[0, 0], [0, 1], [0, 2]]


GCRN = {3: 1_629_712, 5: 2_711_056, 7: 3_792_400, 9: 4_873_744}


@pytest.mark.parametrize("K", GCRN)
def test_gcrn_has_the_parameters_that_its_paper_counts(K):
    cell, operator = LSTM(peephole=True), Chebyshev(K)
    model = nn.ModuleDict(
        {
            "encoder": Recurrent(cell, 16, 256, operator=operator),
            "decoder": Recurrent(cell, 0, 256, operator=operator),
            "output": nn.Linear(256, 16),  # 1×1: alike at every node
        }
    )
    assert sum(p.numel() for p in model.parameters()) == GCRN[K]
    counted = count_parameters(model)
    assert counted.total == GCRN[K]
    assert f"4·{K}·16·256" in str(counted)


def test_the_weights_of_attention_are_counted_gate_by_gate():
    counted = str(count_parameters(Recurrent(GRU("before"), 5, 8, operator=Attention(2))))
    assert "layer 0, input–hidden weight   3·5·8" in counted
    assert "layer 0, input–hidden source   3·4·2" in counted
    assert "layer 0, hidden–hidden target  3·4·2" in counted


def test_without_inputs_there_are_no_scores():
    layer = Recurrent(GRU(), 0, 8, operator=Attention(2))
    assert list(layer.directions[0].inputs) == ["weight"]
    assert set(layer.directions[0].recurrent) == {"weight", "source", "target"}


@pytest.mark.parametrize("init", ["orthogonal", "kaiming"])
def test_weights_that_score_start_by_glorot_gate_by_gate(init):
    layer = Recurrent(LSTM(), 40, 256, operator=Attention(8), init=init)
    (direction,) = layer.directions
    bound = (6 / (8 + 32)) ** 0.5
    for weights in (direction.inputs, direction.recurrent):
        for name in ("source", "target"):
            assert 0.95 * bound < weights[name].abs().max() <= bound
    if init == "orthogonal":
        for Q in direction.recurrent["weight"].double().split(256):
            assert torch.allclose(Q.T @ Q, torch.eye(256).double(), atol=1e-5)


def test_dropout_of_attention_acts_in_training_only(net):
    layer = Recurrent(GRU(), F, H, operator=Attention(2, dropout=0.5))
    x = torch.randn(T, B, N, F)
    assert not torch.equal(layer(x, graph=net)[0], layer(x, graph=net)[0])
    layer.eval()
    plain = Recurrent(GRU(), F, H, operator=Attention(2))
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x, graph=net)[0], plain(x, graph=net)[0])


@pytest.mark.parametrize("operator", [name for name in OPERATORS if name != "dense"])
def test_sequences_without_nodes_or_graph_are_refused(operator, net):
    layer = Recurrent(GRU(), F, H, operator=OPERATORS[operator])
    with pytest.raises(
        ValueError, match=r"aggregates neighbours, so x must be \[T, B, N, F\]; got"
    ):
        layer(torch.randn(T, N, F), graph=net)
    with pytest.raises(ValueError, match="aggregates neighbours; pass graph="):
        layer(torch.randn(T, B, N, F))
    with pytest.raises(ValueError, match=rf"graph's N = {N} nodes; got shape \[4, 3, 5, 3\]"):
        layer(torch.randn(T, B, 5, F), graph=net)
    with pytest.raises(ValueError, match=r"state h must be \[1, 3, 9, 4\]"):
        layer(torch.randn(T, B, N, F), torch.randn(1, B, H), graph=net)


def test_graphs_that_an_operator_cannot_use_are_refused_before_anything_is_computed():
    x = torch.randn(T, B, 2, F)
    with pytest.raises(InputError, match=r"undirected.*graph.to_undirected\(\)"):
        Recurrent(GRU(), F, H, operator=Chebyshev(2))(x, graph=Graph([[0], [1]]))
    with pytest.raises(InputError, match="edge weights of at least 0"):
        Recurrent(GRU(), F, H, operator=GCN())(x, graph=Graph([[0], [1]], [-1.0]))
    with pytest.raises(ValueError, match="3 heads do not divide 4 outputs"):
        Recurrent(GRU(), F, H, operator=Attention(3))

"""The network against a loop over graph convolutions, its sizes, and what its nodes are."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.func import functional_call

from plait.nn.convolution import GraphConv
from plait.nn.filters import Chebyshev
from plait.nn.graph import Graph
from plait.tasks.digits.config import DigitsConfig
from plait.tasks.digits.model import DigitsModel, patch_graph, patches, unpatched

TINY = {"frame": 16, "patch": 4, "hidden_size": 5, "history": 3, "horizon": 2}


def redrawn(config: DigitsConfig) -> DigitsModel:
    model = DigitsModel(config).double()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_(0, 0.4)
    return model


def filtered(weight: torch.Tensor, x: torch.Tensor, graph: Graph) -> torch.Tensor:
    """A graph convolution with these weights, `[H, K, F]`, and no bias."""
    conv = GraphConv(Chebyshev(weight.shape[1]), x.shape[-1], weight.shape[0], bias=False)
    return functional_call(conv, {"weights.weight": weight}, (x, graph))


def step(direction, x, h, c, graph):
    """One step of the paper's equations, a convolution for every gate and side."""
    H = h.shape[-1]
    gates = {}
    sides = [("recurrent", h)] if x is None else [("inputs", x), ("recurrent", h)]
    for side, given in sides:
        weights = getattr(direction, side)["weight"].split(H)
        for gate, weight in zip("ifgo", weights, strict=True):
            expected = filtered(weight, given, graph)
            gates[gate] = gates.get(gate, 0) + expected
    bias = dict(zip("ifgo", direction.bias.split(H), strict=True))
    p_i, p_f, p_o = (direction.vectors[name] for name in ("p_i", "p_f", "p_o"))
    i = torch.sigmoid(gates["i"] + p_i * c + bias["i"])
    f = torch.sigmoid(gates["f"] + p_f * c + bias["f"])
    c = f * c + i * torch.tanh(gates["g"] + bias["g"])
    o = torch.sigmoid(gates["o"] + p_o * c + bias["o"])
    return o * torch.tanh(c), c


def by_hand(model: DigitsModel, frames: torch.Tensor) -> torch.Tensor:
    config, (B, S) = model.config, (frames.shape[1], frames.shape[-1])
    p, across = config.patch, S // config.patch
    h = c = torch.zeros(B, across**2, config.hidden_size, dtype=frames.dtype)
    for frame in frames:
        cut = [
            frame[:, p * i : p * i + p, p * j : p * j + p].reshape(B, p * p)
            for i in range(across)
            for j in range(across)
        ]
        h, c = step(model.encoder.directions[0], torch.stack(cut, 1), h, c, model.graph)
    answers = []
    for _ in range(config.horizon):
        h, c = step(model.decoder.directions[0], None, h, c, model.graph)
        expected = h @ model.output.weight.T + model.output.bias
        frame = torch.zeros(B, S, S, dtype=frames.dtype)
        for n in range(across**2):
            i, j = p * (n // across), p * (n % across)
            frame[:, i : i + p, j : j + p] = expected[:, n].view(B, p, p)
        answers.append(frame)
    return torch.stack(answers)


@pytest.mark.parametrize("order", [2, 3])
def test_gcrn_is_the_papers_equations(order, assert_near):
    model = redrawn(DigitsConfig(**TINY, order=order))
    frames = torch.rand(3, 2, 16, 16, dtype=torch.float64)
    expected, actual = by_hand(model, frames), model(frames)
    assert_near(actual, expected, 1e-12)
    direction = torch.randn_like(expected)
    learnt = [(name, p) for name, p in model.named_parameters() if p.numel()]
    names, parameters = zip(*learnt, strict=True)
    theirs, ours = (torch.autograd.grad((y * direction).sum(), parameters)
                    for y in (expected, actual))  # fmt: skip
    for name, one, other in zip(names, ours, theirs, strict=True):
        assert float(other.abs().max()) > 0, name
        assert_near(one, other, 1e-11)


def test_the_fully_connected_network_is_two_layers_of_lstm(assert_near):
    """Without peepholes it is torch's, whose decoder reads zeros with weights of zero."""
    config = DigitsConfig(network="lstm", frame=16, hidden_size=6, history=3, horizon=2)
    model = redrawn(config)
    with torch.no_grad():
        for layer in (model.encoder, model.decoder):
            for direction in layer.directions:
                for vector in direction.vectors.values():
                    vector.zero_()
    lstms = []
    for layer, inputs in ((model.encoder, 256), (model.decoder, 1)):
        lstm = nn.LSTM(inputs, 6, num_layers=2).double()
        with torch.no_grad():
            for k, direction in enumerate(layer.directions):
                given = dict(direction.inputs).get("weight")
                expected = torch.zeros(24, inputs) if given is None or not given.numel() else given
                getattr(lstm, f"weight_ih_l{k}").copy_(expected.reshape(24, -1))
                recurrent = direction.recurrent["weight"].reshape(24, 6)
                getattr(lstm, f"weight_hh_l{k}").copy_(recurrent)
                getattr(lstm, f"bias_ih_l{k}").copy_(direction.bias)
                getattr(lstm, f"bias_hh_l{k}").zero_()
        lstms.append(lstm)
    frames = torch.rand(3, 2, 16, 16, dtype=torch.float64)
    _, state = lstms[0](frames.flatten(2))
    y, _ = lstms[1](torch.zeros(2, 2, 1, dtype=torch.float64), state)
    assert_near(model(frames), model.output(y).view(2, 2, 16, 16), 1e-12)


@pytest.mark.parametrize(
    ("order", "count"), [(3, 1_629_712), (5, 2_711_056), (7, 3_792_400), (9, 4_873_744)]
)
def test_parameters_are_as_many_as_the_papers(order, count):
    model = DigitsModel(DigitsConfig(size="paper", order=order))
    assert sum(p.numel() for p in model.parameters()) == count
    K = order
    shared = 4 * K * (16 * 256 + 256**2) + 4 * K * 256**2 + 2 * (4 * 256 + 3 * 256)
    assert count == shared + 256 * 16 + 16


def test_parameters_of_the_fully_connected_network_are_as_many_as_published():
    with torch.device("meta"):  # half a gigabyte of weights
        model = DigitsModel(DigitsConfig(size="paper", network="lstm"))
    assert sum(p.numel() for p in model.parameters()) == 142_667_776


def test_patches_are_put_together_as_they_were_cut():
    frames = torch.rand(2, 3, 12, 12)
    cut = patches(frames, 4)
    assert torch.equal(cut[1, 2, 5], frames[1, 2, 4:8, 8:12].flatten())
    assert torch.equal(unpatched(cut, 4), frames)


def test_a_patch_is_joined_with_those_around_it():
    graph = patch_graph(DigitsConfig(size="paper"))
    assert graph.num_nodes == 256
    source, target = graph.edge_index.numpy()
    inner = 5 * 16 + 7
    around = {inner + dy * 16 + dx for dy in (-1, 0, 1) for dx in (-1, 0, 1)} - {inner}
    assert set(source[target == inner]) == around
    weight = dict(zip(source[target == inner], graph.edge_weight[target == inner], strict=True))
    straight, across = weight[inner + 1], weight[inner + 17]
    # exp(−d²/σ²), the squares of the distances being 1 and 2
    assert np.isclose(across, straight**2)


def test_a_network_goes_on_at_another_size_of_frame():
    """Its weights know patches, not places."""
    small, large = (DigitsModel(DigitsConfig(frame=frame)) for frame in (32, 48))
    large.load_state_dict(small.state_dict())
    assert large(torch.rand(10, 1, 48, 48)).shape == (10, 1, 48, 48)

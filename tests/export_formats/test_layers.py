"""Layers as programs of torch's operations alone, and as ONNX files, of any batch and length."""

import sys
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from plait import (
    GRU,
    LSTM,
    RNN,
    Adaptive,
    Attention,
    Diffusion,
    Graph,
    GraphConv,
    InputError,
    Recurrent,
)
from plait.export_formats import Form
from plait.export_formats.layers import layer_form
from plait.export_formats.onnx_file import onnx_file
from plait.export_formats.torch_file import torch_file
from plait.kernels.scan import scan
from plait.nn.registry import CELLS, OPERATORS, GraphOptions, cell_named

pytest.importorskip("onnxscript")


def graph() -> Graph:
    return Graph.from_edges([(0, 1), (1, 2), (2, 3), (4, 5)], num_nodes=12).to_undirected()


def layer_of(cell: str, operator: str, **options: Any) -> tuple[Recurrent, Graph | None]:
    layer = Recurrent(
        cell_named(cell), 3, 4, operator=GraphOptions(operator, heads=2).make(), **options
    )
    return layer, None if operator == "dense" else graph()


@pytest.mark.parametrize(
    ("cell", "operator"),
    [("lstm-layer-norm", "dense"), ("rnn", "gcn"), ("min-gru", "attention")],
)
def test_a_sequence_is_torchs_operations_alone_and_of_any_size(cell: str, operator: str) -> None:
    layer, on = layer_of(cell, operator, bidirectional=True, layers=2 if cell == "rnn" else 1)
    form = layer_form(layer, on)
    program = form.trace()
    called = {str(n.target) for n in program.graph.nodes if n.op == "call_function"}
    assert not [name for name in called if "plait" in name]
    for turn in range(3):
        x, *states = form.sized(turn).values()
        with torch.no_grad():
            found = program.module()(x, *states)
            y, final = layer(x, states[0] if len(states) == 1 else tuple(states), graph=on)
        final = (final,) if isinstance(final, torch.Tensor) else final
        torch.testing.assert_close(found, (y, *final), rtol=0, atol=2e-6)


def test_the_program_has_the_gradients_of_the_layer() -> None:
    layer = Recurrent(LSTM(), 3, 4).double()
    form = layer_form(layer)
    x, h, c = form.sized(2).values()
    program = form.trace().module()
    ours, theirs = [
        torch.autograd.grad(y.square().sum(), list(weights.values()))
        for y, weights in (
            (layer(x, (h, c))[0], dict(layer.named_parameters())),
            (program(x, h, c)[0], dict(program.named_parameters())),
        )
    ]
    torch.testing.assert_close(theirs, ours, rtol=1e-10, atol=1e-12)


def test_one_step_is_no_loop() -> None:
    layer, on = layer_of("lstm-peephole", "dense", layers=2)
    form = layer_form(layer, on, step=True)
    program = form.trace()
    assert "scan" not in str(program.graph)
    x, h, c = form.sized(1).values()
    y, (next_h, next_c) = layer(x[None], (h, c), graph=on)
    torch.testing.assert_close(program.module()(x, h, c), (y[0], next_h, next_c), rtol=0, atol=2e-6)


def test_sequences_of_lengths_are_exported() -> None:
    class Padded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = Recurrent(GRU(), 3, 4, bidirectional=True)

        def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
            return self.layer(x, lengths=lengths)[0]

    model = Padded()
    free = {"x": {0: "time", 1: "batch"}, "lengths": {0: "batch"}}
    form = Form(model, {"x": torch.randn(4, 3, 3), "lengths": torch.tensor([1, 0, 1])}, ["y"], free)
    found = form.trace().module()
    for T, lengths in ((7, [7, 2]), (2, [0])):
        x, ends = torch.randn(T, len(lengths), 3), torch.tensor(lengths)
        with torch.no_grad():
            torch.testing.assert_close(found(x, ends), model(x, ends), rtol=0, atol=2e-6)


def test_the_state_of_a_layer_is_as_it_was() -> None:
    layer = Recurrent(GRU(), 3, 4, layers=2, dropout=0.5, batch_first=True).train()
    layer_form(layer).trace()
    assert layer.training
    assert all(p.requires_grad and p.grad is None for p in layer.parameters())


def test_an_onnx_file_names_its_inputs_and_no_file_of_this_machine() -> None:
    onnx = pytest.importorskip("onnx")
    layer = Recurrent(RNN(), 3, 4, operator=Adaptive(9), batch_first=True)
    content, difference = onnx_file(layer_form(layer), {"made": "here"})
    assert difference <= 1e-5
    model = onnx.load_from_string(content)
    sizes = {
        v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim]
        for v in (*model.graph.input, *model.graph.output)
    }
    assert sizes["x"] == ["batch", "time", 9, 3]
    assert sizes["h"] == sizes["next_h"] == [1, "batch", 9, 4]
    assert {p.key: p.value for p in model.metadata_props}["made"] == '"here"'
    assert b"/src/plait" not in content


def test_a_convolution_is_exported() -> None:
    conv = GraphConv(Attention(2, version=2), 3, 4)
    assert torch_file(layer_form(conv, graph()), {})[1] <= 1e-6


def test_what_a_file_computes_is_compared_with_the_model() -> None:
    form = layer_form(Recurrent(GRU(), 3, 4))
    with pytest.raises(InputError, match=r"that program differs from the model by .* in y, more"):
        form.compare(lambda given: [x + 1e-4 for x in _run(form, given)], "that program")
    with pytest.raises(InputError, match=r"differs from the model by nan in y"):
        form.compare(lambda given: [x * float("nan") for x in _run(form, given)], "that program")
    with pytest.raises(InputError, match=r"returns y of shape .*; nothing is written"):
        form.compare(lambda given: [x[:-1] for x in _run(form, given)], "that program")
    assert form.compare(lambda given: _run(form, given), "that program") == 0


def _run(form: Form, given: Any) -> list[Any]:
    with torch.no_grad():
        return [y.numpy() for y in form.module(*map(torch.from_numpy, given.values()))]


class Branching(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x) if float(x.sum()) > 0 else x


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layer_form(Recurrent(GRU(), 3, 4, operator=Diffusion(2))), "give graph="),
        (lambda: layer_form(nn.LSTM(3, 4)), "LSTM is no run, Recurrent or GraphConv; a module of"),
        (lambda: layer_form(GraphConv(Diffusion(1), 3, 4), graph(), step=True), "has no steps"),
        (
            lambda: Form(Branching(), {"x": torch.ones(3)}, ["y"]).trace(),
            "torch cannot export this model: ",
        ),
    ],
)
def test_what_cannot_be_exported_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


@pytest.mark.slow
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("cell", CELLS)
def test_every_pair_is_exported(cell: str, operator: str) -> None:
    for step in (False, True):
        layer, on = layer_of(cell, operator, layers=2, bidirectional=not step)
        for file in (torch_file, onnx_file):
            assert file(layer_form(layer, on, step=step), {})[1] <= 1e-5


def test_without_torchs_scan_the_message_says_which_torch_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(sys.modules["torch._higher_order_ops.scan"], "scan_op")
    with pytest.raises(
        InputError, match=r"a loop over time \(cannot import name 'scan_op' .*2\.13"
    ):
        scan(lambda state, x: state, (torch.zeros(1),), (torch.zeros(2, 1),))

"""Conversions between the recurrent layers of `torch.nn` and ours, with their weights."""

import warnings
from typing import Any

import torch
from torch import nn

from plait.kernels.torch_native import torch_mode, weights_of
from plait.nn.cell import Cell
from plait.nn.cells import GRU, LSTM, RNN
from plait.nn.layer import Layer

_CELLS: dict[str, Cell] = {
    "RNN_TANH": RNN("tanh"), "RNN_RELU": RNN("relu"), "LSTM": LSTM(), "GRU": GRU("after"),
}  # fmt: skip


def options_of(module: nn.RNNBase) -> dict[str, Any]:
    """Return the arguments of the `Recurrent` that is equivalent to a module.

    Raises
    ------
    TypeError
        For any module other than `nn.RNN`, `nn.LSTM` and `nn.GRU`.
    ValueError
        For `proj_size`.
    """
    if not isinstance(module, (nn.RNN, nn.LSTM, nn.GRU)):
        raise TypeError(f"from_torch takes nn.RNN, nn.LSTM or nn.GRU, not {type(module)}")
    if module.proj_size:
        raise ValueError("proj_size is not supported; put a linear layer behind the LSTM")
    return {
        "cell": _CELLS[module.mode],
        "input_size": module.input_size,
        "hidden_size": module.hidden_size,
        "layers": module.num_layers,
        "bidirectional": module.bidirectional,
        "dropout": module.dropout,
        "batch_first": module.batch_first,
    }


def module_for(layer: Any) -> nn.RNN | nn.LSTM | nn.GRU:
    """Make the module of `torch.nn` that is equivalent to a `Recurrent`."""
    mode = torch_mode(layer.directions[0])
    if mode is None:
        raise ValueError(f"torch.nn has no {layer.cell!r} × {layer.operator!r}")
    if layer.recurrent_dropout:
        raise ValueError("torch.nn has no recurrent dropout; set recurrent_dropout to 0 first")
    if layer.input_size == 0:
        raise ValueError("torch.nn takes no inputs of size 0")
    kind = {"LSTM": nn.LSTM, "GRU": nn.GRU}.get(mode, nn.RNN)
    options = {"nonlinearity": mode[4:].lower()} if kind is nn.RNN else {}
    module = kind(
        layer.input_size,
        layer.hidden_size,
        num_layers=layer.layers,
        bidirectional=layer.bidirectional,
        dropout=layer.dropout if layer.layers > 1 else 0.0,
        batch_first=layer.batch_first,
        **options,
    )
    module.to(next(layer.parameters()))
    module.train(layer.training)
    for one, suffix in zip(layer.directions, _suffixes(module), strict=True):
        _copy_to(one, module, suffix)
    return module


def quietly(make: Any, **options: Any) -> Any:
    """Make a layer without advancing torch's random generator, and without dropout's warning."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message="dropout acts between layers")
        return make(**options)


def copy_weights(module: nn.RNNBase, layer: Any) -> None:
    """Copy a module's weights, type, device and mode into a `Recurrent`."""
    layer.to(next(module.parameters()))
    layer.train(module.training)
    for one, suffix in zip(layer.directions, _suffixes(module), strict=True):
        _copy_from(one, module, suffix)


@torch.no_grad()
def _copy_to(layer: Layer, module: nn.RNNBase, suffix: str) -> None:
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for name, weight in zip(names, weights_of(layer), strict=True):
        getattr(module, f"{name}_{suffix}").copy_(weight)


@torch.no_grad()
def _copy_from(layer: Layer, module: nn.RNNBase, suffix: str) -> None:
    """Copy the weights; torch's two biases become one."""
    layer.inputs["weight"].copy_(getattr(module, f"weight_ih_{suffix}"))
    layer.recurrent["weight"].copy_(getattr(module, f"weight_hh_{suffix}"))
    for p in (layer.bias, layer.recurrent_bias):
        if p is not None:
            p.zero_()
    if not module.bias:
        return
    assert layer.bias is not None
    H = layer.hidden_size
    first = getattr(module, f"bias_ih_{suffix}").split(H)
    second = getattr(module, f"bias_hh_{suffix}").split(H)
    for k, gate in enumerate(layer.gates):
        own = gate in layer.recurrent_bias_gates
        layer.bias.view(-1, H)[k] = first[k] if own else first[k] + second[k]
    if layer.recurrent_bias is not None:
        own = [second[layer.gates.index(g)] for g in layer.recurrent_bias_gates]
        layer.recurrent_bias.copy_(torch.cat(own))


def _suffixes(module: nn.RNNBase) -> list[str]:
    """List the suffixes of torch's weight names, in the order of our directions."""
    directions = ("", "_reverse")[: 1 + module.bidirectional]
    return [f"l{k}{d}" for k in range(module.num_layers) for d in directions]

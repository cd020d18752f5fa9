"""From the recurrent layers of `torch.nn` to ours and back, with their weights."""

import warnings
from typing import TYPE_CHECKING

import torch
from torch import nn

from plait.nn.cells import GRU, LSTM, RNN, Cell, equations
from plait.nn.operators import Dense

if TYPE_CHECKING:
    from plait.nn.recurrent import Recurrent

_MODES: dict[str, Cell] = {
    "RNN_TANH": RNN("tanh"), "RNN_RELU": RNN("relu"), "LSTM": LSTM(), "GRU": GRU("after"),
}  # fmt: skip


def torch_mode(cell: Cell) -> str | None:
    """Name the mode of `torch.nn` that computes what this cell does, or None."""
    name = equations(cell)
    return name if name in _MODES else None


def layer_of(kind: "type[Recurrent]", module: nn.RNNBase) -> "Recurrent":
    """Make the layer that computes what a module of `torch.nn` does: `Recurrent.from_torch`."""
    if not isinstance(module, (nn.RNN, nn.LSTM, nn.GRU)):
        raise TypeError(f"from_torch takes nn.RNN, nn.LSTM or nn.GRU, not {type(module)}")
    if module.proj_size:
        raise ValueError("proj_size is not supported; put a linear layer behind the LSTM")
    cell = _MODES[module.mode]
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.filterwarnings("ignore", message="dropout acts between layers")
        layer = kind(
            cell,
            module.input_size,
            module.hidden_size,
            layers=module.num_layers,
            bidirectional=module.bidirectional,
            dropout=module.dropout,
            batch_first=module.batch_first,
        )
    layer.to(next(module.parameters()))
    layer.train(module.training)
    for strand, suffix in zip(layer.strands, _suffixes(layer), strict=True):
        strand.copy_from_torch(module, suffix)  # pyright: ignore[reportCallIssue]
    return layer


def module_of(layer: "Recurrent") -> nn.RNN | nn.LSTM | nn.GRU:
    """Make the module of `torch.nn` that computes what a layer does: `Recurrent.to_torch`."""
    mode = torch_mode(layer.cell)
    if mode is None or type(layer.operator) is not Dense:
        raise ValueError(f"torch.nn has no {layer.cell!r} × {layer.operator!r}")
    if layer.recurrent_dropout:
        raise ValueError("torch.nn has no recurrent dropout; set recurrent_dropout to 0 first")
    if layer.input_size == 0:
        raise ValueError("torch.nn takes no inputs of size 0")
    kind = {"LSTM": nn.LSTM, "GRU": nn.GRU}.get(mode, nn.RNN)
    options = {"nonlinearity": layer.cell.nonlinearity} if isinstance(layer.cell, RNN) else {}
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
    for strand, suffix in zip(layer.strands, _suffixes(layer), strict=True):
        strand.copy_to_torch(module, suffix)  # pyright: ignore[reportCallIssue]
    return module


def _suffixes(layer: "Recurrent") -> list[str]:
    """Give the ends of torch's names of the weights, in the order of the strands."""
    directions = ("", "_reverse")[: layer.num_directions]
    return [f"l{k}{d}" for k in range(layer.layers) for d in directions]

"""Weights of Keras' recurrent layers, as arrays, in a `Recurrent`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.errors import InputError
from plait.nn.cell import Cell
from plait.nn.cells import GRU, LSTM, RNN
from plait.nn.layer import Layer

ORDER = {1: (0,), 3: (1, 0, 2), 4: (0, 1, 2, 3)}
"""By the number of gates, where ours stand among Keras': GRU z, r, h; LSTM i, f, c, o."""

EXPECTED = (
    "get_weights() of an LSTM, GRU or SimpleRNN gives kernel [F, gates · H], recurrent_kernel "
    "[H, gates · H] and, with use_bias, bias"
)


class KerasWeights(NamedTuple):
    """The arrays of one layer in one direction."""

    kernel: Tensor  # [F, gates · H]
    recurrent_kernel: Tensor  # [H, gates · H]
    bias: Tensor | None  # [gates · H], of a GRU with reset_after [2, gates · H]

    @property
    def gates(self) -> int:
        """The number of gates."""
        return self.recurrent_kernel.shape[1] // max(self.recurrent_kernel.shape[0], 1)


def read_keras(weights: Sequence[Any]) -> list[list[KerasWeights]]:
    """Return the arrays of each layer, by direction, from what `get_weights()` gives.

    Raises `InputError` for arrays that are no recurrent layer's, and for layers that do not fit.
    """
    nested = all(isinstance(one, list | tuple) for one in weights)
    layers = [_directions(one) for one in (weights if nested else [weights])]
    if not layers:
        raise InputError(f"there are no weights; {EXPECTED}")
    first, width = layers[0][0], layers[0][0].kernel.shape[0]
    for number, layer in enumerate(layers):
        for one in layer:
            if len(layer) != len(layers[0]) or one.gates != first.gates:
                raise InputError(
                    f"layer {number} is of another kind than layer 0; convert each by itself"
                )
            hidden = one.recurrent_kernel.shape[0]
            if hidden != first.recurrent_kernel.shape[0]:
                raise InputError(
                    f"layer {number} has {hidden} units, layer 0 {first.recurrent_kernel.shape[0]};"
                    " the layers of a Recurrent have one width: convert each"
                )
            if one.kernel.shape[0] != width:
                raise InputError(
                    f"layer {number} takes {one.kernel.shape[0]} features and is given {width}; "
                    "the layers must be in the order of the model"
                )
        width = len(layer) * first.recurrent_kernel.shape[0]
    return layers


def cell_of(first: KerasWeights, nonlinearity: str, *, reset_after: bool) -> Cell:
    """Return the cell that these weights are of."""
    if first.gates == 4:
        return LSTM()
    if first.gates == 1:
        return RNN("relu" if nonlinearity == "relu" else "tanh")
    after = reset_after if first.bias is None else first.bias.ndim == 2
    return GRU("after" if after else "before")


@torch.no_grad()
def copy_keras(given: KerasWeights, layer: Layer) -> None:
    """Copy the weights of one direction; without a bias it is 0."""
    H, order = layer.hidden_size, ORDER[given.gates]

    def ours(stacked: Tensor) -> list[Tensor]:
        parts = stacked.split(H)
        return [parts[k] for k in order]

    layer.inputs["weight"].copy_(torch.cat(ours(given.kernel.T)))
    layer.recurrent["weight"].copy_(torch.cat(ours(given.recurrent_kernel.T)))
    assert layer.bias is not None
    if given.bias is None:
        layer.bias.zero_()
        if layer.recurrent_bias is not None:
            layer.recurrent_bias.zero_()
    elif given.bias.ndim == 1:
        layer.bias.copy_(torch.cat(ours(given.bias)))
    else:  # reset_after: the candidate's second bias stays within the reset
        first, second = ours(given.bias[0]), ours(given.bias[1])
        assert layer.recurrent_bias is not None
        layer.recurrent_bias.copy_(second[2])
        layer.bias.copy_(torch.cat([first[0] + second[0], first[1] + second[1], first[2]]))


def _directions(arrays: Sequence[Any]) -> list[KerasWeights]:
    """Split the arrays of a layer: forward, then backward of a `Bidirectional`."""
    given = [_tensor(a) for a in arrays]
    if len(given) not in (2, 3, 4, 6):
        raise InputError(f"{len(given)} arrays are no recurrent layer's; {EXPECTED}")
    count = len(given) // 2 if len(given) in (4, 6) else len(given)
    parts = [given[:count], given[count:]] if len(given) > count else [given]
    return [_checked(KerasWeights(*p, *[None] * (3 - len(p)))) for p in parts]


def _tensor(array: Any) -> Tensor:
    found = np.asarray(array)
    if not np.issubdtype(found.dtype, np.floating):
        raise InputError(f"an array of {found.dtype} is no layer's weight; {EXPECTED}")
    return torch.from_numpy(np.array(found))


def _checked(one: KerasWeights) -> KerasWeights:
    shapes = [list(t.shape) for t in one if t is not None]
    fits = one.kernel.ndim == one.recurrent_kernel.ndim == 2
    if fits:
        H, width = one.recurrent_kernel.shape
        biases = [(width,), (2, width)] if one.gates == 3 else [(width,)]
        fits = H > 0 and one.gates in ORDER and width == one.gates * H
        fits = fits and one.kernel.shape[1] == width
        fits = fits and (one.bias is None or tuple(one.bias.shape) in biases)
    if not fits:
        raise InputError(f"arrays of shapes {', '.join(map(str, shapes))} do not fit; {EXPECTED}")
    return one

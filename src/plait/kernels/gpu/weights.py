"""The weights of torch's recurrences in one block of memory, as cuDNN reads them.

cuDNN wants all weights of a stack behind one another, torch's second bias among them; weights that
lie elsewhere torch copies there at every call, with a warning. Here the parameters are views of one
block: what changes them in place, an optimizer or `load_state_dict`, changes the block. Whatever
gives them new memory (`.to`, `load_state_dict(assign=True)`, a copy) is found at the next call, by
their addresses, and they are laid into a block again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.backends.cudnn.rnn import get_cudnn_mode

Flatten = Callable[[list[Tensor]], Any]
"""Moves tensors into one block, so that they are views of it."""


def in_block(layers: Sequence[Any], flatten: Flatten) -> list[Tensor] | None:
    """Return W, U and torch's two biases of every layer as views of one block.

    None where they are no parameters, such as those that `weight_norm` computes at every call.

    Parameters
    ----------
    layers : sequence of Layer
        Of torch's cells, all of a stack.
    flatten : callable
    """
    own = [_parameters(layer) for layer in layers]
    if any(type(p) is not nn.Parameter for params in own for p in params):
        return None
    known = getattr(layers[0], "_block", None)
    if known is None or known.addresses != _addresses(own):
        known = _Block(layers, own, flatten)
        object.__setattr__(layers[0], "_block", known)  # no buffer: it is the weights' own memory
    weights: list[Tensor] = []
    for (W, U, bias, *more), second in zip(own, known.second, strict=True):
        last = second.detach()
        if more:
            last = _WithBias.apply(more[0], last)
        weights += [W, U, bias, last]  # pyright: ignore[reportArgumentType]
    return weights


def _parameters(layer: Any) -> list[Tensor]:
    found = [layer.inputs["weight"], layer.recurrent["weight"], layer.bias]
    return found if layer.recurrent_bias is None else [*found, layer.recurrent_bias]


def _addresses(own: Sequence[Sequence[Tensor]]) -> list[tuple[int, torch.dtype]]:
    return [(p.data_ptr(), p.dtype) for params in own for p in params]


class _Block:
    """The second biases of a stack, and where its parameters lie in the block."""

    @torch.no_grad()
    def __init__(
        self, layers: Sequence[Any], own: Sequence[Sequence[Tensor]], flatten: Flatten
    ) -> None:
        parts: list[Tensor] = []
        for W, U, bias, *more in own:
            second = torch.zeros_like(bias)
            if more:  # of the last gates
                second[-len(more[0]) :] = more[0]
            parts += [W.detach().clone(), U.detach().clone(), bias.detach().clone(), second]
        flatten(parts)
        self.second = parts[3::4]
        for k, (W, U, bias, *more) in enumerate(own):
            W.data, U.data, bias.data = parts[4 * k : 4 * k + 3]
            if more:
                more[0].data = self.second[k][-len(more[0]) :]
        self.addresses = _addresses(own)

    def __deepcopy__(self, memo: Any) -> None:
        """Lay a copied layer's weights into a block of its own."""


class _WithBias(Function):
    """The second bias, of which a parameter is the last part."""

    @staticmethod
    def forward(ctx: Any, bias: Tensor, second: Tensor) -> Tensor:
        ctx.size = len(bias)
        return second.view_as(second)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        return grads[0][-ctx.size :], None


def flatten_for_cudnn(
    mode: str, input_size: int, hidden_size: int, depth: int, *, bidirectional: bool
) -> Flatten:
    """Make what lays weights as cuDNN says, which knows where each belongs."""

    def flatten(weights: list[Tensor]) -> None:
        lay: Any = torch._cudnn_rnn_flatten_weight  # pyright: ignore[reportPrivateImportUsage]
        kind = get_cudnn_mode(mode)
        lay(weights, 4, input_size, kind, hidden_size, 0, depth, False, bidirectional)

    return flatten

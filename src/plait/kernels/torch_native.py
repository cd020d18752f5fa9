"""torch's own recurrences: oneDNN, cuDNN, and ATen's loop in C++.

They compute four cells × a matrix product. Which cell a layer has follows from its equations: those
that torch documents are traced here, and a program that is the same, operation by operation, may
run there. Sequences that end early are run to the end of the padding, which is faster than packing
them, and the state is taken from where each one ended. Two are packed: the LSTM, whose cell state
torch does not give at every step, and the RNN of max(0, ·), whose unbounded state may overflow in
the padding, where even a gradient of zero would come back as NaN. So is every stack of cuDNN's, so
that its weights stay one block.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plait.kernels import precision
from plait.kernels.gpu.weights import flatten_for_cudnn, in_block
from plait.kernels.kernel import Call, State
from plait.kernels.program import Program
from plait.kernels.trace import trace
from plait.kernels.transforms import transformed

_FUNCTIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


class TorchRecurrence:
    """torch's own function for a cell × a matrix product.

    Parameters
    ----------
    name : "oneDNN", "cuDNN" or "ATen"
        Which of its implementations: the one that torch takes is known from the call.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.stacks_lengths = name == "cuDNN"
        """Whether `run_stack` takes lengths: cuDNN runs packed sequences as fast as others."""

    def accepts(self, layer: Any, call: Call) -> str | None:
        """Accept one of torch's cells × a matrix product, where this implementation runs it."""
        device = call.x.device.type
        if self.name == "cuDNN" and device != "cuda":
            return f"x lies on {device}"
        if self.name == "oneDNN" and device != "cpu":
            return f"x lies on {device}"
        mode = torch_mode(layer)
        if mode is None:
            return f"torch has no {layer.cell!r} × {layer.operator!r}"
        if call.unroll:
            return "the states of every step are asked for"
        if call.dropout:
            return "torch has no recurrent dropout"
        if not call.x.shape[-1]:
            return "torch takes no inputs of size 0"
        if call.compiling or transformed(call.x):
            return "torch.compile or torch.func traces the call"
        kind = precision.lowered(call.x)
        if device == "cpu" and kind and precision.product_type(kind, "cpu") != kind:
            return f"this processor has no products of {str(kind).removeprefix('torch.')}"
        taken = _taken(mode, call)
        return None if taken == self.name else f"torch takes {taken} here"

    def describe(self, layer: Any, call: Call) -> str:
        """Return torch's function, device and type."""
        mode = str(torch_mode(layer)).split("_")[0]
        kind = str(precision.lowered(call.x) or call.x.dtype).removeprefix("torch.")
        return f"torch's {mode} on {call.x.device.type} in {kind}"

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Run one layer in one direction."""
        begin = tuple(s[None] for s in call.start)
        mode = torch_mode(layer)
        assert mode is not None
        weights = self._weights([layer], mode, 1, call.x)
        with _quietly(weights):
            h, final = run(mode, call.x, begin, weights, call.lengths, call.keep)
        return h, _as_given(tuple(f[0] for f in final), call.start), ()

    def run_stack(
        self, layers: Sequence[Any], x: Tensor, starts: State, *, depth: int, dropout: float,
        lengths: Tensor | None = None, keep: Tensor | None = None,
    ) -> tuple[Tensor, State]:  # fmt: skip
        """Run a whole stack, `depth` layers of one direction or two, in one call."""
        mode = torch_mode(layers[0])
        assert mode is not None
        weights = self._weights(layers, mode, depth, x)
        with _quietly(weights):
            y, final = run(
                mode, x, starts, weights, lengths, keep,
                layers=depth, bidirectional=len(layers) > depth, dropout=dropout,
            )  # fmt: skip
        return y, _as_given(final, starts)

    def _weights(self, layers: Sequence[Any], mode: str, depth: int, x: Tensor) -> list[Tensor]:
        """Return W, U and two biases of every layer, for cuDNN in one block if they can be."""
        if self.name == "cuDNN":
            H, two = layers[0].hidden_size, len(layers) > depth
            flatten = flatten_for_cudnn(mode, x.shape[-1], H, depth, bidirectional=two)
            block = in_block(layers, flatten)
            if block is not None:
                return block
        zero = torch.zeros_like(layers[0].bias)
        return [w for layer in layers for w in weights_of(layer, zero)]


def _as_given(final: State, start: State) -> State:
    """Return final states in the types of the start states."""
    if all(f.dtype == s.dtype for f, s in zip(final, start, strict=True)):
        return final
    return tuple(f.to(s.dtype) for f, s in zip(final, start, strict=True))


def _quietly(weights: Sequence[Tensor]) -> AbstractContextManager[Any]:
    """Silence cuDNN's warning about weights that are computed at every call, and so in no block."""
    if weights[0].device.type != "cuda" or weights[0].is_leaf:
        return nullcontext()
    return _no_warning()


@contextmanager
def _no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single")
        yield


def _taken(mode: str, call: Call) -> str:
    """Name the implementation that torch takes."""
    x = call.x
    if x.device.type == "cuda" and torch.backends.cudnn.is_acceptable(x):
        return "cuDNN"
    plain = x.device.type == "cpu" and x.dtype == torch.float32 and call.lengths is None
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled  # pyright: ignore[reportAttributeAccessIssue]
    return "oneDNN" if mode == "LSTM" and plain and onednn else "ATen"


def torch_mode(layer: Any) -> str | None:
    """Name the mode of `torch.nn` that computes what a layer does, or None."""
    program = layer.program(dropped=False)
    if isinstance(program, str) or layer.recurrent_gates != layer.gates:
        return None
    mode = _modes(layer.gates).get(program.key)
    if mode is None or getattr(layer.operator, "check", None) is not None:  # it aggregates
        return None
    plain = layer.basis_of is not None and list(layer.inputs) == ["weight"]
    return mode if plain and layer.inputs["weight"].ndim == 2 else None


@cache
def _modes(gates: tuple[str, ...]) -> dict[str, str]:
    """Return torch's modes by the keys of their programs, with gates of these names."""
    modes: dict[str, str] = {}
    for mode, (step, count, states, own) in _EQUATIONS.items():
        if len(gates) == count:
            program = _program(step, gates, states, own)
            modes[program.key] = mode
    return modes


def _program(step: Any, gates: tuple[str, ...], states: tuple[str, ...], own: int) -> Program:
    return trace(
        step, 2, gates=gates, bias_gates=gates, recurrent_gates=gates,
        recurrent_bias_gates=gates[len(gates) - own :], states=states, vectors={}, dropped=False,
    )  # fmt: skip


def _rnn_tanh(x: Any, recurrent: Any, state: Any, vectors: Any) -> Any:
    return (torch.tanh(x + recurrent(state[0])),)


def _rnn_relu(x: Any, recurrent: Any, state: Any, vectors: Any) -> Any:
    return (torch.relu(x + recurrent(state[0])),)


def _lstm(x: Any, recurrent: Any, state: Any, vectors: Any) -> Any:
    h, c = state
    i, f, g, o = (x + recurrent(h)).chunk(4, -1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


def _gru(x: Any, recurrent: Any, state: Any, vectors: Any) -> Any:
    (h,) = state
    x_r, x_z, x_n = x.chunk(3, -1)
    u_r, u_z, u_n = recurrent(h).chunk(3, -1)
    r, z = torch.sigmoid(x_r + u_r), torch.sigmoid(x_z + u_z)
    n = torch.tanh(x_n + r * u_n)
    return (z * h + (1 - z) * n,)


# step, gates, states, gates with a recurrent bias of their own (the last ones)
_EQUATIONS: dict[str, tuple[Any, int, tuple[str, ...], int]] = {
    "RNN_TANH": (_rnn_tanh, 1, ("h",), 0),
    "RNN_RELU": (_rnn_relu, 1, ("h",), 0),
    "LSTM": (_lstm, 4, ("h", "c"), 0),
    "GRU": (_gru, 3, ("h",), 1),
}


def weights_of(layer: Any, zero: Tensor | None = None) -> list[Tensor]:
    """Return W, U and torch's two biases of a layer that torch has.

    `zero`: a vector of zeros, the second bias of a layer that has none of its own.
    """
    own = layer.recurrent_bias
    zero = torch.zeros_like(layer.bias) if zero is None else zero
    second = zero if own is None else layer.spread(own, layer.recurrent_bias_gates, layer.gates)
    return [layer.inputs["weight"], layer.recurrent["weight"], layer.bias, second]


def run(
    mode: str,
    x: Tensor,
    start: State,
    weights: list[Tensor],
    lengths: Tensor | None,
    keep: Tensor | None,
    *,
    layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
) -> tuple[Tensor, State]:
    """Run one layer in one direction, or a whole stack in one call, with lengths packed.

    Parameters
    ----------
    mode : "LSTM", "GRU", "RNN_TANH" or "RNN_RELU"
    x : Tensor `[T, B, (N,) F]`
        Nodes, where there are any, are independent sequences.
    start : tuple of Tensor `[layers·D, B, (N,) H]`
    weights : for each layer and direction W `[G·H, F]`, U `[G·H, H]`, and two biases `[G·H]`
    lengths : Tensor `[B]`
    keep : boolean Tensor `[T, B, (1,) 1]`
        The same as a mask.
    layers, bidirectional, dropout
        Of the stack; dropout acts between layers.

    Returns
    -------
    outputs : Tensor `[T, B, (N,) D·H]`
    final state : tuple of Tensor `[layers·D, B, (N,) H]`
    """
    lead, stacked = x.shape[:-1], start[0].shape  # [layers·D, B, (N,) H]
    on_nodes = len(stacked) == 4
    if on_nodes:
        x = x.flatten(1, -2)  # [T, B·N, F]
        start = tuple(s.flatten(1, -2) for s in start)  # [layers·D, B·N, H]
    hx = tuple(s.contiguous() for s in start)
    if lengths is None or x.shape[1] == 0:  # torch packs no empty batch
        y, final = _call(mode, x, hx, weights, layers, dropout, bidirectional)
    else:
        assert keep is not None
        nodes = stacked[2] if on_nodes else 1
        ends = lengths.repeat_interleave(nodes)  # [B·N]
        if mode in ("LSTM", "RNN_RELU") or len(weights) > 4:
            options = (layers, dropout, torch.is_grad_enabled() or dropout > 0, bidirectional)
            y, final = _packed(mode, x, hx, weights, ends, options)
        else:
            y, _ = _call(mode, x, hx, weights)
            last = y[(ends - 1).clamp(min=0), torch.arange(len(ends), device=y.device)]
            final = (torch.where((ends > 0)[:, None], last, hx[0][0])[None],)
    if on_nodes:
        y = y.view(*lead, y.shape[-1])
        final = tuple(s.view(stacked) for s in final)
    if keep is not None:
        y = y.masked_fill(~keep, 0)
    return y, final


def _call(
    mode: str,
    x: Tensor,
    hx: State,
    weights: list[Tensor],
    layers: int = 1,
    dropout: float = 0.0,
    bidirectional: bool = False,
) -> tuple[Tensor, State]:
    training = torch.is_grad_enabled() or dropout > 0
    # first and last of the options: whether there are biases, whether the batch comes first
    options = (True, layers, dropout, training, bidirectional, False)
    y, *final = _FUNCTIONS[mode](x, hx if mode == "LSTM" else hx[0], weights, *options)
    return y, tuple(final)


def _packed(
    mode: str, x: Tensor, hx: State, weights: list[Tensor], ends: Tensor,
    options: tuple[int, float, bool, bool],
) -> tuple[Tensor, State]:  # fmt: skip
    """Run over packed sequences; those of length 0 take one step that is not kept."""
    packed = pack_padded_sequence(x, ends.clamp(min=1).cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert back is not None
    ordered = tuple(s[:, order] for s in hx)
    data, *final = _FUNCTIONS[mode](
        packed.data,
        packed.batch_sizes,
        ordered if mode == "LSTM" else ordered[0],
        weights,
        True,  # there are biases; then layers, dropout, training, bidirectional
        *options,
    )
    y, _ = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])
    moved = (ends > 0)[:, None]
    return y, tuple(torch.where(moved, f[:, back], s) for f, s in zip(final, hx, strict=True))

"""torch's own recurrences: oneDNN, cuDNN, and ATen's loop in C++.

They compute `RNN`, `LSTM` without peepholes and `GRU` with reset after, × `Dense`. Sequences
that end early are run to the end of the padding, which is faster than packing them, and the
state is taken from where each one ended. Two are packed: the LSTM, whose cell state torch does
not give at every step, and the RNN of max(0, ·), whose unbounded state may overflow in the
padding, where even a gradient of zero would come back as NaN.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from plait.kernels.choice import Choice

State = tuple[Tensor, ...]

# cuDNN wants its weights in one block and says so at every call; ours are copied into one.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")

_FUNCTIONS: dict[str, Callable[..., tuple[Tensor, ...]]] = {
    "LSTM": torch.lstm,
    "GRU": torch.gru,
    "RNN_TANH": torch.rnn_tanh,
    "RNN_RELU": torch.rnn_relu,
}


def choice(mode: str, weight: Tensor, *, lengths: bool) -> Choice:
    """Name the kernel that torch uses for this mode with weights like `weight`."""
    kind = str(weight.dtype).removeprefix("torch.")
    name = f"torch's {mode.split('_')[0]} on {weight.device.type} in {kind}"
    if weight.device.type == "cuda" and torch.backends.cudnn.is_acceptable(weight):
        return Choice("cuDNN", name, mode)
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled  # pyright: ignore[reportAttributeAccessIssue]
    if mode == "LSTM" and weight.device.type == "cpu" and kind == "float32" and onednn:
        if lengths:
            return Choice("ATen", f"{name}, packed, because oneDNN keeps no cell state", mode)
        return Choice("oneDNN", name, mode)
    return Choice("ATen", name, mode)


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
    """Run one layer in one direction, or without lengths a whole stack in one call.

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
    stacked = start[0].shape  # [layers·D, B, (N,) H]
    y_shape = (*x.shape[:-1], stacked[-1] * (2 if bidirectional else 1))
    x = x.flatten(1, -2)  # [T, B·N, F]
    hx = tuple(s.flatten(1, -2).contiguous() for s in start)  # [layers·D, B·N, H]
    if lengths is None or x.shape[1] == 0:  # torch packs no empty batch
        y, final = _call(mode, x, hx, weights, layers, dropout, bidirectional)
    else:
        assert keep is not None
        nodes = stacked[2] if len(stacked) == 4 else 1
        ends = lengths.repeat_interleave(nodes)  # [B·N]
        if mode in ("LSTM", "RNN_RELU"):
            y, final = _packed(mode, x, hx, weights, ends)
        else:
            y, _ = _call(mode, x, hx, weights)
            last = y[(ends - 1).clamp(min=0), torch.arange(len(ends), device=y.device)]
            final = (torch.where((ends > 0)[:, None], last, hx[0][0])[None],)
    y = y.view(y_shape)
    if keep is not None:
        y = y.masked_fill(~keep, 0)
    return y, tuple(s.view(stacked) for s in final)


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
    mode: str, x: Tensor, hx: State, weights: list[Tensor], ends: Tensor
) -> tuple[Tensor, State]:
    """Run over packed sequences; those of length 0 take one step that is not kept."""
    packed = pack_padded_sequence(x, ends.clamp(min=1).cpu(), enforce_sorted=False)
    order, back = packed.sorted_indices, packed.unsorted_indices
    assert order is not None
    assert back is not None
    ordered = tuple(s[:, order] for s in hx)
    # arguments after the weights: biases, layers, dropout, training, bidirectional
    options = (True, 1, 0.0, torch.is_grad_enabled(), False)
    data, *final = _FUNCTIONS[mode](
        packed.data,
        packed.batch_sizes,
        ordered if mode == "LSTM" else ordered[0],
        weights,
        *options,
    )
    y, _ = pad_packed_sequence(packed._replace(data=data), total_length=x.shape[0])
    moved = (ends > 0)[:, None]
    return y, tuple(torch.where(moved, f[:, back], s) for f, s in zip(final, hx, strict=True))

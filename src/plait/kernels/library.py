"""The kernels as operators of `torch.library`, which a compiler takes as they are.

`torch.ops.plait.recurrence` runs one layer in one direction. Its arguments are tensors, and strings
that name the kernel and the layer (`plait.kernels.handles`); graphs come as handles, so that another
graph needs no other program. Its gradient is an operator too, and what passes between the two is
given back by the first as tensors. A gradient of a gradient there is none, as under any compiler.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from plait.kernels.cpu.kernel import CompiledLoops
from plait.kernels.cpu.phases import CompiledPhases
from plait.kernels.cpu.stateless import Loops, Steps
from plait.kernels.handles import held_by, known_as
from plait.kernels.kernel import Call, State
from plait.kernels.reference import Reference

PAIRS: dict[str, Any] = {CompiledLoops.name: Loops, CompiledPhases.name: Steps}
"""By a kernel's name, what runs it as functions of tensors."""


@torch.library.custom_op("plait::recurrence", mutates_args=())
def recurrence(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], kernel: str, key: str,
    training: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    """Return outputs, final states, and with `keep` what the gradient wants."""
    layer, call = _called(x, start, weights, lengths, mask, seed, graphs, key, training)
    with torch.no_grad():
        outputs, kept = PAIRS[kernel].forward(layer, call, mask, keep=keep)
    return [*outputs, *kept]


@recurrence.register_fake
def _(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], kernel: str, key: str,
    training: bool, keep: bool,
) -> list[Tensor]:  # fmt: skip
    layer = _layer(weights, key, training)
    call = Call(x, tuple(start), graphs or None, lengths, dropout=float(mask is not None))
    outputs = [x.new_empty(*x.shape[:-1], layer.hidden_size)]
    outputs += [torch.empty_like(s, memory_format=torch.contiguous_format) for s in start]
    shapes = PAIRS[kernel].kept_shapes(layer, call) if keep else []
    return [*outputs, *(x.new_empty(shape) for shape in shapes)]


@torch.library.custom_op("plait::recurrence_backward", mutates_args=())
def recurrence_backward(
    grads: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor],
    y: Tensor, kept: Sequence[Tensor], kernel: str, key: str, training: bool,
) -> list[Tensor]:  # fmt: skip
    """Return the gradients of x, the start states and the weights."""
    layer, call = _called(x, start, weights, lengths, mask, seed, graphs, key, training)
    with torch.no_grad():
        dx, dstart, named = PAIRS[kernel].backward(layer, call, mask, kept, y, grads)
    return [_own(g) for g in (dx, *dstart, *(named[name] for name in layer.tensors()))]


@recurrence_backward.register_fake
def _(
    grads: Sequence[Tensor], x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor],
    lengths: Tensor | None, mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor],
    y: Tensor, kept: Sequence[Tensor], kernel: str, key: str, training: bool,
) -> list[Tensor]:  # fmt: skip
    return [
        torch.empty_like(t, memory_format=torch.contiguous_format) for t in (x, *start, *weights)
    ]


def _keep(ctx: Any, inputs: tuple[Any, ...], output: list[Tensor]) -> None:
    x, start, weights, lengths, mask, seed, graphs, *ctx.constants, _ = inputs
    ctx.set_materialize_grads(False)
    ctx.counts = len(start), len(weights), len(graphs)
    y, final, kept = output[0], output[1 : 1 + len(start)], output[1 + len(start) :]
    ctx.like = [t.shape for t in (y, *final)]
    ctx.save_for_backward(x, *start, *weights, *graphs, lengths, mask, seed, y, *kept)


def _differentiate(ctx: Any, grads: Sequence[Tensor | None]) -> tuple[Any, ...]:
    S, W, G = ctx.counts
    x, *rest = ctx.saved_tensors
    start, weights, graphs = rest[:S], rest[S : S + W], rest[S + W : S + W + G]
    lengths, mask, seed, y, *kept = rest[S + W + G :]
    given = [x.new_zeros(s) if g is None else g for g, s in zip(grads, ctx.like, strict=False)]
    dx, *found = torch.ops.plait.recurrence_backward(
        given, x, start, weights, lengths, mask, seed, graphs, y, kept, *ctx.constants
    )
    none = [None] * G
    return dx, found[:S], found[S:], None, None, None, none, None, None, None, None


recurrence.register_autograd(_differentiate, setup_context=_keep)


@torch._dynamo.assume_constant_result
def chosen(
    key: str, names: tuple[str, ...], dtype: torch.dtype, device: str, changing: bool,
    padded: bool, dropout: float, unroll: bool,
) -> str:  # fmt: skip
    """Return the name of the kernel that runs a layer in a compiled program."""
    x, lengths = torch.empty(1, 1, 1, dtype=dtype, device=device), None
    if padded:
        lengths = torch.ones(1, dtype=torch.long)
    graph = [None] if changing else None
    call = Call(x, (), graph, lengths, None, dropout, unroll, compiling=True)
    return choose_compiled(names, known_as(key), call)


def choose_compiled(names: Sequence[str], layer: Any, call: Call) -> str:
    """Return the name of the first of these kernels that a compiler takes and that accepts."""
    for kernel in (CompiledLoops(), CompiledPhases()):
        if kernel.name in names and kernel.accepts(layer, call) is None:
            return kernel.name
    return Reference.name


class Traced:
    """A kernel as a compiler traces it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, layer: Any, call: Call) -> tuple[Tensor, State, State]:
        """Run one layer in one direction."""
        if self.name == Reference.name:
            return layer.run_plainly(call)
        return run(self.name, layer, call)


def run(kernel: str, layer: Any, call: Call) -> tuple[Tensor, State, State]:
    """Run a call of a layer as a compiler traces it."""
    x, mask, seed = call.x, None, None
    if call.dropout:
        mask = torch.nn.functional.dropout(torch.ones_like(call.start[0]), call.dropout)
    if kernel == CompiledPhases.name:
        x = layer.input_gates(x, call.graph)
        if layer.training and hasattr(layer.operator, "without_dropout"):
            seed = torch.randint(2**40, (1,))
    graphs: list[Any] = []
    if call.graph is not None:
        graphs = call.graph if isinstance(call.graph, list | tuple) else [call.graph]
    weights = list(layer.tensors().values())
    learns = any(t.requires_grad for t in (x, *call.start, *weights))
    y, *rest = torch.ops.plait.recurrence(
        x, list(call.start), weights, call.lengths, mask, seed, [g.handle for g in graphs], kernel,
        layer.key, layer.training, torch.is_grad_enabled() and learns,
    )  # fmt: skip
    return y, tuple(rest[: len(call.start)]), ()


def _layer(weights: Sequence[Tensor], key: str, training: bool) -> Any:
    spec = known_as(key)
    return spec.bind(dict(zip(spec.names, weights, strict=True)), training=training)


def _called(
    x: Tensor, start: Sequence[Tensor], weights: Sequence[Tensor], lengths: Tensor | None,
    mask: Tensor | None, seed: Tensor | None, graphs: Sequence[Tensor], key: str, training: bool,
) -> tuple[Any, Call]:  # fmt: skip
    layer = _layer(weights, key, training)
    found = [held_by(h) for h in graphs]
    graph = None if not found else found[0] if len(found) == 1 else found
    if lengths is not None and len(lengths):
        low, high = int(lengths.min()), int(lengths.max())
        if low < 0 or high > len(x):
            raise ValueError(f"lengths must lie within 0 … T = {len(x)}; got {lengths.tolist()}")
    check: Any = getattr(layer.operator, "check", None)
    if check is not None:
        for one in found or [None]:
            check(x, one)
    keep = None
    dropout = float(mask is not None)
    return layer, Call(x, tuple(start), graph, lengths, keep, dropout, seed=seed)


def _own(t: Tensor) -> Tensor:
    """Return memory that is nobody else's."""
    return t.contiguous()

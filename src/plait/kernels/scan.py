"""A loop over time as one operation of a graph that `torch.export` traces.

The length may differ from call to call. In ONNX it becomes a `Scan`.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensor
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing

from plait.errors import InputError

State = tuple[Tensor, ...]


def scan(
    advance: Callable[[State, Sequence[Tensor]], State], start: State, over: Sequence[Tensor]
) -> tuple[State, State]:
    """Go through time: state_t = advance(state_{t−1}, over_t).

    Call it while `torch.export` traces.

    Parameters
    ----------
    advance : callable
        It may use any tensors of the code around it, weights and matrices of graphs.
    start : tuple of Tensor
    over : sequence of Tensor `[T, ...]`

    Returns
    -------
    final state : tuple of Tensor
    states after every step : tuple of Tensor `[T, ...]`

    Raises
    ------
    InputError
        Where this version of torch lacks what is used of its internals.
    """
    try:
        from torch._higher_order_ops.scan import scan_op
        from torch._higher_order_ops.utils import first_slice_copy, materialize_as_graph
    except ImportError as error:
        reason = str(error).partition(" (")[0]
        raise InputError(
            f"torch {torch.__version__} cannot export a loop over time ({reason}); "
            "install torch 2.13"
        ) from None
    count = len(start)

    def body(*args: Tensor) -> tuple[Tensor, ...]:
        new = advance(args[:count], args[count:])
        return (*new, *(s.clone() for s in new))  # no output may be another

    with disable_proxy_modes_tracing():
        sample = (*start, *(first_slice_copy(x) for x in over))
    traced = materialize_as_graph(body, sample)
    used = _as_arguments(traced)
    made = scan_op(traced, list(start), list(over), tuple(used))
    return tuple(made[:count]), tuple(made[count:])


def _as_arguments(traced: fx.GraphModule) -> list[Tensor]:
    """Let a traced body take as arguments what it used of the code around it, and return that."""
    last = [n for n in traced.graph.nodes if n.op == "placeholder"][-1]
    found: list[Tensor] = []
    places: dict[int, fx.Node] = {}
    for node in list(traced.graph.nodes):
        if node.op != "get_attr":
            continue
        value: Any = traced
        for name in node.target.split("."):
            value = getattr(value, name)
        if not isinstance(value, Tensor):
            continue
        if id(value) not in places:
            with traced.graph.inserting_after(last):
                last = traced.graph.placeholder(f"used_{len(found)}")
            last.meta = dict(node.meta)
            places[id(value)] = last
            found.append(value)
        node.replace_all_uses_with(places[id(value)])
        traced.graph.erase_node(node)
    traced.recompile()
    # a tensor with numbers, such as the matrix of a graph, becomes one of the trace
    return [v if isinstance(v, FakeTensor) else torch.clone(v) for v in found]

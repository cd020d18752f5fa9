"""A cell's `step`, called once with symbols in place of tensors, which yields its program."""

import linecache
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from plait.kernels import symbols, trace_rules
from plait.kernels.program import Product, Program
from plait.kernels.symbols import Symbol, Tracer, UntraceableError
from plait.kernels.trace_rules import RULES

_OURS = (__file__, symbols.__file__, trace_rules.__file__)


def trace(
    step: Callable[..., Any],
    H: int,
    *,
    gates: Sequence[str],
    bias_gates: Sequence[str],
    recurrent_gates: Sequence[str],
    recurrent_bias_gates: Sequence[str],
    states: Sequence[str],
    vectors: Mapping[str, int],
    dropped: bool,
) -> Program:
    """Return the program of a cell's step.

    Parameters
    ----------
    step : callable
        `step(x_gates, recurrent, state, vectors)`.
    H : int
        The width of a state.
    gates, bias_gates, recurrent_gates, recurrent_bias_gates, states
        As a cell declares them.
    vectors : mapping
        Of each vector, how many times H it is long.
    dropped : bool
        Whether recurrent dropout multiplies what `recurrent` takes by a mask.

    Raises
    ------
    UntraceableError
        With the operation and the line of the code that prevents it.
    """
    t = Tracer(H, RULES)
    leaf = t.nodes.leaf
    inputs = [leaf("input", k) for k in range(len(gates))]
    for k, gate in enumerate(gates):
        if gate in bias_gates:
            bias = leaf("vector", ("bias", list(bias_gates).index(gate)))
            inputs[k] = t.nodes.make("add", inputs[k], bias)
    biases = {
        gate: leaf("vector", ("recurrent_bias", k)) for k, gate in enumerate(recurrent_bias_gates)
    }
    mask = leaf("mask", "recurrent") if dropped else None
    own = {
        name: Symbol(t, [leaf("vector", (name, k)) for k in range(count)])
        for name, count in vectors.items()
    }

    def recurrent(value: Any, chosen: Sequence[str] | None = None) -> Symbol:
        names = tuple(recurrent_gates) if chosen is None else gate_names(chosen, recurrent_gates)
        unknown = [g for g in names if g not in recurrent_gates]
        if unknown or not names:
            raise UntraceableError(
                f"recurrent(…) of gate {(*unknown, None)[0]!r}, which has no weights"
            )
        return t.recurrent(value, names, biases, mask)

    state = tuple(Symbol(t, [leaf("state", k)]) for k in range(len(states)))
    called: dict[int, str] = {}

    def watch(frame: Any, event: str, arg: Any) -> None:
        if event == "return" and frame.f_code is getattr(step, "__code__", None):
            for name, value in frame.f_locals.items():
                if isinstance(value, Symbol) and len(value.blocks) == 1:
                    called.setdefault(value.blocks[0].number, name)

    free = sys.getprofile() is None  # who profiles is not disturbed; values then have no names
    if free:
        sys.setprofile(watch)
    try:
        new = step(Symbol(t, inputs), recurrent, state, own)
    except Exception as error:
        raise UntraceableError(_with_line(error)) from error
    finally:
        if free:
            sys.setprofile(None)
    results = []
    if not isinstance(new, tuple | list) or len(new) != len(states):
        raise UntraceableError(f"step returns no tuple of {len(states)} states")
    for name, value in zip(states, new, strict=True):
        if not isinstance(value, Symbol) or len(value.blocks) != 1:
            raise UntraceableError(f"step returns no state {name} of width {H}")
        (node,) = value.blocks
        results.append(node)
    products = tuple(
        Product(node, tuple(g for g in gates if g in together), index)
        for index, (node, together) in enumerate(t.products.items())
    )
    listed = [("bias", k) for k in range(len(bias_gates))]
    listed += [("recurrent_bias", k) for k in range(len(recurrent_bias_gates))]
    listed += [(name, k) for name, count in vectors.items() for k in range(count)]
    return Program(
        tuple(gates), tuple(states), tuple(results), products, tuple(listed), t.nodes, called
    )


def gate_names(gates: Sequence[str], of: Sequence[str]) -> tuple[str, ...]:
    """Read a string as one gate's name where it is one, else as one-letter names."""
    return (gates,) if isinstance(gates, str) and gates in of else tuple(gates)


def _with_line(error: Exception) -> str:
    """Describe what prevents tracing, and in which line of the cell's code."""
    reason = (
        str(error) if isinstance(error, UntraceableError) else f"{type(error).__name__}: {error}"
    )
    place, trace_ = None, error.__traceback__
    while trace_ is not None:
        file = trace_.tb_frame.f_code.co_filename
        if file not in _OURS and f"{Path(torch.__file__).parent}" not in file:
            place = file, trace_.tb_lineno
        trace_ = trace_.tb_next
    if place is None:
        return reason
    file, number = place
    line = linecache.getline(file, number).strip()
    return f"{reason}, in {Path(file).name}, line {number}" + (f": {line}" if line else "")

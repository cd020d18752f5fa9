"""A cell's `step`, called once with symbols in place of tensors, which yields its program."""

import linecache
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plait.kernels.program import COMPARISONS, Node, Nodes, Product, Program


class UntraceableError(Exception):
    """What in a cell's code cannot become a kernel; the message says which operation and line."""


class Symbol:
    """What stands for a tensor `[..., blocks · H]`, or `[..., 1]`, while a step is traced.

    It answers the operations, methods and functions of torch that have a rule in `RULES`.
    """

    __slots__ = ("blocks", "tracer")
    __hash__ = object.__hash__

    def __init__(self, tracer: "Tracer", blocks: Sequence[Node]) -> None:
        self.tracer, self.blocks = tracer, tuple(blocks)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Answer a function of torch."""
        return _call(func.__name__, args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *args, **kwargs: _call(name, (self, *args), kwargs)

    @property
    def row(self) -> bool:
        """Whether it is `[..., 1]`."""
        return len(self.blocks) == 1 and self.blocks[0].row

    @property
    def width(self) -> int:
        """The size of its last axis."""
        return 1 if self.row else len(self.blocks) * self.tracer.H

    @property
    def shape(self) -> "_Shape":
        """Only its last axis is known."""
        return _Shape(self.width)

    def size(self, axis: int | None = None) -> Any:
        """Return the shape or the size of the last axis."""
        return self.shape if axis is None else self.shape[axis]

    def __bool__(self) -> bool:
        raise UntraceableError("a branch on the data")

    def __iter__(self) -> Any:
        raise UntraceableError("a loop over a tensor")

    def __float__(self) -> float:
        raise UntraceableError("a number taken out of a tensor")

    __int__ = __index__ = __len__ = __float__  # pyright: ignore[reportAssignmentType]

    def __getitem__(self, key: Any) -> "Symbol":
        """Take whole gates of the last axis."""
        H, key = self.tracer.H, key if isinstance(key, tuple) else (key,)
        if len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], slice) and not self.row:
            first, last, step = key[1].indices(self.width)
            if step == 1 and first % H == last % H == 0 and first < last:
                return Symbol(self.tracer, self.blocks[first // H : last // H])
        raise UntraceableError("an index that takes no whole gates off the last axis")


class _Shape:
    """The shape of a symbol, of which the last axis alone is known."""

    def __init__(self, width: int) -> None:
        self.width = width

    def __getitem__(self, axis: Any) -> Any:
        if axis == -1:
            return self.width
        if axis == slice(-1, None):
            return (self.width,)
        raise UntraceableError("the size of another axis than the last")

    def __iter__(self) -> Any:
        raise UntraceableError("the size of another axis than the last")


class Tracer:
    """Records what a step computes, for states of width H."""

    def __init__(self, H: int) -> None:
        self.H, self.nodes = H, Nodes()
        self.products: dict[Node, list[str]] = {}  # the gates of each value

    def symbol(self, value: Any) -> Symbol:
        """Read a symbol or a number."""
        if isinstance(value, Symbol):
            return value
        if isinstance(value, Tensor):
            if value.numel() != 1 or value.requires_grad:
                raise UntraceableError("a tensor that the cell does not declare in `vectors`")
            value = value.item()
        if not isinstance(value, int | float):
            raise UntraceableError(f"a value of type {type(value).__name__}")
        if not math.isfinite(value):
            raise UntraceableError(f"the constant {value}")
        return Symbol(self, [self.nodes.const(value)])

    def apply(self, op: str, *values: Any) -> Symbol:
        """Apply an operation to every channel; widths are equal or 1."""
        symbols = [self.symbol(v) for v in values]
        blocks = [s.blocks for s in symbols if not s.row]
        count = max(map(len, blocks), default=1)
        if any(len(b) != count for b in blocks):
            raise UntraceableError(
                f"values of widths {' and '.join(str(s.width) for s in symbols)}"
            )
        spread = [s.blocks * count if s.row else s.blocks for s in symbols]
        make = self.nodes.make
        return Symbol(self, [make(op, *column) for column in zip(*spread, strict=True)])

    def recurrent(
        self, value: Any, gates: tuple[str, ...], biases: Mapping[str, Node], mask: Node | None
    ) -> Symbol:
        """Record a product with the recurrent weights of some gates."""
        if not isinstance(value, Symbol) or value.row or len(value.blocks) != 1:
            width = value.width if isinstance(value, Symbol) else type(value).__name__
            raise UntraceableError(f"recurrent(…) of a value of width {width}, not {self.H}")
        (node,) = value.blocks
        node = node if mask is None else self.nodes.make("mul", node, mask)
        if node.row:
            raise UntraceableError("recurrent(…) of a constant")
        together = self.products.setdefault(node, [])
        together += [gate for gate in gates if gate not in together]
        index = list(self.products).index(node)
        made = [self.nodes.product(node, index, gate) for gate in gates]
        blocks = [
            self.nodes.make("add", m, biases[gate]) if gate in biases else m
            for m, gate in zip(made, gates, strict=True)
        ]
        return Symbol(self, blocks)


Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}
"""By torch's name of a function or method: how its result is made of symbols."""


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def keep(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return keep


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    rule = RULES.get(name)
    if rule is None:
        raise UntraceableError(f"no rule for the operation {name!r}")
    found = [a for a in [*args, *kwargs.values()] if isinstance(a, Symbol)]
    if not found and args and isinstance(args[0], Sequence):
        found = [a for a in args[0] if isinstance(a, Symbol)]
    return rule(found[0].tracer, *args, **kwargs)


def _elementwise(name: str, *more: str) -> None:
    RULES.update({n: lambda t, *args: t.apply(name, *args) for n in (name, *more)})


for _names in (
    ("mul", "multiply", "__mul__", "__rmul__"), ("neg", "negative", "__neg__"),
    ("div", "divide", "true_divide", "__truediv__"), ("sigmoid", "expit"), ("tanh",), ("exp",),
    ("log",), ("sqrt",), ("abs", "absolute", "__abs__"), ("maximum",), ("minimum",),
    ("gt", "greater", "__gt__"), ("ge", "greater_equal", "__ge__"), ("lt", "less", "__lt__"),
    ("le", "less_equal", "__le__"), ("eq", "__eq__"), ("ne", "not_equal", "__ne__"),
    ("detach",),
):  # fmt: skip
    _elementwise(*_names)


@_rule("add", "__add__", "__radd__")
def _add(t: Tracer, a: Any, b: Any, *, alpha: float = 1) -> Symbol:
    return t.apply("add", a, b if alpha == 1 else t.apply("mul", b, alpha))


@_rule("sub", "subtract", "__sub__")
def _sub(t: Tracer, a: Any, b: Any, *, alpha: float = 1) -> Symbol:
    return t.apply("sub", a, b if alpha == 1 else t.apply("mul", b, alpha))


@_rule("rsub", "__rsub__")
def _rsub(t: Tracer, a: Any, b: Any) -> Symbol:
    return t.apply("sub", b, a)


@_rule("__rdiv__", "__rtruediv__")
def _rdiv(t: Tracer, a: Any, b: Any) -> Symbol:
    return t.apply("div", b, a)


@_rule("reciprocal")
def _reciprocal(t: Tracer, x: Any) -> Symbol:
    return t.apply("div", 1, x)


@_rule("rsqrt")
def _rsqrt(t: Tracer, x: Any) -> Symbol:
    return t.apply("div", 1, t.apply("sqrt", x))


@_rule("square")
def _square(t: Tracer, x: Any) -> Symbol:
    return t.apply("mul", x, x)


@_rule("pow", "__pow__")
def _pow(t: Tracer, x: Any, exponent: Any) -> Symbol:
    if exponent == 0.5:
        return t.apply("sqrt", x)
    if exponent not in (1, 2, 3, 4):
        raise UntraceableError("a power other than 1, 2, 3, 4 and 0.5")
    result = t.symbol(x)
    for _ in range(int(exponent) - 1):
        result = t.apply("mul", result, x)
    return result


@_rule("relu", "relu_")
def _relu(t: Tracer, x: Any, inplace: bool = False) -> Symbol:
    return t.apply("relu", x)


@_rule("leaky_relu")
def _leaky_relu(t: Tracer, x: Any, negative_slope: float = 0.01, inplace: bool = False) -> Symbol:
    return t.apply("where", t.apply("gt", x, 0), x, t.apply("mul", x, negative_slope))


@_rule("silu")
def _silu(t: Tracer, x: Any, inplace: bool = False) -> Symbol:
    return t.apply("mul", x, t.apply("sigmoid", x))


@_rule("softplus")
def _softplus(t: Tracer, x: Any, beta: float = 1, threshold: float = 20) -> Symbol:
    scaled = t.apply("mul", x, beta)
    return t.apply("div", _log1p_exp(t, scaled), beta)


@_rule("logsigmoid")
def _logsigmoid(t: Tracer, x: Any) -> Symbol:
    return t.apply("neg", _log1p_exp(t, t.apply("neg", x)))


def _log1p_exp(t: Tracer, x: Any) -> Symbol:
    """Compute max(x, 0) − log σ(|x|), which is log(1 + eˣ)."""
    below = t.apply("log", t.apply("sigmoid", t.apply("abs", x)))
    return t.apply("sub", t.apply("maximum", x, 0), below)


@_rule("lerp")
def _lerp(t: Tracer, a: Any, b: Any, weight: Any) -> Symbol:
    return t.apply("add", a, t.apply("mul", weight, t.apply("sub", b, a)))


@_rule("addcmul")
def _addcmul(t: Tracer, x: Any, a: Any, b: Any, *, value: float = 1) -> Symbol:
    return t.apply("add", x, t.apply("mul", value, t.apply("mul", a, b)))


@_rule("clamp", "clip")
def _clamp(t: Tracer, x: Any, min: Any = None, max: Any = None) -> Symbol:
    x = t.symbol(x)
    if min is not None:  # at the bound itself the gradient passes, as in torch
        x = t.apply("where", t.apply("lt", x, min), min, x)
    if max is not None:
        x = t.apply("where", t.apply("gt", x, max), max, x)
    return x


@_rule("clamp_min")
def _clamp_min(t: Tracer, x: Any, min: Any) -> Symbol:
    return _clamp(t, x, min=min)


@_rule("clamp_max")
def _clamp_max(t: Tracer, x: Any, max: Any) -> Symbol:
    return _clamp(t, x, max=max)


@_rule("hardtanh")
def _hardtanh(t: Tracer, x: Any, min_val: float = -1, max_val: float = 1, inplace: bool = False):
    return _clamp(t, x, min_val, max_val)


@_rule("where")
def _where(t: Tracer, condition: Any, a: Any, b: Any) -> Symbol:
    if condition is not None and not _is_truth(condition):
        raise UntraceableError("where(…) of a condition that is no comparison")
    return t.apply("where", condition, a, b)


def _is_truth(condition: Any) -> bool:
    return isinstance(condition, Symbol) and all(
        node.op in (*COMPARISONS, "mul", "maximum", "sub", "const") for node in condition.blocks
    )


@_rule("logical_and", "__and__", "bitwise_and")
def _and(t: Tracer, a: Any, b: Any) -> Symbol:
    return t.apply("mul", a, b)


@_rule("logical_or", "__or__", "bitwise_or")
def _or(t: Tracer, a: Any, b: Any) -> Symbol:
    return t.apply("maximum", a, b)


@_rule("logical_not", "__invert__", "bitwise_not")
def _not(t: Tracer, a: Any) -> Symbol:
    return t.apply("sub", 1, a)


@_rule("chunk")
def _chunk(t: Tracer, x: Symbol, chunks: int, dim: int = 0) -> tuple[Symbol, ...]:
    _last_axis(dim)
    if x.row or len(x.blocks) % chunks:
        raise UntraceableError(f"chunk(…, {chunks}) of a value of width {x.width}")
    size = len(x.blocks) // chunks
    return tuple(Symbol(t, x.blocks[k : k + size]) for k in range(0, len(x.blocks), size))


@_rule("split", "split_with_sizes")
def _split(t: Tracer, x: Symbol, size: Any, dim: int = 0) -> tuple[Symbol, ...]:
    _last_axis(dim)
    sizes = [size] * -(-x.width // size) if isinstance(size, int) else list(size)
    if x.row or sum(sizes) != x.width or any(s % t.H or not s for s in sizes):
        raise UntraceableError(f"split(…, {size}) of a value of width {x.width}")
    ends = [sum(sizes[: k + 1]) // t.H for k in range(len(sizes))]
    starts = [end - s // t.H for end, s in zip(ends, sizes, strict=True)]
    return tuple(Symbol(t, x.blocks[a:b]) for a, b in zip(starts, ends, strict=True))


@_rule("cat", "concat", "concatenate")
def _cat(t: Tracer, tensors: Sequence[Any], dim: int = 0) -> Symbol:
    _last_axis(dim)
    if any(not isinstance(x, Symbol) or x.row for x in tensors):
        raise UntraceableError("cat(…) of what has not the width of gates")
    return Symbol(t, [block for x in tensors for block in x.blocks])


@_rule("zeros_like", "new_zeros")
def _zeros_like(t: Tracer, x: Symbol, *args: Any, **kwargs: Any) -> Symbol:
    if args:
        raise UntraceableError("a tensor made from a shape; use torch.zeros_like")
    return Symbol(t, [t.nodes.const(0)] * len(x.blocks))


@_rule("ones_like")
def _ones_like(t: Tracer, x: Symbol, **kwargs: Any) -> Symbol:
    return Symbol(t, [t.nodes.const(1)] * len(x.blocks))


@_rule("clone", "contiguous")
def _same(t: Tracer, x: Symbol, **kwargs: Any) -> Symbol:
    return x


@_rule("sum")
def _sum(t: Tracer, x: Symbol, dim: Any = None, keepdim: bool = False) -> Symbol:
    _row_axis(dim, keepdim)
    if x.row:
        return x
    blocks = [t.nodes.make("mul", b, t.nodes.const(1)) for b in x.blocks]
    vectors = [b for b in blocks if not b.row]
    total = t.nodes.make("rowsum", *vectors) if vectors else t.nodes.const(0)
    for b in blocks:
        if b.row:  # a constant on every channel
            width = t.nodes.leaf("per_width", 1, row=True)
            total = t.nodes.make("add", total, t.nodes.make("div", b, width))
    return Symbol(t, [total])


@_rule("mean")
def _mean(t: Tracer, x: Symbol, dim: Any = None, keepdim: bool = False) -> Symbol:
    share = Symbol(t, [t.nodes.leaf("per_width", len(x.blocks), row=True)])
    return x if x.row else t.apply("mul", _sum(t, x, dim, keepdim), share)


@_rule("var")
def _var(
    t: Tracer, x: Symbol, dim: Any = None, unbiased: bool = True, keepdim: bool = False,
    *, correction: int | None = None,
) -> Symbol:  # fmt: skip
    if (int(unbiased) if correction is None else correction) != 0:
        raise UntraceableError("a variance with a correction; pass correction=0")
    off = t.apply("sub", x, _mean(t, x, dim, keepdim))
    return _mean(t, t.apply("mul", off, off), dim, keepdim)


@_rule("layer_norm")
def _layer_norm(
    t: Tracer, x: Symbol, normalized_shape: Any, weight: Any = None, bias: Any = None,
    eps: float = 1e-5, *rest: Any,
) -> Symbol:  # fmt: skip
    sizes = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if sizes != (x.width,) or x.row:
        raise UntraceableError(f"layer_norm over {sizes} of a value of width {x.width}")
    off = t.apply("sub", x, _mean(t, x, -1, True))
    variance = _mean(t, t.apply("mul", off, off), -1, True)
    root = t.apply("sqrt", t.apply("add", variance, eps))
    y = t.apply("mul", off, t.apply("div", 1, root))
    y = y if weight is None else t.apply("mul", y, weight)
    return y if bias is None else t.apply("add", y, bias)


def _last_axis(dim: Any) -> None:
    if dim != -1:
        raise UntraceableError(f"axis {dim}; gates stand on the last one, -1")


def _row_axis(dim: Any, keepdim: bool) -> None:
    if dim not in (-1, (-1,), [-1]) or not keepdim:
        raise UntraceableError("a statistic that is not over the last axis with keepdim=True")


for _name in ("add", "sub", "mul", "truediv", "pow", "radd", "rsub", "rmul", "rtruediv", "neg",
              "abs", "gt", "ge", "lt", "le", "eq", "ne", "and", "or", "invert"):  # fmt: skip
    setattr(
        Symbol, f"__{_name}__",
        lambda *args, _name=_name: _call(f"__{_name}__", args, {}),
    )  # fmt: skip


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
        With the operation and the line of the code that stands in the way.
    """
    t = Tracer(H)
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
            raise UntraceableError(f"recurrent(…) by gate {(*unknown, None)[0]!r}, which has none")
        return t.recurrent(value, names, biases, mask)

    state = tuple(Symbol(t, [leaf("state", k)]) for k in range(len(states)))
    called: dict[int, str] = {}

    def watch(frame: Any, event: str, arg: Any) -> None:
        if event == "return" and frame.f_code is getattr(step, "__code__", None):
            for name, value in frame.f_locals.items():
                if isinstance(value, Symbol) and len(value.blocks) == 1:
                    called.setdefault(value.blocks[0].number, name)

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        new = step(Symbol(t, inputs), recurrent, state, own)
    except Exception as error:
        raise UntraceableError(_with_line(error)) from error
    finally:
        sys.setprofile(before)
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
    """Say what stands in the way, and in which line of the cell's code."""
    reason = (
        str(error) if isinstance(error, UntraceableError) else f"{type(error).__name__}: {error}"
    )
    place, trace_ = None, error.__traceback__
    while trace_ is not None:
        file = trace_.tb_frame.f_code.co_filename
        if file != __file__ and f"{Path(torch.__file__).parent}" not in file:
            place = file, trace_.tb_lineno
        trace_ = trace_.tb_next
    if place is None:
        return reason
    file, number = place
    line = linecache.getline(file, number).strip()
    return f"{reason}, in {Path(file).name}, line {number}" + (f": {line}" if line else "")

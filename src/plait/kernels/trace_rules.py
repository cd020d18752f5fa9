"""How functions and methods of torch are made of a program's operations."""

from collections.abc import Callable, Sequence
from typing import Any

from plait.kernels.program import COMPARISONS
from plait.kernels.symbols import Rule, Symbol, Tracer, UntraceableError

RULES: dict[str, Rule] = {}
"""By torch's name of a function or method: how its result is made of symbols."""


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def keep(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return keep


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
        raise UntraceableError("cat(…) of tensors that are no whole gates wide")
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
        raise UntraceableError(f"axis {dim}; gates lie along the last one, -1")


def _row_axis(dim: Any, keepdim: bool) -> None:
    if dim not in (-1, (-1,), [-1]) or not keepdim:
        raise UntraceableError("a statistic that is not over the last axis with keepdim=True")

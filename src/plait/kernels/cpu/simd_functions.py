"""Functions of the vectors of `simd`: comparisons, choices, √; exp, log, σ, tanh to a few ulp."""

from typing import Any

import numpy as np
from llvmlite import ir

from plait.kernels.cpu.simd import (
    FLOATS,
    INTS,
    LANES,
    ZERO,
    declared,
    intrinsic,
    multiply_add,
    number,
    vector,
)

__all__ = [
    "absolute", "equal", "exp", "greater", "greater_equal", "less", "less_equal", "log", "maximum",
    "minimum", "negative", "not_equal", "relu", "select", "sigmoid", "sqrt", "tanh",
]  # fmt: skip


@intrinsic
def maximum(typing: Any, a: Any, b: Any) -> Any:
    """Return the larger one in every lane; NaN where one is NaN."""
    return vector(vector, vector), _extreme(">")


@intrinsic
def minimum(typing: Any, a: Any, b: Any) -> Any:
    """Return the smaller one in every lane; NaN where one is NaN."""
    return vector(vector, vector), _extreme("<")


def _extreme(sign: str) -> Any:
    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, b = args
        chosen = builder.select(builder.fcmp_ordered(sign, a, b), a, b)
        return builder.select(builder.fcmp_unordered("uno", a, a), a, chosen)

    return code


def _comparison(sign: str, ordered: bool = True) -> Any:
    """Make a comparison: 1 where it holds, else 0."""

    def compare(typing: Any, a: Any, b: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            found = (builder.fcmp_ordered if ordered else builder.fcmp_unordered)(sign, *args)
            return builder.select(found, number(1.0), ZERO)

        return vector(vector, vector), code

    return intrinsic(compare)


greater, greater_equal = _comparison(">"), _comparison(">=")
less, less_equal = _comparison("<"), _comparison("<=")
equal, not_equal = _comparison("=="), _comparison("!=", ordered=False)


@intrinsic
def select(typing: Any, condition: Any, a: Any, b: Any) -> Any:
    """Return a in the lanes where the condition is not 0, else b."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        condition, a, b = args
        return builder.select(builder.fcmp_unordered("!=", condition, ZERO), a, b)

    return vector(vector, vector, vector), code


def _called(name: str) -> Any:
    """Make a function of one vector that LLVM has."""

    def function(typing: Any, a: Any) -> Any:
        def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = ir.FunctionType(FLOATS, [FLOATS])
            return builder.call(declared(builder, f"llvm.{name}.v{LANES}f32", kind), args)

        return vector(vector), code

    return intrinsic(function)


sqrt, absolute = _called("sqrt"), _called("fabs")


@intrinsic
def negative(typing: Any, a: Any) -> Any:
    """Return −a."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fneg(args[0])

    return vector(vector), code


@intrinsic
def relu(typing: Any, a: Any) -> Any:
    """Return max(a, 0)."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<=", args[0], ZERO), ZERO, args[0])

    return vector(vector), code


def _exp(builder: Any, x: Any) -> tuple[Any, Any]:
    """Return e^r − 1 and 2^n, with e^x = 2^n e^r and |r| ≤ ln 2 / 2.

    x is clamped to ±87; NaN stays NaN.
    """
    high, low, magic = number(87.0), number(-87.0), number(1.5 * 2**23)
    x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
    x = builder.select(builder.fcmp_ordered("<", x, low), low, x)
    shifted = multiply_add(builder, x, number(1.4426950216293335), magic)  # n in the last bits
    n = builder.fsub(shifted, magic)
    r = multiply_add(builder, n, number(-0.693145751953125), x)  # ln 2 in two parts, the first
    r = multiply_add(builder, n, number(-1.4286067653302206e-06), r)  # of few bits
    tail = number(1 / 5040)
    for divisor in (720, 120, 24, 6, 2):
        tail = multiply_add(builder, tail, r, number(1 / divisor))
    q = multiply_add(builder, builder.fmul(tail, r), r, r)  # e^r − 1
    bits = builder.shl(builder.bitcast(shifted, INTS), INTS([23] * LANES))
    power = builder.bitcast(builder.add(bits, INTS([127 << 23] * LANES)), FLOATS)
    return q, power


def _expm1(builder: Any, x: Any) -> Any:
    """Return e^x − 1, relative error a few ulp."""
    q, power = _exp(builder, x)
    return multiply_add(builder, q, power, builder.fsub(power, number(1.0)))


@intrinsic
def exp(typing: Any, x: Any) -> Any:
    """Return e^x, from 0 to infinity: half of x at a time where it is large."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (x,) = args
        high, low = number(87.0), number(-87.0)
        rest = builder.select(builder.fcmp_ordered(">", x, high), builder.fsub(x, high), ZERO)
        below = builder.fcmp_ordered("<", x, low)
        rest = builder.select(below, builder.fsub(x, low), rest)
        q, power = _exp(builder, builder.fsub(x, rest))
        p, factor = _exp(builder, rest)
        first = multiply_add(builder, q, power, power)
        return builder.fmul(first, multiply_add(builder, p, factor, factor))

    return vector(vector), code


@intrinsic
def log(typing: Any, x: Any) -> Any:
    """Return the natural logarithm, −infinity at 0 and NaN below."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        (x,) = args
        tiny = builder.fcmp_ordered("<", x, number(1.1754943508222875e-38))  # denormal
        scaled = builder.select(tiny, builder.fmul(x, number(2.0**23)), x)
        bits = builder.bitcast(scaled, INTS)
        # x = 2^n m with m in [√½, √2)
        shifted = builder.sub(bits, INTS([0x3F3504F3] * LANES))
        n = builder.sitofp(builder.ashr(shifted, INTS([23] * LANES)), FLOATS)
        n = builder.select(tiny, builder.fsub(n, number(23.0)), n)
        low = builder.and_(shifted, INTS([0x007FFFFF] * LANES))
        m = builder.bitcast(builder.add(low, INTS([0x3F3504F3] * LANES)), FLOATS)
        # log m = 2 artanh f with f = (m − 1) / (m + 1)
        r = builder.fsub(m, number(1.0))
        f = builder.fdiv(r, builder.fadd(m, number(1.0)))
        square = builder.fmul(f, f)
        tail = number(1 / 11)
        for divisor in (9, 7, 5, 3):
            tail = multiply_add(builder, tail, square, number(1 / divisor))
        twice = builder.fadd(f, f)
        small = builder.fmul(builder.fmul(twice, square), tail)
        small = multiply_add(builder, n, number(-1.4286067653302206e-06 * -1), small)
        result = builder.fadd(twice, small)
        result = multiply_add(builder, n, number(0.693145751953125), result)
        infinite = number(float("inf"))
        result = builder.select(builder.fcmp_ordered("==", x, infinite), infinite, result)
        result = builder.select(builder.fcmp_ordered("==", x, ZERO), number(-np.inf), result)
        wrong = builder.fcmp_unordered("<", x, ZERO)
        return builder.select(wrong, number(float("nan")), result)

    return vector(vector), code


@intrinsic
def sigmoid(typing: Any, x: Any) -> Any:
    """Return σ(x) = 1 / (2 + (e^−x − 1))."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        below = builder.fadd(_expm1(builder, builder.fneg(args[0])), number(2.0))
        return builder.fdiv(number(1.0), below)

    return vector(vector), code


@intrinsic
def tanh(typing: Any, x: Any) -> Any:
    """Return tanh x = (e^2x − 1) / ((e^2x − 1) + 2)."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        e = _expm1(builder, builder.fadd(args[0], args[0]))
        return builder.fdiv(e, builder.fadd(e, number(2.0)))

    return vector(vector), code

"""Vectors of float32 for numba: loads, stores, arithmetic, sums of lanes.

numba leaves vectors to LLVM's own vectoriser, which gives up on loops over as many arrays as a
cell has. Here a vector is a type of its own, as wide as the machine's registers. Memory is an
address, a whole number, so that a kernel compiles fast and is called fast.
"""

import operator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import extending, njit, types
from numba.extending import lower_builtin, models, register_model, type_callable

intrinsic: Any = extending.intrinsic  # what it makes is no function of these arguments

_FEATURES = llvm.get_host_cpu_features()
LANES = 16 if _FEATURES.get("avx512f") else 8 if _FEATURES.get("avx2") else 4
ROWS, WIDTH = (6, 2) if LANES == 8 else (8, 2)
"""Of a product, what fits the registers: rows × vectors side by side."""

FLOATS = ir.VectorType(ir.FloatType(), LANES)
INTS = ir.VectorType(ir.IntType(32), LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
ZERO = FLOATS([0.0] * LANES)


class _Vector(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


vector: Any = _Vector()


@register_model(_Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, FLOATS)


def _arithmetic(symbol: Any, instruction: str) -> None:
    @type_callable(symbol)
    def kinds(context: Any) -> Any:
        return lambda a, b: vector if a is b is vector else None

    @lower_builtin(symbol, _Vector, _Vector)
    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args, flags=("contract",))


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


def number(x: float) -> Any:
    """Put a number that is known into every lane."""
    return FLOATS([float(np.float32(x))] * LANES)


def constant(builder: Any, value: Any) -> Any:
    """Put one number into every lane."""
    kind = ir.VectorType(value.type, LANES)
    none = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(none, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, none, INTS([0] * LANES))


def multiply_add(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a · b + c, fused where the machine can."""
    kind = ir.FunctionType(FLOATS, [FLOATS] * 3)
    return builder.call(declared(builder, f"llvm.fmuladd.v{LANES}f32", kind), [a, b, c])


def pointer(builder: Any, address: Any, index: Any, kind: Any) -> Any:
    """Point to what has this type, so many numbers of 32 bits behind an address."""
    bytes_ = builder.add(address, builder.mul(index, index.type(4)))
    return builder.inttoptr(bytes_, kind.as_pointer())


def move(builder: Any, address: Any, index: Any, count: Any, value: Any = None) -> Any:
    """Load the first `count` lanes, the others being 0, or store them.

    Most vectors lie wholly within their array, and a branch for those is cheaper than a mask, which
    processors of 8 lanes may take tens of instructions to store by.
    """
    place, align = pointer(builder, address, index, FLOATS), ir.IntType(32)(4)
    lanes = constant(builder, builder.trunc(count, align.type))
    mask = builder.icmp_signed("<", INTS(list(range(LANES))), lanes)

    def all_() -> Any:
        if value is None:
            return builder.load(place, align=4)
        return builder.store(value, place, align=4)

    def some() -> Any:
        if value is None:
            kind = ir.FunctionType(FLOATS, [place.type, align.type, _MASK, FLOATS])
            load = declared(builder, f"llvm.masked.load.v{LANES}f32.p0", kind)
            return builder.call(load, [place, align, mask, ZERO])
        kind = ir.FunctionType(ir.VoidType(), [FLOATS, place.type, align.type, _MASK])
        store = declared(builder, f"llvm.masked.store.v{LANES}f32.p0", kind)
        return builder.call(store, [value, place, align, mask])

    whole = builder.icmp_signed(">=", count, count.type(LANES))
    with builder.if_else(whole) as (then, otherwise):
        with then:
            first = all_(), builder.block
        with otherwise:
            second = some(), builder.block
    if value is not None:
        return None
    either = builder.phi(FLOATS)
    for found, block in (first, second):
        either.add_incoming(found, block)
    return either


def widened(builder: Any, address: Any, size: int) -> Any:
    """Load a vector of float32, or of numbers of 2 or 1 bytes as `rounding.pack` leaves them."""
    kind = FLOATS if size == 4 else ir.VectorType(ir.IntType(8 * size), LANES)
    value = builder.load(builder.inttoptr(address, kind.as_pointer()), align=size)
    if size == 2:
        upper = builder.shl(builder.zext(value, INTS), INTS([16] * LANES))
        return builder.bitcast(upper, FLOATS)
    return builder.sitofp(builder.sext(value, INTS), FLOATS) if size == 1 else value


def declared(builder: Any, name: str, kind: Any) -> Any:
    """Declare a function of LLVM in the module, once."""
    known = builder.module.globals.get(name)
    return ir.Function(builder.module, kind, name) if known is None else known


@intrinsic
def load(typing: Any, address: Any, index: Any, count: Any) -> Any:
    """Read a vector at a number of an array; lanes from `count` on are 0."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, index, count = args
        return move(builder, address, index, count)

    return vector(types.intp, types.intp, types.intp), code


@intrinsic
def store(typing: Any, address: Any, index: Any, count: Any, value: Any) -> Any:
    """Write a vector's first `count` lanes at a number of an array."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, index, count, value = args
        move(builder, address, index, count, value)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp, vector), code


@intrinsic
def load_f32(typing: Any, address: Any, index: Any) -> Any:
    """Read one float32 of an array."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.load(pointer(builder, args[0], args[1], ir.FloatType()))

    return types.float32(types.intp, types.intp), code


@intrinsic
def load_i32(typing: Any, address: Any, index: Any) -> Any:
    """Read one int32 of an array."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = builder.load(pointer(builder, args[0], args[1], ir.IntType(32)))
        return builder.sext(value, ir.IntType(64))

    return types.intp(types.intp, types.intp), code


@intrinsic
def load_i64(typing: Any, address: Any, index: Any) -> Any:
    """Read one int64 of an array."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        index = builder.mul(args[1], args[1].type(2))
        return builder.load(pointer(builder, args[0], index, ir.IntType(64)))

    return types.intp(types.intp, types.intp), code


@intrinsic
def store_i64(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Write one int64 of an array."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        address, index, value = args
        builder.store(
            value, pointer(builder, address, builder.mul(index, index.type(2)), value.type)
        )
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, types.intp), code


@intrinsic
def call(typing: Any, function: Any, which: Any, live: Any, at: Any, count: Any) -> Any:
    """Call compiled phases by their address."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        function, *rest = args
        kind = ir.FunctionType(ir.VoidType(), [a.type for a in rest])
        builder.call(builder.inttoptr(function, kind.as_pointer()), rest)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), code


@intrinsic
def prefetch(typing: Any, address: Any) -> Any:
    """Ask for the cache line at an address, which is read soon."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        place, int32 = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place, int32, int32, int32])
        call = declared(builder, "llvm.prefetch.p0", kind)
        # to read, to be kept near, data
        builder.call(call, [builder.inttoptr(args[0], place), int32(0), int32(3), int32(1)])
        return context.get_dummy_value()

    return types.void(types.intp), code


@intrinsic
def broadcast(typing: Any, value: Any) -> Any:
    """Make a vector of one number."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return constant(builder, args[0])

    return vector(types.float32), code


@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a · b + c."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return multiply_add(builder, *args)

    return vector(vector, vector, vector), code


@intrinsic
def where_positive(typing: Any, condition: Any, value: Any) -> Any:
    """Return the value where the condition is above 0 or NaN, else 0."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_unordered(">", args[0], ZERO), args[1], ZERO)

    return vector(vector, vector), code


@intrinsic
def first_lanes(typing: Any, a: Any, count: Any) -> Any:
    """Return the first `count` lanes, and 0 in the others."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        a, count = args
        lanes = constant(builder, builder.trunc(count, ir.IntType(32)))
        mask = builder.icmp_signed("<", INTS(list(range(LANES))), lanes)
        return builder.select(mask, a, ZERO)

    return vector(vector, types.intp), code


@intrinsic
def reduce_add(typing: Any, a: Any) -> Any:
    """Sum the lanes."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType(), FLOATS])
        add = declared(builder, f"llvm.vector.reduce.fadd.v{LANES}f32", kind)
        zero = ir.Constant(ir.FloatType(), 0.0)
        return builder.call(add, [zero, args[0]], fastmath=("reassoc",))

    return types.float32(vector), code


@njit
def row_address(address, row, width):
    """Return the address of a row of a matrix of float32."""
    return address + 4 * row * width


@njit
def copy(source, target, count):
    """Copy so many numbers."""
    for j in range(0, count, LANES):
        store(target, j, count - j, load(source, j, count - j))


@intrinsic
def sum_by(typing: Any, x: Any, period: Any) -> Any:
    """Sum the lanes of equal number modulo a period, a power of two, into each of them."""

    def code(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        x, period = args
        step = LANES // 2
        while step:
            other = builder.shuffle_vector(x, x, INTS([lane ^ step for lane in range(LANES)]))
            far = builder.icmp_signed("<=", period, period.type(step))
            x = builder.select(far, builder.fadd(x, other), x)
            step //= 2
        return x

    return vector(vector, types.intp), code

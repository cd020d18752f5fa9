"""What stands for tensors while a cell's `step` is traced, and what records it."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from plait.kernels.program import Node, Nodes

Rule = Callable[..., Any]
"""Of a tracer and a function's arguments, symbols among them: its result."""


class UntraceableError(Exception):
    """What in a cell's code cannot become a kernel; the message says which operation and line."""


class Symbol:
    """What stands for a tensor `[..., blocks · H]`, or `[..., 1]`, while a step is traced.

    It answers the operations, methods and functions of torch that its tracer has a rule for.
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
        raise UntraceableError("a branch that depends on data")

    def __iter__(self) -> Any:
        raise UntraceableError("a loop over a tensor")

    def __float__(self) -> float:
        raise UntraceableError("a tensor converted to a number")

    __int__ = __index__ = __len__ = __float__  # pyright: ignore[reportAssignmentType]

    def __getitem__(self, key: Any) -> "Symbol":
        """Take whole gates of the last axis."""
        H, key = self.tracer.H, key if isinstance(key, tuple) else (key,)
        if len(key) == 2 and key[0] is Ellipsis and isinstance(key[1], slice) and not self.row:
            first, last, step = key[1].indices(self.width)
            if step == 1 and first % H == last % H == 0 and first < last:
                return Symbol(self.tracer, self.blocks[first // H : last // H])
        raise UntraceableError("an index that does not take whole gates of the last axis")


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
    """Records what a step computes.

    Parameters
    ----------
    H : int
        The width of a state.
    rules : mapping
        By torch's name of a function or method: how its result is made of symbols.
    """

    def __init__(self, H: int, rules: Mapping[str, Rule]) -> None:
        self.H, self.rules, self.nodes = H, rules, Nodes()
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


def _call(name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    found = [a for a in [*args, *kwargs.values()] if isinstance(a, Symbol)]
    if not found and args and isinstance(args[0], Sequence):
        found = [a for a in args[0] if isinstance(a, Symbol)]
    rule = found[0].tracer.rules.get(name) if found else None
    if rule is None:
        raise UntraceableError(f"no rule for the operation {name!r}")
    return rule(found[0].tracer, *args, **kwargs)


for _name in ("add", "sub", "mul", "truediv", "pow", "radd", "rsub", "rmul", "rtruediv", "neg",
              "abs", "gt", "ge", "lt", "le", "eq", "ne", "and", "or", "invert"):  # fmt: skip
    setattr(
        Symbol, f"__{_name}__",
        lambda *args, _name=_name: _call(f"__{_name}__", args, {}),
    )  # fmt: skip

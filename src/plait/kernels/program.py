"""The program of a cell: its equations as a small graph of values, which kernels are written from.

A value is a vector `[H]` of one row (one sequence, or one node of one), a number of a row (a
statistic such as its mean), or a constant. `trace` makes the program of a cell's `step`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import Any

FUNCTIONS = ("sigmoid", "tanh", "exp", "log", "sqrt")
"""Operations that cost many instructions."""

COMPARISONS = ("gt", "ge", "lt", "le", "eq", "ne")
"""Their results are 1 and 0."""

LEAVES = (
    "const", "per_width", "input", "vector", "state", "mask",  # what a step is given
    "product",  # what the operator makes of a value: `recurrent(value, gates)`
    "kept", "kept_row", "new", "grad", "back",  # what a step of the gradient is given
)  # fmt: skip
"""Operations that are given, not computed from their arguments."""


@dataclass(frozen=True, eq=False, slots=True)
class Node:
    """One value.

    Parameters
    ----------
    op : str
        One of `LEAVES`, `FUNCTIONS`, `COMPARISONS`, or add, sub, mul, div, neg, abs, maximum,
        minimum, where, relu, detach, rowsum.
    args : tuple of Node
    value : object
        What names a leaf: a number, an index, a name.
    row : bool
        Whether it is one number per row, not one per channel.
    number : int
        Nodes are numbered as they are made, arguments before what is computed from them.
    stage : int
        How many products, one upon the other, come before it.
    """

    op: str
    args: tuple["Node", ...]
    value: Any
    row: bool
    number: int
    stage: int


class Nodes:
    """Makes nodes, each but once, and simplifies as it goes."""

    def __init__(self) -> None:
        self._known: dict[Any, Node] = {}

    def const(self, value: float) -> Node:
        """Make a constant."""
        return self.leaf("const", float(value), row=True)

    def leaf(self, op: str, value: Any, *, row: bool = False, stage: int = 0) -> Node:
        """Make what is given."""
        return self._node(op, (), value, row, stage)

    def product(self, value: Node, index: int, gate: str) -> Node:
        """Make what gate `gate` of product `index` gets of a value."""
        return self._node("product", (value,), (index, gate), False, value.stage + 1)

    def make(self, op: str, *args: Node) -> Node:
        """Make the result of an operation, or something simpler that equals it."""
        simpler = _simplified(self, op, args)
        if simpler is not None:
            return simpler
        if op in ("add", "mul", "maximum", "minimum", "eq", "ne"):
            args = tuple(sorted(args, key=lambda n: n.number))
        row = op == "rowsum" or all(a.row for a in args)
        return self._node(op, args, None, row, max(a.stage for a in args))

    def _node(self, op: str, args: tuple[Node, ...], value: Any, row: bool, stage: int) -> Node:
        key = (op, tuple(a.number for a in args), repr(value))
        if key not in self._known:
            self._known[key] = Node(op, args, value, row, len(self._known), stage)
        return self._known[key]


def _simplified(nodes: Nodes, op: str, args: tuple[Node, ...]) -> Node | None:
    values = [a.value if a.op == "const" else None for a in args]
    if op in _FOLD and None not in values:
        return nodes.const(_FOLD[op](*values))
    match op, args, values:
        case ("add", (a, _), (_, 0.0)) | ("sub", (a, _), (_, 0.0)):
            return a
        case "add", (_, b), (0.0, _):
            return b
        case "add", (a, Node(op="neg", args=(b,))), _:
            return nodes.make("sub", a, b)
        case "add", (Node(op="neg", args=(a,)), b), _:
            return nodes.make("sub", b, a)
        case "sub", (_, b), (0.0, _):
            return nodes.make("neg", b)
        case "sub", (a, Node(op="neg", args=(b,))), _:
            return nodes.make("add", a, b)
        case ("mul", (a, _), (_, 1.0)) | ("div", (a, _), (_, 1.0)):
            return a
        case "mul", (_, b), (1.0, _):
            return b
        case ("mul", (a, _), (_, -1.0)) | ("mul", (_, a), (-1.0, _)):
            return nodes.make("neg", a)
        case ("mul", (_, z), (_, 0.0)) | ("mul", (z, _), (0.0, _)):
            return z
        case "mul", (Node(op="neg", args=(a,)), b), _:
            return nodes.make("neg", nodes.make("mul", a, b))
        case "mul", (a, Node(op="neg", args=(b,))), _:
            return nodes.make("neg", nodes.make("mul", a, b))
        case "div", (a, _), (_, float(c)) if c:
            return nodes.make("mul", a, nodes.const(1 / c)) if _exact(c) else None
        case ("neg", (Node(op="neg", args=(a,)),), _) | ("detach", (Node(op="detach") as a,), _):
            return a
        case "where", (_, a, b), _ if a is b:
            return a
    return None


def _exact(c: float) -> bool:
    """State whether dividing by c is multiplying by its inverse: powers of two."""
    return abs(c).hex().startswith("0x1.0000000000000p")


_FOLD = {
    "add": lambda a, b: a + b, "sub": lambda a, b: a - b, "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
}  # fmt: skip


@dataclass(frozen=True)
class Product:
    """What `recurrent` makes of one value: of these gates, in the order of the gates."""

    value: Node
    gates: tuple[str, ...]
    index: int

    @property
    def stage(self) -> int:
        """How many products come before it."""
        return self.value.stage


@dataclass(frozen=True)
class Program:
    """A cell's equations.

    Attributes
    ----------
    gates : tuple of str
        Those that the input side has, in the order in which they are stacked.
    states : tuple of str
    new : tuple of Node
        The new states, in the order of `states`.
    products : tuple of Product
        Those of one value at one stage are one product.
    vectors : tuple of (name, block)
        The weight vectors `[H]` that are read: of the parameter `name` the block-th H numbers.
        The biases are named "bias" and "recurrent_bias".
    nodes : Nodes
        Makes more, of what is derived.
    names : mapping from a node's number to what the cell's code calls it
    """

    gates: tuple[str, ...]
    states: tuple[str, ...]
    new: tuple[Node, ...]
    products: tuple[Product, ...]
    vectors: tuple[tuple[str, int], ...]
    nodes: Nodes = field(repr=False, compare=False)
    names: Mapping[int, str] = field(default_factory=dict, repr=False, compare=False)

    @property
    def stages(self) -> int:
        """How many products come one upon the other at most."""
        return max((p.stage + 1 for p in self.products), default=0)

    @cached_property
    def key(self) -> str:
        """The same for two programs if they compute the same, operation by operation."""
        text = repr((self.gates, len(self.states), self.vectors))
        products = [p.value for p in self.products]
        listed = listing([*self.new, *products])
        gates = [p.gates for p in self.products]
        return sha256(f"{text}\n{gates}\n{listed}".encode()).hexdigest()


def ancestors(nodes: Sequence[Node]) -> Iterator[Node]:
    """Yield these nodes and all that they are computed from, arguments first."""
    seen: set[int] = set()
    found: list[Node] = []
    left = list(nodes)
    while left:
        node = left.pop()
        if node.number not in seen:
            seen.add(node.number)
            found.append(node)
            left += node.args
    yield from sorted(found, key=lambda n: n.number)


def listing(results: Sequence[Node]) -> str:
    """Write a program down, a line an operation, whatever the numbers of its nodes.

    >>> from plait.kernels.program import Nodes, listing
    >>> nodes = Nodes()
    >>> x, h = nodes.leaf("input", "h"), nodes.product(nodes.leaf("state", 0), 0, "h")
    >>> print(listing([nodes.make("tanh", nodes.make("add", x, h))]))
    v0 = input 'h'
    v1 = state 0
    v2 = product (0, 'h') v1
    v3 = add v0 v2
    v4 = tanh v3
    results v4
    """
    names: dict[int, str] = {}
    lines: list[str] = []

    def visit(node: Node) -> str:
        if node.number not in names:
            args = [visit(a) for a in node.args]
            names[node.number] = f"v{len(names)}"
            value = "" if node.value is None else f" {node.value!r}"
            lines.append(f"{names[node.number]} = {node.op}{value}{''.join(' ' + a for a in args)}")
        return names[node.number]

    last = " ".join(visit(node) for node in results)
    return "\n".join([*lines, f"results {last}"])

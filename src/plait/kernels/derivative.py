"""The gradient of a program, in reverse mode, and what is kept for it from the forward pass.

One rule decides what is kept. A gradient needs values of the forward pass. What is given (inputs,
weights, the states before and after the step) needs no keeping, and what follows from that by any
arithmetic is computed again. Of the rest, the results of σ, tanh and other functions, of products
and of statistics are kept; a sum or a product of such is computed again from them, unless that
would keep more than keeping it. A statistic is one number a row, and counts for nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from plait.kernels.program import FUNCTIONS, Node, Nodes, Program, ancestors


@dataclass(frozen=True)
class Gradient:
    """What is to be computed in one step back.

    Its leaves are those of the program, and "grad" k, the gradient of the k-th new state; "back" k,
    what product k brings back to its value; "kept" and "kept_row", what the forward pass kept;
    "new" k, the k-th new state.

    Attributes
    ----------
    inputs : tuple of Node
        The gradient of each gate's input side.
    recurrent : mapping
        By (product, gate), of what the product gave.
    vectors : mapping
        By (name, block), what is summed over rows to the gradient of a weight vector.
    states : tuple of Node
        Of each state before the step.
    values : tuple of Node
        Not a gradient: each product's value again, for the gradient of its weights.
    kept, kept_rows : tuple of Node
        Of the program: vectors and numbers a row that the forward pass keeps.
    """

    inputs: tuple[Node, ...]
    recurrent: dict[tuple[int, str], Node]
    vectors: dict[tuple[str, int], Node]
    states: tuple[Node, ...]
    values: tuple[Node, ...]
    kept: tuple[Node, ...]
    kept_rows: tuple[Node, ...]

    @cached_property
    def results(self) -> list[Node]:
        """All nodes that a step back computes."""
        return [*self.inputs, *self.recurrent.values(), *self.vectors.values(), *self.states]

    @cached_property
    def leaves(self) -> set[tuple[str, object]]:
        """What is read, by the gradient or to compute a product's value again."""
        return {(n.op, n.value) for n in ancestors([*self.results, *self.values]) if not n.args}


def differentiate(program: Program) -> Gradient:
    """Derive the gradient of a program."""
    nodes = program.nodes
    adjoints = _adjoints(program)
    zero = nodes.const(0)

    def of(node: Node) -> Node:
        return adjoints.get(node.number, zero)

    inputs = [of(nodes.leaf("input", k)) for k in range(len(program.gates))]
    recurrent = {
        (p.index, gate): of(nodes.product(p.value, p.index, gate))
        for p in program.products
        for gate in p.gates
    }
    vectors = {v: of(nodes.leaf("vector", v)) for v in program.vectors}
    states = [of(nodes.leaf("state", k)) for k in range(len(program.states))]
    values = [p.value for p in program.products]
    wanted = [*inputs, *recurrent.values(), *vectors.values(), *states, *values]
    kept = _kept(program, wanted)
    rewritten = _Rewriting(program, kept)
    again = iter([rewritten(node) for node in wanted])
    return Gradient(
        tuple(next(again) for _ in inputs),
        {key: next(again) for key in recurrent},
        {key: next(again) for key in vectors},
        tuple(next(again) for _ in states),
        tuple(next(again) for _ in values),
        tuple(n for n in kept if not n.row),
        tuple(n for n in kept if n.row),
    )


def _adjoints(program: Program) -> dict[int, Node]:
    """Return the gradient of each node by its number."""
    nodes = program.nodes
    found: dict[int, list[Node]] = {}
    total: dict[int, Node] = {}
    for k, new in enumerate(program.new):
        found.setdefault(new.number, []).append(nodes.leaf("grad", k, stage=0))
    last = program.stages
    for node in reversed(list(ancestors(program.new))):
        if node.number not in found:
            continue
        g = _sum(nodes, found[node.number])
        if node.row and not g.row:
            g = nodes.make("rowsum", g)
        total[node.number] = g
        if node.op == "product":
            (value,) = node.args
            index = node.value[0]
            back = nodes.leaf("back", index, stage=last - value.stage)
            if back not in found.setdefault(value.number, []):  # once, for all gates together
                found[value.number].append(back)
        elif node.op in RULES:
            for arg, part in zip(
                node.args, RULES[node.op](nodes, node, g, *node.args), strict=True
            ):
                if part is not None:
                    found.setdefault(arg.number, []).append(part)
    return total


def _sum(nodes: Nodes, parts: list[Node]) -> Node:
    """Sum, taking out the factor that two products share."""
    parts = list(parts)
    total = parts.pop(0)
    for part in parts:
        total = _add(nodes, total, part)
    return total


def _add(nodes: Nodes, a: Node, b: Node) -> Node:
    (sign_a, x), (sign_b, y) = _signed(a), _signed(b)
    if x.op == y.op == "mul":
        for k, factor in enumerate(x.args):
            if factor in y.args:
                left, right = x.args[1 - k], y.args[1 - y.args.index(factor)]
                if sign_a == sign_b:
                    both = nodes.make("mul", factor, nodes.make("add", left, right))
                    return both if sign_a > 0 else nodes.make("neg", both)
                left, right = (left, right) if sign_a > 0 else (right, left)
                return nodes.make("mul", factor, nodes.make("sub", left, right))
    return nodes.make("add", a, b)


def _signed(node: Node) -> tuple[int, Node]:
    return (-1, node.args[0]) if node.op == "neg" else (1, node)


Rule = Callable[..., tuple[Node | None, ...]]


def _maximum(n: Nodes, y: Node, g: Node, a: Node, b: Node) -> tuple[Node, Node]:
    """Return both gradients; of two equal values each gets half, as in torch."""
    zero, half = n.const(0), n.make("mul", g, n.const(0.5))
    equal = n.make("eq", a, b)
    above = n.make("gt" if y.op == "maximum" else "lt", a, b)
    below = n.make("lt" if y.op == "maximum" else "gt", a, b)
    return tuple(
        n.make("where", equal, half, n.make("where", side, g, zero)) for side in (above, below)
    )  # pyright: ignore[reportReturnType]


def _sign(n: Nodes, a: Node) -> Node:
    zero = n.const(0)
    return n.make("sub", n.make("gt", a, zero), n.make("lt", a, zero))


RULES: dict[str, Rule] = {
    "add": lambda n, y, g, a, b: (g, g),
    "sub": lambda n, y, g, a, b: (g, n.make("neg", g)),
    "mul": lambda n, y, g, a, b: (n.make("mul", g, b), n.make("mul", g, a)),
    "div": lambda n, y, g, a, b: (
        n.make("div", g, b), n.make("neg", n.make("mul", n.make("div", g, b), y))
    ),
    "neg": lambda n, y, g, a: (n.make("neg", g),),
    "abs": lambda n, y, g, a: (n.make("mul", g, _sign(n, a)),),
    "sigmoid": lambda n, y, g, a: (
        n.make("mul", g, n.make("mul", y, n.make("sub", n.const(1), y))),
    ),
    "tanh": lambda n, y, g, a: (
        n.make("mul", g, n.make("sub", n.const(1), n.make("mul", y, y))),
    ),
    "exp": lambda n, y, g, a: (n.make("mul", g, y),),
    "log": lambda n, y, g, a: (n.make("div", g, a),),
    "relu": lambda n, y, g, a: (n.make("where", n.make("le", y, n.const(0)), n.const(0), g),),
    "sqrt": lambda n, y, g, a: (n.make("div", n.make("mul", g, n.const(0.5)), y),),
    "maximum": _maximum,
    "minimum": _maximum,
    "where": lambda n, y, g, c, a, b: (
        None, n.make("where", c, g, n.const(0)), n.make("where", c, n.const(0), g)
    ),
    "rowsum": lambda n, y, g, *args: (g,) * len(args),
}  # fmt: skip
"""Of each operation, the gradients of its arguments from that of its result, or None."""


def _kept(program: Program, wanted: Iterable[Node]) -> list[Node]:
    """Choose the nodes of the forward pass that are kept."""
    forward = {n.number for n in ancestors(program.new)}
    forward |= {n.number for p in program.products for n in ancestors([p.value])}
    given = {n.number for n in program.new}
    kept: dict[int, Node] = {}
    free: dict[int, bool] = {}

    def is_free(node: Node) -> bool:
        """State whether a node follows from what is given."""
        if node.number not in free:
            free[node.number] = node.number in given or (
                node.op not in ("product", "rowsum") and all(map(is_free, node.args))
            )
        return free[node.number]

    def needed(node: Node, seen: set[int]) -> dict[int, Node]:
        """Return what must be kept more, so that a node can be computed again."""
        if is_free(node) or node.number in kept or node.number in seen:
            return {}
        if node.op in (*FUNCTIONS, "product", "rowsum", "div"):
            return {node.number: node}
        parts: dict[int, Node] = {}
        for arg in node.args:
            parts |= needed(arg, seen | set(parts))
        return parts if _small(parts) else {node.number: node}

    def _small(parts: dict[int, Node]) -> bool:
        """Numbers of a row cost nothing, and one function's result is what others want too."""
        vectors = [p for p in parts.values() if not p.row]
        return not vectors or (len(parts) == 1 and vectors[0].op in FUNCTIONS)

    used: list[Node] = []
    for node in ancestors(list(wanted)):
        if node.number not in forward:
            used += [a for a in node.args if a.number in forward]
    used += [n for n in wanted if n.number in forward]
    # expensive ones first: what they keep may make the others free
    for node in sorted(used, key=lambda n: (n.op not in FUNCTIONS, n.number)):
        kept |= needed(node, set())
    return [kept[k] for k in sorted(kept)]


class _Rewriting:
    """Rewrites a gradient so that it reads what was kept and given."""

    def __init__(self, program: Program, kept: list[Node]) -> None:
        self.nodes = program.nodes
        leaf = self.nodes.leaf
        self.made: dict[int, Node] = {}
        for op, chosen in (
            ("kept", [n for n in kept if not n.row]),
            ("kept_row", [n for n in kept if n.row]),
        ):
            for k, node in enumerate(chosen):
                self.made[node.number] = leaf(op, k, row=op == "kept_row")
        for k, node in enumerate(program.new):
            if node.args:
                self.made[node.number] = leaf("new", k)

    def __call__(self, node: Node) -> Node:
        if node.number not in self.made:
            if not node.args:
                self.made[node.number] = node
            else:
                self.made[node.number] = self.nodes.make(node.op, *map(self, node.args))
        return self.made[node.number]

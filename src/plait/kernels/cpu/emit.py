"""The phases of a program written down as source for numba, on the vectors of `simd`.

A phase is what happens between two matrix products: for every row, all channels. Statistics of a
row cut it into passes over the channels. What a phase reads and writes are streams: an address and
a width each, in a table that the loops over time fill in.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from plait.kernels.program import FUNCTIONS, LEAVES, Node

PACKED, BLOCK, SHARED = "packed", "block", "shared"
"""Which row of a stream belongs to row s of a block: at + s, s, or one for all."""


@dataclass(frozen=True)
class Stream:
    """Numbers that a phase reads or writes.

    Parameters
    ----------
    name : str
    rows : PACKED, BLOCK or SHARED
    width : int
        How many times H a row is wide; of "kept rows" the numbers themselves.
    """

    name: str
    rows: str
    width: int


@dataclass(frozen=True)
class Effect:
    """Write a value to block `block` of a stream.

    `adds`: it is added to what is there. `optional`: only where the stream is wanted. `last`:
    not before all else of the phase was read.
    """

    stream: str
    block: int
    node: Node
    adds: bool = False
    optional: bool = False
    last: bool = False


LOADS, OPERATIONS = 2, 4
"""With no more, a later pass computes a vector again rather than that an earlier one stores it."""

Loads = Callable[[Node], Sequence[tuple[str, int]]]
"""Where a leaf is: streams and their blocks, which are summed."""


@dataclass
class Plan:
    """The phases of a program, forward or backward, and the streams in the order of the table."""

    streams: dict[str, Stream]
    effects: list[list[Effect]]  # of every phase
    loads: Loads
    carried: dict[int, int] = field(default_factory=dict)  # by a node's number, its block

    def write(self, name: str, calls: Mapping[int, str]) -> str:
        """Write the phases as functions, `name_0`, `name_1` and so on."""
        self.carry()
        functions = [
            _Phase(self, f"{name}_{k}", k, effects, calls).text()
            for k, effects in enumerate(self.effects)
        ]
        return "\n\n\n".join(functions)

    def write_alone(self, name: str, effect: Effect) -> str:
        """Write a function that has one effect."""
        alone = Plan(self.streams, [[effect]], self.loads)
        return _Phase(alone, name, 0, alone.effects[0], {}).text()

    def carry(self) -> None:
        """Let every phase hand on what later ones read and cannot cheaply compute again."""
        wanted: dict[int, Node] = {}
        for stage in range(len(self.effects) - 1, -1, -1):
            for node in self.ancestors(self.effects[stage], stage):
                if self.is_carried(node, stage):
                    wanted[node.number] = node
            here = [n for n in wanted.values() if n.stage == stage]
            self.effects[stage] += [Effect("carried", self._slot(n), n) for n in here]
        if wanted:
            self.streams["carried"] = Stream("carried", BLOCK, len(self.carried))

    def _slot(self, node: Node) -> int:
        return self.carried.setdefault(node.number, len(self.carried))

    def is_carried(self, node: Node, stage: int) -> bool:
        """State whether a phase reads a node that an earlier one computed."""
        costly = (*FUNCTIONS, "rowsum", "grad")
        return node.stage < stage and node.op in costly and not node.row

    def ancestors(self, effects: Sequence[Effect], stage: int) -> list[Node]:
        """List what a phase computes or reads, no further back than what was carried to it."""
        found: dict[int, Node] = {}
        left = [e.node for e in effects]
        while left:
            node = left.pop()
            if node.number not in found:
                found[node.number] = node
                if not self.is_carried(node, stage):
                    left += node.args
        return [found[k] for k in sorted(found)]

    def computed(self, effects: Sequence[Effect], stage: int) -> set[int]:
        """Return the numbers of the nodes that a phase itself computes."""
        nodes = self.ancestors(effects, stage)
        return {n.number for n in nodes if n.args and not self.is_carried(n, stage)}


class _Phase:
    """Writes one function."""

    def __init__(
        self, plan: Plan, name: str, stage: int, effects: list[Effect], calls: Mapping[int, str]
    ) -> None:
        self.plan, self.name, self.stage, self.effects = plan, name, stage, effects
        self.nodes = plan.ancestors(effects, self.stage)
        self.names = _names(self.nodes, calls)
        self.ready = self._ready()
        self.used: dict[str, None] = {}  # streams
        self.passes = 1 + max(
            [self.ready[e.node.number] for e in effects]
            + [self.ready[n.number] - 1 for n in self.nodes if n.op == "rowsum"],
            default=0,
        )
        self.spilled = self._spilled()

    def is_loaded(self, node: Node) -> bool:
        """State whether it is read from a stream, in whatever pass."""
        if node.op in ("const", "per_width", "grad"):
            return self.plan.is_carried(node, self.stage)
        return node.op in LEAVES or self.plan.is_carried(node, self.stage)

    def _ready(self) -> dict[int, int]:
        """Return by a node's number the first pass in which it can be used."""
        ready: dict[int, int] = {}
        for node in self.nodes:
            if self.is_loaded(node):
                ready[node.number] = 0
            else:
                args = [ready[a.number] for a in node.args]
                ready[node.number] = max(args, default=0) + (node.op == "rowsum")
        return ready

    def pass_of(self, effect: Effect) -> int:
        """Return in which pass it takes place."""
        return self.passes - 1 if effect.last else self.ready[effect.node.number]

    def _spilled(self) -> dict[int, int]:
        """Return what vectors a later pass reads and cannot cheaply compute, with their places."""
        read: dict[int, Node] = {}

        def use(node: Node, at: int) -> None:
            if not node.row and not self.is_loaded(node) and self.ready[node.number] < at:
                read[node.number] = node

        for node in self.nodes:
            if not self.is_loaded(node):
                for a in node.args:
                    use(a, self.ready[node.number] - (node.op == "rowsum"))
        for effect in self.effects:
            use(effect.node, self.pass_of(effect))
        spilled: dict[int, int] = {}
        for number in sorted(read):
            cost = self._cost(read[number], spilled)
            if cost is None or len(cost[0]) > LOADS or len(cost[1]) > OPERATIONS:
                spilled[number] = len(spilled)
        if spilled:
            known = self.plan.streams.get("spilled")
            width = max(len(spilled), known.width if known else 0)
            self.plan.streams["spilled"] = Stream("spilled", SHARED, width)
        return spilled

    def _cost(self, node: Node, spilled: Mapping[int, int]) -> tuple[set[Any], set[int]] | None:
        """Return what a later pass loads and computes for a vector; None: what costs too much."""
        if node.row:
            return set(), set()
        if node.number in spilled or self.is_loaded(node):
            return {node.number}, set()
        if node.op == "grad":
            return set(self.plan.loads(node)), set()
        if node.op in (*FUNCTIONS, "rowsum", "div"):
            return None
        loads, operations = set(), {node.number}
        for arg in node.args:
            cost = self._cost(arg, spilled)
            if cost is None:
                return None
            loads, operations = loads | cost[0], operations | cost[1]
        return loads, operations

    def text(self) -> str:
        """Write the function."""
        body: list[str] = []
        rows = [n for n in self.nodes if n.row and not self.is_loaded(n)]
        loaded_rows = [n for n in self.nodes if n.row and self.is_loaded(n)]
        constants = [n for n in rows if n.op in ("const", "per_width")]
        for node in loaded_rows:
            body.append(f"        {self.names[node.number]} = {self._load_row(node)}")
        for at in range(self.passes):
            body += self._row_values(rows, at)
            body += self._pass(at)
        for effect in self.effects:
            if effect.node.row and self.plan.streams[effect.stream].name == "kept rows":
                body += self._store(effect, "        ", row=True)
        lines = [f"@njit\ndef {self.name}(live, at, count):", "    H = load_i64(live, 0)"]
        order = list(self.plan.streams)
        for name in self.used:
            slot = 1 + 2 * order.index(name)
            text = f"    {_id(name)}"
            if self.plan.streams[name].rows == SHARED:
                lines.append(f"{text} = load_i64(live, {slot})")
            else:
                both = f"load_i64(live, {slot}), load_i64(live, {slot + 1})"
                lines.append(f"{text}, {_id(name)}_width = {both}")
        for node in constants:
            value = (
                f"_f({node.value!r})" if node.op == "const" else f"_f(1.0) / _f({node.value} * H)"
            )
            lines.append(f"    {self.names[node.number]} = broadcast({value})")
        lines.append("    for s in range(count):")
        for name in self.used:
            rows_ = self.plan.streams[name].rows
            if rows_ != SHARED:
                row = "at + s" if rows_ == PACKED else "s"
                lines.append(
                    f"        {_id(name)}_row = row_address({_id(name)}, {row}, {_id(name)}_width)"
                )
        if not body:
            body = ["        pass"]
        return "\n".join([*lines, *body])

    def _pass(self, at: int) -> list[str]:
        """Write a pass over the channels."""
        inner = " " * 12
        lines: list[str] = []
        have: set[int] = set()

        def get(node: Node) -> str:
            """Have a value at hand, loading or computing it."""
            name = self.names[node.number]
            if node.row or node.number in have:
                return name
            have.add(node.number)
            if self.is_loaded(node):
                lines.append(f"{inner}{name} = {self._loaded(node)}")
            elif node.number in self.spilled and self.ready[node.number] < at:
                place = _at(self.spilled[node.number])
                self._use("spilled")
                lines.append(f"{inner}{name} = load(spilled, {place}, n)")
            elif node.op == "grad":
                parts = [self._load(*where) for where in self.plan.loads(node)]
                lines.append(f"{inner}{name} = {' + '.join(parts)}")
            else:
                args = [get(a) for a in node.args]
                lines.append(f"{inner}{name} = {_expression(node.op, args)}")
            return name

        for node in self.nodes:
            if node.row or self.is_loaded(node):
                continue
            if self.ready[node.number] == at:
                get(node)
                if node.number in self.spilled:
                    self._use("spilled")
                    place = _at(self.spilled[node.number])
                    lines.append(f"{inner}store(spilled, {place}, n, {self.names[node.number]})")
        sums: list[Node] = []
        for node in self.nodes:
            if (
                node.op == "rowsum"
                and not self.is_loaded(node)
                and self.ready[node.number] == at + 1
            ):
                sums.append(node)
                parts = " + ".join(get(a) for a in node.args)
                total = f"{self.names[node.number]}_lanes"
                lines.append(f"{inner}{total} = {total} + first_lanes({parts}, n)")
        here = [e for e in self.effects if self.pass_of(e) == at and e.stream != "kept rows"]
        for effect in here:  # all is read before a state is written over
            get(effect.node)
        for effect in here:
            lines += self._store(effect, inner)
        if not lines:
            return []
        outer = " " * 8
        before = [f"{outer}{self.names[n.number]}_lanes = broadcast(_f(0.0))" for n in sums]
        head = [f"{outer}for j in range(0, H, LANES):", f"{inner}n = H - j"]
        after = [
            f"{outer}{self.names[n.number]} = broadcast(reduce_add({self.names[n.number]}_lanes))"
            for n in sums
        ]
        return [*before, *head, *lines, *after]

    def _row_values(self, rows: list[Node], at: int) -> list[str]:
        """Write what is computed of statistics that are ready before this pass."""
        return [
            f"        {self.names[n.number]} = "
            + _expression(n.op, [self.names[a.number] for a in n.args])
            for n in rows
            if n.args and n.op != "rowsum" and self.ready[n.number] == at
        ]

    def _load_row(self, node: Node) -> str:
        ((stream, place),) = self.plan.loads(node)
        self._use(stream)
        return f"broadcast(load_f32({_id(stream)}_row, {place}))"

    def _loaded(self, node: Node) -> str:
        if node.number in self.plan.carried and self.plan.is_carried(node, self.stage):
            return self._load("carried", self.plan.carried[node.number])
        return " + ".join(self._load(*where) for where in self.plan.loads(node))

    def _load(self, stream: str, block: int) -> str:
        return f"load({self._use(stream)}, {_at(block)}, n)"

    def _store(self, effect: Effect, indent: str, *, row: bool = False) -> list[str]:
        target, value = self._use(effect.stream), self.names[effect.node.number]
        place, count = (str(effect.block), "1") if row else (_at(effect.block), "n")
        if effect.adds:
            value = f"load({target}, {place}, {count}) + {value}"
        line = f"store({target}, {place}, {count}, {value})"
        if effect.optional:
            return [f"{indent}if {_id(effect.stream)}:", f"{indent}    {line}"]
        return [f"{indent}{line}"]

    def _use(self, stream: str) -> str:
        self.used[stream] = None
        suffix = "" if self.plan.streams[stream].rows == SHARED else "_row"
        return f"{_id(stream)}{suffix}"


def _expression(op: str, args: Sequence[str]) -> str:
    symbol = {"add": "+", "sub": "-", "mul": "*", "div": "/"}.get(op)
    if symbol:
        return f" {symbol} ".join(args)
    if op == "neg":
        return f"negative({args[0]})"
    if op == "detach":
        return args[0]
    return f"{_CALLS.get(op, op)}({', '.join(args)})"


_CALLS = {
    "gt": "greater", "ge": "greater_equal", "lt": "less", "le": "less_equal", "eq": "equal",
    "ne": "not_equal", "where": "select", "abs": "absolute",
}  # fmt: skip


def _at(block: int) -> str:
    return "j" if block == 0 else "H + j" if block == 1 else f"{block} * H + j"


def _id(stream: str) -> str:
    return stream.replace(" ", "_")


def _names(nodes: Sequence[Node], calls: Mapping[int, str]) -> dict[int, str]:
    """Name values as the cell's code does, where it can be."""
    names: dict[int, str] = {}
    for k, node in enumerate(nodes):
        called = calls.get(node.number, "")
        plain = called.isidentifier() and called.isascii() and not iskeyword(called)
        names[node.number] = f"{called}_{k}" if plain and node.args else f"v_{k}"
    return names

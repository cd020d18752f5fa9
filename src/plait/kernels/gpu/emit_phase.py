"""One phase of a program written down as a kernel for Triton, or as part of one.

A phase is what happens between two matrix products: for every row, all channels. What it reads and
writes are streams, whole arrays over time whose step is an argument, so that one kernel serves all
steps. A program of the kernel takes a tile of rows × channels; where a phase wants statistics of a
row, the tile is all channels wide.

Sequences that have ended keep their states, answer 0, and hand on what comes back to them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from plait.kernels.cpu.emit import PACKED, SHARED, Effect, Plan
from plait.kernels.gpu.expressions import expression, identifier, names_of
from plait.kernels.program import LEAVES, Node

TILE = 512
"""Numbers of a tile, where a row is not longer."""


GIVEN = ("input", "vector", "mask", "state")
"""Leaves that no phase of a step writes before its last one."""


@dataclass(frozen=True)
class Phase:
    """A kernel: its source, the streams that it is called with, whether it needs whole rows."""

    name: str
    text: str
    streams: tuple[str, ...]
    whole_rows: bool


class Writer:
    """Writes one phase.

    Parameters
    ----------
    plan : Plan
    name : str
        Of the kernel; backward_0 is the first phase of a step back.
    stage : int
    effects : list of Effect
    calls : mapping
        What the cell's code calls a node, by its number.
    at_hand : mapping
        By stream and block, names of values that need not be loaded.
    """

    def __init__(
        self, plan: Plan, name: str, stage: int, effects: list[Effect], calls: Mapping[int, str],
        at_hand: Mapping[tuple[str, int], str] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.name, self.stage, self.effects = plan, name, stage, effects
        self.nodes = plan.ancestors(effects, stage)
        self.names = names_of(self.nodes, calls)
        self.at_hand = at_hand or {}
        self.used: dict[str, None] = {}

    def phase(self) -> Phase:
        """Write it as a kernel."""
        return self._as_kernel(self.body(), "")

    def phase_with(self, before: list[str], after: list[str], *terms: str) -> Phase:
        """Write it as a kernel with products before and after it; `terms` are its constants."""
        names = ("BK", *terms, "PRECISION", "ROUND")
        constants = "".join(f", {name}: tl.constexpr" for name in names)
        return self._as_kernel([*before, *self.body(), *after], constants)

    def _as_kernel(self, body: list[str], constants: str) -> Phase:
        whole = any(n.op == "rowsum" and not self._is_loaded(n) for n in self.nodes)
        return Phase(self.name, self._text(body, constants), tuple(self.used), whole)

    def use(self, stream: str) -> str:
        """Return a stream's name in the kernel."""
        self.used[stream] = None
        return identifier(stream)

    def body(self) -> list[str]:
        """Write its lines, for a tile of rows and channels at a step."""
        given, rest = self.parts()
        return [*given, *rest]

    def parts(self) -> tuple[list[str], list[str]]:
        """Write the loads of what is there before a step begins, and the rest."""
        given: list[str] = []
        loads: list[str] = []
        values: list[str] = []
        for node in self.nodes:
            name = self.names[node.number]
            if self._is_loaded(node):
                line = f"{name} = {self._loaded(node)}"
                (given if node.op in GIVEN else loads).append(line)
            else:
                args = [self.names[a.number] for a in node.args]
                values.append(f"{name} = {expression(node, args)}")
        stores = [line for effect in self.effects for line in self._store(effect)]
        if self.stage == 0 and self.name.startswith("backward"):
            stores = [*self._handed_on(), *stores]
        return given, [*loads, *values, *stores]

    def _text(self, body: list[str], constants: str) -> str:
        streams = "".join(f"{identifier(name)}, " for name in self.used)
        head = [
            '@triton.jit(do_not_specialize=["t", "rows"])',
            f"def {self.name}(t, rows, lengths, {streams}H: tl.constexpr, BH: tl.constexpr, "
            f"BR: tl.constexpr, LENGTHS: tl.constexpr, KEEP: tl.constexpr{constants}):",
        ]
        lines = [
            "block = tl.program_id(0).to(tl.int64)",
            "row = block * BR + tl.arange(0, BR)[:, None]",
            "col = tl.program_id(1) * BH + tl.arange(0, BH)[None, :]",
            "here, inside = (row < rows) & (col < H), col < H",
            "at = tl.cast(t, tl.int64) * rows + row",
            "alive = row < rows",
            "if LENGTHS:",
            "    alive = alive & (t < tl.load(lengths + row, mask=row < rows, other=0))",
            "zeros = tl.zeros([BR, BH], tl.float32)",
            *body,
        ]
        return "\n".join([*head, *(f"    {line}" for line in lines)])

    def _is_loaded(self, node: Node) -> bool:
        if node.op in ("const", "per_width"):
            return False
        return node.op in LEAVES or self.plan.is_carried(node, self.stage)

    def _loaded(self, node: Node) -> str:
        if self.plan.is_carried(node, self.stage):
            return self._load("carried", self.plan.carried[node.number])
        if node.op == "kept_row":
            return f"tl.load({self._row_place(node.value)}, mask=row < rows, other=1.0)"
        return " + ".join(self._load(*where, node=node) for where in self.plan.loads(node))

    def _load(self, stream: str, block: int, node: Node | None = None) -> str:
        """Load a tile; "before" is the step's own entry of a history, "new" the next one's."""
        if (stream, block) in self.at_hand:
            return self.at_hand[stream, block]
        before = node is not None and node.op == "state" and stream.startswith("before ")
        if before:
            k = int(stream.split()[1])
            stream = f"history {k}" if k else "y"
        place = self._place(stream, block, past=before)
        rest = "1.0" if stream == "kept" else "0.0"  # it may be divided by
        other = "inside" if self.plan.streams[stream].rows == SHARED else "here"
        return f"tl.load({place}, mask={other}, other={rest}).to(tl.float32)"

    def _place(self, stream: str, block: int, *, past: bool = False) -> str:
        self.used[stream] = None
        name, width = identifier(stream), self.plan.streams[stream].width
        column = "col" if block == 0 else f"{block} * H + col"
        if stream == "sums":
            return f"sums + (block * {width} + {block}) * H + col"
        if self.plan.streams[stream].rows == SHARED:
            return f"{name} + {column}"
        if stream == "y" or stream.startswith("history "):  # entry 0 is the start
            row = "at" if past else "(at + rows)"
        else:
            row = "at" if self.plan.streams[stream].rows == PACKED else "row"
        return f"{name} + {row} * ({width} * H) + {column}"

    def _row_place(self, block: int) -> str:
        self.used["kept rows"] = None
        width = self.plan.streams["kept rows"].width
        return f"kept_rows + at * {width} + {block}"

    def _store(self, effect: Effect) -> list[str]:
        value = self.names[effect.node.number]
        if effect.stream == "kept rows":
            place = self._row_place(effect.block)
            return [
                "if KEEP:",
                f"    tl.store({place}, {value} + tl.zeros([BR, 1], tl.float32), mask=row < rows)",
            ]
        if effect.node.row:
            value = f"{value} + zeros"
        place = self._place(effect.stream, effect.block)
        if effect.adds:  # one program's rows; what it adds to is its own
            total = f"tl.sum(tl.where(here & alive, {value}, 0.0), axis=0)[None, :]"
            return [f"tl.store({place}, tl.load({place}, mask=inside, other=0.0) + {total}, "
                    "mask=inside)"]  # fmt: skip
        mask = "here"
        if effect.last:
            mask = "here & alive"
        elif effect.stream == "y" or effect.stream.startswith(("dinput", "drecurrent", "value")):
            value = f"tl.where(alive, {value}, 0.0)"
        store = f"tl.store({place}, {value}, mask={mask})"
        return ["if KEEP:", f"    {store}"] if effect.optional else [store]

    def _handed_on(self) -> list[str]:
        """Let gradients of sequences that have ended wait; their outputs are 0 and have none."""
        lines = ["if LENGTHS:"]
        for name in [s for s in self.plan.streams if s.startswith("dstate ")]:
            k = int(name.split()[1])
            leaf = _GRAD(k)
            waiting = [where for where in self.plan.loads(leaf) if where[0] != "dy"]
            parts = [self._load(*where) for where in waiting]
            place = self._place(name, 0)
            lines.append(f"    waiting_{k} = {' + '.join(parts)}")
            lines.append(f"    tl.store({place}, waiting_{k}, mask=here & (alive == 0))")
        return lines


_GRAD: Callable[[int], Node] = lambda k: Node("grad", (), k, False, -1, 0)  # noqa: E731

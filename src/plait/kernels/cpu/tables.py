"""The tables that the loops over time read: sizes, and where everything lies.

What a program, a width and the shape of a basis decide is laid out once; a call copies that and
fills in addresses.
"""

from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from plait.kernels.cpu import emit, loops, plans
from plait.kernels.cpu.basis import Basis
from plait.kernels.cpu.jit import module_of
from plait.kernels.cpu.rounding import PANEL
from plait.kernels.derivative import Gradient, differentiate
from plait.kernels.program import Program

_KINDS = {emit.PACKED: loops.PACKED, emit.BLOCK: loops.BLOCK, emit.SHARED: loops.SHARED}


class CompiledProgram:
    """A program, its gradient, and the code that computes them."""

    def __init__(self, program: Program, title: str) -> None:
        self.program = program
        self.gradient: Gradient = differentiate(program)
        self.written = plans.write(program, self.gradient, title)
        self.homes = {p.value.value: p.index for p in program.products if p.value.op == "state"}
        self.histories = [
            k > 0 and bool({("state", k), ("new", k)} & self.gradient.leaves)
            for k in range(len(program.states))
        ]
        shared = [
            plans.shared_with_inputs(program, self.gradient, p.index) for p in program.products
        ]
        self._sources = [
            (f"drecurrent {k}", 0) if first is None else ("dinput", first)
            for k, first in enumerate(shared)
        ]
        self._layouts: dict[Any, Layout] = {}

    @property
    def source(self) -> str:
        """The source of its phases."""
        return f"{self.written.forward_text}\n\n{self.written.backward_text}"

    @cached_property
    def forward(self) -> int:
        """The address of the phases forward."""
        return module_of(self.written.forward_text).forward

    @cached_property
    def backward(self) -> int:
        """The address of the phases backward, and of those that compute values again."""
        return module_of(self.written.backward_text).backward

    def source_of(self, index: int) -> tuple[str, int]:
        """Return which stream holds the gradient of what a product gave, and from which gate on."""
        return self._sources[index]

    def layout(self, kind: str, H: int, basis: Basis, index: int = 0) -> "Layout":
        """Return tables of one of these kinds.

        "forward", "backward", "weights" of a product; "own rows", forward with a block's own inputs
        and outputs; "forward phases" and "backward phases", in which all streams are whole arrays.
        """
        key = kind, H, basis.width, basis.weighted, index
        if key not in self._layouts:
            make = {
                "backward": _backward, "weights": _weights, "forward phases": _phases,
                "backward phases": _phases,
            }.get(kind, _forward)  # fmt: skip
            self._layouts[key] = make(self, kind, H, basis, index)
        return self._layouts[key]


class Layout:
    """One array of int64 that holds a `loops.Loop` and the tables it points to.

    Parameters
    ----------
    streams : mapping
        Of each stream, in the order of the table, the numbers of a row and their kind.
    H : int
    phases : sequence of int
    products : sequence of (phase, source, column, target, columns, scratch)
        By the names of streams.
    states : sequence of (home, before or None)
    sums : sequence of (state, stream)
    """

    def __init__(
        self, streams: Mapping[str, tuple[int, int]], H: int, phases: Sequence[int],
        products: Sequence[tuple[int, str, int, str, int, str | None]],
        states: Sequence[tuple[str, str | None]], sums: Sequence[tuple[int, str]],
    ) -> None:  # fmt: skip
        self.slots = {name: k for k, name in enumerate(streams)}
        slot = self.slots
        parts = [
            [0] * len(Basis._fields),
            list(phases),
            [
                n
                for phase, source, column, target, columns, scratch in products
                for n in (phase, slot[source], column, slot[target], 0, columns,
                          0 if scratch is None else slot[scratch])
            ],
            [n for home, before in states
             for n in (slot[home], 0, 0, -1 if before is None else slot[before], 0, 0)],
            [n for state, stream in sums for n in (state, slot[stream])],
            [n for width, kind in streams.values() for n in (0, width, kind)],
        ]  # fmt: skip
        starts, at = [], len(loops.Loop._fields)
        for part in parts:
            starts.append(at)
            at += len(part)
        head = [
            0, H, 0, starts[0], 0, starts[5], len(streams), starts[1], len(phases), starts[2],
            len(products), starts[3], len(states), starts[4], len(sums),
        ]  # fmt: skip
        self.template = array("q", [*head, *(n for part in parts for n in part)])
        self.inner = [(k, 8 * head[k]) for k in (3, 5, 7, 9, 11, 13)]  # of the head: places in here
        self.basis = slice(starts[0], starts[0] + len(Basis._fields))
        self.places = {"T": 0, "starts": 2, "function": 4}
        for name, k in slot.items():
            self.places[name] = starts[5] + 3 * k
        for k in range(len(products)):
            self.places[f"weights {k}"] = starts[2] + 7 * k + 4
        for k in range(len(states)):
            for name, column in (("start", 1), ("final", 2), ("origin", 4), ("past", 5)):
                self.places[f"{name} {k}"] = starts[3] + 6 * k + column
        widths = list(streams.values())
        self.block_widths = [width for width, kind in widths if kind == loops.BLOCK]
        single = sum(-(-width // 16) * 16 for width, kind in widths if kind == loops.SINGLE)
        self.fixed_room = single + 4 * len(widths) + 32

    def fill(self, basis: Basis, values: Mapping[str, int]) -> tuple["array[int]", int]:
        """Return the tables with these addresses, and where they lie."""
        table = self.template[:]
        address, _ = table.buffer_info()
        for place, offset in self.inner:
            table[place] = address + offset
        table[self.basis] = array("q", basis)
        places = self.places
        for name, value in values.items():
            place = places.get(name)
            if place is not None:
                table[place] = value
        return table, address

    def room(self, rows: int) -> int:
        """Count the numbers of float32 that a block of rows needs."""
        return self.fixed_room + sum(-(-w * rows // 16) * 16 for w in self.block_widths)


def _forward(compiled: CompiledProgram, kind: str, H: int, basis: Basis, index: int) -> Layout:
    program, plan = compiled.program, compiled.written.forward
    streams = _streams(plan, H, basis)
    if kind == "own rows":
        for name in ("input", "y"):
            streams[name] = streams[name][0], loops.BLOCK
    products = [
        (p.stage, f"value {p.index}", 0, f"recurrent {p.index}", len(p.gates) * H, None)
        for p in program.products
    ]
    states = [
        (f"value {compiled.homes[k]}" if k in compiled.homes else f"state {k}", None)
        for k in range(len(program.states))
    ]
    phases = [k if effects else -1 for k, effects in enumerate(plan.effects)]
    return Layout(streams, H, phases, products, states, [])


def _backward(compiled: CompiledProgram, kind: str, H: int, basis: Basis, index: int) -> Layout:
    program, plan, gradient = compiled.program, compiled.written.backward, compiled.gradient
    streams, scratch = _streams(plan, H, basis), None
    if basis.width > 1:
        scratch = "terms"
        streams[scratch] = basis.weighted * H, loops.BLOCK
    products = []
    for p in program.products:
        source, first = compiled.source_of(p.index)
        phase = program.stages - 1 - p.stage
        products.append((phase, source, first * H, f"dvalue {p.index}", len(p.gates) * H, scratch))
    states, sums = [], []
    for k in range(len(program.states)):
        parts = [f"dvalue {i}" for i in plans.pending(gradient, k)]
        if plans.has_carry(gradient, k):
            parts.insert(0, f"dstate {k}")
        states.append((parts[0], f"before {k}" if ("state", k) in gradient.leaves else None))
        sums += [(k, part) for part in parts]
    phases = [k if effects else -1 for k, effects in enumerate(plan.effects)]
    phases += [-1] * (program.stages - len(phases))
    return Layout(streams, H, phases, products, states, sums)


def _phases(compiled: CompiledProgram, kind: str, H: int, basis: Basis, index: int) -> Layout:
    """Lay out the streams alone: who calls the phases one by one does the rest."""
    written = compiled.written
    plan = written.forward if kind.startswith("forward") else written.backward
    whole = (loops.BLOCK, loops.BEFORE)
    streams = {
        name: (width, loops.MEMBER if rows in whole else rows)
        for name, (width, rows) in _streams(plan, H, basis).items()
    }
    return Layout(streams, H, [], [], [], [])


def _weights(compiled: CompiledProgram, kind: str, H: int, basis: Basis, index: int) -> Layout:
    """Return the layout for a product's weights: its value, and room that `matmul.outer` needs."""
    streams = _streams(compiled.written.backward, H, basis)
    for name, (_, rows) in streams.items():
        if rows == loops.BLOCK and name != f"value {index}":
            streams[name] = 0, rows
    gates = next(p.gates for p in compiled.program.products if p.index == index)
    streams["panel"] = PANEL + len(gates) * H, loops.BLOCK  # see `matmul.outer`
    states = [
        (f"value {index}", f"before {k}" if ("state", k) in compiled.gradient.leaves else None)
        for k in range(len(compiled.program.states))
    ]
    return Layout(streams, H, [], [], states, [])


def _streams(plan: emit.Plan, H: int, basis: Basis) -> dict[str, tuple[int, int]]:
    """Return the numbers of a row of every stream, and its kind for the loops."""
    found: dict[str, tuple[int, int]] = {}
    for name, stream in plan.streams.items():
        width, kind = stream.width * H, _KINDS[stream.rows]
        if name == "kept rows":
            width = stream.width
        elif name == "mask":
            kind = loops.MEMBER
        elif name == "sums":
            kind = loops.SUMS
        elif name == "spilled":
            kind = loops.SINGLE
        elif name.startswith("before "):
            kind = loops.BEFORE
        elif name.startswith("value "):
            width = basis.width * H
        found[name] = width, kind
    return found


def addresses(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return where tensors lie; 0 for empty ones."""
    return {name: t.data_ptr() for name, t in tensors.items()}


class Weights(NamedTuple):
    """Recurrent weights `[gates · H, terms · H]`, and how their rows are called."""

    matrix: Tensor
    gates: Sequence[str]

    def of(self, gates: Sequence[str]) -> Tensor:
        """Return the rows of some gates."""
        if tuple(gates) == tuple(self.gates):
            return self.matrix
        H = len(self.matrix) // len(self.gates)
        first = tuple(self.gates).index(gates[0])
        if tuple(self.gates[first : first + len(gates)]) == tuple(gates):
            return self.matrix[first * H : (first + len(gates)) * H]
        parts = dict(zip(self.gates, self.matrix.split(H), strict=True))
        return torch.cat([parts[g] for g in gates])

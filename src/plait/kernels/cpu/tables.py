"""The tables that the loops over time read: sizes, and where everything lies."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from plait.kernels.cpu import emit, loops
from plait.kernels.cpu.filtering import Filters, members
from plait.kernels.cpu.jit import empty_f32, module_of
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.rounding import Kind, pack
from plait.kernels.derivative import Gradient, differentiate
from plait.kernels.program import Program

_KINDS = {emit.PACKED: loops.PACKED, emit.BLOCK: loops.BLOCK, emit.SHARED: loops.SHARED}


class CompiledProgram:
    """A program, its gradient, and the code that computes them."""

    def __init__(self, program: Program, title: str) -> None:
        self.program = program
        self.gradient: Gradient = differentiate(program)
        self.written = emit.write(program, self.gradient, title)
        self.forward_slots = {name: k for k, name in enumerate(self.written.forward.streams)}
        self.backward_slots = {name: k for k, name in enumerate(self.written.backward.streams)}
        self.homes = {p.value.value: p.index for p in program.products if p.value.op == "state"}
        self.histories = [
            k > 0 and bool({("state", k), ("new", k)} & self.gradient.leaves)
            for k in range(len(program.states))
        ]

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
        shared = emit.shared_with_inputs(self.program, self.gradient, index)
        return (f"dheard {index}", 0) if shared is None else ("dinput", shared)


class Layer(NamedTuple):
    """What a layer is given beside tensors."""

    compiled: CompiledProgram
    filters: Filters
    packing: Packing
    masks: Tensor  # [B, (N,) H], or empty
    gates: Sequence[str]  # those that have recurrent weights, as these are stacked
    names: Sequence[str]  # of the weight vectors
    again: Callable[..., tuple[Tensor, ...]]  # the same in torch operations
    differentiate: bool

    @property
    def block_size(self) -> int:
        """The members of the batch in a block."""
        return members(self.packing.B, self.filters.basis.nodes)


class Tables:
    """The tables that the loops read; they hold the addresses of tensors that must live on."""

    def __init__(
        self, layer: Layer, plan: emit.Plan, H: int, more: Mapping[str, tuple[int, int]]
    ) -> None:
        self.layer, self.H = layer, H
        self.filters, self.program = layer.filters, layer.compiled.program
        names = [*plan.streams, *more]
        self.slots = {name: k for k, name in enumerate(names)}
        self.streams = np.zeros((len(names), 3), np.int64)
        width = layer.filters.basis.width * H
        for k, stream in enumerate(plan.streams.values()):
            self.streams[k, 1:] = stream.width * H, _KINDS[stream.rows]
        for name, slot in self.slots.items():
            if name in more:
                self.streams[slot, 1:] = more[name]
            elif name == "kept rows":
                self.streams[slot, 1] //= H
            elif name == "mask":
                self.streams[slot, 2] = loops.MEMBER
            elif name == "sums":
                self.streams[slot, 2] = loops.SUMS
            elif name == "spilled":
                self.streams[slot, 2] = loops.SINGLE
            elif name.startswith("before "):
                self.streams[slot, 2] = loops.BEFORE
            elif name.startswith("value "):
                self.streams[slot, 1] = width
        self.held: list[Any] = []

    def hold(self, name: str, tensor: Tensor) -> None:
        """Enter where a stream lies."""
        slot = self.slots.get(name)
        if slot is not None:
            self.held.append(tensor)
            self.streams[slot, 0] = tensor.data_ptr() if tensor.numel() else 0

    def room(self, rows: int) -> int:
        """Count the numbers of float32 that a block of rows needs."""
        return room_of(self.streams, rows)

    def finish(
        self, function: int, phases: Sequence[int], products: Sequence[Any],
        states: Sequence[Any], sums: Sequence[Any], transposed: bool,
    ) -> None:  # fmt: skip
        """Make the table of tables."""
        basis = self.filters.transposed if transposed else self.filters.basis
        parts = [
            np.array(part, np.int64).reshape(-1)
            for part in (basis, phases, products, states, sums)
        ]
        parts.append(self.streams.reshape(-1))
        self.held += [parts]
        at = [part.ctypes.data for part in parts]
        starts = self.layer.packing.starts
        self.held.append(starts)
        table = np.array(
            [
                self.layer.packing.T, self.H, starts.data_ptr(), at[0], function, at[5],
                len(self.streams), at[1], len(phases), at[2], len(products), at[3], len(states),
                at[4], len(sums),
            ],
            np.int64,
        )  # fmt: skip
        self.held.append(table)
        self.table, self.address = table, table.ctypes.data


def room_of(streams: np.ndarray, rows: int) -> int:
    kinds, widths = streams[:, 2], streams[:, 1]
    count = np.where(kinds == loops.BLOCK, rows, kinds == loops.SINGLE)
    return int((-(-widths * count // 16) * 16).sum()) + 4 * len(widths) + 32


class ForwardTables(Tables):
    """The tables of a run forward; with `own_rows` a block's inputs and outputs are its own."""

    def __init__(
        self, layer: Layer, H: int, x: Tensor, weight: Tensor, vectors: Sequence[Tensor],
        start: Sequence[Tensor], final: Sequence[Tensor], y: Tensor, kept: Mapping[str, Tensor],
        histories: Sequence[Tensor], kind: Kind = "float32", *, own_rows: bool = False,
    ) -> None:  # fmt: skip
        compiled = layer.compiled
        super().__init__(layer, compiled.written.forward, H, {})
        packed = [
            pack(rows_of(weight, layer, p.gates, H).T, kind) for p in self.program.products
        ]
        self.held += [start, final, packed]
        if own_rows:
            self.streams[[self.slots["input"], self.slots["y"]], 2] = loops.BLOCK
        _hold_common(self, x, y, vectors, kept, histories)
        products = [
            (p.stage, self.slots[f"value {p.index}"], 0, self.slots[f"heard {p.index}"],
             w.data_ptr(), len(p.gates) * H, 0)
            for p, w in zip(self.program.products, packed, strict=True)
        ]  # fmt: skip
        states = []
        for k, (s, f) in enumerate(zip(start, final, strict=True)):
            home = f"value {compiled.homes[k]}" if k in compiled.homes else f"state {k}"
            states.append((self.slots[home], s.data_ptr(), f.data_ptr(), -1, 0, 0))
        phases = [k if e else -1 for k, e in enumerate(compiled.written.forward.effects)]
        self.finish(compiled.forward, phases, products, states, [], transposed=False)


class BackwardTables(Tables):
    """The tables of a run back, and what it writes: the gradients of inputs, states and vectors."""

    def __init__(
        self, layer: Layer, x: Tensor, weight: Tensor, vectors: Sequence[Tensor],
        start: Sequence[Tensor], kept: Mapping[str, Tensor], histories: Sequence[Tensor],
        grads: Sequence[Tensor],
    ) -> None:  # fmt: skip
        compiled, H = layer.compiled, start[0].shape[-1]
        plan, gradient, S = compiled.written.backward, compiled.gradient, len(start)
        basis = layer.filters.basis
        more = {"terms": (basis.heard * H, loops.BLOCK)} if basis.width > 1 else {}
        super().__init__(layer, plan, H, more)
        self.size = layer.block_size
        dy, *dfinal = (g.contiguous() for g in grads)
        self.dx, lead = empty_f32(*x.shape), x.shape[:-1]
        blocks = -(-layer.packing.B // self.size)
        self.sums = x.new_zeros(blocks, len(self.program.vectors), H)
        self.dstart = [torch.empty_like(s) for s in start]
        _hold_common(self, x, histories[0], vectors, kept, histories)
        self.hold("dy", dy)
        self.hold("dinput", self.dx)
        self.hold("sums", self.sums)
        products = []
        for p in self.program.products:
            name, first = compiled.source_of(p.index)
            if first == 0 and name != "dinput":
                self.hold(name, empty_f32(*lead, len(p.gates) * H))
            packed = pack(rows_of(weight, layer, p.gates, H))
            self.held.append(packed)
            products.append(
                (self.program.stages - 1 - p.stage, self.slots[name], first * H,
                 self.slots[f"dvalue {p.index}"], packed.data_ptr(), len(p.gates) * H,
                 self.slots.get("terms", 0))
            )  # fmt: skip
        states, sums = [], []
        for k in range(S):
            slots = [self.slots[f"dvalue {i}"] for i in emit.pending(gradient, k)]
            if emit.has_carry(gradient, k):
                slots.insert(0, self.slots[f"dstate {k}"])
            read = ("state", k) in gradient.leaves
            states.append(
                (slots[0], dfinal[k].data_ptr(), self.dstart[k].data_ptr(),
                 self.slots[f"before {k}"] if read else -1, start[k].data_ptr(),
                 histories[k].data_ptr())
            )  # fmt: skip
            sums += [(k, slot) for slot in slots]
        self.held += [start, dfinal, histories]
        phases = [k if e else -1 for k, e in enumerate(plan.effects)]
        phases += [-1] * (self.program.stages - len(phases))
        self.finish(compiled.backward, phases, products, states, sums, transposed=True)


def _hold_common(
    tables: Tables, x: Tensor, y: Tensor, vectors: Sequence[Tensor], kept: Mapping[str, Tensor],
    histories: Sequence[Tensor],
) -> None:  # fmt: skip
    """Enter what both directions read or write."""
    tables.hold("input", x)
    tables.hold("y", y)
    tables.hold("mask", tables.layer.masks)
    for name, vector in zip(tables.layer.names, vectors, strict=True):
        tables.hold(f"vector {name}", vector)
    for name, tensor in kept.items():
        tables.hold(name, tensor)
    for k, history in enumerate(histories[1:], 1):
        tables.hold(f"history {k}", history)


def rows_of(weight: Tensor, layer: Layer, gates: Sequence[str], H: int) -> Tensor:
    """Return the rows of some gates."""
    if tuple(gates) == tuple(layer.gates):
        return weight
    parts = dict(zip(layer.gates, weight.split(H), strict=True))
    return torch.cat([parts[g] for g in gates])

"""Text symbol by symbol, in one compiled loop: embed, recur, score, draw.

A step of one stream is a few products of a vector with matrices, bound by how fast the weights
come from the cache; the operations of a framework would cost more than that. What the first layer
makes of a symbol is looked up. The cells are the same phases that run over time.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from plait.kernels.cpu.drawing import Draw, drawn, look_back
from plait.kernels.cpu.filtering import product_alone
from plait.kernels.cpu.jit import compiled, empty_f32, parallel_for
from plait.kernels.cpu.loops import (
    address_of,
    loop_at,
    place,
    product_at,
    state_at,
    width_of,
)
from plait.kernels.cpu.matmul import LAYOUTS, product_as
from plait.kernels.cpu.rounding import Kind, pack
from plait.kernels.cpu.simd import call, copy, load_i32, load_i64, row_address
from plait.kernels.cpu.tables import CompiledProgram, Weights, addresses

STREAMS = 32
"""Texts that are written side by side in one thread at most."""


class LayerWeights(NamedTuple):
    """The weights of one layer."""

    inputs: Tensor  # [G·H, F]
    recurrent: Tensor  # [gates·H, H]
    gates: Sequence[str]  # those that have recurrent weights
    vectors: Mapping[str, Tensor]  # as in `recurrence.run`


class Generator:
    """The weights of a model, packed, and the states of texts that are being written.

    Parameters
    ----------
    program : CompiledProgram
    layers : list of LayerWeights
    embedding : Tensor `[V, F]`
    output, bias : Tensor `[V, H]` and `[V]`
    state : tuple of Tensor `[layers, B, H]`
    kind : "float32", "bfloat16" or "int8"
        How the matrices are packed, which were rounded so before.
    """

    def __init__(
        self, program: CompiledProgram, layers: list[LayerWeights], embedding: Tensor,
        output: Tensor, bias: Tensor, state: tuple[Tensor, ...], kind: Kind = "float32",
    ) -> None:  # fmt: skip
        self.state = tuple(s.detach().clone(memory_format=torch.contiguous_format) for s in state)
        _, self.count, self.H = state[0].shape
        self.symbols, self.bias = len(output), bias.detach().double().numpy()
        self.table = (embedding @ layers[0].inputs.T).detach().contiguous()  # [V, G·H]
        self.gates = self.table.shape[1]
        self.layout, self.output = LAYOUTS[kind], pack(output.detach().T, kind)
        self.inputs = [pack(layer.inputs.detach().T, kind) for layer in layers[1:]]
        self.held: list[Any] = []
        tables = [self._table(program, layer, k, kind) for k, layer in enumerate(layers)]
        below = [0, *(w.data_ptr() for w in self.inputs)]
        self.addresses = np.array(list(zip(tables, below, strict=True)), np.int64)
        self.layout_of = program.layout("own rows", self.H, product_alone(1).basis)

    def _table(self, program: CompiledProgram, layer: LayerWeights, index: int, kind: Kind) -> int:
        """Make a layer's tables, for one step at a time: its inputs and outputs are a block's."""
        basis = product_alone(1).basis
        weights = Weights(layer.recurrent.detach(), layer.gates)
        packed = [pack(weights.of(p.gates).T, kind) for p in program.program.products]
        vectors = {f"vector {n}": v.detach().contiguous() for n, v in layer.vectors.items()}
        state = [s[index] for s in self.state]
        self.held += [packed, vectors, state]
        values = addresses(
            vectors
            | {f"weights {k}": w for k, w in enumerate(packed)}
            | {f"start {k}": s for k, s in enumerate(state)}
            | {f"final {k}": s for k, s in enumerate(state)}
        ) | {"T": 1, "function": program.forward}  # fmt: skip
        table, address = program.layout("own rows", self.H, basis).fill(basis, values)
        self.held.append(table)
        return address

    def generate(
        self, last: Tensor, uniform: NDArray[np.float64], draw: Draw, past: Tensor,
        limits: NDArray[np.float64],
    ) -> Tensor:  # fmt: skip
        """Feed the symbols `last [B]`, draw from `uniform [n, B]`, and so on, n steps: `[n, B]`.

        `past [m, B]` are the symbols so far, in int32, for a draw that looks back, and may be none
        otherwise; `limits [B]` those of mirostat, which are brought up to date.
        """
        before = len(past)
        history = torch.empty(before + len(uniform), self.count, dtype=torch.int32)
        history[:before] = past
        size = min(STREAMS, -(-self.count // torch.get_num_threads()))
        last = last.int()

        def block(first: int) -> None:
            count = min(size, self.count - first)
            logits = torch.empty(count, self.symbols)
            each = -(-self.layout_of.room(count) // 16) * 16
            room, depth = empty_f32(each * len(self.addresses)), len(self.addresses)
            slots = self.layout_of.slots
            _generate(
                self.layout, draw, self.addresses.ctypes.data, depth, self.gates,
                slots["input"], slots["y"], first, first + count, 4 * each,
                self.table.data_ptr(), self.output.data_ptr(), self.bias, last.data_ptr(),
                room.data_ptr(), logits.data_ptr(), logits.numpy(), np.empty(self.symbols),
                np.empty(self.symbols, np.bool_), uniform, history.numpy(), before, limits,
            )  # fmt: skip

        parallel_for(block, range(0, self.count, size))
        return history[before:]


@compiled
def _generate(
    layout, draw, layers, depth, gates, input_slot, y_slot, first, last, each, table, output, bias,
    fed, room, scores, logits, chances, taken, uniform, history, before, limits,
):  # fmt: skip
    """Write `len(uniform)` symbols of the streams first … last."""
    count = last - first
    for k in range(depth):
        live = room + each * k
        loop = loop_at(load_i64(layers, 2 * k))
        place(loop, first, count, 0, live)
        _move_states(loop, live, first, count, True)
    for n in range(len(uniform)):
        for k in range(depth):
            live = room + each * k
            loop = loop_at(load_i64(layers, 2 * k))
            H, x = loop.H, address_of(live, input_slot)
            if k:
                below = address_of(live - each, y_slot)
                product_as(layout, below, H, count, load_i64(layers, 2 * k + 1), H, x, gates)
            else:
                for s in range(count):
                    symbol = load_i32(fed, first + s)
                    if n:
                        symbol = history[before + n - 1, first + s]
                    copy(row_address(table, symbol, gates), row_address(x, s, gates), gates)
            for phase in range(loop.phase_count):
                which = load_i64(loop.phases, phase)
                if which >= 0:
                    call(loop.function, which, live, 0, count)
                for i in range(loop.product_count):
                    p = product_at(loop, i)
                    if p.phase == phase:
                        product_as(layout, address_of(live, p.source), width_of(live, p.source),
                                   count, p.weights, H, address_of(live, p.target),
                                   p.columns)  # fmt: skip
        loop = loop_at(load_i64(layers, 0))
        top = address_of(room + each * (depth - 1), y_slot)
        product_as(layout, top, loop.H, count, output, loop.H, scores, len(bias))
        for s in range(count):
            for v in range(len(bias)):
                chances[v] = logits[s, v] + bias[v]
            if draw.no_repeat or draw.penalty != 1.0:
                look_back(draw, chances, taken, history, before + n, first + s)
            history[before + n, first + s] = drawn(
                draw, chances, taken, uniform[n, first + s], limits, first + s
            )
    for k in range(depth):
        _move_states(loop_at(load_i64(layers, 2 * k)), room + each * k, first, count, False)


@njit
def _move_states(loop, live, first, count, into):
    """Copy the states into a block's room, or out of it."""
    for k in range(loop.state_count):
        state = state_at(loop, k)
        home, width = address_of(live, state.home), width_of(live, state.home)
        for s in range(count):
            here = row_address(home, s, width)
            if into:
                copy(row_address(state.start, first + s, loop.H), here, loop.H)
            else:
                copy(here, row_address(state.final, first + s, loop.H), loop.H)

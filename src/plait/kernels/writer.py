"""Writing on, symbol by symbol, in one compiled loop: embed, recur, score, draw.

A step of one stream is a few products of a vector with matrices, bound by how fast the weights
come from the cache; the operations of a framework would cost more than that. What the first layer
makes of a symbol is looked up.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

from plait.kernels.compiled import compiled, in_threads
from plait.kernels.fused import Algebra
from plait.kernels.product import LAYOUTS, product_as
from plait.kernels.rounding import Kind, pack
from plait.kernels.simd import copy, line, long, whole
from plait.kernels.steps import Run, Work, step, step_again

STREAMS = 32
"""Texts that are written side by side in one thread at most."""


class Layer(NamedTuple):
    """The weights of one layer."""

    inputs: Tensor  # [G·H, F]
    recurrent: Tensor  # [G·H, H]
    bias: Tensor  # [G·H]
    extra: Tensor  # as in `fused.run`


class Draw(NamedTuple):
    """How a symbol is drawn, as `Sampling` says; 0 where a filter is not wanted."""

    beta: float
    top_k: int
    top_p: float
    min_p: float


class Writer:
    """The weights of a model, packed, and the states of texts that are being written.

    Parameters
    ----------
    algebra : Algebra
    layers : list of Layer
    embedding : Tensor `[V, F]`
    output, bias : Tensor `[V, H]` and `[V]`
    state : tuple of Tensor `[layers, B, H]`
    kind : "float32", "bfloat16" or "int8"
        How the matrices are packed, which were rounded so before.
    """

    def __init__(
        self, algebra: Algebra, layers: list[Layer], embedding: Tensor, output: Tensor,
        bias: Tensor, state: tuple[Tensor, ...], kind: Kind = "float32",
    ) -> None:  # fmt: skip
        embedding, output, bias = embedding.detach(), output.detach(), bias.detach()
        layers = [Layer(*(t.detach() for t in layer)) for layer in layers]
        self.algebra = algebra
        self.state = tuple(s.clone(memory_format=torch.contiguous_format) for s in state)
        _, self.count, self.H = state[0].shape
        self.symbols, self.bias = len(output), bias.double().numpy()
        first = algebra.first * self.H
        self.table = embedding @ layers[0].inputs.T  # [V, G·H]
        self.layout, self.output = LAYOUTS[kind], pack(output.T, kind)
        self.held = [
            [
                torch.empty(0) if k == 0 else pack(layer.inputs.T, kind),
                pack(layer.recurrent[:first].T, kind),
                pack(layer.recurrent[first:].T, kind),
                layer.bias.contiguous(),
                layer.extra.contiguous(),
            ]
            for k, layer in enumerate(layers)
        ]
        self.addresses = torch.tensor([[t.data_ptr() for t in held] for held in self.held])
        self.gates = layers[0].bias.shape[0]

    def write(self, last: Tensor, uniform: NDArray[np.float64], draw: Draw) -> Tensor:
        """Feed the symbols `last [B]`, draw from `uniform [n, B]`, and so on, n steps: `[n, B]`."""
        written = torch.empty(uniform.shape, dtype=torch.int32)
        threads = torch.get_num_threads()
        size = min(STREAMS, -(-self.count // threads))
        last = last.int()
        c = self.state[-1].data_ptr() if len(self.state) > 1 else 0

        def block(first: int) -> None:
            count = min(size, self.count - first)
            logits = torch.empty(count, self.symbols)
            room = torch.empty(count * (3 * self.H + 2 * self.gates))
            _write(
                self.algebra.cell, self.layout, draw, self.addresses.data_ptr(), len(self.held),
                self.H, self.gates, self.algebra.first * self.H, self.count, first, count,
                self.table.data_ptr(), self.output.data_ptr(), self.bias, self.state[0].data_ptr(),
                c, last.data_ptr(), room.data_ptr(), logits.data_ptr(),
                logits.numpy(), np.empty(self.symbols), np.empty(self.symbols, np.bool_), uniform,
                written.numpy(),
            )  # fmt: skip

        in_threads(block, range(0, self.count, size))
        return written


@compiled
def _write(
    cell, layout, draw, layers, depth, H, gates, heard_first, streams, first, count, table, output,
    bias, state_h, state_c, last, room, scores, logits, chances, taken, uniform, written,
):  # fmt: skip
    """Write `len(uniform)` symbols of the streams first … first + count."""
    x, heard = room, line(room, count, gates)
    reset = line(heard, count, gates)
    more, y = line(reset, count, H), line(reset, count, 2 * H)
    for n in range(len(uniform)):
        for s in range(count):
            symbol = written[n - 1, first + s] if n else whole(last, first + s)
            copy(line(table, symbol, gates), line(x, s, gates), gates)
        for k in range(depth):
            layer = layers + 40 * k  # five addresses
            h = line(state_h, k * streams + first, H)
            c = line(state_c, k * streams + first, H)
            if k:
                below = line(state_h, (k - 1) * streams + first, H)
                product_as(layout, below, H, count, long(layer, 0), H, x, gates)
            run = Run(
                1, H, gates, heard_first, x, long(layer, 3), long(layer, 1), long(layer, 2),
                long(layer, 4), 0, h, c, y, 0, 0, 0, 0,
            )  # fmt: skip
            work = Work(h, H, H, c, heard, reset, more)
            product_as(layout, h, H, count, run.weights, H, heard, heard_first)
            step(cell, run, work, 0, count)
            if heard_first < gates:
                product_as(layout, reset, H, count, run.more, H, more, gates - heard_first)
                step_again(cell, run, work, 0, count)
        top = line(state_h, (depth - 1) * streams + first, H)
        product_as(layout, top, H, count, output, H, scores, len(bias))
        for s in range(count):
            for v in range(len(bias)):
                chances[v] = logits[s, v] + bias[v]
            written[n, first + s] = _drawn(draw, chances, taken, uniform[n, first + s])


@njit
def _drawn(draw, chances, taken, u):
    """Draw from logits, as `Sampling.draw` does; `chances` and `taken` are used up."""
    best = 0
    for v in range(len(chances)):
        if chances[v] > chances[best]:
            best = v
    if math.isinf(draw.beta):
        return best
    highest = chances[best]
    for v in range(len(chances)):
        chances[v] = math.exp(draw.beta * (chances[v] - highest))
    _scale(chances)
    if draw.top_k:
        _keep(chances, taken, draw.top_k, math.inf)
    if draw.top_p:
        _keep(chances, taken, len(chances), draw.top_p)
    if draw.min_p:
        least = draw.min_p * chances[best]
        for v in range(len(chances)):
            if chances[v] < least:
                chances[v] = 0.0
    _scale(chances)
    total, last = 0.0, best
    for v in range(len(chances)):
        total += chances[v]
        if chances[v] > 0:
            last = v
            if total > u:
                break
    return last


@njit
def _keep(chances, taken, count, mass):
    """Keep the likeliest, so many or until they hold so much, and scale them to sum to 1."""
    taken[:] = False
    before = 0.0
    for _ in range(count):
        best = -1
        for v in range(len(chances)):
            if not taken[v] and (best < 0 or chances[v] > chances[best]):
                best = v
        if best < 0 or before >= mass:
            break
        taken[best] = True
        before += chances[best]
    for v in range(len(chances)):
        if not taken[v]:
            chances[v] = 0.0
    _scale(chances)


@njit
def _scale(chances):
    total = 0.0
    for v in range(len(chances)):
        total += chances[v]
    for v in range(len(chances)):
        chances[v] /= total

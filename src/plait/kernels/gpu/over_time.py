"""One call of a layer on a GPU: what lies in memory for it, forward and backward.

How it gets over time is a subclass's: a launch a phase (`steps`), or one for all steps
(`persistent`). Nothing in a pass waits for the GPU, and nothing in it is autograd's, so that it can
be recorded (`recorded`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from plait.kernels.cpu import plans
from plait.kernels.cpu.packing import Packing
from plait.kernels.cpu.phases import parameters_of
from plait.kernels.drawn import Given, RandomState
from plait.kernels.gpu.autograd import run_pass
from plait.kernels.gpu.emit import WrittenProgram
from plait.kernels.gpu.emit_phase import TILE, Phase
from plait.kernels.gpu.own_tensors import held_by
from plait.kernels.gpu.precision import products_in
from plait.kernels.gpu.recorded import Recordings
from plait.kernels.gpu.triton_here import power_of_two, triton_type, written
from plait.kernels.kernel import Call, State
from plait.kernels.program import Product, Program


class Sizes(NamedTuple):
    """Steps, sequences, rows of a step (sequences × nodes), channels."""

    T: int
    B: int
    rows: int
    H: int


class OverTime:
    """One call: its arguments other than tensors, forward and backward.

    Parameters
    ----------
    layer, call
        As a kernel is given them.
    code : WrittenProgram
    mask : Tensor `[B, (N,) H]`, or None
        Of recurrent dropout.
    tensors : sequence of Tensor
        Input side, vectors, weights, start states, and what the operator learns itself.
    """

    not_recorded: str | None = None

    def __init__(
        self, layer: Any, call: Call, code: WrittenProgram, mask: Tensor | None,
        tensors: Sequence[Tensor],
    ) -> None:  # fmt: skip
        self.code = code
        self.vectors, self.weights = tuple(layer.all_vectors()), tuple(layer.recurrent)
        self.gates = tuple(layer.recurrent_gates)
        self.row = tuple(call.start[0].shape[1:])  # [(N,) H]
        T, B = call.x.shape[:2]
        nodes = self.row[0] if len(self.row) == 2 else 1
        self.sizes = Sizes(T, B, B * nodes, self.row[-1])
        self.lead = False  # nodes before sequences
        self.differentiate = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        kind = call.x.device.type
        auto = torch.is_autocast_enabled(kind)
        self.dtype = torch.get_autocast_dtype(kind) if auto else torch.float32
        self.learnt, extra = held_by(layer.acting_operator())
        if mask is not None:
            extra["mask"] = mask
        if call.lengths is not None:
            extra["lengths"] = call.lengths
        self.set_extra(extra)
        self.products = products_in(call)
        if not T * B * nodes:
            self.not_recorded = "there is nothing to run"

    def set_extra(self, extra: Mapping[str, Tensor]) -> None:
        """Set what is given without a gradient, by name."""
        self.extra_names, self.extra = tuple(extra), tuple(extra.values())
        self.has_lengths = "lengths" in extra

    def drawn(self) -> Tensor | None:
        """Return what the operator draws at random in all its calls, `[calls, …]`, or None."""
        drawn = dict(zip(self.extra_names, self.extra, strict=True)).get("drawn")
        return None if drawn is None else drawn.flatten(0, 1)

    @property
    def key(self) -> Any:
        """What decides the work besides the tensors' shapes."""
        return (
            type(self), self.code.program.key, self.vectors, self.weights, self.gates, self.row,
            self.dtype, self.extra_names,
        )  # fmt: skip

    def size(self) -> int:
        """Return about how many bytes it takes, forward and backward."""
        T, _, rows, H = self.sizes
        program = self.code.program
        wide = 2 * len(program.gates) + 2 * len(program.states) + 4
        wide += len(self.code.gradient.kept) + sum(1 + len(p.gates) for p in program.products)
        return 4 * T * rows * H * wide + sum(t.nbytes for t in self.extra)

    def forward(self, tensors: Sequence[Tensor], extra: Sequence[Tensor]) -> Any:
        """Return outputs and final states, and what the gradient wants."""
        x, vectors, weights, start = self._parts(tensors)
        T, _, rows, H = self.sizes
        code, keep = self.code, self.differentiate
        x_rows = self.to_rows(x)
        start = [self.to_rows(s[None])[0] for s in start]
        none = x_rows.new_empty(1, dtype=torch.float32)
        new = start[0].new_empty
        arrays = {"input": x_rows, "y": new(T + 1, rows, H), "kept": none, "kept rows": none}
        if keep:
            arrays["kept"] = new(T, rows, max(1, len(code.gradient.kept) * H))
            arrays["kept rows"] = new(T, rows, max(1, len(code.gradient.kept_rows)))
        for k, wanted in enumerate(self.histories(keep)):
            if k:
                arrays[f"history {k}"] = new(T + 1, rows, H) if wanted else none
        for k, s in enumerate(start):
            history = arrays["y" if k == 0 else f"history {k}"]
            if history is not none:
                history[0].copy_(s)
        now = [s.clone() for s in start]
        for k, s in enumerate(now):
            arrays[f"value {code.homes[k]}" if k in code.homes else f"state {k}"] = s
        for p in code.program.products:
            if p.value.op != "state":
                arrays[f"value {p.index}"] = new(T, rows, H)
        self.add_carried(arrays, code.forward_plan, now[0])
        given = self._given(vectors, extra)
        arrays |= given
        arrays |= {f"own {name}": t for name, t in self._learnt(tensors).items()}
        products = self.advance(arrays, weights, self._lengths(given, none))
        y = self.from_rows(arrays["y"][1:])
        final = [self.from_rows(s[None])[0] for s in now]
        names = ["input", "y", "kept", "kept rows", *(f"history {k}" for k in range(1, len(now)))]
        names += [f"value {p.index}" for p in code.program.products if p.value.op != "state"]
        return (y, *final), ({n: arrays[n] for n in names}, products)

    def backward(
        self, tensors: Sequence[Tensor], extra: Sequence[Tensor], saved: Any,
        grads: Sequence[Tensor],
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Return the gradients of all tensors, of those of the outputs and final states."""
        x, vectors, weights, start = self._parts(tensors)
        T, _, rows, H = self.sizes
        code = self.code
        program = code.program
        kept, products = saved
        dy, *dfinal = (self.to_rows(g if k == 0 else g[None]) for k, g in enumerate(grads))
        like = dy.new_empty(rows, H)
        dx = dy.new_empty(T, rows, len(program.gates) * H)
        sums = dy.new_zeros(-(-rows // self.tile_back()[0]), len(program.vectors), H)
        arrays = dict(kept) | {"dy": dy, "dinput": dx, "sums": sums}
        arrays |= self._given(vectors, extra)
        lengths = self._lengths(arrays, like)
        for p in program.products:
            arrays[f"dvalue {p.index}"] = torch.zeros_like(like)
            if code.source_of(p.index)[0] != "dinput":
                arrays[f"drecurrent {p.index}"] = dy.new_empty(T, rows, len(p.gates) * H)
        for k, g in enumerate(dfinal):
            arrays[f"dstate {k}"] = g[0].clone()
        self.add_carried(arrays, code.backward_plan, like)
        given = {p.index: self._grads_of(p.index, arrays) for p in program.products}
        self.go_back(arrays, products, given, lengths)
        found = {name: torch.zeros_like(w) for name, w in weights.items()}
        for p in program.products:
            change = self.weight_changes(p, products, arrays, given[p.index])
            self._add_by_gates(found, change, p.gates)
        states = []
        for k in range(len(start)):
            names = [f"dstate {k}"] + [f"dvalue {i}" for i in plans.pending(code.gradient, k)]
            total = torch.stack([arrays[n] for n in names]).sum(0)
            states.append(self.from_rows(total[None])[0])
        return (
            self.from_rows(dx).to(x.dtype), *self._vector_grads(vectors, dx, sums),
            *found.values(), *states, *self.own_changes(products),
        )  # fmt: skip

    def histories(self, keep: bool) -> list[bool]:
        """Return of every state whether its past is kept; the first is the outputs."""
        read = self.code.exchanged()
        return [
            k == 0 or k in read or (keep and wanted) for k, wanted in enumerate(self.code.histories)
        ]

    def values(self, p: Product, arrays: Mapping[str, Tensor]) -> Tensor:
        """Return what a product read at all steps `[T, rows, H]`."""
        name = self.code.source_of_value(p)
        return arrays[name] if name.startswith("value") else arrays[name][:-1]

    def advance(
        self, arrays: dict[str, Tensor], weights: Mapping[str, Tensor], lengths: Tensor
    ) -> Any:
        """Run over time, and return what the way back wants of the products."""
        raise NotImplementedError

    def go_back(
        self, arrays: dict[str, Tensor], products: Any, given: Mapping[int, Tensor],
        lengths: Tensor,
    ) -> None:  # fmt: skip
        """Run back over time."""
        raise NotImplementedError

    def weight_changes(
        self, p: Product, products: Any, arrays: Mapping[str, Tensor], given: Tensor
    ) -> Mapping[str, Tensor]:
        """Return the gradients of a product's weights, those of its gates, by name."""
        raise NotImplementedError

    def own_changes(self, products: Any) -> list[Tensor]:
        """Return the gradients of what the operator learns itself: a linear one, nothing."""
        return []

    def tile_back(self) -> tuple[int, int]:
        """Return the rows and channels of a tile on the way back."""
        whole = any(p is not None and p.whole_rows for p in self.code.backward)
        return tile(self.sizes.H, whole_rows=whole)

    def _add_by_gates(
        self, found: Mapping[str, Tensor], change: Mapping[str, Tensor], gates: Sequence[str]
    ) -> None:
        """Add the gradients of some gates' weights to those of all, which are stacked by gates."""
        for name, part in change.items():
            whole = found[name].chunk(len(self.gates))
            for gate, g in zip(gates, part.chunk(len(gates)), strict=True):
                target = whole[self.gates.index(gate)]
                target.add_(g.view(target.shape))

    def rows_of(self, weights: Mapping[str, Tensor], gates: Sequence[str]) -> dict[str, Tensor]:
        """Return the weights of some gates, which are stacked along the first axis."""
        if tuple(gates) == self.gates:
            return dict(weights)
        at = [self.gates.index(g) for g in gates]
        parts = {n: w.chunk(len(self.gates)) for n, w in weights.items()}
        return {n: torch.cat([part[k] for k in at]) for n, part in parts.items()}

    def _vector_grads(
        self, vectors: Mapping[str, Tensor], dx: Tensor, sums: Tensor
    ) -> list[Tensor]:
        H, program = self.sizes.H, self.code.program
        total = sums.sum(0)  # [vectors, H]
        if self.code.after:
            gates = dx.view(-1, len(program.gates), H).sum(0)
            for v, gate in self.code.after.items():
                total[program.vectors.index(v)] = gates[gate]
        places = [name for name, _ in program.vectors]
        found = []
        for n, v in vectors.items():
            first = places.index(n) if n in places else 0
            own = total[first : first + places.count(n)]
            found.append(own.reshape(v.shape) if own.numel() else torch.zeros_like(v))
        return found

    def _grads_of(self, index: int, arrays: Mapping[str, Tensor]) -> Tensor:
        """Return the gradient of what a product gave, at every step `[T, rows, gates·H]`."""
        name, first = self.code.source_of(index)
        H, gates = self.sizes.H, len(self.code.program.products[index].gates)
        return arrays[name][..., first * H : (first + gates) * H]

    def _parts(
        self, tensors: Sequence[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor], dict[str, Tensor], list[Tensor]]:
        """Part what autograd hands over: input side, vectors, weights, start states."""
        v, w = len(self.vectors), len(self.weights)
        vectors = dict(zip(self.vectors, tensors[1:], strict=False))
        weights = dict(zip(self.weights, tensors[1 + v :], strict=False))
        start = tensors[1 + v + w : 1 + v + w + len(self.code.program.states)]
        return tensors[0], vectors, weights, list(start)

    def to_rows(self, x: Tensor) -> Tensor:
        """Lay `[T, B, (N,) C]` as `[T, rows, C]`, nodes first where they lead."""
        if self.lead:
            x = x.transpose(1, 2)
        return x.flatten(1, -2).contiguous()

    def from_rows(self, x: Tensor) -> Tensor:
        """Lay `[T, rows, C]` as `[T, B, (N,) C]`."""
        if len(self.row) == 1:
            return x
        B, N = self.sizes.B, self.row[0]
        return x.unflatten(1, (N, B)).transpose(1, 2) if self.lead else x.unflatten(1, (B, N))

    def _learnt(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return what the operator learns itself, which comes last."""
        own = tensors[len(tensors) - len(self.learnt) :]
        return dict(zip(self.learnt, own, strict=True))

    def _given(self, vectors: Mapping[str, Tensor], extra: Sequence[Tensor]) -> dict[str, Tensor]:
        found = {f"vector {name}": v for name, v in vectors.items()}
        found |= dict(zip(self.extra_names, extra, strict=True))
        if "mask" in found:
            found["mask"] = self.to_rows(found["mask"][None])[0]
        return found

    def _lengths(self, given: Mapping[str, Tensor], none: Tensor) -> Tensor:
        """Return the length of every row."""
        if not self.has_lengths:
            return none
        lengths = given["lengths"].int()
        if len(self.row) == 1:
            return lengths
        nodes = self.row[0]
        return lengths.repeat(nodes) if self.lead else lengths.repeat_interleave(nodes)

    def precision(self) -> dict[str, Any]:
        """Return the constants of kernels that multiply: how exactly, and what operands become."""
        return {"PRECISION": self.products, "ROUND": triton_type(self.dtype)}

    def add_carried(self, arrays: dict[str, Tensor], plan: Any, like: Tensor) -> None:
        """Make room for what a phase hands on to a later one."""
        stream = plan.streams.get("carried")
        if stream is not None:
            arrays["carried"] = like.new_empty(len(like), stream.width * self.sizes.H)

    def launch(
        self, phase: Phase, t: int, arrays: Mapping[str, Tensor], lengths: Tensor,
        shape: tuple[int, int] | None = None, **constants: Any,
    ) -> None:  # fmt: skip
        """Run one phase for the rows of a step."""
        _, _, rows, H = self.sizes
        if not rows:
            return
        BR, BH = shape or tile(H, whole_rows=phase.whole_rows)
        grid = (-(-rows // BR), -(-H // BH))
        kernel = getattr(written(self.code.source), phase.name)
        kernel[grid](
            t, rows, lengths, *(arrays[name] for name in phase.streams), H=H, BH=BH, BR=BR,
            LENGTHS=self.has_lengths, KEEP=self.differentiate, **constants,
        )  # fmt: skip


def tile(H: int, *, whole_rows: bool) -> tuple[int, int]:
    """Return the rows and channels of a tile; they do not depend on the batch."""
    channels = power_of_two(H) if whole_rows else min(power_of_two(H), 128)
    return max(1, TILE // channels), channels


def run_over_time(
    layer: Any, call: Call, code: Any, recordings: Recordings, kind: type[OverTime]
) -> tuple[Tensor, State, State]:
    """Compute the input side, then run over time.

    Parameters
    ----------
    layer, call
        As a kernel is given them.
    code : callable
        From the cell's program to its kernels.
    recordings : Recordings
    kind : type
        Of the pass over time.
    """
    x, start = call.x, call.start
    mask = None
    if call.dropout:
        mask = F.dropout(torch.ones_like(start[0]), call.dropout)
    program: Program = layer.program(dropped=mask is not None)
    rows = layer.input_side(x.flatten(0, 1), call.graph, Packing.of(None, *x.shape[:2]))
    x_gates = rows.unflatten(0, x.shape[:2])  # [T, B, (N,) G·H]
    vectors, weights = layer.all_vectors(), dict(layer.recurrent)

    def again(x_gates: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        values = dict(zip(vectors, rest, strict=False))
        matrices = dict(zip(weights, rest[len(vectors) :], strict=False))
        at = len(vectors) + len(weights)
        begin = rest[at : at + len(start)]
        numbers = one.drawn()
        applied = operator if numbers is None else Given(operator, numbers)
        with before.again():
            y, final, _ = layer.over_time(
                x_gates, begin, call.graph, call.keep, mask, matrices, values, applied
            )
        return y, *final

    operator = layer.acting_operator()
    own = parameters_of(operator)
    tensors = (x_gates, *vectors.values(), *weights.values(), *start, *own)
    before = RandomState(x.device)
    one = kind(layer, call, code(program), mask, tensors)
    y, *final = run_pass(recordings.of(one), tensors, again)
    return y, tuple(final), ()
